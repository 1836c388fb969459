/* SPDX-License-Identifier: ISC */
/*
 * Jobs.  Every setting that a configuration can make and replication heeds is
 * handed over here, once.
 */
#include <stdlib.h>
#include <string.h>

#include "compact.h"
#include "operand.h"
#include "scan.h"
#include "setup.h"
#include "store.h"

#define STOP_TIMEOUT_MS 30000
#define STOP_RETRY_MS 500

void
setup_defaults(struct job_config *j, const char *db_path, const char *root)
{
	struct disk_owner none = { 0 };		/* the job knows it later */

	memset(j, 0, sizeof *j);
	j->pair.db_path = db_path;
	j->pair.root = root;
	compact_init(&j->levels, root, &none);
	j->pair.levels = j->levels.levels;
	j->audit_interval_ms = j->levels.snapshot_interval_ms;
	j->sync_interval_ms = -1;
	j->stop_timeout_ms = STOP_TIMEOUT_MS;
	j->stop_retry_ms = STOP_RETRY_MS;
}

void
setup_job(struct job_config *j, const struct config *c,
    const struct config_db *d)
{
	size_t i;

	setup_defaults(j, d->path, d->root);
	j->pair.meta = d->meta_path;
	j->levels.levels = j->pair.levels = (int)c->levels;
	for (i = 0; i < c->levels; i++)
		j->levels.interval_ms[i + 1] = c->level_ms[i];
	j->levels.snapshot_interval_ms = c->snapshot.interval_ms;
	j->levels.snapshot_retention_ms = c->snapshot.retention_ms;
	j->levels.l0_retention_ms = c->l0_retention_ms;
	j->levels.l0_check_ms = c->l0_check_ms;
	j->levels.validation_ms = c->validation_ms;
	j->levels.retention = c->retention;
	j->audit_interval_ms = c->audit && d->audit ?
	    c->snapshot.interval_ms : 0;
	j->sync_interval_ms = d->sync.interval_ms;
	j->checkpoint_frames = d->min_checkpoint_pages > UINT32_MAX ?
	    UINT32_MAX : (uint32_t)d->min_checkpoint_pages;
	j->truncate_frames = d->truncate_pages;
	j->restore_if_absent = d->restore_if_absent;
	j->stop_timeout_ms = c->stop_timeout_ms;
	j->stop_retry_ms = c->stop_retry_ms;
}

static void
add(struct setup *s, const struct config_db *d)
{
	s->job = xgrow(s->job, s->n, &s->cap, sizeof *s->job);
	setup_job(&s->job[s->n++], s->config, d);
}

/* The databases that are in the directory now. */
static int
add_directory(struct setup *s, const struct config_db *d, struct err *e)
{
	const char **known = xcalloc(s->n, sizeof *known);
	struct config_db *entry;
	char **path = NULL;
	size_t i, n = 0;
	int rc;

	for (i = 0; i < s->n; i++)
		known[i] = s->job[i].pair.db_path;
	rc = scan_dir(d, known, s->n, NULL, &path, &n, e);
	for (i = 0; rc == 0 && i < n; i++) {
		entry = config_dir_entry(d, path[i]);
		s->entry = xgrow(s->entry, s->n_entries, &s->cap_entries,
		    sizeof(*s->entry));
		s->entry[s->n_entries++] = entry;
		add(s, entry);
		s->job[s->n - 1].found = d->watch;
	}
	scan_free(path, n);
	free(known);
	return rc;
}

int
setup_refuse_twins(const struct setup *s, struct err *e)
{
	struct disk_stat *st = xcalloc(s->n, sizeof *st);
	struct err absent;
	size_t i, j;
	int rc = 0;

	for (i = 0; rc == 0 && i < s->n; i++) {
		if (disk_stat(s->job[i].pair.db_path, &st[i], &absent) != 0)
			continue;
		for (j = 0; j < i; j++)
			if (st[j].dev == st[i].dev && st[j].ino == st[i].ino &&
			    st[i].ino != 0)
				rc = err_set(e, ERR_USAGE, "%s: %s and %s are "
				    "one database", s->config->path,
				    s->job[j].pair.db_path,
				    s->job[i].pair.db_path);
	}
	free(st);
	return rc;
}

int
setup_load(struct setup *s, const char *path, bool expand_env, struct err *e)
{
	size_t i;

	memset(s, 0, sizeof *s);
	if (config_load(path, expand_env, &s->config, e) != 0)
		return -1;
	for (i = 0; i < s->config->n_db; i++)
		if (s->config->db[i].path != NULL)
			add(s, &s->config->db[i]);
	for (i = 0; i < s->config->n_db; i++)
		if (s->config->db[i].path == NULL &&
		    add_directory(s, &s->config->db[i], e) != 0)
			goto bad;
	return 0;
bad:
	setup_free(s);
	return -1;
}

int
setup_operands(struct setup *s, char **operand, struct err *e)
{
	struct config_db *d;
	char *root = store_url_path(operand[1], e);

	memset(s, 0, sizeof *s);
	if (root == NULL)
		return -1;
	d = xcalloc(1, sizeof *d);
	d->path = operand_db(operand[0]);
	d->root = root;
	s->entry = xgrow(NULL, 0, &s->cap_entries, sizeof *s->entry);
	s->entry[s->n_entries++] = d;
	s->job = xgrow(NULL, 0, &s->cap, sizeof *s->job);
	setup_defaults(&s->job[s->n++], d->path, d->root);
	return 0;
}

void
setup_free(struct setup *s)
{
	size_t i;

	for (i = 0; i < s->n_entries; i++)
		config_db_free(s->entry[i]);
	free(s->entry);
	free(s->job);
	config_free(s->config);
	memset(s, 0, sizeof *s);
}
