#!/bin/sh
# SPDX-License-Identifier: ISC
# restore on the replica of a real database: selectors, what is printed,
# existing outputs, damage.
. "$(dirname "$0")/lib.sh"
db=$T/app.db url=file://$T/replica out=$T/d/new.db

# Three restore points, each with its own dump, and a time after each.
sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, a)' >/dev/null
chmod 640 "$db"
mkdir -p "$T/replica"
after() { sql :memory: "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"; }
for i in 1 2 3; do
	sql "$db" "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1
	    FROM c WHERE x < 200) INSERT INTO t(a) SELECT printf('%x-%x-%d',
	    x * x * 2654435761, x * 6364136223846793005, $i) FROM c"
	"$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 ||
	    { cat "$T/log"; exit 1; }
	dump "$db" >"$T/sum$i"
	"$LS" ltx "$url" >"$T/list$i"
	tail -n 1 "$T/list$i" | awk '{ print $3 }' >"$T/txid$i"
	after >"$T/time$i"
done
txid() { cat "$T/txid$1"; }
same() { is "$1" "$(dump "$2")" "$(cat "$T/sum$3")"; }

ok 'the newest state' "$LS" restore -o "$out" "$url"
is 'nothing is printed' "$(cat "$T/out" "$T/err")" ''
same 'it is the database' "$out" 3
is 'nothing lies beside it' "$(ls -A "$T/d")" new.db
is 'it has the mode of the database' "$(find "$out" -perm 640)" "$out"
for i in 1 2 3; do
	ok "by TXID, $i" "$LS" restore -force -txid "$(txid $i)" -o "$out" \
	    "$url"
	same "by TXID, $i, is that state" "$out" $i
	ok "by time, $i" "$LS" restore -force -timestamp "$(cat "$T/time$i")" \
	    -o "$out" "$url"
	same "by time, $i, is that state" "$out" $i
done
ok 'by a time to come' "$LS" restore -force \
    -timestamp 2999-01-01T00:00:00+01:00 -o "$out" "$url"
same 'a time to come is the newest state' "$out" 3
status 3 'by a time before the first' "$LS" restore -force \
    -timestamp 2001-01-01T00:00:00Z -o "$out" "$url"
matches 'it says what is kept' "$T/err" \
    '^Error: timestamp does not exist: kept is 20.*Z to 20.*Z$'
status 3 'by a TXID to come' "$LS" restore -force -txid 0000000000ffffff \
    -o "$out" "$url"
same 'what was there stays' "$out" 3
cp -R "$T/replica" "$T/touched"
find "$T/touched" -name '*.ltx' -exec touch {} +
ok 'by time, file times lost' "$LS" restore -force \
    -timestamp "$(cat "$T/time1")" -o "$out" "file://$T/touched"
same 'by time, file times lost: by the headers' "$out" 1

ok '-json' "$LS" restore -force -json -integrity-check full -o "$out" "$url"
matches '-json: path' "$T/out" "^  \"db_path\": \"$out\",\$"
matches '-json: TXID' "$T/out" "^  \"txid\": \"$(txid 3)\",\$"
matches '-json: check' "$T/out" '^  "integrity_check": "full",$'
matches 'the check is in the log, on stderr' "$T/err" \
    'level=INFO msg="post-restore integrity check passed"'
is 'no sidecar is left by the check' "$(ls -A "$T/d")" new.db
ok '-dry-run' "$LS" restore -dry-run -txid "$(txid 2)" -o "$T/d/x" "$url"
sed -n 1,7p "$T/out" >"$T/head"
is '-dry-run: plan' "$(cat "$T/head")" "Restore plan:
  source: $url
  target: $T/d/x
  replica: file
  txid range: 0000000000000001 - $(txid 2)

Files to fetch:"
matches '-dry-run: title' "$T/out" \
    '^level  file {35}min_txid {10}max_txid {10}size +timestamp$'
matches '-dry-run: files' "$T/out" \
    "^[0-9]      .*-$(txid 2)\\.ltx  .*  $(txid 2)  [0-9]+ +20.*Z\$"
ok '-dry-run -json' "$LS" restore -dry-run -json -o "$T/d/x" "$url"
matches '-dry-run -json: files' "$T/out" \
    "^      \"name\": \".*-$(txid 3)\\.ltx\",\$"
is '-dry-run writes nothing' "$(ls -A "$T/d")" new.db
ok 'ltx -level all' "$LS" ltx -level all "$url"
matches 'ltx: title' "$T/out" \
    '^level  min_txid {10}max_txid {10}size +created$'
ok 'ltx -json' "$LS" ltx -json "$url"
matches 'ltx -json: files' "$T/out" "^    \"max_txid\": \"$(txid 3)\",\$"

