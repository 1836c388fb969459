/* SPDX-License-Identifier: ISC */
/*
 * Replicas of Litestream 0.3.
 *
 *	ROOT/generations/GENERATION/snapshots/INDEX.snapshot.lz4
 *	ROOT/generations/GENERATION/wal/INDEX_OFFSET.wal.lz4
 *
 * GENERATION is 16 lower-case hex digits, INDEX 8, OFFSET 8 to 16; other names
 * are ignored.  Each file is an LZ4 frame (unlz4.h).  A snapshot is the
 * database file when WAL number INDEX began; the pieces of a WAL are its bytes
 * from OFFSET on, the first one with the header.  A state is a snapshot, then
 * each WAL from its index on, played into it by SQLite one after the other;
 * frames that the snapshot already has do no harm.  Times are those of the
 * files.
 *
 * Valid if and only if: the frames are whole; WALs follow each other without a
 * hole, and their pieces; each WAL is one chain of salts and checksums up to
 * its last byte, and SQLite takes all of it.  What was lost at the end cannot
 * be told.
 *
 * Between these files and those of later versions the newer snapshot decides
 * where a time is given (where the later ones have none, the newer point), else
 * the newest file.
 */
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be.h"
#include "db.h"
#include "disk.h"
#include "unlz4.h"
#include "v3.h"
#include "wal.h"

#define GENERATION_DIGITS 16
#define INDEX_DIGITS 8
#define NS_PER_MS 1000000
#define NS_PER_S INT64_C(1000000000)
#define DB_HEADER_SIZE 100
#define WAL_SALTS 16		/* where they are in its header */

struct v3_file {
	uint32_t index;
	uint64_t offset;
	int offset_digits;	/* 0: a snapshot */
	int64_t time_ns;
};

struct files {
	struct v3_file *f;
	size_t n, cap;
};

/* What is looked for, and the best of it so far. */
struct search {
	int64_t until_ns;
	int64_t newest_ns;	/* of all files, INT64_MIN: there are none */
	bool has_snapshot;	/* of whatever time */
};

/* Lower-case hex digits at s; how many, at most max. */
static int
parse_hex(const char *s, int max, uint64_t *v)
{
	static const char digits[] = "0123456789abcdef";
	const char *d;
	int n;

	*v = 0;
	for (n = 0; n < max && s[n] != '\0' &&
	    (d = strchr(digits, s[n])) != NULL; n++)
		*v = *v << 4 | (uint64_t)(d - digits);
	return n;
}

static bool
parse_name(const char *s, bool wal, struct v3_file *f)
{
	uint64_t v;

	memset(f, 0, sizeof(*f));
	if (parse_hex(s, INDEX_DIGITS, &v) != INDEX_DIGITS)
		return false;
	f->index = (uint32_t)v;
	s += INDEX_DIGITS;
	if (!wal)
		return strcmp(s, ".snapshot.lz4") == 0;
	if (*s++ != '_')
		return false;
	f->offset_digits = parse_hex(s, 16, &f->offset);
	return f->offset_digits >= 8 &&
	    strcmp(s + f->offset_digits, ".wal.lz4") == 0;
}

static char *
file_path(const char *dir, const struct v3_file *f)
{
	if (f->offset_digits == 0)
		return xasprintf("%s/snapshots/%08" PRIx32 ".snapshot.lz4",
		    dir, f->index);
	return xasprintf("%s/wal/%08" PRIx32 "_%0*" PRIx64 ".wal.lz4", dir,
	    f->index, f->offset_digits, f->offset);
}

/* Opens a directory; *d is NULL if there is none. */
static int
open_dir(const char *path, DIR **d, struct err *e)
{
	*d = opendir(path);
	if (*d == NULL && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, path, "open");
	return 0;
}

/* The next entry of a directory, if there is one; NULL at the end, or with
 * *rc -1. */
static struct dirent *
next_entry(DIR *d, const char *path, int *rc, struct err *e)
{
	struct dirent *entry = NULL;

	errno = 0;
	if (d != NULL && (entry = readdir(d)) == NULL && errno != 0)
		*rc = err_sys(e, path, "read");
	return entry;
}

