// SPDX-License-Identifier: GPL-2.0-only
/*
 * The monitor: a registration cache learns from one word of shared memory
 * whether the pages behind a range are still the ones it has registered.
 *
 * This is the file that a cache holds, whose words it maps and whose events it may
 * read, from its birth to its end; generation.c is what keeps the words true.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "monitor.h"

#define A_READ 16		/* events that are copied out at a time */

static DEFINE_MUTEX(monitors_lock);
static LIST_HEAD(monitors);
static u32 user_limit = HPCVM_MONITOR_SLOTS_MAX;
static struct kobject *dir;

/* Events. A watch whose event was read stays on no list. */

/* Some of those that nobody has read; how many. */
static int look_at_events(struct hpcvm_monitor *m, struct hpcvm_monitor_event *events, int max)
{
	struct watch *w;
	int n = 0;

	raw_spin_lock(&m->lock);
	list_for_each_entry(w, &m->events, entry) {
		if (n == max)
			break;
		events[n++] = (struct hpcvm_monitor_event){
			.slot = monitor_slot_of(m, w),
			.change = w->change,
			.cookie = w->cookie,
			.addr = w->addr,
			.length = w->length,
		};
	}
	raw_spin_unlock(&m->lock);
	return n;
}

/* These were read; one that was unwatched meanwhile is gone already. */
static void forget_events(struct hpcvm_monitor *m, const struct hpcvm_monitor_event *events, int n)
{
	struct watch *w;

	raw_spin_lock(&m->lock);
	while (n--) {
		w = hpcvm_monitor_find(m, events[n].slot, events[n].cookie);
		if (w)
			list_del_init(&w->entry);
	}
	raw_spin_unlock(&m->lock);
}

static bool has_events(struct hpcvm_monitor *m)
{
	bool some;

	raw_spin_lock(&m->lock);
	some = !list_empty(&m->events);
	raw_spin_unlock(&m->lock);
	return some;
}

static ssize_t copy_events(struct hpcvm_monitor *m, char __user *to, size_t room)
{
	struct hpcvm_monitor_event events[A_READ];
	ssize_t done = 0;
	size_t length;
	int n;

	do {
		n = look_at_events(m, events, min_t(size_t, A_READ, room / sizeof(*events)));
		length = n * sizeof(*events);
		if (copy_to_user(to + done, events, length))
			return done ?: -EFAULT;
		forget_events(m, events, n);
		done += length;
		room -= length;
	} while (n && !signal_pending(current));
	return done;
}

static ssize_t monitor_read(struct file *file, char __user *to, size_t room, loff_t *at)
{
	struct hpcvm_monitor *m = file->private_data;
	ssize_t done;

	if (m->notifier.mm != current->mm)
		return -EPERM;
	if (room < sizeof(struct hpcvm_monitor_event))
		return -EINVAL;
	for (;;) {
		if (mutex_lock_interruptible(&m->reader))
			return -ERESTARTSYS;
		done = copy_events(m, to, room);
		mutex_unlock(&m->reader);
		if (done)
			return done;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(m->wait, has_events(m)))
			return -ERESTARTSYS;
	}
}

static __poll_t monitor_poll(struct file *file, struct poll_table_struct *table)
{
	struct hpcvm_monitor *m = file->private_data;

	poll_wait(file, &m->wait, table);
	return has_events(m) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* The mapping */

static vm_fault_t monitor_fault(struct vm_fault *vmf)
{
	struct hpcvm_monitor *m = vmf->vma->vm_file->private_data;

	/* MADV_DOFORK can give a child the mapping, which fork() fills by faults. */
	if (vmf->vma->vm_mm != m->notifier.mm || vmf->pgoff >= monitor_nr_pages(m->slots))
		return VM_FAULT_SIGBUS;
	vmf->page = m->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct monitor_vm_ops = {
	.fault = monitor_fault,
};

/* A child of fork() must not take its parent's generations for its own. */
static int monitor_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct hpcvm_monitor *m = file->private_data;

	if (m->notifier.mm != vma->vm_mm || vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (vma->vm_pgoff || vma_pages(vma) > monitor_nr_pages(m->slots))
		return -EINVAL;
	compat_vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	vma->vm_ops = &monitor_vm_ops;
	return 0;
}

/* Birth and end */

static void free_monitor(struct hpcvm_monitor *m)
{
	u32 i;

	for (i = 0; m->pages && i < monitor_nr_pages(m->slots) && m->pages[i]; i++)
		put_page(m->pages[i]);
	kvfree(m->pages);
	kvfree(m->watches);
	kfree(m);
}

static int allocate(struct hpcvm_monitor *m)
{
	u32 i, nr = monitor_nr_pages(m->slots);

	m->watches = kvcalloc(m->slots, sizeof(*m->watches), GFP_KERNEL_ACCOUNT);
	m->pages = kvcalloc(nr, sizeof(*m->pages), GFP_KERNEL_ACCOUNT);
	if (!m->watches || !m->pages)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		m->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!m->pages[i])
			return -ENOMEM;
	}
	for (i = m->slots; i--;)
		list_add(&m->watches[i].entry, &m->free);
	return 0;
}

