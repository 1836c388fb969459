/* SPDX-License-Identifier: ISC */
/*
 * litestream.yml: what it says.
 *
 * Globals are read before databases, which begin as copies of them.  A
 * snapshot setting of a database is one for all, as upstream has it: levels
 * and snapshots are one schedule, so two databases must not disagree.
 */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "keys.h"
#include "node.h"
#include "store.h"

#define DEFAULT_PATH "/etc/litestream.yml"
#define DEFAULT_SOCKET "/var/run/litestream.sock"
#define DEFAULT_SOCKET_MODE 0600
#define META_SUFFIX "-litestream"
#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define PREFIX_SIZE 512
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const char *
config_default_path(void)
{
	const char *s = getenv("LITESTREAM_CONFIG");

	return s != NULL && *s != '\0' ? s : DEFAULT_PATH;
}

static int
read_levels(struct keys_reader *r, const struct node *n, struct config *c)
{
	char prefix[PREFIX_SIZE];
	size_t i;

	if (n == NULL)
		return 0;
	if (n->kind != NODE_LIST || n->n == 0 || n->n > CONFIG_MAX_LEVELS)
		return keys_fail(r, n, "levels: must be a list of 1 to %d "
		    "levels", CONFIG_MAX_LEVELS);
	c->levels = n->n;
	for (i = 0; i < n->n; i++) {
		c->level_ms[i] = 0;
		snprintf(prefix, sizeof(prefix), "levels[%zu].", i);
		if (keys_read(r, KEYS_LEVEL, n->child[i], prefix,
		    &c->level_ms[i], NULL) != 0)
			return -1;
		if (c->level_ms[i] == 0)
			return keys_fail(r, n->child[i], "%sinterval: "
			    "compaction interval must be greater than 0 "
			    "(got 0s)", prefix);
	}
	return 0;
}

/* The replica's directory from what the file says; NULL with an error. */
static char *
replica_root(struct keys_reader *r, const struct node *n,
    const struct keys_replica *t)
{
	static const char *const cloud[] = { "s3", "gs", "abs", "sftp",
	    "webdav", "nats", "oss" };
	struct err e;
	char *root = NULL;
	size_t i;

	if (t->path != NULL && store_is_url(t->path)) {
		keys_fail(r, node_get(n, "path"), "replica path cannot be a "
		    "url, please use the 'url' field instead: %s", t->path);
	} else if (t->type != NULL && strcmp(t->type, "file") != 0 &&
	    (t->url == NULL || !store_is_url(t->url))) {
		for (i = 0; i < COUNT(cloud) &&
		    strcmp(cloud[i], t->type) != 0; i++)
			continue;
		keys_fail(r, node_get(n, "type"), i < COUNT(cloud) ?
		    "unsupported replica type: \"%s\" (only file)" :
		    "unknown replica type in config: \"%s\"", t->type);
	} else if (t->url != NULL) {
		if ((root = store_url_path(t->url, &e)) == NULL) {
			keys_fail(r, node_get(n, "url"), "%s", e.text);
			err_hint(r->e, "%s", e.hint);
		} else if (t->path != NULL) {
			keys_fail(r, n, "cannot specify url & path for file "
			    "replica");
			free(root);
			root = NULL;
		}
	} else if (t->path == NULL)
		keys_fail(r, n, "file replica path required");
	else
		root = keys_path(t->path);
	return root;
}

static int
read_replica(struct keys_reader *r, const struct node *n, struct keys_db *x,
    const char *prefix)
{
	struct keys_replica t = { .type = NULL };
	char inner[PREFIX_SIZE];
	int rc;

	if (x->replicas != NULL && x->replicas->kind != NODE_LIST)
		return keys_fail(r, x->replicas, "%sreplicas: must be a list",
		    prefix);
	if (x->replica != NULL && x->replicas != NULL && x->replicas->n > 0)
		return keys_fail(r, n, "cannot specify 'replica' and "
		    "'replicas' on a database");
	if (x->replica == NULL && x->replicas != NULL && x->replicas->n > 1)
		return keys_fail(r, x->replicas, "multiple replicas on a "
		    "single database are no longer supported");
	if (x->replica == NULL && x->replicas != NULL && x->replicas->n == 1)
		x->replica = x->replicas->child[0];
	if (x->replica == NULL)
		return keys_fail(r, n, "must specify replica for database");
	snprintf(inner, sizeof(inner), "%.400sreplica.", prefix);
	rc = keys_read(r, KEYS_REPLICA, x->replica, inner, &t, &x->d.sync);
	if (rc == 0)
		x->d.root = replica_root(r, x->replica, &t);
	free(t.type);
	free(t.path);
	free(t.url);
	return x->d.root != NULL ? rc : -1;
}

