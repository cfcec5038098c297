// SPDX-License-Identifier: GPL-2.0-only
/*
 * What changes a watched range: every event alone, in ordinary and in hugepage
 * memory. The one that it befalls does not hold any more when the system call
 * returns, and says why; its neighbour still holds. Page frames are the oracle
 * where pages move: pagemap, which is not ours.
 */
#include <sys/uio.h>
#include <linux/userfaultfd.h>
#include "monitor.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define KSM "/sys/kernel/mm/ksm/"

enum kind { PRIVATE, SHARED, HUGETLB };

/* Four pages of some kind that are all there, for FIXTURE() and its kin. */
#define FOUR_PAGES							\
	int dev;							\
	struct mapped_monitor m;					\
	int file;							\
	size_t page, length;						\
	long long balancing;						\
	char *ram

#define FOUR_PAGES_SETUP(_kind) do {					\
	self->balancing = set_balancing(0);				\
	self->dev = open_device();					\
	self->m = new_monitor(self->dev, 100);				\
	ASSERT_LE(0, self->m.fd);					\
	self->page = (_kind) == HUGETLB ? SZ_2M : SZ_4K;		\
	self->length = 4 * self->page;					\
	self->file = -1;						\
	if ((_kind) == HUGETLB)						\
		ASSERT_LE(8, pool_set(SZ_2M, HPCVM_NODE_ANY, 8));	\
	if ((_kind) != PRIVATE) {					\
		self->file = memfd_create("ram", (_kind) == HUGETLB ? MFD_HUGETLB : 0);	\
		ASSERT_EQ(0, ftruncate(self->file, self->length));	\
	}								\
	self->ram = mmap(NULL, self->length, PROT_READ | PROT_WRITE,	\
			 (_kind) == PRIVATE ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED,	\
			 self->file, 0);				\
	ASSERT_NE(MAP_FAILED, self->ram);				\
	madvise(self->ram, self->length, MADV_NOHUGEPAGE);		\
	memset(self->ram, 1, self->length);				\
} while (0)

#define FOUR_PAGES_TEARDOWN(_kind) do {					\
	munmap(self->ram, self->length);				\
	close(self->file);						\
	end_monitor(&self->m);						\
	close(self->dev);						\
	set_balancing(self->balancing);					\
	if ((_kind) == HUGETLB)						\
		pool_set(SZ_2M, HPCVM_NODE_ANY, 0);			\
	EXPECT_TRUE(slots_settle(0));			\
} while (0)

/* How many watches have changed for this reason, or for any. */
static uint64_t changes(const struct mapped_monitor *m, int why)
{
	struct hpcvm_monitor_stats s = monitor_stats(m->fd);
	uint64_t all = 0;
	int i;

	for (i = 0; i < HPCVM_CHANGES; i++)
		all += s.changes[i];
	return why ? s.changes[why] : all;
}

/* @act changes page 1, as @why says (0: anyhow), and neither page 0 nor page 2. */
#define EXPECT_CHANGE(act, why) do {						\
	struct watch before_ = watch(&self->m, self->ram, self->page);		\
	struct watch it_ = watch(&self->m, self->ram + self->page, self->page);	\
	struct watch after_ = watch(&self->m, self->ram + 2 * self->page, self->page);	\
	EXPECT_TRUE(holds(&self->m, it_));					\
	act;									\
	EXPECT_FALSE(holds(&self->m, it_));					\
	EXPECT_TRUE(holds(&self->m, before_));					\
	EXPECT_TRUE(holds(&self->m, after_));					\
	EXPECT_EQ(1, changes(&self->m, why));					\
	EXPECT_EQ(1, changes(&self->m, 0));					\
} while (0)

#define PAGE_1 (self->ram + self->page)

/* Memory of any kind */

FIXTURE(change) { FOUR_PAGES; };
FIXTURE_VARIANT(change) { enum kind kind; };
FIXTURE_VARIANT_ADD(change, private) { .kind = PRIVATE };
FIXTURE_VARIANT_ADD(change, shared) { .kind = SHARED };
FIXTURE_VARIANT_ADD(change, hugetlb) { .kind = HUGETLB };
FIXTURE_SETUP(change) { FOUR_PAGES_SETUP(variant->kind); }
FIXTURE_TEARDOWN(change) { FOUR_PAGES_TEARDOWN(variant->kind); }

