// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins: who may pin what, what an importer gets of it, when it is revoked, and that
 * everything comes back. The importers are ours (selftests/importer) and a stock one,
 * vgem.
 */
#include <drm/drm.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include "importer/importer.h"
#include "selftest.h"

#define PINS "/sys/class/misc/hpcvm/pins/"
#define RAM (64 * SZ_4K)
#define HUGE_RAM (4 * SZ_2M)

static struct hpcvm_pin pin_of(const void *addr, uint64_t length)
{
	return (struct hpcvm_pin){ .size = sizeof(struct hpcvm_pin), .addr = (uintptr_t)addr,
		.length = length };
}

/* The dma-buf, or a negative errno. */
static int pin(int dev, const void *addr, uint64_t length)
{
	struct hpcvm_pin p = pin_of(addr, length);
	int err = call(dev, HPCVM_PIN, &p);

	return err ? -err : p.out_fd;
}

static int load_importer(void)
{
	char command[256];
	struct utsname name;

	if (!access("/dev/hpcvm-importer", F_OK))
		return 0;
	uname(&name);
	snprintf(command, sizeof(command), "insmod build/%s/hpcvm_importer.ko", name.release);
	return system(command);
}

static int new_importer(void)
{
	return open("/dev/hpcvm-importer", O_RDWR | O_CLOEXEC);
}

/* What it returns, or a negative errno. */
static long importer(int fd, unsigned long cmd, long arg)
{
	long ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

static void *map_anonymous(size_t length, int flags)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | flags, -1, 0);
}

static void scribble(char *ram, size_t length, unsigned int seed)
{
	size_t i;

	for (i = 0; i < length; i += 64)
		*(uint64_t *)(ram + i) = seed * 0x9e3779b97f4a7c15ull + i;
}

/* Does the importer see the very same? */
static bool sees(int fd, const char *ram, size_t length)
{
	char *copy = malloc(length);
	bool same = pread(fd, copy, length, 0) == length && !memcmp(copy, ram, length);

	free(copy);
	return same;
}

/* The last close() of a dma-buf ends in another task. */
static bool pins_settle(long long bytes)
{
	int i;

	for (i = 0; i < 200 * slow() && get_number(PINS "bytes") != bytes; i++)
		usleep(20000);
	return get_number(PINS "bytes") == bytes;
}

/* It was told once, if this kernel tells anybody. */
static bool told(int fd)
{
	long times = importer(fd, IMPORTER_CAN_BE_TOLD, 0);
	int i;

	for (i = 0; i < 200 * slow() && importer(fd, IMPORTER_TOLD, 0) != times; i++)
		usleep(20000);
	return importer(fd, IMPORTER_TOLD, 0) == times;
}

/* A line of a file of numbers, "NAME: N" or "NAME N". */
static long long line_of(const char *path, const char *name)
{
	FILE *f = fopen(path, "r");
	char line[128];
	long long n = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			n = strtoll(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return n;
}

/* Pins of pages as the kernel counts them: that were acquired, or released. */
static long long counted(const char *name)
{
	char byte;
	int fd = open("/proc/sys/vm/stat_refresh", O_RDONLY);

	if (fd >= 0 && read(fd, &byte, 1) < 0)
		return -1;
	close(fd);
	return line_of("/proc/vmstat", name);
}

FIXTURE(pins)
{
	int dev, importer;
	char *ram;
	long pool;
};

FIXTURE_SETUP(pins)
{
	ASSERT_EQ(0, load_importer());
	self->dev = open_device();
	self->importer = new_importer();
	ASSERT_LE(0, self->importer);
	self->ram = map_anonymous(RAM, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
	ASSERT_LE(8, pool_set(SZ_2M, HPCVM_NODE_ANY, 8));
	self->pool = pool_free(SZ_2M);
}

FIXTURE_TEARDOWN(pins)
{
	munmap(self->ram, RAM);
	close(self->importer);
	close(self->dev);
	EXPECT_TRUE(pins_settle(0));
	EXPECT_EQ(0, get_number(PINS "revoked_bytes"));
	EXPECT_TRUE(pool_settles(SZ_2M, self->pool));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	EXPECT_EQ(0, system("rmmod hpcvm_importer"));
}

TEST_F(pins, refused)
{
	const uint64_t top = 0x7ffffffff000;
	struct hpcvm_pin p = pin_of(self->ram, RAM);

	p.pad0 = 1;
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_pin, pad0));
	p = pin_of(self->ram, 0);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	p = pin_of(self->ram, 1);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_4K);
	p = pin_of(self->ram + 1, SZ_4K);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_HVA_ALIGN, SZ_4K);
	p = pin_of((void *)top, SZ_4K);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	p = pin_of((void *)SZ_4K, -SZ_4K);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	EXPECT_EQ(0, get_number(PINS "bytes"));
}

