#!/bin/sh
# SPDX-License-Identifier: ISC
# Owner and mode of what we make: never wider than the database's, whatever the
# umask, the directory and the user; and what other users on the machine try.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
command -v python3 >/dev/null || skip_all 'no python3'
chmod 711 .; cp "$LS" ls; chmod 755 ls
cat >as.py <<'END'
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
os.setgroups([int(g) for g in sys.argv[3].split(',') if g])
os.setgid(gid); os.setuid(uid); os.umask(0)
os.execvp(sys.argv[4], sys.argv[4:])
END
cat >modes.py <<'END'	# mode, uid and gid of all that is below, each once
import os, stat, sys
seen = set()
for top in sys.argv[1:]:
    for d, dirs, files in os.walk(top):
        for p in [d] + [os.path.join(d, f) for f in files]:
            st = os.lstat(p)
            seen.add('%s %d %d' % (stat.filemode(st.st_mode), st.st_uid,
                                   st.st_gid))
print(*sorted(seen), sep='\n')
END
make_db() {	# PATH
	sql "$1" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
	    INSERT INTO t VALUES(1)' >/dev/null
}
me=$(id -u) group=$(id -g)

# Mode and umask.
for umask in 000 077; do
	for mode in 600 640 644; do
		rm -rf d; mkdir -m 777 d; make_db d/a.db; chmod $mode d/a.db
		(umask $umask; "$LS" replicate -once d/a.db \
		    "file://$T/d/p/r") >log 2>&1
		case $mode in
		600) look=-rw------- want="-rw------- $me $group
drwx------ $me $group" ;;
		640) look=-rw-r----- want="-rw------- $me $group
-rw-r----- $me $group
drwxr-x--- $me $group" ;;
		644) look=-rw-r--r-- want="-rw------- $me $group
-rw-r--r-- $me $group
drwxr-xr-x $me $group" ;;
		esac
		is "umask $umask, database $mode: what we make" \
		    "$(python3 modes.py d/p d/.a.db-litestream)" "$want"
		(umask $umask; "$LS" restore -o d/o/b.db "file://$T/d/p/r")
		is "umask $umask, database $mode: restored with its mode" \
		    "$(python3 modes.py d/o | grep '^-')" "$look $me $group"
	done
done
rm -rf d; mkdir -m 700 d; make_db d/a.db; chmod 644 d/a.db
"$LS" replicate -once d/a.db "file://$T/wide/r" >log 2>&1
is 'a private directory keeps what is in it private' \
    "$(python3 modes.py wide d/.a.db-litestream | grep '^d')" \
    "drwx------ $me $group"

# No file is open for others for a moment: each is made 0600, then given away.
if command -v strace >/dev/null && strace -o /dev/null true 2>err; then
	rm -rf d; mkdir -m 777 d; make_db d/a.db
	(umask 0; ASAN_OPTIONS=detect_leaks=0 strace -f -o trace \
	    -e trace=open,openat,mkdir,mkdirat "$LS" replicate -once d/a.db \
	    "file://$T/d/r"; ASAN_OPTIONS=detect_leaks=0 strace -f -o trace2 \
	    -e trace=open,openat,mkdir,mkdirat "$LS" restore -o d/o.db \
	    "file://$T/d/r") >log 2>&1
	# SQLite makes -shm and -wal, and make coverage its counts.
	cat trace trace2 | grep -E 'O_CREAT|mkdir' | grep -v -e '-shm"' \
	    -e '-wal"' -e '\.gcda"' >made
	[ "$(grep -c . made)" -gt 5 ]; result $? 'files and directories made'
	is 'none open to others at first' \
	    "$(grep -v -e ', 0[67]00) *= ' made)" ''
	is 'no file is opened where a link could be' \
	    "$(grep O_CREAT made | grep -v -e 'O_EXCL.*O_NOFOLLOW' \
	    -e 'a\.db".*O_NOFOLLOW')" ''
else
	skip 'no file is open for others for a moment' 'no strace'
fi

if [ "$me" -ne 0 ]; then
	skip 'what other users try' 'not root, so there is no other user'
	done_testing
fi
# Users: 65534 has the database, 65533 means harm.  A group: 65500.
as() { _u=$1; shift; python3 as.py "$_u" "$_u" '' "$@"; }
status 0 'setting up: another user' as 65534 ./ls version || done_testing

# A directory that passes on its group, which is not the database's.
rm -rf d; mkdir d; chgrp 65500 d; chmod 2777 d; make_db d/a.db
chgrp 0 d/a.db; chmod 640 d/a.db
(umask 0; "$LS" replicate -once d/a.db "file://$T/d/r") >log 2>&1
is 'a setgid directory: its group reads nothing' \
    "$(python3 modes.py d/r d/.a.db-litestream)" '-rw------- 0 0
-rw-r----- 0 0
drwxr-x--- 0 0'
rm -rf d; mkdir -m 777 d; make_db d/a.db; chown 65533:65500 d/a.db
chmod 660 d/a.db
ok 'one who may write it through a group' python3 as.py 65534 65500 '' \
    ./ls replicate -once d/a.db "file://$T/d/r"
is 'gives what he makes to that group, and to nobody else' \
    "$(python3 modes.py d/r d/.a.db-litestream)" '-rw-rw---- 65534 65500
drwxrwx--- 65534 65500'

