#!/bin/sh
# SPDX-License-Identifier: ISC
# Installs what is missing to build and test, then runs make with the
# arguments: sh setup.sh [TARGET...].  Asks nothing; where it may not install
# it prints the command and stops.  With CI=true also what .ci/run needs.
cd "$(dirname "$0")" || exit 1
export PATH="$PATH:/usr/bin/core_perl"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

cc=cc flags='' manager=''
for m in apt-get apk dnf pacman brew; do
	if command -v $m >/dev/null 2>&1; then
		manager=$m
		break
	fi
done
if [ "$manager" = brew ]; then
	prefix=$(brew --prefix)
	flags="-I$prefix/include -L$prefix/lib"
fi

# builds HEADER EXPRESSION FLAGS...: whether a program with both links
builds() {
	printf '#include <%s>\nint main(void)\n{\n\treturn %s;\n}\n' \
	    "$1" "$2" >"$tmp/probe.c"
	shift 2
	# shellcheck disable=SC2086
	"$cc" $flags -o "$tmp/probe" "$tmp/probe.c" "$@" >/dev/null 2>&1
}

has() {
	command -v "$1" >/dev/null 2>&1
}

# here NEED: whether it is there already
here() {
	case $1 in
	cc)	builds stdio.h 0 ;;
	sqlite)	builds sqlite3.h 'sqlite3_libversion() == 0' -lsqlite3 ;;
	xxhash)	builds xxhash.h 'XXH3_64bits_withSeed("", 0, 1) == 0' -lxxhash
		;;
	lz4)	builds lz4.h 'LZ4_compressBound(1) == 0' -llz4 ;;
	yaml)	builds yaml.h 'yaml_get_version_string() == 0' -lyaml ;;
	asan)	builds stdio.h 0 -fsanitize=address,undefined ;;
	# Its run-time library is a package of its own, named after clang's
	# version: seen in the second round, when clang is there.
	clang-asan) ! has clang ||
		(cc=clang; builds stdio.h 0 -fsanitize=address,undefined) ;;
	i386)	has i686-linux-gnu-gcc ;;
	s390x)	has s390x-linux-gnu-gcc ;;
	qemu)	has qemu-s390x-static ;;
	systemd) has systemd-analyze ;;
	dpkg-dev) has dpkg-shlibdeps ;;
	venv)	python3 -c 'import venv, ensurepip' >/dev/null 2>&1 ;;
	lz4-tool) has lz4 ;;
	*)	has "$1" ;;
	esac
}

# package NEED: what this manager calls it
package() {
	case $manager:$1 in
	apt-get:cc)		echo gcc libc6-dev ;;
	apt-get:sqlite)		echo libsqlite3-dev ;;
	apt-get:sqlite3)	echo sqlite3 ;;
	apt-get:xxhash)		echo libxxhash-dev ;;
	apt-get:lz4)		echo liblz4-dev ;;
	apt-get:yaml)		echo libyaml-dev ;;
	apt-get:venv)		echo python3-venv ca-certificates ;;
	apt-get:xz)		echo xz-utils ;;
	apt-get:i386)		echo gcc-i686-linux-gnu \
				    libc6-dev-i386-cross ;;
	apt-get:s390x)		echo gcc-s390x-linux-gnu \
				    libc6-dev-s390x-cross ;;
	apt-get:qemu)		echo qemu-user-static ;;
	apt-get:asan)		echo gcc ;;
	apt-get:clang-asan)	echo "libclang-rt-$(clang -dumpversion |
				    cut -d. -f1)-dev" ;;
	apk:cc)			echo gcc musl-dev ;;
	apk:sqlite)		echo sqlite-dev ;;
	apk:prove)		echo perl-utils ;;
	apk:asan)		echo gcc ;;
	apk:yaml)		echo yaml-dev ;;
	apk:xxhash | apk:lz4)	echo "$1-dev" ;;
	dnf:cc)			echo gcc glibc-devel ;;
	dnf:sqlite)		echo sqlite-devel ;;
	dnf:yaml)		echo libyaml-devel ;;
	dnf:prove)		echo perl-Test-Harness ;;
	dnf:shellcheck)		echo ShellCheck ;;
	dnf:asan)		echo libasan libubsan ;;
	dnf:xxhash | dnf:lz4)	echo "$1-devel" ;;
	*:lz4-tool)		echo lz4 ;;
	*:yaml)			echo libyaml ;;
	brew:clang)		echo llvm ;;
	pacman:venv | brew:venv) echo python ;;
	*:cc | *:asan)		echo gcc ;;
	*:clang-asan)		echo compiler-rt ;;
	*:prove)		echo perl ;;
	*:sqlite3)		echo sqlite ;;
	*:venv)			echo python3 ca-certificates ;;
	*)			echo "$1" ;;
	esac
}

# install PACKAGE...: prints the command and stops where that cannot be
install() {
	case $manager in
	apt-get) command="env DEBIAN_FRONTEND=noninteractive apt-get install \
-q -y --no-install-recommends" ;;
	apk)	command="apk add --no-progress" ;;
	dnf)	command="dnf install -q -y" ;;
	pacman)	command="pacman -Sy --noconfirm --needed" ;;
	brew)	command="brew install -q" ;;
	*)	echo "setup: missing:$missing; no package manager known" >&2
		exit 1 ;;
	esac
	sudo=
	[ "$manager" = brew ] || [ "$(id -u)" -eq 0 ] || sudo=sudo
	echo "setup: installing $*" >&2
	# shellcheck disable=SC2086
	if { [ "$manager" != apt-get ] ||
	    ${sudo:+sudo -n} apt-get -q update; } &&
	    ${sudo:+sudo -n} $command "$@"; then
		return
	fi </dev/null >&2
	echo "setup: could not; run this, then the same again:" >&2
	[ "$manager" != apt-get ] || echo "  ${sudo:+sudo }apt-get update" >&2
	echo "  ${sudo:+sudo }$command $*" >&2
	exit 1
}

needs='cc make sqlite xxhash lz4 yaml sqlite3 mandoc prove venv'
[ "${CI:-}" != true ] ||
	needs="$needs clang asan clang-asan shellcheck strace xz patch lz4-tool"
# What 09-install.t and 09-rsync.t use, and what "make portable" runs on: other
# machines' libraries are Debian's.
[ "${CI:-}" != true ] || needs="$needs bmake valgrind rsync zsh fish"
[ "${CI:-}:$manager" != true:apt-get ] || \
	needs="$needs i386 s390x qemu systemd dpkg-dev"
for round in 1 2 3; do
	missing='' packages=''
	for n in $needs; do
		here "$n" || {
			missing="$missing $n"
			packages="$packages $(package "$n")"
		}
	done
	[ -n "$missing" ] || break
	if [ $round -eq 3 ]; then
		echo "setup: still missing:$missing" >&2
		exit 1
	fi
	# shellcheck disable=SC2086
	install $packages
done

rm -rf "$tmp"
trap - EXIT
if [ "$manager" = brew ]; then
	exec make "CPPFLAGS=-I$prefix/include" "LDFLAGS=-L$prefix/lib" "$@"
fi
exec make "$@"
