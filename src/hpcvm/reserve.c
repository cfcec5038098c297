// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations: guest memory that is ready before anybody asks for it.
 *
 * Nearly all the time that a large guest takes to start goes into zeroing its
 * pages. So a privileged tool prepares files of the right size (memory.c says
 * why these hold zeroes and nothing else), populates them at leisure, on their
 * node, charged to its own cgroup, and parks them here. HPCVM_MEM_CREATE draws
 * one that fits, in a constant number of instructions.
 *
 * The module keeps no struct file of what is parked but a reference to its
 * path. The file has no name: every other way to it, an fd in any process, a
 * mapping, an fd on its way through a socket, holds a reference to the same
 * dentry. While ours is the only one there is none from which another could
 * be made. That is asked in the moment of drawing, and it decides: what
 * anybody else has a hold on stays where it is, until he lets go or somebody
 * drops it.
 *
 * A call that fails in its very last step, because its result cannot be
 * written, must not have parked or drawn anything. So a reservation comes and
 * goes in two steps, and settle() makes the second.
 */
#include <linux/capability.h>
#include <linux/cpuset.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/path.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uidgid.h>

#include "hpcvm.h"

enum state {
	COMING,		/* parked by a call that may fail still */
	PARKED,
	GOING,		/* drawn by a call that may fail still */
};

struct reservation {
	struct kobject kobj;
	struct list_head entry;	/* in reservations */
	enum state state;	/* under reservations_lock */
	u64 id;
	struct path path;	/* our hold on the file */
	u64 length;
	u64 page_size;
	s32 node;		/* promised, or HPCVM_NODE_ANY */
	u64 nodes;		/* seen, as in struct hpcvm_file_look */
	kuid_t uid;		/* invalid: not for one uid */
	kgid_t gid;
};

static DEFINE_MUTEX(reservations_lock);
static LIST_HEAD(reservations);
static u32 nr_reservations;
static u64 last_id;
static struct kobject *reservations_parent, *reservations_dir;

/* How many reservations have been drawn or dropped. */
static atomic64_t nr_gone;

/* sysfs */

static struct reservation *to_reservation(struct kobject *kobj)
{
	return container_of(kobj, struct reservation, kobj);
}

/* Somebody besides us can still reach the file. */
static bool is_held(const struct reservation *r)
{
	return d_count(r->path.dentry) != 1;
}

/* -1: it is not for one uid (gid) alone. */
static long long show_uid(kuid_t uid)
{
	return uid_valid(uid) ? from_kuid_munged(current_user_ns(), uid) : -1LL;
}

static long long show_gid(kgid_t gid)
{
	return gid_valid(gid) ? from_kgid_munged(current_user_ns(), gid) : -1LL;
}

#define RESERVATION_ATTR(_name, _fmt, ...)					\
	static ssize_t _name##_show(struct kobject *kobj,			\
				    struct kobj_attribute *attr, char *buf)	\
	{									\
		struct reservation *r = to_reservation(kobj);			\
										\
		return sysfs_emit(buf, _fmt "\n", __VA_ARGS__);			\
	}									\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

RESERVATION_ATTR(length, "%llu", r->length);
RESERVATION_ATTR(page_size, "%llu", r->page_size);
RESERVATION_ATTR(node, "%d", r->node);
RESERVATION_ATTR(uid, "%lld", show_uid(r->uid));
RESERVATION_ATTR(gid, "%lld", show_gid(r->gid));
RESERVATION_ATTR(held, "%d", is_held(r));

static struct attribute *reservation_attrs[] = {
	&length_attr.attr,
	&page_size_attr.attr,
	&node_attr.attr,
	&uid_attr.attr,
	&gid_attr.attr,
	&held_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(reservation);

static void reservation_free(struct kobject *kobj)
{
	kfree(to_reservation(kobj));
}

static const struct kobj_type reservation_type = {
	.release = reservation_free,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = reservation_groups,
};

static ssize_t gone_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lld\n", (long long)atomic64_read(&nr_gone));
}

