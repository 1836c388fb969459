#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A replica is damaged in all ways, one at a time, and put back.

    flips.py [-quick] [-seconds N] [-n N] [-seed N] [-keep]

Every byte of every file is flipped, every file cut at every byte, deleted,
emptied, renamed, duplicated, exchanged with another.  verify and restore must
both tell the truth: damage is reported, or what is restored is the database,
or, where the newest file is gone without a trace, an earlier state of it.  A
flip may be harmless: other LZ4 data can make the same page, which is what the
checksum is of.  -n: so many at random, and as many of whole files; -seconds:
as many as these allow.
"""
import collections
import os
import random
import sqlite3
import sys
import time

sys.dont_write_bytecode = True
import harness
from harness import bytes_of, check, image, run

QUICK = 100


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


class Flips:
    def __init__(self, args, directory):
        self.args, self.rnd = args, random.Random(args.seed)
        self.db = os.path.join(directory, 'app.db')
        self.root = os.path.join(directory, 'replica')
        self.out = os.path.join(directory, 'flip.db')
        self.count, self.failed = collections.Counter(), 0

    def create(self):
        """Small transactions, each with its state; level 1 has some, too."""
        c = sqlite3.connect(self.db, isolation_level=None)
        c.execute('PRAGMA page_size=512')
        c.execute('PRAGMA journal_mode=WAL')
        c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, a)')
        c.execute('INSERT INTO t VALUES(1, hex(randomblob(150))), '
                  '(2, hex(randomblob(150)))')
        self.states = set()
        for i in range(1, 6):
            c.execute('UPDATE t SET a=hex(randomblob(100)) WHERE id=?',
                      (1 + i % 2,))
            c.execute('INSERT INTO t(a) VALUES(hex(randomblob(60)))')
            rc, text = run('replicate', '-once', self.db,
                           'file://' + self.root)
            check(rc == 0, 'replicate -once: status %d: %s', rc, text)
            c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()
            self.right = image(c)
            self.states.add(self.right)
        for n in 1, 2, 3:
            name = '%016x-%016x.ltx' % (n, n)
            write('%s/ltx/1/%s' % (self.root, name),
                  bytes_of('%s/ltx/0/%s' % (self.root, name)))
        c.close()

    def names(self):
        return sorted(os.path.join(d, f) for d, _, files in os.walk(
            os.path.join(self.root, 'ltx')) for f in files)

    def verify(self, *flags):
        return run('verify', *flags, 'file://' + self.root)[0]

    def look(self, kind, path, what):
        """What verify and restore say of the replica as it is."""
        verify = self.verify()
        restore = harness.restore(self.root, self.out)[0]
        got = bytes_of(self.out) if os.path.exists(self.out) else None
        word = 'detected' if verify != 0 else 'harmless'
        bad = None
        if verify not in (0, 3, 4) or restore not in (0, 3, 4):
            bad = 'unexpected status'
        elif (restore == 0) != (got is not None):
            bad = 'status and output disagree'
        elif kind in ('truncation', 'emptied') and verify != 4:
            bad = 'verify does not report it'
        elif verify == 0 and restore != 0:
            bad = 'verify says whole, restore fails'
        elif got is not None and got != self.right:
            word = 'an earlier state'
            if kind in ('flip', 'truncation', 'emptied') or \
                    got not in self.states:
                bad = 'a wrong database'
            elif verify == 0 and self.verify('-db', self.db) == 0:
                bad = 'verify -db does not see that the newest state is gone'
        if bad:
            self.failed += 1
            print('FAILED: %s: %s: %s: verify %d, restore %d' % (
                path[len(self.root):], what, bad, verify, restore))
        self.count[kind, word] += 1

    def with_bytes(self, kind, path, change, what):
        old = bytes_of(path)
        write(path, change(bytearray(old)))
        self.look(kind, path, what)
        write(path, old)

    def flip(self, path, at, mask):
        def change(data):
            data[at] ^= mask
            return data
        self.with_bytes('flip', path, change, 'byte %d ^ %d' % (at, mask))

    def cut(self, path, n):
        self.with_bytes('truncation', path, lambda d: d[:n], 'cut to %d' % n)

    def moved(self, kind, a, b, keep, back):
        """a's content under b's name too, or only; or (back) each other's."""
        old_a = bytes_of(a)
        old_b = bytes_of(b) if os.path.exists(b) else None
        write(b, old_a)
        if back:
            write(a, old_b)
        elif not keep:
            os.unlink(a)
        self.look(kind, a, 'to ' + b[len(self.root):])
        write(a, old_a)
        if old_b is None:
            os.unlink(b)
        else:
            write(b, old_b)

    def delete(self, path):
        old = bytes_of(path)
        os.unlink(path)
        self.look('deleted', path, 'deleted')
        write(path, old)

    def jobs(self):
        """Those that change bytes, and those of whole files."""
        files, few, rest = self.names(), [], []
        strange = ['/ltx/0/%016x-%016x.ltx' % (n, n)
                   for n in (0, len(files) + 100, 2 ** 64 - 1)]
        strange += ['/ltx/5/%016x-%016x.ltx' % r
                    for r in ((1, 3), (3, 1), (2, 2))]
        for f in files:
            size = os.path.getsize(f)
            few += [(self.flip, f, i, m) for i in range(size)
                    for m in (1 << self.rnd.randrange(8), 0xff)]
            few += [(self.cut, f, i) for i in range(size)]
            rest += [(self.delete, f),
                     (self.with_bytes, 'emptied', f, lambda d: b'', 'empty'),
                     (self.with_bytes, 'emptied', f, lambda d: bytes(len(d)),
                      'zeros')]
            for g in files + [self.root + s for s in strange]:
                if g == f:
                    continue
                rest += [(self.moved, 'renamed', f, g, False, False),
                         (self.moved, 'duplicated', f, g, True, False)]
                if g in files:
                    rest.append((self.moved, 'exchanged', f, g, True, True))
        return few, rest

    def play(self):
        self.create()
        few, rest = self.jobs()
        total, n = len(few) + len(rest), self.args.n
        if n:
            few = self.rnd.sample(few, min(n, len(few)))
            rest = self.rnd.sample(rest, min(n, len(rest)))
        jobs = few + rest
        if self.args.seconds:
            self.rnd.shuffle(jobs)
        end = time.monotonic() + (self.args.seconds or 0)
        check(self.verify('-db', self.db) == 0, 'not whole before')
        for j in jobs:
            if self.args.seconds and time.monotonic() > end:
                break
            j[0](*j[1:])
        check(self.verify('-db', self.db) == 0, 'not whole after')
        counts = '%d of %d ways to damage it: %s' % (
            sum(self.count.values()), total, ', '.join(
                '%s %d %s' % (kind, n, word)
                for (kind, word), n in sorted(self.count.items())))
        check(self.count and not self.failed, '%d failed; %s', self.failed,
              counts)
        return counts


def main():
    p = harness.parser(__doc__)
    p.add_argument('-seconds', type=float)
    p.add_argument('-n', type=int, default=0)
    args = p.parse_args()
    if args.quick:
        args.n = args.n or QUICK
    return harness.main(args, lambda a, d: Flips(a, d).play())


if __name__ == '__main__':
    sys.exit(main())
