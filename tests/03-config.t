#!/bin/sh
# SPDX-License-Identifier: ISC
# litestream.yml: what each key means, what is refused with its line, and which
# databases a directory has.
. "$(dirname "$0")/lib.sh"
UC=$TESTS/bin/unit-config
f=$T/litestream.yml
export HOME="$T/home" REPLICA=/backup
unset NOPE

load() { rc=0; "$UC" "$f" >"$T/out" 2>&1 || rc=$?; }
judge() {	# STATUS TITLE
	result "$1" "$2" ||
	    { echo "status $rc"; cat "$T/out"; } | sed 's/^/# /'
}
lines() { [ $# -eq 0 ] || printf '%s\n' "$@" >"$f"; }
says() {	# TITLE REGEX [LINE...]: it (or $f) loads, and means this
	_name=$1 _re=$2; shift 2; lines "$@"; load
	[ "$rc" -eq 0 ] && grep -qE -e "$_re" "$T/out"; judge $? "$_name"
}
refused() {	# TITLE LINE REGEX [LINE...]: it is refused with this message
	_name=$1 _re="^$f:$2: $3\$"; shift 3; lines "$@"; load
	[ "$rc" -eq 2 ] && grep -qE -e "$_re" "$T/out"; judge $? "$_name"
}
a='dbs: [{path: /a.db, replica: {path: /r}'	# closed by the user
r='dbs: [{path: /a.db, replica: {'

# The table and the manual.
man=$TESTS/../man/litestream.5
"$UC" | sort >"$T/table"
awk '/^\.S[sh] /{ s = tolower($2) } /^\.It Ic /{ print s, $3 }' "$man" |
    sort >"$T/manual"
ok 'the manual lists the keys of the program, each in its column' \
    diff "$T/table" "$T/manual"
is 'each key stands once' "$(cut -d' ' -f2 "$T/table" | sort | uniq -d)" ''
awk '/^\.Ed/{ on = 0 } on { print >out n ".yml" }
/^\.Bd -literal/{ on = 1; n++ }' out="$T/man" "$man"
for i in "$T"/man*.yml; do
	ok "example of the manual: $(basename "$i" .yml)" env BACKUP=/b \
	    "$UC" "$i"
done
is 'examples of the manual' "$(echo "$T"/man*.yml | wc -w | tr -d ' ')" 3

# Defaults, and all that can be said.
: >"$f"; load
is 'an empty file is all defaults' "$(cat "$T/out")" "exec '' addr ''
levels 30s 5m0s 1h0m0s
snapshot 24h0m0s 24h0m0s
l0 5m0s 15s
validation 0s retention 1
stop 30s 500ms
socket 0 /var/run/litestream.sock 600
log INFO text 0
audit 1 sync -1ms"
cat >"$f" <<'E'
# one of everything
addr: "[::1]:9090"
exec: app -x "a b"
levels:
  - interval: 10s
  - {interval: 1h30m}
snapshot: {interval: 12h, retention: 168h}
l0-retention: 0s
l0-retention-check-interval: 1m
validation:
  interval: 5m
verify-compaction: true
retention:
  enabled: false
shutdown-sync-timeout: 0
shutdown-sync-interval: 100ms
socket: {enabled: yes, path: /run/l.sock, permissions: 0660}
logging: {level: debug, type: json, stderr: true}
audit: false
dbs:
  - path: sqlite:///var/db/../db/a.db
    meta-path: ~/meta
    min-checkpoint-page-count: 100
    truncate-page-n: -1
    restore-if-db-not-exists: true
    audit: true
    replica: {type: file, path: /r//a/, auto-recover: true}
  - dir: "/data"
    pattern: "*.db"
    recursive: true
    watch: true
    meta-dir: /meta
    replicas:
      - url: file:///r/data
        sync-interval: 1500000000
sync-interval: 2s
E
load
is 'all that can be said is understood' "$(cat "$T/out")" \
"exec 'app -x \"a b\"' addr '[::1]:9090'
levels 10s 1h30m0s
snapshot 12h0m0s 168h0m0s
l0 0s 1m0s
validation 5m0s retention 0
stop 0s 100ms
socket 1 /run/l.sock 660
log debug json 1
audit 0 sync 2s
db /var/db/a.db dir - pattern - recursive 0 watch 0
 root /r/a meta $T/home/meta -
 sync 2s pages 100 -1 restore 1 audit 1
db - dir /data pattern *.db recursive 1 watch 1
 root /r/data meta - /meta
 sync 1.5s pages 0 0 restore 0 audit 0"
says 'null leaves the default' '^levels 30s 5m0s 1h0m0s$' 'snapshot:' \
    'levels: ~' 'logging: {type: null, level: ""}' 'dbs: []'

# Durations and numbers.
while read -r value want; do
	says "$value is $want" "^l0 $want " "l0-retention: $value"
done <<'E'
1h1m1.5s 1h1m1.5s
"90s" 1m30s
60000000000 1m0s
1 1ms
100us 1ms
0 0s
E
while read -r value what; do
	refused "$value is no duration" 1 "l0-retention: $what" \
	    "l0-retention: $value"
done <<'E'
1d not a duration: "1d"
"60" not a duration: "60"
1.5 not a duration: "1.5"
-1s l0 retention must not be negative \(got -1s\)
-1 l0 retention must not be negative \(got -1ms\)
[1s] must be a single value
E
refused 'a snapshot interval of 0' 1 \
    'snapshot.interval: snapshot interval must be greater than 0 \(got 0s\)' \
    'snapshot: {interval: 0s}'
refused 'a level without interval' 1 \
    'levels\[1\].interval: compaction interval must be greater .*0s\)' \
    'levels: [{interval: 1m}, {}]'
refused 'nine levels' 1 'levels: must be a list of 1 to 8 levels' \
    'levels: [&i {interval: 1s}, *i, *i, *i, *i, *i, *i, *i, *i]'
refused 'a sync interval of 0' 2 \
    'dbs\[/a.db\].replica.sync-interval: sync interval must be .* 0s\)' \
    "$r path: /r," '  sync-interval: 0s}}]'
refused 'a checkpoint of 0 pages' 2 \
    '.*: minimum checkpoint page count required \(got 0\)' \
    "$a," '  min-checkpoint-page-count: 0}]'
refused 'a word for a number' 1 \
    'dbs\[/a.db\].truncate-page-n: not a number: "many"' \
    "$a, truncate-page-n: many}]"
refused 'a number past 64 bits' 1 'dbs.*: not a number: "9*"' \
    "$a, truncate-page-n: 99999999999999999999}]"
refused 'neither true nor false' 1 'dbs.*watch: not true or false: "maybe"' \
    "$a, watch: maybe}]"
refused 'a quoted truth' 1 'dbs.*watch: not true or false: "true"' \
    "$a, watch: 'true'}]"
says '0o640 is octal' '^socket .* 640$' 'socket: {permissions: 0o640}'
refused 'a mode in decimal' 1 'socket.permissions: not a file mode: 600' \
    'socket: {permissions: 600}'
for i in localhost ::1 '[::1]' '[a:1]' host: ; do
	refused "no port in $i" 1 'must specify port for bind address: .*' \
	    "addr: '$i'"
done
refused 'an unknown log type' 1 \
    'logging.type: must be text, json or pretty: "xml"' \
    'logging: {type: xml}'

# Keys that are not honoured.
refused 'an unknown key has its line' 3 'unknown key: retentoin' \
    "$a}]" '# a comment' 'retentoin: 24h'
refused 'a key in the wrong place' 2 'unknown key: retention' \
    "$a," '  retention: 24h}]'
refused 'a key of v0.3' 1 'unknown key: snapshot-interval' \
    "$r path: /r, snapshot-interval: 1h}}]"
refused 'encryption' 1 'unsupported key: age' \
    "$r path: /r, age: {recipients: [x]}}}]"
grep '^refused ' "$T/table" | while read -r _ key; do
	echo "$key: x" >"$f"; load
	grep -q ":1: unsupported key: $key\$" "$T/out" || echo "$key"
done >"$T/missing"
is 'each refused key is refused' "$(cat "$T/missing")" ''
grep '^ignored [^.]*$' "$T/table" | while read -r _ key; do
	echo "$key: x" >"$f"; load
	grep -q "^warning $f:1: ignored key: $key\$" "$T/out" || echo "$key"
done >"$T/missing"
is 'each ignored key is a warning' "$(cat "$T/missing")" ''
says 'within an entry, too' "^warning $f:2: ignored key: busy-timeout\$" \
    "$a," '  busy-timeout: 5s}]'

# Entries.
n='database config #1:'
refused 'path and dir' 1 "$n cannot specify both 'path' and 'dir'" \
    'dbs: [{path: /a, dir: /b}]'
refused 'neither path nor dir' 1 "$n must specify either 'path' or 'dir'" \
    'dbs: [{}]'
refused 'dir without pattern' 1 "$n 'pattern' is required when using 'dir'" \
    'dbs: [{dir: /a}]'
refused 'watch without dir' 1 \
    "$n 'watch' can only be enabled with a directory" \
    'dbs: [{path: /a, watch: true}]'
refused 'meta-dir without dir' 1 \
    "$n 'meta-dir' can only be used with a directory" \
    'dbs: [{path: /a, meta-dir: /m}]'
refused 'meta-path and meta-dir' 1 \
    "$n cannot specify both 'meta-path' and 'meta-dir'" \
    'dbs: [{dir: /a, pattern: x, meta-path: /m, meta-dir: /n}]'
refused 'a slash in the pattern' 1 \
    "$n 'pattern' is for the names of files, without '/'" \
    'dbs: [{dir: /a, pattern: b/*}]'
refused 'no replica' 1 'must specify replica for database' \
    'dbs: [{path: /a}]'
refused 'replica and replicas' 1 \
    "cannot specify 'replica' and 'replicas' on a database" \
    'dbs: [{path: /a, replica: {path: /r}, replicas: [{path: /s}]}]'
refused 'two replicas' 1 \
    'multiple replicas on a single database are no longer supported' \
    'dbs: [{path: /a, replicas: [{path: /r}, {path: /s}]}]'
refused 'a database twice' 3 'the database is that of line 2, too: /a' \
    'dbs:' '- {path: /a, replica: {path: /r}}' \
    '- {path: /./a, replica: {path: /s}}'
refused 'a replica twice' 3 'the replica is that of line 2, too: /r' \
    'dbs:' '- {path: /a, replica: {path: /r}}' \
    '- {path: /b, replica: {url: file:///r}}'
refused 'dbs as a map' 1 'dbs: must be a list' 'dbs: {path: /a}'
refused 'url and path' 1 'cannot specify url & path for file replica' \
    "$r url: file:///x, path: /y}}]"
refused 'neither url nor path' 1 'file replica path required' "$r}}]"
refused 'a path that is not set' 1 'file replica path required' \
    "$r path: \$NOPE}}]"
refused 'a URL as path' 2 \
    "replica path cannot be a url, please use the 'url' field instead: s3:.*" \
    "$r" '  path: s3://b/x}}]'
refused 'another type' 2 'unsupported replica type: "s3" \(only file\)' \
    "$r path: /x," '  type: s3}}]'
refused 'no type' 1 'unknown replica type in config: "tape"' \
    "$r path: /x, type: tape}}]"
refused 'another scheme' 1 \
    'unsupported replica url: s3://b/x \(only file:// replicas\)' \
    "$r url: s3://b/x}}]"
refused 'a url without scheme' 1 'replica url scheme required: /x' \
    "$r url: /x}}]"
refused 'snapshot intervals that disagree' 3 \
    'conflicting database snapshot intervals: /a has 1h0m0s, /b has 2h0m0s' \
    'dbs:' '- {path: /a, snapshot: {interval: 1h}, replica: {path: /r}}' \
    '- {path: /b, snapshot: {interval: 2h}, replica: {path: /s}}'
says 'the snapshots of a database are those of all' \
    '^snapshot 1h0m0s 2h0m0s$' "$a, snapshot: {interval: 1h, retention: 2h}}]"
says 'those of the file come first' '^snapshot 6h0m0s 24h0m0s$' \
    "$a, snapshot: {interval: 1h}}]" 'snapshot: {interval: 6h}'

# Environment.
says 'variables are expanded' '^ root /backup/backup-x ' \
    "$r path: \$REPLICA/\${REPLICA}-x\$NOPE\${NOPE}}}]"
says '$PID is a number' '^ root /r/[1-9][0-9]* ' "$r path: /r/\$PID}}]"
says 'what is no variable stays' '^ root /r/\$ \$\(x\)x meta' \
    "$r path: '/r/\$ \$(x)\$\$x'}}]"
lines "$a}, {path: /\$REPLICA, replica: {path: /s}}]"
ok '-no-expand-env' "$LS" databases -no-expand-env -config "$f"
matches '-no-expand-env leaves variables' "$T/out" '^/\$REPLICA  *file'

# YAML.
refused 'a key twice' 3 'duplicate key: dbs' 'dbs: []' 'addr: ":1"' 'dbs: []'
refused 'not YAML' 2 '.*' 'dbs: ['
refused 'not YAML, in one line' 1 'mapping values are not allowed.*' 'a: b: c'
refused 'two documents' 3 'a second document' --- 'dbs: []' ---
refused 'a word' 1 'file: must be a map of keys and values' x
refused 'a list as key' 1 'a key must be a name' '? [a]' ': b'
refused 'a tag' 1 'tags are not supported: tag:yaml.org,2002:str' \
    'addr: !!str x'
refused 'a byte 0' 1 'a value has a byte 0' 'addr: "a\0b"'
refused 'an alias of nothing' 1 'unknown anchor: x' 'addr: *x'
refused 'an alias of itself' 1 'unknown anchor: x' 'addr: &x [*x]'
refused 'a merge of a word' 1 '<< needs a map' '<<: x'
cat >"$f" <<'E'
dbs:
- &a {path: /a, truncate-page-n: 7, replica: {path: /r}}
- <<: *a
  path: /b
  replica: {path: /s}
- <<: [{truncate-page-n: 8}, *a]
  path: /c
  replica: {path: /t}
E
load
is 'anchors, aliases and merges' "$(sed -n 's/ restore.*//p' "$T/out" |
    tr '\n' ,)" ' sync -1ms pages 0 7, sync -1ms pages 0 7, sync -1ms pages 0 8,'
{	echo 'a0: &a0 [x]'
	for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
		b="*a$((i - 1)),*a$((i - 1)),*a$((i - 1)),*a$((i - 1))"
		echo "a$i: &a$i [$b,$b,$b]"
	done
} >"$f"
refused 'a billion laughs cost nothing' 1 'unknown key: a0'
printf '%050000d\n' 0 | tr 0 '[' >"$f"
refused 'lists in lists' 1 'nested too deep'
awk 'BEGIN { for (i = 0; i < 500000; i++) print "- x" }' >"$f"
refused 'a list of half a million' '[0-9]*' 'too many entries'
awk 'BEGIN { for (i = 0; i < 200; i++) print "k" i ": v" }' >"$f"
refused 'two hundred keys' 129 'too many keys'
awk 'BEGIN { for (i = 0; i < 200; i++) print "- &k" i " v" }' >"$f"
refused 'two hundred anchors' 129 'too many anchors'
awk 'BEGIN { for (i = 0; i < 100000; i++)
	print "# a comment, forty-three bytes of it, and so on" }' >"$f"
load
matches 'a large file' "$T/out" "^$f: larger than 4194304 bytes"
lines "addr: $(awk 'BEGIN { for (i = 0; i < 99; i++) printf "$BIG" }')"
BIG=$(awk 'BEGIN { for (i = 0; i < 100000; i++) printf "x" }')
export BIG; load; unset BIG
matches 'a file that grows large' "$T/out" "^$f: larger than 4194304 bytes"
head -c 300 /dev/zero >"$f"; load
matches 'a file of zeros' "$T/out" "^$f: not a text file: "
status 2 'an endless file' "$LS" databases -config /dev/zero
status 1 'a directory as configuration' "$LS" databases -config "$T"
status 2 'a missing configuration' "$LS" databases -config "$T/none"
matches 'a missing configuration: says so' "$T/err" \
    "^Error: config file not found: $T/none\$"

# Directories.
d=$T/dbs; mkdir -p "$d/sub/deep" "$d/.x.db-litestream" "$d/replica" "$T/out.d"
for i in b a sub/c sub/deep/d .x.db-litestream/p replica/q; do
	sql "$d/$i.db" 'CREATE TABLE t(x)'
done
echo 'text, more than sixteen bytes' >"$d/text.db"; : >"$d/empty.db"; mkfifo "$d/fifo.db"
sql "$T/out.d/e.db" 'CREATE TABLE t(x)'; cp "$d/a.db" "$d/a.db-shm"
ln -s "$T/out.d" "$d/link"; ln -s a.db "$d/0.db"; ln -s none "$d/dangling.db"
ln -s "$T/out.d/e.db" "$d/z.db"
dir() { lines dbs: "- dir: $d" "  replica: {path: ${root:-/r}}" "$@"; }
found() { sed "1d;s!$d/!!;s/ .*//" "$T/out" | tr '\n' ' '; }
dir '  pattern: "*.db"'
ok 'databases of a directory' "$LS" databases -config "$f"
is 'what begins as a database does, each once' "$(found)" 'a.db b.db z.db '
root=$d/replica dir '  pattern: "*"' '  recursive: true'
unset root	# some shells keep it
ok 'databases of a tree' "$LS" databases -config "$f"
is 'directories are not followed through links' "$(found)" \
    'a.db b.db sub/c.db sub/deep/d.db z.db '
if strace -o "$T/trace" true 2>/dev/null; then
	ln -s b.db "$d/b2.db"; ln "$d/b.db" "$d/b3.db"
	dir '  pattern: "*"' "- {path: $d/b.db, replica: {path: /s}}"
	ok 'a directory with a known database' env \
	    ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" \
	    strace -f -o "$T/trace" "$LS" databases -config "$f"
	is 'it is not opened under any name, nor is any -shm, nor a fifo' \
	    "$(grep -cE "open.*\"$d/(b|.*-shm|fifo|0)" "$T/trace")" 0
	matches 'others are' "$T/trace" "open.*\"$d/a.db\""
