/* SPDX-License-Identifier: ISC */
/*
 * wal.c far into a WAL: a sparse file with a header and one frame behind 2, 4
 * and 1000 GiB, of either byte order, next to a position that is taken as
 * read.  Fewer offsets where the file system has no files so large.
 */
#include <sys/types.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../be.h"
#include "../wal.h"
#include "tap.h"

#define MAGIC 0x377f0682u
#define VERSION 3007000u
#define SALT1 0x01020304u
#define SALT2 0xfffefdfcu
#define PAGE_MAX 65536u
#define PGNO 70000u
#define GIB (UINT64_C(1) << 30)

static uint32_t
word(bool big, const uint8_t *p)
{
	return big ? be32(p) : le32(p);
}

static void
add(bool big, const uint8_t *p, size_t n, uint32_t s[2])
{
	size_t i;

	for (i = 0; i < n; i += 8) {
		s[0] += word(big, p + i) + s[1];
		s[1] += word(big, p + i + 4) + s[0];
	}
}

static void
put_header(int fd, bool big, uint32_t page_size)
{
	uint8_t h[WAL_HEADER_SIZE] = { 0 };
	uint32_t s[2] = { 0, 0 };

	put_be32(h, MAGIC | big);
	put_be32(h + 4, VERSION);
	put_be32(h + 8, page_size);
	put_be32(h + 16, SALT1);
	put_be32(h + 20, SALT2);
	add(big, h, 24, s);
	put_be32(h + 24, s[0]);
	put_be32(h + 28, s[1]);
	if (pwrite(fd, h, sizeof h, 0) != (ssize_t)sizeof h)
		die("header: %s", strerror(errno));
}

/* The frame after *p; false if the file cannot be so long. */
static bool
put_frame(int fd, bool big, uint32_t page_size, const struct wal_pos *p)
{
	static uint8_t f[WAL_FRAME_HEADER_SIZE + PAGE_MAX];
	uint32_t s[2] = { p->cksum1, p->cksum2 };
	size_t n = WAL_FRAME_HEADER_SIZE + page_size;

	memset(f, 0x5a, n);
	put_be32(f, PGNO);
	put_be32(f + 4, PGNO);
	put_be32(f + 8, SALT1);
	put_be32(f + 12, SALT2);
	add(big, f, 8, s);
	add(big, f + WAL_FRAME_HEADER_SIZE, page_size, s);
	put_be32(f + 16, s[0]);
	put_be32(f + 20, s[1]);
	return pwrite(fd, f, n, (off_t)(WAL_HEADER_SIZE +
	    (uint64_t)p->frames * n)) == (ssize_t)n;
}

static void
check(const char *path, bool big, uint32_t page_size, uint64_t offset)
{
	struct wal_pos at = { SALT1, SALT2, 0, 0x11111111, 0x22222222 }, now;
	struct wal_map_entry entry;
	static uint8_t page[PAGE_MAX];
	struct wal_frame f;
	struct wal *w;
	struct err e;
	bool good;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	at.frames = (uint32_t)(offset / (WAL_FRAME_HEADER_SIZE + page_size)) +
	    1;
	put_header(fd, big, page_size);
	if (!put_frame(fd, big, page_size, &at)) {
		ok(errno == EFBIG, "%llu GiB # SKIP no file is so large",
		    (unsigned long long)(offset / GIB));
		close(fd);
		return;
	}
	w = wal_new(fd, path, page_size);
	good = wal_seek(w, SALT1, SALT2, &at, &e) == 1 &&
	    wal_next(w, &f, &e) == 1 && f.pgno == PGNO && f.commit == PGNO &&
	    f.data[page_size - 1] == 0x5a && wal_next(w, &f, &e) == 0;
	wal_tell(w, &now);
	entry.pgno = PGNO;
	entry.frame = now.frames;
	good = good && now.frames == at.frames + 1 &&
	    wal_holds(w, &now, &e) == 1 &&
	    wal_read_page(w, &now, &entry, page, &e) == 0 && page[0] == 0x5a;
	at.cksum1++;
	good = good && wal_seek(w, SALT1, SALT2, &at, &e) == 1 &&
	    wal_next(w, &f, &e) == 0;
	ok(good, "%s-endian, pages of %lu, a frame behind %llu GiB",
	    big ? "big" : "little", (unsigned long)page_size,
	    (unsigned long long)(offset / GIB));
	wal_free(w);
	close(fd);
}

int
main(void)
{
	static const uint64_t gib[] = { 0, 2, 4, 1000 };
	static const uint32_t size[] = { 512, 4096, PAGE_MAX };
	char *path = xasprintf("%s/wal", getenv("T"));
	size_t i, k;

	for (i = 0; i < sizeof gib / sizeof gib[0]; i++)
		for (k = 0; k < sizeof size / sizeof size[0]; k++) {
			check(path, false, size[k], gib[i] * GIB);
			check(path, true, size[k], gib[i] * GIB);
		}
	free(path);
	return done_testing();
}
