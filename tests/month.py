#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A month in some minutes, on a clock that clock_shim.c moves.

    month.py [-days N] [-seconds N] [-seed N] [-quick] [-keep]

Passes of -once -enforce-retention minutes to hours apart, and phases of the
daemon on a fast clock, with the default levels, a snapshot each 24 h and 24 h
of retention.  Every instant of the window, its start included, must restore to
what was recorded then; and what there is above level 0 is held against what
the real Litestream would have, had it run all the time on the same history:

model  Its rules (FORMAT 4), on the level 0 files that were written: at each
       multiple of 30 s, 5 m and 1 h a level takes all of the level below that
       it does not have; at midnight a snapshot, then those older than 24 h go
       (but for the newest), and what ends before the last of these (but for
       the last of each level).  Of a merge the newest of each page counts, with
       the size that it has in its level 0 file; the rest of a file is its
       format.  The promise of the window costs a base that the model deletes:
       so a second figure adds, where the model has no snapshot as old as the
       window, the last one that it deleted.
"""
import os
import random
import struct
import sys
import time

sys.dont_write_bytecode = True
import harness
import levels_soak as soak
from harness import (LITESTREAM, build, bytes_of, check, run, text_of, verify)
from levels_soak import Clock, Daemon, files, stamp

S, M, H = 1000, 60000, 3600000
DAY = 24 * H
INTERVALS = {1: 30 * S, 2: 5 * M, 3: H, 9: DAY}
QUICK_S = 60		# less time than that: longer steps
FEW_DAYS = 2.6		# at least, as quickly as that may go
SLACK = 20 * S		# from a commit to its file, on the fast clock


def uvarint(data, i):
    n = shift = 0
    while True:
        n |= (data[i] & 127) << shift
        shift += 7
        i += 1
        if data[i - 1] < 128:
            return n, i


def uvarint_size(n):
    return max(1, (n.bit_length() + 6) // 7)


def read_ltx(path):
    """(commit, stamp, {page number: bytes}) of a file."""
    data = bytes_of(path)
    commit, = struct.unpack_from('>I', data, 12)
    when, = struct.unpack_from('>q', data, 32)
    size, = struct.unpack_from('>Q', data, len(data) - 24)
    i, pages = len(data) - 24 - size, {}
    while True:
        pgno, i = uvarint(data, i)
        if pgno == 0:
            return commit, when, pages
        _, i = uvarint(data, i)
        n, i = uvarint(data, i)
        pages[pgno] = n


class Merged:
    def __init__(self, min_txid, max_txid, when, commit, pages):
        self.min, self.max, self.when = min_txid, max_txid, when
        self.commit, self.pages = commit, pages
        off, index = 100, 0
        for pgno in sorted(pages):
            index += sum(map(uvarint_size, (pgno, off, pages[pgno])))
            off += pages[pgno]
        self.size = off + 6 + index + 1 + 8 + 16


def merge(parts):
    pages = {}
    for p in parts:
        pages.update(p.pages)
    commit = parts[-1].commit
    return Merged(parts[0].min, parts[-1].max, parts[-1].when, commit,
                  {p: n for p, n in pages.items() if p <= commit})


class Model:
    """The real Litestream's levels, had it run all the time."""

    def __init__(self):
        self.level = {n: [] for n in (1, 2, 3, 9)}
        self.waiting, self.all = [], None
        self.tick = None
        self.base = None		# the last snapshot that was deleted

    def add(self, txid, when, commit, pages):
        self.advance(when - 1)
        self.waiting.append(Merged(txid, txid, when, commit, pages))
        if self.tick is None:		# at the start everything is due
            self.tick = when // INTERVALS[1] * INTERVALS[1]
            self.bring_up(when, (1, 2, 3, 9))

    def bring_up(self, now, levels):
        for n in levels:
            if n == 9:
                self.snapshot(now)
                continue
            have = self.level[n][-1].max if self.level[n] else 0
            below = self.waiting if n == 1 else self.level[n - 1]
            some = [f for f in below if f.min > have]
            if some:
                self.level[n].append(merge(some))
            if n == 1 and some:
                parts = [self.all] if self.all else []
                self.all = merge(parts + some)
                self.waiting = []

    def snapshot(self, now):
        nine = self.level[9]
        if self.all and (not nine or nine[-1].max < self.all.max):
            nine.append(Merged(1, self.all.max, now, self.all.commit,
                               dict(self.all.pages)))
        # The real one's stamp is a little after the boundary, as the next
        # tick is: whether that is 24 h decides at random; here it is.
        old = [f for f in nine[:-1] if f.when <= now - DAY]
        if not old:
            return
        self.base = old[-1]
        self.level[9] = [f for f in nine if f not in old]
        for n in (1, 2, 3):
            self.level[n] = [f for f in self.level[n][:-1]
                             if f.max >= old[-1].max] + self.level[n][-1:]

    def advance(self, now):
        while self.tick is not None and self.tick + INTERVALS[1] <= now:
            self.tick += INTERVALS[1]
            self.bring_up(self.tick, [n for n, ms in INTERVALS.items()
                                      if self.tick % ms == 0])

    def has(self, now):
        """files, bytes; with the base of the window; bytes of level 9."""
        self.advance(now)
        all_ = [f for n in self.level for f in self.level[n]]
        count, size = len(all_), sum(f.size for f in all_)
        base = self.base if self.level[9] and \
            self.level[9][0].when > now - DAY else None
        return count, size, count + bool(base), \
            size + (base.size if base else 0)


