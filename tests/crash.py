#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Crashes: every prefix of the calls that changed files, replayed.

    crash.py [-quick] [-n N] [-seconds N] [-kind KIND] [-seed N] [-normal]
        [-keep] [-blind]
    crash.py -journal DIR -only K:VARIANT -seed N -keep

One life is recorded by shim.c: first backup, passes, a daemon with its
checkpoints and levels, snapshots, retention, prune, verify, restores, a
rebase, a follower.  For each call k of the program the files as a crash after
k can leave them are built in another directory, for each VARIANT:

keep    all effects are there: the process died
drop    what no fsync made durable is lost: content, and names
names   content is lost, names are not
torn    the last write is cut at a multiple of 512
mixed   of each file and each directory some of it is lost, at random

"+db" after it: the same for the database.  Then replicate -once must succeed,
verify find the replica whole, what is restored be the database, every TXID a
state that was committed, one of them not older than the last that was
acknowledged; after one more commit and a pass with retention no temporary may
be left, and verify again find it whole.  -normal: the application has
synchronous=NORMAL.  -quick: a short life, and as many crashes as four seconds
allow; -seconds: as many as these do; -n: so many at random; -kind: in steps
once, daemon, prune, restore or follow alone.  -blind: the shim looks at
nothing, which must be noticed.  A failure is replayed by the line printed.
"""
import concurrent.futures
import json
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import harness
from harness import (Failure, Process, check, digest, bytes_of, env_of, image,
                     leftovers, points, remove, restored, run, verify)

HOUR = 3600
QUICK_S = 4.0
QUICK = 60               # crashes, if they can be done in that time
ROUND = 20               # between looks at the clock
WORKERS = 3
WAIT_S = 30
OPEN, CLOSE, WRITE, TRUNC, SYNC, RENAME, LINK, UNLINK, MKDIR, TIMES, CHMOD = \
    range(1, 12)
OPS = ['', 'open', 'close', 'write', 'truncate', 'fsync', 'rename', 'link',
       'unlink', 'mkdir', 'utimens', 'chmod']
HEADER = struct.Struct('=IIIIiiiIIIq')
MAGIC = 0x4c4e524a
SECTOR = 512


def source_image(db, scratch):
    """What SQLite makes of a copy of the database."""
    remove(scratch)
    for end in ('', '-wal', '-journal'):
        if os.path.exists(db + end):
            shutil.copyfile(db + end, scratch + end)
    c = sqlite3.connect(scratch)
    try:
        return image(c)
    finally:
        c.close()


def integrity(data, scratch):
    remove(scratch)
    with open(scratch, 'wb') as f:
        f.write(data)
    c = sqlite3.connect(scratch)
    try:
        said = c.execute('PRAGMA integrity_check').fetchone()[0]
        rows = c.execute('SELECT DISTINCT v FROM inv').fetchall()
    finally:
        c.close()
    check(said == 'ok' and len(rows) == 1, 'integrity_check: %s, values %s',
          said, rows)


def start_follow(env, path, root, log=os.devnull):
    return Process('restore', '-f', '-follow-interval', '20ms', '-o', path,
                   'file://' + root, env=env, log=log)


def follows(path, root):
    """Whether it is at the newest TXID."""
    return os.path.exists(path + '-txid') and \
        bytes_of(path + '-txid').decode() == points(root)[-1] + '\n'


def rows(path):
    c = sqlite3.connect(path)
    try:
        return list(c.iterdump())
    finally:
        c.close()


# The application: "crash.py app DB SYNCHRONOUS SEED", commands on stdin.

class Writer:
    def __init__(self, db, synchronous, seed):
        self.rnd = random.Random(seed)
        self.c = sqlite3.connect(db, isolation_level=None, timeout=10)
        self.c.execute('PRAGMA page_size=1024')
        self.c.execute('PRAGMA journal_mode=WAL')
        self.c.execute('PRAGMA synchronous=' + synchronous)
        self.c.execute('PRAGMA wal_autocheckpoint=0')

    def create(self):
        self.c.execute('BEGIN')
        self.c.execute('CREATE TABLE inv(id INTEGER PRIMARY KEY, v)')
        self.c.execute('CREATE TABLE t(id INTEGER PRIMARY KEY, b)')
        self.c.executemany('INSERT INTO inv VALUES(?, 0)',
                           [(i,) for i in range(8)])
        self.c.execute('COMMIT')

    def commit(self):
        self.c.execute('BEGIN IMMEDIATE')
        self.c.execute('UPDATE inv SET v=v+1')
        for _ in range(self.rnd.choice((1, 1, 2, 6))):
            self.c.execute('INSERT INTO t(b) VALUES(?)', (
                self.rnd.randbytes(self.rnd.choice((10, 300, 1500))),))
        if self.rnd.random() < .2:
            self.c.execute('DELETE FROM t WHERE id%3=0')
        self.c.execute('COMMIT')

    def thin(self):
        self.c.execute('DELETE FROM t WHERE id%2=0')

    def vacuum(self):
        self.c.execute('VACUUM')

    def checkpoint(self):
        self.c.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()

    def state(self):
        v = self.c.execute('SELECT v FROM inv LIMIT 1').fetchone()[0]
        return v, digest(image(self.c))


def app_main(db, synchronous, seed):
    w = Writer(db, synchronous, int(seed))
    for line in sys.stdin:
        getattr(w, line.strip())()
        print(*w.state(), flush=True)


class App:
    """Writer in another process, its calls in the same journal."""

    def __init__(self, life):
        self.life = life
        self.p = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), 'app', life.db,
             life.synchronous, str(life.seed)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=life.env(skip='/', clock=0, speed=1))

    def do(self, what):
        self.p.stdin.write((what + '\n').encode())
        self.p.stdin.flush()
        v, d = self.p.stdout.readline().split()
        self.life.committed[d.decode()] = int(v)
        self.life.v, self.life.digest = int(v), d.decode()

    def kill(self):
        self.p.kill()
        self.p.wait()
        self.p.stdin.close()
        self.p.stdout.close()


class Life:
    """The scripted life, under DIR/life0000, journal and notes in DIR."""

    def __init__(self, directory, seed, quick, synchronous='FULL',
                 blind=False, snapshot=None):
        self.dir, self.seed, self.quick = directory, seed, quick
        self.synchronous, self.blind = synchronous, blind
        self.snapshot = snapshot        # called before each step
        self.base = os.path.join(directory, 'life0000')
        self.db = os.path.join(self.base, 'db', 'a.db')
        self.root = os.path.join(self.base, 'replica')
        self.out = os.path.join(self.base, 'out')
        self.journal = os.path.join(directory, 'journal')
        self.clock, self.speed = 0, 1
        self.committed, self.acks, self.steps = {}, [], []
        self.seen = []          # (txid, v) that a daemon published
        self.v, self.digest = 0, ''
        os.makedirs(os.path.dirname(self.db))
        os.makedirs(self.out)

    def env(self, **more):
        values = {'root': '/nowhere' if self.blind else self.base,
                  'journal': self.journal, 'clock': self.clock,
                  'speed': self.speed}
        values.update(more)
        return env_of(self.dir, **values)

    def at(self):
        try:
            return os.path.getsize(self.journal)
        except FileNotFoundError:
            return 0

    def step(self, kind, args):
        if self.snapshot:
            self.snapshot(self, kind, args)
        self.steps.append([self.at(), kind, self.clock])

    def run(self, kind, *args):
        self.step(kind, args)
        rc, text = run(*args, env=self.env())
        check(rc == 0, 'life: %s: status %d: %s', args, rc, text)
        time.sleep(.02)         # as long as a time stamp lasts

    def ack(self):
        self.acks.append((self.at(), self.v))

    def once(self, *flags):
        self.run('once', 'replicate', '-once', *flags, self.db,
                 'file://' + self.root)
        self.ack()

    def old_output(self):
        """A database to be replaced, its last commit in the WAL alone."""
        path = os.path.join(self.out, 'old.db')
        code = ('import os, sqlite3, sys\n'
                'c = sqlite3.connect(sys.argv[1], isolation_level=None)\n'
                'c.execute("PRAGMA journal_mode=WAL")\n'
                'c.execute("CREATE TABLE inv(v)")\n'
                'c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()\n'
                'c.execute("INSERT INTO inv VALUES(-1)")\n'
                'os._exit(0)\n')
        subprocess.run([sys.executable, '-c', code, path], check=True)
        os.unlink(path + '-shm')
        self.old = digest(source_image(
            path, os.path.join(self.dir, 'scratch')))

    def daemon(self, commits):
        self.speed = 40
        self.step('daemon', ())
        p = Process('replicate', self.db, 'file://' + self.root,
                    log=os.path.join(self.dir, 'daemon.log'), env=self.env())
        try:
            for i in range(commits):
                self.app.do('commit')
                self.wait_published()
                if i == commits // 2:   # checkpoint, save, level 1
                    self.until(2, lambda: not os.path.getsize(
                        self.db + '-wal'))      # unless we read just then
                    self.wait('make level 1', lambda: os.listdir(
                        self.root + '/ltx/1'))
        finally:
            rc = p.stop()
        self.ack()
        self.speed = 1
        check(rc == 0, 'life: daemon: status %d', rc)

    def until(self, seconds, done):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if done():
                    return True
            except OSError:
                pass
            time.sleep(.01)
        return False

    def wait(self, what, done):
        check(self.until(WAIT_S, done), 'life: it did not %s', what)

    def wait_published(self):
        out = os.path.join(self.dir, 'probe')

        def done():
            rc, text = harness.restore(self.root, out, '-json')
            if rc != 0 or digest(bytes_of(out)) != self.digest:
                return False
            self.seen.append((json.loads(text)['txid'], self.v))
            return True
        self.wait('publish %d' % self.v, done)

    def follow(self):
        self.step('follow', ())
        path = self.out + '/follow.db'
        p = start_follow(self.env(), path, self.root)
        try:
            for _ in range(2):
                self.app.do('commit')
                rc, text = run('replicate', '-once', self.db, 'file://' +
                               self.root, env=self.env(skip='/'))
                check(rc == 0, 'life: status %d: %s', rc, text)
                self.wait('follow', lambda: follows(path, self.root))
        finally:
            rc = p.stop()
        self.ack()
        check(rc == 0, 'life: restore -f: status %d', rc)

    def lose(self, path):
        """Something that a person does: durable at once."""
        name = path.encode()
        with open(self.journal, 'ab') as f:
            f.write(HEADER.pack(MAGIC, 0, UNLINK, 0, 0, -1, 0, len(name), 0,
                                0, 0) + name)
            name = os.path.dirname(name)
            f.write(HEADER.pack(MAGIC, 0, SYNC, 0, 0, -1, 0, len(name), 0,
                                0, 0) + name)
        os.unlink(path)

    def live(self):
        self.old_output()
        self.app = App(self)
        try:
            self.script()
        finally:
            self.app.kill()
        self.save()

    def script(self):
        do, passes = self.app.do, 3 if self.quick else 20
        do('create')
        do('checkpoint')        # so much is durable in any case
        do('commit')
        self.once()
        if self.blind:          # that will be noticed
            return
        for _ in range(passes):
            do('commit')
            self.once()
        self.daemon(3 if self.quick else 8)
        self.clock += HOUR
        do('commit')
        self.once('-enforce-retention')
        do('checkpoint')
        do('commit')
        self.once()
        for hours in (25, 26, 49):
            self.clock += hours * HOUR
            if hours == 26:
                do('thin')
            do('vacuum' if hours == 26 else 'commit')
            self.once('-force-snapshot')
            do('commit')
            self.once('-enforce-retention')
        do('commit')
        self.once()
        self.run('prune', 'prune', '-keep', '1h', 'file://' + self.root)
        self.run('restore', 'restore', '-o', self.out + '/new.db',
                 'file://' + self.root)
        self.run('restore', 'restore', '-force', '-o', self.out + '/old.db',
                 'file://' + self.root)
        self.run('verify', 'verify', 'file://' + self.root)
        do('commit')
        self.once()
        zero = self.root + '/ltx/0'
        self.lose(os.path.join(zero, max(os.listdir(zero))))
        self.once()             # a rebase
        do('commit')
        self.once('-enforce-retention')
        self.follow()

    def save(self):
        notes = {k: getattr(self, k) for k in (
            'base', 'seed', 'synchronous', 'committed', 'acks', 'steps',
            'seen', 'old', 'digest')}
        with open(os.path.join(self.dir, 'notes'), 'w') as f:
            json.dump(notes, f)


# The model: what is there, and what would be after a crash.

class File:
    def __init__(self):
        self.live, self.durable = bytearray(), None     # None: never synced
        self.last = None        # of a write: offset, length, what was there
        self.changed = self.written = 0


class Dir:
    def __init__(self):
        self.live, self.past = {}, [{}]     # past[0]: durable

    def change(self):
        self.past.append(dict(self.live))


class Model:
    def __init__(self, base):
        self.base, self.root, self.fd, self.n = base, Dir(), {}, 0

    def load(self, directory):
        """What is there before the first call: durable."""
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if os.path.isdir(path):
                self.put(path, Dir())
                self.load(path)
            else:
                node = File()
                node.live = bytearray(bytes_of(path))
                node.durable = bytes(node.live)
                self.put(path, node)
        self.find(directory).past = [dict(self.find(directory).live)]

    def find(self, path):
        node = self.root
        for name in os.path.relpath(path, self.base).split('/'):
            if name == '.':
                continue
            if not isinstance(node, Dir) or name not in node.live:
                return None
            node = node.live[name]
        return node

    def put(self, path, node, ends=True):
        d = self.find(os.path.dirname(path))
        if node is None:
            del d.live[os.path.basename(path)]
        else:
            d.live[os.path.basename(path)] = node
        if ends:
            d.change()

    def apply(self, r):
        self.n += 1
        if r.error != 0:
            return
        if r.op == OPEN:
            node = self.find(r.path)
            if node is None and r.flags & os.O_CREAT:
                node = File()
                self.put(r.path, node)
            if r.flags & os.O_TRUNC and isinstance(node, File) and node.live:
                node.last, node.live = None, bytearray()
            self.fd[r.pid, r.fd] = node
            return
        node = self.fd.get((r.pid, r.fd)) if r.fd >= 0 else self.find(r.path)
        if r.op == CLOSE:
            self.fd.pop((r.pid, r.fd), None)
        elif r.op == WRITE:
            end = r.off + len(r.data)
            node.last = (r.off, len(r.data), bytes(node.live[r.off:end]))
            if len(node.live) < r.off:
                node.live.extend(bytes(r.off - len(node.live)))
            node.live[r.off:end] = r.data
            node.changed, node.written = self.n, node.written or self.n
        elif r.op == TRUNC:
            node.last, node.changed = None, self.n
            del node.live[r.off:]
            node.live.extend(bytes(r.off - len(node.live)))
        elif r.op == SYNC and isinstance(node, Dir):
            node.past = [dict(node.live)]
        elif r.op == SYNC:
            node.durable, node.last = bytes(node.live), None
        elif r.op == RENAME:
            self.put(r.path, None, os.path.dirname(r.path) !=
                     os.path.dirname(r.path2))
            self.put(r.path2, node)
        elif r.op == LINK:
            node.changed = self.n
            self.put(r.path2, node)
        elif r.op == UNLINK:
            self.put(r.path, None)
        elif r.op == MKDIR:
            self.put(r.path, Dir())
        elif r.op in (TIMES, CHMOD) and isinstance(node, File):
            node.changed = self.n

    def points(self):
        """The TXIDs in which a chain of files ends."""
        ltx = self.find(os.path.join(self.base, 'replica', 'ltx'))
        reached = {0}
        for high, low in sorted(
                (int(name[17:33], 16), int(name[:16], 16))
                for level in (ltx.live.values() if ltx else ())
                for name in level.live if name.endswith('.ltx')):
            if any(low - 1 <= r < high for r in reached):
                reached.add(high)
        return frozenset(reached - {0})

    def torn(self, node, rnd):
        """The last write, cut at a sector."""
        data = bytes(node.live)
        if node.last is None:
            return data
        off, n, old = node.last
        cuts = range((off // SECTOR + 1) * SECTOR, off + n, SECTOR)
        cut = rnd.choice(cuts) if len(cuts) else off
        if off + n == len(data):        # it made the file longer, perhaps
            return data[:max(cut, off + len(old))] if cut >= off + len(old) \
                else data[:cut] + old[cut - off:]
        return data[:cut] + old[cut - off:] + data[off + n:]

    def content(self, node, variant, rnd):
        if variant == 'mixed':
            variant = rnd.choice(('keep', 'drop', 'torn'))
        if variant == 'keep' or node.durable == node.live:
            return bytes(node.live)
        if variant == 'torn':
            return self.torn(node, rnd)
        return node.durable or b''

    def names(self, d, variant, rnd):
        if variant == 'drop':
            return d.past[0]
        return rnd.choice(d.past) if variant == 'mixed' else d.live

    def tree(self, variant, with_db, rnd):
        """{path relative to base: bytes, or None: directory}, {path: node}"""
        files, nodes = {}, {}

        def walk(d, rel):
            names = dict(self.names(d, variant, rnd))
            for name in set(names) | set(d.live):
                path = rel + name
                if path.startswith('db/a.db') and not with_db:
                    if name not in d.live:
                        continue
                    files[path] = bytes(d.live[name].live)
                    nodes[path] = d.live[name]
                elif name not in names:
                    continue
                elif isinstance(names[name], Dir):
                    files[path] = None
                    walk(names[name], path + '/')
                else:
                    files[path] = self.content(names[name], variant, rnd)
                    nodes[path] = names[name]
        walk(self.root, '')
        return files, nodes


class Record:
    def __init__(self, blob, at):
        (magic, self.pid, self.op, self.k, self.error, self.fd, self.flags,
         n1, n2, n3, self.off) = HEADER.unpack_from(blob, at)
        check(magic == MAGIC, 'journal: no record at %d', at)
        at += HEADER.size
        self.path = blob[at:at + n1].decode()
        self.path2 = blob[at + n1:at + n1 + n2].decode()
        self.data = blob[at + n1 + n2:at + n1 + n2 + n3]
        self.end = at + n1 + n2 + n3


def read_journal(path):
    records, at, blob = [], 0, bytes_of(path)
    while at < len(blob):
        records.append(Record(blob, at))
        at = records[-1].end
    return records


# The page table's proofs name inodes and times, which a copy has not.

def crc64_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ 0xd800000000000000 if i & 1 else i >> 1
        table.append(i)
    return table


CRC64 = crc64_table()


def crc64(data):
    crc = 2 ** 64 - 1
    for b in data:
        crc = CRC64[(crc ^ b) & 255] ^ crc >> 8
    return crc ^ 2 ** 64 - 1


def stat_of(path):
    s = os.stat(path)
    return struct.pack('>5Q', s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns,
                       s.st_ctime_ns)


def patch_pages(base, files, nodes):
    """Where the files are those that it was saved with, says so."""
    rel = 'db/.a.db-litestream/pages'
    data = files.get(rel)
    if not data or len(data) < 208 or data[:8] != b'LSPAGES1' or \
            crc64(data[:-8]) != struct.unpack('>Q', data[-8:])[0]:
        return False
    saved, data = nodes[rel].written, bytearray(data[:-8])
    zero = 'replica/ltx/0/%016x-%016x.ltx' % (
        (struct.unpack_from('>Q', data, 40)[0],) * 2)
    for at, path in ((104, 'db/a.db'), (144, zero)):
        if path in files and nodes[path].changed < saved and \
                files[path] == nodes[path].live:
            data[at:at + 40] = stat_of(os.path.join(base, path))
    with open(os.path.join(base, rel), 'wb') as f:
        f.write(data + struct.pack('>Q', crc64(data)))
    return True


class Crash:
    """One prefix and variant, built and brought to life again."""

    def __init__(self, replay, k, variant, files, nodes, step, acked):
        self.replay, self.k, self.variant = replay, k, variant
        self.files, self.nodes = files, nodes
        self.kind, self.clock, self.expected = step[1], step[2], step[3]
        self.acked = acked

    def build(self, base):
        self.base = base
        self.db = os.path.join(base, 'db', 'a.db')
        self.root = os.path.join(base, 'replica')
        self.scratch = os.path.join(base, 'scratch')
        old = os.path.basename(self.replay.notes['base']).encode()
        os.mkdir(base)
        for path in sorted(self.files):
            at, data = os.path.join(base, path), self.files[path]
            if data is None:
                os.mkdir(at)
                continue
            if '.identity' in path:
                data = data.replace(old, os.path.basename(base).encode())
                data = data.replace(
                    os.path.dirname(self.replay.notes['base']).encode(),
                    os.path.dirname(base).encode())
            with open(at, 'wb') as f:
                f.write(data)
        patch_pages(base, self.files, self.nodes)

    def call(self, *args, later=60):
        env = env_of(self.replay.dir, clock=self.clock + later)
        rc, text = run(*args, env=env)
        check(rc == 0, '%s: status %d: %s', ' '.join(args[:2]), rc,
              text.strip())

    def settle(self, later, *flags):
        self.call('replicate', '-once', *flags, self.db,
                  'file://' + self.root, later=later)

    def check_newest(self):
        source = source_image(self.db, self.scratch)
        check(restored(self.root, self.scratch + '.r') == source,
              'the newest state is not that of the database')
        return source

    def ltx_files(self):
        return {(p, digest(d)) for p, d in self.files.items()
                if p.endswith('.ltx') and d is not None}

    def check_points(self):
        """Every TXID is a committed state, one new enough.  Retention may
        have been interrupted, so there may be some that it has not finished
        with: they are returned."""
        known, best, gone = self.replay.notes['committed'], -1, []
        listed = points(self.root)
        lost = self.expected - {int(txid, 16) for txid in listed}
        for txid in listed:
            try:
                data = restored(self.root, self.scratch + '.r', '-txid', txid)
            except Failure:
                if int(txid, 16) in self.expected:
                    raise
                gone.append(txid)
                continue
            check(digest(data) in known, '-txid %s is no committed state',
                  txid)
            best = max(best, known[digest(data)])
        check(best >= self.acked, 'value %d was acknowledged, the newest '
              'there is %d', self.acked, best)
        check(not lost, 'no longer there: %s', sorted(lost))
        return gone

    def check_output(self):
        """Before anything is repaired: the old database or the new one."""
        out, new = os.path.join(self.base, 'out'), self.replay.new_digest
        path = os.path.join(out, 'old.db')
        is_new = digest(bytes_of(path)) == new
        check(not (is_new and os.path.exists(path + '-wal')),
              'the WAL of the old database beside the new one')
        if not is_new:
            for end in ('-wal', '-journal'):
                if os.path.exists(path + end + '.replaced'):
                    shutil.copyfile(path + end + '.replaced',
                                    self.scratch + end)
                elif os.path.exists(path + end):
                    shutil.copyfile(path + end, self.scratch + end)
            shutil.copyfile(path, self.scratch)
            c = sqlite3.connect(self.scratch)
            was = digest(image(c))
            c.close()
            check(was == self.replay.notes['old'],
                  'the output is neither old nor new')
        path = os.path.join(out, 'new.db')
        if os.path.exists(path):
            check(digest(bytes_of(path)) == new,
                  'new.db is there, but not whole')

    def restore_again(self):
        for name in ('new.db', 'old.db'):
            path = os.path.join(self.base, 'out', name)
            self.call('restore', '-force', '-o', path, 'file://' + self.root)
        left = set(os.listdir(os.path.join(self.base, 'out'))) - \
            {'new.db', 'old.db'}
        check(not left, 'left beside the output: %s', sorted(left))

    def follow_again(self):
        path = os.path.join(self.base, 'out', 'follow.db')
        p = start_follow(None, path, self.root)
        try:
            until = time.monotonic() + WAIT_S
            while not follows(path, self.root):
                check(p.status() is None and time.monotonic() < until,
                      'restore -f does not go on: %s', p.status())
                time.sleep(.01)
        finally:
            p.stop()
        with open(self.scratch, 'wb') as f:
            f.write(restored(self.root, self.scratch + '.r'))
        check(rows(path) == rows(self.scratch),
              'restore -f: not what is in the replica')

    def commit(self):
        c = sqlite3.connect(self.db, isolation_level=None)
        c.execute('PRAGMA wal_autocheckpoint=0')
        c.execute('UPDATE inv SET v=v+1000')
        c.execute('INSERT INTO t(b) VALUES(randomblob(900))')
        return c

    def check(self):
        if self.kind == 'restore':
            self.check_output()
        before = source_image(self.db, self.scratch)
        check(digest(before) in self.replay.notes['committed'],
              'the database itself is no committed state')
        self.settle(60)
        check(self.check_newest() == before, 'the database has changed')
        gone = []
        if self.replay.is_new(('points', self.acked, self.expected,
                               frozenset(self.ltx_files()))):
            integrity(before, self.scratch)
            verify(self.root)
            gone = self.check_points()
        if self.kind == 'restore':
            self.restore_again()
        c = self.commit()
        try:
            self.settle(90, '-enforce-retention')
            if self.kind == 'prune':
                self.call('prune', '-keep', '1h', 'file://' + self.root)
            self.check_newest()
            verify(self.root)
            if self.kind == 'follow':
                self.follow_again()
        finally:
            c.close()
        gone = set(gone) & set(points(self.root))
        check(not gone, 'listed, but not restorable: %s', sorted(gone))
        # Asides of a finished restore may come back: the next removes them.
        left = leftovers(self.base, ('.tmp', '.damaged') + (
            ('.replaced',) if self.kind == 'restore' else ()))
        check(not left, 'left: %s', ' '.join(left))


VARIANTS = ('keep', 'drop', 'drop+db', 'names', 'names+db', 'torn', 'torn+db',
            'mixed', 'mixed+db')


class Replay:
    def __init__(self, directory, until=None):
        self.dir, self.until = directory, until
        self.notes = json.loads(bytes_of(os.path.join(directory, 'notes')))
        self.seed = self.notes['seed']
        self.records = read_journal(os.path.join(directory, 'journal'))
        self.counted = sum(r.k != 0 for r in self.records)
        check(self.counted, 'the shim saw no call: nothing is tested')
        self.check_order()
        self.initial = os.path.join(directory, 'initial')
        self.acks, self.steps = self.all_acks(), self.all_steps()
        self.lock = threading.Lock()
        self.known, self.failures, self.done, self.same = set(), [], 0, 0
        self.number = 0
        self.work = tempfile.mkdtemp(prefix='work.', dir=directory)

    def is_new(self, key):
        with self.lock:
            if key in self.known:
                return False
            self.known.add(key)
            return True

    def all_acks(self):
        """(record number, value): acknowledged when so many were done."""
        ends = [r.end for r in self.records]
        acks, txids = [], dict(self.notes['seen'])
        for size, v in self.notes['acks']:
            acks.append((sum(e <= size for e in ends), v))
        waiting = []
        for i, r in enumerate(self.records):
            txid = r.path2[-20:-4] if r.op == RENAME else ''
            if '/ltx/0/' in r.path2 and txid in txids and r.error == 0:
                waiting.append(txids[txid])
            if r.op == SYNC and r.path.endswith('/ltx/0'):
                acks += [(i + 1, v) for v in waiting]
                waiting = []
        return sorted(acks)

    def step_of(self, i):
        return [s for s in self.steps if s[0] < self.records[i].end][-1]

    def check_order(self):
        """A file that is deleted can stand on one in another directory, so
        that directory's deletions have to be durable before."""
        waiting = ''
        for i, r in enumerate(self.records):
            directory = os.path.dirname(r.path)
            if r.op == UNLINK and r.path.endswith('.ltx') and r.error == 0:
                check(waiting in ('', directory), '%d: %s is deleted and '
                      'deletions in %s are not durable', i, r.path, waiting)
                waiting = directory
            elif r.op == SYNC and r.path == waiting and r.error == 0:
                waiting = ''

    def all_steps(self):
        """Each with what was there before it and is there after it."""
        steps = [list(s) for s in self.notes['steps']]
        there, model, ends = [], self.new_model(), [s[0] for s in steps]
        for r in self.records:
            while ends and r.end > ends[0]:
                there.append(model.points())
                ends.pop(0)
            model.apply(r)
        there.append(model.points())
        return [s + [there[i] & there[i + 1]] for i, s in enumerate(steps)]

    def new_model(self):
        model = Model(self.initial)
        model.load(self.initial)
        model.base = self.notes['base']
        return model

    def chosen(self, only, n):
        """(number of the call, variant)"""
        if only:
            k, variant = only.split(':')
            return [(int(k), variant)]
        some = [(i, v) for i, r in enumerate(self.records)
                if r.k != 0 and r.op != CLOSE and r.error == 0 and
                self.kind in (None, self.step_of(i)[1]) for v in VARIANTS]
        if n or self.until:
            random.Random(self.seed).shuffle(some)
        return some[:n or len(some)]

    def crash_at(self, model, i, variant, acked):
        rnd = random.Random('%d %d %s' % (self.seed, i, variant))
        kind, _, db = variant.partition('+')
        files, nodes = model.tree(kind, db == 'db', rnd)
        crash = Crash(self, i, variant, files, nodes, self.step_of(i), acked)
        key = (acked, crash.kind, crash.clock, frozenset(
            (p, d if d is None else digest(d)) for p, d in files.items()))
        return crash if self.is_new(key) else None

    def crashes(self, some):
        """In the order of the calls."""
        wanted = {}
        for i, variant in some:
            wanted.setdefault(i, []).append(variant)
        model, acked, acks = self.new_model(), -1, list(self.acks)
        for i, r in enumerate(self.records):
            model.apply(r)
            if r.pid == 0:      # a person has lost what was acknowledged
                acked = -1
            while acks and acks[0][0] <= i + 1:
                acked = max(acked, acks.pop(0)[1])
            for variant in wanted.get(i, ()):
                crash = self.crash_at(model, i, variant, acked)
                if crash is None:
                    self.same += 1
                else:
                    yield crash

    def one(self, crash, keep):
        with self.lock:
            self.number += 1
            base = os.path.join(self.work, 'w%07d' % self.number)
        try:
            crash.build(base)
            crash.check()
        except Exception as e:  # a defect of the harness is one as well
            r = self.records[crash.k]
            why = str(e) if isinstance(e, Failure) else repr(e)
            with self.lock:
                self.failures.append((crash.k, crash.variant, '%s %s %s' % (
                    crash.kind, OPS[r.op], os.path.relpath(
                        r.path2 or r.path, self.notes['base'])), why))
        if not keep:
            shutil.rmtree(base, ignore_errors=True)
        with self.lock:
            self.done += 1

    def run(self, only, n, keep):
        self.new_digest = self.notes['restored']
        some = self.chosen(only, n)
        size = ROUND if self.until else len(some)
        for at in range(0, len(some), size):
            self.round(some[at:at + size], keep)
            if self.until and time.monotonic() > self.until:
                break

    def round(self, some, keep):
        slots = threading.Semaphore(2 * WORKERS)
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for crash in self.crashes(some):
                slots.acquire()
                pool.submit(self.one, crash, keep).add_done_callback(
                    lambda _: slots.release())
