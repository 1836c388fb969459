#!/bin/sh
# SPDX-License-Identifier: ISC
# Replicas that the released writers made, and damaged ones, restore to what
# they hold or fail: every case of the golden set.  BIG=1 includes those of a
# gigabyte.
. "$(dirname "$0")/lib.sh"
GOLDEN=${GOLDEN:-$TESTS/../../shared/golden}
[ -f "$GOLDEN/expected.tsv" ] || skip_all "no golden replicas: set GOLDEN"
for tool in python3 tar xz; do
	command -v $tool >/dev/null || skip_all "needs $tool"
done
python3 "$TESTS/golden.py" "$GOLDEN" "$LS" "$T" "${BIG:-0}"
