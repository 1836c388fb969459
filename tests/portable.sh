#!/bin/sh
# SPDX-License-Identifier: ISC
# The program on other compilers, makes and machines, and under run-time
# checkers, in copies of the tree: sh tests/portable.sh [STEP...]
#	clang	bmake, clang, all warnings
#	poll	without inotify
#	i386	32 bits: cross compiler, this kernel
#	s390x	big-endian: cross compiler, qemu
#	exchange  replicas go between these two and this machine
#	tsan	clang's ThreadSanitizer
#	memcheck  valgrind
# All of them, in this order, unless named.  Each runs the tests that concern
# it: all, or with QUICK=1 a choice.  Libraries of other machines come from
# Debian's packages, once, into tests/.cross.
# shellcheck disable=SC2086
tests=$(cd "$(dirname "$0")" && pwd -P) || exit 1
top=${tests%/*} cross=$tests/.cross
export PEERS="${PEERS:-$tests/.peer}" PATH="$PATH:/usr/bin/core_perl"
[ ! -d "$top/../shared/golden" ] ||
    export GOLDEN="${GOLDEN:-$top/../shared/golden}"
W=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
trap 'chmod -R u+rwx "$W"; rm -rf "$W"' EXIT
trap 'exit 1' HUP INT TERM
warn='-Wall -Wextra -Wpedantic -Wshadow -Werror'
jobs=${JOBS:-2}

# What a build can break that is not the compiler's: what waits, what is
# stored, what other programs read.
MAIN='02 10 22 23 25 30 31 32 33 34 36 40 42 60'
# Those whose application is the sqlite3 of that machine, and not Python's; not
# 24, which is many short programs, slow in qemu.
QEMU='02 10 22 23 25 29 30 31 32 33 34 40 41 42 60'
# The other ones preload a library into the program that knows calls by their
# 64-bit names (43, 44, 50-crash, 51).
NARROW='0[0-4] 1? 2? 3? 4[0-2] 50-t 5[2-9] 6? 71 8?'

say() { echo "portable: $*"; }
die() { say "$*" >&2; exit 1; }
need() {
	for _c in "$@"; do
		command -v "$_c" >/dev/null || die "needs $_c"
	done
}

tree() {	# NAME: a copy
	mkdir -p "$W/$1/tests" || exit 1
	for _f in "$top"/*.[ch] "$top"/*.md "$top"/*.sh "$top/Makefile" \
	    "$top/man" "$top/LICENSE"; do
		cp -R "$_f" "$W/$1" || exit 1
	done
	for _f in "$tests"/*; do
		[ "$_f" = "$tests/bin" ] || cp -R "$_f" "$W/$1/tests" || exit 1
	done
	cd "$W/$1" || exit 1
}
build() {	# MAKE [VARIABLE=VALUE...]
	"$@" all units >make.log 2>&1 || { tail -n 20 make.log; return 1; }
}
run() {	# [NUMBER...]: all tests, or those that begin so
	[ $# -gt 0 ] || set -- ''
	for _n in "$@"; do
		set -- "$@" tests/$_n*.t
		shift
	done
	prove -f -o -j"$jobs" -e sh "$@"
}
choice() {	# NUMBER...: these with QUICK, else all
	run ${QUICK:+$@}
}

# A sysroot of libraries and SQLite's shell.
libraries() {	# ARCHITECTURE
	[ ! -d "$cross/$1" ] || return 0
	need apt-get dpkg
	_t=$cross/$1.tmp _names='' _o="-q -o APT::Architecture=$1
	    -o APT::Architectures::=$1 -o Acquire::Languages=none
	    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
	    -o APT::Sandbox::User=root -o Dir::State::status=/dev/null"
	rm -rf "$_t" && mkdir -p "$_t/lists/partial" \
	    "$_t/cache/archives/partial" "$_t/root" || return
	_o="$_o -o Dir::State::lists=$_t/lists -o Dir::Cache=$_t/cache"
	for _p in libc6 libgcc-s1 libsqlite3-0 libsqlite3-dev libxxhash0 \
	    libxxhash-dev liblz4-1 liblz4-dev libyaml-0-2 libyaml-dev \
	    sqlite3 libreadline8 libtinfo6 zlib1g; do
		_names="$_names $_p:$1"
	done
	# An index that cannot be had shows where a package is missing.
	(cd "$_t" && { apt-get $_o update || :; } &&
	    apt-get $_o download $_names) >"$_t/log" 2>&1 ||
	    { cat "$_t/log"; return 1; }
	for _p in "$_t"/*.deb; do
		dpkg -x "$_p" "$_t/root" || return
	done
	mv "$_t/root" "$cross/$1" && rm -rf "$_t"
}

# The current tree built for another machine, with its SQLite shell in path.
cross_build() {	# ARCHITECTURE TRIPLET LIBRARIES LOADER [EMULATOR]
	need "$2-gcc" ${5:+"$5"}
	libraries "$1" || return
	_r=$cross/$1 _l="$cross/$1/lib/$3:$cross/$1/usr/lib/$3"
	build make -j"$jobs" CC="$2-gcc" CPPFLAGS="-I$_r/usr/include" \
	    CFLAGS="-O2 $warn" LDFLAGS="-L$_r/usr/lib/$3 \
-Wl,-rpath,$_l -Wl,--dynamic-linker=$_r/lib/$4" || return
	mkdir path
	wrap path/sqlite3 ${5:+"$5"} "$_r/lib/$4" --library-path "$_l" \
	    "$_r/usr/bin/sqlite3"
	[ -n "${5:-}" ] || return 0
	for _b in litestream litestream-test tests/bin/unit-*; do
		mv "$_b" "$_b.elf"
		wrap "$_b" "$5" "$PWD/$_b.elf"
	done
}
wrap() {	# FILE WORD...: a program that runs these words
	_w=$1; shift
	printf '#!/bin/sh\nexec %s "$@"\n' "$*" >"$_w" && chmod +x "$_w"
}
i386() {
	tree i386 &&
	    cross_build i386 i686-linux-gnu i386-linux-gnu ld-linux.so.2
}
s390x() {
	tree s390x && cross_build s390x s390x-linux-gnu s390x-linux-gnu \
	    ld64.so.1 qemu-s390x-static
}

# Nothing may be said in the logs of a checker; and to know that it would, a
# program with a fault is run first.
clean() {	# CHECKER LOGS
	for _f in "$2".[0-9]*; do
		[ ! -s "$_f" ] || { head -n 60 "$_f"; _said=1; }
	done
	[ -z "${_said:-}" ] || die "$1 has reports"
	say "$1 has no reports"
}
control() {	# CHECKER LOGS PROGRAM
	"$3" >"$2.out" 2>&1 && die "$1 does not see a fault"
	cat "$2".[0-9]* | grep -q . || die "$1 has no log"
	rm -f "$2".*
}

step_clang() {
	need bmake clang
	tree clang && build bmake -j"$jobs" CC=clang CFLAGS="-O2 $warn" &&
	    choice $MAIN
}
step_poll() {
	tree poll && build make -j"$jobs" CPPFLAGS=-DWATCH_POLL \
	    CFLAGS="-O2 $warn" && choice 20 22 23 25 36 60 64
}
step_i386() {
	i386 && export CC=i686-linux-gnu-gcc || return
	if [ -n "${QUICK:-}" ]; then run $MAIN; else run $NARROW; fi
}
step_s390x() {
	s390x || return
	export PATH="$PWD/path:$PATH" SLOW=5
	if [ -n "${QUICK:-}" ]; then run 10 22 30 31 60; else run $QEMU; fi
}
step_exchange() {
	(i386) && (s390x) && tree amd64 && build make CFLAGS=-O2 || return
	mkdir path && ln -s "$(command -v sqlite3)" path
	export SLOW=5
	MACHINES="here=$PWD i386=$W/i386 s390x=$W/s390x" \
	    SIZES=${QUICK:+512 4096 65536} prove -f -o -e sh tests/exchange.sh
}
step_tsan() {
	need clang
	tree tsan && build make -j"$jobs" CC=clang \
	    CFLAGS='-O1 -g -fsanitize=thread' \
	    LDLIBS="$W/tsan/tests/tsan.c -lsqlite3 -lxxhash -llz4 -lyaml -lm" ||
	    return
	cat >race.c <<-'C'
	#include <pthread.h>
	static int n;
	static void *add(void *p) { n++; return p; }
	int main(void)
	{
		pthread_t t;
		pthread_create(&t, NULL, add, NULL);
		n++;
		return pthread_join(t, NULL);
	}
	C
	clang -fsanitize=thread -pthread -o race race.c || return
	export TSAN_OPTIONS="log_path=$PWD/log" SLOW=5
	control ThreadSanitizer log ./race
	choice 10 22 25 26 30 36 40 60
	_rc=$?
	clean ThreadSanitizer log
	return $_rc
}
step_memcheck() {
	need valgrind
	tree memcheck && build make -j"$jobs" CFLAGS='-O1 -g' || return
	printf '%s\n' '#include <unistd.h>' '#include <stdlib.h>' \
	    'int main(void) { return write(9, malloc(9), 9) == 9; }' >fault.c
	cc -o fault.elf fault.c || return
	for _b in fault litestream; do
		[ $_b = fault ] || mv $_b $_b.elf
		wrap $_b valgrind -q --leak-check=full \
		    --errors-for-leak-kinds=definite --error-exitcode=99 \
		    --log-file="$PWD/log.%p" "$PWD/$_b.elf"
	done
	export SLOW=5
	control valgrind log ./fault
	if [ -n "${QUICK:-}" ]; then run 30 40; else
		run 22 23 25 29 30 33 34 40 42; fi
	_rc=$?
	clean valgrind log
	return $_rc
}

[ $# -gt 0 ] || set -- clang poll i386 s390x exchange tsan memcheck
need prove sqlite3 python3
failed=''
for step in "$@"; do
	start=$(date +%s)
	say "$step"
	("step_$step") </dev/null || failed="$failed $step"
	say "$step: $(($(date +%s) - start)) s"
	rm -rf "${W:?}"/*
done
[ -z "$failed" ] || die "failed:$failed"
