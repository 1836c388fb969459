#!/bin/sh
# SPDX-License-Identifier: ISC
# What a person installs: files, units, completions, the Debian package.
# What is missing here is skipped, but not where CI is true and setup.sh could
# have installed it.
. "$(dirname "$0")/lib.sh"
unset MAKEFLAGS MFLAGS MAKELEVEL
cd "$TESTS/.." || exit
[ -x litestream ] || skip_all 'not built'
has() {	# TOOL TITLE
	command -v "$1" >/dev/null && return
	if [ "${CI:-}" = true ] && command -v apt-get >/dev/null; then
		result 1 "$2: $1 is there"
	else
		skip "$2" "no $1"
	fi
	return 1
}
files() { find "$1" ! -type d | sort; }

root=$T/root
ok 'make install' make install DESTDIR="$root"
is 'what it installs' "$(cd "$root/usr/local" && files . | sed 's|^./||')" \
    'bin/litestream
bin/litestream-test
lib/systemd/system/litestream-once@.service
lib/systemd/system/litestream-once@.timer
lib/systemd/system/litestream-verify@.service
lib/systemd/system/litestream-verify@.timer
lib/systemd/system/litestream.service
lib/systemd/system/litestream@.service
share/bash-completion/completions/litestream
share/bash-completion/completions/litestream-test
share/fish/vendor_completions.d/litestream-test.fish
share/fish/vendor_completions.d/litestream.fish
share/man/man1/litestream-test.1
share/man/man1/litestream.1
share/man/man5/litestream.5
share/man/man5/ltx.5
share/zsh/site-functions/_litestream'
is 'all units' "$(ls "$root/usr/local/lib/systemd/system")" \
    "$(cd contrib && ls -- *.service *.timer)"
is 'nothing elsewhere' "$(cd "$root" && echo ./* ./*/*)" './usr ./usr/local'
touch "$root/usr/local/bin/other"
ok 'make uninstall' make uninstall DESTDIR="$root"
is 'removes exactly that' "$(files "$root")" "$root/usr/local/bin/other"

# Units.  Each calls what was installed, and each setting is one.
p=$T/p
ok 'make install elsewhere' make install PREFIX="$p"
cd "$p/lib/systemd/system" || exit
is 'the units call what was installed' "$(sed -n \
    's/^ExecStart=\([^ ]*\).*/\1/p' ./*.service | sort -u)" "$p/bin/litestream"
if has systemd-analyze 'the units are right'; then
	for u in litestream.service litestream@app.service \
	    litestream-once@app.timer litestream-once@app.service \
	    litestream-verify@app.timer litestream-verify@app.service; do
		case $u in
		*@app*) cp "${u%app*}.${u##*.}" "$u" ;;
		esac
		ok "systemd accepts $u" systemd-analyze verify --man=no "./$u"
		is "$u: without a word" "$(cat "$T/err")" ''
	done
	# In tenths; the README says what systemd 252 finds.
	for u in litestream:30 litestream@app:20 litestream-once@app:20 \
	    litestream-verify@app:20; do
		ok "${u%:*}: exposure at most ${u#*:}" systemd-analyze security \
		    --offline=true --no-pager --threshold="${u#*:}" \
		    "./${u%:*}.service"
	done
fi
is 'statuses that trying again does not help' "$(sed -n \
    's/^RestartPreventExitStatus=//p' ./*.service | sort -u)" '2 5 6'

# The command of a unit, with the words that systemd makes of it.
mkdir "$T/srv"
db=$T/srv/app.db
sql "$db" 'CREATE TABLE t(a); INSERT INTO t VALUES(1)'
unit() {	# NAME [exec]: runs its ExecStart
	# shellcheck disable=SC2034
	DATABASE=$db REPLICA=file://$T/replica OPTIONS='-log-level warn'
	eval "${2:-} $(sed -n 's/^ExecStart=//p' "$1")"
}
ok 'the command of litestream-once@' unit litestream-once@.service
ok 'the command of litestream-verify@' unit litestream-verify@.service
ok 'restores' restore_same "$db" "$T/replica"
unit litestream@.service exec >"$T/log" 2>&1 & PID=$!; track $PID
poll 10 "$LS" sync "$db"; result $? 'the command of litestream@'
stop_replicate; result $? 'until SIGTERM'
sed "s|/etc/|$T/|" litestream.service >"$T/u.service"
printf 'dbs: [{path: %s, replica: {path: %s/replica}}]\n' "$db" "$T" \
    >"$T/litestream.yml"
unit "$T/u.service" exec >"$T/log" 2>&1 & PID=$!; track $PID
poll 10 "$LS" sync "$db"; result $? 'the command of litestream'
stop_replicate; result $? 'until SIGTERM'

# Completions: each command and flag that "-h" lists, and no other.
commands() {	# PROGRAM
	"$p/bin/$1" help 2>&1 |
	    sed -n 's/^[ 	][ 	]*\([a-z]*\)  .*/\1/p'
}
wanted() {	# every "PROGRAM COMMAND [FLAG]"
	for w in litestream litestream-test; do
		commands $w | while read -r c; do
			echo "$w $c"
			"$p/bin/$w" "$c" -h 2>&1 | sed -n \
			    -e 's/^[ 	][ 	]*\(-[a-z-]*\) .*/\1/p' \
			    -e 's/^usage: litestream version \[\(.*\)\]/\1/p' |
			    sed "s/^/$w $c /"
		done
	done | sort
}
wanted >"$T/wanted"
is 'flags and commands are found' "$(grep -c -e '^litestream verify$' \
    -e '^litestream restore -f$' -e '^litestream-test load -db$' \
    -e '^litestream-test populate$' -e '^litestream version -verbose$' \
    "$T/wanted")" 5
