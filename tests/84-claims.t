#!/bin/sh
# SPDX-License-Identifier: ISC
# What is claimed is so: what a status 0 promises, and what a file says of
# itself.
. "$(dirname "$0")/lib.sh"

db=$T/a.db dir=$T/replica url=file://$T/replica meta=$T/.a.db-litestream
name() { printf '%016x-%016x.ltx' "$1" "$2"; }
begin() {	# a database of 30 pages or so, and an application at it
	rm -rf "$db" "$db"-* "$dir" "$meta" "$T/conf"
	sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    INSERT INTO t(b) VALUES(randomblob(30000))' >/dev/null
}
once() { "$LS" replicate -once "$db" "$url"; }
commit() { sql "$db" "INSERT INTO t(b) VALUES(randomblob(${1:-500}))"; }
same() { restore_same "$db" "$dir"; }
daemon() {	# SETTING...: of the whole configuration
	{
		printf '%s\n' "$@"
		printf 'dbs:\n- path: %s\n  replica: {path: %s}\n' \
		    "$db" "$dir"
	} >"$T/conf"
	"$LS" replicate -config "$T/conf" >"$T/log" 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 20 same
}

# Files of another writer have no fingerprints: the name must be right.
make_ltx() {	# LEVEL MIN MAX COMMIT STAMP SALT PRE POST PAGE...
	mkdir -p "$dir/ltx/$1"
	_to=$dir/ltx/$1/$(name "$2" "$3"); shift
	python3 "$TESTS/ltxmake.py" "$_to" "$@"
}
rm -rf "$dir"
make_ltx 0 1 1 2 1000 0 0 0 1=a 2=a
make_ltx 0 2 2 2 2000 0 0 0 1=b
make_ltx 0 3 3 2 3000 0 0 0 1=c
ok 'three files' "$LS" restore -txid 0000000000000002 -o "$T/ok.db" "$url"
cp "$dir/ltx/0/$(name 3 3)" "$dir/ltx/0/$(name 2 2)"
status 4 'the second is a copy of the third' "$LS" restore \
    -txid 0000000000000002 -o "$T/no.db" "$url"
rm -rf "$dir"
make_ltx 0 1 1 2 1000 7 0 1 1=a 2=a
make_ltx 0 2 2 2 2000 8 9 2 1=b
make_ltx 0 3 3 2 3000 0 0 0 1=c
status 4 'the second is of another history' "$LS" restore -o "$T/no.db" "$url"
status 4 'and by time' "$LS" restore -timestamp 2001-01-01T00:00:00Z \
    -o "$T/no.db" "$url"
merged() {	# how many levels have TXIDs 1 to 3 in one file now
	"$TESTS/bin/unit-compact" run "$dir" 100000 100000 3600000 \
	    >"$T/out" 2>&1
	find "$dir/ltx" -name "$(name 1 3)" | wc -l
}
rm -rf "$dir"
make_ltx 0 1 1 2 1000 0 0 0 1=a 2=a
make_ltx 0 2 2 2 2000 0 0 0 1=b
make_ltx 0 3 3 2 3000 7 0 99 1=c
is 'a merge that has not the fingerprint it would claim is not made' \
    "$(merged)" 0
rm -rf "$dir"
make_ltx 0 1 1 2 1000 7 0 99 1=a 2=a
status 4 'verify: the first file has not the fingerprint that it claims' \
    "$LS" verify "$url"
matches 'which is said' "$T/out" 'fingerprint mismatch'
# Of two page sizes.
sizes() {	# SALT PAGE...: of the first file; the second has larger pages
	rm -rf "$dir"
	make_ltx 0 1 1 2 1000 "$1" 0 99 1=a 2=a; shift
	PAGE_SIZE=1024; export PAGE_SIZE
	make_ltx 0 2 2 2 2000 0 0 0 "$@"
	make_ltx 0 3 3 2 3000 0 0 0 1=c
	unset PAGE_SIZE
}
sizes 0 1=b 2=b
ok 'a full image of another page size' "$LS" verify "$url"
status 4 'is no database' "$LS" verify -full "$url"
matches 'says SQLite' "$T/out" '^damage: .*file is not a database'
ok 'restored' "$LS" restore -o "$T/sizes.db" "$url"
is 'is that' "$(fold -w 1024 "$T/sizes.db" | cut -c1 | tr -d '\n')" cb
[ "$(merged)" -gt 0 ]; result $? 'and hides the files before it'
sizes 0 1=b
status 4 'a part of an image of another page size' "$LS" restore \
    -o "$T/no.db" "$url"
