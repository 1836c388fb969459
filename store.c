/* SPDX-License-Identifier: ISC */
/*
 * A replica directory.
 *
 *	ROOT/ltx/LEVEL/MIN-MAX.ltx	LEVEL is 0..9, MIN and MAX are 16 lower-
 *					case hex digits; immutable
 *	ROOT/ltx/LEVEL/MIN-MAX.ltx.tmp	being written; ignored by name
 *	ROOT/.lock, ROOT/.identity	ours; upstream ignores them
 *
 * A file is published by: write NAME.tmp, set its time, fsync, rename, fsync
 * the directory.  A crash before the rename leaves a temporary that the next
 * writer of that name removes; a crash after it leaves the whole file, or none
 * if the directory had not been synced.  The lock on ROOT makes us the only
 * one of our kind who publishes there, so looking for the name before the
 * rename is enough not to replace a file.
 *
 * What a listing holds is proven only as far as the headers go: magic, ranges,
 * and that name and header agree.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "be.h"
#include "store.h"

#define NAME_SIZE 37		/* 16 '-' 16 ".ltx" */
#define COPY_SIZE (256 * 1024)
#define IDENTITY_MAX 16384

static char *
level_dir(const char *root, int level)
{
	return xasprintf("%s/ltx/%d", root, level);
}

/* ROOT/ltx. */
static int
open_top(const char *root, struct err *e)
{
	char *ltx = xasprintf("%s/ltx", root);
	int fd = disk_open_dir(AT_FDCWD, ltx, false, ltx, e);

	free(ltx);
	return fd;
}

/* The same; what is not there is made. */
static int
make_top(const char *root, const struct disk_owner *o, struct err *e)
{
	char *ltx = xasprintf("%s/ltx", root);
	int at, fd = -1;

	if (disk_mkdirs(root, o, e) == 0 &&
	    (at = disk_open_dir(AT_FDCWD, root, true, root, e)) >= 0) {
		fd = disk_make_dir(at, path_base(ltx), o, ltx, e);
		close(at);
	}
	free(ltx);
	return fd;
}

int
store_make(const char *root, const struct disk_owner *o, struct err *e)
{
	int fd = make_top(root, o, e);

	return fd < 0 ? -1 : disk_close(&fd, root, e);
}

int
store_open_level(const char *root, int level, struct err *e)
{
	char *dir = level_dir(root, level);
	int at, fd = -1;

	if ((at = open_top(root, e)) >= 0) {
		fd = disk_open_dir(at, path_base(dir), false, dir, e);
		close(at);
	}
	free(dir);
	return fd;
}

/* The same; it is made where it is not there, but of ROOT/ltx only level 0. */
static int
make_level(const char *root, int level, const struct disk_owner *o,
    struct err *e)
{
	char *dir = level_dir(root, level);
	int at, fd = -1;

	at = open_top(root, e);
	if (at < 0 && e->kind == ERR_ABSENT && level == 0)
		at = make_top(root, o, e);
	if (at >= 0) {
		fd = disk_make_dir(at, path_base(dir), o, dir, e);
		close(at);
	}
	free(dir);
	return fd;
}

char *
store_path(const char *root, const struct store_file *f)
{
	return xasprintf("%s/ltx/%d/%016" PRIx64 "-%016" PRIx64 ".ltx", root,
	    f->level, f->min_txid, f->max_txid);
}

bool
store_is_url(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n > 0 && strncmp(s + n, "://", 3) == 0;
}

char *
store_url_path(const char *url, struct err *e)
{
	const char *rest;
	char *path, *s;

	if (strncasecmp(url, "file:", 5) != 0) {
		if (store_is_url(url))
			err_set(e, ERR_USAGE, "unsupported replica url: %s "
			    "(only file:// replicas)", url);
		else
			err_set(e, ERR_USAGE,
			    "replica url scheme required: %s", url);
		err_hint(e, "give the replica as file:///path/to/directory");
		return NULL;
	}
	rest = url + 5;
	if (strncmp(rest, "//", 2) == 0) {
		rest += 2;
		path = rest[0] == '/' || rest[0] == '\0' || rest[0] == '?' ?
		    xstrdup(rest) : xasprintf("/%s", rest);
	} else
		path = xstrdup(rest);
	path[strcspn(path, "?")] = '\0';
	s = path_abs(path);
	free(path);
	return s;
}

