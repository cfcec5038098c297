// SPDX-License-Identifier: GPL-2.0-only
/*
 * Fill a prepared file: read every page once.
 *
 * The kernel zeroes a page when it is first read, in the thread that reads it,
 * and takes it by that thread's memory policy. So each thread binds itself to
 * the node and takes the next piece of the file until none is left. The pieces
 * are small enough for a signal to be heard soon.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>

#include "reserve.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

#define PIECE (UINT64_C(32) << 20)
#define THREADS_MAX 256

/* More nodes than any kernel is built for. The kernel counts one less. */
#define MAX_NODES 1024
#define WORD_BITS (8 * sizeof(unsigned long))

struct work {
	char *begin;
	uint64_t length, piece;
	int node;
	atomic_ullong next;
	atomic_int err;
};

static int bind_to(int node)
{
	unsigned long nodes[MAX_NODES / WORD_BITS] = { 0 };

	if (node == HPCVM_NODE_ANY)
		return 0;
	if (node >= MAX_NODES)
		return EINVAL;
	nodes[node / WORD_BITS] = 1UL << (node % WORD_BITS);
	return syscall(SYS_set_mempolicy, MPOL_BIND, nodes, MAX_NODES + 1UL) ? errno : 0;
}

static int populate_piece(const struct work *w, uint64_t at)
{
	uint64_t length = w->length - at < w->piece ? w->length - at : w->piece;

	while (madvise(w->begin + at, length, MADV_POPULATE_READ))
		if (errno != EINTR && errno != EAGAIN)
			return errno;
	return stop_wanted() ? EINTR : 0;
}

static void *run(void *arg)
{
	struct work *w = arg;
	int err = bind_to(w->node);
	uint64_t at;

	while (!err && !atomic_load(&w->err)) {
		at = atomic_fetch_add(&w->next, w->piece);
		if (at >= w->length)
			return NULL;
		err = populate_piece(w, at);
	}
	if (err)
		atomic_store(&w->err, err);
	return NULL;
}

int populate(int fd, const struct reserve_spec *spec)
{
	struct work w = {
		.length = spec->size,
		.piece = spec->page_size > PIECE ? spec->page_size : PIECE,
		.node = spec->node,
	};
	unsigned int want = spec->threads < THREADS_MAX ? spec->threads : THREADS_MAX, nr = 0;
	pthread_t threads[THREADS_MAX];

	w.begin = mmap(NULL, w.length, PROT_READ, MAP_SHARED, fd, 0);
	if (w.begin == MAP_FAILED)
		return errno;
	while (nr < want && !pthread_create(&threads[nr], NULL, run, &w))
		nr++;
	if (!nr)
		atomic_store(&w.err, EAGAIN);
	while (nr)
		pthread_join(threads[--nr], NULL);
	munmap(w.begin, w.length);
	return atomic_load(&w.err);
}
