#!/bin/sh
# SPDX-License-Identifier: ISC
# restore and ltx: wrong flags, operands, URLs and outputs, each with its exact
# status and message, and nothing written.
. "$(dirname "$0")/lib.sh"
mkdir "$T/empty" "$T/dir"
url=file://$T/empty

wrong() {	# TITLE REGEX ARGS...: status 2 and this on stderr
	_re=$2 _name=$1; shift 2
	status 2 "$_name" "$LS" "$@"
	matches "$_name: says so" "$T/err" "^Error: $_re"
}

wrong 'no operand' 'database path or replica URL required$' restore
matches 'no operand: has a hint' "$T/err" '^Try: '
wrong 'two operands' 'too many arguments$' restore -o "$T/o" "$url" x
wrong 'a flag behind the operand' 'too many arguments$' \
    restore "$url" -o "$T/o"
wrong 'no -o' '-o is required when restoring from a replica URL$' \
    restore "$url"
matches 'no -o: has a hint' "$T/err" '^Try: litestream restore -o /path/to/db'
wrong 'no -o, and a URL of another kind' \
    '-o is required when restoring from a replica URL$' restore s3://bucket/x
wrong 'an unknown flag' 'flag provided but not defined: -zz$' \
    restore --zz "$url"
wrong 'a flag without its value' 'flag needs an argument: -o$' restore -o
wrong 'a bad bool' 'invalid boolean value "x" for -force: parse error$' \
    restore -force=x "$url"
wrong 'a bad number' \
    'invalid value "x" for flag -parallelism: parse error$' \
    restore -parallelism x "$url"
wrong 'a large number' 'invalid value .* value out of range$' \
    restore -parallelism 99999999999 "$url"
wrong 'a bad duration' \
    'invalid value "1day" for flag -follow-interval: parse error$' \
    restore -follow-interval 1day "$url"
wrong 'a bad flag' 'bad flag syntax: ---x$' restore ---x
for txid in 1 00000000000000001 000000000000000g ''; do
	wrong "-txid '$txid'" "invalid value \"$txid\" for flag -txid: \
invalid txid format\$" restore -txid "$txid" -o "$T/o" "$url"
done
for t in 2026 2026-01-02 2026-01-02T03:04:05 '2026-13-02T03:04:05Z' now; do
	wrong "-timestamp $t" 'invalid -timestamp, must specify in ISO 8601 ' \
	    restore -timestamp "$t" -o "$T/o" "$url"
done
wrong 'both selectors' 'cannot specify index & timestamp to restore$' \
    restore -txid 0000000000000001 -timestamp 2026-01-02T03:04:05Z \
    -o "$T/o" "$url"
wrong 'a bad check' 'invalid -integrity-check value: some$' \
    restore -integrity-check some -o "$T/o" "$url"
wrong 'a URL and -config' \
    'cannot specify a replica URL and the -config flag$' \
    restore -config c.yml -o "$T/o" "$url"
wrong 'a missing configuration' "config file not found: $T/no.yml\$" \
    restore -config "$T/no.yml" "$T/app.db"
for u in s3://bucket/db gs://bucket/db sftp://host/db; do
	wrong "$u" '.*only file:// replicas' restore -o "$T/o" "$u"
done

status 3 'an empty replica' "$LS" restore -o "$T/o" "$url"
matches 'an empty replica: says so' "$T/err" \
    '^Error: no matching backup files available$'
status 3 'a missing replica' "$LS" restore -o "$T/o" "file://$T/none/none"
status 3 'a time, in an empty replica' "$LS" restore \
    -timestamp 2026-01-02T03:04:05+02:00 -o "$T/o" "$url"
matches 'a time, in an empty replica: says so' "$T/err" \
    '^Error: no backups found$'
ok '-if-replica-exists without one' "$LS" restore -if-replica-exists \
    -o "$T/o" "$url"
matches '-if-replica-exists is in the log' "$T/err" \
    'level=INFO msg="no matching backups found"'
