// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the time of vCPUs goes: in the guest, in the hypervisor, scheduled out.
 * Counted while somebody asks, and no probe is in KVM's way while nobody does.
 */
#include "vcpu.h"

FIXTURE(times)
{
	SPINNING_VM;
	long taken;		/* of kvm.ko, before anybody asks */
};

/* Users of kvm.ko: who takes a tracepoint from it is one. -1: it is built in. */
static long taken(void)
{
	return get_number("/sys/module/kvm/refcnt");
}

FIXTURE_SETUP(times)
{
	SPINNING_VM_SETUP("2-3");
	self->taken = taken();
}

FIXTURE_TEARDOWN(times)
{
	SPINNING_VM_TEARDOWN();
	put_text(CORES "thin_ticks", "0");
}

static int open_timed(int dev, uint64_t id)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .flags = HPCVM_OPEN_TIMES, .id = id };

	return call(dev, HPCVM_VM_OPEN, &open) ? -1 : open.out_fd;
}

/* In one second: parts of the whole, in percent; and the whole, of the wall's. */
struct shares {
	double guest, hypervisor, out, whole;
};

static struct shares shares(int vm, uint32_t vcpu)
{
	struct hpcvm_vcpu_stats a = stats(vm, vcpu), b;
	uint64_t begin = now_ns(), end;
	struct shares s;
	double all;

	sleep(1);
	b = stats(vm, vcpu);
	end = now_ns();
	s.guest = b.guest_ns - a.guest_ns;
	s.hypervisor = b.hypervisor_ns - a.hypervisor_ns;
	s.out = b.out_ns - a.out_ns;
	all = s.guest + s.hypervisor + s.out;
	s = (struct shares){ s.guest / all * 100, s.hypervisor / all * 100, s.out / all * 100,
			     all / (end - begin) * 100 };
	printf("# %.1f %% guest, %.1f %% hypervisor, %.1f %% out: %.1f %% of the wall's\n",
	       s.guest, s.hypervisor, s.out, s.whole);
	return s;
}

static uint64_t counted(int vm, uint32_t vcpu)
{
	struct hpcvm_vcpu_stats s = stats(vm, vcpu);

	return s.guest_ns + s.hypervisor_ns + s.out_ns;
}

/* But for what lies between a look at the clock and one at the counters. */
static bool is_all(struct shares s)
{
	return s.whole > 90 && s.whole < 110;
}

/* In one second of five: an emulated guest is slow to enter and to leave while the host is busy. */
#define EXPECT_SHARE(_low, _vm, _vcpu, _column, _high) do {				\
	struct shares s_ = shares(_vm, _vcpu);						\
	int try_ = 1;									\
	while (try_++ < 5 && !(s_._column > (_low) && s_._column < (_high) && is_all(s_)))	\
		s_ = shares(_vm, _vcpu);						\
	EXPECT_LT(_low, s_._column);							\
	EXPECT_GT(_high, s_._column);							\
	EXPECT_TRUE(is_all(s_));							\
} while (0)

TEST_F(times, nobody_asks)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .id = self->id };

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_EQ(0, call(self->dev, HPCVM_VM_OPEN, &open));
	usleep(300000);
	EXPECT_EQ(0, counted(self->vm, 0));
	EXPECT_EQ(0, counted(open.out_fd, 0));
	EXPECT_EQ(self->taken, taken());
	close(open.out_fd);
}

/* Who asks is an fd; the last one that goes takes the probes along. */
TEST_F(times, who_asks)
{
	int a, b, child, status;
	uint64_t ns;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	a = open_timed(self->dev, self->id);
	ASSERT_LE(0, a);
	if (self->taken >= 0)
		EXPECT_LT(self->taken, taken());
	b = open_timed(self->dev, self->id);
	close(a);
	ns = counted(self->vm, 0);
	usleep(200000);
	EXPECT_LT(ns, counted(self->vm, 0));
	close(b);
	ns = counted(self->vm, 0);
	usleep(200000);
	EXPECT_EQ(ns, counted(self->vm, 0));
	EXPECT_EQ(self->taken, taken());

	/* However it ends. */
	child = fork();
	if (!child) {
		open_timed(self->dev, self->id);
		for (;;)
			pause();
	}
	EXPECT_TRUE(SOON(counted(self->vm, 0) > ns));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	EXPECT_EQ(self->taken, taken());
	ns = counted(self->vm, 0);
	usleep(200000);
	EXPECT_EQ(ns, counted(self->vm, 0));
}

