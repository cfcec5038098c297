// SPDX-License-Identifier: GPL-2.0-only
/*
 * Adoption: memory that somebody else has allocated is a slot after proof, or
 * refused with the first address that is not as it should be; what happens
 * to it later shows.
 */
#include <linux/mempolicy.h>
#include <pthread.h>
#include "selftest.h"

#define PAGES 16
#define RAM (PAGES * SZ_2M)
#define HUGETLB (MAP_ANONYMOUS | MAP_HUGETLB)
#define RW (PROT_READ | PROT_WRITE)

FIXTURE(adopt)
{
	int dev;
	int kvm;
	int vm;
	int file;
	char *ram;
	long free;
};

FIXTURE_VARIANT(adopt)
{
	int flags;
};

FIXTURE_VARIANT_ADD(adopt, private) { .flags = MAP_PRIVATE };
FIXTURE_VARIANT_ADD(adopt, shared) { .flags = MAP_SHARED };

static void *map(size_t length, int flags, int fd)
{
	return mmap(NULL, length, RW, flags, fd, 0);
}

/* RAM of a hugetlb file, as libvirt's <hugepages/> maps it, all of it written. */
FIXTURE_SETUP(adopt)
{
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	ASSERT_LE(32, pool_set(SZ_2M, 0, 32));
	ASSERT_LE(32, pool_set(SZ_2M, 1, 32));
	self->free = pool_free(SZ_2M);
	self->kvm = new_kvm();
	self->vm = new_vm(self->dev, self->kvm);
	ASSERT_LE(0, self->vm);
	self->file = memfd_create("ram", MFD_HUGETLB);
	ASSERT_LE(0, self->file);
	ASSERT_EQ(0, ftruncate(self->file, RAM));
	self->ram = map(RAM, variant->flags, self->file);
	ASSERT_NE(MAP_FAILED, self->ram);
	memset(self->ram, 1, RAM);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
}

FIXTURE_TEARDOWN(adopt)
{
	munmap(self->ram, RAM);
	close(self->file);
	close(self->vm);
	close(self->kvm);
	close(self->dev);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	pool_set(SZ_2M, 0, 0);
	pool_set(SZ_2M, 1, 0);
}

static struct hpcvm_mem_adopt all_of(char *ram)
{
	return mem_adopt(ram, 0, RAM, HPCVM_NODE_ANY);
}

/* Refused, and not a page was taken for it. */
#define EXPECT_NOT_ADOPTED(_ram, _reason, _gpa) do {				\
	struct hpcvm_mem_adopt adopt_ = all_of(_ram);				\
	long free_ = pool_free(SZ_2M);						\
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt_, EINVAL, _reason, _gpa); \
	EXPECT_EQ(free_, pool_free(SZ_2M));					\
} while (0)

/* What is broken, and where first. */
#define EXPECT_BROKEN(_bits, _gpa) do {						\
	struct hpcvm_mem_verify verify_ = verify_with(NULL, 0);			\
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify_));		\
	EXPECT_EQ(_bits, verify_.broken);					\
	EXPECT_EQ(_gpa, verify_.broken_gpa);					\
} while (0)

TEST_F(adopt, numbers)
{
	const uint64_t limit = 1ULL << 52, end = 0x7ffffffff000;
	const uint64_t hva = (uintptr_t)self->ram;
	const struct {
		uint64_t gpa, hva, length;
		int reason;
		uint64_t detail;
	} bad[] = {
		{ 0, hva, 0, HPCVM_REASON_SIZE_ZERO, 0 },
		{ 0, hva, SZ_4K, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ 0, hva, UINT64_MAX, HPCVM_REASON_SIZE_ALIGN, SZ_2M },
		{ 0, hva + SZ_4K, SZ_2M, HPCVM_REASON_HVA_ALIGN, SZ_2M },
		{ SZ_4K, hva, SZ_2M, HPCVM_REASON_GPA_ALIGN, SZ_2M },
		{ 0, hva, -SZ_2M, HPCVM_REASON_HVA_LIMIT, end },
		{ 0, hva, 1ULL << 47, HPCVM_REASON_HVA_LIMIT, end },
		{ limit, hva, SZ_2M, HPCVM_REASON_GPA_LIMIT, limit },
		{ limit - SZ_2M, hva, 2 * SZ_2M, HPCVM_REASON_GPA_LIMIT, limit },
		{ -SZ_2M, hva, SZ_2M, HPCVM_REASON_GPA_LIMIT, limit },
		{ SZ_2M, 0, SZ_2M, HPCVM_REASON_NOT_HUGETLB, SZ_2M },
		{ SZ_2M, -SZ_2M, SZ_2M, HPCVM_REASON_NOT_HUGETLB, SZ_2M },
		{ 0, hva, RAM + SZ_2M, HPCVM_REASON_NOT_HUGETLB, RAM },
	};
	struct hpcvm_mem_adopt adopt;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		adopt = mem_adopt((void *)bad[i].hva, bad[i].gpa, bad[i].length, HPCVM_NODE_ANY);
		EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, bad[i].reason,
			       bad[i].detail);
	}
	adopt = mem_adopt(self->ram, 0, RAM, 9);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_NODE, 9);
	EXPECT_BROKEN(HPCVM_BROKEN_NO_RAM, 0);
}

