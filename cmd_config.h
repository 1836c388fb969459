/* SPDX-License-Identifier: ISC */
/* The command that shows the configuration. */
#ifndef CMD_CONFIG_H
#define CMD_CONFIG_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_databases(int argc, char **argv);

#endif