# Over an existing database, with its journal.
rm -rf "$T/d"; mkdir "$T/d"
sql "$out" 'PRAGMA journal_mode = WAL; CREATE TABLE old(x)' >/dev/null
for s in wal shm journal; do echo stale >"$out-$s"; done
cp "$out" "$T/old.db"
status 2 'an existing database' "$LS" restore -o "$out" "$url"
ok 'cmp: it stays' cmp "$out" "$T/old.db"
ok '-force' "$LS" restore -force -o "$out" "$url"
same '-force: the new one' "$out" 3
is '-force: no sidecar of the old one' "$(ls -A "$T/d")" new.db
: >"$T/d/empty.db"
ok 'an empty file needs no -force' "$LS" restore -o "$T/d/empty.db" "$url"
same 'an empty file is replaced' "$T/d/empty.db" 3
echo x >"$T/d/t.db.tmp"
cp "$T/d/t.db.tmp" "$T/d/t.db.tmp-wal"
ok 'a stale temporary' "$LS" restore -integrity-check quick -o "$T/d/t.db" \
    "$url"
is 'a stale temporary is gone' "$(ls -d "$T"/d/t.db*)" "$T/d/t.db"
same 'a stale temporary does not matter' "$T/d/t.db" 3
cd "$T/d" || exit
ok 'a relative path, and a query in the URL' "$LS" restore -o rel.db "$url?x=y"
same 'a relative path is below the directory' "$T/d/rel.db" 3

# Damage: exact status, nothing written, what was there stays.
newest=$T/replica/ltx/0/$(txid 3)-$(txid 3).ltx
size=$(wc -c <"$newest")
broken() {	# TITLE: status 4, names the file
	status 4 "$1" "$LS" restore -o "$T/d/b.db" "$url"
	matches "$1: names the file" "$T/err" \
	    "^Error: .*/ltx/0/$(txid 3)-$(txid 3)\\.ltx: "
	is "$1: writes nothing" "$(ls -d "$T"/d/b.db* 2>/dev/null)" ''
	rm -f "$T/d/b.db"
	status 4 "$1, -force" "$LS" restore -force -o "$out" "$url"
	same "$1, -force: the old database stays" "$out" 3
	cp "$T/good" "$newest"
}
cp "$newest" "$T/good"
for n in 0 50 99 100 $((size / 2)) $((size - 1)); do
	head -c "$n" "$T/good" >"$newest"
	broken "the newest file cut to $n bytes"
done
echo >>"$newest"
broken 'a byte too many'
python3 -c 'import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)[0] ^ 255
    f.seek(-1, 1)
    f.write(bytes([b]))' "$newest" $((size / 2))
broken 'a byte in the middle'
printf '\0\0\0\0\0\0\0\001' | dd of="$newest" bs=1 seek=24 conv=notrunc \
    2>"$T/dd"
broken 'the header of another TXID'
rm "$newest"; mkdir "$newest"
status 4 'a directory in its place' "$LS" restore -o "$T/d/b.db" "$url"
rmdir "$newest"; cp "$T/good" "$newest"
mkdir -p "$T/replica/ltx/5"
echo junk >"$T/replica/ltx/5/0000000000000001-ffffffffffffffff.ltx"
status 4 'junk with a TXID to come' "$LS" restore -o "$T/d/b.db" "$url"
ok 'junk with a TXID to come, by TXID' "$LS" restore -force \
    -txid "$(txid 3)" -o "$out" "$url"
rm -r "$T/replica/ltx/5"
rm "$T/replica/ltx/0/$(txid 2)-$(txid 2).ltx"
status 4 'a gap' "$LS" restore -o "$T/d/b.db" "$url"
matches 'a gap: says so' "$T/err" \
    "^Error: non-contiguous ltx files: have up to .* but next file starts at \
$(txid 3)"
status 4 'a gap, by TXID' "$LS" restore -txid "$(txid 3)" -o "$T/d/b.db" \
    "$url"
status 4 'a gap, by the missing TXID' "$LS" restore -txid "$(txid 2)" \
    -o "$T/d/b.db" "$url"
status 4 'a gap, by time after it' "$LS" restore \
    -timestamp "$(cat "$T/time3")" -o "$T/d/b.db" "$url"
status 4 'a gap, by time in it' "$LS" restore \
    -timestamp "$(cat "$T/time2")" -o "$T/d/b.db" "$url"
matches 'a gap, by time in it: the way out' "$T/err" \
    "^Try: -txid $(txid 1)"
ok 'a gap, before it' "$LS" restore -force -txid "$(txid 1)" -o "$out" "$url"
same 'a gap, before it: that state' "$out" 1
status 1 'a directory that cannot be made' "$LS" restore -txid "$(txid 1)" \
    -o "$T/good/x/b.db" "$url"
ln -s none "$T/d/dangling"
status 1 'a directory that leads nowhere' "$LS" restore -txid "$(txid 1)" \
    -o "$T/d/dangling/b.db" "$url"
done_testing
