// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which CPU expires the timers of idle ones?
 *
 * Since Linux 6.9 CPUs are in groups of eight, and the timers of a group's idle
 * CPUs are expired by one that is not, its migrator, at its tick. A thinned core
 * must not be that: a sleep of 40 ms elsewhere took 952 ms. The groups are the
 * kernel's own, but three tracepoints tell of them: tmigr_cpu_active that a
 * CPU is no longer idle, and then, on that CPU, tmigr_group_set_cpu_active for
 * its group, with the CPU's bit in it and the group's new state, which names
 * the migrator's bit; tmigr_group_set_cpu_inactive the same for one that goes
 * idle. So a CPU is known after it has been idle once. Older kernels have no
 * such groups, nor the tracepoints.
 */
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>

#include "hpcvm.h"

#define GROUPS_BITS 10
#define NR_GROUPS BIT(GROUPS_BITS)

/* union tmigr_state: the bits of active CPUs, the migrator's bit, a sequence number. */
#define MIGRATOR(state) ((u8)((state) >> 8))
#define SEQUENCE(state) ((u16)((state) >> 16))
#define NO_MIGRATOR 0xff

struct group {
	void *group;	/* opaque; NULL: free */
	u32 state;	/* the latest */
};

struct member {
	struct group *group;	/* NULL: not known yet */
	u8 bit;
	bool expected;		/* the next event of a group is of this CPU's */
};

static struct group groups[NR_GROUPS];
static DEFINE_PER_CPU(struct member, members);
static DEFINE_RAW_SPINLOCK(lock);	/* of groups */
static bool there_are_groups;

/* The place of a group, new or old; NULL: no room. Under lock. */
static struct group *place_of(void *group)
{
	unsigned int i, at = hash_ptr(group, GROUPS_BITS);

	for (i = 0; i < NR_GROUPS; i++, at = (at + 1) % NR_GROUPS) {
		if (!groups[at].group)
			groups[at].group = group;
		if (groups[at].group == group)
			return &groups[at];
	}
	return NULL;
}

static struct group *note(void *group, u32 state)
{
	struct group *g;

	raw_spin_lock(&lock);
	g = place_of(group);
	if (g && (!g->state || (s16)(SEQUENCE(state) - SEQUENCE(g->state)) > 0))
		WRITE_ONCE(g->state, state);
	raw_spin_unlock(&lock);
	return g;
}

static void on_cpu_active(void *unused, void *tmc)
{
	this_cpu_write(members.expected, true);
}

static void on_group_active(void *unused, void *group, u32 state, u32 bit)
{
	struct member *m = this_cpu_ptr(&members);
	struct group *g = note(group, state);

	if (!m->expected)
		return;
	m->expected = false;
	m->bit = bit;
	WRITE_ONCE(m->group, g);
}

/* Somebody has gone idle. If that makes a thinned core the migrator, it hears. */
static void on_group_inactive(void *unused, void *group, u32 state, u32 bit)
{
	struct group *g = note(group, state);
	int cpu;

	for_each_cpu(cpu, hpcvm_tick_thinned()) {
		const struct member *m = per_cpu_ptr(&members, cpu);

		if (g && READ_ONCE(m->group) == g && m->bit == MIGRATOR(state))
			hpcvm_thin_poke(cpu);
	}
}

static struct hpcvm_probe probes[] = {
	{ "tmigr_cpu_active", on_cpu_active },
	{ "tmigr_group_set_cpu_active", on_group_active },
	{ "tmigr_group_set_cpu_inactive", on_group_inactive },
};

/** hpcvm_migrator_start() - begin to learn; 0 or an errno */
int hpcvm_migrator_start(void)
{
	int cpu;

	there_are_groups = hpcvm_probes_find(probes, ARRAY_SIZE(probes));
	if (!there_are_groups)
		return 0;
	memset(groups, 0, sizeof(groups));
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&members, cpu), 0, sizeof(struct member));
	return hpcvm_probes_place(probes, ARRAY_SIZE(probes));
}

void hpcvm_migrator_stop(void)
{
	if (there_are_groups)
		hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
}

/**
 * hpcvm_migrator_is_other() - is it certain that another CPU is the migrator?
 * @cpu: of its group.
 *
 * Context: any.
 */
bool hpcvm_migrator_is_other(int cpu)
{
	const struct member *m = per_cpu_ptr(&members, cpu);
	const struct group *g = READ_ONCE(m->group);
	u32 state;

	if (!there_are_groups)
		return true;
	if (!g)
		return false;
	state = READ_ONCE(g->state);
	return MIGRATOR(state) != NO_MIGRATOR && MIGRATOR(state) != m->bit;
}

/** hpcvm_migrator_apart() - are these CPUs known to be in different groups? */
bool hpcvm_migrator_apart(int a, int b)
{
	const struct group *x, *y;

	if (!there_are_groups || a >= nr_cpu_ids || b >= nr_cpu_ids)
		return false;
	x = READ_ONCE(per_cpu_ptr(&members, a)->group);
	y = READ_ONCE(per_cpu_ptr(&members, b)->group);
	return x && y && x != y;
}
