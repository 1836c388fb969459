/* SPDX-License-Identifier: ISC */
/* The command that writes a replica. */
#ifndef CMD_REPLICATE_H
#define CMD_REPLICATE_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_replicate(int argc, char **argv);

#endif
