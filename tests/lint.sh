#!/bin/sh
# SPDX-License-Identifier: ISC
# What a compiler does not see: manual pages, shell files, layers, shape.
# "lint.sh graph" prints the include graph as litestream.c's opening block has
# it.  Missing tools are named, and are a failure where CI is true.
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
tab=$(printf '\t')
tmp=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

# complain HEADING: lines on stdin are findings
complain() {
	cat >"$tmp/lines"
	[ -s "$tmp/lines" ] || return 0
	echo "lint: $1"
	cat "$tmp/lines"
	: >"$tmp/bad"
}

# tool NAME: whether there is one
tool() {
	command -v "$1" >/dev/null 2>&1 && return
	echo "lint: no $1 here: not run"
	[ "${CI:-}" != true ] || : >"$tmp/bad"
	return 1
}

graph() {
	for f in *.c; do
		# shellcheck disable=SC2046
		echo "$f:" $(sed -n 's/^#include "\(.*\)".*/\1/p' "$f" | sort)
	done
}

if [ "${1:-}" = graph ]; then
	graph | fold -s -w 66 | awk '{
		sub(/ +$/, "")
		print " *\t" ($1 ~ /:$/ ? "" : "    ") $0
	}'
	exit
fi

if tool mandoc; then
	mandoc -T lint -W warning man/*.[1-9] 2>&1 | complain 'manual pages'
fi
if tool shellcheck; then
	shellcheck -s sh setup.sh .ci/run contrib/*.sh tests/*.sh tests/*.t 2>&1 |
	    complain 'shell files'
fi

# "name.c: header.h ..." in the block, continued on lines of headers only.
awk '/\*\// && seen++ { exit }
/^ \*[ \t]+[a-z0-9_-]+\.c:/ { if (g) print g; g = ""; on = 1 }
!/^ \*[ \t]+([a-z0-9_-]+\.[ch]:? *)+$/ { on = 0 }
on { sub(/^ \*[ \t]+/, ""); g = g (g ? " " : "") $0 }
END { if (g) print g }' litestream.c | sort >"$tmp/graph"
graph | sort | diff "$tmp/graph" - |
    complain "litestream.c's graph (<) is not that of the includes (>)"

# only HEADER REGEX: no file of another name includes it
only() {
	grep -Hn -e "^#include <$1" -- *.[ch] | grep -vE "^($2):" |
	    complain "<$1> outside $2"
}
only sqlite3 'db\.c|litestream-test\.c|test_[a-z]*\.[ch]'
only lz4 'ltx_read\.c|ltx_write\.c|unlz4\.c'
only xxhash 'ltx\.c|ltx_read\.c'
only yaml 'node\.c'

for f in *.[ch]; do
	case $f in
	util.c | watch.c | crc64.c) ;;
	*)	grep -HnE '^[[:blank:]]*#[[:blank:]]*(if|elif|else)' "$f" |
		    grep -v '#ifndef [A-Z0-9_]*_H$' ;;
	esac
done | complain 'conditional compilation'

for f in *.[ch] tests/*.[ch] tests/fuzz/*.[ch]; do
	[ -e "$f" ] || continue
	expand "$f" | awk -v f="$f" '
	length > 80 { print f ":" NR ": " length " columns" }
	# A comment above with "lines:" in it gives the reason for a long one.
	/^\/\*|^ \*/ && /lines:/ { excused = 1 }
	/^{/ { start = NR }
	/^}/ {
		if (start && NR - start + 1 > 60 && !excused)
			print f ":" start ": " NR - start + 1 " lines"
		start = excused = 0
	}'
done | complain 'long lines and functions'

for f in *.[ch] tests/unit-*.c tests/fuzz/*.[ch]; do
	case $f in
	tests/fuzz/*) grep -q "$f" Makefile || echo "$f" ;;
	tests/*) grep -q "^tests/bin/.*: $f" Makefile || echo "$f" ;;
	*.c) grep -q "[= $tab]${f%.c}\.o" Makefile || echo "$f" ;;
	*.h) grep -q "[= $tab]$f" Makefile || echo "$f" ;;
	esac
done | complain 'not in the Makefile'

for f in *.[ch] *.md *.sh Makefile .ci/run contrib/* man/* tests/*.* \
    tests/fuzz/*; do
	[ ! -f "$f" ] || grep -Hn "[ $tab]\$" "$f"
done | complain 'blanks at the end of a line'
for f in *.[ch] *.sh Makefile .ci/run contrib/* tests/*.sh tests/*.[cht] \
    tests/fuzz/*.[ch]; do
	[ ! -f "$f" ] || sed 3q "$f" | grep -q 'SPDX-License-Identifier: ISC' ||
	    echo "$f"
done | complain 'no SPDX line'

[ ! -e "$tmp/bad" ] || exit 1
echo 'lint: nothing found'
