/* SPDX-License-Identifier: ISC */
/*
 * Replica files made from replica files: newest form of each page wins.  The
 * database is never looked at.
 */
#ifndef MERGE_H
#define MERGE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "store.h"
#include "util.h"

/*
 * Publishes one file of level with the range min_txid .. (the last input's
 * max), made from the n inputs in, oldest first, each with the header that
 * store_list() gave it.  min_txid is the first input's where history is merely
 * merged; the caller may claim a larger range for a full image.  A single
 * input that keeps its range is linked.  Every input is read to its proven
 * end before anything is published; what must be complete (min_txid 1) is
 * proven complete and, where the fingerprint is known, to have it.  *out
 * is the new file.
 *
 * ERR_DAMAGED: an input is damaged, or the inputs contradict each other (TXIDs,
 * fingerprints, page sizes, pages that must be there); merge_check() tells
 * which input it is.  ERR_BUSY: *cancel (may be NULL) became true.  The output
 * is then not there.
 */
int	merge_files(const char *root, const struct store_file *in, size_t n,
	    int level, uint64_t min_txid, const struct disk_owner *o,
	    const atomic_bool *cancel, struct store_file *out, struct err *e);

/* Reads one file to its proven end, without writing.  ERR_DAMAGED, ERR_BUSY. */
int	merge_check(const char *root, const struct store_file *f,
	    const atomic_bool *cancel, struct err *e);

#endif