static struct kobj_attribute gone_attr = __ATTR_RO(gone);

/*
 * Where they stand in sysfs; made again here if memory was short at load. Whoever
 * comes before the module has loaded comes too early.
 */
static int make_dir(void)
{
	lockdep_assert_held(&reservations_lock);
	if (reservations_dir)
		return 0;
	if (!reservations_parent)
		return -ENOMEM;
	reservations_dir = kobject_create_and_add("reservations", reservations_parent);
	if (!reservations_dir)
		return -ENOMEM;
	if (!sysfs_create_file(reservations_dir, &gone_attr.attr))
		return 0;
	kobject_put(reservations_dir);
	reservations_dir = NULL;
	return -ENOMEM;
}

/* Coming and going */

static void unlist(struct reservation *r)
{
	lockdep_assert_held(&reservations_lock);
	list_del(&r->entry);
	nr_reservations--;
}

/* What is no longer listed: let go of the file. */
static void end(struct reservation *r)
{
	/* Waits for readers of sysfs, who look at the path. */
	kobject_del(&r->kobj);
	path_put(&r->path);
	kobject_put(&r->kobj);
}

static void tell_gone(void)
{
	atomic64_inc(&nr_gone);
	sysfs_notify(reservations_dir, NULL, "gone");
}

/*
 * The second step of a reservation's coming or going. @done: the call that has
 * parked or drawn it has succeeded; else everything is as before it.
 */
static void settle(struct reservation *r, bool done)
{
	bool going = r->state == GOING, stays = going ? !done : done;

	mutex_lock(&reservations_lock);
	if (going && stays)
		hpcvm_memory_take_back(&r->path);
	if (stays)
		r->state = PARKED;
	else
		unlist(r);
	mutex_unlock(&reservations_lock);
	if (stays)
		return;
	end(r);
	if (going)
		tell_gone();
}

static void settle_call(struct hpcvm_call *call, bool done)
{
	settle(call->reservation, done);
}

/* Drawing */

/* Pages on all of these nodes may be used by the caller, as its cpuset says. */
static bool nodes_allowed(u64 nodes)
{
	int nid;

	for_each_node_state(nid, N_MEMORY)
		if (nodes & BIT_ULL(min(nid, 63)) &&
		    !node_isset(nid, cpuset_current_mems_allowed))
			return false;
	return true;
}

static bool has_memory_policy(void)
{
#ifdef CONFIG_NUMA
	return current->mempolicy;
#else
	return false;
#endif
}

static bool fits(const struct reservation *r, const struct hpcvm_mem_create *cmd)
{
	if (r->length != cmd->length || r->page_size != cmd->page_size)
		return false;
	/* A thread with a policy of its own, and no node asked for, means the policy. */
	if (cmd->node == HPCVM_NODE_ANY ? has_memory_policy() : r->node != cmd->node)
		return false;
	return nodes_allowed(r->nodes);
}

static bool may_draw(const struct reservation *r)
{
	if (!uid_valid(r->uid) && !gid_valid(r->gid))
		return true;
	return (uid_valid(r->uid) && uid_eq(r->uid, current_fsuid())) ||
	       (gid_valid(r->gid) && in_group_p(r->gid));
}

static struct reservation *choose(const struct hpcvm_mem_create *cmd)
{
	struct reservation *r;

	guard(mutex)(&reservations_lock);
	list_for_each_entry(r, &reservations, entry) {
		if (r->state != PARKED || !fits(r, cmd) || !may_draw(r) || is_held(r))
			continue;
		r->state = GOING;
		return r;
	}
	return NULL;
}

