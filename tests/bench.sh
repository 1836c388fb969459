#!/bin/sh
# SPDX-License-Identifier: ISC
# Time and disk of the main steps, beside the real Litestream where "make peer"
# has put it.  SIZE is that of the database; wall and CPU seconds.
. "$(dirname "$0")/lib.sh"
SIZE=${SIZE:-256MB}
PEER=${PEERS:-$TESTS/.peer}/0.5.17/bin/litestream

# timed CMD...: its wall and CPU seconds
timed() {
	python3 -c 'import resource, subprocess, sys, time
t = time.monotonic()
rc = subprocess.call(sys.argv[2:], stdout=open(sys.argv[1], "w"),
    stderr=subprocess.STDOUT)
t = time.monotonic() - t
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print("%7.2f %7.2f" % (t, u.ru_utime + u.ru_stime))
sys.exit(rc)' "$T/out" "$@" </dev/null || {
		echo "bench: failed: $*" >&2
		cat "$T/out" >&2
	}
}

row() {	# WHAT FIGURES
	printf '  %-40s %s\n' "$1" "$2"
}

used() {	# kilobytes on disk
	du -sk "$1" | cut -f1
}

change() {
	sql "$db" 'UPDATE test_table_0 SET text_field = text_field || 1
	    WHERE id % (SELECT count(*) / 100 FROM test_table_0) = 0'
}

bench() {	# NAME BINARY
	ls=$2 db=$T/$1.db to=$T/$1
	cp "$T/app.db" "$db"
	# Held open, so that the WAL stays while nobody replicates.
	mkfifo "$T/hold"
	sqlite3 "$db" <"$T/hold" >/dev/null 2>&1 &
	holder=$!
	track $holder
	exec 3>"$T/hold"
	echo 'SELECT count(*) FROM sqlite_master;' >&3
	row "$1" '   wall     CPU'
	row 'first backup (-once)' \
	    "$(timed "$ls" replicate -once "$db" "file://$to")"
	row '  disk used, KB' "$(used "$to")"
	change
	row '-once after 100 changed rows, WAL kept' \
	    "$(timed "$ls" replicate -once "$db" "file://$to")"
	change
	sql "$db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
	before=$(used "$to")
	row '-once after 100 changed rows, truncated' \
	    "$(timed "$ls" replicate -once "$db" "file://$to")"
	row '  added, KB' "$(($(used "$to") - before))"
	row 'restore' "$(timed "$ls" restore -o "$T/r.db" "file://$to")"
	row '  copy and sync' \
	    "$(timed sh -c 'cp "$1" "$2" && sync' sh "$T/r.db" "$T/copy")"
	exec 3>&-
	wait $holder
	rm -rf "$to" "$db"* "$T/r.db" "$T/copy" "$T/hold" "$T/.$1.db-litestream"
}

"$LT" populate -db "$T/app.db" -target-size "$SIZE" >/dev/null 2>&1 || exit
row 'database, KB' "$(used "$T/app.db")"
bench ours "$LS"
if [ -x "$PEER" ]; then
	bench litestream-0.5.17 "$PEER"
else
	echo "bench: no Litestream to compare with: make peer"
fi
