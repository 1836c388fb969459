#!/bin/sh
# SPDX-License-Identifier: ISC
# Whoever can write to a replica or a meta directory puts there what is no file
# of ours: nothing is waited for, nothing outside is read, changed or removed.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
command -v python3 >/dev/null || skip_all 'no python3'
db=$T/app.db dir=$T/replica url=file://$T/replica
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
change() { sql "$db" 'INSERT INTO t VALUES(hex(randomblob(500)))'; }
once() { timeout 30 "$LS" replicate -once "$@" "$db" "$url"; }
for _i in 1 2 3; do change; once >log 2>&1 || cat log; done
cp -R -p "$dir" good; cp -R -p .app.db-litestream good-meta
back() {
	rm -rf "$dir" .app.db-litestream
	cp -R -p good "$dir"; cp -R -p good-meta .app.db-litestream
}
echo secret >victim
untouched() { [ "$(cat victim)" = secret ] && [ ! -e created ]; }
name() { printf '%016x-%016x.ltx' "$1" "$1"; }

put() {	# KIND PATH
	rm -rf "$2"
	case $1 in
	fifo) mkfifo "$2" ;;
	socket) python3 -c 'import os, socket, sys
os.chdir(os.path.dirname(sys.argv[1]))
socket.socket(socket.AF_UNIX).bind(os.path.basename(sys.argv[1]))' "$2" ;;
	zero) ln -s /dev/zero "$2" ;;
	link) ln -s "$T/victim" "$2" ;;
	dangling) ln -s "$T/created" "$2" ;;
	sparse) python3 -c 'import os, sys
os.truncate(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 10 << 30)' "$2" ;;
	directory) mkdir "$2" ;;
	esac
}
kinds='fifo socket zero link dangling sparse'
# STATUS TITLE PATH KIND...: a pass with that in place of PATH
each() {
	_want=$1 _title=$2 _path=$3; shift 3
	wrong=''
	for _kind; do
		back; put "$_kind" "$_path"; change
		_got=0; once -enforce-retention >out 2>err || _got=$?
		[ "$_got" -eq "$_want" ] && untouched ||
		    wrong="$wrong $_kind:$_got"
		[ "$_want" -eq 0 ] || grep -q "^Error: .*${_path#"$T"}" err ||
		    wrong="$wrong $_kind:silent"
		_got=0; rm -f r.db
		timeout 30 "$LS" restore -o r.db "$url" >out 2>err || _got=$?
		[ $_got -lt 5 ] && untouched || wrong="$wrong $_kind:restore"
		[ "$_want" -ne 0 ] || { [ $_got -eq 0 ] &&
		    [ "$(dump r.db)" = "$(dump "$db")" ]; } ||
		    wrong="$wrong $_kind:differs"
	done
	is "$_title" "$wrong" ''
}
# shellcheck disable=SC2086
{
	each 0 'in place of the newest file: healed' "$dir/ltx/0/$(name 3)" \
	    $kinds directory
	each 0 'in place of the next file: healed' "$dir/ltx/0/$(name 4)" \
	    $kinds directory
	each 0 'in place of its temporary: replaced' \
	    "$dir/ltx/0/$(name 4).tmp" $kinds
	each 0 'in place of .identity: replaced' "$dir/.identity" $kinds
	each 0 'in place of .clock: replaced' "$dir/.clock" $kinds
	each 0 'in place of the page table: replaced' \
	    "$T/.app.db-litestream/pages" $kinds
	each 1 'in place of .lock: refused' "$dir/.lock" fifo socket zero link \
	    dangling directory
	each 1 'in place of a level: refused' "$dir/ltx/0" fifo zero link \
	    dangling
	each 1 'in place of all levels: refused' "$dir/ltx" socket link
}
back; ln victim "$dir/hard"; mv "$dir/hard" "$dir/.lock"
status 1 'a hard link in place of .lock is refused' once
ok 'and not written to' untouched

# verify reads it all, and says what is wrong.
for kind in fifo zero sparse; do
	back; put $kind "$dir/ltx/0/$(name 2)"
	status 4 "verify: $kind in place of a file" timeout 30 "$LS" verify "$url"
	matches "verify: $kind: says so" out "$(name 2)"
done

