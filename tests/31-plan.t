#!/bin/sh
# SPDX-License-Identifier: ISC
# Which files make a restore point, and which point a time means.
exec "$(dirname "$0")/bin/unit-plan"
