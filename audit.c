/* SPDX-License-Identifier: ISC */
/*
 * Audit.
 *
 * What the table has for each page must be what the database has at the commit
 * that the table is of.  Anything else means that somebody wrote to the
 * database file behind SQLite's back, that the disk or the memory is failing,
 * or that we are wrong; whichever, the replica shall have what the database
 * has.  Slices look at the image under the pin, so writers are not held up.
 */
#include <stdlib.h>

#include "audit.h"
#include "image.h"
#include "ltx.h"

#define SLICE_MS 10
#define SLICE_PAGES 16		/* between looks at the clock */

static int
compare(struct audit *a, struct capture *c, struct emit_file *f,
    uint32_t pgno, const uint8_t *page, struct err *e)
{
	struct pages *t = c->em.pages;
	uint64_t hash;

	if (pages_get(t, pgno, &hash) &&
	    hash == ltx_page_hash(t->salt, pgno, page, t->page_size))
		return 0;
	if (emit_check(f->em, e) != 0)
		return -1;	/* read without a pin */
	a->differed++;
	log_line(LOG_ERROR, "audit: page is not as it was replicated, sending "
	    "it again", "path", c->db_path, "page", I64(pgno), NULL);
	return emit_page(f, pgno, page, e);
}

static int
slice(struct audit *a, struct capture *c, struct image *m, bool *done,
    struct err *e)
{
	uint8_t *page = xmalloc(m->page_size);
	int64_t until = time_mono_ms() + SLICE_MS;
	struct emit_file f;
	uint32_t pgno;
	int rc = 1;

	emit_init(&f, &c->em);
	m->next = a->next != 0 ? a->next : 1;
	while ((rc = image_next(m, &pgno, page, e)) == 1) {
		if ((rc = compare(a, c, &f, pgno, page, e)) != 0)
			break;
		a->next = m->next;
		if (pgno % SLICE_PAGES == 0 && time_mono_ms() >= until)
			break;
	}
	*done = rc == 0 && m->next > m->commit;
	if (rc >= 0 && f.begun)
		rc = emit_publish(&f, m->commit, e);
	if (*done)
		a->next = 0;
	emit_free(&f);
	free(page);
	return rc < 0 ? -1 : 0;
}

int
audit_slice(struct audit *a, struct capture *c, bool *done, struct err *e)
{
	struct image m;
	int rc = 0;

	*done = false;
	if (c->doubt || c->tail != NULL)
		return 0;
	if (image_take(&m, c->db, e) != 0)
		return -1;
	if (m.commit == c->em.pages->commit && (m.end.frames == 0 ||
	    (m.end.frames == c->pos.frames && m.end.salt1 == c->pos.salt1 &&
	    m.end.salt2 == c->pos.salt2)))
		rc = slice(a, c, &m, done, e);
	image_close(&m);
	return rc;
}
