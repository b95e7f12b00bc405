/* SPDX-License-Identifier: GPL-2.0-or-later */
/* base.h - the vocabulary every other file speaks.
 *
 * The one umbrella header of the tree: slice, err, list, arena and out are included here because
 * nothing can be written without them; heap, map, text, codec and crypt are included by name.
 * Nothing in core/base makes a system call, reads a clock, logs or owns a global. */
#ifndef CORE_BASE_BASE_H
#define CORE_BASE_BASE_H

#include "core/base/types.h"
#include "core/base/err.h"
#include "core/base/slice.h"
#include "core/base/list.h"
#include "core/base/arena.h"
#include "core/base/out.h"

#endif
