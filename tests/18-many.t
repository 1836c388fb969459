#!/bin/sh
# SPDX-License-Identifier: ISC
# More databases than the limit of descriptors allows: as many as it does are
# replicated as if there were no others, and one of those gets the place of one
# that goes.
. "$(dirname "$0")/lib.sh"

mkdir "$T/db"
for i in 1 2 3 4 5 6; do
	sql "$T/db/$i.db" 'PRAGMA journal_mode = wal; CREATE TABLE t(a)' \
	    >/dev/null
done
cat >"$T/yml" <<END
dbs:
  - dir: $T/db
    pattern: '*.db'
    watch: true
    replica:
      path: $T/replica
END
# shellcheck disable=SC3045
(ulimit -n 64 && exec "$LS" replicate -config "$T/yml") >"$T/log" 2>&1 \
    </dev/null &
PID=$!; track "$PID"

waiting() { grep -c 'msg="replication failed.*limit of descriptors' "$T/log"; }
replicas() { find "$T/replica" -path '*/ltx/0/*1.ltx' | wc -l; }
count() { [ "$("$1")" -eq "$2" ]; }	# FUNCTION N
ok 'four have a place' poll 20 count replicas 4
ok 'two wait' poll 20 count waiting 2
matches 'says what the limit allows' "$T/log" \
    'level=WARN msg="limit of descriptors" limit=64 databases=6 allows=4'
for f in "$T"/replica/*; do
	[ -d "$f/ltx" ] || continue
	sql "$T/db/${f##*/}" 'INSERT INTO t VALUES(1)'
done
second() { find "$T/replica" -path '*/ltx/0/*2.ltx' | wc -l; }
ok 'those with a place get on' poll 20 count second 4
is 'without an error' "$(grep -c level=ERROR "$T/log")" 2
first=$(find "$T/replica" -name ltx | head -1)
first=${first%/ltx}
rm "$T/db/${first##*/}"
ok 'one gets the place of one that has gone' poll 60 count replicas 5
ok 'stops' stop_replicate
is 'all are in the replica then' "$(replicas)" 6
done_testing
