/* SPDX-License-Identifier: ISC */
/*
 * Status.
 *
 * Whether the replicator runs says its lock, what it has published its status
 * file, what is committed the wal-index, or, if nobody has the database open,
 * the WAL itself, as SQLite would recover it.  Both positions are of the form
 * (salts, frames), and a generation of the WAL is read in order: behind is
 * whoever has not got to the last frame.  With nothing in the WAL a replicator
 * that runs has seen everything (it keeps others from dropping what it has
 * not); one that does not has if the database file is what it was when that had
 * everything, and so had the replica.
 *
 * A commit takes some milliseconds to the replica, so what is found missing is
 * looked for again for a moment before it is called that.
 *
 * The -shm is opened here, which POSIX locks forbid to a process that has the
 * database open: this is never to be called in one.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be.h"
#include "status.h"
#include "store.h"
#include "wal.h"

#define LOOK_MS 20		/* between looks at what is missing */
#define INDEX_LOOKS 20
#define LINKS_MAX 40
#define PATH_SIZE 4096
/* Lock bytes of -shm. */
#define LOCK_READ 123		/* one for each read mark */
#define LOCK_OPEN 128		/* held by everybody who has it open */

static const char *const words[] = {
	[STATUS_OK] = "ok", [STATUS_STOPPED] = "stopped",
	[STATUS_STARTING] = "starting", [STATUS_BEHIND] = "behind",
	[STATUS_UNKNOWN] = "unknown", [STATUS_AWAY] = "away",
	[STATUS_ERROR] = "error", [STATUS_NO_DATABASE] = "no database",
	[STATUS_NOT_INITIALIZED] = "not initialized",
};

/* The committed end of a WAL. */
struct end {
	bool known;
	uint32_t page_size, salt1, salt2;
	uint32_t frames;	/* 0: there is nothing in it */
};

const char *
status_name(enum status_word w)
{
	return words[w];
}

/* The WAL */

/* The file that a link leads to, malloc'd: its WAL lies there. */
static char *
resolve(const char *path)
{
	char *at = xstrdup(path), *next, *dir, to[PATH_SIZE];
	ssize_t k;
	int i;

	for (i = 0; i < LINKS_MAX; i++) {
		k = readlink(at, to, sizeof to - 1);
		if (k <= 0)
			break;
		to[k] = '\0';
		dir = path_dir(at);
		next = to[0] == '/' ? xstrdup(to) :
		    xasprintf("%s/%s", dir, to);
		free(dir);
		free(at);
		at = next;
	}
	return at;
}

static int
open_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Who has that byte of -shm locked; 0: nobody. */
static long
holder(int shm, int byte)
{
	struct flock fl;

	memset(&fl, 0, sizeof fl);
	fl.l_type = F_WRLCK;
	fl.l_whence = SEEK_SET;
	fl.l_start = byte;
	fl.l_len = 1;
	if (fcntl(shm, F_GETLK, &fl) != 0 || fl.l_type == F_UNLCK)
		return 0;
	return fl.l_pid > 0 ? (long)fl.l_pid : -1;
}

static bool
read_index(int shm, struct wal_index *x)
{
	uint8_t buf[WAL_INDEX_SIZE];
	int i;

	for (i = 0; i < INDEX_LOOKS; i++) {
		if (pread(shm, buf, sizeof buf, 0) == sizeof buf &&
		    wal_index_parse(buf, x))
			return true;
		sleep_ms(1);
	}
	return false;
}

/* As SQLite would recover it: the last commit of the valid frames. */
static void
scan_wal(int wal, const char *path, const uint8_t *h, struct end *t)
{
	struct wal *w = wal_new(wal, path, t->page_size);
	struct wal_frame f;
	struct err ignored;
	uint32_t n = 0;

	t->salt1 = be32(h + 16);
	t->salt2 = be32(h + 20);
	if (wal_seek(w, t->salt1, t->salt2, NULL, &ignored) == 1)
		while (wal_next(w, &f, &ignored) == 1) {
			n++;
			if (f.commit != 0)
				t->frames = n;
		}
	t->known = true;
	wal_free(w);
}

/* Where committed frames end. */
static void
find_end(int wal, const char *path, int shm, struct end *t)
{
	uint8_t h[WAL_HEADER_SIZE];
	struct wal_index x;
	uint32_t size;

	memset(t, 0, sizeof *t);
	if (wal < 0 || pread(wal, h, sizeof h, 0) != sizeof h) {
		t->known = true;	/* none, or empty */
		return;
	}
	size = be32(h + 8);
	if (size < 512 || size > 65536 || (size & (size - 1)) != 0)
		return;
	t->page_size = size;
	if (shm < 0 || holder(shm, LOCK_OPEN) == 0) {
		scan_wal(wal, path, h, t);
		return;
	}
	if (!read_index(shm, &x) || (x.mx_frame > 0 && x.page_size != size))
		return;
	t->salt1 = x.salt1;
	t->salt2 = x.salt2;
	t->frames = x.mx_frame;
	t->known = true;
}

