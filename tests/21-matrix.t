#!/bin/sh
# SPDX-License-Identifier: ISC
# Interruptions: a sample of the matrix; "python3 tests/matrix.py" is all of it.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/harness.sh"

harness 0 'commits and checkpoints while nobody replicates: nothing is lost' \
    matrix
done_testing
