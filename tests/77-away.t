#!/bin/sh
# SPDX-License-Identifier: ISC
# A replica whose directory changes under us: another file system, none, another
# one; a level that cannot go on; what a terminal is shown.
. "$(dirname "$0")/lib.sh"
. "$TESTS/clock.sh"
cd "$T" || exit
first=ltx/9/0000000000000001-0000000000000001.ltx
make_db() {	# NAME
	sql "$1.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
	    INSERT INTO t VALUES(1)' >/dev/null
}
says() { grep -E -q -e "$1" "$T/log"; }
waits() {	# REGEX: in the log
	poll 20 says "$1"; result $? "said: $1" || tail -n 5 "$T/log"
}

# The replica is a link, as a mount point cannot be made by everyone.
shm=$(mktemp -d /dev/shm/litestream.XXXXXX 2>/dev/null) &&
    [ "$(stat -c %d "$shm" 2>/dev/null)" != "$(stat -c %d "$T")" ] || shm=
if [ -n "$shm" ]; then
	trap 'rm -rf "$shm"; _cleanup' EXIT
	make_db a
	mkdir here "$shm/empty" other
	ln -s "$T/here" r
	ok 'a replica' "$LS" replicate -once a.db "file://$T/r"
	sql a.db 'INSERT INTO t VALUES(2)'
	ln -sfn "$shm/empty" r
	status 1 'an empty directory on another file system' \
	    "$LS" replicate -once a.db "file://$T/r"
	matches 'is not the replica' err \
	    '^Error: .*/r: empty, and on another file system than before'
	matches 'or is adopted' err '^Try: mount it, or use -adopt'
	cp -R here "$shm/full"; ln -sfn "$shm/full" r
	ok 'its copy is' "$LS" replicate -once a.db "file://$T/r"
	ln -sfn "$shm/empty" r
	ok '-adopt begins there' "$LS" replicate -adopt -once a.db "file://$T/r"
	ln -sfn "$T/here" r
	start_replicate "$T/a.db" "$T/r" -adopt
	poll 20 test -e here/ltx/0/0000000000000002-0000000000000002.ltx
	rm -rf "$shm/empty"; mkdir "$shm/empty"; ln -sfn "$shm/empty" r
	sql a.db 'INSERT INTO t VALUES(3)'
	waits 'level=ERROR .*error=".*/r: replica is not mounted'
	is 'nothing is written there' "$(ls "$shm/empty")" ''
	ln -sfn "$T/here" r
	waits 'msg="replication works again"'
	ok 'it is restored' restore_same "$T/a.db" "$T/r"
	cp -R here/. other/
	ln -sfn "$T/other" r
	sql a.db 'INSERT INTO t VALUES(4)'
	waits 'msg="opening again"'
	ok 'a clean stop' stop_replicate
	ok 'the other one is continued' restore_same "$T/a.db" "$T/other"
else
	skip 'another file system' 'no /dev/shm'
fi

# Damage to a file that level 1 does not have yet.
make_db heal
cat >heal.yml <<END
logging: {level: debug}
levels: [{interval: 60s}]
dbs: [{path: $T/heal.db, replica: {path: $T/heal}}]
END
ok 'time goes ten times as fast' faster 10 true
env LD_PRELOAD="$T/clock.so" CLOCK_FILE="$T/clock" "$LS" replicate \
    -config heal.yml >log 2>&1 </dev/null &
PID=$!; track $PID
poll 20 test -e heal/$first
waits 'msg="compaction complete" .*level=1'
sql heal.db 'INSERT INTO t VALUES(2)'
two=heal/ltx/0/0000000000000002-0000000000000002.ltx
poll 20 test -e $two
chmod u+w $two; printf x | dd of=$two bs=1 seek=120 conv=notrunc 2>/dev/null
sql heal.db 'INSERT INTO t VALUES(3)'
waits 'level=WARN msg="full image"'
ok 'a clean stop' stop_replicate
ok 'the chain goes on' restore_same "$T/heal.db" "$T/heal"

# A database that stays locked, a hundred times faster.
mkfifo pipe
make_db busy
sqlite3 busy.db <pipe >sqlout 2>&1 & track $!
exec 9>pipe
echo "PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES(2); SELECT 'held';" \
    >&9
poll 10 grep -q held sqlout
status 1 'locked for ten seconds' faster 100 "$LS" replicate -once \
    busy.db "file://$T/busy"
matches 'is given up' err '^Error: .*/busy.db: .*locked'
exec 9>&-

# Progress, on a terminal only; time flies.
sql big.db 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL;
    CREATE TABLE t(a); WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1
    FROM c WHERE x < 3000) INSERT INTO t SELECT randomblob(400) FROM c' \
    >/dev/null
ok 'a larger one' "$LS" replicate -once big.db "file://$T/big"
cat >terminal.py <<'END'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
data = b''
try:
    while True:
        data += os.read(fd, 4096)
except OSError:
    pass
sys.stdout.write(data.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
ok 'verify on a terminal' faster 100000 python3 terminal.py "$LS" verify "file://$T/big"
matches 'shows how far it is' out '[0-9]+ of [0-9]+ MB, [0-9]+ MB/s, '
ok 'elsewhere' faster 100000 "$LS" verify "file://$T/big"
is 'it does not' "$(cat err)" ''
done_testing
