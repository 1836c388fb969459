#!/bin/sh
# SPDX-License-Identifier: ISC
# What a start may believe: each state here would be taken for another if one
# of the proofs were left out.
. "$(dirname "$0")/lib.sh"
. "$TESTS/clock.sh"

db=$T/a.db dir=$T/replica meta=$T/.a.db-litestream
once_at() {	# SECONDS [FLAGS]: with the wall clock ahead by that much
	_s=$1; shift
	ahead "$_s" "$LS" replicate -once "$@" "$db" "file://$dir" \
	    >"$T/log" 2>&1 ||
	    { _rc=$?; tail -n 3 "$T/log" | sed 's/^/# /'; return $_rc; }
}
app() {	# SQL...: commits, and dies before it can checkpoint
	python3 - "$db" "$@" <<-'END'
	import os, sqlite3, sys
	c = sqlite3.connect(sys.argv[1], isolation_level=None)
	c.execute('PRAGMA wal_autocheckpoint=0')
	for sql in sys.argv[2:]:
	    c.execute(sql).fetchall()
	os._exit(0)
	END
}
# saved HOW: changes the saved state, and makes its checksum right, or "flip"
saved() { python3 - "$TESTS" "$meta/pages" "$db" "$@" <<'END'
import struct, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from crash import crc64, stat_of
path, db, how = sys.argv[2:5]
data = bytearray(open(path, 'rb').read())
if how == 'database':           # that file is the one that was saved
    data[104:144] = stat_of(db)
elif how == 'newer':            # entries of a later state
    later = open(sys.argv[5], 'rb').read()
    assert len(later) == len(data)
    data[56:64], data[200:] = later[56:64], later[200:]
elif how == 'elsewhere':        # the replica was on another file system
    data[184:200] = bytes([data[184] ^ 1]) * 16
if how == 'flip':
    data[99] |= 1               # clean
else:
    data[-8:] = struct.pack('>Q', crc64(data[:-8]))
open(path, 'wb').write(data)
END
}
begin() {	# a table of one word in many pages, replicated
	rm -rf "$db" "$db"-* "$dir" "$meta"
	sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 30) INSERT INTO t(b) SELECT printf("%0900d", x) FROM c' \
	    >/dev/null
	app 'INSERT INTO t(b) VALUES(1)'
	once_at "${1:-60}" || echo '# no first backup'
}
overwrite() {	# a page that is not in the WAL, which has the last of them
	python3 - "$db" <<-'END'
	import sys
	with open(sys.argv[1], 'r+b') as f:
	    data = f.read()
	    f.seek(data.index(b'0' * 400))
	    f.write(b'1' * 400)
	END
}
same() {	# what is restored is what SQLite makes of it
	rm -f "$T/r.db" "$T"/s.db*
	"$LS" restore -o "$T/r.db" "file://$dir" && cp "$db" "$T/s.db" ||
	    return
	[ ! -e "$db-wal" ] || cp "$db-wal" "$T/s.db-wal"
	sql "$T/s.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null &&
	    cmp "$T/s.db" "$T/r.db"
}
goes_on() { ok "$1" once_at 120; ok "$1: restored" same; }
newest() { "$LS" ltx -level all "file://$dir" | awk '
    NR > 1 && $3 > n { n = $3 } END { print n }'; }
after() { [ "$1" != "$2" ] &&
    [ "$(printf '%s\n' "$1" "$2" | sort | tail -n 1)" = "$1" ]; }

begin
[ -s "$db-wal" ]
result $? 'a WAL with content stays when the last connection is ours'
overwrite
goes_on 'the database was written to in place'
begin -3600	# its ctime is not older than two seconds then
overwrite
saved database
goes_on 'and the clock did not advance meanwhile'
begin
rm "$db-wal"
goes_on 'the WAL is lost'
begin
saved flip
rm "$db-wal"
goes_on 'and the saved state has a flipped bit'

# Entries of the table that are newer than its TXID.
begin
cp -p "$meta/pages" "$T/pages"
cp -Rp "$dir" "$T/older"
app 'UPDATE t SET b = 2 WHERE id = 31'
once_at 60
cp -p "$meta/pages" "$T/later"
cp -p "$T/pages" "$meta/pages"
rm -r "$dir"; mv "$T/older" "$dir"
saved newer "$T/later"
goes_on 'pages that the replica does not have, says the local state'

# Another history of the same length.
begin
for s in "" -wal; do cp -p "$db$s" "$T/fork$s"; done
cp -Rp "$dir" "$T/fork.replica"; cp -Rp "$meta" "$T/fork.meta"
app 'UPDATE t SET b = 3 WHERE id = 31'
once_at 60
mkdir "$T/kept"; mv "$db" "$db-wal" "$meta" "$T/kept"; rm -r "$dir"
for s in "" -wal; do mv "$T/fork$s" "$db$s"; done
mv "$T/fork.meta" "$meta"; mv "$T/fork.replica" "$dir"
app 'UPDATE t SET b = 4 WHERE id = 31'
once_at 60
rm -r "$db"-* "$meta"; mv "$T/kept/a.db" "$T/kept/a.db-wal" \
    "$T/kept/.a.db-litestream" "$T"
goes_on 'the replica has another history'

# A replica that was rolled back: whoever follows it knows later TXIDs.
begin
cp -Rp "$dir" "$T/back"
app 'INSERT INTO t(b) VALUES(5)'; once_at 60
app 'INSERT INTO t(b) VALUES(6)'; once_at 60
txid=$(newest)
rm -r "$dir"; mv "$T/back" "$dir"
goes_on 'the replica was rolled back'
after "$(newest)" "$txid"; result $? 'no TXID is used twice'

# A rebase that was interrupted: level 0 is the last that it makes.
begin
app 'INSERT INTO t(b) VALUES(5)'; once_at 60
txid=$(newest)
app 'INSERT INTO t(b) VALUES(6)'; once_at 60
rm "$dir/ltx/0/$txid-$txid.ltx"
app 'INSERT INTO t(b) VALUES(7)'; once_at 60
last=$(newest)
rm "$dir/ltx/0/$last-$last.ltx"
rm -r "$meta"
goes_on 'levels 1 to 9 end one TXID after level 0'
is 'each level goes on with one that is later' "$(find "$dir/ltx" \
    -name "*-$(newest).ltx" | sed 's,.*/\([0-9]\)/[^/]*$,\1,' | sort |
    tr '\n' ' ')" '0 1 2 3 9 '
after "$(newest)" "$last"; result $? 'which none had'

# A mount point without its file system.
begin
saved elsewhere
rm -r "$dir"
status 1 'the replica was on another file system' once_at 60
cp "$T/log" "$T/err"
matches 'it says so' "$T/err" 'not mounted'
[ ! -e "$dir" ]; result $? 'nothing is made on the mount point'
done_testing
