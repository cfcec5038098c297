// SPDX-License-Identifier: GPL-2.0-only
/*
 * vCPUs: which thread runs which vCPU, and on which core of its own.
 *
 * A claim is written down by core.c, and made true here: the thread may run on
 * its own CPU only. Others can change that (sched_setaffinity(), cpusets, a
 * CPU that goes offline), and nothing in the kernel asks a module first. So
 * whatever takes the thread from its CPU wakes settle(), which looks at it
 * again; it looks by itself once a second, too, as a thread that may run
 * elsewhere need not have done so. There it follows an administrator who has
 * chosen another free core ("virsh vcpupin"), and undoes everything else.
 *
 *	/sys/class/misc/hpcvm/vms/ID/vcpus/N/	(Documentation/sysfs.rst)
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/topology.h>
#include <linux/workqueue.h>

#include "hpcvm.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define SETTLE_PERIOD HZ
#define SETTLE_SOON msecs_to_jiffies(10)	/* no thread can keep us busy */

struct vcpu {
	struct kobject kobj;
	struct list_head entry;		/* in the VM's, under vm->lock */
	struct file *file;		/* KVM's vCPU */
	struct rcu_head rcu;

	/* Under cores_lock. */
	struct list_head all;		/* in attached */
	struct task_struct *task;
	struct hpcvm_claim claim;
	struct hpcvm_account account;
	struct hpcvm_tick tick;
	cpumask_var_t before;		/* where the thread could run without a claim */
	bool fifo;			/* it has FIFO priority from us */
	u64 drifts, moves;
};

/* Under cores_lock. */
static LIST_HEAD(attached);
static unsigned int nr_claims;
static bool accounts_open;

static struct workqueue_struct *settler;
static unsigned long kicked;

static void settle(struct work_struct *work);
static DECLARE_DELAYED_WORK(settling, settle);

static bool has_core(const struct vcpu *v)
{
	return v->claim.cpu != HPCVM_CPU_ANY;
}

static bool has_ended(const struct vcpu *v)
{
	return READ_ONCE(v->task->flags) & PF_EXITING;
}

/* sysfs: what stands in vcpus/N/ */

static struct vcpu *to_vcpu(struct kobject *kobj)
{
	return container_of(kobj, struct vcpu, kobj);
}

static ssize_t cpu_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(to_vcpu(kobj)->claim.cpu));
}

static struct kobj_attribute cpu_attr = __ATTR_RO(cpu);

#define TIME_ATTR(_name)							\
	static ssize_t _name##_show(struct kobject *kobj,			\
				    struct kobj_attribute *attr, char *buf)	\
	{									\
		struct vcpu *v = to_vcpu(kobj);					\
		struct hpcvm_vcpu_stats stats = {};				\
										\
		hpcvm_cores_lock_always();					\
		if (has_core(v))						\
			hpcvm_times_read(v->claim.cpu, &stats);			\
		hpcvm_cores_unlock();						\
		return sysfs_emit(buf, "%llu\n", stats._name);			\
	}									\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

TIME_ATTR(guest_ns);
TIME_ATTR(hypervisor_ns);
TIME_ATTR(out_ns);