TEST_F(change, munmap)
{
	EXPECT_CHANGE(EXPECT_EQ(0, munmap(PAGE_1, self->page)), HPCVM_CHANGE_UNMAP);
	ASSERT_EQ(PAGE_1, mmap(PAGE_1, self->page, PROT_READ,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

TEST_F(change, mapped_over)
{
	EXPECT_CHANGE(EXPECT_EQ(PAGE_1, mmap(PAGE_1, self->page, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)),
		      HPCVM_CHANGE_UNMAP);
}

TEST_F(change, mremap)
{
	char *there = mmap(NULL, 2 * self->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	there = (char *)(((uintptr_t)there + self->page - 1) & -self->page);
	EXPECT_CHANGE(EXPECT_EQ(there, mremap(PAGE_1, self->page, self->page,
					      MREMAP_MAYMOVE | MREMAP_FIXED, there)),
		      variant->kind == HUGETLB ? 0 : HPCVM_CHANGE_UNMAP);
	munmap(there, self->page);
}

TEST_F(change, mprotect)
{
	EXPECT_CHANGE(EXPECT_EQ(0, mprotect(PAGE_1, self->page, PROT_READ)),
		      HPCVM_CHANGE_PROTECT);
}

TEST_F(change, dontneed)
{
	EXPECT_CHANGE(EXPECT_EQ(0, madvise(PAGE_1, self->page, MADV_DONTNEED)),
		      HPCVM_CHANGE_CLEAR);
}

/* After fork() the next write of a private page goes to a copy. */
TEST_F(change, fork)
{
	struct watch w = watch(&self->m, PAGE_1, self->page), again;
	uint64_t frame;
	int pipes[2];
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(pipes));
	child = fork();
	if (!child) {
		close(pipes[1]);
		_exit(read(pipes[0], &c, 1) != 0);
	}
	EXPECT_EQ(variant->kind != PRIVATE, holds(&self->m, w));
	EXPECT_EQ(variant->kind == PRIVATE, changes(&self->m, HPCVM_CHANGE_PROTECT_PAGE));
	again = watch(&self->m, PAGE_1, self->page);
	frame = frame_of(PAGE_1);
	*PAGE_1 = 2;
	EXPECT_EQ(variant->kind == PRIVATE, frame != frame_of(PAGE_1));
	EXPECT_EQ(frame == frame_of(PAGE_1), holds(&self->m, again));
	close(pipes[1]);
	waitpid(child, NULL, 0);
}

TEST_F(change, dontfork)
{
	struct watch w;

	ASSERT_EQ(0, madvise(self->ram, self->length, MADV_DONTFORK));
	w = watch(&self->m, self->ram, self->length);
	EXPECT_EQ(0, IN_CHILD(0));
	EXPECT_TRUE(holds(&self->m, w));
	*PAGE_1 = 2;
	EXPECT_TRUE(holds(&self->m, w));
}

/* Who asks which pages are written write-protects them. */
TEST_F(change, soft_dirty)
{
	struct watch w = watch(&self->m, PAGE_1, self->page);

	ASSERT_EQ(0, put_text("/proc/self/clear_refs", "4"));
	EXPECT_FALSE(holds(&self->m, w));
	EXPECT_EQ(1, changes(&self->m, HPCVM_CHANGE_SOFT_DIRTY));
}

TEST_F(change, userfaultfd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)self->ram, self->length },
		.mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)PAGE_1, self->page },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int uffd = syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY | O_CLOEXEC);

	ASSERT_LE(0, uffd);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	EXPECT_CHANGE(EXPECT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &wp)), HPCVM_CHANGE_PROTECT);
	close(uffd);
}

static int move_to(void *addr, int node)
{
	int status = -1;

	if (syscall(SYS_move_pages, 0, 1, &addr, &node, &status, 2 /* MPOL_MF_MOVE */))
		return -errno;
	return status;
}

static int node_of(void *addr)
{
	int status = -1;

	syscall(SYS_move_pages, 0, 1, &addr, NULL, &status, 0);
	return status;
}

TEST_F(change, migration)
{
	int there = !node_of(PAGE_1);

	EXPECT_CHANGE(EXPECT_EQ(there, move_to(PAGE_1, there)), HPCVM_CHANGE_CLEAR);
	EXPECT_EQ(there, node_of(PAGE_1));
}