/* NULL: there is none for this caller. */
static struct file *draw(struct hpcvm_call *call)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct reservation *r = choose(cmd);
	struct file *file;

	if (!r)
		return NULL;
	file = hpcvm_memory_hand_out(&r->path);
	if (IS_ERR(file)) {
		settle(r, false);
		return file;
	}
	call->reservation = r;
	call->settle = settle_call;
	cmd->out_reservation = r->id;
	return file;
}

/**
 * hpcvm_mem_create() - HPCVM_MEM_CREATE
 * @call: on the device.
 *
 * Return: 0 with the file in the call, or a documented errno with nothing
 * kept. Context: process with an mm; sleeps as long as zeroing takes, if it
 * must.
 */
int hpcvm_mem_create(struct hpcvm_call *call)
{
	struct hpcvm_mem_create *cmd = call->cmd;
	struct file *file = NULL;
	int err;

	if (cmd->flags & HPCVM_MEM_FRESH && cmd->flags & HPCVM_MEM_PREPARE)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_FLAGS, cmd->flags);
	if (cmd->flags & HPCVM_MEM_PREPARE && !capable(CAP_SYS_ADMIN))
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_NOT_ADMIN, 0);
	err = hpcvm_memory_check(call);
	if (err)
		return err;

	cmd->out_reservation = 0;
	if (cmd->flags & HPCVM_MEM_PREPARE)
		file = hpcvm_memory_prepare(call);
	else if (!(cmd->flags & HPCVM_MEM_FRESH))
		file = draw(call);
	if (!file)
		file = hpcvm_memory_fresh(call);
	if (IS_ERR(file))
		return PTR_ERR(file);
	call->new_file = file;
	call->new_fd = &cmd->out_fd;
	return 0;
}

/* Parking */

/* Who may draw it. */
static int check_for(struct hpcvm_call *call, struct reservation *r)
{
	struct hpcvm_reserve_park *cmd = call->cmd;

	r->uid = INVALID_UID;
	r->gid = INVALID_GID;
	if (cmd->flags & HPCVM_RESERVE_UID) {
		r->uid = make_kuid(current_user_ns(), cmd->uid);
		if (!uid_valid(r->uid))
			return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_RESERVE_FOR, cmd->uid);
	} else if (cmd->uid) {
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_reserve_park, uid));
	}
	if (cmd->flags & HPCVM_RESERVE_GID) {
		r->gid = make_kgid(current_user_ns(), cmd->gid);
		if (!gid_valid(r->gid))
			return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_RESERVE_FOR, cmd->gid);
	} else if (cmd->gid) {
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_reserve_park, gid));
	}
	return 0;
}

/* What the file is: whole, on its node, and never handed out. */
static int check_file(struct hpcvm_call *call, struct file *file, struct reservation *r)
{
	struct hpcvm_reserve_park *cmd = call->cmd;
	struct hpcvm_file_look look;
	struct hstate *h;

	if (!file)
		return hpcvm_refuse(call, -EBADF, HPCVM_REASON_FD, (u64)cmd->mem_fd);
	h = hpcvm_memory_hstate(file);
	if (!h)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_OURS, (u64)cmd->mem_fd);
	if (!hpcvm_memory_prepared(file))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_PREPARED, (u64)cmd->mem_fd);

	r->length = i_size_read(file_inode(file));
	r->page_size = huge_page_size(h);
	r->node = cmd->node;
	hpcvm_memory_look(file, 0, r->length, r->node, &look);
	r->nodes = look.nodes;
	if (look.present != r->length / r->page_size)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAGES_ABSENT,
				    r->length / r->page_size - look.present);
	if (look.off_node)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAGES_NODE, look.off_node);
	if (mapping_mapped(file->f_mapping))
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_MAPPED, 0);
	if (look.held)
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_PAGES_HELD, look.held);
	return 0;
}

