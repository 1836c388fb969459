#!/bin/sh
# SPDX-License-Identifier: ISC
# restore -f: a standby that follows the replica.  For longer:
# "python3 tests/follow.py track", "kill" and "steps".
. "$(dirname "$0")/lib.sh"
db=$T/app.db root=$T/replica url=file://$T/replica out=$T/out.db
seed=${SEED:-$(date +%s)}
echo "# seed $seed"

once() {	# SQL: a commit, and its file
	sql "$db" "$1" >/dev/null &&
	    "$LS" replicate -once "$db" "$url" >"$T/log" 2>&1
}
newest() {	# TXID
	for _f in "$root"/ltx/?/*.ltx; do
		_f=${_f##*-} && echo "${_f%.ltx}"
	done | sort | tail -n 1
}
follow() {	# [FLAGS]: PID, log in $T/follow
	: >"$T/follow"	# what is polled must not be of the one before
	"$LS" restore -f -follow-interval 50ms "$@" -o "$out" "$url" \
	    >"$T/follow" 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 10 grep 'entering follow mode' "$T/follow"
}
at() { [ "$(cat "$out-txid")" = "$1" ]; }
stop() { poll 10 at "$(newest)" && kill -TERM "$PID" && _reap; }
clean() { rm -rf "$T"/out.db* "$root"; }
plain() {	# FILE: without what a standby has of its own in the header
	for _at in 18:2 24:4 92:4; do
		dd if=/dev/zero of="$1" bs=1 seek="${_at%:*}" \
		    count="${_at#*:}" conv=notrunc 2>/dev/null
	done
}
same() {	# the standby is what restore gives
	rm -f "$T"/good.db
	"$LS" restore -txid "$(cat "$out-txid")" -o "$T/good.db" "$url" &&
	    cp "$out" "$T/copy.db" && plain "$T/good.db" &&
	    plain "$T/copy.db" && cmp "$T/good.db" "$T/copy.db" &&
	    [ "$(sql "$out" 'PRAGMA integrity_check')" = ok ]
}
value() { sql "file:$out?mode=ro" 'SELECT max(a) FROM t'; }

# Command line
for flags in '-txid 0000000000000001' '-timestamp 2026-01-01T00:00:00Z'; do
	# shellcheck disable=SC2086
	status 2 "-f with ${flags%% *}" "$LS" restore -f $flags -o "$out" "$url"
	matches "-f with ${flags%% *}: why" "$T/err" \
	    "^Error: cannot use follow mode with ${flags%% *}\$"
done
status 2 '-f with -dry-run' "$LS" restore -f -dry-run -o "$out" "$url"
matches '-f with -dry-run: why' "$T/err" '^Error: cannot use -dry-run with -f$'
status 3 'nothing to follow' "$LS" restore -f -o "$out" "$url"
ok 'nothing to follow, -if-replica-exists' "$LS" restore -f \
    -if-replica-exists -o "$out" "$url"

# A life
once 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    CREATE TABLE t(a, b); INSERT INTO t VALUES(1, zeroblob(50000))'
chmod 600 "$db"
follow
ok 'the first restore' poll 10 at "$(newest)"
is 'OUT-txid: 16 digits and a newline' "$(wc -c <"$out-txid")" 17
is 'readers need no WAL' "$(sql "$out" 'PRAGMA journal_mode')" delete
once 'INSERT INTO t VALUES(2, 0)'
ok 'a change' poll 10 at "$(newest)"
is 'a change is seen' "$(value)" 2
once 'DELETE FROM t; VACUUM; INSERT INTO t VALUES(3, 0)'
ok 'a shrunk database' poll 10 at "$(newest)"
ok 'a shrunk database is what restore gives' same
once 'CREATE TABLE u AS SELECT zeroblob(90000); UPDATE t SET a = 4'
ok 'SIGTERM: status 0' stop
matches 'SIGTERM: the log' "$T/follow" 'msg="follow mode stopped"$'
ok 'all of it is what restore gives' same
is 'nothing else is left' "$(ls "$T"/out.db*)" "$out
$out-txid"
once 'UPDATE t SET a = 5'
status 2 'a standby is no output for restore' "$LS" restore -o "$out" "$url"
follow -force
ok 'continued where it was, SIGINT: status 0' \
    eval 'poll 10 at "$(newest)" && kill -INT "$PID" && _reap'
matches 'continued: the log' "$T/follow" 'msg="resuming follow mode from crash'
is 'continued' "$(value)" 5
ok 'continued: it is what restore gives' same
"$LS" restore -f -json -o "$out" "$url" >"$T/json" 2>"$T/follow" &
PID=$!; track "$PID"; poll 10 grep 'entering' "$T/follow"; stop
matches '-json at the end' "$T/json" "^  \"txid\": \"$(newest)\",\$"

# Two at once, and the file taken away
follow
status 5 'a second follower' "$LS" restore -f -o "$out" "$url"
mv "$out" "$T/away"
once 'UPDATE t SET a = 6'
poll 10 eval '! kill -0 '"$PID"; _reap; is 'OUT taken away: status 1' $? 1
matches 'OUT taken away: the log' "$T/follow" \
    '^Error: .*out.db: removed or replaced while it was followed$'
mv "$T/away" "$out"

# Written to by somebody else
sql "$out" 'INSERT INTO t VALUES(99, 0)'
follow; stop
matches 'a standby written to: the log' "$T/follow" 'comparing all of it'
is 'a standby written to is put right' "$(value)" 6
ok 'a standby written to: it is what restore gives' same
follow
poll 10 at "$(newest)"
sql "$out" 'INSERT INTO t VALUES(99, 0)'
once 'CREATE TABLE v(a)'
ok 'written to meanwhile' stop
ok 'written to meanwhile is put right' same
# Behind SQLite's back, on a page that the next change touches.
rm "$out"*
follow
poll 10 at "$(newest)"
printf x | dd of="$out" bs=1 seek=1500 conv=notrunc 2>/dev/null
once 'UPDATE t SET a = 10'
ok 'pages damaged' stop
matches 'pages damaged: the log' "$T/follow" 'reason="fingerprint mismatch'
ok 'pages damaged: it is what restore gives' same
echo 0000000000000001 >"$out-txid"
follow; stop
ok 'an older OUT-txid' same
rm "$out-txid"
status 2 'without OUT-txid' "$LS" restore -f -o "$out" "$url"
matches 'without OUT-txid: upstream'\''s words' "$T/err" "^Error: cannot \
resume follow mode: database exists but no -txid file found; delete the \
database to re-restore: $out\$"
echo x >"$out-txid"
status 4 'nonsense in OUT-txid' "$LS" restore -f -o "$out" "$url"

# Readers
rm "$out"*
follow
poll 10 at "$(newest)"
mkfifo "$T/in"
sql "$out" <"$T/in" >"$T/reader" 2>&1 & reader=$!; track $reader
exec 3>"$T/in"
echo 'BEGIN; SELECT a FROM t;' >&3
poll 10 grep 10 "$T/reader"
once 'UPDATE t SET a = 11'
ok 'a reader that stays is waited for' poll 10 grep \
    'msg="waiting for readers"' "$T/follow"
echo 'SELECT a FROM t; COMMIT;' >&3
ok 'when it has gone the change is made' poll 10 at "$(newest)"
echo 'SELECT a FROM t;' >&3
exec 3>&-; wait $reader
is 'it saw its own state to the end' "$(xargs <"$T/reader")" '10 10 11'
ok 'the follower ends' stop

# Damage, gaps, other histories
once 'UPDATE t SET a = 12'
bad=$(newest) file=$root/ltx/0/$(newest)-$(newest).ltx
cp "$file" "$T/good"
printf x | dd of="$file" bs=1 seek=150 conv=notrunc 2>/dev/null
cp "$out" "$T/before"
follow
ok 'a damaged file is reported' poll 10 grep \
    "level=ERROR .*$bad-$bad.ltx: " "$T/follow"
ok 'and nothing of it applied' cmp "$out" "$T/before"
cp "$T/good" "$T/new"; mv "$T/new" "$file"
ok 'and applied when it is whole again' poll 10 at "$bad"
once 'UPDATE t SET a = 13'; poll 10 at "$(newest)"
mkdir -p "$root/ltx/1"
mv "$root/ltx/0" "$T/l0"
kill -TERM "$PID" && _reap
is 'a replica out of reach is no reason to end' $? 0
mv "$T/l0" "$root/ltx/0"
once 'UPDATE t SET a = 14'; gone=$(newest)
once 'UPDATE t SET a = 15'; last=$(newest)
cp -R "$root" "$T/whole"
rm "$root/ltx/0/$gone-$gone.ltx" "$root"/ltx/9/*.ltx 2>/dev/null
status 3 'a pruned history' timeout 20 "$LS" restore -f -o "$out" "$url"
matches 'a pruned history: upstream'\''s words' "$T/err" "^Error: cannot \
resume follow mode: saved TXID [0-9a-f]{16} is behind the earliest snapshot \
\\(min TXID $last\\); replica history has been pruned -- delete $out and \
$out-txid to re-restore\$"
rm -rf "$root"; mv "$T/whole" "$root"
ok 'a snapshot' "$LS" replicate -once -force-snapshot "$db" "$url"
rm "$root/ltx/0/$gone-$gone.ltx"
follow; stop
ok 'a gap is bridged by a snapshot' same
is 'a gap is bridged: the value' "$(value)" 15
rm -rf "$root" "$T/.app.db-litestream"
once 'UPDATE t SET a = 16'
status 6 'a replica that is behind' timeout 20 "$LS" restore -f -o "$out" "$url"
matches 'a replica that is behind: upstream'\''s words' "$T/err" \
    "^Error: cannot resume follow mode: saved TXID $last is ahead of latest \
snapshot \\(max TXID $(newest)\\); delete $out and $out-txid to re-restore\$"
while [ "$(newest)" != "$last" ]; do once 'UPDATE t SET a = a + 1'; done
once 'UPDATE t SET a = 77'
follow; stop
ok 'another history of that length is followed, not mixed in' same
is 'another history: the value' "$(value)" 77

# What a change that was not made has left
echo 00000000000000ff >"$out-txid.tmp"
follow
ok 'OUT-txid.tmp of a change that was not made goes' poll 20 \
    sh -c "! test -e '$out-txid.tmp'"
stop

# A first restore that fails after the image is there
rm -rf "$T/dir" && mkdir -p "$T/dir/x.db-txid"
status 1 'OUT-txid cannot be written: status 1' timeout 20 \
    "$LS" restore -f -o "$T/dir/x.db" "$url"
is 'and nothing else is left' "$(ls -A "$T/dir")" x.db-txid

# Another page size
sql "$db" 'PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM;
    PRAGMA journal_mode = WAL' >/dev/null
follow
once 'UPDATE t SET a = 78' &&
    ok 'another page size of the source' poll 10 at "$(newest)"
ok 'another page size: it is what restore gives' same
stop

status 0 'readers see no torn state' env LITESTREAM="$LS" TMPDIR="$T" \
    python3 "$TESTS/follow.py" track -quick -seed "$seed"
sed 's/^/# /' "$T/out"
status 0 'killed again and again' env LITESTREAM="$LS" TMPDIR="$T" \
    python3 "$TESTS/follow.py" kill -quick -seed "$seed"
sed 's/^/# /' "$T/out"
if command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null; then
	status 0 'killed, or refused, at any system call' env \
	    ASAN_OPTIONS=detect_leaks=0 LITESTREAM="$LS" TMPDIR="$T" \
	    python3 "$TESTS/follow.py" steps -quick -seed "$seed"
	sed 's/^/# /' "$T/out"
else
	skip 'killed, or refused, at any system call' 'no strace here'
fi
done_testing
