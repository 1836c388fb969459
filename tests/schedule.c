/* SPDX-License-Identifier: ISC */
/*
 * Schedules of an application and of the replicator, explored.
 *
 * An application (schedule_app.c) and the replicator's own modules
 * (schedule_ours.c) run in two processes, since POSIX locks are per process;
 * this one tells each what to do next, so it decides what comes between any two
 * steps.  A schedule is a list of elements, made from the same small database
 * each time:
 *
 *	commit grow shrink vacuum app.passive app.full app.restart app.truncate
 *	app.open app.close read unread ghost torn	the application
 *	sync free window locked empty audit save nospace letgo	an open pair
 *	reopen stop start kill				its process
 *	OP@3 OP:3	only to the third point of OP; with : small ones count
 *	step@1 step:1 run	from there
 *
 * "ghost" and "torn" kill the application in a commit, "kill" the replicator;
 * "nospace" fails its next file.
 *
 * After each schedule: what is under way goes to its end (or is killed and
 * started), one more pass is made, and then
 *  - each TXID of level 0 must restore, through restore.c, to an image that the
 *    application saw after a commit, in their order, the newest to the newest;
 *  - an audit finds nothing, there was no rebase, and no comparison but after
 *    what justifies one;
 *  - no commit was busy but under our write lock.
 *
 * Breadth-first: every element that is possible is tried in every state that
 * differs from those before, to a depth.  Schedules are replayed from the
 * beginning.  What this assumes is that states which agree in the following
 * behave alike: who is open and reads, locks on the -shm and whose, index and
 * WAL file by the *order* of their counters (mxFrame, backfill, read marks,
 * frames in the file, consumed, saved) and the identity of their salts, sizes
 * by their order, whether the file is the newest image, operation and point,
 * doubt, tail, and what is saved.  So numbers of frames are not told apart,
 * contents are not, and at a second commit of the same shape the search may
 * turn back; the walks, which assume nothing, are for that.
 */
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../restore.h"
#include "../store.h"
#include "../wal.h"
#include "schedule.h"

#define MAX_LENGTH 64
#define MAX_IMAGES 256
#define MAX_FAILURES 10
#define ANSWER_MS 60000
#define FINAL_TRIES 4
#define MAX_POINT 60

enum who { APP, OURS, DRIVER };
enum need {
	N_OPEN = 1, N_CLOSED = 2, N_READ = 4, N_UNREAD = 8,	/* app */
	N_PAIR = 16, N_NO_PAIR = 32, N_MIDDLE = 64, N_ALIVE = 128,
	N_ANY = 256	/* also in the middle of something */
};

static const struct op {
	const char *name, *ask;
	enum who who;
	unsigned need;
	bool excuse;	/* may lead to a comparison */
} ops[] = {
	{ "commit", "commit", APP, N_OPEN, false },
	{ "grow", "grow", APP, N_OPEN, false },
	{ "shrink", "shrink", APP, N_OPEN, false },
	{ "vacuum", "vacuum", APP, N_OPEN, false },
	{ "app.passive", "passive", APP, N_OPEN, false },
	{ "app.full", "full", APP, N_OPEN, false },
	{ "app.restart", "restart", APP, N_OPEN, false },
	{ "app.truncate", "truncate", APP, N_OPEN, false },
	{ "app.open", "open", APP, N_CLOSED, false },
	{ "app.close", "close", APP, N_OPEN, false },
	{ "read", "read", APP, N_OPEN | N_UNREAD, false },
	{ "unread", "unread", APP, N_READ, false },
	{ "ghost", "ghost", APP, N_OPEN, false },
	{ "torn", "torn", APP, N_OPEN, false },
	{ "sync", "sync", OURS, N_PAIR, false },
	{ "free", "free", OURS, N_PAIR, false },
	{ "window", "window", OURS, N_PAIR, true },
	{ "locked", "locked", OURS, N_PAIR, false },
	{ "empty", "empty", OURS, N_PAIR, false },
	{ "audit", "audit", OURS, N_PAIR, false },
	{ "save", "save", OURS, N_PAIR, false },
	{ "nospace", "nospace", OURS, N_PAIR, false },
	{ "letgo", "letgo", OURS, N_PAIR, true },
	{ "reopen", "reopen", OURS, N_PAIR, true },
	{ "stop", "stop", OURS, N_PAIR, true },
	{ "start", "start", OURS, N_NO_PAIR, true },
	{ "step", "step", OURS, N_MIDDLE, false },
	{ "run", "run", OURS, N_MIDDLE, false },
	{ "kill", "", DRIVER, N_ALIVE, true },
};
#define OPS (sizeof ops / sizeof ops[0])

