// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory: hugetlb files from the node's pools, whole or not at all.
 *
 * The module keeps one internal hugetlbfs mount a page size. A piece of
 * guest memory is an unnamed file there: any importer (KVM, VFIO, RDMA)
 * knows what to do with it, the hugetlb cgroup is charged as for everybody
 * else, and it outlives the module, because it is hugetlbfs's own.
 *
 * Three steps make the promise "no SIGBUS later": the pages are *reserved*
 * all at once (so that of two racing callers one gets all and the other
 * hears at once what is missing), then *populated*, then *looked at* one by
 * one. A size seal keeps the file from being truncated afterwards; a hole
 * can still be punched by whoever holds it, and verify.c will say so.
 *
 * The kernel takes the pages by the memory policy of the calling thread.
 * No setter of policies is exported, so the caller binds itself (libhpcvm
 * does) and the module verifies.
 *
 * A *prepared* file goes the first step and leaves the second to its maker,
 * who may use many threads, and reserve.c to look. Nobody can write to it: it
 * has been opened for reading alone, and an immutable inode cannot be opened
 * for writing, not by root nor through /proc. A read fault brings a page that
 * the kernel has zeroed. So it holds zeroes and nothing else until it is
 * handed out, which ends its being prepared for good.
 */
#include <linux/err.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pagemap.h>
#include <linux/rcupdate_wait.h>
#include <linux/sched/signal.h>
#include <linux/xarray.h>

#include "hpcvm.h"

#define NODE_LOCKS 16

struct pool {
	u64 page_size;
	const char *option;
	struct vfsmount *mnt;	/* NULL: this node has no such pages */
	struct mutex bound[NODE_LOCKS];	/* turns of callers bound to a node */
};

static struct pool pools[] = {
	{ .page_size = SZ_2M, .option = "2M" },
	{ .page_size = SZ_1G, .option = "1G" },
};

static struct pool *pool_of(u64 page_size)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pools); i++)
		if (pools[i].page_size == page_size)
			return &pools[i];
	return NULL;
}

static struct hstate *pool_hstate(const struct pool *pool)
{
	return hstate_inode(d_inode(pool->mnt->mnt_root));
}

static struct vfsmount *mount_pool(const char *option)
{
	struct file_system_type *type = get_fs_type("hugetlbfs");
	struct vfsmount *mnt;
	struct fs_context *fc;
	int err;

	if (!type)
		return ERR_PTR(-ENODEV);
	fc = fs_context_for_mount(type, SB_KERNMOUNT);
	module_put(type->owner);
	if (IS_ERR(fc))
		return ERR_CAST(fc);

	/* Whoever may open /dev/hpcvm may make a file: it has no name. */
	err = compat_parse_fs_string(fc, "mode", "1777");
	if (!err)
		err = compat_parse_fs_string(fc, "pagesize", option);
	mnt = err ? ERR_PTR(err) : compat_fc_mount(fc);
	put_fs_context(fc);
	/*
	 * Nobody can reach it by a path, as with the mount behind memfds; so
	 * modules that mediate by path (AppArmor) have nothing to say here.
	 */
	if (!IS_ERR(mnt))
		mnt->mnt_sb->s_flags |= SB_NOUSER;
	return mnt;
}

/**
 * hpcvm_memory_init() - mount a hugetlbfs for each page size the node has
 *
 * Return: 0, or -ENODEV where not even 2 MiB pages exist.
 */
int __init hpcvm_memory_init(void)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(pools); i++) {
		struct vfsmount *mnt = mount_pool(pools[i].option);

		for (j = 0; j < NODE_LOCKS; j++)
			mutex_init(&pools[i].bound[j]);
		if (!IS_ERR(mnt))
			pools[i].mnt = mnt;
	}
	if (pools[0].mnt)
		return 0;
	hpcvm_memory_exit();
	return -ENODEV;
}

/**
 * hpcvm_memory_exit() - let go of the mounts
 *
 * Files that are still open or mapped keep their superblock, and give their
 * pages back when they are closed.
 */
void hpcvm_memory_exit(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pools); i++) {
		if (pools[i].mnt)
			kern_unmount(pools[i].mnt);
		pools[i].mnt = NULL;
	}
}

/** hpcvm_memory_has() - are there pages of this size at all? */
bool hpcvm_memory_has(u64 page_size)
{
	struct pool *pool = pool_of(page_size);

	return pool && pool->mnt;
}

