// SPDX-License-Identifier: GPL-2.0-only
/*
 * Core claims: who may have which core, that a vCPU stays on its own, what
 * moves it, and that a core is free again however its owner ends.
 */
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <sys/resource.h>
#include "vcpu.h"

FIXTURE(core)
{
	SPINNING_VM;
};

FIXTURE_SETUP(core)
{
	SPINNING_VM_SETUP("2-3");
}

FIXTURE_TEARDOWN(core)
{
	SPINNING_VM_TEARDOWN();
	EXPECT_EQ(0, count_entries(VMS));
	put_text(CORES "user_limit", "0");
}

/* HPCVM_VCPU_ATTACH */

#define EXPECT_ATTACH(_errno, _reason, _vm, _fd, _run) do {		\
	uint32_t reason_;						\
	EXPECT_EQ(_errno, vcpu_attach(_vm, _fd, _run, &reason_));	\
	EXPECT_EQ(_reason, reason_);					\
} while (0)

TEST_F(core, attach_refused)
{
	struct hpcvm_vcpu_attach attach = { .size = sizeof(attach), .vcpu_fd = -1 };
	int kvm = new_kvm(), other = ioctl(kvm, KVM_CREATE_VCPU, 0);
	int fd = ioctl(self->kvm, KVM_CREATE_VCPU, 7);
	char *run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ASSERT_NE(MAP_FAILED, run);
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_ATTACH, &attach, EBADF, HPCVM_REASON_FD, -1);
	attach.vcpu_fd = self->kvm;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_ATTACH, &attach, EINVAL, HPCVM_REASON_NOT_VCPU,
		       self->kvm);
	attach.vcpu_fd = other;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_ATTACH, &attach, EINVAL, HPCVM_REASON_NOT_VCPU, other);
	attach.vcpu_fd = fd;
	attach.pad0 = 1;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_ATTACH, &attach, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_vcpu_attach, pad0));

	EXPECT_ATTACH(EINVAL, HPCVM_REASON_RUN, self->vm, fd, NULL);
	EXPECT_ATTACH(EINVAL, HPCVM_REASON_RUN, self->vm, fd, run + 8);
	EXPECT_ATTACH(EINVAL, HPCVM_REASON_RUN, self->vm, fd, self->ram);
	EXPECT_ATTACH(EINVAL, HPCVM_REASON_RUN, self->vm, fd, self->vcpu.run);
	EXPECT_EQ(EPERM, IN_CHILD(vcpu_attach(self->vm, fd, run, NULL)));
	attach = (struct hpcvm_vcpu_attach){ .size = sizeof(attach), .vcpu_fd = fd };
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->vm, HPCVM_VCPU_ATTACH, &attach), attach.reason)));

	/* One thread a vCPU, one vCPU a thread. */
	EXPECT_ATTACH(EBUSY, HPCVM_REASON_VCPU_ATTACHED, self->vm, self->vcpu.fd, self->vcpu.run);
	EXPECT_ATTACH(0, 0, self->vm, fd, run);
	EXPECT_ATTACH(EBUSY, HPCVM_REASON_VCPU_ATTACHED, self->vm, fd, run);
	munmap(run, SZ_4K);
	close(fd);
	fd = ioctl(self->kvm, KVM_CREATE_VCPU, 8);
	run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT_ATTACH(EBUSY, HPCVM_REASON_THREAD_ATTACHED, self->vm, fd, run);
	munmap(run, SZ_4K);
	close(fd);
	close(other);
	close(kvm);
}

/* Another thread takes a vCPU over when its own has ended. */
TEST_F(core, attach_again)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, CPU_A);

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	self->vcpu.given = dup(self->vcpu.fd);
	vcpu_stop(&self->vcpu);
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, ESRCH, HPCVM_REASON_VCPU_GONE, 0);
	EXPECT_EQ(0, stats(self->vm, 0).tid);
	ASSERT_EQ(0, vcpu_start(&self->vcpu));
	EXPECT_EQ(self->vcpu.tid, stats(self->vm, 0).tid);
	EXPECT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_TRUE(vcpu_spins(&self->vcpu));
}

