# SPDX-License-Identifier: ISC
"""What the harnesses share: the program under test, what it restores, the
shims, and the last line of each.

LITESTREAM names the binary, CC the compiler.  A harness has a function
play(arguments, directory), which returns what it counted and raises Failure
for what must not be; main() prints the seed first and last

    NAME: ok: COUNTS; SECONDS s; again: COMMAND

where COMMAND repeats it.  With -keep what a failure leaves is not removed.
"""
import argparse
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
LITESTREAM = os.path.abspath(os.environ.get(
    'LITESTREAM', os.path.join(HERE, '..', 'litestream')))
LIMIT_S = 120                   # for what ends by itself
STOP_S = 60                     # after SIGTERM


class Failure(Exception):
    pass


def check(good, text, *args):
    if not good:
        raise Failure(text % args)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def text_of(path):
    with open(path, errors='replace') as f:
        return f.read()


def bytes_of(path):
    with open(path, 'rb') as f:
        return f.read()


# The program

def run(*args, binary=LITESTREAM, env=None):
    """Exit status (negative: the signal) and all that was said."""
    p = subprocess.run([binary, *args], env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=LIMIT_S)
    return p.returncode, p.stdout.decode(errors='replace')


class Process:
    """What runs until it is killed or stopped."""
    running = set()

    def __init__(self, *args, log=os.devnull, binary=LITESTREAM, env=None):
        self.log = log
        with open(log, 'ab') as f:
            self.p = subprocess.Popen([binary, *args], env=env, stdout=f,
                                      stdin=subprocess.DEVNULL, stderr=f)
        self.pid = self.p.pid
        Process.running.add(self)

    def status(self):
        """None: it runs."""
        return self.p.poll()

    def signal(self, number):
        if self.status() is None:
            self.p.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(None)

    def wait(self, seconds=STOP_S):
        rc = self.p.wait(seconds)
        Process.running.discard(self)
        return rc

    def stop(self):
        """The exit status of a clean stop."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure('still there %d s after SIGTERM' % STOP_S) from None


def remove(path):
    """A database and what is beside it."""
    for end in ('', '-wal', '-shm', '-journal'):
        if os.path.exists(path + end):
            os.unlink(path + end)


def restore(root, out, *flags, binary=LITESTREAM):
    """(exit status, what was said); nothing at out before."""
    remove(out)
    return run('restore', *flags, '-o', out, 'file://' + root, binary=binary)


def restored(root, out, *flags):
    """The restored bytes; fails if there are none."""
    rc, text = restore(root, out, *flags)
    check(rc == 0, 'restore %s: status %d: %s', ' '.join(flags), rc,
          text.strip())
    return bytes_of(out)


def points(root):
    """Every TXID that a file of any level ends in, in order."""
    rc, text = run('ltx', '-level', 'all', '-json', 'file://' + root)
    check(rc == 0, 'ltx: status %d: %s', rc, text)
    return sorted({f['max_txid'] for f in json.loads(text)})


def verify(root):
    rc, text = run('verify', 'file://' + root)
    check(rc == 0, 'verify: status %d: %s', rc, text)


def image(connection):
    """What the database is at its last commit, as SQLite reads it."""
    return bytes(connection.serialize())


def leftovers(directory, ends=('.tmp',)):
    return sorted(os.path.relpath(os.path.join(d, n), directory)
                  for d, _, names in os.walk(directory)
                  for n in names if n.endswith(ends))


def write_config(path, db, root, levels='124', snapshot=(8, 16), l0=2,
                 extra=''):
    """Levels of some seconds each."""
    with open(path, 'w') as f:
        f.write('dbs:\n  - path: %s\n    replica:\n      path: %s\n%s'
                'levels:\n%ssnapshot:\n  interval: %ds\n  retention: %ds\n'
                'l0-retention: %ds\nl0-retention-check-interval: 1s\n' % (
                    db, root, extra, ''.join(
                        '  - interval: %ss\n' % s for s in levels),
                    *snapshot, l0))


# What is preloaded

def build(directory, name):
    out = os.path.join(directory, name + '.so')
    subprocess.run([*os.environ.get('CC', 'cc').split(), '-shared', '-fPIC',
                    '-O1', '-o', out, os.path.join(HERE, name + '.c'), '-ldl',
                    '-lpthread'], check=True)
    return out


def build_all(directory):
    """What env_of() needs."""
    for name in 'shim', 'clock_shim':
        build(directory, name)


def env_of(directory, clock=0, speed=1, **settings):
    """With SHIM_* set, and the clock CLOCK seconds ahead and SPEED times as
    fast from now on."""
    shims = [os.path.join(directory, 'shim.so')]
    env = {k: v for k, v in os.environ.items() if not k.startswith('SHIM_')}
    env.update({'SHIM_' + k.upper(): str(v) for k, v in settings.items()
                if v is not None})
    if clock or speed != 1:
        shims.append(os.path.join(directory, 'clock_shim.so'))
        path = os.path.join(directory, 'clock.%d' % clock)
        if speed != 1:
            path += '.%d' % time.monotonic_ns()
        env['CLOCK_FILE'] = path
        if not os.path.exists(path):
            with open(path + '.%d' % threading.get_ident(), 'wb') as f:
                f.write(clock_bytes(0, clock * 1000, clock * 1000, speed,
                                    boot_ms()))
            os.rename(f.name, path)
    return dict(env, LD_PRELOAD=':'.join(shims))


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def clock_bytes(seq, wall_ms, boot_add_ms, speed, from_ms):
    """The file of clock_shim.c."""
    return struct.pack('=5q', seq, wall_ms, boot_add_ms, speed, from_ms)


# The end

def command(args):
    """What repeats this run: its arguments, and the seed."""
    words, given = [], iter(sys.argv[1:])
    for word in given:
        if word == '-seed':
            next(given)
        else:
            words.append(word)
    return shlex.join(['python3', os.path.relpath(sys.argv[0]), *words,
                       '-seed', str(args.seed)])


def parser(doc):
    p = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument('-seed', type=int, default=random.randrange(1 << 31))
    for flag in ('-quick', '-keep'):
        p.add_argument(flag, action='store_true')
    return p


def main(args, play, name=None):
    name = name or os.path.basename(sys.argv[0])[:-3]
    print('%s: seed %d' % (name, args.seed), flush=True)
    directory = tempfile.mkdtemp(prefix='litestream-%s.' % name.split()[0])
    start, bad = time.monotonic(), True
    try:
        counts = play(args, directory)
        bad = False
    except Failure as e:
        counts = e
    except Exception as e:      # a defect of the harness is one as well
        traceback.print_exc()
        counts = repr(e)
    finally:
        for p in list(Process.running):
            p.kill()
        if not (args.keep and bad):
            shutil.rmtree(directory, ignore_errors=True)
    if args.keep and bad:
        print('kept: ' + directory)
    print('%s: %s: %s; %.0f s; again: %s' % (
        name, 'FAILED' if bad else 'ok', counts, time.monotonic() - start,
        command(args)), flush=True)
    return bad
