// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ticks of claimed cores: thinned where the administrator has said so, and
 * nothing else on the node suffers. What counts is /proc/interrupts.
 *
 * The node has two groups of CPUs for its timers, 0 and 1, 2 and 3.
 */
#include <linux/membarrier.h>
#include <sys/resource.h>
#include "vcpu.h"

#define THIN CPU_B
#define KEEPER CPU_A

FIXTURE(tick)
{
	SPINNING_VM;
};

FIXTURE_SETUP(tick)
{
	if (slow() > 1)
		SKIP(return, "a sanitizer kernel has a periodic tick here");
	SPINNING_VM_SETUP("1-3");
	ASSERT_EQ(0, put_text(CORES "thin_ticks", "1"));
}

FIXTURE_TEARDOWN(tick)
{
	if (slow() > 1)
		return;
	SPINNING_VM_TEARDOWN();
	EXPECT_EQ(0, get_number(CORES "missed_probes"));
	put_text(CORES "thin_ticks", "0");
	put_text(CORES "max_defer_us", "500000");
}

/*
 * Of 250: each task that wakes up on the core, a worker of the kernel's, brings four
 * or more back, and a busy host more.
 */
#define THINNED 40

/* Local timer interrupts a second of a CPU, over so many. */
static double ticks(int cpu, double seconds)
{
	long long before = interrupts("LOC", cpu);
	uint64_t begin = now_ns();

	usleep(seconds * 1e6);
	return (interrupts("LOC", cpu) - before) * 1e9 / (now_ns() - begin);
}

/* The core's duties may take some seconds to go elsewhere. */
static bool gets_thin(int cpu)
{
	int i;

	for (i = 0; i < 15; i++)
		if (ticks(cpu, 1) < THINNED)
			return true;
	return false;
}

static bool gets_ticks(int cpu)
{
	return ticks(cpu, 0.5) > 80 || ticks(cpu, 1) > 80;
}

static bool is_probed(void)
{
	return !system("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug;"
		       "grep -qE 'tick_(sched_timer|nohz_handler)' /sys/kernel/debug/kprobes/list");
}

TEST_F(tick, thin)
{
	struct hpcvm_vcpu_stats s, t;
	double rate;

	ASSERT_EQ(0, run_only_on(self->vcpu.tid, THIN));
	EXPECT_TRUE(gets_ticks(THIN));
	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	s = stats(self->vm, 0);
	EXPECT_EQ(HPCVM_TICK_THIN, s.tick);
	EXPECT_TRUE(gets_thin(THIN));
	rate = ticks(THIN, 5);
	TH_LOG("%.1f local timer interrupts a second", rate);
	EXPECT_GT(THINNED, rate);
	t = stats(self->vm, 0);
	EXPECT_LT(s.ticks_deferred, t.ticks_deferred);
	EXPECT_EQ(HPCVM_TICK_WHY_NONE, t.tick_why);
	EXPECT_EQ(0, t.migrations);
	EXPECT_EQ(0, t.drifts);

	/* Back at once with the claim, and a little later the probe is gone. */
	EXPECT_TRUE(is_probed());
	ASSERT_EQ(0, release(self->vm, 0));
	EXPECT_TRUE(gets_ticks(THIN));
	EXPECT_TRUE(SOON(!is_probed()));
}

TEST_F(tick, modes)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(0, THIN);

	c.tick = HPCVM_TICK_KEPT;
	ASSERT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));
	EXPECT_EQ(HPCVM_TICK_KEPT, stats(self->vm, 0).tick);
	EXPECT_EQ(HPCVM_TICK_WHY_ASKED, stats(self->vm, 0).tick_why);
	EXPECT_TRUE(gets_ticks(THIN));
	c.tick = HPCVM_TICK_THIN;
	ASSERT_EQ(0, call(self->vm, HPCVM_VCPU_CLAIM, &c));
	EXPECT_TRUE(gets_thin(THIN));

	/* The administrator switches it off, and on again. */
	ASSERT_EQ(0, put_text(CORES "thin_ticks", "0"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).tick == HPCVM_TICK_KEPT));
	EXPECT_EQ(HPCVM_TICK_WHY_THIN_OFF, stats(self->vm, 0).tick_why);
	EXPECT_TRUE(gets_ticks(THIN));
	c = vcpu_claim(0, KEEPER);
	c.tick = HPCVM_TICK_THIN;
	EXPECT_REFUSED(self->vm, HPCVM_VCPU_CLAIM, &c, EOPNOTSUPP, HPCVM_REASON_TICK,
		       HPCVM_TICK_WHY_THIN_OFF);
	EXPECT_EQ(THIN, stats(self->vm, 0).cpu);
	ASSERT_EQ(0, put_text(CORES "thin_ticks", "1"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).tick == HPCVM_TICK_THIN));
	EXPECT_TRUE(gets_thin(THIN));

	EXPECT_EQ(EINVAL, put_text(CORES "max_defer_us", "1000"));
	EXPECT_EQ(EINVAL, put_text(CORES "max_defer_us", "2000000"));
	ASSERT_EQ(0, put_text(CORES "max_defer_us", "20000"));
	usleep(600000);
	EXPECT_LT(15, ticks(THIN, 2));
}

