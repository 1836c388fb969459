/* SPDX-License-Identifier: ISC */
/*
 * The status file: DIR/.NAME-litestream/status, 1024 bytes of text.
 *
 *	litestream-status 1
 *	key value		one line for each of fields[], in that order
 *	blanks
 *	crc HEX16		CRC-64 of all before, the last line
 *
 * It is a cache of what the replicator knows.  It is overwritten in place by
 * one write, and only when something has changed, so that an idle database
 * costs nothing.  It is never synced: after a crash of the machine it may be an
 * old one, which says less than is true, as the replica is synced before the
 * file says so.  A reader that meets half of a write sees a wrong checksum, and
 * reads again.  Only who holds the lock of the meta directory writes it.
 *
 * To ask for a pass a reader touches the file.  The replicator sees its time
 * change, makes a pass, and writes the moment at which that began (pass_ms)
 * even if nothing else is new.  A touch at the instant of a write can go
 * unseen: it is to be repeated until there is an answer.
 *
 * What is read is believed no further than it can be checked: fixed size,
 * checksum, every line in its place, numbers in their range, no control
 * characters.  A link at that name is not followed, but replaced.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc64.h"
#include "state.h"

#define FIRST "litestream-status 1\n"
#define CRC_LINE 21		/* "crc ", 16 digits, newline */
#define READS 20		/* of a file that is being written */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const words[] = {
	[STATE_STARTING] = "starting", [STATE_OK] = "ok",
	[STATE_WAITING] = "waiting", [STATE_AWAY] = "away",
	[STATE_ERROR] = "error", [STATE_STOPPED] = "stopped",
};

enum kind { WORD, I64, U64, U32, TEXT };

#define AT(field) offsetof(struct state_facts, field)
#define TEXT_AT(field) TEXT, AT(field), \
	sizeof(((struct state_facts *)NULL)->field)

static const struct field {
	const char *key;
	enum kind kind;
	size_t offset, size;
} fields[] = {
	{ "state", WORD, AT(word), 0 },
	{ "since", I64, AT(since_ms), 0 },
	{ "pid", I64, AT(pid), 0 },
	{ "started", I64, AT(started_ms), 0 },
	{ "boot", TEXT_AT(boot) },
	{ "pass", I64, AT(pass_ms), 0 },
	{ "txid", U64, AT(txid), 0 },
	{ "time", I64, AT(txid_ms), 0 },
	{ "known", U32, AT(known), 0 },
	{ "salt1", U32, AT(wal.salt1), 0 },
	{ "salt2", U32, AT(wal.salt2), 0 },
	{ "frames", U32, AT(wal.frames), 0 },
	{ "cksum1", U32, AT(wal.cksum1), 0 },
	{ "cksum2", U32, AT(wal.cksum2), 0 },
	{ "complete", U32, AT(complete), 0 },
	{ "dev", U64, AT(db.dev), 0 },
	{ "ino", U64, AT(db.ino), 0 },
	{ "size", U64, AT(db.size), 0 },
	{ "mtime", I64, AT(db.mtime_ns), 0 },
	{ "ctime", I64, AT(db.ctime_ns), 0 },
	{ "audit", I64, AT(audit_ms), 0 },
	{ "differed", U64, AT(differed), 0 },
	{ "failed", I64, AT(error_ms), 0 },
	{ "levels", TEXT_AT(levels) },
	{ "root", TEXT_AT(root) },
	{ "error", TEXT_AT(error) },
};

const char *
state_name(enum state_word w)
{
	return words[w];
}

char *
state_meta(const char *db_path)
{
	char *dir = path_dir(db_path), *meta;

	meta = xasprintf("%s/.%s-litestream", dir, path_base(db_path));
	free(dir);
	return meta;
}

int
state_running(const char *dir, long *pid, struct err *e)
{
	char *path = xasprintf("%s/.lock", dir);
	int rc = disk_lock_held(path, pid, e);

	free(path);
	return rc;
}

char *
state_path(const char *meta)
{
	return xasprintf("%s/status", meta);
}

void
state_init(struct state *s, const char *meta)
{
	memset(s, 0, sizeof *s);
	s->path = state_path(meta);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_mutex_init(&s->writing, NULL);
}

void
state_free(struct state *s)
{
	pthread_mutex_destroy(&s->writing);
	pthread_mutex_destroy(&s->mutex);
	free(s->path);
}

/* The value of a field as text. */
static void
show(const struct field *k, const struct state_facts *f, char *buf,
    size_t size)
{
	const char *at = (const char *)f + k->offset;

	switch (k->kind) {
	case WORD:
		snprintf(buf, size, "%s", words[f->word]);
		break;
	case I64:
		snprintf(buf, size, "%" PRId64, *(const int64_t *)at < 0 ?
		    0 : *(const int64_t *)at);
		break;
	case U64:
		snprintf(buf, size, "%" PRIu64, *(const uint64_t *)at);
		break;
	case U32:
		snprintf(buf, size, "%" PRIu32, *(const uint32_t *)at);
		break;
	case TEXT:
		snprintf(buf, size, "%s", at);
		break;
	}
}