# A link to a directory: another user's replica, or any place at all.
sql other.db 'PRAGMA journal_mode = WAL; CREATE TABLE secrets(a)' >/dev/null
"$LS" replicate -once other.db "file://$T/other" >log 2>&1
: >"other/ltx/0/kept.tmp"; : >"other/ltx/0/$(name 9).tmp"
find other -type f -exec cksum {} + | sort >before
back; rm -rf "$dir/ltx/0"; ln -s "$T/other/ltx/0" "$dir/ltx/0"
status 1 'restore follows no link to a level' "$LS" restore -o n.db "$url"
matches 'and names it' err '^Error: .*/replica/ltx/0: open: '
status 1 'verify neither' "$LS" verify "$url"
status 1 'ltx neither' "$LS" ltx "$url"
status 1 'prune neither' "$LS" prune -keep 0s "$url"
status 1 'replicate neither' once
back; rm -rf "$dir/ltx"; ln -s "$T/other/ltx" "$dir/ltx"
status 1 'restore follows no link to all levels' "$LS" restore -o n.db "$url"
status 1 'replicate neither, to all levels' once
back; mv "$dir" moved; ln -s moved "$dir"; change
ok 'ROOT itself may be a link' once
ok 'and restores' restore_same "$db" "$dir"
rm "$dir"; rm -rf moved
back; rm -rf "$dir/ltx/1"; ln -s "$T/other/ltx/0" "$dir/ltx/1"
start_replicate "$db" "$dir"
ok 'a replicator that runs refuses a link to a level' \
    poll 20 grep -q 'replica/ltx/1: open: ' log err
kill -TERM "$PID" 2>/dev/null; _reap
find other -type f -exec cksum {} + | sort >after
ok 'nothing there was removed or added' cmp before after
ok 'and nothing was restored' test ! -e n.db

# A meta directory that becomes a link while we run.
back; mkdir target; echo mine >target/pages
start_replicate "$db" "$dir"
poll 20 "$LS" status "$db"; result $? 'a replicator that is at rest'
mv .app.db-litestream aside; ln -s target .app.db-litestream
stop_replicate; result $? 'the meta directory a link: clean stop'
is 'the meta directory a link: nothing is written there' \
    "$(cat target/*; ls -A target)" 'mine
pages'
rm .app.db-litestream

# A restore, and a standby.
"$LS" restore -f -o stand.db "$url" >log 2>&1 </dev/null & PID=$!; track $PID
poll 20 grep -q 'entering follow mode' log
stop_replicate; result $? "a standby: clean stop" || sed "s,^,# ," log
sql third.db 'CREATE TABLE theirs(a)'; cp third.db third.copy
mv stand.db stand.real; ln -s third.db stand.db
status 1 'a standby that became a link is refused' timeout 30 "$LS" restore -f \
    -o stand.db "$url"
ok 'what it leads to stays' cmp third.db third.copy
rm stand.db; mv stand.real stand.db; mkfifo stand.db-journal
"$LS" restore -f -o stand.db "$url" >log 2>&1 </dev/null & PID=$!; track $PID
ok 'a FIFO for a journal is not waited for' \
    poll 20 grep -q 'entering follow mode\|Error:' log
kill -TERM $PID 2>/dev/null; _reap
for kind in fifo zero directory; do
	rm -rf o.db; put $kind o.db
	status 2 "restore to: $kind" timeout 30 "$LS" restore -force -o o.db \
	    "$url"
done
rm -rf o.db; ln -s victim o.db
ok 'restore -force to a link replaces the link' "$LS" restore -force -o o.db \
    "$url"
ok 'not what it leads to' untouched
rm -f o.db; ln -s created o.db; ln -s created o.db.tmp
ok 'restore to a link that leads nowhere' "$LS" restore -force -o o.db "$url"
ok 'replaces it, too' untouched

