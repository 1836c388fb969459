/* SPDX-License-Identifier: ISC */
/*
 * A history, and what the files of a replica make of it.  The input is a list
 * of small transactions; each becomes a file of level 0.  They are restored,
 * merged whole, and a range of them is merged and put in their place.  Every
 * way must give the state that a plain array has, or fail where that lacks
 * pages.  With one page, header or byte of a file changed afterwards each way
 * gives that state or fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../check.h"
#include "../../ltx_format.h"
#include "../../merge.h"
#include "../../restore.h"
#include "fuzz.h"

#include "../../be.h"

#define ROOT "/r"
#define FILES 8
#define PAGES 20
#define FILE_SIZE 2048
#define LIE_NONE 0
#define LIE_PAGE 1		/* another page, all checksums right */
#define LIE_HEADER 2
#define LIE_BYTE 3

enum { LOST = -1, BASE = -2 };	/* instead of a page's byte */

struct state {
	uint32_t page_size, commit;
	int page[PAGES + 1];
	bool certain;		/* else it may also be refused */
};

struct input {
	const uint8_t *p;
	size_t n;
};

struct tx {
	struct ltx_header h;
	int page[PAGES + 1];	/* -1: not in it */
};

struct history {
	struct tx tx[FILES];
	size_t n;
	uint8_t lie;
	size_t liar;
};

static uint8_t
take(struct input *in)
{
	if (in->n == 0)
		return 0;
	in->n--;
	return *in->p++;
}

/* t on top of s. */
static void
apply(struct state *s, const struct tx *t)
{
	uint32_t i;

	if (t->h.page_size != s->page_size) {
		for (i = 1; i <= t->h.commit; i++)
			if (t->page[i] < 0)
				s->certain = false;
		s->commit = 0;
		s->page_size = t->h.page_size;
	}
	for (i = s->commit + 1; i <= PAGES; i++)
		s->page[i] = LOST;
	for (i = t->h.commit + 1; i <= PAGES; i++)
		s->page[i] = LOST;
	for (i = 1; i <= t->h.commit; i++)
		if (t->page[i] >= 0)
			s->page[i] = t->page[i];
	s->commit = t->h.commit;
}

/* The state after the transactions from .. to - 1, on top of whatever. */
static struct state
replay(const struct history *y, size_t from, size_t to)
{
	struct state s = { .certain = true };
	uint32_t i;

	s.page_size = y->tx[from].h.page_size;
	s.commit = from > 0 ? PAGES : 0;
	for (i = 0; i <= PAGES; i++)
		s.page[i] = from > 0 ? BASE : LOST;
	for (; from < to; from++)
		apply(&s, &y->tx[from]);
	return s;
}

static bool
complete(const struct state *s)
{
	uint32_t i;

	for (i = 1; i <= s->commit; i++)
		if (s->page[i] == LOST)
			return false;
	return true;
}

static void
fill(uint8_t *page, int byte, uint32_t page_size)
{
	memset(page, byte, page_size);
}

static uint64_t
fingerprint(const struct state *s, uint32_t salt)
{
	uint8_t page[1024];
	uint64_t x = 0;
	uint32_t i;

	for (i = 1; i <= s->commit; i++) {
		fill(page, s->page[i], s->page_size);
		x ^= ltx_page_hash(salt, i, page, s->page_size);
	}
	return x;
}

/* A transaction: size, whether growth is complete (a file that begins with TXID
 * 1 always is), pages and their bytes. */
static void
read_tx(struct input *in, struct history *y)
{
	struct tx *t = &y->tx[y->n];
	uint8_t how = take(in), k;
	struct state s = { .commit = 0 };
	uint32_t i;

	memset(t, 0, sizeof *t);
	if (y->n > 0)
		s = replay(y, 0, y->n);
	t->h.flags = LTX_NO_CHECKSUM;
	t->h.page_size = how & 0x80 ? 1024 : 512;
	t->h.commit = 1 + (how & 0x1f) % PAGES;
	t->h.min_txid = t->h.max_txid = ++y->n;
	t->h.timestamp_ms = (int64_t)y->n * 1000;
	for (i = 0; i <= PAGES; i++)
		t->page[i] = -1;
	for (k = take(in) % 8; k > 0; k--) {
		i = 1 + take(in) % PAGES;
		if (i <= t->h.commit)
			t->page[i] = take(in);
	}
	if (t->h.page_size != s.page_size)
		s.commit = 0;
	for (i = s.commit + 1; i <= t->h.commit; i++)
		if (t->page[i] < 0 && ((how & 0x40) == 0 || y->n == 1))
			t->page[i] = (int)i;
}

