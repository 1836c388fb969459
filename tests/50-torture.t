#!/bin/sh
# SPDX-License-Identifier: ISC
# Everybody at full speed, and what may happen to them: a minute each of
# "python3 tests/torture.py run", "speed", "kill" and "ghost"; "soak" for long.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'checkpoints of all modes, and we are held now and then' torture run
harness 0 'killed at calls and at other instants' torture kill
harness 0 'applications die in the middle of commits' torture ghost
harness 0 'either side killed, full and hung disks: it catches up' torture soak
done_testing
