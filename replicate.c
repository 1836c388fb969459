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
 */
#include <sys/select.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"
#include "replicate.h"
#include "restore.h"

#define BUSY_MS 10000		/* how long -once tries a locked database, */
#define BUSY_STEP_MS 50		/* and how often */
#define LEAVE_STEP_MS 100	/* between looks for a second signal */
#define LOOK_MS 1000		/* between looks at threads at work */
#define GRACE_MS 5000		/* for giving up what takes long */

static volatile sig_atomic_t signals;	/* how many INT and TERM came */
static volatile sig_atomic_t last_signal, child_signal;

struct run {
	const struct replicate_args *a;
	struct watch *watch;
	struct job **job;
	bool *over;		/* which have ended */
	size_t started, running;
	struct levels *levels;
	int note[2];
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

/* Hands events on, and looks whether any thread is stuck. */
static void
wake(struct run *r)
{
	struct watch_event ev;
	char note[16];
	size_t i;

	while (watch_next(r->watch, &ev) == 1)
		if (ev.id < r->started && !r->over[ev.id])
			job_wake(r->job[ev.id], ev.kind);
	while (read(r->note[0], note, sizeof note) > 0)
		continue;
	r->busy = watch_fd(r->watch) < 0;
	for (i = 0; i < r->started; i++)
		r->busy |= !r->over[i] && job_look(r->job[i]);
}

/* How long there is nothing to do but wait; -1: no end. */
static int64_t
patience(const struct run *r)
{
	int64_t ms = -1;

	if (r->stopping)
		ms = (r->cancelled ? r->leave_at : r->cancel_at) -
		    time_mono_ms();
	if (r->stopping && ms < 0)
		ms = 0;
	if (r->busy && (ms < 0 || ms > LOOK_MS))
		ms = LOOK_MS;
	return ms;
}

/* Waits for anything. */
static void
sleep_on(struct run *r)
{
	struct timespec ts, *wait = NULL;
	int64_t ms;
	int fd = watch_fd(r->watch), top = r->note[0];
	fd_set in;

	FD_ZERO(&in);
	FD_SET(r->note[0], &in);
	if (fd >= 0)
		FD_SET(fd, &in);
	if (fd > top)
		top = fd;
	if ((ms = patience(r)) >= 0) {
		ts.tv_sec = (time_t)(ms / 1000);
		ts.tv_nsec = (long)(ms % 1000) * 1000000;
		wait = &ts;
	}
	if (pselect(top + 1, &in, NULL, NULL, wait, &r->old) >= 0)
		wake(r);
}

static void
stop(struct run *r)
{
	size_t i;

	if (r->stopping)
		return;
	r->stopping = true;
	r->cancel_at = time_mono_ms() + r->a->stop_timeout_ms;
	for (i = 0; i < r->started; i++)
		if (!r->over[i])
			job_stop(r->job[i]);
}

static void
cancel(struct run *r)
{
	size_t i;

	if (!r->cancelled)
		r->leave_at = time_mono_ms() + GRACE_MS;
	r->cancelled = true;
	for (i = 0; i < r->started; i++)
		if (!r->over[i])
			job_cancel(r->job[i]);
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

	r->job = xcalloc(a->n, sizeof *r->job);
	r->over = xcalloc(a->n, sizeof *r->over);
	for (; r->started < a->n; r->started++) {
		r->job[r->started] = job_start(&a->job[r->started], r->watch,
		    r->levels, r->started, r->note[1], e);
		if (r->job[r->started] == NULL)
			return -1;
		r->running++;
	}
	return 0;
}

/* Notes which threads have ended; the first reason goes into *e. */
static void
collect(struct run *r, struct err *e)
{
	struct err why;
	size_t i;

	for (i = 0; i < r->started; i++) {
		if (r->over[i] || !job_ended(r->job[i], &why))
			continue;
		r->over[i] = true;
		r->running--;
		if (why.kind == ERR_NONE)
			continue;
		if (e->kind == ERR_NONE)
			*e = why;
		if (r->a->n > 1)
			log_line(LOG_ERROR, "not replicated any more", "path",
			    r->a->job[i].pair.db_path, "error", why.text,
			    NULL);
	}
}

/*
 * Threads that do not even give up: their disk does not answer.  They cannot be
 * joined, and use what main would free: so the process ends here.
 */
static void
leave_stuck(struct run *r)
{
	size_t i;

	if (!r->cancelled || r->running == 0 || time_mono_ms() < r->leave_at)
		return;
	for (i = 0; i < r->started; i++)
		if (!r->over[i])
			log_line(LOG_ERROR, "not replicated: the replica "
			    "does not answer", "path",
			    r->a->job[i].pair.db_path, NULL);
	_exit(EXIT_FAILURE);
}

/*
 * The levels' thread ends before the locks on the replicas are given back.  If
 * it is at a long merge and the time is up, or a second signal came, they are
 * kept until the process ends.
 */
static void
take_leave(struct run *r)
{
	static const struct timespec now = { 0, 0 };
	size_t i;

	stop(r);
	while (!levels_stop(r->levels, LEAVE_STEP_MS)) {
		pselect(0, NULL, NULL, NULL, &now, &r->old);
		act(r);
		if (r->cancelled) {
			log_line(LOG_WARN, "a merge was not finished", NULL);
			return;
		}
	}
	for (i = 0; i < r->started; i++)
		job_free(r->job[i]);
	free(r->over);
	free(r->job);
}

static int
run_jobs(struct run *r, struct err *e)
{
	const struct replicate_args *a = r->a;

	if ((r->levels = levels_start(e)) == NULL)
		return -1;
	e->kind = ERR_NONE;
	if (start_jobs(r, e) != 0)
		stop(r);
	else if (a->exec != NULL && exec_start(a->exec, &r->child, e) != 0) {
		r->child = 0;
		stop(r);
	}
	for (;;) {
		collect(r, e);
		if (r->running == 0 && r->child != 0)
			end_child(r);
		if (r->running == 0 && r->child == 0 &&
		    (a->n > 0 || r->stopping))
			break;
		leave_stuck(r);
		sleep_on(r);
		act(r);
	}
	take_leave(r);
	return e->kind == ERR_NONE ? 0 : -1;
}

int
replicate_run(const struct replicate_args *a, int *status, struct err *e)
{
	struct run r;
	int rc = -1;

	memset(&r, 0, sizeof r);
	r.a = a;
	catch_signals(&r);
	r.watch = watch_new();
	if (open_notes(&r, e) == 0) {
		rc = run_jobs(&r, e);
		close(r.note[0]);
		close(r.note[1]);
	}
	watch_free(r.watch);
	log_line(LOG_INFO, "litestream shut down", NULL);
	*status = r.child_status;
	return rc;
}
