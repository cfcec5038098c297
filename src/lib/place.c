// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * HPCVM_MEM_CREATE, placed.
 *
 * The kernel takes hugepages by the memory policy of the calling thread, and
 * a module cannot set one; it only looks afterwards where the pages came
 * from. So the thread binds itself to the node for the length of the call,
 * and then puts back exactly what it had. Raw system calls: nobody who links
 * this library shall need libnuma for it.
 *
 * Zeroing takes long, and any signal would end it. Signals are blocked
 * meanwhile. What cannot be blocked (a stop, a debugger, task work) ends the
 * call with EINTR and nothing kept, so it is made again; a fatal signal ends
 * the process anyway.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>

#include "private.h"

#define TRIES 16

/* More nodes than any kernel is built for. The kernel counts one less. */
#define MAX_NODES 1024
#define WORD_BITS (8 * sizeof(unsigned long))

struct policy {
	int mode;
	unsigned long nodes[MAX_NODES / WORD_BITS];
};

static int policy_get(struct policy *p)
{
	if (syscall(SYS_get_mempolicy, &p->mode, p->nodes, MAX_NODES + 1UL, NULL, 0UL))
		return -errno;
	return 0;
}

static int policy_set(const struct policy *p)
{
	/* These two take no nodes; older kernels insist on none at all. */
	int plain = p->mode == MPOL_DEFAULT || p->mode == MPOL_LOCAL;

	if (syscall(SYS_set_mempolicy, p->mode, plain ? NULL : p->nodes,
		    plain ? 0UL : MAX_NODES + 1UL))
		return -errno;
	return 0;
}

/*
 * Bind this thread to @node and keep in *old what it had. Returns 1 if it is
 * bound, 0 if it is not and need not be: without memory policies (a kernel
 * without NUMA, a filter on system calls) it is left to the module to see
 * whether the pages are where they should be. -EINVAL: no such node for us.
 */
static int bind_to(int node, struct policy *old)
{
	struct policy want = { .mode = MPOL_BIND };

	if (node == HPCVM_NODE_ANY)
		return 0;
	if (node < 0 || node >= MAX_NODES)
		return -EINVAL;
	if (policy_get(old))
		return 0;
	want.nodes[node / WORD_BITS] = 1UL << (node % WORD_BITS);
	switch (policy_set(&want)) {
	case 0:
		return 1;
	case -EINVAL:
		return -EINVAL;
	default:
		return 0;
	}
}

int hpcvm_mem_take(int dev, uint64_t length, uint64_t page_size, int node,
		   uint32_t flags, uint64_t *reservation, struct hpcvm_error *error)
{
	struct hpcvm_error e = {
		.err = EINVAL,
		.cmd = HPCVM_CMD_MEM_CREATE,
		.reason = HPCVM_REASON_NODE,
		.detail = (uint64_t)node,
	};
	struct hpcvm_mem_create c = { 0 };
	struct policy old = { 0 };
	sigset_t all, before;
	int bound, ret = -EINVAL;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);

	bound = bind_to(node, &old);
	for (int i = 0; bound >= 0 && i < TRIES; i++) {
		c = (struct hpcvm_mem_create){
			.size = sizeof(c),
			.flags = flags,
			.length = length,
			.page_size = page_size,
			.node = node,
		};
		ret = HPCVM_CALL(dev, HPCVM_CMD_MEM_CREATE, &c, &e);
		if (ret != -EINTR)
			break;
	}
	if (bound > 0)
		policy_set(&old);
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	e.node = node;
	e.page_size = page_size;
	e.pages = page_size ? length / page_size : 0;
	if (error)
		*error = e;
	if (!ret && reservation)
		*reservation = c.out_reservation;
	return ret ? ret : c.out_fd;
}

int hpcvm_mem_create(int dev, uint64_t length, uint64_t page_size, int node,
		     struct hpcvm_error *error)
{
	return hpcvm_mem_take(dev, length, page_size, node, 0, NULL, error);
}
