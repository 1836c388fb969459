# SPDX-License-Identifier: ISC
# bash completion for litestream and litestream-test.  After "-" the flags of
# the command, after a flag with a value the words or files it takes.

_litestream_flags() {
	case $1:$2 in
	litestream:replicate)
		echo -once -force-snapshot -enforce-retention -exec \
		    -restore-if-db-not-exists -adopt -log-level -config \
		    -no-expand-env ;;
	litestream:restore)
		echo -o -all -txid -timestamp -force -if-db-not-exists \
		    -if-replica-exists -integrity-check -dry-run -json \
		    -parallelism -f -follow-interval -config -no-expand-env ;;
	litestream:ltx)
		echo -points -level -json -config -no-expand-env ;;
	litestream:verify)
		echo -db -full -max-age -record -json ;;
	litestream:prune)
		echo -keep -dry-run ;;
	litestream:status)
		echo -json -running -timeout -config -no-expand-env ;;
	litestream:sync)
		echo -wait -timeout -json -socket -config -no-expand-env ;;
	litestream:check)
		echo -config -no-expand-env ;;
	litestream:info | litestream:list | litestream:start | litestream:stop)
		echo -json -socket -timeout ;;
	litestream:register)
		echo -replica -json -socket -timeout ;;
	litestream:unregister)
		echo -dry-run -json -socket -timeout ;;
	litestream:databases)
		echo -json -config -no-expand-env ;;
	litestream:reset)
		echo -dry-run -config -no-expand-env ;;
	litestream:version)
		echo -verbose ;;
	litestream-test:populate)
		echo -db -target-size -row-size -batch-size -table-count \
		    -index-ratio -page-size ;;
	litestream-test:load)
		echo -db -write-rate -duration -pattern -payload-size \
		    -read-ratio -workers ;;
	litestream-test:shrink)
		echo -db -delete-percentage -checkpoint -checkpoint-mode \
		    -vacuum ;;
	litestream-test:validate)
		echo -source-db -replica-url -config -restored-db -check-type \
		    -ltx-continuity ;;
	esac
}

_litestream() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local program=${COMP_WORDS[0]##*/} words=

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		case $program in
		litestream) words='replicate restore ltx verify prune status
			sync check info list start stop register
			unregister databases reset version help' ;;
		*) words='populate load shrink validate version' ;;
		esac
	else
		case $prev in
		-log-level) words='trace debug info warn error' ;;
		-integrity-check) words='none quick full' ;;
		-level) words='all 0 1 2 3 4 5 6 7 8 9' ;;
		-pattern) words='constant burst random wave' ;;
		-checkpoint-mode) words='PASSIVE FULL RESTART TRUNCATE' ;;
		-check-type) words='quick integrity checksum full' ;;
		*) case $cur in
			-*) words=$(_litestream_flags "$program" \
			    "${COMP_WORDS[1]}") ;;
			esac ;;
		esac
	fi
	if [ -n "$words" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	else
		compopt -o default 2>/dev/null
	fi
}

complete -F _litestream litestream litestream-test
