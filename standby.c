/* SPDX-License-Identifier: ISC */
/*
 * A database file under the eyes of SQLite's readers.
 *
 * Readers must see one state or the next and nothing between, also after we
 * were killed at any instruction, and they are plain SQLite: so the only thing
 * that can keep them out, and the only log they understand, are SQLite's own.
 * Building a WAL beside the file would need the wal-index and its locks, and
 * readers that may write -shm.  Writing through SQLite would need
 * sqlite_dbpage, which most builds lack, and would not take an image whose
 * header it does not like.  The rollback journal is 30 lines, documented, and
 * every SQLite since 3.0 rolls it back by itself.
 *
 * Locks, by fcntl, on bytes of the file that SQLite never stores anything in:
 *	40000000	PENDING: no new reader
 *	40000001	RESERVED: the one writer; its journal is not hot
 *	40000002	SHARED, 510 bytes: readers share it, EXCLUSIVE is a
 *			write lock on it
 *	3fffffff	ours, unknown to SQLite: held for life by the follower
 *
 * PATH-journal, big-endian:
 *	0	8	d9 d5 05 f9 20 a1 63 d7
 *	8	4	records
 *	12	4	nonce
 *	16	4	pages of the file before the change
 *	20	4	512: the header fills so many bytes
 *	24	4	page size before the change
 *	512	...	records: page number, page, checksum (nonce + every
 *			200th byte, counted from 200 before the end)
 * It is hot, and to be rolled back by whoever comes first, if it exists, begins
 * with a byte that is not zero, and nobody holds RESERVED.
 *
 * Order:
 *	1. SHARED and RESERVED
 *	2. the records, fsync; only then the header, fsync; fsync directory
 *	3. PENDING; when the last reader has gone, EXCLUSIVE
 *	4. pages, size, fsync
 *	5. unlink the journal: the commit; fsync directory; unlock
 * A crash in 2 leaves a journal without a header, which does not count.  From
 * the header on until 5 it leaves a hot one: before 4 it says what the file
 * holds anyway, after that it restores it.  A failure in 4 is made a crash: we
 * unlock and have SQLite roll back.
 *
 * PENDING is taken before waiting, so that readers cannot starve us by taking
 * turns; but it is given back each second for a second, so that one that stays
 * for long does not shut out the others.
 *
 * POSIX locks vanish when the process closes any descriptor of the file: there
 * is one for life, and what SQLite's rollback here costs is locked again.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "be.h"
#include "db.h"
#include "disk.h"
#include "ltx.h"
#include "standby.h"

#define PENDING_BYTE 0x40000000
#define FOLLOWER_BYTE (PENDING_BYTE - 1)
#define RESERVED_BYTE (PENDING_BYTE + 1)
#define SHARED_FIRST (PENDING_BYTE + 2)
#define SHARED_SIZE 510
#define ALL_SIZE (2 + SHARED_SIZE)

#define JOURNAL_HEADER_SIZE 512
#define RECORD_EXTRA 8
#define CHECKSUM_STEP 200
#define MAGIC "SQLite format 3"
#define COUNTER_AT 24
#define VALID_FOR_AT 92

#define WAIT_MS 1000
#define DRAIN_MS 1000		/* with PENDING, no new readers */
#define REST_MS 1000		/* without */
#define POLL_MS 2

struct standby {
	char *path, *journal, *wal, *dir;
	int fd, out;
	struct disk_owner owner;
	struct standby_state st;
	uint32_t nonce, records;
	uint8_t *record;
	size_t record_size;
	bool armed;		/* the journal has its header */
};

static const uint8_t journal_magic[8] = {
	0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7
};

/* Locks */

/* 1; 0 if somebody else's lock is in the way; -1. */
static int
lock(struct standby *s, short type, off_t start, off_t len, struct err *e)
{
	struct flock l;

	memset(&l, 0, sizeof l);
	l.l_type = type;
	l.l_whence = SEEK_SET;
	l.l_start = start;
	l.l_len = len;
	if (fcntl(s->fd, F_SETLK, &l) == 0)
		return 1;
	if (errno == EACCES || errno == EAGAIN)
		return 0;
	return err_sys(e, s->path, "lock");
}

