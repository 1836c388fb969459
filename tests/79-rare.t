#!/bin/sh
# SPDX-License-Identifier: ISC
# What is rare and allowed: odd configurations, a directory that goes and comes
# back, files of no time, chains that nobody can follow.
. "$(dirname "$0")/lib.sh"
cd "$T" || exit
command -v python3 >/dev/null || skip_all 'no python3'
make_db() {	# PATH [PAGE-SIZE]
	sql "$1" "PRAGMA page_size = ${2:-512}; PRAGMA journal_mode = WAL;
	    CREATE TABLE t(a); INSERT INTO t VALUES(1)" >/dev/null
}
file() {	# ROOT LEVEL MIN MAX COMMIT STAMP SALT PRE POST PAGE=CHAR...
	_to=$1/ltx/$2/$(printf '%016x-%016x' "$3" "$4").ltx; mkdir -p "${_to%/*}"
	shift 2
	python3 "$TESTS/ltxmake.py" "$_to" "$@"
}

# YAML.
parse() {	# TITLE WANTED: of what is on standard input
	cat >y.yml
	is "$1" "$("$TESTS/bin/unit-config" y.yml | grep -e "^y.yml:" -e '^ root')" "$2"
}
parse 'two merges in one map' 'y.yml:2: duplicate key: <<' <<'END'
<<: {addr: ""}
<<: {addr: ""}
END
{ printf '<<: ['; i=0; while [ $i -lt 300 ]; do printf '{addr: x}, '
	i=$((i + 1)); done; echo '{addr: y}]'; } >many
parse 'hundreds of maps to merge' 'y.yml:1: too many maps for <<' <many
parse 'a number to merge' 'y.yml:1: << needs a map' <<'END'
<<: [{addr: x}, 5]
END
{ echo 'a: &a'; i=0; while [ $i -lt 100 ]; do echo "  k$i: 1"
	i=$((i + 1)); done; echo 'b: &b'; while [ $i -lt 200 ]; do
	echo "  k$i: 1"; i=$((i + 1)); done; echo 'c: {<<: [*a, *b]}'; } >many
