/* SPDX-License-Identifier: GPL-2.0-or-later */
/* password.h - stored forms of a password: slow hashes.
 *
 * Pure functions of tens of milliseconds and up to 20 MB: helper threads only. A stored hash names its
 * own scheme: "$argon2id$..." or anything crypt(3) of this system knows ("$y$" yescrypt, "$6$"). */
#ifndef SERVER_PASSWORD_H
#define SERVER_PASSWORD_H

#include "core/base/crypt.h"
#include "server/options.h"

enum { PASSWORD_HASH_MAX = 384, PASSWORD_SALT = 16 };

bool password_check(const char *stored, slice password);
/* False: out of memory, or the system's crypt does not know the scheme. */
bool password_hash(enum auth_hash scheme, slice password, char out[PASSWORD_HASH_MAX]) must_use;

#endif
