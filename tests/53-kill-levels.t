#!/bin/sh
# SPDX-License-Identifier: ISC
# Killed in the middle of merges and retention, and read by others meanwhile:
# "python3 tests/levels_soak.py kill" does it 500 times, and "restores",
# "compact" and "big" take some minutes each.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'after each kill it is whole, and the source is what is restored' \
    levels_soak kill
harness 0 'whoever restores meanwhile gets it' levels_soak restores
done_testing
