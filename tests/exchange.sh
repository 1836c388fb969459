#!/bin/sh
# SPDX-License-Identifier: ISC
# Replicas and databases go from one machine to another, of another byte order
# and word size: restored byte for byte, followed, and continued there, also by
# the real Litestream.  MACHINES is "NAME=DIRECTORY ...": each has a litestream,
# tests/bin/unit-compact, and path/sqlite3 of that machine.  SIZES: of pages.
# shellcheck disable=SC2119
. "$(dirname "$0")/lib.sh"
need_peer

sizes=${SIZES:-512 1024 2048 4096 8192 16384 32768 65536}
first=$PATH names=$(echo "$MACHINES" | sed 's/=[^ ]*//g')
on() {	# MACHINE
	at=$(echo " $MACHINES " | sed "s|.* $1=\\([^ ]*\\) .*|\\1|")
	LS=$at/litestream PATH=$at/path:$first
}
after() {	# MACHINE: the next one
	echo "$names $names" | sed "s/^[^=]*$1  *\\([^ ]*\\).*/\\1/"
}
others() { echo "$names" | tr -s ' ' '\n' | grep -vx "$1"; }

new() {	# NAME PAGE-SIZE
	db=$T/$1.db dir=$T/$1.replica url=file://$T/$1.replica
	sql "$db" "PRAGMA page_size = $2; PRAGMA auto_vacuum = INCREMENTAL;
	    PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < 60) INSERT INTO t(b) SELECT randomblob($2 * 2)
	    FROM c" >/dev/null
}
# The WAL stays as if the application had died, with frames that are not in the
# database file: its checksums are in the order of the machine's bytes.
commit() {	# SQL
	sql -cmd '.filectrl persist_wal 1' \
	    -cmd '.dbconfig no_ckpt_on_close on' "$db" "$1" >/dev/null
}
once() { "${1:-$LS}" replicate -once "$db" "$url" >"$T/log" 2>&1; }
points() { "$LS" ltx -level all "$url" | awk 'NR > 1 { print $3 }' | sort -u; }
newest() { points | tail -n 1; }

# Seven states, the fourth with fewer pages; levels and snapshots of some.
live() {
	now=$(date +%s)000
	for _i in 1 2 3 4 5 6; do
		once || return
		[ "$_i" -eq 6 ] || at_level || return
		case $_i in
		3) commit 'DELETE FROM t WHERE id > 20;
		    PRAGMA incremental_vacuum' ;;
		*) commit "UPDATE t SET b = randomblob(900) WHERE id = $_i;
		    INSERT INTO t(b) VALUES(randomblob(40 * $_i))" ;;
		esac || return
	done
	once
}
at_level() {
	now=$((now + 9000))
	"$at/tests/bin/unit-compact" run "$dir" "$now" "$now" 3600000 \
	    >"$T/log" 2>&1
}
# Each point as the machine restored it that wrote it.
keep() {
	rm -rf "$T/keep" && mkdir "$T/keep"
	for _x in $(points); do
		"$LS" restore -txid "$_x" -o "$T/keep/$_x" "$url" || return
	done
	"$LS" ltx -level all -json "$url" >"$T/keep/list"
}
kept() {
	"$LS" ltx -level all -json "$url" | cmp - "$T/keep/list" || return
	for _x in $(points); do
		rm -f "$T/o.db"
		"$LS" restore -txid "$_x" -o "$T/o.db" "$url" || return
		cmp "$T/o.db" "$T/keep/$_x" || return
	done
}
# Restored by every machine and by Litestream.
everywhere() {	# TITLE
	for _m in $names; do
		on "$_m"
		ok "$1: restored on $_m" restore_same "$db" "$dir"
	done
	rm -f "$T/o.db"*
	ok "$1: restored by Litestream" "$PEER" restore -o "$T/o.db" "$url"
	is "$1: what it restored" "$(dump "$T/o.db")" "$(dump "$T/s.db")"
}
# A commit of one row is sent as such: the page table was understood.
goes_on() {	# TITLE [PROGRAM]
	_was=$(newest)
	commit 'UPDATE t SET b = randomblob(9) WHERE id = 7'
	once "${2:-$LS}"; result $? "$1" || sed 's/^/# /' "$T/log"
	_now=$(newest)
	is "$1: numbering goes on" "$(printf '%s\n' "$_was" "$_now" |
	    sort -u)" "$_was
$_now"
	[ -n "${2:-}" ] || [ "$(wc -c <"$dir/ltx/0/$_now-$_now.ltx")" -lt \
	    $((n * 4 + 4000)) ]
	result $? "$1: what has changed"
}

for n in $sizes; do
	for a in $names; do
		t="pages of $n, written on $a"
		on "$a"; new "$a$n" "$n"
		ok "$t" live
		[ "$(find "$dir/ltx" -path '*/[1-9]/*.ltx' | wc -l)" -ge 3 ]
		result $? "$t: with levels and snapshots"
		ok "$t: each point" keep
		for b in $(others "$a"); do
			on "$b"
			ok "$t: each point, and the list, on $b" kept
			ok "$t: verified on $b" "$LS" verify "$url"
		done
		b=$(after "$a")
		on "$b"; goes_on "$t, continued on $b"
		everywhere "$t, continued on $b"
		on "$b"; goes_on "$t, then by Litestream" "$PEER"
		on "$a"; goes_on "$t, then on $a"
		everywhere "$t, then on $a"
	done
done

# Live: replicator and application are killed, another machine takes over what
# they left, -wal and -shm too; a standby is begun on one and goes on elsewhere.
n=4096
for a in $names; do
	b=$(after "$a") t="live on $a"
	on "$a"; new "live$a" $n
	start_replicate "$db" "$dir"; writer=$PID
	ok "$t" poll 30 restore_same "$db" "$dir"
	commit 'UPDATE t SET b = 1 WHERE id = 3'
	ok "$t: a commit" poll 30 restore_same "$db" "$dir"
	out=$T/standby-$a.db
	follow() {
		"$LS" restore -f -follow-interval 100ms -o "$out" "$url" \
		    >"$T/flog" 2>&1 & PID=$!
		track $PID
	}
	caught_up() { [ -s "$out" ] && [ "$(dump "$out")" = "$(dump "$db")" ]; }
	on "$b"; follow
	ok "$t: followed on $b" poll 30 caught_up
	stop_replicate; result $? "$t: $b stops following"
	on "$a"; follow
	sql "$db" 'UPDATE t SET b = 2 WHERE id = 4'
	ok "$t: the standby goes on, on $a" poll 30 caught_up
	stop_replicate; result $? "$t: it stops there"
	echo "UPDATE t SET b = 3 WHERE id = 5; SELECT 'written';" >"$T/sql"
	mkfifo "$T/app-$a"
	sqlite3 "$db" <"$T/app-$a" >"$T/said" & app=$!; track $app
	exec 3>"$T/app-$a"; cat "$T/sql" >&3
	poll 30 grep -q written "$T/said"; kill -9 $app; exec 3>&-
	PID=$writer; kill_replicate
	[ -s "$db-wal" ] && [ -s "$db-shm" ]; result $? "$t: both are killed"
	on "$b"; goes_on "$t, taken over on $b"
	everywhere "$t, taken over on $b"
	is "$t: integrity" "$(sql "$db" 'PRAGMA integrity_check')" ok
done
done_testing
