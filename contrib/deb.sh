#!/bin/sh
# SPDX-License-Identifier: ISC
# Makes a Debian package of what "make install" installs, for the machine it
# runs on: sh contrib/deb.sh [DIRECTORY], by default here.  Needs dpkg-dev.
set -eu
cd "$(dirname "$0")/.."
out=${1:-.}
for tool in dpkg-deb dpkg-shlibdeps; do
	command -v $tool >/dev/null ||
	    { echo "deb: no $tool: install dpkg-dev" >&2; exit 1; }
done
umask 022
tmp=$(mktemp -d "${TMPDIR:-/tmp}/litestream.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
root=$tmp/root doc=$tmp/root/usr/share/doc/litestream

${MAKE:-make} install DESTDIR="$root" PREFIX=/usr \
    ZSHDIR=/usr/share/zsh/vendor-completions >/dev/null
strip --strip-unneeded "$root"/usr/bin/*
gzip -9n "$root"/usr/share/man/man*/*
mkdir -p "$doc" "$root/DEBIAN" "$tmp/debian"
cp README.md SECURITY.md "$doc"
cp LICENSE "$doc/copyright"

version=$(sed -n 's/^#define CMD_VERSION "v\(.*\)"$/\1/p' cmd.h)
arch=$(dpkg --print-architecture)
# shlibdeps wants a source package around it.
printf 'Source: litestream\n\nPackage: litestream\nArchitecture: any\n' \
    >"$tmp/debian/control"
depends=$(cd "$tmp" && dpkg-shlibdeps -O root/usr/bin/* |
    sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<EOF
Package: litestream
Version: $version
Architecture: $arch
Maintainer: ${DEBEMAIL:-nobody <nobody@localhost>}
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: $depends
Section: database
Priority: optional
Description: stream live SQLite databases into directories
 Every committed change of a live SQLite database is written to a directory of
 small files, from which any state that was kept can be restored.  Commands,
 configuration and files are those of Litestream 0.5 for replicas in a
 directory.
EOF
(cd "$root" && find usr -type f -exec md5sum {} + | sort -k 2) \
    >"$root/DEBIAN/md5sums"

# Nothing is started or enabled by the installation; what runs is stopped
# before it goes.
script() {
	{
		printf '#!/bin/sh\nset -e\n'
		cat
	} >"$root/DEBIAN/$1"
	chmod 755 "$root/DEBIAN/$1"
}
script postinst <<'EOF'
[ ! -d "${DPKG_ROOT:-}/run/systemd/system" ] || systemctl daemon-reload
EOF
script prerm <<'EOF'
if [ "$1" = remove ] && [ -d "${DPKG_ROOT:-}/run/systemd/system" ]; then
	systemctl stop 'litestream.service' 'litestream@*.service' \
	    'litestream-*@*.timer' 'litestream-*@*.service'
fi
EOF
script postrm <<'EOF'
if [ "$1" = purge ]; then
	for link in "${DPKG_ROOT:-}/etc/systemd/system"/*.wants/litestream*; do
		case ${link##*/} in
		litestream.service | litestream@*.service | \
		litestream-once@*.timer | litestream-verify@*.timer)
			[ ! -L "$link" ] || rm -f "$link" ;;
		esac
	done
fi
[ ! -d "${DPKG_ROOT:-}/run/systemd/system" ] || systemctl daemon-reload
EOF

deb=$out/litestream_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$root" "$deb" >/dev/null
echo "$deb"