static struct attribute *vcpu_attrs[] = {
	&cpu_attr.attr,
	&guest_ns_attr.attr,
	&hypervisor_ns_attr.attr,
	&out_ns_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(vcpu);

static void vcpu_free_rcu(struct rcu_head *rcu)
{
	struct vcpu *v = container_of(rcu, struct vcpu, rcu);

	free_cpumask_var(v->before);
	kfree(v);
}

/* A probe of the account may be at it still. */
static void vcpu_free(struct kobject *kobj)
{
	call_rcu(&to_vcpu(kobj)->rcu, vcpu_free_rcu);
}

static const struct kobj_type vcpu_type = {
	.release = vcpu_free,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = vcpu_groups,
};

/* Claims, all under cores_lock */

/*
 * Before the first claim; and when there is none any more, but not at once, for
 * the next may come: each time, code of the kernel is patched. A tracepoint wants
 * the CPUs to stay, so not while we hold them.
 */
static int open_accounts(void)
{
	int err = accounts_open ? 0 : hpcvm_accounts_start();

	accounts_open = !err;
	if (!err)
		hpcvm_tick_open();
	return err;
}

static void close_accounts(void)
{
	hpcvm_tick_close(!nr_claims);
	if (accounts_open && !nr_claims) {
		hpcvm_accounts_stop();
		accounts_open = false;
	}
}

/* Its CPU is its own no longer; the next one is known, or there is none. */
static void leave_core(struct vcpu *v)
{
	hpcvm_tick_end(&v->tick);
	hpcvm_times_end(v->claim.cpu);
	hpcvm_account_close(&v->account);
	trace_release(v->claim.vm_id, v->claim.vcpu, v->claim.cpu);
}

static void set_fifo(struct vcpu *v, bool fifo)
{
	if (fifo && !v->fifo)
		hpcvm_fifo_on(v->task);
	else if (!fifo && v->fifo)
		hpcvm_fifo_off(v->task);
	v->fifo = fifo;
}

/* CPUs stay online. */
static void let_go(struct vcpu *v)
{
	if (!has_core(v))
		return;
	set_fifo(v, false);
	leave_core(v);
	hpcvm_core_own(&v->claim, HPCVM_CPU_ANY);
	/* None of these CPUs may be online any more. */
	if (!has_ended(v) && set_cpus_allowed_ptr(v->task, v->before))
		set_cpus_allowed_ptr(v->task, cpu_possible_mask);
	nr_claims--;
	hpcvm_quiet_settle();
}

static void release_core(struct vcpu *v)
{
	cpus_read_lock();
	let_go(v);
	cpus_read_unlock();
}

/* Own a CPU that is free for it, and have its thread there. CPUs stay online. */
static int take(struct vcpu *v, int cpu, const struct hpcvm_tick *tick)
{
	bool moves = has_core(v);
	int err;

	if (!moves)
		cpumask_copy(v->before, v->task->cpus_ptr);
	if (cpu != v->claim.cpu)
		hpcvm_tick_prepare(tick);
	err = set_cpus_allowed_ptr(v->task, cpumask_of(cpu));
	if (err) {
		if (cpu != v->claim.cpu)
			hpcvm_tick_end(tick);
		return err;
	}
	if (moves)
		leave_core(v);
	else
		nr_claims++;
	hpcvm_core_own(&v->claim, cpu);
	v->tick = *tick;
	v->moves += moves;
	v->drifts = 0;
	hpcvm_account_open(&v->account, v->task, v->file->private_data, cpu);
	hpcvm_times_begin(cpu, v->task);
	hpcvm_tick_prepare(&v->tick);
	hpcvm_tick_begin(&v->tick, v->task);
	hpcvm_quiet_settle();
	set_fifo(v, v->claim.flags & HPCVM_CLAIM_FIFO);
	trace_claim(v->claim.vm_id, v->claim.vcpu, cpu);
	return 0;
}

/* Has somebody chosen another core for it, that it can have? */
static bool follow(struct vcpu *v, int cpu)
{
	struct hpcvm_call nobody = {};
	u32 asked = v->tick.asked;
	struct hpcvm_tick tick;

	if (hpcvm_core_find(&nobody, &v->claim, cpu, HPCVM_NODE_ANY) != cpu)
		return false;
	if (hpcvm_tick_choose(&nobody, cpu, asked, &tick) &&
	    hpcvm_tick_choose(&nobody, cpu, HPCVM_TICK_AUTO, &tick))
		return false;
	if (take(v, cpu, &tick))
		return false;
	v->tick.asked = asked;
	/* That is where it is wanted, with a claim or without. */
	cpumask_copy(v->before, cpumask_of(cpu));
	return true;
}

/* Is there another way to suppress the tick now, that an administrator has opened or closed? */
static void settle_mode(struct vcpu *v)
{
	struct hpcvm_call nobody = {};
	struct hpcvm_tick tick;

	if (hpcvm_tick_choose(&nobody, v->claim.cpu, v->tick.asked, &tick) &&
	    hpcvm_tick_choose(&nobody, v->claim.cpu, HPCVM_TICK_AUTO, &tick))
		return;
	if (tick.mode == v->tick.mode) {
		if (tick.mode != HPCVM_TICK_THIN)
			v->tick.why = tick.why;
		return;
	}
	tick.asked = v->tick.asked;
	hpcvm_tick_end(&v->tick);
	v->tick = tick;
	hpcvm_tick_prepare(&v->tick);
	hpcvm_tick_begin(&v->tick, v->task);
}

/* Have the vCPUs of these cores elsewhere for a moment, where others run, too. */
static void idle_cores(const struct cpumask *cores, int elsewhere, unsigned int ms)
{
	struct vcpu *v;

	list_for_each_entry(v, &attached, all) {
		if (!has_core(v) || !cpumask_test_cpu(v->claim.cpu, cores))
			continue;
		hpcvm_account_ours(&v->account, true);
		if (v->fifo)
			hpcvm_fifo_off(v->task);
		set_cpus_allowed_ptr(v->task, cpumask_of(elsewhere));
	}
	msleep(ms);
	list_for_each_entry(v, &attached, all) {
		if (!has_core(v) || !cpumask_test_cpu(v->claim.cpu, cores))
			continue;
		/* Or somebody has chosen another one meanwhile: the next look is for that. */
		if (cpumask_equal(v->task->cpus_ptr, cpumask_of(elsewhere)))
			set_cpus_allowed_ptr(v->task, cpumask_of(v->claim.cpu));
		if (v->fifo)
			hpcvm_fifo_on(v->task);
		hpcvm_account_ours(&v->account, false);
	}
}

/* The core loses its duties if it idles for a moment while its keeper does not. */
static void settle_duty(struct vcpu *v)
{
	static struct cpumask idle;
	int keeper;

	if (!hpcvm_tick_settle(&v->tick, &idle))
		return;
	keeper = hpcvm_keeper_of(v->claim.cpu);
	if (keeper < nr_cpu_ids)
		idle_cores(&idle, keeper, hpcvm_tick_idle_ms(&v->tick));
}

static void settle_one(struct vcpu *v)
{
	const struct cpumask *may = v->task->cpus_ptr;
	int cpu = cpumask_first(may);

	if (!cpu_online(v->claim.cpu)) {
		pr_notice("CPU %d went offline: vCPU %u of VM %llu has no core any more\n",
			  v->claim.cpu, v->claim.vcpu, v->claim.vm_id);
		let_go(v);
		return;
	}
	if (cpumask_weight(may) != 1 || (cpu != v->claim.cpu && !follow(v, cpu))) {
		v->drifts++;
		trace_drift(v->claim.vm_id, v->claim.vcpu, v->claim.cpu);
		set_cpus_allowed_ptr(v->task, cpumask_of(v->claim.cpu));
	}
	settle_mode(v);
}

static void settle(struct work_struct *work)
{
	struct vcpu *v;
	bool again;

	clear_bit(0, &kicked);
	hpcvm_cores_lock_always();
	if (nr_claims)
		hpcvm_tick_open();
	cpus_read_lock();
	hpcvm_keepers_settle();
	again = hpcvm_quiet_settle();
	list_for_each_entry(v, &attached, all) {
		if (has_core(v) && has_ended(v))
			let_go(v);
		else if (has_core(v))
			settle_one(v);
	}
	list_for_each_entry(v, &attached, all)
		if (has_core(v))
			settle_duty(v);
	cpus_read_unlock();
	if (again || nr_claims)
		queue_delayed_work(settler, &settling, SETTLE_PERIOD);
	close_accounts();
	hpcvm_cores_unlock();
}

static void kick(struct irq_work *work)
{
	mod_delayed_work(settler, &settling, SETTLE_SOON);
}

static DEFINE_IRQ_WORK(kick_work, kick);

/**
 * hpcvm_vcpus_kick() - something has happened to a thread that owns a core
 *
 * Context: any, under the scheduler's locks too.
 */
void hpcvm_vcpus_kick(void)
{
	if (!test_and_set_bit(0, &kicked))
		irq_work_queue(&kick_work);
}

/* The vCPUs of a VM, under vm->lock */

/** hpcvm_vcpus_init() - a VM's empty set of vCPUs, with its place in sysfs */
int hpcvm_vcpus_init(struct hpcvm_vcpus *vcpus, struct kobject *vm)
{
	INIT_LIST_HEAD(&vcpus->list);
	vcpus->dir = kobject_create_and_add("vcpus", vm);
	return vcpus->dir ? 0 : -ENOMEM;
}

static void vcpu_drop(struct vcpu *v)
{
	list_del(&v->entry);
	hpcvm_cores_lock_always();
	release_core(v);
	list_del(&v->all);
	hpcvm_cores_unlock();
	put_task_struct(v->task);
	kobject_del(&v->kobj);
	fput(v->file);
	kobject_put(&v->kobj);
}

/** hpcvm_vcpus_drop() - the end of a VM: all its cores are free; never fails */
void hpcvm_vcpus_drop(struct hpcvm_vcpus *vcpus)
{
	struct vcpu *v, *next;

	if (!vcpus->dir)
		return;
	list_for_each_entry_safe(v, next, &vcpus->list, entry)
		vcpu_drop(v);
	kobject_put(vcpus->dir);
	vcpus->dir = NULL;
}

static struct vcpu *look_up(struct hpcvm_vm *vm, u32 id)
{
	struct hpcvm_vcpus *vcpus = hpcvm_vm_vcpus(vm);
	struct vcpu *v;

