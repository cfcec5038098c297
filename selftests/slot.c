// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots: which promise is refused, and what becomes of one when the memory,
 * the VM or the process ends. Whether it is kept meanwhile: verify.c.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "slot.h"

TEST_F(slot, numbers)
{
	const uint64_t limit = 1ULL << 52;
	static const struct {
		uint64_t gpa, offset, length;
		int err, reason;
		uint64_t detail;
	} bad[] = {
		{ 0, 0, 0, EINVAL, HPCVM_REASON_SIZE_ZERO, 0 },
		{ 0, 0, SZ_4K, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ 0, 0, UINT64_MAX, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ 0, SZ_4K, SZ_2M, EINVAL, HPCVM_REASON_OFFSET_ALIGN, SZ_2M },
		{ SZ_4K, 0, SZ_2M, EINVAL, HPCVM_REASON_GPA_ALIGN, SZ_2M },
		{ UINT64_MAX, 0, SZ_2M, EINVAL, HPCVM_REASON_GPA_ALIGN, SZ_2M },
		{ 0, 0, RAM + SZ_2M, EINVAL, HPCVM_REASON_RANGE, RAM },
		{ 0, SZ_2M, RAM, EINVAL, HPCVM_REASON_RANGE, RAM },
		{ 0, -SZ_2M, 2 * SZ_2M, EINVAL, HPCVM_REASON_RANGE, RAM },
		{ 0, 0, -SZ_2M, EINVAL, HPCVM_REASON_RANGE, RAM },
		{ limit, 0, SZ_2M, EINVAL, HPCVM_REASON_GPA_LIMIT, limit },
		{ limit - SZ_2M, 0, 2 * SZ_2M, EINVAL, HPCVM_REASON_GPA_LIMIT, limit },
		{ -SZ_2M, 0, SZ_2M, EINVAL, HPCVM_REASON_GPA_LIMIT, limit },
	};
	struct hpcvm_mem_slot slot;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		slot = mem_slot(self->mem, bad[i].gpa, bad[i].offset, bad[i].length);
		EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, bad[i].err, bad[i].reason,
			       bad[i].detail);
	}
	slot = mem_slot(self->mem, 0, 0, RAM);
	slot.node = 9;
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_NODE, 9);
}

TEST_F(slot, not_our_file)
{
	int hugetlb = memfd_create("hugetlb", MFD_HUGETLB), plain = memfd_create("plain", 0);
	struct hpcvm_mem_slot slot = mem_slot(-1, 0, 0, RAM);

	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EBADF, HPCVM_REASON_FD, -1);
	slot = mem_slot(hugetlb, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_NOT_OURS, hugetlb);
	slot = mem_slot(plain, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_NOT_OURS, plain);
	slot = mem_slot(self->kvm, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_NOT_OURS, self->kvm);
	close(hugetlb);
	close(plain);
}

TEST_F(slot, another_process)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	EXPECT_EQ(EPERM, IN_CHILD(call(self->vm, HPCVM_MEM_SLOT, &slot)));
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->vm, HPCVM_MEM_SLOT, &slot), slot.reason)));
}

TEST_F(slot, kvm_uncovered)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_UNCOVERED,
		       HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM / 2, self->ram, 0));
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_UNCOVERED,
		       RAM / 2);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, RAM / 2 + SZ_2M, RAM / 2 - SZ_2M,
				 self->ram + RAM / 2 + SZ_2M, 0));
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_UNCOVERED,
		       RAM / 2);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 2, RAM / 2, SZ_2M, self->ram + RAM / 2, 0));
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	EXPECT_EQ(0, broken(self->vm));
}

/* The firmware may do below 2 MiB what it likes. */
TEST_F(slot, legacy_is_tolerated)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	void *rom = mmap(NULL, 16 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0xa0000, self->ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, 0xc0000, 16 * SZ_4K, rom, KVM_MEM_READONLY));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 2, 0x100000, RAM - 0x100000, self->ram + 0x100000, 0));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	EXPECT_EQ(0, broken(self->vm));
}

TEST_F(slot, kvm_other_memory)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	int mem = new_mem(self->dev, RAM, SZ_2M);
	char *ram = map_shared(mem, RAM);

	ASSERT_NE(MAP_FAILED, ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, ram, 0));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_OTHER_MEMORY,
		       HPCVM_LEGACY_END);
	/* The right file, but another range of it. */
	slot = mem_slot(mem, 0, SZ_2M, RAM - SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_OTHER_MEMORY,
		       HPCVM_LEGACY_END);
	munmap(ram, RAM);
	close(mem);
	/* Nothing mapped at all. */
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_OTHER_MEMORY,
		       HPCVM_LEGACY_END);
}