echo x >"$T/file"
status 1 'a replica that is a file' "$LS" restore -o "$T/o" "file://$T/file"
status 1 'a replica that is a file, -if-replica-exists' "$LS" restore \
    -if-replica-exists -o "$T/o" "file://$T/file"
status 3 'nothing to plan' "$LS" restore -dry-run -o "$T/o" "$url"

echo data >"$T/old.db"
wrong 'an existing output' "cannot restore, output path already exists and \
is not empty: $T/old.db\\. Use -force to overwrite\$" \
    restore -o "$T/old.db" "$url"
ok '-if-db-not-exists' "$LS" restore -if-db-not-exists -o "$T/old.db" "$url"
matches '-if-db-not-exists is in the log' "$T/err" \
    'level=INFO msg="database already exists, skipping"'
status 3 '-force with nothing to restore' "$LS" restore -force \
    -o "$T/old.db" "$url"
is '-force with nothing to restore keeps the database' \
    "$(cat "$T/old.db")" data
wrong 'a directory as output' \
    "cannot restore, output path is a directory: $T/dir\$" \
    restore -o "$T/dir" "$url"
wrong 'a directory as output, -force' 'cannot restore, output path is a' \
    restore -force -o "$T/dir" "$url"
: >"$T/z.db"
for s in wal shm journal; do
	: >"$T/z.db-$s"
	wrong "an empty database beside -$s" "cannot restore, SQLite sidecar \
path already exists: $T/z.db-$s\\. Use -force to overwrite\$" \
	    restore -o "$T/z.db" "$url"
	rm "$T/z.db-$s"
done
for s in wal journal; do
	: >"$T/n.db-$s"
	wrong "no database beside -$s" 'cannot restore, SQLite sidecar path' \
	    restore -o "$T/n.db" "$url"
	rm "$T/n.db-$s"
done
set -- "$T"/o "$T"/*.tmp "$T"/n.db
is 'nothing was written' "$(ls -d "$@" 2>/dev/null)" ''

wrong 'ltx: no operand' 'database path or replica URL required$' ltx
wrong 'ltx: two operands' 'too many arguments$' ltx "$url" "$url"
wrong 'ltx: a bad level' \
    'invalid value "x" for flag -level: invalid level: must be 0-9 or "all"$' \
    ltx -level x "$url"
wrong 'ltx: no such level' \
    'invalid value "10" for flag -level: level must be between 0 and 9$' \
    ltx -level 10 "$url"
wrong 'ltx: another scheme' '.*only file:// replicas' ltx s3://bucket/db
ok 'ltx: an empty replica' "$LS" ltx "$url"
is 'ltx: an empty replica is a header' "$(cat "$T/out")" \
    'level  min_txid  max_txid  size  created'
ok 'ltx -json: a missing replica' "$LS" ltx -json "file://$T/none"
is 'ltx -json: a missing replica is an empty list' "$(cat "$T/out")" '[]'
for c in restore ltx; do
	for h in -h -help --help; do
		ok "$c $h" "$LS" $c $h
		matches "$c $h: usage" "$T/out" "^usage: litestream $c"
	done
done
if [ -w /dev/full ]; then
	for c in "ltx $url" 'restore -h'; do
		# shellcheck disable=SC2086
		"$LS" $c >/dev/full 2>"$T/err"
		is "litestream ${c%% *}: output that is lost is a failure" \
		    $? 1
	done
fi
# What to try is the whole command.
try() {	# COMMAND HINT
	# shellcheck disable=SC2086
	"$LS" $1 2>"$T/err"
	is "$1: what to try" "$(sed -n 's/^Try: //p' "$T/err")" "$2"
}
try restore 'litestream restore -o /path/to/db file:///path/to/replica'
try ltx 'litestream ltx /path/to/db'
try reset 'litestream reset /path/to/db'
try sync 'litestream sync /path/to/db'
try stop 'litestream stop /path/to/db'
try register \
    'litestream register -replica file:///path/to/replica /path/to/db'
try 'register /a.db' \
    'litestream register -replica file:///path/to/replica /path/to/db'
done_testing
