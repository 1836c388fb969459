#!/bin/sh
# SPDX-License-Identifier: ISC
# The clock is set and set back while levels and retention run: "python3
# tests/levels_soak.py clock" tries a day and ten years, both ways.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'a clock that jumps deletes nothing early' levels_soak clock
done_testing
