#!/bin/sh
# SPDX-License-Identifier: ISC
# litestream-test: its commands, without any replicator but a make-believe one.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1

field() {	# FILE MESSAGE KEY: its value in the last such log line
	sed -n "s/.*msg=\"*$2\"* .*$3=\([^ ]*\).*/\1/p" "$1" | tail -n 1
}

# command line
status 0 'alone: usage' "$LT"
matches 'usage names the commands' out '^	validate '
status 0 'help' "$LT" help
status 0 '-h' "$LT" -h
status 2 'unknown flag before a command' "$LT" -x
status 1 'unknown command' "$LT" foo
is 'unknown command is named' "$(cat err)" 'unknown command: foo'
status 0 'version' "$LT" version
matches 'version on stdout' out '^litestream-test [0-9]'
for c in populate load shrink validate version; do
	status 0 "$c -h" "$LT" $c -h
	matches "$c -h prints usage" out "litestream-test $c"
	status 2 "$c: unknown flag" "$LT" $c -nope
	matches "$c: unknown flag is named" err '^flag .*not defined: -nope$'
	status 1 "$c: no operands" "$LT" $c operand
done
for c in populate load shrink; do
	status 1 "$c without -db" "$LT" $c
	is "$c says what is missing" "$(cat err)" 'database path required'
done
if [ -c /dev/full ]; then
	# shellcheck disable=SC2016
	status 1 'stdout full' sh -c '"$1" help >/dev/full' sh "$LT"
else
	skip 'stdout full' 'no /dev/full'
fi

# populate
for bad in '-target-size 10XB' '-target-size -1' '-target-size 1.5' \
    '-target-size 0' '-target-size nan' '-row-size 0' '-batch-size 0' '-table-count 0' \
    '-index-ratio 1.1' '-page-size 1000' '-page-size 256' \
    '-page-size 131072'; do
	# shellcheck disable=SC2086
	status 1 "populate $bad" "$LT" populate -db bad.db $bad
done
status 2 'populate -row-size x' "$LT" populate -db bad.db -row-size x
is 'none of these made a file' "$(ls bad.db* 2>/dev/null)" ''
status 1 'populate: no such directory' "$LT" populate -db no/such.db
for size in 512 4096 65536; do
	ok "populate with pages of $size bytes" "$LT" populate -db p.db \
	    -target-size 1MB -table-count 2 -index-ratio 1 -page-size $size \
	    -batch-size 100
	is "pages are of $size bytes, in WAL mode" \
	    "$(sql p.db 'PRAGMA page_size; PRAGMA journal_mode')" "$size
wal"
	is 'rows fill the target' "$(sql p.db "
		SELECT count(*), min(id), max(id), min(length(data)),
		    max(length(data)) FROM test_table_0")" \
	    '512|1|512|1024|1024'
	is 'integrity' "$(sql p.db 'PRAGMA integrity_check')" ok
done
is 'index ratio 1 makes all indexes' "$(sql p.db "SELECT group_concat(name)
    FROM (SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY 1)")" \
    'idx_test_table_0_int,idx_test_table_0_timestamp,idx_test_table_1_int,idx_test_table_1_timestamp'
is 'columns' "$(sql p.db "SELECT typeof(data), text_field, int_field >= 0,
    float_field >= 0 AND float_field < 1000,
    abs(timestamp - strftime('%s')) < 60 FROM test_table_0 WHERE id = 102")" \
    'blob|row_100_101|1|1|1'
ok 'populate with many tables' "$LT" populate -db many.db \
    -target-size 100KB -row-size 100 -table-count 50
is 'the size reached ends it' "$(sql many.db 'SELECT count(*)
    FROM test_table_0; SELECT count(*) FROM test_table_1')" '20
0'
ok 'populate over a database' "$LT" populate -db p.db \
    -target-size 0.25KB -row-size 100 -index-ratio 0
