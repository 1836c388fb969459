#!/bin/sh
# SPDX-License-Identifier: ISC
# Pins, position and publication, one step at a time (unit-capture.c), each
# followed by a look at what is restored; and what retention chooses.
. "$(dirname "$0")/lib.sh"

"$TESTS/bin/unit-retain" >"$T/said"
is 'retain' "$?, $(grep '^not ok' "$T/said")" '0, '
for what in tail none long pin full generation forged fsync spent names rebase audit \
    steps once twice over; do
	mkdir "$T/$what"
	"$TESTS/bin/unit-capture" $what "$T/$what/a.db" "$T/$what/replica" \
	    >"$T/said"
	is "$what" "$?, $(grep '^not ok' "$T/said")" '0, '
	ok "$what: restored" restore_same "$T/$what/a.db" "$T/$what/replica"
done
# Pages that nothing is in: SQLite's integrity check does not like these.
for what in grown regrown; do
	mkdir "$T/$what"
	db=$T/$what/a.db
	"$TESTS/bin/unit-capture" $what "$db" "$T/$what/replica" >"$T/said"
	is "$what" "$?, $(grep '^not ok' "$T/said")" '0, '
	ok "$what: restored" "$LS" restore -o "$T/$what/r.db" \
	    "file://$T/$what/replica"
	ok "$what: as it is" cmp "$db" "$T/$what/r.db"
done
done_testing