/* Pages that can be had now, overcommit included; racy by nature. */
static u64 available(struct hstate *h, s32 node)
{
	u64 free = READ_ONCE(h->free_huge_pages), resv = READ_ONCE(h->resv_huge_pages);
	u64 limit = READ_ONCE(h->nr_overcommit_huge_pages);
	u64 surplus = READ_ONCE(h->surplus_huge_pages);

	free = free > resv ? free - resv : 0;
	if (node != HPCVM_NODE_ANY)
		free = min_t(u64, free, READ_ONCE(h->free_huge_pages_node[node]));
	return free + (limit > surplus ? limit - surplus : 0);
}

/** hpcvm_memory_free() - free pages of the pool that nobody has reserved */
u64 hpcvm_memory_free(u64 page_size)
{
	struct pool *pool = pool_of(page_size);
	u64 free, resv;

	if (!pool || !pool->mnt)
		return 0;
	free = READ_ONCE(pool_hstate(pool)->free_huge_pages);
	resv = READ_ONCE(pool_hstate(pool)->resv_huge_pages);
	return free > resv ? free - resv : 0;
}

/**
 * hpcvm_memory_hstate() - is this a file from HPCVM_MEM_CREATE?
 * @file: any file.
 *
 * Return: the hstate, which knows its page size; NULL if it is not ours.
 */
struct hstate *hpcvm_memory_hstate(struct file *file)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pools); i++)
		if (pools[i].mnt && file_inode(file)->i_sb == pools[i].mnt->mnt_sb)
			return pool_hstate(&pools[i]);
	return NULL;
}

static void look_at(struct hpcvm_file_look *look, struct folio *folio, s32 node, u64 offset)
{
	int nid = folio_nid(folio);

	look->present++;
	look->held += folio_ref_count(folio) != compat_hugetlb_cache_refs(folio);
	look->nodes |= BIT_ULL(min(nid, 63));
	if (folio_test_hwpoison(folio))
		look->poison_at = min(look->poison_at, offset);
	if (node == HPCVM_NODE_ANY || nid == node)
		return;
	look->off_node++;
	look->off_node_at = min(look->off_node_at, offset);
}

/**
 * hpcvm_memory_look() - look at every page of a range of a file
 * @file: a file of ours.
 * @offset: a multiple of its page size.
 * @length: a multiple of its page size.
 * @node: where the pages should be, or HPCVM_NODE_ANY.
 * @look: filled in.
 *
 * Context: process, may sleep. Pages that come or go meanwhile may or may
 * not be seen.
 */
void hpcvm_memory_look(struct file *file, u64 offset, u64 length, s32 node,
		       struct hpcvm_file_look *look)
{
	struct address_space *mapping = file->f_mapping;
	struct hstate *h = hstate_inode(mapping->host);
	pgoff_t step = compat_hugetlb_index(h, huge_page_size(h));
	pgoff_t index = compat_hugetlb_index(h, offset);
	pgoff_t last = compat_hugetlb_index(h, offset + length) - 1;
	XA_STATE(xas, &mapping->i_pages, index);
	unsigned int seen = 0;
	struct folio *folio;

	*look = (struct hpcvm_file_look){
		.absent_at = U64_MAX, .off_node_at = U64_MAX, .poison_at = U64_MAX,
	};
	rcu_read_lock();
	xas_for_each(&xas, folio, last) {
		pgoff_t at;

		if (xas_retry(&xas, folio) || xa_is_value(folio))
			continue;
		at = round_down(xas.xa_index, step);
		if (at != index)
			look->absent_at = min(look->absent_at, offset);
		offset += (u64)(at - index) / step * huge_page_size(h);
		look_at(look, folio, node, offset);
		offset += huge_page_size(h);
		index = at + step;
		if (++seen % 64 == 0) {
			xas_pause(&xas);
			cond_resched_rcu();
		}
	}
	rcu_read_unlock();
	if (index <= last)
		look->absent_at = min(look->absent_at, offset);
}

/* A new, empty, unnamed file, opened as @flags say. */
static struct file *new_file(struct pool *pool, int flags)
{
	struct path dir = { .mnt = pool->mnt, .dentry = pool->mnt->mnt_root };
	struct file *tmp, *file;

