#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Time, memory and disk, beside the real Litestream and the machine's limits.

    bench.py [-strict] [-seed N] [ROW...]

Runs ours and, where "make peer" has put it, Litestream 0.5.17 on the same work
in turn, and prints a table: medians, how ours relates to the other's and to
what the machine can do at all, and the bound that is wanted.  A row whose
result is not the source, or that published a file without having synced it,
fails (status 1); a bound that is missed only says so, unless -strict is given,
as machines are noisy.  Without a row all are run:

first     first backup of three sizes, with memory and disk
restore   of the first backup
commits   from a commit now and then to its file in the replica
rate      the same, 100 commits a second, and what the writer feels
full      a writer at full speed, alone and with a replicator
idle      processor, wake-ups and files while nothing happens
resume    after kill -9 and a checkpoint
once      -once after 100 changed rows
chain     restore of a base and 300 increments
memory    resident memory of each command
many      100 and 1000 small databases in one process
day       what an idle day writes, on a fast clock (not the other: a Go program
          cannot be given one)
burst     catching up with a burst of writes
syncs     fsync() of each published file and directory, counted by strace in
          runs that are not timed

BENCH_MB    size of the database (256); some rows take a quarter or four times
BENCH_RUNS  runs of each of which the median is taken (3)
BENCH_SECONDS  of load (8)
BENCH_MANY  numbers of databases ("100 1000")
"""
import glob
import os
import random
import re
import resource
import shlex
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction

sys.dont_write_bytecode = True
import harness
from harness import HERE, LITESTREAM, Failure, Process, check, text_of

PEER = os.path.join(os.environ.get('PEERS', os.path.join(HERE, '.peer')),
                    '0.5.17', 'bin', 'litestream')
MB = float(os.environ.get('BENCH_MB', 256))
RUNS = int(os.environ.get('BENCH_RUNS', 3))
SECONDS = float(os.environ.get('BENCH_SECONDS', 8))
MANY = [int(n) for n in os.environ.get('BENCH_MANY', '100 1000').split()]
SMALL, LARGE = MB / 4, MB * 4
MIB = 1 << 20
OURS, OTHER, ALONE = 'ours', '0.5.17', 'alone'
BINARY = {OURS: LITESTREAM, OTHER: PEER}
WAIT_S = 120
IDLE_S = 20             # fits between two merges, which are 30 s apart
AFTER_MERGE_S = 6
DAY_S = 10              # a day on the fast clock
ROW_BYTES = 1010        # of table t, with what SQLite adds
TEXT = 'the rest of this row is text, as there is in most; ' * 10


def until(what, test, seconds=WAIT_S):
    """Seconds until test() is true."""
    start = time.monotonic()
    while not test():
        check(time.monotonic() < start + seconds, '%s: not in %d s', what,
              seconds)
        time.sleep(0.002)
    return time.monotonic() - start


# Processes

def tool(name, *args):
    return [os.path.join(Bench.bin, name), *map(str, args)]


def output(argv):
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    check(p.returncode == 0, '%s: status %d: %s', shlex.join(argv),
          p.returncode, p.stderr.strip())
    return p.stdout


def cost(*argv):
    """Seconds of wall clock and processor and bytes of memory of a command,
    which must succeed."""
    log = os.path.join(Bench.bin, 'log')
    os.sync()
    wall, cpu, kb, status = output(
        tool('bench_tool', 'run', log, *argv)).split()
    check(status == '0', '%s: status %s: %s', shlex.join(map(str, argv)),
          status, text_of(log).strip()[-500:])
    return {'wall': float(wall), 'cpu': float(cpu), 'rss': int(kb) * 1024}


def limit(*args):
    """Of something that the machine cannot do faster: medians."""
    got = [cost(*tool('bench_tool', *args)) for _ in range(RUNS)]
    return {k: statistics.median(g[k] for g in got) for k in got[0]}


def load(at, mode, arg=0, seconds=SECONDS, watched=True):
    words = output(tool('bench_load', at.db, at.level0 if watched else '-',
                        mode, arg, seconds, Bench.random.randrange(1 << 30))
                   ).split()
    return {k: float(v) for k, v in zip(words[::2], words[1::2])}


class Daemon:
    def __init__(self, which, log, *args, env=None):
        self.p = Process('replicate', *args, log=log, binary=BINARY[which],
                         env=env)
        self.proc = '/proc/%d/' % self.p.pid
        self.log = log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.status() is None:
            self.p.kill()

    def cpu(self):
        fields = text_of(self.proc + 'stat').rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def field(self, path, name):
        return int(re.search(r'^%s:\s*(\d+)' % name, text_of(path),
                             re.M).group(1))

    def switches(self):
        return sum(self.field(t, 'voluntary_ctxt_switches')
                   for t in glob.glob(self.proc + 'task/*/status'))

    def peak(self):
        return self.field(self.proc + 'status', 'VmHWM') * 1024

    def now(self):
        return self.field(self.proc + 'status', 'VmRSS') * 1024

    def descriptors(self):
        return len(os.listdir(self.proc + 'fd'))

    def stop(self):
        rc = self.p.stop()
        check(rc == 0, 'stopped with status %d: %s', rc,
              text_of(self.log)[-500:])


# Databases

def change(db, n):
    """That many rows, spread over the table."""
    c = sqlite3.connect(db, timeout=10)
    rows = c.execute('SELECT max(id) FROM t').fetchone()[0]
    with c:
        c.executemany('UPDATE t SET b = randomblob(length(b)) WHERE id = ?',
                      ((i * rows // n + 1,) for i in range(n)))
    c.close()


def truncate(db):
    c = sqlite3.connect(db, timeout=10)
    busy = c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()[0]
    c.close()
    check(not busy, '%s: checkpoint busy', db)


def make_database(path, mb):
    c = sqlite3.connect(path)
    c.executescript('''PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
        PRAGMA wal_autocheckpoint = 10000;
        CREATE TABLE mark(id INTEGER PRIMARY KEY, v BLOB);
        INSERT INTO mark VALUES(1, zeroblob(12));
        CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB);''')
    rows = max(int(mb * MIB / ROW_BYTES), 100)
    for at in range(1, rows + 1, 10000):
        with c:
            c.execute('''WITH RECURSIVE c(x) AS (VALUES(?) UNION ALL SELECT
                x + 1 FROM c WHERE x < ?) INSERT INTO t
                SELECT x, ?, randomblob(480) FROM c''',
                (at, min(at + 9999, rows), TEXT))
    c.close()


def states(*directories):
    """{path: (inode, size, time)} of every file."""
    found = {}
    for d in directories:
        for here, _, names in os.walk(d):
            for n in names:
                path = os.path.join(here, n)
                try:
                    s = os.stat(path)
                except FileNotFoundError:
                    continue
                found[path] = s.st_ino, s.st_size, s.st_mtime_ns
    return found


def written(before, after):
    """Bytes and number of files that are new or other; a link is one."""
    new = {s[0]: s[1] for p, s in after.items() if before.get(p) != s}
    return sum(new.values()), len(new)


class Place:
    """A directory with a database, its replica and what a program keeps
    beside it."""

    def __init__(self, which, base):
        self.which = which
        self.dir = tempfile.mkdtemp(dir=Bench.dir)
        self.db = os.path.join(self.dir, 'app.db')
        self.root = os.path.join(self.dir, 'replica')
        self.meta = os.path.join(self.dir, '.app.db-litestream')
        self.out = os.path.join(self.dir, 'restored.db')
        self.level0 = os.path.join(self.root, 'ltx', '0')
        self.url = 'file://' + self.root
        output(['cp', base, self.db])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args):
        return cost(BINARY[self.which], *args)

    def once(self, *flags):
        return self.run('replicate', '-once', *flags, self.db, self.url)

    def restore(self):
        harness.remove(self.out)
        return self.run('restore', '-o', self.out, self.url)

    def daemon(self, env=None):
        d = Daemon(self.which, os.path.join(self.dir, 'log'), self.db,
                   self.url, env=env)
        until('first file', self.names)
        return d

    def names(self):
        """The files of level 0."""
        return set(glob.glob(self.level0 + '/*.ltx'))

    def states(self):
        return states(self.root, self.meta)

    def same(self):
        """What is restored is the database."""
        self.restore()
        truncate(self.db)
        check(subprocess.call(['cmp', '-s', self.db, self.out]) == 0,
              'restored another database')


# The table

def number(v):
    return '%.*f' % (0 if v >= 100 else 1 if v >= 10 else 2 if v >= 1 else 3,
                     v)


def show(v, unit):
    if v is None:
        return ''
    if unit == 'B':
        return (number(v / MIB) + ' MB' if v >= MIB else
                '%.0f kB' % (v / 1024) if v else '0')
    return (number(v) if v != int(v) or v < 1 and v else '%d' % v) + (
        ' ' + unit if unit else '')


def ratio(a, b):
    return number(a / b) if a is not None and b else ''


class Result:
    """What play(which, run) gave, of each program in turn.  That the other one
    fails is noted."""

    def __init__(self, bench, play, runs=None, programs=(OURS, OTHER)):
        self.got = {}
        for i in range(runs or RUNS):
            for which in programs:
                if which == OTHER and not bench.peer:
                    continue
                try:
                    self.got.setdefault(which, []).append(play(which, i))
                except Failure as e:
                    if which != OTHER:
                        raise
                    bench.note('%s, %s: %s' % (bench.row, which, e))
                finally:
                    for p in list(Process.running):
                        p.kill()

    def of(self, which, key):
        values = [g[key] for g in self.got.get(which, []) if key in g]
        return statistics.median(values) if values else None


class Bench:
    dir = bin = None
    random = random.Random()

    def __init__(self, peer):
        self.peer, self.lines, self.notes = peer, [], []
        self.missed, self.wrong, self.row = 0, 0, ''
        self.bases = {}

    def base(self, mb):
        if mb not in self.bases:
            path = os.path.join(Bench.dir, 'base-%g.db' % mb)
            make_database(path, mb)
            self.bases[mb] = path
        return self.bases[mb]

    def note(self, text):
        print('bench: ' + text, file=sys.stderr, flush=True)
        if text not in self.notes:
            self.notes.append(text)

    def line(self, title, unit, ours, other=None, best=None, what='', **must):
        """must: peer and limit, times of these at most; most; floor, times of
        the limit at least."""
        words, met = [], True
        for kind, v in must.items():
            if kind == 'most':
                words.append('<= ' + show(v, unit))
                met &= ours <= v
            elif kind == 'floor':
                words.append('>= %g of limit' % v)
                met &= ours >= v * best
            else:
                words.append('<= %s of %s' % (
                    Fraction(v).limit_denominator(20) if v < 1 else '%g' % v,
                    kind))
                against = other if kind == 'peer' else best
                met &= against is None or ours <= v * against
        self.missed += not met
        cells = [title, show(ours, unit), show(other, unit),
                 ratio(ours, other), (show(best, unit) + ' ' + what).strip(),
                 ratio(ours, best), ', '.join(words),
                 '' if not words else 'yes' if met else '**missed**']
        self.lines.append(cells)
        print('bench: ' + ' | '.join(cells), file=sys.stderr, flush=True)

    def lines_of(self, result, *rows):
        """(title, unit, key, best, what, must) each."""
        for title, unit, key, best, what, must in rows:
            self.line(title, unit, result.of(OURS, key),
                      result.of(OTHER, key), best, what, **must)

    # The rows

    def first(self):
        wall = {}
        for mb in SMALL, MB, LARGE:
            base = self.base(mb)

            def play(which, i):
                with Place(which, base) as at:
                    output(tool('bench_tool', 'read', at.db))   # is cached
                    got = at.once()
                    got['disk'] = sum({s[0]: s[1] for s in
                                       at.states().values()}.values())
                    if which == OURS or i == 0:
                        at.same()
                return got

            r = Result(self, play)
            wall[mb] = r.of(OURS, 'wall')
            name = 'first backup, %.0f MB: ' % (os.path.getsize(base) / MIB)
            must = {'peer': 1 / 3}
            if mb == MB:
                copy = limit('copy', base, os.path.join(Bench.dir, 'copy'))
                os.unlink(os.path.join(Bench.dir, 'copy'))
                lz4 = limit('lz4', base)
                size = int(output(tool('bench_tool', 'lz4', base)).split()[1])
                self.lines_of(
                    r, (name + 'wall', 's', 'wall', copy['wall'],
                        'copy + fsync', must),
                    (name + 'CPU', 's', 'cpu', lz4['cpu'], 'lz4', must),
                    (name + 'disk', 'B', 'disk', size, 'lz4',
                     {'limit': 1.05}))
                self.note('limits: reading %s, compressing %s of wall clock' %
                          (show(limit('read', base)['wall'], 's'),
                           show(lz4['wall'], 's')))
            elif mb == SMALL:
                self.lines_of(r, (name + 'wall', 's', 'wall', None, '', must))
            else:
                self.lines_of(r, (name + 'wall', 's', 'wall', 4 * wall[MB],
                                  '4x of %g MB' % MB, dict(must, limit=1.2)))
            self.lines_of(r, (name + 'memory', 'B', 'rss', None, '',
                              {'most': 16 * MIB}))

    def restore(self):
        def play(which, i):
            with Place(which, self.base(MB)) as at:
                at.once()
                got = at.restore()
                if which == OURS or i == 0:
                    at.same()
            return got

        r = Result(self, play)
        to = os.path.join(Bench.dir, 'copy')
        best = limit('copy', self.base(MB), to)
        os.unlink(to)
        self.lines_of(
            r, ('restore: wall', 's', 'wall', best['wall'], 'copy + fsync',
                {'limit': 1.5, 'peer': 1 / 3}),
            ('restore: CPU', 's', 'cpu', best['cpu'], 'copy + fsync', {}))

    def loaded(self, which, base, *args):
        """Under this load; replicated or alone."""
        with Place(which, base) as at:
            if which == ALONE:
                return load(at, *args, watched=False)
            with at.daemon() as d:
                cpu, switches = d.cpu(), d.switches()
                got = load(at, *args)
                got['cpu'] = (d.cpu() - cpu) * 1e6 / got['commits']
                got['switches'] = ((d.switches() - switches) * 1e3 /
                                   got['commits'])
                got['rss'] = d.peak()
                d.stop()
            at.same()
        got['late'] = got['last'] / 1e3
        return got

    def commits(self):
        base = self.base(SMALL)
        r = Result(self, lambda which, _: self.loaded(
            which, base, 'gap', 500, SECONDS * 2.5), 1)
        self.lines_of(
            r, ('commit to replica, now and then: p50', 'ms', 'lag_p50', None,
                '', {'most': 5}),
            ('commit to replica, now and then: slowest', 'ms', 'lag_max',
             None, '', {'most': 50}))

    def rate(self):
        base = self.base(SMALL)
        r = Result(self, lambda which, _: self.loaded(
            which, base, 'rate', 100, SECONDS), None, (ALONE, OURS, OTHER))
        self.lines_of(
            r, ('commit to replica, 100 a second: p50', 'ms', 'lag_p50', None,
                '', {'most': 60}),
            ('commit to replica, 100 a second: p99', 'ms', 'lag_p99', None,
             '', {'most': 250}),
            *(('commit itself, 100 a second: ' + k, 'ms',
               'commit_' + k, r.of(ALONE, 'commit_' + k), 'alone', {})
              for k in ('p50', 'p99', 'max')),
            ('CPU of 1000 commits, 100 a second', 'ms', 'cpu', None, '', {}),
            ('wake-ups of 1000 commits, 100 a second', '', 'switches', None,
             '', {}))

    def full(self):
        base = self.base(SMALL)

        def play(which, _):
            got = self.loaded(which, base, 'full')
            got['speed'] = got['commits'] / got['seconds']
            return got

        r = Result(self, play, None, (ALONE, OURS, OTHER))
        self.lines_of(
            r, *(('commit at full speed: ' + k.replace('999', '99.9'), 'ms',
                  'commit_' + k, r.of(ALONE, 'commit_' + k), 'alone', must)
                 for k, must in (('p50', {}), ('p99', {}),
                                 ('p999', {'limit': 1.3}), ('max', {}))),
            ('commits at full speed', '/s', 'speed', r.of(ALONE, 'speed'),
             'alone', {'floor': 0.95}),
            ('CPU of 1000 commits, full speed', 'ms', 'cpu', None, '', {}),
            ('wake-ups of 1000 commits, full speed', '', 'switches', None, '',
             {}),
            ('the last commit to replica, full speed', 'ms', 'last', None, '',
             {}))

    def idle(self):
        """Both at once: what is counted is that of the process."""
        places, daemons, got = {}, {}, {}
        for which in (OURS, OTHER) if self.peer else (OURS,):
            places[which] = Place(which, self.base(SMALL))
            daemons[which] = places[which].daemon()
        after_merges()
        for which, d in daemons.items():
            got[which] = d.cpu(), d.switches(), places[which].states()
        time.sleep(IDLE_S)
        for which, d in daemons.items():
            cpu, switches, before = got[which]
            got[which] = (d.switches() - switches, (d.cpu() - cpu) * 1e3)
            got[which] += written(before, places[which].states())
            d.stop()
            places[which].same()
            places[which].__exit__()
        other = got.get(OTHER, (None,) * 4)
        for i, (title, most) in enumerate((
                ('wake-ups', 2), ('CPU', 10), ('bytes written', 0),
                ('files written', 0))):
            self.line('idle, %d s: %s' % (IDLE_S, title),
                      ('', 'ms', 'B', '')[i], got[OURS][i], other[i],
                      most=most)

    def resume(self):
        base = self.base(SMALL)

        def play(which, _):
            with Place(which, base) as at:
                with at.daemon() as d:
                    load(at, 'rate', 20, 1)
                    d.p.kill()
                old = at.db + '.old'
                truncate(at.db)
                output(['cp', at.db, old])
                change(at.db, 500)
                truncate(at.db)
                best = int(output(tool('bench_tool', 'lz4', at.db,
                                       old)).split()[1])
                before, names = at.states(), at.names()
                with at.daemon() as d:
                    wall = until('resumed', lambda: at.names() - names)
                    d.stop()
                new = written(before, {
                    p: s for p, s in at.states().items()
                    if re.search('/ltx/[09]/', p)})
                at.same()
            return {'wall': wall, 'bytes': new[0], 'best': best}

        r = Result(self, play)
        self.lines_of(
            r, ('resume after kill and checkpoint, 500 rows: bytes', 'B',
                'bytes', r.of(OURS, 'best'), 'lz4', {'limit': 1.1}),
            ('resume after kill and checkpoint, 500 rows: wall', 's', 'wall',
             None, '', {}))

    def once(self):
        def play(which, i):
            got = {}
            with Place(which, self.base(MB)) as at:
                # Held open, so that the WAL stays while nobody replicates.
                held = sqlite3.connect(at.db)
                held.execute('SELECT count(*) FROM sqlite_master').fetchone()
                at.once()
                for kind in 'kept', 'truncated':
                    change(at.db, 100)
                    if kind == 'truncated':
                        truncate(at.db)
                    before = at.states()
                    c = at.once()
                    got[kind + ' wall'], got[kind + ' cpu'] = (c['wall'],
                                                               c['cpu'])
                    got[kind + ' bytes'], _ = written(before, at.states())
                held.close()
                if which == OURS or i == 0:
                    at.same()
            return got

        r = Result(self, play)
        for kind in 'kept', 'truncated':
            name = '-once after 100 rows, WAL %s: ' % kind
            self.lines_of(
                r, (name + 'wall', 's', kind + ' wall', None, '',
                    {'peer': 1 / 5}),
                (name + 'CPU', 's', kind + ' cpu', None, '', {}),
                (name + 'bytes', 'B', kind + ' bytes', None, '',
                 {'most': 2 * MIB}))

    def chain(self):
        n = 300
        base = self.base(MB / 8)

        def play(which, _):
            with Place(which, base) as at:
                held = sqlite3.connect(at.db)
                held.execute('SELECT count(*) FROM sqlite_master').fetchone()
                argv = [BINARY[which], 'replicate', '-once', at.db, at.url]
                for _ in range(n + 1):
                    change(at.db, 3)
                    output(argv)
                held.close()
                files = len(at.names())
                check(files > n, 'only %d files', files)
                got = [at.restore() for _ in range(RUNS)]
                at.same()
            return {k: statistics.median(g[k] for g in got)
                    for k in ('wall', 'cpu', 'rss')}

        r = Result(self, play, 1)
        to = os.path.join(Bench.dir, 'copy')
        best = limit('copy', base, to)
        os.unlink(to)
        name = 'restore of %.0f MB and %d increments: ' % (
            os.path.getsize(base) / MIB, n)
        self.lines_of(
            r, (name + 'wall', 's', 'wall', best['wall'], 'copy + fsync',
                {'peer': 1 / 2}),
            (name + 'CPU', 's', 'cpu', None, '', {}),
            (name + 'memory', 'B', 'rss', None, '', {'most': 16 * MIB}))

    def memory(self):
        base = self.base(LARGE)

        def play(which, _):
            ours = which == OURS
            got = {}
            with Place(which, base) as at:
                def add(name, c):
                    got[name] = c['rss']
                held = sqlite3.connect(at.db)
                held.execute('SELECT count(*) FROM sqlite_master').fetchone()
                add('-once, first', at.once())
                change(at.db, 1000)
                truncate(at.db)
                add('-once, diff', at.once())
                add('-once -force-snapshot', at.once('-force-snapshot'))
                held.close()
                with at.daemon() as d:
                    load(at, 'full', 0, SECONDS / 4)
                    got['daemon'] = d.peak()
                    d.stop()
                add('restore', at.restore())
                add('ltx', at.run('ltx', at.url))
                if ours:
                    add('verify', at.run('verify', at.url))
                    add('verify -db', at.run('verify', '-db', at.db, at.url))
                    add('prune', at.run('prune', '-keep', '0', at.url))
                at.same()
            return got

        r = Result(self, play, 1)
        for key in r.got[OURS][0]:
            self.lines_of(r, ('memory, %.0f MB: %s' % (
                os.path.getsize(base) / MIB, key), 'B', key, None, '',
                {'most': 16 * MIB}))

    def many(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        for n in MANY:
            r = Result(self, lambda which, _: self.some(which, n), 1)
            name = '%d databases: ' % n
            self.lines_of(
                r, (name + 'start', 's', 'start', None, '', {}),
                (name + 'start, CPU', 's', 'start cpu', None, '', {}),
                (name + 'CPU, idle', '%', 'cpu', None, '', {'most': 1}),
                (name + 'wake-ups a second, idle', '', 'switches', None, '',
                 {}),
                (name + 'memory of each', 'B', 'rss', None, '',
                 {'most': MIB}),
                (name + 'descriptors', '', 'fds', None, '', {}),
                (name + 'a commit in each', 's', 'commit', None, '', {}),
                (name + 'a commit in each, CPU', 's', 'commit cpu', None, '',
                 {}))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def some(self, which, n):
        base = self.base(0)
        with Place(which, base) as at:
            roots, dbs = [], []
            lines = ['dbs:']
            for i in range(n):
                dbs.append(os.path.join(at.dir, 'd%d.db' % i))
                roots.append(os.path.join(at.dir, 'r%d' % i))
                shutil.copy(base, dbs[-1])
                lines += ['  - path: ' + dbs[-1], '    replica:',
                          '      path: ' + roots[-1]]
            config = os.path.join(at.dir, 'config.yml')
            with open(config, 'w') as f:
                f.write('\n'.join(lines) + '\n')
            got = {}
            with Daemon(which, os.path.join(at.dir, 'log'), '-config',
                        config) as d:
                got['start'] = until('first files', all_have(roots, set()))
                got['start cpu'] = d.cpu()
                after_merges(n)
                cpu, switches = d.cpu(), d.switches()
                time.sleep(IDLE_S)      # two heartbeats
                got['cpu'] = (d.cpu() - cpu) / IDLE_S * 100
                got['switches'] = (d.switches() - switches) / IDLE_S
                got['rss'] = d.peak() / n
                got['fds'] = d.descriptors()
                old = {p for root in roots
                       for p in os.listdir(root + '/ltx/0')}
                start, cpu = time.monotonic(), d.cpu()
                for db in dbs:
                    change(db, 1)
                until('a file of each', all_have(roots, old))
                got['commit'] = time.monotonic() - start
                got['commit cpu'] = d.cpu() - cpu
                d.stop()
            for i in Bench.random.sample(range(n), 10):
                at.db, at.url = dbs[i], 'file://' + roots[i]
                at.same()
        return got

    def day(self):
        with Place(OURS, self.base(SMALL)) as at:
            harness.build_all(at.dir)
            env = harness.env_of(at.dir, speed=86400 // DAY_S)
            with at.daemon(env) as d:
                time.sleep(DAY_S * 1.1)
                cpu, before = d.cpu(), states(at.root)
                local = states(at.meta)
                time.sleep(DAY_S)
                n, files = written(before, states(at.root))
                local, _ = written(local, states(at.meta))
                cpu = d.cpu() - cpu
                d.p.kill()      # its patience ends early on this clock
            check(glob.glob(at.root + '/ltx/3/*.ltx') != [],
                  'the clock did not go')
            at.same()
        self.line('an idle day: bytes written', 'B', n, most=0)
        self.line('an idle day: files written', '', files, most=0)
        self.line('an idle day: what the audit notes', 'B', local)
        self.line('an idle day: CPU', 's', cpu)

    def burst(self):
        base = self.base(SMALL)
        r = Result(self, lambda which, _: self.loaded(
            which, base, 'burst', int(LARGE)), 1, (ALONE, OURS, OTHER))
        name = 'burst of %d MB: ' % LARGE
        self.lines_of(
            r, (name + 'the writer', 's', 'seconds', r.of(ALONE, 'seconds'),
                'alone', {}),
            (name + 'catching up', 's', 'late', None, '', {}),
            (name + 'WAL', 'B', 'wal', r.of(ALONE, 'wal'), 'alone', {}),
            (name + 'memory', 'B', 'rss', None, '', {'most': 16 * MIB}))

    def syncs(self):
        if not shutil.which('strace'):
            return self.note('no strace: fsyncs are not counted')
        base = self.base(MB / 16)

        def play(which, _):
            got = {}
            with Place(which, base) as at:
                log = os.path.join(at.dir, 'trace')
                trace = ['strace', '-f', '-y', '-q', '-s', '4096', '-o', log,
                         '-e', 'trace=fsync,fdatasync,/rename,/^link,/mkdir',
                         BINARY[which]]

                def add(name, argv):
                    output(trace + argv)
                    got[name], got[name + ' need'] = synced(
                        log, at, which == OURS)

                once = ['replicate', '-once', at.db, at.url]
                held = sqlite3.connect(at.db)
                held.execute('SELECT count(*) FROM sqlite_master').fetchone()
                add('first backup', once)
                change(at.db, 100)
                add('-once after 100 rows', once)
                held.close()
                add('restore', ['restore', '-o', at.out, at.url])
                p = Process(*trace[1:-1], '-D', *trace[-1:], 'replicate',
                            at.db, at.url, binary=trace[0])
                until('level 0', at.names)
                load(at, 'gap', 100, 2)
                check(p.stop() == 0, 'traced: not a clean stop')
                until('end of the trace', lambda: re.search(
                    r'^%d +\+\+\+ exited' % p.pid, text_of(log), re.M))
                got['daemon, 2 s'], got['daemon, 2 s need'] = synced(
                    log, at, which == OURS)
                at.same()
            return got

        r = Result(self, play, 1)
        for key in r.got[OURS][0]:
            if not key.endswith(' need'):
                self.line('fsyncs: ' + key, '', r.of(OURS, key),
                          r.of(OTHER, key), r.of(OURS, key + ' need'),
                          'files and directories')


def after_merges(n=1):
    """Until some seconds after the next merge of a level, of n databases."""
    time.sleep(30 - time.time() % 30 + AFTER_MERGE_S + n / 100)


def all_have(roots, old):
    """Whether each has a file of level 0 that is not among the old: a test
    that does not look at the same root twice."""
    left = list(roots)

    def have(root):
        try:
            return any(n.endswith('.ltx') and n not in old
                       for n in os.listdir(root + '/ltx/0'))
        except FileNotFoundError:
            return False

    def test():
        while left and have(left[-1]):
            left.pop()
        return not left
    return test


def synced(log, at, strict):
    """Counts of a trace: fsyncs, and those needed: one of each file before it
    gets its name, one of the directory after.  What lies beside the database
    is a cache and not looked at.  strict: fails if one is missing."""
    syncs, need = [], 0
    named = set()           # what has been given a name
    todo = set()            # directories that changed
    for line in open(log):
        m = re.match(r'\d+ +f(?:data)?sync\(\d+<([^>]*)>', line)
        if m:
            syncs.append(m.group(1))
            todo.discard(m.group(1))
            continue
        m = re.match(r'\d+ +(rename|link|mkdir)\w*\((.*)', line)
        if not m or '= -1' in line or '= ?' in line:
            continue
        paths = [os.path.join(d, p) for d, p in re.findall(
            r'(?:(?:AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"([^"]*)"', m.group(2))]
        to = paths[-1]
        if not (to.startswith(at.root + '/') or to == at.out):
            continue
        if m.group(1) != 'mkdir':
            need += paths[0] not in named
            check(not strict or paths[0] in syncs or paths[0] in named,
                  '%s got its name before it was synced', to)
            named.add(to)
        if os.path.dirname(to) not in todo:
            need += 1
            todo.add(os.path.dirname(to))
    check(not strict or not todo, 'directory not synced: %s', todo)
    return len(syncs), need


ROWS = ('first', 'restore', 'commits', 'rate', 'full', 'idle', 'resume',
        'once', 'chain', 'memory', 'many', 'day', 'burst', 'syncs')


def machine():
    cpu = re.search(r'^model name\s*: (.*)', text_of('/proc/cpuinfo'), re.M)
    memory = re.search(r'^MemTotal:\s*(\d+)', text_of('/proc/meminfo'), re.M)
    return '%d cores (%s), %.0f GB of memory, SQLite %s' % (
        os.cpu_count(), cpu.group(1).strip() if cpu else os.uname().machine,
        int(memory.group(1)) / 1e6, sqlite3.sqlite_version)


def report(bench, args, began):
    head = ('', 'ours', '0.5.17', 'ratio', 'limit', 'ratio', 'bound', 'met')
    print('`make bench` on %s: %s; load %.1f before, %.1f after; %g MB, '
          'medians of %d; seed %d\n' % (
              time.strftime('%Y-%m-%d'), machine(), began,
              os.getloadavg()[0], MB, RUNS, args.seed))
    for cells in (head, ('---',) * len(head), *bench.lines):
        print('| ' + ' | '.join(cells) + ' |')
    if bench.notes:
        print('\n' + '\n'.join('- ' + n for n in bench.notes))
    print('\n%d bounds missed, %d rows wrong' % (bench.missed, bench.wrong))


def build():
    for name in 'bench_tool', 'bench_load':
        subprocess.run([*shlex.split(os.environ.get('CC', 'cc')), '-O2',
                        '-std=c11', '-D_POSIX_C_SOURCE=200809L', '-o',
                        os.path.join(Bench.bin, name),
                        os.path.join(HERE, name + '.c'),
                        '-lsqlite3', '-llz4', '-lpthread'], check=True)


def main():
    p = harness.parser(__doc__)
    p.add_argument('-strict', action='store_true')
    p.add_argument('rows', nargs='*', metavar='ROW')
    args = p.parse_args()
    for row in args.rows:
        if row not in ROWS:
            p.error('no row ' + row)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench(os.access(PEER, os.X_OK))
    Bench.random = random.Random(args.seed)
    Bench.dir = Bench.bin = tempfile.mkdtemp(prefix='litestream-bench.')
    began = os.getloadavg()[0]
    if not bench.peer:
        bench.note('no Litestream 0.5.17 to compare with: make peer')
    try:
        build()
        for row in args.rows or ROWS:
            bench.row = row
            try:
                getattr(bench, row)()
            except Failure as e:
                bench.wrong += 1
                bench.note('WRONG: %s: %s' % (row, e))
            finally:
                for d in list(Process.running):
                    d.kill()
        report(bench, args, began)
    finally:
        for d in list(Process.running):
            d.kill()
        shutil.rmtree(Bench.dir, ignore_errors=True)
    return bench.wrong > 0 or (args.strict and bench.missed > 0)


if __name__ == '__main__':
    sys.exit(main())
