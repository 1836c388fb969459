#!/bin/sh
# SPDX-License-Identifier: ISC
# coverage.sh [TEST...]: which lines and branches the suite, or these tests,
# run, by gcc and gcov, in a copy of the tree; coverage.py judges.  KEEP=DIR:
# the copy is made there and left; counts that are there already are added to.
# Not counted is what runs in processes that die by a signal, SIGKILL above all,
# as they write no counts (what ends by exec or _exit does: -std=gnu11 lets gcc
# see fork and exec); what only make torture, soak, fuzz and portable run; what
# is in tests/, as it is no part of the programs.
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- tests
tree=${KEEP:-$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX")} || exit 1
[ -n "${KEEP:-}" ] || trap 'rm -rf "$tree"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$tree/tests" || exit 1
cp -Rp ./*.[ch] ./*.md LICENSE Makefile setup.sh contrib man "$tree" || exit 1
for f in tests/*; do
	[ "$f" = tests/bin ] || cp -Rp "$f" "$tree/tests" || exit 1
done
# What is drawn by lot is the same in every run.
export PEERS="${PEERS:-$PWD/tests/.peer}" CC=gcc SEED="${SEED:-1}"
cd "$tree" || exit 1
{ gcc -c -o coverage.o tests/coverage.c; "${MAKE:-make}" CC=gcc all units \
    CPPFLAGS=-D_exit=coverage_exit LDFLAGS="$PWD/coverage.o" \
    'CFLAGS=-O0 -g --coverage -fprofile-update=atomic -std=gnu11'
} >make.log 2>&1 || { cat make.log; exit 1; }
# The files of counts are there now, and other users, too, can add to them.
{ ./litestream version && ./litestream-test version; } >/dev/null &&
    chmod -R a+rwX "$tree"
prove -f -o -j"${JOBS:-2}" -e sh "$@"
tested=$?
python3 tests/coverage.py "$tree" && exit $tested