is 'it is replaced' "$(sql p.db "SELECT count(*) FROM test_table_0;
    SELECT count(*) FROM sqlite_master WHERE type = 'index'")" '2
0'
is 'integrity' "$(sql p.db 'PRAGMA integrity_check')" ok

# load
status 1 'load: no database' "$LT" load -db absent.db
matches 'load: it is named' err '^database does not exist: absent.db'
is 'load makes none' "$(ls absent.db* 2>/dev/null)" ''
echo 'not a database, but long enough to have the magic' >text.db
status 1 'load: not a database' "$LT" load -db text.db -duration 1s
for bad in '-write-rate 0' '-workers 0' '-read-ratio 2' '-payload-size -1' \
    '-pattern x'; do
	# shellcheck disable=SC2086
	status 1 "load $bad" "$LT" load -db p.db $bad
done
status 2 'load -duration x' "$LT" load -db p.db -duration x
is 'none of these made a table' \
    "$(sql p.db "SELECT count(*) FROM sqlite_master WHERE name LIKE 'load%'")" 0
ok 'load with workers' "$LT" load -db p.db -duration 500ms -write-rate 200 \
    -workers 4 -payload-size 300 -read-ratio 0.3
rows=$(sql p.db 'SELECT count(*) FROM load_test')
is 'rows are the writes of the log' "$rows" \
    "$(field err 'Load generation complete' total_writes)"
is 'no errors' "$(field err 'Load generation complete' total_errors)" 0
is 'some were reads' "$(
    [ "$(field err 'Load generation complete' total_reads)" -gt 0 ]; echo $?)" 0
is 'rows as asked' "$(sql p.db "SELECT DISTINCT length(data),
    text_field GLOB 'load_[0-9]*' FROM load_test")" '300|1'
ok 'more workers than operations per second' "$LT" load -db p.db \
    -duration 50ms -write-rate 2 -workers 5
"$LT" load -db p.db -duration 1h -read-ratio 0 2>load.log & pid=$!
track $pid
# shellcheck disable=SC2317
more() { [ "$(sql p.db 'SELECT count(*) FROM load_test')" -gt "$rows" ]; }
poll 10 more; result $? 'load writes at once'
kill -TERM $pid
wait $pid; is 'SIGTERM ends it with exit 0' $? 0
matches 'and it says so' load.log 'msg="Received interrupt signal, stopping'
matches 'after that the totals' load.log 'msg="Load generation complete"'

