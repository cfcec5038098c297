// SPDX-License-Identifier: GPL-2.0-only
/*
 * ticks HOW SECONDS: what disturbs a core on which somebody spins, and what
 * that costs the others. One line:
 *
 *	TIMER ALL EXITS SLEEP LAG RCU
 *
 * local timer interrupts, all interrupts, KVM exits of the spinning core in a
 * second; the longest that a sleep of 40 ms in the kernel took elsewhere, the
 * longest that the time stood still, in ms; and synchronize_rcu(), in ms on
 * average.
 *
 * HOW: native (a process spins), pinned (a guest does, bound to the CPU, as
 * with libvirt's <vcpupin>), claimed (a guest with a core of its own). The
 * spinner is on CPU 3, and everything else elsewhere.
 */
#include <linux/membarrier.h>
#include "../vcpu.h"

#define CORE 3

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
		printf("%.1f\n", (now_ns() - begin) / 1e6 / rounds);
	else
		printf("-\n");
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
	return v->vm;
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[2]) : 30;
	struct seen a, b;
	uint64_t from;
	int vm;

	if (argc < 2 || list_cores("3") || put_text(CORES "thin_ticks", "1"))
		return 1;
	run_only_on(0, 0);
	vm = begin(argv[1]);
	sleep(6);	/* the core's duties go elsewhere */
	a = see(vm);
	from = now_ns();
	usleep(seconds * 1e6);
	b = see(vm);
	seconds = (now_ns() - from) / 1e9;
	printf("%.2f %.2f %.2f ", (b.timer - a.timer) / seconds, (b.all - a.all) / seconds,
	       (b.exits - a.exits) / seconds);
	printf("%.1f ", longest_sleep(60));
	printf("%.1f ", longest_lag(4));
	show_grace_period(20);
	return 0;
}