static void
unlock(struct standby *s)
{
	struct err ignored;

	lock(s, F_UNLCK, PENDING_BYTE, ALL_SIZE, &ignored);
}

static int
lock_follower(struct standby *s, struct err *e)
{
	struct flock l;
	int rc = lock(s, F_WRLCK, FOLLOWER_BYTE, 1, e);

	if (rc != 0)
		return rc < 0 ? -1 : 0;
	memset(&l, 0, sizeof l);
	l.l_type = F_WRLCK;
	l.l_whence = SEEK_SET;
	l.l_start = FOLLOWER_BYTE;
	l.l_len = 1;
	if (fcntl(s->fd, F_GETLK, &l) != 0 || l.l_type == F_UNLCK)
		l.l_pid = 0;
	return err_set(e, ERR_LOCKED, "%s: followed by another process (pid "
	    "%ld)", s->path, (long)l.l_pid);
}

/* SHARED, then RESERVED, as SQLite takes them. */
static int
lock_for_writing(struct standby *s, struct err *e)
{
	int64_t until = time_mono_ms() + WAIT_MS;
	int rc;

	for (;;) {
		rc = lock(s, F_RDLCK, PENDING_BYTE, 1, e);
		if (rc == 1)
			rc = lock(s, F_RDLCK, SHARED_FIRST, SHARED_SIZE, e);
		if (rc >= 0 && lock(s, F_UNLCK, PENDING_BYTE, 1, e) < 0)
			rc = -1;
		if (rc == 1)
			rc = lock(s, F_WRLCK, RESERVED_BYTE, 1, e);
		if (rc != 0 || time_mono_ms() >= until)
			break;
		unlock(s);
		sleep_ms(POLL_MS);
	}
	if (rc == 1)
		return 0;
	unlock(s);
	return rc < 0 ? -1 : err_set(e, ERR_BUSY, "%s: database is locked: "
	    "another process writes to it", s->path);
}

/* The journal, and what others leave */

static bool
is_hot(const struct standby *s)
{
	int fd = open(s->journal, O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
	    O_CLOEXEC);
	char first = 0;
	bool hot;

	if (fd < 0)
		return false;
	hot = read(fd, &first, 1) == 1 && first != 0;
	close(fd);
	return hot;
}

/*
 * SQLite rolls a hot journal back as soon as it reads.  Needs no lock of ours
 * to be held, and drops them all.  A reader may be at it already.
 */
static int
recover(struct standby *s, struct err *e)
{
	int64_t until = time_mono_ms() + WAIT_MS;
	struct err why;
	struct db *db;
	int rc;

	while ((rc = db_open(&db, s->path, e)) != 0 &&
	    e->kind == ERR_BUSY && time_mono_ms() < until)
		sleep_ms(POLL_MS);
	if (rc == 0) {
		db_close(db);
		log_line(LOG_INFO, "unfinished change rolled back", "path",
		    s->path, NULL);
	}
	if (lock_follower(s, &why) != 0) {
		*e = why;
		rc = -1;
	}
	return rc;
}

