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
 */
#include <sys/select.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "exec.h"
#include "replicate.h"
#include "restore.h"

static volatile sig_atomic_t signals;	/* how many INT and TERM came */
static volatile sig_atomic_t last_signal, child_signal;

struct run {
	const struct replicate_args *a;
	struct watch *watch;
	struct job *job;
	struct levels *levels;
	int note[2];
	pid_t child;		/* 0: none, or it has ended */
	int child_status;
	sigset_t old;
	int seen;		/* signals acted upon */
	bool stopping, cancelled;
	int64_t cancel_at;
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

int
replicate_restore(const struct replicate_args *a, struct err *e)
{
	const char *db = a->job.pair.db_path;
	struct restore_result res;
	struct restore_args ra;

	if (access(db, F_OK) == 0) {
		log_line(LOG_INFO, "database already exists, skipping restore",
		    "path", db, NULL);
		return 0;
	}
	memset(&ra, 0, sizeof ra);
	ra.root = a->job.pair.root;
	ra.out = db;
	if (restore_run(&ra, &res, e) == 0) {
		log_line(LOG_INFO, "database restored", "path", db, "txid",
		    TXID(res.txid), NULL);
		return 0;
	}
	if (e->kind != ERR_ABSENT)
		return -1;
	log_line(LOG_INFO, "no backup to restore, starting fresh", "path", db,
	    NULL);
	return 0;
}

/* What the levels' thread would do, for a replica that cron looks after. */
static int
keep_policy(const struct replicate_args *a, struct pair *p, struct err *e)
{
	struct compact c = a->job.levels;
	int64_t next;

	c.root = a->job.pair.root;
	c.db = a->job.pair.db_path;
	c.owner = p->c.em.owner;
	if (a->force_snapshot && compact_snapshot(&c, e) != 0)
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

int
replicate_once(const struct replicate_args *a, struct err *e)
{
	struct pair p;
	int rc;

	pair_init(&p, &a->job.pair, NULL);
	rc = pair_open(&p, true, e);
	if (rc == 0)
		pair_save(&p);
	if (rc == 0 && (a->force_snapshot || a->enforce_retention))
		rc = keep_policy(a, &p, e);
	if (rc == 0)
		log_line(LOG_INFO, "one-shot replication complete", "path",
		    a->job.pair.db_path, "txid", TXID(p.pages.txid), NULL);
	pair_free(&p);
	return rc;
}

static void
wake(struct run *r)
{
	struct watch_event ev;
	char note[16];

	while (watch_next(r->watch, &ev) == 1)
		job_wake(r->job, ev.kind);
	while (read(r->note[0], note, sizeof note) > 0)
		continue;
}

/* Waits for anything; at most until r->cancel_at. */
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
	if (r->stopping && !r->cancelled) {
		ms = r->cancel_at - time_mono_ms();
		if (ms < 0)
			ms = 0;
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
	if (r->stopping)
		return;
	r->stopping = true;
	r->cancel_at = time_mono_ms() + r->a->job.stop_timeout_ms;
	job_stop(r->job);
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
		if (r->stopping && time_mono_ms() >= r->cancel_at) {
			r->cancelled = true;
			job_cancel(r->job);
		}
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
		r->cancelled = true;
		job_cancel(r->job);
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
run_job(struct run *r, struct err *e)
{
	const struct replicate_args *a = r->a;
	struct err why;
	bool ended;

	if ((r->levels = levels_start(e)) == NULL)
		return -1;
	r->job = job_start(&a->job, r->watch, r->levels, 0, r->note[1], e);
	if (r->job == NULL) {
		levels_stop(r->levels);
		return -1;
	}
	e->kind = ERR_NONE;
	if (a->exec != NULL && exec_start(a->exec, &r->child, e) != 0) {
		r->child = 0;
		stop(r);
	}
	while (!(ended = job_ended(r->job, &why)) || r->child != 0) {
		if (ended)
			end_child(r);
		sleep_on(r);
		act(r);
	}
	levels_stop(r->levels);
	job_free(r->job);
	if (e->kind == ERR_NONE)
		*e = why;
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
		rc = run_job(&r, e);
		close(r.note[0]);
		close(r.note[1]);
	}
	watch_free(r.watch);
	log_line(LOG_INFO, "litestream shut down", NULL);
	*status = r.child_status;
	return rc;
}
