/* SPDX-License-Identifier: ISC */
/*
 * When two situations are taken for the same: what schedule_search.c says, as
 * one number.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../disk.h"
#include "../wal.h"
#include "schedule.h"

#define MAX_DB 1000000
/* The wal-index. */
#define SHM_MARK 100
#define SHM_MARKS 5
#define SHM_LOCKS 120
#define SHM_READERS 3		/* after write, checkpoint, recover */

enum frame {
	F_FILE, F_MX, F_BACKFILL, F_READ, F_POS, F_SAVED, F_HELD,
	FRAMES = F_HELD + SHM_MARKS
};

struct features {
	uint32_t frame[FRAMES], salt[3], size[3], flag[24];
};

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
	uint32_t sorted[FRAMES];
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

static bool
held(int fd, size_t lock)
{
	struct flock l;

	memset(&l, 0, sizeof l);
	l.l_type = F_WRLCK;
	l.l_whence = SEEK_SET;
	l.l_start = SHM_LOCKS + (off_t)lock;
	l.l_len = 1;
	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

/*
 * Locks, and the marks of those that are held, whichever slot they are in: a
 * mark that nobody holds is only a hint.  Whose a lock is need not be asked:
 * the reader's mark is known, and we hold the others.
 */
static uint32_t
read_locks(int fd, const uint8_t *shm, uint32_t mark[SHM_MARKS])
{
	uint32_t locks = 0, v;
	size_t i, k, n = 0;

	for (i = 0; i <= SHM_READERS; i++)
		locks |= (uint32_t)held(fd, i) << i;
	for (i = 1; i < SHM_MARKS; i++) {
		if (!held(fd, SHM_READERS + i))
			continue;
		memcpy(&v, shm + SHM_MARK + 4 * i, sizeof v);
		for (k = n++; k > 0 && mark[k - 1] > v; k--)
			mark[k] = mark[k - 1];
		mark[k] = v;
	}
	return locks;
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

static uint32_t
order(uint32_t a, uint32_t b)
{
	return a < b ? 1 : a > b ? 2 : 0;
}

/* 1; 0 if it is not valid, 2 if it is not there. */
static uint32_t
read_index(int fd, uint8_t *b, struct wal_index *x)
{
	if (fd < 0 || pread(fd, b, WAL_INDEX_SIZE, 0) != WAL_INDEX_SIZE)
		return 2;
	return wal_index_parse(b, x);
}

uint32_t
state_read_mark(const char *shm)
{
	int fd = open(shm, O_RDONLY | O_CLOEXEC);
	uint8_t b[WAL_INDEX_SIZE];
	struct wal_index x;
	uint32_t mark = 0;

	if (read_index(fd, b, &x) == 1 && x.backfill != x.mx_frame)
		mark = x.mx_frame;
	if (fd >= 0)
		close(fd);
	return mark;
}

static void
features_of_index(struct features *f, const struct situation *s,
    uint64_t *salts, size_t *n)
{
	uint8_t b[WAL_INDEX_SIZE];
	struct wal_index x;
	int fd = open(s->shm, O_RDONLY | O_CLOEXEC);

	if ((f->flag[2] = read_index(fd, b, &x)) == 1) {
		f->salt[0] = name_salt(salts, n, x.salt1, x.salt2);
		f->frame[F_MX] = x.mx_frame;
		f->frame[F_BACKFILL] = x.backfill;
		f->flag[4] = x.attempted > x.backfill;
		f->size[1] = order(x.commit, s->pages);
		f->flag[3] = read_locks(fd, b, &f->frame[F_HELD]);
	}
	if (fd >= 0)
		close(fd);
}

static void
features_of_files(struct features *f, const struct situation *s)
{
	struct disk_stat st;
	struct err ignored;
	char *p = NULL;
	size_t n;

	f->flag[1] = 2;
	if (disk_stat(s->wal, &st, &ignored) == 0) {
		f->flag[1] = st.size > 0;
		f->frame[F_FILE] = (uint32_t)(st.size /
		    (SCHEDULE_PAGE + WAL_FRAME_HEADER_SIZE));
	}
	if (disk_read_all(s->path, MAX_DB, &p, &n, &ignored) != 0)
		return;
	f->flag[0] = hash_bytes(0, p, n) == s->newest;
	f->size[0] = order((uint32_t)(n / SCHEDULE_PAGE), s->pages);
	free(p);
}

static void
features_of_app(struct features *f, const struct situation *s)
{
	f->flag[5] = s->open;
	f->flag[6] = !s->reading ? 0 : s->read_mark == 0 ? 1 : 2;
	f->frame[F_READ] = s->reading ? s->read_mark : 0;
}

/* What is saved counts only if it can be of use to a start. */
static void
features_of_saved(struct features *f, const struct situation *s,
    uint64_t *salts, size_t *n)
{
	const struct ours_answer *a = s->a;

	f->size[2] = order(s->commit, s->pages);
	f->flag[7] = a->saved_txid == 0 ? 2 : a->saved_txid == s->txid;
	if (!s->as_saved || !a->settled)
		return;
	f->flag[8] = 1;
	f->flag[9] = a->clean;
	f->salt[2] = name_salt(salts, n, a->saved.salt1, a->saved.salt2);
	f->frame[F_SAVED] = a->saved.frames;
}

static void
features_of_ours(struct features *f, const struct situation *s,
    uint64_t *salts, size_t *n)
{
	const struct ours_answer *a = s->a;

	f->salt[1] = name_salt(salts, n, a->pos.salt1, a->pos.salt2);
	f->frame[F_POS] = a->pos.frames;
	f->flag[10] = s->middle ? 1u + s->op : 0;
	f->flag[11] = s->middle ? (uint32_t)a->passed : 0;
	if (s->middle)
		f->flag[20] = (uint32_t)hash_bytes(0, a->point,
		    strlen(a->point));
	f->flag[12] = a->open;
	f->flag[13] = a->doubt;
	f->flag[14] = a->tail;
	f->flag[15] = a->intact;
	f->flag[16] = a->failing;
	f->flag[17] = a->relieved;
	f->flag[18] = a->audit_next != 0;
}

static uint64_t
key_of(struct features f, bool coarse)
{
	if (coarse) {
		f.frame[F_FILE] = 0;
		f.flag[0] = 0;
		memset(f.size, 0, sizeof f.size);
	}
	rank(f.frame, FRAMES);
	return hash_bytes(0, &f, sizeof f);
}

/* If we died now: only the reader's lock would be left. */
static uint64_t
key_killed(struct features f, const struct situation *s, uint64_t *salts,
    size_t n)
{
	f.flag[3] = s->reading && s->read_mark == 0 ? 1u << SHM_READERS : 0;
	memset(&f.frame[F_HELD], 0, SHM_MARKS * sizeof f.frame[0]);
	if (s->reading)
		f.frame[F_HELD] = s->read_mark;
	f.flag[19] = 1;
	features_of_saved(&f, s, salts, &n);
	return key_of(f, s->coarse);
}

uint64_t
state_key(const struct situation *s, uint64_t *killed)
{
	uint64_t salts[8], again[8];
	struct features f;
	size_t n = 0;

	memset(&f, 0, sizeof f);
	features_of_files(&f, s);
	features_of_index(&f, s, salts, &n);
	features_of_app(&f, s);
	memcpy(again, salts, sizeof salts);
	*killed = key_killed(f, s, again, n);
	if (s->killed)
		return *killed;
	f.flag[19] = s->excused;
	features_of_ours(&f, s, salts, &n);
	features_of_saved(&f, s, salts, &n);
	return key_of(f, s->coarse);
}