TEST_F(pins, what_cannot_be_pinned)
{
	struct hpcvm_pin p = pin_of(self->ram, RAM);

	munmap(self->ram + 5 * SZ_4K, SZ_4K);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_PIN_ADDR,
		       (uintptr_t)self->ram + 5 * SZ_4K);
	EXPECT_TRUE(pins_settle(0));
	ASSERT_EQ(0, mprotect(self->ram, SZ_4K, PROT_READ));
	p = pin_of(self->ram, 2 * SZ_4K);
	EXPECT_REFUSED(self->dev, HPCVM_PIN, &p, EINVAL, HPCVM_REASON_PIN_ADDR,
		       (uintptr_t)self->ram);
	EXPECT_EQ(0, line_of("/proc/self/status", "VmLck"));
}

/* RLIMIT_MEMLOCK counts for who has not CAP_IPC_LOCK. */
static int pin_within(int dev, const char *ram)
{
	struct rlimit limit = { 16 * SZ_4K, 16 * SZ_4K };
	struct hpcvm_pin p = pin_of(ram, 17 * SZ_4K);
	int fd, err;

	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (setuid(65534))
		return 1;
	err = call(dev, HPCVM_PIN, &p);
	if (err != ENOMEM || p.reason != HPCVM_REASON_PIN_LIMIT || p.detail != SZ_4K)
		return 2;
	fd = pin(dev, ram, 16 * SZ_4K);
	if (fd < 0)
		return 3;
	p = pin_of(ram, SZ_4K);
	err = call(dev, HPCVM_PIN, &p);
	if (err != ENOMEM || p.reason != HPCVM_REASON_PIN_LIMIT || p.detail != SZ_4K)
		return 4;
	if (line_of("/proc/self/status", "VmLck") != 64)
		return 5;
	close(fd);
	return pin(dev, ram, 16 * SZ_4K) < 0 ? 6 : 0;
}

TEST_F(pins, limit)
{
	struct hpcvm_pin p = pin_of(self->ram, SZ_4K);

	EXPECT_EQ(0, IN_CHILD(pin_within(self->dev, self->ram)));
	/* Root has it. */
	ASSERT_EQ(0, call(self->dev, HPCVM_PIN, &p));
	close(p.out_fd);
}

TEST_F(pins, imported)
{
	struct hpcvm_pin p = pin_of(self->ram, RAM);

	ASSERT_EQ(0, call(self->dev, HPCVM_PIN, &p));
	EXPECT_TRUE(pins_settle(RAM));
	EXPECT_EQ(p.segments, importer(self->importer, IMPORTER_TAKE, p.out_fd));
	scribble(self->ram, RAM, 1);
	EXPECT_TRUE(sees(self->importer, self->ram, RAM));

	/* A second one, at the same time; the first goes on when it has gone. */
	int second = new_importer();

	EXPECT_EQ(p.segments, importer(second, IMPORTER_HOLD, p.out_fd));
	scribble(self->ram, RAM, 2);
	EXPECT_TRUE(sees(second, self->ram, RAM));
	close(second);
	close(p.out_fd);
	scribble(self->ram, RAM, 3);
	EXPECT_TRUE(sees(self->importer, self->ram, RAM));
	EXPECT_EQ(0, importer(self->importer, IMPORTER_TOLD, 0));
	EXPECT_LT(1, get_number("/sys/module/hpcvm/refcnt"));
}

/* The kernel counts what is pinned: a hugepage once. */
TEST_F(pins, hugepages_are_pinned_once)
{
	char *huge = map_anonymous(HUGE_RAM, MAP_HUGETLB);
	long long before;
	int fd;

	ASSERT_NE(MAP_FAILED, huge);
	scribble(huge, HUGE_RAM, 0);
	before = counted("nr_foll_pin_acquired");
	fd = pin(self->dev, huge, HUGE_RAM);
	ASSERT_LE(0, fd);
	EXPECT_EQ(before + 4, counted("nr_foll_pin_acquired"));
	EXPECT_GE(4, importer(self->importer, IMPORTER_TAKE, fd));
	EXPECT_LE(512, importer(self->importer, IMPORTER_LONGEST, 0));
	scribble(huge, HUGE_RAM, 4);
	EXPECT_TRUE(sees(self->importer, huge, HUGE_RAM));
	close(fd);

	/* From the middle of one to the middle of another. */
	fd = pin(self->dev, huge + SZ_4K, SZ_2M);
	ASSERT_LE(0, fd);
	close(self->importer);
	self->importer = new_importer();
	EXPECT_LT(0, importer(self->importer, IMPORTER_TAKE, fd));
	EXPECT_TRUE(sees(self->importer, huge + SZ_4K, SZ_2M));
	close(fd);
	munmap(huge, HUGE_RAM);
}

