/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a WAL, or as the header of a wal-index: the first byte tells
 * which, and whether salts and checksums are put right before.
 */
#include <stdlib.h>
#include <string.h>

#include "../../be.h"
#include "../../wal.h"
#include "fuzz.h"

#define PATH "/d/a.db-wal"
#define INPUT_MAX 65536
#define MODE_FIX 1u
#define MODE_INDEX 2u
#define MODE_KEEP 4u	/* only so many frames as the second byte says; of an
			 * index not the checksum */
#define FRAMES_MAX 128

static void
add(bool big, const uint8_t *p, size_t n, uint32_t *a, uint32_t *b)
{
	for (; n >= 8; n -= 8, p += 8) {
		*a += (big ? be32(p) : le32(p)) + *b;
		*b += (big ? be32(p + 4) : le32(p + 4)) + *a;
	}
}

static uint32_t
fix_header(uint8_t *p)
{
	uint32_t a = 0, b = 0, size = be32(p + 8);

	if (!ltx_page_size_ok(size))
		size = 512u << size % 2;
	put_be32(p, 0x377f0682u | (p[3] & 1u));
	put_be32(p + 4, 3007000);
	put_be32(p + 8, size);
	add(p[3] & 1u, p, 24, &a, &b);
	put_be32(p + 24, a);
	put_be32(p + 28, b);
	return size;
}

static void
fix(uint8_t *p, size_t n, size_t most)
{
	bool big = p[3] & 1u;
	uint32_t size, a, b;
	size_t at = WAL_HEADER_SIZE;

	if (n < at)
		return;
	size = fix_header(p);
	a = be32(p + 24);
	b = be32(p + 28);
	for (; most > 0 && n - at >= WAL_FRAME_HEADER_SIZE + size; most--) {
		memcpy(p + at + 8, p + 16, 8);
		add(big, p + at, 8, &a, &b);
		add(big, p + at + WAL_FRAME_HEADER_SIZE, size, &a, &b);
		put_be32(p + at + 16, a);
		put_be32(p + at + 20, b);
		at += WAL_FRAME_HEADER_SIZE + size;
	}
}

/* From frame i on, by a reader of its own, as from the start. */
static void
read_rest(int fd, const uint8_t *p, uint32_t size, const struct wal_pos *pos,
    size_t i, size_t n)
{
	struct wal *w = wal_new(fd, PATH, size);
	struct wal_pos at;
	struct wal_frame f;
	struct err e;

	MUST(wal_seek(w, pos[0].salt1, pos[0].salt2, &pos[i], &e) == 1);
	MUST(i == 0 || wal_holds(w, &pos[i], &e) == 1);
	for (; i < n; i++) {
		MUST(wal_next(w, &f, &e) == 1);
		MUST(memcmp(f.data, p + wal_size((uint32_t)i, size) +
		    WAL_FRAME_HEADER_SIZE, size) == 0);
		wal_tell(w, &at);
		MUST(memcmp(&at, &pos[i + 1], sizeof at) == 0);
	}
	MUST(wal_next(w, &f, &e) == 0);
	wal_resume(w, &pos[n / 2]);
	MUST(n == 0 || wal_next(w, &f, &e) == (n / 2 < n));
	wal_free(w);
}

/* The newest frame of each page, two ways. */
static void
check_map(struct wal *w, const uint8_t *p, uint32_t size,
    const struct wal_pos *gen, struct wal_map *m, uint32_t commit)
{
	uint8_t *page = malloc(size);
	uint32_t n = (uint32_t)m->n, i, j, kept = 0, last = 0, max = 0;
	const uint8_t *f;
	struct err e;

	for (i = 0; i < n; i++)
		if (m->entry[i].pgno > max)
			max = m->entry[i].pgno;
	MUST(wal_map_largest(m) == max);
	wal_map_reduce(m, commit);
	for (i = 0; i < n; i++) {
		f = p + wal_size(i, size);
		for (j = i + 1; j < n && be32(p + wal_size(j, size)) !=
		    be32(f); j++)
			;
		kept += j == n && be32(f) <= commit;
	}
	MUST(m->n == kept);
	for (i = 0; i < m->n; i++) {
		MUST(m->entry[i].pgno > last && m->entry[i].pgno <= commit);
		last = m->entry[i].pgno;
		f = p + wal_size(m->entry[i].frame - 1, size);
		MUST(be32(f) == last);
		for (j = m->entry[i].frame; j < n; j++)
			MUST(be32(p + wal_size(j, size)) != last);
		MUST(wal_read_page(w, gen, &m->entry[i], page, &e) == 0);
		MUST(memcmp(page, f + WAL_FRAME_HEADER_SIZE, size) == 0);
		m->entry[i].pgno++;	/* as if another had overwritten it */
		MUST(wal_read_page(w, gen, &m->entry[i], page, &e) != 0);
		fuzz_error(&e, ERR_DAMAGED, PATH);
	}
	free(page);
}

