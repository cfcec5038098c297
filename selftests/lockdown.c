// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kernel that is locked down, as Secure Boot does it, lets no unsigned module
 * in; one that is loaded works on. It stays so until the next boot: this
 * program is the last of its node.
 */
#include "slot.h"

static int load(void)
{
	int ko = open(getenv("HPCVM_KO"), O_RDONLY);

	return syscall(SYS_finit_module, ko, "", 0) ? errno : 0;
}

TEST_F(slot, lockdown)
{
	struct hpcvm_mem_slot slot = mem_slot(self->mem, 0, 0, RAM);
	struct hpcvm_query query = { .size = sizeof(query) };
	int mem;

	EXPECT_EQ(EEXIST, load());
	if (put_text("/sys/kernel/security/lockdown", "integrity"))
		SKIP(return, "this kernel cannot be locked down");
	EXPECT_EQ(EPERM, load());

	ASSERT_EQ(0, kvm_memslot(self->kvm, 0, 0, RAM, self->ram, 0));
	EXPECT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	EXPECT_EQ(KVM_EXIT_HLT, run_guest(self->kvm, self->ram, 0, RAM));
	EXPECT_EQ(0, broken(self->vm));
	EXPECT_EQ(0, call(self->dev, HPCVM_QUERY, &query));
	EXPECT_TRUE(query.node & HPCVM_NODE_KVM);
	mem = new_mem(self->dev, SZ_2M, SZ_2M);
	EXPECT_LE(0, mem);
	close(mem);
}

TEST_HARNESS_MAIN
