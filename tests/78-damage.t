#!/bin/sh
# SPDX-License-Identifier: ISC
# Files that are not what they must be, and what is said of them.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
url=file://$T/r
says() {	# STATUS TITLE REGEX ARG...: on standard error
	_s=$1 _t=$2 _r=$3; shift 3
	status "$_s" "$_t" timeout 60 "$LS" "$@"
	matches "$_t: said" err "$_r"
}

# An index that does not agree with its table: replicated as it is.
sql a.db "PRAGMA journal_mode = WAL; CREATE TABLE t(a); CREATE INDEX i ON t(a);
    INSERT INTO t VALUES('marker'); PRAGMA wal_checkpoint(TRUNCATE)" >/dev/null
python3 - <<'END'
f = open('a.db', 'r+b'); b = f.read(); at = b.rindex(b'marker')
f.seek(at); f.write(b'MARKER')
END
ok 'replicated' "$LS" replicate -once a.db "$url"
ok 'whole, as files' "$LS" verify "$url"
says 4 'verify -full' '^Error: .*/r: damaged: 0 of 2 files, 0 gaps, 1 other' \
    verify -full "$url"
matches 'names what SQLite finds' out '^damage: .*index i'
says 4 'restore -integrity-check full' \
    '^Error: post-restore integrity check: .*index i' \
    restore -integrity-check full -o x.db "$url"
is 'nothing is left' "$(ls -d x.db* 2>/dev/null)" ''
status 1 'no place for verify -full' env TMPDIR="$T/none" "$LS" verify -full \
    "$url"
matches 'is named' err "^Error: $T/none/litestream-verify"

says 1 'no database for verify -db' '^Error: .*/none.db' verify -db none.db \
    "$url"

# Local files.
for f in r/.lock .a.db-litestream/.lock; do
	mv $f kept; mkfifo $f
	says 1 "a pipe for a lock" "^Error: .*/$f: not a plain file$" \
	    replicate -once a.db "$url"
	rm $f; mv kept $f
done
cp r/.identity kept
for s in 'id x' 'page_size 1024' ''; do
	echo "$s" >r/.identity
	status 0 "an identity of \"$s\"" "$LS" replicate -once -adopt a.db "$url"
done
head -c 100000 /dev/zero >r/.identity
status 0 'an identity of noise, adopted' "$LS" replicate -once -adopt a.db "$url"
cp kept r/.identity

# Replicas of 0.3.
gen=old/generations/00112233445566ff
mkdir -p $gen/snapshots $gen/wal
sql b.db 'CREATE TABLE t(a)'
command -v lz4 >/dev/null || skip_all 'no lz4'
lz4 -q <b.db >$gen/snapshots/00000000.snapshot.lz4
old=file://$T/old
says 1 'verify of 0.3' '^Error: .*/old: holds only files of Litestream 0.3' \
    verify "$old"
ok 'is restored' "$LS" restore -o old.db "$old"
echo noise | lz4 -q >$gen/wal/00000000_00000000.wal.lz4
says 4 'a WAL without a header' '^Error: .*00000000_00000000.wal.lz4: ' \
    restore -o old2.db "$old"
head -c 4000 /dev/zero | lz4 -q >$gen/wal/00000000_00000000.wal.lz4
says 4 'a WAL of zeros' '^Error: .*: invalid WAL header' restore -o old2.db \
    "$old"
echo noise >$gen/wal/00000000_00000000.wal.lz4
says 4 'a WAL that is not compressed' '^Error: .*00000000_00000000.wal.lz4: ' \
    restore -o old2.db "$old"
rm $gen/wal/*; mkdir $gen/wal/00000000_00000000.wal.lz4
says 4 'a directory for a WAL' '^Error: .*wal.lz4: not a regular file' \
    restore -o old2.db "$old"
rmdir $gen/wal/*
echo noise >$gen/snapshots/00000000.snapshot.lz4
says 4 'a snapshot of noise' '^Error: .*00000000.snapshot.lz4: ' \
    restore -o old2.db "$old"
rm $gen/snapshots/*; mkdir $gen/snapshots/00000000.snapshot.lz4
says 4 'a directory for a snapshot' '^Error: .*lz4: not a regular file' \
    restore -o old2.db "$old"
rmdir $gen/snapshots/*; ln -s "$T/none" $gen/snapshots/00000000.snapshot.lz4
status 3 'a link to nothing for a snapshot' "$LS" restore -o old2.db "$old"
is 'nothing comes of them' "$(ls -d old2.db* 2>/dev/null)" ''
done_testing