	tmp = compat_tmpfile_open(&dir, S_IFREG | 0600, O_RDWR | O_LARGEFILE);
	/* hugetlbfs says ENOSPC when it has no memory for an inode; our mounts limit none. */
	if (IS_ERR(tmp))
		return tmp == ERR_PTR(-ENOSPC) ? ERR_PTR(-ENOMEM) : tmp;
	/* The file that makes the inode is not one for an fd table. */
	file = dentry_open(&tmp->f_path, flags | O_LARGEFILE, current_cred());
	fput(tmp);
	return file;
}

/*
 * Mapping a shared hugetlb file reserves its pages, all or none, and the
 * reservation stays with the file when the mapping goes. It is hugetlb's only
 * way of taking many pages at once.
 *
 * A mapping of a process that has locked all its future memory would be
 * populated right here, deaf to signals; that process goes without.
 */
static int reserve(struct file *file, u64 length)
{
	unsigned long prot = PROT_READ | (file->f_mode & FMODE_WRITE ? PROT_WRITE : 0), addr;

	if (current->mm->def_flags & VM_LOCKED)
		return -EAGAIN;
	addr = vm_mmap(file, 0, length, prot, MAP_SHARED, 0);
	if (IS_ERR_VALUE(addr))
		return (int)addr;
	return vm_munmap(addr, length);
}

/*
 * Which of the refusals is it when the kernel would not give @missing pages?
 * With the pages reserved, the pool as a whole cannot be what is short.
 */
static int refuse_pages(struct hpcvm_call *call, struct hstate *h, u64 missing, bool reserved)
{
	struct hpcvm_mem_create *cmd = call->cmd;

	if (!reserved && available(h, HPCVM_NODE_ANY) < missing)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_POOL_SHORT, missing);
	if (cmd->node != HPCVM_NODE_ANY &&
	    READ_ONCE(h->free_huge_pages_node[cmd->node]) < missing)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_POOL_SHORT_NODE, missing);
	return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_LIMIT, missing);
}

/**
 * hpcvm_memory_check() - can there be memory of this kind at all?
 * @call: HPCVM_MEM_CREATE.
 *
 * Return: 0 or a documented errno.
 */
int hpcvm_memory_check(struct hpcvm_call *call)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct pool *pool = pool_of(cmd->page_size);
	u64 limit;

	if (!pool)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAGE_SIZE, cmd->page_size);
	if (!pool->mnt)
		return hpcvm_refuse(call, -EOPNOTSUPP, HPCVM_REASON_PAGE_SIZE_UNAVAILABLE,
				    cmd->page_size);
	if (!cmd->length)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	if (!IS_ALIGNED(cmd->length, cmd->page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ALIGN, cmd->page_size);
	limit = min_t(u64, pool->mnt->mnt_sb->s_maxbytes, TASK_SIZE_MAX);
	if (cmd->length > limit)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_LIMIT, limit);
	if (!hpcvm_node_valid(cmd->node))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NODE, (u64)cmd->node);
	return 0;
}

/* Are there enough pages, as far as the pool's counters tell? */
static int check_pool(struct hpcvm_call *call, struct hstate *h, u64 want)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	u64 any = available(h, HPCVM_NODE_ANY), there = available(h, cmd->node);

	if (any < want)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_POOL_SHORT, want - any);
	if (there < want)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_POOL_SHORT_NODE, want - there);
	return 0;
}

/* Take, zero and look at every page. */
static int populate(struct hpcvm_call *call, struct hstate *h, struct file *file)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	u64 want = cmd->length >> huge_page_shift(h), missing;
	struct hpcvm_file_look look;
	bool reserved;
	int err;

	err = check_pool(call, h, want);
	if (err)
		return err;
	/*
	 * Somebody may have been faster. Where the reservation fails for
	 * another reason, a limit on the address space say, population is
	 * the judge.
	 */
	reserved = !reserve(file, cmd->length);
	if (!reserved) {
		err = check_pool(call, h, want);
		if (err)
			return err;
	}

	err = vfs_fallocate(file, 0, 0, cmd->length);
	hpcvm_memory_look(file, 0, cmd->length, cmd->node, &look);
	missing = want - look.present;
	if (err == -EINTR)
		return hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, missing);
	if (err && err != -ENOSPC && err != -EFBIG)
		return err;
	if (look.off_node)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_POOL_SHORT_NODE,
				    look.off_node + missing);
	return missing ? refuse_pages(call, h, missing, reserved) : 0;
}