TEST_F(slot, kvm_private)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	char *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->mem, 0);

	ASSERT_NE(MAP_FAILED, ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, ram, 0));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_PRIVATE,
		       HPCVM_LEGACY_END);
	munmap(ram, RAM);
}

TEST_F(slot, kvm_readonly)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, KVM_MEM_READONLY));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_READONLY,
		       HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, mprotect(self->ram + 4 * SZ_2M, SZ_2M, PROT_READ));
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_READONLY,
		       4 * SZ_2M);
}

TEST_F(slot, kvm_misaligned)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	/* GPA and HVA differ by one page: KVM would use 4K throughout. */
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM - SZ_4K, self->ram + SZ_4K, 0));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_MISALIGNED,
		       HPCVM_LEGACY_END);
	/* The memslots are cut in the middle of a hugepage. */
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 8 * SZ_2M + SZ_4K, self->ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, 8 * SZ_2M + SZ_4K, 8 * SZ_2M - SZ_4K,
				 self->ram + 8 * SZ_2M + SZ_4K, 0));
	slot = mem_slot(self->mem, 0, 0, RAM);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_MISALIGNED,
		       8 * SZ_2M);
}

TEST_F(slot, pages_absent)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, fallocate(self->mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       4 * SZ_2M, 3 * SZ_2M));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_PAGES_ABSENT, 3);
	/* The part without the hole is whole. */
	slot = mem_slot(self->mem, 0, 0, 4 * SZ_2M);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	slot = mem_slot(self->mem, 7 * SZ_2M, 7 * SZ_2M, RAM - 7 * SZ_2M);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	/* Holes at its begin and at its end. */
	slot = mem_slot(self->mem, 4 * SZ_2M, 4 * SZ_2M, 3 * SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_PAGES_ABSENT, 3);
	ASSERT_EQ(0, fallocate(self->mem, 0, 5 * SZ_2M, SZ_2M));
	slot = mem_slot(self->mem, 4 * SZ_2M, 4 * SZ_2M, 2 * SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_PAGES_ABSENT, 1);
	slot = mem_slot(self->mem, 5 * SZ_2M, 5 * SZ_2M, 2 * SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_PAGES_ABSENT, 1);
}

TEST_F(slot, pages_node)
{
	unsigned long mask = 1;
	struct hpcvm_mem_slot slot;
	struct hpcvm_mem_create create = mem_create(4 * SZ_2M, SZ_2M, 0);
	void *ram;

	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 64));
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	ram = map_shared(create.out_fd, 4 * SZ_2M);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 4 * SZ_2M, ram, 0));
	slot = mem_slot(create.out_fd, 0, 0, 4 * SZ_2M);
	slot.node = 1;
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_PAGES_NODE, 4);
	slot = mem_slot(create.out_fd, 0, 0, 4 * SZ_2M);
	slot.node = 0;
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	munmap(ram, 4 * SZ_2M);
	close(create.out_fd);
}

TEST_F(slot, overlap)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM / 2);
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot), .gpa = SZ_2M };

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	slot = mem_slot(self->mem, 0, 0, RAM / 2);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EEXIST, HPCVM_REASON_SLOT_OVERLAP, 0);
	slot = mem_slot(self->mem, RAM / 2 - SZ_2M, RAM / 2, SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EEXIST, HPCVM_REASON_SLOT_OVERLAP, 0);
	slot = mem_slot(self->mem, RAM, RAM / 2 - SZ_2M, SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EEXIST, HPCVM_REASON_FILE_OVERLAP, 0);
	slot = mem_slot(self->mem, RAM / 2, RAM / 2, RAM / 2);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));

	EXPECT_REFUSED(self->vm, HPCVM_MEM_UNSLOT, &unslot, ENOENT, HPCVM_REASON_SLOT_UNKNOWN,
		       SZ_2M);
	unslot.gpa = 0;
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_UNSLOT, &unslot, ENOENT, HPCVM_REASON_SLOT_UNKNOWN, 0);
	slot = mem_slot(self->mem, 0, 0, RAM / 2);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
}

