#!/bin/sh
# SPDX-License-Identifier: ISC
# The control socket between the programs: Litestream's commands ask our
# replicator, ours ask Litestream's, and each says what the other would.
. "$(dirname "$0")/lib.sh"
need_peer 0.5.17
cd "$T" || exit

S=$T/s.sock
for i in a b; do
	sql $i.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
done
# What differs between runs, and the TXID: Litestream counts its own commits.
plain() {
	sed -e 's/[0-9]*-[0-9]*-[0-9]*T[0-9:.]*\([-+][0-9:]*\|Z\)/TIME/g' \
	    -e 's/\(txid"*:\) [0-9]*/\1 N/; s/\(duration_ms"*:\) [0-9]*/\1 N/' \
	    -e 's/\("pid":\) *[0-9]*/\1 N/; s/\("uptime_seconds":\) *[0-9]*/\1 N/' \
	    -e 's/PID: *[0-9]*/PID N/; s/Uptime: *[0-9hms]*/Uptime N/' \
	    -e 's/"version": ".*"/"version": V/; s/^Litestream .*/Litestream V/'
}
ask() {	# PROGRAM
	for i in info 'info -json' list 'list -json' \
	    "register -replica file://$T/b" "register -replica file://$T/b" \
	    "register -json -replica file://$T/b" 'sync -wait' \
	    'sync -wait -json' stop 'stop -json' start 'start -json' \
	    unregister 'unregister -json' 'unregister -dry-run' stop start; do
		case $i in
		info* | list*) operand= ;;
		*) operand=$T/b.db ;;
		esac
		echo "$i:"
		# shellcheck disable=SC2086
		timeout 60 "$1" ${i%% *} -socket "$S" ${i#"${i%% *}"} \
		    $operand 2>&1
		echo "status $?"
	done | plain
}
begin() {	# PROGRAM
	rm -rf r b .[ab].db-litestream "$S"
	cat >l.yml <<-END
	socket: { enabled: true, path: $S }
	dbs: [{ path: $T/a.db, replica: { path: $T/r } }]
	END
	"$1" replicate -config l.yml >log 2>&1 </dev/null &
	PID=$!; track "$PID"
	poll 30 test -S "$S" && poll 30 sh -c "'$LS' list -socket '$S' |
	    grep -q 'last sync: 2'"
}
for daemon in "$LS" "$PEER"; do
	name=Litestream; [ "$daemon" = "$LS" ] && name='this program'
	begin "$daemon"; result $? "$name listens"
	ask "$PEER" >peer
	ask "$LS" >ours
	cmp -s peer ours; result $? "asking $name: the same answers" ||
	    diff peer ours | sed 's/^/# /'
	[ "$daemon" = "$LS" ] && cp peer here
	stop_replicate; result $? 'clean stop'
done
cmp -s here peer; result $? 'both daemons answer the same' ||
    diff here peer | sed 's/^/# /'
done_testing
