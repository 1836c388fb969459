#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Applications at full speed, and everything that may happen to them and us.

    torture.py run|speed|kill|ghost [-quick] [-seconds N] [-seed N]
        [-page-size N] [-keep]

run    writers, VACUUM, readers, a loop of checkpoints of all modes; the
       replicator is held by SIGSTOP now and then
speed  writers of small transactions that never pause, with or without
       somebody's checkpoints
kill   the replicator is killed after 0 to 400 ms, again and again
ghost  applications die between commit frame and wal-index, and cannot make
       files durable (shim_ghost.c, shim_eio.c)

Every commit sets all rows of the table inv to one value, one more than before,
and one tag, which nobody else uses.  After a clean stop what is restored must
be the database byte for byte, and every TXID must restore with integrity, one
value and tag that an application has seen committed, in the order of TXIDs.
LITESTREAM names the binary, CC the compiler.  Exit status 1 on any difference.
"""
import argparse
import concurrent.futures
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from matrix import Failure, Replicator, image, restore, restore_points

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = 24
KEEP_ROWS = 1200
BUSY_S = 20
# Of how many commits a role dies in the middle; at least so many deaths, or
# kills, are wanted: the time is doubled for that.
GHOSTS = {'writer': '.08', 'other-writer': '.15', 'spiller': '.5'}
WANTED, WANTED_QUICK = 200, 15


# Applications: "torture.py app DB STOP LOG SEED ROLE AUTOCHECKPOINT".

class App:
    def __init__(self, db, stop, log, seed, role, auto):
        self.rnd = random.Random(int(seed))
        self.stop, self.role, self.pid = stop, role, os.getpid()
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # A checkpoint that waits for a reader makes all writers wait.
        self.c = sqlite3.connect(
            db, isolation_level=None,
            timeout=.05 if role == 'checkpointer' else BUSY_S)
        self.c.execute('PRAGMA wal_autocheckpoint=' + auto)
        full = role == 'unsynced'
        self.c.execute('PRAGMA synchronous=' + ('FULL' if full else 'NORMAL'))
        if role == 'spiller':
            self.c.execute('PRAGMA cache_size=8')
        self.often = .002 if role.startswith('hasty') else .1
        self.n = 0

    def say(self, *words):
        os.write(self.log, (' '.join(map(str, words)) + '\n').encode())

    def insert(self, sizes):
        self.c.execute('INSERT INTO t(b) VALUES(?)',
                       (self.rnd.randbytes(self.rnd.choice(sizes)),))

    def fill(self):
        """Anything, spilling over the cache if that is small."""
        if self.role.startswith('hasty'):
            self.insert((10, 200, 1500))
        elif self.role == 'spiller':
            for _ in range(self.rnd.choice((10, 40, 150))):
                q = self.rnd.random()
                if q < .5:
                    self.insert((10, 500, 3000))
                else:
                    self.c.execute(
                        'UPDATE t SET b=randomblob(300) WHERE id='
                        '(SELECT max(id) FROM t)-?',
                        (self.rnd.randrange(60),))
        else:
            for _ in range(self.rnd.choice((1, 1, 1, 5, 40))):
                self.insert((10, 500, 9000))
        if self.rnd.random() < self.often:
            self.c.execute('DELETE FROM t WHERE id%7=?',
                           (self.rnd.randrange(7),))
        self.c.execute('DELETE FROM t WHERE id <= (SELECT max(id) FROM t)-?',
                       (KEEP_ROWS,))

    def write(self):
        self.n += 1
        tag = '%d.%d' % (self.pid, self.n)
        self.c.execute('BEGIN IMMEDIATE')
        v = self.c.execute('SELECT v FROM inv LIMIT 1').fetchone()[0] + 1
        self.c.execute('UPDATE inv SET v=?, tag=? WHERE id%2=0', (v, tag))
        self.fill()
        self.c.execute('UPDATE inv SET v=?, tag=? WHERE id%2=1', (v, tag))
        if self.rnd.random() < .04:
            self.c.execute('ROLLBACK')
            return
        self.c.execute('COMMIT')
        self.say('committed', v, tag)
        if self.rnd.random() < self.often * .03:
            self.c.execute('VACUUM')
        if self.role == 'spiller':
            time.sleep(.03 * self.rnd.random())

    def checkpoint(self):
        mode = self.rnd.choice(('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE'))
        self.c.execute('PRAGMA wal_checkpoint(%s)' % mode).fetchall()
        time.sleep(.02 * self.rnd.random())

    def read(self):
        self.c.execute('BEGIN')
        try:
            self.c.execute('SELECT count(*) FROM t').fetchone()
            time.sleep(.05 * self.rnd.random())
        finally:
            self.c.execute('COMMIT')

    def play(self):
        step = {'reader': self.read, 'checkpointer': self.checkpoint}.get(
            self.role, self.write)
        while not os.path.exists(self.stop):
            try:
                step()
            except sqlite3.OperationalError as e:
                self.say('error', e)
                if self.c.in_transaction:
                    self.c.execute('ROLLBACK')


# The supervisor.

class Torture:
    def __init__(self, args, directory):
        self.args, self.dir = args, directory
        self.rnd = random.Random(args.seed)
        self.db = os.path.join(directory, 'a.db')
        self.replica = os.path.join(directory, 'replica')
        self.log = os.path.join(directory, 'log')
        self.stop = os.path.join(directory, 'stop')
        self.apps = {}
        self.started = self.deaths = self.kills = self.stops = 0
        self.held = self.largest_wal = 0
        self.replicator = None
        self.auto = self.rnd.choice(('1', '100', '1000', '0'))

    def create(self):
        """The connection that stays keeps the wal-index alive as well."""
        c = self.keeper = sqlite3.connect(self.db, isolation_level=None,
                                          timeout=BUSY_S,
                                          check_same_thread=False)
        c.execute('PRAGMA page_size=%d' % self.args.page_size)
        c.execute('PRAGMA journal_mode=WAL')
        c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)')
        c.execute('CREATE INDEX i ON t(substr(b, 1, 20))')
        c.execute('CREATE TABLE inv(id INTEGER PRIMARY KEY, v, tag, pad)')
        c.execute('BEGIN')
        for i in range(ROWS):
            c.execute("INSERT INTO inv VALUES(?, 0, '', zeroblob(300))", (i,))
        c.execute('COMMIT')

    def compile(self, name):
        out = os.path.join(self.dir, name + '.so')
        subprocess.run([*os.environ.get('CC', 'cc').split(), '-shared',
                        '-fPIC', '-O1', '-o', out,
                        os.path.join(HERE, name + '.c'), '-ldl'], check=True)
        return out

    def start_app(self, role):
        env = dict(os.environ)
        seed = str(self.rnd.randrange(1 << 30))
        if self.args.mode == 'ghost' and role in GHOSTS:
            env.update(LD_PRELOAD=self.ghost, GHOST_SEED=seed,
                       GHOST=GHOSTS[role])
        if role == 'unsynced':
            env.update(LD_PRELOAD=self.eio, EIO_SEED=seed, EIO='.05')
        self.started += 1
        log = os.path.join(self.dir, 'app-%s-%d' % (role, self.started))
        self.apps[role] = subprocess.Popen(
            [sys.executable, '-S', '-E', os.path.abspath(__file__), 'app',
             self.db, self.stop, log, seed, role, self.auto], env=env)

    def start_apps(self):
        roles = ['writer', 'spiller', 'checkpointer', 'reader']
        if self.args.mode == 'speed':
            roles = ['hasty', 'hasty-other', 'checkpointer'][
                :self.rnd.randrange(1, 4)]
        if self.args.mode == 'ghost':
            self.ghost = self.compile('shim_ghost')
            self.eio = self.compile('shim_eio')
            roles += ['unsynced', 'other-writer']
        for role in roles:
            self.start_app(role)

    def look_after_apps(self):
        for role, p in list(self.apps.items()):
            rc = p.poll()
            if rc is None:
                continue
            if self.args.mode != 'ghost' or rc != -signal.SIGKILL:
                raise Failure('%s ended: status %s' % (role, rc))
            self.deaths += 1
            self.start_app(role)

    def start(self):
        self.replicator = Replicator(self.db, self.replica, self.log)

    def must_live(self):
        if not self.replicator.alive():
            raise Failure('replicate ended by itself: status %s' %
                          self.replicator.p.returncode)

    def pause(self, seconds):
        """Waits, with an eye on all."""
        end = time.monotonic() + seconds
        while True:
            self.look_after_apps()
            try:
                self.largest_wal = max(self.largest_wal,
                                       os.path.getsize(self.db + '-wal'))
            except FileNotFoundError:
                pass
            left = end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, .02))
        self.must_live()

    def hold(self):
        """SIGSTOP now and then: the scenario's own times."""
        self.pause(self.rnd.random() * (1 if self.args.quick else 8))
        self.replicator.signal(signal.SIGSTOP)
        try:
            self.pause(1 if self.args.quick else 5)
        finally:
            self.replicator.signal(signal.SIGCONT)
        self.held += 1

    def kill(self):
        self.pause(self.rnd.random() * .4)
        if self.rnd.random() < .1:
            rc = self.replicator.stop()
            # Ended by the signal: it came before there was a handler.
            if rc not in (0, -signal.SIGTERM):
                raise Failure('clean stop: status %s' % rc)
            self.stops += 1
        else:
            self.replicator.kill()
            self.kills += 1
        time.sleep(self.rnd.choice((0, 0, .01, .1)))
        self.start()

    def too_few(self):
        if self.args.mode in ('run', 'speed'):
            return False
        return self.kills + self.deaths < (
            WANTED_QUICK if self.args.quick else WANTED)

    def watch(self):
        self.pause(.2)

    def committed(self):
        """value -> tag, of what some application has seen committed."""
        seen, errors = {0: ''}, {}
        for name in os.listdir(self.dir):
            if not name.startswith('app-'):
                continue
            with open(os.path.join(self.dir, name)) as f:
                for line in f:
                    what, rest = line.rstrip('\n').split(' ', 1)
                    if what == 'error':
                        errors[rest] = errors.get(rest, 0) + 1
                        continue
                    v, tag = rest.split(' ')
                    if int(v) in seen:
                        raise Failure('%s was committed twice: the '
                                      'application lost a commit' % v)
                    seen[int(v)] = tag
        return seen, errors

    def point(self, txid):
        """The value at a TXID."""
        out = os.path.join(self.dir, 'p-%d.db' % threading.get_ident())
        data, why = restore(self.replica, out, '-txid', txid)
        if data is None:
            raise Failure('TXID %s: %s' % (txid, why))
        c = sqlite3.connect('file:%s?immutable=1' % out, uri=True)
        try:
            said = c.execute('PRAGMA integrity_check').fetchall()
            if said != [('ok',)]:
                raise Failure('TXID %s: integrity: %.300s' % (txid, said))
            found = c.execute('SELECT v, tag, count(*) FROM inv GROUP BY 1, 2'
                              ).fetchall()
        except sqlite3.Error as e:
            raise Failure('TXID %s: %s' % (txid, e)) from e
        finally:
            c.close()
        if len(found) != 1 or found[0][2] != ROWS:
            raise Failure('TXID %s: values %s' % (txid, found))
        v, tag, _ = found[0]
        if self.seen.get(v) != tag:
            raise Failure('TXID %s: %d by %s was never committed (%s)' % (
                txid, v, tag, self.seen.get(v)))
        return v

    def try_point(self, txid):
        try:
            return self.point(txid)
        except Failure as e:
            return e

    def check_points(self):
        points = restore_points(self.replica)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            values = list(pool.map(self.try_point, points))
        bad = [e for e in values if isinstance(e, Failure)]
        if bad:
            raise Failure('%d of %d TXIDs, the first and the last: %s; %s' % (
                len(bad), len(points), bad[0], bad[-1]))
        for i, v in enumerate(values[1:]):
            if v < values[i]:
                raise Failure('TXID %s: back from %d to %d' % (
                    points[i + 1], values[i], v))
        return len(points), len(set(values))

    def end_apps(self):
        with open(self.stop, 'w'):
            pass
        for role, p in self.apps.items():
            rc = p.wait(60)
            if rc not in (0, -signal.SIGKILL):
                raise Failure('%s ended: status %s' % (role, rc))

    def compare(self):
        source = image(self.keeper)
        said = self.keeper.execute('PRAGMA integrity_check').fetchall()
        if said != [('ok',)]:
            raise Failure('the source itself is damaged: %.300s' % said)
        rc = self.replicator.stop()
        if rc != 0:
            raise Failure('clean stop: status %s' % rc)
        if image(self.keeper) != source:
            raise Failure('the stop has changed the database')
        out, why = restore(self.replica, os.path.join(self.dir, 'r.db'))
        if out != source:
            with open(os.path.join(self.dir, 'source.db'), 'wb') as f:
                f.write(source)
            n = self.args.page_size
            raise Failure(why or 'restored %d bytes of %d, pages differ: %s' %
                          (len(out), len(source),
                           [i // n + 1 for i in range(0, len(source), n)
                            if source[i:i + n] != out[i:i + n]][:50]))
        left = [os.path.join(d, f) for d, _, fs in os.walk(self.replica)
                for f in fs if f.endswith('.tmp')]
        if left:
            raise Failure('left behind: %s' % left)
        return len(source)

    def play(self):
        self.create()
        self.start()
        self.start_apps()
        step = {'run': self.hold, 'speed': self.watch, 'kill': self.kill,
                'ghost': self.watch}[self.args.mode]
        end = time.monotonic() + self.args.seconds
        while (left := end - time.monotonic()) > 0 or (
                self.too_few() and left > -self.args.seconds):
            step()
        self.end_apps()
        size = self.compare()
        self.seen, errors = self.committed()
        points, values = self.check_points()
        print('torture %s: seed %d, pages of %d, autocheckpoint %s, %d '
              'applications: %d commits, %d kills, %d stops, %d times held, '
              '%d deaths, errors %s; largest WAL %d KB; database %d KB as '
              'restored; %d TXIDs with %d values restored' % (
                  self.args.mode, self.args.seed, self.args.page_size,
                  self.auto, len(self.apps), len(self.seen) - 1,
                  self.kills, self.stops, self.held, self.deaths,
                  errors or 'none',
                  self.largest_wal // 1024, size // 1024, points, values))

    def end(self):
        for p in self.apps.values():
            p.kill()
            p.wait()
        if self.replicator is not None:
            self.replicator.kill()


def main():
    if sys.argv[1:2] == ['app']:
        App(*sys.argv[2:]).play()
        return 0
    p = argparse.ArgumentParser()
    p.add_argument('mode', choices=('run', 'speed', 'kill', 'ghost'))
    p.add_argument('-quick', action='store_true')
    p.add_argument('-seconds', type=float)
    p.add_argument('-seed', type=int,
                   default=int.from_bytes(os.urandom(3), 'big'))
    p.add_argument('-page-size', type=int)
    p.add_argument('-keep', action='store_true')
    args = p.parse_args()
    if args.seconds is None:
        args.seconds = 2 if args.quick else 60
    if args.page_size is None:
        args.page_size = random.Random(args.seed).choice(
            (512, 1024, 4096, 4096, 4096, 16384, 65536))
    directory = tempfile.mkdtemp(prefix='torture.')
    t = Torture(args, directory)
    bad = False
    try:
        t.play()
    except Failure as e:
        bad = True
        print('torture %s: FAILED: %s\n    again: %s %s %s -seed %d -seconds '
              '%g -page-size %d -keep' % (
                  args.mode, e, sys.executable, os.path.abspath(__file__),
                  args.mode, args.seed, args.seconds, args.page_size))
    finally:
        t.end()
        if args.keep and bad:
            print('evidence: ' + directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main())
