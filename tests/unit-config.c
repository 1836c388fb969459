/* SPDX-License-Identifier: ISC */
/* What a configuration means, printed for 03-config.t. */
#include <stdio.h>
#include <string.h>

#include "../config.h"
#include "../keys.h"

static const char *
or_none(const char *s)
{
	return s != NULL ? s : "-";
}

/* "honoured dbs[].path" and so on, one line per key of the table. */
static int
print_keys(void)
{
	static const char *const name[] = { "honoured", "ignored",
	    "refused" };
	enum keys_class class;
	char key[128];
	size_t i;

	for (i = 0; keys_name(i, key, sizeof(key), &class); i++)
		printf("%s %s\n", name[class], key);
	return 0;
}

static void
print_db(const struct config_db *d)
{
	char t[TEXT_SIZE];

	printf("db %s dir %s pattern %s recursive %d watch %d\n",
	    or_none(d->path), or_none(d->dir), or_none(d->pattern),
	    d->recursive, d->watch);
	printf(" root %s meta %s %s\n", d->root, or_none(d->meta_path),
	    or_none(d->meta_dir));
	printf(" sync %s pages %lld %lld restore %d audit %d\n",
	    keys_duration(t, d->sync.interval_ms),
	    (long long)d->min_checkpoint_pages, (long long)d->truncate_pages,
	    d->restore_if_absent, d->audit);
}

static void
print_config(const struct config *c)
{
	char t[TEXT_SIZE], u[TEXT_SIZE];
	size_t i;

	printf("exec '%s' addr '%s'\n", c->exec, c->addr);
	printf("levels");
	for (i = 0; i < c->levels; i++)
		printf(" %s", keys_duration(t, c->level_ms[i]));
	printf("\nsnapshot %s %s\n", keys_duration(t, c->snapshot.interval_ms),
	    keys_duration(u, c->snapshot.retention_ms));
	printf("l0 %s %s\n", keys_duration(t, c->l0_retention_ms),
	    keys_duration(u, c->l0_check_ms));
	printf("validation %s retention %d\n",
	    keys_duration(t, c->validation_ms), c->retention);
	printf("stop %s %s\n", keys_duration(t, c->stop_timeout_ms),
	    keys_duration(u, c->stop_retry_ms));
	printf("socket %d %s %llo\n", c->socket, c->socket_path,
	    (unsigned long long)c->socket_mode);
	printf("log %s %s %d\n", c->log_level, c->log_type, c->log_stderr);
	printf("audit %d sync %s\n", c->audit,
	    keys_duration(t, c->sync.interval_ms));
	for (i = 0; i < c->n_db; i++)
		print_db(&c->db[i]);
	for (i = 0; i < c->n_warnings; i++)
		printf("warning %s\n", c->warning[i]);
}

/* Without arguments the table of keys; FILE: what it means; FILE DATABASE:
 * the entry that the database has. */
int
main(int argc, char **argv)
{
	struct config *c;
	struct config_db *d;
	struct err e;

	if (argc < 2)
		return print_keys();
	if (config_load(argv[1], true, &c, &e) != 0) {
		printf("%s\n", e.text);
		return 2;
	}
	if (argc == 2) {
		print_config(c);
	} else if ((d = config_find(c, argv[2])) != NULL) {
		print_db(d);
		config_db_free(d);
	} else
		puts("not found");
	config_free(c);
	return 0;
}