/* Upstream's rules for an entry of dbs, in its words. */
static const char *
wrong_db(const struct config_db *d)
{
	if (d->path != NULL && d->dir != NULL)
		return "cannot specify both 'path' and 'dir'";
	if (d->path == NULL && d->dir == NULL)
		return "must specify either 'path' or 'dir'";
	if (d->dir != NULL && d->pattern == NULL)
		return "'pattern' is required when using 'dir'";
	if (d->watch && d->dir == NULL)
		return "'watch' can only be enabled with a directory";
	if (d->meta_dir != NULL && d->dir == NULL)
		return "'meta-dir' can only be used with a directory";
	if (d->meta_path != NULL && d->meta_dir != NULL)
		return "cannot specify both 'meta-path' and 'meta-dir'";
	if (d->path == NULL && strchr(d->pattern, '/') != NULL)
		return "'pattern' is for the names of files, without '/'";
	if (d->path != NULL && (d->pattern != NULL || d->recursive))
		return "'pattern' and 'recursive' need a directory";
	return NULL;
}

/* "dbs[PATH]." for messages. */
static void
db_prefix(const struct node *n, char prefix[PREFIX_SIZE])
{
	const struct node *name = node_get(n, "path");
	char *s;

	if (name == NULL || name->kind != NODE_SCALAR)
		name = node_get(n, "dir");
	s = name != NULL && name->kind == NODE_SCALAR ?
	    keys_path(name->text) : xstrdup("");
	snprintf(prefix, PREFIX_SIZE, "dbs[%s].", s);
	free(s);
}

/* *d is the config's whether this succeeds or not. */
static int
read_db(struct keys_reader *r, const struct node *n, const struct config *c,
    size_t number, struct config_db *d)
{
	struct keys_db x = { .replica = NULL };
	char prefix[PREFIX_SIZE];
	const char *wrong;
	int rc;

	x.d.line = n->line;
	x.d.audit = c->audit;
	x.d.sync = c->sync;
	db_prefix(n, prefix);
	rc = keys_read(r, KEYS_DB, n, prefix, &x, NULL);
	if (rc == 0 && (wrong = wrong_db(&x.d)) != NULL)
		rc = keys_fail(r, n, "database config #%zu: %s", number,
		    wrong);
	if (rc == 0)
		rc = read_replica(r, n, &x, prefix);
	*d = x.d;
	return rc;
}

static int
read_dbs(struct keys_reader *r, const struct node *n, struct config *c)
{
	size_t i;

	if (n == NULL)
		return 0;
	if (n->kind != NODE_LIST)
		return keys_fail(r, n, "dbs: must be a list");
	c->db = xcalloc(n->n, sizeof(*c->db));
	for (i = 0; i < n->n; i++)
		if (read_db(r, n->child[i], c, i + 1, &c->db[c->n_db++]) != 0)
			return -1;
	return 0;
}

/* One setting for all: *all is 0 until a database gives it. */
static int
lift(struct keys_reader *r, const struct config_db *d, const char *what,
    int64_t ms, int64_t *all, const struct config_db **from)
{
	const struct node at = { .line = d->line };
	char a[TEXT_SIZE], b[TEXT_SIZE];

	if (ms == 0)
		return 0;
	if (*all != 0 && *all != ms)
		return keys_fail(r, &at, "conflicting database snapshot %s: "
		    "%s has %s, %s has %s", what, (*from)->path != NULL ?
		    (*from)->path : (*from)->dir, keys_duration(a, *all),
		    d->path != NULL ? d->path : d->dir,
		    keys_duration(b, ms));
	*all = ms;
	*from = d;
	return 0;
}

