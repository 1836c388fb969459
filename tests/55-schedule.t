#!/bin/sh
# SPDX-License-Identifier: ISC
# What comes between any two steps of a pass or a checkpoint (schedule.c says
# how, and what must hold).  Longer: torture.sh.
. "$(dirname "$0")/lib.sh"

schedule() {
	"$TESTS/bin/schedule" "$@"
}
explored() {	# TITLE DEPTH OPTIONS...
	title=$1 depth=$2
	shift 2
	ok "$title: no failure" schedule -depth "$depth" "$@"
	tail -n 2 "$T/out"
	matches "$title: every schedule of $depth elements" "$T/out" \
	    "# depth $depth complete"
}
seed=${SEED:-$(date +%s)}

# Each loses a commit, or compares without need, if one line of the code is
# changed.
while read -r title; do
	read -r elements
	ok "$title" schedule -replay "$elements"
done <<'END'
no moment without a pin
sync@2 commit app.passive commit
window: restarted, over frames of the old WAL
commit window@4 commit app.passive grow
window: restarted twice
grow free window@5 commit app.restart commit
window: copied but not restarted, so that the pin is on mark 0
commit commit window@4 commit app.restart run commit
window: frames from before it was restarted
grow window@4 commit app.restart commit
window: one after the WAL was let go of
grow letgo@3 run app.full window@5 shrink
a file that cannot be written is written again
commit nospace sync commit sync
the WAL is let go of
commit letgo commit sync
write lock: the tail is published
commit sync grow locked commit
write lock: killed before the tail is published
commit sync grow locked@6 kill start
write lock: the file is written although the WAL was empty before
app.truncate reopen locked@3 shrink
emptied by the application
commit free app.truncate sync commit sync
copied in part
vacuum sync grow app.truncate
the application dies between its last frame and the index
commit ghost
the application dies in its commit
commit ghost app.open commit sync
the application dies in its commit while we are away
commit save kill ghost start app.open commit
copied and emptied while we are away
commit free empty save kill commit app.truncate start
removed while we are away
commit save kill commit app.close start app.open commit
stopped and started
commit stop start commit stop commit start
killed at a comparison
commit kill commit start:14 commit kill start
another thread ends the pins before the file is published
commit sync:3 relieve app.passive commit
another thread ends the pins, and then comes the end
commit sync free@1 relieve run commit app.truncate stop start
another thread ends the pins at the end
commit stop@6 relieve commit app.truncate run start
another thread ends the pins before the table is saved
save:1 relieve commit app.truncate run kill
another thread ends the pins during an audit
audit:2 relieve grow app.passive
END

explored 'everything' 2
explored 'windows' 8 -ops commit,app.passive,app.restart,sync,window,step
explored 'leaving and coming back' 8 \
    -ops commit,app.open,app.close,read,unread,sync,step,kill,start
ok 'all at random' schedule -seconds 4 -walks 100000 -seed "$seed"
sed 's/^/# /' "$T/out"
matches 'it did walk' "$T/out" 'walks from seed'
done_testing
