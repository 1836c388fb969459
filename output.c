/* SPDX-License-Identifier: ISC */
/*
 * A database file in the making.
 *
 * All goes to OUT.tmp, in pieces of up to WRITE_SIZE.  A thread writes one
 * while the next is being filled, and asks the system to begin with the disk at
 * once, so that little is left to wait for at the end.  Without -force an
 * existing database is refused, and so is a -wal or -journal without its
 * database, both before the work and at its end.
 *
 * Publication, over an existing database (-force):
 *	1. OUT.tmp is complete and synced
 *	2. rename OUT-wal, OUT-shm, OUT-journal to NAME.replaced; sync directory
 *	3. rename OUT.tmp to OUT; sync directory
 *	4. remove NAME.replaced
 * A crash before 2 leaves the old database as it was.  Between 2 and 3 the old
 * one is OUT with its NAME.replaced (rename them back), and the new one is
 * OUT.tmp, whole; restoring again finishes the work.  After 3 the new one is
 * in place and the asides are rubbish that the next restore removes.  At no
 * moment does a sidecar of the old database lie beside the new one: SQLite
 * would play its frames into it.  -shm goes with them, since a process that
 * still has the old database open would share it with those of the new one.
 * A failure (not a crash) in 2 or 3 moves the sidecars back.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

#define SQLITE_LOCKS 0x40000000	/* PENDING, RESERVED, SHARED */
#define SQLITE_LOCKS_SIZE 512
#define WRITE_SIZE (512 * 1024)
#define STACK_SIZE (256 * 1024)

static const char *const sidecars[] = { "-wal", "-journal", "-shm" };
#define SIDECARS (sizeof(sidecars) / sizeof(sidecars[0]))
#define SIDECARS_WITH_CONTENT 2	/* the first ones: not -shm */

static char *
sidecar(const char *out, size_t i)
{
	return xasprintf("%s%s", out, sidecars[i]);
}

static int
check_sidecars(const char *out, size_t n, struct err *e)
{
	char *path;
	size_t i;
	int there;

	for (i = 0; i < n; i++) {
		path = sidecar(out, i);
		there = disk_exists(path, e);
		if (there == 1) {
			err_set(e, ERR_USAGE, "cannot restore, SQLite sidecar "
			    "path already exists: %s. Use -force to overwrite",
			    path);
			err_hint(e, "it holds data of an earlier database; "
			    "move it away, or discard it with -force");
		}
		free(path);
		if (there != 0)
			return -1;
	}
	return 0;
}

int
output_check(const char *path, bool force, struct err *e)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno != ENOENT)
			return err_sys(e, path, "stat");
		return force ? 0 :
		    check_sidecars(path, SIDECARS_WITH_CONTENT, e);
	}
	if (S_ISDIR(st.st_mode))
		return err_set(e, ERR_USAGE, "cannot restore, output path is "
		    "a directory: %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_USAGE, "cannot restore, output path is "
		    "not a regular file: %s", path);
	if (force)
		return 0;
	if (st.st_size > 0)
		return err_set(e, ERR_USAGE, "cannot restore, output path "
		    "already exists and is not empty: %s. Use -force to "
		    "overwrite", path);
	return check_sidecars(path, SIDECARS, e);
}

/* Sidecars to their asides, or back; those that are not there do not matter. */
static int
move_sidecars(const char *out, bool back, struct err *e)
{
	char *path, *aside;
	size_t i;
	int rc = 0;

	for (i = 0; i < SIDECARS && rc == 0; i++) {
		path = sidecar(out, i);
		aside = xasprintf("%s.replaced", path);
		rc = disk_exists(back ? aside : path, e);
		if (rc == 1)
			rc = back ? disk_rename(aside, path, e) :
			    disk_rename(path, aside, e);
		free(path);
		free(aside);
	}
	return rc;
}

static void
remove_asides(const char *out)
{
	struct err why;
	char *path;
	size_t i;

	for (i = 0; i < SIDECARS; i++) {
		path = xasprintf("%s%s.replaced", out, sidecars[i]);
		if (disk_unlink(path, &why) != 0)
			log_line(LOG_WARN, "cannot remove what was replaced",
			    "error", why.text, NULL);
		free(path);
	}
}

