// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of the scheduler's tick on a claimed core: which way there is to
 * suppress it, and whether that works.
 *
 * On a core booted nohz_full the kernel stops it by itself; that is found out,
 * and the account counts what is left of it. On any other it is thinned
 * (thin.c), once the administrator has switched that on for the node. Elsewhere
 * it is kept, and the answer says why.
 */
#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/kstrtox.h>
#include <linux/sched.h>
#include <linux/sysfs.h>
#include <linux/tick.h>
#include <asm/tsc.h>

#include "hpcvm.h"

/* Bounds of what an administrator can set. */
#define DEFER_MIN_US (2 * TICK_USEC)
#define DEFER_MAX_US USEC_PER_SEC

static bool thinning;			/* switched on for the node */
static bool started;			/* the probes are placed; under cores_lock */
static bool cannot_start;		/* they could not be, since it was switched on */
static struct cpumask thinned;		/* under cores_lock; read anywhere */

/** hpcvm_tick_thinned() - the CPUs that are thinned; may change at any time */
const struct cpumask *hpcvm_tick_thinned(void)
{
	return &thinned;
}

/**
 * hpcvm_tick_open() - before a core is claimed: be ready to thin it
 *
 * Context: process, under cores_lock, without cpu_hotplug_lock.
 */
void hpcvm_tick_open(void)
{
	if (started || cannot_start || !READ_ONCE(thinning))
		return;
	cannot_start = hpcvm_thin_start();
	started = !cannot_start;
}

/** hpcvm_tick_close() - place nothing where none is claimed, or may be thinned */
void hpcvm_tick_close(bool none_claimed)
{
	if (!started || !cpumask_empty(&thinned) || (!none_claimed && READ_ONCE(thinning)))
		return;
	hpcvm_thin_stop();
	started = false;
}

static u32 why_not_thin(int cpu)
{
	if (!READ_ONCE(thinning))
		return HPCVM_TICK_WHY_THIN_OFF;
	if (check_tsc_unstable())
		return HPCVM_TICK_WHY_TSC;
	if (!started)
		return HPCVM_TICK_WHY_PROBE;
	if (hpcvm_keeper_of(cpu) >= nr_cpu_ids)
		return HPCVM_TICK_WHY_NO_KEEPER;
	return HPCVM_TICK_WHY_NONE;
}

/**
 * hpcvm_tick_choose() - how can the tick of this CPU be suppressed?
 * @call: is told why not.
 * @cpu: is about to be claimed.
 * @asked: enum hpcvm_tick_mode.
 * @tick: filled in.
 *
 * Return: 0, or -EOPNOTSUPP if it cannot be done in the mode asked for.
 * Context: process, under cores_lock; CPUs stay online.
 */
int hpcvm_tick_choose(struct hpcvm_call *call, int cpu, u32 asked, struct hpcvm_tick *tick)
{
	*tick = (struct hpcvm_tick){ .cpu = cpu, .asked = asked, .mode = HPCVM_TICK_KEPT };

	if (asked == HPCVM_TICK_KEPT) {
		tick->why = HPCVM_TICK_WHY_ASKED;
		return 0;
	}
	if (tick_nohz_full_cpu(cpu)) {
		tick->mode = HPCVM_TICK_NOHZ_FULL;
		return 0;
	}
	if (asked == HPCVM_TICK_NOHZ_FULL)
		return hpcvm_refuse(call, -EOPNOTSUPP, HPCVM_REASON_TICK,
				    HPCVM_TICK_WHY_NOT_NOHZ_FULL);
	tick->why = why_not_thin(cpu);
	if (!tick->why)
		tick->mode = HPCVM_TICK_THIN;
	else if (asked == HPCVM_TICK_THIN)
		return hpcvm_refuse(call, -EOPNOTSUPP, HPCVM_REASON_TICK, tick->why);
	return 0;
}

/**
 * hpcvm_tick_prepare() - a vCPU is about to come to this core
 * @tick: of hpcvm_tick_choose().
 *
 * Its keeper takes the core's duties over while the core is still idle, if it
 * is. Context: as above; sleeps for some ticks.
 */
void hpcvm_tick_prepare(const struct hpcvm_tick *tick)
{
	if (tick->mode != HPCVM_TICK_THIN || cpumask_test_cpu(tick->cpu, &thinned))
		return;
	cpumask_set_cpu(tick->cpu, &thinned);
	hpcvm_keepers_settle();
	schedule_timeout_uninterruptible(3);
}

