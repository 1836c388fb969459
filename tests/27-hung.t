#!/bin/sh
# SPDX-License-Identifier: ISC
# The replica's disk does not answer: the application's disk is not filled by a
# WAL that is kept for it, other databases go on, and all is exact afterwards.
. "$(dirname "$0")/lib.sh"

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
mkdir "$T/db" "$T/hung" "$T/well"
_unmount() { rm -f "$T/hang"; umount -l "$T/db" 2>/dev/null; _cleanup; }
trap _unmount EXIT
mount -t tmpfs -o size=32m tmpfs "$T/db" 2>"$T/err" ||
    skip_all "cannot mount: $(head -n 1 "$T/err")"
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -o "$T/shim.so" "$TESTS/shim.c" \
    -ldl || exit 1

cat >"$T/app.py" <<'END'
import os, sqlite3, sys, time
db, megabytes = sys.argv[1], float(sys.argv[2])
def free(path):
    fs = os.statvfs(path)
    return fs.f_bavail / fs.f_blocks
c = sqlite3.connect(db, isolation_level=None, timeout=10)
largest = 0
for i in range(int(megabytes * 20)):
    c.execute('UPDATE t SET b=randomblob(length(b)) WHERE id/100=?', (i % 10,))
    # The disk is nearly full: slowly, while the WAL still grows.
    size = os.path.getsize(db + '-wal')
    if free(db) < .09 and size > largest:
        time.sleep(.5)
    largest = max(largest, size)
print('WAL %d KB at most' % (largest // 1024))
END
make_db() {
	sql "$1" 'PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 1000) INSERT INTO t(b) SELECT randomblob(480) FROM c' \
	    >/dev/null
}
a=$T/db/a.db b=$T/db/b.db
make_db "$a"
make_db "$b"
S=$T/s.sock
cat >"$T/yml" <<END
socket: { enabled: true, path: $S }
dbs:
  - path: $a
    replica:
      path: $T/hung/a
  - path: $b
    replica:
      path: $T/well/b
END
replicated() { poll 20 restore_same "$1" "$2"; }
start() {
	SHIM_HANG=$T/hang SHIM_ROOT=$T/hung LD_PRELOAD=$T/shim.so \
	    "$LS" replicate -config "$T/yml" "$@" >"$T/log" 2>&1 </dev/null &
	PID=$!; track "$PID"
}

start
ok 'first backup' replicated "$a" "$T/hung/a"
ok 'first backup of the other' replicated "$b" "$T/well/b"
: >"$T/hang"
ok 'hung: the application writes 60 MB on a disk of 32' \
    python3 "$T/app.py" "$a" 60
sed 's/^/# /' "$T/out"
matches 'hung: it is said' "$T/log" 'level=ERROR.*does not answer'
sql "$a" 'PRAGMA wal_checkpoint(TRUNCATE)' >"$T/out"
is 'hung: the WAL, let go of, is emptied' "$(cat "$T/out")" '0|0|0'
status 1 'hung: the status is not that of an empty WAL' \
    "$LS" status -config "$T/yml" "$a"
ok 'hung: another database is written' python3 "$T/app.py" "$b" 1
ok 'hung: and replicated' replicated "$b" "$T/well/b"
sql "$T/c.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
status 1 'hung: sync by the socket fails in time' \
    "$LS" sync -socket "$S" -timeout 1s "$a"
status 1 'hung: stop, too' "$LS" stop -socket "$S" -timeout 1 "$a"
ok 'hung: others are listed' "$LS" list -socket "$S"
matches 'hung: it is still stopping' "$T/out" "^$a \[open\]"
ok 'hung: another is waited for' "$LS" sync -socket "$S" -timeout 20s "$b"
ok 'hung: one more is registered' "$LS" register -socket "$S" \
    -replica "file://$T/well/c" "$T/c.db"
ok 'hung: and replicated' replicated "$T/c.db" "$T/well/c"
ok 'hung: and forgotten' "$LS" unregister -socket "$S" "$T/c.db"
rm "$T/hang"
ok 'answers again: all is there' replicated "$a" "$T/hung/a"
stopped() { "$LS" list -socket "$S" | grep -q "^$a \[stopped\]"; }
ok 'answers again: it is stopped' poll 20 stopped
ok 'answers again: it is started' "$LS" start -socket "$S" "$a"
ok 'answers again: the application goes on' python3 "$T/app.py" "$a" 1
ok 'answers again: all of that' replicated "$a" "$T/hung/a"

# A stop is not held up for ever.
: >"$T/hang"
sql "$a" 'UPDATE t SET b = randomblob(9) WHERE id = 3'
poll 10 sh -c "ls '$T/hung/a/ltx/0' | grep -q '[.]tmp$'"
result $? 'hung again, in a publish'
kill -TERM "$PID"
kill -TERM "$PID"
_reap
is 'hung: the second signal ends it, status' "$?" 1
matches 'hung: it is said what is missing' "$T/log" \
    "level=ERROR.*not replicated.*$a"
rm "$T/hang"
start
ok 'started again: all is there' replicated "$a" "$T/hung/a"
stop_replicate
result $? 'a clean stop'

# An application that does not end is not killed, but it is told apart.
cat >"$T/child" <<'END'
trap : TERM
echo $$ >"$1.tmp"; mv "$1.tmp" "$1"
while test -e "$1"; do sleep .1; done
END
start -exec "sh $T/child $T/pid"
ok 'with a command' poll 10 test -e "$T/pid"
child=$(cat "$T/pid"); track "$child"
: >"$T/hang"
sql "$a" 'UPDATE t SET b = randomblob(9) WHERE id = 4'
poll 10 sh -c "ls '$T/hung/a/ltx/0' | grep -q '[.]tmp$'"
kill -TERM "$PID"
ok 'the command is told' poll 10 grep -q 'signal received' "$T/log"
kill -TERM "$PID"
_reap
is 'hung, with a command that goes on: status' "$?" 1
matches 'it is said who goes on' "$T/log" \
    "level=ERROR msg=\"the command still runs.*pid=$child"
kill -0 "$child"
result $? 'and it does'
rm "$T/pid" "$T/hang"
done_testing
