/* SPDX-License-Identifier: ISC */
/*
 * A target without libFuzzer: fuzz-NAME [-runs=N] [-seed=N] [-last=FILE]
 * INPUT...  Takes each input as it is, then N mutations of them.  FILE has
 * the input that is being taken, also after a crash.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX 4096

static struct input {
	uint8_t *p;
	size_t n;
} *inputs;
static size_t n_inputs, cap;
static uint64_t state;
static int last_fd = -1;

static uint64_t
rnd(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

static void
run(const uint8_t *p, size_t n)
{
	uint8_t *exact = xmalloc(n);	/* so that sanitizers see its end */

	memcpy(exact, p, n);
	if (last_fd >= 0)
		MUST(pwrite(last_fd, p, n, 0) == (ssize_t)n &&
		    ftruncate(last_fd, (off_t)n) == 0);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
}

static void
add(const char *path)
{
	struct input *in;
	FILE *f = fopen(path, "rb");

	MUST(f != NULL);
	inputs = xgrow(inputs, n_inputs, &cap, sizeof *inputs);
	in = &inputs[n_inputs++];
	in->p = xmalloc(INPUT_MAX);
	in->n = fread(in->p, 1, INPUT_MAX, f);
	fclose(f);
	run(in->p, in->n);
}

static void
add_all(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *x;
	char *s;

	if (d == NULL) {
		add(path);
		return;
	}
	while ((x = readdir(d)) != NULL) {
		s = xasprintf("%s/%s", path, x->d_name);
		if (x->d_name[0] != '.')
			add(s);
		free(s);
	}
	closedir(d);
}

/* One change to the n bytes at p, which has room for INPUT_MAX. */
static size_t
mutate(uint8_t *p, size_t n)
{
	static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff };
	const struct input *other = &inputs[rnd(n_inputs)];
	size_t at = n > 0 ? rnd(n) : 0, k = 1 + rnd(8), from;

	if (n == 0 || rnd(8) == 0) {	/* put in */
		at = rnd(n + 1);
		from = other->n > 0 ? rnd(other->n) : 0;
		k = k < other->n - from ? k : other->n - from;
		k = k < INPUT_MAX - n ? k : INPUT_MAX - n;
		memmove(p + at + k, p + at, n - at);
		memcpy(p + at, other->p + from, k);
		return n + k;
	}
	k = k < n - at ? k : n - at;
	switch (rnd(5)) {
	case 0:
		memmove(p + at, p + at + k, n - at - k);
		return n - k;
	case 1:
		p[at] = odd[rnd(sizeof odd)];
		break;
	case 2:
		p[at] = (uint8_t)(p[at] + rnd(9) - 4);
		break;
	case 3:
		memmove(p + at, p + rnd(n - k + 1), k);
		break;
	default:
		p[at] ^= (uint8_t)(1u << rnd(8));
	}
	return n;
}

int
main(int argc, char **argv)
{
	uint8_t buf[INPUT_MAX];
	unsigned long runs = 0, seed = 1, i;
	const struct input *in;
	size_t n, k;
	int a;

	for (a = 1; a < argc; a++)
		if (strncmp(argv[a], "-runs=", 6) == 0)
			runs = strtoul(argv[a] + 6, NULL, 10);
		else if (strncmp(argv[a], "-seed=", 6) == 0)
			seed = strtoul(argv[a] + 6, NULL, 10);
		else if (strncmp(argv[a], "-last=", 6) == 0)
			last_fd = open(argv[a] + 6, O_RDWR | O_CREAT | O_TRUNC,
			    0600);
		else
			add_all(argv[a]);
	state = (uint64_t)seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	for (i = 0; i < runs && n_inputs > 0; i++) {
		in = &inputs[rnd(n_inputs)];
		memcpy(buf, in->p, n = in->n);
		for (k = 1 + rnd(6); k > 0; k--)
			n = mutate(buf, n);
		run(buf, n);
	}
	printf("%zu inputs, %lu mutations, seed %lu\n", n_inputs, runs, seed);
	for (k = 0; k < n_inputs; k++)
		free(inputs[k].p);
	free(inputs);
	return 0;
}
