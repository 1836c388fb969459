/* SPDX-License-Identifier: ISC */
/*
 * SQLite's write-ahead log and the header of its index, read without trust.
 * The index says what is committed; the file alone never does (DESIGN 4).
 */
#ifndef WAL_H
#define WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "util.h"

#define WAL_HEADER_SIZE 32
#define WAL_FRAME_HEADER_SIZE 24
/* The two copies of the header and the checkpoint info at the start of -shm. */
#define WAL_INDEX_COPY_SIZE 48
#define WAL_INDEX_SIZE 136
/* Read marks and lock bytes, which come and go. */
#define WAL_INDEX_LOCKS 100
#define WAL_INDEX_LOCKS_END 128

/* The header of the wal-index: what SQLite holds to be committed. */
struct wal_index {
	uint32_t change;	/* counts every transaction */
	uint32_t page_size;
	uint32_t mx_frame;	/* last committed frame, 0: none */
	uint32_t commit;	/* database size in pages */
	uint32_t cksum1, cksum2;	/* running checksum at mx_frame */
	uint32_t salt1, salt2;
	uint32_t backfill;	/* frames already in the database file, */
	uint32_t attempted;	/* and those that a checkpoint is at */
};

/* A place in a WAL: frames passed and the running checksum there. */
struct wal_pos {
	uint32_t salt1, salt2;
	uint32_t frames;
	uint32_t cksum1, cksum2;
};

/* One frame as read by wal_next(). */
struct wal_frame {
	uint32_t pgno, commit;	/* commit 0: not the end of a transaction */
	const uint8_t *data;	/* until the next call */
};

/* From WAL_INDEX_SIZE bytes copied out of shared memory; false if the copies
 * differ, the checksum is wrong or it was never initialised. */
bool	wal_index_parse(const uint8_t *shm, struct wal_index *x);

/*
 * A reader over an open -wal (fd borrowed, pread only).  wal_seek() checks the
 * header: 1 if it is valid, of our page size and of these salts, and the
 * reader stands at *from, or at the first frame if from is NULL or of other
 * salts; 0 if not (yet); -1.
 */
struct wal;
struct wal *wal_new(int fd, const char *path, uint32_t page_size);
void	wal_free(struct wal *w);
int	wal_seek(struct wal *w, uint32_t salt1, uint32_t salt2,
	    const struct wal_pos *from, struct err *e);
/*
 * Stands at *from, whatever the header says now: for what is left of a
 * generation that was restarted.  Only after a wal_seek() to it.
 */
void	wal_resume(struct wal *w, const struct wal_pos *from);
/* Whether frame at->frames is (still) the one that *at ends in: then nothing
 * behind it was overwritten by a later generation.  1, 0, -1. */
int	wal_holds(struct wal *w, const struct wal_pos *at, struct err *e);
/* 1 and the next frame; 0 where the chain of salts and checksums ends or the
 * file does; -1.  Does not stop at commits. */
int	wal_next(struct wal *w, struct wal_frame *f, struct err *e);
/* Where the reader stands. */
void	wal_tell(const struct wal *w, struct wal_pos *p);
/* The page of a frame of the generation of *gen, whose checksum has been seen
 * right; ERR_DAMAGED if another generation has overwritten it since. */
struct wal_map_entry;
int	wal_read_page(struct wal *w, const struct wal_pos *gen,
	    const struct wal_map_entry *f, uint8_t *page, struct err *e);
/*
 * Which frame holds the newest version of each page: frames are added as they
 * are read; wal_map_reduce() keeps the newest of each page <= commit, by page.
 */
struct wal_map {
	struct wal_map_entry {
		uint32_t pgno, frame;
	} *entry;
	size_t n, cap;
};
void	wal_map_add(struct wal_map *m, uint32_t pgno, uint32_t frame);
void	wal_map_reduce(struct wal_map *m, uint32_t commit);
/* Largest page number, 0 if there is none. */
uint32_t wal_map_largest(const struct wal_map *m);
void	wal_map_free(struct wal_map *m);

/* Bytes of a WAL with n frames. */
uint64_t wal_size(uint32_t n, uint32_t page_size);

#endif
