// SPDX-License-Identifier: GPL-2.0-only
/*
 * HPCVM_MEM_CREATE: whole, zeroed, on its node, sealed, and always returned.
 */
#include <linux/mempolicy.h>
#include <sys/resource.h>
#include <sys/time.h>
#include "selftest.h"

#define POOL 96		/* 2 MiB pages on each of the two nodes */

FIXTURE(memory)
{
	int dev;
	long free;
};

FIXTURE_SETUP(memory)
{
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	ASSERT_EQ(POOL, pool_set(SZ_2M, 0, POOL));
	ASSERT_EQ(POOL, pool_set(SZ_2M, 1, POOL));
	self->free = pool_free(SZ_2M);
	ASSERT_EQ(2 * POOL, self->free);
}

FIXTURE_TEARDOWN(memory)
{
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	close(self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

static int bind_to(int node)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 8 * sizeof(mask));
}

static long node_free(int node)
{
	return get_number(pool_path(SZ_2M, node, "free_hugepages"));
}

TEST_F(memory, numbers)
{
	static const struct {
		uint64_t length, page_size;
		int node, err, reason;
		uint64_t detail;
	} bad[] = {
		{ 0, SZ_2M, -1, EINVAL, HPCVM_REASON_SIZE_ZERO, 0 },
		{ SZ_2M, 0, -1, EINVAL, HPCVM_REASON_PAGE_SIZE, 0 },
		{ SZ_2M, SZ_4K, -1, EINVAL, HPCVM_REASON_PAGE_SIZE, SZ_4K },
		{ SZ_2M, UINT64_MAX, -1, EINVAL, HPCVM_REASON_PAGE_SIZE, UINT64_MAX },
		{ SZ_2M + 1, SZ_2M, -1, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ SZ_4K, SZ_2M, -1, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ SZ_2M, SZ_1G, -1, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_1G },
		{ UINT64_MAX, SZ_2M, -1, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ SZ_2M, SZ_2M, 2, EINVAL, HPCVM_REASON_NODE, 2 },
		{ SZ_2M, SZ_2M, -2, EINVAL, HPCVM_REASON_NODE, (uint64_t)-2 },
		{ SZ_2M, SZ_2M, 1 << 30, EINVAL, HPCVM_REASON_NODE, 1 << 30 },
		{ SZ_2M, SZ_2M, INT32_MIN, EINVAL, HPCVM_REASON_NODE, (uint64_t)INT32_MIN },
	};
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct hpcvm_mem_create create = mem_create(bad[i].length, bad[i].page_size,
							    bad[i].node);

		EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, bad[i].err, bad[i].reason,
			       bad[i].detail);
	}
}

TEST_F(memory, too_large)
{
	struct hpcvm_mem_create create = mem_create(-SZ_2M, SZ_2M, HPCVM_NODE_ANY);

	EXPECT_EQ(EINVAL, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(HPCVM_REASON_SIZE_LIMIT, create.reason);
	EXPECT_LT(SZ_1G, create.detail);
	/* What is just below the limit the pool has not. */
	create = mem_create(create.detail & ~(SZ_2M - 1), SZ_2M, HPCVM_NODE_ANY);
	EXPECT_EQ(ENOSPC, call(self->dev, HPCVM_MEM_CREATE, &create));
}

TEST_F(memory, whole_and_huge)
{
	uint64_t length = 8 * SZ_2M;
	int mem = new_mem(self->dev, length, SZ_2M);
	struct stat st;
	bool huge = false;
	char line[256];
	FILE *smaps;
	char *p;

	ASSERT_LE(0, mem);
	EXPECT_EQ(FD_CLOEXEC, fcntl(mem, F_GETFD));
	ASSERT_EQ(0, fstat(mem, &st));
	EXPECT_EQ(length, st.st_size);
	EXPECT_EQ(SZ_2M, st.st_blksize);
	EXPECT_EQ(self->free - 8, pool_free(SZ_2M));

	p = map_shared(mem, length);
	ASSERT_NE(MAP_FAILED, p);
	memset(p, 1, length);
	EXPECT_EQ(self->free - 8, pool_free(SZ_2M));
	smaps = fopen("/proc/self/smaps", "r");
	while (fgets(line, sizeof(line), smaps))
		huge |= !strcmp(line, "KernelPageSize:     2048 kB\n");
	EXPECT_TRUE(huge);
	fclose(smaps);
	munmap(p, length);
	close(mem);
}

TEST_F(memory, zeroed)
{
	uint64_t length = self->free * SZ_2M, i, sum = 0;
	int mem = new_mem(self->dev, length, SZ_2M);
	uint64_t *p = map_shared(mem, length);

	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < length / 8; i += SZ_4K / 8)
		p[i] = ~0UL;
	munmap(p, length);
	close(mem);
	ASSERT_TRUE(pool_settles(SZ_2M, self->free));
	mem = new_mem(self->dev, length, SZ_2M);
	p = map_shared(mem, length);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < length / 8; i += SZ_4K / 8)
		sum |= p[i];
	EXPECT_EQ(0, sum);
	munmap(p, length);
	close(mem);
}

