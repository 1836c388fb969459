#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""flips.py LITESTREAM REPLICA DB SAMPLES SEED [STATE ...]: damages a replica in
all ways (SAMPLES 0), or that many of them, one at a time, and puts it back.
Of each: verify and restore must both tell the truth.  A flip may be harmless:
other LZ4 data can make the same page, which is what the checksum is of.  STATE is a file that the
replica may restore to where its newest file is gone without a trace."""
import os
import random
import subprocess
import sys

tool, root, db, samples, seed = sys.argv[1:6]
rng = random.Random(int(seed))
out = os.path.join(os.path.dirname(root), 'flip.db')
right = open(db, 'rb').read()
states = {right} | {open(p, 'rb').read() for p in sys.argv[6:]}
count = {}
failed = 0


def run(*args):
    return subprocess.run([tool, *args], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60).returncode


def names():
    found = []
    for d, _, files in os.walk(os.path.join(root, 'ltx')):
        found += [os.path.join(d, f) for f in files]
    return sorted(found)


def check(kind, what):
    """What verify and restore say of the replica as it is."""
    global failed
    verify = run('verify', 'file://' + root)
    restore = run('restore', '-o', out, 'file://' + root)
    got = None
    if os.path.exists(out):
        got = open(out, 'rb').read()
        os.unlink(out)
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
    elif got is not None and got != right:
        word = 'an earlier state'
        if kind in ('flip', 'truncation', 'emptied') or got not in states:
            bad = 'a wrong database'
        elif verify == 0 and run('verify', '-db', db, 'file://' + root) == 0:
            bad = 'verify -db does not see that the newest state is gone'
    if bad:
        failed += 1
        print(f'# {what}: {bad}: verify {verify}, restore {restore}')
    count[kind, word] = count.get((kind, word), 0) + 1


def with_bytes(kind, path, data, what):
    old = open(path, 'rb').read()
    open(path, 'wb').write(data)
    check(kind, f'{path[len(root):]}: {what}')
    open(path, 'wb').write(old)


def flip(path, at, mask):
    data = bytearray(open(path, 'rb').read())
    data[at] ^= mask
    with_bytes('flip', path, data, f'byte {at} ^ {mask}')


def cut(path, n):
    with_bytes('truncation', path, open(path, 'rb').read()[:n], f'cut to {n}')


def moved(kind, a, b, keep, back):
    """a's content under b's name too, or only; or (back) each other's."""
    olda = open(a, 'rb').read()
    oldb = open(b, 'rb').read() if os.path.exists(b) else None
    os.makedirs(os.path.dirname(b), exist_ok=True)
    open(b, 'wb').write(olda)
    if back:
        open(a, 'wb').write(oldb)
    elif not keep:
        os.unlink(a)
    check(kind, f'{a[len(root):]} -> {b[len(root):]}')
    open(a, 'wb').write(olda)
    if oldb is None:
        os.unlink(b)
    else:
        open(b, 'wb').write(oldb)


def delete(path):
    old = open(path, 'rb').read()
    os.unlink(path)
    check('deleted', path[len(root):])
    open(path, 'wb').write(old)


files = names()
strange = ['/ltx/0/' + '-'.join(['%016x' % n] * 2) + '.ltx'
           for n in (0, len(files) + 100, 2**64 - 1)]
strange += ['/ltx/5/%016x-%016x.ltx' % r for r in ((1, 3), (3, 1), (2, 2))]
jobs = []
for f in files:
    size = os.path.getsize(f)
    jobs += [(flip, f, i, m) for i in range(size)
             for m in (1 << rng.randrange(8), 0xff)]
    jobs += [(cut, f, i) for i in range(size)]
    jobs += [(delete, f)]
    for g in files + [root + s for s in strange]:
        if g == f:
            continue
        jobs += [(moved, 'renamed', f, g, False, False),
                 (moved, 'duplicated', f, g, True, False)]
        if g in files:
            jobs += [(moved, 'exchanged', f, g, True, True)]
    jobs += [(with_bytes, 'emptied', f, b'', 'emptied'),
             (with_bytes, 'emptied', f, bytes(size), 'zeros')]
total = len(jobs)
if int(samples):
    few = [j for j in jobs if j[0] in (flip, cut)]
    rest = [j for j in jobs if j[0] not in (flip, cut)]
    n = int(samples)
    jobs = rng.sample(few, min(n, len(few))) + \
        rng.sample(rest, min(n, len(rest)))
if run('verify', '-db', db, 'file://' + root) != 0:
    sys.exit('# the replica is not whole before')
for j in jobs:
    j[0](*j[1:])
if run('verify', '-db', db, 'file://' + root) != 0:
    sys.exit('# the replica is not whole after')
print(f'# {len(jobs)} of {total} ways to damage {len(files)} files')
for (kind, word), n in sorted(count.items()):
    print(f'# {kind}: {n} {word}')
sys.exit(1 if failed else 0)