# The owner exchanges a level for a link while a file is being written there.
if command -v "${CC:-cc}" >/dev/null; then
	# shellcheck disable=SC2086
	${CC:-cc} ${CFLAGS:-} -shared -fPIC -o shim.so "$TESTS/shim.c" -ldl ||
	    exit 1
	back; echo theirs >"other/ltx/0/$(name 4).tmp"; change
	find other -type f -exec cksum {} + | sort >before
	echo "$dir/ltx/0" >hang
	SHIM_HANG=$T/hang SHIM_ROOT=$dir LD_PRELOAD=$T/shim.so "$LS" \
	    replicate -once "$db" "$url" >log 2>&1 </dev/null &
	PID=$!; track $PID
	ok 'a level exchanged for a link: in the middle of a file' \
	    poll 20 test -s "$dir/ltx/0/$(name 4).tmp"
	mv "$dir/ltx/0" was; ln -s "$T/other/ltx/0" "$dir/ltx/0"
	rm hang; _reap
	is 'a level exchanged for a link: noticed' $? 5
	find other -type f -exec cksum {} + | sort >after
	ok 'a level exchanged for a link: nothing there is touched' \
	    cmp before after
	is 'a level exchanged for a link: nothing is left' \
	    "$(find was -name "*.tmp")" ''
	rm "$dir/ltx/0"; mv was "$dir/ltx/0"
	ok 'a level exchanged for a link: back again' once
	ok 'and restores' restore_same "$db" "$dir"
else
	skip 'a level exchanged for a link' 'no C compiler'
fi

# Below ROOT all that is made, renamed, linked or removed is an entry of a
# directory that is held open: no path can be bent in between.
if command -v strace >/dev/null && strace -o /dev/null true 2>err; then
	traced() {
		ASAN_OPTIONS=detect_leaks=0 strace -f -s 500 -o "trace.$1" -e \
		    trace='?open,openat,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat,?mkdir,mkdirat' \
		    "$LS" "$@" >>log 2>&1
	}
	rm -rf "$dir" .app.db-litestream; change
	traced replicate -once "$db" "$url"; cp trace.replicate trace.first
	for _i in 1 2 3; do change; once >>log 2>&1; done
	echo x >"$dir/ltx/0/$(name 4)"; mkdir -p "$dir/ltx/1"
	touch "$dir/ltx/0/$(name 7).tmp" "$dir/ltx/1/$(name 7).tmp"
	traced replicate -once -force-snapshot -enforce-retention "$db" "$url"
	change; once >>log 2>&1
	traced prune -keep 0s "$url"
	cat trace.first trace.replicate trace.prune >trace
	for call in 'mkdir.*"ltx"' 'rename.*ltx"' 'link.*ltx"' \
	    'rename.*damaged"' 'unlink.*ltx"' 'unlink.*tmp"'; do
		grep -q "$call.* = 0" trace || echo "$call"
	done >missing
	is 'each kind of change is seen' "$(cat missing)" ''
	is 'none of them goes by a path below ROOT' \
	    "$(grep '"[^"]*/replica/ltx' trace |
	    grep -v 'open.*O_RDONLY.*O_NOFOLLOW.*O_DIRECTORY')" ''
else
	skip 'nothing goes by a path below ROOT' 'no strace'
fi

# A directory that cannot be removed is named; many damaged files cost one sync.
back; mkdir "$dir/ltx/0/$(name 7).tmp"; change
status 1 'a directory in place of some temporary' once
matches 'is named' err "^Error: .*/ltx/0/$(name 7)\.tmp: remove: "
if command -v strace >/dev/null && strace -o /dev/null true 2>err; then
	back; change
	python3 -c 'for i in range(10, 310):
    open("replica/ltx/0/%016x-%016x.ltx" % (i, i), "w").close()'
	ok 'three hundred damaged files: a pass' \
	    env ASAN_OPTIONS=detect_leaks=0 strace -f -o trace \
	    -e trace=fsync,fdatasync "$LS" replicate -once "$db" "$url"
	[ "$(grep -c sync trace)" -lt 50 ]
	result $? 'three hundred damaged files: not a sync for each'
	ok 'three hundred damaged files: restored' restore_same "$db" "$dir"
else
	skip 'three hundred damaged files' 'no strace'
fi

# Many names, none of them ours.
back; python3 - <<'END'
import os
for i in range(20000):
    open('replica/ltx/0/%016x-%016x.lt%s' % (i, i, 'yX'[i % 2]), 'w').close()
END
change
ok 'twenty thousand odd names: a pass' once
ok 'and restores' restore_same "$db" "$dir"
done_testing
