/* SPDX-License-Identifier: ISC */
/* A YAML file as a tree, with a line for everything in it. */
#ifndef NODE_H
#define NODE_H

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

enum node_kind { NODE_NULL, NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	size_t line;
	bool quoted;
	char *text;		/* of a scalar; "" else */
	struct node **child;	/* of a map: key, value, key, value */
	size_t n;		/* children, of a map keys and values */
	size_t cap;
};

struct node_file;

/*
 * Reads path.  With expand_env, $NAME and ${NAME} are first replaced in its
 * text by the environment ($PID: our own), by nothing where unset; lines are
 * counted after that.  *root is the file's until node_free(); NODE_NULL if
 * there is nothing in it.  Aliases lead to one and the same node and << is
 * merged, so the tree has no cycles but may have shared branches.  ERR_USAGE:
 * "PATH:LINE: what" for what is not YAML, too deep or too large, has a key
 * twice, a key that is no name, a tag, or a second document.
 */
int	node_load(const char *path, bool expand_env, struct node_file **f,
	    const struct node **root, struct err *e);
/* The same of n bytes at s, without expansion; JSON is read by this, too. */
int	node_parse(const char *name, const char *s, size_t n,
	    struct node_file **f, const struct node **root, struct err *e);
void	node_free(struct node_file *f);
/* The value of a key, NULL if it is not there. */
const struct node *node_get(const struct node *map, const char *key);

#endif
