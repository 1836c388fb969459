#!/bin/sh
# SPDX-License-Identifier: ISC
# Killed in the middle of merges and retention, and read by others meanwhile:
# "python3 tests/levels_soak.py kill" does it 500 times, and "restores",
# "compact" and "big" take some minutes each.
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$(date +%s)}
echo "# seed $seed"
soak() {	# MODE TITLE
	status 0 "$2" env LITESTREAM="$LS" PEER="${PEER:-}" TMPDIR="$T" \
	    python3 "$TESTS/levels_soak.py" "$1" -quick -seed "$seed"
	sed 's/^/# /' "$T/out"
}
soak kill 'after each kill it is whole, and the source is what is restored'
soak restores 'whoever restores meanwhile gets it'
done_testing
