#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Levels, snapshots and retention at work, with levels of 1, 2 and 4 seconds.

    levels_soak.py compact|kill|clock|restores|big [-quick] [-seconds N]
        [-kills N] [-megabytes N] [-seed N] [-keep]

compact   after each pass all that is shown restores, by the real Litestream
          too; it continues and compacts the result; and the reverse
kill      the daemon is killed again and again: whole, and what is restored is
          the source
clock     the clock is off by a day and by ten years, both ways, and back
restores  ours and the real one's run while retention deletes
big       a merge of a large base with 100 increments, its restore against a
          copy, and how much memory each command takes

Every commit changes the table inv to a number, one more than before, and is
recorded: the database's bytes, and a digest of its tables.  PEER names the
real Litestream.
"""
import collections
import hashlib
import json
import mmap
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import harness
from harness import (HERE, LITESTREAM, Process, boot_ms, build, bytes_of,
                     check, clock_bytes, digest, image, leftovers, run,
                     text_of, verify, write_config)

PEER = os.environ.get('PEER') or \
    os.path.join(HERE, '.peer/0.5.17/bin/litestream')
NAME = re.compile(r'^([0-9a-f]{16})-([0-9a-f]{16})\.ltx$')
TIME = '/usr/bin/time'
WAIT_S = 20
YEAR_MS = 365 * 86400 * 1000
DAY_MS = 86400 * 1000


def content(c):
    """What the application sees, whatever else is in the database."""
    h = hashlib.sha256()
    for table in ('inv', 't'):
        for row in c.execute('SELECT * FROM %s ORDER BY 1' % table):
            h.update(repr(row).encode())
    return h.hexdigest()[:24]


# Files

File = collections.namedtuple('File', 'level min max mtime inode size')


def files(root):
    """What is there, as the names say it."""
    out = []
    for level in range(10):
        d = os.path.join(root, 'ltx', str(level))
        try:
            names = sorted(os.listdir(d))
        except FileNotFoundError:
            continue
        for name in names:
            m = NAME.match(name)
            try:
                st = m and os.stat(os.path.join(d, name))
            except FileNotFoundError:
                continue
            if m:
                out.append(File(level, int(m[1], 16), int(m[2], 16),
                                st.st_mtime_ns // 1000000, st.st_ino,
                                st.st_size))
    return out


def plan(listing, txid):
    """The chain that the real Litestream takes to a TXID, or None."""
    base = [f for f in listing if f.level == 9 and f.max <= txid]
    chain = base[-1:]
    cur = chain[0].max if chain else 0
    while cur < txid:
        best = max((f for f in listing if f.level < 9 and
                    f.min <= cur + 1 and cur < f.max <= txid),
                   key=lambda f: (f.max, -f.min, f.level), default=None)
        if best is None:
            return None
        chain.append(best)
        cur = best.max
    return chain


# Clock

class Clock:
    """The file of clock_shim.c, and what the program under it sees."""

    def __init__(self, path):
        with open(path, 'wb') as f:
            f.write(bytes(40))
        with open(path, 'r+b') as f:
            self.map = mmap.mmap(f.fileno(), 40)
        self.path = path
        self.seq = self.wall_add = self.boot_add = self.start = 0
        self.speed = 1
        self.put()

    def put(self):
        now = (self.wall_add, self.boot_add, self.speed, self.start)
        for seq in self.seq + 1, self.seq + 2:
            self.map[0:8] = clock_bytes(seq, *now)[0:8]
            self.map[8:40] = clock_bytes(seq, *now)[8:40]
        self.seq += 2

    def extra(self):
        return (boot_ms() - self.start) * (self.speed - 1)

    def wall(self):
        return time.time_ns() // 1000000 + self.wall_add + self.extra()

    def boot(self):
        return boot_ms() + self.boot_add + self.extra()

    def forward(self, ms):
        self.wall_add += ms
        self.boot_add += ms
        self.put()

    def set(self, ms):
        """Only the wall clock."""
        self.wall_add += ms
        self.put()

    def faster(self, speed):
        extra = self.extra()
        self.wall_add += extra
        self.boot_add += extra
        self.speed, self.start = speed, boot_ms()
        self.put()


# The application

class Writer:
    """Commits, at a pace, recording each; stands still when told."""

    def __init__(self, db, seed, pause=.01):
        self.db, self.rnd, self.pause = db, random.Random(seed), pause
        self.mutex = threading.Lock()
        self.c = sqlite3.connect(db, isolation_level=None, timeout=WAIT_S,
                                 check_same_thread=False)
        self.c.execute('PRAGMA page_size=1024')
        self.c.execute('PRAGMA auto_vacuum=INCREMENTAL')
        self.c.execute('PRAGMA journal_mode=WAL')
        self.c.execute('PRAGMA synchronous=NORMAL')
        self.c.execute('CREATE TABLE IF NOT EXISTS inv(n INTEGER)')
        self.c.execute('CREATE TABLE IF NOT EXISTS '
                       't(id INTEGER PRIMARY KEY, b)')
        self.n = 0
        self.bytes, self.content, self.when = {}, {}, []
        self.stop = threading.Event()
        self.thread = None
        self.error = None
        self.c.execute('INSERT INTO inv VALUES(0)')
        self.note()

    def note(self):
        self.bytes[digest(image(self.c))] = self.n
        self.content[content(self.c)] = self.n
        self.when.append((time.time(), self.n))

    def step(self):
        c, r = self.c, self.rnd
        c.execute('BEGIN IMMEDIATE')
        q = r.random()
        for _ in range(r.choice((1, 1, 2, 5))):
            c.execute('INSERT INTO t(b) VALUES(?)',
                      (r.randbytes(r.choice((20, 300, 2500))),))
        c.execute('UPDATE t SET b=? WHERE id%37=?',
                  (r.randbytes(r.choice((10, 400))), r.randrange(37)))
        if c.execute('SELECT count(*) FROM t').fetchone()[0] > 150:
            c.execute('DELETE FROM t WHERE id%%%d=%d' %
                      (r.choice((2, 3)), r.randrange(2)))
            q = 0
        self.n += 1
        c.execute('UPDATE inv SET n=?', (self.n,))
        c.execute('COMMIT')
        self.note()
        if q < .05:
            c.execute('PRAGMA incremental_vacuum').fetchall()
            self.note()
        elif q > .99:
            c.execute('VACUUM')
            self.note()

    def loop(self):
        try:
            while not self.stop.is_set():
                with self.mutex:
                    self.step()
                self.stop.wait(self.pause * self.rnd.random() * 2)
        except sqlite3.Error as e:
            self.error = e

    def go(self):
        self.stop.clear()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def halt(self):
        self.stop.set()
        self.thread.join()
        check(self.error is None, 'writer: %s', self.error)

    def find(self, path, exactly=True):
        """The number of the commit that this database is, or None."""
        if exactly:
            return self.bytes.get(digest(bytes_of(path)))
        c = sqlite3.connect(path)
        try:
            if c.execute('PRAGMA integrity_check').fetchall() != [('ok',)]:
                return None
            return self.content.get(content(c))
        except sqlite3.DatabaseError:
            return None
        finally:
            c.close()


# The program

class Daemon(Process):
    def __init__(self, binary, config, log, env=None):
        super().__init__('replicate', '-config', config, binary=binary,
                         log=log, env=env)

    def must_run(self):
        check(self.status() is None, 'replicate ended: status %s, log %s',
              self.status(), self.log)

    def term(self):
        rc = self.stop()
        check(rc == 0, 'replicate: status %d, log %s', rc, self.log)


class World:
    def __init__(self, directory, seed, pause=.01, extra=''):
        self.d = directory
        os.makedirs(directory)
        self.db = os.path.join(directory, 'app.db')
        self.root = os.path.join(directory, 'replica')
        self.url = 'file://' + self.root
        self.config = os.path.join(directory, 'yml')
        self.log = os.path.join(directory, 'log')
        self.out = os.path.join(directory, 'out.db')
        write_config(self.config, self.db, self.root, extra=extra)
        self.w = Writer(self.db, seed, pause)
        self.good = set()	# (TXID, chain) that the real one restored
        self.passes = self.points = self.peer_runs = 0
        self.exactly = self.strict = True
        self.orphans = set()	# TXIDs that Litestream made unrestorable

    def restore(self, root, txid=None, *flags, binary=LITESTREAM):
        args = ['-txid', '%016x' % txid] if txid else []
        return harness.restore(root, self.out, *args, *flags, binary=binary)

    def freeze(self, daemon):
        """A copy, by links, of what is there at one moment."""
        copy = os.path.join(self.d, 'copy')
        shutil.rmtree(copy, ignore_errors=True)
        daemon.signal( signal.SIGSTOP)
        try:
            while open('/proc/%d/stat' % daemon.pid).read().rsplit(
                    ')', 1)[1].split()[0] != 'T':
                time.sleep(.001)
            for f in files(self.root):
                name = 'ltx/%d/%016x-%016x.ltx' % f[:3]
                os.makedirs(os.path.join(copy, 'ltx', str(f.level)),
                            exist_ok=True)
                os.link(os.path.join(self.root, name),
                        os.path.join(copy, name))
        finally:
            daemon.signal( signal.SIGCONT)
        return copy

    def all_restore(self, root, peer=True, shown=None):
        """Every TXID that is shown, to a state that was, in order."""
        listing = files(root)
        last = -1
        if peer:
            rc, text = run('ltx', '-level', 'all', '-json', 'file://' + root,
                           binary=PEER)
            check(rc == 0, 'Litestream ltx: %s', text)
            theirs = {int(x['max_txid'], 16) for x in json.loads(text)}
            mine = {f.max for f in listing}
            check(theirs == mine, 'ltx shows %s, there are %s', theirs, mine)
        for txid in sorted({f.max for f in listing}):
            if not self.strict and plan(listing, txid) is None:
                # Litestream's retention took the base: then for both.
                rc, text = self.restore(root, txid)
                check(rc in (3, 4), 'TXID %x in %s: status %d: %s', txid,
                      root, rc, text)
                self.orphans.add(txid)
                continue
            rc, text = self.restore(root, txid)
            check(rc == 0, 'TXID %x in %s: status %d: %s', txid, root, rc,
                  text)
            n = self.w.find(self.out, self.exactly)
            check(n is not None, 'TXID %x in %s: no state that was',
                  txid, root)
            check(n >= last, 'TXID %x in %s: commit %d after %d', txid, root,
                  n, last)
            last = n
            self.points += 1
            if not peer:
                continue
            key = (txid, tuple((f.level, f.min, f.max, f.inode)
                               for f in plan(listing, txid) or ()))
            if key in self.good and key[1]:
                continue
            rc, text = self.restore(root, txid, binary=PEER)
            check(rc == 0, 'TXID %x in %s by Litestream: status %d: %s',
                  txid, root, rc, text)
            m = self.w.find(self.out, self.exactly)
            check(m == n, 'TXID %x in %s by Litestream: commit %s, ours %d',
                  txid, root, m, n)
            self.good.add(key)
            self.peer_runs += 1
        self.passes += 1

    def watch(self, daemon, seconds):
        """Looks after each pass: whenever something above level 0 changed."""
        end, seen = time.monotonic() + seconds, None
        while time.monotonic() < end:
            now = [f for f in files(self.root) if f.level > 0]
            if now == seen:
                time.sleep(.02)
                continue
            daemon.must_run()
            seen = now
            copy = self.freeze(daemon)
            with self.w.mutex:		# all commits so far are recorded
                pass
            self.all_restore(copy, True)


def levels_of(root):
    n = collections.Counter(f.level for f in files(root))
    return ' '.join('L%d:%d' % x for x in sorted(n.items()))


def same_as_source(world, exactly=True):
    rc, text = world.restore(world.root)
    check(rc == 0, 'restore: status %d: %s', rc, text)
    if not exactly:
        n = world.w.find(world.out, False)
        return n == world.w.n
    return bytes_of(world.out) == image(world.w.c)


# Modes

def compact(a, d):
    sync = '      sync-interval: %dms\n' % (200 if a.quick else 250)
    peer_s = 4 if a.quick else max(5, min(30, a.seconds // 5))
    w = World(os.path.join(d, 'ours'), a.seed, extra=sync)
    log = w.log
    w.w.go()
    p = Daemon(LITESTREAM, w.config, log)
    w.watch(p, a.seconds)
    w.w.halt()
    p.term()
    w.all_restore(w.root)
    check(same_as_source(w), 'newest state is not the source')
    verify(w.root)
    lines = text_of(log)
    check('level=ERROR' not in lines, 'errors in %s', log)
    said = ['ours: %d passes, %d points restored by us, %d by Litestream, '
            '%d commits, %s' % (w.passes, w.points, w.peer_runs, w.w.n,
                                levels_of(w.root))]
    said += [go_on(w, peer_s, 'Litestream after us', PEER),
             go_on(w, peer_s, 'we after Litestream', LITESTREAM)]
    w.w.c.close()
    # The reverse: what it began.
    w = World(os.path.join(d, 'peer'), a.seed + 1, extra=sync)
    said += [go_on(w, peer_s, 'Litestream first', PEER),
             go_on(w, peer_s, 'we continue', LITESTREAM),
             go_on(w, peer_s, 'Litestream continues', PEER)]
    w.w.c.close()
    return '; '.join(said)


def go_on(w, seconds, title, binary):
    """Some time of one program on what is there."""
    w.exactly = w.strict = False
    w.passes = w.points = w.peer_runs = 0
    log = w.log + '.' + title.replace(' ', '-')
    before = max([f.max for f in files(w.root)], default=0)
    w.w.go()
    p = Daemon(binary, w.config, log)
    time.sleep(.7)
    try:
        w.watch(p, seconds)
        w.w.halt()
        time.sleep(1.5 if binary == PEER else 0)
    finally:
        if binary == PEER:
            p.stop()
    if binary != PEER:
        p.term()
        verify(w.root)
        check(same_as_source(w, False), '%s: not the source', title)
    w.all_restore(w.root)
    after = max(f.max for f in files(w.root))
    check(after > before, '%s: no new TXID', title)
    lines = text_of(log)
    for level in (1, 2):
        check(any(f.level == level and f.max > before
                  for f in files(w.root)), '%s: level %d did not go on',
              title, level)
    errors = [s for s in lines.splitlines() if 'level=ERROR' in s and
              'context canceled' not in s]
    check(not errors, '%s: %s', title, '\n'.join(errors[:5]))
    return '%s: TXID %x to %x, %d looks, %d points by us, %d by ' \
        'Litestream, %d without a base' % (
            title, before, after, w.passes, w.points, w.peer_runs,
            len(w.orphans))


def wait_for_work(root, seconds, r):
    """Until a merge is being written, or level 0 loses files."""
    zero = os.path.join(root, 'ltx/0')
    above = os.path.join(root, 'ltx', r.choice('1239'))
    merge, end, seen = r.random() < .4, time.monotonic() + seconds, set()
    while time.monotonic() < end:
        try:
            if merge:
                if any(x.endswith('.tmp') for x in os.listdir(above)):
                    return True
                continue
            now = {x for x in os.listdir(zero) if x.endswith('.ltx')}
        except FileNotFoundError:
            time.sleep(.005)
            continue
        if seen - now:
            return True
        seen = now
    return False


def kill(a, d):
    end_at = time.monotonic() + a.seconds
    w = World(os.path.join(d, 'kill'), a.seed, pause=.004)
    r = random.Random(a.seed)
    hit = collections.Counter()
    newest = 0
    w.w.go()
    for i in range(a.kills):
        if a.seconds and time.monotonic() > end_at:
            break
        hit['kills'] += 1
        p = Daemon(LITESTREAM, w.config, w.log)
        if r.random() < .6:
            hit['aimed'] += wait_for_work(w.root, 1.5, r)
        else:
            time.sleep(r.choice((.05, .3, 1.5)) * r.random())
        p.must_run()
        p.kill()
        w.w.halt()
        hit['tmp left'] += bool(leftovers(w.root))
        if not files(w.root):
            hit['nothing yet'] += 1
            w.w.go()
            continue
        verify(w.root)
        rc, text = w.restore(w.root)
        check(rc == 0, 'kill %d: restore: status %d: %s', i, rc, text)
        n = w.w.find(w.out)
        check(n is not None, 'kill %d: no state that was', i)
        check(n >= newest, 'kill %d: commit %d after %d', i, n, newest)
        newest = n
        if i % 10 == 9:
            w.all_restore(w.root, False)
        if r.random() < .5:
            rc, text = run('replicate', '-once', '-config', w.config, *(
                ['-enforce-retention'] if r.random() < .5 else []))
            check(rc == 0, 'kill %d: -once: status %d: %s', i, rc, text)
            check(same_as_source(w), 'kill %d: restored is not the source', i)
            verify(w.root)
            hit['-once'] += 1
        else:
            p = Daemon(LITESTREAM, w.config, w.log)
            end = time.monotonic() + WAIT_S
            while not same_as_source(w):
                check(time.monotonic() < end,
                      'kill %d: not the source after %d s', i, WAIT_S)
                time.sleep(.01)
            p.kill()
            verify(w.root)
            check(same_as_source(w), 'kill %d: no more the source', i)
            hit['daemon'] += 1
        newest = w.w.n
        hit[levels_of(w.root).split()[-1]] += 1
        w.w.go()
    w.w.halt()
    w.all_restore(w.root, False)
    check('level=ERROR' not in text_of(w.log), 'errors in %s', w.log)
    check(max(f.max for f in files(w.root)) > 0 and
          any(f.level == 9 for f in files(w.root)), 'no level was made')
    return 'each whole and the source: %s; %d commits, %s' % (
        ', '.join('%s %d' % x for x in hit.items()), w.w.n,
        levels_of(w.root))


class History:
    """All files ever seen, in true time; what must still be there."""

    def __init__(self, world, keep_s, l0_s):
        # A file is seen a little later than its stamp says.
        self.w, self.keep, self.l0 = world, keep_s - .5, l0_s - .5
        self.born, self.ends, self.early = {}, {}, []
        self.stop = threading.Event()
        self.looks = self.deleted = 0
        self.last = set()
        self.thread = threading.Thread(target=self.loop, daemon=True)
        self.thread.start()

    def loop(self):
        while not self.stop.wait(.05):
            self.look()

    def look(self):
        # What a pass published between two directories being read may seem
        # to be missing: a second look decides.
        before = time.monotonic()
        for _ in range(3):
            now = files(self.w.root)
            bad = self.lacks(now, before)
            if not bad:
                break
        else:
            self.early += bad
        t = time.monotonic()
        keys = {(f.level, f.min, f.max) for f in now}
        self.deleted += len(self.last - keys)
        self.last = keys
        for k in keys:
            self.born.setdefault(k, t)
            if k[0] > 0:
                self.ends.setdefault(k[2], self.born.get((0, k[2], k[2]), t))
        self.looks += 1

    def lacks(self, now, t):
        keys = {(f.level, f.min, f.max) for f in now}
        bad = ['level 0 TXID %x after %.1f s' % (k[1], t - b)
               for k, b in self.born.items() if k[0] == 0 and
               t - b < self.l0 and k not in keys]
        inside = sorted(x for x, b in self.ends.items()
                        if t - b < self.keep)
        before = [x for x, b in self.ends.items() if t - b >= self.keep]
        for x in inside + ([max(before)] if before else []):
            if plan(now, x) is None:
                bad.append('TXID %x cannot be restored after %.1f s' %
                           (x, t - self.ends[x]))
        return bad

    def end(self):
        self.stop.set()
        self.thread.join()
        check(not self.early, 'deleted early: %s', '; '.join(self.early[:5]))


def stamp(ms):
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ms // 1000)) + \
        '.%03dZ' % (ms % 1000)


def ask(w, ms):
    """The commit that was the state at that time, and what is said."""
    rc, text = w.restore(w.root, None, '-timestamp', stamp(ms))
    return (w.w.find(w.out) if rc == 0 else None), rc, text


def at(w, t):
    """The last commit at a true time."""
    best = 0
    for when, n in w.w.when:
        if when <= t:
            best = n
    return best


def clock(a, d):
    jumps = [DAY_MS, -DAY_MS, 10 * YEAR_MS, -10 * YEAR_MS]
    cases = [(ms, how) for ms in jumps for how in ('daemon', 'restarted')]
    if a.quick or a.seconds:
        random.Random(a.seed).shuffle(cases)
    end, said = time.monotonic() + a.seconds, []
    for ms, how in cases:
        said.append(one_jump(a, os.path.join(d, '%d%s' % (ms, how)), ms, how))
        if a.quick or a.seconds and time.monotonic() > end:
            break
    return '; '.join(said)


def one_jump(a, d, ms, how):
    w = World(d, a.seed)
    keep = 4 if a.quick else 16
    if a.quick:
        write_config(w.config, w.db, w.root, snapshot=(2, 4), l0=1)
    c = Clock(os.path.join(d, 'clock'))
    env = dict(os.environ, CLOCK_FILE=c.path,
               LD_PRELOAD=build(d, 'clock_shim'))
    steps = (1.5, 1.2, 2.2) if a.quick else (24, 6, 24)
    w.w.go()
    p = Daemon(LITESTREAM, w.config, w.log, env)
    h = History(w, keep, 1 if a.quick else 2)
    answers = []
    spans = []
    try:
        for i, s in enumerate(steps):
            if i:
                c.set(ms if i == 1 else -ms)
                if how == 'restarted':
                    p.kill()
                    p = Daemon(LITESTREAM, w.config, w.log, env)
            t0 = time.time()
            time.sleep(s)
            t1 = time.time()
            spans.append((t0, t1))
            p.must_run()
            # Right answers for the times at which the clock was right.
            for q in (.2, .5, .9):
                for x0, x1 in spans[0::2]:
                    t = x0 + (x1 - x0) * q
                    if time.time() - t < keep - 2 and t - w.w.when[0][0] > \
                            3 and not a.quick:
                        answers.append(answer(w, t))
        w.w.halt()
    finally:
        h.end()
    p.term()
    check(same_as_source(w), 'newest state is not the source')
    n, rc, text = ask(w, c.wall() + 100 * YEAR_MS)
    check(n == w.w.n, 'a time after all: commit %s of %d, status %d: %s', n,
          w.w.n, rc, text)
    w.all_restore(w.root, False)
    verify(w.root)
    lines = text_of(w.log)
    said = lines.count('clock was set')
    check(said >= 2, 'the clock was set twice, and it was said %d times',
          said)
    if not a.quick:
        check(h.deleted > 0, 'nothing was ever deleted')
    return '%+.1f days, %s: nothing early in %d looks, %d files went, %d ' \
        'answers right' % (ms / DAY_MS, how, h.looks, h.deleted, len(answers))


def answer(w, t):
    """As exact as what is kept: level 1 has each second."""
    n, rc, text = ask(w, int(t * 1000))
    low, high = at(w, t - 2.2), at(w, t)
    check(n is not None and low <= n <= high,
          '-timestamp %s: commit %s, not %d to %d: status %d: %s',
          stamp(int(t * 1000)), n, low, high, rc, text)
    return n


def restores(a, d):
    """While retention deletes: a database large enough for that."""
    w = World(os.path.join(d, 'restores'), a.seed)
    write_config(w.config, w.db, w.root, '12', (1, 1), 1)
    w.w.c.execute('CREATE TABLE big(b)')
    w.w.c.execute('WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 '
                  'FROM c WHERE x<%d) INSERT INTO big SELECT randomblob(900)'
                  ' FROM c' % (2000 if a.quick else 12000))
    w.w.note()
    w.w.note = lambda: w.w.when.append((time.time(), w.w.n))
    w.w.go()
    p = Daemon(LITESTREAM, w.config, w.log)
    tally = collections.Counter()
    failed = []
    stop = threading.Event()

    def worker(binary, name):
        out = os.path.join(d, name)
        rnd = random.Random(a.seed)
        while not stop.is_set():
            listing = files(w.root)
            if not any(f.level == 9 for f in listing):
                time.sleep(.05)
                continue
            args = []
            if rnd.random() < .5:	# the oldest: about to go
                x = sorted({f.max for f in listing})
                args = ['-txid', '%016x' % rnd.choice(x[-3:] + x[:1])]
            rc, text = harness.restore(w.root, out, *args, binary=binary)
            kind = 'newest' if not args else 'txid'
            if rc != 0:
                # Gone before the restore looked: it says so, cleanly.
                gone = args and not any(
                    f.max == int(args[1], 16) for f in files(w.root))
                tally[name, kind, 'gone' if gone else 'failed'] += 1
                if not gone:
                    failed.append((name, args, rc, text))
                continue
            c = sqlite3.connect(out)
            good = c.execute('PRAGMA quick_check').fetchall() == [('ok',)]
            c.close()
            tally[name, kind, 'ok'] += 1
            if not good:
                failed.append((name, args, 0, 'malformed'))

    threads = [threading.Thread(target=worker, args=x, daemon=True)
               for x in ((LITESTREAM, 'ours'), (PEER, 'theirs'))]
    if not os.access(PEER, os.X_OK):
        print('no Litestream here: ours only')
        del threads[1:]
    for t in threads:
        t.start()
    time.sleep(a.seconds)
    stop.set()
    for t in threads:
        t.join()
    w.w.halt()
    p.term()
    verify(w.root)
    for x in failed[:6]:
        print('failed:', *x)
    check(not [x for x in failed if x[0] == 'ours'], 'ours failed')
    check(not failed, "Litestream's failed")
    return ', '.join('%s %d' % (' '.join(k), n)
                     for k, n in sorted(tally.items()))


# Large

def measure(*args, binary=None, until=None, env=None):
    """(status, output, VmHWM in KiB, seconds)"""
    start = time.monotonic()
    with tempfile.TemporaryFile() as f, tempfile.NamedTemporaryFile() as g:
        # What ends before we look is measured by time(1).
        timed = [] if until or not os.access(TIME, os.X_OK) else \
            [TIME, '-f', '%M', '-o', g.name]
        p = subprocess.Popen([*timed, binary or LITESTREAM, *args], env=env,
                             stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        high, path = 0, '/proc/%d/status' % p.pid
        exe = os.path.realpath(binary or LITESTREAM)
        while p.poll() is None:
            try:
                # Before exec it is us.
                if os.readlink('/proc/%d/exe' % p.pid) == exe:
                    m = re.search(r'VmHWM:\s+(\d+)', open(path).read())
                    high = max(high, int(m[1]) if m else 0)
            except (FileNotFoundError, ProcessLookupError):
                pass
            if until and until():
                p.send_signal(signal.SIGTERM)
                until = None
            time.sleep(.004)
        f.seek(0)
        if timed:
            high = int(g.read().split()[-1])
        return p.returncode, f.read().decode(errors='replace'), high, \
            time.monotonic() - start


def copy_and_sync(source, out):
    with open(source, 'rb') as i:
        while i.read(1 << 20):		# into the cache
            pass
    start = time.monotonic()
    subprocess.run(['dd', 'if=' + source, 'of=' + out, 'bs=1M', 'conv=fsync'],
                   check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def big(a, d):
    r = random.Random(a.seed)
    db, root = os.path.join(d, 'big.db'), os.path.join(d, 'replica')
    url, out = 'file://' + root, os.path.join(d, 'out.db')
    config = os.path.join(d, 'yml')
    write_config(config, db, root, (3600, 7200, 14400), (86400, 86400), 0)
    c = sqlite3.connect(db, isolation_level=None)
    c.execute('PRAGMA page_size=4096')
    c.execute('PRAGMA journal_mode=WAL')
    c.execute('PRAGMA synchronous=OFF')
    c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)')
    rows = a.megabytes * 1024 // 4
    for lo in range(0, rows, 4096):
        c.execute('BEGIN')
        c.executemany('INSERT INTO t VALUES(?,?)', (
            (i, r.randbytes(1600) + bytes(2200))
            for i in range(lo, min(lo + 4096, rows))))
        c.execute('COMMIT')
    c.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    memory = {}

    def step(name, *args, rc=0, **more):
        got, text, high, took = measure(*args, **more)
        check(got == rc, '%s: status %d: %s', name, got, text[-2000:])
        memory[name] = high
        print('%-32s %6.2f s  VmHWM %.1f MB' % (name, took, high / 1024))
        sys.stdout.flush()
        return text

    size = os.path.getsize(db)
    print('database of %.0f MB' % (size / 1e6))
    c2 = c

    def change(n):
        c2.execute('BEGIN')
        for _ in range(n):
            c2.execute('UPDATE t SET b=? WHERE id=?', (
                r.randbytes(1600) + bytes(2200), r.randrange(rows)))
        c2.execute('COMMIT')

    def published(n):
        return lambda: sum(f.level == 0 for f in files(root)) >= n

    step('replicate, first backup', 'replicate', '-config', config,
         until=published(1))
    # Increments: level 0 only.
    for i in range(100):
        change(r.choice((20, 200, 500)))
        got, text, high, took = measure('replicate', '-once', db, url)
        check(got == 0, '-once: %s', text)
        memory['replicate -once'] = max(memory.get('replicate -once', 0),
                                        high)
    print('%-32s           VmHWM %.1f MB' % (
        'replicate -once, 100 times', memory['replicate -once'] / 1024))
    listing = files(root)
    print('level 0: %d files, %.0f MB' % (
        sum(f.level == 0 for f in listing),
        sum(f.size for f in listing if f.level == 0) / 1e6))
    times = []
    for i in range(4):
        os.sync()
        t1 = copy_and_sync(db, out + '.copy')
        os.unlink(out + '.copy')
        if os.path.exists(out):
            os.unlink(out)
        os.sync()
        got, text, high, t2 = measure('restore', '-o', out, url)
        check(got == 0, 'restore: %s', text)
        memory['restore of base + 100'] = max(
            memory.get('restore of base + 100', 0), high)
        times.append((t1, t2))
        print('copy + fsync %.2f s, restore of base + 100 %.2f s: %.2f, '
              'VmHWM %.1f MB' % (t1, t2, t2 / t1, high / 1024))
    best = min(t2 for _, t2 in times) / min(t1 for t1, _ in times)
    step('merge: -once -force-snapshot', 'replicate', '-once',
         '-force-snapshot', db, url)
    check(any(f.level == 9 and f.max > 100 for f in files(root)),
          'no snapshot of the end')
    step('-once -enforce-retention', 'replicate', '-once',
         '-enforce-retention', db, url)
    c.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    os.unlink(out)
    step('restore after the merge', 'restore', '-o', out, url)
    with open(out, 'rb') as f, open(db, 'rb') as g:
        while True:
            x, y = f.read(1 << 20), g.read(1 << 20)
            check(x == y, 'restored is not the source')
            if not x:
                break
    step('restore -dry-run', 'restore', '-dry-run', '-o', out + '2', url)
    os.unlink(out)
    step('restore -txid', 'restore', '-txid', '%016x' % 50, '-o', out, url)
    os.unlink(out)
    step('restore -timestamp', 'restore', '-timestamp',
         stamp(int(time.time() * 1000)), '-integrity-check', 'quick', '-o',
         out, url)
    os.unlink(out)
    step('restore -f', 'restore', '-f', '-o', out, url,
         until=lambda: os.path.exists(out + '-txid'))
    change(500)

    def followed():
        return text_of(out + '-txid').strip() >= '%016x' % max(
            f.max for f in files(root))
    check(run('replicate', '-once', db, url)[0] == 0, '-once')
    step('restore -f, again', 'restore', '-f', '-o', out, url,
         until=followed)
    step('ltx', 'ltx', url)
    step('ltx -level all -json', 'ltx', '-level', 'all', '-json', url)
    step('ltx -points', 'ltx', '-points', url)
    step('verify', 'verify', url)
    step('verify -db', 'verify', '-db', db, url)
    env = dict(os.environ, TMPDIR=d)
    step('verify -full', 'verify', '-full', url, env=env)
    step('prune -dry-run', 'prune', '-dry-run', url)
    shutil.rmtree(os.path.join(d, '.big.db-litestream'))
    step('replicate, meta directory lost', 'replicate', '-once', db, url)
    end = time.monotonic() + 3

    def busy():
        change(50)
        return time.monotonic() > end
    step('replicate, under load', 'replicate', db, url, until=busy)
    worst = max(memory, key=memory.get)
    check(memory[worst] <= 16 * 1024, 'more than 16 MB: %s', worst)
    check(best <= 1.5, 'restore takes %.2f of copy + fsync', best)
    return 'most memory: %s, %.1f MB; restore against copy + fsync: %.2f' % (
        worst, memory[worst] / 1024, best)


MODES = {'compact': compact, 'kill': kill, 'clock': clock,
         'restores': restores, 'big': big}


def play(a, directory):
    a.seconds = a.seconds or {'compact': (5, 300), 'restores': (1.5, 60)}.get(
        a.mode, (0, 0))[not a.quick]
    a.kills = a.kills or (6 if a.quick else 1 << 30 if a.seconds else 500)
    a.megabytes = a.megabytes or (16 if a.quick else 1024)
    return MODES[a.mode](a, directory)


def main():
    p = harness.parser(__doc__)
    p.add_argument('mode', choices=MODES)
    p.add_argument('-seconds', type=float)
    p.add_argument('-kills', type=int)
    p.add_argument('-megabytes', type=int)
    a = p.parse_args()
    return harness.main(a, play, 'levels_soak ' + a.mode)


if __name__ == '__main__':
    sys.exit(main())