static int
write_piece(struct output *o)
{
	const struct output_piece *p = &o->out;

	if (disk_pwrite(o->fd, p->buf, p->n, p->off, o->tmp, &o->e) != 0)
		return -1;
	disk_start_writing(o->fd, p->off, (int64_t)p->n);
	return 0;
}

/* The thread: writes pieces until there is no more, or one fails. */
static void *
write_pieces(void *arg)
{
	struct output *o = arg;
	int rc;

	pthread_mutex_lock(&o->mutex);
	for (;;) {
		while (o->out.n == 0 && !o->ending)
			pthread_cond_wait(&o->cond, &o->mutex);
		if (o->out.n == 0)
			break;
		pthread_mutex_unlock(&o->mutex);
		rc = write_piece(o);
		pthread_mutex_lock(&o->mutex);
		o->rc |= rc;
		o->out.n = 0;
		pthread_cond_signal(&o->cond);
	}
	pthread_mutex_unlock(&o->mutex);
	return NULL;
}

static void
start_thread(struct output *o)
{
	pthread_attr_t a;

	pthread_mutex_init(&o->mutex, NULL);
	pthread_cond_init(&o->cond, NULL);
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, STACK_SIZE);
	o->threaded = pthread_create(&o->thread, &a, write_pieces, o) == 0;
	pthread_attr_destroy(&a);
}

void
output_init(struct output *o, const char *path, bool force, int fd)
{
	memset(o, 0, sizeof(*o));
	o->path = path;
	o->force = force;
	o->fd = path != NULL ? -1 : fd;
	o->tmp = path != NULL ? xasprintf("%s.tmp", path) :
	    xstrdup("temporary file");
	o->fill.buf = xmalloc(WRITE_SIZE);
	o->out.buf = xmalloc(WRITE_SIZE);
	start_thread(o);
}

/* Waits for the piece that is being written; 0, or what it met. */
static int
settle(struct output *o, struct err *e)
{
	int rc;

	pthread_mutex_lock(&o->mutex);
	while (o->out.n != 0)
		pthread_cond_wait(&o->cond, &o->mutex);
	if ((rc = o->rc) != 0)
		*e = o->e;
	pthread_mutex_unlock(&o->mutex);
	return rc;
}

/* The piece that was filled is to be written. */
static int
hand_over(struct output *o, struct err *e)
{
	struct output_piece full = o->fill;

	if (settle(o, e) != 0)
		return -1;
	pthread_mutex_lock(&o->mutex);
	o->fill = o->out;
	o->out = full;
	if (!o->threaded) {
		o->rc = write_piece(o);
		o->out.n = 0;
	}
	pthread_cond_signal(&o->cond);
	pthread_mutex_unlock(&o->mutex);
	return 0;
}

int
output_begin(struct output *o, const struct disk_owner *own, struct err *e)
{
	struct err ignored;
	char *dir;
	int rc;

	(void)settle(o, &ignored);	/* of what is dropped */
	o->fill.n = 0;
	o->rc = 0;
	if (o->fd < 0) {
		dir = path_dir(o->path);
		rc = disk_mkdirs(dir, own, e);
		free(dir);
		if (rc != 0)
			return -1;
		o->fd = disk_create(o->tmp, own, e);
		return o->fd < 0 ? -1 : 0;
	}
	return disk_truncate(o->fd, 0, o->tmp, e);
}

int
output_write(struct output *o, const void *p, size_t n, int64_t off,
    struct err *e)
{
	struct output_piece *f = &o->fill;

	if ((off != f->off + (int64_t)f->n || f->n + n > WRITE_SIZE) &&
	    f->n != 0 && hand_over(o, e) != 0)
		return -1;
	if (f->n == 0)
		f->off = off;
	memcpy(f->buf + f->n, p, n);
	f->n += n;
	return 0;
}

int
output_finish(struct output *o, int64_t size, struct err *e)
{
	if ((o->fill.n != 0 && hand_over(o, e) != 0) || settle(o, e) != 0 ||
	    disk_truncate(o->fd, size, o->tmp, e) != 0)
		return -1;
	return o->path == NULL ? 0 : disk_sync(o->fd, o->tmp, e);
}

void
output_clear_sidecars(const struct output *o)
{
	struct err ignored;
	char *s;
	size_t i;

	for (i = 0; i < SIDECARS; i++) {
		s = sidecar(o->tmp, i);
		disk_unlink(s, &ignored);
		free(s);
	}
}

