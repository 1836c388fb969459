/* SPDX-License-Identifier: ISC */
/* The command that forgets what is remembered about a database: reset. */
#ifndef CMD_RESET_H
#define CMD_RESET_H

/* argv[0] is the command's name; returns the exit status. */
int	cmd_reset(int argc, char **argv);

#endif
