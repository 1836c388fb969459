#!/bin/sh
# SPDX-License-Identifier: ISC
# A replicator is killed, the application goes on, a FULL checkpoint runs, the
# replicator comes back: is all in the replica?  (This is what made Litestream
# v0.5.0 lose databases.)
#
#	sh tests/interruption.sh [LITESTREAM [LITESTREAM-TEST [twice]]]
#
# works with any pair of binaries; ./litestream and ./litestream-test if none
# are given.  "twice", or TWICE=1, does it again with database, local state
# and replica as the first time left them.  QUICK=1 is small and short.
# KEEP=1 keeps the directory.  Exit status: 0 if what was restored is what
# the database holds.
#
# The sleeps are the reported timings, and thus the scenario itself: nothing
# here waits for a condition in this way.
set -u
LC_ALL=C TZ=UTC; export LC_ALL TZ
unset LITESTREAM_CONFIG LOG_LEVEL

ls=${1:-./litestream} lt=${2:-./litestream-test}
rounds=1
[ "${3:-}" != twice ] && [ "${TWICE:-0}" = 0 ] || rounds=2
if [ "${QUICK:-0}" = 0 ]; then
	size=50MB start=3 run=20 down=15 after=20
else
	size=4MB start=1 run=2 down=1 after=2
fi

t=$(mktemp -d "${TMPDIR:-/tmp}/interruption.XXXXXX") || exit 1
db=$t/app.db url=file://$t/replica bad=0
replicator='' load=''

finish() {
	for p in $replicator $load; do kill -9 "$p" && wait "$p"; done
	[ "${KEEP:-0}" = 0 ] && rm -rf "$t"
} 2>/dev/null
trap finish EXIT
trap 'exit 1' HUP INT TERM

fail() { echo "FAILED: $*"; bad=1; }
die() { fail "$@"; tail -n 5 "$t/log" 2>/dev/null; exit 1; }
sql() { sqlite3 -batch -bail -cmd '.timeout 30000' "$@"; }

replicate() {
	"$ls" replicate "$db" "$url" >>"$t/log" 2>&1 </dev/null &
	replicator=$!
}
# Sets status.  Who ignores the signal for a minute is killed; that watch is
# ended by KILL, as a shell just forked may lose another signal.
stop() {	# SIGNAL PID
	kill "-$1" "$2" 2>/dev/null
	(i=60; while [ $((i -= 1)) -ge 0 ]; do sleep 1; done; kill -9 "$2") \
	    >/dev/null 2>&1 &
	watch=$!
	status=0; wait "$2" 2>/dev/null || status=$?
	kill -9 "$watch"; wait "$watch"
} 2>/dev/null
level0() {	# MIN MAX SIZE of all files of level 0, in order
	"$ls" ltx -level 0 "$url" 2>/dev/null |
	    awk '$1 == 0 { print $2, $3, $4 }' | sort
}
newest() { level0 | awk 'END { print $2 }'; }
restore() {	# OUT [FLAGS]
	out=$1; shift
	rm -f "$out"
	"$ls" restore "$@" -o "$out" "$url" >>"$t/log" 2>&1
}

# The index of an LTX file has three varints per page, then a zero, and its
# size before the 16 bytes of the trailer: a byte below 128 ends a varint.
pages_of() {	# FILE
	bytes=$(wc -c <"$1")
	n=$(od -An -v -tu1 -j $((bytes - 24)) -N 8 "$1" |
	    awk '{ for (i = 1; i <= NF; i++) n = n * 256 + $i; print n }')
	od -An -v -tu1 -j $((bytes - 24 - n)) -N "$n" "$1" | awk '
	    { for (i = 1; i <= NF; i++) ends += $i < 128 }
	    END { print int((ends - 1) / 3) }'
}
differ() {	# A B PAGE-SIZE: pages of B that are not so in A
	{ cmp -l "$1" "$2" 2>/dev/null; wc -c <"$1"; wc -c <"$2"; } |
	    awk -v size="$3" '
	    NF == 3 { page[int(($1 - 1) / size)] = 1; next }
	    { bytes[++n] = $1 }
	    END {
		for (p in page) pages++
		grown = int(bytes[2] / size) - int(bytes[1] / size)
		print pages + (grown > 0 ? grown : 0)
	    }'
}