	list_for_each_entry(v, &vcpus->list, entry)
		if (v->claim.vcpu == id)
			return v;
	return NULL;
}

static struct vcpu *find(struct hpcvm_call *call, u32 id)
{
	struct vcpu *v = look_up(call->vm, id);

	return v ?: ERR_PTR(hpcvm_refuse(call, -ENOENT, HPCVM_REASON_VCPU_UNKNOWN, id));
}

/* Enter the cores while the VM is locked. */
static int lock_cores(struct hpcvm_call *call)
{
	int err = hpcvm_cores_lock();

	return err ? hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, 0) : 0;
}

/* Enter the VM, by @lock, and the cores, and do something with one of its vCPUs. */
static int with_vcpu(struct hpcvm_call *call, u32 id, int (*lock)(struct hpcvm_call *call),
		     int (*fn)(struct hpcvm_call *call, struct vcpu *v))
{
	int err = lock(call);
	struct vcpu *v;

	if (err)
		return err;
	v = find(call, id);
	err = PTR_ERR_OR_ZERO(v);
	if (!err)
		err = lock_cores(call);
	if (!err) {
		err = fn(call, v);
		hpcvm_cores_unlock();
	}
	hpcvm_vm_unlock(call->vm);
	return err;
}

/* HPCVM_VCPU_ATTACH */

