#!/bin/sh
# SPDX-License-Identifier: ISC
# Faults, some of them: "python3 tests/fault.py" tries all.
. "$(dirname "$0")/lib.sh"

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
seed=${SEED:-$(date +%s)}
echo "# seed $seed"
fault() {	# STATUS TITLE FLAGS
	want=$1 title=$2; shift 2
	status "$want" "$title" env LITESTREAM="$LS" \
	    python3 "$TESTS/fault.py" -seed "$seed" "$@"
	sed 's/^/# /' "$T/out"
}
fault 0 'whatever call fails, it is said, and made good afterwards' -quick
fault 1 'a shim that sees nothing is noticed' -quick -blind
matches 'and named' "$T/out" 'saw no call'
done_testing
