/* SPDX-License-Identifier: ISC */
/* What the fuzz targets share. */
#ifndef FUZZ_H
#define FUZZ_H

#include <sys/stat.h>
#include <sys/types.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../ltx.h"
#include "../../util.h"

/* The target.  Always 0; what must not be does not return. */
int	LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define MUST(what) ((what) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #what))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);
/* An error as -1 leaves it: a kind of these (ERR_NONE: any), one line of text
 * with path in it (NULL: any).  fuzz_clear() goes before the call. */
void	fuzz_clear(struct err *e);
void	fuzz_error(const struct err *e, enum err_kind kind, const char *path);

/*
 * Files in memory.  A path that is no file, and has no dot in its last part,
 * is a directory.  mem_reset() removes all files, and proves that no
 * descriptor is open.
 */
#define MEM_FILES 32
#define MEM_PATH 96
void	mem_reset(void);
void	mem_put(const char *path, const void *p, size_t n);
/* NULL if there is none. */
const uint8_t *mem_get(const char *path, size_t *n);
#define mem_open(...) mem_openat(AT_FDCWD, __VA_ARGS__)
#define mem_unlink(path) mem_unlinkat(AT_FDCWD, path, 0)
/* The largest allocation from now on, bytes. */
void	mem_limit(size_t n);

/* seam.h leads here. */
int	mem_openat(int at, const char *name, int flags, ...);
int	mem_close(int fd);
ssize_t	mem_read(int fd, void *p, size_t n);
ssize_t	mem_write(int fd, const void *p, size_t n);
ssize_t	mem_pread(int fd, void *p, size_t n, off_t off);
ssize_t	mem_pwrite(int fd, const void *p, size_t n, off_t off);
int	mem_stat(const char *path, struct stat *st);
int	mem_fstat(int fd, struct stat *st);
int	mem_fstatat(int at, const char *name, struct stat *st);
int	mem_truncate(int fd, off_t n);
int	mem_fd(int fd);
int	mem_renameat(int at, const char *from, int to_at, const char *to);
int	mem_linkat(int at, const char *from, int to_at, const char *to);
int	mem_unlinkat(int at, const char *name, int flags);
int	mem_mkdirat(int at, const char *name);
DIR	*mem_fdopendir(int n);
DIR	*mem_opendir(const char *path);
struct dirent *mem_readdir(DIR *d);
int	mem_closedir(DIR *d);
void	*mem_malloc(size_t n);
void	*mem_calloc(size_t n, size_t size);
void	*mem_realloc(void *p, size_t n);

/*
 * LTX files taken apart without ltx_read.c: the frames of a file up to where
 * the pages end, or make no sense.
 */
#define FORM_PAGES 64
struct form {
	uint32_t page_size;
	struct {
		uint32_t pgno;
		size_t off, size;	/* of the frame */
		uint8_t *data;
	} page[FORM_PAGES];
	size_t n;
	size_t end;		/* where they end */
	bool whole;		/* with an end mark */
};
/* p has n >= LTX_HEADER_SIZE bytes; false if it has no valid page size. */
bool	form_read(struct form *f, const uint8_t *p, size_t n);
/*
 * The file with everything in it that follows from something else put right:
 * magic, index, checksums.  Bytes behind the end that it then has are XORed to
 * index and trailer, so that these may be wrong under a right file checksum.
 * out has room for FORM_MAX(n) bytes; returns how many.
 */
#define FORM_MAX(n) (2 * (n) + FORM_PAGES * 24 + 64)
size_t	form_fix(const uint8_t *p, size_t n, uint8_t *out);
/* Reads such a file in all the ways there are, and compares. */
void	form_check(const uint8_t *p, size_t n);

#endif
