/* SPDX-License-Identifier: ISC */
/*
 * Any bytes as a page table file, and then its use: the first byte tells
 * whether its checksum and fingerprint are put right before, the second with
 * what pages are set, removed and cut.
 */
#include <stdlib.h>
#include <string.h>

#include "../../be.h"
#include "../../crc64.h"
#include "../../pages.h"
#include "fuzz.h"

#define PATH "/d/m/pages."
#define AGAIN "/d/m/again."
#define INPUT_MAX 65536
#define HEADER 200
#define SUM 8
#define MODE_PRINT 1u		/* what is put right */
#define MODE_SUM 2u
#define MODE_COMMIT 4u		/* from the size of the file */

static uint64_t
fingerprint(const struct pages *t)
{
	uint64_t x = 0, hash;
	uint32_t i;

	for (i = 1; i <= t->commit; i++)
		if (pages_get(t, i, &hash))
			x ^= hash;
	return x;
}

static void
check(const struct pages *t)
{
	uint64_t hash;
	uint32_t i;

	MUST(t->commit <= t->cap);
	MUST(t->fingerprint == fingerprint(t));
	MUST(!pages_get(t, 0, &hash) && !pages_get(t, t->commit + 1, &hash));
	for (i = t->commit; i < t->cap; i++)
		MUST((t->present[i / 8] >> i % 8 & 1) == 0);
}

static bool
same(const struct pages *a, const struct pages *b)
{
	uint64_t x = 0, y = 0;
	uint32_t i;

	if (a->page_size != b->page_size || a->commit != b->commit ||
	    a->salt != b->salt || a->txid != b->txid ||
	    a->file_checksum != b->file_checksum ||
	    a->fingerprint != b->fingerprint || a->clean != b->clean ||
	    a->settled != b->settled || a->root_dev != b->root_dev ||
	    a->root_fsid != b->root_fsid ||
	    memcmp(&a->wal, &b->wal, sizeof a->wal) != 0 ||
	    memcmp(a->id, b->id, sizeof a->id) != 0 ||
	    !disk_stat_equal(&a->db, &b->db) ||
	    !disk_stat_equal(&a->newest, &b->newest))
		return false;
	for (i = 1; i <= a->commit; i++)
		if (pages_get(a, i, &x) != pages_get(b, i, &y) || x != y)
			return false;
	return true;
}

static void
save_and_load(const struct pages *t)
{
	struct disk_owner o;
	struct pages u;
	struct err e;

	disk_owner_private(&o);
	MUST(pages_save(t, AGAIN, &o, &e) == 0);
	MUST(pages_load(&u, AGAIN, 0, &e) == 1);
	MUST(same(t, &u));
	check(&u);
	pages_free(&u);
}

/* Changes to it, each as capture makes them. */
static void
use(struct pages *t, unsigned how)
{
	uint32_t commit = t->commit, i;
	uint64_t hash;

	pages_resize(t, commit / 2 + how % 64);
	check(t);
	for (i = 1 + how % 3; i <= t->commit; i += 1 + how % 5) {
		pages_set(t, i, UINT64_C(0x9e3779b97f4a7c15) * i);
		MUST(pages_get(t, i, &hash));
	}
	pages_unset(t, 1 + how % 16);
	MUST(!pages_get(t, 1 + how % 16, &hash));
	check(t);
	pages_resize(t, commit);
	for (i = 1; i <= t->commit; i++)
		if (i != ltx_lock_page(t->page_size))
			pages_set(t, i, i);
	check(t);
	MUST(pages_complete(t));
	if (t->commit > 0) {
		pages_unset(t, t->commit);
		MUST(!pages_complete(t));
	}
	pages_clear(t, 1024, 7);
	MUST(t->commit == 0 && t->fingerprint == 0 && pages_complete(t));
	check(t);
}

static void
fix(uint8_t *p, size_t n, unsigned mode)
{
	size_t bits, commit, i;
	uint64_t x = 0;

	if (n < HEADER + SUM)
		return;
	memcpy(p, "LSPAGES1", 8);
	commit = (n - HEADER - SUM) * 8 / 65;
	while (commit > 0 && (commit + 7) / 8 + commit * 8 + HEADER + SUM > n)
		commit--;
	if ((mode & MODE_COMMIT) != 0)
		put_be32(p + 12, (uint32_t)commit);
	bits = (commit + 7) / 8;
	for (i = 0; i < commit; i++)
		if ((p[HEADER + i / 8] >> i % 8 & 1) != 0)
			x ^= be64(p + HEADER + bits + i * 8);
	if ((mode & MODE_PRINT) != 0)
		put_be64(p + 56, x);
	if ((mode & MODE_SUM) != 0)
		put_be64(p + n - SUM, crc64(0, p, n - SUM));
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct pages t;
	struct err e;
	uint8_t *copy;
	int rc;

	if (n < 2 || n > INPUT_MAX)
		return 0;
	mem_limit(2 * n + 4096);
	copy = malloc(n);
	memcpy(copy, p + 2, n - 2);
	fix(copy, n - 2, p[0]);
	mem_reset();
	mem_put(PATH, copy, n - 2);
	fuzz_clear(&e);
	rc = pages_load(&t, PATH, p[1], &e);
	MUST(rc == 0 || rc == 1);
	if (rc == 0)
		MUST(t.commit == 0 && t.hash == NULL && t.txid == 0);
	check(&t);
	if (rc == 1) {
		MUST(ltx_page_size_ok(t.page_size) && t.salt != 0);
		MUST(memchr(t.id, '\0', sizeof t.id) != NULL);
		MUST(be64(copy + 56) == t.fingerprint);
		MUST(be32(copy + 12) == t.commit);
		MUST(n - 2 == HEADER + (t.commit + 7) / 8 +
		    (size_t)t.commit * 8 + SUM);
		save_and_load(&t);
		use(&t, p[1]);
	}
	pages_free(&t);
	free(copy);
	return 0;
}
