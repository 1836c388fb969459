#!/bin/sh
# SPDX-License-Identifier: ISC
# restore -all: every database of a configuration, in its place or beneath a
# directory; one that fails does not keep the others from it.
. "$(dirname "$0")/lib.sh"

A=$T/app
mkdir -p "$A/db/sub" "$T/keep"
make_db() {
	sql "$1" "PRAGMA journal_mode = wal; CREATE TABLE t(a);
	    INSERT INTO t VALUES('$1')" >/dev/null
}
all='alone.db db/a.db db/b.db db/sub/c.db'
for f in $all db/no.txt; do make_db "$A/$f"; done
cat >"$T/yml" <<END
dbs:
  - path: $A/alone.db
    replica:
      path: $T/replica/alone
  - dir: $A/db
    pattern: '*.db'
    recursive: true
    replica:
      path: $T/replica/db
END
export LITESTREAM_CONFIG="$T/yml"
"$LS" replicate -once >"$T/log" 2>&1
for f in $all; do
	dump "$A/$f" >"$T/keep/$(echo "$f" | tr / _)"
done
# What a restore must not take for a replica of one of the directory.
mkdir -p "$T/replica/db/d.txt/ltx" "$T/replica/db/e.db" "$T/replica/db/sub/f"
: >"$T/replica/db/g.db"

same() {	# DIR: all of them are beneath it, and nothing else is
	for _f in $all; do
		[ "$(dump "$1/$_f")" = \
		    "$(cat "$T/keep/$(echo "$_f" | tr / _)")" ] || return
	done
	[ "$(find "$1" -name '*.db' | wc -l)" -eq 4 ]
}
lose() { rm -rf "$A/db" "$A"/alone.db*; }

ok 'beneath a directory' "$LS" restore -all -o "$T/drill"
ok 'all are there, under their paths' same "$T/drill$A"
ok 'no temporary is left' test -z "$(find "$T/drill" -name '*.tmp')"
status 2 'not over what exists' "$LS" restore -all
is 'each is told about' "$(grep -c "^Error: $A/.*already exists" "$T/err")" 4
matches 'and how many' "$T/err" '^Error: 4 of 4 databases not restored$'
ok '-if-db-not-exists: nothing to do' "$LS" restore -all -if-db-not-exists
lose
ok 'in place, where nothing is left' "$LS" restore -all
ok 'all are in place' same "$A"
rm "$A/db/b.db"
ok '-if-db-not-exists: what is lost' "$LS" restore -all -if-db-not-exists
ok 'it is back' test -s "$A/db/b.db"
sql "$A/db/a.db" "DELETE FROM t"
ok '-force' "$LS" restore -all -force
ok '-force: as they were' same "$A"

ok '-dry-run' "$LS" restore -all -dry-run
is 'a plan for each' "$(grep -c '^  target: ' "$T/out")" 4
json() {	# EXPRESSION over the list l, from $T/json
	python3 -c 'if True:
	    import json, sys
	    l = json.load(open(sys.argv[1]))
	    sys.exit(not eval(sys.argv[2]))' "$T/json" "$1"
}
rm -rf "$T/drill"
for flag in -dry-run -force; do
	ok "-json $flag" "$LS" restore -all -json $flag -o "$T/drill"
	mv "$T/out" "$T/json"
	ok 'is a list of four' json 'len(l) == 4'
done
# A directory without those beneath it, and one of its databases by its name.
sed -e '/recursive/d' -e "s|path: $A/alone.db|path: $A/db/a.db|" "$T/yml" \
    >"$T/flat.yml"
ok 'not recursive' "$LS" restore -all -json -dry-run -config "$T/flat.yml"
mv "$T/out" "$T/json"
ok 'each of them once' json \
    '[r["source"][-8:] for r in l] == ["/db/a.db", "/db/b.db"]'

# One that is damaged, one of which nothing is left, and one that exists.
find "$T/replica/db/a.db" -name '*.ltx' | while read -r f; do
	printf x | dd of="$f" bs=1 seek=150 conv=notrunc 2>/dev/null
done
rm -r "$T/replica/alone/ltx"
lose
mkdir "$A/db"
make_db "$A/db/b.db"
status 4 'status is that of the worst' "$LS" restore -all -json
mv "$T/out" "$T/json"
mv "$T/err" "$T/said"
ok 'others go on' test -s "$A/db/sub/c.db"
ok 'nothing of those that failed' \
    test -z "$(ls "$A/alone.db" "$A"/db/a.db* 2>/dev/null)"
for e in "$A/db/a.db: .*checksum" "$A/alone.db: no matching backup" \
    "$A/db/b.db: .*already exists" '3 of 4 databases not restored$'; do
	matches "says $e" "$T/said" "^Error: $e"
done
ok 'as JSON: one is restored' json \
    '[r.get("txid") for r in l] == [None, None, None, "0" * 15 + "1"]'
ok 'as JSON: three are not' json 'sum("error" in r for r in l) == 3'
rm -r "$T/replica/db/a.db"
status 2 'worse than to be absent: to exist' "$LS" restore -all
lose
status 3 'one has no backup' "$LS" restore -all
lose
ok '-if-replica-exists' "$LS" restore -all -if-replica-exists
mv "$T/replica/db" "$T/replica/gone"
lose
status 3 'a directory without replicas' "$LS" restore -all
matches 'says so' "$T/err" "^Error: $T/replica/db: .*No such file"
mkdir "$T/replica/db"
status 3 'an empty one' "$LS" restore -all
matches 'names both' "$T/err" \
    "^Error: $T/replica/db: no replicas of databases in $A/db there"
ok 'an empty one, -if-replica-exists' "$LS" restore -all -if-replica-exists

wrong() {	# TITLE REGEX ARGS...: status 2 and this on stderr
	_re=$2 _name=$1; shift 2
	status 2 "$_name" "$LS" restore "$@"
	matches "$_name: says so" "$T/err" "^Error: $_re"
}
wrong 'an operand, too' 'cannot specify a database or replica and -all' \
    -all "$A/alone.db"
wrong 'a transaction' 'cannot use -all with -txid' -all \
    -txid 0000000000000001
wrong 'following' 'cannot use -all with -f' -all -f
echo 'dbs: []' >"$T/yml"
wrong 'no databases' 'no databases specified' -all
done_testing