/* The time of a file, as far as 64 bits hold it. */
static int64_t
time_ns(const struct stat *st)
{
	int64_t s = st->st_mtim.tv_sec, max = INT64_MAX / NS_PER_S - 1;

	if (s > max || s < -max)
		return s > max ? INT64_MAX : -INT64_MAX;
	return s * NS_PER_S + st->st_mtim.tv_nsec;
}

/* Adds a file, unless it has gone since it was listed. */
static int
add_file(const char *dir, struct v3_file *f, struct files *l, struct err *e)
{
	char *path = file_path(dir, f);
	struct stat st;
	int rc = 0;

	if (stat(path, &st) == 0) {
		f->time_ns = time_ns(&st);
		l->f = xgrow(l->f, l->n, &l->cap, sizeof(*l->f));
		l->f[l->n++] = *f;
	} else if (errno != ENOENT)
		rc = err_sys(e, path, "stat");
	free(path);
	return rc;
}

/* Adds what the directory holds of one kind. */
static int
list_files(const char *dir, bool wal, struct files *l, struct err *e)
{
	char *sub = xasprintf("%s/%s", dir, wal ? "wal" : "snapshots");
	struct dirent *d;
	struct v3_file f;
	DIR *dp;
	int rc;

	rc = open_dir(sub, &dp, e);
	while (rc == 0 && (d = next_entry(dp, sub, &rc, e)) != NULL)
		if (parse_name(d->d_name, wal, &f))
			rc = add_file(dir, &f, l, e);
	if (dp != NULL)
		closedir(dp);
	free(sub);
	return rc;
}

/* The newest snapshot of the generation that is in time, if it is newer than
 * that of c: then c is this generation. */
static int
look_at(const char *dir, struct search *s, struct v3_choice *c, struct err *e)
{
	struct files l = { 0 };
	size_t i, snapshots;
	int rc;

	rc = list_files(dir, false, &l, e);
	snapshots = l.n;
	if (rc == 0)
		rc = list_files(dir, true, &l, e);
	for (i = 0; rc == 0 && i < l.n; i++) {
		if (l.f[i].time_ns > s->newest_ns)
			s->newest_ns = l.f[i].time_ns;
		if (i >= snapshots)
			continue;
		s->has_snapshot = true;
		if (l.f[i].time_ns > s->until_ns ||
		    (c->n > 0 && l.f[i].time_ns <= c->file[0].time_ns))
			continue;
		v3_free(c);
		c->dir = xstrdup(dir);
		c->file = xmalloc(sizeof(*c->file));
		c->file[0] = l.f[i];
		c->n = 1;
	}
	free(l.f);
	return rc;
}

static int
look_everywhere(const char *root, struct search *s, struct v3_choice *c,
    struct err *e)
{
	char *top = xasprintf("%s/generations", root), *dir;
	struct dirent *d;
	uint64_t v;
	DIR *dp;
	int rc;

	rc = open_dir(top, &dp, e);
	while (rc == 0 && (d = next_entry(dp, top, &rc, e)) != NULL) {
		if (strlen(d->d_name) != GENERATION_DIGITS || parse_hex(
		    d->d_name, GENERATION_DIGITS, &v) != GENERATION_DIGITS)
			continue;
		dir = xasprintf("%s/%s", top, d->d_name);
		rc = look_at(dir, s, c, e);
		free(dir);
	}
	if (dp != NULL)
		closedir(dp);
	free(top);
	return rc;
}

