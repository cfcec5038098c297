// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tick thinning: while a vCPU alone runs on its core, in the guest, the next
 * tick of that core is put off, by a bounded time.
 *
 * A return probe sits on the handler of the tick. The handler always runs, and
 * has then set the timer one period ahead; the probe sets it some more ahead
 * if nothing speaks against it. A missed probe leaves an ordinary tick. What
 * makes the tick needed again restores its period at once: the vCPU leaves the
 * CPU, another task wakes up there, the core gets a duty for the node. Is the vCPU
 * back before a tick has come, it is put off again as far as it was.
 *
 * Two such duties can stick to a core that never idles: to keep the time, and
 * to expire the timers of idle CPUs (migrator.c). A core that has one keeps its
 * tick; keeper.c sees to it that others take them over. A CPU begins to keep the
 * time at a tick of its own, when nobody else does, and then each of its ticks
 * moves jiffies, and nothing else does.
 *
 * The tick also charges time to tasks. What a put-off tick would have charged
 * is made up for when it comes; sum_exec_runtime is right anyway.
 */
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/kernel_stat.h>
#include <linux/kprobes.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/posix-timers.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/cputime.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>
#include <trace/events/sched.h>

#include "hpcvm.h"

/* After so many ticks that speak for it, it is certain that another CPU keeps the time. */
#define CERTAIN 3

/* RLIMIT_CPU, in seconds, is to be right within a tenth. */
#define TIMED_DEFER_NS (100 * (u64)NSEC_PER_MSEC)

struct thin {
	bool on;
	struct task_struct *task;	/* whose ticks are put off; to compare, no more */
	struct hrtimer *timer;		/* its tick */
	u64 last;			/* when the tick came last, in ns */
	unsigned long then;		/* jiffies, after it */
	unsigned int steady;		/* so certain is it that another CPU keeps the time */
	bool deferred;			/* the next one is put off */
	ktime_t due;			/* until then, since that one; 0: it was not */
	u64 deferrals;			/* so often */
	u64 restored;			/* so often it was restored before its time */
	u64 refused;			/* ticks in the guest that were not put off */
	struct visit {
		call_single_data_t csd;
		unsigned long under_way;	/* nobody else may send it meanwhile */
	} poke, help;
};

/* All but on, task, deferred and the visits is of its CPU alone, with interrupts off. */
static DEFINE_PER_CPU(struct thin, thins);

static u64 max_defer_ns = 500 * NSEC_PER_MSEC;

/* How long ago has somebody kept the time? */
static u64 lag_of_time(void)
{
	return ktime_get_mono_fast_ns() - ktime_to_ns(ktime_get_coarse());
}

static bool in_guest(const struct thin *t)
{
	return READ_ONCE(t->on) && current == t->task && current->flags & PF_VCPU;
}

/* Charge whole ticks that did not come. */
static void charge(struct task_struct *p, u64 ns)
{
	u64 *cpustat = this_cpu_ptr(&kernel_cpustat)->cpustat;
	bool nice = task_nice(p) > 0;

	p->utime += ns;
	p->gtime += ns;
	account_group_user_time(p, ns);
	cpustat[nice ? CPUTIME_NICE : CPUTIME_USER] += ns;
	cpustat[nice ? CPUTIME_GUEST_NICE : CPUTIME_GUEST] += ns;
}

/* Since the last one the vCPU was in the guest; @charged: of these by the kernel. */
static void charge_missed(struct thin *t, u64 now, unsigned int charged)
{
	u64 ticks = div_u64(now - t->last + TICK_NSEC / 2, TICK_NSEC);

	if (t->deferred && ticks > charged && current == t->task)
		charge(current, (ticks - charged) * TICK_NSEC);
	t->last = now;
}

/* Back to the normal period, in its old phase. On its CPU, interrupts off. */
static void restore(struct thin *t)
{
	u64 now = ktime_get_mono_fast_ns();
	s64 ahead;

	if (!t->deferred)
		return;
	ahead = ktime_to_ns(hrtimer_get_expires(t->timer)) - (s64)now;
	if (ahead > (s64)TICK_NSEC) {
		ahead = div_s64(ahead, TICK_NSEC) * TICK_NSEC;
		hrtimer_start(t->timer, ktime_sub_ns(hrtimer_get_expires(t->timer), ahead),
			      HRTIMER_MODE_ABS_PINNED_HARD);
	}
	charge_missed(t, now, 0);
	WRITE_ONCE(t->deferred, false);
	t->restored++;
}

/* Visits: a call on a thinned CPU that nobody waits for */

static void visit(int cpu, struct visit *visit)
{
	if (!test_and_set_bit_lock(0, &visit->under_way) &&
	    smp_call_function_single_async(cpu, &visit->csd))
		clear_bit_unlock(0, &visit->under_way);
}

