/* SPDX-License-Identifier: ISC */
/*
 * The page table.
 *
 * In memory a hash for each page of the state that the replica can restore,
 * and a bit for whether there is one; the fingerprint is the XOR of the
 * hashes, kept up to date with them.  An entry promises that the replica has
 * that page, so it is set only after the file that holds the page is
 * published; one that is not there costs a page written again.
 *
 * On disk, big-endian:
 *
 *	 0 "LSPAGES1"
 *	 8 page size, commit, salt; WAL: salt 1, salt 2, frames, checksum 1
 *	   and 2 (u32 each)
 *	40 txid, file checksum, fingerprint (u64 each)
 *	64 id of the replica (32 hex digits or NULs)
 *	96 flags: 1 clean, 2 settled (u32), 4 bytes 0
 *     104 the database file, 144 the newest replica file: dev, ino, size,
 *	   mtime, ctime (u64 each)
 *     184 replica root: dev, fsid (u64 each)
 *     200 a bit for each page, then its hash (u64), present or not
 *     end CRC-64 of all before
 *
 * It is replaced whole.  A crash leaves the old one, noise is recognised by the
 * checksum; either is made good from the replica (capture.c).
 */
#include <stdlib.h>
#include <string.h>

#include "be.h"
#include "crc64.h"
#include "pages.h"

#define MAGIC "LSPAGES1"
#define HEADER_SIZE 200
#define CHECK_SIZE 8
#define FLAG_CLEAN 1u
#define FLAG_SETTLED 2u
#define HOLES_MAX ((uint64_t)1 << 18)	/* pages */
/*
 * What is read at most, as memory is that of all databases: twice what pages of
 * 512 bytes need, and 8 million pages for one in its WAL, or that was shrunk.
 */
#define FILE_MAX(db_size) ((db_size) / 32 + ((uint64_t)64 << 20))

void
pages_init(struct pages *p)
{
	memset(p, 0, sizeof *p);
}

void
pages_free(struct pages *p)
{
	free(p->hash);
	free(p->present);
	pages_init(p);
}

void
pages_clear(struct pages *p, uint32_t page_size, uint32_t salt)
{
	uint64_t dev = p->root_dev, fsid = p->root_fsid;
	char id[STORE_ID_SIZE];

	memcpy(id, p->id, sizeof id);
	pages_free(p);
	memcpy(p->id, id, sizeof id);
	p->root_dev = dev;
	p->root_fsid = fsid;
	p->page_size = page_size;
	p->salt = salt;
}

static size_t
bitmap_size(uint32_t n)
{
	return ((size_t)n + 7) / 8;
}

bool
pages_get(const struct pages *p, uint32_t pgno, uint64_t *hash)
{
	uint32_t i = pgno - 1;

	if (i >= p->commit || (p->present[i / 8] & 1u << i % 8) == 0)
		return false;
	*hash = p->hash[i];
	return true;
}

static void
forget(struct pages *p, uint32_t i)
{
	if ((p->present[i / 8] & 1u << i % 8) == 0)
		return;
	p->fingerprint ^= p->hash[i];
	p->present[i / 8] &= (uint8_t)~(1u << i % 8);
}

void
pages_set(struct pages *p, uint32_t pgno, uint64_t hash)
{
	uint32_t i = pgno - 1;

	forget(p, i);
	p->hash[i] = hash;
	p->present[i / 8] |= (uint8_t)(1u << i % 8);
	p->fingerprint ^= hash;
}

void
pages_unset(struct pages *p, uint32_t pgno)
{
	if (pgno <= p->commit)
		forget(p, pgno - 1);
}

void
pages_resize(struct pages *p, uint32_t commit)
{
	uint32_t i, cap = p->cap;
	uint64_t n;

	for (i = commit; i < p->commit; i++)
		forget(p, i);
	if (commit > cap) {
		cap = commit < UINT32_MAX / 5 * 4 ? commit + commit / 8 + 64 :
		    UINT32_MAX;
		/* Where that is more than there are addresses: no memory. */
		n = (uint64_t)cap * sizeof *p->hash;
		p->hash = xrealloc(p->hash, n == (size_t)n ? (size_t)n :
		    SIZE_MAX);
		p->present = xrealloc(p->present, bitmap_size(cap));
		memset(p->present + bitmap_size(p->cap), 0,
		    bitmap_size(cap) - bitmap_size(p->cap));
		p->cap = cap;
	}
	p->commit = commit;
}

int
pages_grow(struct pages *p, uint32_t n, uint64_t before, uint64_t bytes,
    const char *path, struct err *e)
{
	if (n > before + HOLES_MAX + bytes)
		return err_set(e, ERR_DAMAGED, "%s: page %lu without those "
		    "before it", path, (unsigned long)n);
	if (n > p->commit)
		pages_resize(p, n);
	return 0;
}

bool
pages_complete(const struct pages *p)
{
	uint32_t lock = ltx_lock_page(p->page_size), i;

	for (i = 0; i < p->commit; i++)
		if (i + 1 != lock && (p->present[i / 8] & 1u << i % 8) == 0)
			return false;
	return true;
}

static void
put_stat(uint8_t *at, const struct disk_stat *s)
{
	put_be64(at, s->dev);
	put_be64(at + 8, s->ino);
	put_be64(at + 16, s->size);
	put_be64(at + 24, (uint64_t)s->mtime_ns);
	put_be64(at + 32, (uint64_t)s->ctime_ns);
}

