#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A warm standby under the eyes of its readers.

    follow.py track|kill|steps [-quick] [-seconds N] [-kills N] [-seed N]
        [-page-size N] [-keep]

track  the source grows, shrinks, is vacuumed; readers of the standby look on
kill   the same, and the follower is killed again and again
steps  the follower is killed at each system call that changes anything, by
       strace, in the first restore and in a change that shrinks the database;
       and each of them fails

Every commit sets all rows of the table inv to one value, one more than before.
Readers in other processes must find one value only, never an older one than
before, and quick_check content.  In the end the standby must be what restore
makes of the same TXID, but for its stamped header.
"""
import datetime
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import time

sys.dont_write_bytecode = True
import harness
from harness import (LITESTREAM, Failure, Process, bytes_of, check, restored,
                     run, text_of)

ROWS = 24
WAIT_S = 30
KINDS = ('fresh', 'cached', 'mapped', 'readonly')
STAMPED = set((18, 19)) | set(range(24, 28)) | set(range(92, 96))


def read(path, stop, log, kind):
    """The reader: "follow.py read DB STOP LOG KIND"."""
    looks, refused, last, c = 0, {}, 0, None
    while not os.path.exists(stop):
        try:
            if c is None:
                c = sqlite3.connect('file:%s?mode=%s' % (
                    path, 'ro' if kind == 'readonly' else 'rw'), uri=True,
                    timeout=5, isolation_level=None)
                if kind == 'mapped':
                    c.execute('PRAGMA mmap_size=100000000')
            c.execute('BEGIN')
            try:
                n, low, high = c.execute(
                    'SELECT count(*), min(v), max(v) FROM inv').fetchone()
                check = c.execute('PRAGMA quick_check').fetchall()
                again = c.execute('SELECT max(v) FROM inv').fetchone()[0]
            finally:
                c.execute('COMMIT')
        except sqlite3.DatabaseError as e:
            # A hot journal cannot be rolled back by who may not write.
            if isinstance(e, sqlite3.OperationalError) and (
                    'locked' in str(e) or (
                        kind == 'readonly' and 'readonly' in str(e))):
                refused[str(e)] = refused.get(str(e), 0) + 1
                continue
            with open(log, 'a') as f:
                f.write('%s: %r\n' % (kind, e))
            return 1
        if (n, low) != (ROWS, high) or again != low or low < last or \
                check != [('ok',)]:
            with open(log, 'a') as f:
                f.write('%s: %r after %d, again %r: %r\n' % (
                    kind, (n, low, high), last, again, check))
            return 1
        last, looks = low, looks + 1
        if kind in ('fresh', 'readonly'):
            c.close()
            c = None
        time.sleep(.002)
    with open(log, 'a') as f:
        f.write('%s: %d looks, up to %d; refused: %r\n' % (
            kind, looks, last, refused))
    return 0


class Source:
    """The application, one step at a time."""
    def __init__(self, path, page_size, rnd):
        self.rnd, self.v = rnd, 0
        c = self.c = sqlite3.connect(path, isolation_level=None, timeout=20)
        c.execute('PRAGMA page_size=%d' % page_size)
        c.execute('PRAGMA journal_mode=WAL')
        c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)')
        c.execute('CREATE TABLE inv(id INTEGER PRIMARY KEY, v, pad)')
        for i in range(ROWS):
            c.execute('INSERT INTO inv VALUES(?, 0, zeroblob(900))', (i,))

    def step(self):
        q, c = self.rnd.random(), self.c
        self.v += 1
        c.execute('BEGIN IMMEDIATE')
        c.execute('UPDATE inv SET v=? WHERE id%2=0', (self.v,))
        for _ in range(self.rnd.choice((1, 1, 1, 5, 60))):
            c.execute('INSERT INTO t(b) VALUES(?)', (
                self.rnd.randbytes(self.rnd.choice((10, 500, 9000))),))
        if q < .1:
            c.execute('DELETE FROM t WHERE id%7<?', (self.rnd.randrange(7),))
        c.execute('DELETE FROM t WHERE id <= (SELECT max(id) FROM t)-600')
        c.execute('UPDATE inv SET v=? WHERE id%2=1', (self.v,))
        c.execute('COMMIT')
        if .1 < q < .15:
            c.execute('VACUUM')
        if .15 < q < .17:
            c.execute('DELETE FROM t')
            c.execute('VACUUM')
        if .17 < q < .2:
            c.execute('CREATE TABLE IF NOT EXISTS x%d(a)' %
                      self.rnd.randrange(9))


class Run:
    def __init__(self, args, d):
        self.args, self.dir = args, d
        self.rnd = random.Random(args.seed)
        self.out = os.path.join(d, 'out.db')
        self.replica = os.path.join(d, 'replica')
        self.url = 'file://' + self.replica
        self.log, self.stop = os.path.join(d, 'log'), os.path.join(d, 'stop')

    def path(self, name):
        return os.path.join(self.dir, name)

    def follow(self):
        self.follower = Process('restore', '-f', '-o', self.out, self.url,
                                log=self.path('follower'))

    def newest(self):
        return max((f[17:33] for f in os.listdir(self.replica + '/ltx/0')
                    if f.endswith('.ltx')), default='')

    def sidecar(self):
        try:
            with open(self.out + '-txid') as f:
                return f.read()
        except FileNotFoundError:
            return ''

    def until(self, what, condition):
        end = time.monotonic() + WAIT_S
        while not condition():
            check(time.monotonic() < end, 'never: %s', what)
            self.must_follow()
            time.sleep(.005)

    def must_follow(self):
        check(not self.follower or self.follower.status() is None,
              'the follower ended: %s', self.follower and
              self.follower.status())

    def end(self, process, what):
        rc = process.stop()
        check(rc == 0, '%s: status %d', what, rc)

    def play(self):
        end = time.monotonic() + self.args.seconds
        kill_at = 0
        while time.monotonic() < end or (
                self.args.mode == 'kill' and self.kills < self.args.kills):
            self.source.step()
            time.sleep(self.rnd.choice((0, 0, .002, .02)))
            if self.args.mode == 'track' or time.monotonic() < kill_at:
                continue
            self.must_follow()
            self.follower.kill()
            self.kills += 1
            self.follow()
            kill_at = time.monotonic() + self.rnd.choice((.03, .1, .2)) * \
                (.2 + self.rnd.random())

    def run(self):
        self.follower, self.kills = None, 0
        db = os.path.join(self.dir, 'a.db')
        self.source = Source(db, self.args.page_size, self.rnd)
        replicator = Process('replicate', db, self.url,
                             log=self.path('replicator'))
        self.until('first backup', lambda: os.path.isdir(
            self.replica + '/ltx/0') and self.newest())
        self.follow()
        self.until('standby', self.sidecar)
        self.until('standby', lambda: os.path.exists(self.out))
        readers = [Process(os.path.abspath(__file__), 'read', self.out,
                           self.stop, self.log, k, binary=sys.executable,
                           log=self.path('readers')) for k in KINDS]
        self.play()
        self.end(replicator, 'replicator')
        self.until('the newest state', lambda: self.sidecar() ==
                   self.newest() + '\n')
        with open(self.stop, 'w'):
            pass
        if any([r.wait(WAIT_S) for r in readers]):
            raise Failure('torn or older state: ' + text_of(self.log))
        self.end(self.follower, 'follower')
        self.compare()
        return self.report()

    def compare(self):
        a = restored(self.replica, self.path('good.db'), '-txid',
                     self.newest())
        b = bytes_of(self.out)
        if len(a) != len(b) or a[100:] != b[100:] or any(
                a[i] != b[i] for i in range(100) if i not in STAMPED):
            raise Failure('the standby is not what restore gives')
        if (b[18:20], b[24:28]) != (b'\1\1', b[92:96]):
            raise Failure('the header is not stamped')
        for f in ('-wal', '-shm', '-journal', '-txid.tmp', '.new'):
            check(not os.path.exists(self.out + f), 'left: %s', f)

    def report(self):
        """Latency: from the file's rename to the log line after its commit."""
        took, changes, odd = [], 0, {}
        with open(os.path.join(self.dir, 'follower')) as f:
            for line in f:
                m = re.match(r'time=(\S+) level=(\S+) msg=("[^"]*"|\S+)', line)
                if m and (m[2] != 'INFO' or 'rolled back' in m[3]):
                    odd[m[3]] = odd.get(m[3], 0) + 1
                n = re.search('applied updates.*to_txid=(.{16})', line)
                if not n:
                    continue
                changes += 1
                t = datetime.datetime.fromisoformat(m[1].replace('Z', '+00:00'))
                path = '%s/ltx/0/%s-%s.ltx' % (self.replica, n[1], n[1])
                if os.path.exists(path):
                    took.append(t.timestamp() - os.stat(path).st_ctime)
        took.sort()
        if took:
            print('publication to applied, ms: median %.1f p90 %.1f max %.1f'
                  % tuple(1000 * took[int(q * (len(took) - 1))]
                          for q in (.5, .9, 1)))
        print(text_of(self.log), end='')
        return '%d commits, %d changes, %d kills, warnings %r' % (
            self.source.v, changes, self.kills, odd)


