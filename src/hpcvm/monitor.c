// SPDX-License-Identifier: GPL-2.0-only
/*
 * The monitor: a registration cache learns from one word of shared memory
 * whether the pages behind a range are still the ones it has registered.
 *
 * An MMU notifier of the whole address space looks each invalidation up in an
 * interval tree of the watches that stand. Those it hits leave the tree and lose
 * their generation before the invalidation begins; a watch changes once. So an
 * invalidation costs a look at the tree, and the rest is paid by what it
 * invalidates, once.
 *
 * Whoever watches while an invalidation of the range runs would register pages
 * that are about to go, and never hear of it: so the ranges of those that run
 * are kept, and a watch waits until none overlaps. That is what
 * mmu_interval_read_begin() and its retry are for in drivers; here the wait
 * comes first, because the registration is done elsewhere. A cache that registers
 * before it watches (libfabric's does) says since when: the last ones that have
 * ended are kept, too.
 *
 * The notifier takes a raw spinlock and never sleeps, on RT neither. Nothing
 * stands between an invalidation and the generation; only who waits for events
 * is woken by irq_work, since a wait queue's lock may sleep on RT.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/interval_tree.h>
#include <linux/irq_work.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "hpcvm.h"

#define WORDS_A_PAGE (PAGE_SIZE / sizeof(u64))
#define RUNNING 32		/* invalidations at a time of which we know the range */
#define ENDED 256		/* and of how many that have ended */
#define A_BREATH 64		/* watches that change before the lock is given up */
#define A_READ 16		/* events that are copied out at a time */

/* One slot; a free one has no cookie. */
struct watch {
	struct interval_tree_node range;	/* in the tree while it stands */
	struct list_head entry;		/* among the free ones, or the events */
	u64 cookie;
	u64 addr, length;		/* as the caller has said them */
	u32 change;			/* enum hpcvm_change; none: it stands */
};

struct span {
	unsigned long start, end;
};

static bool overlaps(const struct span *r, unsigned long start, unsigned long last)
{
	return r->start <= last && r->end > start;
}

struct hpcvm_monitor {
	struct mmu_notifier notifier;
	struct list_head entry;		/* in monitors, under monitors_lock */
	kuid_t uid;
	u32 slots;
	struct watch *watches;		/* slot n is watches[n - 1] */
	struct page **pages;		/* the array of generations */
	wait_queue_head_t wait;		/* for events, and for invalidations to end */
	struct irq_work wake;
	struct mutex reader;		/* one read() at a time */

	raw_spinlock_t lock;		/* what follows */
	struct rb_root_cached standing;
	struct list_head free, events;
	struct span running[RUNNING];
	u32 nr_running, unlisted;
	u32 waiting;			/* for one of these to end */
	struct span ended[ENDED];	/* the last ones, in turn */
	u64 nr_ended;
	u64 last_cookie;
	u32 taken;
	u64 nr_watches, nr_waited, nr_late, invalidations;
	u64 changes[HPCVM_CHANGES];
};

static DEFINE_MUTEX(monitors_lock);
static LIST_HEAD(monitors);
static u32 user_limit = HPCVM_MONITOR_SLOTS_MAX;
static struct kobject *dir;

/* The array of generations: entry 0 is the sequence. */

static u64 *word(const struct hpcvm_monitor *m, u32 nr)
{
	return (u64 *)page_address(m->pages[nr / WORDS_A_PAGE]) + nr % WORDS_A_PAGE;
}

static u32 nr_pages(u32 slots)
{
	return DIV_ROUND_UP(slots + 1, WORDS_A_PAGE);
}

static u32 slot_of(const struct hpcvm_monitor *m, const struct watch *w)
{
	return w - m->watches + 1;
}

/* The sequence comes after the words: who has seen it has seen them. */
static void next_sequence(struct hpcvm_monitor *m)
{
	u64 *sequence = word(m, 0);

	/* Pairs with the load-acquire of whoever reads entry 0. */
	smp_store_release(sequence, *sequence + 1);
}

/* Invalidations */

