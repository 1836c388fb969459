#!/bin/sh
# SPDX-License-Identifier: ISC
# Some simulated days: "python3 tests/month.py" takes a month.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'every instant of the window restores, and no more is kept than that' \
    month
done_testing