static void
get_stat(const uint8_t *at, struct disk_stat *s)
{
	s->dev = be64(at);
	s->ino = be64(at + 8);
	s->size = be64(at + 16);
	s->mtime_ns = (int64_t)be64(at + 24);
	s->ctime_ns = (int64_t)be64(at + 32);
}

static void
put_header(uint8_t *at, const struct pages *p)
{
	memset(at, 0, HEADER_SIZE);
	memcpy(at, MAGIC, 8);
	put_be32(at + 8, p->page_size);
	put_be32(at + 12, p->commit);
	put_be32(at + 16, p->salt);
	put_be32(at + 20, p->wal.salt1);
	put_be32(at + 24, p->wal.salt2);
	put_be32(at + 28, p->wal.frames);
	put_be32(at + 32, p->wal.cksum1);
	put_be32(at + 36, p->wal.cksum2);
	put_be64(at + 40, p->txid);
	put_be64(at + 48, p->file_checksum);
	put_be64(at + 56, p->fingerprint);
	memcpy(at + 64, p->id, STORE_ID_SIZE - 1);
	put_be32(at + 96, (p->clean ? FLAG_CLEAN : 0) |
	    (p->settled ? FLAG_SETTLED : 0));
	put_stat(at + 104, &p->db);
	put_stat(at + 144, &p->newest);
	put_be64(at + 184, p->root_dev);
	put_be64(at + 192, p->root_fsid);
}

static void
get_header(const uint8_t *at, struct pages *p)
{
	p->page_size = be32(at + 8);
	p->salt = be32(at + 16);
	p->wal.salt1 = be32(at + 20);
	p->wal.salt2 = be32(at + 24);
	p->wal.frames = be32(at + 28);
	p->wal.cksum1 = be32(at + 32);
	p->wal.cksum2 = be32(at + 36);
	p->txid = be64(at + 40);
	p->file_checksum = be64(at + 48);
	memcpy(p->id, at + 64, STORE_ID_SIZE - 1);
	p->clean = (be32(at + 96) & FLAG_CLEAN) != 0;
	p->settled = (be32(at + 96) & FLAG_SETTLED) != 0;
	get_stat(at + 104, &p->db);
	get_stat(at + 144, &p->newest);
	p->root_dev = be64(at + 184);
	p->root_fsid = be64(at + 192);
}

/* From a whole file whose checksum is right; false if its parts disagree. */
static bool
parse(struct pages *p, const uint8_t *at, size_t n)
{
	uint32_t commit = be32(at + 12), i;
	size_t bits = bitmap_size(commit);

	if (!ltx_page_size_ok(be32(at + 8)) || be32(at + 16) == 0 ||
	    (uint64_t)n != HEADER_SIZE + (uint64_t)bits +
	    (uint64_t)commit * 8 + CHECK_SIZE)
		return false;
	get_header(at, p);
	pages_resize(p, commit);
	at += HEADER_SIZE;
	for (i = 0; i < commit; i++)
		if ((at[i / 8] & 1u << i % 8) != 0)
			pages_set(p, i + 1, be64(at + bits + (size_t)i * 8));
	return true;
}

int
pages_load(struct pages *p, const char *path, uint64_t db_size,
    struct err *e)
{
	uint64_t max = FILE_MAX(db_size);
	char *buf = NULL;
	const uint8_t *at;
	size_t n;
	int rc = 0;

	pages_init(p);
	if (max > SIZE_MAX / 4)
		max = SIZE_MAX / 4;
	if (disk_read_all(path, (size_t)max, &buf, &n, e) != 0)
		return e->kind == ERR_ABSENT || e->kind == ERR_DAMAGED ? 0 :
		    -1;
	at = (const uint8_t *)buf;
	if (n < HEADER_SIZE + CHECK_SIZE || memcmp(at, MAGIC, 8) != 0 ||
	    crc64(0, at, n - CHECK_SIZE) != be64(at + n - CHECK_SIZE))
		goto out;
	if (parse(p, at, n) && p->fingerprint == be64(at + 56))
		rc = 1;
	else
		pages_free(p);
out:
	free(buf);
	return rc;
}

int
pages_save(const struct pages *p, const char *path,
    const struct disk_owner *o, struct err *e)
{
	size_t bits = bitmap_size(p->commit);
	size_t n = HEADER_SIZE + bits + (size_t)p->commit * 8 + CHECK_SIZE;
	uint8_t *buf = xmalloc(n), *at = buf + HEADER_SIZE;
	uint64_t hash;
	uint32_t i;
	int rc;

	put_header(buf, p);
	if (bits > 0)
		memcpy(at, p->present, bits);
	if (p->commit % 8 != 0)
		at[bits - 1] &= (uint8_t)((1u << p->commit % 8) - 1);
	for (i = 0; i < p->commit; i++) {
		hash = 0;
		pages_get(p, i + 1, &hash);
		put_be64(at + bits + (size_t)i * 8, hash);
	}
	put_be64(buf + n - CHECK_SIZE, crc64(0, buf, n - CHECK_SIZE));
	rc = disk_replace(path, false, buf, n, o, e);
	free(buf);
	return rc;
}
