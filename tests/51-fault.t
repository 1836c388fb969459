#!/bin/sh
# SPDX-License-Identifier: ISC
# Faults, some of them: "python3 tests/fault.py" tries all.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'whatever call fails, it is said, and made good afterwards' fault
harness 1 'a shim that sees nothing is noticed' fault -blind
matches 'and named' "$T/out" 'saw no call'
done_testing
