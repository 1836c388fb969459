#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Faults: every call that changes files fails, once or from then on.

    fault.py [-quick] [-seconds N] [-seed N] [-blind] [-keep] [-each N] [-all]
        [-class CLASS] [-db] [-step N] [-only STEP:CLASS:K:ERRNO:MODE]

The life of crash.py is lived once and its files are copied before each step.
Then each step is run on such a copy, again and again, with a fault by shim.c:

calls   the Kth call that changes files fails with ERRNO (SHORT: a part of it
        is done; a failed fsync loses the data), "once" or from then "on"
reads   the same for calls that read
others  the same for calls that look or lock, and for new threads
alloc   the Kth allocation fails

The program may succeed in spite of that; otherwise it must say what and why
and exit with status 1, or, as a daemon or a follower, go on, and catch up by
itself when the fault is gone; for one in ten that takes two minutes of the
daemon's.  No temporary, lock or descriptor may be left behind, nothing that
was acknowledged lost, and the next replicate -once must succeed.  Of reads,
allocations, and calls of daemon and follower 300 are taken of each step; -all:
all; -each: so many at random of each step and class; -seconds: as many as
these allow; -class: of one only; -db: calls for the database fail as well;
-step: only this one.  A failure is replayed by the line printed.
"""
import concurrent.futures
import errno
import os
import random
import re
import shutil
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
import harness
from crash import (CHMOD, CLOSE, LINK, MKDIR, OPEN, RENAME, SYNC, TIMES, TRUNC,
                   UNLINK, WORKERS, WRITE, Life, Writer, crc64, follows,
                   integrity, read_journal, rows, source_image, start_follow,
                   stat_of)
from harness import (Failure, Process, bytes_of, check, digest, env_of,
                     leftovers, points, restored, run, text_of, verify)

QUICK_S = 4.5
QUICK_EACH = 6
SPEED = 40
ERRNOS = ('EIO', 'ENOSPC', 'EINTR', 'EMFILE', 'EACCES', 'EDQUOT', 'SHORT')
# What shim.c lets fail in these ways; the others in any.
FULL = {OPEN, CLOSE, WRITE, TRUNC, SYNC, RENAME, LINK, MKDIR, TIMES}
CALLS = {'ENOSPC': FULL, 'EDQUOT': FULL, 'EMFILE': {OPEN}, 'SHORT': {WRITE},
         'EINTR': {OPEN, WRITE, TRUNC, SYNC},
         'EACCES': {OPEN, RENAME, LINK, UNLINK, MKDIR, TIMES, CHMOD}}
SOME = 300
KINDS = ('calls', 'reads', 'alloc', 'others')
OTHER_ERRNOS = ('EIO', 'EACCES')
READ_ERRNOS = ('EIO', 'EMFILE', 'EACCES', 'EINTR', 'SHORT')
CATCH_UP_S = 20
PAGES = 'db/.a.db-litestream/pages'


LEFT = ('.tmp', '.replaced', '-txid.tmp', '.new')


def number_of(name):
    return getattr(errno, name, 0)


class Step:
    """The files before a step of the life, and what it did then."""

    def __init__(self, life, number, kind, args):
        self.number, self.kind = number, kind
        self.args = [str(a).replace(life.base, '@') for a in args]
        self.clock, self.acked = life.clock, -1
        if life.acks:           # what is left of it: a person loses some
            self.acked = life.committed[digest(restored(
                life.root, os.path.join(life.dir, 'probe')))]
        self.copy = os.path.join(life.dir, 'step%04d' % number)
        shutil.copytree(life.base, self.copy,
                        ignore=shutil.ignore_patterns('*-shm'))
        self.fresh = self.still(life.base)

    def still(self, base):
        """What the page table was saved with and is as it was then."""
        path = os.path.join(base, PAGES)
        if not os.path.exists(path):
            return []
        data = bytes_of(path)
        zero = 'replica/ltx/0/%016x-%016x.ltx' % (
            struct.unpack_from('>Q', data, 40) * 2)
        return [(at, rel) for at, rel in ((104, 'db/a.db'), (144, zero))
                if os.path.exists(os.path.join(base, rel)) and
                stat_of(os.path.join(base, rel)) == data[at:at + 40]]

    def build(self, base, old):
        """The same files at base, of a path of the same length."""
        shutil.copytree(self.copy, base)
        path = os.path.join(base, 'replica', '.identity')
        if os.path.exists(path):
            data = bytes_of(path)
            with open(path, 'wb') as f:
                f.write(data.replace(old.encode(), base.encode()))
        path = os.path.join(base, PAGES)
        if os.path.exists(path):
            data = bytearray(bytes_of(path)[:-8])
            for at, rel in self.fresh:
                data[at:at + 40] = stat_of(os.path.join(base, rel))
            with open(path, 'wb') as f:
                f.write(data + struct.pack('>Q', crc64(data)))


class Trial:
    fast = ('daemon',)          # steps of which the clock is

    def __init__(self, run, step, what, k, error, mode):
        self.run, self.step, self.what = run, step, what
        self.k, self.error, self.mode = k, error, mode
        self.name = '%d:%s:%d:%s:%s' % (step.number, what, k, error, mode)
        self.hit = self.begun = False

    def prepare(self, base):
        self.base = base
        self.db = os.path.join(base, 'db', 'a.db')
        self.root = os.path.join(base, 'replica')
        self.scratch = base + '.scratch'
        self.standby = os.path.join(base, 'out', 'follow.db')
        self.step.build(base, self.run.life.base)

    def env(self):
        more = {'root': '/nowhere' if self.run.blind else self.base,
                'clock': self.step.clock,
                'skip': None if self.run.with_db else self.db,
                'clear': self.base + '.clear', 'hit': self.base + '.hit',
                'count': self.base + '.count'}
        if self.what == 'none':
            more['journal'] = self.base + '.journal'
        elif self.what == 'alloc':
            more['alloc'] = '%d:%s' % (self.k, self.mode)
        else:
            more['fail'] = '%d:%d:%s%s' % (
                self.k, number_of(self.error), self.mode,
                '' if self.what == 'calls' else ':' + self.what)
        if self.step.kind in self.fast:
            more['speed'] = SPEED
        return env_of(self.run.life.dir, **more)

    def counts(self):
        return dict(zip(KINDS, map(int,
                                   text_of(self.base + '.count').split())))

    def says(self, text):
        """Whether the reason is given, with a path of ours."""
        if self.what == 'alloc':
            return re.search(r'out of memory|Error: .*(memory|thread)', text)
        reason = '' if self.error == 'SHORT' else \
            os.strerror(number_of(self.error))
        return any(self.base in line and
                   (reason in line or 'I/O error' in line or
                    'unable to open' in line or 'disk is full' in line)
                   for line in text.splitlines()
                   if re.search('Error:|level=(ERROR|WARN|INFO)', line))

    def check_left(self, text):
        left = [p for p in leftovers(self.base, LEFT) if not (
            p.endswith('.replaced') and re.search(
                r'\.replaced|out: fsync:', text))]
        # Whoever cannot remove it, or has no memory, cannot be asked to.
        if left and self.what == 'calls' and 'remove' not in text and (
                self.mode == 'once' or
                self.error not in ('EACCES', 'EIO')):
            raise Failure('left %s: %s' % (left, text.strip()))

    def clear(self):
        """The fault is gone."""
        with open(self.base + '.clear', 'w'):
            pass

    def one_shot(self):
        args = [a.replace('@', self.base) for a in self.step.args]
        before = set(leftovers(self.base, ('.damaged',)))
        rc, text = run(*args, env=self.env())
        self.hit = os.path.exists(self.base + '.hit') or self.what == 'alloc'
        self.clear()
        # fcntl() says EACCES of what another process has locked.
        locked = rc == 5 and (self.what, self.error) == ('others', 'EACCES')
        check(rc in (0, 1) or locked, 'status %d: %s', rc, text.strip())
        check(rc == 0 or locked or self.says(text),
              'without path and reason: %s', text.strip())
        self.check_left(text)
        aside = set(leftovers(self.base, ('.damaged',))) - before
        check(not aside, 'status %d, good files set aside: %s: %s', rc,
              sorted(aside), text.strip())
        self.quiet = rc == 0 and not self.says(text)
        acked = self.step.acked
        if rc == 0 and self.step.kind == 'once':
            acked = self.run.value_of(source_image(self.db, self.scratch))
        return acked

    def afterwards(self, acked):
        source = source_image(self.db, self.scratch)
        self.run.value_of(source)
        integrity(source, self.scratch)
        if self.step.number > 0:
            self.check_acked(acked)
        for flags in ((), ('-enforce-retention',)):
            rc, text = self.once(60, *flags)
            check(rc == 0, 'afterwards: status %d: %s', rc, text)
        check(restored(self.root, self.scratch + '.r') == source,
              'afterwards: not what the database is')
        verify(self.root)
        for name in ('new.db', 'old.db') if self.step.kind == 'restore' \
                else ():
            rc, text = run('restore', '-force', '-o',
                           os.path.join(self.base, 'out', name),
                           'file://' + self.root)
            check(rc == 0, 'afterwards: %s', text)
        if self.step.kind == 'follow':
            p = start_follow(None, self.standby, self.root)
            try:
                check(self.arrives(p), 'afterwards: restore -f: %s',
                      p.status())
            finally:
                p.stop()
        left = [p for p in leftovers(self.base, LEFT)
                # reused, sooner or later
                if not p.startswith(('replica/ltx/0', 'replica/.clock'))]
        check(not left, 'afterwards: left %s', left)

    def once(self, later, *flags):
        """A pass to which nothing happens."""
        return run('replicate', '-once', *flags, self.db,
                   'file://' + self.root, env=env_of(
                       self.run.life.dir, clock=self.step.clock + later))

    def check_acked(self, acked):
        """At once, before anything is made good."""
        best, txids = -1, points(self.root)
        for txid in reversed(txids):
            try:
                data = restored(self.root, self.scratch + '.r', '-txid', txid)
            except Failure:
                if txid == txids[-1]:
                    raise
                continue        # what retention was about to remove
            best = max(best, self.run.value_of(data))
            break
        check(best >= acked, '%d was acknowledged, the newest is %d', acked,
              best)

    # The daemon, and the follower.

    def is_newest(self):
        """Whether the newest commit has arrived."""
        try:
            if self.step.kind == 'follow':
                return follows(self.standby, self.root) and \
                    not os.path.exists(self.standby + '-txid.tmp')
            return digest(restored(self.root, self.scratch + '.r')) == \
                self.writer.state()[1]
        except Failure:
            return False

    def arrives(self, p, seconds=CATCH_UP_S, until=lambda: False):
        end = time.monotonic() + seconds
        while time.monotonic() < end and p.status() is None:
            if until() or self.is_newest():
                return True
            time.sleep(.03)
        return False

    def commit(self):
        self.writer.commit()
        self.run.learn(self.writer)
        if self.step.kind == 'follow':
            self.later += 1
            rc, text = self.once(self.later)
            check(rc == 0, 'replicate -once: status %d: %s', rc, text)

    def was_hit(self):
        return os.path.exists(self.base + '.hit')

    def provoke(self, p):
        """Commits, checkpoint, levels, until the fault strikes."""
        for i in range(3):
            self.commit()
            if not self.arrives(p, 5, self.was_hit) or self.was_hit():
                return
            self.begun = True
        if self.step.kind == 'follow':
            return
        end = time.monotonic() + 1.2    # 48 s of the daemon's
        while time.monotonic() < end and not self.was_hit():
            time.sleep(.02)

    def start(self):
        self.writer, self.later = Writer(self.db, 'FULL', self.k), 0
        log = self.base + '.log'
        if self.step.kind == 'follow':
            return start_follow(self.env(), self.standby, self.root, log)
        return Process('replicate', self.db, 'file://' + self.root, log=log,
                       env=self.env())

    def last(self):
        """How long the fault lasts, two minutes of the daemon's at most."""
        time.sleep(.1 if self.mode == 'once' else
                   3 if self.k % 10 == 0 else .3)

    def daemon(self):
        p = self.start()
        try:
            self.provoke(p)
            self.hit = self.was_hit() or self.what == 'alloc'
            if p.status() is None:
                self.commit()
                self.last()
            self.clear()
            caught_up, fds = self.arrives(p), self.descriptors(p)
            end = time.monotonic() + CATCH_UP_S     # unless levels are made
            while fds > self.most(fds) and time.monotonic() < end:
                time.sleep(.1)
                fds = self.descriptors(p)
            by_itself = p.status() is not None
            rc, text = p.stop(), text_of(p.log)
        finally:
            p.kill()
            self.writer.c.close()
        if rc == 1 and self.hit and self.says(text) and by_itself and (
                self.what == 'alloc' or not self.begun):
            return                      # it could not even begin
        check(caught_up, 'did not catch up: status %s: %s', rc, text.strip())
        # Without memory it ends, also in the middle of a stop.
        check(rc == 0 or (rc == 1 and self.what == 'alloc' and
                          self.says(text)),
              'status %s: %s', rc, text.strip())
        self.quiet = not self.says(text)
        self.check_left(text)
        if self.step.kind == 'follow':
            with open(self.scratch, 'wb') as f:
                f.write(restored(self.root, self.scratch + '.r'))
            check(rows(self.standby) == rows(self.scratch),
                  'the standby is not what is restored')
        if self.what == 'none':
            self.run.descriptors[self.step.kind] = fds
        else:
            check(fds <= self.most(fds), '%d descriptors, not %d', fds,
                  self.most(fds))

    def most(self, fds):
        return self.run.descriptors.get(self.step.kind, fds) + 1

    def descriptors(self, p):
        try:
            return len(os.listdir('/proc/%d/fd' % p.pid))
        except OSError:
            return 0

    def check(self):
        self.quiet = False
        if self.step.kind in ('daemon', 'follow'):
            self.daemon()
            acked = self.step.acked
        else:
            acked = self.one_shot()
        if self.what != 'none':
            self.afterwards(acked)