static void poked(void *thin)
{
	struct thin *t = thin;

	clear_bit_unlock(0, &t->poke.under_way);
	restore(t);
}

static void restore_now(void *thin)
{
	restore(thin);
}

/**
 * hpcvm_thin_poke() - a thinned CPU needs its tick
 * @cpu: any.
 *
 * Context: interrupts off, under the scheduler's locks too.
 */
void hpcvm_thin_poke(int cpu)
{
	struct thin *t = per_cpu_ptr(&thins, cpu);

	if (!READ_ONCE(t->on))
		return;
	/* What is going to need it is there, before we look. Pairs with put_off(). */
	smp_mb();
	if (READ_ONCE(t->deferred))
		visit(cpu, &t->poke);
}

/* In the guest RCU's read side is as far as in user space; KVM says so itself. */
static void helped(void *thin)
{
	struct thin *t = thin;

	clear_bit_unlock(0, &t->help.under_way);
	if (in_guest(t))
		compat_rcu_momentary_eqs();
}

/** hpcvm_thin_help() - a grace period waits, maybe for this CPU */
void hpcvm_thin_help(int cpu)
{
	struct thin *t = per_cpu_ptr(&thins, cpu);

	if (READ_ONCE(t->deferred))
		visit(cpu, &t->help);
}

/* The handler of the tick */

struct tick {
	struct hrtimer *timer;
	unsigned long before;	/* jiffies */
	bool late;	/* nobody had kept the time for two periods */
};

static int tick_begins(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct tick *tick = (void *)ri->data;

	if (!this_cpu_read(thins.on))
		return 1;
	tick->timer = (void *)regs_get_kernel_argument(regs, 0);
	tick->before = jiffies;
	tick->late = lag_of_time() > 2 * TICK_NSEC;
	return 0;
}

/* From now on nobody needs it, or whoever does sees that. */
static bool may_put_off(struct thin *t)
{
	if (t->steady < CERTAIN)
		return false;
	WRITE_ONCE(t->deferred, true);
	/* Pairs with hpcvm_thin_poke(). */
	smp_mb();
	if (single_task_running() && !need_resched() &&
	    hpcvm_migrator_is_free(smp_processor_id()))
		return true;
	WRITE_ONCE(t->deferred, false);
	return false;
}

/* Timers of its CPU time, RLIMIT_CPU among them, are looked at by the tick. */
static bool is_timed(struct task_struct *p)
{
	const struct posix_cputimer_base *own = p->posix_cputimers.bases;

	return READ_ONCE(p->signal->posix_cputimers.timers_active) ||
	       READ_ONCE(own[CPUCLOCK_PROF].nextevt) != U64_MAX ||
	       READ_ONCE(own[CPUCLOCK_VIRT].nextevt) != U64_MAX ||
	       READ_ONCE(own[CPUCLOCK_SCHED].nextevt) != U64_MAX;
}

static void put_off(struct thin *t)
{
	u64 most = READ_ONCE(max_defer_ns);
	u64 ticks = div_u64(is_timed(current) ? min(most, TIMED_DEFER_NS) : most, TICK_NSEC);

	if (!may_put_off(t))
		return;
	hrtimer_add_expires_ns(t->timer, (ticks - 1) * TICK_NSEC);
	t->due = hrtimer_get_expires(t->timer);
	t->deferrals++;
}

/* The vCPU is back. On its CPU, interrupts off. */
static void put_off_again(struct thin *t)
{
	u64 now = ktime_get_mono_fast_ns();

	if (ktime_to_ns(t->due) <= (s64)(now + TICK_NSEC) || !may_put_off(t))
		return;
	hrtimer_start(t->timer, t->due, HRTIMER_MODE_ABS_PINNED_HARD);
	t->last = now;
}

/* A CPU that keeps the time is the only one that moves jiffies. */
static void weigh(struct thin *t, const struct tick *tick)
{
	unsigned long now = jiffies;

	if (!tick->late && (now == tick->before || tick->before != t->then))
		t->steady = min(t->steady + 1, (unsigned int)CERTAIN);
	else if (t->steady)
		t->steady--;
	t->then = now;
}

static int tick_ends(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	const struct tick *tick = (void *)ri->data;
	struct thin *t = this_cpu_ptr(&thins);

	if (regs_return_value(regs) != HRTIMER_RESTART)
		return 0;
	charge_missed(t, ktime_get_mono_fast_ns(), 1);
	WRITE_ONCE(t->deferred, false);
	t->timer = tick->timer;
	t->due = 0;
	weigh(t, tick);
	if (!in_guest(t))
		return 0;
	put_off(t);
	if (!t->deferred)
		t->refused++;
	return 0;
}

