// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preparing and parking: what is prepared cannot be written by any means,
 * what is parked is whole, nobody else's, and was never handed out.
 */
#include <linux/fs.h>
#include <linux/userfaultfd.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include "reserve.h"

/* A file that is empty and cannot be written: every way that there is. */
TEST_F(reserve, prepared_is_read_only)
{
	int mem = prepare(self->dev, 4), flags = 0, other;
	uint64_t word = 0xbad;
	struct iovec from = { &word, 8 }, to = { .iov_len = 8 };
	struct stat st;
	char path[64];
	char *p;

	ASSERT_LE(0, mem);
	EXPECT_EQ(O_RDONLY, fcntl(mem, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(FD_CLOEXEC, fcntl(mem, F_GETFD));
	ASSERT_EQ(0, fstat(mem, &st));
	EXPECT_EQ(4 * SZ_2M, st.st_size);
	EXPECT_EQ(self->free, pool_free(SZ_2M));
	EXPECT_EQ(4, pool_reserved(SZ_2M));
	ASSERT_EQ(0, populate(mem, 4, HPCVM_NODE_ANY));
	EXPECT_EQ(self->free - 4, pool_free(SZ_2M));
	EXPECT_EQ(0, pool_reserved(SZ_2M));
	p = map_read(mem, 4 * SZ_2M);
	ASSERT_NE(MAP_FAILED, p);

#define EXPECT_ERRNO(_errno, _call) do {				\
	errno = 0;							\
	EXPECT_EQ(-1, (long)(_call)) TH_LOG("%s", #_call);		\
	EXPECT_EQ(_errno, errno) TH_LOG("%s", #_call);			\
} while (0)
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	EXPECT_ERRNO(EPERM, open(path, O_RDWR));
	EXPECT_ERRNO(EPERM, open(path, O_WRONLY));
	EXPECT_ERRNO(EPERM, open(path, O_RDONLY | O_TRUNC));
	EXPECT_ERRNO(EPERM, truncate(path, SZ_2M));
	EXPECT_ERRNO(EPERM, fchmod(mem, 0777));
	EXPECT_ERRNO(EPERM, fchown(mem, 1, 1));
	EXPECT_ERRNO(EINVAL, ftruncate(mem, SZ_2M));
	EXPECT_ERRNO(EBADF, fallocate(mem, 0, 0, SZ_2M));
	EXPECT_ERRNO(EBADF, fallocate(mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SZ_2M));
	EXPECT_ERRNO(EBADF, write(mem, &word, 8));
	EXPECT_ERRNO(EACCES, mmap(NULL, SZ_2M, PROT_WRITE, MAP_SHARED, mem, 0));
	EXPECT_ERRNO(EACCES, mprotect(p, SZ_2M, PROT_READ | PROT_WRITE));
	EXPECT_ERRNO(EACCES, madvise(p, SZ_2M, MADV_REMOVE));
	to.iov_base = p;
	EXPECT_ERRNO(EFAULT, process_vm_writev(getpid(), &from, 1, &to, 1, 0));
	EXPECT_EQ(-1, ioctl(mem, FS_IOC_SETFLAGS, &flags));

	other = open("/proc/self/mem", O_RDWR);
	ASSERT_LE(0, other);
	EXPECT_EQ(-1, pwrite(other, &word, 8, (off_t)(uintptr_t)p));
	close(other);

	/* What a private mapping writes goes to pages of its own. */
	munmap(p, 4 * SZ_2M);
	p = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, mem, 0);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	munmap(p, SZ_2M);

	EXPECT_TRUE(is_zero(mem, 4 * SZ_2M));
	ASSERT_EQ(0, fstat(mem, &st));
	EXPECT_EQ(4 * SZ_2M, st.st_size);
	EXPECT_EQ(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, fcntl(mem, F_GET_SEALS));
	close(mem);
}

/* userfaultfd would fill holes with what it likes. */
TEST_F(reserve, prepared_takes_no_userfaultfd)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC), mem = prepare(self->dev, 1);
	struct uffdio_api api = { .api = UFFD_API };
	void *p = map_read(mem, SZ_2M);
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, SZ_2M }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	ASSERT_LE(0, uffd);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	EXPECT_EQ(-1, ioctl(uffd, UFFDIO_REGISTER, &reg));
	EXPECT_EQ(EPERM, errno);
	munmap(p, SZ_2M);
	close(mem);
	close(uffd);
}

