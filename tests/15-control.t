#!/bin/sh
# SPDX-License-Identifier: ISC
# The control socket: upstream's requests and answers, to the byte but for
# times, and the commands that make them.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit

S=$T/s.sock
http() { timeout 60 python3 "$TESTS/control.py" "$S" "$@" 2>&1; }
raw() { http raw "$1"; }
# What differs between runs.
plain() {
	sed -e 's/[0-9]*-[0-9]*-[0-9]*T[0-9:]*\(\.[0-9]*\)\{0,1\}Z/TIME/g' \
	    -e 's/\("pid":\) *[0-9]*/\1 N/; s/\("uptime_seconds":\) *[0-9]*/\1 N/' \
	    -e 's/\(duration_ms"*:\) [0-9]*/\1 N/; s/PID: *[0-9]*/PID N/' \
	    -e 's/Uptime: *[0-9hms]*/Uptime N/' -e 's/"v[0-9.]*"/"V"/' \
	    -e 's/^Litestream v[0-9.]*$/Litestream V/'
}
ls_() { c=$1; shift; timeout 60 "$LS" "$c" -socket "$S" "$@" 2>&1 | plain; }
answers() { is "$1" "$(http "$2" "$3" "${4-}" | plain)" "$5"; }
start() { "$LS" replicate -config l.yml >"$T/log" 2>&1 </dev/null & PID=$!; track $PID; }
listens() { http GET /info; }

for i in a b; do
	sql $i.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
done
cat >l.yml <<END
socket: { enabled: true, path: $S, permissions: 0640 }
dbs: [{ path: $T/a.db, replica: { path: $T/ra } }]
END

# What is there already.
echo precious >"$S"
start
ok 'a file in the place of the socket' poll 20 grep -q \
    'level=WARN msg="failed to start control server".*is not a socket' log
ok 'replication goes on without' poll 20 "$LS" sync -timeout 5s a.db
is 'the file is left' "$(cat "$S")" precious
stop_replicate; result $? 'clean stop'
rm "$S"
long=$T/$(awk 'BEGIN { for (i = 0; i < 120; i++) printf "x" }')
sed "s|path: $S|path: $long|" l.yml >long.yml
"$LS" replicate -config long.yml >log 2>&1 </dev/null & PID=$!; track $PID
ok 'a path too long for a socket' poll 20 grep -q \
    'level=WARN msg="failed to start control server".*too long' log
ok 'replication goes on without' poll 20 "$LS" sync -timeout 5s a.db
stop_replicate; result $? 'clean stop'
python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$S"
start
ok 'a socket that was left is replaced' poll 20 listens
# shellcheck disable=SC2012
is 'permissions' "$(ls -l "$S" | cut -c1-10)" srw-r-----
ok 'it answers' poll 20 "$LS" sync -timeout 5s a.db