parse 'a thousand keys of other maps' 'y.yml:203: too many keys' <many
parse 'a variable that is not closed' ' root /rx meta - -' <<'END'
dbs:
  - path: /a.db
    replica:
      path: /r${x
END

# The child of a configuration.
make_db a.db
printf 'exec: "sh -c \\"exit 9\\""\ndbs: [{path: %s, replica: {path: %s}}]\n' \
    "$T/a.db" "$T/r" >exec.yml
status 9 'exec of the configuration' "$LS" replicate -config exec.yml

# A directory that goes away and comes back, with a name for what it has.
mkdir dir; make_db dir/1.db
cat >dir.yml <<END
dbs: [{dir: $T/dir, pattern: '*.db', watch: true, replica: {path: $T/x}}]
END
"$LS" replicate -config dir.yml >log 2>&1 </dev/null &
PID=$!; track $PID
says() { grep -E -q -e "$1" log; }
waits() { poll 30 says "$1"; result $? "said: $1" || tail -n 5 log; }
there() { restore_same "$T/dir/$1" "$T/x/$1"; }
ok 'replicated' poll 30 there 1.db
ln -s 1.db dir/link.db
make_db dir/2.db
ok 'another' poll 30 there 2.db
is 'but not the link to the first' "$(ls x)" '1.db
2.db'
mv dir gone; : >dir
waits 'level=ERROR msg="cannot look for databases" .*/dir'
rm dir; mv gone dir; make_db dir/3.db
ok 'replicated when it is back' poll 30 there 3.db
ok 'a clean stop' stop_replicate

# Times.
file old 0 1 1 1 18446744073709551615 0 0 0 1=a
ok 'a file of before 1970' "$LS" ltx "file://$T/old"
matches 'has its time' out ' 1969-12-31T23:59:59Z'

# A chain with no beginning.
file end 0 2 2 1 1000 0 0 0 1=a
status 4 'prune of a chain with no beginning' "$LS" prune -keep 0s \
    "file://$T/end"
matches 'nothing is removed' err \
    '^Error: .*/end: the newest state could not be restored: nothing is removed'
is 'nothing is' "$(find end/ltx/0 -type f | wc -l)" 1

# A file of another page size.
make_db big.db 1024
ok 'a replica' "$LS" replicate -once a.db "file://$T/r"
for i in 1 2; do
	sql big.db 'INSERT INTO t VALUES(5)'
	ok "another one, $i" "$LS" replicate -once big.db "file://$T/big"
done
two=ltx/0/0000000000000002-0000000000000002.ltx
cp -p big/$two r/$two
status 4 'a page size that does not go with the others' "$LS" restore -o x.db \
    "file://$T/r"
matches 'is named' err \
    '^Error: .* is of another history than TXID 0000000000000001$'
"$LS" replicate -once a.db "file://$T/r" >log
matches 'the next pass is a new beginning' log \
    'msg="full image" .*reason="page size has changed"'
ok 'which is restored' restore_same "$T/a.db" "$T/r"

# A standby that others use, and a replica that moves and has gaps.
commit() {
	sql big.db 'INSERT INTO t VALUES(6)' &&
	    "$LS" replicate -once big.db "file://$T/big" >out 2>err
}
at() { [ "$(cat f.db-txid)" = "$1" ]; }
newest() { for _f in big/ltx/0/*; do :; done; _f=${_f##*-}; echo "${_f%.ltx}"; }
follow() {
	"$LS" restore -f -follow-interval 50ms -o f.db "file://$T/big" \
	    >log 2>&1 </dev/null 9>&- &
	PID=$!; track $PID
}
catches_up() { ok "$1" poll 30 at "$(newest)"; }
cat >use.py <<'END'
import os, signal, sqlite3, sys
c = sqlite3.connect('f.db', isolation_level=None)
c.execute('PRAGMA cache_size = 1')
c.execute('BEGIN IMMEDIATE')
if sys.argv[1] == 'die':
    c.execute('CREATE TABLE x AS WITH RECURSIVE r(n) AS (VALUES(1) UNION ALL '
              'SELECT n + 1 FROM r WHERE n < 100) SELECT randomblob(900) FROM r')
    os.kill(os.getpid(), signal.SIGKILL)
print('held', flush=True)
sys.stdin.read()
END
hold() {	# until let_go
	rm -f fifo; mkfifo fifo
	python3 use.py hold <fifo >held & track $!
	exec 9>fifo
	poll 20 test -s held
}
let_go() { exec 9>&-; }
follow
catches_up 'a standby'
hold; commit
waits 'level=ERROR msg="follow: error applying updates" .*f.db: .*locked'
let_go
catches_up 'it goes on when nobody holds it'
python3 use.py die >held 2>&1
is 'one who dies in a transaction' "$?, $(ls f.db-journal)" '137, f.db-journal'
commit
catches_up 'does not stop it'
matches 'his change is undone' log 'msg="unfinished change rolled back"'
: >f.db-wal; commit
waits 'msg="follow: error applying updates" .*f.db-wal exists: another process'
rm f.db-wal
catches_up 'it goes on without that'
cp -R -p big/ltx/0 moved; mv big/ltx/0 gone0; mv moved big/ltx/0
commit
catches_up 'a level that is another directory now'
ok 'a stop' stop_replicate
hold; follow
waits 'level=WARN msg="waiting for other processes" reason=".*f.db'
let_go
waits 'msg="entering follow mode"'
ok 'a stop' stop_replicate
commit; one=$(newest); commit; missing=big/ltx/0/$(newest)-$(newest).ltx; commit
mv "$missing" .
follow
ok 'a gap: as far as it goes' poll 30 at "$one"
mv "${missing##*/}" "$missing"
catches_up 'and on, when it is closed'
# Files that are whole, and do not go with the others.
txid=$(newest); next=$((0x$txid + 1))
wrong() {	# TITLE REGEX PAGE-SIZE COMMIT PAGE=CHAR...
	_title=$1 _regex=$2
	PAGE_SIZE=$3; export PAGE_SIZE; shift 3; _commit=$1; shift
	file big 0 $next $next "$_commit" 4000000000000 0 0 0 "$@"
	unset PAGE_SIZE
	waits "msg=\"follow: error applying updates\" .*$_regex"
	rm "big/ltx/0/$(printf '%016x-%016x.ltx' $next $next)"
	is "$_title: stays as it was" "$(dump f.db)" "$(dump good.db)"
}
"$LS" restore -o good.db "file://$T/big"
wrong 'pages that no file has' 'page [0-9]+ is missing from' 1024 \
    $(($(sql good.db 'PRAGMA page_count') + 2)) 1=a
wrong 'more pages than a file can have' 'pages do not fit into' 1024 900000 1=a
wrong 'another page size' 'page 2 is missing from' 512 9 1=a
rm good.db*
ok 'a stop' stop_replicate
"$LS" restore -o good.db "file://$T/big"
is 'the standby is what is restored' "$(dump f.db)" "$(dump good.db)"

# Files of level 0 whose names and headers disagree.
for args in '1 2 1' '1 1 0'; do
	# shellcheck disable=SC2086
	set -- $args
	rm -rf odd; file odd 0 "$1" "$2" "$3" 1000 0 0 0 1=a
	status 4 "a file of TXIDs $1 to $2 with $3 pages" "$LS" restore -o x.db \
	    "file://$T/odd"
done
rm -rf odd; file odd 0 1 1 1 1000 0 0 0 1=a
cp odd/ltx/0/*1.ltx odd/ltx/0/0000000000000002-0000000000000002.ltx
cp odd/ltx/0/*1.ltx odd/ltx/0/000000000000000g-0000000000000003.ltx
status 4 'a file under the name of another' "$LS" verify "file://$T/odd"
matches 'is named' out '0002.ltx: header is of TXIDs'
rm -rf odd/ltx/9; mkdir -p odd/ltx/9
file snap 1 2 2 1 1000 0 0 0 1=a; cp snap/ltx/1/* odd/ltx/9/
status 4 'a snapshot that begins in the middle' "$LS" verify "file://$T/odd"
matches 'is named' out 'a snapshot that does not begin at TXID 1'

# Clocks: stamps that go back and forth, and one of the far future.
i=1
for stamp in 1000 20000 2000 19000 3000 18000 3500 17000 4000 16000 5000 15000 \
    5500 14000 5600 13000 5700 12000 6000 7000 7100 7200 \
    7300 7400 7500 7600 7700 7800 7900 32503680000000; do
	file clock 0 $i $i 1 $stamp 0 0 0 1=a; i=$((i + 1))
done
ok 'a time about which the stamps disagree' "$LS" restore -o clock.db \
    -timestamp 1970-01-01T00:00:06Z "file://$T/clock"
cat out err >said
matches 'is doubted' said 'level=WARN msg=".* [0-9a-f]{16},.* and [0-9]+ more'
ok 'prune, by a stamp of the future' "$LS" prune -dry-run -keep 1h \
    "file://$T/clock"
matches 'keeps what is younger' out '^would remove 0 files'
ok 'more files than may be open' sh -c 'ulimit -S -n 20 && "$0" "$@"' "$LS" \
    restore -force -o clock.db "file://$T/clock"

# Names that are odd.
status 2 'the root for a database' "$LS" restore -o /.. "file://$T/clock"
matches 'is a directory' err '^Error: .*is a directory: /$'

# One database by its name and in a directory; no database at all.
cat >both.yml <<END
dbs:
  - {path: $T/dir/1.db, replica: {url: "file:$T/x1"}}
  - {dir: $T/dir, pattern: '*.db', replica: {path: $T/x}}
END
ok 'named, and in a directory' "$LS" replicate -once -config both.yml
is 'goes where the name says' "$(ls -d x1/ltx)" x1/ltx
echo 'logging: {stderr: true}' >none.yml
"$LS" replicate -config none.yml >log 2>&1 </dev/null &
PID=$!; track $PID
waits 'level=ERROR msg="no databases specified in configuration"'
ok 'and goes on until it is stopped' stop_replicate

# A replica of nobody that cannot be the database's.
make_db other.db
rm -rf big/.identity
status 6 'a replica that cannot be compared' "$LS" replicate -once other.db \
    "file://$T/big"
matches 'is refused' err '^Error: .*/big: cannot be told to be the replica of'
matches 'with advice' err '^Try: -adopt if it is'

# A name of any bytes, in JSON; the configuration that the environment names.
odd=$(printf 'a\r\303.db')
make_db "$odd"
status 1 'a name that is no text' "$LS" status -json "$odd" "file://$T/none"
matches 'is valid JSON' out 'a\\r\\ufffd[.]db'
printf 'dbs: [{path: %s, replica: {path: %s}}]\n' "$T/a.db" "$T/r" >env.yml
ok 'a configuration by the environment' env LITESTREAM_CONFIG="$T/env.yml" \
    "$LS" ltx "$T/a.db"

# Levels that are not configured.
mkdir big/ltx/5
cp -p big/ltx/9/0000000000000001-0000000000000001.ltx big/ltx/5/
: >"$(find big/ltx/0 -type f | sort | tail -n 1)"
ok 'a new beginning' "$LS" replicate -once -adopt big.db "file://$T/big"
is 'is one there, too' "$(find big/ltx/5 -type f | wc -l)" 2
ok 'which is restored' restore_same "$T/big.db" "$T/big"

# status, sync and check: odd command lines, a database by a link, without a
# wal-index, and what is not replicated of it.
for c in status sync check; do
	status 2 "$c -x" "$LS" $c -x
	matches "$c -x: with advice" err "^Try: litestream $c -h$"
done
status 2 'too many arguments' "$LS" status a b c
status 2 'a URL and -config' "$LS" status -config dir.yml a.db "file://$T/r"
status 2 'check, a URL and -config' "$LS" check -config dir.yml a.db \
    "file://$T/r"
status 1 'check of no databases' "$LS" check -config none.yml
make_db late.db
ok 'replicated' "$LS" replicate -once late.db "file://$T/late"
mkdir links; ln -s ../late.db links/rel; ln -s "$T/links/rel" links/abs
ok 'replicated by links' "$LS" replicate -once links/abs "file://$T/linked"
ok 'and known by them' "$LS" status links/abs "file://$T/linked"
python3 - <<'END'
import shutil, sqlite3
c = sqlite3.connect('late.db', isolation_level=None)
c.execute('PRAGMA wal_autocheckpoint = 0')
for i in range(3):
    c.execute('INSERT INTO t VALUES(1)')
for end in '', '-wal':
    shutil.copy('late.db' + end, 'kept.db' + end)
END
for end in '' -wal; do mv kept.db$end late.db$end; done
rm -f late.db-shm
"$LS" status late.db "file://$T/late" >out 2>&1
matches 'commits that are not replicated, by the WAL alone' out ' behind .* 3\+ '
is 'nothing was changed for that' "$(ls late.db*)" 'late.db
late.db-wal'
word() {	# WORD TITLE REGEX: status says so of late.db, and why
	status 1 "$2" "$LS" status -json late.db "file://$T/st"
	matches "$2: $1" out "\"status\": \"$1\""
	matches "$2: why" out "$3"
}
ok 'replicated again' "$LS" replicate -once late.db "file://$T/st"
mv st gone
word away 'a replica that is not there' '/st: open: No such file'
mv gone st
: >st/ltx/0/0000000000000009-0000000000000009.ltx
ok 'a file that is none' "$LS" status late.db "file://$T/st"
rm -r st/ltx
word error 'a replica without its files' \
    'ends at TXID 0000000000000000, but was at 000000000000000'
done_testing
