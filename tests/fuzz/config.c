/* SPDX-License-Identifier: ISC */
/*
 * Any text as litestream.yml.  What is accepted is printed, with every key
 * that is not at its default, and means the same when it is read again.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../config.h"
#include "../../keys.h"
#include "fuzz.h"

#define PATH "/etc/l.yml"
#define AGAIN "/etc/again.yml"
#define INPUT_MAX 65536

static struct {
	char *s;
	size_t n, cap;
} out;

__attribute__((format(printf, 1, 2)))
static void
print(const char *fmt, ...)
{
	va_list ap;
	int n;

	if (out.cap - out.n < 256) {
		out.cap = 2 * out.cap + 4096;
		out.s = realloc(out.s, out.cap);
	}
	va_start(ap, fmt);
	n = vsnprintf(out.s + out.n, out.cap - out.n, fmt, ap);
	va_end(ap);
	MUST(n >= 0 && (size_t)n < out.cap - out.n);
	out.n += (size_t)n;
}

/* The character at *p, UTF-8 as libyaml lets it through; *p moves on. */
static unsigned
next(const unsigned char **p)
{
	unsigned c = *(*p)++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more > 0)
		c &= 0x3fu >> more;
	for (; more > 0; more--) {
		MUST((**p & 0xc0) == 0x80);
		c = c << 6 | (*(*p)++ & 0x3f);
	}
	return c;
}

static void
string(const char *key, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	unsigned c;

	if (s == NULL || *s == '\0')
		return;
	print("%s: \"", key);
	while (*p != '\0') {
		c = next(&p);
		if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
			print("%c", (int)c);
		else
			print("\\U%08X", c);
	}
	print("\"\n");
}

static void
truth(const char *key, bool b)
{
	print("%s: %s\n", key, b ? "true" : "false");
}

static void
number(const char *key, int64_t n)
{
	if (n != 0)
		print("%s: %" PRId64 "\n", key, n);
}

static void
duration(const char *key, int64_t ms)
{
	char text[TEXT_SIZE];

	print("%s: %s\n", key, keys_duration(text, ms));
}

static void
snapshot(const char *in, const struct config_snapshot *s)
{
	char key[32];

	print("%ssnapshot:\n", in);
	snprintf(key, sizeof key, "%s  interval", in);
	if (s->interval_ms != 0)
		duration(key, s->interval_ms);
	snprintf(key, sizeof key, "%s  retention", in);
	if (s->retention_ms != 0)
		duration(key, s->retention_ms);
}

static void
print_db(const struct config_db *d)
{
	print("- audit: %s\n", d->audit ? "yes" : "no");
	string("  path", d->path);
	string("  dir", d->dir);
	string("  pattern", d->pattern);
	string("  meta-path", d->meta_path);
	string("  meta-dir", d->meta_dir);
	truth("  recursive", d->recursive);
	truth("  watch", d->watch);
	truth("  restore-if-db-not-exists", d->restore_if_absent);
	number("  min-checkpoint-page-count", d->min_checkpoint_pages);
	number("  truncate-page-n", d->truncate_pages);
	snapshot("  ", &d->snapshot);
	print("  replica:\n");
	string("    path", d->root);
	if (d->sync.interval_ms >= 0)
		duration("    sync-interval", d->sync.interval_ms);
}

static void
print_all(const struct config *c)
{
	size_t i;

	out.n = 0;
	string("exec", c->exec);
	string("addr", c->addr);
	truth("audit", c->audit);
	if (c->sync.interval_ms >= 0)
		duration("sync-interval", c->sync.interval_ms);
	print("levels:\n");
	for (i = 0; i < c->levels; i++)
		duration("- interval", c->level_ms[i]);
	snapshot("", &c->snapshot);
	duration("l0-retention", c->l0_retention_ms);
	duration("l0-retention-check-interval", c->l0_check_ms);
	duration("shutdown-sync-timeout", c->stop_timeout_ms);
	duration("shutdown-sync-interval", c->stop_retry_ms);
	duration("validation:\n  interval", c->validation_ms);
	truth("retention:\n  enabled", c->retention);
	truth("socket:\n  enabled", c->socket);
	string("  path", c->socket_path);
	print("  permissions: 0%" PRIo64 "\n", c->socket_mode);
	truth("logging:\n  stderr", c->log_stderr);
	string("  level", c->log_level);
	string("  type", c->log_type);
	print("dbs:\n");
	for (i = 0; i < c->n_db; i++)
		print_db(&c->db[i]);
}