/* What is no hugetlb memory, all of it or one page, is refused there. */
TEST_F(adopt, not_hugetlb)
{
	char *over = self->ram + 5 * SZ_2M;
	int tmpfs = memfd_create("tmpfs", 0);
	char *other;

	ASSERT_EQ(0, ftruncate(tmpfs, RAM));
	other = map(RAM, variant->flags, tmpfs);
	memset(other, 1, RAM);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_NOT_HUGETLB, 0);
	ASSERT_EQ(over, mmap(over, SZ_2M, RW, variant->flags | MAP_FIXED, tmpfs, 0));
	memset(over, 1, SZ_2M);
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_NOT_HUGETLB, 5 * SZ_2M);
	munmap(other, RAM);

	other = map(RAM, variant->flags | MAP_ANONYMOUS, -1);
	memset(other, 1, RAM);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_NOT_HUGETLB, 0);
	ASSERT_EQ(over, mmap(over, SZ_2M, RW, variant->flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_NOT_HUGETLB, 5 * SZ_2M);
	munmap(other, RAM);

	ASSERT_EQ(0, munmap(over, SZ_2M));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_NOT_HUGETLB, 5 * SZ_2M);
	close(tmpfs);
}

/* A transparent hugepage is a hugepage until the kernel changes its mind. */
TEST_F(adopt, transparent)
{
	char *other = map(RAM + SZ_2M, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *thp = (char *)(((uintptr_t)other + SZ_2M) & ~(SZ_2M - 1));

	put_text("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	ASSERT_EQ(0, madvise(thp, RAM, MADV_HUGEPAGE));
	memset(thp, 1, RAM);
	EXPECT_NOT_ADOPTED(thp, HPCVM_REASON_NOT_HUGETLB, 0);
	munmap(other, RAM + SZ_2M);
}

/* Reserved, mapped, but never touched: refused, and not filled in. */
TEST_F(adopt, half_populated)
{
	char *other = map(RAM, variant->flags | HUGETLB, -1);

	ASSERT_NE(MAP_FAILED, other);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_NOT_PRESENT, 0);
	memset(other, 1, RAM / 2);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_NOT_PRESENT, RAM / 2);
	memset(other + RAM / 2 + SZ_2M, 1, RAM / 2 - SZ_2M);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_NOT_PRESENT, RAM / 2);
	memset(other + RAM / 2, 1, SZ_2M);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_KVM_OTHER_MEMORY, HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, other, 0));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &(struct hpcvm_mem_adopt){
		.size = sizeof(struct hpcvm_mem_adopt), .node = HPCVM_NODE_ANY,
		.hva = (uintptr_t)other, .length = RAM }));
	EXPECT_EQ(0, broken(self->vm));
	munmap(other, RAM);
}

