#!/bin/sh
# SPDX-License-Identifier: ISC
# Our checkpoints and pins: what is durable before what, which locks are never
# taken, and what others may do meanwhile.
. "$(dirname "$0")/lib.sh"

db=$T/a.db dir=$T/replica
command -v strace >/dev/null || skip_all 'no strace'
strace -f -o "$T/trace" true 2>"$T/err" ||
    skip_all "strace: $(tail -n 1 "$T/err")"
cat >"$T/app.py" <<'END'
"""Commits, reads at that mark, commits again, and waits."""
import sqlite3, sys
def connect():
    c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    c.execute('PRAGMA synchronous=OFF')
    c.execute('PRAGMA wal_autocheckpoint=0')
    return c
w = connect()
w.execute('INSERT INTO t(b) VALUES(randomblob(3000))')
r = connect()
r.execute('BEGIN')
r.execute('SELECT count(*) FROM t').fetchall()
w.execute('INSERT INTO t(b) VALUES(randomblob(3000))')
sys.stdin.read()
END
sql "$db" 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, b)' >/dev/null
daemon() {
	ASAN_OPTIONS=detect_leaks=0 strace -f -y -s 8 -o "$T/trace" \
	    -e trace=fcntl,?fcntl64,fsync,fdatasync,pwrite64 \
	    "$LS" replicate "$db" "file://$dir" \
	    >"$T/log" 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 20 restore_same "$db" "$dir"
}
stop() {
	kill -TERM "$(awk 'NR == 1 { print $1 }' "$T/trace")"
	_reap; result $? "$1"
}
mark() { wc -c <"$T/trace" >"$T/mark"; }
# look WHAT: of the trace since mark
look() { python3 - "$T/trace" "$db" "$1" "$(cat "$T/mark")" <<'END'
import re, sys
trace, db, what, mark = sys.argv[1:]
pending, events = {}, []
trace = open(trace, errors='replace')
trace.seek(int(mark))
for line in trace:
    pid, call = line.rstrip('\n').split(None, 1)
    if call.endswith('<unfinished ...>'):
        pending[pid] = call[:-len('<unfinished ...>')]
        continue
    m = re.match(r'<\.\.\. \w+ resumed>(.*)', call)
    if m:
        call = pending.pop(pid, '') + m.group(1)
    m = re.match(r'(\w+)\(\d+<([^>]*)>(.*)\)\s*= (-?\d+)', call)
    if m:
        events.append((m[1], m[2], m[3], int(m[4])))
def lock(e, byte):
    return e[0].startswith('fcntl') and e[3] == 0 and \
        'F_WRLCK, l_whence=SEEK_SET, l_start=%d,' % byte in e[2]
def unlock(e, byte):
    return e[0].startswith('fcntl') and \
        'F_UNLCK, l_whence=SEEK_SET, l_start=%d,' % byte in e[2]
writes = [i for i, e in enumerate(events)
          if e[0] == 'pwrite64' and e[1] == db]
syncs = {f: [i for i, e in enumerate(events)
             if e[0] in ('fsync', 'fdatasync') and e[1] == f]
         for f in (db, db + '-wal')}
if what == 'synced':
    sys.exit(not writes or not syncs[db] or syncs[db][-1] < writes[-1])
if what == 'wal first':
    sys.exit(not any(i < writes[0] for i in syncs[db + '-wal']))
if what == 'tries':
    sys.exit(sum(lock(e, 121) for e in events) < 2)
if what == 'write locks':
    print(sum(lock(e, 120) for e in events))
if what == 'pins':      # how often none was left
    held, none = set(), 0
    for e in events:
        m = re.search(r'l_type=F_(\w+), l_whence=SEEK_SET, l_start=(\d+)', e[2])
        if not e[0].startswith('fcntl') or e[3] != 0 or not m or \
                not 123 <= int(m[2]) <= 127:
            continue
        if m[1] == 'RDLCK':
            held.add(m[2])
        elif m[2] in held:
            held.remove(m[2])
            none += not held
    print(none)
END
}
enter() {	# until leave
	rm -f "$T/fifo"; mkfifo "$T/fifo"
	python3 "$T/app.py" "$db" <"$T/fifo" &
	track $!
	exec 9>"$T/fifo"
}
leave() { exec 9>&-; }
emptied() { [ ! -s "$db-wal" ]; }

# A reader in the middle of the WAL: as far as it, and no further.
daemon
ok 'idle, the WAL is empty' poll 20 emptied
stuck() {	# copied up to the reader, and no further
	python3 - "$db-shm" <<-'END'
	import struct, sys
	with open(sys.argv[1], 'rb') as f:
	    shm = f.read(136)
	last, = struct.unpack_from('=I', shm, 16)
	copied, = struct.unpack_from('=I', shm, 96)
	sys.exit(not 0 < copied < last)
	END
}
read_on() {	# again, if somebody was held up in between
	for _try in 1 2 3 4 5; do
		mark; enter
		poll 6 stuck && return
		leave; poll 20 emptied
	done
	return 1
}
ok 'a checkpoint copies up to a reader' read_on
ok 'the WAL was synced before' look 'wal first'
ok 'the database is synced after it' poll 10 look synced
mark
ok 'it is tried again' poll 30 look tries
is 'it never takes the write lock' "$(look 'write locks')" 0
is 'there is always a pin' "$(look pins)" 0
leave
sql "$db" 'INSERT INTO t(b) VALUES(1)'
ok 'when the reader has gone the WAL is emptied' poll 30 emptied
ok 'and all is replicated' restore_same "$db" "$dir"
stop 'clean stop'
done_testing
