/* SPDX-License-Identifier: ISC */
/*
 * A YAML file as a tree.
 *
 * The file is not trusted with our memory or time.  Its size is bounded before
 * and after expansion, its depth and the number of nodes while it is parsed,
 * and the keys of a map (they are compared each with each).  An alias is a
 * second pointer to a node that is complete, never a copy, so aliases of
 * aliases cost nothing and there are no cycles.  A merge (<<) copies pointers
 * into a map of bounded size.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "node.h"

#define MAX_BYTES ((size_t)4 << 20)
#define MAX_NODES 400000
#define MAX_DEPTH 16
#define MAX_KEYS 128
#define MAX_MERGES 16
#define MAX_ANCHORS 128
#define READ_SIZE 65536

struct node_file {
	struct node **node;
	size_t n, cap;
};

struct text {
	char *s;
	size_t n, cap;
};

struct anchor {
	char *name;
	struct node *node;
};

struct loader {
	const char *path;
	struct node_file *f;
	struct err *e;
	yaml_parser_t parser;
	struct anchor anchor[MAX_ANCHORS];
	size_t n_anchors;
};

static int
append(struct text *t, const char *s, size_t n, const char *path,
    struct err *e)
{
	if (n > MAX_BYTES - t->n)
		return err_set(e, ERR_USAGE, "%s: larger than %zu bytes", path,
		    MAX_BYTES);
	while (t->n + n > t->cap)
		t->s = xgrow(t->s, t->cap, &t->cap, 1);
	if (n > 0)
		memcpy(t->s + t->n, s, n);
	t->n += n;
	return 0;
}

static int
read_file(const char *path, struct text *t, struct err *e)
{
	char *buf = xmalloc(READ_SIZE), *abs = path_abs(path);
	ssize_t k;
	int fd, rc = -1;

	fd = open(abs, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err_sys(e, path, "open");
		if (e->code == ENOENT) {
			err_set(e, ERR_USAGE, "config file not found: %s",
			    abs);
			err_hint(e, "write one (man 5 litestream), or name "
			    "the replica as file:///path/to/directory");
		}
		goto out;
	}
	while ((k = read(fd, buf, READ_SIZE)) != 0) {
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			err_sys(e, path, "read");
			goto out;
		}
		if (append(t, buf, (size_t)k, path, e) != 0)
			goto out;
	}
	rc = 0;
out:
	if (fd >= 0)
		close(fd);
	free(buf);
	free(abs);
	return rc;
}

static bool
is_name(int c)
{
	return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z');
}

/*
 * The variable that s (behind a $) begins with: how many bytes it takes, 0 if
 * it is none and the $ stands for itself.  Go's rules: a shell's special
 * variables have one character, and what is not closed is dropped.
 */
static size_t
variable(const char *s, size_t n, const char **name, size_t *len)
{
	size_t i = 0;

	*name = s;
	*len = 0;
	if (n > 0 && s[0] == '{') {
		const char *end = memchr(s, '}', n);

		if (end == NULL)
			return 1;
		*name = s + 1;
		*len = (size_t)(end - s) - 1;
		return *len + 2;
	}
	if (n > 0 && s[0] != '\0' && strchr("*#$@!?-0123456789", s[0]) != NULL)
		i = 1;
	else
		while (i < n && is_name((unsigned char)s[i]))
			i++;
	return *len = i;
}

static int
append_variable(struct text *t, const char *name, size_t len,
    const char *path, struct err *e)
{
	char *key = xmalloc(len + 1), pid[TEXT_SIZE];
	const char *value;

	memcpy(key, name, len);
	key[len] = '\0';
	value = strcmp(key, "PID") == 0 ? text_i64(pid, getpid()) :
	    getenv(key);
	free(key);
	return value != NULL ? append(t, value, strlen(value), path, e) : 0;
}

static int
expand(const struct text *in, struct text *out, const char *path,
    struct err *e)
{
	const char *name;
	size_t i, from = 0, used, len;

	for (i = 0; i < in->n; i++) {
		if (in->s[i] != '$')
			continue;
		used = variable(in->s + i + 1, in->n - i - 1, &name, &len);
		if (used == 0)
			continue;
		if (append(out, in->s + from, i - from, path, e) != 0 ||
		    append_variable(out, name, len, path, e) != 0)
			return -1;
		i += used;
		from = i + 1;
	}
	return in->n == from ? 0 :
	    append(out, in->s + from, in->n - from, path, e);
}

static int
fail(struct loader *l, size_t line, const char *what, const char *text)
{
	return err_set(l->e, ERR_USAGE, "%s:%zu: %s%s%s", l->path, line, what,
	    text != NULL ? ": " : "", text != NULL ? text : "");
}

static int
next(struct loader *l, yaml_event_t *ev)
{
	const yaml_parser_t *p = &l->parser;

	if (yaml_parser_parse(&l->parser, ev))
		return 0;
	if (p->error == YAML_READER_ERROR)
		return err_set(l->e, ERR_USAGE, "%s: not a text file: %s at "
		    "byte %zu", l->path, p->problem, p->problem_offset);
	return fail(l, p->problem_mark.line + 1,
	    p->problem != NULL ? p->problem : "out of memory", NULL);
}

