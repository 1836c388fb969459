# SPDX-License-Identifier: ISC
# shellcheck shell=sh disable=SC2034
# TAP for tests in POSIX sh: sourced first by each tests/NN-topic.t, with
#	. "$(dirname "$0")/lib.sh"
# $T is a directory that goes away at exit, as do the children started here;
# for one of your own: cmd >/dev/null 2>&1 & track $!
# LITESTREAM, LITESTREAM_TEST and PEERS name others than those of the tree.
# SLOW=N: a machine that takes N times as long.
LC_ALL=C TZ=UTC; export LC_ALL TZ
unset CDPATH LITESTREAM_CONFIG LOG_LEVEL
TESTS=$(cd "$(dirname "$0")" && pwd -P) || exit 1
LS=${LITESTREAM:-$TESTS/../litestream}
LT=${LITESTREAM_TEST:-$TESTS/../litestream-test}
T=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
PID='' _pids='' _test=0 _failed=0

_cleanup() {
	for _p in $_pids; do kill -9 "$_p" && wait "$_p"; done 2>/dev/null
	chmod -R u+rwx "$T"; rm -rf "$T"
}
trap _cleanup EXIT
trap 'exit 1' HUP INT TERM
track() { _pids="$_pids $1"; }

result() {	# STATUS TITLE: one line of TAP
	_test=$((_test + 1))
	[ "$1" -eq 0 ] && echo "ok $_test - $2" && return
	_failed=$((_failed + 1)); echo "not ok $_test - $2"; return 1
}
status() {	# N TITLE CMD...: exactly this exit status; $T/out, $T/err
	_want=$1 _title=$2 _rc=0; shift 2
	"$@" >"$T/out" 2>"$T/err" </dev/null || _rc=$?
	[ "$_rc" -eq "$_want" ]; result $? "$_title" || {
		echo "status $_rc, not $_want: $*"
		tail -n 8 "$T/out"; tail -n 8 "$T/err"
	} | sed 's/^/# /'
}
ok() {	# TITLE CMD...
	_title=$1; shift
	status 0 "$_title" "$@"
}
is() {	# TITLE GOT WANTED
	[ "$2" = "$3" ]; result $? "$1" ||
	    printf 'got:    %s\nwanted: %s\n' "$2" "$3" | sed 's/^/# /'
}
matches() {	# TITLE FILE REGEX (extended)
	grep -E -q -e "$3" "$2"; result $? "$1" ||
	    { echo "no match for $3 in:"; tail -n 8 "$2"; } | sed 's/^/# /'
}
skip() {	# TITLE REASON: this one test
	_test=$((_test + 1)); echo "ok $_test - $1 # SKIP $2"
	echo "# $(basename "$0"): skipped: $1: $2" >&2
}
skip_all() { echo "1..0 # SKIP $*"; exit 0; }
done_testing() { echo "1..$_test"; [ "$_failed" -eq 0 ]; exit; }
need_peer() {	# [VERSION]: sets PEER; where CI is true it must be there
	PEER=${PEERS:-$TESTS/.peer}/${1:-0.5.17}/bin/litestream
	[ -x "$PEER" ] && return
	[ "${CI:-}" = true ] || skip_all "no Litestream ${1:-0.5.17}: make peer"
	result 1 "Litestream ${1:-0.5.17} is installed"; done_testing
}

poll() {	# SECONDS CMD...: until it succeeds; 1 if it never did
	_end=$(($(date +%s) + $1 * ${SLOW:-1} + 1)); shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt "$_end" ] || return 1
		sleep 0.02
	done
}
start_replicate() {	# DB DIR [FLAGS]: PID, log in $T/log
	_db=$1 _dir=$2; shift 2
	"$LS" replicate "$@" "$_db" "file://$_dir" >"$T/log" 2>&1 </dev/null &
	PID=$!; track "$PID"
}
_reap() {	# the exit status of PID; killed if it takes over a minute
	(poll 60 eval "! kill -0 $PID" || kill -9 "$PID") >/dev/null 2>&1 &
	_watch=$! _died=0
	wait "$PID" 2>/dev/null || _died=$?
	kill "$_watch"; wait "$_watch" 2>/dev/null
	_pids=$(echo "$_pids " | sed "s/ $PID / /"); return $_died
}
stop_replicate() { kill -TERM "$PID" && _reap; }
kill_replicate() { kill -9 "$PID" && { _reap || :; }; }

sql() { sqlite3 -batch -bail -cmd '.timeout 10000' "$@"; }
dump() { sql "$1" .dump >"$T/dump" && cksum <"$T/dump"; }
restore_same() {	# DB DIR [FLAGS]: $T/r.db is DB as it is now
	_db=$1 _dir=$2; shift 2
	rm -f "$T"/r.db* "$T"/s.db*
	"$LS" restore "$@" -o "$T/r.db" "file://$_dir" || return
	for _s in -wal -journal ''; do	# a copy, as opening could change it
		[ ! -e "$_db$_s" ] || cp "$_db$_s" "$T/s.db$_s" || return
	done
	sql "$T/s.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null || return
	[ "$(dump "$T/s.db")" = "$(dump "$T/r.db")" ] ||
	    { echo "$_db: restored with another .dump" >&2; return 1; }
	[ "$(sql "$T/r.db" 'PRAGMA integrity_check')" = ok ] ||
	    { echo "$_db: restored without integrity" >&2; return 1; }
	cmp "$T/s.db" "$T/r.db"
}