/* Is this address the vCPU's kvm_run, in the caller's address space? */
static bool is_run(const struct kvm_vcpu *kvm, u64 address)
{
	struct page *page;
	bool same;

	if (!PAGE_ALIGNED(address) || get_user_pages_fast(address, 1, FOLL_WRITE, &page) != 1)
		return false;
	same = page == virt_to_page(kvm->run);
	put_page(page);
	return same;
}

/* One thread a vCPU, and one vCPU a thread. */
static int check_free(struct hpcvm_call *call, u32 id)
{
	struct vcpu *v;

	if (look_up(call->vm, id))
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_VCPU_ATTACHED, id);
	list_for_each_entry(v, &attached, all)
		if (v->task == current)
			return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_THREAD_ATTACHED,
					    v->claim.vcpu);
	return 0;
}

static struct vcpu *vcpu_new(struct hpcvm_call *call, const struct kvm_vcpu *kvm)
{
	struct vcpu *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);

	if (!v)
		return NULL;
	kobject_init(&v->kobj, &vcpu_type);
	v->claim = (struct hpcvm_claim){
		.cpu = HPCVM_CPU_ANY,
		.vcpu = kvm->vcpu_id,
		.vm_id = hpcvm_vm_id(call->vm),
		.uid = hpcvm_vm_uid(call->vm),
	};
	if (alloc_cpumask_var(&v->before, GFP_KERNEL_ACCOUNT))
		return v;
	kobject_put(&v->kobj);
	return NULL;
}

