/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of libhpcvm-ucx share. */
#ifndef HPCVM_UCX_H
#define HPCVM_UCX_H

/* What UCX finds instead of its own. */
#define exported __attribute__((visibility("default")))

/*
 * UCX's own. The program may have loaded UCX for itself alone, where RTLD_NEXT does not
 * look. What is not there ends the program.
 */
void *ucx_symbol(const char *lib, const char *name);

/* Before UCX is given a buffer: tell it what has changed. */
void look(void);

#endif
