#!/bin/sh
# SPDX-License-Identifier: ISC
# verify: what is whole, what is damaged, what cannot be told.
. "$(dirname "$0")/lib.sh"
db=$T/app.db dir=$T/replica url=file://$T/replica
mkdir "$dir" "$T/tmp"
sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, a)' >/dev/null
change() { sql "$db" "INSERT INTO t(a) VALUES(hex(randomblob(900)))"; }
once() { "$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 ||
    { cat "$T/log"; exit 1; }; }
for i in 1 2 3 4 5 6; do change; once; done
l0() { printf '%s/ltx/%s/%016x-%016x.ltx' "$dir" "${3:-0}" "$1" "${2:-$1}"; }
keep() { rm -rf "$T/good"; cp -R -p "$dir" "$T/good"; }
back() { rm -rf "$dir"; cp -R -p "$T/good" "$dir"; }
verify() { "$LS" verify "$@" "$url"; }	# [FLAGS]

ok 'a whole replica' verify
matches 'each file' "$T/out" '^0 +0000000000000003-0000000000000003\.ltx .* ok$'
matches 'the range of a level' "$T/out" \
    '^0 +6 +0000000000000001  0000000000000006 '
matches 'the links' "$T/out" '^links: 5 proven, 0 unknown$'
matches 'the points' "$T/out" '^restore points: 6$'
receipt='txid=0000000000000006 time=20.*Z pages=[0-9]+ '
matches 'the receipt' "$T/out" \
    "^whole: ${receipt}fingerprint=[0-9a-f]{8}-[0-9a-f]{16}\$"
print=$(sed -n 's/.*fingerprint=//p' "$T/out")
ok 'restore -json' "$LS" restore -json -o "$T/r.db" "$url"
matches 'the fingerprint that restore has' "$T/out" \
    "^  \"fingerprint\": \"$print\"\$"
ok '-json' verify -json
matches '-json: result' "$T/out" '^  "result": "whole",$'
matches '-json: fingerprint' "$T/out" "^  \"fingerprint\": \"$print\",\$"
if command -v python3 >/dev/null; then
	cp "$T/out" "$T/json"
	ok '-json is JSON' python3 -m json.tool "$T/json"
fi
find "$dir" "$db"* -type f -exec cksum {} + | sort >"$T/before"
ok '-db, -full and -max-age' env TMPDIR="$T/tmp" "$LS" verify -db "$db" \
    -full -max-age 1h "$url"
matches '-db: the same' "$T/out" '^database: the same at TXID 0{15}6$'
matches '-full: checked' "$T/out" '^integrity check: ok$'
is '-full: nothing is left' "$(ls "$T/tmp")" ''
find "$dir" "$db"* -type f -exec cksum {} + | sort >"$T/after"
ok 'nothing is changed' cmp "$T/before" "$T/after"
status 1 '-max-age that is passed' verify -max-age 1ms
matches '-max-age: says so' "$T/err" \
    '^Error: .*: the newest restore point is of 20'
ok '-max-age does not matter where -db proves it current' \
    verify -db "$db" -max-age 1ms
status 3 'nothing there' "$LS" verify "file://$T/none"
status 2 'no operand' "$LS" verify
status 2 'no URL' "$LS" verify "$dir"