struct element {
	uint8_t op, fine, until;
};

struct schedule {
	struct element e[MAX_LENGTH];
	size_t n;
};

struct child {
	pid_t pid;
	int fd;
	void (*serve)(int fd, const char *dir);
};

static struct world {
	char dir[200], path[256], wal[256], shm[256], root[256];
	struct child app, ours;
	int out;		/* where restores go */
	uint8_t *template, *buf;
	size_t template_size, buf_cap;

	/* The schedule that runs. */
	struct {
		uint64_t hash;
		uint32_t pages;
	} image[MAX_IMAGES];
	size_t images;
	bool open, reading, middle, excused;
	uint8_t op;		/* of ours, in the middle of it */
	struct ours_answer a;
	struct stat saved_db;
	uint32_t saves;
	char failure[512];
	bool verbose;

	/* All. */
	uint64_t schedules, restores, killed;
	unsigned failures;
	char last[512];
} w;

/* time_mono_ms() is the replicator's here. */
static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool
read_all(int fd, void *p, size_t n)
{
	ssize_t k;

	for (; n > 0; n -= (size_t)k, p = (char *)p + k)
		if ((k = read(fd, p, n)) <= 0)
			return false;
	return true;
}

bool
write_all(int fd, const void *p, size_t n)
{
	ssize_t k;

	for (; n > 0; n -= (size_t)k, p = (const char *)p + k)
		if ((k = write(fd, p, n)) <= 0)
			return false;
	return true;
}

uint64_t
hash_bytes(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;
	size_t i;

	h ^= 0xcbf29ce484222325u;
	for (i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static _Noreturn void
die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(2);
}

__attribute__((format(printf, 1, 2)))
static void
fail(const char *fmt, ...)
{
	va_list ap;

	if (w.failure[0] != '\0')
		return;
	va_start(ap, fmt);
	vsnprintf(w.failure, sizeof w.failure, fmt, ap);
	va_end(ap);
}

/* Children */

static void
spawn(struct child *c, const struct child *other)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0)
		die("socketpair");
	fflush(stdout);
	c->pid = fork();
	if (c->pid < 0)
		die("fork");
	if (c->pid == 0) {
		close(fd[0]);
		if (other->pid > 0)
			close(other->fd);
		c->serve(fd[1], w.dir);
		_exit(0);
	}
	close(fd[1]);
	c->fd = fd[0];
}

static void
reap(struct child *c)
{
	if (c->pid <= 0)
		return;
	kill(c->pid, SIGKILL);
	close(c->fd);
	waitpid(c->pid, NULL, 0);
	c->pid = 0;
}

/* 1; 0 if it has died. */
static bool
tell(struct child *c, const char *op, const struct element *el, void *answer,
    size_t n)
{
	struct pollfd p = { c->fd, POLLIN, 0 };
	struct ask q;

	memset(&q, 0, sizeof q);
	snprintf(q.op, sizeof q.op, "%s", op);
	if (el != NULL) {
		q.fine = el->fine;
		q.until = el->until;
	}
	if (!write_all(c->fd, &q, sizeof q))
		return false;
	if (poll(&p, 1, ANSWER_MS) <= 0) {
		fail("%s hangs", op);
		return false;
	}
	return read_all(c->fd, answer, n);
}

/* Files */

static void
remove_tree(const char *path)
{
	struct dirent *d;
	DIR *dp = opendir(path);
	char sub[512];

	if (dp == NULL)
		return;
	while ((d = readdir(dp)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 ||
		    strcmp(d->d_name, "..") == 0)
			continue;
		snprintf(sub, sizeof sub, "%s/%s", path, d->d_name);
		if (unlink(sub) != 0) {
			remove_tree(sub);
			rmdir(sub);
		}
	}
	closedir(dp);
}

/* The whole file in w.buf; its size, or 0. */
static size_t
slurp(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return 0;
	if ((size_t)st.st_size > w.buf_cap) {
		w.buf_cap = (size_t)st.st_size * 2;
		w.buf = xrealloc(w.buf, w.buf_cap);
	}
	return pread(fd, w.buf, (size_t)st.st_size, 0) == st.st_size ?
	    (size_t)st.st_size : 0;
}