static int
lift_snapshots(struct keys_reader *r, struct config *c)
{
	struct config_snapshot all = { 0, 0 };
	const struct config_db *d, *from = NULL, *from_keep = NULL;

	for (d = c->db; d != NULL && d < c->db + c->n_db; d++)
		if (lift(r, d, "intervals", d->snapshot.interval_ms,
		    &all.interval_ms, &from) != 0 ||
		    lift(r, d, "retentions", d->snapshot.retention_ms,
		    &all.retention_ms, &from_keep) != 0)
			return -1;
	if (c->snapshot.interval_ms == 0)
		c->snapshot.interval_ms = all.interval_ms != 0 ?
		    all.interval_ms : 24 * HOUR_MS;
	if (c->snapshot.retention_ms == 0)
		c->snapshot.retention_ms = all.retention_ms != 0 ?
		    all.retention_ms : 24 * HOUR_MS;
	return 0;
}

struct claim {
	const char *path;
	size_t line;
};

static int
compare(const void *va, const void *vb)
{
	const struct claim *a = va, *b = vb;
	int c = strcmp(a->path, b->path);

	return c != 0 ? c : (a->line > b->line) - (a->line < b->line);
}

/* No two entries may have the same path at this offset of struct config_db. */
static int
check_unique(struct keys_reader *r, const struct config *c, size_t offset,
    const char *what)
{
	struct claim *claim = xcalloc(c->n_db, sizeof(*claim));
	const struct node *at;
	size_t i, n = 0;
	int rc = 0;

	for (i = 0; i < c->n_db; i++) {
		const char *s = *(char *const *)((const char *)&c->db[i] +
		    offset);

		if (s != NULL)
			claim[n++] = (struct claim){ s, c->db[i].line };
	}
	qsort(claim, n, sizeof(*claim), compare);
	for (i = 1; i < n && rc == 0; i++) {
		if (strcmp(claim[i - 1].path, claim[i].path) != 0)
			continue;
		at = &(const struct node){ .line = claim[i].line };
		rc = keys_fail(r, at, "%s is that of line %zu, too: %s", what,
		    claim[i - 1].line, claim[i].path);
	}
	free(claim);
	return rc;
}

/* "host:port", the host in brackets if it has colons, or empty. */
static bool
has_port(const char *addr)
{
	const char *colon = strrchr(addr, ':');

	return colon != NULL && colon[1] != '\0' &&
	    strchr(colon, ']') == NULL &&
	    (memchr(addr, ':', (size_t)(colon - addr)) == NULL ||
	    (addr[0] == '[' && colon[-1] == ']'));
}

static int
check(struct keys_reader *r, const struct node *root, const struct config *c)
{
	static const char *const types[] = { "text", "json", "pretty" };
	const struct node *n;
	size_t i;

	if (c->addr[0] != '\0' && !has_port(c->addr))
		return keys_fail(r, node_get(root, "addr"), "must specify "
		    "port for bind address: \"%s\"", c->addr);
	for (i = 0; i < COUNT(types) && strcmp(types[i], c->log_type) != 0;)
		i++;
	if (i == COUNT(types)) {
		n = node_get(node_get(root, "logging"), "type");
		return keys_fail(r, n, "logging.type: must be text, json or "
		    "pretty: \"%s\"", c->log_type);
	}
	if (check_unique(r, c, offsetof(struct config_db, path),
	    "the database") != 0 ||
	    check_unique(r, c, offsetof(struct config_db, dir),
	    "the directory") != 0 ||
	    check_unique(r, c, offsetof(struct config_db, root),
	    "the replica") != 0)
		return -1;
	return check_unique(r, c, offsetof(struct config_db, meta_path),
	    "meta-path");
}

static void
set_defaults(struct config *c, const char *path)
{
	static const int64_t level_ms[] = { 30 * SECOND_MS, 5 * MINUTE_MS,
	    HOUR_MS };

	c->path = xstrdup(path);
	c->exec = xstrdup("");
	c->addr = xstrdup("");
	c->on_error = xstrdup("");
	c->on_recover = xstrdup("");
	c->on_snapshot = xstrdup("");
	c->levels = COUNT(level_ms);
	memcpy(c->level_ms, level_ms, sizeof(level_ms));
	c->l0_retention_ms = 5 * MINUTE_MS;
	c->l0_check_ms = 15 * SECOND_MS;
	c->retention = true;
	c->stop_timeout_ms = 30 * SECOND_MS;
	c->stop_retry_ms = SECOND_MS / 2;
	c->socket_path = xstrdup(DEFAULT_SOCKET);
	c->socket_mode = DEFAULT_SOCKET_MODE;
	c->log_level = xstrdup("INFO");
	c->log_type = xstrdup("text");
	c->audit = true;
	c->sync.interval_ms = -1;
}

