#!/bin/sh
# SPDX-License-Identifier: ISC
# status: one word for each situation, with and without a replicator, and the
# exit status that a monitor needs.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

mkdir "$T/backup"
db=$T/a.db dir=$T/backup/replica
cat >"$T/get.py" <<'END'
import json, sys
rows = json.load(open(sys.argv[1]))
print(*[r[k] for r in rows for k in sys.argv[2:]])
END
get() {	# KEY...: of all databases, from $T/out
	python3 "$T/get.py" "$T/out" "$@"
}
st() { "$LS" status "$@" "$db" "file://$dir"; }
# STATUS WORD TITLE [FLAGS]: that exit status, that word
says() {
	_n=$1 _word=$2 _t=$3; shift 3
	status "$_n" "$_t: status $_n" st -json "$@"
	is "$_t: $_word" "$(get status)" "$_word"
}
word() { st -json >"$T/w" 2>&1; python3 "$T/get.py" "$T/w" status; }
becomes() { [ "$(word)" = "$1" ]; }
reach() { ok "$2" poll 15 becomes "$1"; }
insert() { sql "$db" "INSERT INTO t VALUES(1)"; }
# Two connections that stay open, a writer (9) and a reader (8).
mkfifo "$T/8" "$T/9"
apps() {
	sqlite3 "$db" <"$T/9" >"$T/app" 2>&1 &
	track $!; exec 9>"$T/9"
	sqlite3 "$db" <"$T/8" >"$T/app" 2>&1 9>&- &
	READER=$!; track "$READER"; exec 8>"$T/8"
}
tell() {	# FD SQL: done when this returns
	rm -f "$T/told"
	printf '%s\n.shell touch "%s/told"\n' "$2" "$T" >&"$1"
	poll 10 test -e "$T/told"
}
apps_end() {
	echo .quit >&8; echo .quit >&9; exec 8>&- 9>&-
	wait "$READER"
}
sorted() { printf '%s\n' "$@" | sort | tr '\n' ' '; }

says 1 'no database' 'no database'
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
says 1 'not initialized' 'never replicated'
[ ! -e "$dir" ] && [ ! -e "$T/.a.db-litestream" ]
result $? 'nothing is made'

ok 'once' "$LS" replicate -once "$db" "file://$dir"
says 0 stopped 'after -once'
is 'no commit is missing' "$(get lag_commits lag_ms)" '0 0'
status 1 'nobody runs: -running' st -running
insert
says 1 unknown 'a commit that was checkpointed since'

apps
start_replicate "$db" "$dir"
tell 9 'INSERT INTO t VALUES(2);'
reach ok 'a replicator and an application'
says 0 ok 'running' -running
is 'who it is' "$(get running pid)" "True $PID"
is 'the replicator reads the WAL' "$(get wal_readers)" "[$PID]"
is 'TXIDs of both sides are the same' "$(get local_txid)" \
    "$(get replica_txid)"
tell 8 'BEGIN; SELECT * FROM t;'
tell 9 'INSERT INTO t VALUES(3);'
reach ok 'a transaction that reads what was before'
readers() {	# at another place than the replicator
	st -json >"$T/out"
	# shellcheck disable=SC2046
	[ "$(sorted $(get wal_readers | tr -d '[],'))" = \
	    "$(sorted "$PID" "$READER")" ]
}
ok 'it keeps the WAL, too' poll 10 readers

# Upstream's columns come first, in its words.
ok 'as a table' st
is 'columns' "$(sed -n 1p "$T/out" | cut -c1-8,$((${#db} + 3))-)" \
    "$(sed -n 1p "$T/out" | sed 's/^database *status/databasestatus/')"
matches 'the table: ok, TXID, size' "$T/out" \
    "^$db  ok      [0-9a-f]{16}  [0-9.]+ k?B "

# Killed: what it had published counts, what came after is behind.
kill_replicate
says 0 stopped 'killed with all published'
tell 9 'INSERT INTO t VALUES(3); INSERT INTO t VALUES(4);'
says 1 behind 'two commits later'
is 'it says how many' "$(get lag_commits lag_is_minimum)" '2 False'
matches 'the table says so' "$T/out" behind
# A whole WAL later: at least those that are in it.
tell 8 'COMMIT;'
tell 9 'PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(5);'
says 1 behind 'in another generation of the WAL'
is 'it says at least how many' "$(get lag_commits lag_is_minimum)" '1 True'
tell 9 'PRAGMA wal_checkpoint(TRUNCATE);'
says 1 unknown 'with nothing in the WAL'

start_replicate "$db" "$dir"
reach ok 'it catches up'
ok 'idle, it notes the database file' \
    poll 20 grep -q '^complete 1' "$T/.a.db-litestream/status"
kill_replicate
says 0 stopped 'killed while idle'
start_replicate "$db" "$dir"
reach ok 'running again'
stop_replicate; result $? 'clean stop'
says 0 stopped 'stopped'
tell 9 'INSERT INTO t VALUES(6);'
says 1 behind 'a commit after the end'
apps_end

