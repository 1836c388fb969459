/* SPDX-License-Identifier: ISC */
/* litestream restore. */
#ifndef CMD_RESTORE_H
#define CMD_RESTORE_H

/* argv[0] is the command's name; the exit status. */
int	cmd_restore(int argc, char **argv);

#endif
