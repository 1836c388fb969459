# SPDX-License-Identifier: ISC
# shellcheck shell=sh disable=SC2154
# Sourced after lib.sh.  ahead SECONDS CMD...: with its wall clock moved by that
# much.
command -v "${CC:-cc}" >/dev/null || skip_all 'no C compiler'
"${CC:-cc}" -shared -fPIC -O1 -o "$T/clock.so" "$TESTS/clock_shim.c" -ldl || exit

_ahead=''
ahead() {
	[ "$_ahead" = "$1" ] || python3 - "$1" >"$T/clock" <<-'END' || return
	import struct, sys
	sys.stdout.buffer.write(
	    struct.pack('=5q', 0, int(sys.argv[1]) * 1000, 0, 1, 0))
	END
	_ahead=$1; shift
	env LD_PRELOAD="$T/clock.so" CLOCK_FILE="$T/clock" "$@"
}
