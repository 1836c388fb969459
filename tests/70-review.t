#!/bin/sh
# SPDX-License-Identifier: ISC
# What reviews and fault harnesses once found wrong, from the outside; each so
# small that it runs with every check.  What needs a quiet while is begun first
# and looked at last.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

url() { echo "file://$T/$1.replica"; }
make_db() {	# NAME [MODE] [PAGE-SIZE]: tables t and u, 60 rows
	sql "$1.db" "PRAGMA page_size = ${3:-1024};
	    PRAGMA journal_mode = ${2:-wal}; CREATE TABLE u(v);
	    INSERT INTO u VALUES(0); CREATE TABLE t(b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 60) INSERT INTO t SELECT randomblob(400) FROM c" >/dev/null
}
commit() { sql "$1.db" 'INSERT INTO t VALUES(randomblob(500))'; }
once() { "$LS" replicate -once "$1.db" "$(url "$1")"; }
daemon() {	# NAME [FLAGS]: pid in NAME.pid, log in NAME.log
	_name=$1; shift
	"$LS" replicate "$@" "$_name.db" "$(url "$_name")" >"$_name.log" 2>&1 \
	    </dev/null &
	echo $! >"$_name.pid"; track $!
}
end() {	# TITLE NAME: a clean stop, perhaps of a stopped one; nothing is missing
	PID=$(cat "$2.pid")
	kill -TERM "$PID"; kill -CONT "$PID"; _reap
	result $? "$1: clean stop" || tail -n 5 "$2.log"
	ok "$1: restored" same "$2"
}
same() { restore_same "$T/$1.db" "$T/$1.replica"; }
says() { grep -q -e "$2" "$1.log"; }
absent() {	# TITLE PATH...
	_title=$1; shift
	is "$_title" "$(ls -d "$@" 2>/dev/null)" ''
}
damaged() { find "$1.replica" -name '*.damaged'; }
flip() {	# FILE OFFSET MASK: bits of one byte
	python3 -c 'import sys
f = open(sys.argv[1], "r+b"); at, mask = int(sys.argv[2]), int(sys.argv[3])
f.seek(at); c = f.read(1)[0]; f.seek(at); f.write(bytes([c ^ mask]))' "$@"
}
snapshot() { echo "$1.replica/ltx/9/0000000000000001-0000000000000001.ltx"; }
first() { echo "$1.replica/ltx/0/000000000000000$2-000000000000000$2.ltx"; }

# Begun here: an idle daemon saves its state three seconds after a commit.
for name in wal-gone overwritten all-gone; do
	make_db $name
	daemon $name
done
# Levels that are merged each second, and a writer that does not pause.
make_db rebase
cat >rebase.yml <<END
levels: [{interval: 1s}]
dbs: [{path: $T/rebase.db, replica: {path: $T/rebase.replica}}]
END
"$LS" replicate -config rebase.yml >rebase.log 2>&1 </dev/null &
echo $! >rebase.pid; track $!
cat >writer.py <<'END'
import os, sqlite3, sys, time
c = sqlite3.connect('rebase.db', isolation_level=None, timeout=5)
until = time.time() + float(sys.argv[1])
i = 0
while time.time() < until and not os.path.exists('hurt.done'):
    c.execute('UPDATE u SET v=v+1')
    c.execute('UPDATE t SET b=randomblob(450) WHERE rowid=?', (i % 60 + 1,))
    i += 1
    time.sleep(.02)
END
python3 writer.py 30 & writer=$!; track $writer
# Breaks the newest file, that level 1 does not have yet, until it is noticed.
hurt=''
closed() { says rebase 'level=WARN msg="full image"'; }
hurt() {
	closed && return
	f=$(find rebase.replica/ltx/0 -name '*.ltx' | sort | tail -n 1)
	if [ "$f" != "$hurt" ] && [ "$f" != "$(first rebase 1)" ] &&
	    [ "$(wc -c <"$f")" -gt 400 ]; then
		flip "$f" 300 255	# once: twice would mend it
		hurt=$f
	fi
	sleep 1.3; closed
}
(sleep 1; poll 25 hurt; sleep 1; : >hurt.done) 2>/dev/null & track $!

# A commit of low pages after one that grew the database, both in the WAL.
make_db grown
daemon grown
poll 5 says grown 'comparing database'
poll 5 test -e "$(snapshot grown)"
sql grown.db 'INSERT INTO t VALUES(randomblob(20000))'
poll 5 test -e "$(first grown 2)"
sql grown.db 'UPDATE u SET v = 1'
poll 5 test -e "$(first grown 3)"
is 'growth in earlier frames: no alarm' \
    "$(grep -E 'opening again|level=ERROR' grown.log)" ''
