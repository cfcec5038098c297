// SPDX-License-Identifier: GPL-2.0-only
/*
 * The account of a vCPU that owns a core: who took the CPU from it, for how
 * long, and which interrupts came there.
 *
 * Two of the scheduler's tracepoints tell it, on the claimed CPU alone: what
 * they cost elsewhere is to read one word of the CPU's own. Nothing is
 * registered while no core is claimed. Interrupts are counted by the kernel
 * anyway, /proc/interrupts shows them: an account is the difference.
 *
 * It also tells when the vCPU began to run and when it stopped: in which stretch
 * on the CPU its thread was in KVM_RUN. All of a VM's vCPUs give the skew between
 * the first and the last.
 */
#include <linux/kernel_stat.h>
#include <linux/log2.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>
#include <trace/events/sched.h>

#include "hpcvm.h"

static DEFINE_PER_CPU(struct hpcvm_account *, accounts);

static unsigned int gap_class(u64 ns)
{
	return min_t(unsigned int, ns ? ilog2(ns) : 0, HPCVM_GAPS - 1);
}

/* A stretch on the CPU ends: was the vCPU run in it, and is it still? */
static void note_run(struct hpcvm_account *a)
{
	u64 exits = hpcvm_kvm_nr_exits(a->kvm);
	bool inside = hpcvm_kvm_is_inside(a->kvm), ran = exits != a->exits;

	if ((ran || inside) && !a->run_began)
		WRITE_ONCE(a->run_began, a->came);
	if ((ran || a->inside) && !inside)
		WRITE_ONCE(a->run_ended, a->left);
	a->inside = inside;
	WRITE_ONCE(a->exits, exits);
}

static void leaves(struct hpcvm_account *a, bool preempted)
{
	a->left = ktime_get_mono_fast_ns();
	note_run(a);
	a->wanted = preempted;
	if (preempted)
		WRITE_ONCE(a->preempted, a->preempted + 1);
	else
		WRITE_ONCE(a->slept, a->slept + 1);
}

static void returns(struct hpcvm_account *a)
{
	u64 gap;

	WRITE_ONCE(a->came, ktime_get_mono_fast_ns());
	if (!a->wanted)
		return;
	a->wanted = false;
	gap = a->came - a->left;
	WRITE_ONCE(a->preempted_ns, a->preempted_ns + gap);
	WRITE_ONCE(a->gaps[gap_class(gap)], a->gaps[gap_class(gap)] + 1);
	if (gap > a->longest)
		WRITE_ONCE(a->longest, gap);
}

static void on_switch(void *unused, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
{
	struct hpcvm_account *a = this_cpu_read(accounts);

	if (!a)
		return;
	if (prev == a->task) {
		leaves(a, preempt || prev_state == TASK_RUNNING);
		if (prev_state & TASK_DEAD)
			hpcvm_vcpus_kick();
	} else if (next == a->task) {
		returns(a);
	}
}

/* The task is about to be taken from its CPU to another one. */
static void on_migrate(void *unused, struct task_struct *p, int cpu)
{
	struct hpcvm_account *a = per_cpu(accounts, task_cpu(p));

	if (!a || p != a->task || cpu == a->cpu || READ_ONCE(a->ours))
		return;
	WRITE_ONCE(a->migrations, a->migrations + 1);
	hpcvm_vcpus_kick();
}

static struct hpcvm_probe probes[] = {
	{ "sched_switch", on_switch },
	{ "sched_migrate_task", on_migrate },
};

/**
 * hpcvm_accounts_start() - the first core is about to be claimed
 *
 * Return: 0, -ENOMEM, or -EOPNOTSUPP on a kernel without these tracepoints.
 */
int hpcvm_accounts_start(void)
{
	check_trace_callback_type_sched_switch(on_switch);
	check_trace_callback_type_sched_migrate_task(on_migrate);
	return hpcvm_probes_place(probes, ARRAY_SIZE(probes));
}

/** hpcvm_accounts_stop() - the last core has been released */
void hpcvm_accounts_stop(void)
{
	hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
}

/**
 * hpcvm_account_open() - begin the account of a task on a CPU
 * @a: it is not open.
 * @task: held by the caller until the account is closed.
 * @kvm: the vCPU that it runs, likewise.
 * @cpu: the task's own.
 */
void hpcvm_account_open(struct hpcvm_account *a, struct task_struct *task,
			const struct kvm_vcpu *kvm, int cpu)
{
	u64 now = ktime_get_mono_fast_ns();

	*a = (struct hpcvm_account){
		.task = task,
		.kvm = kvm,
		.cpu = cpu,
		.opened = now,
		.came = now,
		.exits = hpcvm_kvm_nr_exits(kvm),
		.timer_irqs = compat_timer_irqs(cpu),
		.all_irqs = compat_all_irqs(cpu),
	};
	/* A probe on that CPU sees it whole, or not at all. */
	smp_store_release(per_cpu_ptr(&accounts, cpu), a);
}

static void nothing(void *unused)
{
}

/**
 * hpcvm_account_close() - the CPU is no longer the task's
 * @a: may be used by a probe for an RCU grace period longer, but not its vCPU.
 */
void hpcvm_account_close(struct hpcvm_account *a)
{
	WRITE_ONCE(per_cpu(accounts, a->cpu), NULL);
	/* The scheduler's probe runs there without interrupts. */
	smp_call_function_single(a->cpu, nothing, NULL, 1);
}

/** hpcvm_account_mark() - the next run of the vCPU is the one whose begin is told */
void hpcvm_account_mark(struct hpcvm_account *a)
{
	WRITE_ONCE(a->run_began, 0);
}

/* It may be in the stretch still in which it has begun. */
static u64 run_began(const struct hpcvm_account *a)
{
	u64 came = READ_ONCE(a->came);
	bool ran = hpcvm_kvm_nr_exits(a->kvm) != READ_ONCE(a->exits);

	return READ_ONCE(a->run_began) ?: ran ? came : 0;
}

/** hpcvm_account_ours() - what takes the task elsewhere is our own doing, or not */
void hpcvm_account_ours(struct hpcvm_account *a, bool ours)
{
	WRITE_ONCE(a->ours, ours);
}

/**
 * hpcvm_account_read() - what an open account says now
 * @a: is open.
 * @stats: the fields of it that are an account's are filled in.
 */
void hpcvm_account_read(const struct hpcvm_account *a, struct hpcvm_vcpu_stats *stats)
{
	int i;

	stats->owned_ns = ktime_get_mono_fast_ns() - a->opened;
	stats->timer_irqs = (u32)(compat_timer_irqs(a->cpu) - a->timer_irqs);
	stats->all_irqs = compat_all_irqs(a->cpu) - a->all_irqs;
	stats->preempted = READ_ONCE(a->preempted);
	stats->preempted_ns = READ_ONCE(a->preempted_ns);
	stats->preempted_longest_ns = READ_ONCE(a->longest);
	stats->slept = READ_ONCE(a->slept);
	stats->run_began_ns = run_began(a);
	stats->run_ended_ns = READ_ONCE(a->run_ended);
	stats->migrations = READ_ONCE(a->migrations);
	for (i = 0; i < HPCVM_GAPS; i++)
		stats->gaps[i] = READ_ONCE(a->gaps[i]);
}
