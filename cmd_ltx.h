/* SPDX-License-Identifier: ISC */
/* litestream ltx. */
#ifndef CMD_LTX_H
#define CMD_LTX_H

/* Argument 0 is the command's name; the exit status. */
int	cmd_ltx(int argc, char **argv);

#endif
