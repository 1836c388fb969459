#!/bin/sh
# SPDX-License-Identifier: ISC
# Database, local state and replica, each as it was 0 to 3 files ago; local
# state full of noise; the newest file of the replica missing, cut, flipped.
. "$(dirname "$0")/lib.sh"

db=$T/a.db dir=$T/replica meta=$T/.a.db-litestream
once() { "$LS" replicate -once "$db" "file://$dir"; }
commit() {
	sql "$db" "UPDATE t SET b = randomblob(300) WHERE id % 5 = $1;
	    INSERT INTO t(b) VALUES(randomblob(2000))"
}
sql "$db" 'PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;
    CREATE TABLE t(id INTEGER PRIMARY KEY, b);
    WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c
    WHERE x < 99) INSERT INTO t(b) SELECT randomblob(300) FROM c' >/dev/null

# State N is what was there after -once on commit N.
for n in 0 1 2 3; do
	commit $n
	once >"$T/log" 2>&1 || echo "# -once: $(tail -n 1 "$T/log")"
	mkdir "$T/$n"
	cp -p "$db" "$T/$n/db"
	cp -Rp "$meta" "$T/$n/meta"
	cp -Rp "$dir" "$T/$n/replica"
	cksum <"$T/$n/db" >>"$T/sums"
done
put() {	# DB META REPLICA: of these states; "-": none
	rm -rf "$db" "$db"-* "$meta" "$dir"
	cp -p "$T/$1/db" "$db"
	[ "$2" = - ] || cp -Rp "$T/$2/meta" "$meta"
	[ "$3" = - ] || cp -Rp "$T/$3/replica" "$dir"
}
restored() {
	rm -f "$T/r.db"
	"$LS" restore -o "$T/r.db" "file://$dir" && cmp "$db" "$T/r.db"
}
points() {	# each TXID is one of the states
	for _t in $("$LS" ltx -level all "file://$dir" |
	    awk 'NR > 1 { print $3 }' | sort -u); do
		rm -f "$T/r.db"
		"$LS" restore -txid "$_t" -o "$T/r.db" "file://$dir" ||
		    return
		cksum <"$T/r.db" | grep -qxFf - "$T/sums" ||
		    { echo "$_t is no state that ever was"; return 1; }
	done
}
settled() {	# as put together: one pass, a commit, another pass
	once && restored && points || return
	sql "$db" 'INSERT INTO t(b) VALUES(randomblob(900))' &&
	    cksum <"$db" >>"$T/sums" && once && restored
}
settled_later() {
	commit 4 && cksum <"$db" >>"$T/sums" && once && restored
}
# All of them where ALL is set; else each pair of ages in some.
n=0
for d in 0 1 2 3; do
	bad=''
	for l in 0 1 2 3 -; do
		for r in 0 1 2 3 -; do
			n=$((n + 1))
			[ -n "${ALL:-}" ] || [ $((n % 3)) -eq 0 ] || continue
			put $d $l $r
			settled >"$T/out" 2>&1 || {
				bad="$bad local $l, replica $r;"
				tail -n 3 "$T/out" | sed 's/^/# /'
			}
		done
	done
	is "database as after commit $d, local state and replica as after any" \
	    "$bad" ''
done

# The same for the daemon, for a few.
for s in '3 3 0' '3 0 3' '0 3 3' '2 3 1' '1 0 2'; do
	# shellcheck disable=SC2086
	put $s
	start_replicate "$db" "$dir"
	ok "daemon on states $s" poll 10 restored
	stop_replicate; result $? "daemon on states $s: clean stop"
	ok "daemon on states $s: every TXID" points
done

# Local state: every file of it, damaged in each way.
seed=${SEED:-1}
echo "# seed $seed"
damage() {	# FILE HOW
	python3 - "$1" "$2" "$seed" <<-'END'
	import os, random, sys
	name, how, seed = sys.argv[1:]
	rnd = random.Random(seed + how)
	data = bytearray(open(name, 'rb').read())
	if how == 'noise':
	    data = bytearray(rnd.randbytes(max(len(data), 100)))
	elif how == 'zeros':
	    data = bytearray(len(data))
	elif how == 'empty':
	    data = bytearray()
	elif how == 'cut':
	    del data[len(data) // 2:]
	elif how == 'longer':
	    data += rnd.randbytes(1000)
	elif how == 'flip first' and data:
	    data[0] ^= 1
	elif how == 'flip last' and data:
	    data[-1] ^= 1
	elif how == 'flip' and data:
	    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
	with open(name, 'wb') as f:	# in place: hard links see it as well
	    f.write(data)
	END
}
for how in noise zeros empty cut longer 'flip first' 'flip last' flip; do
	put 3 3 3
	for f in "$meta"/* "$meta"/.[!.]*; do
		[ ! -f "$f" ] || damage "$f" "$how"
	done
	ok "local state, $how" settled
done
put 3 3 3
rm -r "$meta"; mkdir -p "$meta/ltx/0"
cp "$dir"/ltx/0/*1.ltx "$meta/ltx/0"
ok 'local state: old files of Litestream, which it would upload' settled
is 'they are removed' "$(find "$meta" -name '*.ltx')" ''

# The replica's newest file.  What was before must restore as well; what is
# lost is sent again.
newest() { find "$dir/ltx/0" -name '*.ltx' | sort | tail -n 1; }
for state in 3 0; do
	for how in missing noise zeros empty cut longer 'flip first' \
	    'flip last' flip; do
		put 3 $state $state
		if [ "$how" = missing ]; then
			rm "$(newest)"
		else
			damage "$(newest)" "$how"
		fi
		title="replica of $((state + 1)), newest file, $how"
		ok "$title" once
		ok "$title: restored" restored
		ok "$title: every TXID that is listed" points
		ok "$title: again" settled
	done
done
put 3 3 3
rm "$(find "$dir/ltx/0" -name '*.ltx' | sort | sed -n 2p)"
ok 'replica, a file in the middle is missing' once
ok 'replica, a file in the middle is missing: restored' restored
ok 'replica, a file in the middle is missing: again' settled_later
put 3 - 3
find "$dir" -name '*.ltx' -exec touch {} +
ok 'replica copied without times, no local state' settled
done_testing
