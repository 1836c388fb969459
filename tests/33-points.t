#!/bin/sh
# SPDX-License-Identifier: ISC
# ltx -points: what can be restored, and only that.
. "$(dirname "$0")/lib.sh"
db=$T/app.db dir=$T/replica url=file://$T/replica
mkdir "$dir"
sql "$db" 'CREATE TABLE t(a)'
for i in 1 2 3 4; do
	sql "$db" "INSERT INTO t VALUES($i)"
	"$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 ||
	    { cat "$T/log"; exit 1; }
done
l0() { printf '%s/ltx/0/%016x-%016x.ltx' "$dir" "$1" "$1"; }
points() { "$LS" ltx -points "$url" 2>"$T/err" | awk 'NR > 1 {
    printf "%s:%s ", $1, $3 }' | sed 's/0000000000000//g'; }

is 'each point, and the levels that end there' "$(points)" \
    '001:09 002:0 003:0 004:0 '
ok 'as JSON' "$LS" ltx -points -json "$url"
matches 'as JSON: TXID' "$T/out" '^    "txid": "0000000000000004",$'
matches 'as JSON: levels' "$T/out" '^    "levels": \[0, 9\]$'
"$LS" ltx -points "$url" | while read -r txid _; do
	[ "$txid" = txid ] || "$LS" restore -force -txid "$txid" \
	    -o "$T/r.db" "$url" || echo "$txid"
done >"$T/bad"
is 'each can be restored' "$(cat "$T/bad")" ''
mkdir "$dir/ltx/1"
mv "$(l0 3)" "$T/three"
is 'a gap: no point behind it' "$(points)" '001:09 002:0 '
matches 'a gap: it says how many are lost' "$T/err" \
    'level=WARN .* points=1$'
cp "$T/three" "$dir/ltx/1/$(basename "$(l0 3)")"
is 'another level closes it' "$(points)" '001:09 002:0 003:1 004:0 '
: >"$(l0 2)"
is 'nor behind a file that is empty' "$(points)" '001:09 '
rm -r "$dir/ltx"
ok 'an empty replica' "$LS" ltx -points -json "$url"
is 'an empty replica: an empty list' "$(cat "$T/out")" '[]'
done_testing