/* A page of the file that a private mapping has only read is not its own. */
TEST_F(adopt, only_read)
{
	int file = memfd_create("read", MFD_HUGETLB);
	char *other;
	int i, sum = 0;

	ASSERT_EQ(0, fallocate(file, 0, 0, RAM));
	other = map(RAM, variant->flags, file);
	ASSERT_NE(MAP_FAILED, other);
	for (i = 0; i < PAGES; i++)
		sum += other[i * SZ_2M];
	EXPECT_EQ(0, sum);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, other, 0));
	if (variant->flags == MAP_PRIVATE) {
		EXPECT_NOT_ADOPTED(other, HPCVM_REASON_COPY_ON_WRITE, 0);
		for (i = 0; i < PAGES - 1; i++)
			other[i * SZ_2M] = 1;
		EXPECT_NOT_ADOPTED(other, HPCVM_REASON_COPY_ON_WRITE, RAM - SZ_2M);
		other[RAM - SZ_2M] = 1;
	}
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &(struct hpcvm_mem_adopt){
		.size = sizeof(struct hpcvm_mem_adopt), .node = HPCVM_NODE_ANY,
		.hva = (uintptr_t)other, .length = RAM }));
	/* Away and back again: the pages are still the mapping's own. */
	ASSERT_EQ(0, mprotect(other, RAM, PROT_READ));
	EXPECT_BROKEN(HPCVM_BROKEN_OTHER_MEMORY |
		      (variant->flags == MAP_PRIVATE ? 0 : HPCVM_BROKEN_COPY_ON_WRITE),
		      variant->flags == MAP_PRIVATE ? HPCVM_LEGACY_END : 0);
	ASSERT_EQ(0, mprotect(other, RAM, RW));
	EXPECT_EQ(0, broken(self->vm));
	munmap(other, RAM);
	close(file);
}

static long bind_range(void *addr, size_t length, int node, unsigned int flags)
{
	unsigned long mask = 1UL << node;

	return syscall(SYS_mbind, addr, length, MPOL_BIND, &mask, 64, flags);
}

TEST_F(adopt, node)
{
	struct hpcvm_mem_adopt adopt = mem_adopt(self->ram, 0, RAM, 1);

	ASSERT_EQ(0, bind_range(self->ram, RAM, 0, MPOL_MF_MOVE));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_WRONG_NODE, 0);
	ASSERT_EQ(0, bind_range(self->ram, 3 * SZ_2M, 1, MPOL_MF_MOVE));
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_WRONG_NODE,
		       3 * SZ_2M);
	ASSERT_EQ(0, bind_range(self->ram, RAM, 1, MPOL_MF_MOVE));
	adopt = mem_adopt(self->ram, 0, RAM, 1);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	EXPECT_EQ(0, broken(self->vm));
	/* And moved away later. */
	ASSERT_EQ(0, bind_range(self->ram + 6 * SZ_2M, SZ_2M, 0, MPOL_MF_MOVE));
	EXPECT_BROKEN(HPCVM_BROKEN_NODE, 6 * SZ_2M);
}

TEST_F(adopt, kvm)
{
	char *other = map(RAM, variant->flags | HUGETLB, -1);

	memset(other, 1, RAM);
	EXPECT_NOT_ADOPTED(other, HPCVM_REASON_KVM_OTHER_MEMORY, HPCVM_LEGACY_END);
	munmap(other, RAM);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_KVM_UNCOVERED, HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, KVM_MEM_READONLY));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_KVM_READONLY, HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM - SZ_4K, self->ram + SZ_4K, 0));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_KVM_MISALIGNED, HPCVM_LEGACY_END);
	/* Another range of the same memory. */
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM - SZ_2M, self->ram + SZ_2M, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, RAM - SZ_2M, SZ_2M, self->ram, 0));
	EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_KVM_OTHER_MEMORY, HPCVM_LEGACY_END);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	ASSERT_EQ(0, mprotect(self->ram + 4 * SZ_2M, SZ_2M, PROT_READ));
	if (variant->flags == MAP_PRIVATE)
		EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_KVM_READONLY, 4 * SZ_2M);
	else
		EXPECT_NOT_ADOPTED(self->ram, HPCVM_REASON_COPY_ON_WRITE, 4 * SZ_2M);
}

