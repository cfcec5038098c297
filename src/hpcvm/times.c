// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where the time of a vCPU that owns a core goes: to the guest, to the hypervisor
 * that serves it, or elsewhere, while its thread is scheduled out.
 *
 * Two tracepoints of KVM and one of the scheduler's tell. They are in the way of
 * every entry to a guest, so they are placed only while somebody asks. KVM's are
 * taken by symbol_get(), which keeps kvm.ko loaded meanwhile: none is linked.
 *
 * Counting begins, and ends, with a visit to the CPU: that ends the guest's turn,
 * so what comes next is seen.
 */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/seqlock.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint-defs.h>
#include <linux/tracepoint.h>
#include <trace/events/sched.h>

#include "hpcvm.h"

DECLARE_TRACEPOINT(kvm_entry);
DECLARE_TRACEPOINT(kvm_exit);

enum place { UNCOUNTED, GUEST, HYPERVISOR, OUT, PLACES };

struct times {
	struct task_struct *task;	/* whose; to compare, no more */
	seqcount_t seq;			/* what follows: of its CPU alone, interrupts off */
	enum place at;
	u64 since;			/* in ns */
	u64 ns[PLACES];
};

static DEFINE_PER_CPU(struct times, times);
static unsigned int askers;		/* under cores_lock */

/* Clocks of two CPUs may differ by a little. */
static u64 elapsed(u64 since)
{
	return max_t(s64, ktime_get_mono_fast_ns() - since, 0);
}

static void go(struct times *t, enum place place)
{
	raw_write_seqcount_begin(&t->seq);
	t->ns[t->at] += elapsed(t->since);
	t->since = ktime_get_mono_fast_ns();
	WRITE_ONCE(t->at, place);
	raw_write_seqcount_end(&t->seq);
}

static void on_switch(void *unused, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
{
	struct times *t = this_cpu_ptr(&times);

	if (t->at == UNCOUNTED)
		return;
	if (prev == t->task)
		go(t, OUT);
	else if (next == t->task)
		go(t, HYPERVISOR);
}

/* Some kernels trace an exit with interrupts on, and after they were served. */
static void cross(enum place from, enum place to)
{
	unsigned long flags;
	struct times *t;

	local_irq_save(flags);
	t = this_cpu_ptr(&times);
	if (t->task == current && t->at == from)
		go(t, to);
	local_irq_restore(flags);
}

static void on_entry(void *unused, struct kvm_vcpu *vcpu, bool immediate_exit)
{
	cross(HYPERVISOR, GUEST);
}

static void on_exit(void *unused, struct kvm_vcpu *vcpu, u32 isa)
{
	cross(GUEST, HYPERVISOR);
}

enum { SWITCH, ENTRY, EXIT };

static struct hpcvm_probe probes[] = {
	[SWITCH] = { "sched_switch", on_switch },
	[ENTRY] = { "kvm_entry", on_entry },
	[EXIT] = { "kvm_exit", on_exit },
};

static void put_tracepoints(void)
{
	if (probes[ENTRY].tp)
		symbol_put(__tracepoint_kvm_entry);
	if (probes[EXIT].tp)
		symbol_put(__tracepoint_kvm_exit);
	probes[ENTRY].tp = NULL;
	probes[EXIT].tp = NULL;
}

static int place_probes(void)
{
	int err = -EOPNOTSUPP;

	check_trace_callback_type_sched_switch(on_switch);
	probes[ENTRY].tp = symbol_get(__tracepoint_kvm_entry);
	probes[EXIT].tp = symbol_get(__tracepoint_kvm_exit);
	if (probes[ENTRY].tp && probes[EXIT].tp)
		err = hpcvm_probes_place(probes, ARRAY_SIZE(probes));
	if (err)
		put_tracepoints();
	return err;
}

static void remove_probes(void)
{
	hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
	put_tracepoints();
}

/* On its CPU. */
static void start(void *arg)
{
	struct times *t = arg;

	go(t, current == t->task ? HYPERVISOR : OUT);
}

static void stop(void *arg)
{
	go(arg, UNCOUNTED);
}

/**
 * hpcvm_times_ask() - somebody wants to know from now on
 *
 * Return: 0, -ENOMEM, or -EOPNOTSUPP if this kernel's KVM has no such tracepoints.
 * Context: process.
 */
int hpcvm_times_ask(void)
{
	int cpu, err = 0;

	hpcvm_cores_lock_always();
	if (!askers)
		err = place_probes();
	if (!err && !askers++)
		for_each_possible_cpu(cpu)
			if (per_cpu(times, cpu).task)
				smp_call_function_single(cpu, start, per_cpu_ptr(&times, cpu), 1);
	hpcvm_cores_unlock();
	return err;
}

/** hpcvm_times_unask() - and no longer */
void hpcvm_times_unask(void)
{
	int cpu;

	hpcvm_cores_lock_always();
	if (!--askers) {
		remove_probes();
		/* Nothing counts any more, so this can be done from here. */
		for_each_possible_cpu(cpu)
			stop(per_cpu_ptr(&times, cpu));
	}
	hpcvm_cores_unlock();
}

/**
 * hpcvm_times_begin() - a task has come to a CPU of its own
 * @cpu: the CPU.
 * @task: held by the caller until hpcvm_times_end().
 *
 * Context: process, under cores_lock; CPUs stay online.
 */
void hpcvm_times_begin(int cpu, struct task_struct *task)
{
	struct times *t = per_cpu_ptr(&times, cpu);

	memset(t->ns, 0, sizeof(t->ns));
	WRITE_ONCE(t->task, task);
	if (askers)
		smp_call_function_single(cpu, start, t, 1);
}

/** hpcvm_times_end() - the CPU is its own no longer */
void hpcvm_times_end(int cpu)
{
	struct times *t = per_cpu_ptr(&times, cpu);

	/* Offline nothing runs there, and nothing counts. */
	if (askers && smp_call_function_single(cpu, stop, t, 1))
		stop(t);
	WRITE_ONCE(t->task, NULL);
}

/**
 * hpcvm_times_read() - where the time has gone
 * @cpu: between hpcvm_times_begin() and hpcvm_times_end().
 * @stats: its times are filled in.
 */
void hpcvm_times_read(int cpu, struct hpcvm_vcpu_stats *stats)
{
	const struct times *t = per_cpu_ptr(&times, cpu);
	u64 ns[PLACES];
	unsigned int seq;

	do {
		seq = raw_read_seqcount_begin(&t->seq);
		memcpy(ns, t->ns, sizeof(ns));
		ns[t->at] += elapsed(t->since);
	} while (read_seqcount_retry(&t->seq, seq));
	stats->guest_ns = ns[GUEST];
	stats->hypervisor_ns = ns[HYPERVISOR];
	stats->out_ns = ns[OUT];
}
