#!/bin/sh
# SPDX-License-Identifier: ISC
# Each call of litestream-test, and of the commands that errors.py does not run,
# fails once: said with the reason, or met by another.
. "$(dirname "$0")/lib.sh"
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
cd "$T" || exit
# shellcheck disable=SC2086
${CC:-cc} -shared -fPIC -O1 -o shim.so "$TESTS/shim.c" -ldl -lpthread || exit
mkdir now before

# each TITLE CMD...: in a copy of what is in before, as "now"; CODES are the
# statuses that are well where nothing is said of a failure
codes=0
each() {
	title=$1 wrong='' some=0; shift
	for class in '' :reads :others; do
		k=0
		while :; do
			k=$((k + 1)); [ $k -lt 400 ] || break
			rm -rf now hit; cp -Rp before now
			env LD_PRELOAD="$T/shim.so" SHIM_ROOT="$T/now" \
			    SHIM_FAIL=$k:5:once$class SHIM_HIT="$T/hit" \
			    "$@" >out 2>&1 </dev/null
			rc=$?
			[ -e hit ] || break
			some=$((some + 1))
			case " $codes " in
			*" $rc "*) continue ;;
			esac
			[ $rc -eq 1 ] && grep -q -e 'now/[^ ]*: ' \
			    -e 'start worker: ' -e 'validation failed' out ||
				wrong="$wrong $k$class($rc: $(tail -n 1 out))"
		done
	done
	is "$title" "$wrong" ''
	[ $some -gt 10 ]; result $? "$title: calls that failed: $some"
}

"$LT" populate -db before/a.db -target-size 100KB -table-count 2 >out 2>&1
each 'populate' "$LT" populate -db now/b.db -target-size 20KB
each 'shrink' "$LT" shrink -db now/a.db -vacuum -checkpoint
each 'load' "$LT" load -db now/a.db -duration 20ms -write-rate 100 -workers 1
rm -rf now; cp -Rp before now
ok 'a replica' "$LS" replicate -once now/a.db "file://$T/now/r"
cp -Rp now/r now/.a.db-litestream before
for kind in checksum full; do
	each "validate, $kind" env PATH="$(dirname "$LS"):$PATH" "$LT" \
	    validate -source-db now/a.db -replica-url "file://$T/now/r" \
	    -restored-db now/c.db -check-type $kind -ltx-continuity
done
codes='0 1'
each 'status' "$LS" status -json now/a.db "file://$T/now/r"
each 'check' "$LS" check now/a.db "file://$T/now/r"
done_testing
