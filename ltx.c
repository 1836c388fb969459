/* SPDX-License-Identifier: ISC */
/*
 * The LTX file format, version 3.  Integers are big-endian.
 *
 *	header		100 bytes
 *	page		any number: pgno u32 > 0, flags u16, then
 *			flags 1: size u32, an LZ4 block of so many bytes
 *			flags 0: an LZ4 frame, which knows its own end
 *	end of pages	6 zero bytes
 *	index		per page uvarint pgno, offset in the file, length with
 *			the 6 bytes; a zero byte; u64 length of all that
 *	trailer		u64 database checksum after, u64 file checksum
 *
 * Header: 0 "LTX1", 4 flags u32, 8 page size u32, 12 commit u32, 16 min TXID
 * u64, 24 max TXID u64, 32 timestamp i64 in ms, 40 database checksum before
 * u64, 48 WAL offset i64, 56 WAL size i64, 64 salt1 u32, 68 salt2 u32, 72
 * node id u64, 80 salt u32, 84 fingerprint before u64, 92 fingerprint after
 * u64.  The last three are ours: others write zeros there, hash them, and do
 * not read them.
 *
 * Valid if and only if: the header passes check_header(); page numbers
 * ascend, none is past commit or is the lock page; where min TXID is 1 all
 * pages of the database are there; each decompresses to exactly a page; the
 * index is what the pages say; the file checksum is right; nothing follows.
 * The file checksum is the CRC-64 with bit 63 set over everything before it,
 * compressed data taken uncompressed (LZ4 frames have neither size nor header
 * in it).  The database checksums are 0 under LTX_NO_CHECKSUM; else the XOR
 * of the CRC-64 of each page number and page, bit 63 set.
 */
#include <string.h>
#include <xxhash.h>

#include "be.h"
#include "ltx.h"
#include "ltx_format.h"

#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX 65536
#define LOCK_BYTE 0x40000000u

uint32_t
ltx_lock_page(uint32_t page_size)
{
	return LOCK_BYTE / page_size + 1;
}

bool
ltx_page_size_ok(uint32_t page_size)
{
	return page_size >= PAGE_SIZE_MIN && page_size <= PAGE_SIZE_MAX &&
	    (page_size & (page_size - 1)) == 0;
}

uint64_t
ltx_page_hash(uint32_t salt, uint32_t pgno, const uint8_t *page,
    uint32_t page_size)
{
	return XXH3_64bits_withSeed(page, page_size,
	    (uint64_t)salt << 32 | pgno);
}

uint32_t
ltx_next_page(uint32_t pgno, uint32_t page_size)
{
	return ++pgno == ltx_lock_page(page_size) ? pgno + 1 : pgno;
}

static size_t
put_uvarint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

size_t
ltx_put_index_entry(uint8_t *p, uint32_t pgno, uint64_t off, uint64_t size)
{
	size_t n;

	n = put_uvarint(p, pgno);
	n += put_uvarint(p + n, off);
	return n + put_uvarint(p + n, size);
}

/* What is wrong with a header whose flags and page size are right. */
static const char *
header_fault(const struct ltx_header *h)
{
	if (h->commit == 0)
		return "commit size required";
	if (h->min_txid == 0)
		return "minimum transaction id required";
	if (h->max_txid == 0)
		return "maximum transaction id required";
	if (h->wal_offset < 0)
		return "wal offset cannot be negative";
	if (h->wal_size < 0)
		return "wal size cannot be negative";
	if (h->wal_offset == 0 && (h->wal_salt1 != 0 || h->wal_salt2 != 0))
		return "wal offset required if salt exists";
	if (h->wal_offset == 0 && h->wal_size != 0)
		return "wal offset required if wal size exists";
	if (h->min_txid == 1)
		return h->pre_checksum == 0 ? NULL :
		    "pre-apply checksum must be zero on snapshots";
	if (h->flags & LTX_NO_CHECKSUM)
		return h->pre_checksum == 0 ? NULL :
		    "pre-apply checksum not allowed";
	if (h->pre_checksum == 0)
		return "pre-apply checksum required on non-snapshot files";
	if ((h->pre_checksum & LTX_SUM_FLAG) == 0)
		return "invalid pre-apply checksum format";
	return NULL;
}

int
ltx_check_header(const struct ltx_header *h, const char *path, struct err *e)
{
	const char *fault;

	if (h->flags & ~LTX_NO_CHECKSUM)
		return err_set(e, ERR_DAMAGED, "%s: invalid flags: 0x%08x",
		    path, (unsigned)h->flags);
	if (!ltx_page_size_ok(h->page_size))
		return err_set(e, ERR_DAMAGED, "%s: invalid page size: %u",
		    path, (unsigned)h->page_size);
	if ((fault = header_fault(h)) != NULL)
		return err_set(e, ERR_DAMAGED, "%s: %s", path, fault);
	if (h->min_txid > h->max_txid)
		return err_set(e, ERR_DAMAGED,
		    "%s: transaction ids out of order: (%llu,%llu)", path,
		    (unsigned long long)h->min_txid,
		    (unsigned long long)h->max_txid);
	return 0;
}

int
ltx_parse_header(const uint8_t *p, struct ltx_header *h, const char *path,
    struct err *e)
{
	if (memcmp(p, LTX_MAGIC, LTX_MAGIC_SIZE) != 0)
		return err_set(e, ERR_DAMAGED, "%s: invalid LTX file", path);
	h->flags = be32(p + 4);
	h->page_size = be32(p + 8);
	h->commit = be32(p + 12);
	h->min_txid = be64(p + 16);
	h->max_txid = be64(p + 24);
	h->timestamp_ms = (int64_t)be64(p + 32);
	h->pre_checksum = be64(p + 40);
	h->wal_offset = (int64_t)be64(p + 48);
	h->wal_size = (int64_t)be64(p + 56);
	h->wal_salt1 = be32(p + 64);
	h->wal_salt2 = be32(p + 68);
	h->node_id = be64(p + 72);
	h->salt = be32(p + 80);
	h->pre_fingerprint = h->salt != 0 ? be64(p + 84) : 0;
	h->post_fingerprint = h->salt != 0 ? be64(p + 92) : 0;
	return ltx_check_header(h, path, e);
}

void
ltx_put_header(uint8_t *p, const struct ltx_header *h)
{
	memcpy(p, LTX_MAGIC, LTX_MAGIC_SIZE);
	put_be32(p + 4, h->flags);
	put_be32(p + 8, h->page_size);
	put_be32(p + 12, h->commit);
	put_be64(p + 16, h->min_txid);
	put_be64(p + 24, h->max_txid);
	put_be64(p + 32, (uint64_t)h->timestamp_ms);
	put_be64(p + 40, h->pre_checksum);
	put_be64(p + 48, (uint64_t)h->wal_offset);
	put_be64(p + 56, (uint64_t)h->wal_size);
	put_be32(p + 64, h->wal_salt1);
	put_be32(p + 68, h->wal_salt2);
	put_be64(p + 72, h->node_id);
	put_be32(p + 80, h->salt);
	put_be64(p + 84, h->salt != 0 ? h->pre_fingerprint : 0);
	put_be64(p + 92, h->salt != 0 ? h->post_fingerprint : 0);
}
