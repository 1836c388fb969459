/* SPDX-License-Identifier: ISC */
/*
 * When two situations are taken for the same: what schedule.c's opening block
 * says, as one number.
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

/* Who holds a lock of the index: 0 nobody, 1 the application, 2 or 3 we. */
static uint32_t
holder(int fd, int lock, pid_t app)
{
	struct flock l;

	memset(&l, 0, sizeof l);
	l.l_type = F_WRLCK;
	l.l_whence = SEEK_SET;
	l.l_start = SHM_LOCKS + lock;
	l.l_len = 1;
	if (fcntl(fd, F_GETLK, &l) != 0 || l.l_type == F_UNLCK)
		return 0;
	return l.l_pid == app ? 1 : l.l_type == F_RDLCK ? 2 : 3;
}

/* Locks, and the marks of those that are held, whichever slot they are in: a
 * mark that nobody holds is only a hint. */
static uint32_t
read_marks(int fd, pid_t app, const uint8_t *shm,
    uint32_t mark[SHM_MARKS])
{
	uint32_t who, v, held = 0;
	size_t i, k, n = 0;

	for (i = 0; i < SHM_READERS; i++)
		held = held << 2 | holder(fd, (int)i, app);
	for (i = 0; i < SHM_MARKS; i++) {
		if ((who = holder(fd, (int)(SHM_READERS + i), app)) == 0)
			continue;
		memcpy(&v, shm + SHM_MARK + 4 * i, sizeof v);
		if (i == 0) {
			held |= who << 8;
			continue;
		}
		for (k = n++; k > 0 && mark[k - 1] > v; k--)
			mark[k] = mark[k - 1];
		mark[k] = v;
		held += who << (10 + 4 * k);
	}
	return held;
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
features_of_index(struct features *f, const struct situation *s,
    uint64_t *salts, size_t *n)
{
	uint8_t b[WAL_INDEX_SIZE];
	struct wal_index x;
	int fd = open(s->shm, O_RDONLY | O_CLOEXEC);

	f->flag[2] = 2;
	if (fd < 0)
		return;
	if (pread(fd, b, sizeof b, 0) == (ssize_t)sizeof b)
		f->flag[2] = wal_index_parse(b, &x);
	if (f->flag[2] == 1) {
		f->salt[0] = name_salt(salts, n, x.salt1, x.salt2);
		f->frame[1] = x.mx_frame;
		f->frame[2] = x.backfill;
		f->frame[3] = x.attempted;
		f->size[1] = x.commit;
		f->flag[3] = read_marks(fd, s->app, b, &f->frame[4]);
	}
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
		f->frame[0] = (uint32_t)(st.size /
		    (SCHEDULE_PAGE + WAL_FRAME_HEADER_SIZE));
	}
	if (disk_read_all(s->path, MAX_DB, &p, &n, &ignored) != 0)
		return;
	f->flag[0] = hash_bytes(0, p, n) == s->newest;
	f->size[0] = (uint32_t)(n / SCHEDULE_PAGE);
	free(p);
}

uint64_t
state_key(const struct situation *s)
{
	const struct ours_answer *a = s->a;
	uint64_t salts[8];
	struct features f;
	size_t n = 0;

	memset(&f, 0, sizeof f);
	features_of_files(&f, s);
	features_of_index(&f, s, salts, &n);
	f.salt[1] = name_salt(salts, &n, a->pos.salt1, a->pos.salt2);
	f.salt[2] = name_salt(salts, &n, a->table.salt1, a->table.salt2);
	f.salt[3] = name_salt(salts, &n, a->saved.salt1, a->saved.salt2);
	f.frame[9] = a->pos.frames;
	f.frame[10] = a->table.frames;
	f.frame[11] = a->saved.frames;
	f.size[2] = a->commit;
	f.size[3] = s->pages;
	f.flag[4] = s->open;
	f.flag[5] = s->reading;
	f.flag[6] = s->middle ? 1u + s->op : 0;
	f.flag[7] = s->middle ? (uint32_t)a->passed : 0;
	f.flag[8] = a->open;
	f.flag[9] = a->doubt;
	f.flag[10] = a->tail;
	f.flag[11] = a->intact;
	f.flag[12] = a->failing;
	f.flag[13] = a->saved_txid == 0 ? 2 : a->saved_txid == a->txid;
	f.flag[14] = a->clean;
	f.flag[15] = a->settled;
	f.flag[16] = s->as_saved;
	f.flag[17] = a->relieved;
	rank(f.frame, sizeof f.frame / sizeof f.frame[0]);
	rank(f.size, 4);
	return hash_bytes(0, &f, sizeof f);
}
