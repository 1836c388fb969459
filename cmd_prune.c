/* SPDX-License-Identifier: ISC */
/*
 * prune: removes what only times before a window need.  The window ends at the
 * newest restore point, not now: so a wrong clock here takes nothing away.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd.h"
#include "cmd_prune.h"
#include "opt.h"
#include "pass.h"
#include "plan.h"
#include "store.h"
#include "util.h"

#define KEEP_MS (24 * INT64_C(3600000))

static const char help[] =
"usage: litestream prune [flags] REPLICA_URL\n"
"\n"
"Removes the files of a replica that only restore points before a window\n"
"need, and says which those are.\n"
"\n"
"  -keep TIME  the window: so long before the newest restore point every\n"
"              instant stays restorable (default 24h)\n"
"  -dry-run    only say what would go\n";

/* Size of the files, one line each. */
static uint64_t
print_files(const struct store_list *l, const bool *go, size_t *n)
{
	char when[TEXT_SIZE];
	const struct store_file *f;
	uint64_t size = 0;
	size_t i;

	for (i = *n = 0; i < l->n; i++) {
		f = &l->file[i];
		if (!go[i])
			continue;
		if ((*n)++ == 0)
			puts("level  min_txid          max_txid          "
			    "timestamp             size");
		printf("%-7d%s  %s  %s  %" PRIu64 "\n", f->level,
		    TXID(f->min_txid), TXID(f->max_txid),
		    time_text(when, f->h.timestamp_ms, false), f->size);
		size += f->size;
	}
	return size;
}

/* Which of the points, ascending, can be restored from what is not marked. */
static bool *
restorable(const struct store_list *l, const bool *go,
    const struct plan_point *p, size_t n)
{
	bool *file = xcalloc(l->n + 1, sizeof(*file));
	bool *can = xcalloc(n + 1, sizeof(*can));
	size_t i, k, lo, hi;

	retain_reach(l, go, file);
	for (i = 0; i < l->n; i++) {
		if (!file[i])
			continue;
		for (lo = 0, hi = n; lo < hi;) {
			k = lo + (hi - lo) / 2;
			if (p[k].txid < l->file[i].max_txid)
				lo = k + 1;
			else
				hi = k;
		}
		can[lo] = true;
	}
	free(file);
	return can;
}

static void
print_range(const char *what, const struct plan_point *p, const bool *in,
    size_t n)
{
	char a[TEXT_SIZE], z[TEXT_SIZE];
	size_t i, first = n, last = n, count = 0;

	for (i = 0; i < n; i++) {
		if (!in[i])
			continue;
		if (first == n)
			first = i;
		last = i;
		count++;
	}
	if (count == 0)
		printf("%s: none\n", what);
	else
		printf("%s: %zu, from %s (TXID %s) to %s (TXID %s)\n", what,
		    count, time_text(a, p[first].timestamp_ms, true),
		    TXID(p[first].txid),
		    time_text(z, p[last].timestamp_ms, true),
		    TXID(p[last].txid));
}

/* Fails, and prints nothing, if the newest state would go. */
static int
print_effect(const struct pass *p, const bool *go, struct err *e)
{
	struct plan_point *point;
	bool *before, *after;
	uint64_t size;
	size_t i, n, files;
	int rc = -1;

	plan_points(&p->l, &point, &n);
	before = restorable(&p->l, NULL, point, n);
	after = restorable(&p->l, go, point, n);
	if (n == 0 || !after[n - 1]) {
		err_set(e, ERR_DAMAGED, "%s: the newest state could not be "
		    "restored: nothing is removed", p->root);
		goto out;
	}
	for (i = 0; i < n; i++)
		before[i] = before[i] && !after[i];
	size = print_files(&p->l, go, &files);
	printf("%s %zu files, %" PRIu64 " bytes\n", p->dry ? "would remove" :
	    "removing", files, size);
	print_range("restore points that go", point, before, n);
	print_range("restore points that stay", point, after, n);
	rc = 0;
out:
	free(before);
	free(after);
	free(point);
	return rc;
}

static int
prune_list(struct pass *p, int64_t keep_ms, struct err *e)
{
	struct retain_rule r = { .keep_ms = keep_ms, .l0_ms = keep_ms,
	    .future_ms = -1, .floor = 1 };
	struct pass_proofs proofs = { 0 };
	const struct store_file *f;
	bool *go;
	int rc;

	if ((f = pass_newest(&p->l, -1)) == NULL)
		return err_set(e, ERR_ABSENT, "no backups found");
	/* Neither a stamp nor a clock that is ahead takes anything away. */
	r.now_ms = f->h.timestamp_ms < time_wall_ms() ? f->h.timestamp_ms :
	    time_wall_ms();
	for (r.levels = STORE_SNAPSHOT - 1; r.levels > 0 &&
	    pass_max(&p->l, r.levels) == 0; r.levels--)
		;
	if (pass_choose(p, &r, &proofs, &go, e) != 0)
		return -1;
	rc = print_effect(p, go, e);
	if (rc == 0 && !p->dry)
		rc = pass_delete(p, go, e);
	free(go);
	return rc;
}

/* A dry run needs no lock, and can be beside a replicator. */
static int
prune(const char *url, int64_t keep_ms, bool dry, struct err *e)
{
	struct disk_owner o;
	struct pass p = { .owner = &o, .dry = dry };
	char *root = store_url_path(url, e), *lock;
	int fd = -1, rc = -1;

	if (root == NULL)
		return -1;
	lock = xasprintf("%s/.lock", root);
	p.root = root;
	if (access(root, F_OK) != 0)
		err_sys(e, root, "open");
	else if (disk_owner_of(root, &o, e) == 0) {
		if ((dry || disk_lock(lock, &o, &fd, e) == 0) &&
		    pass_begin(&p, e) == 0)
			rc = prune_list(&p, keep_ms, e);
	}
	store_list_free(&p.l);
	if (fd >= 0)
		close(fd);
	free(lock);
	free(root);
	return rc;
}

int
cmd_prune(int argc, char **argv)
{
	int64_t keep_ms = KEEP_MS;
	bool dry = false;
	const struct opt opts[] = {
		{ "keep", OPT_DURATION, &keep_ms },
		{ "dry-run", OPT_BOOL, &dry },
		{ NULL, OPT_BOOL, NULL }
	};
	struct err e;
	int at;

	at = opt_parse(opts, argc, argv, &e);
	if (at == OPT_HELP) {
		fputs(help, stdout);
		return cmd_check_stdout(CMD_OK);
	}
	if (at == OPT_BAD) {
		err_hint(&e, "litestream prune -h");
		return cmd_fail(&e);
	}
	if (argc - at != 1)
		return cmd_usage("litestream prune file:///path/to/replica",
		    argc == at ? "replica URL required" :
		    "too many arguments");
	if (keep_ms < 0)
		return cmd_usage("litestream prune -h",
		    "-keep must not be negative");
	log_to_stderr();
	if (prune(argv[at], keep_ms, dry, &e) != 0)
		return cmd_fail(&e);
	return cmd_check_stdout(CMD_OK);
}
