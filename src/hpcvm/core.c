// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cores: which of them can be claimed, and who owns which.
 *
 * A core is a CPU with its SMT siblings. The administrator lists those that
 * can be claimed; each belongs to one vCPU at most, of whatever VM, or to
 * vCPUs of one VM that have all agreed to share it, one on each sibling.
 * What is written down here is nothing but that: vcpu.c makes it true.
 *
 *	/sys/class/misc/hpcvm/cores/		(Documentation/sysfs.rst)
 */
#include <linux/capability.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/kobject.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/sysfs.h>
#include <linux/topology.h>

#include "hpcvm.h"

static DEFINE_MUTEX(cores_lock);

/* Under cores_lock, all of it. */
static struct cpumask listed;
static unsigned int user_limit;		/* of cores; 0: none */
static DEFINE_PER_CPU(struct hpcvm_claim *, claims);

static struct kobject *dir;

/**
 * hpcvm_cores_lock() - keep who owns what
 *
 * Return: 0, or -EINTR if a fatal signal came. Context: process, without
 * cpu_hotplug_lock, which comes after it.
 */
int hpcvm_cores_lock(void)
{
	return mutex_lock_killable(&cores_lock);
}

/** hpcvm_cores_lock_always() - the same, for who cannot go back */
void hpcvm_cores_lock_always(void)
{
	mutex_lock(&cores_lock);
}

void hpcvm_cores_unlock(void)
{
	mutex_unlock(&cores_lock);
}

static bool same_core(int a, int b)
{
	return cpumask_test_cpu(a, topology_sibling_cpumask(b));
}

static bool can_share(const struct hpcvm_claim *a, const struct hpcvm_claim *b)
{
	return a->flags & b->flags & HPCVM_CLAIM_SIBLING && a->vm_id == b->vm_id;
}

/* Who stands in the way of running @claim on @cpu? NULL: nobody. */
static const struct hpcvm_claim *owner_for(const struct hpcvm_claim *claim, int cpu)
{
	int sibling;

	for_each_cpu(sibling, topology_sibling_cpumask(cpu)) {
		const struct hpcvm_claim *other = per_cpu(claims, sibling);

		if (other && other != claim && (sibling == cpu || !can_share(claim, other)))
			return other;
	}
	return NULL;
}

/* How many cores the claims of a user have, but for @but. */
static unsigned int cores_of(kuid_t uid, const struct hpcvm_claim *but)
{
	unsigned int n = 0;
	int cpu, sibling;

	for_each_cpu_and(cpu, &listed, cpu_online_mask) {
		/* A core counts where its first claim runs. */
		for_each_cpu(sibling, topology_sibling_cpumask(cpu)) {
			const struct hpcvm_claim *claim = per_cpu(claims, sibling);

			if (claim && claim != but && uid_eq(claim->uid, uid)) {
				n += sibling == cpu;
				break;
			}
		}
	}
	return n;
}

/* A core that is shared with a claim of the same VM is no core more. */
static bool is_shared(const struct hpcvm_claim *claim, int cpu)
{
	int sibling;

	for_each_cpu(sibling, topology_sibling_cpumask(cpu))
		if (per_cpu(claims, sibling) && per_cpu(claims, sibling) != claim)
			return true;
	return false;
}

/*
 * Any free core: never CPU 0's, and one that is shared already before a new
 * one. Returns the CPU; nr_cpu_ids: none. @candidates: free or not.
 */
static int find_free(const struct hpcvm_claim *claim, int node, unsigned int *candidates)
{
	int cpu, found = nr_cpu_ids;

	*candidates = 0;
	for_each_cpu_and(cpu, &listed, cpu_online_mask) {
		if (same_core(cpu, 0) || (node != HPCVM_NODE_ANY && cpu_to_node(cpu) != node))
			continue;
		++*candidates;
		if (owner_for(claim, cpu))
			continue;
		if (is_shared(claim, cpu))
			return cpu;
		if (found == nr_cpu_ids)
			found = cpu;
	}
	return found;
}

static int check_cpu(struct hpcvm_call *call, const struct hpcvm_claim *claim, int cpu)
{
	const struct hpcvm_claim *owner;

	if (cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_CPU, (u64)(s64)cpu);
	if (!cpumask_test_cpu(cpu, &listed))
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_CORE_NOT_LISTED, cpu);
	owner = owner_for(claim, cpu);
	if (owner)
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_CORE_OWNED, owner->vm_id);
	return cpu;
}

/**
 * hpcvm_core_find() - which CPU can a vCPU have?
 * @call: is told why not.
 * @claim: the vCPU's, with the flags that it asks with. One that it has
 *	already is not in its own way.
 * @cpu: the CPU wanted, or HPCVM_CPU_ANY.
 * @node: with HPCVM_CPU_ANY, the NUMA node wanted, or HPCVM_NODE_ANY.
 *
 * Return: the CPU, or a documented errno of HPCVM_VCPU_CLAIM.
 * Context: under cores_lock; CPUs stay online.
 */
