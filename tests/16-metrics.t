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
logging: {level: debug}
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

# What levels do, and what upstream's panels show of it: the events of DEBUG say
# the same.
counts() {	# NAME LABELS
	value "$1" ",$2"
}
for i in eligible not_compacted too_recent; do
	counts l0_retention_files_total "status=\"$i\"" |
	    grep -q -E '^[0-9]+$'
	result $? "upstream's l0_retention_files_total, $i"
done
put='replica_type="file",operation="PUT"'
written() {	# what the log says: files and bytes
	sed -n -e 's/.*msg="\(ltx file\|compaction\|snapshot\) .* size=//p' log |
	    awk '{ n++; b += $1 } END { print n + 0, b + 0 }'
}
agrees() {
	files=$(counts replica_operation_total "$put")
	[ "$files $(counts replica_operation_bytes "$put")" = "$(written)" ]
}
ok 'files and bytes written' poll 10 agrees
is 'none damaged' "$(value compaction_verify_error_count)" 0

# Each name has its two lines before its values, once, and nothing else is
# there.
get /metrics
sed 1d got | awk '
/^# HELP litestream_[a-z0-9_]+ .+/ { help = $3; if (seen[help]++) exit 1; next }
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

# The events of DEBUG have upstream's names and keys.
event() {	# LINE, with N and TXID for what differs
	matches "event $1" log "^time=[^ ]* level=DEBUG $(echo "$1" | sed \
	    -e 's/=TXID/=[0-9a-f]{16}/g; s/TX=/TXID=/g; s/=N/=[0-9]+/g; s/ db=/&"[^ ]*"/')\$"
}
event 'msg=sync db= txid=TXID ms=N snap=false'
event 'msg=sync db= txid=TXID ms=N snap=true reason="first backup"'
event 'msg="ltx file uploaded" db= level=0 minTX=TXID maxTX=TXID size=N pages=N'
event 'msg=checkpoint db= mode=PASSIVE result=complete'
event 'msg=checkpoint db= mode=TRUNCATE result=complete'
event 'msg="compaction complete" db= level=1 txid.min=TXID txid.max=TXID size=N'
grep ' level=INFO ' log | sed 's/.* msg=\("[^"]*"\|[^ ]*\).*/\1/' | sort |
    uniq -d >twice
is 'at INFO nothing is said twice' "$(cat twice)" ''
cat >quick.yml <<END
logging: {level: debug}
l0-retention: 1s
l0-retention-check-interval: 1s
levels: [{interval: 1s}]
snapshot: {interval: 1s}
socket: {enabled: true, path: $S}
dbs: [{ path: '$db', replica: { path: $T/backup/r } }]
END
"$LS" replicate -config quick.yml >log 2>&1 </dev/null &
PID=$!; track "$PID"
ok 'it begins' poll 20 has ok 1
sql "$db" 'INSERT INTO t VALUES(2)'
ok 'a snapshot' poll 20 grep -q 'msg="snapshot complete"' log
event 'msg="snapshot complete" db= txid=TXID size=N'
gone() { [ "$(counts replica_operation_total "${put%PUT*}DELETE\"")" -gt 0 ]; }
ok 'files deleted' poll 20 gone
event 'msg="retention enforced" db= deleted_count=N'
ok 'files and bytes written' poll 10 agrees
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