/* A second task on the core has its share, and its tick, at once. */
TEST_F(tick, second_task)
{
	uint64_t begin;
	int status;
	pid_t child;
	struct timespec t;

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	begin = now_ns();
	child = fork();
	if (!child) {
		run_only_on(0, THIN);
		do
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
		while (!t.tv_sec && t.tv_nsec < 300000000);
		_exit(0);
	}
	usleep(200000);
	EXPECT_LT(80, ticks(THIN, 0.3));
	waitpid(child, &status, 0);
	EXPECT_GT(5000000000, now_ns() - begin);
	EXPECT_TRUE(gets_thin(THIN));
}

/* Who waits for a byte there, and is gone again. */
static void *visit(void *pipe)
{
	struct sched_param first = { .sched_priority = 1 };
	char c;

	run_only_on(0, THIN);
	sched_setscheduler(0, SCHED_FIFO, &first);
	while (read(*(int *)pipe, &c, 1) == 1)
		;
	return NULL;
}

/* A task that runs there for a moment brings no tick back: of 40 visits some may. */
TEST_F(tick, visitors)
{
	long long came = 1000;
	int i, j, pipes[2];
	pthread_t visitor;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, run_only_on(0, KEEPER));
	pthread_create(&visitor, NULL, visit, pipes);
	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	/* A busy host brings them, too, for a while. */
	for (i = 0; i < 5 && came >= 30; i++) {
		came = -interrupts("LOC", THIN);
		for (j = 0; j < 40; j++) {
			EXPECT_EQ(1, write(pipes[1], "", 1));
			usleep(50000);
		}
		came += interrupts("LOC", THIN);
	}
	TH_LOG("%lld local timer interrupts, in window %d", came, i);
	EXPECT_GT(30, came);
	close(pipes[1]);
	pthread_join(visitor, NULL);
	close(pipes[0]);
}

/* Of 30 sleeps of 40 ms on all other CPUs. */
static double worst_sleep(void)
{
	double worst = 0, ms;
	int i;

	for (i = 0; i < 30; i++) {
		run_only_on(0, i % 3);
		ms = kernel_sleep(40);
		if (ms > worst)
			worst = ms;
	}
	return worst;
}

/* Timers elsewhere, the time, and RCU go on. */
TEST_F(tick, the_node_goes_on)
{
	double ms = 1000;
	uint64_t begin;
	int i;

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	/* A busy host wakes nobody in time, now and then. */
	for (i = 0; i < 5 && ms >= 300; i++)
		ms = worst_sleep();
	TH_LOG("a sleep of 40 ms took %.1f ms at most, in round %d", ms, i);
	EXPECT_GT(300, ms);
	begin = now_ns();
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
	ms = (now_ns() - begin) / 1e7;
	TH_LOG("a grace period took %.1f ms on average", ms);
	EXPECT_GT(300, ms);
	EXPECT_TRUE(gets_thin(THIN));
}

/* What ticks would have charged is charged. */
TEST_F(tick, time_is_charged)
{
	long long guest, user, hz = sysconf(_SC_CLK_TCK);
	double seconds, begin;

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	guest = stat_field(self->vcpu.tid, 43);
	user = stat_field(self->vcpu.tid, 14);
	begin = now_ns() / 1e9;
	sleep(4);
	seconds = now_ns() / 1e9 - begin;
	guest = stat_field(self->vcpu.tid, 43) - guest;
	user = stat_field(self->vcpu.tid, 14) - user;
	TH_LOG("in %.2f s: guest %.2f s, user %.2f s", seconds, guest * 1. / hz, user * 1. / hz);
	EXPECT_LT(0.75 * seconds, guest * 1. / hz);
	EXPECT_GT(1.25 * seconds, guest * 1. / hz);
	EXPECT_LT(0.75 * seconds, user * 1. / hz);
	EXPECT_GT(1.25 * seconds, user * 1. / hz);
}

/* Nor is what came before a tick that was not waited for: the vCPU leaves now and then. */
TEST_F(tick, time_is_charged_to_who_leaves)
{
	long long guest, hz = sysconf(_SC_CLK_TCK);
	int i;

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	self->vcpu.rest_us = 30000;
	guest = stat_field(self->vcpu.tid, 43);
	for (i = 0; i < 10; i++) {
		usleep(330000);
		pthread_kill(self->vcpu.thread, SIGUSR1);
	}
	guest = stat_field(self->vcpu.tid, 43) - guest;
	TH_LOG("of 3.0 s guest %.2f s", guest * 1. / hz);
	EXPECT_LT(0.7 * 3, guest * 1. / hz);
	EXPECT_LE(8, stats(self->vm, 0).ticks_restored);
}

static int spin_within_limit(int dev, char *ram)
{
	struct rlimit limit = { 3, 5 };
	struct vcpu v = { .kvm = spinning_kvm(ram), .ram = ram };

	v.vm = new_vm(dev, v.kvm);
	if (vcpu_start(&v) || claim(v.vm, 0, THIN))
		return 1;
	setrlimit(RLIMIT_CPU, &limit);
	for (;;)
		pause();
}

