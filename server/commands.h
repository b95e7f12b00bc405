/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands.h - the handlers of the command rows in main.c. Each returns the exit status. */
#ifndef SERVER_COMMANDS_H
#define SERVER_COMMANDS_H

#include "server/cli.h"

struct remote;

/* What went wrong, on standard error: the lines of `why`, or if there are none what `err` is called. Returns
 * CLI_FAILED. */
int command_why(const struct cli *cli, const struct out *why, enum err err);
/* The server, or the data folder. NULL: it cannot be reached, and that was told. */
struct remote *command_connect(struct cli *cli);
int command_serve(struct cli *cli);
int command_check(struct cli *cli);
int command_version(struct cli *cli);
int command_fsck(struct cli *cli);
int command_top(struct cli *cli);
/* "noun verb" as it is: the operand as "name", flags as members; rows or an object come back. */
int command_ask(struct cli *cli);
/* With a password, read or made. */
int command_password(struct cli *cli);
/* With the key of --key-file. */
int command_dkim_add(struct cli *cli);
/* The bytes of a message. */
int command_message_show(struct cli *cli);
/* import.c, export.c */
int command_import(struct cli *cli);
int command_export(struct cli *cli);
/* The operand is a queue id. */
int command_queue(struct cli *cli);

#endif
