#!/bin/sh
# SPDX-License-Identifier: ISC
# The order of what changes files, by system calls: wherever it is cut short,
# what is there is whole.
. "$(dirname "$0")/lib.sh"

command -v strace >/dev/null || skip_all 'no strace'
strace -f -o "$T/trace" true 2>"$T/err" ||
    skip_all "strace: $(tail -n 1 "$T/err")"
db=$T/a.db dir=$T/replica url=file://$T/replica
name() { printf '%016x-%016x.ltx' "$1" "$2"; }
once() { "$LS" replicate -once "$db" "$url"; }
commit() { sql "$db" 'INSERT INTO t(b) VALUES(randomblob(500))'; }
# calls CMD...: what it changes in $T/$1 or, of ltx/, in which level; repeated
# lines once
calls() {
	_in=$1; shift
	ASAN_OPTIONS=detect_leaks=0 strace -f -y -s 200 -o "$T/trace" -e \
	    trace=pwrite64,fsync,fdatasync,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat,ftruncate \
	    "$@" >"$T/out" 2>&1 </dev/null
}
order() { python3 - "$T/trace" "$T/$1" <<'END'
import os, re, sys
trace, root = sys.argv[1:]
last = None
for line in open(trace, errors='replace'):
    m = re.match(r'\d+ +(\w+)\((.*)\) += (\d+)', line)
    if not m:
        continue
    fd = re.match(r'\d+<([^>]*)>', m[2])
    paths = [os.path.join(d, n) for d, n in re.findall(
        r'(?:(?:\d+<|AT_FDCWD<?)([^>,]*)>?, )?"([^"]*)"', m[2])
             if m[1] != 'pwrite64']
    if fd and not paths:
        paths = [fd[1]]
    if any(p != root and not p.startswith(root + '/') for p in paths):
        continue
    names = [p[len(root) + 1:] or '.' for p in paths]
    call = {'pwrite64': 'write', 'fdatasync': 'fsync',
            'ftruncate': 'write'}.get(m[1], re.sub('at2?$', '', m[1]))
    text = ' '.join([call] + names)
    if text != last:
        print(text)
    last = text
END
}
sql "$db" 'PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, b)' >/dev/null
commit
once >"$T/out" 2>&1
mkdir "$T/d"
sql "$T/d/o" 'CREATE TABLE old(x)'
for s in wal shm journal; do echo stale >"$T/d/o-$s"; done
calls d "$LS" restore -force -o "$T/d/o" "$url"
is 'restore -force: nothing of the old database is beside the new one' \
    "$(ls "$T/d")" o
is 'restore -force: either of them is whole at any moment' \
    "$(order d | sed -n '/^fsync o.tmp/,$p')" 'fsync o.tmp
rename o-wal o-wal.replaced
rename o-journal o-journal.replaced
rename o-shm o-shm.replaced
fsync .
rename o.tmp o
fsync .
unlink o-wal.replaced
unlink o-journal.replaced
unlink o-shm.replaced'

# A standby: its journal is whole before it is hot, and goes last.
rm -r "$T/d"; mkdir "$T/d"
(calls d "$LS" restore -f -follow-interval 50ms -o "$T/d/o" "$url") &
track $!
followed() { [ "$(cat "$T/d/o-txid")" = "$(newest)" ]; }
newest() { "$LS" ltx "$url" | awk 'END { print $3 }'; }
ok 'a standby' poll 20 followed
commit
once >"$T/out" 2>&1
ok 'a change' poll 20 followed
kill "$(awk '/-txid/ { print $1; exit }' "$T/trace")"
wait
is 'a standby has one state or the next at any moment' \
    "$(order d | sed -n '/write o-journal/,/rename o-txid.tmp/p')" \
    'write o-journal
fsync o-journal
write o-journal
fsync o-journal
fsync .
write o
fsync o
unlink o-journal
fsync .
rename o-txid.tmp o-txid'

# A rebase, from the highest level down; what is pruned, from the end.
levels() { order replica | sed -n 's,.*ltx/\([0-9]\)/.*ltx$,\1,p;
    s,^fsync ltx/\([0-9]\)$,sync \1,p' | tr '\n' ' '; }
for _ in 1 2; do commit; once >"$T/out" 2>&1; done
rm "$dir/ltx/0/$(name 3 3)"
calls replica "$LS" replicate -once "$db" "$url"
is 'a rebase begins with the highest level, and each is durable' "$(levels)" \
    '9 sync 9 3 sync 3 2 sync 2 1 sync 1 0 sync 0 '
calls replica "$LS" prune -keep 0 "$url"
order replica | sed -n 's/^unlink .*-\(.*\)\.ltx$/\1/p' >"$T/pruned"
[ "$(wc -l <"$T/pruned")" -ge 3 ]; result $? 'some is pruned'
sort -r "$T/pruned" | cmp -s - "$T/pruned"
result $? 'what ends last goes first'
done_testing