/* HPCVM_VCPU_CLAIM */

TEST_F(core, claim)
{
	struct hpcvm_vcpu_stats s;
	char path[128], text[128];
	FILE *f;

	EXPECT_EQ(HPCVM_CPU_ANY, stats(self->vm, 0).cpu);
	EXPECT_TRUE(may_run_on(self->vcpu.tid, 0));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_TRUE(bound_to(self->vcpu.tid, CPU_A));
	s = stats(self->vm, 0);
	EXPECT_EQ(CPU_A, s.cpu);
	EXPECT_EQ(1, s.node);
	EXPECT_EQ(self->vcpu.tid, s.tid);
	EXPECT_EQ(HPCVM_TICK_KEPT, s.tick);
	EXPECT_EQ(0, s.moves);
	EXPECT_EQ(0, s.drifts);

	snprintf(path, sizeof(path), VMS "/%llu/vcpus/0/cpu", (unsigned long long)self->id);
	EXPECT_EQ(CPU_A, get_number(path));
	f = fopen(CORES "claimed", "r");
	snprintf(path, sizeof(path), "%d %llu 0\n", CPU_A, (unsigned long long)self->id);
	ASSERT_NE(NULL, fgets(text, sizeof(text), f));
	EXPECT_STREQ(path, text);
	EXPECT_EQ(NULL, fgets(text, sizeof(text), f));
	fclose(f);

	/* The same again is the same. */
	EXPECT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_EQ(CPU_A, stats(self->vm, 0).cpu);
}

TEST_F(core, claim_refused)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(9, CPU_A);

	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, ENOENT, HPCVM_REASON_VCPU_UNKNOWN, 9);
	c = vcpu_claim(0, 4096);
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_CPU, 4096);
	c = vcpu_claim(0, -2);
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_CPU, -2);
	c = vcpu_claim(0, NEAR);
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EPERM, HPCVM_REASON_CORE_NOT_LISTED, NEAR);
	c = vcpu_claim(0, CPU_A);
	c.node = 1;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_NODE, 1);
	c = vcpu_claim(0, HPCVM_CPU_ANY);
	c.node = 77;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_NODE, 77);
	c.node = 0;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_CORES_TAKEN, 0);
	c = vcpu_claim(0, CPU_A);
	c.tick = 4;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_TICK_MODE, 4);
	c.tick = HPCVM_TICK_NOHZ_FULL;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EOPNOTSUPP, HPCVM_REASON_TICK,
		       HPCVM_TICK_WHY_NOT_NOHZ_FULL);
	EXPECT_EQ(EPERM, IN_CHILD(claim(self->vm, 0, CPU_A)));
	c = vcpu_claim(0, CPU_A);
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->vm, HPCVM_VCPU_CLAIM, &c), c.reason)));
	EXPECT_EQ(HPCVM_CPU_ANY, stats(self->vm, 0).cpu);
	EXPECT_TRUE(may_run_on(self->vcpu.tid, 0));
}

TEST_F(core, stats_refused)
{
	struct hpcvm_vcpu_stats s = { .size = sizeof(s), .vcpu = 9 };

	EXPECT_REFUSED(self->vm, HPCVM_VCPU_STATS, &s, ENOENT, HPCVM_REASON_VCPU_UNKNOWN, 9);
	s.pad0 = 1;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_STATS, &s, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_vcpu_stats, pad0));
}

TEST_F(core, release)
{
	struct hpcvm_vcpu_release r = { .size = sizeof(r), .vcpu = 9 };

	EXPECT_REFUSED(self->vm, HPCVM_VCPU_RELEASE, &r, ENOENT, HPCVM_REASON_VCPU_UNKNOWN, 9);
	r.vcpu = 0;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_RELEASE, &r, ENOENT, HPCVM_REASON_NO_CLAIM, 0);
	r.pad0 = 1;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_RELEASE, &r, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_vcpu_release, pad0));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_EQ(EPERM, IN_CHILD(release(self->vm, 0)));
	r = (struct hpcvm_vcpu_release){ .size = sizeof(r) };
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->vm, HPCVM_VCPU_RELEASE, &r), r.reason)));
	EXPECT_EQ(0, release(self->vm, 0));
	EXPECT_EQ(HPCVM_CPU_ANY, stats(self->vm, 0).cpu);

	/* The thread may run where it could before, and the core is anybody's. */
	EXPECT_TRUE(may_run_on(self->vcpu.tid, 0));
	EXPECT_TRUE(may_run_on(self->vcpu.tid, CPU_B));
	EXPECT_EQ(0, list_cores("\n"));
}

