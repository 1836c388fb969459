/* SPDX-License-Identifier: ISC */
/* What the three processes of the schedule explorer say to each other. */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../wal.h"

#define SCHEDULE_PAGE 512

struct ask {
	char op[12];
	int32_t fine;		/* counts every point, not only the main ones */
	int32_t until;		/* stops at that point; 0: goes to the end */
};

/* The application's: an image is what SQLite reads after a commit. */
struct app_answer {
	int32_t rc;		/* SQLite's */
	int32_t has_image;
	uint64_t hash;
	uint32_t pages;
};

enum { OURS_DONE, OURS_AT, OURS_FAILED };

struct ours_answer {
	int32_t what, kind;	/* and the kind of the error */
	char point[12];		/* where it stands */
	char text[240];
	int32_t passed;		/* points since the operation began */
	bool open, doubt, tail, found, intact, failing;
	bool settled, clean;	/* as last saved */
	uint32_t commit, audit_next;
	uint64_t txid, saved_txid;
	struct wal_pos pos, table, saved;
	uint32_t saves, diffs, rebases, differed;
};

bool	read_all(int fd, void *p, size_t n);
bool	write_all(int fd, const void *p, size_t n);
uint64_t hash_bytes(uint64_t h, const void *p, size_t n);

/* The children: until fd ends.  dir/a.db is the database. */
void	app_serve(int fd, const char *dir);
void	ours_serve(int fd, const char *dir);

#endif
