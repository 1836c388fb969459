#!/bin/sh
# SPDX-License-Identifier: ISC
# Command lines that are rare or wrong: what is said, and the exit status.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
url=file://$T/r
says() {	# STATUS TITLE REGEX ARG...: on standard error
	_s=$1 _t=$2 _r=$3; shift 3
	status "$_s" "$_t" "$LS" "$@"
	matches "$_t: said" err "$_r"
}
prints() {	# STATUS TITLE REGEX ARG...: on standard output
	_s=$1 _t=$2 _r=$3; shift 3
	status "$_s" "$_t" "$LS" "$@"
	matches "$_t: printed" out "$_r"
}
sql a.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
ok 'a replica' "$LS" replicate -once a.db "$url"

prints 2 'no command' '^usage: litestream COMMAND'
prints 2 'a flag for a command' '^usage: litestream COMMAND' -x
prints 0 'version' '^v[0-9]' version
prints 0 'version -verbose' '^SQLite:   3\.' version -verbose
prints 0 'version -h' '^usage: litestream version' version -h
says 2 'version -x' '^Error: flag provided but not defined: -x$' version -x
says 2 'another command' '^Error: litestream foo: unknown command$' foo
matches 'with advice' err '^Try: litestream help$'
says 0 'the old name of ltx' '^Warning: wal is an old name of ltx$' wal "$url"
matches 'which lists' out '0000000000000001'

for c in verify prune ltx restore reset; do
	says 2 "$c -x" '^Error: flag provided but not defined: -x$' $c -x
	matches "$c -x: with advice" err "^Try: litestream $c -h$"
done
says 2 'prune -keep -1h' '^Error: -keep must not be negative$' \
    prune -keep -1h "$url"
says 2 'prune of a path' '^Error: ' prune "$T/r"
mkdir empty
says 3 'prune of nothing' '^Error: no backups found$' prune "file://$T/empty"
prints 0 'a window that begins at the newest point' '^removing 0 files' \
    prune -keep 0 "$url"
says 2 'a duration of no unit' 'invalid value "5" for flag -keep' \
    prune -keep 5 "$url"
says 2 'a duration of no digits' 'invalid value "-" for flag -keep' \
    prune -keep - "$url"
says 2 'a duration of ages' 'invalid value "9999999999h" for flag -keep' \
    prune -keep 9999999999h "$url"
# A flag ends at "--".
prints 0 'operands after --' '^whole: txid=0000000000000001 ' verify -- "$url"
for t in 2026-02-30T00:00:00Z 2025-02-29T00:00:00Z 1900-02-29T00:00:00Z \
    2026-01-01T00:00:00.Z 2026-01-01T24:00:00Z 2026-01-01T00:00:00+1:00; do
	says 2 "-timestamp $t" '^Error: .*timestamp' restore -o x.db \
	    -timestamp $t "$url"
done
says 3 'a leap day long ago' '^Error: ' restore -o x.db -timestamp \
    2000-02-29T00:00:00,5+00:00 "$url"

says 2 'a URL and -config' \
    '^Error: cannot specify a replica URL and the -config flag$' \
    replicate -config x.yml a.db "$url"
says 2 'ltx, a URL and -config' \
    '^Error: cannot specify a replica URL and the -config flag$' \
    ltx -config x.yml "$url"
says 2 '-enforce-retention without -once' \
    '^Error: cannot specify -enforce-retention flag without -once$' \
    replicate -enforce-retention a.db "$url"
says 2 'no configuration' '^Error: config file not found: .*/none.yml$' replicate -once \
    -config none.yml

# By the configuration.
printf 'logging: {stderr: true}\n' >none.yml
says 2 'no databases, -once' '^Error: no databases specified in config' \
    replicate -once -config none.yml
printf 'dbs: [{path: %s/a.db, replica: {path: %s/r}}]\n' "$T" "$T" >a.yml
prints 0 'a database of the configuration' '0000000000000001' \
    ltx -config a.yml a.db
prints 0 'by its SQLite URL' '0000000000000001' \
    ltx -config a.yml "sqlite3://$T/a.db"
says 2 'one that is not in it' '^Error: database not found in config: .*/b.db$' \
    ltx -config a.yml b.db
matches 'with advice' err '^Try: give the replica as a URL: file:///'
printf 'dbs: {\n' >broken.yml
says 2 'a broken configuration' '^Error: .*broken.yml:[12]: ' \
    ltx -config broken.yml a.db
cat >two.yml <<END
logging: {stderr: true, level: debug}
dbs:
  - {path: $T/no1.db, replica: {path: $T/r1}}
  - {path: $T/no2.db, replica: {path: $T/r2}}
END
says 1 'two that are missing' '^Error: .*/no1.db: ' \
    replicate -once -config two.yml
matches 'the second in the log' err 'level=ERROR msg="replication failed" .*no2'
# What a configuration may not say.
refused() {	# TITLE REGEX LINE
	printf '%s\n' "$3" >refused.yml
	says 2 "$1" "^Error: refused.yml:$2" replicate -once -config refused.yml
}
refused 'replicas that are no list' '1: .*replicas: must be a list' \
    "dbs: [{path: $T/a.db, replicas: 5}]"
refused 'a pattern for a file' "1: .*'pattern' and 'recursive' need a" \
    "dbs: [{path: $T/a.db, pattern: x, replica: {path: $T/x}}]"
ln -s a.db b.db
refused 'a database with two names' ' .*/a.db and .*/b.db are one database' \
    "dbs: [{path: $T/a.db, replica: {path: $T/x}}, {path: $T/b.db,
    replica: {path: $T/y}}]"
