/* SPDX-License-Identifier: ISC */
/* The command that tries whether replication would work. */
#ifndef CMD_CHECK_H
#define CMD_CHECK_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_check(int argc, char **argv);

#endif
