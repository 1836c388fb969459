/* SPDX-License-Identifier: ISC */
/* What reading and writing LTX files have in common; the rest uses ltx.h. */
#ifndef LTX_FORMAT_H
#define LTX_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "ltx.h"
#include "util.h"

#define LTX_MAGIC "LTX1"
#define LTX_MAGIC_SIZE 4
#define LTX_SUM_FLAG (UINT64_C(1) << 63)
#define LTX_SUM_SIZE 8
#define LTX_PAGE_HEADER_SIZE 6
#define LTX_PAGE_IS_BLOCK 1u
#define LTX_BLOCK_HEADER_SIZE (LTX_PAGE_HEADER_SIZE + 4)
#define LTX_INDEX_ENTRY_MAX 20
#define LTX_INDEX_END_SIZE 9

/* The page number that comes after in a file with all pages. */
uint32_t ltx_next_page(uint32_t pgno, uint32_t page_size);
/* The most that one page may take in the file, bytes. */
size_t	ltx_frame_max(uint32_t page_size);
/* One entry of the index into p; its length, LTX_INDEX_ENTRY_MAX at most. */
size_t	ltx_put_index_entry(uint8_t *p, uint32_t pgno, uint64_t off,
	    uint64_t size);
/* ERR_DAMAGED, in upstream's words. */
int	ltx_check_header(const struct ltx_header *h, const char *path,
	    struct err *e);
void	ltx_put_header(uint8_t *p, const struct ltx_header *h);

#endif
