#!/bin/sh
# SPDX-License-Identifier: ISC
# sync: what was committed before it returned is in the replica, whatever
# happens to the replicator then.  SYNC_ROUNDS=100 SYNC_SEED=n: the long form.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

mkdir backup
db=$T/a.db dir=$T/backup/replica
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
sync() { "$LS" sync "$@" "$db"; }
running() { sync -wait -timeout 5s; }

status 1 'no replicator' sync -wait
matches 'it says so' "$T/err" '^Error: .*a\.db: no replicator is running'
matches 'and the way out' "$T/err" '^Try: litestream replicate -once '
is 'nothing is made' "$(ls -A)" 'a.db
backup
err
out'
status 1 'no database' "$LS" sync -wait "$T/absent.db"
status 2 'no operand' "$LS" sync -wait
status 2 'two operands' "$LS" sync -wait a b
status 2 'a timeout of 0' sync -timeout 0
status 2 'a timeout that is none' sync -timeout soon
ok 'help' "$LS" sync -h

# Killed at once: restored all the same.
start_replicate "$db" "$dir"
ok 'it answers' poll 20 running
sql "$db" 'INSERT INTO t VALUES(1)'
ok 'sync' sync -wait
kill_replicate
ok 'killed: all of it is there' restore_same "$db" "$dir"
status 1 'killed: not running' sync -wait
start_replicate "$db" "$dir"
ok 'it answers again' poll 20 running
ok 'again, with nothing new' sync -wait
ok 'JSON' sync -json -wait
matches 'TXID in JSON' "$T/out" '"replica_txid": [1-9]'
ok 'without -wait, and JSON' sync -json
is 'as Litestream names it' "$(sed 's/: .*//' "$T/out")" '{
  "db_path"
  "txid"
  "duration_ms"
}'
ok 'text' sync -timeout 30
is 'its lines' "$(sed 's/: .*//' "$T/out")" 'db_path
txid
duration_ms'

# All in the WAL, none of it, no WAL.
sql "$db" 'INSERT INTO t VALUES(2); PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
ok 'after a checkpoint' sync -wait
ok 'restored' restore_same "$db" "$dir"

# Replaced under it: what the path leads to counts.
sql "$T/b.db" 'PRAGMA journal_mode = WAL; CREATE TABLE u(b);
    INSERT INTO u VALUES(7)' >/dev/null
rm -f "$db-wal" "$db-shm"; mv "$T/b.db" "$db"
ok 'replaced by another file' sync -wait
ok 'that one is restored' restore_same "$db" "$dir"

# A replicator that is asked late: sync-interval does not hold it up.
stop_replicate; result $? 'clean stop'
cat >"$T/litestream.yml" <<END
dbs:
  - path: $db
    meta-path: $T/meta
    replica: { path: $dir, sync-interval: 1h }
END
"$LS" replicate -config litestream.yml >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'meta-path from the configuration' poll 20 "$LS" sync -wait -timeout 5s \
    -config litestream.yml a.db
sql "$db" 'INSERT INTO u VALUES(8)'
ok 'an interval of an hour' "$LS" sync -wait -config litestream.yml "$db"
ok 'is no delay' restore_same "$db" "$dir"

# What fails is not waited for longer than asked.
mv backup away
sql "$db" 'INSERT INTO u VALUES(9)'
status 1 'the replica is gone' "$LS" sync -wait -timeout 1s \
    -config litestream.yml "$db"
matches 'how far it got' "$T/err" \
    '^Error: .*not in the replica after 1000 ms: .*TXID 0'
mv away backup
ok 'it is back' "$LS" sync -wait -config litestream.yml "$db"
ok 'with everything' restore_same "$db" "$dir"
stop_replicate; result $? 'clean stop'

# What arrives is no answer before all has: one transaction is on its way and
# hangs, another is committed, sync is called, the first arrives.
if command -v "${CC:-cc}" >/dev/null; then
	# shellcheck disable=SC2086
	${CC:-cc} ${CFLAGS:-} -shared -fPIC -o "$T/shim.so" \
	    "$TESTS/shim.c" -ldl || exit 1
	db=$T/h.db dir=$T/h
	sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
	SHIM_HANG=$T/hang SHIM_ROOT=$dir LD_PRELOAD=$T/shim.so "$LS" replicate \
	    "$db" "file://$dir" >"$T/log" 2>&1 </dev/null &
	PID=$!; track "$PID"
	ok 'with a disk that can hang' poll 20 running
	file() { printf '%s/ltx/0/%016x-%016x.ltx' "$dir" "$1" "$1"; }
	hang() { file "$1" >"$T/next"; mv "$T/next" "$T/hang"; }
	hang 2
	sql "$db" 'INSERT INTO t VALUES(1)'
	ok 'the first hangs' poll 10 test -e "$(file 2).tmp"
	sql "$db" 'INSERT INTO t VALUES(2)'
	: >"$T/before"
	{ "$LS" sync -wait "$db" >"$T/synced" 2>&1; echo $? >"$T/returned"; } &
	SYNC=$!; track "$SYNC"
	ok 'sync asks' poll 10 test "$T/.h.db-litestream/status" -nt \
	    "$T/before"
	hang 3
	ok 'the first arrives, the second hangs' poll 10 test -e \
	    "$(file 3).tmp"
	status 1 'sync has not returned' poll 1 test -e "$T/returned"
	rm "$T/hang"
	wait "$SYNC"
	is 'it returns with the second' "$(cat "$T/returned")" 0
	kill_replicate
	ok 'which is there' restore_same "$db" "$dir"
else
	skip 'transactions that hang' 'no C compiler'
fi

# A replicator that cannot tell anything.
sql mute.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
mkdir -p .mute.db-litestream/status
start_replicate mute.db "$T/mute"
ok 'one that is mute' poll 20 restore_same mute.db "$T/mute"
status 1 'is waited for in vain' "$LS" sync -timeout 1 mute.db
is 'no TXID is made up' "$(grep -E 'TXID|1970' "$T/err")" ''
stop_replicate
result $? 'a clean stop'

seed=${SYNC_SEED:-$(date +%s)}
echo "# seed $seed"
mkdir "$T/p"
ok 'kill -9 after each sync, beside writers and checkpoints' \
    timeout "${SYNC_TIME:-120}" python3 "$TESTS/sync.py" "$LS" "$T/p" \
    "${SYNC_ROUNDS:-4}" "$seed"
sed 's/^/# /' "$T/out"
done_testing
