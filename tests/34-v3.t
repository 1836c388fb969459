#!/bin/sh
# SPDX-License-Identifier: ISC
# Replicas of Litestream 0.3: snapshots and pieces of WAL, made here with lz4.
. "$(dirname "$0")/lib.sh"
command -v lz4 >/dev/null || skip_all "needs lz4"
db=$T/app.db root=$T/replica url=file://$T/replica out=$T/out.db
gen=$root/generations/00112233445566ff
mkdir -p "$gen/snapshots" "$gen/wal"
frame=$((24 + 1024))
state() { dump "$db" >"$T/sum$1"; }
same() { is "$1" "$(dump "$out")" "$(cat "$T/sum$2")"; }
pack() {	# FILE TIME: stdin as 0.3 wrote it
	lz4 -q -B7 >"$1" && touch -d "2026-01-01T00:00:0$2Z" "$1"
}

# A connection that stays keeps the WAL; states 1 and 2 in WAL 0, 3 in WAL 1.
mkfifo "$T/pipe"
sqlite3 "$db" <"$T/pipe" >"$T/sqlout" 2>&1 & track $!
exec 9>"$T/pipe"
do_sql() { echo "$1; SELECT 'done $2';" >&9
	poll 10 grep -q "^done $2" "$T/sqlout"; }
do_sql 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a);
    PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(1)' 1
pack "$gen/snapshots/00000000.snapshot.lz4" 1 <"$db"
state 1; size1=$(wc -c <"$db-wal")
pack "$gen/wal/00000000_00000000.wal.lz4" 2 <"$db-wal"
do_sql 'INSERT INTO t VALUES(2), (hex(randomblob(3000)))' 2
state 2; size2=$(wc -c <"$db-wal")
tail -c +$((size1 + 1)) "$db-wal" | pack "$gen/wal/$(printf \
    '00000000_%08x' "$size1").wal.lz4" 3
do_sql 'PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(3)' 3
state 3
pack "$gen/wal/00000001_00000000.wal.lz4" 4 <"$db-wal"
exec 9>&-
is 'the WAL has whole frames' $(((size2 - 32) % frame)) 0

ok 'the newest state' "$LS" restore -o "$out" "$url"
same 'it is that' 3
is 'nothing lies beside it' "$(ls -d "$out"*)" "$out"
for i in 1 2 3; do
	ok "by time, $i" "$LS" restore -force -o "$out" \
	    -timestamp 2026-01-01T00:00:0$((i + 1)).5Z "$url"
	same "by time, $i: that state" $i
done
status 3 'before the first snapshot' "$LS" restore -force -o "$out" \
    -timestamp 2026-01-01T00:00:00Z "$url"
status 3 'by TXID' "$LS" restore -force -o "$out" -txid 0000000000000001 \
    "$url"
ok '-json' "$LS" restore -force -json -integrity-check full -o "$out" "$url"
matches '-json: without a TXID' "$T/out" '^  "txid": "",$'
status 1 'verify cannot tell' "$LS" verify "$url"

# Damage: status 4, and nothing is written.
cp -R -p "$root" "$T/good"
broken() {	# TITLE [REGEX]
	rm -f "$out"
	status 4 "$1" "$LS" restore -o "$out" "$url"
	[ -z "${2:-}" ] || matches "$1: says so" "$T/err" "$2"
	is "$1: nothing is written" "$(ls -d "$out"* 2>/dev/null)" ''
	rm -rf "$root"; cp -R -p "$T/good" "$root"
}
for f in snapshots/00000000.snapshot wal/00000000_00000000.wal \
    wal/00000001_00000000.wal; do
	n=$(wc -c <"$gen/$f.lz4")
	for k in 0 7 $((n / 2)) $((n - 1)); do
		head -c "$k" "$T/good/generations/${gen##*/}/$f.lz4" \
		    >"$gen/$f.lz4"
		broken "$f cut to $k bytes"
	done
	echo >>"$gen/$f.lz4"
	broken "$f with a byte too many"
	printf '\252\125\252\125' | dd of="$gen/$f.lz4" bs=1 \
	    seek=$((n / 2)) conv=notrunc 2>"$T/dd"
	broken "$f with other bytes"
