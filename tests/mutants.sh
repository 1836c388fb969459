#!/bin/sh
# SPDX-License-Identifier: ISC
# shellcheck disable=SC2012,SC2046,SC2086	# names, of which there are many
# Mistakes made on purpose: each patch in tests/mutants is applied to a copy of
# the tree and must make one of the tests fail that its header names.
#	mutants.sh [NAME...]
# One line for each, then the sum; a survivor is a missing test, and a failure.
# JOBS at a time, each test up to its first failure and for at most LIMIT
# seconds: a hang is a kill too.  First the same tests without any mistake.
self=$(cd "$(dirname "$0")" && pwd -P)/${0##*/} || exit 1
src=${self%/tests/*}
export LC_ALL=C PEERS="${PEERS:-$src/tests/.peer}" LIMIT="${LIMIT:-300}"
make='make CFLAGS=-O1'

# try TREE TEST: nothing, or what failed
try() {
	(cd "$1" && exec timeout -k 9 "$LIMIT" sh "tests/$2") \
	    >"$1/out" 2>&1 </dev/null; _rc=$?
	case $_rc in
	0)	;;
	124 | 137)
		echo "not over in $LIMIT s" ;;
	*)	grep -m 1 '^not ok' "$1/out" || echo "status $_rc" ;;
	esac
}

# programs TEST...: what make is to make for them, in the tree that we are in
programs() {
	(cd tests && grep -oh 'bin/\(unit-[a-z]*\|schedule\)' "$@" |
	    sort -u | sed 's,^,tests/,')
}

# mutate NAME: a word and why
mutate() {
	_patch=$src/tests/mutants/$1.patch _tree=$base/$1
	_tests=$(sed -n 's/^Tests: //p' "$_patch")
	cp -Rp "$base/tree" "$_tree"
	cd "$_tree" || exit
	cp -p litestream before
	patch -s -p1 -f <"$_patch" >out 2>&1 ||
	    { echo 'BROKEN its patch does not apply'; return; }
	for _t in $_tests; do
		[ -f "tests/$_t" ] || { echo "BROKEN no tests/$_t"; return; }
	done
	$make litestream $(programs $_tests) >out 2>&1 ||
	    { echo 'BROKEN it does not compile'; return; }
	! cmp -s litestream before ||
	    { echo 'BROKEN it makes the same program'; return; }
	for _t in $_tests; do
		_why=$(try "$_tree" "$_t")
		[ -z "$_why" ] || { echo "killed $_t: $_why"; return; }
	done
	echo "SURVIVED" $_tests
}

case ${1:-} in
-control)
	mkdir "$base/$2"
	ln -s ../tree/tests "$base/$2/tests"
	why=$(try "$base/$2" "$2")
	[ -n "$why" ] || why=$(grep '^1\.\.0 # SKIP' "$base/$2/out")
	[ -z "$why" ] || echo "$2: $why" | tee -a "$base/control"
	exit ;;
-one)
	mutate "$2" >"$base/$2.said" 2>&1
	read -r word why <"$base/$2.said"
	printf '%-8s %-24s %s\n' "$word" "$2" "$why" | tee -a "$base/results"
	rm -rf "${base:?}/$2"
	exit ;;
esac

[ $# -gt 0 ] ||
    set -- $(cd "$src/tests/mutants" && ls -- *.patch | sed 's/\.patch$//')
base=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
export base
trap 'rm -rf "$base"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$base/tree/tests" && cd "$src" || exit
cp -p Makefile README.md ./*.[ch] "$base/tree"
for f in tests/*; do
	[ ! -f "$f" ] || cp -p "$f" "$base/tree/tests"
done
cat >>"$base/tree/tests/lib.sh" <<'END'
result() {	# the first failure is the last
	[ "$1" -eq 0 ] || { echo "not ok - $2"; exit 1; }
	_test=$((_test + 1)); echo "ok $_test - $2"
}
END
for n; do
	sed -n 's/^Tests: //p' "tests/mutants/$n.patch" || exit
done | tr ' ' '\n' | sort -u >"$base/tests"
(cd "$base/tree" && $make -j "${JOBS:-2}" all \
    $(programs $(cat "$base/tests"))) >"$base/log" 2>&1 ||
    { cat "$base/log"; exit 1; }
xargs -n 1 -P "${JOBS:-2}" sh "$self" -control <"$base/tests"
[ ! -e "$base/control" ] || { echo 'without any mistake'; exit 1; }
printf '%s\n' "$@" | xargs -n 1 -P "${JOBS:-2}" sh "$self" -one
killed=$(grep -c '^killed' "$base/results")
echo "killed $killed of $#"
[ "$killed" -eq $# ]