end 'growth in earlier frames' grown

# A stop while the newest files, or the whole replica, have just gone.  Stopped
# meanwhile, it cannot have seen that before the signal.
make_db stop
daemon stop
poll 5 test -e "$(snapshot stop)"
kill -STOP "$(cat stop.pid)"
rm -rf stop.replica/ltx/0; commit stop
end 'level 0 gone at the stop' stop
make_db stop2
daemon stop2
poll 5 test -e "$(snapshot stop2)"
commit stop2
poll 5 test -e "$(first stop2 2)"
rm -rf stop2.replica/ltx
end 'all levels gone at the stop' stop2

# Links where we delete.
mkdir victim victim/0
cp "$(first stop 1)" victim/ 2>/dev/null ||
    : >victim/0000000000000001-0000000000000001.ltx
: >victim/0/0000000000000001-0000000000000001.ltx
make_db links
mkdir -p .links.db-litestream/ltx
ln -s "$T/victim" .links.db-litestream/ltx/0
ok 'a link in place of a level' once links
rm -rf .links.db-litestream/ltx; ln -s "$T/victim" .links.db-litestream/ltx
ok 'a link in place of the local copies' once links
is 'links: what they point to stays' "$(find victim -name '*.ltx' | wc -l |
    tr -d ' ')" 2
rm -rf .links.db-litestream; mkdir other; ln -s "$T/other" .links.db-litestream
status 1 'a link in place of local state is refused' once links
matches 'and named' err '^Error: .*links.db-litestream: is a symbolic link'
absent 'and not followed' other/.lock other/pages

# A refused database stays as it is.
make_db mine delete; make_db theirs
once theirs >/dev/null
status 6 "another database's replica" timeout 10 "$LS" replicate mine.db \
    "$(url theirs)"
is 'refused: the journal mode stays' \
    "$(sql mine.db 'PRAGMA journal_mode')" delete
echo 'this is a text, and a long one, which is no database at all' >text.db
: >empty.db; mkdir dir.db
for name in text empty dir; do
	status 1 "not a database ($name)" once $name
	absent "not a database ($name): nothing is made" .$name.db-litestream \
	    $name.replica
done

# The child of -exec.
make_db child
"$LS" replicate -exec "sh -c 'yes 2>$T/pipe | head -n 1 >$T/yes
    for i in 3 4 5 6 7 8 9; do (: >&\$i) 2>/dev/null && echo \$i; done
    exit 9'" child.db "$(url child)" >open 2>/dev/null </dev/null 3>&- 4>&- \
    5>&- 6>&- 7>&- 8>&- 9>&-
is '-exec: status' $? 9
is '-exec: the child ran' "$(cat yes)" y
is '-exec: SIGPIPE is as usual' "$(cat pipe)" ''
is '-exec: no descriptor of ours' "$(grep -v '^time=' open)" ''

# A replica that cannot be made is not a database that is waited for.
make_db nowhere
mkdir nowhere.replica; ln -s /nonexistent/x nowhere.replica/ltx
status 1 'a replica that cannot be made' timeout 10 "$LS" replicate \
    nowhere.db "$(url nowhere)"
matches 'and named' err '^Error: .*nowhere.replica/ltx'

# What cannot be read now is not damaged.
make_db unread
once unread >/dev/null; commit unread; once unread >/dev/null
cat >as.py <<'END'
import os, sys
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.execv(sys.argv[1], sys.argv[1:])
END
chmod 711 .; chmod 0 "$(first unread 2)"
[ "$(id -u)" -ne 0 ] || {
	cp "$LS" ls; chmod 755 ls
	find unread.db* .unread.db-litestream unread.replica -exec chown 65534 \
	    {} +
	chown 0 "$(first unread 2)"
	mkdir app; chown 65534 app
	mv unread.* .unread.db-litestream app
}
[ -d app ] || { mkdir app; cp "$LS" ls; mv unread.* .unread.db-litestream app; }
status 1 'an unreadable replica file' python3 as.py ./ls replicate -once \
    app/unread.db "file://$T/app/unread.replica"
matches 'and named' err '^Error: .*ltx/0/.*[Pp]ermission denied'
is 'and not set aside' "$(damaged app/unread)" ''
chmod 644 "app/$(first unread 2)"
chown "$(id -u)" app/unread.db "app/$(first unread 2)"