/* Commits in the frames after from up to the end. */
static int64_t
count_commits(int wal, const struct end *t, uint32_t from)
{
	uint8_t h[WAL_FRAME_HEADER_SIZE];
	int64_t n = 0;
	uint32_t i;

	for (i = from; i < t->frames; i++) {
		if (pread(wal, h, sizeof h, (off_t)wal_size(i,
		    t->page_size)) != sizeof h)
			break;
		n += be32(h + 4) != 0;
	}
	return n > 0 ? n : 1;
}

static bool
same_salts(const struct wal_pos *p, const struct end *t)
{
	return p->salt1 == t->salt1 && p->salt2 == t->salt2;
}

static bool
file_is(const char *db, const struct disk_stat *was)
{
	struct disk_stat now;
	struct err ignored;

	return disk_stat(db, &now, &ignored) == 0 &&
	    disk_stat_equal(&now, was);
}

/* What lies between what is published and the end. */
static void
measure(struct status *s, const char *db, int wal, const struct end *t)
{
	const struct wal_pos *p = &s->f.wal;

	s->lag_commits = -1;
	s->lag_more = false;
	if (!t->known)
		return;
	if (t->frames == 0) {
		if (s->running ? s->f.known != 0 : s->f.complete &&
		    file_is(db, &s->f.db))
			s->lag_commits = 0;
	} else if (s->f.known && same_salts(p, t))
		s->lag_commits = p->frames >= t->frames ? 0 :
		    count_commits(wal, t, p->frames);
	else {
		s->lag_commits = count_commits(wal, t, 0);
		s->lag_more = !s->running || !s->f.known;
	}
}

/* The replica */

/* Its newest file, and its newest snapshot. */
static void
sum_up(struct status *s, const struct store_list *l)
{
	const struct store_file *f;
	size_t i;

	for (i = 0; i < l->n; i++) {
		f = &l->file[i];
		s->bytes += f->size;
		if (f->bad)
			continue;
		if (f->max_txid > s->txid) {
			s->txid = f->max_txid;
			s->txid_ms = f->h.timestamp_ms;
		}
		if (f->level == STORE_SNAPSHOT &&
		    f->max_txid > s->snapshot_txid) {
			s->snapshot_txid = f->max_txid;
			s->snapshot_ms = f->h.timestamp_ms;
		}
	}
	s->files = l->n;
}

static void
look_at_replica(struct status *s)
{
	struct store_list l;
	struct stat st;

	if (s->root == NULL)
		return;
	if (s->f.txid != 0 && stat(s->root, &st) != 0) {
		err_sys(&s->why, s->root, "open");
		s->why.kind = ERR_AWAY;
	} else if (store_list(s->root, -1, &l, &s->why) == 0) {
		s->why.kind = ERR_NONE;
		sum_up(s, &l);
		s->verified = receipt_read(s->root, &s->receipt);
		store_list_free(&l);
		if (s->txid < s->f.txid)
			err_set(&s->why, ERR_DAMAGED, "%s: ends at TXID %s, "
			    "but was at %s", s->root, TXID(s->txid),
			    TXID(s->f.txid));
	}
}

/* All of it */

static void
set_lag_time(struct status *s)
{
	int64_t newest = s->f.txid_ms > s->txid_ms ? s->f.txid_ms :
	    s->txid_ms;

	s->lag_ms = -1;
	if (s->lag_commits == 0)
		s->lag_ms = 0;
	else if (newest > 0)
		s->lag_ms = time_wall_ms() - newest;
	if (s->lag_commits != 0 && newest > 0 && s->lag_ms < 0)
		s->lag_ms = 0;		/* the clock was set */
}

static void
judge(struct status *s, int64_t interval_ms)
{
	enum status_word well = s->running ? STATUS_OK : STATUS_STOPPED;

	if (s->f.word == STATE_AWAY && s->running)
		s->word = STATUS_AWAY;
	else if (s->f.word == STATE_ERROR || s->f.word == STATE_AWAY)
		s->word = STATUS_ERROR;
	else if (s->why.kind != ERR_NONE) {
		s->word = s->why.kind == ERR_AWAY ? STATUS_AWAY :
		    STATUS_ERROR;
		return;
	} else if (s->running && (s->f.word == STATE_STARTING ||
	    s->f.word == STATE_WAITING))
		s->word = STATUS_STARTING;
	else if (s->verified && s->receipt.outcome == RECEIPT_DAMAGED) {
		s->word = STATUS_ERROR;
		err_set(&s->why, ERR_DAMAGED, "%s: the last verification "
		    "found it damaged", s->root);
		return;
	} else if (s->running && s->f.levels[0] != '\0') {
		s->word = STATUS_ERROR;
		err_set(&s->why, ERR_SYSTEM, "compaction failed: %s",
		    s->f.levels);
		return;
	} else if (s->lag_commits == 0 || (s->running && s->lag_commits > 0 &&
	    s->lag_ms <= interval_ms))
		s->word = well;
	else
		s->word = s->lag_commits < 0 ? STATUS_UNKNOWN : STATUS_BEHIND;
	if (s->word == STATUS_UNKNOWN && !s->running)
		err_set(&s->why, ERR_BUSY, "no replicator runs, and none has "
		    "seen the database as it is now");
	if (s->word == STATUS_AWAY || s->word == STATUS_ERROR)
		err_set(&s->why, s->word == STATUS_AWAY ? ERR_AWAY :
		    ERR_SYSTEM, "%s", s->f.error);
}

