#!/bin/sh
# SPDX-License-Identifier: ISC
# Names and content that somebody else chose: lines and terminals cannot be
# forged, JSON stays JSON, nobody's shell runs, and claims cost nothing.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
command -v python3 >/dev/null || skip_all 'no python3'
db=$T/app.db dir=$T/replica url=file://$T/replica
sql "$db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
for _i in 1 2 3; do
	sql "$db" 'INSERT INTO t VALUES(hex(randomblob(500)))'
	"$LS" replicate -once "$db" "$url" >log 2>&1 || cat log
done
# TITLE: what was last said is UTF-8, and nothing that a terminal or a reader
# takes for more; it is kept in seen.
plain() {
	cat out err >seen
	[ -s seen ] && python3 -c 'import unicodedata
for line in open("seen", "rb").read().split(b"\n"):
    for c in line.decode():
        assert unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp"), repr(c)'
	result $? "$1: plain" || od -c seen | tail -n 20 | sed 's/^/# /'
}

# A name with all of it: newline, escape, C1, direction, not UTF-8, quotes.
odd=$T/$(printf 'o\nError: forged\033[31m\302\233m\342\200\256\377"q\\.db')
sql "$db" ".backup 'copy.db'"; cp copy.db "$odd"
ok 'an odd name: replicated' "$LS" replicate -once "$odd" "file://$T/r2"
plain 'an odd name: the log'
is 'an odd name: each line is one of ours' "$(grep -v -c '^time=' seen)" 0
ok 'an odd name: restored' "$LS" restore -json -force -o "$odd" "file://$T/r2"
plain 'an odd name: JSON'
ok 'an odd name: JSON' python3 -c 'import json, sys
assert json.loads(open("seen", "rb").read().decode())["db_path"].endswith(
    "o\nError: forged\x1b[31m\x9bm\u202e\ufffd\"q\\.db")'
status 2 'an odd name in an error' "$LS" restore -o "$odd" "file://$T/r2"
plain 'an odd name in an error'
is 'an odd name in an error: one error' "$(grep -c '^Error: ' seen)" 1
matches 'an odd name in an error: readable' seen \
    'o\\x0aError: forged\\x1b\[31m\\xc2\\x9bm\\xe2\\x80\\xae\\xff"q\\\\?\.db'
status 1 'an odd name that is absent' "$LS" replicate -once "$odd.none" \
    "file://$T/r3"
plain 'an odd name that is absent'
long=$(printf '%05000d' 0)
status 1 'a name that is too long' "$LS" replicate -once "$T/$long" \
    "file://$T/r3"
[ "$(wc -c <err)" -lt 2000 ]; result $? 'a name that is too long: a short error'
status 1 'a path that is too long' "$LS" replicate -once "$db" \
    "file://$T/$long"
status 1 'an output path that is too long' "$LS" restore -o "$T/$long" "$url"

# What a replica says of itself.
printf 'id %032d\npage_size 4096\nhost \033[2J\npath \233/x\302\205y\n' 7 \
    >"$dir/.identity"
status 6 'a forged identity: foreign' "$LS" replicate -once "$db" "$url"
matches 'a forged identity: shown' err '/x\\xc2\\x85y'
plain 'a forged identity'
mkdir -p other; printf '\033[31m\n' >other/.lock
python3 -c 'import fcntl, subprocess, sys
f = open("other/.lock"); fcntl.flock(f, fcntl.LOCK_EX)
sys.exit(subprocess.call(sys.argv[1:]))' "$LS" replicate -once "$db" \
    "file://$T/other" >out 2>err
is 'a forged pid: locked' $? 5
plain 'a forged pid'

# The child of -exec: words, no shell; the environment is only passed on.
# shellcheck disable=SC2016
ok '-exec: no shell' env X='$(touch made)' "$LS" replicate \
    -exec 'printf %s; touch made; `touch made` $(touch made) $X | touch made' \
    copy.db "file://$T/r4"
ok '-exec: nothing ran' test ! -e made
cat >c.yml <<END
dbs: [{path: \$P, replica: {path: $T/r5}}]
END
evil="x.db, replica: {path: $T/stolen}}, {path: y.db"
ok 'a variable can be configuration' env P="$evil" "$LS" databases \
    -config c.yml
is 'as in Litestream: two databases' "$(grep -c file out)" 2
ok 'not with -no-expand-env' env P="$evil" "$LS" databases -no-expand-env \
    -config c.yml
is 'not with -no-expand-env: one' "$(grep -c file out)" 1

# Claims: files of some kilobytes, every checksum right.
cat >claim.py <<'END'	# PATH TXID COMMIT PGNO...: zero pages of 4096 bytes
import struct, sys
path, txid, commit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
table = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ 0xd800000000000000 if i & 1 else i >> 1
    table.append(i)
crc = 2 ** 64 - 1
def add(b):
    global crc
    for c in b:
        crc = table[(crc ^ c) & 255] ^ crc >> 8
    return b