# One failed read, wherever it comes.
make_db reads
for _i in 1 2 3; do commit reads; once reads >/dev/null; done
if ${CC:-cc} -shared -fPIC -O1 -o shim.so "$TESTS/shim.c" 2>shim.err; then
	k=0 hits=0 bad=''
	while rm -f hit; k=$((k + 3)) && [ $k -lt 150 ]; do
		rm -f .reads.db-litestream/pages
		SHIM_ROOT=$T/reads.replica SHIM_FAIL=$k:5:once:reads \
		    SHIM_HIT=$T/hit LD_PRELOAD=$T/shim.so \
		    "$LS" replicate -once reads.db "$(url reads)" >out 2>err
		[ -e hit ] || break
		hits=$((hits + 1))
		[ -z "$(damaged reads)" ] || bad="$bad $k"
	done
	[ $hits -gt 3 ]; result $? "one failed read: $hits places"
	is 'one failed read: no good file is set aside' "$bad" ''

	# restore -force on a disk that takes no more names.
	make_db old
	sql old.db '.filectrl persist_wal 1' 'INSERT INTO u VALUES(7)' \
	    >/dev/null
	k=0 left='' silent=''
	while rm -rf hit out.d; k=$((k + 1)) && [ $k -lt 40 ]; do
		mkdir out.d; cp old.db old.db-wal out.d/
		SHIM_ROOT=$T/out.d SHIM_FAIL=$k:28:on SHIM_HIT=$T/hit \
		    LD_PRELOAD=$T/shim.so "$LS" restore -force \
		    -o out.d/old.db "$(url reads)" >out 2>err
		[ -e hit ] || break
		[ -e out.d/old.db-wal.replaced ] || continue
		left="$left $k"
		grep -q 'old.db-.*\.replaced' err || silent="$silent $k"
	done
	[ -n "$left" ]; result $? 'restore -force, full disk: a WAL is aside'
	is 'restore -force, full disk: it is said where' "$silent" ''
else
	skip 'failed calls' "no shim: $(head -n 1 shim.err)"
fi

# Temporaries of a writer that was killed.
: >"reads.replica/ltx/0/0000000000000028-0000000000000028.ltx.tmp"
ok 'a temporary of level 0' once reads
is 'is removed' "$(find reads.replica -name '*.tmp')" ''

# No limit on memory where the program cannot even start with one (sanitizers).
memory=8000000
sh -c 'ulimit -v 8000000; exec "$0" version' "$LS" >/dev/null 2>&1 ||
    memory=unlimited

# A header that promises a terabyte.
make_db header
for _i in 1 2 3; do commit header; once header >/dev/null; done
flip "$(first header 2)" 12 192
rm -rf .header.db-litestream
ok 'a flipped size in a header' sh -c \
    "ulimit -v $memory; exec \"\$@\"" - "$LS" replicate -once header.db \
    "$(url header)"
ok 'a flipped size in a header: restored' same header

