/* SPDX-License-Identifier: ISC */
/* Text that is to be shown: whatever a name or a file brings, it stays that. */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes of the UTF-8 character at p; 0: there is none, or a terminal or a
 * reader could take it for more (control, another line, another direction). */
size_t	text_printable(const char *p);
/* Makes s, of at most size bytes with its end, one plain line: other bytes
 * become \xNN, and what does not fit then is cut off. */
void	text_make_plain(char *s, size_t size);
/* Print s as a JSON string with quotes, as Go does (<, >, & escaped, U+FFFD for
 * what is not UTF-8). */
void	json_string(FILE *f, const char *s);

/* Numbers as text: valid until the end of the block. */
#define TEXT_SIZE 32
char	*text_i64(char *buf, int64_t v);
char	*text_txid(char *buf, uint64_t txid);	/* 16 hex digits */
#define I64(v) text_i64((char[TEXT_SIZE]){0}, (int64_t)(v))
#define TXID(v) text_txid((char[TEXT_SIZE]){0}, (uint64_t)(v))

#endif