/* What changes no page behind a range leaves it alone. */
TEST_F(change, not_by_these)
{
	struct watch w = watch(&self->m, self->ram, self->length);
	uint64_t frame = frame_of(PAGE_1);
	struct iovec io = { PAGE_1, 16 };
	char bytes[16];

	*PAGE_1 = 2;
	EXPECT_EQ(16, process_vm_readv(getpid(), &(struct iovec){ bytes, 16 }, 1, &io, 1, 0));
	EXPECT_EQ(0, mlock(self->ram, self->length));
	EXPECT_EQ(0, munlock(self->ram, self->length));
	EXPECT_EQ(0, madvise(self->ram, self->length, MADV_WILLNEED) && errno != EINVAL);
	madvise(self->ram, self->length, MADV_DONTFORK);
	madvise(self->ram, self->length, MADV_DOFORK);
	munmap(mmap(NULL, self->page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0),
	       self->page);
	EXPECT_TRUE(holds(&self->m, w));
	EXPECT_EQ(frame, frame_of(PAGE_1));
}

/* Memory of a file. 6.1 calls a hole in a hugetlb file an unmapping. */
#define CLEARED (variant->kind == HUGETLB ? 0 : HPCVM_CHANGE_CLEAR)

FIXTURE(file) { FOUR_PAGES; };
FIXTURE_VARIANT(file) { enum kind kind; };
FIXTURE_VARIANT_ADD(file, shared) { .kind = SHARED };
FIXTURE_VARIANT_ADD(file, hugetlb) { .kind = HUGETLB };
FIXTURE_SETUP(file) { FOUR_PAGES_SETUP(variant->kind); }
FIXTURE_TEARDOWN(file) { FOUR_PAGES_TEARDOWN(variant->kind); }

TEST_F(file, remove)
{
	EXPECT_CHANGE(EXPECT_EQ(0, madvise(PAGE_1, self->page, MADV_REMOVE)), CLEARED);
	EXPECT_EQ(0, *PAGE_1);
}

TEST_F(file, hole)
{
	EXPECT_CHANGE(EXPECT_EQ(0, fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					     self->page, self->page)), CLEARED);
}

/* Somebody else who has the file. */
TEST_F(file, hole_by_another)
{
	/* fork() changes nothing: shared memory stays as it is. */
	EXPECT_CHANGE(EXPECT_EQ(0, IN_CHILD(fallocate(self->file,
						      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						      self->page, self->page) != 0)),
		      CLEARED);
}

TEST_F(file, truncate)
{
	struct watch first = watch(&self->m, self->ram, self->page);
	struct watch last = watch(&self->m, self->ram + 3 * self->page, self->page);

	ASSERT_EQ(0, ftruncate(self->file, 2 * self->page));
	EXPECT_FALSE(holds(&self->m, last));
	EXPECT_TRUE(holds(&self->m, first));
	ASSERT_EQ(0, ftruncate(self->file, self->length));
}

/* Memory that is the process's alone */

FIXTURE(own) { FOUR_PAGES; };
FIXTURE_SETUP(own) { FOUR_PAGES_SETUP(PRIVATE); }
FIXTURE_TEARDOWN(own) { FOUR_PAGES_TEARDOWN(PRIVATE); }

TEST_F(own, free)
{
	EXPECT_CHANGE(EXPECT_EQ(0, madvise(PAGE_1, self->page, MADV_FREE)), HPCVM_CHANGE_CLEAR);
}

/* Those that need memory of their own, or time. */

FIXTURE(slow)
{
	int dev;
	struct mapped_monitor m;
	char *ram;			/* 4 MiB, so that 2 are aligned */
	char *huge;
	long long balancing;
};

