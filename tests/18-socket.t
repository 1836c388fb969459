#!/bin/sh
# SPDX-License-Identifier: ISC
# What goes wrong at the control socket, on either side of it: answers that are
# none, calls that fail, a database that does not answer.
. "$(dirname "$0")/lib.sh"
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
cd "$T" || exit
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -O1 -o shim.so "$TESTS/shim.c" -ldl -lpthread || exit
shim() {	# VAR=VALUE... CMD...
	env LD_PRELOAD="$T/shim.so" "$@"
}
S=$T/s.sock
http() { timeout 60 python3 "$TESTS/control.py" "$S" "$@" 2>&1; }
answers() { is "$1" "$(http "$2" "$3" "${4-}")" "$5"; }
sql a.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null

# Who answers to a command, once.
cat >liar.py <<'END'
import os, socket, sys
path, how = sys.argv[1:]
s = socket.socket(socket.AF_UNIX)
s.bind(path)
s.listen()
c, _ = s.accept()
if how != 'reset':              # what is not read at the end is a reset
    c.recv(65536)
try:
    if how == 'long':
        c.sendall(b'HTTP/1.1 200 OK\r\n\r\n' + b'x' * (1 << 27))
    elif how != 'reset' and how != 'silent':
        c.sendall(how.encode().decode('unicode_escape').encode())
    if how == 'silent':
        c.recv(1)
except BrokenPipeError:
    pass
END
lies() {	# HOW STATUS REGEX [FLAG...]
	rm -f "$S"; _how=$1 _rc=$2 _regex=$3; shift 3
	python3 liar.py "$S" "$_how" >/dev/null 2>&1 & track $!
	poll 20 test -S "$S"
	status "$_rc" "answer: $_how" "$LS" info -socket "$S" "$@"
	matches 'it is said' err "$_regex"
}
lies long 1 '^Error: failed to read response: more than [0-9]+ bytes$'
lies reset 1 "^Error: $S: failed to read response: Connection reset|does not"
lies silent 1 "^Error: .*$S: no answer in time" -timeout 1
lies 'hello' 1 '^Error: failed to parse response: not HTTP'
lies 'HTTP/1.1 2' 1 '^Error: failed to parse response: not HTTP'
lies 'HTTP/1.1 200 OK\r\n\r\n{' 1 '^Error: failed to parse response: '
lies 'HTTP/1.1 200 OK\r\n\r\n[]' 1 'failed to parse response: not an object'
lies 'HTTP/1.1 500 X\r\n\r\noh no' 1 '^Error: info failed: oh no$'
lies 'HTTP/1.1 500 X\r\n\r\n{"error":"bad"}' 1 '^Error: info failed: bad$'
rm -f "$S"
long=$T/$(awk 'BEGIN { for (i = 0; i < 120; i++) printf "x" }')
status 1 'a path that is too long' "$LS" info -socket "$long"
matches 'it is said' err 'too long for a socket'
status 1 'no path' "$LS" list -socket ''
matches 'it is said' err 'socket path required'
for i in info list start stop register unregister; do
	status 2 "$i: a flag that it does not have" "$LS" "$i" -bad
done
status 1 'sync: nobody listens' "$LS" sync -socket "$T/none" a.db
matches 'it is said' err '^Error: failed to connect to control socket'

