# SPDX-License-Identifier: ISC
# shellcheck shell=sh disable=SC2154
# The harnesses in their quick form: sourced after lib.sh.  "make torture" runs
# the long ones.  SEED repeats one.
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
seed=${SEED:-$(date +%s)}

harness() {	# STATUS TITLE NAME [ARG...]
	_want=$1 _title=$2 _name=$3; shift 3
	status "$_want" "$_title" env LITESTREAM="$LS" PEER="${PEER:-}" \
	    TMPDIR="$T" python3 "$TESTS/$_name.py" "$@" -quick -seed "$seed"
	sed 's/^/# /' "$T/out"
}