/* A new node, the file's; NULL if there are too many. */
static struct node *
add(struct loader *l, enum node_kind kind, const yaml_event_t *ev)
{
	struct node *x;

	if (l->f->n == MAX_NODES) {
		fail(l, ev->start_mark.line + 1, "too many entries", NULL);
		return NULL;
	}
	x = xcalloc(1, sizeof(*x));
	x->kind = kind;
	x->line = ev->start_mark.line + 1;
	l->f->node = xgrow(l->f->node, l->f->n, &l->f->cap,
	    sizeof(*l->f->node));
	l->f->node[l->f->n++] = x;
	return x;
}

static void
push(struct node *x, struct node *child)
{
	x->child = xgrow(x->child, x->n, &x->cap, sizeof(*x->child));
	x->child[x->n++] = child;
}

static struct node *
new_scalar(struct loader *l, const yaml_event_t *ev)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	const char *s = (const char *)ev->data.scalar.value;
	struct node *x = add(l, NODE_SCALAR, ev);
	size_t i;

	if (x == NULL)
		return NULL;
	if (strlen(s) != ev->data.scalar.length) {
		fail(l, x->line, "a value has a byte 0", NULL);
		return NULL;
	}
	x->text = xstrdup(s);
	x->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	for (i = 0; !x->quoted && i < sizeof(nulls) / sizeof(nulls[0]); i++)
		if (strcmp(s, nulls[i]) == 0)
			x->kind = NODE_NULL;
	return x;
}

static struct node *
find_anchor(struct loader *l, const yaml_event_t *ev)
{
	const char *name = (const char *)ev->data.alias.anchor;
	size_t i;

	for (i = l->n_anchors; i-- > 0;)
		if (strcmp(l->anchor[i].name, name) == 0)
			return l->anchor[i].node;
	fail(l, ev->start_mark.line + 1, "unknown anchor", name);
	return NULL;
}

static int
name_anchor(struct loader *l, const yaml_char_t *name, struct node *x)
{
	if (name == NULL)
		return 0;
	if (l->n_anchors == MAX_ANCHORS)
		return fail(l, x->line, "too many anchors", NULL);
	l->anchor[l->n_anchors].name = xstrdup((const char *)name);
	l->anchor[l->n_anchors++].node = x;
	return 0;
}

/* A key that the map does not have yet; *merge: it is <<. */
static int
check_key(struct loader *l, const struct node *map, const struct node *key,
    bool *merge)
{
	size_t i;

	if (key->kind != NODE_SCALAR)
		return fail(l, key->line, "a key must be a name", NULL);
	*merge = !key->quoted && strcmp(key->text, "<<") == 0;
	for (i = 0; i < map->n; i += 2)
		if (strcmp(map->child[i]->text, key->text) == 0)
			return fail(l, key->line, "duplicate key", key->text);
	if (map->n >= (size_t)2 * MAX_KEYS)
		return fail(l, key->line, "too many keys", NULL);
	return 0;
}

/* What map does not have itself. */
static int
merge_map(struct loader *l, struct node *map, const struct node *from)
{
	size_t i;

	if (from->kind != NODE_MAP)
		return fail(l, from->line, "<< needs a map", NULL);
	for (i = 0; i < from->n; i += 2) {
		if (node_get(map, from->child[i]->text) != NULL)
			continue;
		if (map->n >= (size_t)2 * MAX_KEYS)
			return fail(l, map->line, "too many keys", NULL);
		push(map, from->child[i]);
		push(map, from->child[i + 1]);
	}
	return 0;
}

static int
merge(struct loader *l, struct node *map, const struct node *from)
{
	size_t i;

	if (from->kind != NODE_LIST)
		return merge_map(l, map, from);
	if (from->n > MAX_MERGES)
		return fail(l, from->line, "too many maps for <<", NULL);
	for (i = 0; i < from->n; i++)
		if (merge_map(l, map, from->child[i]) != 0)
			return -1;
	return 0;
}

static struct node *build(struct loader *l, yaml_event_t *ev, int depth);

/* The children of x, up to the event that ends it. */
static int
build_children(struct loader *l, struct node *x, int depth)
{
	struct node *child, *key = NULL, *merged = NULL;
	bool is_merge = false;
	yaml_event_t ev;

	for (;;) {
		if (next(l, &ev) != 0)
			return -1;
		if (ev.type == YAML_SEQUENCE_END_EVENT ||
		    ev.type == YAML_MAPPING_END_EVENT)
			break;
		if ((child = build(l, &ev, depth)) == NULL)
			return -1;
		if (x->kind == NODE_LIST) {
			push(x, child);
		} else if (key == NULL) {
			key = child;
			if (check_key(l, x, key, &is_merge) != 0)
				return -1;
		} else if (is_merge) {
			if (merged != NULL)
				return fail(l, key->line, "duplicate key",
				    key->text);
			merged = child;
			key = NULL;
		} else {
			push(x, key);
			push(x, child);
			key = NULL;
		}
	}
	yaml_event_delete(&ev);
	return merged != NULL ? merge(l, x, merged) : 0;
}