/* Each core has one owner, whoever asks. */
TEST_F(core, owned)
{
	char *ram = mmap(NULL, VCPU_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct hpcvm_vcpu_claim c = vcpu_claim(0, CPU_A);
	struct vcpu other = { .kvm = spinning_kvm(ram), .ram = ram };

	other.vm = new_vm(self->dev, other.kvm);
	ASSERT_EQ(0, vcpu_start(&other));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_REFUSED(other.vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_CORE_OWNED, self->id);

	/* Any will do: the free one; then there is none. */
	c = vcpu_claim(0, HPCVM_CPU_ANY);
	EXPECT_EQ(0, call(other.vm, HPCVM_VCPU_CLAIM, &c));
	EXPECT_EQ(CPU_B, stats(other.vm, 0).cpu);
	EXPECT_EQ(0, release(other.vm, 0));
	ASSERT_EQ(0, list_cores("2"));
	EXPECT_REFUSED(other.vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_CORES_TAKEN, 1);

	vcpu_stop(&other);
	close(other.vm);
	close(other.kvm);
	munmap(ram, VCPU_RAM);
}

/* The core of CPU 0 only if it is asked for by name. */
TEST_F(core, cpu_0)
{
	struct hpcvm_vcpu_claim any = vcpu_claim(0, HPCVM_CPU_ANY);

	ASSERT_EQ(0, list_cores("0"));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &any, EBUSY, HPCVM_REASON_CORES_TAKEN, 0);
	EXPECT_EQ(0, claim(self->vm, 0, 0));
	EXPECT_TRUE(bound_to(self->vcpu.tid, 0));
}

TEST_F(core, user_limit)
{
	struct vcpu second = { .kvm = self->kvm, .vm = self->vm, .id = 1, .ram = self->ram };
	struct hpcvm_vcpu_claim c = vcpu_claim(1, CPU_B);

	ASSERT_EQ(0, vcpu_start(&second));
	ASSERT_EQ(0, put_text(CORES "user_limit", "1"));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EPERM, HPCVM_REASON_CORE_LIMIT, 1);
	/* Another core in place of its own is no core more. */
	EXPECT_EQ(0, claim(self->vm, 0, CPU_B));
	ASSERT_EQ(0, put_text(CORES "user_limit", "2"));
	EXPECT_EQ(0, claim(self->vm, 1, CPU_A));
	vcpu_stop(&second);
}

/* What the administrator may list. */
TEST_F(core, list)
{
	char text[64] = "";
	FILE *f;

	EXPECT_EQ(EINVAL, list_cores("0-3"));
	EXPECT_EQ(ERANGE, list_cores("99999"));
	EXPECT_EQ(EINVAL, list_cores("two"));
	f = fopen(CORES "claimable", "r");
	ASSERT_NE(NULL, fgets(text, sizeof(text), f));
	EXPECT_STREQ("2-3\n", text);
	fclose(f);

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_EQ(EBUSY, list_cores("3"));
	EXPECT_EQ(EBUSY, list_cores("\n"));
	EXPECT_EQ(0, list_cores("1-2"));
	EXPECT_EQ(EINVAL, put_text(CORES "user_limit", "many"));
}

/* One that is free: pages of this node may be broken, by the tests of memory errors. */
static bool have_page_on_node_0(void)
{
	long n;

	for (n = 1; n <= 16 && pool_set(SZ_2M, 0, n) >= n; n++)
		if (get_number(pool_path(SZ_2M, 0, "free_hugepages")) > 0)
			return true;
	return false;
}

