/* SPDX-License-Identifier: ISC */
/*
 * The schedule explorer's world: two children, the files that they share, and
 * what must hold at the end.  Neither child nor SQLite is in this process, so
 * it may open and close what it likes.
 */
#include <sys/socket.h>
#include <sys/stat.h>
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
#include "../util.h"
#include "schedule.h"

#define MAX_IMAGES 256
#define ANSWER_MS 60000
#define FINAL_TRIES 4
#define SPACE " ,\t\n"

const struct op ops[OPS] = {
	{ "commit", "commit", APP, N_OPEN, false, 8 },
	{ "grow", "grow", APP, N_OPEN, false, 4 },
	{ "shrink", "shrink", APP, N_OPEN, false, 3 },
	{ "vacuum", "vacuum", APP, N_OPEN, false, 1 },
	{ "app.passive", "passive", APP, N_OPEN, false, 5 },
	{ "app.full", "full", APP, N_OPEN, false, 1 },
	{ "app.restart", "restart", APP, N_OPEN, false, 3 },
	{ "app.truncate", "truncate", APP, N_OPEN, false, 3 },
	{ "app.open", "open", APP, N_CLOSED, false, 9 },
	{ "app.close", "close", APP, N_OPEN, false, 1 },
	{ "read", "read", APP, N_OPEN | N_UNREAD, false, 2 },
	{ "unread", "unread", APP, N_READ, false, 3 },
	{ "ghost", "ghost", APP, N_OPEN, false, 1 },
	{ "torn", "torn", APP, N_OPEN, false, 1 },
	{ "sync", "sync", OURS, N_PAIR | N_POINTS | N_PASS, false, 8 },
	{ "free", "free", OURS, N_PAIR | N_POINTS | N_PASS, false, 8 },
	{ "window", "window", OURS, N_PAIR | N_POINTS, false, 6 },
	{ "locked", "locked", OURS, N_PAIR | N_POINTS | N_PASS, false, 2 },
	{ "empty", "empty", OURS, N_PAIR | N_POINTS, false, 4 },
	{ "audit", "audit", OURS, N_PAIR | N_POINTS, false, 1 },
	{ "save", "save", OURS, N_PAIR | N_POINTS, false, 2 },
	{ "nospace", "nospace", OURS, N_PAIR, false, 1 },
	{ "letgo", "letgo", OURS, N_PAIR | N_POINTS, true, 1 },
	{ "reopen", "reopen", OURS, N_PAIR | N_POINTS | N_PASS, true, 1 },
	{ "stop", "stop", OURS, N_PAIR | N_POINTS, true, 1 },
	{ "start", "start", OURS, N_NO_PAIR | N_POINTS | N_PASS, true, 20 },
	{ "step", "step", OURS, N_MIDDLE | N_POINTS, false, 8 },
	{ "run", "run", OURS, N_MIDDLE, false, 8 },
	{ "relieve", "relieve", OURS, N_MIDDLE, true, 1 },
	{ "kill", "", DRIVER, N_ALIVE, true, 1 },
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
	bool open, reading, middle;
	uint32_t read_mark;
	bool excused;		/* a comparison is to be expected */
	uint32_t diffs, excuses;	/* before there was a reason */
	uint64_t txid;
	uint32_t commit;
	uint8_t op;		/* of ours, in the middle of it */
	struct ours_answer a;
	struct stat saved_db;
	uint32_t saves;
	char failure[512];
	bool verbose;

	/* All. */
	uint64_t schedules, restores, killed;
} w;

/* time_mono_ms() is the replicator's here. */
int64_t
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