# What lasts is said, and what was.
start_replicate "$db" "$dir"
reach ok 'running again'
mv "$dir/ltx/0" "$T/0"; : >"$dir/ltx/0"
insert
poll 20 becomes error
says 1 error 'the replica cannot be written'
matches 'and why' "$T/out" '"error": ".*replica/ltx/0'
rm "$dir/ltx/0"; mv "$T/0" "$dir/ltx/0"
reach ok 'over'
st -json >"$T/out"
is 'no error any more' "$(get error)" ''
matches 'the last one stays known' "$T/out" '"last_error": ".*replica'
kill_replicate
start_replicate "$db" "$dir"
reach ok 'a new replicator'
matches 'knows it, too' "$T/w" '"last_error": ".*replica'
mv "$T/backup" "$T/backup.away"
insert
poll 20 becomes away
says 1 away 'the replica is not mounted'
mv "$T/backup.away" "$T/backup"
reach ok 'mounted again'
mv "$db" "$db.aside"
reach 'no database' 'the database is moved away'
mv "$db.aside" "$db"
reach ok 'and back'

# Paths, links and configurations.
cat >"$T/litestream.yml" <<END
dbs:
  - path: $db
    replica: { path: $dir }
  - path: $T/absent.db
    replica: { path: $T/absent }
END
status 1 'a configuration with a database that is absent' \
    "$LS" status -config litestream.yml -json
is 'one word each' "$(get status)" 'ok no database'
ok 'one of it' "$LS" status -config litestream.yml -json a.db
is 'by its relative path' "$(get database)" "$db"
ln -s a.db link.db
ok 'and by a link' "$LS" status -config litestream.yml -json link.db
is 'it is the same' "$(get database)" "$db"
status 2 'one that it does not have' \
    "$LS" status -config litestream.yml other.db
ok 'without any configuration' env LITESTREAM_CONFIG="$T/none.yml" \
    "$LS" status -json a.db
is 'the replica is known from the replicator' "$(get replica)" "$dir"
status 2 'no configuration, no operand' env \
    LITESTREAM_CONFIG="$T/none.yml" "$LS" status
status 1 'a name with an escape' env LITESTREAM_CONFIG="$T/none.yml" \
    "$LS" status "$(printf '\033x.db')"
matches 'reaches no terminal' "$T/out" '^/.*\\x1bx\.db'
status 1 'a directory' "$LS" status -json "$T"
matches 'is none' out '"error": ".*: not a regular file"'
status 1 'sync of one' "$LS" sync "$T"
matches 'says the same' err '^Error: .*: not a regular file'
status 2 'no time at all' "$LS" status -timeout 0s "$db"
status 2 'an unknown flag' "$LS" status -nonsense
ok 'help' "$LS" status -h

# What verify has noted.
st -json >out
is 'not verified yet' "$(get verify_time verify_outcome)" ' '
ok 'verify' "$LS" verify "file://$dir"
[ ! -e "$dir/.verified" ]; result $? 'writes nothing'
ok 'verify -record' "$LS" verify -record "file://$dir"
ok 'is a file' test -f "$dir/.verified"
reach ok 'noted'
st -json >out
matches 'when' out '"verify_time": "20[0-9-]*T'
is 'that it is whole' "$(get verify_outcome)" ok
is 'and which' "$(get verify_txid)" "$(get replica_txid)"
file=$(find "$dir/ltx/9" -name '*.ltx')
cp "$file" good.ltx
printf x | dd of="$file" bs=1 seek=150 conv=notrunc 2>/dev/null
status 4 'damaged' "$LS" verify -record "file://$dir"
says 1 error 'verified as damaged'
matches 'why' out '"error": ".*last verification found it damaged'
cp good.ltx "$file"
ok 'mended' "$LS" verify -record "file://$dir"
reach ok 'verified again'
echo '1 7 zz' >"$dir/.verified"
reach ok 'noise in its place'

# The meta directory is a cache: it may be removed at any time.
stop_replicate; result $? 'clean stop'
start_replicate "$db" "$dir"
reach ok 'a replicator'
before=$(grep -c -e comparing -e opening log)
mv "$T/.a.db-litestream" "$T/was"
reach ok 'its meta directory is removed: that is made anew'
ok 'and it hears' "$LS" sync "$db"
status 5 'there is a lock again' \
    "$LS" replicate -once "$db" "file://$T/backup/other"
rm "$T/.a.db-litestream/status"
reach ok 'only the status file'
ok 'it hears' "$LS" sync "$db"
is 'nothing is compared or opened again' \
    "$(grep -c -e comparing -e opening log)" "$before"

# Damage to the status file is not believed, nor is a link followed.
stop_replicate; result $? 'clean stop'
file=$T/.a.db-litestream/status
is 'it has 1024 bytes' "$(wc -c <"$file" | tr -d ' ')" 1024
cp "$file" "$T/good"
damaged() {	# TITLE
	status 1 "$1" st -json
	is "$1: not believed" "$(get status)" 'not initialized'
	cp "$T/good" "$file"
}
sed 's/^state stopped/state stoppeD/' "$T/good" >"$file"
damaged 'a flipped bit'
head -c 1000 "$T/good" >"$file"; damaged 'a short file'
: >"$file"; damaged 'an empty file'
head -c 1024 /dev/urandom >"$file"; damaged 'noise'
head -c 1024 /dev/zero >"$file"; damaged 'zeros'
rm "$file"; mkfifo "$file"
status 1 'a fifo' st -json
is 'a fifo: not believed' "$(get status)" 'not initialized'
rm "$file"; mkdir "$file"
ok 'a directory in its place does not stop us' \
    "$LS" replicate -once "$db" "file://$dir"
rmdir "$file"; echo kept >"$T/target"; ln -s "$T/target" "$file"
ok 'nor does a link' "$LS" replicate -once "$db" "file://$dir"
is 'its target is untouched' "$(cat "$T/target")" kept
[ ! -L "$file" ]; result $? 'the link is replaced'
says 0 stopped 'and status works again'

done_testing