/* A core far from the memory is refused to whoever asks for a local one. */
TEST_F(core, local)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, CPU_A);
	unsigned long node0 = 1;
	struct hpcvm_mem_create create = mem_create(SZ_2M, SZ_2M, 0);
	struct hpcvm_mem_slot slot;
	long free;
	void *mem;

	ASSERT_TRUE(have_page_on_node_0());
	free = pool_free(SZ_2M);
	ASSERT_EQ(0, syscall(SYS_set_mempolicy, MPOL_BIND, &node0, 64));
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	mem = map_shared(create.out_fd, SZ_2M);
	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, SZ_2M, SZ_2M, mem, 0));
	slot = mem_slot(create.out_fd, SZ_2M, 0, SZ_2M);

	/* Nothing was promised: any core will do. */
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	c.flags = HPCVM_CLAIM_LOCAL;
	EXPECT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));
	EXPECT_EQ(0, stats(self->vm, 0).memory_nodes);

	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot), .gpa = SZ_2M };

	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	slot.node = 0;
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_SLOT, &slot));
	c = vcpu_claim(0, CPU_B);
	c.flags = HPCVM_CLAIM_LOCAL;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EINVAL, HPCVM_REASON_CORE_REMOTE, 1);
	EXPECT_EQ(CPU_A, stats(self->vm, 0).cpu);
	EXPECT_EQ(1, stats(self->vm, 0).memory_nodes);
	c.flags = 0;
	EXPECT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));
	ASSERT_EQ(0, list_cores("1,3"));
	c = vcpu_claim(0, HPCVM_CPU_ANY);
	c.flags = HPCVM_CLAIM_LOCAL;
	c.node = 0;
	EXPECT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));
	EXPECT_EQ(NEAR, stats(self->vm, 0).cpu);

	ASSERT_EQ(0, kvm_memslot(self->kvm, 1, SZ_2M, 0, mem, 0));
	munmap(mem, SZ_2M);
	close(create.out_fd);
	ASSERT_EQ(0, call(self->vm, HPCVM_MEM_UNSLOT, &unslot));
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

/* From core to core */

TEST_F(core, rehome)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, NEAR);
	int i;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	for (i = 0; i < 20; i++) {
		int cpu = i % 2 ? CPU_A : CPU_B;

		ASSERT_EQ(0, claim(self->vm, 0, cpu));
		ASSERT_TRUE(bound_to(self->vcpu.tid, cpu));
		ASSERT_EQ(cpu, stats(self->vm, 0).cpu);
		ASSERT_TRUE(vcpu_spins(&self->vcpu));
	}
	EXPECT_EQ(20, stats(self->vm, 0).moves);
	EXPECT_EQ(0, stats(self->vm, 0).drifts);

	/* Refused, it keeps what it has. */
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EPERM, HPCVM_REASON_CORE_NOT_LISTED, NEAR);
	EXPECT_EQ(CPU_A, stats(self->vm, 0).cpu);
	EXPECT_EQ(0, list_cores("2"));
}

/* Who binds the thread to one free listed core moves the claim. */
TEST_F(core, moved_by_affinity)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(1, CPU_A);
	struct vcpu second = { .kvm = self->kvm, .vm = self->vm, .id = 1, .ram = self->ram };

	ASSERT_EQ(0, vcpu_start(&second));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_EQ(0, run_only_on(self->vcpu.tid, CPU_B));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == CPU_B));
	EXPECT_EQ(1, stats(self->vm, 0).moves);
	EXPECT_EQ(0, stats(self->vm, 0).drifts);
	EXPECT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));

	/* To one that is owned, it is not. */
	ASSERT_EQ(0, run_only_on(self->vcpu.tid, CPU_A));
	EXPECT_TRUE(SOON(bound_to(self->vcpu.tid, CPU_B)));
	EXPECT_EQ(CPU_B, stats(self->vm, 0).cpu);
	EXPECT_EQ(1, stats(self->vm, 0).drifts);
	vcpu_stop(&second);
}

