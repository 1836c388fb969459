#!/bin/sh
# SPDX-License-Identifier: ISC
# Databases of all shapes: page sizes, auto_vacuum, shrinking and growing, no
# page and one page, the page that SQLite's locks lie on.  BIG=1 adds one of
# just over 1 GiB.
. "$(dirname "$0")/lib.sh"

rows() {	# N BYTES: SELECT of so many blobs
	echo "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < $1) SELECT randomblob($2) FROM c"
}
replicated() { poll 10 restore_same "$db" "$dir"; }
once() { "$LS" replicate -once "$db" "file://$dir" >>"$T/log" 2>&1; }
names() { db=$T/$1.db dir=$T/$1.replica; }
new() {	# NAME PAGE-SIZE [PRAGMAS]
	names "$1"
	sql "$db" "PRAGMA page_size = $2; ${3:-}; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b)" >/dev/null
}

for n in 512 1024 2048 4096 8192 16384 32768 65536; do
	new "p$n" $n
	sql "$db" "INSERT INTO t(b) $(rows 40 $((n / 2)))"
	ok "pages of $n: first backup" once
	sql "$db" "UPDATE t SET b = randomblob(9) WHERE id % 9 = 1;
	    INSERT INTO t(b) $(rows 9 $((n * 2)))"
	ok "pages of $n: increment" once
	ok "pages of $n: restored" restore_same "$db" "$dir"
	[ "$(find "$dir/ltx/0" -name '*.ltx' | wc -l)" -eq 2 ]
	result $? "pages of $n: two files"
done

# While the daemon runs.  An application stays connected, so that the sizes
# change in the WAL only.
shapes() {	# NAME PAGE-SIZE PRAGMAS VACUUM
	new "$1" "$2" "$3"
	start_replicate "$db" "$dir"
	sql "$db" "INSERT INTO t(b) $(rows 60 $(($2 * 3)))"
	ok "$1: grown" replicated
	sql "$db" "DELETE FROM t WHERE id > 5; $4"
	ok "$1: shrunk" replicated
	sql "$db" "INSERT INTO t(b) $(rows 90 $(($2 * 3)))"
	ok "$1: grown again" replicated
	sql "$db" "DELETE FROM t WHERE id > 9; $4;
	    INSERT INTO t(b) $(rows 70 $(($2 * 3))); DELETE FROM t; $4;
	    INSERT INTO t(b) $(rows 5 $(($2 * 3)))"
	ok "$1: all that at once" replicated
	sql "$db" "DROP TABLE t; $4"
	ok "$1: nothing in it" replicated
	stop_replicate; result $? "$1: clean stop"
	ok "$1: restored" restore_same "$db" "$dir"
	sql "$db" "CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    INSERT INTO t(b) $(rows 99 $(($2 * 2))); DELETE FROM t
	    WHERE id > 9; $4"
	ok "$1: grown and shrunk while we are away" once
	ok "$1: restored after that" restore_same "$db" "$dir"
}
shapes vacuum 1024 'PRAGMA auto_vacuum = NONE' VACUUM
shapes full 512 'PRAGMA auto_vacuum = FULL' 'SELECT 1'
shapes incremental 4096 'PRAGMA auto_vacuum = INCREMENTAL' \
    'PRAGMA incremental_vacuum'

# All TXIDs are states of the database: the row that counts, and integrity.
new count 1024
start_replicate "$db" "$dir"
i=0
while [ $((i += 1)) -le 12 ]; do
	sql "$db" "DELETE FROM t WHERE id % 3 = $((i % 3));
	    INSERT INTO t(b) $(rows $((i % 4 * 20 + 1)) 900); VACUUM"
	[ $((i % 4)) -ne 0 ] || replicated
done
ok 'VACUUM, again and again' replicated
stop_replicate; result $? 'VACUUM, again and again: clean stop'
bad=''
for txid in $("$LS" ltx -level all "file://$dir" | awk 'NR > 1 { print $3 }')
do
	rm -f "$T/r.db"
	"$LS" restore -txid "$txid" -o "$T/r.db" "file://$dir" 2>>"$T/log" &&
	    [ "$(sql "$T/r.db" 'PRAGMA integrity_check')" = ok ] ||
	    bad="$bad $txid"
