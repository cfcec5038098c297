// SPDX-License-Identifier: GPL-2.0-only
/*
 * Make reservations: let the pool grow by what is missing, prepare all files,
 * populate all, park all. What is missing shows before anything was zeroed;
 * what takes long ends before anything is parked. Whatever goes wrong, none is
 * left behind and the pool is given back what it has grown. A kill leaves
 * nothing but a pool that is larger.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reserve.h"

#define PARK_TRIES 50

struct fill {
	const struct reserve_spec *spec;
	int dev;
	char *why;
	size_t len;
};

__attribute__((format(printf, 2, 3)))
static bool failed(struct fill *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->why, f->len, fmt, ap);
	va_end(ap);
	return false;
}

static bool failed_error(struct fill *f, const struct hpcvm_error *e)
{
	hpcvm_explain(e, f->why, f->len);
	return false;
}

static bool refused(struct fill *f, int err, uint32_t reason, uint64_t detail)
{
	struct hpcvm_error e = {
		.err = err,
		.cmd = HPCVM_CMD_MEM_CREATE,
		.reason = reason,
		.node = f->spec->node,
		.detail = detail,
		.page_size = f->spec->page_size,
	};

	return failed_error(f, &e);
}

/* The kernel stopped half way: is the pool short, or are we limited? */
static bool failed_populate(struct fill *f, int fd, int err)
{
	const struct reserve_spec *s = f->spec;
	uint64_t want, there, unused;
	struct stat st;

	if (err == EINTR)
		return failed(f, "a signal came in between");
	if (err == EINVAL && s->node != HPCVM_NODE_ANY)
		return refused(f, EINVAL, HPCVM_REASON_NODE, s->node);
	if ((err != EFAULT && err != ENOMEM && err != ENOSPC) || fstat(fd, &st))
		return failed(f, "hugepages cannot be populated: %s", strerror(err));
	want = s->size / s->page_size;
	there = (uint64_t)st.st_blocks * 512 / s->page_size;
	want = want > there ? want - there : 1;
	unused = pool_unused(s->page_size, s->node);
	if (unused < want)
		return refused(f, ENOSPC, HPCVM_REASON_POOL_SHORT_NODE, want - unused);
	return refused(f, ENOSPC, HPCVM_REASON_LIMIT, want);
}

/* The kernel itself may hold a page for a moment, to move it, say. */
static bool park(struct fill *f, int fd, uint64_t *id)
{
	const struct reserve_spec *s = f->spec;
	struct hpcvm_error e;
	int tries = 0;

	while (hpcvm_reserve_park(f->dev, fd, s->node, s->uid, s->gid, id, &e)) {
		e.page_size = s->page_size;
		if (e.reason != HPCVM_REASON_PAGES_HELD || ++tries == PARK_TRIES)
			return failed_error(f, &e);
		usleep(20000);
	}
	return true;
}

static bool prepare(struct fill *f, int *fd)
{
	const struct reserve_spec *s = f->spec;
	struct hpcvm_error e;

	*fd = hpcvm_mem_take(f->dev, s->size, s->page_size, s->node, HPCVM_MEM_PREPARE, NULL, &e);
	return *fd >= 0 || failed_error(f, &e);
}

static bool fill_one(struct fill *f, int fd)
{
	int err = populate(fd, f->spec);

	return !err || failed_populate(f, fd, err);
}

/* @pages cannot be had for the pool. */
static bool too_few(struct fill *f, uint64_t pages)
{
	const struct reserve_spec *s = f->spec;
	char where[32] = "";

	if (s->node != HPCVM_NODE_ANY)
		snprintf(where, sizeof(where), " on NUMA node %d", s->node);
	return failed(f, "the kernel finds %" PRIu64 " hugepage%s of %s too few%s: %s", pages,
		      pages == 1 ? "" : "s", size_word(s->page_size).s, where,
		      s->page_size == UINT64_C(1) << 30 ?
		      "reserve less, or boot the node with hugepagesz=1G hugepages=N" :
		      "reserve less, or free memory (echo 3 > /proc/sys/vm/drop_caches) and try again");
}

/* All that is missing, or nothing. */
static bool grow(struct fill *f, uint64_t count, uint64_t *grown)
{
	const struct reserve_spec *s = f->spec;
	uint64_t want = count * (s->size / s->page_size), free = pool_free(s->page_size, s->node);
	uint64_t room;

	/* What cannot be at all the module refuses in better words. */
	if (free >= want || s->size % s->page_size || !pool_access(s->page_size, s->node, F_OK))
		return true;
	if (!pool_access(s->page_size, s->node, W_OK))
		return refused(f, EPERM, HPCVM_REASON_NOT_ADMIN, 0);
	want -= free;
	room = pool_room(s->node) / s->page_size;
	if (room < want)
		return too_few(f, want - room);
	*grown = pool_grow(s->page_size, s->node, want);
	return *grown >= want || too_few(f, want - *grown);
}

/* All or none of them; their files are closed either way. */
static bool make(struct fill *f, uint64_t count, uint64_t *ids)
{
	uint64_t prepared = 0, filled = 0, parked = 0;
	int *fds = calloc(count, sizeof(*fds));
	bool ok = fds;

	if (!ok)
		return failed(f, "there is no memory for so many files");
	while (ok && prepared < count) {
		ok = prepare(f, &fds[prepared]);
		prepared += ok;
	}
	while (ok && filled < count) {
		ok = fill_one(f, fds[filled]);
		filled += ok;
	}
	while (ok && parked < count) {
		ok = park(f, fds[parked], &ids[parked]);
		parked += ok;
	}
	while (!ok && parked)
		hpcvm_reserve_drop(f->dev, ids[--parked], NULL);
	while (prepared)
		close(fds[--prepared]);
	free(fds);
	return ok;
}

bool reserve_fill(const struct reserve_spec *spec, uint64_t count, bool may_grow,
		  struct filled *filled, char *why, size_t len)
{
	struct fill f = { .spec = spec, .why = why, .len = len };
	struct hpcvm_error e;
	bool ok;

	*filled = (struct filled){ .ids = calloc(count, sizeof(uint64_t)) };
	if (!filled->ids)
		return failed(&f, "there is no memory for so many ids");
	f.dev = hpcvm_open(&e);
	ok = f.dev >= 0 || failed_error(&f, &e);
	ok = ok && (!may_grow || grow(&f, count, &filled->grown)) && make(&f, count, filled->ids);
	if (!ok) {
		pool_give_back(spec->page_size, spec->node, filled->grown);
		free(filled->ids);
	}
	if (f.dev >= 0)
		close(f.dev);
	return ok;
}
