// SPDX-License-Identifier: GPL-2.0-only
/*
 * A broken promise is an event: a VM fd or a handle polls readable when the
 * VM's memory is no longer what the last HPCVM_MEM_VERIFY on that fd said.
 *
 * Until somebody polls, all of this is an MMU notifier that reads one word, for
 * ranges of a hugepage and more. Then the watch looks at a few of KVM's numbers
 * twice a second, and at all of the memory only where these have changed, where
 * the owner's mappings have (the notifier leaves a mark, no more), and now and
 * then in any case: a memory error in a hugepage that nobody has mapped tells no
 * notifier.
 *
 * The notifier comes before the change it tells of, and a hole in a file is
 * made after its mappings are gone. So a mark is good for two looks.
 */
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "hpcvm.h"

#define PERIOD (HZ / 2)		/* between looks at KVM's numbers */
#define LOOKS_A_MARK 2
#define FULL_EVERY 60		/* periods: look at all the memory anyway */

/* One fd's side of it. */
struct hpcvm_watch {
	struct hpcvm_vm *vm;
	bool polled;			/* this fd is one of watched->polls */
	struct hpcvm_state told;	/* what it has heard */
};

/* Our own: unbound, so that it keeps off isolated cores. */
static struct workqueue_struct *looks;

/** hpcvm_watch_init() - when the module is loaded; 0 or -ENOMEM */
int __init hpcvm_watch_init(void)
{
	looks = alloc_workqueue("hpcvm", WQ_UNBOUND, 0);
	return looks ? 0 : -ENOMEM;
}

/** hpcvm_watch_exit() - when it is unloaded: no VM is left then */
void hpcvm_watch_exit(void)
{
	destroy_workqueue(looks);
}

/* The VM's side */

static int mark(struct mmu_notifier *notifier, const struct mmu_notifier_range *range)
{
	struct hpcvm_watched *watched = container_of(notifier, struct hpcvm_watched, notifier);

	/* Less than a whole hugepage is nothing of ours. */
	if (range->end - range->start >= PMD_SIZE && READ_ONCE(watched->polls))
		WRITE_ONCE(watched->marks, LOOKS_A_MARK);
	return 0;
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = mark,
};

/* What KVM tells for nothing. Does it call for a look at everything? */
static bool kvm_has_changed(struct hpcvm_watched *watched, struct kvm *kvm)
{
	struct hpcvm_kvm_glance glance;

	hpcvm_kvm_glance(kvm, &glance);
	if (!memcmp(&glance, &watched->glance, sizeof(glance)))
		return false;
	watched->glance = glance;
	return true;
}

static bool look_is_due(struct hpcvm_watched *watched, struct kvm *kvm)
{
	bool due = kvm_has_changed(watched, kvm);
	int marks = READ_ONCE(watched->marks);

	if (marks && cmpxchg(&watched->marks, marks, marks - 1) == marks)
		due = true;
	if (++watched->periods >= FULL_EVERY)
		due = true;
	if (due)
		watched->periods = 0;
	return due;
}

static void look(struct work_struct *work)
{
	struct hpcvm_watched *watched = container_of(to_delayed_work(work),
						     struct hpcvm_watched, work);
	struct hpcvm_vm *vm = watched->vm;

	/* Whoever has the VM for longer looks at it, too, or ends it. */
	if (hpcvm_vm_trylock(vm)) {
		if (look_is_due(watched, hpcvm_vm_kvm(vm)) && hpcvm_verify_state(vm))
			WRITE_ONCE(watched->marks, LOOKS_A_MARK);
		hpcvm_vm_unlock(vm);
	}
	spin_lock(&watched->lock);
	if (watched->polls && !watched->ended)
		queue_delayed_work(looks, &watched->work, PERIOD);
	spin_unlock(&watched->lock);
}

/**
 * hpcvm_watched_init() - make a VM one that can be watched
 * @watched: the VM's.
 * @vm: the VM, of the calling process.
 *
 * Return: 0, -ENOMEM, or -ERESTARTNOINTR: a signal waits, which any lock on all
 * of an address space gives way to. Nothing has happened yet, so the caller's
 * call is made again by itself.
 */