static void
read_wal(const uint8_t *p, size_t n)
{
	struct wal_pos pos[FRAMES_MAX + 1], bad;
	uint32_t size = n >= WAL_HEADER_SIZE ? be32(p + 8) : 512;
	struct wal_map m = { 0 };
	uint32_t commit = 0, k = 0;
	struct wal_frame f;
	struct wal *w;
	struct err e;
	int fd;

	if (!ltx_page_size_ok(size))
		size = 512;
	mem_reset();
	mem_put(PATH, p, n);
	fd = mem_open(PATH, O_RDONLY);
	w = wal_new(fd, PATH, size);
	if (n >= WAL_HEADER_SIZE && wal_seek(w, be32(p + 16), be32(p + 20),
	    NULL, &e) == 1) {
		wal_tell(w, &pos[0]);
		MUST(pos[0].frames == 0);
		while (k < FRAMES_MAX && wal_next(w, &f, &e) == 1) {
			wal_tell(w, &pos[++k]);
			MUST(pos[k].frames == k && f.pgno > 0);
			MUST(wal_size(k, size) <= n);
			wal_map_add(&m, f.pgno, k);
			commit = f.commit != 0 ? f.commit : commit;
		}
		if (k < FRAMES_MAX) {
			read_rest(fd, p, size, pos, 0, k);
			read_rest(fd, p, size, pos, k / 2, k);
			check_map(w, p, size, &pos[0], &m, commit);
		}
		bad = pos[k];
		bad.cksum1++;
		MUST(wal_holds(w, &bad, &e) == 0);
	} else
		MUST(wal_seek(w, 0, 0, NULL, &e) >= 0);
	wal_map_free(&m);
	wal_free(w);
	MUST(mem_close(fd) == 0);
}

static void
sum_index(const uint8_t *p, uint8_t sum[8])
{
	uint32_t a = 0, b = 0, v, w;
	size_t i;

	for (i = 0; i < 40; i += 8) {
		memcpy(&v, p + i, sizeof v);
		memcpy(&w, p + i + 4, sizeof w);
		a += v + b;
		b += w + a;
	}
	memcpy(sum, &a, sizeof a);
	memcpy(sum + 4, &b, sizeof b);
}

static void
read_index(uint8_t *p, unsigned mode)
{
	uint32_t version = 3007000;
	struct wal_index x;
	uint8_t sum[8];
	bool right;

	if ((mode & MODE_FIX) != 0) {
		memcpy(p, &version, sizeof version);
		if ((mode & MODE_KEEP) == 0)
			sum_index(p, p + 40);
		memcpy(p + WAL_INDEX_COPY_SIZE, p, WAL_INDEX_COPY_SIZE);
	}
	sum_index(p, sum);
	right = memcmp(p, p + WAL_INDEX_COPY_SIZE, WAL_INDEX_COPY_SIZE) == 0 &&
	    memcmp(p, &version, sizeof version) == 0 && p[12] != 0 &&
	    memcmp(p + 40, sum, sizeof sum) == 0;
	MUST(wal_index_parse(p, &x) == right);
	if (!right)
		return;
	MUST(x.salt1 == be32(p + 32) && x.salt2 == be32(p + 36));
	MUST(memcmp(&x.mx_frame, p + 16, 4) == 0);
	MUST(memcmp(&x.commit, p + 20, 4) == 0);
	MUST(memcmp(&x.backfill, p + 96, 4) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t *copy;
	unsigned mode;

	mem_limit(1 << 18);
	if (n < 2 || n > INPUT_MAX)
		return 0;
	mode = p[0];
	copy = malloc(n);
	memcpy(copy, p + 2, n - 2);
	n -= 2;
	if ((mode & MODE_INDEX) != 0) {
		if (n >= WAL_INDEX_SIZE)
			read_index(copy, mode);
	} else {
		if ((mode & MODE_FIX) != 0 && n > WAL_HEADER_SIZE)
			fix(copy, n, mode & MODE_KEEP ? p[1] : FRAMES_MAX);
		read_wal(copy, n);
	}
	free(copy);
	return 0;
}