done
rm "$gen/wal/00000000_00000000.wal.lz4"
broken 'no beginning of a WAL' 'missing WAL segment: expected 0/0, got 0/'
mv "$gen/wal/00000001_00000000.wal.lz4" "$gen/wal/00000002_00000000.wal.lz4"
broken 'a WAL missing' 'missing WAL index: expected 1/0, got 2/0'
f=$gen/wal/$(printf '00000000_%08x' "$size1").wal.lz4
lz4 -dcq "$f" | tr '\001' '\002' | pack "$T/x" 3
mv "$T/x" "$f"
broken 'frames that are not valid, in a valid LZ4 frame'
lz4 -dcq "$gen/wal/00000001_00000000.wal.lz4" | head -c 500 | pack "$T/x" 4
mv "$T/x" "$gen/wal/00000001_00000000.wal.lz4"
broken 'half a frame of WAL, in a valid LZ4 frame'
lz4 -dcq "$f" | head -c $((size2 - size1 - frame)) | pack "$T/x" 3
mv "$T/x" "$f"
broken 'half a transaction, in a valid LZ4 frame' 'frames could be applied'
echo text | pack "$gen/snapshots/00000000.snapshot.lz4" 1
broken 'a snapshot that is no database'
mkdir "$gen/snapshots/zzz"; echo x >"$gen/wal/00000001_00000000.wal.lz4.tmp"
mkdir -p "$root/generations/aaaaaaaaaaaaaaaa/snapshots"
ok 'other names do not matter' "$LS" restore -o "$out" "$url"
same 'other names do not matter: that state' 3

# A call that fails once is met by another or said; nothing older is taken for
# the newest state, as if files were not there.
shim() { env SHIM_ROOT="$root" LD_PRELOAD="$T/shim.so" "$@"; }
each() {	# CLASS COLUMN TITLE
	n=0 wrong=''
	shim SHIM_COUNT="$T/count" "$LS" restore -force -o "$out" "$url" \
	    2>"$T/err"
	last=$(cut -d ' ' -f "$2" "$T/count")
	while [ "$n" -lt "$last" ]; do
		n=$((n + 1)) rc=0
		shim SHIM_FAIL="$n:5:once:$1" "$LS" restore -force -o "$out" \
		    "$url" 2>"$T/err" || rc=$?
		if [ $rc -eq 0 ]; then
			[ "$(dump "$out")" = "$(cat "$T/sum3")" ]
		else
			[ $rc -eq 1 ] && grep -q 'Input/output error' "$T/err"
		fi || wrong="$wrong $n"
	done
	is "$3: said, or the same state" "$n$wrong" "$last"
	[ "$n" -gt 5 ]; result $? "$3: there are some"
}
if command -v "${CC:-cc}" >/dev/null; then
	# shellcheck disable=SC2086
	${CC:-cc} -shared -fPIC -O1 -o "$T/shim.so" "$TESTS/shim.c" -ldl \
	    -lpthread || exit 1
	each reads 2 'a read that fails'
	each others 4 'a look that fails'
else
	skip 'calls that fail' 'no C compiler'
fi

# Beside newer data.
ok 'a replica of v0.5 in the same place' "$LS" replicate -once -adopt "$db" \
    "$url"
sql "$db" 'INSERT INTO t VALUES(4)'; state 4
ok 'and more' "$LS" replicate -once "$db" "$url"
ok 'the newer wins' "$LS" restore -force -o "$out" "$url"
same 'the newer wins: its state' 4
ok 'by an old time' "$LS" restore -force -o "$out" \
    -timestamp 2026-01-01T00:00:03.5Z "$url"
same 'by an old time: the state of then' 2
touch -d 2999-01-01T00:00:00Z "$gen/wal/00000001_00000000.wal.lz4"
ok 'newer files of 0.3' "$LS" restore -force -o "$out" "$url"
same 'newer files of 0.3: their state' 3
matches 'newer files of 0.3: it says so' "$T/err" 'files of Litestream 0.3'
done_testing