is 'is not merged' "$(merged)" 0
sizes 7 1=b 2=b
is 'nor is one after a file without its fingerprint' "$(merged)" 0
# A page that comes back is in the file with which it does.
for pages in '1=c 2=c' 1=c; do
	rm -rf "$dir"
	make_ltx 0 1 1 2 1000 0 0 0 1=a 2=a
	make_ltx 0 2 2 1 2000 0 0 0 1=b
	# shellcheck disable=SC2086	# several
	make_ltx 0 3 3 2 3000 0 0 0 $pages
	[ "$(merged)" -gt 0 ] && echo "$pages"
done >"$T/merged"
is 'a page that was cut off is not merged' "$(cat "$T/merged")" '1=c 2=c'

begin
ok 'a replica' once
for i in 1 2; do commit; once >"$T/out" 2>&1; done
rm "$dir/ltx/0/$(name 2 2)"
find "$dir/ltx" | sort >"$T/before"
status 4 'the newest state lacks a file: nothing is pruned' \
    "$LS" prune -keep 0 "$url"
find "$dir/ltx" | sort | cmp -s - "$T/before"; result $? 'all is still there'

# Retention, on replicas whose levels are damaged: nothing goes on the strength
# of what cannot be read.
later() {	# SECONDS WINDOW: a pass in so many from now
	_then=$(($(date +%s) + $1))000
	"$TESTS/bin/unit-compact" run "$dir" "$_then" "$_then" "$2" \
	    >"$T/out" 2>&1
}
damage() {	# FILE, which is its own inode then
	python3 - "$1" <<-'END'
	import os, sys
	data = bytearray(open(sys.argv[1], 'rb').read())
	data[len(data) // 2] ^= 1
	os.unlink(sys.argv[1])
	open(sys.argv[1], 'wb').write(data)
	END
}
for what in 1 9; do
	begin
	for i in 1 2 3; do commit; once >"$T/out" 2>&1; done
	later 0 3600000
	commit; once >"$T/out" 2>&1
	later 9 3600000
	damage "$dir/ltx/9/$(name 1 4)"
	rm "$dir/ltx/9/$(name 1 1)"
	[ $what = 9 ] || {
		damage "$dir/ltx/1/$(name 1 3)"
		rm "$dir/ltx/2/$(name 1 3)" "$dir/ltx/3/$(name 1 3)"
	}
	later 40 8000
	ok "level $what is damaged: what lies below stays" same
done

# A database that is damaged itself.
begin
python3 - "$db" <<'END'
import sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(1024)
    f.write(b'\1' * 900)
END
ok 'a damaged database is replicated as it is' once
ok 'and restored' "$LS" restore -o "$T/bad.db" "$url"
ok 'as it is' cmp "$db" "$T/bad.db"
status 4 'but not where its integrity is asked for' "$LS" restore \
    -integrity-check full -o "$T/bad2.db" "$url"
is 'then nothing is left' "$(ls -d "$T"/bad2.db* 2>/dev/null)" ''

# A disk that takes the beginning of a write.
begin
sql "$db" 'INSERT INTO t(b) VALUES(randomblob(300000))'
cut() { (trap '' XFSZ; ulimit -f 256; once); }
status 1 'a file that does not fit' cut
ok 'fits later' once
ok 'restored' same

# Stopping.
begin
daemon 'sync-interval: 1h' 'shutdown-sync-timeout: 5s'
commit; commit
stop_replicate; result $? 'a stop takes what was not due yet'
ok 'restored' same
begin
daemon 'shutdown-sync-timeout: 5s'
for i in 1 2 3; do
	commit
	ok "commit $i" poll 10 same
done
rm "$dir/ltx/0/$(name 2 2)"
stop_replicate; result $? 'a stop after a file was lost'
ok 'restored' same
begin
commit
{
	printf 'shutdown-sync-timeout: 1s\nshutdown-sync-interval: 100ms\n'
	printf 'dbs:\n- path: %s\n  replica: {path: %s}\n' "$db" "$dir"
} >"$T/conf"
(trap '' XFSZ; ulimit -f 4096
    exec "$LS" replicate -config "$T/conf" >"$T/log" 2>&1 </dev/null) &
PID=$!; track "$PID"
ok 'a disk of 2 MB' poll 10 same
commit 5000000
ok 'too little' poll 20 grep -q 'File too large' "$T/log"
stop_replicate
is 'then a stop is none' $? 1

# A page of the file is overwritten in place.
overwrite() {
	python3 - "$db" <<-'END'
	import os, sys
	with open(sys.argv[1], 'r+b') as f:
	    f.seek(20 * 1024 + 500)
	    f.write(os.urandom(100))
	END
}
emptied() { [ ! -s "$db-wal" ]; }
begin
daemon 'audit: false'
ok 'all is copied' poll 10 emptied
overwrite
commit
ok 'it is compared when a commit comes' poll 10 same
stop_replicate
done_testing