TEST_F(adopt, overlap)
{
	struct hpcvm_mem_adopt adopt = mem_adopt(self->ram, 0, RAM / 2, HPCVM_NODE_ANY);
	int mem = new_mem(self->dev, SZ_2M, SZ_2M);
	struct hpcvm_mem_slot slot = mem_slot(mem, 2 * RAM, 0, SZ_2M);
	char *ram = map_shared(mem, SZ_2M);

	/* The same memory a second time, higher up. */
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, RAM, RAM, self->ram, 0));
	ASSERT_EQ(0, kvm_memslot(self->kvm, 2, 2 * RAM, SZ_2M, ram, 0));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	adopt = mem_adopt(self->ram + RAM / 2 - SZ_2M, RAM / 2 - SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EEXIST, HPCVM_REASON_SLOT_OVERLAP, 0);
	adopt = mem_adopt(self->ram, RAM, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EEXIST, HPCVM_REASON_HVA_OVERLAP, 0);
	adopt = mem_adopt(self->ram + RAM / 2, RAM / 2, RAM / 2, HPCVM_NODE_ANY);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	/* Beside a slot of the other kind. */
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	slot = mem_slot(mem, 0, 0, SZ_2M);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_SLOT, &slot, EEXIST, HPCVM_REASON_SLOT_OVERLAP, 0);
	EXPECT_EQ(0, broken(self->vm));
	munmap(ram, SZ_2M);
	close(mem);
}

TEST_F(adopt, slots_full)
{
	struct hpcvm_mem_adopt adopt;
	char *other = map(66 * SZ_2M, variant->flags | HUGETLB, -1);
	int i;

	/* The pool has not so many pages: most of them come twice, by turns. */
	EXPECT_EQ(MAP_FAILED, other);
	other = mmap(NULL, 66 * SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	other = (char *)(((uintptr_t)other + SZ_2M) & ~(SZ_2M - 1));
	for (i = 0; i < 65; i++)
		ASSERT_NE(MAP_FAILED, mmap(other + i * SZ_2M, SZ_2M, RW, MAP_SHARED | MAP_FIXED,
					   self->file, i % PAGES * SZ_2M));
	for (i = 0; i < 65; i++)
		other[i * SZ_2M] = 1;
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, RAM, 65 * SZ_2M, other, 0));
	for (i = 0; i < 64; i++) {
		adopt = mem_adopt(other + i * SZ_2M, RAM + i * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
		ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	}
	adopt = mem_adopt(other + i * SZ_2M, RAM + i * SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, ENOSPC, HPCVM_REASON_SLOTS_FULL, 64);
	munmap(other, 65 * SZ_2M);
}

TEST_F(adopt, report)
{
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_query query = { .size = sizeof(query) };
	struct hpcvm_mem_adopt adopt = all_of(self->ram);
	struct hpcvm_slot_report report;
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	char path[128], text[16] = "";
	FILE *f;

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	EXPECT_EQ(0, adopt.reason);
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(RAM, verify.ram_bytes);
	EXPECT_EQ(0, verify.kvm_pages_4k_ram);
	EXPECT_LE(PAGES - 1, verify.kvm_pages_2m);
	EXPECT_EQ(HPCVM_SLOT_ADOPTED, report.kind);
	EXPECT_EQ(0, report.gpa);
	EXPECT_EQ(0, report.offset);
	EXPECT_EQ(RAM, report.length);
	EXPECT_EQ(SZ_2M, report.page_size);
	EXPECT_EQ(HPCVM_NODE_ANY, report.node);
	EXPECT_EQ(verify.nodes, report.nodes);
	EXPECT_NE(0, report.nodes);
	EXPECT_EQ(0, report.nodes & ~3ULL);
	EXPECT_EQ(PAGES, report.pages_present);
	EXPECT_EQ(PAGES - 1, report.mapped_2m);
	EXPECT_EQ(RAM - SZ_2M, report.kvm_bytes);

	ASSERT_EQ(0, call(self->vm, HPCVM_QUERY, &query));
	snprintf(path, sizeof(path), VMS "/%llu/slots/0x0/kind", (unsigned long long)query.vm_id);
	f = fopen(path, "r");
	ASSERT_NE(NULL, f);
	EXPECT_NE(NULL, fgets(text, sizeof(text), f));
	EXPECT_STREQ("adopted\n", text);
	fclose(f);

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	EXPECT_EQ(HPCVM_BROKEN_NO_RAM, broken(self->vm));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
}

TEST_F(adopt, another_process)
{
	struct hpcvm_mem_adopt adopt = all_of(self->ram);

	EXPECT_EQ(EPERM, IN_CHILD(call(self->vm, HPCVM_MEM_ADOPT, &adopt)));
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->vm, HPCVM_MEM_ADOPT, &adopt), adopt.reason)));
}

