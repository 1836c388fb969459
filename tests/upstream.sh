#!/bin/sh
# SPDX-License-Identifier: ISC
# Litestream's own tests, with our two programs in the place of its own.
#	upstream.sh [REGEX]	those whose name matches; 20 minutes for all
# CHECKOUT: a tree of Litestream 0.5.17, else from the Go module proxy; JOBS
# (6); BIN: a directory with other programs than those of this tree; SOAK_DURATION
# (60s); LITESTREAM_V3_BIN: a Litestream 0.3, for one test more.  Needs Go.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd -P)
only=${1:-.} BIN=${BIN:-$here}
SOAK_DURATION=${SOAK_DURATION:-60s}
work=$(mktemp -d "${TMPDIR:-/tmp}/upstream.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

tree=${CHECKOUT:-}
[ -n "$tree" ] || tree=$(go mod download -json \
    github.com/benbjohnson/litestream@v0.5.17 |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
cp -R "$tree" "$work/tree"
chmod -R u+w "$work/tree"
mkdir -p "$work/bin" "$work/at/here" "$work/log" "$work/tmp"
ln -s "$BIN/litestream" "$BIN/litestream-test" "$work/bin"
cd "$work/tree"
echo '# building'
go test -c -tags integration,soak,long -o "$work/integration" \
    ./tests/integration

# The tests of commands call them in their own process: these calls run ours.
# What stays Litestream's is the server that they talk to.
commands='Databases Info List LTX Register Replicate Reset Restore Start Status
    Stop Sync Unregister Version'
(
	cd cmd/litestream
	sed -i.old 's/^func main()/func theirMain()/' main.go
	sed -i.old 's/) ParseFlags(_ context/) theirFlags(_ context/' replicate.go
	sed -i.old -e 's/^\(func (c \*[A-Za-z]*Command) \)Usage()/\1theirUsage()/' \
	    -e 's/^\(func (c \*[A-Za-z]*Command) \)Run(\([a-z_]*\) context.Context, args/\1theirRun(\2 context.Context, args/' ./*.go
	rm -f ./*.old
	cat >drive.go <<-'END'
		package main

		import (
			"bytes"
			"context"
			"errors"
			"os"
			"os/exec"
			"strings"
			"syscall"
			"time"
		)

		func drive(name string, args []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, os.Getenv("LITESTREAM_BIN"), append([]string{name}, args...)...)
			cmd.Stdout, cmd.Stderr = os.Stdout, &stderr
			err := cmd.Run()
			for _, line := range strings.Split(stderr.String(), "\n") {
				if text, ok := strings.CutPrefix(line, "Error: "); ok && err != nil {
					return errors.New(text)
				}
			}
			return err
		}

		func main() {
			panic(syscall.Exec(os.Getenv("LITESTREAM_BIN"), os.Args, os.Environ()))
		}

		func (c *ReplicateCommand) ParseFlags(ctx context.Context, args []string) error {
			if c.theirFlags(ctx, args) == nil {
				return nil
			}
			return drive("replicate", args)
		}
	END
	for c in $commands; do
		n=$(echo "$c" | tr '[:upper:]' '[:lower:]')
		echo "func (c *${c}Command) Usage() { _ = drive(\"$n\", []string{\"-h\"}) }"
		[ "$c" = Replicate ] || echo "func (c *${c}Command) Run(_" \
		    "context.Context, a []string) error { return drive(\"$n\", a) }"
	done >>drive.go
	go test -c -o "$work/commands" .
)

# What is not ours to pass: NAME, reason.
cat >"$work/excluded" <<'END'
TestMainRequiredArgumentErrorsIncludeTryHints/Register  suggests s3://, which we do not have
TestMainRequiredArgumentErrorsIncludeTryHints/RegisterReplica  suggests s3://
TestMainRequiredArgumentErrorsIncludeTryHints/Restore   suggests s3://
TestReplicateCommandUsageMentionsControlSocketConfig  the wording of a help text
TestStatusCommand_Run/WithConfig        status 0 means that all is well; an empty file is no database
TestStatusCommand_Run/FilterByPath      the same
TestStatusCommand_Run/JSONOutput        the same: here the database is absent
TestVersionCommand_Default              wants the version of a build without one
TestVersionCommand_Verbose              wants the version of Go
TestS3AccessPointLocalStack             another kind of replica
TestOvernightComprehensive              as TestOvernightFile, with 500 MB
END
# The names in the log of one run, with PASS, FAIL or SKIP.
results() { sed -n 's/^ *--- \([A-Z]*\): \([^ ]*\) .*/\1 \2/p' "$1"; }
run() {	# LOG PROGRAM [FLAGS] REGEX: TAP
	log=$work/log/$1; shift
	(cd "$work/at/here" && "$@" >"$log" 2>&1) || :
	results "$log" | grep -q . || echo "not ok $* # no test was run"
	results "$log" | awk 'NR == FNR { excluded[$1] = 1; next }
	    { name[n++] = $2; how[$2] = $1 }
	    # A test that fails by its parts is not counted, but they are.
	    { for (t = $2; sub("/[^/]*$", "", t); ) parts[t] = 1 }
	    END { for (i = 0; i < n; i++) {
		t = name[i]
		if (t in excluded || (how[t] == "FAIL" && t in parts))
			continue
		print (how[t] == "FAIL" ? "not ok " : "ok ") t \
		    (how[t] == "SKIP" ? " # SKIP by itself" : "")
	    } }' "$work/excluded" - | tee "$log.tap"
	! grep -q '^not' "$log.tap" || sed 's/^/# /' "$log"
}

# Of the integration tests some are only about Litestream's own functions.
{
	"$work/integration" -test.list . | grep -v -e '^TestRestore_' \
	    -e '^TestAssert' -e '^TestVersionMigration' -e '^TestCompaction_' \
	    -e '^TestLTXBehavior$' -e '^TestS3' -e '^TestComprehensiveSoak$' \
	    -e '^TestOvernightComprehensive$' | sed 's/.*/-test.short=false ^&$/'
	for p in low high burst; do
		echo "-test.short=true ^TestLTXBehavior\$/^$p-volume\$"
	done
	echo '-test.short=true ^TestComprehensiveSoak$'
} | sed 's/^/integration /' >"$work/list"
# shellcheck disable=SC2086
echo "commands -test.short=false ^Test(($(echo $commands |
    tr ' ' '|'))Command|Main[RS])" >>"$work/list"
grep -E -e "$only" "$work/list" >"$work/chosen"

PATH=$work/bin:$PATH TMPDIR=$work/tmp LITESTREAM_BIN=$work/bin/litestream
export PATH TMPDIR LITESTREAM_BIN SOAK_DURATION
n=0
while read -r program short regex; do
	n=$((n + 1))
	run $n "$work/$program" -test.v -test.timeout 15m "$short" \
	    -test.run "$regex" >"$work/log/$n.out" &
	[ $((n % ${JOBS:-6})) -ne 0 ] || wait
done <"$work/chosen"
wait
cat "$work"/log/*.out
sed -n 's/^\(Test[^ ]*\)  *\(.*\)/ok \1 # SKIP \2/p' "$work/excluded"
passed=$(cat "$work"/log/*.tap | grep -c '^ok [^#]*$') || :
failed=$(cat "$work"/log/*.tap | grep -c '^not') || :
echo "# passed $passed, failed $failed, not ours to pass $(wc -l \
    <"$work/excluded")"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