# shrink
"$LT" populate -db s.db -target-size 100KB -row-size 1000 2>/dev/null
sql s.db "CREATE TABLE load_test(x); INSERT INTO load_test VALUES (1), (2);
    CREATE TABLE \"o'd\"\"d\"(a TEXT, \"b \"\" c\" INT,
	PRIMARY KEY (a, \"b \"\" c\")) WITHOUT ROWID;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10)
	INSERT INTO \"o'd\"\"d\" SELECT 'k', i FROM n"
counts() {
	sql s.db "SELECT count(*) FROM test_table_0; SELECT count(*)
	    FROM load_test; SELECT count(*) FROM \"o'd\"\"d\"" | paste -sd ' ' -
}
is 'before' "$(counts)" '102 2 10'
for bad in '-delete-percentage 101' '-delete-percentage -1' \
    '-checkpoint-mode x'; do
	# shellcheck disable=SC2086
	status 1 "shrink $bad" "$LT" shrink -db s.db $bad
done
status 1 'shrink: no database' "$LT" shrink -db absent.db
is 'nothing deleted' "$(counts)" '102 2 10'
ok 'shrink' "$LT" shrink -db s.db -delete-percentage 25
is 'a quarter is gone, rounded down, but of load_test' "$(counts)" '77 2 8'
is 'the log has the sum' \
    "$(field err 'Deletion complete' total_rows_deleted)" 27

# A reader that holds an old state keeps the checkpoint from copying all.
mkfifo in
sqlite3 -batch s.db <in >reader.out & reader=$!
track $reader
exec 3>in
echo 'BEGIN; SELECT count(*) FROM load_test;' >&3
poll 10 test -s reader.out
sql s.db 'INSERT INTO load_test VALUES (3)'
ok 'shrink beside a reader' "$LT" shrink -db s.db -checkpoint -vacuum
total=$(field err 'Checkpoint complete' total_pages)
written=$(field err 'Checkpoint complete' pages_written)
is "pages written ($written) are fewer than all in the WAL ($total)" \
    "$([ "$written" -lt "$total" ]; echo $?)" 0
exec 3>&-
wait $reader
ok 'shrink to nothing' "$LT" shrink -db s.db -delete-percentage 100 -vacuum \
    -checkpoint -checkpoint-mode truncate
is 'nothing left but load_test' "$(counts)" '0 3 0'
is 'integrity' "$(sql s.db 'PRAGMA integrity_check')" ok

# validate, with a litestream that copies a file and prints a list
mkdir bin other
cp "$LT" bin/litestream-test
cat >bin/litestream <<'END'
#!/bin/sh
[ "$1" = ltx ] && { echo "$*" >>args; cat list; exit; }
[ -e copy ] || { echo 'no copy here' >&2; exit 3; }
echo "$*" >>args; cp copy "$3"
END
sed 's/args/args.other/' bin/litestream >other/litestream
chmod +x bin/litestream other/litestream
V=bin/litestream-test
PATH=$T/other:$PATH
"$LT" populate -db v.db -target-size 100KB 2>/dev/null
status 1 'validate without a source' "$V" validate -replica-url file:///x
status 1 'validate without a replica' "$V" validate -source-db v.db
status 1 'validate with an unknown type' "$V" validate -source-db v.db \
    -replica-url file:///x -check-type x
# shellcheck disable=SC2317
validate() { "$V" validate -source-db v.db -replica-url file:///x "$@"; }
status 1 'restore fails' validate
matches 'its status and words are given' err 'exit status 3: no copy here'
matches 'validation failed' err '^validation failed$'
cp v.db copy
for type in quick integrity checksum full; do
	ok "validate -check-type $type" validate -check-type $type
	matches "$type: all passed" err 'msg="All validation checks passed"'
done
is 'the restored database is removed' "$(ls v.db.restored* 2>/dev/null)" ''
is 'the litestream beside it was used' "$(tail -n 1 args; ls args.other \
    2>/dev/null)" 'restore -o v.db.restored file:///x'
PATH=$T/bin:$PATH "$V" validate -source-db v.db -config c.yml 2>/dev/null
is '-config and the source are passed on' "$(tail -n 1 args)" \
    'restore -config c.yml -o v.db.restored v.db'
rm -f v.db.restored
mv bin/litestream-test lone-test
ok 'alone: the litestream in PATH' ./lone-test validate -source-db v.db \
    -replica-url file:///x
is 'it was used' "$(cat args.other)" 'restore -o v.db.restored file:///x'
mv lone-test bin/litestream-test
ok '-restored-db' validate -restored-db kept.db
is 'is kept' "$(ls kept.db*)" kept.db
echo old >kept.db
ok 'an older copy is replaced' validate -restored-db kept.db
is 'by restore -force' "$(tail -n 1 args; cmp copy kept.db && echo same)" \
    'restore -o kept.db -force file:///x
same'
ln v.db link.db
status 1 'the source is not, by no name' validate -restored-db link.db
matches 'it is named' err '^this is the source: link.db$'
ok 'and left alone' cmp v.db copy
mkdir dir.db
status 1 'nor is a directory' validate -restored-db dir.db
rm link.db

cp v.db copy
sql copy 'DELETE FROM test_table_0 WHERE id = 7'
ok 'a missing row passes the quick check' validate
status 1 'but not the full one' validate -check-type full
matches 'bytes differ' err 'check_type=checksum error=.*differ at byte'
matches 'rows differ' err 'check_type=data_validation .*: 100 and 99"'
is 'a failed copy is kept' "$(ls v.db.restored)" v.db.restored
rm v.db.restored
cp v.db copy
sql copy 'CREATE TABLE more(x)'
status 1 'a table too many' validate -check-type full -restored-db r1.db
matches 'the table is seen' err 'data_validation .*no such table: more'
schema() {	# WHAT INSTEAD: so that rows of the copy no longer fit
	sql copy "PRAGMA writable_schema = ON;
	    UPDATE sqlite_master SET sql = replace(sql, '$1', '$2')"
}
cp v.db copy
sql copy 'CREATE INDEX i ON test_table_0(int_field)'
schema '(int_field)' '(timestamp)'
ok 'a wrong index passes the quick check' validate
status 1 'but not that of integrity' validate -check-type integrity
matches 'is told' err 'integrity_check error=.*: .*missing from index i'
is 'with the number of issues' \
    "$(field err 'Integrity check completed' issues)" 100
rm v.db.restored
cp v.db copy
sql copy 'UPDATE test_table_0 SET int_field = NULL WHERE id = 5'
schema 'int_field INTEGER' 'int_field INTEGER NOT NULL'
status 1 'a value that must not be there' validate
matches 'is told' err 'quick_check error=.*: NULL value in test_table_0'
rm v.db.restored
cp v.db copy
dd if=/dev/zero of=copy bs=4096 seek=1 count=9 conv=notrunc 2>/dev/null
status 1 'damaged pages' validate
matches 'is told' err 'quick_check error=.*: .*malformed'
rm v.db.restored
cp v.db copy
dd if=/dev/zero of=copy bs=4096 count=9 conv=notrunc 2>/dev/null
status 1 'not even a database' validate
matches 'is told' err 'quick_check error=.*: PRAGMA quick_check: '
rm v.db.restored
cp v.db copy

# LEVEL:MIN:MAX...: what the make-believe litestream lists
list() {
	echo 'level  min_txid          max_txid          size  created'
	for f; do
		echo "$f" | tr : ' ' | {
			read -r level min max
			printf '%s      %016x  %016x  1  2026-01-01T00:00:00Z\n' \
			    "$level" "$((min))" "$((max))"
		}
	done
}
# shellcheck disable=SC2094
continuity() {	# STATUS TITLE FILE...
	want=$1 title=$2; shift 2
	list "$@" >list
	status "$want" "continuity: $title" validate -ltx-continuity
	rm -f v.db.restored
}
continuity 0 'one file' 0:1:1
is 'all levels were asked for' "$(tail -n 2 args | head -n 1)" \
    'ltx -level all file:///x'
continuity 0 'levels that follow each other' 0:9:9 0:10:11 1:1:4 1:5:10 9:1:4
continuity 0 'more than 16' 0:0xff:0x100 9:1:0xfe 9:1:0xff
continuity 0 'a hole below the oldest snapshot' 1:1:2 1:5:8 0:9:9 9:1:8
continuity 1 'no files'
matches 'none' err 'no LTX files found'
continuity 1 'a hole in a level' 0:1:4 0:6:7
matches 'it is named' err 'level 0: TXIDs 0{15}5 to 0{15}5 are missing'
continuity 1 'a hole that another level covers' 0:1:4 0:6:7 1:1:7
continuity 1 'a hole above the oldest snapshot' 1:1:2 1:8:9 9:1:6 9:1:9
continuity 1 'a hole between levels' 1:1:4 0:6:7
matches 'it is named' err 'up to TXID 0{15}4 but .* starts at 0{15}6'
continuity 1 'the beginning is missing' 0:2:4
continuity 1 'a range that runs backwards' 0:1:4 0:5:3
continuity 1 'TXID 0' 0:0:4
done_testing
