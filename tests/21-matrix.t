#!/bin/sh
# SPDX-License-Identifier: ISC
# Interruptions: a sample of the matrix; "python3 tests/matrix.py" is all of it.
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$(date +%s)}
echo "# seed $seed"
status 0 'commits and checkpoints while nobody replicates: nothing is lost' \
    env LITESTREAM="$LS" TMPDIR="$T" \
    python3 "$TESTS/matrix.py" -quick -seed "$seed"
sed 's/^/# /' "$T/out"
done_testing
