#!/bin/sh
# SPDX-License-Identifier: ISC
# A replica damaged, one way at a time: a sample of them; "python3
# tests/flips.py" tries all.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'each damage is found, or does no harm' flips
done_testing
