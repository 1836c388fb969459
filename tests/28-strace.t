#!/bin/sh
# SPDX-License-Identifier: ISC
# The daemon's system calls: only SQLite opens the database and its -shm, and
# each file is durable before it has its name, and its name before we go on.
. "$(dirname "$0")/lib.sh"

db=$T/a.db dir=$T/replica
command -v strace >/dev/null || skip_all 'no strace'
strace -f -o "$T/trace" true 2>"$T/err" ||
    skip_all "strace: $(tail -n 1 "$T/err")"
trace() {
	ASAN_OPTIONS=detect_leaks=0 strace -f -y -s 200 -o "$T/trace" -e trace=open,openat,creat,close,?mkdir,mkdirat,write,pwrite64,writev,rename,renameat,renameat2,link,linkat,unlink,unlinkat,fsync,fdatasync,ftruncate,utimensat,fcntl,?fcntl64,rt_sigaction "$@"
}

sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
    WHERE x < 99) INSERT INTO t(b) SELECT randomblob(900) FROM c' >/dev/null
trace "$LS" replicate "$db" "file://$dir" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'first backup' poll 20 restore_same "$db" "$dir"
for i in 1 2 3; do
	sql "$db" "UPDATE t SET b = randomblob(800) WHERE id % 4 = $i"
	ok "increment $i" poll 10 restore_same "$db" "$dir"
done
daemon=$(awk 'NR == 1 { print $1 }' "$T/trace")
kill -TERM "$daemon"
_reap; result $? 'clean stop'
ok 'restored' restore_same "$db" "$dir"

python3 - "$T/trace" "$db" "$dir" >"$T/said" <<'END'
import os, re, sys
trace, db, root = sys.argv[1:]
opens = {'db': 0, 'shm': 0}
locked = {'db': 0, 'shm': 0}
readers = []
written, synced, unsynced_dirs = set(), set(), {}
published, problems = [], []
pending = {}
lines = []
for line in open(trace, errors='replace'):
    pid, call = line.rstrip('\n').split(None, 1)
    if call.endswith('<unfinished ...>'):
        pending[pid] = call[:-len('<unfinished ...>')]
        continue
    m = re.match(r'<\.\.\. \w+ resumed>(.*)', call)
    if m:
        call = pending.pop(pid, '') + m.group(1)
    lines.append(call)
lives = {}              # fd -> (kind, whether SQLite locked it)
for call in lines:
    m = re.match(r'(\w+)\((.*)\)\s*= (-?\d+)', call)
    if not m or m.group(3) == '-1':
        continue
    name, args, ret = m.groups()
    strings = re.findall(r'"([^"]*)"', args)
    fd = re.match(r'(\d+)<([^>]*)>', args)
    path = fd.group(2) if fd else None
    if name in ('open', 'openat', 'creat'):
        kind = {db: 'db', db + '-shm': 'shm'}.get(strings[0])
        if kind:
            opens[kind] += 1
            lives[ret] = [kind, False]
        if strings[0].endswith('.tmp'):
            synced.discard(path + '/' + strings[0] if path else strings[0])
    elif name.startswith('fcntl') and 'F_SETLK' in args and fd.group(1) in lives:
        lives[fd.group(1)][1] = True
    elif name == 'close' and fd and fd.group(1) in lives:
        kind, sqlite = lives.pop(fd.group(1))
        locked[kind] += sqlite
    elif name in ('write', 'pwrite64', 'writev', 'ftruncate') and path:
        synced.discard(path)
    elif name in ('fsync', 'fdatasync') and path:
        synced.add(path)
        unsynced_dirs.pop(path, None)
    elif name.startswith('mkdir'):
        new = os.path.join(path or '', strings[0])
        if (new + '/').startswith(root + '/'):
            unsynced_dirs[new.rsplit('/', 1)[0]] = new
    elif name.startswith('rename') or name.startswith('link'):
        old, new = (os.path.join(d, n) for d, n in re.findall(
            r'(?:(?:\d+<|AT_FDCWD<?)([^>,]*)>?, )?"([^"]*)"', args))
        if not new.startswith(root + '/'):
            continue
        if unsynced_dirs and new.endswith('.ltx') and name[0] == 'r':
            pass
        if name.startswith('rename') and old not in synced:
            problems.append('not synced before it was renamed: ' + new)
        d = new.rsplit('/', 1)[0]
        if new.endswith('.ltx'):
            published.append(new)
            # The file before this one: its directory must be durable by now.
            if d in unsynced_dirs:
                problems.append('no sync of the directory after '
                                + unsynced_dirs[d])
        unsynced_dirs[d] = new
for kind, sqlite in lives.values():
    locked[kind] += sqlite
for d, new in unsynced_dirs.items():
    problems.append('no sync of the directory after ' + new)
print('opens db=%(db)d shm=%(shm)d' % opens)
print('locked db=%(db)d shm=%(shm)d' % locked)
print('published %d' % len(published))
for p in problems:
    print('problem', p)
END
sed 's/^/# /' "$T/said"
n() { sed -n "s/^$1.*[ =]\\([0-9]*\\)\$/\\1/p" "$T/said"; }
is 'no problem' "$(grep ^problem "$T/said")" ''
[ "$(n published)" -ge 4 ]; result $? 'each file is one rename or link'
db_opens=$(sed -n 's/^opens db=\([0-9]*\) .*/\1/p' "$T/said")
shm_opens=$(sed -n 's/^opens .*shm=\([0-9]*\)/\1/p' "$T/said")
[ "$db_opens" -ge 2 ]; result $? 'the connections are seen'
is "each opening of the database is one that SQLite locks" \
    "$(sed -n 's/^locked db=\([0-9]*\) .*/\1/p' "$T/said")" "$db_opens"
is "one -shm, which SQLite locks" "$shm_opens \
$(sed -n 's/^locked .*shm=\([0-9]*\)/\1/p' "$T/said")" '1 1'

# After the last moment for the databases only a child is left, which takes its
# time: the wait for it is one call, not thousands.
ASAN_OPTIONS=detect_leaks=0 strace -f -o "$T/waits" -e trace=pselect6,?pselect6_time64 "$LS" replicate \
    -exec "sh -c 'trap : TERM; echo >$T/up; until test -e $T/end; do
    sleep .2; done'" "$db" "file://$dir" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'with a child' poll 20 test -e "$T/up"
daemon=$(awk 'NR == 1 { print $1 }' "$T/waits")
kill -TERM "$daemon"
ok 'the signal is seen' poll 20 grep -q 'signal received' "$T/log"
kill -TERM "$daemon"
# GRACE_MS after the second signal, and two seconds more.
sleep 7
touch "$T/end"
_reap; result $? 'it ends when the child does'
[ "$(grep -c pselect "$T/waits")" -lt 200 ]
result $? 'and has slept until then'
done_testing