class Run:
    def __init__(self, directory, life, steps, blind):
        self.dir, self.life, self.steps = directory, life, steps
        self.blind = blind
        self.lock = threading.Lock()
        self.known = dict(life.committed)
        self.failures, self.done, self.hits, self.quiet = [], 0, 0, {}
        self.number, self.descriptors = 0, {}

    def learn(self, writer):
        v, d = writer.state()
        with self.lock:
            self.known[d] = v

    def value_of(self, data):
        with self.lock:
            v = self.known.get(digest(data))
        if v is None:
            raise Failure('no committed state')
        return v

    def trial(self, t, keep=False):
        with self.lock:
            self.number += 1
            base = os.path.join(self.dir, 'w%07d' % self.number)
        why = None
        try:
            t.prepare(base)
            t.check()
        except Exception as e:  # a defect of the harness is one as well
            why = str(e) if isinstance(e, Failure) else repr(e)
        with self.lock:
            self.done += 1
            self.hits += t.hit
            if why is not None:
                self.failures.append((t.name, ' '.join(
                    t.step.args) or t.step.kind, why))
            elif t.hit and t.quiet:
                key = '%s %s' % (t.what, t.error)
                self.quiet[key] = self.quiet.get(key, 0) + 1
        if not keep:
            shutil.rmtree(base, ignore_errors=True)
            for end in ('.clear', '.hit', '.count', '.log', '.journal',
                        '.scratch', '.scratch.r', '.scratch-wal',
                        '.scratch-shm'):
                if os.path.exists(base + end):
                    os.unlink(base + end)

    def measure(self, step):
        """How many calls there are, when nothing fails."""
        t = Trial(self, step, 'none', 0, 'none', 'none')
        with self.lock:
            self.number += 1
            t.prepare(os.path.join(self.dir, 'w%07d' % self.number))
        t.check()
        n = t.counts()
        n['ops'] = {r.k: r.op for r in read_journal(t.base + '.journal')
                    } if step.args else {}      # else not the same each time
        shutil.rmtree(t.base)
        check(n['reads'] + n['alloc'] if step.args[:1] == ['verify'] and
              not self.blind else n['calls'],
              'the shim saw no call: nothing is tested')
        return n

    def trials(self, step, rnd, each):
        n, all_of = self.measure(step), []
        self.total = [a + n[b] for a, b in zip(self.total, KINDS)]
        for what, errors in (('calls', ERRNOS), ('reads', READ_ERRNOS),
                             ('others', OTHER_ERRNOS),
                             ('alloc', ('ENOMEM',))):
            if self.what not in (None, what):
                continue
            some = [(what, k, e, m) for k in range(1, n[what] + 1)
                    for e in errors for m in ('once', 'on')
                    if (e, m) != ('EINTR', 'on') and not (
                        what == 'calls' and n['ops'] and e in CALLS and
                        n['ops'][k] not in CALLS[e])]
            most = each or (SOME if not self.all and (
                what != 'calls' or step.kind in ('daemon', 'follow'))
                else len(some))
            all_of += [Trial(self, step, *s) for s in rnd.sample(
                some, min(most, len(some)))]
        return all_of

    def run(self, seed, each, seconds):
        rnd, all_of = random.Random(seed), []
        self.total = [0] * len(KINDS)
        for step in self.steps:
            all_of += self.trials(step, rnd, each)
        rnd.shuffle(all_of)
        self.perform(all_of, seconds and time.monotonic() + seconds)

    def perform(self, trials, until):
        slots = threading.Semaphore(2 * WORKERS)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for t in trials:
                if until and time.monotonic() > until:
                    break
                slots.acquire()
                pool.submit(self.trial, t).add_done_callback(
                    lambda _: slots.release())

    def report(self):
        for name, what, why in self.failures[:20]:
            lines = [s for s in why.replace(': time=', ':\ntime=', 1)
                     .splitlines() if 'level=INFO' not in s]
            print('FAILED: %s (%s): %s' % (name, what, '\n    '.join(
                lines[:5])[:900]))
            print('    replay: python3 %s -seed %d -only %s -keep' % (
                sys.argv[0], self.life.seed, name))
        counts = '%d steps with %d calls, %d reads, %d allocations, %d others; ' \
            '%d faults tried, %d struck, %d without a word and without harm, ' \
            '%d failed' % (len(self.steps), *self.total, self.done, self.hits,
                           sum(self.quiet.values()), len(self.failures))
        check(self.hits and not self.failures, '%s', counts)
        return counts


