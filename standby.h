/* SPDX-License-Identifier: ISC */
/*
 * A database file that others read with SQLite meanwhile, changed in place as
 * SQLite itself would: under its locks, through its rollback journal.
 */
#ifndef STANDBY_H
#define STANDBY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

struct standby;

/*
 * Opens path, and has SQLite roll back what a crash left.  ERR_LOCKED: another
 * process has it open this way; ERR_DAMAGED: not a database.  Until
 * standby_close() nothing else in this process may open path: closing it would
 * drop our locks.
 */
int	standby_open(struct standby **s, const char *path, struct err *e);
void	standby_close(struct standby *s);
/* Whether path leads to another file now, or to none: 1, with *e; 0; -1 if that
 * cannot be told. */
int	standby_lost(const struct standby *s, struct err *e);

/*
 * A change, in this order; readers go on until standby_arm().  begin: nobody
 * else may write (ERR_BUSY: somebody does); state and old pages can be read.
 * save: this page will be overwritten or cut off.  arm: the saved pages are
 * durable and no reader is left; waits for those, and gives up with ERR_BUSY
 * when *stop is set.  write: pages of page_size, maybe another one.  commit:
 * the file ends after so many pages, all is durable, and the change is made.
 * end: in any case; what was not committed is as if it had not been begun.
 */
struct standby_state {
	uint32_t page_size, pages;
	uint32_t counter;	/* SQLite's change counter */
};

int	standby_begin(struct standby *s, struct standby_state *st,
	    struct err *e);
int	standby_read(struct standby *s, uint32_t pgno, uint8_t *page,
	    struct err *e);
int	standby_save(struct standby *s, uint32_t pgno, const uint8_t *page,
	    struct err *e);
int	standby_arm(struct standby *s, const volatile sig_atomic_t *stop,
	    struct err *e);
int	standby_write(struct standby *s, uint32_t pgno, const uint8_t *page,
	    uint32_t page_size, struct err *e);
int	standby_commit(struct standby *s, uint32_t pages, uint32_t page_size,
	    struct err *e);
int	standby_end(struct standby *s, struct err *e);

/*
 * The header of page 1 as a standby has it: rollback-journal mode, and a
 * change counter that makes readers drop what they have cached.
 */
#define STANDBY_HEADER_SIZE 100
void	standby_stamp(uint8_t *page1, uint32_t counter);

#endif
