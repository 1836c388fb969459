/* SPDX-License-Identifier: ISC */
/* state.c: round trips, writes only for a reason, noise. */
#include <sys/stat.h>

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "../crc64.h"
#include "../state.h"
#include "tap.h"

#define SEED UINT64_C(0x5eed000000000014)
#define ROUNDS 20000
#define CRC_LINE 21

static char *meta;

static void
read_file(char buf[STATE_SIZE + 1])
{
	char *path = state_path(meta);
	int fd = open(path, O_RDONLY);

	if (fd < 0 || read(fd, buf, STATE_SIZE) != STATE_SIZE)
		die("%s: cannot be read", path);
	close(fd);
	free(path);
}

/* Makes the file old; whether it is, still. */
static void
make_old(void)
{
	const struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
	char *path = state_path(meta);

	if (utimensat(AT_FDCWD, path, old, 0) != 0)
		die("%s: utimensat", path);
	free(path);
}

static bool
is_old(void)
{
	char *path = state_path(meta);
	struct stat st;
	bool old = stat(path, &st) == 0 && st.st_mtime == 1000;

	free(path);
	return old;
}

static void
fill(struct state_facts *f, bool longest)
{
	memset(f, 0, sizeof *f);
	f->word = longest ? STATE_STARTING : STATE_OK;
	f->since_ms = f->pid = f->started_ms = f->pass_ms = f->txid_ms =
	    f->audit_ms = f->error_ms = longest ? INT64_MAX : 7;
	f->txid = f->differed = longest ? UINT64_MAX : 8;
	f->known = f->complete = f->wal.salt1 = f->wal.salt2 =
	    f->wal.frames = f->wal.cksum1 = f->wal.cksum2 =
	    longest ? UINT32_MAX : 9;
	f->db.dev = f->db.ino = f->db.size = longest ? UINT64_MAX : 10;
	f->db.mtime_ns = f->db.ctime_ns = longest ? INT64_MAX : 11;
	snprintf(f->boot, sizeof f->boot, "boot");
	snprintf(f->root, sizeof f->root, "/a b");
	snprintf(f->error, sizeof f->error, "what\tthe");
	if (longest) {
		memset(f->boot, 'b', sizeof f->boot - 1);
		memset(f->root, 'r', sizeof f->root - 1);
		memset(f->error, 'e', sizeof f->error - 1);
	}
}

static void
round_trips(struct state *s)
{
	struct state_facts f, got;
	struct err e;
	char *path = state_path(meta);

	fill(&f, false);
	state_set(s, &f, false);
	ok(state_read(path, &got, &e) == 1, "a file is read");
	f.error[4] = '?';		/* the tab */
	ok(memcmp(&f, &got, sizeof f) == 0, "as it was written");
	fill(&f, true);
	state_set(s, &f, false);
	ok(state_read(path, &got, &e) == 1, "all at its longest");
	ok(strncmp(f.error, got.error, strlen(got.error)) == 0 &&
	    strlen(got.error) > 100, "the error may be cut");
	memset(got.error, 'e', sizeof got.error - 1);
	ok(memcmp(&f, &got, sizeof f) == 0, "and nothing else is");
	free(path);
}

static void
writes(struct state *s)
{
	struct state_facts f;
	char *path = state_path(meta);
	struct err e;

	fill(&f, false);
	state_set(s, &f, false);
	make_old();
	f.pass_ms += 100;
	state_set(s, &f, false);
	ok(is_old(), "another pass is no reason to write");
	state_set(s, &f, true);
	ok(!is_old(), "unless it was asked for");
	ok(!state_asked(s), "nobody has asked");
	make_old();
	ok(state_asked(s), "a touch asks");
	ok(!state_asked(s), "once");
	f.txid++;
	state_set(s, &f, false);
	ok(!is_old(), "a new TXID is a reason");
	ok(unlink(path) == 0 && state_read(path, &f, &e) == 0, "removed");
	fill(&f, true);
	state_set(s, &f, false);
	ok(state_read(path, &f, &e) == 1, "it is made again");
	free(path);
}

static void
seal(char buf[STATE_SIZE + 1])
{
	snprintf(buf + STATE_SIZE - CRC_LINE, CRC_LINE + 1,
	    "crc %016" PRIx64 "\n", crc64(0, buf, STATE_SIZE - CRC_LINE));
}

/* A root of n more characters, all else as it must be. */
static bool
longer(struct state *s, size_t n)
{
	char buf[STATE_SIZE + 1], *root;
	struct state_facts f;

	fill(&f, false);
	state_set(s, &f, true);
	read_file(buf);
	buf[STATE_SIZE] = '\0';
	root = strstr(buf, "root ") + strlen("root ");
	memmove(root + n, root, (size_t)(buf + STATE_SIZE - CRC_LINE - 1 -
	    root) - n);
	memset(root, 'x', n);
	seal(buf);
	return state_parse(buf, &f);
}

/* Noise over a valid file; sealed: under a right checksum. */
static void
noise(bool sealed)
{
	char good[STATE_SIZE + 1], buf[STATE_SIZE + 1];
	uint64_t seed = SEED, i, k, n;
	struct state_facts f;
	bool bad = false, change;

	read_file(good);
	for (i = 0; i < ROUNDS; i++) {
		memcpy(buf, good, STATE_SIZE);
		n = next_random(&seed) % 3 + 1;
		for (k = 0; k < n; k++)
			buf[next_random(&seed) % STATE_SIZE] =
			    (char)next_random(&seed);
		change = memcmp(buf, good, STATE_SIZE) != 0;
		if (sealed) {
			seal(buf);
			if (state_parse(buf, &f))
				bad |= f.word > STATE_STOPPED ||
				    memchr(f.root, 0, sizeof f.root) == NULL ||
				    memchr(f.error, 0, sizeof f.error) == NULL;
		} else
			bad |= change && state_parse(buf, &f);
	}
	ok(!bad, "noise %s", sealed ? "under a right checksum does no harm" :
	    "is not believed");
}

int
main(void)
{
	char dir[] = "/tmp/litestream.XXXXXX";
	struct state_facts f;
	struct disk_owner o;
	struct state s;
	char *path;

	if ((meta = mkdtemp(dir)) == NULL)
		die("mkdtemp");
	disk_owner_private(&o);
	state_init(&s, meta);
	path = state_path(meta);
	fill(&f, false);
	state_set(&s, &f, true);
	ok(access(path, F_OK) != 0, "nothing is written without the lock");
	state_claim(&s, &o, &f);
	ok(access(path, F_OK) == 0, "something with it");
	round_trips(&s);
	writes(&s);
	ok(longer(&s, STATE_TEXT_SIZE - 5), "the longest root");
	ok(!longer(&s, STATE_TEXT_SIZE - 4), "one that is too long");
	noise(false);
	noise(true);
	state_free(&s);
	unlink(path);
	rmdir(meta);
	free(path);
	return done_testing();
}