class Month:
    def __init__(self, a, d):
        self.a, self.d = a, d
        self.r = random.Random(a.seed)
        self.w = soak.World(os.path.join(d, 'w'), a.seed, pause=.02)
        w = self.w
        with open(w.config, 'w') as f:	# all defaults
            f.write('dbs:\n  - path: %s\n    replica:\n      path: %s\n'
                    % (w.db, w.root))
        self.clock = Clock(os.path.join(d, 'clock'))
        # Begin at a fixed time of the day.
        self.clock.forward((-self.clock.wall()) % DAY + 7 * H + 13 * M)
        self.start = self.clock.wall()
        self.env = dict(os.environ, CLOCK_FILE=self.clock.path,
                        LD_PRELOAD=build(d, 'clock_shim'))
        self.model = Model()
        self.seen = 0
        self.passes = []		# (stamp, commit number) of each -once
        self.commits = []		# (simulated time, commit number)
        self.daemons = []		# phases
        self.ratios, self.instants, self.starts = [], 0, 0
        self.once = []
        self.w.note = None
        note = self.w.w.note

        def noted():
            note()
            self.commits.append((self.clock.wall(), self.w.w.n))
        self.w.w.note = noted
        noted()

    def collect(self):
        """New level 0 files, for the model."""
        d = os.path.join(self.w.root, 'ltx/0')
        last = None
        for f in files(self.w.root):
            if f.level == 0 and f.max > self.seen:
                check(f.max == self.seen + 1, 'TXID %x came unseen', f.max)
                self.seen = f.max
                commit, last, pages = read_ltx(
                    os.path.join(d, '%016x-%016x.ltx' % (f.min, f.max)))
                self.model.add(f.max, last, commit, pages)
        return last

    def one_pass(self):
        for _ in range(self.r.choice((1, 1, 3, 8))):
            self.w.w.step()
        rc, text = run('replicate', '-once', '-enforce-retention', '-config',
                       self.w.config, env=self.env)
        check(rc == 0, '-once: status %d: %s', rc, text)
        self.log(text)
        when = self.collect()
        check(when is not None, 'no file: %s', text)
        check(abs(when - self.clock.wall()) < 60000, 'stamp %d', when)
        self.passes.append((when, self.w.w.n))

    def log(self, text):
        check('level=ERROR' not in text and 'clock was set' not in text,
              '%s', text)

    def daemon(self, seconds, speed):
        w = self.w
        t0 = self.clock.wall()
        log = os.path.join(self.d, 'daemon.log')
        # First, lest it begins a wait on the slow clock.
        self.clock.faster(speed)
        p = Daemon(LITESTREAM, w.config, log, self.env)
        time.sleep(.2)
        w.w.go()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.collect()
            time.sleep(.02)
        w.w.halt()
        time.sleep(.2)
        self.collect()
        self.clock.faster(1)
        p.term()
        self.collect()
        self.log(text_of(log))
        os.unlink(log)
        self.daemons.append((t0, self.clock.wall()))

    def measure(self, exact=True):
        now = self.clock.wall()
        above = [f for f in files(self.w.root) if f.level > 0]
        # Hard links of one file take its room once; here they count.
        size = sum(f.size for f in above)
        self.once.append(sum({f.inode: f.size for f in above}.values()) / size)
        m = self.model.has(now)
        if now - self.start > 2 * DAY:
            self.ratios.append((len(above) / m[0], size / m[1],
                                len(above) / m[2], size / m[3],
                                now, len(above), size, m))

    def expect(self, t):
        """Which commits the state at t may be."""
        for a, b in self.daemons:
            # What it left for level 1 comes with the next pass.
            if a <= t < min([w for w, _ in self.passes if w > b] or [t + 1]):
                low = min(t, b - SLACK) // INTERVALS[1] * INTERVALS[1] - SLACK
                t += SLACK
                break
        else:
            done = [n for when, n in self.passes if when <= t]
            daemon = [n for when, n in self.commits if any(
                a <= when <= b for a, b in self.daemons) and when <= t]
            n = max(done[-1:] + daemon[-1:])
            return n, n
        return max([n for when, n in self.commits if when <= low] or [0]), \
            max(n for when, n in self.commits if when <= t)

    def instant(self, t):
        if t < self.passes[0][0]:
            return
        rc, text = self.w.restore(self.w.root, None, '-timestamp', stamp(t))
        check(rc == 0, '%s, %.1f h before now: status %d: %s', stamp(t),
              (self.clock.wall() - t) / H, rc, text)
        n = self.w.w.find(self.w.out)
        low, high = self.expect(t)
        check(n is not None and low <= n <= high, '%s, %.2f h before now: '
              'commit %s, not %d to %d', stamp(t), (self.clock.wall() - t) / H,
              n, low, high)
        self.instants += 1

    def look(self, everything):
        now = self.clock.wall()
        begin = now - DAY
        self.instant(begin)
        self.instant(begin + 1)
        self.instant(now)
        self.starts += begin >= self.passes[0][0]
        some = [w for w, _ in self.passes if w >= begin]
        for a, b in self.daemons:
            if b > begin:
                some += [x for x in range(max(a + 60 * S, begin), b, 10 * M)]
        if not everything:
            some = self.r.sample(some, min(3, len(some)))
        for t in some:
            self.instant(t)
            if t - 1 >= begin:
                self.instant(t - 1)

    def step(self):
        """How long until the next pass, by the time of the day."""
        hour = self.clock.wall() % DAY // H
        if 2 <= hour < 6:
            return self.r.choice((H, 2 * H))
        if 9 <= hour < 17:
            return self.r.choice((2 * M, 5 * M, 5 * M, 10 * M))
        return self.r.choice((15 * M, 30 * M, H))

    def run(self):
        a = self.a
        end = self.start + int(a.days * DAY)
        day, phase = self.clock.wall() // DAY, self.start + DAY
        until = time.monotonic() + a.seconds
        while self.clock.wall() < end and (
                time.monotonic() < until or
                self.clock.wall() < self.start + FEW_DAYS * DAY):
            ms = self.step() * (5 if a.quick else 1)
            self.clock.forward(ms + self.r.randrange(7000))
            self.one_pass()
            now = self.clock.wall()
            self.measure()
            midnight = now % DAY < 90 * M
            if now // DAY != day:
                day = now // DAY
                self.look(not a.quick)
                verify(self.w.root)
            elif midnight or self.r.random() < .06:
                self.look(False)
            if now >= phase:
                phase += (2 if a.quick else 3) * DAY + 5 * H
                self.clock.forward(2 * M)
                self.daemon(1 if a.quick else 20, 60)
                self.clock.forward(2 * M)
                self.one_pass()
                self.look(False)
        self.look(True)
        verify(self.w.root)
        check(soak.same_as_source(self.w), 'newest state is not the source')
        return self.report()

    def report(self):
        print(soak.levels_of(self.w.root))
        r = self.ratios
        check(r, 'nothing measured')
        mean = [sum(x[i] for x in r) / len(r) for i in range(4)]
        peak = [max(x[i] for x in r) for i in range(4)]
        for title, i in (('model', 0), ('model with the base of the window',
                                        2)):
            print('above level 0, against the %s: files mean %.3f max %.3f, '
                  'bytes mean %.3f max %.3f' % (title, mean[i], peak[i],
                                                mean[i + 1], peak[i + 1]))
        for i in (0, 1):
            worst = max(r, key=lambda x: x[i])
            print('worst %s at %s: %d files %d bytes, model %s' % (
                ('files', 'bytes')[i], stamp(worst[4]), *worst[5:]))
        total = [sum(x[5] for x in r), sum(x[6] for x in r),
                 sum(x[7][0] for x in r), sum(x[7][1] for x in r)]
        print('over all %d samples: files %.3f, bytes %.3f' % (
            len(r), total[0] / total[2], total[1] / total[3]))
        print('largest: %d files %d bytes, model %d files %d bytes; above '
              '1.2: files in %.1f%%, bytes in %.1f%% of the samples' % (
                  max(x[5] for x in r), max(x[6] for x in r),
                  max(x[7][0] for x in r), max(x[7][1] for x in r),
                  100 * sum(x[0] > 1.2 for x in r) / len(r),
                  100 * sum(x[1] > 1.2 for x in r) / len(r)))
        print('as many of its links are one file, it takes %.3f of its bytes' %
              (sum(self.once) / len(self.once)))
        check(mean[0] <= 1.2 and mean[1] <= 1.2, 'more than 1.2')
        return '%d days, %d passes, %d daemon phases, %d TXIDs, %d ' \
            'commits, %d instants restored, %d times the very start' % (
                (self.clock.wall() - self.start) // DAY, len(self.passes),
                len(self.daemons), self.seen, self.w.w.n, self.instants,
                self.starts)


def main():
    p = harness.parser(__doc__)
    p.add_argument('-days', type=float)
    p.add_argument('-seconds', type=float, default=1e9)
    a = p.parse_args()
    a.quick |= a.seconds < QUICK_S
    a.days = a.days or (FEW_DAYS if a.quick else 30)
    return harness.main(a, lambda a, d: Month(a, d).run())


if __name__ == '__main__':
    sys.exit(main())
