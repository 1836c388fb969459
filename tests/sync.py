#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""sync -wait, then kill -9: the replica has every commit from before the call.

usage: sync.py LITESTREAM DIR ROUNDS SEED

Writers commit numbered rows, checkpoints in all modes run beside them.  Each
round notes the rows that were committed, calls sync, kills the replicator, and
restores: all noted rows must be there.
"""
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time

MODES = ['PASSIVE', 'FULL', 'RESTART', 'TRUNCATE']
binary, top, rounds, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), \
    int(sys.argv[4])
rng = random.Random(seed)
db, root, out = (os.path.join(top, n) for n in ('p.db', 'p', 'p.out'))
url = 'file://' + root
done = [0, 0]		# by writer: the last row that is committed


def connect():
    c = sqlite3.connect(db, isolation_level=None, timeout=30)
    c.execute('PRAGMA synchronous=NORMAL')
    return c


def write(n, stop, r):
    c = connect()
    c.execute('PRAGMA wal_autocheckpoint=%d' % r.choice([0, 5, 1000]))
    while not stop.is_set():
        i = done[n] + 1
        c.execute('INSERT INTO t VALUES(?, ?, randomblob(?))',
                  (n, i, r.choice([10, 3000, 9000])))
        done[n] = i
        time.sleep(r.choice([0, 0, .001, .02, .1]))
    c.close()


def checkpoint(stop, r):
    c = connect()
    c.execute('PRAGMA busy_timeout=50')
    while not stop.is_set():
        try:
            c.execute('PRAGMA wal_checkpoint(%s)' % r.choice(MODES))
        except sqlite3.OperationalError:
            pass
        time.sleep(r.choice([.001, .05, .2]))
    c.close()


def one_round(i, kind):
    log = open(os.path.join(top, 'log'), 'ab')
    daemon = subprocess.Popen([binary, 'replicate', db, url], stdout=log,
                              stderr=log)
    stop = threading.Event()
    threads = []
    if kind != 'alone':
        threads = [threading.Thread(target=write, args=(
            n, stop, random.Random(rng.random()))) for n in (0, 1)]
        threads.append(threading.Thread(target=checkpoint, args=(
            stop, random.Random(rng.random()))))
    for t in threads:
        t.start()
    try:
        sync = [binary, 'sync', '-wait', '-timeout', '60s', db]
        while subprocess.run(sync, stdout=log, stderr=log).returncode != 0:
            if daemon.poll() is not None:
                sys.exit('round %d: replicate ended' % i)
            time.sleep(.05)		# until it has begun
        for _ in range(rng.randrange(1, 4)):
            time.sleep(rng.random() * .3)
            if kind == 'alone':
                c = connect()
                done[0] += 1
                c.execute('INSERT INTO t VALUES(0, ?, 1)', (done[0],))
                if rng.random() < .5:
                    c.execute('PRAGMA wal_checkpoint(%s)' % rng.choice(MODES))
                c.close()
            seen = list(done)
            subprocess.run(sync, check=True, stdout=log)
    finally:
        daemon.kill()
        daemon.wait()
        stop.set()
        for t in threads:
            t.join()
    for f in (out, out + '-wal', out + '-shm'):
        if os.path.exists(f):
            os.unlink(f)
    subprocess.run([binary, 'restore', '-o', out, url], check=True,
                   stdout=log, stderr=log)
    c = sqlite3.connect(out)
    for n in (0, 1):
        have, top_row = c.execute('SELECT count(*), ifnull(max(i), 0) FROM t '
                                  'WHERE n = ?', (n,)).fetchone()
        if top_row < seen[n] or have != top_row:
            sys.exit('round %d (%s): writer %d: %d of %d rows that were '
                     'synced, up to %d' % (i, kind, n, have, seen[n], top_row))
    assert c.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'
    c.close()


c = connect()
c.execute('PRAGMA journal_mode=WAL')
c.execute('CREATE TABLE t(n, i, b)')
c.close()
for i in range(rounds):
    one_round(i, 'alone' if i % 3 == 0 else 'beside')
print('%d rounds, %d and %d commits, seed %d' % (rounds, done[0], done[1],
                                                 seed))
