#!/bin/sh
# SPDX-License-Identifier: ISC
# check: status 0 only if replication would work; nothing is changed.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

mkdir data backup
db=$T/data/a.db dir=$T/backup/replica
url=file://$dir
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
    INSERT INTO t VALUES(1)' >/dev/null
# STATUS TITLE REGEX: of data and backup nothing changes, no name, no byte
check() {
	_n=$1 _t=$2 _why=$3
	_was=$(find data backup -exec ls -ld {} + | awk '{ print $1, $3, $NF }';
	    find data backup -type f -exec cksum {} +)
	status "$_n" "$_t" timeout 60 "$LS" check "$db" "$url"
	matches "$_t: says so" "$T/out" "$_why"
	is "$_t: changes nothing" "$(find data backup -exec ls -ld {} + |
	    awk '{ print $1, $3, $NF }'; find data backup -type f \
	    -exec cksum {} +)" "$_was"
}

check 0 'all is well' \
    "^# ok    replica $dir: .*not there yet: tried in $T/backup, .*read back"
matches 'the database' "$T/out" \
    '^# ok    database .*opened and pinned, page size 4096, journal mode wal'
matches 'the replica is new' "$T/out" 'new, the first backup is to be made'
is 'no failure' "$(grep -c FAIL "$T/out")" 0
sql "$T/data/r.db" 'CREATE TABLE t(a)'
_db=$db; db=$T/data/r.db
check 0 'a rollback journal' 'will be switched to WAL'
is 'it is not switched' "$(sql "$db" 'PRAGMA journal_mode')" delete
db=$T/data/absent.db
check 0 'no database yet' '^# warn  database .*absent\.db: not there yet'
db=$T/data/text.db
echo 'this is a text, and a long one, which is no database at all' >"$db"
check 1 'a text' '^# FAIL  .*text\.db: file is not a database'
db=$_db

# Held by others.
sqlite3 "$db" >"$T/held" 2>&1 <<END &
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = DELETE;
BEGIN EXCLUSIVE;
.shell touch $T/begun; while test ! -e $T/over; do sleep 0.05; done
END
HOLDER=$!; track "$HOLDER"
poll 10 test -e "$T/begun"; result $? 'an application holds it exclusively'
status 1 'held exclusively' timeout 60 "$LS" check "$db" "$url"
matches 'held exclusively: says so' "$T/out" '^# FAIL  .*locked'
touch "$T/over"; wait "$HOLDER"
sql "$db" 'PRAGMA journal_mode = WAL' >/dev/null

# A replica of ours, while it is written and after.
start_replicate "$db" "$dir"
poll 20 "$LS" sync -wait -timeout 5s "$db"; result $? 'a replicator'
status 0 'beside it' "$LS" check "$db" "$url"
matches 'it is named' "$T/out" "is being replicated, by pid $PID"
status 1 'its replica for another database' "$LS" check "$T/data/r.db" "$url"
matches 'who has it' "$T/out" "^# FAIL  .*locked by another process.*$PID"
stop_replicate; result $? 'clean stop'
check 0 'ours' "^# ok    replica $dir: of this database, to be continued"
db=$T/data/r.db
check 1 'that of another database' '^# FAIL  replica .*cannot be told'
db=$_db
newest=$(find "$dir/ltx/0" -name '*.ltx' | sort | tail -n 1)
cp "$newest" "$T/newest"; printf x >>"$newest"
check 0 'its newest file is damaged' '^# warn  replica .*by a full image'
cp "$T/newest" "$newest"

# Places that cannot be written.
: >"$T/backup/file"
dir=$T/backup/file/replica url=file://$T/backup/file/replica
check 1 'a file in the way' '^# FAIL  .*Not a directory'
dir=$T/backup/replica url=file://$dir
if [ "$(id -u)" -ne 0 ]; then
	chmod 500 "$dir"
	check 1 'a replica that may not be written' \
	    '^# FAIL  .*Permission denied'
	chmod 700 "$dir"
else
	skip 'a replica that may not be written' 'this is root'
fi

# The configuration, with all that it means.
cat >"$T/litestream.yml" <<END
snapshot: { interval: 90m }
dbs:
  - path: $db
    replica: { path: $dir }
  - dir: $T/data
    pattern: 'r*.db'
    truncate-page-n: 500
    replica: { url: file://$T/backup/more, sync-interval: 2500ms }
END
ok 'a configuration' "$LS" check -config litestream.yml
cp "$T/out" "$T/effective.yml"
matches 'what was given' "$T/out" '^  interval: 1h30m0s$'
matches 'what was not' "$T/out" '^l0-retention: 5m0s$'
matches 'a database in a directory is tried' "$T/out" \
    '^# ok    database .*/data/r\.db'
ok 'what it prints is a configuration' "$LS" check -config effective.yml
is 'the same one' "$(grep -v '^#' "$T/out")" \
    "$(grep -v '^#' "$T/effective.yml")"
echo 'snapsot: {}' >>litestream.yml
status 2 'a configuration that is wrong' "$LS" check -config litestream.yml
status 2 'one operand' "$LS" check "$db"
ok 'help' "$LS" check -h
is 'no probe file is left' "$(find "$T" -name '.litestream-check*')" ''
done_testing