/* The node that *ev begins; *ev is deleted.  NULL with an error. */
static struct node *
build(struct loader *l, yaml_event_t *ev, int depth)
{
	const yaml_char_t *tag = NULL, *anchor = NULL;
	struct node *x = NULL;
	int rc = 0;

	if (ev->type == YAML_ALIAS_EVENT) {
		x = find_anchor(l, ev);
		goto out;
	}
	if (ev->type == YAML_SCALAR_EVENT) {
		tag = ev->data.scalar.tag;
		anchor = ev->data.scalar.anchor;
		x = new_scalar(l, ev);
	} else if (ev->type == YAML_SEQUENCE_START_EVENT) {
		tag = ev->data.sequence_start.tag;
		anchor = ev->data.sequence_start.anchor;
		x = add(l, NODE_LIST, ev);
	} else {
		tag = ev->data.mapping_start.tag;
		anchor = ev->data.mapping_start.anchor;
		x = add(l, NODE_MAP, ev);
	}
	if (x == NULL)
		goto out;
	if (tag != NULL)
		rc = fail(l, x->line, "tags are not supported",
		    (const char *)tag);
	else if (depth == MAX_DEPTH)
		rc = fail(l, x->line, "nested too deep", NULL);
	else if (x->kind == NODE_LIST || x->kind == NODE_MAP)
		rc = build_children(l, x, depth + 1);
	if (rc != 0 || name_anchor(l, anchor, x) != 0)
		x = NULL;
out:
	yaml_event_delete(ev);
	return x;
}

/* The one document of the file; *root is NULL if it is empty. */
static int
build_file(struct loader *l, struct node **root)
{
	yaml_event_t ev;
	yaml_event_type_t type;
	size_t line;

	for (;;) {
		if (next(l, &ev) != 0)
			return -1;
		type = ev.type;
		line = ev.start_mark.line + 1;
		yaml_event_delete(&ev);
		if (type == YAML_STREAM_END_EVENT)
			return 0;
		if (type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (*root != NULL)
			return fail(l, line, "a second document", NULL);
		if (next(l, &ev) != 0 || (*root = build(l, &ev, 0)) == NULL)
			return -1;
	}
}

static int
parse(struct loader *l, const struct text *t, const struct node **root)
{
	static const struct node nothing = { .kind = NODE_NULL, .line = 1,
	    .text = "" };
	struct node *x = NULL;
	size_t i;
	int rc;

	if (!yaml_parser_initialize(&l->parser))
		return fail(l, 1, "out of memory", NULL);
	yaml_parser_set_input_string(&l->parser,
	    (const unsigned char *)(t->n > 0 ? t->s : ""), t->n);
	rc = build_file(l, &x);
	yaml_parser_delete(&l->parser);
	for (i = 0; i < l->n_anchors; i++)
		free(l->anchor[i].name);
	for (i = 0; i < l->f->n; i++)
		if (l->f->node[i]->text == NULL)
			l->f->node[i]->text = xstrdup("");
	*root = x != NULL ? x : &nothing;
	return rc;
}

int
node_parse(const char *name, const char *s, size_t n, struct node_file **f,
    const struct node **root, struct err *e)
{
	struct loader l = { .path = name, .e = e };
	struct text t = { .s = NULL };
	int rc;

	l.f = *f = xcalloc(1, sizeof(**f));
	if ((rc = append(&t, s, n, name, e)) == 0)
		rc = parse(&l, &t, root);
	free(t.s);
	if (rc != 0) {
		node_free(*f);
		*f = NULL;
	}
	return rc;
}

int
node_load(const char *path, bool expand_env, struct node_file **f,
    const struct node **root, struct err *e)
{
	struct loader l = { .path = path, .e = e };
	struct text raw = { .s = NULL }, text = { .s = NULL };
	int rc = -1;

	l.f = *f = xcalloc(1, sizeof(**f));
	if (read_file(path, &raw, e) != 0 ||
	    (expand_env && expand(&raw, &text, path, e) != 0))
		goto out;
	rc = parse(&l, expand_env ? &text : &raw, root);
out:
	free(raw.s);
	free(text.s);
	if (rc != 0) {
		node_free(*f);
		*f = NULL;
	}
	return rc;
}

void
node_free(struct node_file *f)
{
	size_t i;

	if (f == NULL)
		return;
	for (i = 0; i < f->n; i++) {
		free(f->node[i]->text);
		free(f->node[i]->child);
		free(f->node[i]);
	}
	free(f->node);
	free(f);
}

const struct node *
node_get(const struct node *map, const char *key)
{
	size_t i;

	if (map->kind == NODE_MAP)
		for (i = 0; i < map->n; i += 2)
			if (strcmp(map->child[i]->text, key) == 0)
				return map->child[i + 1];
	return NULL;
}
