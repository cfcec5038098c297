// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once, for a few seconds: many threads verify, slot, adopt,
 * unslot, punch holes, change KVM's memslots and mappings, read sysfs and open
 * handles, while VMs come and go under them. Each call may fail, with an
 * errno that its documentation names; the node may not.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "selftest.h"

#define PAGES 8
#define RAM (PAGES * SZ_2M)
#define SECONDS 6

static struct {
	int dev, kvm, mem;
	atomic_int vm;
	char *ram;
	atomic_bool stop;
	atomic_int surprises;
	atomic_long calls;
} storm;

/* A call may fail, but only so. */
static void expect(int err, int a, int b, int c)
{
	atomic_fetch_add(&storm.calls, 1);
	if (err && err != a && err != b && err != c && err != EBADF && err != ENOTTY) {
		fprintf(stderr, "# surprising errno %d\n", err);
		atomic_fetch_add(&storm.surprises, 1);
	}
}

static void *verifier(void *arg)
{
	struct hpcvm_slot_report reports[4];
	uint64_t id = 1;

	while (!storm.stop) {
		struct hpcvm_vm_open open = { .size = sizeof(open), .id = id };
		struct hpcvm_mem_verify verify = { .size = sizeof(verify), .nr_slots = 4,
			.slot_size = sizeof(reports[0]), .slots = (uintptr_t)reports };
		struct hpcvm_query query = { .size = sizeof(query) };

		if (!call(storm.vm, HPCVM_QUERY, &query) && query.vm_id)
			id = query.vm_id;
		if (call(storm.dev, HPCVM_VM_OPEN, &open))
			continue;
		expect(call(open.out_fd, HPCVM_MEM_VERIFY, &verify), ENODEV, 0, 0);
		expect(call(open.out_fd, HPCVM_MEM_VERIFY, &verify), ENODEV, 0, 0);
		close(open.out_fd);
	}
	return arg;
}

static void *slotter(void *arg)
{
	while (!storm.stop) {
		struct hpcvm_mem_slot slot = mem_slot(storm.mem, 0, 0, RAM);
		struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };

		struct hpcvm_mem_adopt adopt = mem_adopt(storm.ram, 0, RAM, HPCVM_NODE_ANY);

		expect(call(storm.vm, HPCVM_MEM_SLOT, &slot), EINVAL, EEXIST, 0);
		expect(call(storm.vm, HPCVM_MEM_UNSLOT, &unslot), ENOENT, 0, 0);
		expect(call(storm.vm, HPCVM_MEM_ADOPT, &adopt), EINVAL, EEXIST, 0);
		expect(call(storm.vm, HPCVM_MEM_UNSLOT, &unslot), ENOENT, 0, 0);
	}
	return arg;
}

static void *puncher(void *arg)
{
	while (!storm.stop) {
		fallocate(storm.mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * SZ_2M, SZ_2M);
		fallocate(storm.mem, 0, 3 * SZ_2M, SZ_2M);
	}
	return arg;
}

static void *mapper(void *arg)
{
	while (!storm.stop) {
		kvm_memslot(storm.kvm, 0, 0, 0, NULL, 0);
		munmap(storm.ram + 5 * SZ_2M, SZ_2M);
		if (mmap(storm.ram + 5 * SZ_2M, SZ_2M, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, storm.mem, 5 * SZ_2M) == MAP_FAILED)
			atomic_fetch_add(&storm.surprises, 1);
		storm.ram[5 * SZ_2M] = 1;
		kvm_memslot(storm.kvm, 0, 0, RAM, storm.ram, 0);
	}
	return arg;
}

static void *reader(void *arg)
{
	while (!storm.stop) {
		char path[128], text[256];
		struct hpcvm_query query = { .size = sizeof(query) };
		int fd;

		if (call(storm.vm, HPCVM_QUERY, &query))
			continue;
		snprintf(path, sizeof(path), VMS "/%llu/kvm_pages_2m",
			 (unsigned long long)query.vm_id);
		fd = open(path, O_RDONLY);
		if (fd >= 0 && read(fd, text, sizeof(text)) < 0 && errno != ENODEV)
			atomic_fetch_add(&storm.surprises, 1);
		close(fd);
		snprintf(path, sizeof(path), VMS "/%llu/slots/0x0/node",
			 (unsigned long long)query.vm_id);
		get_number(path);
	}
	return arg;
}

/* Closes the VM fd and makes a new VM of the same KVM VM, over and over. */
static void *renewer(void *arg)
{
	while (!storm.stop) {
		struct hpcvm_vm_create create = vm_create(storm.kvm), twin = create;

		int err;

		close(storm.vm);
		/* Another thread's call may keep the old one for a moment. */
		do {
			err = call(storm.dev, HPCVM_VM_CREATE, &create);
			expect(err, EBUSY, 0, 0);
		} while (err == EBUSY);
		storm.vm = create.out_fd;
		expect(call(storm.dev, HPCVM_VM_CREATE, &twin) == EBUSY ? 0 : EPROTO, 0, 0, 0);
		usleep(2000);
	}
	return arg;
}

TEST(everything_at_once)
{
	void *(*const work[])(void *) = {
		verifier, verifier, slotter, puncher, mapper, reader, renewer,
	};
	const int threads = sizeof(work) / sizeof(work[0]);
	pthread_t thread[8];
	long free;
	int i;

	storm.dev = open_device();
	ASSERT_LE(0, storm.dev);
	ASSERT_LE(2 * PAGES, pool_set(SZ_2M, HPCVM_NODE_ANY, 2 * PAGES));
	free = pool_free(SZ_2M);
	storm.kvm = new_kvm();
	storm.vm = new_vm(storm.dev, storm.kvm);
	storm.mem = new_mem(storm.dev, RAM, SZ_2M);
	storm.ram = map_shared(storm.mem, RAM);
	ASSERT_NE(MAP_FAILED, storm.ram);
	for (i = 0; i < threads; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, work[i], NULL));
	sleep(SECONDS);
	storm.stop = true;
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	TH_LOG("%ld calls", (long)storm.calls);
	EXPECT_EQ(0, storm.surprises);
	EXPECT_LT(100, storm.calls);
	close(storm.vm);
	close(storm.kvm);
	munmap(storm.ram, RAM);
	close(storm.mem);
	EXPECT_EQ(0, count_entries(VMS));
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

TEST_HARNESS_MAIN