TEST_F(slot, slots_full)
{
	int mem = new_mem(self->dev, 66 * SZ_2M, SZ_2M), i;
	void *ram = map_shared(mem, 66 * SZ_2M);
	struct hpcvm_mem_slot slot;

	ASSERT_NE(MAP_FAILED, ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 66 * SZ_2M, ram, 0));
	for (i = 0; i < 64; i++) {
		slot = mem_slot(mem, i * SZ_2M, i * SZ_2M, SZ_2M);
		ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	}
	slot = mem_slot(mem, i * SZ_2M, i * SZ_2M, SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, ENOSPC, HPCVM_REASON_SLOTS_FULL, 64);
	munmap(ram, 66 * SZ_2M);
	close(mem);
}

#ifdef KVM_MEM_GUEST_MEMFD
/* A memslot whose memory is not the owner's mapping, though it names that. */
TEST_F(slot, kvm_guest_memfd)
{
	struct kvm_create_guest_memfd create = { .size = RAM };
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct kvm_userspace_memory_region2 region = {
		.flags = KVM_MEM_GUEST_MEMFD, .memory_size = RAM,
		.userspace_addr = (uintptr_t)self->ram,
	};
	int gmem = ioctl(self->kvm, KVM_CREATE_GUEST_MEMFD, &create);

	if (gmem < 0) {
		create.flags = 3;	/* mmap, shared from the start: 6.18 on */
		gmem = ioctl(self->kvm, KVM_CREATE_GUEST_MEMFD, &create);
	}
	if (gmem < 0)
		SKIP(return, "this KVM has no guest_memfd for ordinary VMs");
	region.guest_memfd = gmem;
	if (ioctl(self->kvm, KVM_SET_USER_MEMORY_REGION2, &region))
		SKIP(return, "this KVM takes no guest_memfd memslot in ordinary VMs");
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_KVM_OTHER_MEMORY,
		       HPCVM_LEGACY_END);
	close(gmem);
}
#endif

/* 200 times a VM with memory, killed somewhere on its way. */
static void live(int dev)
{
	int kvm = new_kvm(), vm = new_vm(dev, kvm), mem = new_mem(dev, RAM, SZ_2M);
	struct hpcvm_mem_slot slot = mem_slot(mem, 0, 0, RAM);
	char *ram = map_shared(mem, RAM);

	if (!kvm_memslot(kvm, 0, 0, RAM, ram, 0) && !call(vm, HPCVM_MEM_SLOT, &slot))
		run_guest(kvm, ram, 0, RAM);
	pause();
}

