/* SPDX-License-Identifier: ISC */
/*
 * restore.c on chains that are composed here page by page.  A page is filled
 * with one byte, which says which file it must have come from.
 */
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../pages.h"
#include "../restore.h"
#include "tap.h"

#define SMALL 512u
#define LARGER 1024u
#define MANY 200
#define FEW_DESCRIPTORS 24
#define SALT 0x5a17u
#define WRAPS (UINT32_C(1) << 29)

static int roots;

/* What a file is to be; fingerprint 0 leaves it unknown. */
struct spec {
	int level;
	unsigned min, max, page_size, commit;
	const char *pages;	/* "1=a 2=b": page 2 filled with b */
	uint64_t fingerprint;
};

static uint64_t
hash_of(unsigned pgno, int c, unsigned page_size)
{
	uint8_t page[LARGER];

	memset(page, c, sizeof(page));
	return ltx_page_hash(SALT, pgno, page, page_size);
}

static void
write_pages(struct ltx_writer *w, const struct spec *s)
{
	uint8_t page[LARGER];
	struct err e;
	const char *at = s->pages;
	unsigned pgno;
	char c;
	int n;

	while (sscanf(at, " %u=%c%n", &pgno, &c, &n) == 2) {
		memset(page, c, sizeof(page));
		if (ltx_write_page(w, pgno, page, &e) != 0)
			die("%s", e.text);
		at += n;
	}
}

static void
add(const char *root, struct spec s)
{
	struct ltx_header h = { .page_size = s.page_size, .commit = s.commit,
	    .min_txid = s.min, .max_txid = s.max,
	    .timestamp_ms = 1000 * (int64_t)s.max,
	    .salt = s.fingerprint != 0 ? SALT : 0,
	    .post_fingerprint = s.fingerprint };
	struct disk_owner o;
	struct ltx_writer *w = NULL;
	struct store_new n;
	struct err e;
	uint64_t sum, size;
	bool renamed;

	disk_owner_private(&o);
	if (store_make(root, &o, &e) != 0 ||
	    store_begin(&n, root, s.level, s.min, s.max, &o, &e) != 0 ||
	    ltx_create(&w, n.fd, n.tmp, s.page_size, &e) != 0)
		die("%s", e.text);
	write_pages(w, &s);
	if (ltx_finish(w, &h, &sum, &size, &e) != 0 ||
	    store_publish(&n, h.timestamp_ms, &renamed, &e) != 0)
		die("%s", e.text);
	ltx_free(w);
	store_end(&n);
}

static char *
new_root(void)
{
	return xasprintf("%s/r%d", getenv("T"), ++roots);
}

/* One byte of each page of the file, or "none". */
static char *
content(const char *path, unsigned page_size)
{
	char *s = xcalloc(MANY + 2, 1), *all;
	struct err e;
	size_t n, i;

	if (disk_read_all(path, LARGER * MANY, &all, &n, &e) != 0) {
		strcpy(s, "none");
		return s;
	}
	for (i = 0; i < n / page_size; i++)
		s[i] = all[i * page_size];
	free(all);
	return s;
}

/* Restores and compares: want is a content, or what the error must have. */
static struct restore_result
gives(const char *title, const char *root, struct restore_args a,
    unsigned page_size, const char *want)
{
	struct restore_result res;
	struct err e = { .kind = ERR_NONE };
	char *out = xasprintf("%s.db", root), *tmp, *got;
	struct stat st;
	int rc;

	tmp = xasprintf("%s.tmp", out);
	a.root = root;
	if (a.out == NULL)
		a.out = out;
	rc = restore_run(&a, &res, &e);
	got = content(a.out, page_size);
	if (rc == 0 ? strcmp(got, want) != 0 : e.kind != ERR_DAMAGED ||
	    strstr(e.text, want) == NULL || strcmp(got, "none") != 0 ||
	    stat(tmp, &st) == 0) {
		ok(false, "%s", title);
		printf("# got %s, error %s\n# wanted %s\n", got, e.text,
		    want);
	} else
		ok(true, "%s", title);
	unlink(a.out);
	free(got);
	free(tmp);
	free(out);
	return res;
}

static void
test_pages(void)
{
	const struct restore_args all = { 0 }, second = { .txid = 2 };
	char *r = new_root();

	add(r, (struct spec){ 0, 1, 1, SMALL, 3, "1=a 2=a 3=a", 0 });
	add(r, (struct spec){ 0, 2, 2, SMALL, 1, "1=b", 0 });
	gives("a shrunk database", r, all, SMALL, "b");
	add(r, (struct spec){ 0, 3, 3, SMALL, 3, "2=c 3=c", 0 });
	gives("the newest form of each page", r, all, SMALL, "bcc");
	gives("an earlier state", r, second, SMALL, "b");
	free(r);
	r = new_root();
	add(r, (struct spec){ 0, 1, 1, SMALL, 3, "1=a 2=a 3=a", 0 });
	add(r, (struct spec){ 0, 2, 2, SMALL, 1, "1=b", 0 });
	add(r, (struct spec){ 0, 3, 3, SMALL, 3, "2=c", 0 });
	gives("a page that was cut off does not come back", r, all, SMALL,
	    "page 3 is missing");
	free(r);
}

