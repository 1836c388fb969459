#!/bin/sh
# SPDX-License-Identifier: ISC
# The clock is set and set back while levels and retention run: "python3
# tests/levels_soak.py clock" tries a day and ten years, both ways.
. "$(dirname "$0")/lib.sh"

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
seed=${SEED:-$(date +%s)}
echo "# seed $seed"
status 0 'a clock that jumps deletes nothing early' \
    env LITESTREAM="$LS" TMPDIR="$T" \
    python3 "$TESTS/levels_soak.py" clock -quick -seed "$seed"
sed 's/^/# /' "$T/out"
done_testing
