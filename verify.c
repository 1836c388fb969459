/* SPDX-License-Identifier: ISC */
/*
 * Whether a replica is whole.
 *
 * Every file is read to its proven end.  Those of the chain to the newest point
 * are read in order, and their pages' hashes entered in a page table, which
 * must be complete then and have the fingerprint that the last file carries.
 * What the rest promises is told by the headers of proven files (findings.c).
 *
 * The replica may be written to meanwhile.  A file that has gone is no damage:
 * the list is made again, and files already read are not read again.  A listing
 * is not made at one instant either, so what seems to be damage of the whole is
 * believed only if a second listing is the same.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "compare.h"
#include "db.h"
#include "disk.h"
#include "findings.h"
#include "plan.h"
#include "restore.h"
#include "v3.h"
#include "verify.h"

#define ROUNDS 50		/* of listings that change */
#define MODE_AT 18		/* of the journal mode in a database, 2 bytes */

struct state {
	const struct verify_args *a;
	struct verify_report *r;
	struct store_list l;	/* as r->file; what is wrong is bad */
	struct pages t;		/* of the newest point, while txid != 0 */
	struct progress progress;
};

void
verify_free(struct verify_report *r)
{
	size_t i;

	findings_clear(r);
	for (i = 0; i < r->n; i++)
		free(r->file[i].why);
	free(r->file);
	free(r->gap);
	free(r->problem);
	free(r->note);
	memset(r, 0, sizeof(*r));
}

/* Files */

static bool
same_file(const struct store_file *a, const struct store_file *b)
{
	return a->level == b->level && a->min_txid == b->min_txid &&
	    a->max_txid == b->max_txid && a->size == b->size &&
	    a->mtime_ms == b->mtime_ms;
}

static int
order(const struct store_file *a, const struct store_file *b)
{
	if (a->level != b->level)
		return a->level < b->level ? -1 : 1;
	if (a->min_txid != b->min_txid)
		return a->min_txid < b->min_txid ? -1 : 1;
	return (a->max_txid > b->max_txid) - (a->max_txid < b->max_txid);
}

/* Takes the list, and what is known of its files; *changed: it is another. */
static int
list_again(struct state *s, bool *changed, struct err *e)
{
	struct verify_report *r = s->r;
	struct verify_file *old = r->file;
	size_t i, k = 0, n = r->n;

	store_list_free(&s->l);
	if (store_list(s->a->root, -1, &s->l, e) != 0)
		return -1;
	if (s->l.first_unread.kind != ERR_NONE) {
		*e = s->l.first_unread;
		return -1;
	}
	*changed = n != s->l.n;
	r->n = s->l.n;
	r->file = xcalloc(r->n + 1, sizeof(*r->file));
	for (i = 0; i < r->n; i++) {
		while (k < n && order(&old[k].f, &s->l.file[i]) < 0)
			free(old[k++].why);
		if (k < n && same_file(&old[k].f, &s->l.file[i])) {
			r->file[i] = old[k++];
			s->l.file[i].bad = r->file[i].why != NULL;
			if (r->file[i].read)
				s->l.file[i].h = r->file[i].f.h;
		} else {
			r->file[i].f = s->l.file[i];
			*changed = true;
		}
	}
	while (k < n)
		free(old[k++].why);
	free(old);
	return 0;
}

/* Reads file i; 1; 0 if it has gone; -1. */
static int
read_file(struct state *s, size_t i, struct pages *t, struct err *e)
{
	struct verify_file *v = &s->r->file[i];

	if (check_read(s->a->root, &v->f, &v->from, t, &s->progress,
	    e) != 0) {
		if (e->kind == ERR_ABSENT)
			return 0;
		if (e->kind != ERR_DAMAGED)
			return -1;
		free(v->why);
		v->why = xstrdup(e->text);
	}
	v->read = true;
	v->f.bad = v->why != NULL;
	s->l.file[i] = v->f;
	if (v->f.bad)
		s->l.first_bad = *e;
	return 1;
}

static void
begin_table(struct state *s, const struct store_file *newest)
{
	uint32_t salt = newest->h.salt;

	while (salt == 0)
		random_bytes(&salt, sizeof(salt));
	pages_clear(&s->t, newest->h.page_size, salt);
	s->t.txid = 0;
}

