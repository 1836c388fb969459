#!/bin/sh
# SPDX-License-Identifier: ISC
# What replicate says to bad input: path and reason, the way out where there is
# one, the exact exit status; nothing is made, nothing is lost.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

good=$T/good.db
sql "$good" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a);
    INSERT INTO t VALUES(1)' >/dev/null
url=file://$T/replica
said() {	# TITLE REGEX
	matches "$1: says why" "$T/err" "$2"
	[ "$(grep -c '^Error: ' "$T/err")" -eq 1 ]
	result $? "$1: one error"
}
# STATUS TITLE REGEX ARGS...: fails, and there is no replica
bad() {
	_n=$1 _t=$2 _why=$3; shift 3
	status "$_n" "$_t" timeout 20 "$LS" replicate "$@"
	said "$_t" "$_why"
	is "$_t: makes no replica" "$(find "$T/replica" -name '*.ltx' \
	    2>/dev/null)" ''
}
try() { matches "$1: the way out" "$T/err" '^Try: '; }

# Flags and operands.
bad 2 'an unknown flag' '^Error: flag provided but not defined: -x' \
    -x "$good" "$url"
bad 2 'a flag without its value' '^Error: flag needs an argument: -exec' -exec
bad 2 'a bool that is none' '^Error: invalid boolean value "maybe" for' \
    -once=maybe "$good" "$url"
bad 2 'one operand' '^Error: must specify at least one replica URL for' "$good"
bad 2 'two URLs' \
    '^Error: multiple replicas on a single database are no longer supported' \
    "$good" "$url" "$url"
bad 2 'a flag after the operands' \
    '^Error: flag "-once" must be positioned before DB_PATH and REPLICA_URL' \
    "$good" "$url" -once
bad 2 '-once with -exec' '^Error: cannot specify -once flag with -exec' \
    -once -exec true "$good" "$url"
bad 2 '-force-snapshot alone' \
    '^Error: cannot specify -force-snapshot flag without -once' \
    -force-snapshot "$good" "$url"
bad 2 'a path for a URL' '^Error: replica url scheme required: /nowhere/x' \
    "$good" /nowhere/x
bad 2 's3' '^Error: .*only file:// replicas' "$good" s3://bucket/x
bad 2 'an odd scheme' '^Error: .*only file:// replicas' "$good" foo://x
bad 2 'an empty database path' '^Error: ' -once '' "$url"

# Databases.
bad 1 'a missing database, -once' '^Error: .*missing\.db' \
    -once "$T/missing.db" "$url"
is 'a missing database is not made' "$(ls -A "$T/missing.db" \
    "$T/.missing.db-litestream" 2>/dev/null)" ''
: >"$T/empty.db"
status 1 'an empty database, -once' "$LS" replicate -once "$T/empty.db" "$url"
said 'an empty database, -once' '^Error: .*empty\.db'
[ ! -s "$T/empty.db" ]; result $? 'an empty database stays so'
echo 'this is a text, and a long one, which is no database at all' \
    >"$T/text.db"
cp "$T/text.db" "$T/text"
for flag in -once -log-level=info; do
	bad 1 "a text, $flag" '^Error: .*text\.db: .*not a database' \
	    $flag "$T/text.db" "$url"
done
ok 'a text stays so' cmp "$T/text" "$T/text.db"
python3 -c 'import random, sys
sys.stdout.buffer.write(random.Random(1).randbytes(8192))' >"$T/cipher.db"
bad 1 'an encrypted database' '^Error: .*cipher\.db: .*not a database' \
    -once "$T/cipher.db" "$url"
matches 'an encrypted database: says what it may be' "$T/err" encrypted
mkdir "$T/dir.db"
for flag in -once -log-level=info; do
	bad 1 "a directory, $flag" '^Error: .*dir\.db: .*[Ii]s a directory' \
	    $flag "$T/dir.db" "$url"
done
head -c 50 "$good" >"$T/short.db"
bad 1 'a cut header' '^Error: .*short\.db' -once "$T/short.db" "$url"
mkfifo "$T/fifo.db"
bad 1 'a FIFO' '^Error: .*fifo\.db' -once "$T/fifo.db" "$url"
ln -s "$T/loop.db" "$T/loop.db"
bad 1 'a symbolic link to itself' '^Error: .*loop\.db' -once "$T/loop.db" "$url"
if [ "$(id -u)" -ne 0 ]; then
	cp "$good" "$T/secret.db"; chmod 0 "$T/secret.db"
	bad 1 'an unreadable database' \
	    '^Error: .*secret\.db: .*([Pp]ermission|unable to open)' \
	    -once "$T/secret.db" "$url"
else
	skip 'an unreadable database' 'root may read everything'
fi

# Replicas.
echo file >"$T/file"
for flag in -once -log-level=info; do
	bad 1 "a file for a replica, $flag" '^Error: .*/file[/:].*[Nn]ot a dir' \
	    $flag "$good" "file://$T/file"
done
is 'the file stays' "$(cat "$T/file")" file
bad 1 'a replica below a file' '^Error: .*/file.*: .*[Nn]ot a dir' \
    -once "$good" "file://$T/file/x"
bad 1 'a replica in /proc' '^Error: /proc/.*: ' -once "$good" \
    file:///proc/nowhere
if [ "$(id -u)" -ne 0 ]; then
	mkdir "$T/sealed"; chmod 555 "$T/sealed"
	bad 1 'an unwritable replica' '^Error: .*sealed.*ermission denied' \
	    -once "$good" "file://$T/sealed/x"
else
	skip 'an unwritable replica' 'root may write everywhere'
fi
bad 2 'the database directory itself as a file URL without path' '^Error: ' \
    -once "$good" s3:
ok 'after all that: a good one' "$LS" replicate -once "$good" "$url"
ok 'which restores' restore_same "$good" "$T/replica"
is 'its schema is its own' "$(sql "$good" .schema)" 'CREATE TABLE t(a);'

# The child of -exec.
mkdir "$T/x"
status 7 "-exec: the child's status" "$LS" replicate \
    -exec "sh -c 'exit 7'" "$good" "$url"
status 0 '-exec: words as a shell splits them, but no shell' "$LS" replicate \
    -exec "touch \"$T/x/a b\" '$T/x/\$HOME' $T/x/c\\ d" "$good" "$url"
is '-exec: words' "$(ls "$T/x")" "\$HOME
a b
c d"
ok '-exec: what the child commits is replicated' "$LS" replicate \
    -exec "sqlite3 $good 'INSERT INTO t VALUES(2)'" "$good" "$url"
ok '-exec: and restores' restore_same "$good" "$T/replica"
status 1 '-exec: no such command' "$LS" replicate -exec "$T/nothing" "$good" \
    "$url"
said '-exec: no such command' '^Error: .*nothing'
bad_exec() {
	status 2 "$1" "$LS" replicate -exec "$2" "$good" "$url"
	said "$1" '^Error: '
}
bad_exec '-exec: a quote that is not closed' "echo 'x"
bad_exec '-exec: no word' ' '
done_testing