static const u32 change_of[] = {
	[MMU_NOTIFY_UNMAP] = HPCVM_CHANGE_UNMAP,
	[MMU_NOTIFY_CLEAR] = HPCVM_CHANGE_CLEAR,
	[MMU_NOTIFY_PROTECTION_VMA] = HPCVM_CHANGE_PROTECT,
	[MMU_NOTIFY_PROTECTION_PAGE] = HPCVM_CHANGE_PROTECT_PAGE,
	[MMU_NOTIFY_SOFT_DIRTY] = HPCVM_CHANGE_SOFT_DIRTY,
	[MMU_NOTIFY_RELEASE] = HPCVM_CHANGE_END,
	[MMU_NOTIFY_MIGRATE] = HPCVM_CHANGE_MIGRATE,
	[MMU_NOTIFY_EXCLUSIVE] = HPCVM_CHANGE_EXCLUSIVE,
};

/* A watch that stands changes: for good. */
static void change(struct hpcvm_monitor *m, struct watch *w, u32 why)
{
	interval_tree_remove(&w->range, &m->standing);
	WRITE_ONCE(*word(m, slot_of(m, w)), 0);
	w->change = why;
	list_add_tail(&w->entry, &m->events);
	m->changes[why]++;
}

/*
 * Change all that stand in a range, the last byte included. The lock is held, and
 * given up now and then.
 */
static bool change_range(struct hpcvm_monitor *m, unsigned long start, unsigned long last, u32 why)
{
	struct interval_tree_node *node;
	unsigned int n = 0;

	while ((node = interval_tree_iter_first(&m->standing, start, last))) {
		change(m, container_of(node, struct watch, range), why);
		if (++n % A_BREATH)
			continue;
		next_sequence(m);
		raw_spin_unlock(&m->lock);
		cpu_relax();
		raw_spin_lock(&m->lock);
	}
	if (n)
		next_sequence(m);
	return n;
}

static void wake(struct irq_work *work)
{
	wake_up_all(&container_of(work, struct hpcvm_monitor, wake)->wait);
}

/* The lock is free again: what was done under it is seen by who wakes up. */
static void wake_sleepers(struct hpcvm_monitor *m)
{
	if (wq_has_sleeper(&m->wait))
		irq_work_queue(&m->wake);
}

static void begin_running(struct hpcvm_monitor *m, unsigned long start, unsigned long end)
{
	if (m->nr_running == RUNNING) {
		m->unlisted++;
		return;
	}
	m->running[m->nr_running++] = (struct span){ start, end };
}

/* Ranges that are the same stand in for each other. */
static void end_running(struct hpcvm_monitor *m, unsigned long start, unsigned long end)
{
	u32 i;

	m->ended[m->nr_ended++ % ENDED] = (struct span){ start, end };
	for (i = 0; i < m->nr_running; i++) {
		if (m->running[i].start != start || m->running[i].end != end)
			continue;
		m->running[i] = m->running[--m->nr_running];
		return;
	}
	if (m->unlisted)
		m->unlisted--;
}

/* Does one run that may concern this range? One that is not listed may. */
static bool is_running(const struct hpcvm_monitor *m, unsigned long start, unsigned long last)
{
	u32 i;

	for (i = 0; i < m->nr_running; i++)
		if (overlaps(&m->running[i], start, last))
			return true;
	return m->unlisted;
}

/* Has one that may have concerned this range ended since so many had? */
static bool has_ended(const struct hpcvm_monitor *m, u64 since, unsigned long start,
		      unsigned long last)
{
	/* More than there are is a caller's mistake, which shall not look well. */
	if (since > m->nr_ended || m->nr_ended - since > ENDED)
		return true;
	for (; since < m->nr_ended; since++)
		if (overlaps(&m->ended[since % ENDED], start, last))
			return true;
	return false;
}

static int invalidation_begins(struct mmu_notifier *notifier,
			       const struct mmu_notifier_range *range)
{
	struct hpcvm_monitor *m = container_of(notifier, struct hpcvm_monitor, notifier);
	u32 why = range->event < ARRAY_SIZE(change_of) ? change_of[range->event] : 0;
	bool changed;

	raw_spin_lock(&m->lock);
	m->invalidations++;
	begin_running(m, range->start, range->end);
	changed = change_range(m, range->start, range->end - 1, why ?: HPCVM_CHANGE_OTHER);
	raw_spin_unlock(&m->lock);
	if (changed)
		wake_sleepers(m);
	return 0;
}

static void invalidation_ends(struct mmu_notifier *notifier,
			      const struct mmu_notifier_range *range)
{
	struct hpcvm_monitor *m = container_of(notifier, struct hpcvm_monitor, notifier);
	bool waiting;

	raw_spin_lock(&m->lock);
	end_running(m, range->start, range->end);
	waiting = m->waiting;
	raw_spin_unlock(&m->lock);
	if (waiting)
		wake_sleepers(m);
}

