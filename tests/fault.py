#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Faults: every call that changes files fails, once or from then on.

    fault.py [-quick] [-seed N] [-blind] [-keep] [-each N] [-class CLASS]
        [-db] [-step N] [-only STEP:CLASS:K:ERRNO:MODE]

The life of crash.py is lived once and its files are copied before each step.
Then each step is run on such a copy, again and again, with a fault by shim.c:

calls   the Kth call that changes files fails with ERRNO (SHORT: a part of it
        is done; a failed fsync loses the data), "once" or from then "on"
reads   the same for calls that read
alloc   the Kth allocation fails

The program may succeed in spite of that; otherwise it must say what and why
and exit with status 1, or, as a daemon, go on, and catch up by itself when the
fault is gone.  No temporary, lock or descriptor may be left behind, nothing
that was acknowledged lost, and the next replicate -once must succeed.  -each:
so many at random of each step and class, not all; -class: of one only; -db:
calls for the database fail as well; -step: only these.  Exit status 1 on any
failure, which is replayed by the line printed: give the same seed and -only.
"""
import argparse
import concurrent.futures
import errno
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
from crash import (LITESTREAM, WORKERS, Failure, Life, Writer, build_shim,
                   crc64, digest, env_of, integrity, litestream, points,
                   restored, source_image, stat_of)

QUICK_S = 4.5
QUICK_EACH = 6
SPEED = 40
ERRNOS = ('EIO', 'ENOSPC', 'EINTR', 'EMFILE', 'EACCES', 'EDQUOT', 'SHORT')
READ_ERRNOS = ('EIO', 'EMFILE', 'EACCES', 'EINTR', 'SHORT')
DAEMON_CALLS = 90
CATCH_UP_S = 20
PAGES = 'db/.a.db-litestream/pages'


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
        with open(path, 'rb') as f:
            data = f.read()
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
            with open(path, 'rb') as f:
                data = f.read()
            with open(path, 'wb') as f:
                f.write(data.replace(old.encode(), base.encode()))
        path = os.path.join(base, PAGES)
        if os.path.exists(path):
            with open(path, 'rb') as f:
                data = bytearray(f.read()[:-8])
            for at, rel in self.fresh:
                data[at:at + 40] = stat_of(os.path.join(base, rel))
            with open(path, 'wb') as f:
                f.write(data + struct.pack('>Q', crc64(data)))


class Trial:
    def __init__(self, run, step, what, k, error, mode):
        self.run, self.step, self.what = run, step, what
        self.k, self.error, self.mode = k, error, mode
        self.name = '%d:%s:%d:%s:%s' % (step.number, what, k, error, mode)
        self.hit = False

    def prepare(self, base):
        self.base = base
        self.db = os.path.join(base, 'db', 'a.db')
        self.root = os.path.join(base, 'replica')
        self.scratch = base + '.scratch'
        self.step.build(base, self.run.life.base)

    def env(self):
        more = {'root': '/nowhere' if self.run.blind else self.base,
                'clock': self.step.clock,
                'skip': None if self.run.with_db else self.db,
                'clear': self.base + '.clear', 'hit': self.base + '.hit',
                'count': self.base + '.count'}
        if self.what == 'alloc':
            more['alloc'] = '%d:%s' % (self.k, self.mode)
        elif self.what != 'none':
            more['fail'] = '%d:%d:%s%s' % (
                self.k, number_of(self.error), self.mode,
                ':reads' if self.what == 'reads' else '')
        if self.step.kind == 'daemon':
            more['speed'] = SPEED
        return env_of(self.run.shim, **more)

    def counts(self):
        with open(self.base + '.count') as f:
            return dict(zip(('calls', 'reads', 'alloc'),
                            map(int, f.read().split())))

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

    def leftovers(self, ends=('.tmp', '.replaced')):
        return sorted(os.path.relpath(os.path.join(d, n), self.base)
                      for d, _, names in os.walk(self.base)
                      for n in names if n.endswith(ends))

    def check_left(self, text):
        left = [p for p in self.leftovers() if not (
            p.endswith('.replaced') and re.search(
                r'\.replaced|out: fsync:', text))]
        # Whoever cannot remove it, or has no memory, cannot be asked to.
        if left and self.what == 'calls' and 'remove' not in text and (
                self.mode == 'once' or
                self.error not in ('EACCES', 'EIO')):
            raise Failure('left %s: %s' % (left, text.strip()))

    def one_shot(self):
        args = [a.replace('@', self.base) for a in self.step.args]
        before = set(self.leftovers(('.damaged',)))
        rc, text = litestream(self.env(), *args)
        self.hit = os.path.exists(self.base + '.hit') or self.what == 'alloc'
        with open(self.base + '.clear', 'w'):
            pass
        if rc not in (0, 1):
            raise Failure('status %d: %s' % (rc, text.strip()))
        if rc == 1 and not self.says(text):
            raise Failure('without path and reason: %s' % text.strip())
        self.check_left(text)
        aside = set(self.leftovers(('.damaged',))) - before
        if aside:
            raise Failure('status %d, good files set aside: %s: %s' % (
                rc, sorted(aside), text.strip()))
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
            rc, text = litestream(
                env_of(self.run.shim, clock=self.step.clock + 60),
                'replicate', '-once', *flags, self.db, 'file://' + self.root)
            if rc != 0:
                raise Failure('afterwards: status %d: %s' % (rc, text))
        if restored(self.root, self.scratch + '.r') != source:
            raise Failure('afterwards: not what the database is')
        for name in ('new.db', 'old.db') if self.step.kind == 'restore' \
                else ():
            rc, text = litestream(None, 'restore', '-force', '-o',
                                  os.path.join(self.base, 'out', name),
                                  'file://' + self.root)
            if rc != 0:
                raise Failure('afterwards: %s' % text)
        left = [p for p in self.leftovers()     # reused, sooner or later
                if not p.startswith(('replica/ltx/0', 'replica/.clock'))]
        if left:
            raise Failure('afterwards: left %s' % left)

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
        if best < acked:
            raise Failure('%d was acknowledged, the newest is %d' % (
                acked, best))

    # The daemon.

    def publishes(self, p, until=None, seconds=CATCH_UP_S):
        """Waits for the newest commit; or until() is true."""
        end = time.monotonic() + seconds
        want = self.writer.state()[1]
        while time.monotonic() < end:
            if until and until():
                return True
            if p.poll() is not None:
                return False
            try:
                if digest(restored(self.root, self.scratch + '.r')) == want:
                    return True
            except Failure:
                pass
            time.sleep(.03)
        return False

    def was_hit(self):
        return os.path.exists(self.base + '.hit')

    def provoke(self, p):
        """Commits, checkpoint, levels, until the fault strikes."""
        for i in range(3):
            self.writer.commit()
            self.run.learn(self.writer)
            if not self.publishes(p, self.was_hit, 5) or self.was_hit():
                return
        end = time.monotonic() + 1.2    # 48 s of the daemon's
        while time.monotonic() < end and not self.was_hit():
            time.sleep(.02)

    def daemon(self):
        self.writer = Writer(self.db, 'FULL', self.k)
        log = self.base + '.log'
        with open(log, 'wb') as f:
            p = subprocess.Popen(
                [LITESTREAM, 'replicate', self.db, 'file://' + self.root],
                stdin=subprocess.DEVNULL, stdout=f, stderr=f, env=self.env())
        try:
            self.provoke(p)
            self.hit = self.was_hit()
            if p.poll() is None:
                self.writer.commit()
                self.run.learn(self.writer)
                # Now and then for two minutes of the daemon's.
                time.sleep(.1 if self.mode == 'once' else
                           3 if self.k % 10 == 0 else .3)
            with open(self.base + '.clear', 'w'):
                pass
            caught_up = self.publishes(p)
            fds = self.descriptors(p)
        finally:
            if p.poll() is None:
                p.terminate()
            try:
                rc = p.wait(30)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                rc = 'none'
            self.writer.c.close()
        with open(log, errors='replace') as f:
            text = f.read()
        self.hit = self.hit or self.what == 'alloc'
        if rc == 1 and self.hit and self.says(text) and (
                'shutting down' not in text or
                (self.what, self.mode) == ('alloc', 'on')):
            return                      # it could not even begin, or go on
        if not caught_up:
            raise Failure('did not catch up: %s' % text.strip())
        if rc != 0:
            raise Failure('status %s: %s' % (rc, text.strip()))
        self.quiet = not self.says(text)
        self.check_left(text)
        if self.what == 'none':
            self.run.descriptors = max(fds, self.run.descriptors)
        elif fds > self.run.descriptors + 1:
            raise Failure('%d descriptors, %d without a fault' % (
                fds, self.run.descriptors))

    def descriptors(self, p):
        try:
            return len(os.listdir('/proc/%d/fd' % p.pid))
        except OSError:
            return 0

    def check(self):
        self.quiet = False
        if self.step.kind == 'daemon':
            self.daemon()
            acked = self.step.acked
        else:
            acked = self.one_shot()
        if self.what != 'none':
            self.afterwards(acked)


class Run:
    def __init__(self, directory, life, steps, blind):
        self.dir, self.life, self.steps = directory, life, steps
        self.shim, self.blind = life.shim, blind
        self.lock = threading.Lock()
        self.known = dict(life.committed)
        self.failures, self.done, self.hits, self.quiet = [], 0, 0, {}
        self.number, self.descriptors = 0, 0

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
            for end in ('.clear', '.hit', '.count', '.log', '.scratch',
                        '.scratch.r', '.scratch-wal', '.scratch-shm'):
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
        shutil.rmtree(t.base)
        if n['calls'] == 0:
            raise Failure('the shim saw no call: nothing is tested')
        return n

    def trials(self, step, rnd, each):
        n, all_of = self.measure(step), []
        self.total = [a + n[b] for a, b in zip(
            self.total, ('calls', 'reads', 'alloc'))]
        calls = min(n['calls'], DAEMON_CALLS) if step.kind == 'daemon' \
            else n['calls']
        for what, count, errors in (('calls', calls, ERRNOS),
                                    ('reads', n['reads'], READ_ERRNOS),
                                    ('alloc', n['alloc'], ('ENOMEM',))):
            if self.what not in (None, what):
                continue
            some = [(what, k, e, m) for k in range(1, count + 1)
                    for e in errors for m in ('once', 'on')
                    if (e, m) != ('EINTR', 'on')]
            if each:
                some = rnd.sample(some, min(each, len(some)))
            elif what != 'calls' or step.kind == 'daemon':
                some = rnd.sample(some, min(300, len(some)))
            all_of += [Trial(self, step, *s) for s in some]
        return all_of

    def run(self, seed, each, until):
        rnd, all_of = random.Random(seed), []
        self.total = [0, 0, 0]
        for step in self.steps:
            all_of += self.trials(step, rnd, each)
            if until and time.monotonic() > until:
                break
        rnd.shuffle(all_of)
        self.perform(all_of, until)

    def perform(self, trials, until):
        slots = threading.Semaphore(2 * WORKERS)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for t in trials:
                if until and time.monotonic() > until:
                    break
                slots.acquire()
                pool.submit(self.trial, t).add_done_callback(
                    lambda _: slots.release())

    def report(self, seed):
        for name, what, why in self.failures[:20]:
            lines = [s for s in why.replace(': time=', ':\ntime=', 1)
                     .splitlines() if 'level=INFO' not in s]
            print('FAILED: %s (%s): %s' % (name, what, '\n    '.join(
                lines[:5])[:900]))
            print('    replay: python3 %s -seed %d -only %s -keep' % (
                os.path.abspath(__file__), seed, name))
        if len(self.failures) > 20:
            print('and %d more' % (len(self.failures) - 20))
        print('%s: seed %d, %d steps with %d calls, %d reads, %d allocations; '
              '%d faults tried, %d struck, %s without a word and without '
              'harm, %d failed' % (
                  'FAILED' if self.failures else 'ok', seed, len(self.steps),
                  *self.total, self.done, self.hits,
                  sum(self.quiet.values()), len(self.failures)))


def live(directory, shim, seed, blind):
    """The life once, and its steps."""
    steps = []
    life = Life(directory, shim, seed, True, blind=blind, snapshot=lambda l,
                kind, args: steps.append(Step(l, len(steps), kind, args)))
    life.live()
    return life, [s for s in steps if s.kind != 'follow']


def main():
    p = argparse.ArgumentParser()
    for flag in ('-quick', '-keep', '-blind', '-db'):
        p.add_argument(flag, action='store_true')
    p.add_argument('-seed', type=int, default=int(time.time()))
    p.add_argument('-each', type=int, default=0)
    p.add_argument('-class', dest='what')
    p.add_argument('-step', type=int)
    p.add_argument('-only')
    a = p.parse_args()
    print('seed %d' % a.seed, flush=True)
    directory = tempfile.mkdtemp(prefix='litestream-fault.')
    bad, start = True, time.monotonic()
    try:
        shim = build_shim(directory)
        life, steps = live(directory, shim, a.seed, a.blind)
        print('life: %.1f s' % (time.monotonic() - start), flush=True)
        run = Run(directory, life, steps, a.blind)
        run.what, run.with_db = a.what, a.db
        if a.only:
            number, what, k, error, mode = a.only.split(':')
            run.total = [0, 0, 0]
            run.descriptors = 99
            run.trial(Trial(run, steps[int(number)], what, int(k), error,
                            mode), a.keep)
        else:
            if a.step is not None:
                run.steps = [steps[a.step]]
            elif a.quick:
                rnd = random.Random(a.seed)
                run.steps = rnd.sample(steps, min(3, len(steps)))
            run.run(a.seed, a.each or (QUICK_EACH if a.quick else 0),
                    time.monotonic() + QUICK_S if a.quick else None)
        run.report(a.seed)
        bad = bool(run.failures)
    except Failure as e:
        print('FAILED: seed %d: %s' % (a.seed, e))
    finally:
        if a.keep:
            print('kept: %s' % directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return bad


if __name__ == '__main__':
    sys.exit(main())
