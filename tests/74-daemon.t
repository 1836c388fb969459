#!/bin/sh
# SPDX-License-Identifier: ISC
# A daemon that meets what is rare: second signals, children that die, databases
# that cannot be opened, a full disk, changed pages, a WAL that a reader holds.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
${CC:-cc} -shared -fPIC -O1 -o shim.so "$TESTS/shim.c" -ldl

make_db() {	# NAME
	sql "$1.db" 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(a); INSERT INTO t VALUES(1)' >/dev/null
}
daemon() {	# NAME CMD...: log in NAME.log; sets PID
	_name=$1; shift
	rm -f "$_name.log"	# no line of a former one is waited for
	"$@" >"$_name.log" 2>&1 </dev/null &
	PID=$!; track $PID
}
says() { grep -E -q -e "$2" "$1.log"; }
waits() {	# NAME REGEX: in the log
	poll 20 says "$1" "$2"; result $? "$1: $2" || tail -n 5 "$1.log"
}
ends() {	# STATUS TITLE: of PID
	_reap 2>/dev/null; is "$2" $? "$1"
}
snapshot() { echo "$1/ltx/9/0000000000000001-0000000000000001.ltx"; }

# Locked for good: patience until the time for stopping is up, or until asked
# twice.
mkfifo pipe
make_db locked
sqlite3 locked.db <pipe >sqlout 2>&1 & track $!
exec 9>pipe
echo "PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES(2); SELECT 'held';" \
    >&9
poll 10 grep -q held sqlout
daemon locked "$LS" replicate locked.db "file://$T/locked"
waits locked 'msg="replication failed, trying again".*locked'
kill -TERM "$PID"
waits locked 'signal received'
kill -0 "$PID"; result $? 'after one signal it goes on trying'
kill -TERM "$PID"
ends 1 'a second one ends it'
matches 'and it says what is missing' locked.log \
    '^Error: .*/locked.db: not replicated: .*locked'
cat >locked.yml <<END
shutdown-sync-timeout: 1s
dbs: [{path: $T/locked.db, replica: {path: $T/locked}}]
END
daemon locked "$LS" replicate -config locked.yml
waits locked 'msg="replication failed, trying again".*locked'
kill -TERM "$PID"
ends 1 'so does the time for stopping'
matches 'it says why that took so long' locked.log \
    'level=WARN msg="not all is in the replica, trying on.*seconds=1 .*locked'
matches 'with the same words' locked.log \
    '^Error: .*/locked.db: not replicated: .*locked'
exec 9>&-

daemon absent "$LS" replicate absent.db "file://$T/absent"
waits absent 'msg="waiting for database"'
kill -INT "$PID"
ends 0 'stopped while there is no database'

# Children.
make_db child
run() { daemon child "$LS" replicate -exec "$1" child.db "file://$T/child"; }
run "sh -c 'echo \$\$ >pid; exec sleep 100'"
poll 20 test -s pid
poll 20 test -e "$(snapshot child)"
kill -TERM "$PID"
ends 143 'the signal that killed the child'
run 'sh -c "printf \"%s.\" \"\$0\" a\ b \\\\ >words; exit 7" \$x'
ends 7 'the status of the child'
is 'its words' "$(cat words)" '$x.a b.\.'
run 'sh -c "exit'
ends 2 'an open quote'
matches 'is named' child.log '^Error: cannot parse exec command: sh -c "exit$'
run ''\'''\'' x'
ends 1 'a command without a name'
run no-such-command
ends 1 'a command that is not there'
matches 'is named' child.log '^Error: no-such-command: exec: No such file'
make_db other
ok "another database's replica" "$LS" replicate -once other.db "file://$T/other"
rm -f pid
daemon child "$LS" replicate -exec "sh -c 'echo \$\$ >pid; exec sleep 100'" \
    child.db "file://$T/other"
ends 6 'the database is refused'
[ -s pid ] && kill -0 "$(cat pid)" 2>/dev/null
is 'and its child has gone' $? 1

# One of two is refused, the other goes on.
cat >two.yml <<END
dbs:
  - {path: $T/child.db, replica: {path: $T/other}}
  - {path: $T/locked.db, replica: {path: $T/unlocked}}
END
daemon two "$LS" replicate -config two.yml
waits two 'level=ERROR .*/child.db .*is the replica of another database'
poll 20 test -e "$(snapshot unlocked)"; result $? 'the other is replicated'
kill -TERM "$PID"
ends 6 'and the status tells of the first'

# Pages that change behind SQLite's back, found by the audit (or, now and then, by what
# looks at the file's time stamps) and sent again.
make_db audit
sql audit.db "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
    WHERE x < 50) INSERT INTO t SELECT 'marker' || randomblob(300) FROM c;
    PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
cat >audit.yml <<END
snapshot: {interval: 100ms}
dbs: [{path: $T/audit.db, replica: {path: $T/audit}}]
END
daemon audit "$LS" replicate -config audit.yml
poll 20 test -e "$(snapshot audit)"
emptied() { [ ! -s audit.db-wal ]; }
poll 20 emptied
python3 - <<'END'
f = open('audit.db', 'r+b'); b = f.read(); at = b.rindex(b'marker')
f.seek(at); f.write(b'change')
END
waits audit 'page is not as it was replicated|database file was overwritten'
poll 20 test -e audit/ltx/0/*2-*2.ltx
kill -TERM "$PID"
ends 0 'stopped'
ok 'restored as it is now' "$LS" restore -o audit.r "file://$T/audit"
cmp audit.db audit.r; result $? 'with the change'

# More databases than there are descriptors at first.
echo 'dbs:' >many.yml
for i in 1 2 3 4 5 6 7 8; do
	make_db "many$i"
	echo "  - {path: $T/many$i.db, replica: {path: $T/r$i}}" >>many.yml
done
# shellcheck disable=SC3045
(ulimit -S -n 40 && exec "$LS" replicate -config many.yml -exec \
    "sh -c 'ulimit -S -n >limit; exec sleep 100'") >many.log 2>&1 </dev/null &
PID=$!; track "$PID"
all() {
	for i in 1 2 3 4 5 6 7 8; do [ -e "$(snapshot "r$i")" ] || return; done
}
poll 20 all; result $? 'a database needs more descriptors than the soft limit'
poll 20 test -s limit
is 'its child has the limit that was' "$(cat limit)" 40
kill -TERM "$PID"
ends 143 'stopped, with the child'
done_testing