FIXTURE_SETUP(slow)
{
	self->balancing = set_balancing(0);
	self->dev = open_device();
	self->m = new_monitor(self->dev, 100);
	ASSERT_LE(0, self->m.fd);
	self->ram = mmap(NULL, 2 * SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	self->huge = (char *)(((uintptr_t)self->ram + SZ_2M - 1) & -SZ_2M);
	madvise(self->ram, 2 * SZ_2M, MADV_NOHUGEPAGE);
	memset(self->huge, 1, SZ_2M);
}

FIXTURE_TEARDOWN(slow)
{
	munmap(self->ram, 2 * SZ_2M);
	end_monitor(&self->m);
	close(self->dev);
	set_balancing(self->balancing);
}

/* A transparent hugepage is made of 4K pages, and split again. */
TEST_F(slow, collapse_and_split)
{
	struct watch w = watch(&self->m, self->huge + SZ_4K, SZ_4K);
	uint64_t frame = frame_of(self->huge + SZ_4K);
	int i;

	if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
		SKIP(return, "this kernel has no transparent hugepages");
	madvise(self->huge, SZ_2M, MADV_HUGEPAGE);
	/* The node's memory may be in pieces. */
	for (i = 0; i < 20 && madvise(self->huge, SZ_2M, MADV_COLLAPSE); i++)
		put_text("/proc/sys/vm/compact_memory", "1");
	ASSERT_GT(20, i);
	EXPECT_NE(frame, frame_of(self->huge + SZ_4K));
	EXPECT_FALSE(holds(&self->m, w));

	/* All of the entry goes for one page of it. */
	w = watch(&self->m, self->huge + SZ_4K, SZ_4K);
	EXPECT_EQ(0, madvise(self->huge, SZ_4K, MADV_DONTNEED));
	EXPECT_NE(0, frame_of(self->huge + SZ_4K));
	EXPECT_EQ(0, madvise(self->huge + SZ_4K, SZ_4K, MADV_DONTNEED));
	EXPECT_FALSE(holds(&self->m, w));
}

TEST_F(slow, pageout)
{
	char name[] = "/var/tmp/hpcvm-change-XXXXXX";
	int fd = mkstemp(name), i;
	struct watch w;
	char *map;

	/* Clean pages of a file can go without swap. */
	unlink(name);
	ASSERT_EQ(0, ftruncate(fd, SZ_4K));
	map = mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	w = watch(&self->m, map, SZ_4K);
	for (i = 0; i < 50 && frame_of(map); i++) {
		madvise(map, SZ_4K, MADV_PAGEOUT);
		usleep(20000);
	}
	if (frame_of(map))
		SKIP(goto out, "this file's pages cannot be reclaimed (it is on tmpfs)");
	EXPECT_FALSE(holds(&self->m, w));
out:
	munmap(map, SZ_4K);
	close(fd);
}

TEST_F_TIMEOUT(slow, ksm, 120)
{
	struct watch w[2];
	int i;

	memset(self->huge, 7, 2 * SZ_4K);
	ASSERT_EQ(0, madvise(self->huge, 2 * SZ_4K, MADV_MERGEABLE));
	for (i = 0; i < 2; i++)
		w[i] = watch(&self->m, self->huge + i * SZ_4K, SZ_4K);
	put_text(KSM "sleep_millisecs", "10");
	put_text(KSM "pages_to_scan", "1000");
	ASSERT_EQ(0, put_text(KSM "run", "1"));
	for (i = 0; i < 500 && frame_of(self->huge) != frame_of(self->huge + SZ_4K); i++)
		usleep(20000);
	EXPECT_EQ(frame_of(self->huge), frame_of(self->huge + SZ_4K));
	put_text(KSM "run", "2");
	put_text(KSM "run", "0");
	EXPECT_FALSE(holds(&self->m, w[0]));
	EXPECT_FALSE(holds(&self->m, w[1]));
}

/* It makes pages inaccessible to see who uses them: a false change. */
TEST_F_TIMEOUT(slow, numa_balancing, 120)
{
	struct watch w = watch(&self->m, self->huge, SZ_2M);
	int sum = 0;
	int i, j;

	if (self->balancing < 0)
		SKIP(return, "this kernel has no NUMA balancing");
	ASSERT_EQ(0, put_text(BALANCING, "1"));
	for (i = 0; i < 3000 && holds(&self->m, w); i++)
		for (j = 0; j < 1000; j++)
			sum += self->huge[(i * 1000L + j) * 64 % SZ_2M];
	for (i = 0; i < 400 && holds(&self->m, w); i++)
		for (j = 0; j < 1000000; j++)
			sum += self->huge[j * 64L % SZ_2M];
	TH_LOG("the memory was read (%d)", sum);
	EXPECT_FALSE(holds(&self->m, w));
	EXPECT_EQ(1, monitor_stats(self->m.fd).changes[HPCVM_CHANGE_PROTECT]);
}

TEST_HARNESS_MAIN
