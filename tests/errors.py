#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Errors: every call of every command fails once with EIO.

    errors.py [STEP:CLASS:K]

The steps of crash.py's life, and the commands that only read, are run on
copies, as often as there are calls: those that change files ("calls"), those
that read ("reads"), the database's own among them.  What fault.py does with
more kinds of faults, for some calls at random, is done here for all calls, but
only what the command says is looked at: done nevertheless, or status 1 with
the path and the reason, and no temporary left.  restore -f, which is stopped
when it has caught up, does so whatever failed once.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from crash import (LITESTREAM, Failure, Writer, build_shim, env_of, follows,
                   litestream)
from fault import Run, Step, Trial, live

SEED = 1
WAIT_S = 20
READERS = (('verify', '-full', '-db', '@/db/a.db', 'file://@/replica'),
           ('ltx', 'file://@/replica'), ('prune', '-dry-run', '-keep', '1h',
                                         'file://@/replica'),
           ('restore', '-dry-run', '-o', '@/out/x.db', 'file://@/replica'))


class Once(Trial):
    check = Trial.one_shot


class Follow(Trial):
    def check(self):
        path, log = self.base + '/out/follow.db', self.base + '.log'
        with open(log, 'wb') as f:
            p = subprocess.Popen(
                [LITESTREAM, 'restore', '-f', '-follow-interval', '20ms', '-o',
                 path, 'file://' + self.root], stdin=subprocess.DEVNULL,
                stdout=f, stderr=f, env=dict(self.env(), SHIM_SPEED='40'))
        end = time.monotonic() + WAIT_S
        while p.poll() is None and time.monotonic() < end and \
                not follows(path, self.root):
            time.sleep(.005)
        p.terminate()
        rc = p.wait(WAIT_S)
        self.hit = os.path.exists(self.base + '.hit')
        with open(log, errors='replace') as f:
            text = f.read()
        self.quiet = not self.says(text)
        if rc not in (0, 1) or (rc == 1 and self.quiet):
            raise Failure('status %d: %s' % (rc, text.strip()))
        if rc == 0 and not follows(path, self.root):
            raise Failure('did not catch up: %s' % text.strip())
        self.check_left(text)


def behind(life, number):
    """A follower's database, and one more commit in the replica."""
    w = Writer(life.db, 'FULL', SEED)
    w.commit()
    v, data = w.state()
    life.committed[data] = v
    w.c.close()
    rc, text = litestream(env_of(life.shim, clock=life.clock), 'replicate',
                          '-once', life.db, 'file://' + life.root)
    if rc != 0:
        raise Failure('replicate: %s' % text)
    return Step(life, number, 'follow', ())


KIND = {'follow': Follow}


def count(run, step):
    t = KIND.get(step.kind, Once)(run, step, 'none', 0, 'none', 'none')
    t.prepare(os.path.join(run.dir, 'count%04d' % step.number))
    t.check()
    return t.counts()


def steps_of(life, steps):
    """One of each kind: first backup, append, policy, prune, restore, rebase;
    and what only reads."""
    chosen = {}
    for s in steps[1:]:
        if s.kind != 'daemon':
            chosen.setdefault(' '.join(s.args), s)
    out = [steps[0], *chosen.values(), steps[-2]]
    for args in READERS:
        out.append(Step(life, len(steps) + len(out), 'read', ()))
        out[-1].args = args
    return out + [behind(life, len(steps) + len(out))]


def main():
    directory = tempfile.mkdtemp(prefix='litestream-errors.')
    run = None
    try:
        life, steps = live(directory, build_shim(directory), SEED, False)
        run = Run(directory, life, steps_of(life, steps), False)
        run.total, run.with_db, trials = [0, 0, 0], True, []
        for s in run.steps:
            n = count(run, s)
            run.total = [a + b for a, b in zip(run.total, n.values())]
            kind = KIND.get(s.kind, Once)
            trials += [kind(run, s, what, k, 'EIO', 'once')
                       for what in ('calls', 'reads')
                       for k in range(1, n[what] + 1)]
        wanted = sys.argv[1:]
        run.perform([t for t in trials if not wanted or any(
            t.name.startswith(w + ':') for w in wanted)], None)
        run.report(SEED)
    except Failure as e:
        print('FAILED: %s' % e)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return run is None or bool(run.failures) or not run.hits


if __name__ == '__main__':
    sys.exit(main())
