/* SPDX-License-Identifier: ISC */
/* The command that proves a replica whole. */
#ifndef CMD_VERIFY_H
#define CMD_VERIFY_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_verify(int argc, char **argv);

#endif