def varint(v):
    b = b''
    while v > 127:
        b += bytes([v & 127 | 128]); v >>= 7
    return b + bytes([v])
page = bytes(4096)
# One literal, a match of 4090 bytes, five literals.
block = b'\x1f\x00\x01\x00' + b'\xff' * 15 + bytes([4090 - 19 - 15 * 255]) \
    + b'\x50' + bytes(5)
out = add(struct.pack('>4sIIIQQQ', b'LTX1', 2, 4096, commit, txid, txid,
                      1800000000000) + bytes(60))
index = b''
for pgno in map(int, sys.argv[4:]):
    at, head = len(out), struct.pack('>IHI', pgno, 1, len(block))
    out += add(head) + block
    add(page)
    index += varint(pgno) + varint(at) + varint(len(out) - at)
out += add(bytes(6) + index + b'\0' + struct.pack('>QQ', len(index) + 1, 0))
out += struct.pack('>Q', (crc ^ 2 ** 64 - 1) | 1 << 63)
open(path, 'wb').write(out)
END
cat >limits.py <<'END'	# 64 MB of disk; peak memory in kB to the file peak
import resource, subprocess, sys
limit = 64 << 20
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rc = subprocess.call(sys.argv[1:], timeout=60)
with open('peak', 'w') as f:
    f.write('%d\n' % resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(rc if rc >= 0 else 99)
END
# Sanitizers need memory of their own: there only the statuses count.
sane=true
sh -c 'ulimit -v 8000000; exec "$0" version' "$LS" >/dev/null 2>&1 || sane=false
small() {	# TITLE MB
	$sane || { skip "$1: memory" 'a sanitizer has its own'; return; }
	[ "$(cat peak)" -lt $(($2 * 1024)) ]
	result $? "$1: memory" || echo "# $(cat peak) kB"
}
rm -rf "$dir" .app.db-litestream
"$LS" replicate -once "$db" "$url" >log 2>&1
file() { printf '%s/ltx/%d/%016x-%016x.ltx' "$dir" "$1" "$2" "$3"; }
python3 claim.py "$(file 0 2 2)" 2 1000 1 2
status 4 'a claim that is plainly not met' "$LS" restore -o o.db "$url"
for commit in 1000000 4294967294; do
	python3 claim.py "$(file 0 2 2)" 2 $commit 1 $commit
	size=$(wc -c <"$(file 0 2 2)")
	[ "$size" -lt 1000 ]; result $? "$commit pages in $size bytes"
	status 4 "$commit pages: restore" python3 limits.py "$LS" restore \
	    -o o.db "$url"
	small "$commit pages: restore" 64
	ok "$commit pages: nothing is left" test ! -e o.db -a ! -e o.db.tmp
	status 4 "$commit pages: verify" python3 limits.py "$LS" verify "$url"
	small "$commit pages: verify" 64
	cp -R "$dir" again; rm -rf .app.db-litestream
	ok "$commit pages: replicate goes on" python3 limits.py "$LS" \
	    replicate -once -adopt "$db" "file://$T/again"
	small "$commit pages: replicate" 64
	ok "$commit pages: and restores" restore_same "$db" "$T/again"
	rm -rf again
done

# The same in a file that has room for it, but no bytes.
if python3 -c 'import os, sys
os.truncate(sys.argv[1], 100 << 30)' "$(file 0 2 2)" 2>err; then
	status 4 'a sparse file: verify' python3 limits.py "$LS" verify "$url"
	small 'a sparse file: verify' 64
	status 4 'a sparse file: restore' python3 limits.py "$LS" restore \
	    -o o.db "$url"
	small 'a sparse file: restore' 64
	mv "$(file 0 2 2)" huge
	"$LS" restore -f -follow-interval 50ms -o st.db "$url" >log 2>&1 \
	    </dev/null & PID=$!; track $PID
	ok 'a sparse file: a standby' poll 20 grep -q 'entering follow' log
	mv huge "$(file 0 2 2)"
	ok 'a sparse file: refused' poll 20 grep -q "$(basename "$(file 0 2 2)")" log
	if sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$PID/status" >peak \
	    2>err && [ -s peak ]; then
		small 'a sparse file: a standby' 64
	else
		skip 'a sparse file: a standby: memory' 'no /proc'
	fi
	stop_replicate; result $? 'a sparse file: the standby stops'
else
	skip 'a sparse file' 'no file of 100 GB here'
fi

# A schema may call what SQLite has, on every version of it.
sql json.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a CHECK(json_valid(a)));
    INSERT INTO t VALUES(1)' >/dev/null
"$LS" replicate -once json.db "file://$T/r6" >log 2>&1
ok 'CHECK(json_valid(a)): restored and checked' "$LS" restore \
    -integrity-check full -o json.copy "file://$T/r6"
ok 'CHECK(json_valid(a)): verified' "$LS" verify -full "file://$T/r6"
done_testing