rm b.db
mkdir dir; cp a.db dir/1.db; cp a.db dir/2.db; : >dir/3.txt
cat >dir.yml <<END
dbs: [{dir: $T/dir, pattern: "*.db", replica: {path: $T/x}}]
END
ok 'the databases of a directory' "$LS" replicate -once -config dir.yml
is 'each into one of its own' "$(cd x && ls -d -- *.db/ltx/9)" '1.db/ltx/9
2.db/ltx/9'
sed 's|/dir,|/no-dir,|' dir.yml >no-dir.yml
says 1 'a directory that is not there' '^Error: .*/no-dir' \
    replicate -once -config no-dir.yml
cat >ignored.yml <<END
dbs: [{path: $T/a.db, busy-timeout: 5s, replica: {path: $T/r}}]
END
prints 0 'a key that is ignored' 'level=WARN msg=".*ignored key: busy-timeout' \
    replicate -once -config ignored.yml
says 2 'restore over a directory' '^Error: .*/dir' restore -o dir "$url"
: >new-wal
says 2 'restore beside a WAL' '^Error: .*new-wal' restore -o new "$url"
says 2 'following beside a WAL' '^Error: .*new-wal' restore -f -o new "$url"

# Over a database that is in use.
mkfifo pipe
cp a.db used.db
sqlite3 used.db <pipe >sqlout 2>&1 & track $!
exec 9>pipe
echo "BEGIN IMMEDIATE; INSERT INTO t VALUES(5); SELECT 'held';" >&9
poll 10 grep -q held sqlout
says 5 'restore over a database in use' \
    '^Error: .*/used.db: the database is in use by another process' \
    restore -force -o used.db "$url"
matches 'with advice' err '^Try: stop the application first$'
exec 9>&-
LOG_LEVEL=error
export LOG_LEVEL
ok 'LOG_LEVEL' "$LS" replicate -once a.db "$url"
is 'is heeded' "$(cat out)" ''
unset LOG_LEVEL

# Restored before it is replicated.
first() { "$LS" replicate -once -restore-if-db-not-exists "$@"; }
ok 'a database that is there' first a.db "$url"
matches 'is not restored' out 'msg="database already exists, skipping restore"'
sql a.db 'INSERT INTO t VALUES(7)'
ok 'what it has in addition' first a.db "$url"
mv a.db gone.db && rm -f a.db-wal a.db-shm
ok 'one that is not' first a.db "$url"
matches 'is restored' out 'msg="database restored" .*txid=0000000000000002'
is 'and is what it was' "$(sql a.db 'SELECT a FROM t')" 7
status 1 'one that never was' first none.db "$url-none"
matches 'is not made up' out 'msg="no backup to restore, starting fresh"'
matches 'and is missed' err '^Error: .*/none.db: '
mkdir -p bad/ltx/0
echo damaged >bad/ltx/0/0000000000000001-0000000000000001.ltx
status 4 'from a damaged replica' first none.db "file://$T/bad"
is 'nothing comes' "$(ls none.db* 2>/dev/null)" ''

# What is damaged, as JSON.  The path has characters that need an escape.
odd=$(printf 'q"\\\n\r\t\001<.r')
sql a.db 'INSERT INTO t VALUES(8)'
"$LS" replicate -once a.db "$url" >/dev/null
rm -rf r2 && cp -R r r2
sql a.db 'INSERT INTO t VALUES(9)'
"$LS" replicate -once a.db "$url" >/dev/null
cp r/ltx/0/*4-*4.ltx r2/ltx/0/; cp -R r2 "$odd.2"
json() { python3 -c 'import json, sys
x = json.load(open("out")); print(eval(sys.argv[1]))' "$1"; }
rm r2/ltx/0/*3-*3.ltx
status 4 'a gap' "$LS" verify -json "file://$T/r2"
is 'as JSON' "$(json '[[g["level"], g["min_txid"][-1], g["closed"]] for g in
    x["gaps"]]')" "[[0, '3', False]]"
echo >"$odd.2/ltx/0/0000000000000003-0000000000000003.ltx"
status 4 'a damaged file' "$LS" verify -json "file://$T/$odd.2"
is 'as JSON, with the reason' "$(json '["/ltx/0/" in f["error"]
    for f in x["files"] if f["state"] == "damaged"]')" '[True]'
rm r2/ltx/0/*
status 0 'no level 0' "$LS" verify -json "file://$T/r2"
is 'is a note' "$(json '[n.startswith("level 0 ends at TXID 0000000000000000")
    for n in x["notes"]]')" '[True]'

# The log as JSON: strings, numbers, and what needs an escape.
cp gone.db json.db
cat >json.yml <<END
logging: {type: json, level: debug}
dbs: [{path: $T/json.db, replica: {path: "$T/j\"\\\\\t\xe9"}}]
END
ok 'a log of JSON' "$LS" replicate -once -config json.yml
cat >lines.py <<'END'
import json
lines = [json.loads(s) for s in open('out', encoding='utf-8')]
print(all({'time', 'level', 'msg'} <= set(x) for x in lines),
      *[ascii(x['path'].split('/')[-1]) for x in lines
        if x['msg'] == 'replicating to'])
END
is 'is one, line by line' "$(python3 lines.py)" "True 'j\"\\\\\\t\\xe9'"

# Names and zones in the log.
name=$(printf 'n"\t\001\n=.db')
cp gone.db "$name"
TZ=XST-5:30 "$LS" replicate -once "$name" "$url-odd" >out
matches 'the log escapes' out ' db="/.*/n\\"\\t\\x01\\n=.db" '
matches 'and has the zone' out '^time=20..-..-..T..:..:..\....\+05:30 '
done_testing