TEST_F(reserve, park_numbers)
{
	struct hpcvm_reserve_park park = park_of(1000, HPCVM_NODE_ANY);
	struct hpcvm_reserve_drop drop = { .size = sizeof(drop) };
	int null = open("/dev/null", O_RDWR), huge = memfd_create("huge", MFD_HUGETLB);

	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBADF, HPCVM_REASON_FD, 1000);
	park = park_of(-1, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBADF, HPCVM_REASON_FD, -1);
	park = park_of(null, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NOT_OURS, null);
	park = park_of(huge, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NOT_OURS, huge);
	park = park_of(null, 2);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NODE, 2);
	park = park_of(null, INT32_MIN);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NODE, INT32_MIN);
	park = park_of(null, 0);
	park.uid = 1;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_reserve_park, uid));
	park = park_of(null, 0);
	park.gid = 1;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_reserve_park, gid));
	park = park_of(null, 0);
	park.flags = HPCVM_RESERVE_UID;
	park.uid = UINT32_MAX;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_RESERVE_FOR,
		       UINT32_MAX);
	park = park_of(null, 0);
	park.flags = HPCVM_RESERVE_GID;
	park.gid = UINT32_MAX;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_RESERVE_FOR,
		       UINT32_MAX);
	drop.id = 0;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_DROP, &drop, ENOENT,
		       HPCVM_REASON_RESERVATION_UNKNOWN, 0);
	drop.id = UINT64_MAX;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_DROP, &drop, ENOENT,
		       HPCVM_REASON_RESERVATION_UNKNOWN, UINT64_MAX);
	close(null);
	close(huge);
}

TEST_F(reserve, park_not_whole)
{
	int mem = prepare(self->dev, 6);
	struct hpcvm_reserve_park park = park_of(mem, HPCVM_NODE_ANY);

	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_PAGES_ABSENT, 6);
	ASSERT_EQ(0, populate(mem, 4, HPCVM_NODE_ANY));
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_PAGES_ABSENT, 2);
	ASSERT_EQ(0, populate(mem, 6, HPCVM_NODE_ANY));
	EXPECT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	close(mem);
}

TEST_F(reserve, park_on_another_node)
{
	int mem = ready(self->dev, 3, 0);
	struct hpcvm_reserve_park park = park_of(mem, 1);

	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_PAGES_NODE, 3);
	EXPECT_EQ(0, nr_reservations());
	park = park_of(mem, 0);
	EXPECT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	close(mem);
}

TEST_F(reserve, park_twice)
{
	int mem = ready(self->dev, 1, HPCVM_NODE_ANY);
	struct hpcvm_reserve_park park = park_of(mem, HPCVM_NODE_ANY);
	uint64_t id;

	ASSERT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	id = park.out_id;
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EEXIST, HPCVM_REASON_PARKED, id);
	EXPECT_EQ(1, nr_reservations());
	/* Dropped while it is held, it is the holder's again. */
	EXPECT_EQ(0, drop(self->dev, id));
	EXPECT_EQ(self->free - 1, pool_free(SZ_2M));
	EXPECT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	EXPECT_LT(id, park.out_id);
	close(mem);
}

/* Mapped, copied, opened again, in another process, in a pipe. */
TEST_F(reserve, park_held)
{
	int mem = ready(self->dev, 2, HPCVM_NODE_ANY), other, hold[2], pipefd[2];
	struct hpcvm_reserve_park park = park_of(mem, HPCVM_NODE_ANY);
	struct iovec word = { .iov_len = 8 };
	char path[64], c[8];
	pid_t child;
	void *p;

	p = map_read(mem, SZ_2M);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_MAPPED, 0);
	munmap(p, SZ_2M);
	p = mmap(NULL, SZ_2M, PROT_READ, MAP_PRIVATE, mem, 0);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_MAPPED, 0);
	munmap(p, SZ_2M);

	other = dup(mem);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_HELD, 1);
	close(other);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	other = open(path, O_RDONLY);
	ASSERT_LE(0, other);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_HELD, 1);
	close(other);
	other = open(path, O_PATH);
	ASSERT_LE(0, other);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_HELD, 1);
	close(other);

	ASSERT_EQ(0, pipe(hold));
	child = fork();
	if (!child) {
		close(hold[1]);
		_exit(read(hold[0], c, 1));
	}
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_HELD, 1);
	close(hold[1]);
	waitpid(child, NULL, 0);

	ASSERT_EQ(0, pipe(pipefd));
	p = map_read(mem, 2 * SZ_2M);
	word.iov_base = p + SZ_2M;
	ASSERT_EQ(8, vmsplice(pipefd[1], &word, 1, 0));
	munmap(p, 2 * SZ_2M);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EBUSY, HPCVM_REASON_PAGES_HELD, 1);
	ASSERT_EQ(8, read(pipefd[0], c, 8));

	EXPECT_EQ(0, nr_reservations());
	EXPECT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	close(mem);
}

/* What has been handed out, ever, is not parked. */
TEST_F(reserve, never_again)
{
	struct hpcvm_reserve_park park;
	char path[64];
	int mem, readable;

	ASSERT_NE(0, reserve(self->dev, 2, HPCVM_NODE_ANY));
	ASSERT_LT(0, take(self->dev, 2, HPCVM_NODE_ANY, &mem));
	park = park_of(mem, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NOT_PREPARED, mem);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	readable = open(path, O_RDONLY);
	ASSERT_LE(0, readable);
	close(mem);
	park = park_of(readable, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NOT_PREPARED,
		       readable);
	close(readable);
	mem = new_mem(self->dev, SZ_2M, SZ_2M);
	park = park_of(mem, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, EINVAL, HPCVM_REASON_NOT_PREPARED, mem);
	close(mem);
}