int
standby_lost(const struct standby *s, struct err *e)
{
	struct stat ours, there = { 0 };

	if (fstat(s->fd, &ours) != 0 || (stat(s->path, &there) != 0 &&
	    errno != ENOENT && errno != ENOTDIR))
		return err_sys(e, s->path, "stat");
	if (ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		return 0;
	err_set(e, ERR_SYSTEM, "%s: removed or replaced while it was followed",
	    s->path);
	return 1;
}

static int
read_state(struct standby *s, struct err *e)
{
	uint8_t h[STANDBY_HEADER_SIZE];
	struct stat st;
	uint64_t pages;
	ssize_t k;

	if (fstat(s->fd, &st) != 0)
		return err_sys(e, s->path, "stat");
	if ((k = disk_pread(s->fd, h, sizeof h, 0, s->path, e)) < 0)
		return -1;
	if (k != (ssize_t)sizeof h || memcmp(h, MAGIC, sizeof MAGIC) != 0)
		return err_set(e, ERR_DAMAGED, "%s: not a database", s->path);
	s->st.page_size = be16(h + 16) == 1 ? 65536 : be16(h + 16);
	s->st.counter = be32(h + COUNTER_AT);
	if (!ltx_page_size_ok(s->st.page_size))
		return err_set(e, ERR_DAMAGED, "%s: not a database", s->path);
	pages = (uint64_t)st.st_size / s->st.page_size;
	if (pages == 0 || pages > UINT32_MAX)
		return err_set(e, ERR_DAMAGED, "%s: not a database of %u-byte "
		    "pages", s->path, (unsigned)s->st.page_size);
	s->st.pages = (uint32_t)pages;
	return 0;
}

int
standby_open(struct standby **out, const char *path, struct err *e)
{
	struct standby *s = xcalloc(1, sizeof *s);

	s->path = xstrdup(path);
	s->journal = xasprintf("%s-journal", path);
	s->wal = xasprintf("%s-wal", path);
	s->dir = path_dir(path);
	s->out = -1;
	s->fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0) {
		err_sys(e, path, "open");
		goto bad;
	}
	if (lock_follower(s, e) != 0)
		goto bad;
	if (is_hot(s) && recover(s, e) != 0)
		goto bad;
	if (disk_owner_of(path, &s->owner, e) != 0 || read_state(s, e) != 0)
		goto bad;
	*out = s;
	return 0;
bad:
	standby_close(s);
	return -1;
}

void
standby_close(struct standby *s)
{
	if (s == NULL)
		return;
	if (s->fd >= 0)
		close(s->fd);
	if (s->out >= 0)
		close(s->out);
	free(s->path);
	free(s->journal);
	free(s->wal);
	free(s->dir);
	free(s->record);
	free(s);
}

/* The change */

int
standby_begin(struct standby *s, struct standby_state *st, struct err *e)
{
	if (standby_lost(s, e) != 0)
		return -1;
	if (is_hot(s) && lock_for_writing(s, e) == 0) {
		unlock(s);	/* whoever wrote it has died */
		if (recover(s, e) != 0)
			return -1;
	}
	if (lock_for_writing(s, e) != 0)
		return -1;
	if (access(s->wal, F_OK) == 0) {
		err_set(e, ERR_BUSY, "%s exists: another process writes to "
		    "the database", s->wal);
		goto bad;
	}
	if (is_hot(s)) {
		err_set(e, ERR_BUSY, "%s: left by another process",
		    s->journal);
		goto bad;
	}
	if (read_state(s, e) != 0)
		goto bad;
	s->out = disk_create(s->journal, &s->owner, e);
	if (s->out < 0)
		goto bad;
	random_bytes(&s->nonce, sizeof s->nonce);
	s->records = 0;
	s->armed = false;
	*st = s->st;
	return 0;
bad:
	unlock(s);
	return -1;
}

int
standby_read(struct standby *s, uint32_t pgno, uint8_t *page, struct err *e)
{
	ssize_t k = disk_pread(s->fd, page, s->st.page_size,
	    (uint64_t)(pgno - 1) * s->st.page_size, s->path, e);

	if (k < 0)
		return -1;
	if ((size_t)k != s->st.page_size)
		return err_set(e, ERR_DAMAGED, "%s: page %u: short read",
		    s->path, (unsigned)pgno);
	return 0;
}

static uint32_t
checksum(uint32_t nonce, const uint8_t *page, uint32_t page_size)
{
	int64_t i;

	for (i = (int64_t)page_size - CHECKSUM_STEP; i > 0;
	    i -= CHECKSUM_STEP)
		nonce += page[i];
	return nonce;
}

int
standby_save(struct standby *s, uint32_t pgno, const uint8_t *page,
    struct err *e)
{
	size_t size = s->st.page_size + (size_t)RECORD_EXTRA;
	int64_t at = JOURNAL_HEADER_SIZE + (int64_t)s->records * (int64_t)size;