static struct kretprobe handler;

/*
 * What the tick's handler is called: renamed between 6.1 and 6.12. In this
 * order, as 6.1 has another function by the new name.
 */
static const char *const handlers[] = { "tick_sched_timer", "tick_nohz_handler" };

/* A probe that was registered once cannot be registered again as it is. */
static int place_probe(void)
{
	int i, err = -ENOENT;

	for (i = 0; i < ARRAY_SIZE(handlers) && err; i++) {
		handler = (struct kretprobe){
			.kp.symbol_name = handlers[i],
			.entry_handler = tick_begins,
			.handler = tick_ends,
			.data_size = sizeof(struct tick),
			.maxactive = 2 * num_possible_cpus(),
		};
		err = register_kretprobe(&handler);
	}
	return err;
}

/* What needs the tick again */

static void on_switch(void *unused, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
{
	struct thin *t = this_cpu_ptr(&thins);

	if (t->deferred && prev == t->task)
		restore(t);
	else if (t->due && next == t->task && READ_ONCE(t->on))
		put_off_again(t);
}

static void on_wakeup(void *unused, struct task_struct *p)
{
	hpcvm_thin_poke(task_cpu(p));
}

static void on_migrate(void *unused, struct task_struct *p, int cpu)
{
	hpcvm_thin_poke(cpu);
}

static struct hpcvm_probe probes[] = {
	{ "sched_switch", on_switch },
	{ "sched_wakeup", on_wakeup },
	{ "sched_wakeup_new", on_wakeup },
	{ "sched_migrate_task", on_migrate },
};

/**
 * hpcvm_thin_start() - place the probes
 *
 * Return: 0 or an errno: no core can be thinned then.
 * Context: process, without cpu_hotplug_lock.
 */
int hpcvm_thin_start(void)
{
	int cpu, err;

	check_trace_callback_type_sched_wakeup(on_wakeup);
	for_each_possible_cpu(cpu) {
		struct thin *t = per_cpu_ptr(&thins, cpu);

		INIT_CSD(&t->poke.csd, poked, t);
		INIT_CSD(&t->help.csd, helped, t);
	}
	err = hpcvm_migrator_start();
	if (err)
		return err;
	err = hpcvm_probes_place(probes, ARRAY_SIZE(probes));
	if (err)
		goto migrator;
	err = place_probe();
	if (!err)
		return 0;
	hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
migrator:
	hpcvm_migrator_stop();
	return err;
}

static void nothing(void *unused)
{
}

/** hpcvm_thin_stop() - remove the probes; no CPU is thinned any more */
void hpcvm_thin_stop(void)
{
	unregister_kretprobe(&handler);
	hpcvm_probes_remove(probes, ARRAY_SIZE(probes));
	hpcvm_migrator_stop();
	/* What was poked has run: calls of a CPU go one after the other. */
	on_each_cpu(nothing, NULL, 1);
}

/**
 * hpcvm_thin_missed() - how often was the tick's handler not probed?
 */
unsigned long hpcvm_thin_missed(void)
{
	return handler.nmissed;
}

/** hpcvm_thin_on() - thin the tick of a CPU while this task alone runs there */
void hpcvm_thin_on(int cpu, struct task_struct *task)
{
	struct thin *t = per_cpu_ptr(&thins, cpu);

	t->deferrals = 0;
	t->restored = 0;
	t->refused = 0;
	t->steady = 0;
	t->due = 0;
	t->deferred = false;	/* its CPU may have gone offline with a tick put off */
	t->task = task;
	/* Its CPU's tick sees whose it is, once it sees that. */
	smp_store_release(&t->on, true);
}

/** hpcvm_thin_off() - and no longer: when this returns it has its tick again */
void hpcvm_thin_off(int cpu)
{
	struct thin *t = per_cpu_ptr(&thins, cpu);

	WRITE_ONCE(t->on, false);
	/* Offline it has no tick; then this does nothing. */
	smp_call_function_single(cpu, restore_now, t, 1);
}

/** hpcvm_thin_read() - what has become of a thinned CPU's ticks */
void hpcvm_thin_read(int cpu, struct hpcvm_thin_counts *counts)
{
	const struct thin *t = per_cpu_ptr(&thins, cpu);

	counts->deferred = READ_ONCE(t->deferrals);
	counts->restored = READ_ONCE(t->restored);
	counts->refused = READ_ONCE(t->refused);
}

/** hpcvm_thin_max_defer() - how far a tick is put off at most, in ns */
u64 hpcvm_thin_max_defer(void)
{
	return READ_ONCE(max_defer_ns);
}

void hpcvm_thin_set_max_defer(u64 ns)
{
	WRITE_ONCE(max_defer_ns, ns);
}
