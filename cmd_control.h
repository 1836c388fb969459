/* SPDX-License-Identifier: ISC */
/* litestream info, list, start, stop, register and unregister. */
#ifndef CMD_CONTROL_H
#define CMD_CONTROL_H

int	cmd_info(int argc, char **argv);
int	cmd_list(int argc, char **argv);
int	cmd_start(int argc, char **argv);
int	cmd_stop(int argc, char **argv);
int	cmd_register(int argc, char **argv);
int	cmd_unregister(int argc, char **argv);

#endif
