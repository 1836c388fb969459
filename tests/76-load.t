#!/bin/sh
# SPDX-License-Identifier: ISC
# litestream-test: patterns of load, and what it says when its database or its
# restore does not behave.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
mkdir bin
says() {	# STATUS TITLE REGEX ARG...: the error
	_s=$1 _t=$2 _r=$3; shift 3
	status "$_s" "$_t" "$LT" "$@"
	matches "$_t: said" err "$_r"
}
sql a.db 'PRAGMA journal_mode = WAL; CREATE TABLE x(a)' >/dev/null
for p in burst random wave; do
	ok "load, $p" "$LT" load -db a.db -pattern $p -write-rate 300 \
	    -read-ratio 0.5 -duration 1.1s
	matches "$p: wrote" err 'total_writes=[1-9][0-9]* .* total_errors=0'
done
says 1 'a pattern of no name' 'invalid pattern: flat' \
    load -db a.db -pattern flat
says 1 'time backwards' 'duration must not be negative' \
    load -db a.db -duration -1s
says 1 'a negative size' 'invalid payload size: -1' \
    load -db a.db -payload-size -1
says 2 'a ratio that is none' 'invalid value "x" for flag -read-ratio' \
    load -db a.db -read-ratio x
says 2 'a number that is none' 'invalid value "1x" for flag -workers' \
    load -db a.db -workers 1x
says 1 'a directory' 'database is not a file: ' load -db bin
sql a.db "CREATE TRIGGER no BEFORE INSERT ON load_test BEGIN
    SELECT raise(ABORT, 'not today'); END"
ok 'writes that fail' "$LT" load -db a.db -write-rate 50 -duration 300ms \
    -read-ratio 0
matches 'are counted' err 'total_writes=0 .* total_errors=[1-9]'
matches 'and said' err 'level=ERROR msg="Write failed" error="not today"'

# shrink: what cannot be deleted is said, and the rest is.
sql s.db "CREATE TABLE keep(a); INSERT INTO keep VALUES(1), (2);
    CREATE TABLE go(a); INSERT INTO go VALUES(1), (2);
    CREATE TRIGGER no BEFORE DELETE ON keep BEGIN
    SELECT raise(ABORT, 'not today'); END"
ok 'shrink' "$LT" shrink -db s.db -delete-percentage 100
matches 'what it cannot delete' err \
    'level=ERROR msg="Failed to delete from table" table=keep .*not today'
is 'and the rest' "$(sql s.db 'SELECT count(*) FROM keep;
    SELECT count(*) FROM go')" '2
0'
echo 'not a database, but long enough to be none' >none.db
says 1 'no database' 'file is not a database' shrink -db none.db
says 1 'no table, load' 'file is not a database' load -db none.db
says 1 'populate over a directory' 'bin' populate -db bin

# validate, with a litestream beside it that is not what it should be.
ln -s "$LT" bin/litestream-test
validate() {	# TITLE REGEX
	status 1 "$1" bin/litestream-test validate -source-db "$T/a.db" \
	    -replica-url "file://$T/r" -restored-db "$T/v.db"
	cat out err >both; matches "$1: said" both "$2"
	rm -f v.db*
}
fake() { printf '#!/bin/sh\n%s\n' "$1" >bin/litestream
	chmod +x bin/litestream; }
fake 'kill -9 $$'
validate 'a restore that is killed' 'killed by signal 9'
fake 'echo what went wrong >&2; exit 7'
validate 'a restore that fails' 'what went wrong'
fake 'exit 0'
validate 'a restore that restores nothing' 'v.db'
fake 'while [ $# -gt 1 ]; do [ "$1" = -o ] && echo "$2" >"$2"; shift; done'
validate 'a restore of noise' 'not a database'
rm bin/litestream; mkdir bin/litestream
done_testing