TEST_F(times, guest)
{
	int handle = open_timed(self->dev, self->id);
	char path[128];

	ASSERT_LE(0, handle);
	EXPECT_EQ(0, counted(handle, 0));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_SHARE(80, handle, 0, guest, 101);
	snprintf(path, sizeof(path), VMS "/%llu/vcpus/0/guest_ns", (unsigned long long)self->id);
	EXPECT_LT(100000000, get_number(path));

	/* From core to core it begins anew. */
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	EXPECT_GT(900000000, counted(handle, 0));
	EXPECT_SHARE(80, handle, 0, guest, 101);
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_EQ(0, counted(handle, 0));
	close(handle);
}

/* One that is never left: who asks hears of it all the same. */
TEST_F(times, guest_without_ticks)
{
	int handle;

	ASSERT_EQ(0, put_text(CORES "thin_ticks", "1"));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	sleep(1);
	handle = open_timed(self->dev, self->id);
	ASSERT_LE(0, handle);
	EXPECT_SHARE(80, handle, 0, guest, 101);
	close(handle);
}

TEST_F(times, hypervisor)
{
	struct vcpu v = { .kvm = self->kvm, .vm = self->vm, .id = 1, .ram = self->ram, .exits = true };
	int handle = open_timed(self->dev, self->id);

	ASSERT_LE(0, handle);
	ASSERT_EQ(0, vcpu_start(&v));
	ASSERT_EQ(0, claim(self->vm, 1, CPU_B));
	EXPECT_SHARE(25, handle, 1, hypervisor, 101);
	vcpu_stop(&v);
	close(handle);
}

static void run_for_ever(int dev, char *ram, atomic_int *id)
{
	struct vcpu v = { .kvm = spinning_kvm(ram), .ram = ram };
	struct hpcvm_vm_create create = vm_create(v.kvm);

	if (call(dev, HPCVM_VM_CREATE, &create))
		_exit(1);
	v.vm = create.out_fd;
	*id = vcpu_start(&v) || claim(v.vm, 0, CPU_B) ? -1 : (int)create.out_id;
	for (;;)
		pause();
}

/* A process that is stopped, or must share its core. */
TEST_F(times, out)
{
	atomic_int *id = shared_page();
	int handle, status;
	pid_t child = fork(), other;

	if (!child)
		run_for_ever(self->dev, self->ram, id);
	ASSERT_TRUE(SOON(*id));
	handle = open_timed(self->dev, *id);
	ASSERT_LE(0, handle);
	EXPECT_SHARE(-1, handle, 0, out, 30);
	kill(child, SIGSTOP);
	usleep(100000);
	EXPECT_SHARE(95, handle, 0, out, 101);
	kill(child, SIGCONT);
	usleep(100000);
	EXPECT_SHARE(-1, handle, 0, out, 30);

	other = fork();
	if (!other) {
		run_only_on(0, CPU_B);
		for (;;)
			;
	}
	usleep(100000);
	EXPECT_SHARE(30, handle, 0, out, 80);
	kill(other, SIGKILL);
	waitpid(other, &status, 0);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(handle);
	munmap(id, SZ_4K);
}

/* Its core goes while it is counted. */
TEST_F(times, cpu_goes_offline)
{
	const char *online = "/sys/devices/system/cpu/cpu3/online";
	int handle = open_timed(self->dev, self->id);

	ASSERT_LE(0, handle);
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	ASSERT_EQ(0, put_text(online, "0"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == HPCVM_CPU_ANY));
	EXPECT_EQ(0, counted(handle, 0));
	ASSERT_EQ(0, put_text(online, "1"));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	EXPECT_SHARE(80, handle, 0, guest, 101);
	close(handle);
	EXPECT_EQ(self->taken, taken());
}

TEST_HARNESS_MAIN
