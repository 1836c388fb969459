/* SPDX-License-Identifier: ISC */
/*
 * A database file in the making: written under a temporary name, and put in
 * place in one step.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "util.h"

struct output {
	const char *path;	/* the database; NULL: fd is the caller's */
	bool force;		/* replace what is there */
	char *tmp;		/* PATH.tmp; NULL once published */
	int fd;
	struct output_piece {	/* contiguous bytes on their way to the file */
		uint8_t *buf;
		size_t n;
		int64_t off;
	} fill, out;		/* being filled; being written */
	/* The thread that writes, and what it has met. */
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool threaded, ending;
	int rc;
	struct err e;
};

/* Whether a database may be written to path, in upstream's words: ERR_USAGE. */
int	output_check(const char *path, bool force, struct err *e);
/* path must outlive o.  With path NULL all goes to fd, a file without a name,
 * and there is nothing to publish. */
void	output_init(struct output *o, const char *path, bool force, int fd);
/* The temporary, empty, and the directories that lead to it; what was
 * written before is dropped. */
int	output_begin(struct output *o, const struct disk_owner *own,
	    struct err *e);
/* n is at most 64 KiB.  Small writes that follow each other become one. */
int	output_write(struct output *o, const void *p, size_t n, int64_t off,
	    struct err *e);
/* All written, cut to size, durable. */
int	output_finish(struct output *o, int64_t size, struct err *e);
/* Sidecars that SQLite would play into the temporary, or left beside it. */
void	output_clear_sidecars(const struct output *o);
/* Gives it its name.  ERR_LOCKED: another restore took the temporary. */
int	output_publish(struct output *o, struct err *e);
/* Removes the temporary if it is still ours; closes and frees. */
void	output_end(struct output *o);

#endif