int hpcvm_core_find(struct hpcvm_call *call, const struct hpcvm_claim *claim, int cpu, int node)
{
	unsigned int candidates;

	lockdep_assert_held(&cores_lock);
	if (cpu != HPCVM_CPU_ANY) {
		cpu = check_cpu(call, claim, cpu);
		if (cpu < 0)
			return cpu;
	} else {
		cpu = find_free(claim, node, &candidates);
		if (cpu == nr_cpu_ids)
			return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_CORES_TAKEN, candidates);
	}
	if (user_limit && !is_shared(claim, cpu) && cores_of(claim->uid, claim) >= user_limit)
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_CORE_LIMIT, user_limit);
	return cpu;
}

/**
 * hpcvm_core_own() - write down that a vCPU owns a core, and lets its old one go
 * @claim: the vCPU's.
 * @cpu: from hpcvm_core_find(); HPCVM_CPU_ANY: none any more.
 *
 * Context: under cores_lock.
 */
void hpcvm_core_own(struct hpcvm_claim *claim, int cpu)
{
	lockdep_assert_held(&cores_lock);
	if (claim->cpu != HPCVM_CPU_ANY)
		per_cpu(claims, claim->cpu) = NULL;
	if (cpu != HPCVM_CPU_ANY)
		per_cpu(claims, cpu) = claim;
	WRITE_ONCE(claim->cpu, cpu);
}

/** hpcvm_core_is_owned() - has anybody claimed the core of this CPU? Under cores_lock. */
bool hpcvm_core_is_owned(int cpu)
{
	int sibling;

	for_each_cpu(sibling, topology_sibling_cpumask(cpu))
		if (per_cpu(claims, sibling))
			return true;
	return false;
}

/* sysfs */

static ssize_t claimable_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	ssize_t n;

	mutex_lock(&cores_lock);
	n = sysfs_emit(buf, "%*pbl\n", cpumask_pr_args(&listed));
	mutex_unlock(&cores_lock);
	return n;
}

/* Can this be the list? Somewhere the node itself must run, too. */
static int check_list(const struct cpumask *list)
{
	int cpu;

	if (!cpumask_subset(list, cpu_possible_mask)) {
		pr_notice("cores/claimable: CPUs in the list that this node has not\n");
		return -EINVAL;
	}
	for_each_cpu_and(cpu, list, cpu_online_mask) {
		if (!cpumask_subset(topology_sibling_cpumask(cpu), list)) {
			pr_notice("cores/claimable: CPU %d without its siblings (%*pbl are one core)\n",
				  cpu, cpumask_pr_args(topology_sibling_cpumask(cpu)));
			return -EINVAL;
		}
	}
	if (cpumask_subset(cpu_online_mask, list)) {
		pr_notice("cores/claimable: one core at least must be left for the node itself\n");
		return -EINVAL;
	}
	for_each_possible_cpu(cpu) {
		if (per_cpu(claims, cpu) && !cpumask_test_cpu(cpu, list)) {
			pr_notice("cores/claimable: VM %llu owns CPU %d\n",
				  per_cpu(claims, cpu)->vm_id, cpu);
			return -EBUSY;
		}
	}
	return 0;
}

static ssize_t claimable_store(struct kobject *kobj, struct kobj_attribute *attr,
			       const char *buf, size_t n)
{
	cpumask_var_t list;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!alloc_cpumask_var(&list, GFP_KERNEL))
		return -ENOMEM;
	err = cpulist_parse(buf, list);
	if (!err)
		err = hpcvm_cores_lock();
	if (!err) {
		cpus_read_lock();
		err = check_list(list);
		if (!err)
			cpumask_copy(&listed, list);
		cpus_read_unlock();
		hpcvm_cores_unlock();
	}
	free_cpumask_var(list);
	return err ?: n;
}

static ssize_t user_limit_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(user_limit));
}

static ssize_t user_limit_store(struct kobject *kobj, struct kobj_attribute *attr,
				const char *buf, size_t n)
{
	unsigned int limit;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtouint(buf, 0, &limit);
	if (err)
		return err;
	WRITE_ONCE(user_limit, limit);
	return n;
}

static ssize_t claimed_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	ssize_t n = 0;
	int cpu;

	mutex_lock(&cores_lock);
	for_each_possible_cpu(cpu) {
		const struct hpcvm_claim *claim = per_cpu(claims, cpu);

		if (claim)
			n += sysfs_emit_at(buf, n, "%d %llu %u\n", cpu, claim->vm_id, claim->vcpu);
	}
	mutex_unlock(&cores_lock);
	return n;
}

static struct kobj_attribute claimable_attr = __ATTR_RW(claimable);
static struct kobj_attribute user_limit_attr = __ATTR_RW(user_limit);
static struct kobj_attribute claimed_attr = __ATTR_RO(claimed);

static const struct attribute *cores_attrs[] = {
	&claimable_attr.attr,
	&user_limit_attr.attr,
	&claimed_attr.attr,
	NULL
};

/**
 * hpcvm_cores_init() - show the cores in sysfs
 * @device: the device's kobject.
 *
 * Without memory for that, no core can be listed, and so none claimed.
 */
void hpcvm_cores_init(struct kobject *device)
{
	dir = kobject_create_and_add("cores", device);
	if (!dir || sysfs_create_files(dir, cores_attrs) ||
	    sysfs_create_files(dir, hpcvm_tick_attrs) ||
	    sysfs_create_files(dir, hpcvm_quiet_attrs))
		pr_warn("no memory for sysfs: no core can be claimed\n");
}

void hpcvm_cores_exit(void)
{
	kobject_put(dir);
}
