#!/bin/sh
# SPDX-License-Identifier: ISC
# The reported interruption, small and short, twice on one local state.
. "$(dirname "$0")/lib.sh"

ok 'killed, FULL checkpoint, restarted, twice: all is restored' \
    env QUICK=1 TMPDIR="$T" sh "$TESTS/interruption.sh" "$LS" "$LT" twice
cp "$T/out" "$T/said"

number() {	# ROUND REGEX: the number that \1 is, in that round
	awk -v want="$1" '$1 == "round" { n = $2 } n == want' "$T/said" |
	    sed -n "s/.*$2.*/\1/p"
}
before=0
for i in 1 2; do
	rows=$(number $i 'load_test: source \([0-9]*\) rows')
	is "round $i: writes are counted over the whole load" \
	    "$(number $i 'load: \([0-9]*\) writes')" $((rows - before))
	before=$rows
	pages=$(number $i 'first file has \([0-9]*\) pages')
	differ=$(number $i 'pages, \([0-9]*\) differ')
	[ "${differ:-0}" -gt 0 ] && [ "${pages:-0}" -ge "$differ" ]
	result $? "round $i: the first file has all that differs: $differ"
	with=$(number $i 'differ, \([0-9]*\) with it')
	[ "${with:-0}" -gt 0 ] && [ $((pages * 10)) -le $((with * 12)) ]
	result $? "round $i: and little more: $pages"
done
done_testing
