/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of "hpcvm reserve" share:
 *
 *	reserve.c       the command line
 *	fill.c          make reservations, all or none
 *	keep.c          the service that makes up for those that were drawn
 *	populate.c      fill a prepared file from several threads
 *	pool.c          the node's hugepage pool
 *	reservations.c  what sysfs says of the reservations there are
 */
#ifndef HPCVM_RESERVE_H
#define HPCVM_RESERVE_H

#include "tool.h"

/* What a reservation is to be like. */
struct reserve_spec {
	uint64_t size;		/* bytes */
	uint64_t page_size;
	int node;		/* or HPCVM_NODE_ANY */
	int64_t uid, gid;	/* or HPCVM_RESERVE_ANYONE */
	unsigned int threads;
};

/* reserve.c */
/* The command has been told to end; never undone. */
bool stop_wanted(void);

/* fill.c */
struct filled {
	uint64_t *ids;		/* of the reservations made; free() them */
	uint64_t grown;		/* pages that the pool has grown by */
};

/*
 * Make @count reservations; let the pool grow by what is missing if @grow.
 * False: none was made, the pool is as it was, and @why says why.
 */
bool reserve_fill(const struct reserve_spec *spec, uint64_t count, bool grow,
		  struct filled *filled, char *why, size_t len);

/* keep.c */
/* Keep @count reservations until told to end. Returns an exit status. */
int reserve_keep(const struct reserve_spec *spec, uint64_t count);

/* populate.c */
/* Fill a prepared file; 0 or an errno, EINTR if told to end. */
int populate(int fd, const struct reserve_spec *spec);

/* pool.c */
/* Is there such a pool (F_OK), may we change it (W_OK)? */
bool pool_access(uint64_t page_size, int node, int mode);
/* Pages that are in no file. */
uint64_t pool_unused(uint64_t page_size, int node);
/* Of these, what nobody has reserved. */
uint64_t pool_free(uint64_t page_size, int node);
/* Bytes that it can grow by at most. */
uint64_t pool_room(int node);
/* Let the pool grow; returns by how many pages it did. */
uint64_t pool_grow(uint64_t page_size, int node, uint64_t pages);
void pool_give_back(uint64_t page_size, int node, uint64_t pages);

/* reservations.c */
#define RESERVATIONS HPCVM_SYSFS "/reservations"

struct reservation {
	uint64_t id, length, page_size;
	int64_t node, uid, gid;		/* -1: any */
	bool held;
};

/* All of them by id, or -1 if there is no hpcvm in sysfs. free() them. */
int reservations_load(struct reservation **all);
/* --list; returns an exit status. */
int reservations_list(struct report *report);
bool reservation_is(const struct reservation *r, const struct reserve_spec *spec);

#endif /* HPCVM_RESERVE_H */
