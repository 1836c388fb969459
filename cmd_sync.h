/* SPDX-License-Identifier: ISC */
/* The command that waits until the replica has every commit. */
#ifndef CMD_SYNC_H
#define CMD_SYNC_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_sync(int argc, char **argv);

#endif
