#!/bin/sh
# SPDX-License-Identifier: ISC
# Memory does not grow with the database: every command on one of 64 MB, in 16
# MB of address space, code and libraries included; the daemon and a standby,
# whose threads reserve more than they use, in 16 MB that are resident.
. "$(dirname "$0")/lib.sh"
! grep -q '__[at]san_init' "$LS" || skip_all 'a sanitizer needs more'
[ -r /proc/self/status ] || skip_all 'no /proc/PID/status'
LIMIT_KB=16384
db=$T/a.db dir=$T/replica url=file://$T/replica

# shellcheck disable=SC3045
in_space() { (ulimit -v "$LIMIT_KB" && exec "$@"); }
peak() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }
fits() {	# TITLE PID
	_kb=$(peak "$2")
	echo "# $1: $_kb KB"
	[ "${_kb:-0}" -gt 0 ] && [ "$_kb" -le $LIMIT_KB ]
	result $? "$1: in 16 MB"
}
rows() {	# FROM TO: 4 KB each
	sql "$db" "WITH RECURSIVE c(x) AS (VALUES($1) UNION ALL SELECT x + 1
	    FROM c WHERE x < $2) INSERT OR REPLACE INTO t
	    SELECT x, randomblob(3900) FROM c"
}
status 1 'the limit is one' in_space dd if=/dev/zero of=/dev/null bs=32M count=1

sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, b)
    ' >/dev/null
rows 1 16000
ok 'replicate -once, first backup' in_space "$LS" replicate -once "$db" "$url"
rows 1000 9000
ok 'replicate -once, half of it changed' \
    in_space "$LS" replicate -once "$db" "$url"
ok 'replicate -once -force-snapshot' \
    in_space "$LS" replicate -once -force-snapshot "$db" "$url"
rows 3000 3010
ok 'replicate -once, a little changed' \
    in_space "$LS" replicate -once "$db" "$url"
ok 'restore, with a full check' in_space "$LS" restore \
    -integrity-check full -o "$T/o.db" "$url"
ok 'what it restored' restore_same "$db" "$dir"
ok 'verify' in_space "$LS" verify "$url"
ok 'ltx' in_space "$LS" ltx -level all "$url"
ok 'verify, against the database' in_space "$LS" verify -db "$db" "$url"
ok 'prune' in_space "$LS" prune -keep 0 "$url"

out=$T/standby.db
start_replicate "$db" "$dir"; writer=$PID
"$LS" restore -f -follow-interval 100ms -o "$out" "$url" >"$T/flog" 2>&1 &
standby=$!; track $standby
caught_up() {
	[ -s "$out" ] && [ "$(sql "$out" 'SELECT sum(length(b)) FROM t')" = \
	    "$(sql "$db" 'SELECT sum(length(b)) FROM t')" ]
}
ok 'standby' poll 30 caught_up
rows 2000 12000
sql "$db" 'INSERT INTO t VALUES(99999, 0)'
ok 'standby: a transaction of 40 MB' poll 30 caught_up
fits 'daemon' "$writer"
fits 'standby' "$standby"
PID=$standby; stop_replicate; result $? 'standby: clean stop'
PID=$writer; stop_replicate; result $? 'daemon: clean stop'
ok 'restored' restore_same "$db" "$dir"
done_testing
