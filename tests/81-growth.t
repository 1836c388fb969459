#!/bin/sh
# SPDX-License-Identifier: ISC
# Pages by which a database grows are all in the file that says so, also where
# no frame of the WAL has them; but for the lock page, which never is.
. "$(dirname "$0")/lib.sh"
. "$TESTS/clock.sh"

db=$T/a.db dir=$T/replica
# A minute later, so that the database file is old enough to be trusted.
once() {
	ahead 60 "$LS" replicate -once "$db" "file://$dir"
}
# app SQL...: commits, and dies before it can checkpoint
app() {
	python3 - "$db" "$@" <<-'END'
	import os, sqlite3, sys
	c = sqlite3.connect(sys.argv[1], isolation_level=None)
	c.execute('PRAGMA wal_autocheckpoint=0')
	for sql in sys.argv[2:]:
	    c.execute(sql).fetchall()
	os._exit(0)
	END
}
# frames COMMIT PGNO...: appends a transaction of these pages; the first is
# page 1 as it was but for its size, others are filled with their number
frames() {
	python3 - "$db" "$@" <<-'END'
	import struct, sys
	db, commit, pages = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
	with open(db + '-wal', 'rb') as f:
	    wal = f.read()
	size, = struct.unpack_from('>I', wal, 8)
	frame = size + 24
	last = len(wal) - frame
	old = [wal[i + 24:i + frame] for i in range(32, len(wal), frame)
	       if wal[i:i + 4] == bytes((0, 0, 0, 1))][-1]
	a, b = struct.unpack_from('>II', wal, last + 16)
	order = '>' if wal[3] & 1 else '<'
	def add(data, a, b):
	    for x, y in struct.iter_unpack(order + 'II', data):
	        a = (a + x + b) & 0xffffffff
	        b = (b + y + a) & 0xffffffff
	    return a, b
	with open(db + '-wal', 'ab') as f:
	    for pgno in map(int, pages):
	        page = old[:28] + struct.pack('>I', commit) + old[32:] \
	            if pgno == 1 else bytes([pgno & 255]) * size
	        head = struct.pack('>II', pgno, commit
	                           if pgno == int(pages[-1]) else 0)
	        a, b = add(page, *add(head, a, b))
	        f.write(head + wal[16:24] + struct.pack('>II', a, b) + page)
	END
}
pages() { echo $(($(wc -c <"$1") / $2)); }
same() {	# what is restored is what SQLite makes of it
	rm -f "$T"/r.db "$T"/s.db*
	"$LS" restore -o "$T/r.db" "file://$dir" && cp "$db" "$T/s.db" &&
	    cp "$db-wal" "$T/s.db-wal" &&
	    sql "$T/s.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null &&
	    cmp "$T/s.db" "$T/r.db"
}
has() { "$LS" ltx "file://$dir" | grep -q "$1"; }
appended() {	# TITLE
	ok "$1" once
	is "$1: from the WAL alone" "$(grep comparing "$T/out" "$T/err")" ''
	ok "$1: restored" same
	ok "$1: verified" "$LS" verify "file://$dir"
}

sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    CREATE TABLE t(b)' >/dev/null
app 'INSERT INTO t VALUES(randomblob(5000))'
ok 'first backup' once
n=$("$LS" restore -json -o "$T/n.db" "file://$dir" >/dev/null &&
    pages "$T/n.db" 1024)
frames $((n + 4)) 1 $((n + 4))
appended 'growth by four pages, of which the last is in the WAL'
n=$((n + 5))
frames $n 1
appended 'growth by a page that is not in the WAL'

# At 1 GiB, in a file that is a hole but for its first pages.
db=$T/b.db dir=$T/replica.b
sql "$db" 'PRAGMA page_size = 65536; PRAGMA journal_mode = WAL;
    CREATE TABLE t(b)' >/dev/null
python3 - "$db" <<-'END'
	import sys
	with open(sys.argv[1], 'r+b') as f:
	    f.truncate(1 << 30)
	    f.seek(28)
	    f.write((16384).to_bytes(4, 'big'))
END
app 'INSERT INTO t VALUES(1)'
start_replicate "$db" "$dir"
emptied() { [ ! -s "$db-wal" ]; }
ok 'just before the lock page, and all is in the file' poll 60 emptied
app 'INSERT INTO t VALUES(randomblob(150000))'
ok 'growth over the lock page' poll 20 has 0000000000000002
[ "$(sql "$db" 'PRAGMA page_count')" -gt 16385 ]
result $? 'it is over it'
is 'it comes from the WAL alone' "$(grep -c comparing "$T/log")" 1
app 'INSERT INTO t VALUES(2)'
ok 'and one commit more' poll 20 has 0000000000000003
stop_replicate; result $? 'a stop'
is 'all is read, and goes on' "$("$LS" verify "file://$dir" |
    sed -n 's/^\(whole: txid=[^ ]*\).*/\1/p')" \
    'whole: txid=0000000000000003'
done_testing
