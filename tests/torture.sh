#!/bin/sh
# SPDX-License-Identifier: ISC
# make torture: the harnesses in their long form, in MINUTES, 30 unless given,
# on two cores.  A line of each, with its seed, what it counted, the time and
# the command that repeats it; at last their number.  Exit status 1 if any
# fails.  SEED gives them all one seed.
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
minutes=${1:-30} begun=$(date +%s) ran=0 failed=0
PEER=${PEERS:-tests/.peer}/0.5.17/bin/litestream

# A share of the time, and who gets it.  Each has -seconds and -seed; what one
# takes longer, to begin and to end, is taken from those after it.
cat >"$tmp/shares" <<'END'
250 python3 tests/crash.py
60 python3 tests/crash.py -normal
250 python3 tests/fault.py
60 python3 tests/fault.py -class calls -db
60 python3 tests/fault.py -class others
90 python3 tests/torture.py run
50 python3 tests/torture.py speed
120 python3 tests/torture.py kill
80 python3 tests/torture.py ghost
150 python3 tests/torture.py soak
90 python3 tests/levels_soak.py kill
40 python3 tests/levels_soak.py restores
60 python3 tests/levels_soak.py clock
40 python3 tests/levels_soak.py compact
80 python3 tests/matrix.py
50 python3 tests/flips.py
80 python3 tests/month.py
20 python3 tests/follow.py track
30 python3 tests/follow.py kill
30 python3 tests/follow.py steps -quick
40 tests/bin/schedule -walks 1000000
80 tests/bin/schedule -depth 8
40 tests/bin/schedule -depth 8 -ops commit,grow,shrink,vacuum,app.passive,app.full,app.restart,app.truncate,sync,free,empty,step
30 tests/bin/schedule -depth 8 -ops commit,grow,shrink,app.passive,app.restart,app.truncate,sync,window,step
60 tests/bin/schedule -depth 8 -ops commit,grow,shrink,app.passive,app.restart,read,unread,sync,locked,step
60 tests/bin/schedule -depth 8 -ops commit,app.passive,app.open,app.close,read,unread,sync,free,stop,start,kill,step
20 tests/bin/schedule -depth 8 -ops commit,ghost,torn,app.open,app.truncate,sync,free,start,kill,step
20 tests/bin/schedule -depth 8 -ops commit,app.passive,app.restart,nospace,letgo,relieve,audit,sync,step
END
left=$(awk '{ n += $1 } END { print n }' "$tmp/shares")
if [ ! -x "$PEER" ]; then
	echo 'levels_soak compact: not run: no Litestream: make peer'
	[ "${CI:-}" != true ] || failed=$((failed + 1))
fi

while read -r share command; do
	seconds=$(((begun + minutes * 57 - $(date +%s)) * share / left))
	left=$((left - share))
	case $command in
	*compact) [ -x "$PEER" ] || continue ;;
	esac
	ran=$((ran + 1))
	# shellcheck disable=SC2086
	if $command -seconds $((seconds > 1 ? seconds : 1)) \
	    ${SEED:+-seed "$SEED"} >"$tmp/log" 2>&1 </dev/null; then
		tail -n 1 "$tmp/log"
	else		# it shows all that it said
		failed=$((failed + 1))
		cat "$tmp/log"
	fi
done <"$tmp/shares"

echo "torture: $ran harnesses, $failed failed, $(($(date +%s) - begun)) s"
[ "$failed" -eq 0 ]
