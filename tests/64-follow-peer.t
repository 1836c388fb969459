#!/bin/sh
# SPDX-License-Identifier: ISC
# restore -f beside the real Litestream: each follows what the other writes,
# and we take over a standby of theirs.
. "$(dirname "$0")/lib.sh"
need_peer 0.5.17
db=$T/app.db root=$T/replica url=file://$T/replica out=$T/out.db

value() { sql "file:$out?mode=rw" 'SELECT max(a) FROM t'; }
begun() { [ -e "$root/ltx/9/0000000000000001-0000000000000001.ltx" ]; }
has() { [ "$(value)" = "$1" ]; }
start() {	# LOG CMD...: PID
	_log=$1; shift
	"$@" >"$T/$_log" 2>&1 </dev/null &
	PID=$!; track "$PID"
}
end() {	# PID
	PID=$1
	kill -TERM "$PID" && _reap
}
commits() {	# FROM TO: a commit each, with growth, shrink and VACUUM
	_i=$1
	while [ "$_i" -le "$2" ]; do
		case $((_i % 4)) in
		1) _more='INSERT INTO u VALUES(randomblob(30000))' ;;
		3) _more='DELETE FROM u; VACUUM' ;;
		*) _more='SELECT 1' ;;
		esac
		sql "$db" "$_more; UPDATE t SET a = $_i" >/dev/null
		poll 15 has "$_i" || return
		_i=$((_i + 1))
	done
}
same() {	# the standby's content is the source's
	[ "$(dump "$out")" = "$(dump "$db")" ] &&
	    [ "$(sql "$out" 'PRAGMA integrity_check')" = ok ]
}

sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a); CREATE TABLE u(b);
    INSERT INTO t VALUES(0)' >/dev/null

# Theirs
start peer "$PEER" replicate "$db" "$url"; writer=$PID
poll 15 begun
start follow "$LS" restore -f -o "$out" "$url"; follower=$PID
ok 'we follow what they write' poll 15 has 0
ok 'and keep up' commits 1 8
ok 'we end' end $follower
ok 'they end' end $writer
ok 'the standby is the source' same
is 'nothing is doubted' "$(grep -c 'WARN\|ERROR' "$T/follow")" 0

# We go on writing, they follow; their standby is ours afterwards.
start ours "$LS" replicate "$db" "$url"; writer=$PID
rm "$out"*
start pfollow "$PEER" restore -f -follow-interval 100ms -o "$out" "$url"
follower=$PID
ok 'they follow what we write' poll 15 has 8
ok 'and keep up, too' commits 9 14
ok 'they stop following' end $follower
start follow "$LS" restore -f -o "$out" "$url"; follower=$PID
ok 'we go on with their standby' commits 15 18
ok 'we end again' end $follower
ok 'our writer ends' end $writer
ok 'the standby they began is the source' same

# And back.
start peer "$PEER" restore -f -follow-interval 100ms -o "$out" "$url"
poll 15 grep 'entering follow mode\|cannot resume' "$T/peer"
# They ask the newest snapshot, which a follower is ahead of as a rule.
matches 'they read our OUT-txid' "$T/peer" \
    "saved TXID $(cat "$out-txid") is ahead of latest snapshot"
done_testing
