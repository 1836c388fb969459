#!/bin/sh
# SPDX-License-Identifier: ISC
# Some simulated days: "python3 tests/month.py" takes a month.
. "$(dirname "$0")/lib.sh"

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
seed=${SEED:-$(date +%s)}
echo "# seed $seed"
status 0 'every instant of the window restores, and no more is kept than that' \
    env LITESTREAM="$LS" TMPDIR="$T" \
    python3 "$TESTS/month.py" -quick -seed "$seed"
sed 's/^/# /' "$T/out"
done_testing
