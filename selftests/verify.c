// SPDX-License-Identifier: GPL-2.0-only
/*
 * Verification, on a guest that really writes its memory: what KVM maps, what
 * is counted, and what breaks the promise of a slot later.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "slot.h"

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

/*
 * KVM keeps two sets of memslots and swaps them at each change; a look that has begun
 * in one of them ends there. Many memslots, so that most looks are overtaken.
 */
#define MEMSLOTS 400
#define ABOVE (4ULL << 30)

struct swapper {
	int kvm;
	char *page;
	atomic_int stop;
	atomic_int swaps;
};

static void *swap_memslots(void *arg)
{
	struct swapper *swapper = arg;
	uint32_t flags = 0;

	while (!swapper->stop) {
		flags ^= KVM_MEM_LOG_DIRTY_PAGES;
		kvm_memslot(swapper->kvm, 1, ABOVE, SZ_4K, swapper->page, flags);
		swapper->swaps++;
	}
	return NULL;
}

TEST_F(slot, memslots_swapped)
{
	struct swapper swapper = { .kvm = self->kvm };
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);
	uint64_t frames;
	pthread_t thread;
	int i;

	swapper.page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, swapper.page);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	for (i = 1; i <= MEMSLOTS; i++)
		ASSERT_EQ(0, kvm_memslot(self->kvm, i, ABOVE + (i - 1) * SZ_4K, SZ_4K,
					 swapper.page, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	frames = verify.kvm_legacy_frames;
	EXPECT_LE(MEMSLOTS, frames);

	ASSERT_EQ(0, pthread_create(&thread, NULL, swap_memslots, &swapper));
	for (i = 0; i < 300 || swapper.swaps < 100; i++) {
		verify = verify_with(NULL, 0);
		ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
		ASSERT_EQ(frames, verify.kvm_legacy_frames);
	}
	swapper.stop = 1;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	munmap(swapper.page, SZ_4K);
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

/* Memslots of the address space that KVM has for SMM. */
#define SMM (1 << 16)

/* What UEFI firmware does for Secure Boot: it hides the end of RAM in SMM. */
TEST_F(slot, hidden_in_smm)
{
	struct hpcvm_slot_report report;
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	uint64_t tseg = RAM - 2 * SZ_2M;

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	memset(self->ram, 1, RAM);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(RAM - SZ_2M, report.kvm_bytes);
	EXPECT_EQ(2 * SZ_2M / SZ_4K, verify.kvm_legacy_frames);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, tseg, self->ram, 0));
	verify = verify_with(&report, 1);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(RAM - SZ_2M, report.kvm_bytes);
	EXPECT_EQ(PAGES - 1, report.mapped_2m);
	EXPECT_EQ(0, report.kvm_small);

	/* SMM does not have all of it, then none. */
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, tseg + SZ_2M, SZ_2M, self->ram + tseg + SZ_2M, 0));
	verify = verify_with(&report, 1);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_UNCOVERED, verify.broken);
	EXPECT_EQ(tseg, verify.broken_gpa);
	EXPECT_EQ(RAM - 2 * SZ_2M, report.kvm_bytes);
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, 0, NULL, 0));
	verify = verify_with(&report, 1);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_UNCOVERED, verify.broken);
	EXPECT_EQ(tseg, verify.broken_gpa);
}

/* And what breaks a promise for the guest breaks it in SMM. */
TEST_F(slot, broken_in_smm)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);
	char *other = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, RAM, self->ram, KVM_MEM_LOG_DIRTY_PAGES));
	EXPECT_EQ(HPCVM_BROKEN_DIRTY_LOG, broken(self->vm));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 8 * SZ_2M, SZ_2M + SZ_4K,
				 self->ram + 8 * SZ_2M, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_SMALL, verify.broken);
	EXPECT_EQ(9 * SZ_2M, verify.broken_gpa);
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 8 * SZ_2M, SZ_2M, other, 0));
	EXPECT_EQ(HPCVM_BROKEN_OTHER_MEMORY, broken(self->vm) & ~HPCVM_BROKEN_SMALL);
	ASSERT_EQ(0, kvm_memslot(self->kvm, SMM, 0, 0, NULL, 0));
	EXPECT_EQ(0, broken(self->vm));
	munmap(other, RAM);
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

TEST_HARNESS_MAIN
