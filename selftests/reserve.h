/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fixture of what is tested with reservations: a pool on each of the two
 * nodes that is whole again, with nothing parked, when the test is over.
 */
#ifndef RESERVE_H
#define RESERVE_H

#include <grp.h>
#include <linux/mempolicy.h>
#include <sys/prctl.h>
#include "selftest.h"

#define POOL 48		/* 2 MiB pages on each of the two nodes */
#define RESERVATIONS "/sys/class/misc/hpcvm/reservations"
#define CGROUP "/sys/fs/cgroup/hpcvm-test"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

static inline int bind_to(int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_set_mempolicy, node < 0 ? MPOL_DEFAULT : MPOL_BIND,
		       node < 0 ? NULL : &mask, node < 0 ? 0 : 8 * sizeof(mask));
}

static inline struct hpcvm_mem_create ask(int pages, uint32_t flags, int node)
{
	struct hpcvm_mem_create create = mem_create(pages * SZ_2M, SZ_2M, node);

	create.flags = flags;
	return create;
}

/* A prepared file, empty; the fd or -1. */
static inline int prepare(int dev, int pages)
{
	struct hpcvm_mem_create create = ask(pages, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);

	return call(dev, HPCVM_MEM_CREATE, &create) ? -1 : create.out_fd;
}

static inline void *map_read(int fd, size_t length)
{
	return mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
}

/* Fill the first @pages of a prepared file, from @node. */
static inline int populate(int fd, int pages, int node)
{
	void *p = map_read(fd, pages * SZ_2M);
	int err = 0;

	if (p == MAP_FAILED || bind_to(node))
		return errno;
	if (madvise(p, pages * SZ_2M, MADV_POPULATE_READ))
		err = errno;
	bind_to(-1);
	munmap(p, pages * SZ_2M);
	return err;
}

static inline struct hpcvm_reserve_park park_of(int fd, int node)
{
	return (struct hpcvm_reserve_park){ .size = sizeof(struct hpcvm_reserve_park),
		.mem_fd = fd, .node = node };
}

/* Prepared and populated; the fd. */
static inline int ready(int dev, int pages, int node)
{
	int fd = prepare(dev, pages);

	if (fd >= 0 && populate(fd, pages, node)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* A reservation for whoever @flags say; its id, 0 if there is none. */
static inline uint64_t reserve_for(int dev, int pages, int node, uint32_t flags, uint32_t id)
{
	int fd = ready(dev, pages, node);
	struct hpcvm_reserve_park park = park_of(fd, node);

	park.flags = flags;
	park.uid = flags & HPCVM_RESERVE_UID ? id : 0;
	park.gid = flags & HPCVM_RESERVE_GID ? id : 0;
	if (call(dev, HPCVM_RESERVE_PARK, &park))
		park.out_id = 0;
	close(fd);
	return park.out_id;
}

static inline uint64_t reserve(int dev, int pages, int node)
{
	return reserve_for(dev, pages, node, 0, 0);
}

/* Ask for memory; the id of the reservation it is from, 0: fresh, -1: failed. */
static inline int64_t take(int dev, int pages, int node, int *fd)
{
	struct hpcvm_mem_create create = ask(pages, 0, node);

	if (call(dev, HPCVM_MEM_CREATE, &create))
		return -1;
	if (fd)
		*fd = create.out_fd;
	else
		close(create.out_fd);
	return create.out_reservation;
}

static inline long long show(uint64_t id, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), RESERVATIONS "/%llu/%s", (unsigned long long)id, name);
	return get_number(path);
}

static inline int drop(int dev, uint64_t id)
{
	struct hpcvm_reserve_drop drop = { .size = sizeof(drop), .id = id };

	return call(dev, HPCVM_RESERVE_DROP, &drop);
}

static inline int nr_reservations(void)
{
	return count_entries(RESERVATIONS) - 1;	/* less the file "gone" */
}

/* Entries that go while a directory is read may hide others: read it again. */
static inline void drop_all(int dev)
{
	int before = -1, now;

	for (now = nr_reservations(); now && now != before; now = nr_reservations()) {
		struct dirent *entry;
		DIR *dir = opendir(RESERVATIONS);

		before = now;
		while ((entry = readdir(dir)))
			if (atoll(entry->d_name) > 0)
				drop(dev, atoll(entry->d_name));
		closedir(dir);
	}
}

/* Is every word that is looked at, one a 4 KiB, zero? */
static inline bool is_zero(int fd, size_t length)
{
	uint64_t *p = map_read(fd, length), sum = 0, i;

	if (p == MAP_FAILED)
		return false;
	for (i = 0; i < length / 8; i += SZ_4K / 8)
		sum |= p[i] | p[i + SZ_4K / 8 - 1];
	munmap(p, length);
	return !sum;
}

static inline bool scribble(int fd, size_t length)
{
	uint64_t *p = map_shared(fd, length), i;

	if (p == MAP_FAILED)
		return false;
	for (i = 0; i < length / 8; i++)
		p[i] = 0x5ec4e7;
	munmap(p, length);
	return true;
}

/* A user with a group of his own and one more. */
static inline void become(uid_t uid, gid_t gid)
{
	if (setgroups(1, &gid) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
		_exit(98);
	prctl(PR_SET_DUMPABLE, 1);
}

FIXTURE(reserve)
{
	int dev;
	long free;
};

FIXTURE_SETUP(reserve)
{
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	ASSERT_EQ(POOL, pool_set(SZ_2M, 0, POOL));
	ASSERT_EQ(POOL, pool_set(SZ_2M, 1, POOL));
	self->free = pool_free(SZ_2M);
	ASSERT_EQ(2 * POOL, self->free);
}

FIXTURE_TEARDOWN(reserve)
{
	drop_all(self->dev);
	EXPECT_EQ(0, nr_reservations());
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	close(self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

#endif