static void
test_page_sizes(void)
{
	const struct restore_args all = { 0 };
	char *r = new_root();

	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	add(r, (struct spec){ 0, 2, 2, LARGER, 2, "1=b 2=b", 0 });
	add(r, (struct spec){ 0, 3, 3, LARGER, 2, "2=c", 0 });
	gives("a full image hides another page size", r, all, LARGER, "bc");
	free(r);
	r = new_root();
	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	add(r, (struct spec){ 0, 2, 2, LARGER, 2, "1=b", 0 });
	gives("two page sizes in one image", r, all, LARGER,
	    "mismatched page sizes: 512 != 1024");
	free(r);
}

static void
test_fingerprints(void)
{
	const struct restore_args all = { 0 };
	uint64_t print = hash_of(1, 'a', SMALL) ^ hash_of(2, 'b', SMALL);
	char *r = new_root();

	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	ok(!gives("no fingerprint", r, all, SMALL, "aa").proven,
	    "is not proven");
	add(r, (struct spec){ 0, 2, 2, SMALL, 2, "2=b", print });
	ok(gives("the fingerprint that it has", r, all, SMALL, "ab").proven,
	    "is proven");
	add(r, (struct spec){ 0, 3, 3, SMALL, 2, "2=c", print });
	gives("another fingerprint", r, all, SMALL, "fingerprint mismatch");
	free(r);
}

/* Flips a bit in the middle of the file, or sets its commit field. */
static void
damage(const char *root, int level, unsigned min, unsigned max, bool header)
{
	struct store_file f = { .level = level, .min_txid = min,
	    .max_txid = max };
	char *path = store_path(root, &f);
	uint8_t b[4] = { 0xff, 0xff, 0xff, 0xfe };
	struct stat st;
	int fd = open(path, O_RDWR);
	off_t at = 12;

	if (fd < 0 || fstat(fd, &st) != 0)
		exit(1);
	if (!header) {
		at = st.st_size / 2;
		if (pread(fd, b, 1, at) != 1)
			exit(1);
		b[0] ^= 1;
	}
	if (pwrite(fd, b, header ? sizeof(b) : 1, at) < 1)
		exit(1);
	close(fd);
	free(path);
}

static void
test_damage(void)
{
	const struct restore_args all = { 0 };
	const struct restore_args later = { .has_time = true,
	    .time_ms = 5000 };
	char *r = new_root();

	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	add(r, (struct spec){ 0, 2, 2, SMALL, 2, "2=b", 0 });
	add(r, (struct spec){ 1, 1, 2, SMALL, 2, "1=a 2=b", 0 });
	add(r, (struct spec){ 9, 1, 2, SMALL, 2, "1=a 2=b", 0 });
	damage(r, 9, 1, 2, false);
	gives("a lower level instead of a damaged snapshot", r, all, SMALL,
	    "ab");
	damage(r, 1, 1, 2, false);
	gives("and the next lower", r, all, SMALL, "ab");
	damage(r, 0, 2, 2, false);
	gives("all damaged", r, all, SMALL, "non-contiguous ltx files");
	gives("all damaged, by time", r, later, SMALL, "non-contiguous");
	free(r);
	r = new_root();
	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	damage(r, 0, 1, 1, true);
	gives("a commit size beyond all bounds", r, all, SMALL,
	    "do not fit");
	free(r);
}

static void
put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
		exit(1);
}

static bool
has(const char *path, const char *text)
{
	struct err e;
	char *p;
	size_t n;
	bool same;

	if (disk_read_all(path, LARGER, &p, &n, &e) != 0)
		return text == NULL;
	same = text != NULL && strcmp(p, text) == 0;
	free(p);
	return same;
}

/* The publication over an existing database, with a step that fails. */
static void
test_force(void)
{
	char *r = new_root(), *out, *wal, *shm, *aside, *block;
	struct restore_args a = { .force = true };
	struct restore_result res;
	struct err e;
	int rc;

	add(r, (struct spec){ 0, 1, 1, SMALL, 2, "1=a 2=a", 0 });
	out = xasprintf("%s.db", r);
	wal = xasprintf("%s-wal", out);
	shm = xasprintf("%s-shm", out);
	aside = xasprintf("%s.replaced", wal);
	block = xasprintf("%s.replaced", shm);
	put_file(out, "old");
	put_file(wal, "old wal");
	put_file(shm, "old shm");
	mkdir(block, 0700);
	a.root = r;
	a.out = out;
	rc = restore_run(&a, &res, &e);
	ok(rc != 0 && has(out, "old") && has(wal, "old wal") &&
	    has(shm, "old shm") && has(aside, NULL),
	    "a failure while sidecars move leaves the old database");
	rmdir(block);
	gives("-force", r, a, SMALL, "aa");
	ok(has(wal, NULL) && has(shm, NULL) && has(aside, NULL) &&
	    has(block, NULL), "leaves no sidecars and no asides");
	free(r);
	free(out);
	free(wal);
	free(shm);
	free(aside);
	free(block);
}