/* A tool looks by a handle, from an address space of its own. */
static int broken_by_handle(int dev, uint64_t id)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .id = id };

	return call(dev, HPCVM_VM_OPEN, &open) ? 255 : broken(open.out_fd);
}

TEST_F(adopt, handle)
{
	struct hpcvm_query query = { .size = sizeof(query) };
	struct hpcvm_mem_adopt adopt = all_of(self->ram);

	/* As QEMU does it: no child shares the RAM. */
	ASSERT_EQ(0, madvise(self->ram, RAM, MADV_DONTFORK));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	ASSERT_EQ(0, call(self->vm, HPCVM_QUERY, &query));
	EXPECT_EQ(0, IN_CHILD(broken_by_handle(self->dev, query.vm_id)));
	ASSERT_EQ(0, ftruncate(self->file, 8 * SZ_2M));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, IN_CHILD(broken_by_handle(self->dev, query.vm_id)));
}

/* What the file's owner does to the file. */
TEST_F(adopt, file_later)
{
	struct hpcvm_mem_adopt adopt = all_of(self->ram);
	struct hpcvm_slot_report report;
	struct hpcvm_mem_verify verify = verify_with(&report, 1);

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	EXPECT_EQ(0, broken(self->vm));
	ASSERT_EQ(0, fallocate(self->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       5 * SZ_2M, 2 * SZ_2M));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, verify.broken);
	EXPECT_EQ(5 * SZ_2M, verify.broken_gpa);
	EXPECT_EQ(PAGES - 2, report.pages_present);
	memset(self->ram + 5 * SZ_2M, 1, 2 * SZ_2M);
	EXPECT_EQ(0, broken(self->vm));
	ASSERT_EQ(0, ftruncate(self->file, 9 * SZ_2M));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT, 9 * SZ_2M);
	ASSERT_EQ(0, ftruncate(self->file, RAM));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT, 9 * SZ_2M);
	memset(self->ram + 9 * SZ_2M, 1, RAM - 9 * SZ_2M);
	EXPECT_EQ(0, broken(self->vm));
}

/* What the owner of the mapping does to it. */
TEST_F(adopt, mapping_later)
{
	struct hpcvm_mem_adopt adopt = all_of(self->ram);
	char *at = self->ram + 7 * SZ_2M;

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	ASSERT_EQ(0, madvise(at, SZ_2M, MADV_DONTNEED));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT, 7 * SZ_2M);
	memset(at, 1, SZ_2M);
	EXPECT_EQ(0, broken(self->vm));

	ASSERT_EQ(0, munmap(at, SZ_2M));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_OTHER_MEMORY, 7 * SZ_2M);
	ASSERT_EQ(at, mmap(at, SZ_2M, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	memset(at, 1, SZ_2M);
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_OTHER_MEMORY, 7 * SZ_2M);
	ASSERT_EQ(at, mmap(at, SZ_2M, RW, variant->flags | MAP_FIXED, self->file, 7 * SZ_2M));
	memset(at, 1, SZ_2M);
	EXPECT_EQ(0, broken(self->vm));

	/* The first 2 MiB are promised to be there, if not how KVM maps them. */
	ASSERT_EQ(0, madvise(self->ram, SZ_2M, MADV_DONTNEED));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT, 0);
	self->ram[0] = 1;
	EXPECT_EQ(0, broken(self->vm));

	ASSERT_EQ(0, munmap(self->ram, RAM));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_OTHER_MEMORY, 0);
}