done
is 'VACUUM, again and again: each TXID restores' "$bad" ''

# One page: a database without a table.
names page
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a); DROP TABLE t;
    VACUUM' >/dev/null
is 'one page' "$(sql "$db" 'PRAGMA page_count')" 1
ok 'one page: backup' once
ok 'one page: restored' restore_same "$db" "$dir"
sql "$db" 'CREATE TABLE t(a); INSERT INTO t VALUES(1)'
ok 'one page: grown' once
ok 'one page: grown, restored' restore_same "$db" "$dir"

# No page: a file of no bytes is a database that nobody has written yet.
names empty
: >"$db"
start_replicate "$db" "$dir"
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
    INSERT INTO t VALUES(1)' >/dev/null
ok 'empty at first, then filled' replicated
stop_replicate; result $? 'empty at first: clean stop'

# A name that is no good in a shell or a URL, and a symbolic link.
mkdir "$T/odd dir"
odd="$T/odd dir/a%20?b#c'd\"e.db"
sql "$odd" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
    INSERT INTO t VALUES(1)' >/dev/null
ln -s "odd dir/a%20?b#c'd\"e.db" "$T/link.db"
db=$T/link.db dir=$T/link.replica
start_replicate "$db" "$dir"
same_odd() { db=$odd; replicated; }
ok 'a symbolic link to an odd name' same_odd
sql "$odd" 'INSERT INTO t VALUES(2)'
ok 'a symbolic link to an odd name: a commit' same_odd
stop_replicate; result $? 'a symbolic link: clean stop'

# A rollback journal: the daemon switches to WAL and says so, -once does not.
names journal
sql "$db" "CREATE TABLE t(id INTEGER PRIMARY KEY, b);
    INSERT INTO t(b) $(rows 50 900)"
ok 'rollback journal: -once' once
is 'rollback journal: left alone' "$(sql "$db" 'PRAGMA journal_mode')" delete
ok 'rollback journal: restored' restore_same "$db" "$dir"
sql "$db" 'UPDATE t SET b = 1 WHERE id = 30'
ok 'rollback journal: -once again' once
ok 'rollback journal: restored again' restore_same "$db" "$dir"
start_replicate "$db" "$dir"
ok 'rollback journal: the daemon' replicated
is 'rollback journal: switched' "$(sql "$db" 'PRAGMA journal_mode')" wal
matches 'rollback journal: which is said' "$T/log" 'level=[A-Z]+ .*WAL'
sql "$db" 'DELETE FROM t WHERE id < 20'
ok 'rollback journal: a commit' replicated
stop_replicate; result $? 'rollback journal: clean stop'

# The lock page: the one at 1 GiB is never written by SQLite.
big() {	# TITLE PAGE-SIZE
	new "big$2" "$2"
	page=$((1073741824 / $2 + 1))
	sql "$db" "PRAGMA synchronous = OFF; BEGIN; INSERT INTO t(b)
	    VALUES(zeroblob(900000000)); INSERT INTO t(b)
	    VALUES(zeroblob(180000000)); COMMIT; PRAGMA wal_checkpoint" \
	    >/dev/null
	[ "$(sql "$db" 'PRAGMA page_count')" -gt $page ]
	result $? "$1: page $page is in it"
	ok "$1: first backup" once
	sql "$db" "INSERT INTO t(b) $(rows 4 "$2")"
	ok "$1: increment" once
	rm -f "$T/r.db"
	ok "$1: restore" "$LS" restore -o "$T/r.db" "file://$dir"
	sql "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	ok "$1: cmp" cmp "$db" "$T/r.db"
	is "$1: integrity" "$(sql "$T/r.db" 'PRAGMA integrity_check')" ok
	rm -rf "$dir" "$T/r.db" "$db"
}
if [ -n "${BIG:-}" ]; then
	big 'lock page of 64 KiB' 65536
	big 'lock page of 4 KiB' 4096
else
	skip 'a database of just over 1 GiB' 'takes long: BIG=1'
fi
done_testing
