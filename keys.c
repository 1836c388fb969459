/* SPDX-License-Identifier: ISC */
/*
 * The keys of litestream.yml.
 *
 * Two tables say of every key where it may stand and whether it is honoured,
 * ignored with a warning (credentials and transport of replicas that there are
 * none of here, and what this program decides better by itself), or refused
 * with its line, because it would change what is stored, where, or who is told.
 * A key that is in neither is refused, too: a typing error in a retention is
 * found when it is made, not when it is needed.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

#define MODE_MAX 0777
#define NS_PER_MS 1000000
#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define PREFIX_SIZE 512
#define NAMES_MAX 40
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum type { BOOL, STRING, PATH, DURATION, INTEGER, MODE, MAP, NODE };
enum check { ANY, NOT_NEGATIVE, POSITIVE };

struct key {
	enum keys_section section;
	const char *name;
	enum type type;
	size_t offset;		/* in what the section is read into */
	enum check check;
	const char *complaint;
	enum keys_section sub;	/* of a MAP */
};

#define NOWHERE SIZE_MAX	/* true whatever it says */
#define IN(type, field) offsetof(struct type, field)
#define KEY(section, name, type, at) \
	{ KEYS_##section, name, type, at, ANY, NULL, KEYS_TOP }
#define SUB(section, name, at, sub) \
	{ KEYS_##section, name, MAP, at, ANY, NULL, KEYS_##sub }
#define MIN(section, name, type, at, check, complaint) \
	{ KEYS_##section, name, type, at, check, complaint, KEYS_TOP }

static const struct key honoured[] = {
	KEY(TOP, "dbs", NODE, IN(keys_top, dbs)),
	KEY(DB, "path", PATH, IN(config_db, path)),
	KEY(DB, "dir", PATH, IN(config_db, dir)),
	KEY(DB, "pattern", STRING, IN(config_db, pattern)),
	KEY(DB, "recursive", BOOL, IN(config_db, recursive)),
	KEY(DB, "watch", BOOL, IN(config_db, watch)),
	KEY(DB, "meta-path", PATH, IN(config_db, meta_path)),
	KEY(DB, "meta-dir", PATH, IN(config_db, meta_dir)),
	MIN(DB, "min-checkpoint-page-count", INTEGER,
	    IN(config_db, min_checkpoint_pages), POSITIVE,
	    "minimum checkpoint page count required"),
	KEY(DB, "truncate-page-n", INTEGER, IN(config_db, truncate_pages)),
	KEY(DB, "restore-if-db-not-exists", BOOL,
	    IN(config_db, restore_if_absent)),
	KEY(DB, "audit", BOOL, IN(config_db, audit)),
	SUB(DB, "snapshot", IN(config_db, snapshot), SNAPSHOT),
	KEY(DB, "replica", NODE, IN(keys_db, replica)),
	KEY(DB, "replicas", NODE, IN(keys_db, replicas)),
	KEY(REPLICA, "type", STRING, IN(keys_replica, type)),
	KEY(REPLICA, "path", STRING, IN(keys_replica, path)),
	KEY(REPLICA, "url", STRING, IN(keys_replica, url)),
	MIN(SHARED, "sync-interval", DURATION, IN(config_sync, interval_ms),
	    POSITIVE, "sync interval must be greater than 0"),
	KEY(SHARED, "auto-recover", BOOL, NOWHERE),
	KEY(TOP, "exec", STRING, IN(config, exec)),
	KEY(TOP, "addr", STRING, IN(config, addr)),
	KEY(TOP, "on-error", STRING, IN(config, on_error)),
	KEY(TOP, "on-recover", STRING, IN(config, on_recover)),
	KEY(TOP, "on-snapshot", STRING, IN(config, on_snapshot)),
	KEY(TOP, "audit", BOOL, IN(config, audit)),
	KEY(TOP, "levels", NODE, IN(keys_top, levels)),
	MIN(LEVEL, "interval", DURATION, 0, POSITIVE,
	    "compaction interval must be greater than 0"),
	SUB(TOP, "snapshot", IN(config, snapshot), SNAPSHOT),
	MIN(SNAPSHOT, "interval", DURATION, IN(config_snapshot, interval_ms),
	    POSITIVE, "snapshot interval must be greater than 0"),
	MIN(SNAPSHOT, "retention", DURATION,
	    IN(config_snapshot, retention_ms), POSITIVE,
	    "snapshot retention must be greater than 0"),
	MIN(TOP, "l0-retention", DURATION, IN(config, l0_retention_ms),
	    NOT_NEGATIVE, "l0 retention must not be negative"),
	MIN(TOP, "l0-retention-check-interval", DURATION,
	    IN(config, l0_check_ms), POSITIVE,
	    "l0 retention check interval must be greater than 0"),
	SUB(TOP, "retention", 0, RETENTION),
	KEY(RETENTION, "enabled", BOOL, IN(config, retention)),
	SUB(TOP, "validation", 0, VALIDATION),
	MIN(VALIDATION, "interval", DURATION, IN(config, validation_ms),
	    NOT_NEGATIVE, "validation interval must not be negative"),
	KEY(TOP, "verify-compaction", BOOL, NOWHERE),
	MIN(TOP, "shutdown-sync-timeout", DURATION,
	    IN(config, stop_timeout_ms), NOT_NEGATIVE,
	    "shutdown-sync-timeout must be >= 0"),
	MIN(TOP, "shutdown-sync-interval", DURATION,
	    IN(config, stop_retry_ms), POSITIVE,
	    "shutdown sync interval must be greater than 0"),
	SUB(TOP, "socket", 0, SOCKET),
	KEY(SOCKET, "enabled", BOOL, IN(config, socket)),
	KEY(SOCKET, "path", STRING, IN(config, socket_path)),
	KEY(SOCKET, "permissions", MODE, IN(config, socket_mode)),
	SUB(TOP, "logging", 0, LOGGING),
	KEY(LOGGING, "level", STRING, IN(config, log_level)),
	KEY(LOGGING, "type", STRING, IN(config, log_type)),
	KEY(LOGGING, "stderr", BOOL, IN(config, log_stderr)),
};

/* Their values are not looked at. */
static const struct {
	enum keys_section section;
	enum keys_class class;
	const char *name[NAMES_MAX];
} others[] = {
	{ KEYS_TOP, KEYS_IGNORED, { "mcp-addr" } },
	{ KEYS_LOGGING, KEYS_IGNORED, { "source" } },
	{ KEYS_DB, KEYS_IGNORED, { "monitor-interval", "checkpoint-interval",
	    "busy-timeout", "max-sync-wal-bytes" } },
	{ KEYS_REPLICA, KEYS_IGNORED, { "name" } },
	{ KEYS_SHARED, KEYS_IGNORED, { "max-sync-ltx-files",
	    "validation-interval", "access-key-id", "secret-access-key",
	    "region", "force-path-style", "sign-payload",
	    "sign-accept-encoding", "require-content-md5", "skip-verify",
	    "part-size", "concurrency", "account-name", "account-key",
	    "sas-token", "user", "password", "key-path",
	    "concurrent-writes", "host-key", "webdav-username",
	    "webdav-password", "jwt", "seed", "creds", "nkey", "username",
	    "token", "tls", "root-cas", "client-cert", "client-key",
	    "max-reconnects", "reconnect-wait", "timeout" } },
	{ KEYS_TOP, KEYS_REFUSED, { "heartbeat-url", "heartbeat-interval" } },
	{ KEYS_SHARED, KEYS_REFUSED, { "age", "bucket", "endpoint", "host",
	    "sse-customer-algorithm", "sse-customer-key",
	    "sse-customer-key-path", "sse-kms-key-id", "storage-class",
	    "webdav-url" } },
};

int
keys_fail(struct keys_reader *r, const struct node *n, const char *fmt, ...)
{
	char text[sizeof(r->e->text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(r->e, ERR_USAGE, "%s:%zu: %s", r->path, n->line, text);
}

static void
warn(struct keys_reader *r, const struct node *key)
{
	r->warning = xgrow(r->warning, r->n_warnings, &r->cap,
	    sizeof(*r->warning));
	r->warning[r->n_warnings++] = xasprintf("%s:%zu: ignored key: %s",
	    r->path, key->line, key->text);
}

char *
keys_duration(char buf[TEXT_SIZE], int64_t ms)
{
	uint64_t v = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
	unsigned rest = (unsigned)(v % MINUTE_MS);
	size_t n = 0;

	if (v < SECOND_MS) {
		snprintf(buf, TEXT_SIZE, v == 0 ? "0s" : "%lldms",
		    (long long)ms);
		return buf;
	}
	if (ms < 0)
		buf[n++] = '-';
	if (v >= HOUR_MS)
		n += (size_t)snprintf(buf + n, TEXT_SIZE - n, "%lluh",
		    (unsigned long long)(v / HOUR_MS));
	if (v >= MINUTE_MS)
		n += (size_t)snprintf(buf + n, TEXT_SIZE - n, "%um",
		    (unsigned)(v / MINUTE_MS % 60));
	n += (size_t)snprintf(buf + n, TEXT_SIZE - n, "%u.%03u", rest / 1000,
	    rest % 1000);
	while (buf[n - 1] == '0')
		n--;
	n -= buf[n - 1] == '.';
	memcpy(buf + n, "s", 2);
	return buf;
}

static int
parse_bool(const struct node *n, bool *v)
{
	static const char *const words[] = { "false", "true", "no", "yes",
	    "off", "on", "n", "y", "False", "True", "No", "Yes", "Off", "On",
	    "N", "Y", "FALSE", "TRUE", "NO", "YES", "OFF", "ON" };
	size_t i;

	for (i = 0; !n->quoted && i < COUNT(words); i++)
		if (strcmp(n->text, words[i]) == 0) {
			*v = i % 2 == 1;
			return 0;
		}
	return -1;
}

/* With a leading 0 or 0o octal, as YAML has it. */
static int
parse_integer(const struct node *n, int64_t *v)
{
	const char *s = n->text;
	char *end;
	int base = 0;

	if (n->quoted)
		return -1;
	if (strncmp(s, "0o", 2) == 0) {
		s += 2;
		base = 8;
	}
	errno = 0;
	*v = strtoll(s, &end, base);
	return end == s || *end != '\0' || errno != 0 ? -1 : 0;
}

/* A bare integer is nanoseconds.  What is not 0 does not become 0. */
static int
parse_duration(const struct node *n, int64_t *ms)
{
	int64_t ns;

	if (parse_integer(n, &ns) == 0)
		*ms = ns / NS_PER_MS;
	else if (duration_parse(n->text, ms) != 0)
		return -1;
	if (*ms == 0 && strpbrk(n->text, "123456789") != NULL)
		*ms = n->text[0] == '-' ? -1 : 1;
	return 0;
}

char *
keys_path(const char *s)
{
	static const char *const prefix[] = { "sqlite3://", "sqlite://" };
	size_t i;

	for (i = 0; i < COUNT(prefix); i++)
		if (strncmp(s, prefix[i], strlen(prefix[i])) == 0)
			s += strlen(prefix[i]);
	return path_abs(s);
}

static int
read_number(struct keys_reader *r, const struct key *k, const struct node *n,
    const char *prefix, int64_t *at)
{
	char got[TEXT_SIZE];
	int64_t v;
	int bad = k->type == DURATION ? parse_duration(n, &v) :
	    parse_integer(n, &v);

	if (bad != 0) {
		keys_fail(r, n, "%s%s: not a %s: \"%s\"", prefix, k->name,
		    k->type == DURATION ? "duration" : "number", n->text);
		if (k->type == DURATION)
			err_hint(r->e, "a duration as in 30s, 1h30m or 500ms");
		return -1;
	}
	if (k->type == MODE && (v < 0 || v > MODE_MAX)) {
		keys_fail(r, n, "%s%s: not a file mode: %s", prefix, k->name,
		    n->text);
		err_hint(r->e, "octal digits after a zero, as in 0600");
		return -1;
	}
	if ((k->check == POSITIVE && v <= 0) ||
	    (k->check == NOT_NEGATIVE && v < 0))
		return keys_fail(r, n, "%s%s: %s (got %s)", prefix, k->name,
		    k->complaint, k->type == DURATION ?
		    keys_duration(got, v) : text_i64(got, v));
	*at = v;
	return 0;
}

/* What is null or "" is not given: the default stays. */
static int
read_value(struct keys_reader *r, const struct key *k, const struct node *n,
    const char *prefix, char *base)
{
	void *at = k->offset != NOWHERE ? base + k->offset : NULL;
	char inner[PREFIX_SIZE];
	bool b;

	if (n->kind == NODE_NULL)
		return 0;
	if (k->type == NODE) {
		*(const struct node **)at = n;
		return 0;
	}
	if (k->type == MAP) {
		snprintf(inner, sizeof(inner), "%s%s.", prefix, k->name);
		return keys_read(r, k->sub, n, inner, at, NULL);
	}
	if (n->kind != NODE_SCALAR)
		return keys_fail(r, n, "%s%s: must be a single value", prefix,
		    k->name);
	if (k->type == STRING || k->type == PATH) {
		if (n->text[0] == '\0')
			return 0;
		free(*(char **)at);
		*(char **)at = k->type == PATH ? keys_path(n->text) :
		    xstrdup(n->text);
		return 0;
	}
	if (k->type != BOOL)
		return read_number(r, k, n, prefix, at);
	if (parse_bool(n, &b) != 0)
		return keys_fail(r, n, "%s%s: not true or false: \"%s\"",
		    prefix, k->name, n->text);
	if (at != NULL)
		*(bool *)at = b;
	return 0;
}

static bool
belongs(enum keys_section key, enum keys_section s)
{
	return key == s || (key == KEYS_SHARED &&
	    (s == KEYS_TOP || s == KEYS_REPLICA));
}

/* A key that is not honoured: 0 if it can be passed over. */
static int
read_other(struct keys_reader *r, enum keys_section s, const struct node *key)
{
	size_t i, j;

	for (i = 0; i < COUNT(others); i++) {
		if (!belongs(others[i].section, s))
			continue;
		for (j = 0; others[i].name[j] != NULL; j++) {
			if (strcmp(others[i].name[j], key->text) != 0)
				continue;
			if (others[i].class == KEYS_IGNORED) {
				warn(r, key);
				return 0;
			}
			keys_fail(r, key, "unsupported key: %s", key->text);
			err_hint(r->e, "remove it: this program cannot do "
			    "what it asks for");
			return -1;
		}
	}
	keys_fail(r, key, "unknown key: %s", key->text);
	err_hint(r->e, "man 5 litestream, for the keys that there are");
	return -1;
}

int
keys_read(struct keys_reader *r, enum keys_section s, const struct node *map,
    const char *prefix, void *base, struct config_sync *shared)
{
	const char *where = prefix[0] != '\0' ? prefix : "file.";
	const struct key *k;
	size_t i, j;

	if (map->kind == NODE_NULL)
		return 0;
	if (map->kind != NODE_MAP)
		return keys_fail(r, map, "%.*s: must be a map of keys and "
		    "values", (int)(strlen(where) - 1), where);
	for (i = 0; i < map->n; i += 2) {
		for (j = 0, k = NULL; k == NULL && j < COUNT(honoured); j++)
			if (belongs(honoured[j].section, s) &&
			    strcmp(honoured[j].name, map->child[i]->text) == 0)
				k = &honoured[j];
		if ((k == NULL && read_other(r, s, map->child[i]) != 0) ||
		    (k != NULL && read_value(r, k, map->child[i + 1], prefix,
		    k->section == KEYS_SHARED ? (void *)shared : base) != 0))
			return -1;
	}
	return 0;
}

static void
print_number(FILE *f, const struct key *k, int64_t v)
{
	char buf[TEXT_SIZE];

	if (k->type == DURATION)
		fputs(keys_duration(buf, v), f);
	else
		fprintf(f, k->type == MODE ? "0%llo" : "%lld", (long long)v);
}

/* Whether a value says anything: 0 is none where it may not be given, nor -1
 * where a number may not be negative. */
static bool
is_given(const struct key *k, const void *at)
{
	const char *s;
	int64_t v;

	if (k->type == NODE || k->offset == NOWHERE)
		return false;
	if (k->type == STRING || k->type == PATH) {
		s = *(char *const *)at;
		return s != NULL && s[0] != '\0';
	}
	if (k->type == BOOL || k->type == MAP)
		return true;
	v = *(const int64_t *)at;
	return k->check == ANY ? v != 0 : v > (k->check == POSITIVE ? 0 : -1);
}

void
keys_print(FILE *f, enum keys_section s, const void *base, int indent)
{
	const struct key *k;
	const char *at;

	for (k = honoured; k < honoured + COUNT(honoured); k++) {
		at = k->offset != NOWHERE ? (const char *)base + k->offset :
		    NULL;
		if (k->section != s || !is_given(k, at))
			continue;
		fprintf(f, "%*s%s:", indent, "", k->name);
		if (k->type == MAP) {
			fputc('\n', f);
			keys_print(f, k->sub, at, indent + 2);
			continue;
		}
		fputc(' ', f);
		if (k->type == STRING || k->type == PATH)
			json_string(f, *(char *const *)(const void *)at);
		else if (k->type == BOOL)
			fputs(*(const bool *)at ? "true" : "false", f);
		else
			print_number(f, k, *(const int64_t *)(const void *)at);
		fputc('\n', f);
	}
}

void
keys_strings(enum keys_section s, void *base, void (*f)(char **))
{
	const struct key *k;

	for (k = honoured; k < honoured + COUNT(honoured); k++) {
		if (k->section != s)
			continue;
		if (k->type == STRING || k->type == PATH)
			f((char **)((char *)base + k->offset));
		else if (k->type == MAP)
			keys_strings(k->sub, (char *)base + k->offset, f);
	}
}

/* The i-th name of the others; NULL at the end. */
static const char *
other_key(size_t i, enum keys_section *s, enum keys_class *class)
{
	size_t j, k;

	for (j = 0; j < COUNT(others); j++)
		for (k = 0; others[j].name[k] != NULL; k++)
			if (i-- == 0) {
				*s = others[j].section;
				*class = others[j].class;
				return others[j].name[k];
			}
	return NULL;
}

bool
keys_name(size_t i, char *buf, size_t size, enum keys_class *class)
{
	static const char *const prefix[] = {
		[KEYS_TOP] = "", [KEYS_SHARED] = "",
		[KEYS_SNAPSHOT] = "snapshot.", [KEYS_LEVEL] = "levels[].",
		[KEYS_VALIDATION] = "validation.",
		[KEYS_RETENTION] = "retention.", [KEYS_SOCKET] = "socket.",
		[KEYS_LOGGING] = "logging.", [KEYS_DB] = "dbs[].",
		[KEYS_REPLICA] = "dbs[].replica.",
	};
	enum keys_section s;
	const char *name;

	if (i < COUNT(honoured)) {
		s = honoured[i].section;
		name = honoured[i].name;
		*class = KEYS_HONOURED;
	} else if ((name = other_key(i - COUNT(honoured), &s,
	    class)) == NULL)
		return false;
	snprintf(buf, size, "%s%s", prefix[s], name);
	return true;
}
