/* SPDX-License-Identifier: ISC */
/*
 * Compiled in front of every module for the fuzz targets (-include): files are
 * in memory (mem.c), and no allocation is larger than the target allows.
 */
#ifndef SEAM_H
#define SEAM_H

#include <sys/stat.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"

#define open(...) mem_openat(AT_FDCWD, __VA_ARGS__)
#define openat(...) mem_openat(__VA_ARGS__)
#define fopen(path, mode) ((void)(path), (FILE *)NULL)
#define close(fd) mem_close(fd)
#define read(fd, p, n) mem_read(fd, p, n)
#define write(fd, p, n) mem_write(fd, p, n)
#define pread(fd, p, n, off) mem_pread(fd, p, n, off)
#define pwrite(fd, p, n, off) mem_pwrite(fd, p, n, off)
#define stat(path, st) mem_stat(path, st)
#define lstat(path, st) mem_stat(path, st)
#define access(path, mode) mem_stat(path, &(struct stat){ 0 })
#define fstat(fd, st) mem_fstat(fd, st)
#define fstatat(at, name, st, flags) \
	((void)(flags), mem_fstatat(at, name, st))
#define ftruncate(fd, n) mem_truncate(fd, n)
#define fsync(fd) mem_fd(fd)
#define fchmod(fd, mode) ((void)(mode), mem_fd(fd))
#define fchown(fd, uid, gid) mem_fd(fd)
#define futimens(fd, ts) ((void)(ts), mem_fd(fd))
#define rename(from, to) mem_renameat(AT_FDCWD, from, AT_FDCWD, to)
#define renameat(at, from, to_at, to) mem_renameat(at, from, to_at, to)
#define linkat(at, from, to_at, to, flags) \
	((void)(flags), mem_linkat(at, from, to_at, to))
#define unlink(path) mem_unlinkat(AT_FDCWD, path, 0)
#define unlinkat(at, name, flags) mem_unlinkat(at, name, flags)
#define mkdirat(at, name, mode) mem_mkdirat(at, name)
#define fdopendir(fd) mem_fdopendir(fd)
#define opendir(path) mem_opendir(path)
#define readdir(d) mem_readdir(d)
#define closedir(d) mem_closedir(d)
#define malloc(n) mem_malloc(n)
#define calloc(n, size) mem_calloc(n, size)
#define realloc(p, n) mem_realloc(p, n)

#endif
