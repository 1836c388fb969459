#!/bin/sh
# SPDX-License-Identifier: ISC
# What a chain of files makes, page by page; damage, page sizes, publication.
. "$(dirname "$0")/lib.sh"
export T
"$TESTS/bin/unit-restore"