class Steps:
    """A replica that stands still, with states "old" and "new"."""
    CALLS = 'pwrite64', 'fsync', 'ftruncate', 'rename', 'unlink', 'fcntl'

    def __init__(self, run):
        self.run_, self.dir, self.out = run, run.dir, run.out
        self.saved = os.path.join(self.dir, 'saved')
        self.rnd, self.stride = run.rnd, 30 if run.args.quick else 1
        self.hits = []

    def once(self):
        db = os.path.join(self.dir, 'a.db')
        rc, text = run('replicate', '-once', db, self.run_.url)
        check(rc == 0, 'replicate -once: status %d: %s', rc, text)

    def clear(self):
        for f in os.listdir(self.dir):
            if f.startswith('out.db'):
                os.unlink(os.path.join(self.dir, f))

    def follow(self, *prefix):
        """Until it has caught up, or has died: then False."""
        r = self.run_
        log = os.path.join(self.dir, 'follower')
        with open(log, 'w'):
            pass
        args = [*prefix, LITESTREAM, 'restore', '-f', '-follow-interval',
                '10ms', '-o', self.out, r.url]
        p = Process(*args[1:], binary=args[0], log=log)
        end = time.monotonic() + WAIT_S
        while r.sidecar() != r.newest() + '\n' or \
                'entering' not in text_of(log):
            if p.status() is not None:
                p.wait()
                return False
            check(time.monotonic() < end, 'did not catch up')
            if 'consecutive_errors' in text_of(log):
                self.look('after an error')
            time.sleep(.002)
        rc = p.stop()
        check(rc in (0, -signal.SIGKILL if prefix else 0),
              'follower: status %d', rc)
        return rc == 0

    def look_at_copy(self, what):
        """Leaves the rollback to the next follower."""
        d = os.path.join(self.dir, 'copy')
        shutil.rmtree(d, ignore_errors=True)
        os.mkdir(d)
        for f in ('', '-journal'):
            if os.path.exists(self.out + f):
                shutil.copy(self.out + f, d + '/out.db' + f)
        self.look(what, d + '/out.db')

    def look(self, what, path=None):
        """What a reader finds: an old or a new state, nothing between."""
        path = path or self.out
        if not os.path.exists(path):
            return
        c = sqlite3.connect(path)
        n, low, high = c.execute(
            'SELECT count(*), min(v), max(v) FROM inv').fetchone()
        check = c.execute('PRAGMA quick_check').fetchall()
        c.close()
        if n != ROWS or low != high or low not in self.states or \
                check != [('ok',)]:
            raise Failure('%s: %r %r' % (what, (n, low, high), check))

    def each(self, what, fault, calls, prepare):
        """fault at one call after the other, until there is no such call."""
        hits = 0
        for call in calls:
            k = 1
            while True:
                self.clear()
                prepare()
                done = self.follow(
                    'strace', '-D', '-qq', '-o', self.dir + '/strace', '-e',
                    'trace=' + call, '-e', 'inject=%s:%s:when=%d' % (
                        call, fault, k))
                where = '%s: %s at %s %d' % (what, fault, call, k)
                trace = text_of(self.dir + '/strace')
                if 'INJECTED' not in trace and 'killed by' not in trace:
                    break
                hits += 1
                self.look_at_copy(where)
                if k % 2 == 0 or done:
                    self.look(where)    # the reader rolls back
                if not done and not self.follow():
                    raise Failure(where + ': did not start again')
                self.look(where)
                self.run_.compare()
                k += self.rnd.randint(1, self.stride if call in (
                    'pwrite64', 'fcntl') else 1)
        check(hits >= 5, 'strace does nothing')
        self.hits.append('%s, %s: %d times' % (what, fault, hits))

    def run(self):
        r = self.run_
        s = r.source = Source(os.path.join(self.dir, 'a.db'), 1024, r.rnd)
        s.step()
        s.c.execute('INSERT INTO t(b) VALUES(zeroblob(20000))')
        self.once()
        self.states = (s.v,)
        if not self.follow():
            raise Failure('does not follow')
        os.mkdir(self.saved)
        for f in ('', '-txid'):
            shutil.copy(self.out + f, self.saved + '/out.db' + f)
        s.c.execute('DELETE FROM t')
        s.c.execute('VACUUM')
        self.once()
        s.step()
        self.once()
        self.states = (s.v - 1, s.v)
        self.each('first restore', 'signal=KILL', self.CALLS, lambda: None)
        for fault in 'signal=KILL', 'error=EIO':
            self.each('change', fault, self.CALLS, lambda: [
                shutil.copy(self.saved + '/out.db' + f, self.out + f)
                for f in ('', '-txid')])
        return '; '.join(self.hits)


def play(args, directory):
    run_ = Run(args, directory)
    try:
        return (Steps(run_) if args.mode == 'steps' else run_).run()
    except Failure:
        for name in ('log', 'follower', 'replicator'):
            if os.path.exists(run_.path(name)):
                print(name + ':', *text_of(run_.path(name)).splitlines()[-12:],
                      sep='\n  ')
        raise


def main():
    if sys.argv[1:2] == ['read']:
        return read(*sys.argv[2:])
    p = harness.parser(__doc__)
    p.add_argument('mode', choices=('track', 'kill', 'steps'))
    p.add_argument('-seconds', type=float)
    p.add_argument('-kills', type=int)
    p.add_argument('-page-size', type=int)
    args = p.parse_args()
    if args.page_size is None:
        args.page_size = random.Random(args.seed).choice(
            (512, 1024, 4096, 65536))
    if args.kills is None:
        args.kills = 10 if args.quick else 0 if args.seconds else 120
    if args.seconds is None:
        args.seconds = 2 if args.quick else 20
    return harness.main(args, play, 'follow ' + args.mode)


if __name__ == '__main__':
    sys.exit(main())