# A WAL that promises 16 GB, all sums right.
make_db crafted
cat >craft.py <<'END'
import os, sqlite3, struct
c = sqlite3.connect('crafted.db', isolation_level=None)
c.execute('PRAGMA wal_autocheckpoint=0')
c.execute('UPDATE u SET v=v+1')
wal = bytearray(open('crafted.db-wal', 'rb').read())
size = struct.unpack('>I', wal[8:12])[0] + 24
order = '>' if wal[3] & 1 else '<'
def add(s, b):
    w = iter(struct.unpack(order + '%dI' % (len(b) // 4), b))
    for x, y in zip(w, w):
        s[0] = (s[0] + x + s[1]) & 0xffffffff
        s[1] = (s[1] + y + s[0]) & 0xffffffff
s = list(struct.unpack('>2I', wal[24:32]))
n = (len(wal) - 32) // size
for i in range(n):
    at = 32 + i * size
    if wal[at+8:at+16] != wal[16:24]:
        break
    if i == n - 1 or wal[at+size+8:at+size+16] != wal[16:24]:
        wal[at+4:at+8] = struct.pack('>I', 0x00fffff0)
    add(s, wal[at:at+8]); add(s, wal[at+24:at+size])
    wal[at+16:at+24] = struct.pack('>2I', *s)
open('w', 'wb').write(wal)
os._exit(0)
END
python3 craft.py && mv w crafted.db-wal && rm crafted.db-shm
is 'a crafted WAL: SQLite believes it' "$(cp crafted.db c.db
    cp crafted.db-wal c.db-wal; sql c.db 'SELECT v FROM u')" 1
sh -c "ulimit -v $memory; ulimit -f 200000; exec \"\$@\"" - "$LS" replicate \
    -once crafted.db "$(url crafted)" >out 2>err
[ $? -lt 64 ] && grep -q '^Error: .*crafted.db.*16777200' err
result $? 'a crafted WAL: refused, with its size' || sed 's/^/# /' err

# Modes of what we make.
make_db modes
shared() {	# MODE-OF-FILE: directory and files, as ls shows them
	rm -rf shared; mkdir shared; chmod 1777 shared
	cp modes.db shared/m.db; chmod "$1" shared/m.db
	(umask 0; "$LS" replicate -once shared/m.db "file://$T/shared/r") >out
	find shared/.m.db-litestream shared/r -type d -exec ls -ld {} + |
	    cut -c1-10 | sort -u
	find shared/.m.db-litestream shared/r -type f -exec ls -ld {} + |
	    cut -c1-10 | sort -u
}
is 'modes: of a private database' "$(shared 600)" 'drwx------
-rw-------'
is 'modes: of one its group reads; locks are for writers' "$(shared 640)" \
    'drwxr-x---
-rw-------
-rw-r-----'
is 'modes: of one all may read' "$(shared 644)" 'drwxr-xr-x
-rw-------
-rw-r--r--'

# One pass beside applications that come and go.
cat >busy.py <<'END'
import sqlite3, subprocess, sys, threading, time
mode, runs = sys.argv[1], int(sys.argv[2])
done = False
def write():
    while not done:
        c = sqlite3.connect('busy.db', timeout=5)
        c.execute('UPDATE u SET v=v+1'); c.commit(); c.close()
        time.sleep(.005)
t = threading.Thread(target=write); t.start()
failed = 0
for i in range(runs):
    p = subprocess.run(sys.argv[3:], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE)
    failed += p.returncode != 0
    sys.stdout.write(p.stderr.decode())
done = True; t.join()
sys.exit(failed)
END
for mode in delete wal; do
	rm -rf busy.db* busy.replica .busy.db-litestream
	make_db busy $mode
	ok "-once beside a busy writer, $mode mode" python3 "$T/busy.py" $mode 6 \
	    "$LS" replicate -once busy.db "$(url busy)"
done

# Identity, local state and level 0 gone, with the daemon at work.
poll 5 test -e "$(snapshot all-gone)"
kill -STOP "$(cat all-gone.pid)"
rm -rf all-gone.replica/.identity all-gone.replica/ltx/0 .all-gone.db-litestream
commit all-gone
kill -CONT "$(cat all-gone.pid)"
ok 'identity and newest files gone: made again' \
    poll 5 test -e all-gone.replica/.identity
end 'identity and newest files gone' all-gone

# What the idle ones saved must not prove anything later.
saved() { [ -s ".$1.db-litestream/pages" ] && [ ! -s "$1.db-wal" ]; }
ok 'idle: state is saved' poll 10 saved wal-gone
cat >gone.py <<'END'
import os, sqlite3
c = sqlite3.connect('wal-gone.db', isolation_level=None)
c.execute('PRAGMA wal_autocheckpoint=0')
c.execute('UPDATE u SET v=v+1'); c.execute('CREATE TABLE z(a)')
os.remove('wal-gone.db-wal')
os._exit(0)
END
python3 gone.py
poll 10 commit wal-gone	# an I/O error until the index is made anew
end 'WAL removed below us' wal-gone
ok 'idle: state is saved' poll 10 saved overwritten
sql overwritten.db '.backup copy.db'
sql copy.db 'DELETE FROM t WHERE rowid > 9; INSERT INTO u VALUES(5); VACUUM;
    PRAGMA journal_mode = wal' >/dev/null
kill -STOP "$(cat overwritten.pid)"	# or it may see that by itself
cp copy.db overwritten.db
commit overwritten
end 'overwritten in place' overwritten

# A damaged input of a merge: closed by a full image, and right from there on.
wait $writer
closed; result $? 'a damaged input: closed by a full image' ||
    tail -n 5 rebase.log
end 'a damaged input' rebase
from=$(sed -n 's/.*msg="full image".*txid=\([0-9a-f]*\).*/\1/p' rebase.log |
    tail -n 1)
bad=''
for txid in $("$LS" ltx -level 0 "$(url rebase)" |
    awk -v from="$from" 'NR > 1 && $2 >= from { print $2 }' | tail -n 3); do
	rm -f r.db
	"$LS" restore -txid "$txid" -o r.db "$(url rebase)" >out 2>&1 &&
	    [ "$(sql r.db 'PRAGMA integrity_check')" = ok ] || bad="$bad $txid"
done
is 'a damaged input: the points after that restore' "$bad" ''
done_testing
