#!/bin/sh
# SPDX-License-Identifier: ISC
# Crashes, some of them: "python3 tests/crash.py" tries all of a longer life.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'whatever a crash leaves, the next start makes good' crash
harness 1 'a shim that sees nothing is noticed' crash -blind
matches 'and named' "$T/out" 'saw no call'
done_testing
