#!/bin/sh
# SPDX-License-Identifier: ISC
# setup.sh on machines that are only made up: a PATH of a few tools, and a
# package manager that writes down what it is asked for.
. "$(dirname "$0")/lib.sh"
SETUP=$TESTS/../setup.sh
B=$T/bin
log=$T/asked

fake() {	# NAME: a command from stdin
	{ echo '#!/bin/sh'; cat; } >"$B/$1" && chmod +x "$B/$1"
}
machine() {	# UID [MANAGER]: with nothing but that
	rm -rf "$B" "$log"
	mkdir "$B"
	for c in sh mktemp rm cat dirname env cut chmod; do
		ln -s "$(command -v $c)" "$B/$c"
	done
	echo "echo $1" | fake id
	[ -z "${2:-}" ] || fake "$2" <<-END
		[ "\$1" != --prefix ] || { echo /brew; exit; }
		echo "\$DEBIAN_FRONTEND: $2 \$*" >>"$log"
		case \$* in
		*update*) exit ;;
		esac
		[ ! -e "$T/broken" ] || exit 100
		for c in cc sqlite3 mandoc prove python3; do
			echo '#!/bin/sh' >"$B/\$c" && chmod +x "$B/\$c"
		done
	END
	echo 'echo "make $*"' | fake make
}
setup() {	# what a user sees: both outputs in $T/out
	PATH=$B CI='' DEBIAN_FRONTEND='' "$B/sh" "$SETUP" "$@" 2>&1
}

machine 0
for c in cc sqlite3 mandoc prove python3; do fake $c </dev/null; done
ok 'with everything there, setup runs' setup demo X=1
is 'make, and says nothing else' "$(cat "$T/out")" 'make demo X=1'

machine 0 apt-get
ok 'with apt-get and nothing there, setup runs' setup
is 'it updates, then installs all at once, without questions' \
    "$(cat "$log")" ': apt-get -q update
noninteractive: apt-get install -q -y --no-install-recommends gcc libc6-dev '\
'libsqlite3-dev libxxhash-dev liblz4-dev libyaml-dev sqlite3 mandoc perl '\
'python3-venv ca-certificates'
matches 'make runs in the end' "$T/out" '^make $'

for m in apk:yaml-dev dnf:libyaml-devel pacman:libyaml brew:libyaml; do
	machine 0 ${m%:*}
	ok "with ${m%:*} it installs" setup
	matches "what that calls ${m#*:}" "$log" " ${m#*:} "
done
matches 'libraries of brew are found' "$T/out" '^make CPPFLAGS=-I/brew/include'

machine 1000 dnf
status 1 'without the right to install, setup stops' setup
matches 'and prints the command' "$T/out" \
    '^  sudo dnf install -q -y gcc glibc-devel sqlite-devel '
is 'nothing was installed' "$(ls "$log" 2>/dev/null)" ''

: >"$T/broken"
machine 0 apk
status 1 'an installation that fails stops it' setup
matches 'and prints the command' "$T/out" '^  apk add .* sqlite-dev '
rm "$T/broken"

machine 0
status 1 'without a package manager it stops' setup
matches 'and says what is missing' "$T/out" \
    '^setup: missing: cc sqlite xxhash lz4 yaml sqlite3 mandoc prove venv;'

machine 0 pacman
echo : | fake pacman
status 1 'what is still missing afterwards is an error' setup
matches 'and named' "$T/out" '^setup: still missing: cc sqlite '
done_testing
