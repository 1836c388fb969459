#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Errors: every call of every command fails once with EIO, some with EINTR.

    errors.py [STEP:CLASS:K]

The steps of crash.py's life, and the commands that only read, are run on
copies, as often as there are calls: those that change files ("calls"), those
that read ("reads"), and "others": looks, locks, new threads; the database's
own among them.  What fault.py does with
more kinds of faults, for some calls at random, is done here for all calls, but
only what the command says is looked at: done nevertheless, or status 1 with
the path and the reason, and no temporary left.  restore -f, which is stopped
when it has caught up, does so whatever failed once.
"""
import os
import sys
import time

sys.dont_write_bytecode = True
import harness
from crash import Writer, follows, start_follow
from fault import KINDS, Run, Step, Trial, live
from harness import check, env_of, run, text_of

SEED = 1
WAIT_S = 20
READERS = (('verify', '-full', '-db', '@/db/a.db', 'file://@/replica'),
           ('ltx', 'file://@/replica'), ('prune', '-dry-run', '-keep', '1h',
                                         'file://@/replica'),
           ('restore', '-dry-run', '-o', '@/out/x.db', 'file://@/replica'))


class Once(Trial):
    check = Trial.one_shot


class Follow(Trial):
    fast = ('follow',)

    def check(self):
        log = self.base + '.log'
        p = start_follow(self.env(), self.standby, self.root, log)
        end = time.monotonic() + WAIT_S
        while p.status() is None and time.monotonic() < end and \
                not follows(self.standby, self.root):
            time.sleep(.005)
        rc, text = p.stop(), text_of(log)
        self.hit = os.path.exists(self.base + '.hit')
        self.quiet = not self.says(text)
        check(rc in (0, 1) and not (rc == 1 and self.quiet),
              'status %d: %s', rc, text.strip())
        check(rc == 1 or follows(self.standby, self.root),
              'did not catch up: %s', text.strip())
        self.check_left(text)


def behind(life, number):
    """A follower's database, and one more commit in the replica."""
    w = Writer(life.db, 'FULL', SEED)
    w.commit()
    v, data = w.state()
    life.committed[data] = v
    w.c.close()
    rc, text = run('replicate', '-once', life.db, 'file://' + life.root,
                   env=env_of(life.dir, clock=life.clock))
    check(rc == 0, 'replicate: %s', text)
    return Step(life, number, 'follow', ())


KIND = {'follow': Follow}


def count(all_, step):
    t = KIND.get(step.kind, Once)(all_, step, 'none', 0, 'none', 'none')
    t.prepare(os.path.join(all_.dir, 'count%04d' % step.number))
    t.check()
    return t.counts()


def steps_of(life, steps):
    """One of each kind: first backup, append, policy, prune, restore, rebase;
    and what only reads."""
    chosen, steps = {}, [s for s in steps if s.kind != 'follow']
    for s in steps[1:]:
        if s.kind != 'daemon':
            chosen.setdefault(' '.join(s.args), s)
    out = [steps[0], *chosen.values(), steps[-2]]
    for args in READERS:
        out.append(Step(life, len(steps) + len(out), 'read', ()))
        out[-1].args = args
    return out + [behind(life, len(steps) + len(out))]


def play(args, directory):
    harness.build_all(directory)
    life, steps = live(directory, SEED, False)
    all_ = Run(directory, life, steps_of(life, steps), False)
    all_.total, all_.with_db, trials = [0] * len(KINDS), True, []
    for s in all_.steps:
        n = count(all_, s)
        errors = ('EIO', 'EINTR') if s.kind == 'restore' or \
            s is all_.steps[0] else ('EIO',)
        all_.total = [a + n[b] for a, b in zip(all_.total, KINDS)]
        kind = KIND.get(s.kind, Once)
        trials += [kind(all_, s, what, k, error, 'once')
                   for what in ('calls', 'reads', 'others')
                   for k in range(1, n[what] + 1) for error in errors
                   if (error, what) != ('EINTR', 'others')]
    all_.perform([t for t in trials if not args.only or
                  t.name.startswith(args.only + ':')], None)
    return all_.report()


def main():
    p = harness.parser(__doc__)
    p.add_argument('only', nargs='?')
    return harness.main(p.parse_args(), play)


if __name__ == '__main__':
    sys.exit(main())
