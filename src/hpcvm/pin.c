// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pins: memory of a process that is pinned once, for as long as its dma-buf lives.
 *
 * A driver that imports dma-bufs (ibv_reg_dmabuf_mr() of mlx5, irdma, efa, bnxt_re,
 * mana) registers one without a look at the process's page tables, as often as is
 * wanted. Pinning itself is cheap where it can be: a hugepage of hugetlbfs is pinned
 * once, not page by page.
 *
 * The dma-buf is of the pages, not of the addresses. When the address space puts
 * others there, or ends, the pin is revoked: importers are told, if they can let go,
 * and nobody can map it any more. Its pages stay pinned and accounted until the last
 * importer has gone; sysfs shows how many there are of these.
 *
 * Pinning races with invalidations as any user of get_user_pages() does: an interval
 * notifier says whether one has come in between, and then it begins anew.
 */
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/workqueue.h>

#include "hpcvm.h"

compat_import_ns(DMA_BUF);

#define BATCH (PAGE_SIZE / sizeof(struct page *))	/* pages asked for at a time */
#define SEGMENT ((unsigned long)UINT_MAX >> PAGE_SHIFT)	/* pages of an sg entry at most */

/* Pages that lie one behind the other. */
struct run {
	struct page *page;
	unsigned long nr;
	bool huge;		/* of one hugepage, and pinned once */
};

#define RUNS ((PAGE_SIZE - sizeof(struct list_head) - sizeof(u32)) / sizeof(struct run))

struct chunk {
	struct list_head entry;
	u32 nr;
	struct run runs[RUNS];
};

struct pin {
	struct mmu_interval_notifier notifier;
	struct list_head entry;		/* in pins, under pins_lock */
	struct mm_struct *mm;
	unsigned long addr, nr_pages;
	struct dma_buf *buf;
	struct list_head chunks;
	bool accounted;
	unsigned int held;		/* by importers that cannot let go; under buf->resv */
	struct work_struct tell;

	raw_spinlock_t lock;		/* of what follows, and of the notifier's sequence */
	bool done;			/* all of it is pinned */
	bool revoked;
};

static DEFINE_MUTEX(pins_lock);
static LIST_HEAD(pins);
static struct kobject *dir;

/* Runs */

static void unpin(const struct run *run)
{
	struct page *page = run->page;

	if (run->huge)
		unpin_user_pages_dirty_lock(&page, 1, true);
	else
		unpin_user_page_range_dirty_lock(page, run->nr, true);
}

static void unpin_all(struct pin *p)
{
	struct chunk *chunk, *next;
	u32 i;

	list_for_each_entry_safe(chunk, next, &p->chunks, entry) {
		for (i = 0; i < chunk->nr; i++)
			unpin(&chunk->runs[i]);
		kfree(chunk);
	}
	INIT_LIST_HEAD(&p->chunks);
}

static struct run *last_run(struct pin *p)
{
	struct chunk *chunk;

	if (list_empty(&p->chunks))
		return NULL;
	chunk = list_last_entry(&p->chunks, struct chunk, entry);
	return &chunk->runs[chunk->nr - 1];
}

/* Take a run over; on failure it is unpinned. */
static int add_run(struct pin *p, struct page *page, unsigned long nr, bool huge)
{
	struct run run = { page, nr, huge };
	struct chunk *chunk = NULL;

	if (!list_empty(&p->chunks))
		chunk = list_last_entry(&p->chunks, struct chunk, entry);
	if (!chunk || chunk->nr == RUNS) {
		chunk = kzalloc(sizeof(*chunk), GFP_KERNEL_ACCOUNT);
		if (!chunk) {
			unpin(&run);
			return -ENOMEM;
		}
		list_add_tail(&chunk->entry, &p->chunks);
	}
	chunk->runs[chunk->nr++] = run;
	return 0;
}

static int add_page(struct pin *p, struct page *page)
{
	struct run *last = last_run(p);

	if (!last || last->huge || last->page + last->nr != page || last->nr == SEGMENT)
		return add_run(p, page, 1, false);
	last->nr++;
	return 0;
}