static bool
equal(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
same_db(const struct config_db *a, const struct config_db *b)
{
	MUST(equal(a->path, b->path) && equal(a->dir, b->dir));
	MUST(equal(a->pattern, b->pattern) && equal(a->root, b->root));
	MUST(equal(a->meta_path, b->meta_path));
	MUST(equal(a->meta_dir, b->meta_dir));
	MUST(a->recursive == b->recursive && a->watch == b->watch);
	MUST(a->snapshot.interval_ms == b->snapshot.interval_ms);
	MUST(a->snapshot.retention_ms == b->snapshot.retention_ms);
	MUST(a->sync.interval_ms == b->sync.interval_ms);
	MUST(a->min_checkpoint_pages == b->min_checkpoint_pages);
	MUST(a->truncate_pages == b->truncate_pages);
	MUST(a->restore_if_absent == b->restore_if_absent);
	MUST(a->audit == b->audit);
}

static void
same(const struct config *a, const struct config *b)
{
	size_t i;

	MUST(equal(a->exec, b->exec) && equal(a->addr, b->addr));
	MUST(a->levels == b->levels && memcmp(a->level_ms, b->level_ms,
	    a->levels * sizeof a->level_ms[0]) == 0);
	MUST(a->snapshot.interval_ms == b->snapshot.interval_ms);
	MUST(a->snapshot.retention_ms == b->snapshot.retention_ms);
	MUST(a->l0_retention_ms == b->l0_retention_ms);
	MUST(a->l0_check_ms == b->l0_check_ms);
	MUST(a->validation_ms == b->validation_ms);
	MUST(a->retention == b->retention && a->socket == b->socket);
	MUST(a->stop_timeout_ms == b->stop_timeout_ms);
	MUST(a->stop_retry_ms == b->stop_retry_ms);
	MUST(equal(a->socket_path, b->socket_path));
	MUST(a->socket_mode == b->socket_mode);
	MUST(equal(a->log_level, b->log_level));
	MUST(equal(a->log_type, b->log_type));
	MUST(a->log_stderr == b->log_stderr && a->audit == b->audit);
	MUST(a->sync.interval_ms == b->sync.interval_ms);
	MUST(a->n_db == b->n_db && b->n_warnings == 0);
	for (i = 0; i < a->n_db; i++)
		same_db(&a->db[i], &b->db[i]);
}

/* What may be relied on. */
static void
check(const struct config *c)
{
	struct config_db *d;
	char *path;
	size_t i;

	MUST(c->levels >= 1 && c->levels <= CONFIG_MAX_LEVELS);
	for (i = 0; i < c->levels; i++)
		MUST(c->level_ms[i] > 0);
	MUST(c->snapshot.interval_ms > 0 && c->snapshot.retention_ms > 0);
	MUST(c->l0_retention_ms >= 0 && c->l0_check_ms > 0);
	MUST(c->stop_timeout_ms >= 0 && c->stop_retry_ms > 0);
	for (i = 0; i < c->n_db; i++) {
		MUST((c->db[i].path == NULL) != (c->db[i].dir == NULL));
		MUST(c->db[i].root[0] == '/');
		path = c->db[i].path != NULL ? xstrdup(c->db[i].path) :
		    xasprintf("%s/a.db", c->db[i].dir);
		d = config_find(c, path);
		MUST(d != NULL || c->db[i].path == NULL);
		MUST(d == NULL || strcmp(d->path, path) == 0);
		config_db_free(d);
		free(path);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct config *a, *b;
	struct err e;

	if (n > INPUT_MAX)
		return 0;
	mem_limit(1 << 20);
	mem_reset();
	mem_put(PATH, p, n);
	fuzz_clear(&e);
	if (config_load(PATH, n % 2 == 0, &a, &e) != 0) {
		fuzz_error(&e, ERR_USAGE, NULL);
		MUST(a == NULL && strncmp(e.text, PATH, strlen(PATH)) == 0);
		return 0;
	}
	check(a);
	print_all(a);
	mem_put(AGAIN, out.s, out.n);
	if (config_load(AGAIN, false, &b, &e) != 0)
		fuzz_fail(__FILE__, __LINE__, e.text);
	same(a, b);
	config_free(a);
	config_free(b);
	return 0;
}
