#!/bin/sh
# SPDX-License-Identifier: ISC
# The main job on a small database: replicate it live, kill the replicator, go
# on writing, checkpoint, restart, restore, compare.
. "$(dirname "$0")/lib.sh"

db=$T/app.db
replica=$T/backup

fail() {
	echo "demo: $*" >&2
	tail -n 20 "$T/log" "$T/err" >&2
	exit 1
}

# app SQL: the application, which keeps its connection open, runs this
mkfifo "$T/app"
sqlite3 -batch -bail "$db" <"$T/app" >"$T/answers" 2>"$T/err" &
track $!
app_pid=$!
exec 3>"$T/app"
asked=0
app() {
	asked=$((asked + 1))
	echo "$1; SELECT 'done $asked';" >&3
	poll 30 grep -q "^done $asked\$" "$T/answers" || fail "not done: $1"
}

write() {
	app "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
	    WHERE i < $1) INSERT INTO t(b) SELECT randomblob(200) FROM n"
}

bytes() {
	cat "$replica"/ltx/0/*.ltx | wc -c
}

# sent: whether the replica's newest file is another than that in $T/newest
newest() {
	for f in "$replica"/ltx/0/*.ltx; do :; done
	echo "$f"
}
sent() {
	[ "$(newest)" != "$(cat "$T/newest")" ]
}

say() {
	n=$((${n:-0} + 1))
	printf '%2d. %s\n' "$n" "$*"
}

app 'PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB)'
write 5000
say "app.db has 5000 rows, the application has it open"
start_replicate "$db" "$replica"
poll 30 ls "$replica"/ltx/0/0000000000000001-0000000000000001.ltx ||
    fail 'no first backup'
say "litestream replicate app.db file://DIR: first backup of" \
    "$(($(bytes))) bytes"
newest >"$T/newest"
write 500
poll 30 sent || fail 'nothing was replicated'
say '500 more rows are in the replica as they are written'
kill_replicate
say 'kill -9 of the replicator'
write 500
say 'the application goes on: 500 rows'
app 'PRAGMA wal_checkpoint(FULL)'
say 'the application runs a FULL checkpoint'
write 500
say 'the application goes on: 500 rows'
before=$(bytes)
newest >"$T/newest"
start_replicate "$db" "$replica"
poll 30 sent || fail 'it did not catch up'
stop_replicate || fail "exit status $? after SIGTERM"
say "replicator restarted: sent $(($(bytes) - before)) bytes," \
    'stopped by SIGTERM, exit status 0'
exec 3>&-
wait "$app_pid"
restore_same "$db" "$replica" >"$T/out" 2>"$T/err" ||
    fail "restored another database"
say "litestream restore: $(sql "$T/r.db" 'SELECT count(*) FROM t') rows of" \
    "$(sql "$db" 'SELECT count(*) FROM t'), integrity ok," \
    'every byte as in app.db'