static int
by_place(const void *pa, const void *pb)
{
	const struct v3_file *a = pa, *b = pb;

	if (a->index != b->index)
		return a->index < b->index ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* The WAL behind the snapshot that is in time. */
static int
add_wal(struct v3_choice *c, int64_t until_ns, struct err *e)
{
	struct v3_file snapshot = c->file[0];
	struct files l = { .f = c->file, .n = 1, .cap = 1 };
	int64_t newest = snapshot.time_ns;
	size_t i, n = 1;
	int rc;

	rc = list_files(c->dir, true, &l, e);
	for (i = 1; i < l.n; i++) {
		if (l.f[i].index < snapshot.index ||
		    l.f[i].time_ns > until_ns)
			continue;
		if (l.f[i].time_ns > newest)
			newest = l.f[i].time_ns;
		l.f[n++] = l.f[i];
	}
	qsort(l.f + 1, n - 1, sizeof(*l.f), by_place);
	c->file = l.f;
	c->n = n;
	c->time_ms = newest / NS_PER_MS;
	return rc;
}

static int64_t
time_of(const struct store_file *f)
{
	return f->bad ? f->mtime_ms : f->h.timestamp_ms;
}

/* Whether the files in l have a later state until then than c. */
static bool
is_older(const struct v3_choice *c, const struct search *s,
    const struct store_list *l, bool has_time, int64_t until_ms)
{
	int64_t newest = INT64_MIN, snapshot = INT64_MIN, t;
	bool snapshots = false;
	size_t i;

	for (i = 0; i < l->n; i++) {
		t = time_of(&l->file[i]);
		if (l->file[i].level == STORE_SNAPSHOT)
			snapshots = true;
		if (has_time && t > until_ms)
			continue;
		if (t > newest)
			newest = t;
		if (l->file[i].level == STORE_SNAPSHOT && t > snapshot)
			snapshot = t;
	}
	if (!has_time)
		return s->newest_ns / NS_PER_MS <= newest;
	if (!snapshots)
		return c->time_ms <= newest;
	return c->file[0].time_ns / NS_PER_MS <= snapshot;
}

int
v3_choose(const char *root, const struct store_list *l, bool has_time,
    int64_t time_ms, struct v3_choice *c, struct err *e)
{
	struct search s = { .until_ns = INT64_MAX, .newest_ns = INT64_MIN };

	memset(c, 0, sizeof(*c));
	if (has_time && time_ms < INT64_MAX / NS_PER_MS &&
	    time_ms > -INT64_MAX / NS_PER_MS)
		s.until_ns = time_ms * NS_PER_MS;
	if (look_everywhere(root, &s, c, e) != 0 ||
	    (c->n > 0 && add_wal(c, s.until_ns, e) != 0)) {
		v3_free(c);
		return -1;
	}
	if (c->n == 0 && (l->n > 0 || s.newest_ns == INT64_MIN))
		return 0;
	if (c->n == 0)
		return s.has_snapshot ? err_set(e, ERR_ABSENT, "timestamp does "
		    "not exist: no snapshot is that old") : err_set(e,
		    ERR_DAMAGED, "%s/generations: no snapshots available",
		    root);
	if (l->n > 0 && is_older(c, &s, l, has_time, time_ms)) {
		v3_free(c);
		return 0;
	}
	if (l->n > 0)
		log_line(LOG_WARN, "files of Litestream 0.3 are newer than "
		    "those of later versions: restoring them", "path", c->dir,
		    NULL);
	return 1;
}

void
v3_free(struct v3_choice *c)
{
	free(c->dir);
	free(c->file);
	memset(c, 0, sizeof(*c));
}

static int
open_file(const char *path, struct unlz4 **u, struct err *e)
{
	int fd;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, path, "open");
	if (disk_check_file(fd, path, e) == 0 &&
	    unlz4_open(u, fd, path, e) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
write_snapshot(const struct v3_choice *c, struct output *o, struct err *e)
{
	char *path = file_path(c->dir, &c->file[0]);
	struct disk_owner own;
	struct unlz4 *u = NULL;
	const uint8_t *p;
	int64_t size = 0;
	size_t n;
	int fd, rc = -1;

	fd = open_file(path, &u, e);
	if (fd < 0 || disk_owner_of(path, &own, e) != 0 ||
	    output_begin(o, &own, e) != 0)
		goto out;
	while ((rc = unlz4_next(u, &p, &n, e)) == 1) {
		if (output_write(o, p, n, size, e) != 0) {
			rc = -1;
			goto out;
		}
		size += (int64_t)n;
	}
	if (rc == 0 && size < DB_HEADER_SIZE)
		rc = err_set(e, ERR_DAMAGED, "%s: not a database", path);
	if (rc == 0)
		rc = output_finish(o, size, e);
out:
	unlz4_close(u);
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

/* Appends a piece to the WAL at fd, which *size bytes long. */
static int
append_piece(const struct v3_choice *c, size_t i, int fd, const char *wal,
    uint64_t *size, struct err *e)
{
	const struct v3_file *f = &c->file[i];
	char *path = file_path(c->dir, f);
	struct unlz4 *u = NULL;
	const uint8_t *p;
	size_t n;
	int in, rc = -1;

	if (f->offset != *size) {
		err_set(e, ERR_DAMAGED, "%s: missing WAL segment: expected "
		    "%" PRIx32 "/%" PRIx64 ", got %" PRIx32 "/%" PRIx64, path,
		    f->index, *size, f->index, f->offset);
		goto out;
	}
	if ((in = open_file(path, &u, e)) < 0)
		goto out;
	while ((rc = unlz4_next(u, &p, &n, e)) == 1) {
		if (disk_write(fd, p, n, wal, e) != 0) {
			rc = -1;
			break;
		}
		*size += n;
	}
	unlz4_close(u);
	close(in);
out:
	free(path);
	return rc;
}

/* Whether the WAL is one chain to its last byte; counts its frames. */
static int
check_wal(int fd, const char *path, const char *name, uint64_t size,
    uint32_t *frames, struct err *e)
{
	uint8_t h[WAL_HEADER_SIZE];
	struct wal_frame f;
	struct wal_pos end;
	struct wal *w;
	int rc;

	*frames = 0;
	if (size < sizeof(h) || pread(fd, h, sizeof(h), 0) != sizeof(h) ||
	    !ltx_page_size_ok(be32(h + 8)))
		return err_set(e, ERR_DAMAGED, "%s: invalid WAL header", name);
	w = wal_new(fd, path, be32(h + 8));
	rc = wal_seek(w, be32(h + WAL_SALTS), be32(h + WAL_SALTS + 4), NULL,
	    e);
	if (rc == 1)
		while ((rc = wal_next(w, &f, e)) == 1)
			;
	if (rc == 0) {
		wal_tell(w, &end);
		*frames = end.frames;
		if (wal_size(*frames, be32(h + 8)) != size)
			rc = err_set(e, ERR_DAMAGED, "%s: invalid WAL frame "
			    "%" PRIu32, name, *frames + 1);
	}
	wal_free(w);
	return rc;
}

/* The pieces i to end - 1 are one WAL: written beside the database, then played
 * into it. */
static int
apply_wal(const struct v3_choice *c, size_t i, size_t end,
    const struct output *o, struct err *e)
{
	char *wal = xasprintf("%s-wal", o->tmp);
	char *name = file_path(c->dir, &c->file[i]);
	struct disk_owner own;
	uint32_t frames;
	uint64_t size = 0;
	int fd, rc = -1;

	disk_owner_private(&own);
	if ((fd = disk_create(wal, &own, e)) < 0)
		goto out;
	for (rc = 0; rc == 0 && i < end; i++)
		rc = append_piece(c, i, fd, wal, &size, e);
	if (rc == 0)
		rc = check_wal(fd, wal, name, size, &frames, e);
	close(fd);
	if (rc == 0)
		rc = db_apply_wal(o->tmp, frames, e);
out:
	free(name);
	free(wal);
	return rc;
}

int
v3_restore(const struct v3_choice *c, struct output *o, struct err *e)
{
	uint32_t index = c->file[0].index;
	size_t i, end;
	char *path;

	if (write_snapshot(c, o, e) != 0)
		return -1;
	output_clear_sidecars(o);
	for (i = 1; i < c->n; i = end, index++) {
		if (c->file[i].index != index) {
			path = file_path(c->dir, &c->file[i]);
			err_set(e, ERR_DAMAGED, "%s: missing WAL index: "
			    "expected %" PRIx32 "/0, got %" PRIx32 "/%" PRIx64,
			    path, index, c->file[i].index, c->file[i].offset);
			free(path);
			return -1;
		}
		for (end = i; end < c->n && c->file[end].index == index;)
			end++;
		if (apply_wal(c, i, end, o, e) != 0)
			return -1;
	}
	return disk_sync(o->fd, o->tmp, e);
}
