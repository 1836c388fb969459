#!/bin/sh
# SPDX-License-Identifier: ISC
# We and the real Litestream continue each other's replica, and it compacts
# our files.
. "$(dirname "$0")/lib.sh"
need_peer 0.5.12; OLD=$PEER
need_peer

new() {	# NAME PAGE-SIZE
	db=$T/$1.db dir=$T/$1.replica
	sql "$db" "PRAGMA page_size = $2; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b)" >/dev/null
	write 90
}
write() {
	sql "$db" "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1
	    FROM c WHERE x < $1) INSERT INTO t(b) SELECT randomblob(600)
	    FROM c; UPDATE t SET b = randomblob(500) WHERE id % 7 = $1 % 7"
}
once() {	# TITLE PROGRAM
	ok "$1" "$2" replicate -once "$db" "file://$dir"
}
newest() { "$LS" ltx -level all "file://$dir" | awk '
    NR > 1 && $3 > n { n = $3 } END { print n }'; }
rm_out() { rm -f "$T"/o.db*; }
same_by() {	# PROGRAM
	rm_out
	"$1" restore -o "$T/o.db" "file://$dir" || return
	[ "$(dump "$T/o.db")" = "$(dump "$db")" ] || return
	[ "$(sql "$T/o.db" 'PRAGMA integrity_check')" = ok ]
}
both() {	# TITLE
	ok "$1: restored by us" same_by "$LS"
	ok "$1: restored by Litestream" same_by "$PEER"
}
# What restored at a TXID must do so for ever.
remember() {
	keep=$(newest); rm -f "$T/keep.db"
	"$LS" restore -txid "$keep" -o "$T/keep.db" "file://$dir" >"$T/log" 2>&1
}
kept() {
	rm_out
	ok "$1: the TXID before" "$LS" restore -txid "$keep" -o "$T/o.db" \
	    "file://$dir"
	ok "$1: is what it was" cmp "$T/keep.db" "$T/o.db"
}
next() {	# TITLE PROGRAM: commits, checkpoint, commits
	_before=$(newest)
	remember
	write 3
	sql "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	write 2
	once "$1" "$2"
	both "$1"
	kept "$1"
	is "$1: numbering goes on" "$({ newest; echo "$_before"; } | sort |
	    tail -n 1)" "$(newest)"
	[ "$(newest)" != "$_before" ]; result $? "$1: to another TXID"
}

for n in ${ALL:+512 1024 16384} 4096 65536; do
	new "ours$n" "$n"
	once "pages of $n: begun by us" "$LS"
	both "pages of $n: begun by us"
	for i in 1 2; do
		next "pages of $n: continued by Litestream, $i" "$PEER"
		next "pages of $n: then by us, $i" "$LS"
	done
done
new theirs 4096
once 'begun by Litestream' "$PEER"
both 'begun by Litestream'
next 'begun by Litestream: continued by us' "$LS"
next 'begun by Litestream: by us again' "$LS"
rm -rf "$T/.theirs.db-litestream"
next 'begun by Litestream: by us without local state' "$LS"
next 'begun by Litestream: by Litestream again' "$PEER"

new old 4096
once 'begun by 0.5.12' "$OLD"
write 5
once 'begun by 0.5.12: by it again' "$OLD"
next 'begun by 0.5.12: continued by us' "$LS"
next 'begun by 0.5.12: then by 0.5.17' "$PEER"

# It takes over, and compacts our files to level 1 and more.
compact() {	# PROGRAM: its daemon with short levels, until level 2 has all
	want=$(newest)
	cat >"$T/peer.yml" <<-END
	levels:
	  - interval: 1s
	  - interval: 2s
	l0-retention: 1s
	l0-retention-check-interval: 1s
	dbs:
	  - path: "$db"
	    replica:
	      url: "file://$dir"
	      sync-interval: 100ms
	END
	"$1" replicate -config "$T/peer.yml" >"$T/peer.log" 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 12 compacted
}
compacted() {
	for _l in 1 2; do
		"$LS" ltx -level "$_l" "file://$dir" | awk -v want="$want" '
		    NR > 1 && $3 >= want { all = 1 } END { exit !all }' ||
			return
	done
}
for n in ${ALL:+512 4096 65536} 1024; do
	new "compact$n" "$n"
	start_replicate "$db" "$dir"
	poll 10 restore_same "$db" "$dir"
	for i in 1 2 3 4 5; do
		write $i
		poll 10 restore_same "$db" "$dir"
	done
	stop_replicate; result $? "pages of $n: six files of ours"
	remember
	ok "pages of $n: Litestream compacts them" compact "$PEER"
	write 4
	stop_replicate; result $? "pages of $n: it stops"
	both "pages of $n: compacted"
	ls "$dir/ltx/1" >"$T/level1"
	matches "pages of $n: from our first file on" "$T/level1" \
	    '^0000000000000001-'
	grep -E 'level=ERROR|compaction failed' "$T/peer.log" >"$T/complaints"
	is "pages of $n: without complaint" "$(cat "$T/complaints")" ''
	next "pages of $n: compacted, continued by us" "$LS"
	ok "pages of $n: and compacted again" compact "$PEER"
	stop_replicate; result $? "pages of $n: it stops again"
	both "pages of $n: compacted again"
done
done_testing