TEST_F(core, drift)
{
	int drifts = 0;
	cpu_set_t all;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	/* The module can be quicker than the scheduler: then it never got there. */
	while (drifts < 5 && !stats(self->vm, 0).migrations) {
		ASSERT_EQ(0, run_only_on(self->vcpu.tid, 0));
		EXPECT_TRUE(SOON(bound_to(self->vcpu.tid, CPU_A)));
		drifts++;
		EXPECT_EQ(drifts, stats(self->vm, 0).drifts);
	}
	EXPECT_LE(1, stats(self->vm, 0).migrations);

	/* It need not have gone elsewhere: that it could is enough. */
	memset(&all, 0xff, sizeof(all));
	ASSERT_EQ(0, sched_setaffinity(self->vcpu.tid, sizeof(all), &all));
	EXPECT_TRUE(SOON(bound_to(self->vcpu.tid, CPU_A)));
	EXPECT_EQ(drifts + 1, stats(self->vm, 0).drifts);
	EXPECT_EQ(CPU_A, stats(self->vm, 0).cpu);
}

/* Every way to die. */

static bool is_free(int cpu)
{
	char text[256], wanted[32];
	bool found = false;
	FILE *f = fopen(CORES "claimed", "r");

	snprintf(wanted, sizeof(wanted), "%d ", cpu);
	while (f && fgets(text, sizeof(text), f))
		found |= !strncmp(text, wanted, strlen(wanted));
	if (f)
		fclose(f);
	return f && !found;
}

TEST_F(core, thread_ends)
{
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_FALSE(is_free(CPU_A));
	vcpu_stop(&self->vcpu);
	EXPECT_TRUE(SOON(is_free(CPU_A)));
	EXPECT_EQ(HPCVM_CPU_ANY, stats(self->vm, 0).cpu);
	self->vcpu.id = 1;
	ASSERT_EQ(0, vcpu_start(&self->vcpu));
	EXPECT_EQ(0, claim(self->vm, 1, CPU_A));
}

TEST_F(core, vm_ends)
{
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	close(self->vm);
	EXPECT_TRUE(is_free(CPU_A));
	EXPECT_TRUE(may_run_on(self->vcpu.tid, 0));
	self->vm = new_vm(self->dev, self->kvm);
}

static void run_and_wait(int dev, char *ram, atomic_int *ready, bool exec)
{
	struct vcpu v = { .kvm = spinning_kvm(ram), .ram = ram };

	v.vm = new_vm(dev, v.kvm);
	*ready = vcpu_start(&v) || claim(v.vm, 0, CPU_B) ? -1 : 1;
	if (exec) {
		while (*ready == 1)
			usleep(1000);
		execl("/bin/sleep", "sleep", "100", NULL);
	}
	for (;;)
		pause();
}

static void process_ends(struct __test_metadata *_metadata, FIXTURE_DATA(core) *self, bool exec)
{
	atomic_int *ready = shared_page();
	int status;
	pid_t child = fork();

	if (!child)
		run_and_wait(self->dev, self->ram, ready, exec);
	ASSERT_TRUE(SOON(*ready));
	ASSERT_EQ(1, *ready);
	EXPECT_FALSE(is_free(CPU_B));
	if (exec)
		*ready = 2;
	else
		kill(child, SIGKILL);
	EXPECT_TRUE(SOON(is_free(CPU_B)));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	munmap(ready, SZ_4K);
}

TEST_F(core, killed)
{
	process_ends(_metadata, self, false);
}

TEST_F(core, exec)
{
	process_ends(_metadata, self, true);
}

TEST_F(core, cpu_goes_offline)
{
	const char *online = "/sys/devices/system/cpu/cpu3/online";

	ASSERT_EQ(0, claim(self->vm, 0, CPU_B));
	ASSERT_EQ(0, put_text(online, "0"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == HPCVM_CPU_ANY));
	EXPECT_TRUE(may_run_on(self->vcpu.tid, 0));
	EXPECT_TRUE(vcpu_spins(&self->vcpu));
	EXPECT_EQ(EINVAL, claim(self->vm, 0, CPU_B));
	ASSERT_EQ(0, put_text(online, "1"));
	EXPECT_EQ(0, claim(self->vm, 0, CPU_B));
	EXPECT_TRUE(bound_to(self->vcpu.tid, CPU_B));
}

/* HPCVM_CLAIM_FIFO */