/* Under vm->lock. */
static int attach(struct hpcvm_call *call, struct vcpu *v, struct file *file)
{
	struct hpcvm_vcpus *vcpus = hpcvm_vm_vcpus(call->vm);
	struct vcpu *old = look_up(call->vm, v->claim.vcpu);
	int err;

	if (old && has_ended(old))
		vcpu_drop(old);
	err = lock_cores(call);
	if (err)
		return err;
	err = check_free(call, v->claim.vcpu);
	if (!err)
		err = kobject_add(&v->kobj, vcpus->dir, "%u", v->claim.vcpu);
	if (!err) {
		v->file = get_file(file);
		v->task = get_task_struct(current);
		list_add_tail(&v->all, &attached);
		list_add_tail(&v->entry, &vcpus->list);
	}
	hpcvm_cores_unlock();
	return err;
}

/**
 * hpcvm_vcpu_attach() - HPCVM_VCPU_ATTACH
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: process, the vCPU's thread.
 */
int hpcvm_vcpu_attach(struct hpcvm_call *call)
{
	struct hpcvm_vcpu_attach *cmd = call->cmd;
	struct file *file __free(fput) = fget(cmd->vcpu_fd);
	struct vcpu *v;
	int err;

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_vcpu_attach, pad0));
	if (!file)
		return hpcvm_refuse(call, -EBADF, HPCVM_REASON_FD, (u64)cmd->vcpu_fd);
	if (!hpcvm_file_is_kvm_vcpu(file, hpcvm_vm_kvm(call->vm)))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_VCPU, (u64)cmd->vcpu_fd);
	err = hpcvm_vm_check_own(call);
	if (err)
		return err;
	if (!is_run(file->private_data, cmd->run))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_RUN, cmd->run);

	v = vcpu_new(call, file->private_data);
	if (!v)
		return -ENOMEM;
	err = hpcvm_vm_lock_own(call);
	if (!err) {
		err = attach(call, v, file);
		hpcvm_vm_unlock(call->vm);
	}
	if (err)
		kobject_put(&v->kobj);
	return err;
}

/* HPCVM_VCPU_CLAIM */

/* The numbers alone. */
static int check_claim(struct hpcvm_call *call, const struct hpcvm_vcpu_claim *cmd)
{
	if (cmd->tick > HPCVM_TICK_THIN)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_TICK_MODE, cmd->tick);
	if (!hpcvm_node_valid(cmd->node) ||
	    (cmd->cpu != HPCVM_CPU_ANY && cmd->node != HPCVM_NODE_ANY))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NODE, (u64)(s64)cmd->node);
	return 0;
}

/* Is this core where the VM's memory was promised to be? */
static bool is_local(u64 nodes, int cpu)
{
	return !nodes || nodes & BIT_ULL(min(cpu_to_node(cpu), 63));
}

static int claim_core(struct hpcvm_call *call, struct vcpu *v)
{
	const struct hpcvm_vcpu_claim *cmd = call->cmd;
	u64 nodes = hpcvm_slots_nodes(hpcvm_vm_slots(call->vm));
	u32 flags = v->claim.flags;
	struct hpcvm_tick tick;
	int cpu, err;

	/* The new flags count, and if there is a reason against them the old ones stay. */
	v->claim.flags = cmd->flags;
	cpu = hpcvm_core_find(call, &v->claim, cmd->cpu, cmd->node);
	err = min(cpu, 0);
	if (!err && cmd->flags & HPCVM_CLAIM_LOCAL && !is_local(nodes, cpu))
		err = hpcvm_refuse(call, -EINVAL, HPCVM_REASON_CORE_REMOTE, cpu_to_node(cpu));
	if (!err && cmd->flags & HPCVM_CLAIM_FIFO && !v->fifo)
		err = hpcvm_fifo_check(call, v->task);
	if (!err)
		err = hpcvm_tick_choose(call, cpu, cmd->tick, &tick);
	if (!err)
		err = take(v, cpu, &tick);
	if (err)
		v->claim.flags = flags;
	return err;
}