def report(replay):
    for k, variant, where, why in sorted(replay.failures)[:20]:
        print('FAILED at %d (%s), %s: %s' % (k, where, variant, why))
        print('    replay: python3 %s -journal %s -only %d:%s -keep' % (
            sys.argv[0], replay.dir, k, variant))
    counts = '%d calls, %d crashes tried, %d equal to one of them, %d ' \
        'failed' % (replay.counted, replay.done, replay.same,
                    len(replay.failures))
    check(replay.done and not replay.failures, '%s', counts)
    return counts


class RecordedLife(Life):
    """Keeps what was there first, and what was restored."""

    def old_output(self):
        super().old_output()
        shutil.copytree(self.base, os.path.join(self.dir, 'initial'))

    def save(self):
        super().save()
        path = os.path.join(self.dir, 'notes')
        notes = json.loads(bytes_of(path))
        if not self.blind:
            notes['restored'] = digest(bytes_of(self.out + '/new.db'))
        with open(path, 'w') as f:
            json.dump(notes, f)


def play(a, directory):
    seconds = a.seconds or (QUICK_S if a.quick else None)
    if a.journal:
        directory = os.path.abspath(a.journal)
    harness.build_all(directory)
    if not a.journal:
        RecordedLife(directory, a.seed, a.quick,
                     'NORMAL' if a.normal else 'FULL', a.blind).live()
    replay = Replay(directory, seconds and time.monotonic() + seconds)
    replay.kind = a.kind
    replay.run(a.only, a.n or (QUICK if a.quick else 0), a.keep)
    a.keep |= bool(replay.failures)     # the journal, for a replay
    return report(replay)


def main():
    if sys.argv[1:2] == ['app']:
        return app_main(*sys.argv[2:])
    p = harness.parser(__doc__)
    for flag in ('-normal', '-blind'):
        p.add_argument(flag, action='store_true')
    p.add_argument('-n', type=int, default=0)
    p.add_argument('-seconds', type=float)
    p.add_argument('-kind')
    p.add_argument('-journal')
    p.add_argument('-only')
    return harness.main(p.parse_args(), play)


if __name__ == '__main__':
    sys.exit(main())