/* Whether every state in it is known. */
static bool
legal(const struct history *y)
{
	struct state s;
	size_t i;

	for (i = 0; i < y->n; i++) {
		s = replay(y, 0, i + 1);
		if (!complete(&s) || !s.certain)
			return false;
	}
	return true;
}

/* One salt for all, and their fingerprints. */
static void
sign(struct history *y, uint32_t salt)
{
	struct state s;
	uint64_t pre = 0;
	size_t i;

	for (i = 0; i < y->n; i++) {
		s = replay(y, 0, i + 1);
		y->tx[i].h.salt = salt;
		y->tx[i].h.pre_fingerprint = pre;
		pre = y->tx[i].h.post_fingerprint = fingerprint(&s, salt);
	}
}

/* A page of one byte as LZ4 block: a literal, itself again, five literals. */
static size_t
put_page(uint8_t *p, uint32_t pgno, uint8_t byte, uint32_t page_size)
{
	uint32_t left = page_size - 1 - 5 - 4 - 15;
	size_t n = LTX_BLOCK_HEADER_SIZE;

	p[n++] = 0x1f;
	p[n++] = byte;
	p[n++] = 1;
	p[n++] = 0;
	for (; left >= 255; left -= 255)
		p[n++] = 255;
	p[n++] = (uint8_t)left;
	p[n++] = 0x50;
	memset(p + n, byte, 5);
	n += 5;
	put_be32(p, pgno);
	put_be16(p + 4, LTX_PAGE_IS_BLOCK);
	put_be32(p + LTX_PAGE_HEADER_SIZE,
	    (uint32_t)(n - LTX_BLOCK_HEADER_SIZE));
	return n;
}

static char *
path_of(int level, size_t min, size_t max)
{
	struct store_file f = { .level = level, .min_txid = min,
	    .max_txid = max };

	return store_path(ROOT, &f);
}

static void
put_file(const struct history *y, size_t which, struct input *in)
{
	uint8_t raw[FILE_SIZE] = { 0 }, file[FORM_MAX(FILE_SIZE)];
	bool lie = y->lie != LIE_NONE && y->liar == which;
	const struct tx *t = &y->tx[which];
	size_t n = LTX_HEADER_SIZE, victim = 1 + take(in) % PAGES, at;
	uint8_t x = take(in);
	char *path;
	uint32_t i;

	ltx_put_header(raw, &t->h);
	if (lie && y->lie == LIE_HEADER)
		raw[4 + (victim << 8 | x) % (LTX_HEADER_SIZE - 4)] ^=
		    (uint8_t)(x | 1);
	for (i = 1; i <= t->h.commit; i++)
		if (t->page[i] >= 0)
			n += put_page(raw + n, i, (uint8_t)(t->page[i] ^ (lie &&
			    y->lie == LIE_PAGE && i == victim ? x | 1 : 0)),
			    t->h.page_size);
	n = form_fix(raw, n + LTX_PAGE_HEADER_SIZE, file);
	at = (victim << 8 | x) % n;
	if (lie && y->lie == LIE_BYTE && x % 4 == 0)
		n = at;
	else if (lie && y->lie == LIE_BYTE)
		file[at] ^= (uint8_t)(1 | take(in));
	path = path_of(0, which + 1, which + 1);
	mem_put(path, file, n);
	free(path);
}

/* Whether a result, if there is one, may be and is s. */
static void
judge(int rc, const struct err *e, const struct state *s, bool lied)
{
	if (rc != 0)
		fuzz_error(e, ERR_NONE, NULL);
	else
		MUST(complete(s));
	if (!lied && s->certain && complete(s))
		{if(rc)fprintf(stderr,"%s\n",e->text); MUST(rc == 0);}
	if (rc != 0 && !lied)
		MUST(e->kind == ERR_DAMAGED);
}

/* The database of all that is in ROOT. */
static void
restore(const struct history *y, const struct state *s, bool lied)
{
	struct restore_args a = { .root = ROOT };
	struct restore_result r = { 0 };
	uint8_t page[1024];
	const uint8_t *p;
	struct err e;
	uint32_t i;
	size_t n;
	int rc;

	a.fd = mem_open("/d/out.db", O_CREAT | O_EXCL | O_RDWR);
	fuzz_clear(&e);
	rc = restore_run(&a, &r, &e);
	judge(rc, &e, s, lied);
	if (rc == 0) {
		MUST(r.txid == y->n && r.commit == s->commit);
		p = mem_get("/d/out.db", &n);
		MUST(n == (size_t)s->commit * s->page_size);
		for (i = 1; i <= s->commit; i++) {
			fill(page, s->page[i], s->page_size);
			MUST(memcmp(page, p + (i - 1) * s->page_size,
			    s->page_size) == 0);
		}
	}
	MUST(mem_close(a.fd) == 0 && mem_unlink("/d/out.db") == 0);
}

