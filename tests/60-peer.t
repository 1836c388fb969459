#!/bin/sh
# SPDX-License-Identifier: ISC
# Interchange with the real Litestream: it restores what we wrote, we restore
# what it wrote, for each page size; also the LZ4 frames of older ones.
. "$(dirname "$0")/lib.sh"
need_peer 0.5.12; OLD=$PEER
need_peer

fill() {	# ROWS BYTES
	sql "$db" "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1
	    FROM c WHERE x < $1) INSERT INTO t(b) SELECT CASE x % 3 WHEN 0
	    THEN zeroblob($2) ELSE randomblob($2) END FROM c"
}
new() {	# NAME PAGE-SIZE
	db=$T/$1.db dir=$T/$1.replica
	sql "$db" "PRAGMA page_size = $2; PRAGMA auto_vacuum = INCREMENTAL;
	    PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b); CREATE INDEX i ON
	    t(substr(b, 1, 9))" >/dev/null
	fill 60 "$2"
}
# Three files: rows, more rows, fewer pages.
rounds() {	# TITLE PROGRAM
	_t=$1 _p=$2; shift 2
	_k=0
	while [ $((_k += 1)) -le 3 ]; do
		"$_p" replicate -once "$db" "file://$dir" >"$T/log" 2>&1
		result $? "$_t: -once, $_k" || sed 's/^/# /' "$T/log"
		cp "$db" "$T/state$_k"
		[ $_k -ne 1 ] || fill 30 900
		[ $_k -ne 2 ] || sql "$db" 'DELETE FROM t WHERE id > 20;
		    PRAGMA incremental_vacuum'
	done
}
restored_by() {	# TITLE PROGRAM
	rm -f "$T"/o.db*
	ok "$1: restore" "$2" restore -o "$T/o.db" "file://$dir"
	is "$1: .dump" "$(dump "$T/o.db")" "$(dump "$db")"
	is "$1: integrity" "$(sql "$T/o.db" 'PRAGMA integrity_check')" ok
}
each_txid() {	# TITLE PROGRAM: byte for byte as the other one restores it
	_bad=''
	for _x in $("$LS" ltx -level all "file://$dir" |
	    awk 'NR > 1 { print $3 }' | sort -u); do
		rm -f "$T"/o.db "$T"/p.db
		"$LS" restore -txid "$_x" -o "$T/o.db" "file://$dir" &&
		    "$2" restore -txid "$_x" -o "$T/p.db" "file://$dir" &&
		    cmp "$T/o.db" "$T/p.db" || _bad="$_bad $_x"
	done >"$T/log" 2>&1
	is "$1: each TXID as both restore it" "$_bad" ''
}

for n in 512 1024 2048 4096 8192 16384 32768 65536; do
	new "ours$n" $n
	rounds "pages of $n, ours" "$LS"
	restored_by "pages of $n, ours, by Litestream" "$PEER"
	each_txid "pages of $n, ours" "$PEER"
	if [ $((n % 3)) -eq 2 ]; then	# every other one
		new "old$n" $n
		rounds "pages of $n, Litestream 0.5.12's" "$OLD"
	else
		new "theirs$n" $n
		rounds "pages of $n, Litestream's" "$PEER"
	fi
	restored_by "pages of $n, Litestream's, by us" "$LS"
	each_txid "pages of $n, Litestream's" "$PEER"
done

new live 4096
start_replicate "$db" "$dir"
ok 'daemon: first backup' poll 10 restore_same "$db" "$dir"
for i in 1 2 3 4; do
	fill 9 700
	ok "daemon: increment $i" poll 10 restore_same "$db" "$dir"
done
restored_by 'daemon, while it runs, by Litestream' "$PEER"
stop_replicate; result $? 'daemon: clean stop'
restored_by 'daemon, by Litestream' "$PEER"
each_txid 'daemon' "$PEER"
"$PEER" ltx -level all -json "file://$dir" >"$T/theirs" 2>"$T/err"
"$LS" ltx -level all -json "file://$dir" >"$T/ours" 2>"$T/err"
ok 'ltx lists the same, to the byte' cmp "$T/theirs" "$T/ours"
done_testing
