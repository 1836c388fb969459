#!/bin/sh
# SPDX-License-Identifier: ISC
# Merged files are what they were made from; levels, snapshots and damage.
. "$(dirname "$0")/lib.sh"
export T
mkdir "$T/1" "$T/2"
T=$T/1 "$TESTS/bin/unit-compact" merge >"$T/1/out"
is 'merge' "$?, $(grep '^not ok' "$T/1/out")" '0, '
T=$T/2 "$TESTS/bin/unit-compact" levels >"$T/2/out"
is 'levels' "$?, $(grep '^not ok' "$T/2/out")" '0, '
sed 's/^/# /' "$T/1/out" "$T/2/out"

# prune, on a replica with levels of 1, 2, 4 s and a snapshot each 8 s.
db=$T/app.db dir=$T/replica
now=$(date +%s)000
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
for i in 1 2 3 4 5 6; do
	sql "$db" "INSERT INTO t VALUES(randomblob(9000)), ($i)"
	"$LS" replicate -once "$db" "file://$dir" >"$T/log" 2>&1 || exit 1
	now=$((now + 9000))
	"$TESTS/bin/unit-compact" run "$dir" "$now" "$now" 3600000 \
	    >"$T/log" 2>&1 || exit 1
done
files() { find "$dir/ltx" -name '*.ltx' | sort; }
files >"$T/before"
ok 'prune -dry-run' "$LS" prune -dry-run -keep 0 "file://$dir"
cp "$T/out" "$T/dry"
matches 'it says how much' "$T/dry" '^would remove [1-9][0-9]* files, [0-9]+ '
matches 'it says which points go' "$T/dry" '^restore points that go: [1-9]'
matches 'it says which points stay' "$T/dry" '^restore points that stay: [1-9]'
files >"$T/after"
ok 'it removes nothing' cmp "$T/before" "$T/after"
ok 'a window that holds all' "$LS" prune -keep 24h "file://$dir"
files >"$T/after"
ok 'it removes nothing either' cmp "$T/before" "$T/after"

# validation.interval: a hole above the oldest snapshot, closed by level 2.
cp -Rp "$dir" "$T/holed"
mkdir "$T/holed/ltx/aside"
mv "$T/holed/ltx/1/$(printf '%016d-%016d.ltx' 4 4)" "$T/holed/ltx/aside" ||
    ls -R "$T/holed"
cat >"$T/c.yml" <<END
validation: {interval: 50ms}
dbs:
  - {path: $db, replica: {path: $T/holed}}
END
cp -Rp "$T/.app.db-litestream" "$T/meta"
"$LS" replicate -config "$T/c.yml" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
gap='level=WARN msg="validation error detected" .* level=1 type=gap message='
result "$(poll 20 grep -q -e "$gap" "$T/log"; echo $?)" 'a hole is found'
matches 'and named' "$T/log" \
    "$gap.*ends in 0*3, the next begins with 0*5\"\$"
stop_replicate
is 'nothing else is' "$(grep 'validation error' "$T/log" | grep -c -v \
    -e "$gap")" 0
rm -rf "$T/.app.db-litestream"
mv "$T/meta" "$T/.app.db-litestream"

start_replicate "$db" "$dir"
poll 20 grep -qx "$PID" "$dir/.lock"
status 5 'beside a replicator' "$LS" prune "file://$dir"
ok 'beside a replicator, -dry-run' "$LS" prune -dry-run "file://$dir"
stop_replicate
ok 'prune -dry-run' "$LS" prune -dry-run -keep 0 "file://$dir"
cp "$T/out" "$T/dry"
files >"$T/before"
ok 'prune' "$LS" prune -keep 0 "file://$dir"
sed 's/^would remove/removing/' "$T/dry" | cmp -s - "$T/out"
result $? 'it does what -dry-run said'
files >"$T/after"
is 'that many files' "$(wc -l <"$T/after")" "$(($(wc -l <"$T/before") -
    $(sed -n 's/^removing \([0-9]*\) files.*/\1/p' "$T/out")))"
ok 'the newest state stays' restore_same "$db" "$dir"
ok 'again' "$LS" prune -keep 0 "file://$dir"
matches 'there is nothing left to do' "$T/out" '^removing 0 files, 0 bytes$'
status 3 'no replica' "$LS" prune "file://$T/none"
status 2 'no operand' "$LS" prune
status 2 'an unknown flag' "$LS" prune -x "file://$dir"
ok 'help' "$LS" prune -h
done_testing