static bool
parse_hex16(const char *s, uint64_t *v)
{
	int i, c;

	*v = 0;
	for (i = 0; i < 16; i++) {
		c = (unsigned char)s[i];
		if (c >= '0' && c <= '9')
			c -= '0';
		else if (c >= 'a' && c <= 'f')
			c -= 'a' - 10;
		else
			return false;
		*v = *v << 4 | (uint64_t)c;
	}
	return true;
}

bool
store_parse_name(const char *name, struct store_file *f)
{
	return strlen(name) == NAME_SIZE && name[16] == '-' &&
	    strcmp(name + 33, ".ltx") == 0 &&
	    parse_hex16(name, &f->min_txid) &&
	    parse_hex16(name + 17, &f->max_txid);
}

bool
store_is_temporary(const char *name)
{
	struct store_file ignored;
	char s[NAME_SIZE + 1];

	if (strlen(name) != NAME_SIZE + 4 ||
	    strcmp(name + NAME_SIZE, ".tmp") != 0)
		return false;
	memcpy(s, name, NAME_SIZE);
	s[NAME_SIZE] = '\0';
	return store_parse_name(s, &ignored);
}

int
store_check_name(const struct store_file *f, const char *path, struct err *e)
{
	if (f->h.min_txid != f->min_txid || f->h.max_txid != f->max_txid)
		return err_set(e, ERR_DAMAGED, "%s: header is of TXIDs "
		    "%016" PRIx64 "-%016" PRIx64 ", not those of the name",
		    path, f->h.min_txid, f->h.max_txid);
	if (f->level == 0 && f->min_txid != f->max_txid)
		return err_set(e, ERR_DAMAGED,
		    "%s: more than one TXID at level 0", path);
	if (f->level == STORE_SNAPSHOT && f->min_txid != 1)
		return err_set(e, ERR_DAMAGED,
		    "%s: a snapshot that does not begin at TXID 1", path);
	return 0;
}