void
stamp(const char *path)
{
	struct timespec t[2];

	clock_gettime(CLOCK_REALTIME, &t[1]);
	t[0] = t[1];
	if (utimensat(AT_FDCWD, path, t, 0) != 0)
		die(path);
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

_Noreturn void
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

/* Who waits for us finds an end and does nothing more, as one that is killed,
 * but for what coverage.c writes down. */
static void
reap(struct child *c)
{
	if (c->pid <= 0)
		return;
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
		kill(c->pid, SIGKILL);
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

uint8_t
op_named(const char *name)
{
	struct element el;

	if (!element_parse(name, &el))
		die(name);
	return el.op;
}

void
schedule_print(const struct schedule *s)
{
	char text[32];
	size_t i;

	putchar('"');
	for (i = 0; i < s->n; i++)
		printf("%s%s", i > 0 ? " " : "",
		    element_text(text, sizeof text, &s->e[i]));
	printf("\"");
}

bool
world_possible(const struct element *el)
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

static bool
dies(const struct op *o)
{
	return strcmp(o->name, "ghost") == 0 || strcmp(o->name, "torn") == 0;
}

static uint64_t
hash_file(const char *path)
{
	size_t n = slurp_path(path);

	return hash_bytes(0, w.buf, n);
}

static void
do_app(const struct op *o)
{
	uint64_t before = hash_file(w.path);
	struct app_answer r;

	if (w.app.pid == 0)
		spawn(&w.app, &w.ours);
	if (!tell(&w.app, o->ask, NULL, &r, sizeof r)) {
		if (!dies(o))
			fail("the application died");
		reap(&w.app);
		w.open = w.reading = false;
		return;
	}
	if (hash_file(w.path) != before)
		stamp(w.path);
	note_image(&r);
	if (w.verbose && r.rc != 0)
		printf("#\t%s: SQLite says %d\n", o->name, r.rc);
	if (strcmp(o->name, "app.open") == 0)
		w.open = r.rc == 0;
	else if (strcmp(o->name, "app.close") == 0)
		w.open = w.reading = false;
	else if (strcmp(o->name, "read") == 0) {
		w.reading = r.rc == 0;
		w.read_mark = state_read_mark(w.shm);
	} else if (strcmp(o->name, "unread") == 0)
		w.reading = false;
	if (r.rc == 0 || strncmp(o->name, "app.", 4) == 0)
		return;
	if ((r.rc & 0xff) != 5 || !w.middle ||
	    w.op != op_named("locked"))
		fail("%s: the application got %d", o->name, (int)r.rc);
}

/* A comparison without a reason is a failure; a pass that ends well answers
 * all reasons. */
static void
weigh_excuses(void)
{
	w.excused |= w.a.excuses > w.excuses;
	if (!w.excused && w.a.diffs > w.diffs)
		fail("a comparison without a reason");
	if (w.a.what == OURS_DONE && (ops[w.op].need & N_PASS) && w.a.open &&
	    !w.a.doubt && !w.a.tail && !w.a.relieved)
		w.excused = false;
	w.excuses = w.a.excuses;
	w.diffs = w.a.diffs;
}

static void
answered(void)
{
	w.middle = w.a.what == OURS_AT;
	if (w.a.txid > w.txid) {
		w.txid = w.a.txid;
		w.commit = w.a.commit;
	}
	if (w.a.saves != w.saves && stat(w.path, &w.saved_db) == 0)
		w.saves = w.a.saves;
	if (w.verbose)
		printf("#\t%s%s %s txid %llx consumed %u%s%s\n",
		    w.a.what == OURS_AT ? "at " : w.a.what == OURS_FAILED ?
		    "failed: " : "done", w.a.point, w.a.text,
		    (unsigned long long)w.a.txid, w.a.pos.frames,
		    w.a.doubt ? " doubt" : "", w.a.tail ? " tail" : "");
	if (w.a.what == OURS_FAILED && w.a.kind != ERR_BUSY &&
	    w.a.kind != ERR_FULL && !(w.a.kind == ERR_DAMAGED && w.excused))
		fail("%s", w.a.text);
	weigh_excuses();
}

static void
do_ours(const struct element *el)
{
	const struct element reopen = { op_named("reopen"), 0, 0 };

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
	if (w.a.what == OURS_FAILED && w.a.kind == ERR_DAMAGED && w.a.open &&
	    w.failure[0] == '\0')
		world_do(&reopen);	/* as job.c does */
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
	w.saves = w.diffs = w.excuses = 0;
	reap(&w.ours);
	w.killed++;
}

void
world_do(const struct element *el)
{
	const struct op *o = &ops[el->op];
	struct ours_answer before = w.a;
	char text[32];

	if (w.verbose)
		printf("# %s\n", element_text(text, sizeof text, el));
	w.excused |= o->excuse || (w.middle && dies(o));
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

	world_do(&el);
}

/* Everything as it was at first: both open, one file published. */
void
world_reset(void)
{
	struct app_answer r;
	int fd;

	if (w.app.pid > 0 && !tell(&w.app, "close", NULL, &r, sizeof r))
		reap(&w.app);
	if (w.ours.pid > 0 && ((w.middle && !tell(&w.ours, "run", NULL, &w.a,
	    sizeof w.a)) || !tell(&w.ours, "reset", NULL, &w.a, sizeof w.a)))
		reap(&w.ours);
	remove_tree(w.dir);
	memset(&w.a, 0, sizeof w.a);
	w.images = 0;
	w.open = w.reading = w.middle = w.excused = false;
	w.saves = w.diffs = w.excuses = 0;
	w.txid = 0;
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
void
world_finish(bool by_kill)
{
	int i;

	w.schedules++;
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
}

bool
schedule_parse(char *text, struct schedule *s)
{
	char *p;

	s->n = 0;
	for (p = strtok(text, SPACE); p != NULL; p = strtok(NULL, SPACE))
		if (s->n == MAX_LENGTH || !element_parse(p, &s->e[s->n++])) {
			fprintf(stderr, "what is %s?\n", p);
			return false;
		}
	return true;
}

/* All of it */

void
world_open(bool verbose)
{
	struct app_answer r;
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" :
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
	char out[256];

	signal(SIGPIPE, SIG_IGN);
	log_set_level("error");
	w.verbose = verbose;
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

void
world_close(void)
{
	reap(&w.app);
	reap(&w.ours);
	remove_tree(w.dir);
	rmdir(w.dir);
	close(w.out);
	free(w.template);
	free(w.buf);
}

void
world_count(int64_t ms)
{
	printf("# %llu schedules, %llu kills, %llu restores in %.1f s\n",
	    (unsigned long long)w.schedules, (unsigned long long)w.killed,
	    (unsigned long long)w.restores, (double)ms / 1000);
	fflush(stdout);
}

bool
world_in_the_middle(void)
{
	return w.middle;
}

const char *
world_failure(void)
{
	return w.failure;
}

/* A sync changes nothing that others see, a killed one is as one killed at the
 * next point, and so is whatever comes after a sleep, which only looks whether
 * to sleep again. */
bool
world_at_rest(void)
{
	return w.middle && (strcmp(w.a.point, "fsync") == 0 ||
	    strcmp(w.a.point, "sleep") == 0);
}

uint64_t
world_key(bool coarse, uint64_t *killed)
{
	struct situation s;
	struct stat st;

	memset(&s, 0, sizeof s);
	s.path = w.path;
	s.wal = w.wal;
	s.shm = w.shm;
	if (w.images > 0) {
		s.newest = w.image[w.images - 1].hash;
		s.pages = w.image[w.images - 1].pages;
	}
	s.open = w.open;
	s.reading = w.reading;
	s.read_mark = w.read_mark;
	s.txid = w.txid;
	s.commit = w.commit;
	s.coarse = coarse;
	s.killed = !w.middle && !w.a.inited;
	s.excused = w.excused;
	s.middle = w.middle;
	s.op = w.op;
	s.a = &w.a;
	s.as_saved = w.a.saved_txid != 0 && stat(w.path, &st) == 0 &&
	    st.st_mtim.tv_sec == w.saved_db.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == w.saved_db.st_mtim.tv_nsec;
	return state_key(&s, killed);
}
