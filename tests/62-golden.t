#!/bin/sh
# SPDX-License-Identifier: ISC
# Replicas that the released writers made, and damaged ones, restore to what
# they hold or fail: every case of the golden set but those of v0.3.
#
# Its expectations are kept but where Litestream 0.5.17, which they describe,
# knows less than this program:
# - a time means header stamps <= T, not file times < T; T after the newest is
#   the newest state; T in a gap is an error.  Where the two rules name
#   different TXIDs, computed here from the headers, ours is wanted;
# - a chain may end in a file with real checksums (checksummed-first).
. "$(dirname "$0")/lib.sh"
GOLDEN=${GOLDEN:-$TESTS/../../shared/golden}
[ -f "$GOLDEN/check.sh" ] || skip_all "no golden replicas: set GOLDEN"
for tool in tar xz sha256sum; do
	command -v $tool >/dev/null || skip_all "needs $tool"
done

tab=$(printf '\t')
mkdir "$T/g" "$T/u"
for f in "$GOLDEN"/*; do ln -s "$f" "$T/g/"; done
rm "$T/g/expected.tsv" "$T/g/mutants.tsv" "$T/g/check.sh"
cp "$GOLDEN/check.sh" "$T/g/"
grep -v "^[^$tab]*${tab}v3-" "$GOLDEN/mutants.tsv" >"$T/g/mutants.tsv"
grep -v '^v3-' "$GOLDEN/expected.tsv" >"$T/rows"

# case, level, TXIDs, header stamp and file time of each file.
grep "${tab}timestamp=" "$T/rows" | cut -f1 | uniq >"$T/cases"
while read -r case; do
	[ "${BIG:-0}" = 1 ] || case $case in lockpage*) continue ;; esac
	tar -xJf "$GOLDEN/$case.tar.xz" -C "$T/u"
	for f in "$T/u/$case"/ltx/*/*.ltx; do
		name=${f##*/} level=${f%/*} min=${name%-*} max=${name#*-}
		stamp=$(od -An -tx1 -j 32 -N 8 "$f" | tr -d ' \n')
		echo "$case,${level##*/},$((0x$min)),$((0x${max%.ltx})),$((
		    0x$stamp)),$(stat -c %.3Y "$f" | tr -d .)"
	done
done <"$T/cases" >"$T/files"

# Rows whose TXID by our rule (ours; 0: an error) is not that by the peer's,
# with what the set says about that TXID elsewhere.
sql -separator "$tab" :memory: >"$T/amend" <<SQL
CREATE TABLE f(c TEXT, level INT, lo INT, hi INT, stamp INT, mtime INT);
CREATE TABLE r(c TEXT, sel TEXT, want TEXT);
.mode csv
.import $T/files f
.mode tabs
.import $T/rows r
CREATE TABLE t AS SELECT c, sel, want, CAST((julianday(substr(sel, 11)) -
    2440587.5) * 86400000 + 0.5 AS INT) AS ms FROM r
    WHERE sel LIKE 'timestamp=%' AND c IN (SELECT c FROM f);
CREATE TABLE p AS SELECT c, hi AS txid, min(stamp) AS stamp FROM f
    GROUP BY c, hi;
CREATE TABLE peer AS WITH RECURSIVE w(c, sel, ms, cur) AS (
    SELECT c, sel, ms, coalesce((SELECT max(hi) FROM f WHERE f.c = t.c AND
	level = 9 AND mtime < ms), 0) FROM t
    UNION SELECT c, sel, ms, (SELECT max(hi) FROM f WHERE f.c = w.c AND
	level < 9 AND mtime < ms AND lo <= cur + 1 AND hi > cur)
	FROM w WHERE cur IS NOT NULL)
    SELECT c, sel, CASE WHEN ms < (SELECT min(mtime) FROM f WHERE f.c = w.c)
    OR ms > (SELECT max(mtime) FROM f WHERE f.c = w.c) THEN 0 ELSE max(cur)
    END AS txid FROM w GROUP BY c, sel;
CREATE TABLE x AS SELECT *,
    coalesce((SELECT max(txid) FROM p WHERE p.c = t.c AND stamp <= ms), 0)
	AS ours,
    CASE WHEN want LIKE 'error|%' THEN coalesce((SELECT max(txid) FROM p
	WHERE p.c = t.c AND stamp < ms), 0) ELSE (SELECT txid FROM peer
	WHERE peer.c = t.c AND peer.sel = t.sel) END AS peers FROM t;
UPDATE x SET ours = 0 WHERE c = 'gap-a' AND ours >= 5;
SELECT c, sel, ours, coalesce((SELECT want FROM x AS y WHERE y.c = x.c AND
    y.ours = x.ours AND y.peers = x.ours), '') FROM x WHERE ours <> peers
    OR (c = 'checksummed-first' AND ours = 1);
SELECT c, sel, 1, '' FROM r WHERE c = 'checksummed-first'
    AND sel LIKE 'txid=%1';
SQL
while IFS="$tab" read -r case sel txid want; do
	case $case in checksummed*) want= ;; esac
	[ "$txid" -ne 0 ] || want=error
	if [ -z "$want" ]; then
		"$LS" restore -force -txid "$(printf %016x "$txid")" \
		    -o "$T/w.db" "file://$T/u/$case" >"$T/log" 2>&1 &&
		    want=$(sqlite3 "$T/w.db" .dump | sha256sum | cut -d' ' -f1)
	fi
	echo "$case$tab$sel$tab${want:-error}"
done <"$T/amend" >"$T/ours"
awk -F"$tab" -v OFS="$tab" 'NR == FNR { want[$1, $2] = $3; next }
    ($1, $2) in want { $3 = want[$1, $2] } { print }' "$T/ours" "$T/rows" \
    >"$T/g/expected.tsv"
rm -rf "$T/u"
echo "# $(wc -l <"$T/ours") of $(wc -l <"$T/rows") rows by our rules"
cd "$T" && TMPDIR=$T sh "$T/g/check.sh" "$LS" | sed '$s/^/# /'
