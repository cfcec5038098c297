// SPDX-License-Identifier: GPL-2.0-only
/*
 * A caller that cannot be told the verdict, or whose result stands before the
 * verdict and cannot be written, keeps no fd, no memory, no promise; and what has
 * no result is done.
 */
#include "selftest.h"

FIXTURE(unwritable)
{
	int dev, kvm, vm, mem, fds, next, vms;
	long free;
	char *ram;
	uint8_t *pages;
};

FIXTURE_SETUP(unwritable)
{
	ASSERT_LE(4, pool_set(SZ_2M, HPCVM_NODE_ANY, 4));
	self->dev = open_device();
	self->kvm = new_kvm();
	self->vm = new_vm(self->dev, self->kvm);
	self->mem = new_mem(self->dev, 2 * SZ_2M, SZ_2M);
	self->ram = map_shared(self->mem, 2 * SZ_2M);
	ASSERT_NE(MAP_FAILED, self->ram);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, 2 * SZ_2M, self->ram, 0));
	self->pages = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->pages);
	self->free = pool_free(SZ_2M);
	self->fds = open_fds();
	self->next = next_fd();
	self->vms = count_entries(VMS);
}

FIXTURE_TEARDOWN(unwritable)
{
	munmap(self->ram, 2 * SZ_2M);
	close(self->mem);
	close(self->vm);
	close(self->kvm);
	close(self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

/* The call, its struct read-only from byte @from on, or up to it. */
static int call_readonly(uint8_t *pages, int fd, unsigned long cmd, const void *arg,
			 uint32_t size, uint32_t from, bool up_to)
{
	void *at = pages + SZ_4K - from;

	mprotect(pages, 2 * SZ_4K, PROT_READ | PROT_WRITE);
	memcpy(at, arg, size);
	mprotect(up_to ? pages : pages + SZ_4K, SZ_4K, PROT_READ);
	return call(fd, cmd, at);
}

/* From this byte of the verdict on; and all that stands before the verdict. */
#define NO_VERDICT(_fd, _cmd, _struct, _from)						\
	call_readonly(self->pages, _fd, _cmd, &(_struct), sizeof(_struct), _from, false)
#define NO_RESULTS(_fd, _cmd, _struct)							\
	call_readonly(self->pages, _fd, _cmd, &(_struct), sizeof(_struct),		\
		      (char *)&(_struct).reason - (char *)&(_struct), true)

TEST_F(unwritable, verdict)
{
	struct hpcvm_mem_create create = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, 2 * SZ_2M);
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	uint32_t in_verdict = offsetof(struct hpcvm_mem_slot, detail);
	int kvm = new_kvm();
	struct hpcvm_vm_create vm = vm_create(kvm);

	EXPECT_EQ(EFAULT, NO_VERDICT(self->dev, HPCVM_MEM_CREATE, create, 0));
	EXPECT_EQ(EFAULT, NO_VERDICT(self->dev, HPCVM_VM_CREATE, vm, 0));
	EXPECT_EQ(EFAULT, NO_VERDICT(self->vm, HPCVM_MEM_SLOT, slot, 0));
	EXPECT_EQ(EFAULT, NO_VERDICT(self->vm, HPCVM_MEM_SLOT, slot, in_verdict));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	EXPECT_EQ(EFAULT, NO_VERDICT(self->vm, HPCVM_MEM_UNSLOT, unslot, 0));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));

	close(kvm);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_EQ(self->next, next_fd());
	EXPECT_EQ(self->vms, count_entries(VMS));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

/* The verdict can be written, the result cannot. */
TEST_F(unwritable, results)
{
	struct hpcvm_mem_create create = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	int kvm = new_kvm();
	struct hpcvm_vm_create vm = vm_create(kvm);
	struct hpcvm_query query = { .size = sizeof(query) };

	EXPECT_EQ(EFAULT, NO_RESULTS(self->dev, HPCVM_MEM_CREATE, create));
	EXPECT_EQ(EFAULT, NO_RESULTS(self->dev, HPCVM_VM_CREATE, vm));
	EXPECT_EQ(EFAULT, NO_RESULTS(self->dev, HPCVM_QUERY, query));

	close(kvm);
	EXPECT_EQ(self->fds, open_fds());
	EXPECT_EQ(self->next, next_fd());
	EXPECT_EQ(self->vms, count_entries(VMS));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
}

/* What has no result is done once its verdict is clear. */
TEST_F(unwritable, nothing_to_write)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, 2 * SZ_2M);
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };

	EXPECT_EQ(0, NO_RESULTS(self->vm, HPCVM_MEM_SLOT, slot));
	EXPECT_EQ(0, NO_RESULTS(self->vm, HPCVM_MEM_UNSLOT, unslot));
	EXPECT_EQ(ENOENT, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
}

TEST_HARNESS_MAIN