static int claim(struct hpcvm_call *call, struct vcpu *v)
{
	int err;

	if (has_ended(v))
		return hpcvm_refuse(call, -ESRCH, HPCVM_REASON_VCPU_GONE, v->claim.vcpu);
	err = open_accounts();
	if (err)
		return err;
	cpus_read_lock();
	err = claim_core(call, v);
	cpus_read_unlock();
	/* The first look closes them again, if nothing was claimed. */
	queue_delayed_work(settler, &settling, SETTLE_PERIOD);
	return err;
}

/**
 * hpcvm_vcpu_claim() - HPCVM_VCPU_CLAIM
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: process.
 */
int hpcvm_vcpu_claim(struct hpcvm_call *call)
{
	const struct hpcvm_vcpu_claim *cmd = call->cmd;

	return check_claim(call, cmd) ?: with_vcpu(call, cmd->vcpu, hpcvm_vm_lock_own, claim);
}

static int release(struct hpcvm_call *call, struct vcpu *v)
{
	if (!has_core(v))
		return hpcvm_refuse(call, -ENOENT, HPCVM_REASON_NO_CLAIM, v->claim.vcpu);
	release_core(v);
	return 0;
}

/**
 * hpcvm_vcpu_release() - HPCVM_VCPU_RELEASE
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: process.
 */
int hpcvm_vcpu_release(struct hpcvm_call *call)
{
	const struct hpcvm_vcpu_release *cmd = call->cmd;

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_vcpu_release, pad0));
	return with_vcpu(call, cmd->vcpu, hpcvm_vm_lock_own, release);
}

/* HPCVM_VCPU_STATS */

static void read_stats(struct hpcvm_call *call, const struct vcpu *v,
		       struct hpcvm_vcpu_stats *stats)
{
	stats->cpu = v->claim.cpu;
	stats->node = HPCVM_NODE_ANY;
	stats->tid = has_ended(v) ? 0 : task_pid_vnr(v->task);
	stats->memory_nodes = hpcvm_slots_nodes(hpcvm_vm_slots(call->vm));
	stats->moves = v->moves;
	hpcvm_kvm_exits(v->file->private_data, stats);
	if (!has_core(v))
		return;
	stats->node = cpu_to_node(v->claim.cpu);
	stats->claim = v->claim.flags;
	stats->drifts = v->drifts;
	hpcvm_account_read(&v->account, stats);
	hpcvm_times_read(v->claim.cpu, stats);
	hpcvm_tick_read(&v->tick, stats);
}

static int tell(struct hpcvm_call *call, struct vcpu *v)
{
	read_stats(call, v, call->cmd);
	return 0;
}

static int tell_and_mark(struct hpcvm_call *call, struct vcpu *v)
{
	read_stats(call, v, call->cmd);
	if (has_core(v))
		hpcvm_account_mark(&v->account);
	return 0;
}

/**
 * hpcvm_vcpu_stats() - HPCVM_VCPU_STATS
 * @call: on a VM fd or a handle.
 *
 * Return: 0 or a documented errno. Context: process.
 */
int hpcvm_vcpu_stats(struct hpcvm_call *call)
{
	struct hpcvm_vcpu_stats *cmd = call->cmd;
	bool mark = cmd->flags & HPCVM_STATS_MARK;

	if (mark && !call->owner)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_FLAGS, HPCVM_STATS_MARK);
	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_vcpu_stats, pad0));
	*cmd = (struct hpcvm_vcpu_stats){ .size = cmd->size, .vcpu = cmd->vcpu };
	return with_vcpu(call, cmd->vcpu, hpcvm_vm_lock, mark ? tell_and_mark : tell);
}

/* The module */

/** hpcvm_vcpu_init() - when the module is loaded; 0 or -ENOMEM */
int __init hpcvm_vcpu_init(void)
{
	/* A suspended node has one CPU online: that is no time to look. */
	settler = alloc_workqueue("hpcvm-cores", WQ_UNBOUND | WQ_FREEZABLE, 0);
	return settler ? 0 : -ENOMEM;
}

/** hpcvm_vcpu_exit() - when it is unloaded: no vCPU is left then */
void hpcvm_vcpu_exit(void)
{
	irq_work_sync(&kick_work);
	cancel_delayed_work_sync(&settling);
	close_accounts();
	hpcvm_quiet_exit();
	destroy_workqueue(settler);
	rcu_barrier();
}