static size_t
slurp_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	if (fd >= 0) {
		n = slurp(fd);
		close(fd);
	}
	return n;
}

/* Elements */

static char *
element_text(char *s, size_t n, const struct element *el)
{
	if (el->until == 0)
		snprintf(s, n, "%s", ops[el->op].name);
	else
		snprintf(s, n, "%s%c%u", ops[el->op].name,
		    el->fine ? ':' : '@', el->until);
	return s;
}

static bool
element_parse(const char *s, struct element *el)
{
	size_t i, n = strcspn(s, "@:");

	for (i = 0; i < OPS; i++)
		if (strlen(ops[i].name) == n &&
		    strncmp(s, ops[i].name, n) == 0)
			break;
	if (i == OPS)
		return false;
	el->op = (uint8_t)i;
	el->fine = s[n] == ':';
	el->until = s[n] == '\0' ? 0 : (uint8_t)atoi(s + n + 1);
	return true;
}

static uint8_t
op_named(const char *name)
{
	struct element el;

	if (!element_parse(name, &el))
		die(name);
	return el.op;
}

static void
print_schedule(const struct schedule *s)
{
	char text[32];
	size_t i;

	putchar('"');
	for (i = 0; i < s->n; i++)
		printf("%s%s", i > 0 ? " " : "",
		    element_text(text, sizeof text, &s->e[i]));
	printf("\"");
}

static bool
possible(const struct element *el)
{
	unsigned need = ops[el->op].need;
	bool pair = w.ours.pid > 0 && w.a.open;

	if (((need & N_OPEN) && !w.open) || ((need & N_CLOSED) && w.open) ||
	    ((need & N_READ) && !w.reading) ||
	    ((need & N_UNREAD) && w.reading))
		return false;
	if ((need & N_MIDDLE) && !w.middle)
		return false;
	if ((need & N_PAIR) && (w.middle || !pair))
		return false;
	if ((need & N_NO_PAIR) && (w.middle || pair))
		return false;
	return !(need & N_ALIVE) || w.middle || pair;
}

/* Running */

static void
note_image(const struct app_answer *r)
{
	if (!r->has_image || (w.images > 0 &&
	    w.image[w.images - 1].hash == r->hash))
		return;
	if (w.images == MAX_IMAGES)
		die("too many commits");
	w.image[w.images].hash = r->hash;
	w.image[w.images++].pages = r->pages;
}

static void
do_app(const struct op *o)
{
	struct app_answer r;
	bool dies = strcmp(o->name, "ghost") == 0 ||
	    strcmp(o->name, "torn") == 0;

	if (w.app.pid == 0)
		spawn(&w.app, &w.ours);
	if (!tell(&w.app, o->ask, NULL, &r, sizeof r)) {
		if (!dies)
			fail("the application died");
		reap(&w.app);
		w.open = w.reading = false;
		return;
	}
	note_image(&r);
	if (w.verbose && r.rc != 0)
		printf("#\t%s: SQLite says %d\n", o->name, r.rc);
	if (strcmp(o->name, "app.open") == 0)
		w.open = r.rc == 0;
	else if (strcmp(o->name, "app.close") == 0)
		w.open = w.reading = false;
	else if (strcmp(o->name, "read") == 0)
		w.reading = r.rc == 0;
	else if (strcmp(o->name, "unread") == 0)
		w.reading = false;
	if (r.rc == 0 || strncmp(o->name, "app.", 4) == 0)
		return;
	if ((r.rc & 0xff) != 5 || !w.middle ||
	    w.op != op_named("locked"))
		fail("%s: the application got %d", o->name, (int)r.rc);
}

static void
answered(void)
{
	w.middle = w.a.what == OURS_AT;
	if (w.a.saves != w.saves && stat(w.path, &w.saved_db) == 0)
		w.saves = w.a.saves;
	if (w.verbose)
		printf("#\t%s%s %s txid %llx consumed %u%s%s\n",
		    w.a.what == OURS_AT ? "at " : w.a.what == OURS_FAILED ?
		    "failed: " : "done", w.a.point, w.a.text,
		    (unsigned long long)w.a.txid, w.a.pos.frames,
		    w.a.doubt ? " doubt" : "", w.a.tail ? " tail" : "");
	if (w.a.what != OURS_FAILED || w.a.kind == ERR_BUSY ||
	    w.a.kind == ERR_FULL)
		return;
	fail("%s", w.a.text);
}