/* The files of p into the table; *done if none is bad or has gone. */
static int
roll(struct state *s, const struct plan *p, bool *gone, bool *done,
    struct err *e)
{
	size_t i;
	int rc;

	*done = false;
	for (i = 0; i < p->n; i++) {
		if ((rc = read_file(s, p->file[i], &s->t, e)) < 0)
			return -1;
		*gone = rc == 0;
		if (*gone || s->r->file[p->file[i]].why != NULL)
			return 0;
	}
	*done = true;
	return 0;
}

/* Brings the table to the newest point, as far as there is a chain.  Each turn
 * but the last marks a file bad or begins from nothing: it ends. */
static int
roll_all(struct state *s, bool *gone, struct err *e)
{
	const struct store_file *newest;
	uint64_t to = store_max_txid(&s->l);
	struct err why;
	struct plan p;
	bool done;
	int rc = 0;

	while (rc == 0 && !*gone && s->t.txid < to) {
		if (plan_make(&s->l, s->t.txid, to, &p, &why) != 0) {
			if (s->t.txid == 0)
				return 0;
			s->t.txid = 0;
			continue;
		}
		newest = &s->l.file[p.file[p.n - 1]];
		done = false;
		if (s->t.txid == 0)
			begin_table(s, newest);
		if (newest->h.salt == 0 || newest->h.salt == s->t.salt)
			rc = roll(s, &p, gone, &done, e);
		plan_free(&p);
		if (!done)
			s->t.txid = 0;
	}
	return rc;
}

static int
read_all(struct state *s, bool *gone, struct err *e)
{
	size_t i;
	int rc;

	*gone = false;
	s->progress.total = s->progress.before;
	for (i = 0; i < s->r->n; i++)
		if (!s->r->file[i].read)
			s->progress.total += s->r->file[i].f.size;
	if (roll_all(s, gone, e) != 0)
		return -1;
	for (i = 0; i < s->r->n; i++) {
		if (s->r->file[i].read)
			continue;
		if ((rc = read_file(s, i, NULL, e)) < 0)
			return -1;
		if (rc == 0)
			*gone = true;
	}
	return 0;
}

/* A good one that ends last; rather one whose fingerprint is known. */
static const struct store_file *
newest_file(const struct state *s)
{
	const struct store_file *best = NULL, *f;
	size_t i;

	for (i = 0; i < s->l.n; i++) {
		f = &s->l.file[i];
		if (!f->bad && (best == NULL || f->max_txid > best->max_txid ||
		    (f->max_txid == best->max_txid && best->h.salt == 0)))
			best = f;
	}
	return best;
}

/* Whether the table is the newest point, as its file says. */
static void
check_newest(struct state *s)
{
	struct verify_report *r = s->r;
	const struct store_file *newest = newest_file(s);
	struct err why;

	r->txid = 0;
	if (s->t.txid == 0 || newest == NULL ||
	    newest->max_txid != s->t.txid)
		return;
	if (check_state(s->a->root, newest, &s->t, &why) != 0) {
		findings_problem(r, xstrdup(why.text));
		r->damaged = true;
		return;
	}
	r->txid = s->t.txid;
	r->timestamp_ms = r->points > 0 ?
	    r->point[r->points - 1].timestamp_ms : newest->h.timestamp_ms;
	r->commit = s->t.commit;
	r->page_size = s->t.page_size;
	r->salt = newest->h.salt;
	r->fingerprint = s->t.fingerprint;
}

/* Reads and looks until nothing moves, or nothing is wrong. */
static int
examine(struct state *s, struct err *e)
{
	bool changed, gone;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (list_again(s, &changed, e) != 0 ||
		    (changed && read_all(s, &gone, e) != 0))
			return -1;
		if (changed && gone)
			continue;
		findings_look(s->a->root, &s->l, s->r);
		check_newest(s);
		if (!s->r->damaged || !changed)
			return 0;
	}
	return err_set(e, ERR_BUSY, "%s: changes faster than it can be read",
	    s->a->root);
}

/* Beyond the replica's files */

/* What is absent is not the replica. */
static void
unsure(struct verify_report *r, const struct err *e)
{
	if (r->unsure.kind != ERR_NONE)
		return;
	r->unsure = *e;
	if (e->kind == ERR_ABSENT)
		r->unsure.kind = ERR_SYSTEM;
}