def live(directory, seed, blind):
    """The life once, and its steps."""
    steps = []
    life = Life(directory, seed, True, blind=blind, snapshot=lambda l, kind,
                args: steps.append(Step(l, len(steps), kind, args)))
    life.live()
    return life, steps


def play(a, directory):
    harness.build_all(directory)
    life, steps = live(directory, a.seed, a.blind)
    run_ = Run(directory, life, steps, a.blind)
    run_.what, run_.with_db, run_.all = a.what, a.db, a.all
    if a.only:
        number, what, k, error, mode = a.only.split(':')
        run_.total = [0] * len(KINDS)
        run_.trial(Trial(run_, steps[int(number)], what, int(k), error, mode),
                   a.keep)
        return run_.report()
    if a.step is not None:
        run_.steps = [steps[a.step]]
    elif a.quick:
        run_.steps = random.Random(a.seed).sample(steps, min(3, len(steps)))
    run_.run(a.seed, a.each or (QUICK_EACH if a.quick else 0),
             a.seconds or (QUICK_S if a.quick else None))
    return run_.report()


def main():
    p = harness.parser(__doc__)
    for flag in ('-blind', '-db', '-all'):
        p.add_argument(flag, action='store_true')
    p.add_argument('-seconds', type=float)
    p.add_argument('-each', type=int, default=0)
    p.add_argument('-class', dest='what')
    p.add_argument('-step', type=int)
    p.add_argument('-only')
    return harness.main(p.parse_args(), play)


if __name__ == '__main__':
    sys.exit(main())
