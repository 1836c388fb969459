#!/bin/sh
# SPDX-License-Identifier: ISC
# Metrics: by the socket and by TCP, in Prometheus' format, counting what
# happened.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

S=$T/s.sock
db=$T/'a"b.db'
get() { timeout 60 python3 "$TESTS/control.py" "${2:-$S}" GET "$1" >got 2>&1; }
value() {	# NAME [LABELS]
	get /metrics && awk -v want="litestream_$1{db=\"$T/a\\\\\"b.db\"${2-}}" \
	    '$1 == want { print $2 }' got
}
has() { [ "$(value "$1" "${3-}")" = "$2" ]; }
more() { [ "$(value "$1" "${3-}" | cut -d. -f1)" -gt "$2" ]; }

port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >l.yml <<END
addr: 127.0.0.1:$port
socket: { enabled: true, path: $S }
dbs: [{ path: '$db', replica: { path: $T/backup/r } }]
END
mkdir backup
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
"$LS" replicate -config l.yml >log 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'it begins' poll 20 has ok 1
ok 'TXID' poll 10 has txid 1
sync() { "$LS" sync -timeout 10s "$db"; }
ok 'sync' sync
before=$(value sync_count)
sql "$db" 'INSERT INTO t VALUES(randomblob(10000))'
ok 'sync again' sync
ok 'passes are counted' more sync_count "$before"
is 'TXID after a commit' "$(value txid)" 2
is 'lag' "$(value lag_seconds | cut -d. -f1)" 0
is 'size of the database' "$(value db_size)" \
    "$(($(sql "$db" 'PRAGMA page_count') * 4096))"
more total_wal_bytes 10000; result $? 'bytes of the WAL'
is 'no error' "$(value sync_error_count)" 0
ok 'checkpoints' poll 20 more checkpoint_count 0 ',mode="PASSIVE"'
ok 'a WAL that is emptied' poll 20 more checkpoint_count 0 \
    ',mode="TRUNCATE"'
is 'audit' "$(value audit_differed_total)" 0
for i in db_size wal_size txid disk_full total_wal_bytes sync_count \
    sync_error_count sync_seconds compaction_verify_error_count; do
	value $i | grep -q -E '^[0-9.]+$'; result $? "upstream's $i"
done
for i in count error_count seconds; do
	value checkpoint_$i ',mode="PASSIVE"' | grep -q -E '^[0-9.]+$'
	result $? "upstream's checkpoint_$i"
done

# Each name has its two lines before its values, once, and nothing else is
# there.
get /metrics
sed 1d got | awk '
/^# HELP litestream_[a-z_]+ .+/ { help = $3; if (seen[help]++) exit 1; next }
/^# TYPE / { if ($3 != help || ($4 != "gauge" && $4 != "counter")) exit 1
	type = $3; next }
{ name = $1; sub(/[{].*/, "", name)
  if (name != type || $NF !~ /^[0-9.e+]+$/) exit 1 }'
result $? 'the format'

ok 'by TCP' get /metrics "127.0.0.1:$port"
is 'status' "$(sed 1q got)" 200
matches 'the same' got '^litestream_txid[{]db='
for i in /info /list /; do
	get $i "127.0.0.1:$port"
	is "no $i there" "$(sed 1q got)" 404
done

# What fails shows.
mv backup away
sql "$db" 'INSERT INTO t VALUES(1)'
ok 'the replica is gone' poll 20 has ok 0
ok 'errors are counted' poll 20 more sync_error_count 0
ok 'the lag grows' poll 20 more lag_seconds 1
mv away backup
ok 'it is back' poll 30 has ok 1
is 'no lag' "$(value lag_seconds | cut -d. -f1)" 0
ok 'with everything' restore_same "$db" "$T/backup/r"
stop_replicate; result $? 'clean stop'

# What a path is made of does not matter to who reads them.
odd=$T/$(printf 'o\303\251\377\nx.db')
sql "$odd" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
sed "s|dbs:.*|dbs: [{ dir: $T, pattern: 'o*.db', replica: { path: $T/ro } }]|" \
    l.yml >odd.yml
"$LS" replicate -config odd.yml >log 2>&1 </dev/null &
PID=$!; track "$PID"
label() { get /metrics && grep -q "^$1\$" got; }
ok 'UTF-8 stays, other bytes are shown' poll 20 label \
    "litestream_ok{db=\"$T/o$(printf '\303\251')\\\\\\\\xff\\\\\\\\x0ax.db\"} 1"
stop_replicate; result $? 'clean stop'
done_testing
