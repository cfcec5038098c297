// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which CPU expires the timers of idle ones?
 *
 * Since Linux 6.9 CPUs are in groups of eight, and the timers of a group's idle
 * CPUs are expired by one that is not, its migrator, at its tick. A thinned core
 * must not be that: a sleep of 40 ms elsewhere took 952 ms. Only in a group of
 * which nobody is idle the migrator has nothing to do, unless that group is the
 * migrator of its parent, a group of groups.
 *
 * The groups are the kernel's own, but three tracepoints tell of them:
 * tmigr_cpu_active that a CPU is no longer idle; then, on that CPU,
 * tmigr_group_set_cpu_active for its group, with the CPU's bit in it and the
 * group's new state: who is active, who is the migrator; and if the group itself
 * was idle before, the same for its parent. tmigr_group_set_cpu_inactive tells
 * of one that goes idle. So a CPU is known after it has been idle once: those
 * that are when we begin to listen are woken up. Older kernels have no such
 * groups, nor the tracepoints.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "hpcvm.h"

#define GROUPS_BITS 10
#define NR_GROUPS BIT(GROUPS_BITS)

/* union tmigr_state: the bits of active CPUs, the migrator's bit, a sequence number. */
#define ACTIVE(state) ((u8)(state))
#define MIGRATOR(state) ((u8)((state) >> 8))
#define SEQUENCE(state) ((u16)((state) >> 16))
#define NO_MIGRATOR 0xff

struct group {
	void *group;		/* opaque; NULL: free */
	u32 state;		/* the latest */
	struct group *parent;	/* NULL: none, or not known yet */
	u8 bit;			/* in the parent */
};

struct member {
	struct group *group;	/* NULL: not known yet */
	u8 bit;
	bool idle;		/* not known, and it has gone idle */
	bool expected;		/* the next event of a group is of this CPU's */
	struct group *child;	/* or of this group's parent */
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

	if (m->expected) {
		m->bit = bit;
		WRITE_ONCE(m->group, g);
		m->idle = false;
	} else if (m->child && g) {
		m->child->bit = bit;
		WRITE_ONCE(m->child->parent, g);
	}
	m->expected = false;
	/* The first that is active in it: its parent hears next. */
	m->child = ACTIVE(state) == bit ? g : NULL;
}

/* Somebody has gone idle. If that gives a duty to a thinned core, it hears. */
static void on_group_inactive(void *unused, void *group, u32 state, u32 bit)
{
	struct group *g = note(group, state);
	int cpu;

	this_cpu_write(members.child, NULL);
	this_cpu_write(members.idle, !this_cpu_read(members.group));
	if (!g)
		return;
	for_each_cpu(cpu, hpcvm_tick_thinned()) {
		const struct member *m = per_cpu_ptr(&members, cpu);
		const struct group *own = READ_ONCE(m->group);

		if (own && m->bit == MIGRATOR(READ_ONCE(own->state)) &&
		    (own == g || (READ_ONCE(own->parent) == g && own->bit == MIGRATOR(state))))
			hpcvm_thin_poke(cpu);
	}
}

static struct hpcvm_probe probes[] = {
	{ "tmigr_cpu_active", on_cpu_active },
	{ "tmigr_group_set_cpu_active", on_group_active },
	{ "tmigr_group_set_cpu_inactive", on_group_inactive },
};

static long nothing(void *unused)
{
	return 0;
}

/** hpcvm_migrator_start() - begin to learn; 0 or an errno */
int hpcvm_migrator_start(void)
{
	int cpu, err;

	there_are_groups = hpcvm_probes_find(probes, ARRAY_SIZE(probes));
	if (!there_are_groups)
		return 0;
	memset(groups, 0, sizeof(groups));
	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&members, cpu), 0, sizeof(struct member));
	err = hpcvm_probes_place(probes, ARRAY_SIZE(probes));
	if (err)
		return err;
	/* Who is idle now wakes up, and is known. */
	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, nothing, NULL);
	cpus_read_unlock();
	return 0;
}

/** hpcvm_migrator_stop() - learn no more */
void hpcvm_migrator_stop(void)
{
	if (there_are_groups)
		hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
}

static bool is_of(int cpu, const struct group *g)
{
	return READ_ONCE(per_cpu(members, cpu).group) == g;
}

static bool is_migrator(const struct group *g, u8 bit)
{
	u8 migrator = MIGRATOR(READ_ONCE(g->state));

	return migrator == bit || migrator == NO_MIGRATOR;
}

/* May there be an idle CPU in this group? One that is not known may be of it. */
static bool has_idle(const struct group *g)
{
	u8 active = ACTIVE(READ_ONCE(g->state));
	int cpu;

	for_each_online_cpu(cpu) {
		const struct member *m = per_cpu_ptr(&members, cpu);
		const struct group *own = READ_ONCE(m->group);

		if (own ? own == g && !(m->bit & active) : READ_ONCE(m->idle))
			return true;
	}
	return false;
}

/**
 * hpcvm_migrator_is_free() - is it certain that no other CPU's timers wait for
 * this one?
 * @cpu: is not idle.
 *
 * Context: any.
 */
bool hpcvm_migrator_is_free(int cpu)
{
	const struct member *m = per_cpu_ptr(&members, cpu);
	const struct group *g = READ_ONCE(m->group);
	const struct group *parent;

	if (!there_are_groups)
		return true;
	if (!g)
		return false;
	if (!is_migrator(g, m->bit))
		return true;
	parent = READ_ONCE(g->parent);
	return parent && !is_migrator(parent, g->bit) && !has_idle(g);
}

/**
 * hpcvm_migrator_can_pass() - can another CPU take the duty over?
 * @cpu: is thinned.
 * @idle: is told which CPUs must idle for that, all at once: @cpu, if somebody
 *	else is active in its group; else all of the group, so that it loses what
 *	it has to do for its parent.
 *
 * Return: false if the CPU would have a duty again as soon as it came back.
 * Context: any.
 */
bool hpcvm_migrator_can_pass(int cpu, struct cpumask *idle)
{
	const struct group *g = READ_ONCE(per_cpu(members, cpu).group);
	int peer;
	u8 others;

	cpumask_clear(idle);
	cpumask_set_cpu(cpu, idle);
	if (!g || hpcvm_migrator_is_free(cpu))
		return true;
	others = ACTIVE(READ_ONCE(g->state));
	for_each_cpu(peer, hpcvm_tick_thinned())
		if (is_of(peer, g))
			others &= ~per_cpu(members, peer).bit;
	if (others)
		return true;
	if (has_idle(g))
		return false;
	for_each_cpu(peer, hpcvm_tick_thinned())
		if (is_of(peer, g))
			cpumask_set_cpu(peer, idle);
	return true;
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