/*
 * Pin some pages: the rest of one hugepage, or a batch of others. Returns how many,
 * or an errno.
 */
static long pin_some(struct pin *p, unsigned long at, struct page **pages)
{
	unsigned long addr = p->addr + at * PAGE_SIZE, left = p->nr_pages - at;
	const unsigned int flags = FOLL_WRITE | FOLL_LONGTERM;
	struct folio *folio;
	long i, n, err = 0;

	n = pin_user_pages_fast(addr, 1, flags, pages);
	if (n <= 0)
		return n ?: -EFAULT;
	folio = page_folio(pages[0]);
	if (folio_test_hugetlb(folio)) {
		n = min(left, folio_nr_pages(folio) - (page_to_pfn(pages[0]) - folio_pfn(folio)));
		return add_run(p, pages[0], n, true) ?: n;
	}
	/* What cannot be had of these is said when it is the first. */
	if (left > 1)
		n += max(pin_user_pages_fast(addr + PAGE_SIZE, min(left, BATCH) - 1, flags,
					     pages + 1), 0);
	for (i = 0; i < n && !err; i++)
		err = add_page(p, pages[i]);
	unpin_user_pages(pages + i, n - i);
	return err ?: n;
}

static int pin_all(struct hpcvm_call *call, struct pin *p, struct page **pages)
{
	unsigned long at;
	long n;

	for (at = 0; at < p->nr_pages; at += n) {
		if (fatal_signal_pending(current))
			return hpcvm_refuse(call, -EINTR, HPCVM_REASON_INTERRUPTED, 0);
		n = pin_some(p, at, pages);
		if (n == -ENOMEM)
			return n;
		if (n < 0)
			return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PIN_ADDR,
					    p->addr + at * PAGE_SIZE);
		cond_resched();
	}
	return 0;
}

static bool is_settled(struct pin *p, unsigned long seq)
{
	bool changed;

	raw_spin_lock(&p->lock);
	changed = mmu_interval_read_retry(&p->notifier, seq);
	p->done = !changed;
	raw_spin_unlock(&p->lock);
	return !changed;
}

/* What is there now, at one moment. */
static int pin_steadily(struct hpcvm_call *call, struct pin *p)
{
	struct page **pages = (struct page **)__get_free_page(GFP_KERNEL_ACCOUNT);
	unsigned long seq;
	int err;

	if (!pages)
		return -ENOMEM;
	for (;;) {
		seq = mmu_interval_read_begin(&p->notifier);
		err = pin_all(call, p, pages);
		if (err || is_settled(p, seq))
			break;
		unpin_all(p);
	}
	free_page((unsigned long)pages);
	return err;
}

static int account(struct hpcvm_call *call, struct pin *p)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT, wanted;

	p->accounted = !account_locked_vm(p->mm, p->nr_pages, true);
	if (p->accounted)
		return 0;
	wanted = READ_ONCE(p->mm->locked_vm) + p->nr_pages;
	return hpcvm_refuse(call, -ENOMEM, HPCVM_REASON_PIN_LIMIT,
			    (u64)(wanted > limit ? wanted - limit : 0) << PAGE_SHIFT);
}

/* The notifier: other pages have come to the addresses, or none. */

static bool invalidated(struct mmu_interval_notifier *notifier,
			const struct mmu_notifier_range *range, unsigned long seq)
{
	struct pin *p = container_of(notifier, struct pin, notifier);
	bool tell = false;

	switch (range->event) {
	case MMU_NOTIFY_PROTECTION_VMA:
	case MMU_NOTIFY_PROTECTION_PAGE:
	case MMU_NOTIFY_SOFT_DIRTY:
		return true;	/* the pages are the same */
	default:
		break;
	}
	raw_spin_lock(&p->lock);
	mmu_interval_set_seq(notifier, seq);
	if (p->done && !p->revoked) {
		WRITE_ONCE(p->revoked, true);
		tell = true;
	}
	raw_spin_unlock(&p->lock);
	if (tell)
		schedule_work(&p->tell);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate = invalidated,
};