/* RLIMIT_CPU finds the vCPU, though its ticks are few. */
TEST_F(tick, cpu_limit)
{
	uint64_t begin = now_ns();
	double seconds;

	EXPECT_EQ(256 + SIGXCPU, IN_CHILD(spin_within_limit(self->dev, self->ram)));
	seconds = (now_ns() - begin) / 1e9;
	TH_LOG("3 s of the CPU's time took %.1f s", seconds);
	EXPECT_LT(2.5, seconds);
	EXPECT_GT(8, seconds);
}

/* And in time: a timer is put up as that limit is. */
TEST_F_TIMEOUT(tick, cpu_timer, 60)
{
	double used = 10;
	int i;

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	/* Whoever hears of it is late as well, on a busy host. */
	for (i = 0; i < 3 && used >= 3.5; i++) {
		used = cpu_time_until_timer(3);
		TH_LOG("3 s of the CPU's time were %.2f s", used);
		EXPECT_LT(2.9, used);
	}
	EXPECT_GT(3.5, used);
}

/* The first half of suspend: the vCPU stands still, and so does our look at it. */
TEST_F(tick, tasks_are_frozen)
{
	const char *how = "/sys/power/pm_test";

	if (access(how, F_OK))
		SKIP(return, "this kernel cannot suspend by halves");
	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	ASSERT_EQ(0, put_text("/sys/module/suspend/parameters/pm_test_delay", "2"));
	ASSERT_EQ(0, put_text(how, "freezer"));
	EXPECT_EQ(0, put_text("/sys/power/state", "freeze"));
	ASSERT_EQ(0, put_text(how, "none"));
	EXPECT_TRUE(gets_thin(THIN));
	EXPECT_EQ(THIN, stats(self->vm, 0).cpu);
	EXPECT_EQ(0, stats(self->vm, 0).drifts);
}

/* The keeper's CPU goes, and comes; and the thinned one. */
TEST_F(tick, cpus_go_offline)
{
	const char *keeper = "/sys/devices/system/cpu/cpu2/online";
	const char *thin = "/sys/devices/system/cpu/cpu3/online";

	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	ASSERT_EQ(0, put_text(keeper, "0"));
	sleep(1);
	ASSERT_EQ(0, run_only_on(0, 0));
	EXPECT_TRUE(SOON(kernel_sleep(40) < 300));
	ASSERT_EQ(0, put_text(keeper, "1"));
	EXPECT_TRUE(gets_thin(THIN));

	ASSERT_EQ(0, put_text(thin, "0"));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == HPCVM_CPU_ANY));
	ASSERT_EQ(0, put_text(thin, "1"));
	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	EXPECT_TRUE(gets_thin(THIN));
}

/*
 * All CPUs of a group: nobody of it is idle, so none of them has a duty for the
 * others; until one is idle again.
 */
TEST_F(tick, two_of_a_group)
{
	struct vcpu second = { .kvm = self->kvm, .vm = self->vm, .id = 1, .ram = self->ram };

	/* Cores that will be claimed idle before. */
	ASSERT_EQ(0, vcpu_start(&second));
	ASSERT_EQ(0, run_only_on(self->vcpu.tid, 0));
	ASSERT_EQ(0, run_only_on(second.tid, 1));
	usleep(100000);
	ASSERT_EQ(0, claim(self->vm, 0, CPU_A));
	ASSERT_EQ(0, claim(self->vm, 1, CPU_B));
	EXPECT_TRUE(gets_thin(CPU_A));
	EXPECT_TRUE(gets_thin(CPU_B));
	TH_LOG("ticks a second: %.1f and %.1f", ticks(CPU_A, 1), ticks(CPU_B, 1));
	ASSERT_EQ(0, run_only_on(0, 0));
	EXPECT_TRUE(SOON(kernel_sleep(40) < 300));
	ASSERT_EQ(0, run_only_on(0, 1));
	EXPECT_TRUE(SOON(kernel_sleep(40) < 300));
	vcpu_stop(&second);
	ASSERT_EQ(0, run_only_on(0, CPU_B));
	EXPECT_TRUE(SOON(kernel_sleep(40) < 300));
}

/* A vCPU that moves leaves its tick behind, and loses the next one's. */
TEST_F(tick, moves)
{
	ASSERT_EQ(0, claim(self->vm, 0, THIN));
	ASSERT_TRUE(gets_thin(THIN));
	ASSERT_EQ(0, claim(self->vm, 0, NEAR));
	EXPECT_TRUE(gets_thin(NEAR));
	ASSERT_EQ(0, run_only_on(self->vcpu.tid, THIN));
	EXPECT_TRUE(SOON(stats(self->vm, 0).cpu == THIN));
	EXPECT_TRUE(gets_thin(THIN));
	EXPECT_EQ(HPCVM_TICK_THIN, stats(self->vm, 0).tick);
}

TEST_HARNESS_MAIN
