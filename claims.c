/* SPDX-License-Identifier: ISC */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "claims.h"

struct claim {
	char *path;
	uint64_t dev, ino;
};

struct claims {
	pthread_mutex_t mutex;
	struct claim *claim;
	size_t n, cap;
};

struct claims *
claims_new(void)
{
	struct claims *c = xcalloc(1, sizeof *c);

	pthread_mutex_init(&c->mutex, NULL);
	return c;
}

void
claims_free(struct claims *c)
{
	pthread_mutex_destroy(&c->mutex);
	free(c->claim);
	free(c);
}

int
claims_take(struct claims *c, const char *path, const struct disk_stat *st,
    struct err *e)
{
	struct claim *k;
	size_t i;
	int rc = 0;

	if (c == NULL)
		return 0;
	pthread_mutex_lock(&c->mutex);
	for (i = 0; i < c->n && rc == 0; i++) {
		k = &c->claim[i];
		if ((k->dev == st->dev && k->ino == st->ino) ||
		    strcmp(k->path, path) == 0)
			rc = err_set(e, ERR_BUSY, "%s: is replicated already, "
			    "as %s", path, k->path);
	}
	if (rc == 0) {
		c->claim = xgrow(c->claim, c->n, &c->cap, sizeof *c->claim);
		k = &c->claim[c->n++];
		k->path = xstrdup(path);
		k->dev = st->dev;
		k->ino = st->ino;
	}
	pthread_mutex_unlock(&c->mutex);
	return rc;
}

void
claims_drop(struct claims *c, const char *path)
{
	size_t i;

	if (c == NULL)
		return;
	pthread_mutex_lock(&c->mutex);
	for (i = 0; i < c->n && strcmp(c->claim[i].path, path) != 0; i++)
		continue;
	if (i < c->n) {
		free(c->claim[i].path);
		c->claim[i] = c->claim[--c->n];
	}
	pthread_mutex_unlock(&c->mutex);
}
