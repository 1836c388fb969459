/* SPDX-License-Identifier: ISC */
/* The command that says how databases and replicas stand. */
#ifndef CMD_STATUS_H
#define CMD_STATUS_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_status(int argc, char **argv);

#endif