TEST_F_TIMEOUT(slot, killed_200_times, 120)
{
	int i;

	for (i = 0; i < 200; i++) {
		pid_t child = fork();

		if (!child)
			live(self->dev);
		usleep(i * 150);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	EXPECT_TRUE(pool_settles(SZ_2M, self->free - PAGES));
	EXPECT_EQ(1, count_entries(VMS));
}

/* Calls without end, each with the same struct, in memory that the parent sees. */
struct calls {
	struct hpcvm_mem_verify verify;
	struct hpcvm_mem_slot slot;
	struct hpcvm_mem_adopt adopt;
	struct hpcvm_mem_unslot unslot;
	struct hpcvm_vcpu_attach attach;
	struct hpcvm_vcpu_claim claim;
	struct hpcvm_vcpu_release release;
	struct hpcvm_vcpu_stats stats;
	atomic_int forks;	/* so often the address space was copied */
};

#define CALLS 8

struct job {
	int vm;
	unsigned long cmd;
	void *arg;
	const void *fresh;
	size_t size;
};

static void *repeat(void *arg)
{
	struct job *job = arg;

	for (;;) {
		memcpy(job->arg, job->fresh, job->size);
		call(job->vm, job->cmd, job->arg);
	}
	return NULL;
}

/*
 * Whoever verifies waits for the address space, which is copied without end,
 * with the VM locked; the others wait for the VM.
 */
static void call_and_fork(int dev, struct calls *calls)
{
	int kvm = new_kvm(), mem = new_mem(dev, RAM, SZ_2M), vm = new_vm(dev, kvm), i;
	size_t bulk = 64 * SZ_2M;
	char *ram = map_shared(mem, RAM), *small;
	struct calls fresh = {
		verify_with(NULL, 0), mem_slot(mem, 0, 0, RAM),
		mem_adopt(ram, 0, RAM, HPCVM_NODE_ANY), { .size = sizeof(fresh.unslot) },
		{ .size = sizeof(fresh.attach) },
		{ .size = sizeof(fresh.claim), .cpu = HPCVM_CPU_ANY, .node = HPCVM_NODE_ANY },
		{ .size = sizeof(fresh.release) }, { .size = sizeof(fresh.stats) },
	};
	int vcpu = ioctl(kvm, KVM_CREATE_VCPU, 0);
	struct job jobs[] = {
		{ vm, HPCVM_VCPU_ATTACH, &calls->attach, &fresh.attach, sizeof(fresh.attach) },
		{ vm, HPCVM_VCPU_CLAIM, &calls->claim, &fresh.claim, sizeof(fresh.claim) },
		{ vm, HPCVM_VCPU_RELEASE, &calls->release, &fresh.release, sizeof(fresh.release) },
		{ vm, HPCVM_VCPU_STATS, &calls->stats, &fresh.stats, sizeof(fresh.stats) },
		{ vm, HPCVM_MEM_VERIFY, &calls->verify, &fresh.verify, sizeof(fresh.verify) },
		{ vm, HPCVM_MEM_SLOT, &calls->slot, &fresh.slot, sizeof(fresh.slot) },
		{ vm, HPCVM_MEM_ADOPT, &calls->adopt, &fresh.adopt, sizeof(fresh.adopt) },
		{ vm, HPCVM_MEM_UNSLOT, &calls->unslot, &fresh.unslot, sizeof(fresh.unslot) },
	};
	pthread_t thread;

	fresh.attach.vcpu_fd = vcpu;
	fresh.attach.run = (uintptr_t)map_shared(vcpu, SZ_4K);
	small = mmap(NULL, bulk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(small, bulk, MADV_NOHUGEPAGE);
	memset(small, 1, bulk);
	kvm_memslot(kvm, 0, 0, RAM, ram, 0);
	for (i = 0; i < CALLS; i++)
		pthread_create(&thread, NULL, repeat, &jobs[i]);
	for (;;) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
		atomic_fetch_add(&calls->forks, 1);
	}
}

TEST_F_TIMEOUT(slot, killed_while_it_waits, 120)
{
	struct calls *calls = shared_page();
	uint32_t *reason[CALLS] = {
		&calls->verify.reason, &calls->slot.reason, &calls->adopt.reason,
		&calls->unslot.reason, &calls->attach.reason, &calls->claim.reason,
		&calls->release.reason, &calls->stats.reason,
	};
	bool seen[CALLS] = { false };
	int i, j, left = CALLS;

	/* The errno is EINTR, which nobody lives to see; but the reason is told. */
	for (i = 0; i < 100 && left; i++) {
		pid_t child;

		memset(calls, 0, sizeof(*calls));
		child = fork();
		if (!child)
			call_and_fork(self->dev, calls);
		while (atomic_load(&calls->forks) < 2)
			usleep(1000);
		usleep(i % 14 * 5000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		for (j = 0; j < CALLS; j++) {
			if (*reason[j] != HPCVM_REASON_INTERRUPTED || seen[j])
				continue;
			seen[j] = true;
			left--;
		}
	}
	TH_LOG("killed %d times", i);
	for (j = 0; j < CALLS; j++)
		EXPECT_TRUE(seen[j]) TH_LOG("never seen: call %d", j);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free - PAGES));
}

/* The slot keeps the memory; the end of the VM returns it. */
TEST_F(slot, memory_closed_first)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	munmap(self->ram, RAM);
	close(self->mem);
	EXPECT_EQ(self->free - PAGES, pool_free(SZ_2M));
	EXPECT_EQ(HPCVM_BROKEN_OTHER_MEMORY, broken(self->vm));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

TEST_F(slot, vm_closed_first)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	close(self->vm);
	EXPECT_EQ(self->free - PAGES, pool_free(SZ_2M));
	self->ram[0] = 1;
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
}

TEST_F(slot, sysfs)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 2 * SZ_2M, 2 * SZ_2M, 4 * SZ_2M);
	struct hpcvm_query query = { .size = sizeof(query) };
	char path[128];

	ASSERT_EQ(0, call(self->vm, HPCVM_QUERY, &query));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
#define SLOT_FILE(name) ({ snprintf(path, sizeof(path), VMS "/%llu/slots/0x400000/" name, \
				    (unsigned long long)query.vm_id); get_number(path); })
	EXPECT_EQ(2 * SZ_2M, SLOT_FILE("gpa"));
	EXPECT_EQ(4 * SZ_2M, SLOT_FILE("length"));
	EXPECT_EQ(2 * SZ_2M, SLOT_FILE("offset"));
	EXPECT_EQ(SZ_2M, SLOT_FILE("page_size"));
	EXPECT_EQ(-1, SLOT_FILE("node"));
}

TEST_HARNESS_MAIN