/* Who can let go shall. */
static void tell(struct work_struct *work)
{
	struct pin *p = container_of(work, struct pin, tell);

	dma_resv_lock(p->buf->resv, NULL);
	if (!p->held)
		compat_dma_buf_invalidate_mappings(p->buf);
	dma_resv_unlock(p->buf->resv);
}

/* The dma-buf */

/* The entries of a scatter list on the way: how many, and the last one. */
struct layout {
	struct scatterlist *sg;		/* NULL: they are only counted */
	unsigned int entries;
	struct page *page;
	unsigned long nr;
};

static void lay_out_run(struct layout *l, const struct run *run)
{
	if (l->nr && l->page + l->nr == run->page && l->nr + run->nr <= SEGMENT) {
		l->nr += run->nr;
	} else {
		l->sg = l->sg && l->nr ? sg_next(l->sg) : l->sg;
		l->page = run->page;
		l->nr = run->nr;
		l->entries++;
	}
	if (l->sg)
		sg_set_page(l->sg, l->page, l->nr << PAGE_SHIFT, 0);
}

/* Fill the entries from @sg on, or only count them if there is none. */
static unsigned int lay_out(struct pin *p, struct scatterlist *sg)
{
	struct layout l = { .sg = sg };
	struct chunk *chunk;
	u32 i;

	list_for_each_entry(chunk, &p->chunks, entry)
		for (i = 0; i < chunk->nr; i++)
			lay_out_run(&l, &chunk->runs[i]);
	return l.entries;
}

static struct sg_table *map_pin(struct dma_buf_attachment *attachment, enum dma_data_direction dir)
{
	struct pin *p = attachment->dmabuf->priv;
	struct sg_table *table;
	int err;

	if (READ_ONCE(p->revoked))
		return ERR_PTR(-ENODEV);
	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return ERR_PTR(-ENOMEM);
	err = sg_alloc_table(table, lay_out(p, NULL), GFP_KERNEL);
	if (err)
		goto free;
	lay_out(p, table->sgl);
	err = dma_map_sgtable(attachment->dev, table, dir, 0);
	if (!err)
		return table;
	sg_free_table(table);
free:
	kfree(table);
	return ERR_PTR(err);
}

static void unmap_pin(struct dma_buf_attachment *attachment, struct sg_table *table,
		      enum dma_data_direction dir)
{
	dma_unmap_sgtable(attachment->dev, table, dir, 0);
	sg_free_table(table);
	kfree(table);
}

/* An importer says that it cannot let go as long as it maps. Under buf->resv. */
static int hold_pin(struct dma_buf_attachment *attachment)
{
	struct pin *p = attachment->dmabuf->priv;

	if (READ_ONCE(p->revoked))
		return -ENODEV;
	p->held++;
	return 0;
}

/* The others are told now: not from here, where one may be about to unmap. */
static void unhold_pin(struct dma_buf_attachment *attachment)
{
	struct pin *p = attachment->dmabuf->priv;

	if (!--p->held && READ_ONCE(p->revoked))
		schedule_work(&p->tell);
}

static void free_pin(struct pin *p)
{
	mutex_lock(&pins_lock);
	list_del(&p->entry);
	mutex_unlock(&pins_lock);
	if (p->accounted)
		account_locked_vm(p->mm, p->nr_pages, false);
	mmdrop(p->mm);
	kfree(p);
}

/* The last importer has gone, and the fd, at any time after the process. */
static void release_pin(struct dma_buf *buf)
{
	struct pin *p = buf->priv;

	mmu_interval_notifier_remove(&p->notifier);
	/* No invalidation comes any more, so nobody is told any more. */
	cancel_work_sync(&p->tell);
	unpin_all(p);
	free_pin(p);
}

static const struct dma_buf_ops pin_ops = {
	.pin = hold_pin,
	.unpin = unhold_pin,
	.map_dma_buf = map_pin,
	.unmap_dma_buf = unmap_pin,
	.release = release_pin,
};

static struct dma_buf *export(struct pin *p)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);

	info.ops = &pin_ops;
	info.size = p->nr_pages << PAGE_SHIFT;
	info.flags = O_RDWR;
	info.priv = p;
	return dma_buf_export(&info);
}

