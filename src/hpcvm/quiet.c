// SPDX-License-Identifier: GPL-2.0-only
/*
 * Quiet: what else disturbs a claimed core. Device interrupts are kept off it,
 * and its idle states are shallow.
 *
 * An interrupt that may come to a claimed core is given its affinity without
 * the claimed cores, or all others if nothing is left of it. It gets back what
 * it had when the core is released, unless somebody else has changed it since.
 * hpcvm_quiet_settle() makes it so for whatever is claimed now; once a second, as
 * devices come and go. Managed interrupts belong to their CPUs, and are only
 * listed.
 *
 * A core that sleeps deeply wakes up slowly: 60 us became 40 ms on one site. The
 * request against that is the core's own, never the node's.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/list.h>
#include <linux/pm_qos.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "hpcvm.h"

/* C1 of today's processors wakes up within that; 0 would mean to poll. */
#define RESUME_LATENCY_US 2

struct moved {
	struct list_head entry;
	unsigned int irq;
	struct cpumask was, put;
};

/* Under cores_lock, all of it. */
static LIST_HEAD(moved);
static struct cpumask owned;
static DEFINE_PER_CPU(struct dev_pm_qos_request, latency);
static struct cpumask awake;		/* where it is active */

static struct moved *find(unsigned int irq)
{
	struct moved *m;

	list_for_each_entry(m, &moved, entry)
		if (m->irq == irq)
			return m;
	return NULL;
}

/* The affinity of an interrupt that can be moved; false if it cannot be. */
static bool affinity_of(unsigned int irq, struct cpumask *mask)
{
	struct irq_data *data;
	bool movable;

	rcu_read_lock();
	data = irq_get_irq_data(irq);
	movable = data && irqd_can_balance(data) && !irqd_affinity_is_managed(data);
	if (movable)
		cpumask_copy(mask, irq_data_get_affinity_mask(data));
	rcu_read_unlock();
	return movable;
}

/* Will it move when it comes next? Until then its affinity is the old one. */
static bool is_moving(unsigned int irq)
{
	struct irq_data *data;
	bool moving;

	rcu_read_lock();
	data = irq_get_irq_data(irq);
	moving = data && irqd_is_setaffinity_pending(data);
	rcu_read_unlock();
	return moving;
}

static void forget(struct moved *m)
{
	list_del(&m->entry);
	kfree(m);
}

static struct moved *remember(unsigned int irq, const struct cpumask *now)
{
	struct moved *m = kzalloc(sizeof(*m), GFP_KERNEL);

	if (!m)
		return NULL;
	m->irq = irq;
	cpumask_copy(&m->was, now);
	cpumask_copy(&m->put, now);
	list_add(&m->entry, &moved);
	return m;
}

/* What should be had by an interrupt that had @was? */
static void choose(struct cpumask *want, const struct cpumask *was)
{
	if (!cpumask_intersects(was, &owned))
		cpumask_copy(want, was);
	else if (!cpumask_andnot(want, was, &owned) || !cpumask_intersects(want, cpu_online_mask))
		cpumask_andnot(want, cpu_online_mask, &owned);
}

static void settle_irq(unsigned int irq)
{
	static struct cpumask now, want;
	struct moved *m = find(irq);

	if (is_moving(irq))
		return;
	if (m && (!affinity_of(irq, &now) || !cpumask_equal(&now, &m->put))) {
		/* Somebody else has changed it: that is what it has now. */
		forget(m);
		m = NULL;
	}
	if (!m && affinity_of(irq, &now) && cpumask_intersects(&now, &owned))
		m = remember(irq, &now);
	if (!m)
		return;
	choose(&want, &m->was);
	/* -EBUSY: it has been moved before and has not come since. At the next look, then. */
	if (!cpumask_equal(&want, &m->put) && !irq_set_affinity(irq, &want))
		cpumask_copy(&m->put, &want);
	if (cpumask_equal(&m->put, &m->was))
		forget(m);
}

static void settle_latency(int cpu)
{
	bool wanted = cpumask_test_cpu(cpu, &owned);
	struct dev_pm_qos_request *request = per_cpu_ptr(&latency, cpu);

	if (wanted == cpumask_test_cpu(cpu, &awake) || !get_cpu_device(cpu))
		return;
	if (!wanted) {
		dev_pm_qos_remove_request(request);
		cpumask_clear_cpu(cpu, &awake);
	} else if (dev_pm_qos_add_request(get_cpu_device(cpu), request, DEV_PM_QOS_RESUME_LATENCY,
					  RESUME_LATENCY_US) >= 0) {
		cpumask_set_cpu(cpu, &awake);
	}
}

/**
 * hpcvm_quiet_settle() - keep quiet what is claimed now, and nothing else
 *
 * Return: is there anything to look at again, claims or interrupts that cannot
 * go back yet?
 * Context: process, under cores_lock; CPUs stay online.
 */
bool hpcvm_quiet_settle(void)
{
	unsigned int irq;
	int cpu;

	cpumask_clear(&owned);
	for_each_online_cpu(cpu)
		if (hpcvm_core_is_owned(cpu))
			cpumask_set_cpu(cpu, &owned);
	for_each_possible_cpu(cpu)
		settle_latency(cpu);
	if (!cpumask_empty(&owned) || !list_empty(&moved))
		for (irq = 0; irq < compat_nr_irqs(); irq++)
			settle_irq(irq);
	return !cpumask_empty(&owned) || !list_empty(&moved);
}

/** hpcvm_quiet_exit() - interrupts that have not come since they were moved stay so */
void hpcvm_quiet_exit(void)
{
	struct moved *m, *next;

	list_for_each_entry_safe(m, next, &moved, entry)
		forget(m);
}

/* sysfs: in cores/ */

/* Managed interrupts that come to claimed cores: nobody but their drivers moves these. */
static ssize_t managed_irqs_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	ssize_t n = 0;
	unsigned int irq;

	hpcvm_cores_lock_always();
	for (irq = 0; irq < compat_nr_irqs(); irq++) {
		struct irq_data *data;

		rcu_read_lock();
		data = irq_get_irq_data(irq);
		if (data && irqd_affinity_is_managed(data) &&
		    cpumask_intersects(irq_data_get_effective_affinity_mask(data), &owned))
			n += sysfs_emit_at(buf, n, "%u\n", irq);
		rcu_read_unlock();
	}
	hpcvm_cores_unlock();
	return n;
}

static struct kobj_attribute managed_irqs_attr = __ATTR_RO(managed_irqs);

const struct attribute *hpcvm_quiet_attrs[] = {
	&managed_irqs_attr.attr,
	NULL
};