static int claim_fifo(int vm, int cpu)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, cpu);

	c.flags = HPCVM_CLAIM_FIFO;
	return call(vm, HPCVM_VCPU_CLAIM, &c);
}

static bool is_fifo(pid_t tid)
{
	struct sched_param p;

	return sched_getscheduler(tid) == (SCHED_FIFO | SCHED_RESET_ON_FORK) && !sched_getparam(tid, &p) &&
	       p.sched_priority == 1;
}

static bool is_nice(pid_t tid, int nice)
{
	return sched_getscheduler(tid) == SCHED_OTHER && getpriority(PRIO_PROCESS, tid) == nice;
}

TEST_F(core, fifo)
{
	pid_t tid = self->vcpu.tid;

	ASSERT_EQ(0, setpriority(PRIO_PROCESS, tid, 5));
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_A));
	EXPECT_TRUE(is_fifo(tid));
	EXPECT_EQ(HPCVM_CLAIM_FIFO, stats(self->vm, 0).claim);
	EXPECT_TRUE(vcpu_spins(&self->vcpu));
	/* It goes with the claim from core to core. */
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_B));
	EXPECT_TRUE(is_fifo(tid));
	ASSERT_EQ(0, run_only_on(tid, CPU_A));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == CPU_A));
	EXPECT_TRUE(is_fifo(tid));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_TRUE(is_nice(tid, 5));

	/* Not asked for any more; made nicer meanwhile; changed by somebody else. */
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_A));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_TRUE(is_nice(tid, 5));
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_A));
	ASSERT_EQ(0, setpriority(PRIO_PROCESS, tid, 7));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_TRUE(is_nice(tid, 7));
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_A));
	ASSERT_EQ(0, sched_setscheduler(tid, SCHED_RR, &(struct sched_param){ 2 }));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_EQ(SCHED_RR, sched_getscheduler(tid));
}

/* As effective of the calling thread. */
static int set_nice_capability(bool on)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &head, caps))
		return errno;
	caps[0].effective &= ~(1u << CAP_SYS_NICE);
	caps[0].effective |= on << CAP_SYS_NICE;
	return syscall(SYS_capset, &head, caps) ? errno : 0;
}

TEST_F(core, fifo_refused)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, CPU_A);
	pid_t tid = self->vcpu.tid;

	c.flags = HPCVM_CLAIM_FIFO;
	ASSERT_EQ(0, set_nice_capability(false));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EPERM, HPCVM_REASON_NOT_NICE, 0);
	ASSERT_EQ(0, set_nice_capability(true));
	ASSERT_EQ(0, sched_setscheduler(tid, SCHED_BATCH, &(struct sched_param){}));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_POLICY, SCHED_BATCH);
	ASSERT_EQ(0, sched_setscheduler(tid, SCHED_OTHER | SCHED_RESET_ON_FORK,
					&(struct sched_param){}));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_POLICY,
		       SCHED_RESET_ON_FORK);
	EXPECT_EQ(HPCVM_CPU_ANY, stats(self->vm, 0).cpu);
	EXPECT_EQ(SCHED_OTHER | SCHED_RESET_ON_FORK, sched_getscheduler(tid));

	/* The claim that it has stays as it is. */
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EBUSY, HPCVM_REASON_POLICY,
		       SCHED_RESET_ON_FORK);
	EXPECT_EQ(CPU_A, stats(self->vm, 0).cpu);
	EXPECT_EQ(0, stats(self->vm, 0).claim);
}

/* The other ends of a claim. */
TEST_F(core, fifo_ends)
{
	const char *online = "/sys/devices/system/cpu/cpu3/online";

	ASSERT_EQ(0, claim_fifo(self->vm, CPU_B));
	ASSERT_EQ(0, put_text(online, "0"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == HPCVM_CPU_ANY));
	EXPECT_TRUE(is_nice(self->vcpu.tid, 0));
	ASSERT_EQ(0, put_text(online, "1"));
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_B));
	EXPECT_TRUE(is_fifo(self->vcpu.tid));
	close(self->vm);
	EXPECT_TRUE(is_nice(self->vcpu.tid, 0));
	self->vm = new_vm(self->dev, self->kvm);
}

