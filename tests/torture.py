#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Applications at full speed, and everything that may happen to them and us.

    torture.py run|speed|kill|ghost|soak [-quick] [-seconds N] [-kills N]
        [-seed N] [-page-size N] [-keep]

run    writers, VACUUM, readers, a loop of checkpoints of all modes; the
       replicator is held by SIGSTOP now and then
speed  writers of small transactions that never pause, with or without
       somebody's checkpoints
kill   the replicator is killed again and again: in its first 30 ms, at a
       call that changes files, after up to 400 ms; levels of some seconds.
       Each time what is there must be restored to a committed state, not
       older than the last; now and then all of it, and what verify says
ghost  applications die between commit frame and wal-index, and cannot make
       files durable (shim_app.c)
soak   either side is killed, stopped, held; its disk is full (of small file
       systems of its own, if this may mount them) or hangs; after each of
       these all that was committed must be restored within a minute

Every commit sets all rows of the table inv to one value, one more than before,
and one tag, which nobody else uses.  After a clean stop what is restored must
be the database byte for byte, and every TXID must restore with integrity, one
value and tag that an application has seen committed, in the order of TXIDs.
"""
import collections
import concurrent.futures
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
import harness
from harness import (Failure, Process, build, check, image, leftovers, points,
                     restore, restored, verify, write_config)

ROWS = 24
KEEP_ROWS = 1200
FEW_ROWS = 150
BUSY_S = 20
CATCH_UP_S = 60
# Of how many commits a role dies in the middle; at least so many deaths, or
# kills, are wanted: the time is doubled for that.
GHOSTS = {'writer': '.08', 'other-writer': '.15', 'spiller': '.5'}
WANTED, WANTED_QUICK = 200, 15
DISKS_MB = {'db': 96, 'replica': 256}


# Applications: "torture.py app DB STOP LOG SEED ROLE AUTOCHECKPOINT PAUSE".

class App:
    def __init__(self, db, stop, log, seed, role, auto, pause):
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
        self.n, self.pause = 0, float(pause)
        self.keep = FEW_ROWS if self.pause else KEEP_ROWS

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
                       (self.keep,))

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
        self.say('tries', v, tag)
        self.c.execute('COMMIT')
        self.say('committed', v, tag)
        if self.rnd.random() < self.often * .03:
            self.c.execute('VACUUM')
            self.say('vacuum', 1)
        time.sleep(max(self.pause, .03 * (self.role == 'spiller')) *
                   self.rnd.random())

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
                time.sleep(self.pause)


class Said:
    """What the applications have logged."""

    def __init__(self, directory, lenient):
        self.dir, self.lenient = directory, lenient
        self.at, self.tag, self.newest = {}, {0: ''}, 0
        self.tried = {}         # log -> what it did not see committed yet
        self.perhaps = set()    # what may have been, by who saw no answer
        self.count = collections.Counter()

    def look(self):
        for name in os.listdir(self.dir):
            if name.startswith('app-'):
                self.read(name)
        return self.newest

    def read(self, name):
        with open(os.path.join(self.dir, name)) as f:
            f.seek(self.at.get(name, 0))
            text = f.read()
        text = text[:text.rfind('\n') + 1]
        self.at[name] = self.at.get(name, 0) + len(text)
        for line in text.splitlines():
            what, rest = line.split(' ', 1)
            if what == 'tries':
                self.tried[name] = rest
            elif what == 'committed':
                self.commit(*rest.split(' '))
            elif what == 'error':
                self.count[rest] += 1
                if self.lenient and name in self.tried:
                    self.perhaps.add(self.tried[name])
            else:
                self.count[what] += 1

    def commit(self, v, tag):
        v = int(v)
        check(v not in self.tag, '%d was committed twice: the application '
              'lost a commit', v)
        self.tag[v] = tag
        self.newest = max(self.newest, v)

    def died(self, name):
        """Nobody knows what became of its last commit."""
        if os.path.exists(os.path.join(self.dir, name)):
            self.read(name)
        if name in self.tried:
            self.perhaps.add(self.tried[name])

    def must_know(self, v, tag, where):
        """Who has committed it says so a little later."""
        end = time.monotonic() + BUSY_S
        while self.tag.get(v) != tag and \
                '%d %s' % (v, tag) not in self.perhaps:
            check(time.monotonic() < end, '%s: %d by %s was never committed '
                  '(%s)', where, v, tag, self.tag.get(v))
            time.sleep(.01)
            self.look()


class Disk:
    """A small file system of its own."""

    def __init__(self, path, megabytes):
        self.path, self.filler = path, os.path.join(path, 'filler')
        self.mounted = os.geteuid() == 0 and subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', 'size=%dm' % megabytes, 'tmpfs',
             path], stderr=subprocess.DEVNULL).returncode == 0

    def fill(self):
        with open(self.filler, 'wb', buffering=0) as f:
            for size in 1 << 20, 4096:
                try:
                    while f.write(bytes(size)):
                        pass
                except OSError:
                    pass

    def clear(self):
        if os.path.exists(self.filler):
            os.unlink(self.filler)

    def end(self):
        if self.mounted:
            subprocess.run(['umount', '-l', self.path], check=True)


class Torture:
    def __init__(self, args, directory):
        self.args, self.dir, self.mode = args, directory, args.mode
        self.rnd = random.Random(args.seed)
        for name in 'db', 'replica':
            os.mkdir(os.path.join(directory, name))
        self.db = os.path.join(directory, 'db', 'a.db')
        self.replica = os.path.join(directory, 'replica', 'r')
        self.log = os.path.join(directory, 'log')
        self.out = os.path.join(directory, 'r.db')
        self.stop = os.path.join(directory, 'stop')
        self.hang = os.path.join(directory, 'hang')
        self.said = Said(directory, self.mode == 'soak')
        self.apps, self.disks, self.logs = {}, {}, {}
        self.count = collections.Counter()
        self.started = self.largest_wal = 0
        self.reached = -1       # the newest value that was restored
        self.shim = self.keeper = self.replicator = None
        self.auto = self.rnd.choice(('1', '100', '1000', '0'))

    def connect(self):
        return sqlite3.connect(self.db, isolation_level=None, timeout=BUSY_S,
                               check_same_thread=False)

    def create(self):
        c = self.connect()
        c.execute('PRAGMA page_size=%d' % self.args.page_size)
        c.execute('PRAGMA journal_mode=WAL')
        c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)')
        c.execute('CREATE INDEX i ON t(substr(b, 1, 20))')
        c.execute('CREATE TABLE inv(id INTEGER PRIMARY KEY, v, tag, pad)')
        c.execute('BEGIN')
        for i in range(ROWS):
            c.execute("INSERT INTO inv VALUES(?, 0, '', zeroblob(300))", (i,))
        c.execute('COMMIT')
        if self.mode == 'soak':
            c.close()
        else:                   # keeps the wal-index alive as well
            self.keeper = c

    # The applications

    def start_app(self, role):
        env = dict(os.environ)
        seed = str(self.rnd.randrange(1 << 30))
        if self.mode == 'ghost':
            env.update(LD_PRELOAD=self.accidents, SEED=seed,
                       GHOST=GHOSTS.get(role, '0'),
                       EIO='.05' if role == 'unsynced' else '0')
        self.started += 1
        self.logs[role] = 'app-%s-%d' % (role, self.started)
        self.apps[role] = Process(
            '-S', '-E', os.path.abspath(__file__), 'app', self.db, self.stop,
            os.path.join(self.dir, self.logs[role]), seed, role, self.auto,
            '.02' if self.mode in ('kill', 'soak') else '0',
            binary=sys.executable, env=env, log=self.log + '-apps')

    def start_apps(self):
        roles = ['writer', 'spiller', 'checkpointer', 'reader']
        if self.mode == 'speed':
            roles = ['hasty', 'hasty-other', 'checkpointer'][
                :self.rnd.randrange(1, 4)]
        if self.mode == 'ghost':
            self.accidents = build(self.dir, 'shim_app')
            roles += ['unsynced', 'other-writer']
        for role in roles:
            self.start_app(role)

    def look_after_apps(self):
        for role, p in list(self.apps.items()):
            rc = p.status()
            if rc is None:
                continue
            check(self.mode == 'ghost' and rc == -signal.SIGKILL,
                  '%s ended: status %s', role, rc)
            self.count['deaths'] += 1
            p.wait()
            self.start_app(role)

    def kill_app(self, role):
        self.apps[role].kill()
        self.said.died(self.logs[role])
        self.count['deaths'] += 1

    def end_apps(self):
        with open(self.stop, 'w'):
            pass
        for role, p in self.apps.items():
            rc = p.wait()
            check(rc in (0, -signal.SIGKILL), '%s ended: status %s', role, rc)

    # The replicator

    def start(self, aim=True):
        env, self.aimed = None, False
        if self.shim:
            env = dict(os.environ, LD_PRELOAD=self.shim, SHIM_HANG=self.hang,
                       SHIM_ROOT=os.path.join(self.dir, 'replica'))
        if aim and self.mode == 'kill' and self.rnd.random() < .4:
            self.aimed = True   # most often at one of the first
            env.update(SHIM_ROOT=self.dir,
                       SHIM_KILL=str(int(10 ** (2.7 * self.rnd.random()))))
        args = [self.db, 'file://' + self.replica]
        if self.mode in ('kill', 'soak'):
            args = ['-config', os.path.join(self.dir, 'yml')]
        self.replicator = Process('replicate', *args, log=self.log, env=env)

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
            rc = self.replicator.status()
            if rc == -signal.SIGKILL and self.aimed:
                return
            check(rc is None, 'replicate ended by itself: status %s', rc)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, .02))

    def watch(self):
        self.pause(.2)

    def hold(self):
        """SIGSTOP now and then: the scenario's own times."""
        self.pause(self.rnd.random() * (1 if self.args.quick else 8))
        self.replicator.signal(signal.SIGSTOP)
        try:
            self.pause(1 if self.args.quick else 5)
        finally:
            self.replicator.signal(signal.SIGCONT)
        self.count['holds'] += 1

    def end_replicator(self, kill):
        """What was committed before a clean stop has been replicated."""
        committed = self.said.look()
        if kill:
            self.count['kills'] += 1
            self.count['kills at a call'] += \
                self.aimed and self.replicator.status() is not None
            self.replicator.kill()
        else:
            rc = self.replicator.stop()
            # Ended by the signal: it came before there was a handler.
            check(rc in (0, -signal.SIGTERM) or
                  self.aimed and rc == -signal.SIGKILL,
                  'clean stop: status %s', rc)
            self.count['stops'] += 1
            if rc == 0:
                self.reached = max(self.reached, committed)

    def kill(self):
        if self.aimed:
            self.pause(.6)
        elif self.rnd.random() < .3:
            self.pause(.03 * self.rnd.random())
        else:
            self.pause(.4 * self.rnd.random())
        self.end_replicator(self.rnd.random() > .1)
        self.restore()
        n = self.count['kills'] + self.count['stops']
        if n % 20 == 0:
            verify(self.replica)
        if n % 250 == 0:
            self.check_points()
        time.sleep(self.rnd.choice((0, 0, .01, .1)))
        self.start()

    # Soak

    def catch_up(self):
        """All that is committed by now is restored."""
        want, end = self.said.look(), time.monotonic() + CATCH_UP_S
        while self.reached < want:
            check(time.monotonic() < end, 'not caught up in %d s: %d of %d',
                  CATCH_UP_S, self.reached, want)
            time.sleep(.1)
            check(self.replicator.status() is None, 'replicate ended by '
                  'itself: status %s', self.replicator.status())
            self.restore()

    def go_on(self, seconds):
        """Whatever happens to us, no application waits for it."""
        before, end = self.said.look(), time.monotonic() + CATCH_UP_S
        self.pause(seconds)
        while self.said.look() <= before:
            check(time.monotonic() < end, 'no commit in %d s', CATCH_UP_S)
            self.pause(.1)

    def no_disk(self, name):
        disk = self.disks[name]
        if not disk.mounted:
            return
        disk.fill()
        try:
            self.pause(self.some_s())
        finally:
            disk.clear()
        self.count['times %s on a full disk' % name] += 1

    def hung(self):
        with open(self.hang, 'w'):
            pass
        try:
            self.go_on(self.some_s())
        finally:
            os.unlink(self.hang)
        self.count['times hung'] += 1

    def held(self):
        self.replicator.signal(signal.SIGSTOP)
        try:
            self.go_on(self.some_s())
        finally:
            self.replicator.signal(signal.SIGCONT)
        self.count['holds'] += 1

    def restart(self, kill):
        self.end_replicator(kill)
        self.restore()
        verify(self.replica)
        if self.count['kills'] % 10 == 0:
            self.check_points()
        time.sleep(self.rnd.random())
        self.start()

    def kill_all(self):
        for role in self.apps:
            self.kill_app(role)
        self.restart(True)
        for role in self.apps:
            self.start_app(role)

    def some_s(self):
        return (.3 if self.args.quick else 8) * (self.rnd.random() + .2)

    def soak(self):
        self.pause(self.some_s() / 4)
        role = self.rnd.choice(sorted(self.apps))
        q = self.rnd.randrange(10)
        if q < 2:
            self.restart(True)
        elif q == 2:
            self.restart(False)
        elif q < 5:
            self.kill_app(role)
            self.start_app(role)
        elif q == 5:
            self.kill_all()
        elif q == 6:
            self.hung()
        elif q == 7:
            self.held()
        else:
            self.no_disk('replica' if q == 8 else 'db')
        self.catch_up()

    # What must be

    def value(self, out, where):
        """The value of a database with integrity, if it ever was."""
        c = sqlite3.connect('file:%s?immutable=1' % out, uri=True)
        try:
            said = c.execute('PRAGMA integrity_check').fetchall()
            check(said == [('ok',)], '%s: integrity: %.300s', where, said)
            found = c.execute('SELECT v, tag, count(*) FROM inv GROUP BY 1, 2'
                              ).fetchall()
        except sqlite3.Error as e:
            raise Failure('%s: %s' % (where, e)) from e
        finally:
            c.close()
        check(len(found) == 1 and found[0][2] == ROWS, '%s: values %s', where,
              found)
        v, tag, _ = found[0]
        self.said.must_know(v, tag, where)
        return v

    def restore(self):
        """The newest state: not older than any that was restored before."""
        rc, text = restore(self.replica, self.out)
        if rc != 0 and self.reached < 0:
            return              # nothing there yet
        check(rc == 0, 'restore: status %d: %s', rc, text.strip())
        v = self.value(self.out, 'restored')
        check(v >= self.reached, '%d was restored or acknowledged, now it '
              'is %d', self.reached, v)
        self.reached = v
        self.count['restores'] += 1

    def point(self, txid):
        """The value at a TXID."""
        out = os.path.join(self.dir, 'p-%d.db' % threading.get_ident())
        rc, text = restore(self.replica, out, '-txid', txid)
        check(rc == 0, 'TXID %s: %s', txid, text)
        return self.value(out, 'TXID ' + txid)

    def try_point(self, txid):
        try:
            return self.point(txid)
        except Failure as e:
            return e

    def check_points(self):
        txids = points(self.replica)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            values = list(pool.map(self.try_point, txids))
        bad = [e for e in values if isinstance(e, Failure)]
        check(not bad, '%d of %d TXIDs, the first and the last: %s; %s',
              len(bad), len(txids), *(bad[:1] + bad[-1:]))
        for i, v in enumerate(values[1:]):
            check(v >= values[i], 'TXID %s: back from %d to %d', txids[i + 1],
                  values[i], v)
        self.count['TXIDs restored'] += len(txids)

    def compare(self):
        c = self.keeper or self.connect()
        source = image(c)
        said = c.execute('PRAGMA integrity_check').fetchall()
        check(said == [('ok',)], 'the source itself is damaged: %.300s', said)
        if self.mode in ('kill', 'soak'):
            self.replicator.kill()
            self.start(False)
            self.catch_up()
        rc = self.replicator.stop()
        for s in range(9):      # it may not have had a handler yet
            if rc != -signal.SIGTERM:
                break
            self.start(False)
            time.sleep(s / 4)
            rc = self.replicator.stop()
        check(rc == 0, 'clean stop: status %s', rc)
        check(image(c) == source, 'the stop has changed the database')
        out, n = restored(self.replica, self.out), self.args.page_size
        check(out == source, 'restored %d bytes of %d, pages differ: %s',
              len(out), len(source), [
                  i // n + 1 for i in range(0, len(source), n)
                  if source[i:i + n] != out[i:i + n]][:50])
        left = leftovers(self.replica)
        check(not left, 'left behind: %s', left)
        self.said.look()
        self.check_points()
        c.close()

    def is_enough(self):
        done = self.count['kills'] + self.count['deaths']
        if self.args.kills:
            return self.count['kills'] >= self.args.kills
        return self.mode not in ('kill', 'ghost') or done >= (
            WANTED_QUICK if self.args.quick else WANTED)

    def play(self):
        if self.mode in ('kill', 'soak'):
            self.shim = build(self.dir, 'shim')
            write_config(os.path.join(self.dir, 'yml'), self.db, self.replica)
        if self.mode == 'soak':
            self.disks = {name: Disk(os.path.join(self.dir, name), mb)
                          for name, mb in DISKS_MB.items()}
        self.create()
        self.start()
        self.start_apps()
        step = {'run': self.hold, 'speed': self.watch, 'kill': self.kill,
                'ghost': self.watch, 'soak': self.soak}[self.mode]
        end = time.monotonic() + self.args.seconds
        while (left := end - time.monotonic()) > 0 or (
                not self.is_enough() and (
                    self.args.kills or left > -self.args.seconds)):
            step()
        self.end_apps()
        self.compare()
        return 'pages of %d, autocheckpoint %s: %d commits, %s, ' \
            'largest WAL %d KB' % (
                self.args.page_size, self.auto, len(self.said.tag) - 1,
                ', '.join('%d %s' % (n, what) for what, n in (
                    self.count + self.said.count).items()),
                self.largest_wal // 1024)

    def end(self):
        if os.path.exists(self.hang):
            os.unlink(self.hang)
        for p in list(Process.running):
            p.kill()
        for disk in self.disks.values():
            disk.end()


def play(args, directory):
    t = Torture(args, directory)
    try:
        return t.play()
    finally:
        t.end()


def main():
    if sys.argv[1:2] == ['app']:
        App(*sys.argv[2:]).play()
        return 0
    p = harness.parser(__doc__)
    p.add_argument('mode', choices=('run', 'speed', 'kill', 'ghost', 'soak'))
    p.add_argument('-seconds', type=float)
    p.add_argument('-kills', type=int, default=0)
    p.add_argument('-page-size', type=int)
    args = p.parse_args()
    if args.seconds is None:
        args.seconds = 2 if args.quick else 60
    if args.page_size is None:
        args.page_size = random.Random(args.seed).choice(
            (512, 1024, 4096, 4096, 4096, 16384, 65536))
    return harness.main(args, play, 'torture ' + args.mode)


if __name__ == '__main__':
    sys.exit(main())