/* The address space ends, or we let it go. */
static void address_space_ends(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct hpcvm_monitor *m = container_of(notifier, struct hpcvm_monitor, notifier);

	raw_spin_lock(&m->lock);
	change_range(m, 0, ULONG_MAX, HPCVM_CHANGE_END);
	raw_spin_unlock(&m->lock);
	wake_sleepers(m);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidation_begins,
	.invalidate_range_end = invalidation_ends,
	.release = address_space_ends,
};

/* Watches */

static int check_mm(struct hpcvm_call *call)
{
	if (call->monitor->notifier.mm != current->mm)
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_MONITOR_MM, 0);
	return 0;
}

static int check_range(struct hpcvm_call *call, u64 addr, u64 length)
{
	if (!length)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	if (addr > TASK_SIZE_MAX || length > TASK_SIZE_MAX - addr)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_HVA_LIMIT, TASK_SIZE_MAX);
	return 0;
}

/* 0: done; -EAGAIN: an invalidation runs; -ESTALE: it is too late; -ENOSPC: no slot is free. */
static int try_watch(struct hpcvm_monitor *m, struct hpcvm_monitor_watch *cmd)
{
	unsigned long start = cmd->addr & PAGE_MASK;
	unsigned long last = (cmd->addr + cmd->length - 1) | ~PAGE_MASK;
	int err = -ENOSPC;
	struct watch *w;

	raw_spin_lock(&m->lock);
	w = list_first_entry_or_null(&m->free, struct watch, entry);
	if (w)
		err = is_running(m, start, last) ? -EAGAIN : 0;
	if (!err && cmd->flags & HPCVM_WATCH_SINCE && has_ended(m, cmd->ended, start, last)) {
		m->nr_late++;
		err = -ESTALE;
	}
	/* Of a refusal this is the detail. */
	if (err != -EAGAIN)
		cmd->ended = m->nr_ended;
	if (!err) {
		list_del_init(&w->entry);
		w->cookie = ++m->last_cookie;
		w->addr = cmd->addr;
		w->length = cmd->length;
		w->change = HPCVM_CHANGE_NONE;
		w->range.start = start;
		w->range.last = last;
		interval_tree_insert(&w->range, &m->standing);
		m->taken++;
		m->nr_watches++;
		cmd->slot = slot_of(m, w);
		cmd->cookie = w->cookie;
		WRITE_ONCE(*word(m, cmd->slot), w->cookie);
	}
	raw_spin_unlock(&m->lock);
	return err;
}

static bool has_watched(struct hpcvm_monitor *m, struct hpcvm_monitor_watch *cmd, int *err)
{
	*err = try_watch(m, cmd);
	return *err != -EAGAIN;
}

/* try_watch(), once no invalidation of the range runs. */
static int wait_and_watch(struct hpcvm_monitor *m, struct hpcvm_monitor_watch *cmd)
{
	int err = 0;

	raw_spin_lock(&m->lock);
	m->nr_waited++;
	m->waiting++;
	raw_spin_unlock(&m->lock);
	if (wait_event_killable(m->wait, has_watched(m, cmd, &err)))
		err = -EINTR;
	raw_spin_lock(&m->lock);
	m->waiting--;
	raw_spin_unlock(&m->lock);
	return err;
}

static void end_watch(struct hpcvm_monitor *m, struct watch *w)
{
	if (w->change)
		list_del(&w->entry);
	else
		interval_tree_remove(&w->range, &m->standing);
	WRITE_ONCE(*word(m, slot_of(m, w)), 0);
	w->cookie = 0;
	list_add(&w->entry, &m->free);
	m->taken--;
}

static struct watch *find(struct hpcvm_monitor *m, u32 slot, u64 cookie)
{
	struct watch *w;

	if (!slot || slot > m->slots)
		return NULL;
	w = &m->watches[array_index_nospec(slot - 1, m->slots)];
	return cookie && w->cookie == cookie ? w : NULL;
}