int hpcvm_watched_init(struct hpcvm_watched *watched, struct hpcvm_vm *vm)
{
	int err;

	watched->vm = vm;
	spin_lock_init(&watched->lock);
	init_waitqueue_head(&watched->wait);
	INIT_DELAYED_WORK(&watched->work, look);
	watched->notifier.ops = &notifier_ops;
	err = mmu_notifier_register(&watched->notifier, current->mm);
	return err == -EINTR ? -ERESTARTNOINTR : err;
}

/**
 * hpcvm_watched_end() - the VM ends: so does each poll of it
 * @watched: of hpcvm_watched_init().
 *
 * Context: process, may sleep; the VM has ended and is not locked.
 */
void hpcvm_watched_end(struct hpcvm_watched *watched)
{
	spin_lock(&watched->lock);
	watched->ended = true;
	spin_unlock(&watched->lock);
	wake_up_poll(&watched->wait, EPOLLHUP);
	cancel_delayed_work_sync(&watched->work);
	mmu_notifier_unregister(&watched->notifier, watched->notifier.mm);
}

/* Worse, or better, than that? Fewer pages of a promise already broken, too. */
static bool differs(const struct hpcvm_state *now, const struct hpcvm_state *told)
{
	return now->broken != told->broken || now->pages < told->pages;
}

/**
 * hpcvm_watched_seen() - somebody has looked at all the memory
 * @watched: of a VM that is locked.
 * @now: what was seen.
 */
void hpcvm_watched_seen(struct hpcvm_watched *watched, const struct hpcvm_state *now)
{
	bool news;

	spin_lock(&watched->lock);
	news = differs(now, &watched->now) || differs(&watched->now, now);
	watched->now = *now;
	spin_unlock(&watched->lock);
	if (news)
		wake_up_poll(&watched->wait, EPOLLIN);
}

/* An fd's side */

/** hpcvm_watch_new() - for a new fd of a VM; NULL: no memory */
struct hpcvm_watch *hpcvm_watch_new(struct hpcvm_vm *vm)
{
	struct hpcvm_watch *watch = kzalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);

	if (watch)
		watch->vm = vm;
	return watch;
}

/** hpcvm_watch_free() - the fd is closed; the VM is still there */
void hpcvm_watch_free(struct hpcvm_watch *watch)
{
	struct hpcvm_watched *watched = hpcvm_vm_watched(watch->vm);

	spin_lock(&watched->lock);
	WRITE_ONCE(watched->polls, watched->polls - watch->polled);
	spin_unlock(&watched->lock);
	kfree(watch);
}

/** hpcvm_watch_vm() - the VM that an fd is of */
struct hpcvm_vm *hpcvm_watch_vm(const struct hpcvm_watch *watch)
{
	return watch->vm;
}

/**
 * hpcvm_watch_told() - this fd has heard how things stand
 * @watch: its.
 * @state: what it was told.
 */
void hpcvm_watch_told(struct hpcvm_watch *watch, const struct hpcvm_state *state)
{
	struct hpcvm_watched *watched = hpcvm_vm_watched(watch->vm);

	spin_lock(&watched->lock);
	watch->told = *state;
	spin_unlock(&watched->lock);
}

/**
 * hpcvm_watch_poll() - poll() of a VM fd or a handle
 * @file: with a watch.
 * @table: of the caller.
 *
 * The first poll of an fd begins the watch, and closing the fd ends it.
 *
 * Return: EPOLLIN if the VM's memory is not what this fd has heard of it;
 * EPOLLHUP if the VM has ended.
 */
__poll_t hpcvm_watch_poll(struct file *file, struct poll_table_struct *table)
{
	struct hpcvm_watch *watch = file->private_data;
	struct hpcvm_watched *watched = hpcvm_vm_watched(watch->vm);
	__poll_t events = 0;

	poll_wait(file, &watched->wait, table);
	spin_lock(&watched->lock);
	if (!watch->polled) {
		watch->polled = true;
		/* What has changed while nobody watched is seen by this look. */
		WRITE_ONCE(watched->marks, LOOKS_A_MARK);
		WRITE_ONCE(watched->polls, watched->polls + 1);
		if (watched->polls == 1 && !watched->ended)
			queue_delayed_work(looks, &watched->work, 0);
	}
	if (watched->ended)
		events = EPOLLHUP;
	else if (differs(&watched->now, &watch->told))
		events = EPOLLIN | EPOLLRDNORM;
	spin_unlock(&watched->lock);
	return events;
}
