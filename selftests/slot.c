// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots and verification, on a real KVM VM whose guest really writes its
 * memory: what is refused, what breaks a promise later, what KVM maps.
 */
#include <linux/mempolicy.h>
#include "selftest.h"

#define PAGES 16
#define RAM (PAGES * SZ_2M)

FIXTURE(slot)
{
	int dev;
	int kvm;
	int vm;
	int mem;
	char *ram;
	long free;
};

FIXTURE_SETUP(slot)
{
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
}

FIXTURE_TEARDOWN(slot)
{
	munmap(self->ram, RAM);
	close(self->mem);
	close(self->vm);
	close(self->kvm);
	close(self->dev);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

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

TEST_F(slot, report)
{
	struct hpcvm_slot_report reports[3];
	struct hpcvm_mem_slot slot;
	struct hpcvm_mem_verify verify;

	memset(reports, 0xff, sizeof(reports));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	slot = mem_slot(self->mem, RAM / 2, RAM / 2, RAM / 2);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	slot = mem_slot(self->mem, 0, 0, RAM / 2);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	memset(self->ram, 1, RAM);

	verify = verify_with(reports, 3);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(2, verify.nr_slots);
	EXPECT_EQ(RAM, verify.ram_bytes);
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(reports[0].nodes | reports[1].nodes, verify.nodes);
	EXPECT_NE(0, verify.nodes);
	EXPECT_EQ(0, verify.nodes & ~3ULL);
	EXPECT_EQ(0, reports[0].gpa);
	EXPECT_EQ(RAM / 2, reports[1].gpa);
	EXPECT_EQ(RAM / 2, reports[1].length);
	EXPECT_EQ(RAM / 2, reports[1].offset);
	EXPECT_EQ(SZ_2M, reports[1].page_size);
	EXPECT_EQ(PAGES / 2, reports[1].pages_present);
	EXPECT_EQ(PAGES / 2, reports[1].mapped_2m);
	EXPECT_EQ(PAGES / 2 - 1, reports[0].mapped_2m);
	EXPECT_EQ(RAM / 2, reports[1].kvm_bytes);
	EXPECT_EQ(RAM / 2 - SZ_2M, reports[0].kvm_bytes);
	EXPECT_EQ(UINT64_MAX, reports[2].gpa);
}

TEST_F(slot, report_sizes)
{
	struct {
		struct hpcvm_slot_report report;
		uint64_t more[2];
	} longer = { .more = { 1, 1 } };
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(&longer.report, 1);
	uint64_t gpa_only[2] = { 1, 1 };

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	verify.slot_size = sizeof(longer);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(RAM, longer.report.length);
	EXPECT_EQ(0, longer.more[0] | longer.more[1]);
	verify = verify_with((void *)gpa_only, 1);
	verify.slot_size = sizeof(gpa_only[0]);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, gpa_only[0]);
	EXPECT_EQ(1, gpa_only[1]);
	verify.slot_size = 0;
	EXPECT_REFUSED(self->vm, HPCVM_MEM_VERIFY, &verify, EINVAL, HPCVM_REASON_SLOT_SIZE, SZ_4K);
	verify.slot_size = SZ_4K + 1;
	EXPECT_REFUSED(self->vm, HPCVM_MEM_VERIFY, &verify, EINVAL, HPCVM_REASON_SLOT_SIZE, SZ_4K);
	verify = verify_with((void *)1, 1);
	EXPECT_EQ(EFAULT, call(self->vm, HPCVM_MEM_VERIFY, &verify));
}

/* What KVM really maps when the guest writes all of its memory. */
TEST_F(slot, guest_runs_huge)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(PAGES, verify.kvm_pages_2m);
	EXPECT_EQ(0, verify.kvm_pages_4k);
	EXPECT_EQ(0, verify.kvm_pages_4k_ram);
	EXPECT_EQ(SZ_2M / SZ_4K, verify.kvm_legacy_frames);
	EXPECT_EQ(0, verify.broken);
}

/* Dirty logging makes KVM write by 4K: seen, counted, and over when it is. */
TEST_F(slot, dirty_logging)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_TRUE(verify.broken & HPCVM_BROKEN_DIRTY_LOG);
	EXPECT_LE(PAGES - 1, verify.kvm_pages_4k_ram);
	EXPECT_EQ(HPCVM_LEGACY_END, verify.broken_gpa);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	EXPECT_FALSE(broken(self->vm) & HPCVM_BROKEN_DIRTY_LOG);
}

/* A guest whose RAM is mapped by 4K for another reason cannot hide it. */
TEST_F(slot, small_pages_show)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);
	char *small = mmap(NULL, RAM + SZ_2M, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	small = (char *)(((uintptr_t)small + SZ_2M) & ~(SZ_2M - 1));
	ASSERT_EQ(0, madvise(small, RAM, MADV_NOHUGEPAGE));
	/* It takes KVM's mappings of anonymous memory away, to see who wants them. */
	put_text("/proc/sys/kernel/numa_balancing", "0");
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, small, 0));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, small, 0, RAM));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_TRUE(verify.broken & HPCVM_BROKEN_OTHER_MEMORY);
	EXPECT_LE(PAGES - 1, verify.kvm_pages_4k_ram);
	EXPECT_EQ(0, verify.kvm_pages_2m);
	EXPECT_FALSE(verify.broken & HPCVM_BROKEN_4K);

	/* More of them than the legacy remainder can have. */
	ASSERT_EQ(KVM_EXIT_HLT, run_guest_step(self->kvm, small, 0, 8 * SZ_2M, SZ_4K));
	verify = verify_with(NULL, 0);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_TRUE(verify.broken & HPCVM_BROKEN_4K);
	EXPECT_LE(verify.kvm_pages_4k - verify.kvm_legacy_frames, verify.kvm_pages_4k_ram);
	EXPECT_EQ(verify.kvm_pages_4k, verify.kvm_pages_4k_ram + verify.kvm_pages_4k_legacy);
}