/* Line by line; what does not fit any more (it always does, but for texts that
 * are all at their longest) is left out, last the error. */
static void
print(const struct state_facts *f, char buf[STATE_SIZE])
{
	char value[STATE_TEXT_SIZE], crc[CRC_LINE + 1], *c;
	size_t i, n = strlen(FIRST), end = STATE_SIZE - CRC_LINE - 1, k;

	memset(buf, ' ', STATE_SIZE);
	memcpy(buf, FIRST, n);
	for (i = 0; i < COUNT(fields); i++) {
		show(&fields[i], f, value, sizeof value);
		for (c = value; *c != '\0'; c++)
			if ((unsigned char)*c < ' ' || *c == 127)
				*c = '?';
		k = strlen(fields[i].key);
		if (n + k + 2 + strlen(value) > end)
			value[n + k + 2 > end ? 0 : end - n - k - 2] = '\0';
		memcpy(buf + n, fields[i].key, k);
		n += k;
		buf[n++] = ' ';
		memcpy(buf + n, value, strlen(value));
		n += strlen(value);
		buf[n++] = '\n';
	}
	buf[end] = '\n';
	snprintf(crc, sizeof crc, "crc %016" PRIx64 "\n",
	    crc64(0, buf, STATE_SIZE - CRC_LINE));
	memcpy(buf + STATE_SIZE - CRC_LINE, crc, CRC_LINE);
}

static bool
parse_word(const char *s, enum state_word *w)
{
	size_t i;

	for (i = 0; i < COUNT(words); i++)
		if (strcmp(s, words[i]) == 0) {
			*w = (enum state_word)i;
			return true;
		}
	return false;
}

/* A number without sign, blanks or more than max; signed ones from 0 on. */
static bool
parse_number(const char *s, uint64_t max, uint64_t *v)
{
	char *end;

	if (s[0] < '0' || s[0] > '9')
		return false;
	errno = 0;
	*v = strtoull(s, &end, 10);
	return errno == 0 && *end == '\0' && *v <= max;
}

static bool
parse_value(const struct field *k, const char *s, struct state_facts *f)
{
	char *at = (char *)f + k->offset;
	size_t i, n = strlen(s);
	uint64_t v;

	switch (k->kind) {
	case WORD:
		return parse_word(s, &f->word);
	case I64:
		if (!parse_number(s, INT64_MAX, &v))
			return false;
		*(int64_t *)at = (int64_t)v;
		return true;
	case U64:
		return parse_number(s, UINT64_MAX, (uint64_t *)at);
	case U32:
		if (!parse_number(s, UINT32_MAX, &v))
			return false;
		*(uint32_t *)at = (uint32_t)v;
		return true;
	case TEXT:
		break;
	}
	for (i = 0; i < n; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 127)
			return false;
	if (n >= k->size)
		return false;
	memcpy(at, s, n + 1);
	return true;
}

bool
state_parse(char buf[STATE_SIZE + 1], struct state_facts *f)
{
	char crc[CRC_LINE + 1], *at = buf + strlen(FIRST), *end;
	size_t i, k;

	buf[STATE_SIZE] = '\0';
	snprintf(crc, sizeof crc, "crc %016" PRIx64 "\n",
	    crc64(0, buf, STATE_SIZE - CRC_LINE));
	if (memcmp(buf + STATE_SIZE - CRC_LINE, crc, CRC_LINE) != 0 ||
	    memcmp(buf, FIRST, strlen(FIRST)) != 0 ||
	    memchr(buf, '\0', STATE_SIZE) != NULL)
		return false;
	memset(f, 0, sizeof *f);
	for (i = 0; i < COUNT(fields); i++) {
		k = strlen(fields[i].key);
		if ((end = strchr(at, '\n')) == NULL ||
		    strncmp(at, fields[i].key, k) != 0 || at[k] != ' ')
			return false;
		*end = '\0';
		if (!parse_value(&fields[i], at + k + 1, f))
			return false;
		at = end + 1;
	}
	return true;
}

/* The meta directory, which is never a link. */
static int
open_meta(const char *path, struct err *e)
{
	char *dir = path_dir(path);
	int fd = disk_open_dir(AT_FDCWD, dir, false, dir, e);

	free(dir);
	return fd;
}

/* The file for reading, writing or touching; -1, errno 0 if it is no plain file
 * of that size. */
static int
open_plain(int dir, const char *path, int mode, struct stat *st)
{
	int fd = openat(dir, path_base(path), mode | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) &&
	    st->st_nlink == 1 && st->st_size == STATE_SIZE)
		return fd;
	close(fd);
	errno = 0;
	return -1;
}