TEST_F(memory, sealed)
{
	int mem = new_mem(self->dev, 2 * SZ_2M, SZ_2M);

	ASSERT_LE(0, mem);
	EXPECT_EQ(-1, ftruncate(mem, SZ_2M));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, ftruncate(mem, 3 * SZ_2M));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, fcntl(mem, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, fallocate(mem, 0, 2 * SZ_2M, SZ_2M));
	EXPECT_EQ(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, fcntl(mem, F_GET_SEALS));
	close(mem);
}

TEST_F(memory, pages_of_1g)
{
	struct hpcvm_mem_create create = mem_create(SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	char *p;

	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC, HPCVM_REASON_POOL_SHORT, 1);
	if (pool_set(SZ_1G, HPCVM_NODE_ANY, 1) != 1)
		SKIP(return, "the node has no contiguous GiB left");
	create = mem_create(SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(0, pool_free(SZ_1G));
	p = map_shared(create.out_fd, SZ_1G);
	ASSERT_NE(MAP_FAILED, p);
	p[SZ_1G - 1] = 1;
	munmap(p, SZ_1G);
	close(create.out_fd);
	EXPECT_TRUE(pool_settles(SZ_1G, 1));
	pool_set(SZ_1G, HPCVM_NODE_ANY, 0);
}

TEST_F(memory, pool_short)
{
	struct hpcvm_mem_create create = mem_create((self->free + 5) * SZ_2M, SZ_2M,
						    HPCVM_NODE_ANY);
	int fds = open_fds();

	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC, HPCVM_REASON_POOL_SHORT, 5);
	EXPECT_EQ(fds, open_fds());
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	/* Adding what is missing is enough. */
	ASSERT_EQ(2 * POOL + 5, pool_set(SZ_2M, HPCVM_NODE_ANY, 2 * POOL + 5));
	create = mem_create((self->free + 5) * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(0, create.reason);
	close(create.out_fd);
	pool_settles(SZ_2M, self->free + 5);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 2 * POOL);
	self->free = pool_free(SZ_2M);
}

