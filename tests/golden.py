#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""golden.py GOLDEN LITESTREAM DIRECTORY BIG: restores every case of the golden
set, and every mutant; TAP.

The set's expectations are kept but where Litestream 0.5.17, which they
describe, knows less than this program:
- a time means header stamps <= T, not file times < T; T after the newest is
  the newest state; T in a gap is an error.  Where the two rules name different
  TXIDs, computed here from the headers, ours is wanted;
- a chain may end in a file with real checksums (checksummed-first)."""
import concurrent.futures
import hashlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading

golden, tool, top, big = sys.argv[1:5]
WORKERS = 2
local = threading.local()
dumps = {}


def rows(name):
    with open(os.path.join(golden, name)) as f:
        found = [line.rstrip('\n').split('\t') for line in f]
    return [r for r in found if not r[0].startswith('#') and
            (big == '1' or not r[0].startswith('lockpage'))]


def unpack(case):
    subprocess.run(['tar', '-xJf', os.path.join(golden, case + '.tar.xz'),
                    '-C', os.path.join(top, 'u')], check=True)


def list_files(case):
    """Level, TXIDs, header stamp and file time of each LTX file."""
    ltx = os.path.join(top, 'u', case, 'ltx')
    for d, _, names in os.walk(ltx):
        for n in names:
            path = os.path.join(d, n)
            if not n.endswith('.ltx'):
                continue
            with open(path, 'rb') as f:
                stamp = struct.unpack('>q', f.read(40)[32:])[0]
            yield (case, int(os.path.basename(d)), int(n[:16], 16),
                   int(n[17:33], 16), stamp,
                   os.stat(path).st_mtime_ns // 1000000)


AMEND = """
CREATE TABLE t AS SELECT c, sel, want, CAST((julianday(substr(sel, 11)) -
    2440587.5) * 86400000 + 0.5 AS INT) AS ms FROM r
    WHERE sel LIKE 'timestamp=%' AND c IN (SELECT c FROM f);
CREATE TABLE p AS SELECT c, hi AS txid, min(stamp) AS stamp FROM f
    GROUP BY c, hi;
CREATE TABLE peer AS WITH RECURSIVE w(c, sel, ms, cur) AS (
    SELECT c, sel, ms, coalesce((SELECT max(hi) FROM f WHERE f.c = t.c AND
        level = 9 AND mtime < ms), 0) FROM t
    UNION SELECT c, sel, ms, (SELECT max(hi) FROM f WHERE f.c = w.c AND
        level < 9 AND mtime < ms AND lo <= cur + 1 AND hi > cur)
        FROM w WHERE cur IS NOT NULL)
    SELECT c, sel, CASE WHEN ms < (SELECT min(mtime) FROM f WHERE f.c = w.c)
    OR ms > (SELECT max(mtime) FROM f WHERE f.c = w.c) THEN 0 ELSE max(cur)
    END AS txid FROM w GROUP BY c, sel;
CREATE TABLE x AS SELECT *,
    coalesce((SELECT max(txid) FROM p WHERE p.c = t.c AND stamp <= ms), 0)
        AS ours,
    CASE WHEN want LIKE 'error|%' THEN coalesce((SELECT max(txid) FROM p
        WHERE p.c = t.c AND stamp < ms), 0) ELSE (SELECT txid FROM peer
        WHERE peer.c = t.c AND peer.sel = t.sel) END AS peers FROM t;
UPDATE x SET ours = 0 WHERE c = 'gap-a' AND ours >= 5;
CREATE TABLE amend AS
SELECT c, sel, ours AS txid, (SELECT want FROM x AS y WHERE y.c = x.c AND
    y.ours = x.ours AND y.peers = x.ours) AS want FROM x WHERE ours <> peers
    OR (c = 'checksummed-first' AND ours = 1)
UNION ALL SELECT c, sel, 1, NULL FROM r WHERE c = 'checksummed-first'
    AND sel LIKE 'txid=%1'
-- Of v0.3, without TXIDs: a time after the newest file.
UNION ALL SELECT c, sel, -1, (SELECT want FROM r AS y WHERE y.c = r.c AND
    y.sel = 'latest') FROM r WHERE c LIKE 'v3-%' AND want = 'error' AND
    c NOT IN (SELECT c FROM f) AND sel > (SELECT max(sel) FROM r AS y WHERE
    y.c = r.c AND y.want <> 'error' AND y.sel LIKE 'timestamp=%');
