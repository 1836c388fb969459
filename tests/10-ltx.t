#!/bin/sh
# SPDX-License-Identifier: ISC
# CRC-64 and the LTX codec: vectors, hostile files, round trips.
exec "$(dirname "$0")/bin/unit-ltx"
