#!/bin/sh
# SPDX-License-Identifier: ISC
# A directory of databases that is watched: what comes is replicated, what goes
# is let go of, one that is broken holds up nobody.
. "$(dirname "$0")/lib.sh"

mkdir "$T/db"
cat >"$T/yml" <<END
dbs:
  - dir: $T/db
    pattern: '*.db'
    recursive: true
    watch: true
    replica:
      path: $T/replica
END
# A link to a directory, which is turned at the end, when all is quiet.
mkdir "$T/old" "$T/new"
ln -s "$T/old" "$T/cur"
sed "s|$T/db|$T/cur|; s|$T/replica|$T/turned|" "$T/yml" >"$T/cur.yml"
sql "$T/old/o.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' >/dev/null
sql "$T/new/n.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' >/dev/null
"$LS" replicate -config "$T/cur.yml" >"$T/cur.log" 2>&1 </dev/null &
turned=$!; track "$turned"
began=$(date +%s)
make_db() {
	sql "$T/db/$1" "PRAGMA journal_mode = $2; CREATE TABLE t(a);
	    INSERT INTO t VALUES('$1')" >/dev/null
}
there() { restore_same "$T/db/$1" "$T/replica/$1"; }

"$LS" replicate -config "$T/yml" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
poll 10 grep -q 'initialized\|litestream' "$T/log"
result $? 'starts with an empty directory'

i=0
while [ $i -lt 20 ]; do make_db "$i.db" wal; i=$((i + 1)); done
i=0
while [ $i -lt 20 ]; do
	poll 30 there "$i.db" || break
	i=$((i + 1))
done
is 'twenty at once: all are replicated' "$i" 20
is 'without an error' "$(grep level=ERROR "$T/log")" ''

mkdir -p "$T/db/a/b"
make_db a/b/deep.db delete
ok 'in a new directory of a new directory' poll 30 there a/b/deep.db
make_db other.sqlite wal
: >"$T/db/late.db"
sql "$T/db/0.db" 'INSERT INTO t VALUES(2)'
ok 'one that is there goes on' poll 30 there 0.db
make_db late.db wal
ok 'an empty file becomes a database' poll 30 there late.db
is 'what does not match is not replicated' \
    "$(find "$T/replica" -name 'other*')" ''

make_db x.db wal
ok 'one more' poll 30 there x.db
mv "$T/db/x.db" "$T/x.db"
rm -f "$T/db/x.db"*
poll 30 grep -q 'has gone.*x[.]db' "$T/log"
result $? 'a database that is moved away is let go of'
ok 'its replica stays' "$LS" restore -o "$T/back.db" "file://$T/replica/x.db"
printf 'SQLite format 3\0garbage' >"$T/db/bad.db"
poll 30 grep -q 'level=ERROR.*bad[.]db' "$T/log"
result $? 'a broken one is reported'
make_db last.db wal
ok 'and others are replicated' poll 30 there last.db
kill -0 "$PID"
result $? 'it lives'
rm "$T/db/bad.db"
poll 30 grep -q 'has gone.*bad[.]db' "$T/log"
result $? 'the broken one is let go of'
sql "$T/db/7.db" 'INSERT INTO t VALUES(3)'
stop_replicate
result $? 'a clean stop'
ok 'with the last commit' there 7.db

# One that is configured by its name, in a directory that is watched.
mkdir "$T/two"
cat >"$T/yml" <<END
dbs:
  - path: $T/two/app.db
    replica:
      path: $T/app
  - dir: $T/two
    pattern: '*.db'
    watch: true
    replica:
      path: $T/others
END
named() { restore_same "$T/two/app.db" "$T/app"; }
sql "$T/two/app.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' >/dev/null
sql "$T/two/x.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' >/dev/null
"$LS" replicate -config "$T/yml" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'one with a name of its own' poll 30 named
poll 30 restore_same "$T/two/x.db" "$T/others/x.db"
result $? 'and one that is found beside it'
rm "$T/two/app.db"* "$T/two/x.db"*
poll 30 grep -q 'has gone.*x[.]db' "$T/log"
result $? 'both are removed: the one that was found is let go of'
is 'not the other' "$(grep 'has gone.*app[.]db' "$T/log")" ''
sql "$T/two/app.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a);
    INSERT INTO t VALUES(2)' >/dev/null
ok 'it is replicated when it is back' poll 30 named
is 'and only there' "$(ls "$T/others")" x.db
stop_replicate
result $? 'a clean stop'

# One that another replicator has.
mkdir "$T/shared"
sed "s|$T/cur|$T/shared|; s|$T/turned|$T/taken|" "$T/cur.yml" >"$T/yml"
sql "$T/shared/l.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' >/dev/null
"$LS" replicate "$T/shared/l.db" "file://$T/taken/l.db" >"$T/holder.log" \
    2>&1 </dev/null &
holder=$!; track "$holder"
ok 'one replicator' poll 20 restore_same "$T/shared/l.db" "$T/taken/l.db"
"$LS" replicate -config "$T/yml" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
poll 20 grep -q 'level=ERROR.*shared/l[.]db.*lock' "$T/log"
result $? 'another says that it is locked'
kill -TERM "$holder"; wait "$holder"
result $? 'the first ends'
sql "$T/shared/l.db" 'INSERT INTO t VALUES(9)'
poll 30 restore_same "$T/shared/l.db" "$T/taken/l.db"
result $? 'the other takes over'
is 'and has complained once' "$(grep -c level=ERROR "$T/log")" 1
stop_replicate
result $? 'a clean stop'

# No look follows after 21 s but the one whether it is the same directory.
is_quiet() { [ "$(date +%s)" -ge $((began + 26)) ]; }
ok 'a directory through a link: long quiet' poll 40 is_quiet
ok 'what was there is replicated' \
    restore_same "$T/old/o.db" "$T/turned/o.db"
rm "$T/cur"
ln -s "$T/new" "$T/cur"
poll 40 restore_same "$T/new/n.db" "$T/turned/n.db"
result $? 'the link is turned: what is there now is replicated, too'
poll 30 grep -q 'has gone.*o[.]db' "$T/cur.log"
result $? 'and what is not is let go of'
kill -TERM "$turned"; wait "$turned"
result $? 'a clean stop'
done_testing
