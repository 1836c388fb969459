#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The interruption matrix: what happens to a database while nobody replicates.

A database is replicated, the replicator is killed, stopped or was a -once; the
application goes on with commits and checkpoints; the replicator comes back.
Then the newest state must be the database byte for byte, and every TXID a
state that the database had after some commit.

    matrix.py [-quick] [-seed N] [-case N] [-only WORD,...] [-keep]

All cases, or with -quick as many of a shuffled list as ten seconds allow.
LITESTREAM names the binary.  Exit status 1 if any case fails.
"""
import argparse
import hashlib
import itertools
import json
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

HERE = os.path.dirname(os.path.abspath(__file__))
LITESTREAM = os.environ.get('LITESTREAM',
                            os.path.join(HERE, '..', 'litestream'))
WAIT_S = 15
QUICK_S = 8
WORKERS = 3

MODES = ('PASSIVE', 'FULL', 'RESTART', 'TRUNCATE')
BEFORE = ('before-0', 'before-1', 'before-many')
CHECKPOINTS = (1, 2, 3)
# Frames of each later generation of the WAL, against the one that was known.
AFTER = ('after-0', 'after-1', 'after-same', 'after-more')
STOPS = ('kill', 'term', 'once')
CLOSES = ('open', 'close')
CASES = list(itertools.product(MODES, BEFORE, CHECKPOINTS, AFTER, STOPS,
                               CLOSES))
PAGE_SIZES = (512, 1024, 4096)


class Failure(Exception):
    pass


def digest(data):
    return hashlib.sha256(data).hexdigest()


def image(connection):
    """What the database is at its last commit, as SQLite reads it."""
    return bytes(connection.serialize())


def run(*args):
    """The exit status and all output of litestream with these arguments."""
    p = subprocess.run([LITESTREAM, *args], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, p.stdout.decode(errors='replace')


def restore(directory, out, *flags):
    """The restored bytes, or None and why not."""
    if os.path.exists(out):
        os.unlink(out)
    rc, text = run('restore', *flags, '-o', out, 'file://' + directory)
    if rc != 0:
        return None, 'restore: status %d: %s' % (rc, text.strip())
    with open(out, 'rb') as f:
        return f.read(), ''


def restore_points(directory):
    """Every TXID that a file of any level ends in, in order."""
    p = subprocess.run([LITESTREAM, 'ltx', '-level', 'all', '-json',
                        'file://' + directory], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE)
    if p.returncode != 0:
        raise Failure('ltx: status %d' % p.returncode)
    return sorted({f['max_txid'] for f in json.loads(p.stdout)})


class Replicator:
    """A replicate that runs until it is killed or stopped."""

    def __init__(self, db, directory, log):
        with open(log, 'ab') as f:
            self.p = subprocess.Popen(
                [LITESTREAM, 'replicate', db, 'file://' + directory],
                stdin=subprocess.DEVNULL, stdout=f, stderr=f)

    def alive(self):
        return self.p.poll() is None

    def signal(self, number):
        if self.alive():
            self.p.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.p.wait()

    def stop(self):
        """The exit status of a clean stop."""
        self.signal(signal.SIGTERM)
        try:
            return self.p.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return 'none: still there a minute after SIGTERM'


class Case:
    def __init__(self, seed, number, directory):
        self.what = CASES[number]
        self.rnd = random.Random('%d/%d' % (seed, number))
        self.dir = directory
        self.db = os.path.join(directory, 'a.db')
        self.replica = os.path.join(directory, 'replica')
        self.page_size = self.rnd.choice(PAGE_SIZES)
        self.committed = set()
        self.last = b''
        self.replicator = None
        self.app = None

    def connect(self):
        self.app = sqlite3.connect(self.db, isolation_level=None, timeout=20)
        self.app.execute('PRAGMA wal_autocheckpoint=0')

    def note(self):
        self.last = image(self.app)
        self.committed.add(digest(self.last))

    def execute(self, *statements):
        """One commit."""
        if self.app is None:
            self.connect()
        self.app.execute('BEGIN IMMEDIATE')
        for s in statements:
            self.app.execute(s)
        self.app.execute('COMMIT')
        self.note()

    def create(self):
        self.connect()
        self.app.execute('PRAGMA page_size=%d' % self.page_size)
        self.app.execute('PRAGMA journal_mode=WAL')
        half = self.page_size // 2
        self.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)',
                     *['INSERT INTO t(b) VALUES(randomblob(%d))' % half] * 16)

    def touch(self):
        """A commit of one frame."""
        self.execute('UPDATE t SET b=randomblob(length(b)) WHERE id=%d' %
                     self.rnd.randrange(1, 9))

    def commit(self):
        """A commit of any kind."""
        big = 'randomblob(%d)' % (self.page_size * 3)
        kind = self.rnd.randrange(6)
        if kind < 3:
            self.touch()
        elif kind == 3:
            self.execute('INSERT INTO t(b) VALUES(%s)' % big)
        elif kind == 4:
            self.execute('INSERT INTO t(b) VALUES(%s)' % big,
                         'UPDATE t SET b=randomblob(9) WHERE id=9')
        else:
            self.execute('DELETE FROM t WHERE id > 16')
            self.app.execute('VACUUM')
            self.note()

    def frames(self):
        """Frames of the WAL's present generation."""
        try:
            with open(self.db + '-wal', 'rb') as f:
                wal = f.read()
        except FileNotFoundError:
            return 0
        size = 24 + self.page_size
        n = 0
        while (len(wal) >= 32 + (n + 1) * size and
               wal[16:24] == wal[32 + n * size + 8:32 + n * size + 16]):
            n += 1
        return n

    def is_replicated(self):
        out, why = restore(self.replica, os.path.join(self.dir, 'r.db'))
        return '' if out == self.last else why or self.difference(out)

    def difference(self, out):
        n = self.page_size
        pages = [i // n + 1 for i in range(0, min(len(out), len(self.last)), n)
                 if out[i:i + n] != self.last[i:i + n]]
        return '%d bytes restored of %d, pages that differ: %s' % (
            len(out), len(self.last), pages)

    def wait(self, when):
        end = time.monotonic() + WAIT_S
        while True:
            why = self.is_replicated()
            if not why:
                return
            if not self.replicator.alive():
                raise Failure('%s: replicate ended: status %s' %
                              (when, self.replicator.p.returncode))
            if time.monotonic() > end:
                raise Failure('%s: %s' % (when, why))
            time.sleep(0.01)

    def start(self):
        self.replicator = Replicator(self.db, self.replica,
                                     os.path.join(self.dir, 'log'))

    def once(self, when):
        rc, text = run('replicate', '-once', self.db,
                       'file://' + self.replica)
        with open(os.path.join(self.dir, 'log'), 'a') as f:
            f.write(text)
        if rc != 0:
            raise Failure('%s: -once: status %d: %s' %
                          (when, rc, text.strip().split('\n')[-1]))

    def must_be_replicated(self, when):
        why = self.is_replicated()
        if why:
            raise Failure('%s: %s' % (when, why))

    def first_run(self, how):
        """Replicated up to a WAL generation of some frames."""
        if how == 'once':
            self.once('first')
            for _ in range(6):
                self.touch()
            self.once('second')
            return
        self.start()
        self.wait('first backup')
        for _ in range(6):
            self.touch()
        self.wait('first commits')
        if how == 'kill':
            self.replicator.kill()
        else:
            rc = self.replicator.stop()
            if rc != 0:
                raise Failure('first stop: status %s' % rc)

    def interrupt(self, mode, before, checkpoints, after, known):
        for _ in range({'before-0': 0, 'before-1': 1, 'before-many': 7}
                       [before]):
            self.commit()
        for _ in range(checkpoints):
            if self.app is None:
                self.connect()
            self.app.execute('PRAGMA wal_checkpoint(%s)' % mode).fetchall()
            if after == 'after-1':
                self.touch()
            elif after != 'after-0':
                more = 0 if after == 'after-same' else self.rnd.randrange(1, 9)
                self.touch()
                while self.frames() < max(known, 1) + more:
                    self.touch()

    def resume(self, how):
        if how == 'once':
            self.once('resumed')
            self.must_be_replicated('resumed')
            self.commit()
            self.once('after that')
            self.must_be_replicated('after that')
            return
        self.start()
        self.wait('resumed')
        self.commit()
        self.wait('a commit after that')
        self.commit()
        rc = self.replicator.stop()
        if rc != 0:
            raise Failure('last stop: status %s' % rc)
        self.must_be_replicated('last stop')

    def check_points(self):
        out = os.path.join(self.dir, 'p.db')
        for txid in restore_points(self.replica):
            data, why = restore(self.replica, out, '-txid', txid)
            if data is None:
                raise Failure('TXID %s: %s' % (txid, why))
            if digest(data) not in self.committed:
                raise Failure('TXID %s is no state that ever was' % txid)

    def play(self):
        mode, before, checkpoints, after, how, close = self.what
        try:
            self.create()
            self.first_run(how)
            self.interrupt(mode, before, checkpoints, after, self.frames())
            if close == 'close' and self.app is not None:
                self.app.close()
                self.app = None
            self.resume(how)
            self.check_points()
        finally:
            if self.replicator is not None:
                self.replicator.kill()
            if self.app is not None:
                self.app.close()


