#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The interruption matrix: what happens to a database while nobody replicates.

A database is replicated, the replicator is killed, stopped or was a -once; the
application goes on with commits and checkpoints; the replicator comes back.
Then the newest state must be the database byte for byte, and every TXID a
state that the database had after some commit.

    matrix.py [-quick] [-seconds N] [-seed N] [-case N] [-only WORD,...]
        [-keep]

All cases, or with -quick as many of a shuffled list as eight seconds allow,
or as these do.
"""
import itertools
import os
import random
import shutil
import sqlite3
import sys
import threading
import time

sys.dont_write_bytecode = True
import harness
from harness import (Failure, Process, bytes_of, check, digest, image, points,
                     restored, run)

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
            wal = bytes_of(self.db + '-wal')
        except FileNotFoundError:
            return 0
        size = 24 + self.page_size
        n = 0
        while (len(wal) >= 32 + (n + 1) * size and
               wal[16:24] == wal[32 + n * size + 8:32 + n * size + 16]):
            n += 1
        return n

    def is_replicated(self):
        try:
            out = restored(self.replica, os.path.join(self.dir, 'r.db'))
        except Failure as e:
            return str(e)
        return '' if out == self.last else self.difference(out)

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
            check(self.replicator.status() is None, '%s: replicate ended: '
                  'status %s', when, self.replicator.status())
            check(time.monotonic() < end, '%s: %s', when, why)
            time.sleep(0.01)

    def start(self):
        self.replicator = Process(
            'replicate', self.db, 'file://' + self.replica,
            log=os.path.join(self.dir, 'log'))

    def once(self, when):
        rc, text = run('replicate', '-once', self.db,
                       'file://' + self.replica)
        with open(os.path.join(self.dir, 'log'), 'a') as f:
            f.write(text)
        check(rc == 0, '%s: -once: status %d: %s', when, rc,
              text.strip().split('\n')[-1])

    def must_be_replicated(self, when):
        why = self.is_replicated()
        check(not why, '%s: %s', when, why)

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
            check(rc == 0, 'first stop: status %s', rc)

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
        check(rc == 0, 'last stop: status %s', rc)
        self.must_be_replicated('last stop')

    def check_points(self):
        out = os.path.join(self.dir, 'p.db')
        for txid in points(self.replica):
            data = restored(self.replica, out, '-txid', txid)
            check(digest(data) in self.committed,
                  'TXID %s is no state that ever was', txid)

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
        self.end = args.seconds and time.monotonic() + args.seconds
        self.ran = self.failed = 0

    def next(self):
        with self.lock:
            late = self.end and time.monotonic() > self.end
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
                print('FAILED: %s, pages of %d: %s\n    replay: python3 %s '
                      '-seed %d -case %d -keep' % (
                          ' '.join(map(str, case.what)), case.page_size, e,
                          sys.argv[0], self.args.seed, number), flush=True)
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


def play(args, directory):
    numbers = [i for i, c in enumerate(CASES)
               if set(filter(None, args.only.split(','))) <= set(map(str, c))]
    if args.quick:
        args.seconds = args.seconds or QUICK_S
    if args.case is not None:
        numbers = [args.case]
    elif args.seconds:
        random.Random(args.seed).shuffle(numbers)
    m = Matrix(args, numbers, directory)
    m.play()
    counts = '%d of %d cases, %d failed' % (m.ran, len(CASES), m.failed)
    check(m.ran and not m.failed, '%s', counts)
    return counts


def main():
    p = harness.parser(__doc__)
    p.add_argument('-seconds', type=float)
    p.add_argument('-case', type=int)
    p.add_argument('-only', default='')
    return harness.main(p.parse_args(), play)


if __name__ == '__main__':
    sys.exit(main())