static void
compare(struct state *s)
{
	struct verify_report *r = s->r;
	struct err e;

	if (compare_db(s->a->root, s->a->db, &s->t, &e) == 0) {
		r->same_as_db = true;
		r->db_txid = s->t.txid;
		return;
	}
	if (e.kind != ERR_DAMAGED) {
		unsure(r, &e);
		return;
	}
	findings_problem(r, xstrdup(e.text));
	r->damaged = true;
}

/* A file without a name, which SQLite has opened while it had one. */
static int
make_scratch(char **path, struct db_check **k, struct err *e)
{
	const char *dir = getenv("TMPDIR");
	struct disk_owner o;
	uint64_t id;
	int fd;

	random_bytes(&id, sizeof(id));
	disk_owner_private(&o);
	*path = xasprintf("%s/litestream-verify.%s",
	    dir != NULL && *dir != '\0' ? dir : "/tmp", TXID(id));
	if ((fd = disk_create(*path, &o, e)) < 0)
		return -1;
	if (db_check_open(k, *path, e) == 0 && disk_unlink(*path, e) == 0)
		return fd;
	unlink(*path);
	close(fd);
	return -1;
}

/* Restored, and checked by SQLite: in rollback mode, as a WAL needs a name. */
static int
restore_and_check(struct state *s, int fd, const char *path,
    struct db_check *k, struct err *e)
{
	static const uint8_t mode[] = { 1, 1 };
	struct restore_args ra = { .root = s->a->root, .fd = fd,
	    .progress = s->a->progress };
	struct restore_result res;

	if (restore_run(&ra, &res, e) != 0 ||
	    disk_pwrite(fd, mode, sizeof(mode), MODE_AT, path, e) != 0)
		return -1;
	return db_check_run(k, true, e);
}

static void
check_fully(struct state *s)
{
	struct db_check *k = NULL;
	char *path = NULL;
	struct err e;
	int fd, rc = -1;

	fd = make_scratch(&path, &k, &e);
	if (fd >= 0)
		rc = restore_and_check(s, fd, path, k, &e);
	db_check_free(k);
	if (fd >= 0)
		close(fd);
	free(path);
	if (rc == 0)
		s->r->checked = true;
	else if (e.kind == ERR_DAMAGED) {
		findings_problem(s->r, xstrdup(e.text));
		s->r->damaged = true;
	} else
		unsure(s->r, &e);
}

static void
check_age(struct state *s)
{
	int64_t max = s->a->max_age_ms, age;
	char when[TEXT_SIZE];
	struct err e;

	age = time_wall_ms() - s->r->timestamp_ms;
	if (max < 0 || s->r->same_as_db || age <= max)
		return;
	err_set(&e, ERR_BUSY, "%s: the newest restore point is of %s, %"
	    PRId64 " s ago", s->a->root, time_text(when,
	    s->r->timestamp_ms, false), age / 1000);
	unsure(s->r, &e);
}

/* No files of v0.5: are there others? */
static int
nothing(const struct verify_args *a, struct err *e)
{
	const struct store_list none = { .n = 0 };
	struct v3_choice c;
	int rc = v3_choose(a->root, &none, false, 0, &c, e);

	v3_free(&c);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_set(e, ERR_ABSENT, "%s: no backups found", a->root);
	err_set(e, ERR_BUSY, "%s: holds only files of Litestream 0.3, which "
	    "are not verified", a->root);
	err_hint(e, "litestream restore -integrity-check full");
	return -1;
}

int
verify_run(const struct verify_args *a, struct verify_report *r,
    struct err *e)
{
	struct state s = { .a = a, .r = r };
	int rc;

	memset(r, 0, sizeof(*r));
	pages_init(&s.t);
	progress_init(&s.progress, a->progress);
	rc = examine(&s, e);
	progress_end(&s.progress);
	if (rc == 0 && r->n == 0)
		rc = nothing(a, e);
	if (rc == 0 && r->txid == 0)
		r->damaged = true;
	if (rc == 0 && r->txid != 0) {
		if (a->full)
			check_fully(&s);
		if (a->db != NULL)
			compare(&s);
		check_age(&s);
	}
	store_list_free(&s.l);
	pages_free(&s.t);
	if (rc != 0)
		verify_free(r);
	return rc;
}
