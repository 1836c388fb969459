/* SPDX-License-Identifier: ISC */
/*
 * The process around the databases' threads.
 *
 * The main thread sleeps in pselect() on three things: the watches, a pipe on
 * which the threads say that they have ended, and signals, which are blocked
 * everywhere else.  It never touches a database.
 *
 * The first signal (passed on to the child, if any, whose end is then awaited)
 * asks the threads to publish what is committed and end; a second one, or the
 * shutdown timeout, makes them give up what takes long: then the status is 1.
 *
 * While a thread is at work it is looked at each second: one that is stuck must
 * not keep the WAL for ever (job.c).
 *
 * Directories are watched by threads of their own (dirs.c), as they are on
 * disks that may not answer, too.
 */
#include <sys/select.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "dirs.h"
#include "exec.h"
#include "fleet.h"
#include "hooks.h"
#include "replicate.h"
#include "restore.h"

#define BUSY_MS 10000		/* how long -once tries a locked database, */
#define BUSY_STEP_MS 50		/* and how often */
#define LEAVE_STEP_MS 100	/* between looks for the levels' end */
#define DIRS_MS 1000		/* for the directories' end */
#define LOOK_MS 1000		/* between looks at threads at work */
#define GRACE_MS 5000		/* for giving up what takes long */
#define FILES_EACH 10		/* descriptors of a database, */
#define OTHER_FILES 100		/* and of merges, sockets and hooks */
#define NAP_MS 2		/* after events, which it gathers */

static volatile sig_atomic_t signals;	/* how many INT and TERM came */
static volatile sig_atomic_t last_signal, child_signal;

struct run {
	const struct replicate_args *a;
	struct watch *watch;
	struct levels *levels;
	struct fleet *fleet;
	struct dirs *dirs;	/* NULL: none */
	struct control *control;	/* NULL: none */
	struct hooks *hooks;	/* NULL: none */
	size_t running;		/* databases that have not ended */
	int note[2];
	struct rlimit files;	/* of descriptors: what the child gets */
	pid_t child;		/* 0: none, or it has ended */
	int child_status;
	sigset_t old;
	int seen;		/* signals acted upon */
	bool stopping, cancelled;
	bool busy;		/* some thread is at work */
	int64_t cancel_at, leave_at;
};

static void
on_signal(int number)
{
	if (number == SIGCHLD)
		child_signal = 1;
	else {
		signals++;
		last_signal = number;
	}
}

static void
catch_signals(struct run *r)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGCHLD };
	struct sigaction sa;
	sigset_t set;
	size_t i;

	memset(&sa, 0, sizeof sa);
	sa.sa_handler = on_signal;
	sigemptyset(&sa.sa_mask);
	sigemptyset(&set);
	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		sigaddset(&set, numbers[i]);
		sigaction(numbers[i], &sa, NULL);
	}
	pthread_sigmask(SIG_BLOCK, &set, &r->old);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

static int
restore_one(const struct pair_config *p, struct err *e)
{
	struct restore_result res;
	struct restore_args ra;

	if (access(p->db_path, F_OK) == 0) {
		log_line(LOG_INFO, "database already exists, skipping restore",
		    "path", p->db_path, NULL);
		return 0;
	}
	memset(&ra, 0, sizeof ra);
	ra.root = p->root;
	ra.out = p->db_path;
	if (restore_run(&ra, &res, e) == 0) {
		log_line(LOG_INFO, "database restored", "path", p->db_path,
		    "txid", TXID(res.txid), NULL);
		return 0;
	}
	if (e->kind != ERR_ABSENT)
		return -1;
	log_line(LOG_INFO, "no backup to restore, starting fresh", "path",
	    p->db_path, NULL);
	return 0;
}

int
replicate_restore(const struct replicate_args *a, struct err *e)
{
	size_t i;

	for (i = 0; i < a->n; i++)
		if (a->job[i].restore_if_absent &&
		    restore_one(&a->job[i].pair, e) != 0)
			return -1;
	return 0;
}

/* What the levels' thread would do, for a replica that cron looks after. */
static int
keep_policy(const struct replicate_args *a, const struct job_config *j,
    struct pair *p, struct err *e)
{
	struct compact c = j->levels;
	int64_t next;

	c.root = p->cf.root;
	c.db = p->cf.db_path;
	c.owner = p->c.em.owner;
	if (a->force_snapshot && compact_snapshot(&c, e) != 0 &&
	    !c.need_rebase)
		return -1;
	if (a->enforce_retention && !c.need_rebase &&
	    (compact_run(&c, time_wall_ms(), time_mono_ms(), &next, e) != 0 ||
	    compact_retention(&c, time_wall_ms(), time_mono_ms(), e) != 0))
		return -1;
	if (!c.need_rebase)
		return 0;
	if (pair_rebase(p, c.why, e) != 0)
		return -1;
	pair_save(p);
	return 0;
}