# Root, for a database of another user.
fresh() {
	rm -rf d; mkdir -m 755 d; mkdir -m 755 d/app; make_db d/app/a.db
	chmod 640 d/app/a.db; chown -R 65534:65534 d/app
}
fresh
"$LS" replicate -once d/app/a.db "file://$T/d/r" >log 2>&1
is 'root: all belongs to the owner of the database' \
    "$(python3 modes.py d/app d/r)" '-rw------- 65534 65534
-rw-r----- 65534 65534
drwxr-x--- 65534 65534
drwxr-xr-x 65534 65534'
ok 'who can go on without root' as 65534 ./ls replicate -once d/app/a.db \
    "file://$T/d/r"
ok 'root restores' "$LS" restore -o d/o/b.db "file://$T/d/r"
is 'for the owner of the replica' "$(python3 modes.py d/o)" \
    '-rw-r----- 65534 65534
drwxr-x--- 65534 65534'

# What that user can make root do.
mkdir -m 700 d/secret; make_db d/secret/s.db
"$LS" replicate -once d/secret/s.db "file://$T/d/secret/r" >log 2>&1
find d/secret -type f -exec cksum {} + | sort >before
as 65534 sh -c 'mv d/app/.a.db-litestream d/app/x
    ln -s ../secret d/app/.a.db-litestream'
status 1 'root: a link for a meta directory' "$LS" replicate -once \
    d/app/a.db "file://$T/d/r"
as 65534 sh -c 'rm d/app/.a.db-litestream; mv d/app/x d/app/.a.db-litestream
    mv d/r/ltx d/r/x; ln -s ../secret/r/ltx d/r/ltx'
status 1 "root: a link to another's files" "$LS" replicate -once \
    d/app/a.db "file://$T/d/r"
as 65534 sh -c 'rm d/r/ltx; mv d/r/x d/r/ltx; rm -r d/r/ltx/9
    ln -s ../../secret/r/ltx/9 d/r/ltx/9'
status 1 "root: a link to another's snapshots" "$LS" replicate -once \
    d/app/a.db "file://$T/d/r"
as 65534 sh -c 'rm d/r/ltx/9; rm -f d/r/.lock; ln d/r/.identity d/r/.lock'
status 1 'root: a hard link for a lock' "$LS" replicate -once d/app/a.db \
    "file://$T/d/r"
as 65534 sh -c 'rm -f d/r/.lock; ln -s ../secret/s.db d/r/.lock
    ln -s ../secret/s.db d/r/.identity.tmp
    ln -s ../../secret/s.db d/app/.a.db-litestream/pages.tmp'
status 1 'root: a link for a lock' "$LS" replicate -once d/app/a.db \
    "file://$T/d/r"
rm d/r/.lock d/r/.identity; sql d/app/a.db 'INSERT INTO t VALUES(2)'
ok 'root: links for temporaries' "$LS" replicate -once -adopt d/app/a.db \
    "file://$T/d/r"
find d/secret -type f -exec cksum {} + | sort >after
ok 'root: nothing of others was read into files of his, or changed' \
    cmp before after
is 'root: and nothing there is his' \
    "$(find d/secret -user 65534)$(find d/r d/app ! -user 65534)" ''

# A directory for all, as /tmp: who comes first.
fresh; chown -R 0:0 d/app; chmod 1777 d/app; chmod 644 d/app/a.db
as 65533 mkdir -m 777 d/app/.a.db-litestream
status 1 'a meta directory that another user made is refused' "$LS" \
    replicate -once d/app/a.db "file://$T/d/r"
matches 'with its owner' "$T/err" '^Error: .*a\.db-litestream: .*uid 65533'
is 'and nothing is put there' "$(ls -A d/app/.a.db-litestream)" ''
rm -r d/app/.a.db-litestream
as 65533 ln -s /nowhere d/app/o.db.tmp
"$LS" replicate -once d/app/a.db "file://$T/d/r" >log 2>&1
ok 'a link where the temporary of a restore will be' "$LS" restore \
    -o d/app/o.db "file://$T/d/r"
ok 'the restored database is a file' test -f d/app/o.db -a ! -L d/app/o.db

# One whose -wal and -shm the application could not open.
fresh; chmod 777 d/app; chmod 644 d/app/a.db; mkdir -m 777 d/r
status 1 'a user who would lock the application out' as 65533 ./ls replicate \
    -once d/app/a.db "file://$T/d/r"
matches 'is refused' "$T/err" '^Error: .*a\.db: owned by uid 65534'
rm -r d/r; "$LS" replicate -once d/app/a.db "file://$T/d/r" >log 2>&1
chmod 755 d/app

# Readers of a database can neither hold its replicator up nor change a thing.
start_replicate d/app/a.db "$T/d/r"
poll 20 grep -q 'replicating to' log
stop_replicate
cat >hold.py <<'END'
import fcntl, sys
held = 0
for path in sys.argv[1:]:
    try:
        fcntl.flock(open(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
        held += 1
    except PermissionError:
        pass
print(held)
END
is 'a reader cannot hold the locks' "$(as 65533 python3 hold.py d/r/.lock \
    d/app/.a.db-litestream/.lock)" 0
status 1 'a reader cannot replicate into it' as 65533 ./ls replicate -once \
    d/app/a.db "file://$T/d/r"
status 1 'nor prune' as 65533 ./ls prune -keep 0s "file://$T/d/r"
done_testing
