/* SPDX-License-Identifier: ISC */
/* The table of the keys of litestream.yml, and reading a map by it. */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"
#include "node.h"

/* SHARED stands in TOP and in REPLICA, SNAPSHOT in TOP and in DB. */
enum keys_section { KEYS_TOP, KEYS_SHARED, KEYS_SNAPSHOT, KEYS_LEVEL,
	KEYS_VALIDATION, KEYS_RETENTION, KEYS_SOCKET, KEYS_LOGGING, KEYS_DB,
	KEYS_REPLICA };

enum keys_class { KEYS_HONOURED, KEYS_IGNORED, KEYS_REFUSED };

/* What TOP, DB and REPLICA are read into; what stays comes first. */
struct keys_top {
	struct config c;
	const struct node *levels, *dbs;
};

struct keys_db {
	struct config_db d;
	const struct node *replica, *replicas;
};

struct keys_replica {
	char *type, *path, *url;
};

struct keys_reader {
	const char *path;
	char **warning;
	size_t n_warnings, cap;
	struct err *e;
};

/* "PATH:LINE: what", ERR_USAGE; returns -1. */
int	keys_fail(struct keys_reader *r, const struct node *n,
	    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/*
 * Reads a map of section s into base, and the keys of SHARED into *shared.  A
 * null value leaves what is there, as does an empty string.  prefix names the
 * map in messages: "" or "dbs[/a.db].replica.".
 */
int	keys_read(struct keys_reader *r, enum keys_section s,
	    const struct node *map, const char *prefix, void *base,
	    struct config_sync *shared);
/* Absolute, "~/" and "sqlite://" understood; malloc'd. */
char	*keys_path(const char *s);
/* As Go prints it: "1h30m0s", "500ms". */
char	*keys_duration(char buf[TEXT_SIZE], int64_t ms);
/* Writes the values of a section at base as YAML, so that keys_read() gives the
 * same; what is not given is left out, as are the lists. */
void	keys_print(FILE *f, enum keys_section s, const void *base,
	    int indent);
/* Calls f with each string that a section at base holds. */
void	keys_strings(enum keys_section s, void *base, void (*f)(char **));
/* The i-th key as "dbs[].path"; false at the end. */
bool	keys_name(size_t i, char *buf, size_t size, enum keys_class *class);

#endif