# The database as it is now, while the application waits for the write lock.
copy() {
	rm -f "$t"/now.db*
	sql "$db" >>"$t/log" <<-END
	BEGIN IMMEDIATE;
	.shell cp "$db" "$t/now.db"
	.shell cp "$db-wal" "$t/now.db-wal"
	ROLLBACK;
	END
	sql "$t/now.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >>"$t/log"
}

# What the restart has cost: the pages of the first file after it, against
# those in which the database at the restart and the replica before differ, and
# those in which the replica before and with that file do: it has, too, what was
# committed until it was made.
cost() {	# NEWEST-BEFORE
	first=$(level0 | awk -v old="$1" '$1 > old { print $1 "-" $2; exit }')
	file=$t/replica/ltx/0/$first.ltx
	most=$(level0 | awk -v old="$1" '$1 > old && $3 > most { most = $3 }
	    END { print most }')
	if ! restore "$t/before.db" -txid "$1"; then
		fail "cannot restore TXID $1"
	elif ! [ -f "$file" ]; then
		fail 'no file after the restart'
	elif ! restore "$t/with.db" -txid "${first#*-}"; then
		fail "cannot restore TXID ${first#*-}"
	else
		echo "restart: first file has $(pages_of "$file") pages," \
		    "$(differ "$t/before.db" "$t/now.db" 4096) differ," \
		    "$(differ "$t/before.db" "$t/with.db" 4096) with it;" \
		    "largest file after it $most bytes"
	fi
}

dump() { sql "$1" .dump | grep -v _litestream_ | cksum; }
compare() {
	restore "$t/restored.db" || { die "restore: exit status $?"; }
	sum='SELECT count(*) FROM '
	for table in test_table_0 test_table_1 load_test; do
		a=$(sql "$db" "$sum$table") || die 'cannot read the source'
		b=$(sql "$t/restored.db" "$sum$table")
		echo "$table: source $a rows, restored $b"
		[ "$a" = "$b" ] || fail "$table: rows differ"
	done
	b=$(sql "$t/restored.db" 'PRAGMA integrity_check' 2>&1 | head -n 1)
	echo "integrity_check: $b"
	[ "$b" = ok ] || fail 'no integrity'
	if [ "$(dump "$db")" = "$(dump "$t/restored.db")" ]; then
		echo '.dump: same'
	else
		fail '.dump differs'
	fi
}

round() {
	replicate
	sleep $start
	kill -0 "$replicator" 2>/dev/null || die 'replicate has ended'
	"$lt" load -db "$db" -write-rate 100 -read-ratio 0 -duration 1h \
	    2>"$t/load.log" & load=$!
	sleep $run
	stop KILL "$replicator"; replicator=''
	old=$(newest)
	[ -n "$old" ] || die 'nothing was replicated'
	echo "killed at TXID $old," \
	    "$(sql "$db" 'SELECT count(*) FROM load_test') rows"
	sleep $down
	echo "checkpoint: $(sql "$db" 'PRAGMA wal_checkpoint(FULL)')"
	copy
	replicate
	sleep $after
	stop TERM "$load"; load=''
	echo "load: $(sed -n 's/.*complete".*total_writes=\([0-9]*\).*/\1/p' \
	    "$t/load.log") writes logged"
	stop TERM "$replicator"; replicator=''
	echo "replicate: exit status $status"
	[ "$status" -eq 0 ] || fail 'no clean stop'
	compare
	cost "$old"
}

"$lt" populate -db "$db" -target-size $size -table-count 2 -page-size 4096 \
    2>"$t/log" || die populate
i=1
while [ $i -le $rounds ]; do
	echo "round $i"
	round
	i=$((i + 1))
done
[ $bad -ne 0 ] || echo passed
exit $bad