/* Another restore to the same output may have taken the name of ours. */
static int
check_tmp(const struct output *o, struct err *e)
{
	struct stat ours, there;

	if (fstat(o->fd, &ours) != 0 || lstat(o->tmp, &there) != 0)
		return err_sys(e, o->tmp, "stat");
	if (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino)
		return err_set(e, ERR_LOCKED, "%s: taken over by another "
		    "restore", o->tmp);
	return 0;
}

/*
 * Keeps everybody out of the database that is about to be replaced: SQLite's
 * lock bytes, exclusively.  *fd is to be closed after the rename; -1 where
 * there is nothing to lock, or no locks.
 */
static int
hold_database(const char *path, int *fd, struct err *e)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
	    .l_start = SQLITE_LOCKS, .l_len = SQLITE_LOCKS_SIZE };

	*fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0 || fcntl(*fd, F_SETLK, &l) == 0)
		return 0;
	if (errno != EACCES && errno != EAGAIN)
		return 0;
	close(*fd);
	*fd = -1;
	err_set(e, ERR_LOCKED, "%s: the database is in use by another process",
	    path);
	err_hint(e, "stop the application first");
	return -1;
}

/* Without -force: only where nothing has taken the name meanwhile. */
static int
put_in_place(const struct output *o, struct err *e)
{
	struct stat st;

	if (o->force || (stat(o->path, &st) == 0 && st.st_size == 0))
		return disk_rename(o->tmp, o->path, e);
	if (disk_link(o->tmp, o->path, e) == 0)
		return disk_unlink(o->tmp, e);
	if (e->code == EEXIST)
		return output_check(o->path, false, e) != 0 ? -1 :
		    err_set(e, ERR_USAGE, "%s: exists now", o->path);
	return disk_rename(o->tmp, o->path, e);		/* no links there */
}

/* The temporary gets the name; then the old one's sidecars are rubbish. */
static int
replace(struct output *o, const char *dir, struct err *e)
{
	struct err ignored;
	int held = -1;

	if (o->force && hold_database(o->path, &held, e) != 0)
		return -1;
	if (o->force && (move_sidecars(o->path, false, e) != 0 ||
	    disk_sync_dir(dir, e) != 0))
		goto back;
	if (put_in_place(o, e) != 0)
		goto back;
	free(o->tmp);
	o->tmp = NULL;
	if (held >= 0)
		close(held);
	if (disk_sync_dir(dir, e) != 0) {
		if (o->force)
			err_hint(e, "the new database is in place; what "
			    "belonged to the old one is %s-*.replaced",
			    o->path);
		return -1;
	}
	if (o->force)
		remove_asides(o->path);
	return disk_close(&o->fd, o->path, e);
back:
	if (held >= 0)
		close(held);
	if (o->force && move_sidecars(o->path, true, &ignored) != 0)
		err_hint(e, "rename %s-wal.replaced back to %s-wal: it holds "
		    "commits of that database", o->path, o->path);
	return -1;
}

int
output_publish(struct output *o, struct err *e)
{
	char *dir;
	int rc;

	if (o->path == NULL)
		return 0;
	if (output_check(o->path, o->force, e) != 0 || check_tmp(o, e) != 0)
		return -1;
	dir = path_dir(o->path);
	rc = replace(o, dir, e);
	free(dir);
	return rc;
}

static void
stop_thread(struct output *o)
{
	pthread_mutex_lock(&o->mutex);
	o->ending = true;
	pthread_cond_signal(&o->cond);
	pthread_mutex_unlock(&o->mutex);
	if (o->threaded)
		pthread_join(o->thread, NULL);
	pthread_cond_destroy(&o->cond);
	pthread_mutex_destroy(&o->mutex);
}

void
output_end(struct output *o)
{
	struct err ignored;

	stop_thread(o);
	if (o->path != NULL && o->fd >= 0) {
		if (o->tmp != NULL && check_tmp(o, &ignored) == 0) {
			disk_unlink(o->tmp, &ignored);
			output_clear_sidecars(o);
		}
		disk_close(&o->fd, o->path, &ignored);
	}
	free(o->tmp);
	free(o->fill.buf);
	free(o->out.buf);
	o->tmp = NULL;
	o->fill.buf = o->out.buf = NULL;
}