/* The fd in the call is the only way to the file. @file is our hold on it. */
static int check_alone(struct hpcvm_call *call, struct file *file)
{
	struct reservation *other;
	u64 others;

	lockdep_assert_held(&reservations_lock);
	list_for_each_entry(other, &reservations, entry)
		if (other->path.dentry == file->f_path.dentry)
			return hpcvm_refuse(call, -EEXIST, HPCVM_REASON_PARKED, other->id);
	others = d_count(file->f_path.dentry) - 1 + file_count(file) - 2;
	if (others)
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_HELD, others);
	return 0;
}

/* List it, in sysfs, too. From here on the kobject owns the struct. */
static int enlist(struct hpcvm_call *call, struct file *file, struct reservation *r)
{
	int err;

	guard(mutex)(&reservations_lock);
	err = check_alone(call, file);
	if (!err && nr_reservations >= HPCVM_RESERVATIONS_MAX)
		err = hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_RESERVATIONS_FULL,
				   HPCVM_RESERVATIONS_MAX);
	if (!err)
		err = make_dir();
	if (err) {
		kfree(r);
		return err;
	}
	r->id = ++last_id;
	r->path = file->f_path;
	err = kobject_init_and_add(&r->kobj, &reservation_type, reservations_dir, "%llu", r->id);
	if (err) {
		kobject_put(&r->kobj);
		return err;
	}
	path_get(&r->path);
	list_add_tail(&r->entry, &reservations);
	nr_reservations++;
	return 0;
}

/**
 * hpcvm_reserve_park() - HPCVM_RESERVE_PARK
 * @call: on the device.
 *
 * Return: 0 with the reservation in the call, or a documented errno. Context:
 * process; sleeps as long as looking at every page takes.
 */
int hpcvm_reserve_park(struct hpcvm_call *call)
{
	struct hpcvm_reserve_park *cmd = call->cmd;
	struct file *file __free(fput) = NULL;
	struct reservation *r;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_NOT_ADMIN, 0);
	if (!hpcvm_node_valid(cmd->node))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NODE, (u64)cmd->node);
	r = kzalloc(sizeof(*r), GFP_KERNEL_ACCOUNT);
	if (!r)
		return -ENOMEM;
	file = fget(cmd->mem_fd);
	err = check_for(call, r);
	if (!err)
		err = check_file(call, file, r);
	if (err) {
		kfree(r);
		return err;
	}
	err = enlist(call, file, r);
	if (err)
		return err;
	call->reservation = r;
	call->settle = settle_call;
	cmd->out_id = r->id;
	return 0;
}

/**
 * hpcvm_reserve_drop() - HPCVM_RESERVE_DROP
 * @call: on the device.
 *
 * Return: 0 or a documented errno. Context: process; sleeps as long as
 * giving its pages back takes.
 */
int hpcvm_reserve_drop(struct hpcvm_call *call)
{
	struct hpcvm_reserve_drop *cmd = call->cmd;
	struct reservation *r, *found = NULL;

	if (!capable(CAP_SYS_ADMIN))
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_NOT_ADMIN, 0);
	mutex_lock(&reservations_lock);
	list_for_each_entry(r, &reservations, entry)
		if (r->id == cmd->id && r->state == PARKED)
			found = r;
	if (found)
		unlist(found);
	mutex_unlock(&reservations_lock);
	if (!found)
		return hpcvm_refuse(call, -ENOENT, HPCVM_REASON_RESERVATION_UNKNOWN, cmd->id);
	end(found);
	tell_gone();
	return 0;
}

/**
 * hpcvm_reserve_init() - make the place of reservations in sysfs
 * @device: the device's kobject.
 */
void hpcvm_reserve_init(struct kobject *device)
{
	guard(mutex)(&reservations_lock);
	reservations_parent = device;
	make_dir();
}

/**
 * hpcvm_reserve_exit() - give back what is parked
 *
 * No call can be under way: each holds the module.
 */
void hpcvm_reserve_exit(void)
{
	struct reservation *r, *next;

	list_for_each_entry_safe(r, next, &reservations, entry)
		end(r);
	kobject_put(reservations_dir);
}
