#!/bin/sh
# SPDX-License-Identifier: ISC
# Copies of a replica at work, by the script of the manual and rsync: each
# restores to a committed state, also those that were killed.
. "$(dirname "$0")/lib.sh"
RSYNC=$(command -v rsync) || {
	[ "${CI:-}" != true ] || { result 1 'rsync is there'; done_testing; }
	skip_all 'no rsync'
}
export RSYNC T
db=$T/app.db copy=$T/host/app
mkdir "$T/bin" "$T/backup" "$T/host"

sed -n '/^\.Ss Copies elsewhere/,/^\.S/p' "$TESTS/../man/litestream.1" |
    sed -n '/^\.Bd/,/^\.Ed/p' | sed '/^\.Ed/,$d; /^\.Bd/d' |
    sed "s|/backup|$T/backup|; s|host:|$T/host/|" >"$T/script"
is 'the script is found' "$(grep -c -e rsync -e 'cp -al' "$T/script")" 3

# rsync that is killed when it has come to the KILL_AT-th file of all its runs.
cat >"$T/bin/rsync" <<'EOF'
#!/bin/sh
[ -n "${KILL_AT:-}" ] || exec "$RSYNC" "$@"
rm -f "$T/fifo" && mkfifo "$T/fifo"
"$RSYNC" --bwlimit=128 --outbuf=L --out-format=%n "$@" >"$T/fifo" &
while read -r name; do
	case $name in
	*.ltx)	echo "$name" >>"$T/seen"
		[ "$(wc -l <"$T/seen")" -lt "$KILL_AT" ] || kill -9 $! ;;
	esac
done <"$T/fifo"
wait $!
EOF
chmod +x "$T/bin/rsync"
run() { rm -f "$T/seen"; PATH=$T/bin:$PATH sh "$T/script"; }

# Everything is fast, so that files move up and go while they are copied.
cat >"$T/litestream.yml" <<EOF
levels: [{interval: 300ms}, {interval: 1s}, {interval: 2s}]
snapshot: {interval: 2s, retention: 3s}
l0-retention: 500ms
l0-retention-check-interval: 200ms
dbs: [{path: $db, replica: {path: $T/backup/app}}]
EOF
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE c(n);
    CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO c VALUES(0)' \
    >/dev/null
"$LS" replicate -config "$T/litestream.yml" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
# Each commit makes c.n the newest id, and keeps forty rows.
while echo 'BEGIN IMMEDIATE; UPDATE c SET n = n + 1;
    INSERT INTO t SELECT n, randomblob(abs(random()) % 900) FROM c;
    DELETE FROM t WHERE id <= (SELECT n - 40 FROM c); COMMIT;'; do
	sleep 0.01
done | sqlite3 -batch -cmd '.timeout 10000' "$db" >/dev/null 2>&1 &
writer=$!; track $writer
newest() { sql "$db" 'SELECT n FROM c'; }
restored() {	# the number of the commit that the copy restores to
	rm -f "$T"/r.db*
	"$LS" restore -integrity-check full -o "$T/r.db" "file://$copy" \
	    >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	sql "$T/r.db" 'SELECT CASE WHEN n = (SELECT max(id) FROM t) AND
	    min(n, 40) = (SELECT count(*) FROM t) THEN n END FROM c'
}
at_least() {	# TITLE N: the copy restores to a commit from N on
	got=$(restored)
	[ "${got:-x}" -ge "$2" ] 2>/dev/null
	result $? "$1" || printf 'got %s, wanted %s\n' "$got" "$2" | sed 's/^/# /'
}
passed() { [ "$(newest)" -gt "$1" ]; }
complete() {	# a file may go while it is linked: then again
	poll 30 run || run
}
moved() { [ "$(find "$T/backup/app/ltx/9" -name '*.ltx' | wc -l)" -ge 3 ]; }

poll 60 moved; result $? 'levels, snapshots and retention are at work'
killed=0 last=0
for i in 1 2 3; do
	first=$(newest)
	"$LS" sync -config "$T/litestream.yml" "$db" >"$T/out" 2>&1
	ok "copy $i" complete
	ok "copy $i is whole" "$LS" verify "file://$copy"
	at_least "copy $i has what the replica had at its start" "$first"
	last=$first
	# Long enough for what was copied to be gone from level 0.
	poll 20 passed $((first + 20))
	for at in $i $((i * 4)); do
		KILL_AT=$at run >"$T/out" 2>&1 || killed=$((killed + 1))
		: >"$copy/ltx/0/.0000000000000001-0000000000000001.ltx.a1B2c3"
		at_least "killed at file $at of copy $i, it restores" "$last"
	done
done
[ $killed -ge 3 ]; result $? 'copies were killed'
kill $writer; wait $writer 2>/dev/null
stop_replicate; result $? 'the replicator ends well'
ok 'the last copy' complete
is 'is the replica' "$(cd "$copy/ltx" && find . -type f | sort)" \
    "$(cd "$T/backup/app/ltx" && find . -type f | sort)"
is 'without its locks' "$(cd "$copy" && find . ! -path './ltx*' | sort)" '.
./.identity'
restore_same "$db" "$copy"; result $? 'and restores to the database'
done_testing
