// SPDX-License-Identifier: GPL-2.0-only
/*
 * ticks HOW SECONDS: what disturbs a core on which somebody spins for so long.
 * One line, each in a second:
 *
 *	TIMER ALL EXITS
 *
 * local timer interrupts, all interrupts, KVM exits of the spinning core.
 *
 * ticks HOW 0: what that costs the others. One line, in ms:
 *
 *	SLEEP LAG RCU CHARGED TIMER
 *
 * the longest of 100 sleeps of 40 ms in the kernel elsewhere, the longest that the
 * time stood still, and synchronize_rcu() on average; how much of its time the spinner
 * was charged with (a guest: as guest time), of one; and how much of it passed until
 * a timer of 3 s of it came (RLIMIT_CPU is such a one), in s.
 *
 * HOW: native (a process spins), pinned (a guest does, bound to the CPU, as
 * with libvirt's <vcpupin>), claimed (a guest with a core of its own). The
 * spinner is on CPU 3, and everything else elsewhere.
 */
#include <linux/membarrier.h>
#include "../vcpu.h"

#define CORE 3

/* Fields of stat_field(), proc(5). */
#define UTIME 14
#define GUEST_TIME 43

static pid_t spinner;	/* the thread */
static int charged_as = GUEST_TIME;

struct seen {
	long long timer, all;
	uint64_t exits;
};

/* All interrupts of a CPU, of whatever kind. */
static long long all_interrupts(int cpu)
{
	char line[4096], *at, *end;
	long long sum = 0, n = 0;
	FILE *f = fopen("/proc/interrupts", "r");
	int i;

	while (f && fgets(line, sizeof(line), f)) {
		at = strchr(line, ':');
		/* TLB shootdowns are calls, and counted as such. */
		if (!at || !strncmp(at - 3, "TLB", 3) || !strncmp(at - 3, "ERR", 3) ||
		    !strncmp(at - 3, "MIS", 3))
			continue;
		for (i = 0, at++; i <= cpu; i++, at = end) {
			n = strtoll(at, &end, 10);
			if (end == at)
				break;
		}
		sum += i > cpu ? n : 0;
	}
	if (f)
		fclose(f);
	return sum;
}

static struct seen see(int vm)
{
	return (struct seen){ interrupts("LOC", CORE), all_interrupts(CORE),
			      vm < 0 ? 0 : stats(vm, 0).exits };
}

static void *spin(void *unused)
{
	charged_as = UTIME;
	spinner = gettid();
	run_only_on(0, CORE);
	for (;;)
		;
	return NULL;
}

static double longest_sleep(int rounds)
{
	double worst = 0, ms;
	int i;

	for (i = 0; i < rounds; i++) {
		run_only_on(0, i % CORE);
		ms = kernel_sleep(40);
		worst = ms > worst ? ms : worst;
	}
	return worst;
}

/* The coarse clock moves with jiffies: how far does it fall behind? */
static double longest_lag(double seconds)
{
	struct timespec coarse;
	double worst = 0, lag;
	uint64_t end = now_ns() + seconds * 1e9;

	run_only_on(0, 0);
	while (now_ns() < end) {
		clock_gettime(CLOCK_MONOTONIC_COARSE, &coarse);
		lag = (now_ns() - coarse.tv_sec * 1000000000ull - coarse.tv_nsec) / 1e6;
		worst = lag > worst ? lag : worst;
		usleep(500);
	}
	return worst;
}

/* membarrier() waits for one; on a node booted nohz_full it refuses. */
static void show_grace_period(int rounds)
{
	uint64_t begin = now_ns();
	int i;

	for (i = 0; i < rounds; i++)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
			break;
	if (i == rounds)
		printf("%.1f ", (now_ns() - begin) / 1e6 / rounds);
	else
		printf("- ");
}

/* In seconds. */
static double charged(void)
{
	return 1. * stat_field(spinner, charged_as) / sysconf(_SC_CLK_TCK);
}

static void show_costs(void)
{
	double begin = now_ns() / 1e9, before = charged();

	printf("%.1f ", longest_sleep(100));
	printf("%.1f ", longest_lag(4));
	show_grace_period(20);
	printf("%.2f ", (charged() - before) / (now_ns() / 1e9 - begin));
	printf("%.2f\n", cpu_time_until_timer(3));
}

static int begin(const char *how)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	pthread_t thread;

	if (!strcmp(how, "native"))
		return pthread_create(&thread, NULL, spin, NULL), -1;
	v->ram = mmap(NULL, VCPU_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	v->kvm = spinning_kvm(v->ram);
	v->vm = new_vm(open_device(), v->kvm);
	if (vcpu_start(v) || (strcmp(how, "claimed") ? run_only_on(v->tid, CORE) :
						       claim(v->vm, 0, CORE)))
		exit(1);
	spinner = v->tid;
	return v->vm;
}

static void show_rates(int vm, double seconds)
{
	struct seen a = see(vm), b;
	uint64_t from = now_ns();

	usleep(seconds * 1e6);
	b = see(vm);
	seconds = (now_ns() - from) / 1e9;
	printf("%.2f %.2f %.2f\n", (b.timer - a.timer) / seconds, (b.all - a.all) / seconds,
	       (b.exits - a.exits) / seconds);
}

int main(int argc, char **argv)
{
	int vm;

	if (argc < 3 || list_cores("3") || put_text(CORES "thin_ticks", "1"))
		return 1;
	run_only_on(0, 0);
	vm = begin(argv[1]);
	sleep(6);	/* the core's duties go elsewhere */
	if (atof(argv[2]) > 0)
		show_rates(vm, atof(argv[2]));
	else
		show_costs();
	return 0;
}
