#!/bin/sh
# SPDX-License-Identifier: ISC
# Levels, snapshots and retention beside the real Litestream: after each pass it
# restores every TXID that its ltx shows; it continues and compacts the result,
# and we what it left.
. "$(dirname "$0")/lib.sh"
need_peer 0.5.17
db=$T/app.db dir=$T/replica url=file://$T/replica
mkdir "$T/state"
sql "$db" 'PRAGMA journal_mode = WAL; PRAGMA auto_vacuum = INCREMENTAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, b)' >/dev/null
shown() {
	"$PEER" ltx -level all "$url" | awk 'NR > 1 { print $3 }' | sort -u
}
write() {	# N: rows, at times fewer
	sql "$db" "INSERT INTO t(b) VALUES(randomblob(3000)),
	    (zeroblob(2000)), ($1)"
	[ $(($1 % 5)) -ne 0 ] || sql "$db" 'DELETE FROM t WHERE id % 3 = 0;
	    PRAGMA incremental_vacuum'
}
remember() {	# the newest TXID is the database as it is now
	_x=$(shown | tail -n 1)
	[ -e "$T/state/$_x" ] || dump "$db" >"$T/state/$_x"
}
now=$(date +%s)000
pass() {
	now=$((now + ${1:-1000}))
	"$TESTS/bin/unit-compact" run "$dir" "$now" "$now" 16000 \
	    >"$T/log" 2>&1
}
# Each TXID that is shown, as it was remembered, or as we restore it.
all_restore() {
	_bad=''
	for _x in $(shown); do
		rm -f "$T"/o.db*
		"$PEER" restore -txid "$_x" -o "$T/o.db" "$url" \
		    >"$T/log" 2>&1 || { _bad="$_bad $_x"; continue; }
		if [ ! -e "$T/state/$_x" ]; then
			"$LS" restore -force -txid "$_x" -o "$T/p.db" "$url" \
			    >"$T/log" 2>&1 && cmp -s "$T/o.db" "$T/p.db"
		else
			[ "$(dump "$T/o.db")" = "$(cat "$T/state/$_x")" ]
		fi || _bad="$_bad $_x"
	done
	is "$1: each TXID restores" "$_bad" ''
}

i=0
while [ $((i += 1)) -le 24 ]; do
	write $i
	"$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 || exit 1
	remember
	[ $((i % 2)) -eq 0 ] || continue
	pass || { cat "$T/log"; exit 1; }
	[ $((i % 4)) -eq 2 ] || all_restore "pass $i"
done
i=0
while [ $((i += 1)) -le 6 ]; do
	write $i
	"$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 || exit 1
	remember
	pass 9000 || { cat "$T/log"; exit 1; }
	all_restore "late pass $i"
done
ls "$dir/ltx/9" >"$T/ls"
[ "$(wc -l <"$T/ls")" -lt 6 ]; result $? 'old snapshots have gone'
ls "$dir/ltx/0" >"$T/ls"
[ "$(wc -l <"$T/ls")" -lt 20 ]; result $? 'old level 0 files have gone'

# The real one goes on, with short levels.
cat >"$T/yml" <<YML
dbs:
  - path: $db
    replica:
      url: $url
levels:
  - interval: 1s
  - interval: 2s
  - interval: 4s
snapshot:
  interval: 8s
  retention: 16s
l0-retention: 4s
l0-retention-check-interval: 1s
YML
before=$(shown | tail -n 1)
"$PEER" replicate -config "$T/yml" >"$T/peer.log" 2>&1 &
PID=$!; track "$PID"
compacted() { [ "$(grep -c "compaction complete.*level=$1" "$T/peer.log")" \
    -ge 2 ]; }
busy() { write $((j += 1)); compacted 1 && compacted 2 && compacted 3; }
j=0
poll 40 busy
result $? 'Litestream compacts on top, at each level'
stop_replicate
grep 'level=ERROR' "$T/peer.log" | sed 's/^/# /'
is 'without an error' "$(grep -c 'level=ERROR' "$T/peer.log")" 0
[ "$(shown | tail -n 1)" != "$before" ]; result $? 'its TXIDs go on'
all_restore 'after Litestream'
now=$(date +%s)000
for k in 1 2 3; do
	write $k
	"$LS" replicate -once "$db" "$url" >"$T/log" 2>&1 || exit 1
	remember
	pass 9000 || { cat "$T/log"; exit 1; }
	all_restore "on top of Litestream, $k"
done
ok 'the newest state' restore_same "$db" "$dir"
done_testing
