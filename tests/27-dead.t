#!/bin/sh
# SPDX-License-Identifier: ISC
# A disk that does not answer at all, under one database and under the replica
# of another: the others go on, and so do signals, the control socket, status
# and the directories that are watched.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -o hang.so "$TESTS/hang.c" -ldl || exit 1
HANG=$T/hang; export HANG
_answer() { rm -f "$HANG"; _cleanup; }
trap _answer EXIT

mkdir dead dead/dir live live/dir r deadr
make_db() {
	sql "$1" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
}
for i in dead/a live/b live/c live/dir/0 dead/dir/0; do make_db $i.db; done
dir_entry() {	# DIR ROOT
	echo "  - { dir: $T/$1, pattern: '*.db', watch: true,"
	echo "      replica: { path: $T/r/$2 } }"
}
echo "echo \$LITESTREAM_EVENT \$LITESTREAM_DB >>$T/hooked" >hook
cat >three.yml <<END
socket: { enabled: true, path: $T/sock }
shutdown-sync-timeout: 1s
on-error: sh $T/hook
on-recover: sh $T/hook
dbs:
  - { path: $T/dead/a.db, replica: { path: $T/r/a } }
  - { path: $T/live/b.db, replica: { path: $T/deadr/b } }
  - { path: $T/live/c.db, replica: { path: $T/r/c } }
END
{ cat three.yml; dir_entry live/dir live; dir_entry dead/dir dead; } >yml
is_dead() { printf '%s\n' "$T/dead/" "$T/deadr/" >hang.tmp; mv hang.tmp hang; }
exposed() { env LD_PRELOAD="$T/hang.so" "$@"; }
start() {
	LD_PRELOAD=$T/hang.so "$LS" replicate -config "$1" >log 2>&1 </dev/null &
	PID=$!; track "$PID"
}
sync() { "$LS" sync -config yml -timeout 5s "$1"; }
there() { restore_same "$T/$1" "$T/$2"; }
said() { grep -q "$1" log; }
hooked() { grep -q "^$1\$" hooked; }
get() { "$LS" "$1" -socket sock -timeout 5; }

start yml
for i in dead/a live/b live/c live/dir/0 dead/dir/0; do
	ok "$i: first backup" poll 20 sync $i.db
done

is_dead
for i in dead/a live/b; do sql $i.db 'INSERT INTO t VALUES(1)'; done
make_db dead/dir/1.db
ok 'the disk of a database is dead: it is said' poll 30 said \
    'level=ERROR msg=stuck path=[^ ]*dead/a.db'
ok 'and that of a replica' poll 30 said \
    'level=ERROR msg=stuck path=[^ ]*live/b.db'
ok 'the hook, too' poll 10 hooked "error $T/dead/a.db"
ok 'for both' poll 10 hooked "error $T/live/b.db"
sql live/c.db 'INSERT INTO t VALUES(1)'
ok 'another database goes on' sync live/c.db
ok 'and is replicated' there live/c.db r/c
make_db live/dir/1.db
ok 'one is found in a directory' poll 20 there live/dir/1.db r/live/1.db
rm live/dir/1.db*
ok 'and let go of' poll 20 said 'has gone.*live/dir/1.db'
ok 'control socket: info' get info
ok 'list' get list
make_db live/d.db
ok 'register' "$LS" register -socket sock -timeout 5 \
    -replica "file://$T/r/d" live/d.db
ok 'it is replicated' poll 20 there live/d.db r/d
ok 'sync' "$LS" sync -socket sock -timeout 5 live/c.db
ok 'status of another, from that configuration' \
    exposed "$LS" status -config yml live/c.db
is 'status of the one with the dead replica' "$("$LS" status -config yml \
    live/b.db | grep -c 'error .*no progress for')" 1
status 1 'status of all of a configuration' \
    exposed "$LS" status -config three.yml -timeout 2s -json
cp out all
matches 'says which does not answer' all \
    '"error": ".*/dead/a.db: its disk, or that of the replica, does not answer'
is 'and how the others are' "$(grep -c '"status": "error"' all) \
$(grep -c '"status": "ok"' all)" '2 1'
is 'nobody else is stuck' \
    "$(grep msg=stuck log | grep -v -e /dead/ -e /live/b)" ''

rm hang
for i in dead/a live/b live/c live/dir/0 dead/dir/0 dead/dir/1; do
	ok "$i: answers again" poll 30 sync $i.db
done
ok 'all is there' there dead/a.db r/a
ok 'of the other, too' there live/b.db deadr/b
ok 'the hook says so' poll 20 hooked "recover $T/dead/a.db"
ok 'for both' poll 20 hooked "recover $T/live/b.db"

# A stop is not held up for ever, and what can be published is.
is_dead
for i in dead/a live/b live/c; do sql $i.db 'INSERT INTO t VALUES(2)'; done
kill -TERM "$PID"
_reap
is 'dead again: it ends by itself, status' "$?" 1
matches 'it is said what is missing' log 'level=ERROR.*not replicated.*dead/a'
matches 'of all' log 'level=ERROR.*not replicated.*live/b'
ok 'what can be is published' there live/c.db r/c
rm hang
start yml
ok 'started again: all is there' poll 30 there dead/a.db r/a
ok 'of all' poll 30 there live/b.db deadr/b
stop_replicate; result $? 'a clean stop'

# Only a directory is dead: nothing is missing.
rm -rf dead/dir/*
{ sed '/dead/d' three.yml; dir_entry dead/dir dead; } >dir.yml
start dir.yml
ok 'one whose directory is dead' poll 20 sync live/c.db
is_dead
: >dead/dir/x.db
sql live/c.db 'INSERT INTO t VALUES(3)'
ok 'others go on' sync live/c.db
stop_replicate; result $? 'a clean stop'
ok 'with all that there is' there live/c.db r/c
done_testing
