#!/bin/sh
# SPDX-License-Identifier: ISC
# What reads bytes of others holds against mutations of real ones: the fuzz
# targets, a few thousand runs each.  "make fuzz" does it at length.
. "$(dirname "$0")/lib.sh"
FUZZ=$TESTS/bin/fuzz
RUNS=${RUNS:-5000} SEED=${SEED:-$(date +%j)}
echo "# seed $SEED"

mkdir "$T/c"
LITESTREAM=$LS; export LITESTREAM
ok 'inputs are made from what is really written' \
    sh "$TESTS/fuzz.sh" corpus "$T/c"

fuzz() {	# NAME TITLE: the inputs, and mutations of them
	status 0 "$2" "$FUZZ/$1" "-runs=$RUNS" "-seed=$SEED" "-last=$T/last" \
	    "$T/c/$1"
	[ "$_rc" -eq 0 ] || {
		echo "again: SEED=$SEED RUNS=$RUNS sh tests/54-fuzz.t; its input:"
		od -An -v -tx1 "$T/last"
	} | sed 's/^/# /'
	matches "$1: it had inputs" "$T/out" "^[1-9][0-9]* inputs, $RUNS "
}
fuzz ltx 'any bytes as LTX file'
fuzz ltx-fixed 'LTX files with right checksums, read in all ways'
fuzz chain 'a history restored and merged is the same, or refused'
fuzz unlz4 'LZ4 frames of version 0.3'
fuzz wal 'WAL and wal-index, with right checksums and without'
fuzz pages 'page tables, and their use'
fuzz config 'litestream.yml is refused, or means the same when printed'
fuzz http 'requests, in any pieces'
fuzz opt 'command lines'
fuzz text 'names, URLs, times, identity and clock'
done_testing