static void
test_many(void)
{
	const struct restore_args all = { 0 };
	const struct rlimit few = { FEW_DESCRIPTORS, FEW_DESCRIPTORS };
	char *r = new_root(), pages[16], want[MANY + 1] = "";
	unsigned i;

	for (i = 1; i <= MANY; i++) {
		snprintf(pages, sizeof(pages), "%u=%c", i, 'a' + i % 26);
		want[i - 1] = pages[strlen(pages) - 1];
		add(r, (struct spec){ 0, i, i, SMALL, i, pages, 0 });
	}
	if (setrlimit(RLIMIT_NOFILE, &few) != 0)
		exit(1);
	gives("more files than descriptors", r, all, SMALL, want);
	free(r);
}

/* 8 bytes a page: with 32 bits that many pages wrap around to a few bytes. */
static void
test_addresses(void)
{
	const char *title =
	    "a page table beyond the addresses is out of memory";
	struct pages p;
	int status = 0;

	if (SIZE_MAX > UINT32_MAX) {
		ok(true, "%s # SKIP 64 bits", title);
		return;
	}
	fflush(stdout);
	if (fork() == 0) {
		pages_init(&p);
		pages_resize(&p, WRAPS);
		pages_set(&p, WRAPS, 1);
		_exit(0);
	}
	wait(&status);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "%s", title);
}

/* Writes text as file 0/1-1; the kind of error, and *renamed. */
static enum err_kind
publish(const char *root, const char *text, bool taken_over, bool *renamed)
{
	struct disk_owner o;
	struct store_new n;
	struct err e = { .kind = ERR_NONE };

	disk_owner_private(&o);
	if (store_begin(&n, root, 0, 1, 1, &o, &e) != 0 ||
	    write(n.fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("%s", e.text);
	if (taken_over && (unlink(n.tmp) != 0 || mkdir(n.tmp, 0700) != 0))
		die("%s: cannot be replaced", n.tmp);
	(void)store_publish(&n, 1000, renamed, &e);
	if (taken_over)
		rmdir(n.tmp);
	store_end(&n);
	return e.kind;
}

static void
test_publish(void)
{
	struct disk_owner o;
	struct store_file from = { .level = 0, .min_txid = 1, .max_txid = 1 };
	struct store_file to = { .level = 1, .min_txid = 1, .max_txid = 1 };
	struct store_list l;
	struct store_new n;
	struct err e;
	char *r = new_root(), *bare = new_root();
	bool renamed;

	disk_owner_private(&o);
	ok(publish(r, "one", true, &renamed) == ERR_LOCKED && !renamed,
	    "a temporary that became another file is not published");
	ok(publish(r, "one", false, &renamed) == ERR_NONE && renamed,
	    "a file is published");
	ok(publish(r, "one", false, &renamed) == ERR_NONE,
	    "the same bytes once more");
	ok(publish(r, "two", false, &renamed) == ERR_DAMAGED && !renamed,
	    "other bytes never replace it");
	ok(store_list(r, 0, &l, &e) == 0 && l.n == 1 && l.file[0].size == 3,
	    "and it stays");
	store_list_free(&l);
	ok(store_link(r, &from, &to, &o, &e) == 0, "a link at another level");
	ok(store_link(r, &from, &to, &o, &e) == 0, "which is there already");
	ok(store_begin(&n, bare, 1, 1, 1, &o, &e) == -1 &&
	    e.kind == ERR_ABSENT && access(bare, F_OK) != 0,
	    "nothing is made where there is no replica: %s", e.text);
	store_end(&n);
	mkdir(bare, 0700);
	ok(store_link(bare, &from, &to, &o, &e) == -1 && rmdir(bare) == 0,
	    "nor in an empty directory, by a link: %s", e.text);
	from.min_txid = from.max_txid = 2;
	ok(store_link(r, &from, &to, &o, &e) == -1 && e.kind == ERR_ABSENT,
	    "of nothing: %s", e.text);
	free(bare);
	free(r);
}

int
main(void)
{
	if (getenv("T") == NULL)
		return 1;
	log_to_stderr();
	log_set_level("error");
	test_pages();
	test_page_sizes();
	test_fingerprints();
	test_damage();
	test_force();
	test_publish();
	test_many();
	test_addresses();
	return done_testing();
}