/* Pages that others have reserved, but not touched, are not there. */
TEST_F(memory, pool_reserved_by_others)
{
	struct hpcvm_mem_create create = mem_create(self->free * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	void *p = mmap(NULL, 3 * SZ_2M, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC, HPCVM_REASON_POOL_SHORT, 3);
	munmap(p, 3 * SZ_2M);
}

TEST_F(memory, on_its_node)
{
	int node;

	for (node = 0; node < 2; node++) {
		struct hpcvm_mem_create create = mem_create(POOL * SZ_2M, SZ_2M, node);

		ASSERT_EQ(0, bind_to(node));
		ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
		EXPECT_EQ(0, node_free(node));
		EXPECT_EQ(POOL, node_free(!node));
		close(create.out_fd);
		EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	}
}

TEST_F(memory, node_short)
{
	struct hpcvm_mem_create create = mem_create((POOL + 7) * SZ_2M, SZ_2M, 1);

	ASSERT_EQ(0, bind_to(1));
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC,
		       HPCVM_REASON_POOL_SHORT_NODE, 7);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

/* Bound to the other node, the caller gets nothing rather than far memory. */
TEST_F(memory, node_not_bound)
{
	struct hpcvm_mem_create create = mem_create(4 * SZ_2M, SZ_2M, 1);

	ASSERT_EQ(0, bind_to(0));
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC,
		       HPCVM_REASON_POOL_SHORT_NODE, 4);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

static void on_alarm(int signal)
{
}

TEST_F(memory, interrupted)
{
	struct hpcvm_mem_create create = mem_create(self->free * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	struct itimerval soon = { .it_value.tv_usec = 20000 };
	struct sigaction action = { .sa_handler = on_alarm };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	EXPECT_EQ(EINTR, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(HPCVM_REASON_INTERRUPTED, create.reason);
	EXPECT_LT(0, create.detail);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

/* In a cgroup that allows one page less than is asked for. */
static int create_in_cgroup(int dev, struct hpcvm_mem_create *create)
{
	if (put_text("/sys/fs/cgroup/hpcvm-test/cgroup.procs", "0"))
		return 99;
	return call(dev, HPCVM_MEM_CREATE, create);
}

TEST_F(memory, cgroup_limit)
{
	struct hpcvm_mem_create *create = shared_page();

	put_text("/sys/fs/cgroup/cgroup.subtree_control", "+hugetlb");
	mkdir("/sys/fs/cgroup/hpcvm-test", 0755);
	ASSERT_EQ(0, put_text("/sys/fs/cgroup/hpcvm-test/hugetlb.2MB.max", "4194304"));
	*create = mem_create(self->free * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_EQ(ENOSPC, IN_CHILD(create_in_cgroup(self->dev, create)));
	EXPECT_EQ(HPCVM_REASON_LIMIT, create->reason);
	EXPECT_EQ(self->free - 2, create->detail);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	*create = mem_create(2 * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_EQ(0, IN_CHILD(create_in_cgroup(self->dev, create)));
	EXPECT_EQ(0, rmdir("/sys/fs/cgroup/hpcvm-test"));
}

/* Where nothing can be reserved beforehand, populating decides. */
static int create_unreserved(int dev, uint64_t pages, bool locked)
{
	struct rlimit small = { 64 << 20, 64 << 20 };
	struct hpcvm_mem_create create = mem_create(pages * SZ_2M, SZ_2M, HPCVM_NODE_ANY);

	if (locked ? mlockall(MCL_FUTURE) : setrlimit(RLIMIT_AS, &small))
		return 99;
	return call(dev, HPCVM_MEM_CREATE, &create);
}

TEST_F(memory, not_reserved)
{
	EXPECT_EQ(0, IN_CHILD(create_unreserved(self->dev, self->free, false)));
	EXPECT_EQ(0, IN_CHILD(create_unreserved(self->dev, self->free, true)));
	EXPECT_EQ(ENOSPC, IN_CHILD(create_unreserved(self->dev, self->free + 1, false)));
	EXPECT_EQ(ENOSPC, IN_CHILD(create_unreserved(self->dev, self->free + 1, true)));
}

static int create_on(int dev, uint64_t pages, int node)
{
	struct hpcvm_mem_create create = mem_create(pages * SZ_2M, SZ_2M, node);

	if (node != HPCVM_NODE_ANY)
		bind_to(node);
	return call(dev, HPCVM_MEM_CREATE, &create);
}

/* Of two that race for more than half of the pool each, one gets it. */
static bool one_wins(int dev, long pages, int node)
{
	int start[2], done[2], hold[2], won = 0, i;
	pid_t child[2];
	char c;

	if (pipe(start) | pipe(done) | pipe(hold))
		return false;
	for (i = 0; i < 2; i++) {
		child[i] = fork();
		if (child[i])
			continue;
		close(start[1]);
		close(hold[1]);
		if (read(start[0], &c, 1) == 0)
			c = !create_on(dev, pages, node);
		if (write(done[1], &c, 1) == 1 && read(hold[0], &c, 1) == 0)
			_exit(0);
		_exit(1);
	}
	close(start[0]);
	close(start[1]);
	close(hold[0]);
	for (i = 0; i < 2; i++)
		if (read(done[0], &c, 1) == 1)
			won += c;
	close(hold[1]);
	for (i = 0; i < 2; i++)
		waitpid(child[i], NULL, 0);
	close(done[0]);
	close(done[1]);
	return won == 1;
}

TEST_F(memory, race)
{
	int round;

	for (round = 0; round < 6; round++) {
		EXPECT_TRUE(one_wins(self->dev, 2 * POOL * 3 / 5, HPCVM_NODE_ANY));
		ASSERT_TRUE(pool_settles(SZ_2M, self->free));
		EXPECT_TRUE(one_wins(self->dev, POOL * 3 / 5, 1));
		ASSERT_TRUE(pool_settles(SZ_2M, self->free));
	}
}

/* Killed while it populates, while it holds, while it maps. */
TEST_F(memory, killed)
{
	int i;

	for (i = 0; i < 30; i++) {
		pid_t child = fork();

		if (!child) {
			int mem = new_mem(self->dev, 64 * SZ_2M, SZ_2M);
			char *p = map_shared(mem, 64 * SZ_2M);

			memset(p, 1, 64 * SZ_2M);
			pause();
		}
		usleep(i * 4000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		ASSERT_TRUE(pool_settles(SZ_2M, self->free));
	}
}

/* A child shares the pages and keeps them; it makes no copies. */
TEST_F(memory, fork)
{
	int mem = new_mem(self->dev, 4 * SZ_2M, SZ_2M);
	char *p = map_shared(mem, 4 * SZ_2M);

	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	EXPECT_EQ(1, IN_CHILD((p[SZ_2M] = 7, p[0])));
	EXPECT_EQ(7, p[SZ_2M]);
	EXPECT_EQ(self->free - 4, pool_free(SZ_2M));
	munmap(p, 4 * SZ_2M);
	close(mem);
}

/* The memory is hugetlbfs's own: it outlives the module. */
TEST_F(memory, survives_unload)
{
	int mem = new_mem(self->dev, 4 * SZ_2M, SZ_2M), ko;
	char *p = map_shared(mem, 4 * SZ_2M);

	ASSERT_NE(MAP_FAILED, p);
	p[0] = 5;
	close(self->dev);
	ASSERT_EQ(0, syscall(SYS_delete_module, "hpcvm", O_NONBLOCK));
	EXPECT_EQ(5, p[0]);
	p[3 * SZ_2M] = 6;
	EXPECT_EQ(self->free - 4, pool_free(SZ_2M));
	munmap(p, 4 * SZ_2M);
	close(mem);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	ko = open(getenv("HPCVM_KO"), O_RDONLY);
	ASSERT_LE(0, ko);
	ASSERT_EQ(0, syscall(SYS_finit_module, ko, "", 0));
	close(ko);
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
}

TEST_HARNESS_MAIN