static void
do_ours(const struct element *el)
{
	if (w.ours.pid == 0)
		spawn(&w.ours, &w.app);
	if (ops[el->op].who == OURS && !w.middle)
		w.op = el->op;
	if (!tell(&w.ours, ops[el->op].ask, el, &w.a, sizeof w.a)) {
		fail("%s: the replicator died", ops[el->op].name);
		reap(&w.ours);
		memset(&w.a, 0, sizeof w.a);
		w.middle = false;
		return;
	}
	answered();
}

/* What a killed process leaves is what it has saved. */
static void
do_kill(void)
{
	struct ours_answer left;

	memset(&left, 0, sizeof left);
	left.saved = w.a.saved;
	left.saved_txid = w.a.saved_txid;
	left.clean = w.a.clean;
	left.settled = w.a.settled;
	w.a = left;
	w.middle = false;
	w.saves = 0;
	reap(&w.ours);
	w.killed++;
}

static void
do_element(const struct element *el)
{
	const struct op *o = &ops[el->op];
	struct ours_answer before = w.a;
	char text[32];

	if (w.verbose)
		printf("# %s\n", element_text(text, sizeof text, el));
	w.excused |= o->excuse;
	if (o->who == APP)
		do_app(o);
	else if (o->who == OURS) {
		do_ours(el);
		if (w.a.saves == 0 && before.saved_txid != 0) {
			w.a.saved = before.saved;	/* by one that died */
			w.a.saved_txid = before.saved_txid;
			w.a.clean = before.clean;
			w.a.settled = before.settled;
		}
	} else
		do_kill();
}

static void
do_named(const char *name)
{
	struct element el = { op_named(name), 0, 0 };

	do_element(&el);
}

