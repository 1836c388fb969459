#!/bin/sh
# SPDX-License-Identifier: ISC
# The replica is full, gone or deleted while the application writes: the WAL
# stays bounded, nothing is written where the replica was, and all is exact
# when it is back.
. "$(dirname "$0")/lib.sh"

mkdir "$T/db" "$T/disk" "$T/root"
_unmount() {
	umount -l "$T/root" "$T/disk" "$T/db" "$T/tiny" 2>/dev/null
	_cleanup
}
trap _unmount EXIT
mount -t tmpfs -o size=32m tmpfs "$T/db" 2>"$T/err" ||
    skip_all "cannot mount: $(head -n 1 "$T/err")"

cat >"$T/app.py" <<'END'
import os, sqlite3, sys, time
db, megabytes = sys.argv[1], float(sys.argv[2])
c = sqlite3.connect(db, isolation_level=None, timeout=10)
size = largest = 0
for i in range(int(megabytes * 20)):
    c.execute('UPDATE t SET b=randomblob(length(b)) WHERE id/100=?', (i % 10,))
    size = os.path.getsize(db + '-wal')
    largest = max(largest, size)
    # Fast, but when the disk is nearly full so slow that we can keep up.
    time.sleep(.001 if size < 23 << 20 else .006)
print('WAL %d KB at most' % (largest // 1024))
END
app() { python3 "$T/app.py" "$db" "$1"; }
replicated() { poll 20 restore_same "$db" "$dir"; }
make_db() {	# 500 KB; app 1 writes a megabyte
	sql "$db" 'PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 1000) INSERT INTO t(b) SELECT randomblob(480) FROM c' \
	    >/dev/null
}

# Full.  The database's own disk has 32 MB; the application writes more.
db=$T/db/a.db dir=$T/disk/a
make_db
mount -t tmpfs -o size=2m tmpfs "$T/disk"
start_replicate "$db" "$dir"
ok 'first backup' replicated
ok 'full: the application writes 40 MB on a disk of 32' app 40
sed 's/^/# /' "$T/out"
poll 10 grep -q 'level=ERROR.*[Nn]o space' "$T/log"
result $? 'full: it is said'
kill -0 "$PID"; result $? 'full: we live'
is 'full: nothing half-written is left' \
    "$(find "$dir" -name '*.tmp' -size +0)" ''
rm -f "$T/r.db"
ok 'full: what is there restores' "$LS" restore -o "$T/r.db" "file://$dir"
is 'full: and has integrity' "$(sql "$T/r.db" 'PRAGMA integrity_check')" ok
mount -o remount,size=40m "$T/disk"
ok 'not full any more: all is there' replicated
ok 'not full any more: the application goes on' app 1
ok 'not full any more: all of that' replicated
stop_replicate; result $? 'not full any more: clean stop'
ok 'not full any more: restored' restore_same "$db" "$dir"
rm -rf "$dir" "$T"/db/* "$T"/db/.a*

# Full from the start.
db=$T/db/b.db dir=$T/disk/b
make_db
mount -o remount,size=200k "$T/disk"
status 1 'full from the start, -once' \
    "$LS" replicate -once "$db" "file://$dir"
matches 'full from the start, -once: it is said' "$T/err" \
    '^Error: .*[Nn]o space left'
mount -o remount,size=40m "$T/disk"
ok 'then not' "$LS" replicate -once "$db" "file://$dir"
ok 'then not: restored' restore_same "$db" "$dir"

# Gone: what it was mounted on must stay empty.
mount --bind "$T/disk" "$T/root"
dir=$T/root/b
start_replicate "$db" "$dir"
app 1 >"$T/out"
ok 'mounted' replicated
umount -l "$T/root"
ok 'unmounted: the application writes 38 MB' app 38
sed 's/^/# /' "$T/out"
kill -0 "$PID"; result $? 'unmounted: we live'
poll 15 grep -q -E 'level=(ERROR|WARN).*(mount|not there|gone)' "$T/log"
result $? 'unmounted: it is said'
is 'unmounted: nothing is written there' "$(ls -A "$T/root")" ''
mount --bind "$T/disk" "$T/root"
ok 'mounted again: all is there' replicated
app 1 >"$T/out"
ok 'mounted again: a commit' replicated
kill_replicate
umount -l "$T/root"
status 1 'not mounted at the start, -once' \
    "$LS" replicate -once "$db" "file://$dir"
is 'not mounted at the start: nothing is written there' \
    "$(ls -A "$T/root")" ''
mount --bind "$T/disk" "$T/root"

# Deleted, where its parent is still there: made again.
start_replicate "$db" "$dir"
ok 'started again' replicated
rm -rf "$dir"
app 1 >"$T/out"
ok 'deleted: made again, all is there' replicated
kill -0 "$PID"; result $? 'deleted: we live'
rm "$(find "$dir/ltx" -name '*.ltx' | sort | tail -n 1)"
rm -rf "$dir/ltx"
app 1 >"$T/out"
ok 'its files deleted: all is there' replicated
stop_replicate; result $? 'deleted: clean stop'
ok 'deleted: restored' restore_same "$db" "$dir"

# Full from the start: the attempts are not said one by one.
mkdir "$T/tiny"
mount -t tmpfs -o size=64k tmpfs "$T/tiny"
sql "$T/b.db" 'CREATE TABLE t(b); INSERT INTO t VALUES(randomblob(400000))'
start_replicate "$T/b.db" "$T/tiny/r" -log-level debug
poll 20 grep -q 'level=DEBUG msg="comparing' "$T/log"
result $? 'full from the start: tried again'
is 'full from the start: said once' \
    "$(grep -c 'level=INFO msg="comparing' "$T/log")" 1
kill -TERM "$PID"
poll 20 grep -q 'level=WARN msg="not all is in.*No space left' "$T/log"
result $? 'full from the start: the end is said to take a while'
kill_replicate
umount -l "$T/tiny"
done_testing
