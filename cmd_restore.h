/* SPDX-License-Identifier: ISC */
/* The commands that read a replica: restore and ltx. */
#ifndef CMD_RESTORE_H
#define CMD_RESTORE_H

/* argv[0] is the command's name; both return the exit status. */
int	cmd_restore(int argc, char **argv);
int	cmd_ltx(int argc, char **argv);

#endif
