#!/bin/sh
# SPDX-License-Identifier: ISC
# Every byte of every file flipped, every truncation, every file deleted,
# emptied, renamed, duplicated: verify reports it, or restore gives the right
# database.  A sample of them, or with LONG=1 all; SEED repeats one.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip_all "needs python3"
db=$T/app.db dir=$T/replica seed=${SEED:-$$}
echo "# seed $seed"
samples=100; [ "${LONG:-0}" = 1 ] && samples=0

# Five small transactions, each with its state; the last file has no other.
mkdir "$dir"
sql "$db" 'PRAGMA page_size = 512; PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t
    VALUES(1, hex(randomblob(150))), (2, hex(randomblob(150)))' >/dev/null
for i in 1 2 3 4 5; do
	sql "$db" "UPDATE t SET a = hex(randomblob(100)) WHERE id = 1 + $i % 2;
	    INSERT INTO t(a) VALUES(hex(randomblob(60)))"
	"$LS" replicate -once "$db" "file://$dir" >"$T/log" 2>&1 ||
	    { cat "$T/log"; exit 1; }
	sql "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	cp "$db" "$T/state$i"
done
# A level that has some of it as well.
mkdir "$dir/ltx/1"
for n in 1 2 3; do
	name=$(printf '%016x-%016x.ltx' $n $n)
	cp -p "$dir/ltx/0/$name" "$dir/ltx/1/$name"
done
python3 "$TESTS/flips.py" "$LS" "$dir" "$db" "$samples" "$seed" "$T"/state? \
    >"$T/report" 2>&1; rc=$?
cat "$T/report"
is 'each damage is found, or does no harm' "$rc" 0
done_testing