"""


def amend(expected, files):
    """What our rules want instead, by case and selector."""
    db = sqlite3.connect(':memory:')
    db.execute('CREATE TABLE f(c, level, lo, hi, stamp, mtime)')
    db.execute('CREATE TABLE r(c, sel, want)')
    db.executemany('INSERT INTO f VALUES(?, ?, ?, ?, ?, ?)', files)
    db.executemany('INSERT INTO r VALUES(?, ?, ?)',
                   [r[:3] for r in expected])
    db.executescript(AMEND)
    ours = {}
    for case, sel, txid, want in db.execute('SELECT * FROM amend').fetchall():
        if case.startswith('checksummed'):
            want = None
        if txid == 0:
            want = 'error'
        if want is None:
            want = restore(os.path.join(top, 'u', case), 'txid=%016x' % txid)
        ours[case, sel] = want
    return ours


def dump(path):
    """Hash of what sqlite3 prints; equal bytes are asked for once."""
    with open(path, 'rb') as f:
        key = hashlib.file_digest(f, 'sha256').digest() \
            if hasattr(hashlib, 'file_digest') else \
            hashlib.sha256(f.read()).digest()
    if key not in dumps:
        text = subprocess.run(['sqlite3', path, '.dump'],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL).stdout
        dumps[key] = hashlib.sha256(text).hexdigest()
    return dumps[key]


def restore(root, sel):
    """The hash of the dump, "error", or what is wrong with the program."""
    out = os.path.join(top, 'out-%d.db' % threading.get_ident())
    args = [] if sel == 'latest' else ['-' + sel.split('=')[0],
                                       sel.split('=')[1]]
    p = subprocess.run([tool, 'restore', '-o', out, *args, 'file://' + root],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    local.log = p.stdout.decode(errors='replace').split('\n')[0]
    there = os.path.exists(out)
    got = 'status %d, output file: %s' % (p.returncode, there)
    if p.returncode == 0 and there:
        got = dump(out)
    elif 0 < p.returncode < 126 and not there:
        got = 'error'
    for s in ('', '-wal', '-shm', '-journal', '.tmp', '.tmp-wal'):
        if os.path.exists(out + s):
            os.unlink(out + s)
    return got


def write(path, data):
    """The content, with the file's times kept."""
    st = os.stat(path)
    with open(path, 'wb') as f:
        f.write(data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def mutate(root, op, name, *args):
    """As the set's mutate.sh."""
    path = os.path.join(root, name)
    junk = b'junk-\n' * 1000
    old = b''
    if os.path.isfile(path):
        with open(path, 'rb') as f:
            old = f.read()
    if op in ('swap', 'mv', 'cp', 'junk'):
        os.makedirs(os.path.dirname(
            path if op in ('swap', 'junk') else os.path.join(root, args[0])),
            exist_ok=True)
    if op == 'trunc':
        write(path, old[:int(args[0])].ljust(int(args[0]), b'\0'))
    elif op == 'flip':
        at = int(args[0])
        write(path, old[:at] + bytes([old[at] ^ int(args[1])]) +
              old[at + 1:])
    elif op == 'put':
        at, new = int(args[0]), bytes.fromhex(args[1])
        write(path, old[:at] + new + old[at + len(new):])
    elif op == 'append':
        write(path, old + junk[:int(args[0])])
    elif op == 'zeros':
        write(path, bytes(len(old)))
    elif op == 'empty':
        write(path, b'')
    elif op == 'del':
        if os.path.lexists(path):
            os.unlink(path)
    elif op == 'swap':
        other = os.path.join(root, args[0])
        os.rename(path, path + '.t')
        os.rename(other, path)
        os.rename(path + '.t', other)
    elif op == 'mv':
        os.rename(path, os.path.join(root, args[0]))
    elif op == 'cp':
        shutil.copy2(path, os.path.join(root, args[0]))
    elif op == 'touch':
        os.utime(path, (float(args[0]),) * 2)
    elif op == 'junk':
        with open(path, 'wb') as f:
            f.write(junk[:int(args[0])])
    elif op == 'mkdir':
        os.makedirs(path, exist_ok=True)
    else:
        raise ValueError(op)


def judge(job):
    """One restore: name, whether it is as wanted, why not."""
    name, base, sel, want, ops = job
    root = os.path.join(top, 'u', base)
    if ops is not None:
        copy = os.path.join(top, 'm-%d' % threading.get_ident())
        shutil.copytree(root, copy, symlinks=True)
        for op in ops.split(';'):
            mutate(copy, *op.split())
        root = copy
    got = restore(root, sel)
    if ops is not None:
        shutil.rmtree(copy)
    return name, got in want, 'wanted %s, got %s: %s' % (
        ' or '.join(want), got, local.log)


def main():
    expected, mutants = rows('expected.tsv'), rows('mutants.tsv')
    cases = sorted({r[0].split('/')[0] for r in expected} |
                   {r[1].split('/')[0] for r in mutants})
    os.mkdir(os.path.join(top, 'u'))
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(unpack, cases))
        with_time = {r[0] for r in expected if r[1].startswith('timestamp=')}
        files = [f for c in sorted(with_time) for f in list_files(c)]
        ours = amend(expected, files)
        print('# %d of %d rows by our rules' % (len(ours), len(expected)))
        jobs = [('%s %s' % (c, sel), c, sel,
                 ours.get((c, sel), want).split('|'), None)
                for c, sel, want in (r[:3] for r in expected)]
        right = {r[0]: r[2] for r in expected if r[1] == 'latest'}
        for name, base, want, ops in (r[:4] for r in mutants):
            jobs.append((name, base, 'latest', right[base].split('|') +
                         ([] if want == 'right' else ['error']), ops))
        failed = 0
        for i, (name, good, why) in enumerate(pool.map(judge, jobs)):
            print('%sok %d - %s' % ('' if good else 'not ', i + 1, name))
            if not good:
                failed += 1
                print('#   ' + why)
    print('1..%d' % len(jobs))
    return failed != 0


sys.exit(main())
