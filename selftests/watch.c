// SPDX-License-Identifier: GPL-2.0-only
/*
 * A broken promise is an event: a VM fd or a handle becomes readable when
 * memory stops being what was promised, and only then; and where nobody
 * polls, nobody works.
 */
#include <poll.h>
#include <pthread.h>
#include "slot.h"

#define SOON (10000 * slow())	/* ms: within a second, and on a busy emulated node still */
#define QUIET 2500	/* ms: several looks long */
#define TRACING "/sys/kernel/tracing"

/* What poll() says of an fd within @ms; LATE if it was not woken, but saw it then. */
#define LATE -2

static int events(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct timespec begin, end;
	long took;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (poll(&pfd, 1, ms) < 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	took = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
	return ms && pfd.revents && took >= ms ? LATE : pfd.revents;
}

FIXTURE(watch)
{
	int dev;
	int kvm;
	int vm;
	int mem;
	char *ram;
	long lost;	/* pages that never come back */
	long free;
};

/* A VM whose promise holds, and whose owner has heard so. */
FIXTURE_SETUP(watch)
{
	struct hpcvm_mem_slot slot;

	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	ASSERT_LE(96, pool_set(SZ_2M, HPCVM_NODE_ANY, 96));
	self->free = pool_free(SZ_2M);
	self->kvm = new_kvm();
	self->vm = new_vm(self->dev, self->kvm);
	ASSERT_LE(0, self->vm);
	self->mem = new_mem(self->dev, RAM, SZ_2M);
	ASSERT_LE(0, self->mem);
	self->ram = map_shared(self->mem, RAM);
	ASSERT_NE(MAP_FAILED, self->ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	slot = mem_slot(self->mem, 0, 0, RAM);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(0, broken(self->vm));
}

FIXTURE_TEARDOWN(watch)
{
	munmap(self->ram, RAM);
	close(self->mem);
	if (self->vm >= 0)
		close(self->vm);
	close(self->kvm);
	close(self->dev);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free - self->lost));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

static int punch(int mem, uint64_t offset)
{
	return fallocate(mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, SZ_2M);
}

static int open_handle(int dev, int vm)
{
	struct hpcvm_vm_open open = { .size = sizeof(open) };
	struct dirent *entry;
	DIR *dir = opendir(VMS);

	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			open.id = strtoull(entry->d_name, NULL, 10);
	closedir(dir);
	return call(dev, HPCVM_VM_OPEN, &open) ? -1 : open.out_fd;
}

TEST_F(watch, quiet_while_it_holds)
{
	void *other = mmap(NULL, 64 * SZ_2M, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(0, events(self->vm, QUIET));
	/* What the owner does with its other memory is no news. */
	memset(other, 1, 64 * SZ_2M);
	munmap(other, 64 * SZ_2M);
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	EXPECT_EQ(0, events(self->vm, QUIET));
}

/* Who has never asked hears at once that something is wrong already. */
TEST_F(watch, broken_before)
{
	int handle;

	ASSERT_EQ(0, punch(self->mem, 3 * SZ_2M));
	handle = open_handle(self->dev, self->vm);
	ASSERT_LE(0, handle);
	EXPECT_EQ(POLLIN, events(handle, SOON));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(handle));
	EXPECT_EQ(0, events(handle, QUIET));
	close(handle);
}

TEST_F(watch, hole)
{
	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, punch(self->mem, 3 * SZ_2M));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	/* It stays readable until somebody has looked. */
	EXPECT_EQ(POLLIN, events(self->vm, 0));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(self->vm));
	EXPECT_EQ(0, events(self->vm, QUIET));
	/* One more of the same kind is news. */
	ASSERT_EQ(0, punch(self->mem, 5 * SZ_2M));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(self->vm));
	/* And so is that all is well again. */
	ASSERT_EQ(0, fallocate(self->mem, 0, 0, RAM));
	memset(self->ram, 0, RAM);
	EXPECT_EQ(0, broken(self->vm));
	EXPECT_EQ(0, events(self->vm, QUIET));
}

TEST_F(watch, mapping_goes)
{
	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, munmap(self->ram + 4 * SZ_2M, SZ_2M));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(HPCVM_BROKEN_OTHER_MEMORY, broken(self->vm));
}

TEST_F(watch, memslot_goes)
{
	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(HPCVM_BROKEN_UNCOVERED, broken(self->vm));
}

TEST_F(watch, dirty_logging)
{
	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, KVM_MEM_LOG_DIRTY_PAGES));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(HPCVM_BROKEN_DIRTY_LOG, broken(self->vm));
	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(0, broken(self->vm));
	EXPECT_EQ(0, events(self->vm, QUIET));
}

TEST_F(watch, nx_splits)
{
	const char *parameter = "/sys/module/kvm/parameters/nx_huge_pages";

	EXPECT_EQ(0, events(self->vm, QUIET));
	ASSERT_EQ(0, put_text(parameter, "force"));
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	EXPECT_EQ(HPCVM_BROKEN_SPLITS, broken(self->vm) & HPCVM_BROKEN_SPLITS);
	ASSERT_EQ(0, put_text(parameter, "off"));
}

static void told_by_signal(int signal)
{
}

/* The kernel tells the process, too, by a signal that it cannot ignore. */
static int lose_page(void *page)
{
	signal(SIGBUS, told_by_signal);
	return madvise(page, SZ_4K, MADV_HWPOISON);
}

/* A memory error takes a page of the guest: the kernel keeps it or takes it away. */
TEST_F(watch, memory_error)
{
	uint64_t bits;

	memset(self->ram, 1, RAM);
	EXPECT_EQ(0, events(self->vm, QUIET));
	self->lost = 1;
	ASSERT_EQ(0, lose_page(self->ram + 6 * SZ_2M));
	EXPECT_EQ(POLLIN, events(self->vm, SOON));
	bits = broken(self->vm);
	EXPECT_NE(0, bits);
	EXPECT_EQ(0, bits & ~(HPCVM_BROKEN_POISON | HPCVM_BROKEN_ABSENT));
}