/* While a child shares private pages, the next write would need more pages. */
TEST_F(adopt, fork_later)
{
	struct hpcvm_mem_adopt adopt = all_of(self->ram);
	uint64_t bits = variant->flags == MAP_PRIVATE ? HPCVM_BROKEN_COPY_ON_WRITE : 0;
	pid_t child;

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	child = fork();
	if (!child)
		pause();
	EXPECT_BROKEN(bits, 0);
	self->ram[0] = 1;
	EXPECT_BROKEN(bits, bits ? SZ_2M : 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	memset(self->ram, 1, RAM);
	EXPECT_EQ(0, broken(self->vm));
}

struct change {
	char *at;
	int flags, file;
	bool stop;
};

/* Takes a page away in three ways, and brings it back. */
static void *change(void *arg)
{
	struct change *c = arg;
	int round;

	for (round = 0; !__atomic_load_n(&c->stop, __ATOMIC_RELAXED); round++) {
		switch (round % 3) {
		case 0:
			munmap(c->at, SZ_2M);
			break;
		case 1:
			mmap(c->at, SZ_2M, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			*c->at = 1;
			break;
		case 2:
			madvise(c->at, SZ_2M, MADV_DONTNEED);
			break;
		}
		mmap(c->at, SZ_2M, RW, c->flags | MAP_FIXED, c->file, 3 * SZ_2M);
		*c->at = 1;
	}
	return NULL;
}

TEST_F(adopt, changes_meanwhile)
{
	struct change c = { self->ram + 3 * SZ_2M, variant->flags, self->file, false };
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_mem_adopt adopt;
	int i, adopted = 0, refused = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &c));
	for (i = 0; i < 2000; i++) {
		adopt = all_of(self->ram);
		switch (call(self->vm, HPCVM_MEM_ADOPT, &adopt)) {
		case 0:
			adopted++;
			ASSERT_NE(~0ULL, broken(self->vm));
			ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
			break;
		case EINVAL:
			refused++;
			if (adopt.reason != HPCVM_REASON_NOT_HUGETLB &&
			    adopt.reason != HPCVM_REASON_KVM_OTHER_MEMORY)
				EXPECT_EQ(HPCVM_REASON_NOT_PRESENT, adopt.reason);
			EXPECT_EQ(3 * SZ_2M, adopt.detail);
			break;
		default:
			EXPECT_TRUE(false) TH_LOG("reason %u", adopt.reason);
		}
	}
	__atomic_store_n(&c.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	TH_LOG("adopted %d times, refused %d times", adopted, refused);
	adopt = all_of(self->ram);
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	EXPECT_EQ(0, broken(self->vm));
}

TEST_F(adopt, vm_closed_first)
{
	struct hpcvm_mem_adopt adopt = all_of(self->ram);

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	close(self->vm);
	EXPECT_EQ(0, count_entries(VMS));
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
}

TEST_F(adopt, page_of_1g)
{
	struct hpcvm_slot_report report;
	struct hpcvm_mem_verify verify = verify_with(&report, 1);
	struct hpcvm_mem_adopt adopt;
	char *hole, *ram, *at;

	if (pool_set(SZ_1G, HPCVM_NODE_ANY, 1) != 1)
		SKIP(return, "the node has no contiguous GiB left");
	/* One GiB page, and pages of 2 MiB right behind it. */
	hole = mmap(NULL, 3 * SZ_1G, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ram = (char *)(((uintptr_t)hole + SZ_1G) & ~(SZ_1G - 1));
	ASSERT_EQ(ram, mmap(ram, SZ_1G, RW, variant->flags | HUGETLB | MAP_FIXED | 30 << 26,
			    -1, 0));
	at = ram + SZ_1G;
	ASSERT_EQ(at, mmap(at, RAM, RW, variant->flags | MAP_FIXED, self->file, 0));
	memset(at, 1, RAM);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, SZ_1G, SZ_1G + RAM, ram, 0));

	adopt = mem_adopt(ram, SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_NOT_PRESENT, SZ_1G);
	ram[0] = 1;
	adopt = mem_adopt(ram, SZ_1G, SZ_2M, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_SIZE_ALIGN, SZ_1G);
	adopt = mem_adopt(ram, SZ_1G, 2 * SZ_1G, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->vm, HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_PAGE_SIZES,
		       2 * SZ_1G);
	adopt = mem_adopt(ram, SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_ADOPT, &adopt));
	ASSERT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, SZ_1G, 2 * SZ_1G));
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, verify.broken);
	EXPECT_EQ(SZ_1G, report.page_size);
	EXPECT_EQ(1, report.pages_present);
	EXPECT_EQ(1, report.mapped_1g);
	EXPECT_EQ(0, report.mapped_2m);
	EXPECT_EQ(1, verify.kvm_pages_1g);
	EXPECT_EQ(0, verify.kvm_pages_4k_ram);
	ASSERT_EQ(0, munmap(ram, SZ_1G));
	EXPECT_BROKEN(HPCVM_BROKEN_ABSENT | HPCVM_BROKEN_OTHER_MEMORY, SZ_1G);
	munmap(hole, 3 * SZ_1G);
	pool_set(SZ_1G, HPCVM_NODE_ANY, 0);
}

TEST_HARNESS_MAIN
