#!/bin/sh
# SPDX-License-Identifier: ISC
# Two replicators, and two databases on one replica.
. "$(dirname "$0")/lib.sh"

for n in a b; do
	sql "$T/$n.db" "PRAGMA journal_mode = WAL; CREATE TABLE t$n(x);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 99) INSERT INTO t$n SELECT randomblob(900) FROM c" \
	    >/dev/null
done
files() { find "$1/ltx" -name '*.ltx' | sort | xargs cksum; }

start_replicate "$T/a.db" "$T/ra"
ok 'the first one' poll 10 restore_same "$T/a.db" "$T/ra"
files "$T/ra" >"$T/before"
second() {	# TITLE ARGS: exits at once, naming the first one
	_title=$1 _t0=$(date +%s); shift
	status 5 "$_title" timeout 20 "$LS" replicate "$@"
	[ $(($(date +%s) - _t0)) -le 2 ]; result $? "$_title: at once"
	cat "$T/out" >>"$T/err"
	matches "$_title: names the pid" "$T/err" "(^|[^0-9])$PID([^0-9]|\$)"
}
second 'the same database and replica' "$T/a.db" "file://$T/ra"
second 'the same, -once' -once "$T/a.db" "file://$T/ra"
second 'the same database, another replica' "$T/a.db" "file://$T/rx"
second 'another database, the same replica' "$T/b.db" "file://$T/ra"
ln -s a.db "$T/l.db"
second 'the same database by another name' "$T/l.db" "file://$T/ra"
ln -s ra "$T/rl"
second 'the same replica by another name' "$T/b.db" "file://$T/rl"
[ ! -e "$T/rx/ltx" ]; result $? 'nothing was made for the other replica'
is 'nothing was written to the replica' "$(files "$T/ra")" "$(cat "$T/before")"
kill -0 "$PID"; result $? 'the first one lives'
sql "$T/a.db" 'INSERT INTO ta VALUES(1)'
ok 'and replicates' poll 10 restore_same "$T/a.db" "$T/ra"
kill_replicate
ok 'a killed one leaves nothing behind that stops the next' \
    "$LS" replicate -once "$T/a.db" "file://$T/ra"
ok 'which is right' restore_same "$T/a.db" "$T/ra"

# Another database's replica.
ok 'another database, its own replica' \
    "$LS" replicate -once "$T/b.db" "file://$T/rb"
files "$T/ra" >"$T/before"
foreign() {	# TITLE ARGS
	_title=$1; shift
	status 6 "$_title" timeout 20 "$LS" replicate "$@" \
	    "$T/b.db" "file://$T/ra"
	cat "$T/out" >>"$T/err"
	matches "$_title: the way out" "$T/err" '-adopt'
	is "$_title: nothing is written" "$(files "$T/ra")" \
	    "$(cat "$T/before")"
}
foreign "another database's replica, -once" -once
foreign "another database's replica"
rm -rf "$T/.b.db-litestream"
foreign "another database's replica, no local state" -once
txid=$("$LS" ltx "file://$T/ra" | awk 'END { print $3 }')
ok '-adopt' "$LS" replicate -once -adopt "$T/b.db" "file://$T/ra"
ok '-adopt: restored' restore_same "$T/b.db" "$T/ra"
rm -f "$T/r.db"
ok '-adopt: what was there restores' "$LS" restore -txid "$txid" \
    -o "$T/r.db" "file://$T/ra"
is '-adopt: and is what it was' "$(dump "$T/r.db")" "$(dump "$T/a.db")"
ok '-adopt: not needed again' "$LS" replicate -once "$T/b.db" "file://$T/ra"
status 6 '-adopt: the first database has lost it' \
    "$LS" replicate -once "$T/a.db" "file://$T/ra"

# Moved or restored: most pages are the same, no local state.
mkdir "$T/elsewhere"
mv "$T/b.db" "$T/elsewhere/c.db"
ok 'a database that was moved is known by its pages' \
    "$LS" replicate -once "$T/elsewhere/c.db" "file://$T/ra"
ok 'a database that was moved: restored' \
    restore_same "$T/elsewhere/c.db" "$T/ra"
done_testing
