#!/bin/sh
# SPDX-License-Identifier: ISC
# Everybody at full speed, and what may happen to them: "python3
# tests/torture.py run", "kill" and "ghost" take a minute each.
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$(date +%s)}
echo "# seed $seed"
torture() {	# MODE TITLE
	status 0 "$2" env LITESTREAM="$LS" TMPDIR="$T" \
	    python3 "$TESTS/torture.py" "$1" -quick -seed "$seed"
	sed 's/^/# /' "$T/out"
}
torture run 'checkpoints of all modes, and we are held now and then'
torture kill 'killed every 0 to 400 ms'
if command -v "${CC:-cc}" >/dev/null; then
	torture ghost 'applications die in the middle of commits'
else
	skip 'applications die in the middle of commits' 'no C compiler'
fi
done_testing
