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
status 1 'verify, a file cannot be read' shim SHIM_ROOT="$T/r/ltx/0" \
    SHIM_FAIL=4:5:once:reads "$LS" verify "$url"
matches 'which is not damage' err \
    '^Error: .*/ltx/0/0.*: (open|read): Input/output error$'
is 'and nothing is reported' "$(cat out)" ''
done_testing