same() {	# SHELL: what it completes is what is wanted
	sort "$T/completed" | diff "$T/wanted" - >"$T/diff"
	is "$1 completes commands and flags" "$(cat "$T/diff")" ''
}
cut -d' ' -f1,2 "$T/wanted" | sort -u >"$T/pairs"
cd "$p/share" || exit

if has bash 'bash completion'; then
	cat >"$T/ask.bash" <<-'END'
		. "$1/bash-completion/completions/$2" || exit
		ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _litestream; }
		ask $2 ''
		printf "$2 %s\n" "${COMPREPLY[@]}"
		while read -r w c; do
			[ $w = $2 ] || continue
			ask $w $c -
			[ -z "$COMPREPLY" ] || printf "$w $c %s\n" "${COMPREPLY[@]}"
		done <"$3"
	END
	for w in litestream litestream-test; do
		bash --norc "$T/ask.bash" "$p/share" $w "$T/pairs"
	done >"$T/completed" 2>&1
	same bash
fi
if has zsh 'zsh completion'; then
	cat >"$T/ask.zsh" <<-'END'
		_describe() { print -l -- ${${(P)2}%%:*}; }
		_arguments() { print -l -- ${${(M)@:#-*}%%\[*}; }
		ask() {
			words=("$@") CURRENT=$#
			source $file
		}
		file=$1
		for w in litestream litestream-test; do
			ask $w '' | sed "s/^/$w /"
		done
		while read -r w c; do
			ask $w $c - | sed "/^\$/d; s/^/$w $c /"
		done <$2
	END
	zsh -f "$T/ask.zsh" "$p/share/zsh/site-functions/_litestream" \
	    "$T/pairs" >"$T/completed" 2>&1
	same zsh
fi
if has fish 'fish completion'; then
	cat >"$T/ask.fish" <<-'END'
		source $argv[1]/fish/vendor_completions.d/litestream.fish
		for w in litestream litestream-test
			complete -C "$w " | string replace -r '\t.*' '' |
				string replace -r '^' "$w "
		end
		cat $argv[2] | while read -l w c
			complete -C "$w $c -" | string replace -r '\t.*' '' |
				string match -e -r '^-' |
				string replace -r '^' "$w $c "
		end
	END
	(mkdir "$T/none" && cd "$T/none" && HOME="$T/home" PATH="$p/bin:$PATH" \
	    fish --no-config "$T/ask.fish" "$p/share" "$T/pairs") \
	    >"$T/completed" 2>&1
	same fish
fi

# The Debian package, and what dpkg does with it, in a tree of its own.
cd "$TESTS/.." || exit
if has dpkg-shlibdeps 'a Debian package'; then
	ok 'make deb' make deb DEB="$T"
	deb=$(tail -n 1 "$T/out")
	ok 'is a package' dpkg-deb -x "$deb" "$T/x"
	dpkg-deb -e "$deb" "$T/x/DEBIAN"
	ok 'with the right sums' sh -c \
	    'cd "$1" && md5sum --quiet -c DEBIAN/md5sums' - "$T/x"
	is 'of all files' "$(wc -l <"$T/x/DEBIAN/md5sums" | tr -d ' ')" \
	    "$(find "$T/x/usr" -type f | wc -l | tr -d ' ')"
	is 'that depends on all its libraries' "$(tr , '\n' \
	    <"$T/x/DEBIAN/control" | sed 's/^Depends://' | grep -o \
	    -e '^ *libc6 ' -e '^ *libsqlite3-0 ' -e '^ *libxxhash0 ' \
	    -e '^ *liblz4-1 ' -e '^ *libyaml-0-2' | wc -l | tr -d ' ')" 5
	for f in postinst prerm postrm; do
		ok "$f is a shell script" sh -n "$T/x/DEBIAN/$f"
	done
	is 'its units call /usr/bin' "$(cat "$T"/x/usr/lib/systemd/system/* |
	    sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' | sort -u)" \
	    /usr/bin/litestream
fi
if [ -z "${deb:-}" ] || [ "$(id -u)" -ne 0 ]; then
	skip 'dpkg installs and removes it' 'not root, or no package'
	done_testing
fi
d=$T/d
package() {
	dpkg --root="$d" --force-depends --force-script-chrootless "$@"
}
mkdir -p "$d/var/lib/dpkg/info" "$d/var/lib/dpkg/updates" \
    "$d/etc/systemd/system/multi-user.target.wants"
: >"$d/var/lib/dpkg/status"
ok 'dpkg installs it' package -i "$deb"
is 'it is installed' "$(package -l litestream | tail -n 1 | cut -c1-2)" ii
# Twice: an upgrade runs other scripts.
ok 'dpkg installs it again' package -i "$deb"
ok 'what it installed runs' "$d/usr/bin/litestream" replicate -once "$db" \
    "file://$T/replica"
ok 'and restores' restore_same "$db" "$T/replica"
links=$d/etc/systemd/system/multi-user.target.wants
ln -s /usr/lib/systemd/system/litestream@.service "$links/litestream@a.service"
ln -s /usr/lib/systemd/system/other.service "$links/other.service"
ok 'dpkg removes it' package -r litestream
is 'all of it' "$(files "$d/usr" 2>/dev/null)" ''
is 'not what is enabled' "$(ls "$links")" 'litestream@a.service
other.service'
ok 'dpkg purges it' package -P litestream
is 'but then that, and no more' "$(ls "$links")" other.service
done_testing
