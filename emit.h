/* SPDX-License-Identifier: ISC */
/*
 * Level 0: one new file at a time, with the pages that the replica does not
 * have yet, and the page table that says which those are.
 */
#ifndef EMIT_H
#define EMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "db.h"
#include "disk.h"
#include "pages.h"
#include "store.h"
#include "util.h"

/* The end of the chain. */
struct emit {
	const char *root;	/* replica directory */
	const char *db_path;	/* for log lines */
	const struct db *db;	/* what it is read from, under its pins */
	atomic_ulong *steps;	/* goes up while there is progress */
	struct pages *pages;
	struct disk_owner owner;
	uint64_t next_txid;
	bool pre_unknown;	/* a spent TXID lies before the next file */

	/* The last file, for log and pacing. */
	uint64_t published;	/* files so far */
	_Atomic uint64_t *total;	/* files and bytes, also earlier */
	uint64_t last_size;
	uint32_t last_pages;
	int64_t last_ms;	/* what writing and publishing it took */
};

/* A file in the making; begun with its first page. */
struct emit_file {
	struct emit *em;
	struct store_new file;
	struct ltx_writer *w;
	uint32_t *pgno;		/* what it holds, for the table */
	uint64_t *hash;
	size_t n, cap_pgno, cap_hash;
	uint64_t fingerprint;	/* of the state with what it holds */
	bool begun;
	int64_t start_ms;
};

/* Whether what was read can be relied upon: ERR_BUSY if the pins were lost.  To
 * be asked before publishing; counts as a step. */
int	emit_check(struct emit *em, struct err *e);
void	emit_init(struct emit_file *f, struct emit *em);
/* Adds a page (ascending), unless the replica has it already. */
int	emit_page(struct emit_file *f, uint32_t pgno, const uint8_t *page,
	    struct err *e);
/*
 * Publishes the state of commit pages that f completes, and advances table and
 * TXID; no file if no page and no size differs.  A page that the caller did not
 * add must be as the table has it.
 */
int	emit_publish(struct emit_file *f, uint32_t commit, struct err *e);
void	emit_free(struct emit_file *f);

#endif
