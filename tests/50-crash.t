#!/bin/sh
# SPDX-License-Identifier: ISC
# Crashes, some of them: "python3 tests/crash.py" tries all of a longer life.
. "$(dirname "$0")/lib.sh"

command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
seed=${SEED:-$(date +%s)}
echo "# seed $seed"
crash() {	# STATUS TITLE FLAGS
	want=$1 title=$2; shift 2
	status "$want" "$title" env LITESTREAM="$LS" \
	    python3 "$TESTS/crash.py" -seed "$seed" "$@"
	sed 's/^/# /' "$T/out"
}
crash 0 'whatever a crash leaves, the next start makes good' -quick
crash 1 'a shim that sees nothing is noticed' -quick -blind
matches 'and named' "$T/out" 'saw no call'
done_testing
