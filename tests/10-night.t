#!/bin/sh
# SPDX-License-Identifier: ISC
# What happens at night: status and the hook tell it within ten seconds, and it
# ends by itself when the cause is gone.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

mkdir disk
_unmount() {
	umount -l "$T/disk/r/ltx/1" "$T/disk" "$T/backup" 2>/dev/null
	_cleanup
}
trap _unmount EXIT
mount -t tmpfs -o size=4m tmpfs disk 2>err ||
    skip_all "cannot mount: $(head -n 1 err)"
umount disk

db=$T/a.db dir=$T/disk/r
cat >"$T/get.py" <<'END'
import json, sys
print(json.load(sys.stdin)[0][sys.argv[1]])
END
st() { "$LS" status -config yml -json "$@" "$db"; }
get() { st | python3 "$T/get.py" "$1"; }
word_is() { [ "$(get status)" = "$1" ]; }
is_well() { st -running; }
insert() { sql "$db" "INSERT INTO t VALUES(zeroblob(${1:-1}))"; }
hooked() { [ "$(grep -c "^$1 " said)" -eq "$2" ]; }
errors=0
# TITLE WORD: from now on
tells() {
	errors=$((errors + 1))
	poll 10 word_is "$2"; result $? "$1: status, within 10 s: $2"
	status 1 "$1: status 1" st
	poll 10 hooked error $errors; result $? "$1: the hook, too"
	sed 's/^/# /' said | tail -n 1
}
recovers() {	# TITLE
	poll 30 is_well; result $? "$1: it recovers by itself" ||
	    tail -n 8 log | sed 's/^/# /'
	poll 10 hooked recover $errors; result $? "$1: the hook says so"
	ok "$1: all is there" restore_same "$db" "$dir"
}
cat >hook <<END
echo "\$LITESTREAM_EVENT [\$LITESTREAM_ERROR]" >>$T/said
END
cat >yml <<END
on-error: sh $T/hook
on-recover: sh $T/hook
levels: [{ interval: 1s }]
dbs: [{ path: $db, replica: { path: $dir } }]
END
: >said
start() {
	"$LS" replicate -config yml >log 2>&1 </dev/null &
	PID=$!; track "$PID"
}
mounted() { mount --bind "$T/backup" "$T/disk"; }
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null

# The first backup, then a start at boot, before the disk is mounted.
mkdir backup
mount -t tmpfs -o size=4m tmpfs backup
mounted
start
ok 'a backup' poll 20 is_well
stop_replicate; result $? 'the machine is shut down'
umount disk
insert
start
tells 'not mounted at the start' away
insert
is 'nothing is written where it is to be' "$(ls -A disk)" ''
mounted
recovers 'then mounted'

umount -l disk
tells 'unmounted' away
insert
is 'nothing is written there' "$(ls -A disk)" ''
mounted
recovers 'mounted again'

dd if=/dev/zero of=backup/fill bs=64k >/dev/null 2>&1
insert 300000
tells 'full' error
rm backup/fill
recovers 'not full any more'

mv "$db" "$db.aside"
tells 'the database is moved away' 'no database'
mv "$db.aside" "$db"
recovers 'it is back'

cp "$db" b.db
sql b.db 'CREATE TABLE u(a); INSERT INTO u VALUES(randomblob(9000))'
mv b.db "$db"
errors=$((errors + 1))
poll 10 hooked error $errors; result $? 'replaced: the hook, within 10 s'
recovers 'replaced'
st >status
matches 'replaced: status says when' status \
    '"last_error": ".*/a.db: was moved, deleted or replaced"'

mount --bind disk/r/ltx/1 disk/r/ltx/1
mount -o remount,bind,ro disk/r/ltx/1
insert
tells 'level 1 cannot be written' error
matches 'level 1: what it is' out '"error": "compaction failed: .*ltx/1'
ok 'level 1: level 0 goes on' "$LS" sync "$db"
ok 'all is there' restore_same "$db" "$dir"
umount disk/r/ltx/1
recovers 'level 1 can be written'

kill_replicate
status 1 'killed: status' st -running
insert
word_is behind || word_is unknown; result $? 'killed, and a commit'
start
poll 20 is_well; result $? 'started again: it recovers'
ok 'all is there' restore_same "$db" "$dir"

# What the user of the replicator may not do; root may do anything.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	stop_replicate; result $? 'a clean stop'
	chmod 755 "$T"; chown -R 65534:65534 "$T/backup" "$T"/.a* "$db"*
	chmod 777 "$T"; : >said; chmod 666 said; errors=0
	setpriv --reuid 65534 --regid 65534 --clear-groups \
	    "$LS" replicate -config yml >log 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 20 is_well; result $? 'as another user'
	chmod 0 disk/r/ltx
	sql "$db" 'INSERT INTO t VALUES(1)'
	tells 'no permission' error
	chmod 700 disk/r/ltx
	recovers 'with it'
	stop_replicate; result $? 'a clean stop'
else
	skip 'no permission' 'not root, or no setpriv'
fi
done_testing
