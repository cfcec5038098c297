/*
 * pc-q35-hpcvm: the vCPUs' cores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HPCVM_CORES_H
#define HPCVM_CORES_H

#include "hw/core/cpu.h"

/* KVM is about to be set up: only few threads are there yet. */
void cores_begin(void);

/* The vCPUs' threads are there, and nobody has placed them yet. */
void cores_ready(void);

/*
 * Give each vCPU a core of its own, before the guest runs for the first time.
 * @memory_node: the host node that a vCPU's memory is bound to, or
 * HPCVM_NODE_ANY.  Returns NULL, or a sentence that says why not.
 */
char *cores_claim(int vm, int (*memory_node)(CPUState *cpu));

/* The guest runs on: hpcvm tells when each vCPU does. */
void cores_mark(int vm);

/* Others may have the cores while the guest is stopped. */
bool cores_lent(void);
void cores_lend(int vm);
/* All of them, or none and a sentence that says why. */
char *cores_take_back(int vm);

#endif
