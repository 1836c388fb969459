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

# seconds SHARE: of half an hour
seconds() {
	echo $(($1 * minutes / 30 + 1))
}

# run COMMAND...: what fails shows all that it said
run() {
	ran=$((ran + 1))
	if "$@" ${SEED:+-seed "$SEED"} >"$tmp/log" 2>&1 </dev/null; then
		tail -n 1 "$tmp/log"
	else
		failed=$((failed + 1))
		cat "$tmp/log"
	fi
}

# harness SHARE NAME [ARG...]: so many seconds of half an hour
harness() {
	share=$(seconds "$1") name=$2
	shift 2
	run python3 "tests/$name.py" "$@" -seconds "$share"
}

harness 250 crash
harness 60 crash -normal
harness 250 fault
harness 60 fault -class calls -db
harness 90 torture run
harness 50 torture speed
harness 120 torture kill
harness 80 torture ghost
harness 150 torture soak
harness 90 levels_soak kill
harness 40 levels_soak restores
harness 60 levels_soak clock
harness 80 matrix
harness 50 flips
harness 80 month
harness 20 follow track
harness 30 follow kill
run python3 tests/follow.py steps -quick
run tests/bin/schedule -walks 1000000 -seconds "$(seconds 60)"
run tests/bin/schedule -depth 8 -seconds "$(seconds 60)"
PEER=${PEERS:-tests/.peer}/0.5.17/bin/litestream
if [ -x "$PEER" ]; then
	harness 40 levels_soak compact
else
	echo 'levels_soak compact: not run: no Litestream: make peer'
	[ "${CI:-}" != true ] || failed=$((failed + 1))
fi

echo "torture: $ran harnesses, $failed failed, $(($(date +%s) - begun)) s"
[ "$failed" -eq 0 ]
