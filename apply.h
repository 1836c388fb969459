/* SPDX-License-Identifier: ISC */
/* A chain of replica files applied to a standby, all of it or nothing. */
#ifndef APPLY_H
#define APPLY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "standby.h"
#include "store.h"
#include "util.h"

/* What the standby holds, as far as it is known. */
struct apply_state {
	uint64_t txid;
	uint32_t salt;		/* of the last file; 0: unknown */
	uint64_t post;		/* fingerprint of the source at txid */
	uint32_t counter;	/* in the standby's header */
	/* The parts of post, where proven: page 1, and the others. */
	bool known;
	uint64_t page1, rest;
};

struct apply {
	const char *root;	/* replica directory */
	struct standby *db;
	const volatile sig_atomic_t *stop;
	struct apply_state at;
};

/* More are applied in several steps: a descriptor each. */
#define APPLY_MAX_FILES 200

/*
 * Applies the n files, oldest first, on top of a->at; or, if whole, makes the
 * standby what they hold, whatever it was.  Every file is read to its proven
 * end, and the result compared with the fingerprint, before a page of the
 * standby is touched.  ERR_DAMAGED: file *bad is (or n: they do not make a
 * state together); ERR_ABSENT: one has gone; ERR_FOREIGN: the standby is not
 * what a->at says, or they are of another history.
 */
int	apply_files(struct apply *a, const struct store_file *file, size_t n,
	    bool whole, size_t *bad, struct err *e);
/*
 * The change counter of a standby at the end of the file with this header:
 * differs from state to state, and from those of other writers.
 */
uint32_t apply_counter(const struct ltx_header *h);

#endif