# Each call that makes a thread, a pipe or a socket fails in turn: replication
# goes on, or the command says why it does not.
port=$(python3 -c 'import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >l.yml <<END
addr: 127.0.0.1:$port
socket: { enabled: true, path: $S }
dbs: [{ path: $T/a.db, replica: { path: $T/ra } }]
END
start() {	# VAR=VALUE...
	env LD_PRELOAD="$T/shim.so" "$@" "$LS" replicate -config l.yml >log 2>&1 </dev/null &
	PID=$!; track $PID
}
ends() { ! kill -0 "$PID" 2>/dev/null; }
begun() { ends || "$LS" sync -timeout 1s a.db; }
k=0 wrong='' cannot=0
while :; do
	k=$((k + 1))
	rm -f hit
	start SHIM_ROOT=/nowhere SHIM_FAIL=$k:5:once:others SHIM_HIT="$T/hit"
	poll 20 begun || wrong="$wrong $k:begun"
	if ends; then
		_reap
		[ $? -eq 1 ] && grep -q '^Error: \|level=ERROR' log ||
		    wrong="$wrong $k:ended"
	else
		"$LS" info -socket "$S" -timeout 5 >out 2>&1 || {
			cannot=$((cannot + 1))
			grep -q 'level=WARN.*control server' log ||
			    grep -q '^Error: ' out || wrong="$wrong $k:info"
		}
		http GET /info >/dev/null 2>&1
		stop_replicate || wrong="$wrong $k:stop"
	fi
	[ -e hit ] || break
	[ $k -lt 60 ] || break
done
is 'any of these calls may fail' "$wrong" ''
[ "$k" -gt 8 ] && [ "$k" -lt 60 ]; result $? "there are some: $((k - 1))"
[ "$cannot" -gt 1 ]; result $? 'some are those of the socket'
start SHIM_ROOT="$S" SHIM_FAIL=1:13:on
ok 'the socket cannot be given its mode' poll 20 grep -q \
    'failed to start control server.*chmod: Permission denied' log
stop_replicate; result $? 'clean stop'
k=0 wrong=''
start SHIM_ROOT=/nowhere
ok 'a command' poll 20 "$LS" info -socket "$S"
while :; do
	k=$((k + 1))
	rm -f hit
	shim SHIM_ROOT=/nowhere SHIM_FAIL=$k:5:once:others SHIM_HIT="$T/hit" \
	    "$LS" info -socket "$S" >out 2>&1
	rc=$?
	[ -e hit ] || break
	[ $k -lt 60 ] || break
	[ $rc -eq 1 ] && grep -q '^Error: ' out || wrong="$wrong $k"
done
is 'what fails there is said' "$rc$wrong" 0
[ "$k" -gt 3 ]; result $? "there are some: $((k - 1))"

# An address that is taken.
sed "s,$S,$T/other.sock,; s,$T/ra,$T/rb,; s,/a[.]db,/b.db," l.yml >m.yml
sql b.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
first=$PID
"$LS" replicate -config m.yml >log2 2>&1 </dev/null &
PID=$!; track $PID
ok 'an address that is taken' poll 20 grep -q \
    "level=ERROR.*cannot start metrics server.*127.0.0.1:$port: listen" log2
ok 'replication goes on' poll 20 "$LS" sync -timeout 1s b.db
stop_replicate; result $? 'clean stop'
PID=$first

# One file by two names.
ln -s a.db link.db
answers 'register by another name' POST /register \
    "{\"path\":\"$T/link.db\",\"replica_url\":\"file://$T/rc\"}" "500
{\"error\":\"failed to register database: $T/link.db: is replicated already, \
as $T/a.db\"}"
stop_replicate; result $? 'clean stop'

# A replica that does not answer.
start SHIM_ROOT="$T/ra" SHIM_HANG="$T/hang"
ok 'it answers' poll 20 "$LS" sync -timeout 1s a.db
: >hang
sql a.db 'INSERT INTO t VALUES(1)'
late="timeout: the replicator is at \\\\\"[a-z]+\\\\\""
http POST /sync "{\"path\":\"$T/a.db\",\"wait\":true,\"timeout\":1}" >got
matches 'sync: too late' got "\"sync database: $T/a.db: $late"
http POST /stop "{\"path\":\"$T/a.db\",\"timeout\":1}" >got
matches 'stop: too late' got "\"close database: $T/a.db: $late"
answers 'start: not yet' POST /start "{\"path\":\"$T/a.db\"}" "500
{\"error\":\"open database: $T/a.db: is still stopping\"}"
http POST /unregister "{\"path\":\"$T/a.db\",\"timeout\":1}" >got
matches 'unregister: too late' got "\"failed to unregister database: .*$late"
rm hang
ok 'it answers again' poll 20 sh -c "'$LS' list -socket '$S' |
    grep -q 'No databases'"
stop_replicate; result $? 'clean stop'
ok 'and whole' restore_same "$T/a.db" "$T/ra"
done_testing