/* Such a page is refused where a promise is asked for. */
TEST_F(watch, memory_error_before)
{
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	memset(self->ram, 1, RAM);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	self->lost = 1;
	ASSERT_EQ(0, lose_page(self->ram + 6 * SZ_2M));
	EXPECT_EQ(EINVAL, call(self->vm, HPCVM_MEM_SLOT, &slot));
	if (slot.reason == HPCVM_REASON_POISON) {
		EXPECT_EQ(6 * SZ_2M, slot.detail);
	} else {
		EXPECT_EQ(HPCVM_REASON_PAGES_ABSENT, slot.reason);
		EXPECT_EQ(1, slot.detail);
	}
}

/* Each fd hears for itself. */
TEST_F(watch, several_fds)
{
	int a = open_handle(self->dev, self->vm), b = open_handle(self->dev, self->vm);

	ASSERT_LE(0, b);
	EXPECT_EQ(0, broken(a));
	EXPECT_EQ(0, broken(b));
	EXPECT_EQ(0, events(a, QUIET));
	EXPECT_EQ(0, events(b, 0));
	ASSERT_EQ(0, punch(self->mem, 0));
	EXPECT_EQ(POLLIN, events(a, SOON));
	EXPECT_EQ(POLLIN, events(b, 0));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(a));
	EXPECT_EQ(0, events(a, QUIET));
	EXPECT_EQ(POLLIN, events(b, 0));
	/* The end of the watch of one is not that of the other's. */
	close(a);
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(b));
	ASSERT_EQ(0, punch(self->mem, SZ_2M));
	EXPECT_EQ(POLLIN, events(b, SOON));
	close(b);
}

static void *close_soon(void *fd)
{
	usleep(500000);
	close(*(int *)fd);
	return NULL;
}

TEST_F(watch, vm_ends)
{
	int handle = open_handle(self->dev, self->vm);
	pthread_t thread;

	ASSERT_LE(0, handle);
	EXPECT_EQ(0, broken(handle));
	EXPECT_EQ(0, events(handle, QUIET));
	/* While somebody waits: he is woken. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, close_soon, &self->vm));
	EXPECT_EQ(POLLHUP, events(handle, SOON));
	pthread_join(thread, NULL);
	self->vm = -1;
	EXPECT_EQ(POLLHUP, events(handle, 0));
	close(handle);
}

/* The owner is killed while somebody waits for news. */
TEST_F(watch, owner_is_killed)
{
	int ready[2], handle;
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe(ready));
	close(self->vm);
	self->vm = -1;
	child = fork();
	if (!child) {
		int vm = new_vm(self->dev, new_kvm());

		(void)!write(ready[1], &vm, 1);
		pause();
		_exit(0);
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	handle = open_handle(self->dev, -1);
	ASSERT_LE(0, handle);
	EXPECT_EQ(POLLIN, events(handle, SOON));
	EXPECT_EQ(HPCVM_BROKEN_NO_RAM, broken(handle));
	EXPECT_EQ(0, events(handle, QUIET));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_EQ(POLLHUP, events(handle, SOON));
	close(handle);
	close(ready[0]);
	close(ready[1]);
}

/* How often the module's work has run within QUIET. */
static int looks(void)
{
	char line[512];
	int n = 0;
	FILE *f;

	close(open(TRACING "/trace", O_WRONLY | O_TRUNC));
	/* To record names, too, the scheduler's own code is patched: needlessly here. */
	put_text(TRACING "/options/record-cmd", "0");
	put_text(TRACING "/events/workqueue/workqueue_execute_start/enable", "1");
	usleep(QUIET * 1000);
	put_text(TRACING "/events/workqueue/workqueue_execute_start/enable", "0");
	f = fopen(TRACING "/trace", "r");
	while (f && fgets(line, sizeof(line), f))
		n += !!strstr(line, "[hpcvm]");
	if (f)
		fclose(f);
	return n;
}

TEST_F(watch, nothing_for_nothing)
{
	ASSERT_EQ(0, access(TRACING "/events/workqueue", F_OK));
	EXPECT_EQ(0, looks());
	EXPECT_EQ(0, events(self->vm, 0));
	EXPECT_LE(2, looks());
	close(self->vm);
	self->vm = -1;
	EXPECT_EQ(0, looks());
}

/* It ends with the fd that was polled, though the VM goes on. */
TEST_F(watch, nothing_any_more)
{
	int handle = open_handle(self->dev, self->vm);

	ASSERT_LE(0, handle);
	events(handle, 0);
	EXPECT_LE(2, looks());
	close(handle);
	usleep(1000000);
	EXPECT_EQ(0, looks());
}

static void *poll_and_verify(void *arg)
{
	int dev = open_device(), i;

	for (i = 0; i < 40; i++) {
		int handle = open_handle(dev, -1);

		events(handle, i % 7);
		broken(handle);
		events(handle, 0);
		close(handle);
	}
	close(dev);
	return NULL;
}

/* VMs come and go under those who poll them. */
TEST_F_TIMEOUT(watch, storm, 120)
{
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, poll_and_verify, NULL));
	for (i = 0; i < 20; i++) {
		int kvm = new_kvm(), vm = new_vm(self->dev, kvm);

		EXPECT_LE(0, vm);
		events(vm, i % 3);
		close(i % 2 ? vm : kvm);
		close(i % 2 ? kvm : vm);
	}
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

TEST_HARNESS_MAIN
