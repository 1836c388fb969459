#!/bin/sh
# SPDX-License-Identifier: ISC
# The last resort of checkpoints: a WAL past 16384 frames that neither windows
# nor patience make shorter, since writers never pause.  It is copied under the
# write lock, of which they notice nothing.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
cat >writer.py <<'END'
import os, random, sqlite3, sys, threading, time
FRAMES = 17000
db = 'a.db'
def connect():
    c = sqlite3.connect(db, isolation_level=None, timeout=10,
                        check_same_thread=False)
    c.execute('PRAGMA wal_autocheckpoint = 0')
    return c
def frames():
    return os.path.getsize(db + '-wal') // 536
c, reader = connect(), connect()
reader.execute('BEGIN')
reader.execute('SELECT count(*) FROM t').fetchall()
n = 0
def commit(rows):
    global n
    c.execute('BEGIN IMMEDIATE')
    for _ in range(rows):
        c.execute('UPDATE t SET b = randomblob(400) WHERE a = ?', (n % 500,))
        n += 1
    c.execute('COMMIT')
while frames() < FRAMES:
    commit(400)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:       # no pause
    commit(3)
reader.execute('COMMIT')
first = frames()
salt = open(db + '-wal', 'rb').read(24)[16:]
end = time.monotonic() + 20         # the WAL begins anew
while open(db + '-wal', 'rb').read(24)[16:] == salt and \
        time.monotonic() < end:
    commit(3)
print('%d commits, %d frames' % (n, first))
sys.exit(open(db + '-wal', 'rb').read(24)[16:] == salt)
END
sql a.db 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL;
    CREATE TABLE t(a INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(x) AS (VALUES(0) UNION ALL SELECT x + 1 FROM c
    WHERE x < 499) INSERT INTO t SELECT x, randomblob(400) FROM c' >/dev/null
start_replicate "$T/a.db" "$T/r"
poll 20 test -e r/ltx/9/0000000000000001-0000000000000001.ltx
ok 'writers without a pause get no error, and the WAL begins anew' \
    python3 writer.py "${LOCKED_SECONDS:-4}"
sed 's/^/# /' out
ok 'a clean stop' stop_replicate
is 'no error' "$(grep level=ERROR log)" ''
ok 'restored' restore_same "$T/a.db" "$T/r"
ok 'whole' "$LS" verify "file://$T/r"
done_testing