/* What has been released is not pinned any more: as many as were. */
TEST_F(pins, comes_back)
{
	long long left;
	int i, fd;

	left = counted("nr_foll_pin_acquired") - counted("nr_foll_pin_released");
	for (i = 0; i < 100; i++) {
		fd = pin(self->dev, self->ram, RAM);
		ASSERT_LE(0, fd);
		close(fd);
	}
	EXPECT_TRUE(pins_settle(0));
	EXPECT_EQ(left, counted("nr_foll_pin_acquired") - counted("nr_foll_pin_released"));
	EXPECT_EQ(0, line_of("/proc/self/status", "VmLck"));
}

/* Revoked: it is told, cannot be mapped anew, and keeps what it has. */

enum { UNMAP, MAP_OVER, REMAP, DONTNEED, CHANGES };

static void change(char *page, int how)
{
	char *elsewhere = mmap(NULL, SZ_4K, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	switch (how) {
	case UNMAP:
		munmap(page, SZ_4K);
		break;
	case MAP_OVER:
		mmap(page, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case REMAP:
		mremap(page, SZ_4K, SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
		break;
	case DONTNEED:
		madvise(page, SZ_4K, MADV_DONTNEED);
		break;
	}
	munmap(elsewhere, SZ_4K);
}

TEST_F(pins, revoked)
{
	char *copy = malloc(RAM), *ram;
	int how, fd, in;

	for (how = 0; how < CHANGES; how++) {
		ram = map_anonymous(RAM, 0);
		scribble(ram, RAM, how);
		memcpy(copy, ram, RAM);
		fd = pin(self->dev, ram, RAM);
		in = new_importer();
		ASSERT_LT(0, importer(in, IMPORTER_TAKE, fd));
		change(ram + 7 * SZ_4K, how);
		EXPECT_TRUE(told(in)) TH_LOG("change %d", how);
		EXPECT_EQ(RAM, get_number(PINS "revoked_bytes"));
		EXPECT_TRUE(sees(in, copy, RAM));
		EXPECT_EQ(-ENODEV, importer(in, IMPORTER_MAP, 0));
		close(in);
		in = new_importer();
		EXPECT_EQ(-ENODEV, importer(in, IMPORTER_HOLD, fd));
		EXPECT_EQ(-ENODEV, importer(in, IMPORTER_TAKE, fd));
		close(in);
		close(fd);
		munmap(ram, RAM);
		EXPECT_TRUE(pins_settle(0));
	}
	free(copy);
}

static int wait_a_little(char *ram)
{
	ram[0] = 99;	/* a copy of the child's own */
	return 0;
}

TEST_F(pins, not_revoked)
{
	int fd = pin(self->dev, self->ram, RAM);

	ASSERT_LT(0, importer(self->importer, IMPORTER_TAKE, fd));
	ASSERT_EQ(0, mprotect(self->ram, RAM, PROT_READ));
	ASSERT_EQ(0, mprotect(self->ram, RAM, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, IN_CHILD(wait_a_little(self->ram)));
	scribble(self->ram, RAM, 5);
	EXPECT_TRUE(sees(self->importer, self->ram, RAM));
	EXPECT_EQ(0, get_number(PINS "revoked_bytes"));
	EXPECT_EQ(0, importer(self->importer, IMPORTER_TOLD, 0));
	EXPECT_LT(0, importer(self->importer, IMPORTER_MAP, 0));
	close(fd);
}

/* Who cannot let go is not told, and keeps it. */
TEST_F(pins, held)
{
	char *copy = malloc(RAM);
	int fd;

	scribble(self->ram, RAM, 6);
	memcpy(copy, self->ram, RAM);
	fd = pin(self->dev, self->ram, RAM);
	ASSERT_LT(0, importer(self->importer, IMPORTER_HOLD, fd));
	close(fd);
	munmap(self->ram, RAM);
	EXPECT_EQ(RAM, get_number(PINS "revoked_bytes"));
	EXPECT_TRUE(sees(self->importer, copy, RAM));
	EXPECT_EQ(0, importer(self->importer, IMPORTER_TOLD, 0));
	free(copy);
}

static int pin_and_die(int dev, int in, char *ram)
{
	int fd = pin(dev, ram, RAM);

	if (fd < 0 || importer(in, IMPORTER_TAKE, fd) <= 0)
		return 1;
	scribble(ram, RAM, 7);
	return 0;
}

/* An importer that outlives the process keeps the pages, and that can be seen. */
TEST_F(pins, owner_ends)
{
	EXPECT_EQ(0, IN_CHILD(pin_and_die(self->dev, self->importer, self->ram)));
	EXPECT_TRUE(told(self->importer));
	EXPECT_EQ(RAM, get_number(PINS "revoked_bytes"));
	scribble(self->ram, RAM, 7);
	EXPECT_TRUE(sees(self->importer, self->ram, RAM));
	EXPECT_LT(1, get_number("/sys/module/hpcvm/refcnt"));
}

/* Memory of a guest, which its owner punches a hole into. */
TEST_F(pins, guest_memory)
{
	int mem, fd;
	char *ram;

	mem = new_mem(self->dev, HUGE_RAM, SZ_2M);
	ram = map_shared(mem, HUGE_RAM);
	fd = pin(self->dev, ram, HUGE_RAM);
	ASSERT_LT(0, importer(self->importer, IMPORTER_TAKE, fd));
	scribble(ram, HUGE_RAM, 8);
	EXPECT_TRUE(sees(self->importer, ram, HUGE_RAM));
	ASSERT_EQ(0, fallocate(mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SZ_2M, SZ_2M));
	EXPECT_TRUE(told(self->importer));
	munmap(ram, HUGE_RAM);
	close(mem);
	close(fd);
}

/*
 * Pinning races with whoever changes the memory: a pin that was not revoked is of the
 * pages that are there.
 */
static struct {
	char *page;
	atomic_bool stop, stand, stands;
} race;

static void *changes(void *unused)
{
	int i;

	while (!race.stop) {
		race.stands = race.stand;
		if (race.stands)
			continue;
		madvise(race.page, SZ_4K, MADV_DONTNEED);
		for (i = random() % 40000; i; i--)
			asm volatile("" : "+r" (i));
	}
	return NULL;
}

TEST_F(pins, races)
{
	int i, fd, in, kept = 0, true_ones = 0;
	pthread_t thread;

	race.page = self->ram + SZ_4K;
	race.stop = race.stand = false;
	pthread_create(&thread, NULL, changes, NULL);
	for (i = 0; i < 200; i++) {
		fd = pin(self->dev, self->ram, RAM);
		race.stand = true;
		while (!race.stands)
			;
		in = new_importer();
		if (importer(in, IMPORTER_TAKE, fd) > 0) {
			kept++;
			scribble(self->ram, RAM, i);
			true_ones += sees(in, self->ram, RAM);
		}
		close(in);
		close(fd);
		race.stand = false;
	}
	race.stop = true;
	pthread_join(thread, NULL);
	TH_LOG("%d of 200 were not revoked at once", kept);
	EXPECT_LT(0, kept);
	EXPECT_EQ(kept, true_ones);
}

static void pin_for_ever(int dev, struct hpcvm_pin *shared)
{
	const size_t length = 256 * RAM;
	char *ram = map_anonymous(length, 0);

	for (;;) {
		*shared = pin_of(ram, length);
		if (!call(dev, HPCVM_PIN, shared))
			close(shared->out_fd);
	}
}

TEST_F_TIMEOUT(pins, killed, 120)
{
	struct hpcvm_pin *shared = shared_page();
	int round;

	for (round = 0; round < 100 && shared->reason != HPCVM_REASON_INTERRUPTED; round++) {
		pid_t child;

		shared->size = 0;
		child = fork();
		if (!child)
			pin_for_ever(self->dev, shared);
		while (!__atomic_load_n(&shared->size, __ATOMIC_ACQUIRE))
			sched_yield();
		usleep(500 << round % 8);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		EXPECT_TRUE(pins_settle(0));
	}
	/* The errno is EINTR, which nobody lives to see; but the reason is told. */
	TH_LOG("killed %d times", round);
	EXPECT_EQ(HPCVM_REASON_INTERRUPTED, shared->reason);
	munmap(shared, SZ_4K);
}

/* A stock importer: the virtual GEM driver. */
TEST_F(pins, vgem)
{
	struct drm_prime_handle prime = {};
	struct drm_gem_close gem = {};
	int fd, drm;

	if (system("modprobe -q vgem"))
		SKIP(return, "this kernel has no vgem");
	drm = open("/dev/dri/card0", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, drm);
	fd = pin(self->dev, self->ram, RAM);
	ASSERT_LE(0, fd);
	prime.fd = fd;
	ASSERT_EQ(0, ioctl(drm, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime));
	close(fd);
	EXPECT_EQ(RAM, get_number(PINS "bytes"));
	gem.handle = prime.handle;
	EXPECT_EQ(0, ioctl(drm, DRM_IOCTL_GEM_CLOSE, &gem));
	EXPECT_TRUE(pins_settle(0));
	close(drm);
	EXPECT_EQ(0, system("rmmod vgem"));
}

TEST_HARNESS_MAIN