/* What an ordinary task gets of this core, in ms a second. */
static long share_of_core(int cpu, int seconds)
{
	struct timespec t = {};
	atomic_long *ms = shared_page();
	long got;
	int status;
	pid_t child = fork();

	if (!child) {
		run_only_on(0, cpu);
		for (;;) {
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
			*ms = t.tv_sec * 1000 + t.tv_nsec / 1000000;
		}
	}
	sleep(seconds);
	got = *ms / seconds;
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	munmap(ms, SZ_4K);
	return got;
}

/*
 * No ordinary task comes before it, and none is lost. With thinned ticks old kernels
 * see late that the limit of real-time tasks is reached, and make that good at once.
 */
TEST_F(core, fifo_prevails)
{
	long fair, fifo, thin;
	int i;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	fair = share_of_core(CPU_A, 1);
	ASSERT_EQ(0, claim_fifo(self->vm, CPU_A));
	/* On a slow kernel the vCPU's thread may be some time on its way into the guest. */
	for (i = 0, fifo = 1000; i < slow() && fifo >= 200; i++)
		fifo = share_of_core(CPU_A, 1);
	ASSERT_EQ(0, put_text(CORES "thin_ticks", "1"));
	sleep(2);
	EXPECT_TRUE(vcpu_spins(&self->vcpu));
	thin = share_of_core(CPU_A, 4);
	printf("# an ordinary task has %ld ms a second, beside FIFO %ld, thinned %ld (%.0f at a time)\n",
	       fair, fifo, thin, stats(self->vm, 0).preempted_longest_ns / 1e6);
	EXPECT_LT(250, fair);
	EXPECT_GT(200, fifo);
	EXPECT_GT(250, thin);
	EXPECT_TRUE(SOON(kernel_sleep(40) < 1000 * slow()));
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_LT(250, share_of_core(CPU_A, 1));
	EXPECT_EQ(0, put_text(CORES "thin_ticks", "0"));
}

/* The account */

/* A second task has its share at once, and the account says so. */
TEST_F(core, preempted)
{
	struct hpcvm_vcpu_stats s, before;
	uint64_t sum = 0, ns = 0;
	int status, i;
	pid_t child;
	struct timespec t;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	before = stats(self->vm, 0);
	child = fork();
	if (!child) {
		run_only_on(0, CPU_A);
		do
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		while (!t.tv_sec && t.tv_nsec < 300000000);
		_exit(0);
	}
	ns = now_ns();
	waitpid(child, &status, 0);
	/* 0.3 s of the CPU's time, shared with one other. */
	EXPECT_GT(slow() * 5000000000ull, now_ns() - ns);
	s = stats(self->vm, 0);
	EXPECT_LT(before.preempted, s.preempted);
	EXPECT_LT(100000000, s.preempted_ns - before.preempted_ns);
	EXPECT_LE(s.preempted_longest_ns, s.preempted_ns);
	EXPECT_LT(0, s.preempted_longest_ns);
	for (i = 0; i < HPCVM_GAPS; i++)
		sum += s.gaps[i];
	EXPECT_LE(s.preempted - 1, sum);
	EXPECT_LE(sum, s.preempted);
	EXPECT_EQ(0, s.migrations);
}

TEST_F(core, sleeps)
{
	struct hpcvm_vcpu_stats s = {};

	vcpu_stop(&self->vcpu);
	self->vcpu.id = 1;
	self->vcpu.sleeps = true;
	self->vcpu.rest_us = 1000;
	ASSERT_EQ(0, vcpu_start(&self->vcpu));
	ASSERT_EQ(0, claim(self->vm, 1, CPU_A));
	EXPECT_TRUE(SOON((s = stats(self->vm, 1)).slept > 20));
	EXPECT_GT(s.slept, s.preempted);
	EXPECT_LT(20, s.exits);
}

static int mark(int vm)
{
	struct hpcvm_vcpu_stats s = { .size = sizeof(s), .flags = HPCVM_STATS_MARK };

	return call(vm, HPCVM_VCPU_STATS, &s);
}

