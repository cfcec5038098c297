// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keepers: CPUs that do the node's duties so that thinned ones need not.
 *
 * A timer of a keeper's own, due at every jiffy, keeps its tick going even when
 * it is idle: it keeps the time, and stays the migrator of its group once it
 * is (as the first of the kernel's own nohz_full housekeepers does). There is
 * one for each thinned core, in its group if the node has a CPU there that
 * nobody has claimed, else on its NUMA node, else anywhere. A group without
 * one has a core that keeps its tick (migrator.c).
 *
 * They also help RCU: a CPU that has no tick reports no quiescent state. When a
 * grace period lasts, the thinned CPUs are asked for one.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/timer.h>
#include <linux/topology.h>

#include "hpcvm.h"

/*
 * The mean of synchronize_rcu() is to be at most 2 * 19 ms + 50 ms on a node of
 * 250 ticks a second; the states asked for are found three ticks later.
 */
#define HELP_AFTER msecs_to_jiffies(32)
#define HELP_AGAIN msecs_to_jiffies(24)

struct keeper {
	struct timer_list timer;
	int cpu;
	bool on;
	bool stranded;	/* its CPU went offline */
};

static DEFINE_PER_CPU(struct keeper, keepers);
static struct cpumask keeping;		/* under cores_lock */
static unsigned int changes;		/* of it */
static int helper = -1;			/* the one that helps RCU */

static void help_rcu(void)
{
	static unsigned long seen, due;
	unsigned long seq = rcu_get_gp_seq();
	int cpu;

	if (seq != seen) {
		seen = seq;
		due = jiffies + HELP_AFTER;
	} else if (seq & 3 && time_after_eq(jiffies, due)) {
		due = jiffies + HELP_AGAIN;
		for_each_cpu(cpu, hpcvm_tick_thinned())
			hpcvm_thin_help(cpu);
	}
}

static void every_jiffy(struct timer_list *timer)
{
	struct keeper *k = container_of(timer, struct keeper, timer);

	if (!READ_ONCE(k->on))
		return;
	/* Offline it is of no use; the next look finds another, or starts it again. */
	if (!cpu_online(k->cpu)) {
		WRITE_ONCE(k->stranded, true);
		return;
	}
	/* jiffies, not jiffies + 1: that would be every other one. */
	k->timer.expires = jiffies;
	add_timer_on(&k->timer, k->cpu);
	if (k->cpu == READ_ONCE(helper))
		help_rcu();
}

static void start(int cpu)
{
	struct keeper *k = per_cpu_ptr(&keepers, cpu);

	k->cpu = cpu;
	k->stranded = false;
	timer_setup(&k->timer, every_jiffy, TIMER_PINNED);
	WRITE_ONCE(k->on, true);
	k->timer.expires = jiffies;
	add_timer_on(&k->timer, cpu);
}

static void stop(int cpu)
{
	struct keeper *k = per_cpu_ptr(&keepers, cpu);

	WRITE_ONCE(k->on, false);
	timer_delete_sync(&k->timer);
}

/* How well would @cpu do as the keeper of @core? 0: not at all. */
static int suits(int cpu, int core)
{
	if (hpcvm_core_is_owned(cpu) || cpumask_test_cpu(cpu, hpcvm_tick_thinned()) ||
	    cpumask_test_cpu(cpu, topology_sibling_cpumask(core)))
		return 0;
	return 1 + 4 * !hpcvm_migrator_apart(cpu, core) +
	       2 * (cpu_to_node(cpu) == cpu_to_node(core)) + cpumask_test_cpu(cpu, &keeping);
}

/** hpcvm_keeper_of() - the best keeper for a core; nr_cpu_ids: there is none */
int hpcvm_keeper_of(int core)
{
	int cpu, best = nr_cpu_ids, most = 0;

	for_each_online_cpu(cpu) {
		if (suits(cpu, core) <= most)
			continue;
		most = suits(cpu, core);
		best = cpu;
	}
	return best;
}

/**
 * hpcvm_keepers_settle() - have a keeper for each thinned core, and no others
 *
 * Context: process, under cores_lock; CPUs stay online.
 */
void hpcvm_keepers_settle(void)
{
	static struct cpumask wanted;
	int cpu;

	cpumask_clear(&wanted);
	for_each_cpu(cpu, hpcvm_tick_thinned())
		if (hpcvm_keeper_of(cpu) < nr_cpu_ids)
			cpumask_set_cpu(hpcvm_keeper_of(cpu), &wanted);
	for_each_cpu_and(cpu, &wanted, &keeping)
		if (READ_ONCE(per_cpu(keepers, cpu).stranded))
			start(cpu);
	if (cpumask_equal(&wanted, &keeping))
		return;
	for_each_cpu_andnot(cpu, &wanted, &keeping)
		start(cpu);
	WRITE_ONCE(helper, cpumask_first(&wanted));
	for_each_cpu_andnot(cpu, &keeping, &wanted)
		stop(cpu);
	cpumask_copy(&keeping, &wanted);
	changes++;
}

/** hpcvm_keepers_changes() - how often the keepers have changed; under cores_lock */
unsigned int hpcvm_keepers_changes(void)
{
	return changes;
}
