#!/bin/sh
# SPDX-License-Identifier: ISC
# Hooks: run with the facts, once for each change, and never waited for.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

db=$T/a.db
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
echo "echo \$\$ >>pids; exec sleep 600" >slow
: >said
cat >hook <<'END'
echo "$LITESTREAM_EVENT $LITESTREAM_DB $LITESTREAM_REPLICA \
[$LITESTREAM_ERROR] $LITESTREAM_TXID" >>"$HOME/said"
END
cat >l.yml <<END
on-error: sh hook
on-recover: sh hook
on-snapshot: "sh hook; exit 3"
snapshot: { interval: 1s, retention: 1h }
levels: [{ interval: 1s }]
dbs: [{ path: $db, replica: { path: $T/backup/r } }]
END
mkdir backup
said() { grep -q "$1" said; }
count() { grep -c "^$1 " said; }
start() {
	HOME=$T LITESTREAM_DB=wrong "$LS" replicate -config "$1" >log 2>&1 \
	    </dev/null &
	PID=$!; track "$PID"
}
sync() { "$LS" sync -timeout 5s "$db"; }

start l.yml
ok 'it begins' poll 20 sync
sql "$db" 'INSERT INTO t VALUES(0)'
ok 'a snapshot' poll 20 said "^snapshot $db $T/backup/r \[\] 0*[1-9]"
ok 'a hook that fails is a warning' poll 20 grep -q \
    'level=WARN msg="hook failed" .*event=snapshot status=3' log
ok 'replication goes on' poll 10 sync
is 'no error so far' "$(count error)" 0
mv backup away
sql "$db" 'INSERT INTO t VALUES(1)'
ok 'an error, within 10 s' poll 10 said \
    "^error $db $T/backup/r \[.*not mounted\] [0-9a-f]\{16\}\$"
mv away backup
ok 'and its end' poll 30 said "^recover $db $T/backup/r \[.*\] "
ok 'all is there' poll 10 sync
is 'one error' "$(count error)" 1
is 'one recovery' "$(count recover)" 1
ok 'restored' restore_same "$db" "$T/backup/r"
stop_replicate; result $? 'clean stop'

# One that never ends holds up nobody, and is the only one.
cat >slow.yml <<END
on-error: sh slow
on-recover: echo recovered >>pids
dbs: [{ path: $db, replica: { path: $T/backup/r } }]
END
: >pids
start slow.yml
ok 'it begins' poll 20 sync
mv backup away
sql "$db" 'INSERT INTO t VALUES(2)'
ok 'a hook that hangs' poll 20 test -s pids
track "$(sed 1q pids)"
mv away backup
ok 'replication goes on' poll 30 sync
mv backup away
sql "$db" 'INSERT INTO t VALUES(3)'
ok 'a second error' poll 20 grep -c 'replication failed' log
mv away backup
ok 'again' poll 30 sync
ok 'restored' restore_same "$db" "$T/backup/r"
is 'one hook at a time' "$(wc -l <pids | tr -d ' ')" 1
stop_replicate; result $? 'the end does not wait for it'
kill -0 "$(sed 1q pids)"; result $? 'it goes on by itself'

# Many at once: so many run, and the others come when those have ended.
mkdir many
i=10
while [ $i -lt 50 ]; do
	sql "many/$i.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' \
	    >/dev/null
	i=$((i + 1))
done
cat >many.yml <<END
on-error: sh slow
dbs: [{ dir: $T/many, pattern: '*.db', replica: { path: $T/backup/m } }]
END
: >pids
start many.yml
all() { [ "$(find backup/m -name '*1.ltx' | grep -c /9/)" = 40 ]; }
ok 'forty databases' poll 30 all
mv backup away
failed() { [ "$(grep -c 'replication failed' log)" -ge 40 ]; }
ok 'all fail' poll 60 failed
run() { [ "$(wc -l <pids)" -eq "$1" ]; }
ok 'some hooks run' poll 20 run 32
kill "$(sed 1q pids)"
ok 'one ends, another begins' poll 20 run 33
while read -r i; do track "$i"; done <pids
mv away backup
stop_replicate; result $? 'clean stop'
run 33; result $? 'and no more'

# What ends the process is told, too.
mkdir -p other/.a
"$LS" replicate "$db" "file://$T/backup/r" >log2 2>&1 </dev/null &
holder=$!; track "$holder"
ok 'another has it' poll 20 sync
: >said
HOME=$T status 5 'locked' "$LS" replicate -config l.yml
ok 'the hook says so' poll 10 said '^error .*\[.*lock'
done_testing