/* When a vCPU is run, and when it is not any more, is told. */
TEST_F(core, run)
{
	struct hpcvm_vcpu_stats s;
	uint64_t t[3];

	t[0] = now_ns();
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_TRUE(vcpu_spins(&self->vcpu));
	s = stats(self->vm, 0);
	EXPECT_LE(t[0], s.run_began_ns);
	EXPECT_GE(now_ns(), s.run_began_ns);

	t[1] = now_ns();
	self->vcpu.pause = true;
	pthread_kill(self->vcpu.thread, SIGUSR1);
	ASSERT_TRUE(SOON(stats(self->vm, 0).run_ended_ns > t[1]));
	/* The thread comes to the CPU again and again, but the vCPU does not run. */
	t[2] = now_ns();
	usleep(50000);
	EXPECT_EQ(0, mark(self->vm));
	s = stats(self->vm, 0);
	EXPECT_EQ(0, s.run_began_ns);
	EXPECT_GT(t[2], s.run_ended_ns);

	self->vcpu.pause = false;
	ASSERT_TRUE(SOON(stats(self->vm, 0).run_began_ns > t[2]));
	EXPECT_EQ(s.run_ended_ns, stats(self->vm, 0).run_ended_ns);
	s = stats(self->vm, 0);
	ASSERT_TRUE(vcpu_spins(&self->vcpu));
	EXPECT_EQ(s.run_began_ns, stats(self->vm, 0).run_began_ns);
}

/* Interrupts are those that the kernel shows. */
TEST_F(core, interrupts)
{
	struct hpcvm_vcpu_stats s, t;
	long long timer, all;

	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	s = stats(self->vm, 0);
	timer = interrupts("LOC", CPU_A);
	all = interrupts("RES", CPU_A) + interrupts("CAL", CPU_A) + interrupts("IWI", CPU_A);
	sleep(1);
	timer = interrupts("LOC", CPU_A) - timer;
	all = interrupts("RES", CPU_A) + interrupts("CAL", CPU_A) + interrupts("IWI", CPU_A) - all;
	t = stats(self->vm, 0);
	EXPECT_LT(20, timer);
	EXPECT_LE(timer, t.timer_irqs - s.timer_irqs);
	EXPECT_GE(timer + 30 * slow(), t.timer_irqs - s.timer_irqs);
	EXPECT_LE(timer + all, t.all_irqs - s.all_irqs);
	EXPECT_GE(timer + all + 60 * slow(), t.all_irqs - s.all_irqs);
	EXPECT_LT(0, t.exits - s.exits);
	EXPECT_LE(1000000000, t.owned_ns - s.owned_ns);
}

/* Tools see it by a handle, which can change nothing. */
TEST_F(core, handle)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .id = self->id };
	struct hpcvm_vcpu_stats s = { .size = sizeof(s) };

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_OPEN, &open));
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	EXPECT_EQ(CPU_A, stats(open.out_fd, 0).cpu);
	EXPECT_EQ(ENOTTY, release(open.out_fd, 0));
	s.flags = HPCVM_STATS_MARK;
	EXPECT_REFUSED(open.out_fd, HPCVM_VCPU_STATS, &s, EINVAL, HPCVM_REASON_FLAGS,
		       HPCVM_STATS_MARK);
	s.flags = 0;
	vcpu_stop(&self->vcpu);
	close(self->vm);
	EXPECT_REFUSED(open.out_fd, HPCVM_VCPU_STATS, &s, ENODEV, HPCVM_REASON_VM_GONE, self->id);
	close(open.out_fd);
	self->vm = new_vm(self->dev, self->kvm);
	self->vcpu.vm = self->vm;
	self->vcpu.id = 1;
	ASSERT_EQ(0, vcpu_start(&self->vcpu));
}

/* Ten rounds in peace; claims.c has those of a storm. */
TEST_F(core, rounds)
{
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, claim(self->vm, 0, i % 2 ? CPU_A : HPCVM_CPU_ANY));
		ASSERT_EQ(0, release(self->vm, 0));
	}
	EXPECT_TRUE(vcpu_spins(&self->vcpu));
}

TEST_HARNESS_MAIN