/*
 * Whether the replicator has got past t, which was committed before: frames of
 * a generation are published in order, and all of it before any of the next.
 */
static bool
passed(const struct state_facts *now, const struct state_facts *before,
    const struct end *t)
{
	if (!now->known || !t->known || now->word != STATE_OK)
		return false;
	if (same_salts(&now->wal, t))
		return now->wal.frames >= t->frames;
	return memcmp(&now->wal, &before->wal, sizeof now->wal) != 0;
}

/* Commits that are on their way are given a moment to arrive. */
static void
wait_for(struct status *s, const char *status, const struct end *t,
    int64_t patience_ms)
{
	int64_t until = time_mono_ms() + patience_ms;
	struct state_facts f;
	struct err ignored;

	while (s->running && s->lag_commits != 0 && t->known &&
	    s->f.word == STATE_OK && time_mono_ms() < until) {
		sleep_ms(LOOK_MS);
		if (state_read(status, &f, &ignored) == 1 &&
		    passed(&f, &s->f, t)) {
			s->f = f;
			s->lag_commits = 0;
			s->lag_more = false;
		}
	}
}

static void
look_at_wal(struct status *s, const struct status_args *a, const char *status)
{
	char *real = resolve(a->db), *wal, *shm;
	struct stat st;
	struct end t;
	int wal_fd, shm_fd, i;

	wal = xasprintf("%s-wal", real);
	shm = xasprintf("%s-shm", real);
	wal_fd = open_file(wal);
	shm_fd = open_file(shm);
	if (wal_fd >= 0 && fstat(wal_fd, &st) == 0) {
		s->has_wal = true;
		s->wal_bytes = (uint64_t)st.st_size;
	}
	for (i = 0; shm_fd >= 0 && i < STATUS_MARKS; i++)
		s->reader[i] = holder(shm_fd, LOCK_READ + i);
	find_end(wal_fd, wal, shm_fd, &t);
	measure(s, real, wal_fd, &t);
	wait_for(s, status, &t, a->patience_ms);
	if (shm_fd >= 0)
		close(shm_fd);
	if (wal_fd >= 0)
		close(wal_fd);
	free(shm);
	free(wal);
	free(real);
}

void
status_take(const struct status_args *a, struct status *s)
{
	char *meta = a->meta != NULL ? xstrdup(a->meta) : state_meta(a->db);
	char *path = state_path(meta);
	struct err cannot;
	struct stat st;
	bool is_file, is_there;
	int got, held;
	long pid = 0;

	memset(s, 0, sizeof *s);
	s->lag_commits = s->lag_ms = -1;
	held = state_running(meta, &pid, &cannot);
	got = held < 0 ? -1 : state_read(path, &s->f, &cannot);
	s->running = held == 1;
	s->pid = !s->running ? 0 : pid != 0 ? pid : s->f.pid;
	if (a->root != NULL)
		s->root = xstrdup(a->root);
	else if (s->f.root[0] == '/')
		s->root = xstrdup(s->f.root);
	is_there = stat(a->db, &st) == 0;
	is_file = !is_there || S_ISREG(st.st_mode);
	is_there = is_there && is_file && st.st_size > 0;
	if (is_there)
		look_at_wal(s, a, path);
	look_at_replica(s);
	set_lag_time(s);
	if (!is_file) {
		s->word = STATUS_ERROR;
		err_set(&s->why, ERR_SYSTEM, "%s: not a regular file", a->db);
	} else if (!is_there)
		s->word = STATUS_NO_DATABASE;
	else if (got == 1)
		judge(s, a->interval_ms);
	else if (got < 0) {
		s->word = STATUS_ERROR;
		s->why = cannot;
	} else
		s->word = s->running ? STATUS_STARTING :
		    STATUS_NOT_INITIALIZED;
	free(path);
	free(meta);
}

void
status_free(struct status *s)
{
	free(s->root);
}
