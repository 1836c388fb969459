# SPDX-License-Identifier: ISC
# shellcheck shell=sh disable=SC2154
# Sourced after lib.sh.  ahead SECONDS CMD...: with its wall clock moved by that
# much; faster N CMD...: for which time goes so much faster.
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
"${CC:-cc}" -shared -fPIC -O1 -o "$T/clock.so" "$TESTS/clock_shim.c" -ldl || exit

_clock=''
clock() {	# SECONDS SPEED CMD...
	[ "$_clock" = "$1 $2" ] || python3 - "$1" "$2" >"$T/clock" <<-'END' ||
	import struct, sys, time
	sys.stdout.buffer.write(struct.pack(
	    '=5q', 0, int(sys.argv[1]) * 1000, 0, int(sys.argv[2]),
	    int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)))
	END
	    return
	_clock="$1 $2"; shift 2
	env LD_PRELOAD="$T/clock.so" CLOCK_FILE="$T/clock" "$@"
}
ahead() { _by=$1; shift; clock "$_by" 1 "$@"; }
faster() { _by=$1; shift; clock 0 "$_by" "$@"; }