static int
once(const struct replicate_args *a, const struct job_config *j,
    struct err *e)
{
	int64_t until = time_mono_ms() + BUSY_MS;
	struct pair p;
	int rc;

	pair_init(&p, &j->pair, NULL);
	while ((rc = pair_open(&p, true, e)) != 0 && e->kind == ERR_BUSY &&
	    time_mono_ms() < until) {
		pair_close(&p);
		sleep_ms(BUSY_STEP_MS);
	}
	if (rc == 0)
		pair_save(&p);
	if (rc == 0 && (a->force_snapshot || a->enforce_retention))
		rc = keep_policy(a, j, &p, e);
	if (rc == 0)
		log_line(LOG_INFO, "one-shot replication complete", "path",
		    j->pair.db_path, "txid", TXID(p.pages.txid), NULL);
	if (rc == 0)
		pair_tell(&p, STATE_STOPPED, true);
	else
		pair_tell_error(&p, e);
	pair_free(&p);
	return rc;
}

int
replicate_once(const struct replicate_args *a, struct err *e)
{
	struct err why;
	size_t i;
	int rc = 0;

	for (i = 0; i < a->n; i++) {
		if (once(a, &a->job[i], &why) == 0)
			continue;
		if (rc == 0)
			*e = why;
		else
			log_line(LOG_ERROR, "replication failed", "path",
			    a->job[i].pair.db_path, "error", why.text, NULL);
		rc = -1;
	}
	return rc;
}

/* How long there is nothing to do but wait; -1: no end. */
static int64_t
patience(const struct run *r)
{
	int64_t now = time_mono_ms(), at = INT64_MAX;

	if (r->stopping && !r->cancelled)
		at = r->cancel_at;
	else if (r->stopping)
		at = r->running > 0 ? r->leave_at : INT64_MAX;
	if (r->busy && at > now + LOOK_MS)
		at = now + LOOK_MS;
	if (at == INT64_MAX)
		return -1;
	return at > now ? at - now : 0;
}

static void
add_fd(int fd, fd_set *set, int *top)
{
	if (fd < 0)
		return;
	FD_SET(fd, set);
	if (fd > *top)
		*top = fd;
}

/* Waits for anything, and hands it on. */
static void
sleep_on(struct run *r)
{
	struct timespec ts;
	int64_t ms = patience(r);
	int top = 0;
	char note[16];
	fd_set in;

	FD_ZERO(&in);
	add_fd(r->note[0], &in, &top);
	add_fd(watch_fd(r->watch), &in, &top);
	ts.tv_sec = (time_t)(ms / 1000);
	ts.tv_nsec = (long)(ms % 1000) * 1000000;
	if (pselect(top + 1, &in, NULL, NULL, ms < 0 ? NULL : &ts,
	    &r->old) < 0)
		return;
	while (read(r->note[0], note, sizeof note) > 0)
		continue;
	r->busy = fleet_wake(r->fleet);
	if (watch_fd(r->watch) >= 0 && FD_ISSET(watch_fd(r->watch), &in))
		sleep_ms(NAP_MS);
}

static void
stop(struct run *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	r->cancel_at = time_mono_ms() + r->a->stop_timeout_ms;
	fleet_stop(r->fleet);
}

static void
cancel(struct run *r)
{
	if (!r->cancelled)
		r->leave_at = time_mono_ms() + GRACE_MS;
	r->cancelled = true;
	fleet_cancel(r->fleet);
}

static void
reap(struct run *r)
{
	int status;

	child_signal = 0;
	if (r->child == 0 || waitpid(r->child, &status, WNOHANG) != r->child)
		return;
	r->child = 0;
	r->child_status = WIFEXITED(status) ? WEXITSTATUS(status) :
	    128 + WTERMSIG(status);
	stop(r);
}

static void
act(struct run *r)
{
	if (child_signal)
		reap(r);
	if (signals == r->seen) {
		if (r->stopping && !r->cancelled &&
		    time_mono_ms() >= r->cancel_at)
			cancel(r);
		return;
	}
	r->seen++;
	if (r->seen == 1)
		log_line(LOG_INFO,
		    "signal received, litestream shutting down", NULL);
	if (r->child != 0)
		kill(r->child, last_signal);
	else if (r->seen == 1)
		stop(r);
	if (r->seen > 1) {
		stop(r);
		cancel(r);
	}
}