static int64_t
mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static int
write_file(struct state *s, struct err *e)
{
	struct stat st;
	int dir = open_meta(s->path, e), fd, rc;

	if (dir < 0)
		return -1;
	if ((fd = open_plain(dir, s->path, O_WRONLY, &st)) < 0)
		fd = disk_create_in(dir, path_base(s->path), &s->owner,
		    s->path, e);
	close(dir);
	if (fd < 0)
		return -1;
	rc = disk_pwrite(fd, s->written, STATE_SIZE, 0, s->path, e);
	if (rc == 0 && fstat(fd, &st) == 0)
		s->touched_ns = mtime_ns(&st);
	close(fd);
	return rc;
}

static void
save(struct state *s, const struct state_facts *f)
{
	struct err e;

	print(f, s->written);
	s->written_pass_ms = f->pass_ms;
	if (write_file(s, &e) == 0)
		s->failed = false;
	else {
		s->written[0] = '\0';	/* try again next time */
		if (!s->failed)
			log_line(LOG_WARN, "cannot write the status file",
			    "error", e.text, NULL);
		s->failed = true;
	}
}

void
state_claim(struct state *s, const struct disk_owner *o,
    struct state_facts *f)
{
	struct state_facts old;
	struct err ignored;
	bool was;

	pthread_mutex_lock(&s->writing);
	s->owner = *o;
	was = s->claimed;
	s->claimed = true;
	pthread_mutex_unlock(&s->writing);
	if (was)
		return;
	if (state_read(s->path, &old, &ignored) == 1) {
		f->txid = old.txid;
		f->txid_ms = old.txid_ms;
		f->audit_ms = old.audit_ms;
		f->differed = old.differed;
		f->error_ms = old.error_ms;
		memcpy(f->error, old.error, sizeof f->error);
	}
	state_set(s, f, true);
}

void
state_note(struct state *s, const struct state_facts *f)
{
	pthread_mutex_lock(&s->mutex);
	s->f = *f;
	pthread_mutex_unlock(&s->mutex);
}

void
state_flush(struct state *s, bool always)
{
	struct state_facts f, same;
	char text[STATE_SIZE];

	pthread_mutex_lock(&s->writing);
	state_get(s, &f);
	same = f;
	same.pass_ms = s->written_pass_ms;
	print(&same, text);
	if (s->claimed && (always ||
	    memcmp(text, s->written, STATE_SIZE) != 0))
		save(s, &f);
	pthread_mutex_unlock(&s->writing);
}

void
state_set(struct state *s, const struct state_facts *f, bool always)
{
	state_note(s, f);
	state_flush(s, always);
}

bool
state_is_lost(const struct state *s)
{
	struct stat st;

	return s->claimed && lstat(s->path, &st) != 0 && errno == ENOENT;
}

bool
state_asked(struct state *s)
{
	struct stat st;
	int64_t at, was;

	if (!s->claimed || lstat(s->path, &st) != 0)
		return false;
	at = mtime_ns(&st);
	pthread_mutex_lock(&s->writing);
	was = s->touched_ns;
	s->touched_ns = at;
	pthread_mutex_unlock(&s->writing);
	return at != was;
}

void
state_get(struct state *s, struct state_facts *f)
{
	pthread_mutex_lock(&s->mutex);
	*f = s->f;
	pthread_mutex_unlock(&s->mutex);
}

/* 1; 0 not whole; -1. */
static int
read_once(const char *path, struct state_facts *f, struct err *e)
{
	char buf[STATE_SIZE + 1];
	struct stat st;
	ssize_t k;
	int dir = open_meta(path, e), fd;

	if (dir < 0)
		return e->code == ENOENT || e->code == ENOTDIR ||
		    e->code == ELOOP ? 0 : -1;
	fd = open_plain(dir, path, O_RDONLY, &st);
	close(dir);
	if (fd < 0)
		return errno == 0 || errno == ENOENT || errno == ENOTDIR ||
		    errno == ELOOP ? 0 : err_sys(e, path, "open");
	k = disk_pread(fd, buf, STATE_SIZE, 0, path, e);
	close(fd);
	if (k != STATE_SIZE)
		return k < 0 ? -1 : 0;
	return state_parse(buf, f);
}

int
state_read(const char *path, struct state_facts *f, struct err *e)
{
	struct stat st;
	int i, rc = 0;

	for (i = 0; i < READS && rc == 0; i++) {
		if (i > 0)
			sleep_ms(1);
		rc = read_once(path, f, e);
		if (rc == 0 && lstat(path, &st) != 0)
			break;
	}
	if (rc != 1)
		memset(f, 0, sizeof *f);
	return rc;
}

int
state_ask(const char *path, struct err *e)
{
	struct stat st;
	int dir = open_meta(path, e), fd, rc;

	if (dir < 0)
		return -1;
	fd = open_plain(dir, path, O_RDONLY, &st);
	close(dir);
	if (fd < 0 && errno == 0)
		return 0;	/* being made: the answer comes by itself */
	if (fd < 0)
		return err_sys(e, path, "open");
	rc = disk_touch(fd, path, e);
	close(fd);
	return rc;
}