/** hpcvm_tick_begin() - it is there: suppress the tick as chosen */
void hpcvm_tick_begin(const struct hpcvm_tick *tick, struct task_struct *task)
{
	if (tick->mode == HPCVM_TICK_THIN)
		hpcvm_thin_on(tick->cpu, task);
}

/** hpcvm_tick_end() - it has gone, or is going: the core gets its tick back */
void hpcvm_tick_end(const struct hpcvm_tick *tick)
{
	if (tick->mode != HPCVM_TICK_THIN)
		return;
	hpcvm_thin_off(tick->cpu);
	cpumask_clear_cpu(tick->cpu, &thinned);
	hpcvm_keepers_settle();
}

/**
 * hpcvm_tick_settle() - look once a second whether the thinning works
 * @tick: of a core that is owned.
 * @idle: is told which CPUs, this and others that are thinned, must idle for a
 *	moment so that it loses its duty for the node.
 *
 * Return: true if that should be done now. Context: as above.
 */
bool hpcvm_tick_settle(struct hpcvm_tick *tick, struct cpumask *idle)
{
	struct hpcvm_thin_counts now;
	bool works, in_vain;

	if (tick->mode != HPCVM_TICK_THIN)
		return false;
	hpcvm_thin_read(tick->cpu, &now);
	works = now.deferred != tick->seen.deferred;
	in_vain = now.refused - tick->seen.refused > HZ / 4;
	tick->seen = now;
	if (tick->keepers != hpcvm_keepers_changes())
		tick->tries = 0;
	tick->keepers = hpcvm_keepers_changes();
	tick->why = works || !in_vain ? HPCVM_TICK_WHY_NONE : HPCVM_TICK_WHY_DUTY;
	if (!tick->why) {
		tick->tries = 0;
		return false;
	}
	if (!hpcvm_migrator_can_pass(tick->cpu, idle))
		return false;
	/* After 1, 2, 4 ... 64 seconds: each time costs the vCPU some. */
	if (++tick->waited < 1U << min(tick->tries, 6U))
		return false;
	tick->waited = 0;
	tick->tries++;
	return true;
}

/** hpcvm_tick_idle_ms() - how long the core should idle then, in ms */
unsigned int hpcvm_tick_idle_ms(const struct hpcvm_tick *tick)
{
	return jiffies_to_msecs(5) << min(tick->tries, 3U);
}

/** hpcvm_tick_read() - what has become of it */
void hpcvm_tick_read(const struct hpcvm_tick *tick, struct hpcvm_vcpu_stats *stats)
{
	struct hpcvm_thin_counts now;

	stats->tick = tick->mode;
	stats->tick_why = tick->why;
	if (tick->mode != HPCVM_TICK_THIN)
		return;
	hpcvm_thin_read(tick->cpu, &now);
	stats->ticks_deferred = now.deferred;
	stats->ticks_restored = now.restored;
}

/* sysfs: in cores/ */

static ssize_t thin_ticks_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(thinning));
}

static ssize_t thin_ticks_store(struct kobject *kobj, struct kobj_attribute *attr,
				const char *buf, size_t n)
{
	bool on;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtobool(buf, &on);
	if (err)
		return err;
	hpcvm_cores_lock_always();
	WRITE_ONCE(thinning, on);
	cannot_start = false;
	hpcvm_cores_unlock();
	hpcvm_vcpus_kick();
	return n;
}

static ssize_t max_defer_us_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", div_u64(hpcvm_thin_max_defer(), NSEC_PER_USEC));
}

static ssize_t max_defer_us_store(struct kobject *kobj, struct kobj_attribute *attr,
				  const char *buf, size_t n)
{
	unsigned int us;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtouint(buf, 0, &us);
	if (err)
		return err;
	if (us < DEFER_MIN_US || us > DEFER_MAX_US)
		return -EINVAL;
	hpcvm_thin_set_max_defer((u64)us * NSEC_PER_USEC);
	return n;
}

static ssize_t missed_probes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", hpcvm_thin_missed());
}

static struct kobj_attribute missed_probes_attr = __ATTR_RO(missed_probes);
static struct kobj_attribute thin_ticks_attr = __ATTR_RW(thin_ticks);
static struct kobj_attribute max_defer_us_attr = __ATTR_RW(max_defer_us);

const struct attribute *hpcvm_tick_attrs[] = {
	&thin_ticks_attr.attr,
	&max_defer_us_attr.attr,
	&missed_probes_attr.attr,
	NULL
};