static void seal(struct file *file)
{
	struct inode *inode = file_inode(file);

	inode_lock(inode);
	HUGETLBFS_I(inode)->seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	inode_unlock(inode);
}

/*
 * A reservation is the whole node's, not one NUMA node's: of two callers that
 * race for one NUMA node's pages both could fail. They take turns instead.
 */
static int populate_bound(struct hpcvm_call *call, struct pool *pool, struct file *file)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct mutex *turn;	/* of this node's callers */
	int err;

	if (cmd->node == HPCVM_NODE_ANY)
		return populate(call, pool_hstate(pool), file);
	turn = &pool->bound[cmd->node % NODE_LOCKS];
	if (mutex_lock_interruptible(turn))
		return hpcvm_refuse(call, -EINTR, HPCVM_REASON_INTERRUPTED,
				    cmd->length / cmd->page_size);
	err = populate(call, pool_hstate(pool), file);
	mutex_unlock(turn);
	return err;
}

/**
 * hpcvm_memory_fresh() - a file with all its pages, from the pool
 * @call: HPCVM_MEM_CREATE, checked.
 *
 * Return: the file, or a documented errno with nothing kept. Context: process
 * with an mm; sleeps as long as zeroing takes.
 */
struct file *hpcvm_memory_fresh(struct hpcvm_call *call)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct pool *pool = pool_of(cmd->page_size);
	struct file *file = new_file(pool, O_RDWR);
	int err;

	if (IS_ERR(file))
		return file;
	err = populate_bound(call, pool, file);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	seal(file);
	return file;
}

/* Reserve pages for a file that its maker will populate. */
static int reserve_all(struct hpcvm_call *call, struct hstate *h, struct file *file)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	u64 want = cmd->length >> huge_page_shift(h);
	int err;

	err = check_pool(call, h, want);
	if (err || !reserve(file, cmd->length))
		return err;
	err = check_pool(call, h, want);
	return err ? err : hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_LIMIT, want);
}

/**
 * hpcvm_memory_prepare() - a file without pages that nobody can write to
 * @call: HPCVM_MEM_CREATE, checked.
 *
 * Return: the file, or a documented errno with nothing kept. Context: process
 * with an mm.
 */
struct file *hpcvm_memory_prepare(struct hpcvm_call *call)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct pool *pool = pool_of(cmd->page_size);
	struct file *file = new_file(pool, O_RDONLY);
	struct inode *inode;
	int err;

	if (IS_ERR(file))
		return file;
	inode = file_inode(file);
	inode_lock(inode);
	i_size_write(inode, cmd->length);
	inode->i_flags |= S_IMMUTABLE;
	inode_unlock(inode);
	seal(file);

	err = reserve_all(call, pool_hstate(pool), file);
	if (err) {
		fput(file);
		return ERR_PTR(err);
	}
	return file;
}

/** hpcvm_memory_prepared() - has nobody ever been able to write to this file of ours? */
bool hpcvm_memory_prepared(struct file *file)
{
	return IS_IMMUTABLE(file_inode(file));
}

/**
 * hpcvm_memory_hand_out() - make a prepared file the caller's own
 * @path: of the file; nobody else has a hold on it.
 *
 * Return: a new file, open for writing; or an errno, with the file as it was.
 */
struct file *hpcvm_memory_hand_out(const struct path *path)
{
	struct inode *inode = d_inode(path->dentry);
	struct file *file;

	inode_lock(inode);
	inode->i_flags &= ~S_IMMUTABLE;
	inode->i_uid = current_fsuid();
	inode->i_gid = current_fsgid();
	inode_unlock(inode);
	file = dentry_open(path, O_RDWR | O_LARGEFILE, current_cred());
	if (IS_ERR(file))
		hpcvm_memory_take_back(path);
	return file;
}

/**
 * hpcvm_memory_take_back() - handing it out has failed, nobody has seen it
 * @path: of the file.
 */
void hpcvm_memory_take_back(const struct path *path)
{
	struct inode *inode = d_inode(path->dentry);

	inode_lock(inode);
	inode->i_flags |= S_IMMUTABLE;
	inode_unlock(inode);
}
