#!/bin/sh
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2059,SC2086
# The fuzz targets, tests/fuzz/NAME.c.
#	fuzz.sh build DIR	with $CC and $FLAGS, which say whether libFuzzer
#				runs them or tests/fuzz/main.c
#	fuzz.sh corpus DIR	inputs for each, in DIR/NAME, from what
#				$LITESTREAM and sqlite3 write
#	fuzz.sh run SECONDS RUNS  builds them for libFuzzer and runs each, for
#				so long or so often
top=$(cd "$(dirname "$0")/.." && pwd -P) || exit 1
export LC_ALL=C
targets='chain config http ltx ltx-fixed opt pages text unlz4 wal'

# Every module in front of which seam.h fits, and no instrumentation of the CRC:
# it has no branches worth the time.
build() {
	mkdir -p "$1/seam" && cd "$1/seam" && rm -f ./*.o || exit 1
	for c in "$top"/*.c; do
		case ${c##*/} in
		litestream*.c | test_*.c) ;;
		crc64.c) $CC $FLAGS -c "$c" ;;
		*) $CC $FLAGS $COVER -include "$top/tests/fuzz/seam.h" \
			-c "$c" ;;
		esac || exit 1
	done
	cd .. && rm -f modules.a && ar rc modules.a seam/*.o || exit 1
	shared='form mem'
	[ -n "$COVER" ] || shared="$shared main"
	for n in $targets $shared; do
		$CC $FLAGS -c -o "$n.o" "$top/tests/fuzz/$n.c" || exit 1
	done
	for n in $targets; do
		set -- "$n.o"
		for c in $shared; do set -- "$@" "$c.o"; done
		$CC $FLAGS $DRIVER -o "$n" "$@" modules.a $LDLIBS || exit 1
	done
	: >built
}

# replica DIR PAGE_SIZE: a database of two states, and its replica
replica() {
	mkdir -p "$1"
	sqlite3 "$1/a.db" >"$1/log" 2>&1 <<-E
	PRAGMA page_size = $2;
	PRAGMA journal_mode = WAL;
	CREATE TABLE t(x);
	.system cp $1/a.db-wal $1/wal1
	.system head -c 136 $1/a.db-shm >$1/shm
	.system $LITESTREAM replicate -once $1/a.db file://$1/r
	INSERT INTO t VALUES (zeroblob(700)), ('abc');
	.system cp $1/a.db-wal $1/wal2
	.system $LITESTREAM replicate -once $1/a.db file://$1/r
	E
	for f in wal2 shm .a.db-litestream/pages .a.db-litestream/status \
	    r/ltx/0/0000000000000002-0000000000000002.ltx; do
		[ -s "$1/$f" ] || { cat "$1/log"; return 1; }
	done
}

# An LTX header of one page of 512 bytes, all of it.
header() {
	printf 'LTX1\0\0\0\002\0\0\002\0\0\0\0\001'
	printf '\0\0\0\0\0\0\0\001\0\0\0\0\0\0\0\001'
	printf '\0\0\0\0\0\0\003\350'
	head -c 60 /dev/zero
}

# A page of zeros as LZ4 block: a literal, 506 times itself, five literals.
block() { printf '\037\0\001\0\377\350\120\0\0\0\0\0'; }

# frame FLAGS BLOCK_SIZE: an LZ4 frame of the blocks on stdin, each with its
# size; checksum of the header by the target
frame() { printf '\004\042\115\030%b%b\0' "$1" "$2"; cat; printf '\0\0\0\0'; }

ltx() {
	mkdir ltx ltx-fixed
	for size in 512 1024 65536; do
		for n in 1 2; do
			cp "d$size/r/ltx/0/"*"$n.ltx" "ltx/$size-$n"
			cp "ltx/$size-$n" "ltx-fixed/$size-$n"
		done
	done
	{ cat ltx/512-1; printf x; } >ltx/more
	{ header; printf '\0\0\0\001\0\001\0\0\0\014'; block
	    printf '\0\0\0\0\0\0'; } >ltx-fixed/block
	{ header; printf '\0\0\0\001\0\0\004\042\115\030\140\100\202\014\0\0\0'
	    block; printf '\0\0\0\0\0\0\0\0\0\0'; } >ltx-fixed/frame
}

wal() {
	mkdir wal pages
	for size in 512 1024; do
		for how in '\000' '\001' '\005'; do
			{ printf "$how\002"; cat "d$size/wal1"; } \
			    >"wal/$size-${how#?}"
		done
		{ printf '\001\002'; cat "d$size/wal2"; } >"wal/$size-long"
		{ printf '\002\000'; cat "d$size/shm"; } >"wal/$size-shm"
		{ printf '\003\000'; cat "d$size/shm"; } >"wal/$size-shm-fixed"
		{ printf '\007\000'; cat "d$size/shm"; } >"wal/$size-shm-equal"
		for how in '\000' '\003' '\006' '\007'; do
			{ printf "$how\011"
			    cat "d$size/.a.db-litestream/pages"; } \
			    >"pages/$size-${how#?}"
		done
	done
}

config() {
	mkdir config
	awk '/^\.Ed/ { on = 0 } on { print >out n ".yml" }
	/^\.Bd -literal/ { on = 1; n++ }' out=config/manual \
	    "$top/man/litestream.5"
	awk "/^cat >.*<<'?E'?\$/ { on = 1; n++; next } /^E\$/ { on = 0 }
	on { print >out n \".yml\" }" out=config/test "$top/tests/03-config.t"
	n=0
	while read -r line; do
		n=$((n + 1))
		printf '%b' "$line" >"config/line$n.yml"
	done <<-'E'
	dbs:\n  - path: /a.db\n    replica:\n      url: file:///b/${HOME}\n
	dbs:\n- path: /a\n  replicas:\n  - path: /b\n    sync-interval: 1s
	a: &a {path: /a, replica: {type: file, path: /r}}\ndbs: [*a]
	dbs: [{<<: {audit: no}, path: "/\\x41\\u00e9", replica: {path: ~/r}}]
	dbs: [{dir: /d, pattern: '*.db', recursive: yes, replica: {path: /r}}]
	access-key-id: x\naddr: ":9090"\nexec: 'a -b'\nl0-retention: 0s
	logging: {level: debug, type: json, stderr: true}\nsync-interval: 10
	socket: {enabled: true, permissions: 0o640}\nvalidation:\n  interval: 1h
	E
}

http() {
	mkdir http
	n=0
	while read -r line; do
		n=$((n + 1))
		printf '%b' "$line" >"http/line$n"
	done <<-'E'
	GET /info HTTP/1.1\r\n\r\n
	GET /txid?path=%2fa+b&x HTTP/1.0\n\n
	POST /sync HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{"path":"/"}
	POST / HTTP/1.1\ncontent-length:0002\t\n\r\nabcd
	POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab
	POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na
	GET http://x/ HTTP/1.1\r\n\r\n
	GET / HTTP/1.1\r\n : x\r\n\r\n
	GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n
	GET / HTTP/1.1\r\n\r\r\nContent-Length: 1\r\n\r\n
	E
}

opt() {
	# What was found: a number of seconds that ms cannot hold, in sync.
	mkdir opt
	n=0
	while read -r line; do
		n=$((n + 1))
		# the arguments, and behind \001 an answer
		printf '%s\n' "${line%%\\001*}" | tr ' ' '\n' >"opt/line$n"
		case $line in
		*\\001*) printf '%b' "\\001${line#*\\001}" >>"opt/line$n" ;;
		esac
	done <<-'E'
	replicate /a.db file:///r
	replicate -once -force-snapshot -config /c.yml
	replicate -exec=x -log-level debug -no-expand-env /a file:///b file:///c
	restore -o /x.db -txid 00000000000000ff -force file:///r
	restore -timestamp=2026-01-01T00:00:00Z -config /c.yml /a.db
	restore -if-db-not-exists -if-replica-exists -integrity-check=quick /d/x
	restore -f -follow-interval 1s -o /x -dry-run=false file:///r?a=b
	ltx -level all -json file:///r
	ltx -points -config /c.yml sqlite:///a.db
	verify -db /a.db -full -max-age=1h30m file://r/../q
	prune -keep 24h -dry-run file:///r
	databases -json -config /c.yml
	databases -h
	status -json -running -config /c.yml /a.db
	sync -wait -timeout 1s -json -socket x -config /c.yml /d/x.db
	sync -timeout=7 /b.db
	check -config=/c.yml
	check /a.db file:///r
	sync -timeout=-9223372036854775808 /b.db
	sync -socket x -json /b.db \001HTTP/1.1 200\r\n\r\n{"txid":7,"path":"/b"}
	info \001HTTP/1.0 200 OK\r\n\r\n{"pid":1,"uptime_seconds":61}
	list \001HTTP/1.1 200\r\n\r\n{"databases":[{"path":"a\\n","status":"x"}]}
	stop -timeout -1 /b.db \001HTTP/1.1 500\r\n\r\n{"error":"\\u00e9"}
	start -json /b.db \001HTTP/1.1 404\r\n\r\nno
	register -replica file:///r /b.db \001HTTP/1.1 200 OK\r\n\r\n{}
	unregister -dry-run /b.db
	unregister -json /b\377.db \001HTTP/1.1 200 OK\r\n\r\n{"txid":"x"}
	t -b -i=3 --f 1.5 -duration=1h3m -t 0000000000000012 -string x y z
	t -b=F -i=0x10 -f=-0x1p3 -- -x
	E
}

text() {
	mkdir text
	n=0
	while read -r which line; do
		n=$((n + 1))
		printf "\\00$which$line" >"text/line$n"
	done <<-'E'
	0 0000000000000001-000000000000000a.ltx
	0 0000000000000001-000000000000000a.ltx.tmp
	1 file:///a/b
	1 FILE://a/../b?x=1
	1 s3://b/p
	2 id 0123456789abcdef0123456789abcdef\npage_size 512\nhost h\npath /a\n
	3 wall 1799999999000\nboot 999000\ntrusted 5\n
	3 wall 1799999999000\nboot 9990000\ntrusted 9223372036854775807\n
	4 2026-04-24T12:00:00Z
	5 1h30m
	5 -1.5s250ms3\302\265s
	7 ~/a/../b//c
	7 sqlite3:///x/./y
	E
	{ printf '\006'; head -c 1003 d512/.a.db-litestream/status; } \
	    >text/status
	# What was found: years before 1000 were printed with less than four
	# digits.
	printf '\0040000-12-31t23:59:60.123456+05:30' >text/year
}

unlz4() {
	mkdir unlz4
	printf '\013\0\0\200hello world' | frame '\140' '\100' >unlz4/raw
	{ printf '\014\0\0\0'; block; printf '\014\0\0\0'; block; } |
	    frame '\140' '\160' >unlz4/blocks
	{ printf '\014\0\0\0'; block; printf '\004\0\0\200abcd'; } |
	    frame '\100' '\100' >unlz4/linked
	frame '\140' '\100' </dev/null >unlz4/empty
	{ printf '\004\042\115\030\150\100\003\0\0\0\0\0\0\0\0'
	    printf '\003\0\0\200abc\0\0\0\0'; } >unlz4/size
	printf '\120\052\115\030\004\0\0\0abcd' >unlz4/skippable
	{ cat unlz4/raw; printf x; } >unlz4/more
	for n in 1 2; do
		printf '\004\042\115\030\140\100\202\003\0\0\200abc\0\0\0\0'
	done >unlz4/twice
}

chain() {
	mkdir chain
	for how in '\000' '\040' '\001' '\006' '\003'; do
		{ printf "$how"
		printf '\001\002\003\002\001\101\002\102\005\000\204\001'
		printf '\003\107\001\001\002\003\004'; } >"chain/how${how#?}"
	done
}

corpus() {
	cd "$1" || exit 1
	for size in 512 1024 65536; do
		replica "$(pwd -P)/d$size" $size || exit 1
	done
	for n in ltx wal config http opt text unlz4 chain; do
		$n
	done
}

run() {
	out=$top/tests/bin/libfuzzer
	CC=${FUZZ_CC:-clang}
	COVER=-fsanitize=fuzzer-no-link DRIVER=-fsanitize=fuzzer
	FLAGS="$FLAGS -O2 -g -fsanitize=address,undefined \
-fno-sanitize-recover=all"
	(build "$out") || exit 1
	rm -rf "$out/corpus" && mkdir -p "$out/corpus" &&
	    (LITESTREAM=$top/litestream corpus "$out/corpus") || exit 1
	export ASAN_OPTIONS=quarantine_size_mb=1:detect_leaks=1
	cd "$out" || exit 1
	for n in $targets; do
		mkdir -p "found-$n"
		set -- -malloc_limit_mb=16 -rss_limit_mb=1024 -timeout=60 \
		    "-artifact_prefix=$out/$n-" -print_final_stats=1 \
		    -max_len=1400
		if [ -n "$runs" ]; then
			set -- "$@" "-runs=$runs"
		else
			set -- "$@" "-max_total_time=$seconds"
		fi
		"./$n" "$@" "found-$n" "corpus/$n" >"$n.log" 2>&1 </dev/null ||
		    { tail -n 40 "$n.log"
		    echo "replay: tests/bin/libfuzzer/$n FILE"; exit 1; }
		awk -v n="$n" '/ cov: /{ c = $4; f = $6 }
		/number_of_executed/ { r = $2 }
		END { print n ": " r " runs, " c " edges, " f " features" }' \
		    "$n.log"
	done
}

case ${1:-} in
build)	build "$2" ;;
corpus)	corpus "$2" ;;
run)	seconds=${2:-60} runs=${3:-}; run ;;
*)	sed -n '4,10s/^#//p' "$0" >&2; exit 2 ;;
esac