/* Memslots that are cut inside a hugepage, after the promise was made. */
TEST_F(slot, cut_later)
{
	struct hpcvm_slot_report report;
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	uint64_t cut = 8 * SZ_2M + SZ_4K;

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	memset(self->ram, 1, RAM);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, cut, self->ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, cut, RAM - cut, self->ram + cut, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_SMALL, verify.broken);
	EXPECT_EQ(8 * SZ_2M, verify.broken_gpa);
	EXPECT_EQ(SZ_2M, report.kvm_small);
	EXPECT_EQ(PAGES - 1, report.mapped_2m);
}

/* A page that comes back on another node. */
TEST_F(slot, moved_later)
{
	struct hpcvm_slot_report report;
	struct hpcvm_mem_create create = mem_create(4 * SZ_2M, SZ_2M, 0);
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	unsigned long node0 = 1, node1 = 2;
	struct hpcvm_mem_slot slot;
	void *ram;

	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64));
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	ram = map_shared(create.out_fd, 4 * SZ_2M);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 4 * SZ_2M, 4 * SZ_2M, ram, 0));
	slot = mem_slot(create.out_fd, 4 * SZ_2M, 0, 4 * SZ_2M);
	slot.node = 0;
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(0, fallocate(create.out_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       2 * SZ_2M, SZ_2M));
	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &node1, 64));
	ASSERT_EQ(0, fallocate(create.out_fd, 0, 2 * SZ_2M, SZ_2M));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_NODE, verify.broken);
	EXPECT_EQ(6 * SZ_2M, verify.broken_gpa);
	EXPECT_EQ(1, report.pages_off_node);
	EXPECT_EQ(3, verify.nodes);
	munmap(ram, 4 * SZ_2M);
	close(create.out_fd);
}

TEST_F(slot, page_of_1g)
{
	struct hpcvm_slot_report report;
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	struct hpcvm_mem_slot slot;
	char *ram;
	int mem;

	if (pool_set(SZ_1G, HPCVM_NODE_ANY, 1) != 1)
		SKIP(return, "the node has no contiguous GiB left");
	mem = new_mem(self->dev, SZ_1G, SZ_1G);
	ram = map_shared(mem, SZ_1G);
	ASSERT_NE(MAP_FAILED, ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, SZ_1G, SZ_1G, ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, 0, RAM, self->ram, 0));
	slot = mem_slot(mem, SZ_1G, 0, SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_1G);
	slot = mem_slot(mem, SZ_1G, 0, SZ_1G);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, SZ_1G, 2 * SZ_1G));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(1, report.pages_present);
	EXPECT_EQ(1, report.mapped_1g);
	EXPECT_EQ(0, report.mapped_2m);
	EXPECT_EQ(SZ_1G, report.page_size);
	EXPECT_EQ(1, verify.kvm_pages_1g);
	EXPECT_EQ(0, verify.kvm_pages_4k_ram);
	munmap(ram, SZ_1G);
	close(mem);
	EXPECT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	close(self->vm);
	EXPECT_TRUE(pool_settles(SZ_1G, 1));
	pool_set(SZ_1G, HPCVM_NODE_ANY, 0);
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

TEST_F(slot, broken_later)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_slot_report report;
	struct hpcvm_mem_verify verify;

	EXPECT_EQ(HPCVM_BROKEN_NO_RAM, broken(self->vm));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	EXPECT_EQ(0, broken(self->vm));

	ASSERT_EQ(0, fallocate(self->mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       5 * SZ_2M, SZ_2M));
	verify = verify_with(NULL, 0);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, verify.broken);
	EXPECT_EQ(5 * SZ_2M, verify.broken_gpa);
	ASSERT_EQ(0, fallocate(self->mem, 0, 5 * SZ_2M, SZ_2M));
	EXPECT_EQ(0, broken(self->vm));

	ASSERT_EQ(0, madvise(self->ram + 6 * SZ_2M, SZ_2M, MADV_REMOVE));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(self->vm));
	ASSERT_EQ(0, fallocate(self->mem, 0, 6 * SZ_2M, SZ_2M));

	ASSERT_EQ(0, munmap(self->ram + 7 * SZ_2M, SZ_2M));
	verify = verify_with(&report, 1);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_OTHER_MEMORY, verify.broken);
	EXPECT_EQ(7 * SZ_2M, verify.broken_gpa);
	EXPECT_EQ((PAGES - 2) * SZ_2M, report.kvm_bytes);
	ASSERT_NE(MAP_FAILED, mmap(self->ram + 7 * SZ_2M, SZ_2M, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_FIXED, self->mem, 7 * SZ_2M));
	EXPECT_EQ(0, broken(self->vm));

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	EXPECT_EQ(HPCVM_BROKEN_UNCOVERED, broken(self->vm));
}

/* nx_huge_pages splits what the guest executes from. */
TEST_F(slot, nx_splits)
{
	const char *parameter = "/sys/module/kvm/parameters/nx_huge_pages";
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(0, put_text(parameter, "force"));
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	EXPECT_EQ(HPCVM_BROKEN_SPLITS, broken(self->vm) & HPCVM_BROKEN_SPLITS);
	ASSERT_EQ(0, put_text(parameter, "off"));
}

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
