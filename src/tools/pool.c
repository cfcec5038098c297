// SPDX-License-Identifier: GPL-2.0-only
/*
 * The node's hugepage pool: how much of it is free, and how it grows.
 *
 * Others may change it at the same time, so what is given back is a number of
 * pages, never an earlier size.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "reserve.h"

#define POOL "/hugepages-%" PRIu64 "kB/%s"

static const char *path(char *buf, size_t len, uint64_t page_size, int node, const char *what)
{
	if (node == HPCVM_NODE_ANY)
		snprintf(buf, len, "/sys/kernel/mm/hugepages" POOL, page_size >> 10, what);
	else
		snprintf(buf, len, "/sys/devices/system/node/node%d/hugepages" POOL, node,
			 page_size >> 10, what);
	return buf;
}

/* A counter of a pool; 0 if there is no such pool. */
static uint64_t get(uint64_t page_size, int node, const char *what)
{
	char file[PATH_MAX];
	uint64_t value;

	return sysfs_u64(&value, "%s", path(file, sizeof(file), page_size, node, what)) ? value : 0;
}

/* How large it is afterwards only the pool itself can tell. */
static void set(uint64_t page_size, int node, uint64_t pages)
{
	char file[PATH_MAX];
	int fd = open(path(file, sizeof(file), page_size, node, "nr_hugepages"),
		      O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return;
	dprintf(fd, "%" PRIu64 "\n", pages);
	close(fd);
}

bool pool_access(uint64_t page_size, int node, int mode)
{
	char file[PATH_MAX];

	return !access(path(file, sizeof(file), page_size, node, "nr_hugepages"), mode);
}

uint64_t pool_unused(uint64_t page_size, int node)
{
	return get(page_size, node, "free_hugepages");
}

uint64_t pool_free(uint64_t page_size, int node)
{
	uint64_t free = pool_unused(page_size, HPCVM_NODE_ANY);
	uint64_t reserved = get(page_size, HPCVM_NODE_ANY, "resv_hugepages");
	uint64_t here = pool_unused(page_size, node);

	free = free > reserved ? free - reserved : 0;
	return free < here ? free : here;
}

/*
 * An upper bound. Asked for more, the kernel would press the last free page
 * out of everybody else before it gives up.
 */
uint64_t pool_room(int node)
{
	char line[256], file[64], key[64];
	uint64_t kib, room = 0;
	FILE *f;

	snprintf(file, sizeof(file), "/sys/devices/system/node/node%d/meminfo", node);
	f = fopen(node == HPCVM_NODE_ANY ? "/proc/meminfo" : file, "re");
	if (!f)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1 ||
		    (sscanf(line, "Node %*d %63[^:]: %" SCNu64, key, &kib) == 2 &&
		     (!strcmp(key, "MemFree") || !strcmp(key, "FilePages"))))
			room += kib << 10;
	fclose(f);
	return room;
}

uint64_t pool_grow(uint64_t page_size, int node, uint64_t pages)
{
	uint64_t before = get(page_size, node, "nr_hugepages"), after;

	set(page_size, node, before + pages);
	after = get(page_size, node, "nr_hugepages");
	return after > before ? after - before : 0;
}

void pool_give_back(uint64_t page_size, int node, uint64_t pages)
{
	uint64_t now = get(page_size, node, "nr_hugepages");

	if (pages)
		set(page_size, node, now > pages ? now - pages : 0);
}