/* A file in an open directory, for reading. */
static int
open_in(int dir, const char *path, struct err *e)
{
	int fd = openat(dir, path_base(path), O_RDONLY | O_NOFOLLOW |
	    O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return disk_not_a_file(errno) ? err_set(e, ERR_DAMAGED,
		    "%s: not a regular file", path) : err_sys(e, path, "open");
	if (disk_check_file(fd, path, e) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
read_header(const char *root, int dir, struct store_file *f, struct err *e)
{
	uint8_t buf[LTX_HEADER_SIZE];
	char *path = store_path(root, f);
	struct stat st;
	ssize_t k;
	int fd, rc = -1;

	fd = open_in(dir, path, e);
	if (fd < 0)
		goto out;
	if (fstat(fd, &st) != 0) {
		err_sys(e, path, "stat");
		goto out;
	}
	f->size = (uint64_t)st.st_size;
	f->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 +
	    st.st_mtim.tv_nsec / 1000000;
	k = disk_pread(fd, buf, sizeof buf, 0, path, e);
	if (k >= 0 && (size_t)k < sizeof buf)
		err_set(e, ERR_DAMAGED, "%s: invalid ltx file: has size %zd "
		    "bytes (minimum %d)", path, k, LTX_HEADER_SIZE);
	else if (k >= 0 && ltx_parse_header(buf, &f->h, path, e) == 0)
		rc = store_check_name(f, path, e);
out:
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

static int
by_name(const void *a, const void *b)
{
	const struct store_file *x = a, *y = b;

	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	if (x->min_txid != y->min_txid)
		return x->min_txid < y->min_txid ? -1 : 1;
	return (x->max_txid > y->max_txid) - (x->max_txid < y->max_txid);
}

static int
list_level(const char *root, int level, struct store_list *l, size_t *cap,
    struct err *e)
{
	char *dir = level_dir(root, level);
	struct store_file f;
	struct dirent *d;
	struct err why;
	DIR *dp;
	int fd, rc = -1;

	if ((fd = store_open_level(root, level, e)) < 0) {
		rc = e->kind == ERR_ABSENT ? 0 : -1;
		goto out;
	}
	if ((dp = fdopendir(fd)) == NULL) {
		err_sys(e, dir, "open");
		close(fd);
		goto out;
	}
	while (errno = 0, (d = readdir(dp)) != NULL) {
		memset(&f, 0, sizeof f);
		f.level = level;
		if (!store_parse_name(d->d_name, &f))
			continue;
		if (read_header(root, fd, &f, &why) != 0) {
			if (why.kind == ERR_ABSENT)
				continue;	/* gone since it was listed */
			f.bad = true;
			f.unread = why.kind != ERR_DAMAGED;
			if (f.unread)
				l->first_unread = why;
			if (l->first_bad.kind == ERR_NONE)
				l->first_bad = why;
		}
		l->file = xgrow(l->file, l->n, cap, sizeof *l->file);
		l->file[l->n++] = f;
	}
	rc = errno != 0 ? err_sys(e, dir, "read") : 0;
	closedir(dp);
out:
	free(dir);
	return rc;
}

int
store_list(const char *root, int level, struct store_list *l, struct err *e)
{
	struct stat st;
	size_t cap = 0;
	int i;

	memset(l, 0, sizeof *l);
	if (stat(root, &st) == 0 && !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return err_sys(e, root, "open");
	}
	for (i = 0; i < STORE_LEVELS; i++)
		if ((level < 0 || level == i) &&
		    list_level(root, i, l, &cap, e) != 0) {
			store_list_free(l);
			return -1;
		}
	if (l->n > 0)
		qsort(l->file, l->n, sizeof *l->file, by_name);
	return 0;
}

void
store_list_free(struct store_list *l)
{
	free(l->file);
	memset(l, 0, sizeof *l);
}

uint64_t
store_max_txid(const struct store_list *l)
{
	uint64_t max = 0;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->file[i].max_txid > max)
			max = l->file[i].max_txid;
	return max;
}

bool
store_contradicts(const struct store_file *a, const struct store_file *b)
{
	return b->min_txid == a->max_txid + 1 && a->h.salt != 0 &&
	    b->h.salt != 0 && b->h.pre_fingerprint != 0 &&
	    (a->h.salt != b->h.salt ||
	    a->h.post_fingerprint != b->h.pre_fingerprint);
}

/* Those of one level. */
static int
set_aside(const char *root, int level, const struct store_file *f, size_t n,
    struct err *e)
{
	char *path, *aside, *dir = level_dir(root, level);
	int at = -1, rc = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (f[i].level != level)
			continue;
		if (at < 0 && (at = store_open_level(root, level, e)) < 0) {
			rc = -1;
			break;
		}
		path = store_path(root, &f[i]);
		aside = xasprintf("%s.damaged", path);
		if (disk_rename_in(at, path_base(path), path_base(aside),
		    aside, e) != 0)
			rc = -1;
		free(aside);
		free(path);
	}
	if (at >= 0) {
		if (disk_sync_in(at, dir, e) != 0)
			rc = -1;
		close(at);
	}
	free(dir);
	return rc;
}

int
store_set_aside(const char *root, const struct store_file *f, size_t n,
    struct err *e)
{
	int level, rc = 0;

	for (level = 0; level < STORE_LEVELS; level++)
		if (set_aside(root, level, f, n, e) != 0)
			rc = -1;
	return rc;
}

int
store_open(const char *root, const struct store_file *f, struct err *e)
{
	char *path = store_path(root, f);
	int at = store_open_level(root, f->level, e), fd = -1;

	if (at >= 0) {
		fd = open_in(at, path, e);
		close(at);
	}
	free(path);
	return fd;
}

int
store_begin(struct store_new *n, const char *root, int level,
    uint64_t min_txid, uint64_t max_txid, const struct disk_owner *o,
    struct err *e)
{
	memset(n, 0, sizeof *n);
	n->fd = -1;
	n->f.level = level;
	n->f.min_txid = min_txid;
	n->f.max_txid = max_txid;
	n->path = store_path(root, &n->f);
	n->tmp = xasprintf("%s.tmp", n->path);
	if ((n->dir = make_level(root, level, o, e)) >= 0)
		n->fd = disk_create_in(n->dir, path_base(n->tmp), o, n->tmp,
		    e);
	return n->fd < 0 ? -1 : 0;
}

/* 1 same bytes, 0 not, -1. */
static int
same_bytes(int a_dir, const char *a, int b_dir, const char *b, struct err *e)
{
	uint8_t *p = xmalloc(2 * COPY_SIZE), *q = p + COPY_SIZE;
	int fa = open_in(a_dir, a, e), fb = -1, rc = -1;
	ssize_t ka, kb;

	if (fa < 0 || (fb = open_in(b_dir, b, e)) < 0)
		goto out;
	do {
		ka = read(fa, p, COPY_SIZE);
		kb = read(fb, q, COPY_SIZE);
	} while (ka > 0 && ka == kb && memcmp(p, q, (size_t)ka) == 0);
	rc = ka == 0 && kb == 0;
out:
	if (fa >= 0)
		close(fa);
	if (fb >= 0)
		close(fb);
	free(p);
	return rc;
}

/* The temporary's name must lead to what was written. */
static int
still_ours(const struct store_new *n, struct err *e)
{
	struct stat ours, there;

	if (fstat(n->fd, &ours) != 0 || lstat(n->tmp, &there) != 0)
		return err_sys(e, n->tmp, "stat");
	if (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino)
		return err_set(e, ERR_LOCKED, "%s: taken over by another "
		    "process", n->tmp);
	return 0;
}

int
store_publish(struct store_new *n, int64_t timestamp_ms, bool *renamed,
    struct err *e)
{
	const char *name = path_base(n->path);
	char *dir = path_dir(n->path);
	int there, same, rc = -1;

	*renamed = false;
	if (disk_set_time(n->fd, timestamp_ms, n->tmp, e) != 0 ||
	    disk_sync(n->fd, n->tmp, e) != 0 || still_ours(n, e) != 0 ||
	    disk_close(&n->fd, n->tmp, e) != 0)
		goto out;
	there = disk_exists_in(n->dir, name, n->path, e);
	if (there < 0)
		goto out;
	if (there == 1) {
		same = same_bytes(n->dir, n->tmp, n->dir, n->path, e);
		if (same < 0)
			goto out;
		if (same == 0) {
			err_set(e, ERR_DAMAGED,
			    "%s: exists with other content", n->path);
			goto out;
		}
	}
	if (disk_rename_in(n->dir, path_base(n->tmp), name, n->path, e) != 0)
		goto out;
	*renamed = n->renamed = true;
	rc = disk_sync_in(n->dir, dir, e);
out:
	free(dir);
	return rc;
}

void
store_end(struct store_new *n)
{
	struct err ignored;

	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	if (n->dir >= 0 && !n->renamed)
		disk_unlink_in(n->dir, path_base(n->tmp), n->tmp, &ignored);
	if (n->dir >= 0)
		close(n->dir);
	n->dir = -1;
	free(n->tmp);
	free(n->path);
	n->tmp = n->path = NULL;
}

static int
copy_bytes(int from, const char *from_path, const struct store_new *n,
    struct err *e)
{
	uint8_t *buf = xmalloc(COPY_SIZE);
	ssize_t k;
	int rc = 0;

	while (rc == 0 && (k = read(from, buf, COPY_SIZE)) != 0)
		if (k < 0)
			rc = err_sys(e, from_path, "read");
		else
			rc = disk_write(n->fd, buf, (size_t)k, n->tmp, e);
	free(buf);
	return rc;
}

static int
copy(const char *root, const struct store_file *from,
    const struct store_file *to, const struct disk_owner *o, struct err *e)
{
	char *path = store_path(root, from);
	struct store_new n;
	bool renamed;
	int fd, rc = -1;

	fd = store_open(root, from, e);
	if (fd >= 0 && store_begin(&n, root, to->level, to->min_txid,
	    to->max_txid, o, e) == 0 && copy_bytes(fd, path, &n, e) == 0)
		rc = store_publish(&n, from->h.timestamp_ms, &renamed, e);
	if (fd >= 0) {
		store_end(&n);
		close(fd);
	}
	free(path);
	return rc;
}

int
store_link(const char *root, const struct store_file *from,
    const struct store_file *to, const struct disk_owner *o, struct err *e)
{
	char *dir = level_dir(root, to->level);
	char *a = store_path(root, from), *b = store_path(root, to);
	int a_dir, b_dir = -1, rc = -1;

	if ((a_dir = store_open_level(root, from->level, e)) < 0 ||
	    (b_dir = make_level(root, to->level, o, e)) < 0)
		goto out;
	if (disk_link_in(a_dir, path_base(a), b_dir, path_base(b), b, e) == 0 ||
	    (e->code == EEXIST && same_bytes(a_dir, a, b_dir, b, e) == 1))
		rc = disk_sync_in(b_dir, dir, e);
	else if (e->code == EEXIST || e->kind == ERR_ABSENT)
		rc = -1;
	else
		rc = copy(root, from, to, o, e);
out:
	if (a_dir >= 0)
		close(a_dir);
	if (b_dir >= 0)
		close(b_dir);
	free(dir);
	free(a);
	free(b);
	return rc;
}

void
store_identity_new(struct store_identity *i, const char *db_path,
    uint32_t page_size)
{
	uint8_t r[16];
	char host[256];
	int k;

	random_bytes(r, sizeof r);
	for (k = 0; k < 16; k++)
		snprintf(i->id + 2 * k, 3, "%02x", r[k]);
	if (gethostname(host, sizeof host) != 0)
		host[0] = '\0';
	host[sizeof host - 1] = '\0';
	i->page_size = page_size;
	i->host = xstrdup(host);
	i->path = xstrdup(db_path);
}

/* The value of "key " at *s up to the newline, which becomes a NUL. */
static char *
value_of(char **s, const char *key)
{
	size_t n = strlen(key);
	char *v, *end;

	if (strncmp(*s, key, n) != 0 || (*s)[n] != ' ')
		return NULL;
	v = *s + n + 1;
	if ((end = strchr(v, '\n')) == NULL)
		return NULL;
	*end = '\0';
	*s = end + 1;
	return v;
}

int
store_identity_read(const char *root, struct store_identity *i,
    struct err *e)
{
	char *path = xasprintf("%s/.identity", root), *buf = NULL, *s;
	const char *id, *size, *host;
	size_t n;
	int rc = 0;

	memset(i, 0, sizeof *i);
	if (disk_read_all(path, IDENTITY_MAX, &buf, &n, e) != 0) {
		rc = e->kind == ERR_ABSENT || e->kind == ERR_DAMAGED ? 0 : -1;
		goto out;
	}
	s = buf;
	if ((id = value_of(&s, "id")) == NULL ||
	    strlen(id) != STORE_ID_SIZE - 1 ||
	    (size = value_of(&s, "page_size")) == NULL ||
	    (host = value_of(&s, "host")) == NULL ||
	    strncmp(s, "path ", 5) != 0 || n == 0 || buf[n - 1] != '\n')
		goto out;
	buf[n - 1] = '\0';
	memcpy(i->id, id, STORE_ID_SIZE);
	i->page_size = (uint32_t)strtoul(size, NULL, 10);
	i->host = xstrdup(host);
	i->path = xstrdup(s + 5);
	rc = 1;
out:
	free(buf);
	free(path);
	return rc;
}

int
store_identity_write(const char *root, const struct store_identity *i,
    const struct disk_owner *o, struct err *e)
{
	char *path = xasprintf("%s/.identity", root);
	char *s = xasprintf("id %s\npage_size %" PRIu32 "\nhost %s\npath %s\n",
	    i->id, i->page_size, i->host, i->path);
	int rc = disk_replace(path, true, s, strlen(s), o, e);

	free(s);
	free(path);
	return rc;
}

void
store_identity_free(struct store_identity *i)
{
	free(i->host);
	free(i->path);
	memset(i, 0, sizeof *i);
}
