#!/bin/sh
# SPDX-License-Identifier: ISC
# The status file: what it holds, when it is written, and who is not believed.
exec "$(dirname "$0")/bin/unit-state"
