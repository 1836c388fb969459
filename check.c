/* SPDX-License-Identifier: ISC */
/* One replica file read to its proven end, without writing anything. */
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "ltx.h"

/* All pages: which are there, and their fingerprint. */
static int
read_pages(struct ltx_reader *r, const char *path, uint32_t *from,
    struct pages *t, struct progress *g, uint64_t *print, struct err *e)
{
	const struct ltx_header *h = ltx_header(r);
	uint32_t lock = ltx_lock_page(h->page_size), next = 1;
	uint32_t before = t != NULL ? t->commit : 0;
	struct ltx_page p;
	int rc;

	*from = 0;
	*print = 0;
	while ((rc = ltx_next(r, &p, e)) == 1) {
		if (next == lock)
			next++;
		if (p.pgno != next)
			*from = p.pgno - 1 - (p.pgno - 1 == lock);
		next = p.pgno + 1;
		if (h->salt != 0)
			*print ^= ltx_page_hash(h->salt, p.pgno, p.data,
			    h->page_size);
		if (t != NULL && pages_grow(t, p.pgno, before,
		    ltx_bytes_read(r), path, e) != 0)
			return -1;
		if (t != NULL)
			pages_set(t, p.pgno, ltx_page_hash(t->salt, p.pgno,
			    p.data, h->page_size));
		progress_show(g, ltx_bytes_read(r));
	}
	if (next == lock)
		next++;
	if (next <= h->commit)
		*from = h->commit;
	g->before += ltx_bytes_read(r);
	if (rc == 0 && t != NULL)
		rc = pages_grow(t, h->commit, before, ltx_bytes_read(r), path,
		    e);
	return rc;
}

/* The table that f is read into: another page size begins anew. */
static void
begin_table(const struct store_file *f, struct pages *t)
{
	if (f->h.page_size != t->page_size)
		pages_clear(t, f->h.page_size, t->salt);
	t->txid = 0;
	if (f->h.commit < t->commit)
		pages_resize(t, f->h.commit);
}

int
check_read(const char *root, struct store_file *f, uint32_t *from,
    struct pages *t, struct progress *g, struct err *e)
{
	char *path = store_path(root, f);
	struct ltx_reader *r = NULL;
	uint64_t print;
	int fd, rc = -1;

	fd = store_open(root, f, e);
	if (fd < 0 || ltx_open(&r, fd, path, e) != 0)
		goto out;
	f->h = *ltx_header(r);
	if (store_check_name(f, path, e) != 0)
		goto out;
	if (t != NULL)
		begin_table(f, t);
	rc = read_pages(r, path, from, t, g, &print, e);
	if (rc == 0 && *from == 0 && f->h.salt != 0 &&
	    print != f->h.post_fingerprint)
		rc = err_set(e, ERR_DAMAGED, "%s: fingerprint mismatch", path);
	if (rc == 0 && t != NULL)
		t->txid = f->max_txid;
out:
	ltx_close(r);
	if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

int
check_state(const char *root, const struct store_file *f,
    const struct pages *t, struct err *e)
{
	if (!pages_complete(t))
		return err_set(e, ERR_DAMAGED, "%s: the files up to %s lack "
		    "pages of the database", root, TXID(f->max_txid));
	if (f->h.salt == t->salt && f->h.post_fingerprint != t->fingerprint)
		return err_set(e, ERR_DAMAGED, "%s: the files up to %s do not "
		    "make the database that was backed up (fingerprint "
		    "mismatch)", root, TXID(f->max_txid));
	return 0;
}