# Damage in files.
keep
damaged() {	# TITLE REGEX [FLAGS]: status 4, and a line that says what
	_t=$1 _r=$2; shift 2
	status 4 "$_t" verify "$@"; matches "$_t: says so" "$T/out" "$_r"
	back
}
: >"$(l0 3)"; damaged 'an empty file' '^0 .*minimum 100'
echo >>"$(l0 3)"; damaged 'a byte too many' '^0 .*-0{15}3\.ltx .*: .*'
cp "$(l0 4)" "$(l0 3)"
damaged 'a file under the name of another' '^0 .* not those of the name$'
printf '\252\125\252\125' | dd of="$(l0 6)" bs=1 seek=300 conv=notrunc 2>"$T/dd"
damaged 'the newest file' '^0 .*-0{15}6\.ltx .*: '
rm "$(l0 3)" "$(l0 4)"
damaged 'files missing' '^gap: level 0 lacks TXIDs 0{15}3 to 0{15}4$'
rm "$(l0 3)"
damaged 'points without a chain' '^damage: TXIDs 0{15}4 to 0{15}6 cannot be'
# Another level covers it: restore says so and is right.
mkdir "$dir/ltx/1"; cp -p "$(l0 3)" "$(l0 3 3 1)"; keep
printf '\252\125\252\125' | dd of="$(l0 3)" bs=1 seek=300 conv=notrunc 2>"$T/dd"
ok 'restore bypasses a damaged file' "$LS" restore -force -o "$T/r.db" "$url"
is 'and is right' "$(dump "$T/r.db")" "$(dump "$db")"
mv "$(l0 3 3 1)" "$(l0 3).keep"; cp -p "$(l0 3).keep" "$(l0 3 3 1)"
printf '\252\125\252\125' | dd of="$(l0 3 3 1)" bs=1 seek=300 conv=notrunc 2>"$T/dd"
cp -p "$T/good/ltx/0/$(basename "$(l0 3)")" "$(l0 3)"
ok 'also at the higher level' "$LS" restore -force -o "$T/r.db" "$url"
matches 'and says so' "$T/err" \
    'level=WARN msg="replica file cannot be used" error=.*/ltx/1/'
damaged 'verify reports it' '^1 .*-0{15}3\.ltx .*: '
rm "$(l0 6)"
mkdir -p "$dir/ltx/2"; cp -p "$T/good/ltx/0/$(basename "$(l0 6)")" "$(l0 6 6 2)"
ok 'the end of level 0 lost, held by another' verify
matches 'a note says so' "$T/out" '^note: level 0 ends at TXID 0{15}5, other'
back

# A file of another history with the same numbers.
cp -R -p "$dir" "$T/other"; cp "$db" "$T/other.db"
sql "$T/other.db" 'DELETE FROM t; INSERT INTO t VALUES(1, 1)'
"$LS" replicate -once -adopt "$T/other.db" "file://$T/other" >"$T/log" 2>&1
change; once
cp "$T/other/ltx/0/$(basename "$(l0 7)")" "$T/seven"
change; once; keep
cp "$T/seven" "$(l0 7)"
damaged 'a file of another history' '^damage: .*(fingerprint|not continue)'
cp "$T/seven" "$(l0 7)"
status 4 'restore refuses it' "$LS" restore -force -o "$T/r.db" "$url"
back

# The live database.
change
status 1 '-db: a commit that is not replicated' verify -db "$db"
matches '-db: cannot be told' "$T/err" 'has commits that the replica does not'
once; ok '-db: replicated' verify -db "$db"
mkfifo "$T/pipe"; sqlite3 "$db" <"$T/pipe" >"$T/sqlout" 2>&1 & track $!
exec 9>"$T/pipe"
echo 'INSERT INTO t(a) VALUES(1); SELECT 77;' >&9
poll 10 grep -q 77 "$T/sqlout"; once
printf '\252\125' | dd of="$db" bs=1 seek=5000 conv=notrunc 2>"$T/dd"
status 4 '-db: a page changed behind the back of SQLite' verify -db "$db"
matches '-db: says so' "$T/out" '^damage: .*1 of [0-9]+ pages are not those'
exec 9>&-

# While both are written to.
rm -rf "$db"* "$dir" "$T/.app.db-litestream"; mkdir "$dir"
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY,
    a)' >/dev/null
start_replicate "$db" "$dir"
poll 10 test -e "$(l0 1)"
(while [ ! -e "$T/stop" ]; do change; sleep 0.05; done) >/dev/null 2>&1 &
writer=$!
track "$writer"
bad=0
for i in 1 2 3 4 5 6 7 8; do
	verify -json >"$T/out$i" 2>&1 || { bad=$?; tail -n 2 "$T/out$i"; }
done
is 'a replica that is written to is whole' "$bad" 0
ok '-db beside a writer and a replicator' verify -db "$db"
: >"$T/stop"; wait "$writer" 2>/dev/null
ok 'the replicator stops' stop_replicate
ok 'and all is there' verify -db "$db" -full
done_testing