/* Everything as it was at first: both open, one file published. */
static void
reset(void)
{
	struct app_answer r;
	int fd;

	if (w.app.pid > 0 && !tell(&w.app, "close", NULL, &r, sizeof r))
		reap(&w.app);
	if (w.middle || (w.ours.pid > 0 && !tell(&w.ours, "reset", NULL, &w.a,
	    sizeof w.a)))
		reap(&w.ours);
	remove_tree(w.dir);
	memset(&w.a, 0, sizeof w.a);
	w.images = 0;
	w.open = w.reading = w.middle = w.excused = false;
	w.saves = 0;
	w.failure[0] = '\0';
	fd = open(w.path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	if (fd < 0 || !write_all(fd, w.template, w.template_size) ||
	    close(fd) != 0)
		die(w.path);
	do_named("app.open");
	do_named("start");
	w.excused = false;
}

/* Oracles */

static void
check_points(void)
{
	struct restore_args ra;
	struct restore_result res;
	struct store_list l;
	struct err e;
	uint64_t h;
	size_t i, k = 0, n;

	if (store_list(w.root, 0, &l, &e) != 0) {
		fail("%s", e.text);
		return;
	}
	memset(&ra, 0, sizeof ra);
	ra.root = w.root;
	ra.fd = w.out;
	for (i = 0; i < l.n && w.failure[0] == '\0'; i++) {
		ra.txid = l.file[i].max_txid;
		w.restores++;
		if (ftruncate(w.out, 0) != 0 ||
		    restore_run(&ra, &res, &e) != 0) {
			fail("TXID %x: %s", (unsigned)ra.txid, e.text);
			break;
		}
		n = slurp(w.out);
		h = hash_bytes(0, w.buf, n);
		while (k < w.images && w.image[k].hash != h)
			k++;
		if (k == w.images)
			fail("TXID %x: %zu pages that no commit left so, or "
			    "not in this order", (unsigned)ra.txid,
			    n / SCHEDULE_PAGE);
	}
	if (w.failure[0] == '\0' && k + 1 != w.images)
		fail("the newest is commit %zu of %zu", k + 1, w.images);
	store_list_free(&l);
}

/* The end of each schedule; the source is as it was. */
static void
finish(bool by_kill)
{
	int i;

	if (by_kill && w.ours.pid > 0)
		do_named("kill");
	else if (w.middle)
		do_named("run");
	for (i = 0; i < FINAL_TRIES && w.failure[0] == '\0'; i++) {
		if (!w.a.open)
			do_named("start");
		else
			do_named("sync");
		if (w.a.what == OURS_DONE && w.a.open && i > 0)
			break;
	}
	if (w.failure[0] == '\0' && (w.a.what != OURS_DONE || w.a.doubt))
		fail("no pass succeeds: %s", w.a.text);
	if (!w.open)
		do_named("app.open");
	if (w.failure[0] == '\0')
		check_points();
	if (w.failure[0] == '\0')
		do_named("audit");
	if (w.a.differed != 0)
		fail("audit: %u pages differ", (unsigned)w.a.differed);
	if (w.a.rebases != 0)
		fail("a full image");
	if (!w.excused && w.a.diffs > 1)
		fail("a comparison without a reason");
}

/* States */

static int
by_value(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The values by their order: equal ones stay equal, 0 stays 0. */
static void
rank(uint32_t *v, size_t n)
{
	uint32_t sorted[16];
	size_t i, k, r;

	memcpy(sorted, v, n * sizeof *v);
	qsort(sorted, n, sizeof *v, by_value);
	for (i = 0; i < n; i++) {
		for (r = k = 0; sorted[k] < v[i]; k++)
			r += k == 0 ? sorted[k] != 0 :
			    sorted[k] != sorted[k - 1];
		v[i] = v[i] == 0 ? 0 : (uint32_t)r + 1;
	}
}

/* Who holds which lock of the index. */
static uint32_t
locks(int fd)
{
	struct flock l;
	uint32_t all = 0;
	int i;

	for (i = 0; i < 8; i++) {
		memset(&l, 0, sizeof l);
		l.l_type = F_WRLCK;
		l.l_whence = SEEK_SET;
		l.l_start = 120 + i;
		l.l_len = 1;
		if (fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK)
			all |= (l.l_pid == w.app.pid ? 1u :
			    l.l_type == F_RDLCK ? 2u : 3u) << 2 * i;
	}
	return all;
}

/* Salts as small numbers, in the order in which they are met. */
static uint32_t
name_salt(uint64_t *seen, size_t *n, uint32_t s1, uint32_t s2)
{
	uint64_t s = (uint64_t)s1 << 32 | s2;
	uint32_t i, next = 0;

	if (s == 0)
		return 0;
	for (i = 0; i < *n; i++) {
		if (seen[i] == s)
			return i + 1;
		next |= (seen[i] >> 32) == s1 + 1;
	}
	seen[(*n)++] = s;
	return (uint32_t)*n | next << 8;
}

struct features {
	uint32_t frame[12], size[6], salt[5], flag[24];
};

static void
features_of_files(struct features *f, uint64_t *salts, size_t *n)
{
	struct wal_index x;
	struct stat st;
	uint8_t *b;
	size_t size, i;
	int fd = open(w.shm, O_RDONLY | O_CLOEXEC);

	size = slurp_path(w.path);
	f->flag[0] = w.images > 0 && hash_bytes(0, w.buf, size) ==
	    w.image[w.images - 1].hash;
	f->size[0] = (uint32_t)(size / SCHEDULE_PAGE);
	f->flag[1] = 2;
	if (stat(w.wal, &st) == 0) {
		f->flag[1] = st.st_size > 0;
		f->frame[0] = (uint32_t)(st.st_size /
		    (SCHEDULE_PAGE + WAL_FRAME_HEADER_SIZE));
	}
	size = fd >= 0 ? slurp(fd) : 0;
	b = w.buf;
	f->flag[2] = size == 0 ? 2 : wal_index_parse(b, &x);
	if (f->flag[2] == 1) {
		f->salt[0] = name_salt(salts, n, x.salt1, x.salt2);
		f->frame[1] = x.mx_frame;
		f->frame[2] = x.backfill;
		f->frame[3] = x.attempted;
		f->size[1] = x.commit;
		for (i = 0; i < 5; i++)
			memcpy(&f->frame[4 + i], b + 100 + 4 * i, 4);
		for (i = 4; i < 9; i++)
			if (f->frame[i] == UINT32_MAX)
				f->frame[i] = 0;
	}
	if (fd >= 0) {
		f->flag[3] = locks(fd);
		close(fd);
	}
}

static uint64_t
state_key(void)
{
	const struct ours_answer *a = &w.a;
	uint64_t salts[8];
	struct features f;
	struct stat st;
	size_t n = 0;

	memset(&f, 0, sizeof f);
	features_of_files(&f, salts, &n);
	f.salt[1] = name_salt(salts, &n, a->pos.salt1, a->pos.salt2);
	f.salt[2] = name_salt(salts, &n, a->table.salt1, a->table.salt2);
	f.salt[3] = name_salt(salts, &n, a->saved.salt1, a->saved.salt2);
	f.frame[9] = a->pos.frames;
	f.frame[10] = a->table.frames;
	f.frame[11] = a->saved.frames;
	f.size[2] = a->commit;
	f.size[3] = w.images > 0 ? w.image[w.images - 1].pages : 0;
	f.flag[4] = w.open;
	f.flag[5] = w.reading;
	f.flag[6] = w.middle ? 1u + w.op : 0;
	f.flag[7] = w.middle ? (uint32_t)a->passed : 0;
	f.flag[8] = a->open;
	f.flag[9] = a->doubt;
	f.flag[10] = a->tail;
	f.flag[11] = a->intact;
	f.flag[12] = a->failing;
	f.flag[13] = a->saved_txid == 0 ? 2 : a->saved_txid == a->txid;
	f.flag[14] = a->clean;
	f.flag[15] = a->settled;
	f.flag[16] = a->saved_txid != 0 && stat(w.path, &st) == 0 &&
	    st.st_mtim.tv_sec == w.saved_db.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == w.saved_db.st_mtim.tv_nsec;
	rank(f.frame, sizeof f.frame / sizeof f.frame[0]);
	rank(f.size, 4);
	return hash_bytes(0, &f, sizeof f);
}

/* Searching */

static void
play(const struct schedule *s)
{
	size_t i;

	reset();
	for (i = 0; i < s->n && w.failure[0] == '\0'; i++)
		if (possible(&s->e[i]))
			do_element(&s->e[i]);
}

static bool
holds(const struct schedule *s, bool by_kill)
{
	play(s);
	if (w.failure[0] == '\0')
		finish(by_kill);
	w.schedules++;
	return w.failure[0] == '\0';
}

/* Leaves out what is not needed for the failure. */
static void
shorten(struct schedule *s, bool by_kill)
{
	struct schedule less;
	size_t i;

	for (i = s->n; i-- > 0;) {
		less = *s;
		memmove(&less.e[i], &less.e[i + 1],
		    (--less.n - i) * sizeof less.e[0]);
		if (!holds(&less, by_kill))
			*s = less;
	}
}

static void
report(const struct schedule *s, bool by_kill, bool shorter)
{
	struct schedule small = *s;
	char why[512];

	memcpy(why, w.failure, sizeof why);
	if (shorter) {
		shorten(&small, by_kill);
		if (!holds(&small, by_kill))
			memcpy(why, w.failure, sizeof why);
	}
	w.failures++;
	printf("not ok - ");
	print_schedule(&small);
	printf("%s: %s\n", by_kill ? " -kill" : "", why);
	fflush(stdout);
}

static void
try(const struct schedule *s, bool by_kill)
{
	if (!holds(s, by_kill))
		report(s, by_kill, true);
}

struct search {
	struct schedule *queue;
	size_t n, cap;
	uint64_t *seen;
	size_t states, room;	/* room is a power of two */
	int64_t until;
	bool fine;
	uint64_t out_of_time;
};

static bool
add_key(struct search *s, uint64_t key)
{
	uint64_t *old = s->seen;
	size_t i, k, n = s->room;

	if (2 * s->states >= s->room) {
		s->room = n == 0 ? 4096 : 2 * n;
		s->seen = xcalloc(s->room, sizeof *s->seen);
		for (s->states = i = 0; i < n; i++)
			if (old[i] != 0)
				add_key(s, old[i]);
		free(old);
	}
	key += key == 0;
	for (k = key & (s->room - 1); s->seen[k] != 0;
	    k = (k + 1) & (s->room - 1))
		if (s->seen[k] == key)
			return false;
	s->seen[k] = key;
	s->states++;
	return true;
}

/* One more element at the end of s: whether it stopped at a point. */
static bool
expand(struct search *q, struct schedule *s)
{
	bool new, stopped;

	play(s);
	stopped = w.middle;
	new = w.failure[0] == '\0' && add_key(q, state_key());
	if (w.failure[0] == '\0')
		finish(false);
	w.schedules++;
	if (w.failure[0] != '\0') {
		report(s, false, true);
		return false;
	}
	if (!new)
		return stopped;
	q->queue = xgrow(q->queue, q->n, &q->cap, sizeof *q->queue);
	q->queue[q->n++] = *s;
	try(s, true);
	return stopped;
}

static void
expand_all(struct search *q, const struct schedule *from)
{
	struct schedule s = *from;
	struct element *el = &s.e[s.n++];
	bool can[OPS];
	size_t i;
	int k;

	play(from);
	for (i = 0; i < OPS; i++) {
		el->op = (uint8_t)i;
		can[i] = possible(el);
	}
	for (i = 0; i < OPS && w.failures < MAX_FAILURES; i++) {
		if (!can[i])
			continue;
		el->op = (uint8_t)i;
		el->fine = q->fine;
		el->until = 0;
		if (ops[i].who == OURS && strcmp(ops[i].name, "run") != 0)
			for (k = 1; k < MAX_POINT; k++) {
				el->until = (uint8_t)k;
				if (!expand(q, &s))
					break;
			}
		else
			expand(q, &s);
	}
}

static void
search(int depth, bool fine, int64_t until)
{
	struct search q = { .fine = fine, .until = until };
	struct schedule empty = { .n = 0 };
	size_t i, level = 0;

	play(&empty);
	add_key(&q, state_key());
	q.queue = xgrow(q.queue, 0, &q.cap, sizeof *q.queue);
	q.queue[q.n++] = empty;
	for (i = 0; i < q.n && w.failures < MAX_FAILURES; i++) {
		struct schedule s = q.queue[i];

		if (s.n > level) {
			printf("# depth %zu: %zu states, %llu schedules\n",
			    level, q.n, (unsigned long long)w.schedules);
			fflush(stdout);
			level = s.n;
		}
		if ((int)s.n >= depth || now_ms() >= until)
			break;
		expand_all(&q, &s);
	}
	printf("# %s: depth %zu %s, %zu states, %zu expanded\n", fine ?
	    "every point" : "main points", level, i < q.n &&
	    (int)level < depth ? "in part" : "complete", q.n, i);
	free(q.queue);
	free(q.seen);
}

static uint64_t
draw(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return *seed >> 33;
}

static void
walk(uint64_t seed, size_t length)
{
	struct schedule s = { .n = 0 };
	struct element el;
	bool by_kill;

	reset();
	while (s.n < length && w.failure[0] == '\0') {
		el.op = (uint8_t)(draw(&seed) % OPS);
		el.fine = draw(&seed) % 2;
		el.until = 0;
		if (ops[el.op].who == OURS && draw(&seed) % 2)
			el.until = (uint8_t)(1 + draw(&seed) %
			    (strcmp(ops[el.op].name, "step") ? 12 : 3));
		if (!possible(&el) || (ops[el.op].who == DRIVER &&
		    draw(&seed) % 3 != 0))
			continue;
		s.e[s.n++] = el;
		do_element(&el);
	}
	by_kill = draw(&seed) % 2;
	if (w.failure[0] == '\0')
		finish(by_kill);
	w.schedules++;
	if (w.failure[0] != '\0')
		report(&s, by_kill, true);
}

/* Command line */

static bool
parse(char *text, struct schedule *s)
{
	char *p;

	s->n = 0;
	for (p = strtok(text, " \t\n"); p != NULL; p = strtok(NULL, " \t\n"))
		if (s->n == MAX_LENGTH || !element_parse(p, &s->e[s->n++])) {
			fprintf(stderr, "what is %s?\n", p);
			return false;
		}
	return true;
}

/* Schedules, a line each, "# ..." for comments. */
static void
play_file(FILE *f)
{
	struct schedule s;
	char line[2048];

	while (fgets(line, sizeof line, f) != NULL) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!parse(line, &s))
			exit(2);
		if (!holds(&s, false))
			report(&s, false, false);
		if (!holds(&s, true))
			report(&s, true, false);
	}
}