# Requests.
answers 'info' GET /info '' '200
{"version":"V","pid": N,"uptime_seconds": N,"started_at":"TIME","database_count":1}'
answers 'list' GET /list '' "200
{\"databases\":[{\"path\":\"$T/a.db\",\"status\":\"replicating\",\"last_sync_at\":\"TIME\"}]}"
answers 'txid' GET "/txid?path=$T%2fa.db" '' '200
{"txid":1}'
answers 'txid of none' GET '/txid' '' '400
{"error":"path required"}'
answers 'txid of an unknown one' GET '/txid?x=1&path=/no' '' '404
{"error":"database not found"}'
answers 'another path' GET /nowhere '' '404
404 page not found'
answers 'another method' POST /info '{}' '405
Method Not Allowed'
for i in sync start stop unregister register; do
	answers "$i: no path" POST /$i '{}' '400
{"error":"path required"}'
	http POST /$i '{"path":' >got
	matches "$i: not JSON" got '^[{]"error":"invalid request body","details":"'
done
for i in '[]' '{"path": 5}' '{"path":"/x","timeout":"1"}' \
    '{"path":"/x","timeout":1.5}' '{"path":"/x","timeout":99999999999}' \
    '{"path":"/x","wait":1}' '{"path":["/x"]}'; do
	http POST /sync "$i" >got
	is "status of $i" "$(sed 1q got)" 400
done
answers 'sync of an unknown one' POST /sync '{"path":"/no/db"}' '404
{"error":"database not found: /no/db"}'
answers 'start of an unknown one' POST /start '{"path":"/no/db"}' '500
{"error":"database not found: /no/db"}'
answers 'stop of an unknown one' POST /stop '{"path":"/no/db"}' '500
{"error":"database not found: /no/db"}'
answers 'unregister of an unknown one' POST /unregister '{"path":"/no/db"}' \
    '200
{"status":"already_unregistered","path":"/no/db","txid":0}'
answers 'register without a replica' POST /register '{"path":"/no/db"}' '400
{"error":"replica_url required"}'
answers 'register with another scheme' POST /register \
    '{"path":"/no/db","replica_url":"bare"}' '400
{"error":"invalid replica url: replica url scheme required: bare"}'
answers 'register into a replica that has a database' POST /register \
    "{\"path\":\"$T/b.db\",\"replica_url\":\"file://$T/ra\"}" "500
{\"error\":\"failed to register database: $T/ra: is the replica of $T/a.db\"}"
answers 'nothing new' POST /sync "{\"path\":\"$T/a.db\",\"wait\":true}" "200
{\"status\":\"no_change\",\"path\":\"$T/a.db\",\"txid\":1,\"replicated_txid\":1}"

# One database from its registration to its end.
answers 'register' POST /register \
    "{\"path\":\"$T/b.db\",\"replica_url\":\"file://$T/rb\"}" "200
{\"status\":\"registered\",\"path\":\"$T/b.db\"}"
answers 'register again' POST /register \
    "{\"path\":\"$T/b.db\",\"replica_url\":\"file://$T/rb\"}" "200
{\"status\":\"already_registered\",\"path\":\"$T/b.db\"}"
http POST /sync "{\"path\":\"$T/b.db\"}" >got
is 'it is replicated' "$(sed -n 's/.*"replicated_txid":\([0-9]*\).*/\1/p' \
    got)" 1
sql b.db 'INSERT INTO t VALUES(1)'
http POST /sync "{\"path\":\"$T/b.db\",\"wait\":true,\"timeout\":20}" >got
is 'sync' "$(sed -n 's/.*"txid":\([0-9]*\),.*/\1/p' got)" 2
ok 'what was committed before is there' restore_same "$T/b.db" "$T/rb"
answers 'start: runs' POST /start "{\"path\":\"$T/b.db\"}" "200
{\"status\":\"already_running\",\"path\":\"$T/b.db\",\"txid\":2}"
sql b.db 'INSERT INTO t VALUES(2)'
answers 'stop publishes' POST /stop "{\"path\":\"$T/b.db\"}" "200
{\"status\":\"stopped\",\"path\":\"$T/b.db\",\"txid\":3}"
answers 'stop again' POST /stop "{\"path\":\"$T/b.db\"}" "200
{\"status\":\"already_stopped\",\"path\":\"$T/b.db\",\"txid\":3}"
answers 'sync of a stopped one' POST /sync "{\"path\":\"$T/b.db\"}" "409
{\"error\":\"database not open: $T/b.db\"}"
http GET /list >got
matches 'list: stopped' got "\"path\":\"$T/b.db\",\"status\":\"stopped\""
ok 'and whole' restore_same "$T/b.db" "$T/rb"
sql b.db 'INSERT INTO t VALUES(3)'
answers 'start' POST /start "{\"path\":\"$T/b.db\"}" "200
{\"status\":\"started\",\"path\":\"$T/b.db\",\"txid\":3}"
http POST /sync "{\"path\":\"$T/b.db\"}" >got
is 'it goes on' "$(sed 1q got)" 200
ok 'with all that came meanwhile' restore_same "$T/b.db" "$T/rb"
answers 'unregister' POST /unregister "{\"path\":\"$T/b.db\"}" "200
{\"status\":\"unregistered\",\"path\":\"$T/b.db\",\"txid\":4}"
answers 'it is forgotten' GET /list '' "200
{\"databases\":[{\"path\":\"$T/a.db\",\"status\":\"replicating\",\"last_sync_at\":\"TIME\"}]}"

# The commands.
is 'litestream info' "$(ls_ info)" 'Litestream V
  PID N
  Uptime N
  Started at: TIME
  Databases:  1'
is 'info -json' "$(ls_ info -json)" '{
  "version": "V",
  "pid": N,
  "uptime_seconds": N,
  "started_at": "TIME",
  "database_count": 1
}'
is 'list' "$(ls_ list)" "$T/a.db [replicating] (last sync: TIME)"
is 'list -json' "$(ls_ list -json)" "{
  \"databases\": [
    {
      \"path\": \"$T/a.db\",
      \"status\": \"replicating\",
      \"last_sync_at\": \"TIME\"
    }
  ]
}"
is 'register' "$(ls_ register -replica "file://$T/rb" b.db)" \
    "status: registered
db_path: $T/b.db
replica: file://$T/rb
socket: $S"
is 'register again' "$(ls_ register -replica "file://$T/rb" b.db | sed 1q)" \
    'status: already registered'
is 'in JSON' "$(ls_ register -json -replica "file://$T/rb" b.db)" "{
  \"status\": \"already_registered\",
  \"db_path\": \"$T/b.db\",
  \"replica\": \"file://$T/rb\",
  \"socket\": \"$S\"
}"
is 'sync' "$(ls_ sync -wait b.db)" "db_path: $T/b.db
txid: 4
replica_txid: 4
duration_ms: N"
is 'stop' "$(ls_ stop b.db)" "status: stopped
db_path: $T/b.db
state: stopped
txid: 4
socket: $S"
is 'start' "$(ls_ start -json b.db)" "{
  \"status\": \"started\",
  \"db_path\": \"$T/b.db\",
  \"state\": \"running\",
  \"txid\": 4,
  \"socket\": \"$S\"
}"
is 'a preview' "$(ls_ unregister -dry-run b.db)" "Dry run: unregister request preview
  database: b.db
  socket: $S
  replicas: daemon-managed replica for this database
  final sync: daemon close will sync the database and replica before the command completes
  timeout: 30s
No unregister request was sent."
is 'unregister' "$(ls_ unregister -json b.db)" "{
  \"status\": \"unregistered\",
  \"db_path\": \"$T/b.db\",
  \"final_txid\": 4,
  \"socket\": \"$S\"
}"
is 'unregister again' "$(ls_ unregister b.db | sed 1q)" \
    'status: already_unregistered'
status 1 'what the daemon refuses' "$LS" stop -socket "$S" b.db
is 'in its words' "$(cat err)" \
    "Error: stop failed: database not found: $T/b.db"
for i in info list; do
	status 2 "$i: an operand" "$LS" $i x
	status 2 "$i: no time" "$LS" $i -timeout 0
	ok "$i -h" "$LS" $i -h
done
for i in start stop register unregister; do
	status 2 "$i: no operand" "$LS" $i
	status 2 "$i: two operands" "$LS" $i x y
	ok "$i -h" "$LS" $i -h
done
status 2 'register: no replica' "$LS" register x
status 1 'nobody listens' "$LS" info -socket "$T/none"
matches 'it says so' err '^Error: failed to connect to control socket: '

# What is no request, or too much of one.
for i in 'GET\r\n\r\n' 'GET x HTTP/1.1\r\n\r\n' 'GET /info HTTP/2\r\n\r\n' \
    'GET /info HTTP/1.1\r\nbad\r\n\r\n' 'GET /info HTTP/1.1\r\n : x\r\n\r\n' \
    'GET /info HTTP/1.1\r\nContent-Length: -1\r\n\r\n' \
    'GET /info HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1' \
    'GET /info\x00 HTTP/1.1\r\n\r\n'; do
	n=$((${n:-0} + 1))
	is "no request $n" "$(raw "$i" | sed 1q)" 400
done
is 'in chunks' "$(raw 'POST /sync HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n' |
    sed 1q)" 501
is 'a large body' "$(raw 'POST /sync HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n' |
    sed 1q)" 413
is 'a part of one' "$(raw 'POST /sync HTTP/1.1\r\nContent-Length: 9\r\n\r\n')" ''
is 'only a newline' "$(raw '\n')" ''
big=$(awk 'BEGIN { for (i = 0; i < 9000; i++) printf "x" }')
is 'a long head' "$(raw "GET /$big" | sed 1q)" 413
answers 'after all that' GET '/txid?path=%' '' '404
{"error":"database not found"}'
stop_replicate; result $? 'clean stop'
[ ! -e "$S" ]; result $? 'the socket has gone'

# The socket is that of whoever has it.
start
ok 'again' poll 20 listens
first=$PID
sed 's|dbs:.*|dbs: []|' l.yml >none.yml
"$LS" replicate -config none.yml >log2 2>&1 </dev/null & PID=$!; track $PID
ok 'a second process is told' poll 20 grep -q \
    'level=WARN msg="failed to start control server".*in use' log2
stop_replicate; result $? 'it ends'
answers 'the first one is still asked' GET "/txid?path=$T/a.db" '' '200
{"txid":1}'
PID=$first
rm "$S"
python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$S"
stop_replicate; result $? 'clean stop'
ok 'what another has put there is left' test -S "$S"

# Who waits for a replica that is away gets the reason, and takes no thread
# that others need.
mkdir backup
sed -i.old -e "s|path: $T/ra|path: $T/backup/ra|" \
    -e 's/, permissions: 0640//' l.yml
rm -rf .a.db-litestream
start
ok 'again' poll 20 listens
# shellcheck disable=SC2012
is 'permissions by default' "$(ls -l "$S" | cut -c1-10)" srw-------
ok 'it begins' poll 20 "$LS" sync -timeout 5s a.db
sql c.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
ok 'one more' "$LS" register -socket "$S" -replica "file://$T/backup/rc" c.db
ok 'it begins, too' poll 20 "$LS" sync -timeout 5s c.db
mv backup away
sql c.db 'INSERT INTO t VALUES(1)'
status 1 'stop says what is not published' \
    "$LS" stop -socket "$S" -timeout 1 c.db
matches 'the reason' err '^Error: stop failed: close database: .*timeout'
sql a.db 'INSERT INTO t VALUES(1)'
ok 'the replica is gone' poll 20 grep -q 'not mounted' log
status 1 'sync fails' "$LS" sync -socket "$S" -timeout 1s a.db
matches 'the reason' err \
    '^Error: sync failed: sync database: .*timeout.*"away".*not mounted'
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do
	http POST /sync "{\"path\":\"$T/a.db\",\"timeout\":60}" >wait$i &
	track $!
done
came() { [ "$(cat wait[0-9]* | grep -c "^$1\$")" = "$2" ]; }
ok 'not all threads wait' poll 20 came 503 1
is 'others are answered' "$(http GET /info | sed 1q)" 200
mv away backup
ok 'all get their answer' poll 60 came 200 12
ok 'one more is served' poll 20 "$LS" sync -socket "$S" a.db
ok 'all is there' restore_same "$T/a.db" "$T/backup/ra"
ended() { http GET /list | grep -q "c.db\",\"status\":\"stopped\""; }
ok 'the one that was to stop has stopped' poll 60 ended
ok 'and is whole' restore_same "$T/c.db" "$T/backup/rc"
is 'unregister' "$(ls_ unregister c.db | sed 1q)" 'status: unregistered'

# A database that another process has stays known, and can be started later.
start_replicate "$T/b.db" "$T/rc"
other=$PID PID=$(cat "$T/.a.db-litestream/.lock")
ok 'another process has it' poll 20 "$LS" sync -timeout 5s b.db
is 'register' "$(ls_ register -replica "file://$T/rb" b.db | sed 1q)" \
    'status: registered'
stopped() { http GET /list | grep -q "b.db\",\"status\":\"stopped\""; }
ok 'it is stopped' poll 20 stopped
is 'start' "$(ls_ start b.db | sed 1q)" 'status: started'
ok 'it is stopped again' poll 20 stopped
daemon=$PID PID=$other
stop_replicate; result $? 'the other one ends'
PID=$daemon
is 'start' "$(ls_ start b.db | sed 1q)" 'status: started'
ok 'it is replicated' poll 20 "$LS" sync -socket "$S" -timeout 5s b.db
is 'stop' "$(ls_ stop a.db | sed 1q)" 'status: stopped'
start_replicate "$T/a.db" "$T/backup/ra"
other=$PID PID=$daemon
ok 'another process has that' poll 20 "$LS" sync -timeout 5s a.db
is 'start' "$(ls_ start a.db | sed 1q)" 'status: started'
a_stopped() { http GET /list | grep -q "a.db\",\"status\":\"stopped\""; }
ok 'it is stopped' poll 20 a_stopped
PID=$other
stop_replicate; result $? 'the other one ends'
PID=$daemon
is 'the rest was not disturbed' "$(ls_ sync b.db | sed 1q)" "db_path: $T/b.db"
stop_replicate; result $? 'clean stop'

# The last database goes, the process stays.
start
ok 'again' poll 20 listens
is 'unregister the last' "$(ls_ unregister a.db | sed 1q)" \
    'status: unregistered'
is 'none' "$(ls_ list)" 'No databases configured'
is 'in JSON' "$(ls_ list -json)" '{
  "databases": []
}'
stop_replicate; result $? 'clean stop'
done_testing
