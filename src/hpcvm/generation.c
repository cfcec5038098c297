// SPDX-License-Identifier: GPL-2.0-only
/*
 * Watches and their generations: what an invalidation of the address space does to
 * the words that a registration cache looks at.
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
#include <linux/interval_tree.h>
#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/nospec.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "monitor.h"

#define A_BREATH 64		/* watches that change before the lock is given up */

static bool overlaps(const struct span *r, unsigned long start, unsigned long last)
{
	return r->start <= last && r->end > start;
}

/* The sequence comes after the words: who has seen it has seen them. */
static void next_sequence(struct hpcvm_monitor *m)
{
	u64 *sequence = monitor_word(m, 0);

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
	WRITE_ONCE(*monitor_word(m, monitor_slot_of(m, w)), 0);
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

/** hpcvm_monitor_wake() - wake who waits in m->wait: what m->wake, an irq_work, does */
void hpcvm_monitor_wake(struct irq_work *work)
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

const struct mmu_notifier_ops hpcvm_monitor_notifier_ops = {
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
		cmd->slot = monitor_slot_of(m, w);
		cmd->cookie = w->cookie;
		WRITE_ONCE(*monitor_word(m, cmd->slot), w->cookie);
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
	WRITE_ONCE(*monitor_word(m, monitor_slot_of(m, w)), 0);
	w->cookie = 0;
	list_add(&w->entry, &m->free);
	m->taken--;
}

/**
 * hpcvm_monitor_find() - the watch that a slot has
 * @m: a monitor, locked.
 * @slot: any number.
 * @cookie: the watch's.
 *
 * Return: the watch, whether it stands or has changed; or NULL.
 */
struct watch *hpcvm_monitor_find(struct hpcvm_monitor *m, u32 slot, u64 cookie)
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
	struct watch *w;

	if (done)
		return;
	raw_spin_lock(&m->lock);
	/* Another thread may have guessed slot and cookie, and ended it. */
	w = hpcvm_monitor_find(m, cmd->slot, cmd->cookie);
	if (w)
		end_watch(m, w);
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
	err = check_mm(call) ?: hpcvm_check_range(call, cmd->addr, cmd->length);
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
	w = hpcvm_monitor_find(m, cmd->slot, cmd->cookie);
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