static struct hpcvm_monitor *new_monitor(u32 slots)
{
	struct hpcvm_monitor *m = kzalloc(sizeof(*m), GFP_KERNEL_ACCOUNT);

	if (!m)
		return NULL;
	m->notifier.ops = &hpcvm_monitor_notifier_ops;
	m->uid = current_uid();
	m->slots = slots;
	m->standing = RB_ROOT_CACHED;
	raw_spin_lock_init(&m->lock);
	mutex_init(&m->reader);
	init_waitqueue_head(&m->wait);
	init_irq_work(&m->wake, hpcvm_monitor_wake);
	INIT_LIST_HEAD(&m->free);
	INIT_LIST_HEAD(&m->events);
	if (!allocate(m))
		return m;
	free_monitor(m);
	return NULL;
}

/* List it, if its user may have so many slots. */
static int enlist(struct hpcvm_call *call, struct hpcvm_monitor *m)
{
	u64 slots = m->slots;
	struct hpcvm_monitor *other;

	guard(mutex)(&monitors_lock);
	list_for_each_entry(other, &monitors, entry)
		if (uid_eq(other->uid, m->uid))
			slots += other->slots;
	if (slots > user_limit)
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_MONITOR_LIMIT, user_limit);
	list_add_tail(&m->entry, &monitors);
	return 0;
}

static void delist(struct hpcvm_monitor *m)
{
	mutex_lock(&monitors_lock);
	list_del(&m->entry);
	mutex_unlock(&monitors_lock);
}

static void end_monitor(struct hpcvm_monitor *m)
{
	mmu_notifier_unregister(&m->notifier, m->notifier.mm);
	/* No invalidation tells us any more, so nothing wakes anybody. */
	irq_work_sync(&m->wake);
	delist(m);
	free_monitor(m);
}

static int monitor_release(struct inode *inode, struct file *file)
{
	end_monitor(file->private_data);
	return 0;
}

static const struct file_operations monitor_fops = {
	.owner = THIS_MODULE,
	.release = monitor_release,
	.read = monitor_read,
	.poll = monitor_poll,
	.mmap = monitor_mmap,
	.unlocked_ioctl = hpcvm_monitor_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/**
 * hpcvm_monitor_create() - HPCVM_MONITOR_CREATE
 * @call: on the device.
 *
 * Return: 0 with the monitor's file in the call, a documented errno, or
 * -ERESTARTNOINTR: a signal waits, which any lock on all of an address space
 * gives way to; the call is made again by itself.
 * Context: process; waits for the caller's mmap_lock.
 */
int hpcvm_monitor_create(struct hpcvm_call *call)
{
	struct hpcvm_monitor_create *cmd = call->cmd;
	struct hpcvm_monitor *m;
	struct file *file;
	int err;

	if (!cmd->slots || cmd->slots > HPCVM_MONITOR_SLOTS_MAX)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_MONITOR_SLOTS,
				    HPCVM_MONITOR_SLOTS_MAX);
	m = new_monitor(cmd->slots);
	if (!m)
		return -ENOMEM;
	err = enlist(call, m);
	if (err)
		goto free;
	err = mmu_notifier_register(&m->notifier, current->mm);
	if (err)
		goto delist;
	file = anon_inode_getfile("hpcvm-monitor", &monitor_fops, m, O_RDWR);
	if (IS_ERR(file)) {
		end_monitor(m);
		return PTR_ERR(file);
	}
	call->new_file = file;
	call->new_fd = &cmd->out_fd;
	return 0;

delist:
	delist(m);
free:
	free_monitor(m);
	return err == -EINTR ? -ERESTARTNOINTR : err;
}

/* sysfs: monitors/ */

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
	mutex_lock(&monitors_lock);
	user_limit = limit;
	mutex_unlock(&monitors_lock);
	return n;
}

static ssize_t slots_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	struct hpcvm_monitor *m;
	u64 slots = 0;

	guard(mutex)(&monitors_lock);
	list_for_each_entry(m, &monitors, entry)
		slots += m->slots;
	return sysfs_emit(buf, "%llu\n", slots);
}

static struct kobj_attribute user_limit_attr = __ATTR_RW(user_limit);
static struct kobj_attribute slots_attr = __ATTR_RO(slots);
static const struct attribute *monitors_attrs[] = {
	&user_limit_attr.attr,
	&slots_attr.attr,
	NULL
};

/**
 * hpcvm_monitors_init() - make the place of monitors in sysfs
 * @device: the device's kobject.
 */
void hpcvm_monitors_init(struct kobject *device)
{
	dir = kobject_create_and_add("monitors", device);
	if (!dir || sysfs_create_files(dir, monitors_attrs))
		pr_warn("no memory for sysfs: the limit of monitors cannot be changed\n");
}

void hpcvm_monitors_exit(void)
{
	kobject_put(dir);
}
