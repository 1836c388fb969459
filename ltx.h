/* SPDX-License-Identifier: ISC */
/*
 * The LTX file format, version 3 (ltx.5): header, pages in ascending order,
 * end mark, page index, trailer.  Reads every file of Litestream v0.5 (LZ4
 * frames and blocks, with checksums and without); writes block-encoded pages
 * without checksums.
 */
#ifndef LTX_H
#define LTX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define LTX_HEADER_SIZE 100
#define LTX_TRAILER_SIZE 16
#define LTX_NO_CHECKSUM 2u	/* the only header flag */

struct ltx_header {
	uint32_t flags, page_size;
	uint32_t commit;	/* database size, pages */
	uint64_t min_txid, max_txid;
	int64_t timestamp_ms;
	uint64_t pre_checksum;
	int64_t wal_offset, wal_size;
	uint32_t wal_salt1, wal_salt2;
	uint64_t node_id;
	/* Ours, in the reserved bytes: salt 0 is another writer's file, whose
	 * fingerprints are unknown and read as 0. */
	uint32_t salt;
	uint64_t pre_fingerprint, post_fingerprint;
};

/* The page that SQLite never uses: the one that holds byte 2^30. */
uint32_t ltx_lock_page(uint32_t page_size);
bool	ltx_page_size_ok(uint32_t page_size);
/* One page's part of a fingerprint: XXH3-64 seeded with salt and pgno. */
uint64_t ltx_page_hash(uint32_t salt, uint32_t pgno, const uint8_t *page,
	    uint32_t page_size);

/* Header from its 100 bytes, validated as FORMAT 7.8; path for the message. */
int	ltx_parse_header(const uint8_t *p, struct ltx_header *h,
	    const char *path, struct err *e);

/*
 * Reading, front to back.  Nothing of a file may be trusted before ltx_next()
 * has returned 0: only then are order, ranges, lengths, index, trailer, file
 * checksum and exact end proven.
 */
struct ltx_reader;

struct ltx_page {
	uint32_t pgno;
	const uint8_t *data;	/* page_size bytes; until the next call */
	const uint8_t *block;	/* LZ4 block that data came from, or NULL
				 * where it came from an LZ4 frame */
	uint32_t block_size;
};

/* Reads and checks the header.  fd (borrowed, any position: read with pread)
 * and path (borrowed) must outlive the reader.  ERR_DAMAGED or ERR_SYSTEM. */
int	ltx_open(struct ltx_reader **r, int fd, const char *path,
	    struct err *e);
const struct ltx_header *ltx_header(const struct ltx_reader *r);
/* 1 and a page; 0 at the proven end; -1, after which only ltx_close() is
 * left. */
int	ltx_next(struct ltx_reader *r, struct ltx_page *p, struct err *e);
/* After the end: the trailer. */
uint64_t ltx_file_checksum(const struct ltx_reader *r);
/* Bytes read so far, for progress. */
uint64_t ltx_bytes_read(const struct ltx_reader *r);
void	ltx_close(struct ltx_reader *r);

/* Only the file checksum, from the last 8 bytes, unverified. */
int	ltx_read_file_checksum(int fd, const char *path, uint64_t *sum,
	    struct err *e);

/*
 * Writing, to an empty file from offset 0 on; fd and path are borrowed.  Pages
 * ascend, none is the lock page; ltx_finish() gets the whole header (flags and
 * pre_checksum are set by the writer), since commit, times and fingerprints
 * may be known last, and writes it last.  It checks that the pages were within
 * commit and, where min_txid is 1, complete.  Neither syncs nor closes fd.
 * What does not fit is ERR_DAMAGED; after any failure only ltx_free() is left.
 */
struct ltx_writer;

int	ltx_create(struct ltx_writer **w, int fd, const char *path,
	    uint32_t page_size, struct err *e);
int	ltx_write_page(struct ltx_writer *w, uint32_t pgno,
	    const uint8_t *data, struct err *e);
/* The same with the compressed form already at hand, which is believed to be
 * that of data; without one (block NULL) data is compressed. */
int	ltx_write_block(struct ltx_writer *w, const struct ltx_page *p,
	    struct err *e);
int	ltx_finish(struct ltx_writer *w, const struct ltx_header *h,
	    uint64_t *file_checksum, uint64_t *size, struct err *e);
/* Also abandons; takes NULL. */
void	ltx_free(struct ltx_writer *w);

#endif