static void
set_up(void)
{
	struct app_answer r;
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" :
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
	char out[256];

	signal(SIGPIPE, SIG_IGN);
	log_set_level("error");
	snprintf(w.dir, sizeof w.dir, "%s/schedule.XXXXXX", base);
	if (mkdtemp(w.dir) == NULL)
		die(w.dir);
	snprintf(w.path, sizeof w.path, "%s/a.db", w.dir);
	snprintf(w.wal, sizeof w.wal, "%s/a.db-wal", w.dir);
	snprintf(w.shm, sizeof w.shm, "%s/a.db-shm", w.dir);
	snprintf(w.root, sizeof w.root, "%s/replica", w.dir);
	snprintf(out, sizeof out, "%s/out", w.dir);
	w.out = open(out, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (w.out < 0)
		die(out);
	w.app.serve = app_serve;
	w.ours.serve = ours_serve;
	spawn(&w.app, &w.ours);
	if (!tell(&w.app, "create", NULL, &r, sizeof r) || r.rc != 0)
		die("create");
	w.template_size = slurp_path(w.path);
	w.template = xmalloc(w.template_size);
	memcpy(w.template, w.buf, w.template_size);
}

static void
tear_down(int64_t start)
{
	int64_t ms = now_ms() - start;

	reap(&w.app);
	reap(&w.ours);
	remove_tree(w.dir);
	rmdir(w.dir);
	printf("# %llu schedules, %llu kills, %llu restores in %.1f s, "
	    "%u failures\n", (unsigned long long)w.schedules,
	    (unsigned long long)w.killed, (unsigned long long)w.restores,
	    (double)ms / 1000, w.failures);
	free(w.template);
	free(w.buf);
}

static _Noreturn void
usage(void)
{
	fputs("usage: schedule [-fine] [-seconds N] [-depth N] [-walks N] "
	    "[-length N] [-seed N]\n       schedule [-v] [-kill] "
	    "-replay \"ELEMENT...\"\n       schedule -file FILE\n", stderr);
	exit(2);
}

struct options {
	int depth;
	size_t length;
	uint64_t walks, seed;
	int64_t seconds;
	bool fine, by_kill;
	char *replay;
	const char *file;
};

static void
parse_options(struct options *o, char **a)
{
	for (; *a != NULL; a++) {
		if (strcmp(*a, "-v") == 0)
			w.verbose = true;
		else if (strcmp(*a, "-fine") == 0)
			o->fine = true;
		else if (strcmp(*a, "-kill") == 0)
			o->by_kill = true;
		else if (a[1] == NULL)
			usage();
		else if (strcmp(*a, "-replay") == 0)
			o->replay = *++a;
		else if (strcmp(*a, "-file") == 0)
			o->file = *++a;
		else if (strcmp(*a, "-depth") == 0)
			o->depth = atoi(*++a);
		else if (strcmp(*a, "-length") == 0)
			o->length = strtoul(*++a, NULL, 10);
		else if (strcmp(*a, "-walks") == 0)
			o->walks = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seed") == 0)
			o->seed = strtoull(*++a, NULL, 10);
		else if (strcmp(*a, "-seconds") == 0)
			o->seconds = atoll(*++a);
		else
			usage();
	}
	if (o->length > MAX_LENGTH)
		usage();
}

static void
explore(const struct options *o, int64_t until)
{
	uint64_t i;

	if (o->depth > 0)
		search(o->depth, o->fine, until);
	if (o->walks == 0)
		return;
	printf("# walks from seed %llu\n", (unsigned long long)o->seed);
	for (i = 0; i < o->walks && w.failures < MAX_FAILURES &&
	    now_ms() < until; i++)
		walk(o->seed + i, o->length);
	printf("# %llu walks of %zu\n", (unsigned long long)i, o->length);
}

int
main(int argc, char **argv)
{
	struct options o = { .length = 30, .seconds = 1000000 };
	int64_t start = now_ms();
	struct schedule s;
	FILE *f;

	o.seed = (uint64_t)time(NULL);
	if (argc < 2)
		usage();
	parse_options(&o, argv + 1);
	set_up();
	if (o.replay != NULL) {
		if (!parse(o.replay, &s))
			return 2;
		if (!holds(&s, o.by_kill))
			report(&s, o.by_kill, false);
	} else if (o.file != NULL) {
		f = fopen(o.file, "r");
		if (f == NULL)
			die(o.file);
		play_file(f);
		fclose(f);
	} else
		explore(&o, start + 1000 * o.seconds);
	tear_down(start);
	return w.failures > 0;
}
