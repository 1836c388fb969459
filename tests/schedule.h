/* SPDX-License-Identifier: ISC */
/* What the three processes of the schedule explorer say to each other. */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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
	bool inited, open, doubt, tail, found, intact, failing, relieved;
	bool settled, clean;	/* as last saved */
	uint32_t commit, audit_next;
	uint64_t txid, saved_txid;
	struct wal_pos pos, table, saved;
	uint32_t saves, diffs, excuses, rebases, differed;
};

/*
 * Elements of a schedule (schedule_world.c), in the order in which the search
 * tries them.
 */
#define OPS 30
#define MAX_LENGTH 64

enum who { APP, OURS, DRIVER };
enum need {
	N_OPEN = 1, N_CLOSED = 2, N_READ = 4, N_UNREAD = 8,	/* app */
	N_PAIR = 16, N_NO_PAIR = 32, N_MIDDLE = 64, N_ALIVE = 128,
	N_POINTS = 256,	/* not a condition: it has points */
	N_PASS = 512	/* nor this: it has a pass in it */
};

struct op {
	const char *name, *ask;
	enum who who;
	unsigned need;
	bool excuse;	/* may lead to a comparison */
	int weight;	/* of 100 or so, in walks */
};
extern const struct op ops[OPS];

struct element {
	uint8_t op, fine, until;
};

struct schedule {
	struct element e[MAX_LENGTH];
	size_t n;
};

bool	schedule_parse(char *text, struct schedule *s);
void	schedule_print(const struct schedule *s);
uint8_t	op_named(const char *name);

/*
 * The processes and their files.  world_reset() begins a schedule: both have
 * the database open, and it is published.
 */
void	world_open(bool verbose);
void	world_close(void);
void	world_reset(void);
bool	world_possible(const struct element *el);
void	world_do(const struct element *el);
/* Whether the replicator stands at a point. */
bool	world_in_the_middle(void);
/* Goes to the end, or kills and starts, and checks everything. */
void	world_finish(bool by_kill);
/* Of this schedule; "": none. */
const char *world_failure(void);
/* The state, and what it would be if the replicator were killed. */
uint64_t world_key(bool coarse, uint64_t *killed);
/* The point at which it stands matters to nobody else. */
bool	world_at_rest(void);
/* A line about what was done so far. */
void	world_count(int64_t ms);
int64_t	now_ms(void);
_Noreturn void die(const char *what);

/* Every schedule to a depth (schedule_search.c), until a moment. */
struct search_config {
	int depth;
	bool fine, coarse, barred[OPS];
	int64_t start, until;
};
void	search(const struct search_config *cf);
/* Of the driver (schedule.c). */
void	search_failed(const struct schedule *s);
bool	search_given_up(void);

/* What world_key() is made of (schedule_state.c). */
struct situation {
	const char *path, *wal, *shm;
	uint64_t newest;	/* image, and its pages */
	uint32_t pages, read_mark;
	uint64_t txid;		/* the replica's newest, and its pages */
	uint32_t commit;
	bool open, reading, middle, as_saved, killed, excused, coarse;
	uint8_t op;
	const struct ours_answer *a;
};
uint64_t state_key(const struct situation *s, uint64_t *killed);
/* The mark that a read transaction gets which begins now. */
uint32_t state_read_mark(const char *shm);

/* Whoever wrote to a file does this: times are as coarse as the kernel's tick,
 * within which many elements are done. */
void	stamp(const char *path);
bool	read_all(int fd, void *p, size_t n);
bool	write_all(int fd, const void *p, size_t n);
uint64_t hash_bytes(uint64_t h, const void *p, size_t n);

/* The children: until fd ends.  dir/a.db is the database. */
void	app_serve(int fd, const char *dir);
void	ours_serve(int fd, const char *dir);

#endif
