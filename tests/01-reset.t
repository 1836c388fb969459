#!/bin/sh
# SPDX-License-Identifier: ISC
# reset: what is remembered beside a database goes; its replica does not.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

db=$T/a.db dir=$T/replica meta=$T/.a.db-litestream
copy=$meta/ltx/0/0000000000000001-0000000000000001.ltx
status 2 'no operand' "$LS" reset
is 'the words of Litestream' "$(cat err)" "Error: database path required
Try: litestream reset /path/to/db"
status 2 'two operands' "$LS" reset a b
status 1 'no database' "$LS" reset "$db"
matches 'is said' err "^Error: database does not exist: $db\$"
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
    INSERT INTO t VALUES(1)' >/dev/null
ok 'nothing is remembered yet' "$LS" reset "$db"
is 'is said' "$(cat out)" "No local state to reset for $db
Meta directory does not exist: $meta"

start_replicate "$db" "$dir"
ok 'the first backup' poll 20 "$LS" sync "$db"
status 5 'while it is replicated' "$LS" reset "$db"
ok 'nothing goes' test -e "$meta/status"
stop_replicate
mkdir -p "$meta/ltx/0" kept
echo ltx >"$copy"
echo mine >"$meta/ltx/0/notes"
cp -R "$meta/." kept
ok 'a dry run' "$LS" reset -dry-run "$db"
is 'says what would go' "$(cat out)" \
"Dry run: local Litestream state would be reset for: $db
Files that would be removed:
  $meta/pages
  $meta/status
  $copy
No files were removed."
ok 'and nothing goes' diff -r "$meta" kept
files=$(ls "$dir"/ltx/*/*)
ok 'reset' "$LS" reset "$db"
is 'says what goes' "$(cat out)" \
"Resetting local Litestream state for: $db
Removing: $meta/pages
Removing: $meta/status
Removing: $copy
Reset complete. The next pass compares the database with its replica."
is 'all but what is not ours has gone' "$(cd "$meta" && find . -type f |
    sort)" './.lock
./ltx/0/notes'
is 'the replica is as it was' "$(ls "$dir"/ltx/*/*)" "$files"
sql "$db" 'INSERT INTO t VALUES(2)'
ok 'the next pass' "$LS" replicate -once "$db" "file://$dir"
ok 'writes what is new' restore_same "$db" "$dir"
is 'to the same replica' "$(ls "$dir/ltx/0")" \
'0000000000000001-0000000000000001.ltx
0000000000000002-0000000000000002.ltx'

mkdir theirs
ln -s "$dir/ltx" theirs/ltx
cat >c.yml <<END
dbs:
  - path: $db
    meta-path: $T/theirs
    replica:
      path: $dir
END
status 1 'the meta directory of the configuration, and no link in it' \
    "$LS" reset -config c.yml "$db"
matches 'is said' err "^Error: $T/theirs/ltx: open: "
ok 'the replica is whole' restore_same "$db" "$dir"
rm theirs/ltx
echo mine >theirs/pages
ok 'the meta directory of the configuration' "$LS" reset -config c.yml "$db"
is 'is reset' "$(ls theirs)" ''
status 2 'a database that the configuration does not have' "$LS" reset \
    -config c.yml "$T/b.db"
done_testing
