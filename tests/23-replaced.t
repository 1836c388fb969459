#!/bin/sh
# SPDX-License-Identifier: ISC
# The database is another one than a moment ago: replaced, deleted, made again,
# of another page size, behind another link; while we run, and while we do not.
. "$(dirname "$0")/lib.sh"

fill() {	# DB ROWS [PAGE-SIZE]: a database in WAL mode
	sql "$1" "PRAGMA page_size = ${3:-1024}; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
	    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
	    WHERE x < $2) INSERT INTO t(b) SELECT randomblob(400) FROM c" \
	    >/dev/null
}
replicated() { poll 15 restore_same "$db" "$dir"; }
commit() { sql "$db" 'INSERT INTO t(b) VALUES(randomblob(700))'; }
at_rest() { [ ! -s "$db-wal" ]; }	# nothing left of the old database
newest() { "$LS" ltx -level all "file://$dir" | awk '
    NR > 1 && $3 > n { n = $3 } END { print n }'; }
# What was restored at this TXID is in $T/old.db: it stays.
keep() {
	txid=$(newest); rm -f "$T"/old.db
	"$LS" restore -o "$T/old.db" "file://$dir" >"$T/o" 2>&1
}
kept() {	# TITLE
	rm -f "$T/r.db"
	ok "$1: what was before is kept" "$LS" restore -txid "$txid" \
	    -o "$T/r.db" "file://$dir"
	ok "$1: and is what it was" cmp "$T/old.db" "$T/r.db"
}

fill "$T/other" 60; fill "$T/larger" 300; fill "$T/pages" 70 4096
by_mv() { cp "$T/$1" "$T/new" && mv "$T/new" "$db"; }
by_cp() { cp "$T/$1" "$db"; }
by_rm() { rm -f "$db" "$db-wal" "$db-shm" && cp "$T/$1" "$db"; }

setup() {	# NAME
	db=$T/$1.db dir=$T/$1.replica
	fill "$db" 100
	start_replicate "$db" "$dir"
	replicated || echo "# $1: no first backup"
	commit
	replicated || echo "# $1: no increment"
}
after() {	# TITLE: the new database is replicated, and goes on
	ok "$1" replicated
	commit
	ok "$1: a commit" replicated
	stop_replicate; result $? "$1: clean stop"
	is "$1: integrity of the source" \
	    "$(sql "$db" 'PRAGMA integrity_check')" ok
	ok "$1: after the stop" restore_same "$db" "$dir"
	kept "$1"
}

i=0
some() {	# WORD: the form for every day does without this one
	[ -n "${ALL:-}" ] || case $1 in
	mv-larger | cp-pages | rm-other | up-rm-other | up-mv-pages) false ;;
	esac
}
for how in mv cp rm; do
	for new in other larger pages; do
		some $how-$new || continue
		i=$((i + 1))
		setup "down$i"
		stop_replicate; result $? "$how $new, while down: stop"
		keep
		"by_$how" $new
		start_replicate "$db" "$dir"
		after "$how $new, while down"
	done
done
for new in other pages; do
	for how in mv rm; do
		some up-$how-$new || continue
		i=$((i + 1))
		setup "up$i"
		keep
		ok "$how $new, while up: the WAL is emptied before" \
		    poll 10 at_rest
		"by_$how" $new
		after "$how $new, while up"
	done
done

# Deleted, and made again only later.
setup later
keep
rm "$db"; rm -f "$db-wal" "$db-shm"
poll 5 grep -q 'level=[A-Z]* .*later.db' "$T/log"
kill -0 "$PID"; result $? 'deleted: we wait for it'
is 'deleted: we do not make it' "$(ls "$T/later.db" 2>/dev/null)" ''
fill "$db" 10
after 'deleted and made again'

# The page size changed by the application itself, while we are down.
setup vacuumed
stop_replicate; result $? 'another page size: stop'
keep
sql "$db" 'PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM;
    PRAGMA journal_mode = WAL; INSERT INTO t(b) VALUES(1)' >/dev/null
ok 'another page size, -once' "$LS" replicate -once "$db" "file://$dir"
ok 'another page size, -once: restored' restore_same "$db" "$dir"
start_replicate "$db" "$dir"
after 'another page size'

# A symbolic link that is turned to another database.
fill "$T/first.db" 100
ln -s first.db "$T/link.db"
db=$T/link.db dir=$T/link.replica
start_replicate "$db" "$dir"
linked() { db=$(readlink -f "$T/link.db") && replicated; }
ok 'a symbolic link' linked
db=$T/first.db
ok 'a symbolic link: the WAL is emptied in time' poll 10 at_rest
fill "$T/second.db" 50
ln -s second.db "$T/new.db"
mv "$T/new.db" "$T/link.db"
ok 'a symbolic link, turned' linked
sql "$T/second.db" 'INSERT INTO t(b) VALUES(1)'
ok 'a symbolic link, turned: a commit' linked
stop_replicate; result $? 'a symbolic link, turned: clean stop'

# An application that stops, swaps its database and starts again beside us,
# when all has been quiet for a while.  It starts after we have let go of the
# old one: before that, any second connection is a hazard (CAVEATS).
opened() { grep -c 'opening again' "$T/log"; }
let_go() { [ "$(opened)" -gt "$before" ]; }
setup swap
keep
for round in 1 ${ALL:+2}; do
	fill "$T/swap.new" $((round * 130))
	ok "swapped by the application, $round: the WAL is empty" \
	    poll 10 at_rest
	before=$(opened)
	mv "$T/swap.new" "$db"
	ok "swapped by the application, $round: noticed" poll 2 let_go
	sql "$db" "INSERT INTO t(b) VALUES($round);
	    PRAGMA integrity_check" >"$T/said"
	is "swapped by the application, $round: it sees the new one" \
	    "$(cat "$T/said")" ok
	ok "swapped by the application, $round" replicated
done
after 'swapped by the application'
done_testing