/* To prepare is to reserve: others hear of it, and nobody gets half. */
TEST_F(reserve, prepare_short)
{
	struct hpcvm_mem_create create = ask(2 * POOL + 3, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	int mem = prepare(self->dev, 2 * POOL - 1);

	ASSERT_LE(0, mem);
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC, HPCVM_REASON_POOL_SHORT,
		       2 * POOL + 2);
	create = ask(2, 0, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC, HPCVM_REASON_POOL_SHORT, 1);
	close(mem);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	create = ask(POOL + 3, HPCVM_MEM_PREPARE, 1);
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, ENOSPC,
		       HPCVM_REASON_POOL_SHORT_NODE, 3);
}

/* Where nothing can be reserved there is nothing to prepare. */
static int prepare_unreserved(int dev, struct hpcvm_mem_create *create, bool locked)
{
	struct rlimit small = { 32 << 20, 32 << 20 };

	if (locked ? mlockall(MCL_FUTURE) : setrlimit(RLIMIT_AS, &small))
		return 99;
	return call(dev, HPCVM_MEM_CREATE, create);
}

TEST_F(reserve, prepare_limited)
{
	struct hpcvm_mem_create *create = shared_page();

	*create = ask(POOL, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	EXPECT_EQ(ENOSPC, IN_CHILD(prepare_unreserved(self->dev, create, false)));
	EXPECT_EQ(HPCVM_REASON_LIMIT, create->reason);
	EXPECT_EQ(POOL, create->detail);
	*create = ask(POOL, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	EXPECT_EQ(ENOSPC, IN_CHILD(prepare_unreserved(self->dev, create, true)));
	EXPECT_EQ(HPCVM_REASON_LIMIT, create->reason);
}

static int populate_in_cgroup(int dev, int pages)
{
	int mem, err;

	if (put_text(CGROUP "/cgroup.procs", "0"))
		return 99;
	mem = prepare(dev, pages);
	if (mem < 0)
		return 98;
	err = populate(mem, pages, HPCVM_NODE_ANY);
	close(mem);
	return err;
}

static int reserve_in_cgroup(int dev, int pages)
{
	if (put_text(CGROUP "/cgroup.procs", "0"))
		return 99;
	return !reserve(dev, pages, HPCVM_NODE_ANY);
}

/* A limit is met by whoever populates, and stays charged to its cgroup. */
TEST_F(reserve, cgroup)
{
	int mem;

	put_text("/sys/fs/cgroup/cgroup.subtree_control", "+hugetlb");
	mkdir(CGROUP, 0755);
	ASSERT_EQ(0, put_text(CGROUP "/hugetlb.2MB.max", "8388608"));
	EXPECT_EQ(EFAULT, IN_CHILD(populate_in_cgroup(self->dev, 6)));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	EXPECT_EQ(0, IN_CHILD(reserve_in_cgroup(self->dev, 4)));
	EXPECT_EQ(4 * SZ_2M, get_number(CGROUP "/hugetlb.2MB.current"));
	ASSERT_LT(0, take(self->dev, 4, HPCVM_NODE_ANY, &mem));
	EXPECT_TRUE(scribble(mem, 4 * SZ_2M));
	EXPECT_EQ(4 * SZ_2M, get_number(CGROUP "/hugetlb.2MB.current"));
	close(mem);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	EXPECT_EQ(0, get_number(CGROUP "/hugetlb.2MB.current"));
	ASSERT_EQ(0, put_text(CGROUP "/hugetlb.2MB.rsvd.max", "4194304"));
	EXPECT_EQ(98, IN_CHILD(populate_in_cgroup(self->dev, 3)));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* Killed while it prepares, populates, parks. */
TEST_F_TIMEOUT(reserve, killed, 120)
{
	int i;

	for (i = 0; i < 30; i++) {
		pid_t child = fork();

		if (!child) {
			for (;;)
				reserve(self->dev, 40, HPCVM_NODE_ANY);
		}
		usleep(i * 3000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		drop_all(self->dev);
		ASSERT_EQ(0, nr_reservations());
		ASSERT_TRUE(pool_settles(SZ_2M, self->free));
	}
}

TEST_F_TIMEOUT(reserve, full, 240)
{
	struct hpcvm_reserve_park park;
	int mem, i;

	if (pool_set(SZ_2M, HPCVM_NODE_ANY, HPCVM_RESERVATIONS_MAX + 1) != HPCVM_RESERVATIONS_MAX + 1)
		SKIP(return, "the node has not so many pages");
	for (i = 0; i < HPCVM_RESERVATIONS_MAX; i++)
		ASSERT_NE(0, reserve(self->dev, 1, HPCVM_NODE_ANY));
	mem = ready(self->dev, 1, HPCVM_NODE_ANY);
	park = park_of(mem, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_RESERVE_PARK, &park, ENOSPC,
		       HPCVM_REASON_RESERVATIONS_FULL, HPCVM_RESERVATIONS_MAX);
	EXPECT_LT(0, take(self->dev, 1, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	close(mem);
	drop_all(self->dev);
	EXPECT_TRUE(pool_settles(SZ_2M, HPCVM_RESERVATIONS_MAX + 1));
	self->free = pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

TEST_HARNESS_MAIN
