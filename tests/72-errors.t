#!/bin/sh
# SPDX-License-Identifier: ISC
# What is said when a call fails: EIO for each call of each command in turn, and
# by hand what needs another error, or more than one.
. "$(dirname "$0")/lib.sh"
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
cd "$T" || exit
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -O1 -o shim.so "$TESTS/shim.c" -ldl
shim() {	# VAR=VALUE... CMD...: under the shim, which looks at $T
	env SHIM_ROOT="$T" LD_PRELOAD="$T/shim.so" "$@"
}

status 0 'any call may fail: with a reason, and without harm' \
    env LITESTREAM="$LS" python3 "$TESTS/errors.py"
sed 's/^/# /' out

sql a.db 'PRAGMA journal_mode = WAL; CREATE TABLE t(a)' >/dev/null
url=file://$T/r
ok 'a replica' "$LS" replicate -once a.db "$url"
sql a.db 'INSERT INTO t VALUES(1)'
ok 'of two transactions' "$LS" replicate -once a.db "$url"

# A file that cannot be read now is no damage.
for k in 1 2 3 4 5 6 7 8; do
	status 1 "verify, call $k fails" shim SHIM_ROOT="$T/r/ltx" \
	    SHIM_FAIL=$k:5:once:reads "$LS" verify "$url"
	matches 'which is not damage' err \
	    '^Error: .*/r/ltx.*: (open|read): Input/output error$'
	is 'and nothing is reported' "$(cat out)" ''
done

# No memory, no random numbers.
shim SHIM_COUNT="$T/count" "$LS" verify "$url" >/dev/null
read -r _ _ allocs _ <count
if [ "$allocs" -gt 0 ]; then
	status 1 'no memory' shim SHIM_ALLOC=20:on "$LS" verify "$url"
	matches 'is said' err '^Error: out of memory$'
else
	skip 'no memory' 'a sanitizer allocates'
fi
status 1 'no random numbers' shim SHIM_ROOT=/dev/urandom \
    SHIM_FAIL=1:5:on:reads "$LS" verify -full "$url"
is 'is said' "$(cat err)" 'Error: /dev/urandom: cannot read'
done_testing