/* Whoever cannot be told of a watch has none. */
static void settle_watch(struct hpcvm_call *call, bool done)
{
	const struct hpcvm_monitor_watch *cmd = call->cmd;
	struct hpcvm_monitor *m = call->monitor;

	if (done)
		return;
	raw_spin_lock(&m->lock);
	/* Another thread may have guessed slot and cookie, and ended it. */
	if (find(m, cmd->slot, cmd->cookie))
		end_watch(m, find(m, cmd->slot, cmd->cookie));
	raw_spin_unlock(&m->lock);
}

/**
 * hpcvm_monitor_watch() - HPCVM_MONITOR_WATCH
 * @call: on a monitor.
 *
 * Return: 0 or a documented errno.
 * Context: process; waits for invalidations of the range to end.
 */
int hpcvm_monitor_watch(struct hpcvm_call *call)
{
	struct hpcvm_monitor_watch *cmd = call->cmd;
	struct hpcvm_monitor *m = call->monitor;
	int err;

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_monitor_watch, pad0));
	err = check_mm(call) ?: check_range(call, cmd->addr, cmd->length);
	if (err)
		return err;
	err = try_watch(m, cmd);
	if (err == -EAGAIN)
		err = wait_and_watch(m, cmd);
	if (err == -EINTR)
		return hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, 0);
	if (err == -ESTALE)
		return hpcvm_refuse(call, -EAGAIN, HPCVM_REASON_WATCH_LATE, cmd->ended);
	if (err)
		return hpcvm_refuse(call, err, HPCVM_REASON_WATCHES_FULL, m->slots);
	call->settle = settle_watch;
	return 0;
}

/**
 * hpcvm_monitor_unwatch() - HPCVM_MONITOR_UNWATCH
 * @call: on a monitor.
 *
 * Return: 0 or a documented errno.
 * Context: process.
 */
int hpcvm_monitor_unwatch(struct hpcvm_call *call)
{
	const struct hpcvm_monitor_unwatch *cmd = call->cmd;
	struct hpcvm_monitor *m = call->monitor;
	struct watch *w;
	int err;

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_monitor_unwatch, pad0));
	err = check_mm(call);
	if (err)
		return err;
	raw_spin_lock(&m->lock);
	w = find(m, cmd->slot, cmd->cookie);
	if (w)
		end_watch(m, w);
	raw_spin_unlock(&m->lock);
	return w ? 0 : hpcvm_refuse(call, -ENOENT, HPCVM_REASON_WATCH_UNKNOWN, cmd->slot);
}

/**
 * hpcvm_monitor_stats() - HPCVM_MONITOR_STATS
 * @call: on a monitor.
 *
 * Return: 0.
 * Context: process.
 */
int hpcvm_monitor_stats(struct hpcvm_call *call)
{
	struct hpcvm_monitor_stats *stats = call->cmd;
	struct hpcvm_monitor *m = call->monitor;

	raw_spin_lock(&m->lock);
	stats->slots = m->slots;
	stats->taken = m->taken;
	stats->watches = m->nr_watches;
	stats->waited = m->nr_waited;
	stats->late = m->nr_late;
	stats->invalidations = m->invalidations;
	stats->ended = m->nr_ended;
	memcpy(stats->changes, m->changes, sizeof(stats->changes));
	raw_spin_unlock(&m->lock);
	return 0;
}

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
			.slot = slot_of(m, w),
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
		w = find(m, events[n].slot, events[n].cookie);
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
	if (vmf->vma->vm_mm != m->notifier.mm || vmf->pgoff >= nr_pages(m->slots))
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
	if (vma->vm_pgoff || vma_pages(vma) > nr_pages(m->slots))
		return -EINVAL;
	compat_vm_flags_mod(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	vma->vm_ops = &monitor_vm_ops;
	return 0;
}

/* Birth and end */

static void free_monitor(struct hpcvm_monitor *m)
{
	u32 i;

	for (i = 0; m->pages && i < nr_pages(m->slots) && m->pages[i]; i++)
		put_page(m->pages[i]);
	kvfree(m->pages);
	kvfree(m->watches);
	kfree(m);
}

static int allocate(struct hpcvm_monitor *m)
{
	u32 i, nr = nr_pages(m->slots);

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
	m->notifier.ops = &notifier_ops;
	m->uid = current_uid();
	m->slots = slots;
	m->standing = RB_ROOT_CACHED;
	raw_spin_lock_init(&m->lock);
	mutex_init(&m->reader);
	init_waitqueue_head(&m->wait);
	init_irq_work(&m->wake, wake);
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
