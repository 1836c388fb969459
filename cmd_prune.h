/* SPDX-License-Identifier: ISC */
/* The command that makes a replica smaller: prune. */
#ifndef CMD_PRUNE_H
#define CMD_PRUNE_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_prune(int argc, char **argv);

#endif
