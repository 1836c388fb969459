#!/bin/sh
# SPDX-License-Identifier: ISC
# Offsets past 2 and 4 GiB: in the WAL, in a sparse file; with BIG=1 also in a
# database, which takes 5 GB of disk.
. "$(dirname "$0")/lib.sh"
export T
ok 'far into a WAL' "$TESTS/bin/unit-wal"
sed 's/^/# /' "$T/out"
title='a database of 4.3 GiB'
[ -n "${BIG:-}" ] || { skip "$title" 'takes long: BIG=1'; done_testing; }

# The header says 70000 pages of 64 KB, of which the file holds a hole.
db=$T/a.db dir=$T/replica
sql "$db" 'PRAGMA page_size = 65536; CREATE TABLE t(id INTEGER PRIMARY KEY, b)'
python3 - "$db" <<'END'
import sys
with open(sys.argv[1], 'r+b') as f:
    f.seek(28)
    f.write((70000).to_bytes(4, 'big'))
    f.truncate(70000 * 65536)
END
sql "$db" 'PRAGMA journal_mode = WAL; INSERT INTO t(b) VALUES(randomblob(200000))
    ' >/dev/null
[ "$(sql "$db" 'PRAGMA page_count')" -gt 70000 ]; result $? "$title: its size"
start_replicate "$db" "$dir"
txid1() { [ -e "$dir/ltx/0/0000000000000001-0000000000000001.ltx" ]; }
ok "$title: first backup" poll 120 txid1
sql "$db" 'UPDATE t SET b = randomblob(300000)'
stop_replicate; result $? "$title: stopped"
[ "$(wc -c <"$dir/ltx/0/0000000000000002-0000000000000002.ltx")" -lt 900000 ]
result $? "$title: sent what has changed"
ok "$title: restored" "$LS" restore -o "$T/o.db" "file://$dir"
sql "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' >"$T/out"
ok "$title: every byte" cmp "$db" "$T/o.db"
ok "$title: verified" "$LS" verify "file://$dir"
done_testing
