#!/bin/sh
# SPDX-License-Identifier: ISC
# The mistakes of tests/mutants can still be made: "make mutants" makes them.
. "$(dirname "$0")/lib.sh"

command -v patch >/dev/null || skip_all 'no patch'
cd "$TESTS/.." || exit
n=0 bad=''
for p in tests/mutants/*.patch; do
	n=$((n + 1))
	patch -s -p1 -f --dry-run <"$p" >"$T/out" 2>&1 ||
	    bad="$bad $p does not apply;"
	tests=$(sed -n 's/^Tests: //p' "$p")
	[ -n "$tests" ] || bad="$bad $p names no test;"
	for t in $tests; do
		[ -f "tests/$t" ] || bad="$bad $p: no $t;"
	done
done
is 'each patch applies and names its tests' "$bad" ''
[ "$n" -ge 40 ]; result $? "there are at least 40: $n"
done_testing