int
config_load(const char *path, bool expand_env, struct config **c,
    struct err *e)
{
	struct keys_top top = { .levels = NULL };
	struct keys_reader r = { .path = path, .e = e };
	struct node_file *f;
	const struct node *root;
	int rc = -1;

	*c = NULL;
	if (node_load(path, expand_env, &f, &root, e) != 0)
		return -1;
	set_defaults(&top.c, path);
	if (keys_read(&r, KEYS_TOP, root, "", &top, &top.c.sync) == 0 &&
	    read_levels(&r, top.levels, &top.c) == 0 &&
	    read_dbs(&r, top.dbs, &top.c) == 0 &&
	    lift_snapshots(&r, &top.c) == 0)
		rc = check(&r, root, &top.c);
	node_free(f);
	top.c.warning = r.warning;
	top.c.n_warnings = r.n_warnings;
	*c = xmalloc(sizeof(**c));
	**c = top.c;
	if (rc != 0) {
		config_free(*c);
		*c = NULL;
	}
	return rc;
}

static void
release(char **s)
{
	free(*s);
	*s = NULL;
}

static void
duplicate(char **s)
{
	if (*s != NULL)
		*s = xstrdup(*s);
}

static void
release_db(struct config_db *d)
{
	keys_strings(KEYS_DB, d, release);
	free(d->root);
}

void
config_db_free(struct config_db *d)
{
	if (d != NULL)
		release_db(d);
	free(d);
}

void
config_free(struct config *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->n_db; i++)
		release_db(&c->db[i]);
	for (i = 0; i < c->n_warnings; i++)
		free(c->warning[i]);
	keys_strings(KEYS_TOP, c, release);
	free(c->path);
	free(c->db);
	free(c->warning);
	free(c);
}

bool
config_watches(const struct config *c)
{
	size_t i;

	for (i = 0; i < c->n_db; i++)
		if (c->db[i].watch)
			return true;
	return false;
}

void
config_warn(const struct config *c)
{
	size_t i;

	for (i = 0; i < c->n_warnings; i++)
		log_line(LOG_WARN, c->warning[i], NULL);
}

static struct config_db *
copy_db(const struct config_db *d)
{
	struct config_db *x = xmalloc(sizeof(*x));

	*x = *d;
	keys_strings(KEYS_DB, x, duplicate);
	duplicate(&x->root);
	return x;
}

/* What follows dir in path; NULL if path is not beneath it. */
static const char *
relative(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (strncmp(dir, path, n) != 0)
		return NULL;
	if (n > 0 && dir[n - 1] == '/')
		n--;
	return path[n] == '/' && path[n + 1] != '\0' ? path + n + 1 : NULL;
}

struct config_db *
config_dir_entry(const struct config_db *d, const char *db_path)
{
	struct config_db *x = copy_db(d);
	const char *rel = relative(d->dir, db_path);
	const char *base = path_base(rel);

	free(x->root);
	x->root = xasprintf("%s/%s", d->root, rel);
	if (d->meta_dir != NULL) {
		free(x->meta_path);
		x->meta_path = xasprintf("%s/%s" META_SUFFIX, d->meta_dir,
		    rel);
	} else if (d->meta_path != NULL) {
		free(x->meta_path);
		x->meta_path = xasprintf("%s/%.*s.%s" META_SUFFIX,
		    d->meta_path, (int)(base - rel), rel, base);
	}
	release(&x->dir);
	release(&x->pattern);
	release(&x->meta_dir);
	x->recursive = x->watch = false;
	x->path = xstrdup(db_path);
	return x;
}

struct config_db *
config_find(const struct config *c, const char *db_path)
{
	const struct config_db *d;
	const char *rel;

	for (d = c->db; d != NULL && d < c->db + c->n_db; d++)
		if (d->path != NULL && strcmp(d->path, db_path) == 0)
			return copy_db(d);
	for (d = c->db; d != NULL && d < c->db + c->n_db; d++) {
		if (d->dir == NULL || (rel = relative(d->dir, db_path)) == NULL)
			continue;
		if ((d->recursive || strchr(rel, '/') == NULL) &&
		    fnmatch(d->pattern, path_base(rel), 0) == 0)
			return config_dir_entry(d, db_path);
	}
	return NULL;
}
