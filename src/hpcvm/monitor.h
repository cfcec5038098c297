/* SPDX-License-Identifier: GPL-2.0-only */
/* A monitor as generation.c and monitor.c share it. */
#ifndef HPCVM_MONITOR_H
#define HPCVM_MONITOR_H

#include <linux/interval_tree.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "hpcvm.h"

#define WORDS_A_PAGE (PAGE_SIZE / sizeof(u64))
#define RUNNING 32		/* invalidations at a time of which we know the range */
#define ENDED 256		/* and of how many that have ended */

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

/* The array of generations: entry 0 is the sequence. */
static inline u64 *monitor_word(const struct hpcvm_monitor *m, u32 nr)
{
	return (u64 *)page_address(m->pages[nr / WORDS_A_PAGE]) + nr % WORDS_A_PAGE;
}

static inline u32 monitor_nr_pages(u32 slots)
{
	return DIV_ROUND_UP(slots + 1, WORDS_A_PAGE);
}

static inline u32 monitor_slot_of(const struct hpcvm_monitor *m, const struct watch *w)
{
	return w - m->watches + 1;
}

extern const struct mmu_notifier_ops hpcvm_monitor_notifier_ops;

void hpcvm_monitor_wake(struct irq_work *work);
struct watch *hpcvm_monitor_find(struct hpcvm_monitor *m, u32 slot, u64 cookie);

#endif
