#!/bin/sh
# SPDX-License-Identifier: ISC
# An application without a busy timeout does not notice us.  BUSY_SECONDS=30 is
# the long form.
. "$(dirname "$0")/lib.sh"

seconds=${BUSY_SECONDS:-4}
db=$T/a.db dir=$T/replica
cat >"$T/app.py" <<'END'
import sqlite3, sys, time
db, seconds = sys.argv[1], float(sys.argv[2])
c = sqlite3.connect(db, isolation_level=None, timeout=0)
c.execute('PRAGMA journal_mode=WAL')
c.execute('PRAGMA synchronous=NORMAL')
c.execute('CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, b)')
busy = n = 0
slowest = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    t = time.monotonic()
    try:
        if n % 2:
            c.execute('INSERT INTO t(b) VALUES(randomblob(700))')
        else:
            c.execute('BEGIN IMMEDIATE')
            c.execute('INSERT INTO t(b) VALUES(randomblob(3000))')
            c.execute('DELETE FROM t WHERE id < (SELECT max(id) FROM t) - 999')
            c.execute('COMMIT')
    except sqlite3.OperationalError as e:
        busy += 1
        print(e, file=sys.stderr)
        if c.in_transaction:
            c.execute('ROLLBACK')
    n += 1
    slowest = max(slowest, time.monotonic() - t)
print('busy %d' % busy)
print('%d commits, %.0f ms the slowest' % (n, slowest * 1e3),
      file=sys.stderr)
sys.exit(n == 0)
END
ok 'alone' python3 "$T/app.py" "$db" 1
sed 's/^/# alone: /' "$T/err"
start_replicate "$db" "$dir"
ok 'first backup' poll 10 restore_same "$db" "$dir"
ok 'beside us' python3 "$T/app.py" "$db" "$seconds"
tail -n 1 "$T/err" | sed 's/^/# beside us: /'
is 'no SQLITE_BUSY' "$(cat "$T/out")" 'busy 0'
wal=$(wc -c <"$db-wal")
echo "# WAL: $((wal / 1048576)) MB"
[ "$wal" -lt 1073741824 ]; result $? 'the WAL is bounded'
ok 'all is replicated' poll 10 restore_same "$db" "$dir"
stop_replicate; result $? 'clean stop'
ok 'and restored' restore_same "$db" "$dir"
is 'no table of ours' "$(sql "$db" .tables)" t
done_testing