/* The pages of a file that was made: those of s that are known. */
static void
compare(const char *path, const struct state *s)
{
	struct ltx_reader *r;
	struct ltx_page p;
	uint8_t page[1024];
	uint32_t n = 0, kept = 0, i;
	struct err e;
	int fd = mem_open(path, O_RDONLY), rc;

	MUST(fd >= 0 && ltx_open(&r, fd, path, &e) == 0);
	MUST(ltx_header(r)->commit == s->commit);
	MUST(ltx_header(r)->page_size == s->page_size);
	while ((rc = ltx_next(r, &p, &e)) == 1) {
		MUST(p.pgno <= s->commit && s->page[p.pgno] >= 0);
		fill(page, s->page[p.pgno], s->page_size);
		MUST(memcmp(page, p.data, s->page_size) == 0);
		n++;
	}
	MUST(rc == 0);
	for (i = 1; i <= s->commit; i++)
		kept += s->page[i] >= 0;
	MUST(n == kept);
	ltx_close(r);
	MUST(mem_close(fd) == 0);
}

/* Files from .. to - 1 of l, merged; whether they could be. */
static bool
merge(const struct history *y, const struct store_list *l, size_t from,
    size_t to, int level, bool lied)
{
	struct state s = replay(y, from, to);
	struct store_file out;
	struct disk_owner o;
	struct err e;
	char *path;
	size_t i;
	int rc;

	for (i = from; i < to; i++)
		if (l->file[i].bad)	/* nobody asks for that */
			return false;
	disk_owner_private(&o);
	fuzz_clear(&e);
	rc = merge_files(ROOT, l->file + from, to - from, level, from + 1, &o,
	    NULL, &out, &e);
	judge(rc, &e, &s, lied);
	path = path_of(level, from + 1, to);
	if (rc == 0 && (!lied || from == 0))
		compare(path, &s);
	if (rc == 0)
		MUST(out.min_txid == from + 1 && out.max_txid == to);
	free(path);
	return rc == 0;
}

/* All read into one table. */
static void
check(const struct history *y, struct store_list *l, const struct state *s,
    bool lied)
{
	struct progress g = { 0 };
	struct pages t;
	uint32_t from;
	struct err e;
	size_t i;
	int rc = 0;

	pages_init(&t);
	pages_clear(&t, y->tx[0].h.page_size, 7);
	fuzz_clear(&e);
	for (i = 0; rc == 0 && i < l->n; i++)
		rc = check_read(ROOT, &l->file[i], &from, &t, &g, &e);
	if (rc == 0)
		rc = check_state(ROOT, &l->file[l->n - 1], &t, &e);
	judge(rc, &e, s, lied || !legal(y));
	if (rc == 0)
		MUST(t.fingerprint == fingerprint(s, 7));
	pages_free(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, n };
	struct history y = { .n = 0 };
	struct store_list l;
	size_t i, from, to;
	uint8_t how = take(&in);
	struct state s;
	struct err e;
	char *path;
	bool lied;

	log_set_level("ERROR");
	mem_limit(4 << 20);
	mem_reset();
	y.lie = how & 3u;
	y.liar = how >> 2 & 7u;
	from = take(&in);
	to = take(&in);
	while (y.n < FILES && (in.n > 0 || y.n == 0))
		read_tx(&in, &y);
	lied = y.lie != LIE_NONE && y.liar < y.n;
	if (lied && !legal(&y))
		return 0;	/* nobody could tell */
	if (lied || ((how & 0x20) != 0 && legal(&y)))
		sign(&y, 7);
	in = (struct input){ p + n / 2, n - n / 2 };
	for (i = 0; i < y.n; i++)
		put_file(&y, i, &in);
	s = replay(&y, 0, y.n);
	restore(&y, &s, lied);
	MUST(store_list(ROOT, 0, &l, &e) == 0 && l.n == y.n);
	check(&y, &l, &s, lied);
	merge(&y, &l, 0, y.n, STORE_SNAPSHOT, lied);
	path = path_of(STORE_SNAPSHOT, 1, y.n);
	if (mem_unlink(path) == 0 && y.n > 1) {
		from %= y.n;
		to = from + 1 + to % (y.n - from);
		if (merge(&y, &l, from, to, 1, lied)) {
			free(path);
			for (i = from; i < to; i++) {
				path = path_of(0, i + 1, i + 1);
				mem_unlink(path);
				free(path);
			}
			path = NULL;
			restore(&y, &s, lied);
		}
	}
	free(path);
	store_list_free(&l);
	return 0;
}