class Matrix:
    def __init__(self, args, numbers, base):
        self.args, self.base = args, base
        self.todo = list(reversed(numbers))
        self.lock = threading.Lock()
        self.end = time.monotonic() + QUICK_S
        self.ran = self.failed = 0

    def next(self):
        with self.lock:
            late = self.args.quick and time.monotonic() > self.end
            if late or not self.todo:
                return None
            self.ran += 1
            return self.todo.pop()

    def one(self, number):
        directory = os.path.join(self.base, 'case-%d' % number)
        os.mkdir(directory)
        case = Case(self.args.seed, number, directory)
        try:
            case.play()
        except (Failure, sqlite3.Error, OSError) as e:
            with self.lock:
                self.failed += 1
                print('FAILED: %s, pages of %d: %s\n    again: %s %s -seed %d'
                      ' -case %d -keep' % (
                          ' '.join(map(str, case.what)), case.page_size, e,
                          sys.executable, os.path.abspath(__file__),
                          self.args.seed, number), flush=True)
                if self.args.keep:
                    return
        shutil.rmtree(directory, ignore_errors=True)

    def work(self):
        while (number := self.next()) is not None:
            self.one(number)

    def play(self):
        threads = [threading.Thread(target=self.work) for _ in range(WORKERS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()


def main():
    p = argparse.ArgumentParser(prefix_chars='-')
    p.add_argument('-quick', action='store_true')
    p.add_argument('-seed', type=int,
                   default=int.from_bytes(os.urandom(3), 'big'))
    p.add_argument('-case', type=int)
    p.add_argument('-only', default='')
    p.add_argument('-keep', action='store_true')
    args = p.parse_args()
    numbers = [i for i, c in enumerate(CASES)
               if set(filter(None, args.only.split(','))) <= set(map(str, c))]
    if args.case is not None:
        numbers = [args.case]
    elif args.quick:
        random.Random(args.seed).shuffle(numbers)
    base = tempfile.mkdtemp(prefix='matrix.')
    start = time.monotonic()
    m = Matrix(args, numbers, base)
    m.play()
    print('matrix: seed %d: %d of %d cases in %.0f s, %d failed' % (
        args.seed, m.ran, len(CASES), time.monotonic() - start, m.failed))
    if args.keep and m.failed:
        print('evidence: ' + base)
    else:
        shutil.rmtree(base, ignore_errors=True)
    return 1 if m.failed or not m.ran else 0


if __name__ == '__main__':
    sys.exit(main())