	if (s->record_size != size) {
		s->record = xrealloc(s->record, size);
		s->record_size = size;
	}
	put_be32(s->record, pgno);
	memcpy(s->record + 4, page, s->st.page_size);
	put_be32(s->record + size - 4,
	    checksum(s->nonce, page, s->st.page_size));
	s->records++;
	return disk_pwrite(s->out, s->record, size, at, s->journal, e);
}

/* Makes the journal hot, or rather what would be if we died. */
static int
write_header(struct standby *s, struct err *e)
{
	uint8_t h[JOURNAL_HEADER_SIZE] = { 0 };

	memcpy(h, journal_magic, sizeof journal_magic);
	put_be32(h + 8, s->records);
	put_be32(h + 12, s->nonce);
	put_be32(h + 16, s->st.pages);
	put_be32(h + 20, JOURNAL_HEADER_SIZE);
	put_be32(h + 24, s->st.page_size);
	if (disk_sync(s->out, s->journal, e) != 0 ||
	    disk_pwrite(s->out, h, sizeof h, 0, s->journal, e) != 0 ||
	    disk_sync(s->out, s->journal, e) != 0)
		return -1;
	return disk_sync_dir(s->dir, e);
}

/* One try: 1; 0 if readers stay; -1. */
static int
drain(struct standby *s, const volatile sig_atomic_t *stop, struct err *e)
{
	int64_t until = time_mono_ms() + DRAIN_MS;
	bool pending = false;
	int rc;

	for (;;) {
		rc = pending ? 1 : lock(s, F_WRLCK, PENDING_BYTE, 1, e);
		pending = rc == 1;
		if (pending)
			rc = lock(s, F_WRLCK, SHARED_FIRST, SHARED_SIZE, e);
		if (rc != 0 || *stop || time_mono_ms() >= until)
			break;
		sleep_ms(POLL_MS);
	}
	if (rc == 0 && lock(s, F_UNLCK, PENDING_BYTE, 1, e) < 0)
		return -1;
	return rc;
}

int
standby_arm(struct standby *s, const volatile sig_atomic_t *stop,
    struct err *e)
{
	int64_t until;
	bool said = false;
	int rc;

	if (write_header(s, e) != 0)
		return -1;
	while ((rc = drain(s, stop, e)) == 0 && !*stop) {
		if (!said)
			log_line(LOG_WARN, "waiting for readers", "path",
			    s->path, NULL);
		said = true;
		until = time_mono_ms() + REST_MS;
		while (!*stop && time_mono_ms() < until)
			sleep_ms(POLL_MS);
	}
	if (rc == 0)
		return err_set(e, ERR_BUSY, "%s: database is locked: another "
		    "process reads it", s->path);
	s->armed = rc == 1;
	return rc < 0 ? -1 : 0;
}

int
standby_write(struct standby *s, uint32_t pgno, const uint8_t *page,
    uint32_t page_size, struct err *e)
{
	return disk_pwrite(s->fd, page, page_size,
	    (int64_t)(pgno - 1) * page_size, s->path, e);
}

int
standby_commit(struct standby *s, uint32_t pages, uint32_t page_size,
    struct err *e)
{
	if (disk_truncate(s->fd, (int64_t)pages * page_size, s->path, e) != 0 ||
	    disk_sync(s->fd, s->path, e) != 0 ||
	    disk_unlink(s->journal, e) != 0)
		return -1;
	s->armed = false;
	return disk_sync_dir(s->dir, e);
}

int
standby_end(struct standby *s, struct err *e)
{
	struct err ignored;
	int rc = 0;

	if (s->out < 0)
		return 0;
	close(s->out);
	s->out = -1;
	if (!s->armed)
		disk_unlink(s->journal, &ignored);
	unlock(s);
	if (s->armed)
		rc = recover(s, e);
	s->armed = false;
	return rc;
}

/* Where the source's header was not valid for its size it stays so. */
void
standby_stamp(uint8_t *page1, uint32_t counter)
{
	bool valid = memcmp(page1 + COUNTER_AT, page1 + VALID_FOR_AT, 4) == 0;

	page1[18] = page1[19] = 1;
	put_be32(page1 + COUNTER_AT, counter);
	put_be32(page1 + VALID_FOR_AT, valid ? counter : ~counter);
}
