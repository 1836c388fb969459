#!/bin/sh
# SPDX-License-Identifier: ISC
# Random histories on a simulated clock: every instant of the promised window
# restores to what it was.  SEED and STEPS make others, and longer ones.
. "$(dirname "$0")/lib.sh"
T=$T "$TESTS/bin/unit-compact" history ${SEED:+"$SEED"}
