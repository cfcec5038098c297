// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a claim costs, in nanoseconds: under -icount these are instructions, of
 * all CPUs together. The vCPU's thread sleeps, so nothing is waited for, and no
 * tick is thinned. Prints the rows of a table.
 */
#include "../vcpu.h"

#define ROUNDS 16

static void row(const char *what, uint64_t ns)
{
	printf("%-34s  %8.1f k\n", what, ns / 1e3);
}

static uint64_t cost(int vm, int cpu)
{
	uint64_t begin = now_ns();
	int err = cpu < 0 ? release(vm, 0) : claim(vm, 0, cpu);

	if (err) {
		fprintf(stderr, "claim: %s\n", strerror(err));
		exit(1);
	}
	return now_ns() - begin;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

int main(void)
{
	struct vcpu v = { .sleeps = true, .rest_us = 600 * 1000000u };
	uint64_t first, claimed = -1, moved = -1, released = -1;
	int i;

	if (list_cores("2-3") || put_text(CORES "thin_ticks", "0"))
		return 1;
	run_only_on(0, 0);
	v.ram = mmap(NULL, VCPU_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	v.kvm = spinning_kvm(v.ram);
	v.vm = new_vm(open_device(), v.kvm);
	if (vcpu_start(&v))
		return 1;
	sleep(1);
	first = cost(v.vm, 2);
	cost(v.vm, -1);
	for (i = 0; i < ROUNDS; i++) {
		claimed = less(claimed, cost(v.vm, 2));
		moved = less(moved, cost(v.vm, 3));
		released = less(released, cost(v.vm, -1));
	}
	row("the first claim of the node", first);
	row("a claim", claimed);
	row("a move to another core", moved);
	row("a release", released);
	return 0;
}
