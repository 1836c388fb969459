/* SPDX-License-Identifier: ISC */
/*
 * The page table: for each page of the restorable state one hash, and the
 * position in WAL and replica that goes with it.  On disk it is a cache.
 */
#ifndef PAGES_H
#define PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "store.h"
#include "util.h"
#include "wal.h"

struct pages {
	uint32_t page_size, commit;
	uint32_t salt;		/* of the chain; never 0 */
	uint64_t txid;		/* the table is the state at this TXID */
	uint64_t file_checksum;	/* trailer of the level 0 file of txid */
	uint64_t fingerprint;	/* XOR of the hashes */
	uint64_t *hash;		/* hash[pgno - 1], where present */
	uint8_t *present;	/* a bit each: 0 is a hash like any other */
	uint32_t cap;

	/* Where the capture stood; trusted under the proofs of capture.c. */
	struct wal_pos wal;
	bool clean;		/* stopped with the WAL consumed and copied */
	bool settled;		/* ctime was old enough when db was taken */
	struct disk_stat db, newest;	/* database; newest replica file */
	uint64_t root_dev, root_fsid;
	char id[STORE_ID_SIZE];	/* of the replica, "" unknown */
};

void	pages_init(struct pages *p);
void	pages_free(struct pages *p);
/* Forgets every page and the position, keeps id and place of the root. */
void	pages_clear(struct pages *p, uint32_t page_size, uint32_t salt);

bool	pages_get(const struct pages *p, uint32_t pgno, uint64_t *hash);
void	pages_set(struct pages *p, uint32_t pgno, uint64_t hash);
/* Takes the promise back: the page will be written again. */
void	pages_unset(struct pages *p, uint32_t pgno);
/* Entries past commit are cleared. */
void	pages_resize(struct pages *p, uint32_t commit);
/* At least n pages, as a file at path says of which so many bytes were read: no
 * more than these, the table's size before and some holes that other writers
 * leave explain, or ERR_DAMAGED.  So a table costs no more than its files. */
int	pages_grow(struct pages *p, uint32_t n, uint64_t before,
	    uint64_t bytes, const char *path, struct err *e);
/* Whether each page 1..commit but the lock page has an entry. */
bool	pages_complete(const struct pages *p);

/* 1; 0 if there is none or it is damaged (then *p is as pages_init()); -1.  A
 * table much too large for a database of so many bytes is not read. */
int	pages_load(struct pages *p, const char *path, uint64_t db_size,
	    struct err *e);
int	pages_save(const struct pages *p, const char *path,
	    const struct disk_owner *o, struct err *e);

#endif
