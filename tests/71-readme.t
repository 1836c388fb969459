#!/bin/sh
# SPDX-License-Identifier: ISC
# The README does what it says: its lines run as they stand, but for the paths.
. "$(dirname "$0")/lib.sh"
README=$TESTS/../README.md
mkdir "$T/bin" "$T/srv" "$T/backup" "$T/home"
ln -s "$LS" "$T/bin/litestream"

# The lines of code, of the section that begins with this.
code() {
	awk -v want="$1" '/^#/ { on = index($0, want) > 0 }
	    on && sub(/^    /, "")' "$README"
}
moved() { sed "s|/usr/local/bin|$T/bin|; s|/srv/|$T/srv/|; \
    s|file:///backup|file://$T/backup|"; }

code '# litestream' >"$T/first"
is 'its first two lines' "$(sed -n '1,2s/ *#.*//p' "$T/first")" \
    'sh setup.sh demo
sh setup.sh check'
is 'its third line' "$(sed -n 3p "$T/first")" \
    'make && ./litestream replicate app.db file:///backup'
sql "$T/srv/app.db" 'CREATE TABLE t(a); INSERT INTO t VALUES(1)'
cp "$T/srv/app.db" "$T/bin/app.db"
cd "$T/bin" || exit
line=$(sed -n '3s/^make && //p' "$T/first" | moved)
sh -c "exec $line" >"$T/log" 2>&1 </dev/null &
PID=$!; track "$PID"
poll 10 test -e "$T/backup/ltx/9/0000000000000001-0000000000000001.ltx"
result $? 'the third line replicates'
sql app.db 'INSERT INTO t VALUES(2)'
kill -INT "$PID" && _reap; result $? 'until Ctrl-C'
line=$(grep '^./litestream restore' "$T/first" | moved)
ok 'the restore line restores' sh -c "$line"
is 'all of it' "$(sql copy.db 'SELECT a FROM t')" '1
2'
is 'every command of the table is one' "$(sed -n 's/^| `\([a-z]*\)`.*/\1/p' \
    "$README" | while read -r c; do
	"$LS" "$c" -h | grep -q "^usage: litestream $c" || echo "$c"; done)" ''
is 'every command of the program is in the table' "$("$LS" help |
    sed -n 's/^  \([a-z]*\)  .*/\1/p' | while read -r c; do
	grep -q "^| .$c. |" "$README" || echo "$c"; done)" 'version
help'
is 'its manuals are there' "$(grep -o 'man man/[a-z.0-9-]*[0-9]' "$README" |
    while read -r _ m; do [ -e "$TESTS/../$m" ] || echo "$m"; done)" ''
for f in replicate restore ltx verify prune databases; do
	"$LS" $f -h
done >"$T/help"
is 'every flag it names is one' "$(grep -o '[` ]-[a-z][a-z-]*' "$README" |
    tr -d '` ' | grep -v -x -e -r -e -h | sort -u | while read -r f; do
	grep -q -e "^  *$f" "$T/help" || echo "$f"; done)" ''

# The crontab, as cron reads it: settings, then five fields and a command for
# sh, with next to nothing in the environment.
code '## From cron' >"$T/crontab"
is 'the cron example has five lines' "$(wc -l <"$T/crontab" | tr -d ' ')" 5
settings=$(grep '^[A-Z]*=' "$T/crontab" | moved)
command() { grep '^[0-9*]' "$T/crontab" | cut -d' ' -f6- | grep "$1" | moved; }
cron() {	# WORD: runs that line; what it prints would be mailed
	# shellcheck disable=SC2086
	(cd "$T/home" && env -i HOME="$T/home" LOGNAME=me SHELL=/bin/sh \
	    $settings /bin/sh -c "$(command "$1")")
}
is 'the commands are found' "$(command litestream | wc -l | tr -d ' ')" 2
for i in 1 2 3; do
	sql "$T/srv/app.db" "INSERT INTO t VALUES($i)"
	ok "cron, backup $i" cron replicate
	is "cron, backup $i: no mail" "$(cat "$T/out" "$T/err")" ''
	ok "cron, check $i" cron verify
	is "cron, check $i: no mail" "$(cat "$T/out" "$T/err")" ''
done
ok 'cron: what was backed up restores' restore_same "$T/srv/app.db" \
    "$T/backup/app"
[ -e "$T/backup/app/ltx/1/0000000000000001-0000000000000001.ltx" ]
result $? 'cron: files are merged'
file=$(find "$T/backup/app/ltx/0" -name '*3.ltx')
chmod u+w "$file" && printf x | dd of="$file" bs=1 seek=120 conv=notrunc \
    2>/dev/null
status 4 'cron: a damaged file is found' cron verify
matches 'and mailed' "$T/err" '^Error: .*/backup/app: damaged: 1 of'
ok 'cron: the next backup mends it' cron replicate
matches 'and says so' "$T/out" 'level=WARN'
ok 'cron: and restores' restore_same "$T/srv/app.db" "$T/backup/app"
rm "$T/srv/app.db"
status 1 'cron: no database' cron replicate
matches 'is mailed' "$T/err" '^Error: .*/srv/app\.db'
done_testing