static int
open_notes(struct run *r, struct err *e)
{
	int i;

	if (pipe(r->note) != 0)
		return err_sys(e, "pipe", "open");
	for (i = 0; i < 2; i++) {
		fcntl(r->note[i], F_SETFD, FD_CLOEXEC);
		fcntl(r->note[i], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

/* A child does not outlive us. */
static void
end_child(struct run *r)
{
	if (r->stopping)
		return;
	stop(r);
	kill(r->child, SIGTERM);
}

static int
start_jobs(struct run *r, struct err *e)
{
	const struct replicate_args *a = r->a;
	size_t i;

	for (i = 0; i < a->n; i++)
		if (fleet_add(r->fleet, &a->job[i], e) != 0)
			return -1;
	return 0;
}

/*
 * Threads that do not even give up: their disk does not answer.  They cannot be
 * joined, and use what main would free: so the process ends here.  A child that
 * has not ended by then is left alone: it is the application, and may be about
 * to end well.
 */
static void
leave_stuck(struct run *r)
{
	char **path;
	size_t i, n;

	if (!r->cancelled || r->running == 0 || time_mono_ms() < r->leave_at)
		return;
	path = fleet_paths(r->fleet, &n);
	for (i = 0; i < n; i++)
		log_line(LOG_ERROR, "not replicated: the replica does not "
		    "answer", "path", path[i], NULL);
	if (r->child != 0)
		log_line(LOG_ERROR, "the command still runs, and nothing is "
		    "replicated any more", "pid", I64(r->child), NULL);
	_exit(EXIT_FAILURE);
}

/* Whether there is no database, and none will come; one that has failed is not
 * waited for, as whoever started us may start us again. */
static bool
is_empty(const struct run *r, const struct err *e)
{
	bool may_come = r->dirs != NULL || r->a->n == 0 ||
	    (r->control != NULL && e->kind == ERR_NONE);

	return r->running == 0 && (r->stopping || !may_come);
}

static int
run_jobs(struct run *r, struct err *e)
{
	const struct replicate_args *a = r->a;

	e->kind = ERR_NONE;
	if (start_jobs(r, e) != 0 ||
	    dirs_start(&r->dirs, a->config, r->fleet, e) != 0)
		stop(r);
	else
		r->control = control_start(a->config, r->fleet,
		    a->version);
	if (!r->stopping && a->exec != NULL &&
	    exec_start(a->exec, &r->files, &r->child, e) != 0) {
		r->child = 0;
		stop(r);
	}
	for (;;) {
		r->running = fleet_collect(r->fleet, e);
		hooks_run(r->hooks);
		if (is_empty(r, e) && r->child == 0)
			break;
		if (is_empty(r, e))
			end_child(r);
		leave_stuck(r);
		sleep_on(r);
		act(r);
	}
	return e->kind == ERR_NONE ? 0 : -1;
}

/* As leave_stuck(), but all that is replicated is published. */
static void
leave(const struct run *r, int rc, const struct err *e)
{
	if (rc != 0)
		log_line(LOG_ERROR, "replication failed", "error", e->text,
		    NULL);
	log_line(LOG_INFO, "litestream shut down", NULL);
	_exit(rc != 0 ? EXIT_FAILURE : r->child_status);
}

/* How many databases the limit of descriptors allows. */
static long
room_for(const struct replicate_args *a)
{
	long limit = sysconf(_SC_OPEN_MAX), rest, room;

	if (limit < 0)
		return LONG_MAX;
	rest = limit / 4 < OTHER_FILES ? limit / 4 : OTHER_FILES;
	room = (limit - rest) / FILES_EACH;
	if (room < 1)
		room = 1;
	if (a->config != NULL)
		log_line((size_t)room < a->n ? LOG_WARN : LOG_INFO,
		    "limit of descriptors", "limit", I64(limit), "databases",
		    I64(a->n), "allows", I64(room), NULL);
	return room;
}

/* With levels and fleet around it. */
static int
run_fleet(struct run *r, struct err *e)
{
	int rc;

	r->hooks = hooks_new(r->a->config, &r->files, r->note[1]);
	if ((r->levels = levels_start(r->hooks, e)) == NULL) {
		hooks_free(r->hooks);
		return -1;
	}
	r->fleet = fleet_new(r->watch, r->levels, r->hooks, r->note[1],
	    room_for(r->a));
	rc = run_jobs(r, e);
	control_stop(r->control);
	if (!dirs_stop(r->dirs, DIRS_MS))
		leave(r, rc, e);
	while (!levels_stop(r->levels, LEAVE_STEP_MS))
		continue;	/* no replica is left to it */
	fleet_free(r->fleet);
	hooks_run(r->hooks);	/* what came last */
	hooks_free(r->hooks);
	return rc;
}

int
replicate_run(const struct replicate_args *a, int *status, struct err *e)
{
	struct run r;
	int rc = -1;

	memset(&r, 0, sizeof r);
	r.a = a;
	raise_descriptors(&r.files);
	catch_signals(&r);
	r.watch = watch_new();
	if (open_notes(&r, e) == 0) {
		rc = run_fleet(&r, e);
		close(r.note[0]);
		close(r.note[1]);
	}
	watch_free(r.watch);
	log_line(LOG_INFO, "litestream shut down", NULL);
	*status = r.child_status;
	return rc;
}
