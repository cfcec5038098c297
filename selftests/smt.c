// SPDX-License-Identifier: GPL-2.0-only
/*
 * A core with SMT siblings is claimed as a whole, or shared by vCPUs of one VM
 * that have all agreed to that.
 */
#include "vcpu.h"

/* A node of two threads a core: CPUs 0 to 3 on NUMA node 0, 4 to 7 on 1. */
enum { ONE = 4, ONE_TOO = 5, TWO = 6 };

FIXTURE(smt)
{
	SPINNING_VM;
	struct vcpu second;
};

static bool is_one_core(void)
{
	char text[16] = "";
	FILE *f = fopen("/sys/devices/system/cpu/cpu4/topology/thread_siblings_list", "r");

	if (f) {
		fgets(text, sizeof(text), f);
		fclose(f);
	}
	return !strcmp(text, "4-5\n");
}

FIXTURE_SETUP(smt)
{
	if (!is_one_core())
		SKIP(return, "this kernel sees no SMT siblings here: 6.1 asks for TOPOEXT, which TCG has not");
	SPINNING_VM_SETUP("4-7");
	self->second = self->vcpu;
	self->second.id = 1;
	ASSERT_EQ(0, vcpu_start(&self->second));
}

FIXTURE_TEARDOWN(smt)
{
	vcpu_stop(&self->second);
	SPINNING_VM_TEARDOWN();
	put_text(CORES "user_limit", "0");
	put_text(CORES "thin_ticks", "0");
}

static int share(int vm, uint32_t vcpu, int cpu)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(vcpu, cpu);

	c.flags = HPCVM_CLAIM_SIBLING;
	return call(vm, HPCVM_VCPU_CLAIM, &c);
}

TEST_F(smt, list)
{
	EXPECT_EQ(EINVAL, list_cores("4"));
	EXPECT_EQ(EINVAL, list_cores("5-7"));
	EXPECT_EQ(EINVAL, list_cores("0-7"));
	EXPECT_EQ(0, list_cores("2-7"));
}

TEST_F(smt, whole)
{
	ASSERT_EQ(0, claim(self->vm, 0, ONE));
	EXPECT_EQ(EBUSY, claim(self->vm, 1, ONE_TOO));
	/* One of the two has not agreed. */
	EXPECT_EQ(EBUSY, share(self->vm, 1, ONE_TOO));
	ASSERT_EQ(0, claim(self->vm, 1, HPCVM_CPU_ANY));
	EXPECT_EQ(TWO, stats(self->vm, 1).cpu);
	/* From one thread of its core to the other. */
	EXPECT_EQ(0, claim(self->vm, 0, ONE_TOO));
	EXPECT_TRUE(bound_to(self->vcpu.tid, ONE_TOO));
}

TEST_F(smt, shared)
{
	int kvm = spinning_kvm(self->ram), vm = new_vm(self->dev, kvm);
	struct vcpu other = { .kvm = kvm, .vm = vm, .ram = self->ram };

	ASSERT_EQ(0, vcpu_start(&other));
	ASSERT_EQ(0, put_text(CORES "user_limit", "1"));
	ASSERT_EQ(0, share(self->vm, 0, ONE));
	/* Not with another VM; nor is there a second core for this user. */
	EXPECT_EQ(EBUSY, share(vm, 0, ONE_TOO));
	EXPECT_EQ(EPERM, share(vm, 0, TWO));
	EXPECT_EQ(EBUSY, claim(self->vm, 1, ONE_TOO));
	ASSERT_EQ(0, share(self->vm, 1, HPCVM_CPU_ANY));
	EXPECT_EQ(ONE_TOO, stats(self->vm, 1).cpu);
	EXPECT_TRUE(bound_to(self->second.tid, ONE_TOO));
	/* The core is free when both have gone. */
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_EQ(EBUSY, share(vm, 0, ONE));
	ASSERT_EQ(0, release(self->vm, 1));
	EXPECT_EQ(0, share(vm, 0, ONE));
	vcpu_stop(&other);
	close(vm);
	close(kvm);
}

/* No sibling keeps a core's time: it would disturb what it is to help. */
TEST_F(smt, keeper)
{
	ASSERT_EQ(0, put_text(CORES "thin_ticks", "1"));
	ASSERT_EQ(0, claim(self->vm, 0, ONE));
	sleep(2);

	long long before = interrupts("LOC", ONE_TOO);

	sleep(2);
	EXPECT_GT(100, interrupts("LOC", ONE_TOO) - before);
	EXPECT_EQ(HPCVM_TICK_THIN, stats(self->vm, 0).tick);
}

TEST_HARNESS_MAIN