else
	skip 'what is opened' 'no strace here'
fi
dir '  pattern: "*.none"'
status 1 'a directory without databases' "$LS" databases -config "$f"
matches 'a directory without databases: says so' "$T/err" \
    "^Error: no SQLite databases found in directory $d with pattern \*.none\$"
dir '  pattern: "*.none"' '  watch: true'
ok 'but it may be watched' "$LS" databases -json -config "$f"
is 'it has none yet' "$(cat "$T/out")" '[]'

of() { "$UC" "$f" "$1" | sed "s!$d!D!g"; }	# DATABASE: its entry
dir '  pattern: "*.db"' '  meta-path: /m' '  recursive: true'
is 'a database of a directory has its own replica and state' \
    "$(of "$d/sub/c.db")" \
    'db D/sub/c.db dir - pattern - recursive 0 watch 0
 root /r/sub/c.db meta /m/sub/.c.db-litestream -
 sync -1ms pages 0 0 restore 0 audit 1'
is 'one of another name has none' "$(of "$d/sub/c.sqlite")" 'not found'
is 'one elsewhere has none' "$(of "${d}x/c.db")" 'not found'
dir '  pattern: "*.db"' '  meta-dir: /m'
is 'meta-dir' "$(of "$d/c.db" | sed -n 2p)" \
    ' root /r/c.db meta /m/c.db-litestream -'
is 'one of a tree that is not asked for has none' "$(of "$d/sub/c.db")" \
    'not found'
lines "$a}]"
is 'a database has its entry' "$(of /a.db | sed -n 2p)" ' root /r meta - -'

# The command.
lines "$a}, {path: '/<b>.db', replica: {path: /s}}]"
ok 'databases' "$LS" databases -config "$f"
is 'databases: a table' "$(cat "$T/out")" 'path     replica
/a.db    file
/<b>.db  file'
ok 'databases -json' env LITESTREAM_CONFIG="$f" "$LS" databases -json
is 'databases -json: a list' "$(cat "$T/out")" '[
  {
    "path": "/a.db",
    "replica": "file"
  },
  {
    "path": "/\u003cb\u003e.db",
    "replica": "file"
  }
]'
status 2 'databases: an operand' "$LS" databases x
matches 'databases: an operand: says so' "$T/err" '^Error: too many arguments$'
status 2 'databases: a wrong flag' "$LS" databases -x
ok 'databases -h' "$LS" databases -h
matches 'databases -h: usage' "$T/out" '^usage: litestream databases'
done_testing