/* Birth */

static int check(struct hpcvm_call *call, const struct hpcvm_pin *cmd)
{
	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_pin, pad0));
	if (!PAGE_ALIGNED(cmd->length))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ALIGN, PAGE_SIZE);
	if (!PAGE_ALIGNED(cmd->addr))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_HVA_ALIGN, PAGE_SIZE);
	return hpcvm_check_range(call, cmd->addr, cmd->length);
}

static struct pin *new_pin(const struct hpcvm_pin *cmd)
{
	struct pin *p = kzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);

	if (!p)
		return NULL;
	p->addr = cmd->addr;
	p->nr_pages = cmd->length >> PAGE_SHIFT;
	p->mm = current->mm;
	mmgrab(p->mm);
	INIT_LIST_HEAD(&p->chunks);
	INIT_WORK(&p->tell, tell);
	raw_spin_lock_init(&p->lock);
	mutex_lock(&pins_lock);
	list_add_tail(&p->entry, &pins);
	mutex_unlock(&pins_lock);
	return p;
}

/* A pin with its dma-buf, and nothing pinned yet. */
static int begin(const struct hpcvm_pin *cmd, struct pin **pin)
{
	struct pin *p = new_pin(cmd);
	int err;

	if (!p)
		return -ENOMEM;
	*pin = p;
	err = mmu_interval_notifier_insert(&p->notifier, p->mm, cmd->addr, cmd->length,
					   &notifier_ops);
	if (err)
		goto free;
	p->buf = export(p);
	if (!IS_ERR(p->buf))
		return 0;
	err = PTR_ERR(p->buf);
	mmu_interval_notifier_remove(&p->notifier);
free:
	free_pin(p);
	return err;
}

/**
 * hpcvm_pin() - HPCVM_PIN
 * @call: on the device.
 *
 * Return: 0 with the dma-buf's file in the call, a documented errno, or
 * -ERESTARTNOINTR: a signal waits, which any lock on all of an address space
 * gives way to; the call is made again by itself.
 * Context: process; waits for the caller's mmap_lock.
 */
int hpcvm_pin(struct hpcvm_call *call)
{
	struct hpcvm_pin *cmd = call->cmd;
	struct pin *p;
	int err;

	err = check(call, cmd);
	if (err)
		return err;
	err = begin(cmd, &p);
	if (err)
		return err == -EINTR ? -ERESTARTNOINTR : err;
	err = account(call, p) ?: pin_steadily(call, p);
	if (err) {
		dma_buf_put(p->buf);
		return err;
	}
	cmd->segments = lay_out(p, NULL);
	call->new_file = p->buf->file;
	call->new_fd = &cmd->out_fd;
	return 0;
}

/* sysfs: pins/ */

static ssize_t show_sum(char *buf, bool revoked)
{
	struct pin *p;
	u64 pages = 0;

	guard(mutex)(&pins_lock);
	list_for_each_entry(p, &pins, entry)
		if (!revoked || READ_ONCE(p->revoked))
			pages += p->nr_pages;
	return sysfs_emit(buf, "%llu\n", pages << PAGE_SHIFT);
}

static ssize_t bytes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return show_sum(buf, false);
}

static ssize_t revoked_bytes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return show_sum(buf, true);
}

static struct kobj_attribute bytes_attr = __ATTR_RO(bytes);
static struct kobj_attribute revoked_bytes_attr = __ATTR_RO(revoked_bytes);
static const struct attribute *pins_attrs[] = {
	&bytes_attr.attr,
	&revoked_bytes_attr.attr,
	NULL
};

/**
 * hpcvm_pins_init() - make the place of pins in sysfs
 * @device: the device's kobject.
 */
void hpcvm_pins_init(struct kobject *device)
{
	dir = kobject_create_and_add("pins", device);
	if (!dir || sysfs_create_files(dir, pins_attrs))
		pr_warn("no memory for sysfs: pins cannot be seen\n");
}

void hpcvm_pins_exit(void)
{
	kobject_put(dir);
}
