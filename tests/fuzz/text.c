/* SPDX-License-Identifier: ISC */
/*
 * The small readers of text: the first byte tells which.  What they accept
 * they give back the same when it is written and read again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../crc64.h"
#include "../../keys.h"
#include "../../retain.h"
#include "../../state.h"
#include "../../store.h"
#include "fuzz.h"

#define ROOT "/r"
#define TEXT_MAX 4096
#define CRC_LINE 21		/* the last one of a status file */
#define YEAR_0_MS INT64_C(-62167219200000)
#define YEAR_10000_MS INT64_C(253402300800000)

static void
file_name(const char *s)
{
	struct store_file f = { .level = 3 };
	char *path;

	if (store_parse_name(s, &f)) {
		path = store_path(ROOT, &f);
		MUST(strcmp(path_base(path), s) == 0);
		free(path);
		path = xasprintf("%s.tmp", s);
		MUST(store_is_temporary(path) && !store_is_temporary(s));
		free(path);
	} else if (store_is_temporary(s)) {
		path = xasprintf("%.37s", s);
		MUST(store_parse_name(path, &f));
		free(path);
	}
}

static void
absolute(const char *path)
{
	char *again = path_abs(path);

	MUST(path[0] == '/' && strcmp(path, again) == 0);
	MUST(strstr(path, "//") == NULL && strstr(path, "/./") == NULL);
	MUST(strstr(path, "/../") == NULL);
	free(again);
}

static void
url(const char *s)
{
	struct err e;
	char *path, *again, *back;

	fuzz_clear(&e);
	if ((path = store_url_path(s, &e)) == NULL) {
		fuzz_error(&e, ERR_USAGE, NULL);
		return;
	}
	absolute(path);
	if (strchr(path, '?') == NULL) {
		back = xasprintf("file://%s", path);
		again = store_url_path(back, &e);
		MUST(again != NULL && strcmp(again, path) == 0);
		free(again);
		free(back);
	}
	free(path);
}

static void
identity(const char *s, size_t n)
{
	struct store_identity i, j;
	struct disk_owner o;
	struct err e;
	int rc;

	mem_put(ROOT "/.identity", s, n);
	rc = store_identity_read(ROOT, &i, &e);
	MUST(rc == 0 || rc == 1);
	if (rc == 1) {
		MUST(strlen(i.id) == STORE_ID_SIZE - 1);
		disk_owner_private(&o);
		MUST(store_identity_write(ROOT, &i, &o, &e) == 0);
		MUST(store_identity_read(ROOT, &j, &e) == 1);
		MUST(strcmp(i.id, j.id) == 0 && strcmp(i.host, j.host) == 0 &&
		    strcmp(i.path, j.path) == 0 &&
		    i.page_size == j.page_size);
		store_identity_free(&j);
	}
	store_identity_free(&i);
}

static void
clock_file(const char *s, size_t n)
{
	struct retain_clock c = { 0 }, d = { 0 };
	int64_t wall = INT64_C(1800000000000), mono = 1000000;
	struct disk_owner o;
	struct err e;

	disk_owner_private(&o);
	mem_put(ROOT "/.clock", s, n);
	if (retain_look(&c, ROOT, &o, wall, mono, 86400000, &e) != 0)
		MUST(!"memory cannot fail");
	MUST(c.known && c.wall_ms == wall && c.mono_ms == mono);
	MUST(c.trusted_ms >= 0);
	/* After it was written: a second later all is trusted as before. */
	mem_put(ROOT "/.clock", "", 0);
	c = (struct retain_clock){ 0 };
	MUST(retain_look(&c, ROOT, &o, wall, mono, 86400000, &e) == 0);
	MUST(retain_look(&d, ROOT, &o, wall + 1000, mono + 1000, 86400000,
	    &e) == 0);
	MUST(d.trusted_ms == 1000);
}

static void
write_status(const struct state_facts *f, struct state_facts *again)
{
	struct disk_owner o;
	struct state st;
	struct err e;

	disk_owner_private(&o);
	state_init(&st, ROOT);
	*again = *f;
	state_claim(&st, &o, again);
	state_set(&st, f, true);
	MUST(state_read(st.path, again, &e) == 1);
	state_free(&st);
}

/* Its checksum is put right. */
static void
status(const char *s, size_t n)
{
	char buf[STATE_SIZE + 1];
	struct state_facts f, g;

	memset(buf, ' ', STATE_SIZE);
	memcpy(buf, s, n < STATE_SIZE - CRC_LINE ? n : STATE_SIZE - CRC_LINE);
	snprintf(buf + STATE_SIZE - CRC_LINE, CRC_LINE + 1, "crc %016" PRIx64
	    "\n", crc64(0, buf, STATE_SIZE - CRC_LINE));
	if (!state_parse(buf, &f))
		return;
	MUST(state_name(f.word) != NULL && f.pid >= 0 && f.pass_ms >= 0);
	write_status(&f, &g);
	MUST(memcmp(&f, &g, sizeof f) == 0);
	/* With numbers as long as they get, only the texts may be cut. */
	f.since_ms = f.pid = f.started_ms = f.pass_ms = f.txid_ms = INT64_MAX;
	f.audit_ms = f.error_ms = f.db.mtime_ns = f.db.ctime_ns = INT64_MAX;
	f.txid = f.differed = f.db.dev = f.db.ino = f.db.size = UINT64_MAX;
	write_status(&f, &g);
	MUST(f.error_ms == g.error_ms && f.differed == g.differed);
}

static void
moment(const char *s)
{
	char text[TEXT_SIZE];
	int64_t ms, again;

	if (time_parse(s, &ms) != 0 || ms < YEAR_0_MS || ms >= YEAR_10000_MS)
		return;
	MUST(time_parse(time_text(text, ms, true), &again) == 0);
	MUST(again == ms);
}

static void
duration(const char *s)
{
	char text[TEXT_SIZE];
	int64_t ms, again;

	if (duration_parse(s, &ms) != 0)
		return;
	MUST(duration_parse(keys_duration(text, ms), &again) == 0);
	MUST(again == ms);
}

static void
path(const char *s)
{
	char *abs = keys_path(s), *dir = path_dir(s);

	absolute(abs);
	MUST(dir[0] != '\0' && strchr(path_base(s), '/') == NULL);
	free(abs);
	free(dir);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char *s;

	if (n < 1 || n > TEXT_MAX)
		return 0;
	mem_limit(1 << 16);
	mem_reset();
	s = malloc(n);
	memcpy(s, p + 1, n - 1);
	s[n - 1] = '\0';
	switch (p[0] % 8) {
	case 0:
		file_name(s);
		break;
	case 1:
		url(s);
		break;
	case 2:
		identity(s, n - 1);
		break;
	case 3:
		clock_file(s, n - 1);
		break;
	case 4:
		moment(s);
		break;
	case 5:
		duration(s);
		break;
	case 6:
		status(s, n - 1);
		break;
	default:
		path(s);
	}
	free(s);
	return 0;
}
