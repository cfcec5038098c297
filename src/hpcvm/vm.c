// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM object: one KVM VM in hpcvm's charge.
 *
 * It lives twice. What hpcvm does for the VM lives as long as the VM fd:
 * closing its last copy, kill -9 included, ends the VM, drops its slots and
 * lets KVM's file go. The struct lives on, empty and marked ended, while a
 * handle or a reader of sysfs still looks at it. Its kobject counts those
 * references, so sysfs and lifetime are one thing:
 *
 *	/sys/class/misc/hpcvm/vms/ID/...	(Documentation/sysfs.rst)
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/kvm_host.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/uuid.h>

#include "hpcvm.h"

struct hpcvm_vm {
	struct kobject kobj;
	struct list_head entry;		/* in vms, under vms_lock */
	u64 id;
	uuid_t uuid;
	char name[HPCVM_NAME_MAX];
	kuid_t uid;
	struct pid *pid;
	struct file *kvm_file;		/* held until the VM ends */
	struct kvm *kvm;
	u64 splits;			/* nx_lpage_splits when it was created */

	bool ended;			/* set before vm_end() takes the lock */
	struct hpcvm_watched watched;
	struct mutex lock;		/* what follows */
	struct hpcvm_slots slots;
	struct hpcvm_vcpus vcpus;
};

static DEFINE_MUTEX(vms_lock);
static LIST_HEAD(vms);
static struct kobject *vms_parent, *vms_dir;
static u64 last_id;

u64 hpcvm_vm_id(const struct hpcvm_vm *vm)
{
	return vm->id;
}

kuid_t hpcvm_vm_uid(const struct hpcvm_vm *vm)
{
	return vm->uid;
}

/* Valid in an ioctl of the VM fd, and under vm->lock of a VM that has not ended. */
struct kvm *hpcvm_vm_kvm(const struct hpcvm_vm *vm)
{
	return vm->kvm;
}

/* KVM's nx_lpage_splits when the VM was put in our charge. */
u64 hpcvm_vm_splits(const struct hpcvm_vm *vm)
{
	return vm->splits;
}

struct hpcvm_slots *hpcvm_vm_slots(struct hpcvm_vm *vm)
{
	lockdep_assert_held(&vm->lock);
	return &vm->slots;
}

struct hpcvm_vcpus *hpcvm_vm_vcpus(struct hpcvm_vm *vm)
{
	lockdep_assert_held(&vm->lock);
	return &vm->vcpus;
}

struct hpcvm_watched *hpcvm_vm_watched(struct hpcvm_vm *vm)
{
	return &vm->watched;
}

/* The VM fd is being closed: whoever holds the lock should hurry. */
bool hpcvm_vm_ended(const struct hpcvm_vm *vm)
{
	return READ_ONCE(vm->ended);
}

/**
 * hpcvm_vm_lock() - enter a VM to look at it
 * @call: on a VM fd or a handle.
 *
 * Return: 0 with the lock held, -EINTR, or -ENODEV if the VM has ended.
 */
int hpcvm_vm_lock(struct hpcvm_call *call)
{
	struct hpcvm_vm *vm = call->vm;

	if (mutex_lock_killable(&vm->lock))
		return hpcvm_refuse(call, -EINTR, HPCVM_REASON_INTERRUPTED, 0);
	if (!hpcvm_vm_ended(vm))
		return 0;
	mutex_unlock(&vm->lock);
	return hpcvm_refuse(call, -ENODEV, HPCVM_REASON_VM_GONE, vm->id);
}

/**
 * hpcvm_vm_check_own() - is the caller the process that runs this VM?
 * @call: on a VM fd.
 *
 * Return: 0, or -EPERM if the fd has come to another process.
 */
int hpcvm_vm_check_own(struct hpcvm_call *call)
{
	if (current->mm != call->vm->kvm->mm)
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_OTHER_MM, 0);
	return 0;
}

/**
 * hpcvm_vm_lock_own() - enter a VM to change it
 * @call: on a VM fd.
 *
 * Return: as hpcvm_vm_lock() or hpcvm_vm_check_own().
 */
int hpcvm_vm_lock_own(struct hpcvm_call *call)
{
	return hpcvm_vm_check_own(call) ?: hpcvm_vm_lock(call);
}

/* hpcvm_vm_lock() for who has time: false where it would wait, or refuse. */
bool hpcvm_vm_trylock(struct hpcvm_vm *vm)
{
	if (!mutex_trylock(&vm->lock))
		return false;
	if (!hpcvm_vm_ended(vm))
		return true;
	mutex_unlock(&vm->lock);
	return false;
}

void hpcvm_vm_unlock(struct hpcvm_vm *vm)
{
	mutex_unlock(&vm->lock);
}

/* sysfs: what stands in ID/. KVM's file is held for as long as it exists. */

static struct hpcvm_vm *to_vm(struct kobject *kobj)
{
	return container_of(kobj, struct hpcvm_vm, kobj);
}

#define VM_ATTR(_name, _fmt, ...)						\
	static ssize_t _name##_show(struct kobject *kobj,			\
				    struct kobj_attribute *attr, char *buf)	\
	{									\
		struct hpcvm_vm *vm = to_vm(kobj);				\
										\
		return sysfs_emit(buf, _fmt "\n", __VA_ARGS__);			\
	}									\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

static u64 kvm_pages(struct hpcvm_vm *vm, int size)
{
	struct hpcvm_kvm_pages count;

	hpcvm_kvm_count(vm->kvm, &count);
	return count.pages[size];
}

/* 0 once the process has gone, though a child may hold the VM fd still. */
static pid_t owner_pid(struct hpcvm_vm *vm)
{
	bool there;

	rcu_read_lock();
	there = pid_task(vm->pid, PIDTYPE_TGID);
	rcu_read_unlock();
	return there ? pid_vnr(vm->pid) : 0;
}

VM_ATTR(uuid, "%pUb", &vm->uuid);
VM_ATTR(name, "%s", vm->name);
VM_ATTR(uid, "%u", from_kuid_munged(current_user_ns(), vm->uid));
VM_ATTR(pid, "%d", owner_pid(vm));
VM_ATTR(kvm_pages_4k, "%llu", kvm_pages(vm, 0));
VM_ATTR(kvm_pages_2m, "%llu", kvm_pages(vm, 1));
VM_ATTR(kvm_pages_1g, "%llu", kvm_pages(vm, 2));

static struct attribute *vm_attrs[] = {
	&uuid_attr.attr,
	&name_attr.attr,
	&uid_attr.attr,
	&pid_attr.attr,
	&kvm_pages_4k_attr.attr,
	&kvm_pages_2m_attr.attr,
	&kvm_pages_1g_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(vm);

static void vm_free(struct kobject *kobj)
{
	struct hpcvm_vm *vm = to_vm(kobj);

	put_pid(vm->pid);
	kfree(vm);
}

static const struct kobj_type vm_type = {
	.release = vm_free,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = vm_groups,
};

/* The end of a VM: everything but the empty struct goes. */
static void vm_end(struct hpcvm_vm *vm)
{
	mutex_lock(&vms_lock);
	list_del(&vm->entry);
	mutex_unlock(&vms_lock);

	WRITE_ONCE(vm->ended, true);
	hpcvm_watched_end(&vm->watched);
	mutex_lock(&vm->lock);
	hpcvm_vcpus_drop(&vm->vcpus);
	hpcvm_slots_drop(&vm->slots);
	mutex_unlock(&vm->lock);

	/* Waits for readers of sysfs, who look at KVM's counters. */
	kobject_del(&vm->kobj);
	fput(vm->kvm_file);
	kobject_put(&vm->kobj);
}

static int vm_release(struct inode *inode, struct file *file)
{
	struct hpcvm_watch *watch = file->private_data;
	struct hpcvm_vm *vm = hpcvm_watch_vm(watch);

	hpcvm_watch_free(watch);
	vm_end(vm);
	return 0;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.poll = hpcvm_watch_poll,
	.unlocked_ioctl = hpcvm_vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static int handle_release(struct inode *inode, struct file *file)
{
	struct hpcvm_watch *watch = file->private_data;
	struct hpcvm_vm *vm = hpcvm_watch_vm(watch);

	hpcvm_watch_free(watch);
	kobject_put(&vm->kobj);
	return 0;
}

static const struct file_operations handle_fops = {
	.owner = THIS_MODULE,
	.release = handle_release,
	.poll = hpcvm_watch_poll,
	.unlocked_ioctl = hpcvm_handle_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* One that asks for times, as long as it is open. */
static int timed_handle_release(struct inode *inode, struct file *file)
{
	hpcvm_times_unask();
	return handle_release(inode, file);
}

static const struct file_operations timed_handle_fops = {
	.owner = THIS_MODULE,
	.release = timed_handle_release,
	.poll = hpcvm_watch_poll,
	.unlocked_ioctl = hpcvm_handle_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* A name goes to terminals and to sysfs: nothing that a terminal obeys. */
static int check_name(struct hpcvm_call *call, const char *name)
{
	int i;

	for (i = 0; i < HPCVM_NAME_MAX && name[i]; i++)
		if (!isascii(name[i]) || !isprint(name[i]))
			break;
	if (i == HPCVM_NAME_MAX || name[i])
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NAME,
				    min(i, HPCVM_NAME_MAX - 1));
	return 0;
}

static int check_kvm(struct hpcvm_call *call, struct file *file, int fd)
{
	if (!file)
		return hpcvm_refuse(call, -EBADF, HPCVM_REASON_FD, (u64)fd);
	if (!hpcvm_file_is_kvm_vm(file))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_KVM, (u64)fd);
	if (hpcvm_kvm_of(file)->mm != current->mm)
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_OTHER_MM, 0);
	return 0;
}

/* Where VMs stand in sysfs; made again here if memory was short at load. */
static int make_vms_dir(void)
{
	lockdep_assert_held(&vms_lock);
	if (!vms_dir && vms_parent)
		vms_dir = kobject_create_and_add("vms", vms_parent);
	return vms_dir ? 0 : -ENOMEM;
}

/* A new VM, as yet unknown to the world. */
static struct hpcvm_vm *vm_new(const struct hpcvm_vm_create *cmd, struct file *kvm_file)
{
	struct hpcvm_kvm_pages count;
	struct hpcvm_vm *vm;
	int err;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	kobject_init(&vm->kobj, &vm_type);
	mutex_init(&vm->lock);
	import_uuid(&vm->uuid, cmd->uuid);
	strscpy(vm->name, cmd->name, sizeof(vm->name));
	vm->uid = current_uid();
	vm->pid = get_task_pid(current, PIDTYPE_TGID);
	vm->kvm = hpcvm_kvm_of(kvm_file);
	hpcvm_kvm_count(vm->kvm, &count);
	vm->splits = count.splits;

	/* Not under a lock of ours: this waits for the caller's mmap_lock. */
	err = hpcvm_watched_init(&vm->watched, vm);
	if (!err)
		return vm;
	kobject_put(&vm->kobj);
	return ERR_PTR(err);
}

/* List it and show it in sysfs, unless its KVM VM is listed already. */
static int vm_add(struct hpcvm_call *call, struct hpcvm_vm *vm, struct file *kvm_file)
{
	struct hpcvm_vm *other;
	int err;

	guard(mutex)(&vms_lock);
	list_for_each_entry(other, &vms, entry)
		if (other->kvm == vm->kvm)
			return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_VM_EXISTS, other->id);

	err = make_vms_dir();
	if (err)
		return err;
	vm->id = last_id + 1;
	err = kobject_add(&vm->kobj, vms_dir, "%llu", vm->id);
	if (!err)
		err = hpcvm_slots_init(&vm->slots, &vm->kobj);
	if (err)
		return err;
	err = hpcvm_vcpus_init(&vm->vcpus, &vm->kobj);
	if (err) {
		hpcvm_slots_drop(&vm->slots);
		return err;
	}
	last_id = vm->id;
	vm->kvm_file = get_file(kvm_file);
	list_add_tail(&vm->entry, &vms);
	return 0;
}

/* The file of a VM fd or a handle, with its watch. */
static struct file *vm_file(struct hpcvm_vm *vm, const char *name,
			    const struct file_operations *fops, int flags)
{
	struct hpcvm_watch *watch = hpcvm_watch_new(vm);
	struct file *file;

	if (!watch)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile(name, fops, watch, flags);
	if (IS_ERR(file))
		hpcvm_watch_free(watch);
	return file;
}

/**
 * hpcvm_vm_create() - HPCVM_VM_CREATE
 * @call: on the device.
 *
 * Return: 0 with the VM fd's file in the call, or a documented errno.
 * Context: process.
 */
int hpcvm_vm_create(struct hpcvm_call *call)
{
	struct hpcvm_vm_create *cmd = call->cmd;
	struct file *kvm_file __free(fput) = fget(cmd->kvm_fd);
	struct hpcvm_vm *vm;
	struct file *file;
	int err;

	err = check_kvm(call, kvm_file, cmd->kvm_fd);
	if (!err)
		err = check_name(call, cmd->name);
	if (err)
		return err;
	vm = vm_new(cmd, kvm_file);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	err = vm_add(call, vm, kvm_file);
	if (err) {
		hpcvm_watched_end(&vm->watched);
		kobject_put(&vm->kobj);
		return err;
	}
	file = vm_file(vm, "hpcvm-vm", &vm_fops, O_RDWR);
	if (IS_ERR(file)) {
		vm_end(vm);
		return PTR_ERR(file);
	}
	cmd->out_id = vm->id;
	call->new_file = file;
	call->new_fd = &cmd->out_fd;
	return 0;
}

/* The VM of an id, with a reference, if the caller may look at it. */
static struct hpcvm_vm *vm_find(struct hpcvm_call *call, u64 id)
{
	struct hpcvm_vm *vm;

	guard(mutex)(&vms_lock);
	list_for_each_entry(vm, &vms, entry) {
		if (vm->id != id)
			continue;
		if (!uid_eq(vm->uid, current_uid()) && !capable(CAP_SYS_PTRACE)) {
			uid_t uid = from_kuid_munged(current_user_ns(), vm->uid);

			return ERR_PTR(hpcvm_refuse(call, -EPERM, HPCVM_REASON_NOT_PERMITTED,
						    uid));
		}
		kobject_get(&vm->kobj);
		return vm;
	}
	return ERR_PTR(hpcvm_refuse(call, -ENOENT, HPCVM_REASON_VM_UNKNOWN, id));
}

static struct file *handle_file(struct hpcvm_call *call, struct hpcvm_vm *vm, bool timed)
{
	struct file *file;
	int err;

	if (!timed)
		return vm_file(vm, "hpcvm-handle", &handle_fops, O_RDONLY);
	err = hpcvm_times_ask();
	if (err == -EOPNOTSUPP)
		hpcvm_refuse(call, err, HPCVM_REASON_TIMES, 0);
	if (err)
		return ERR_PTR(err);
	file = vm_file(vm, "hpcvm-handle", &timed_handle_fops, O_RDONLY);
	if (IS_ERR(file))
		hpcvm_times_unask();
	return file;
}

/**
 * hpcvm_vm_open() - HPCVM_VM_OPEN
 * @call: on the device.
 *
 * Return: 0 with the handle's file in the call, or a documented errno.
 * Context: process.
 */
int hpcvm_vm_open(struct hpcvm_call *call)
{
	struct hpcvm_vm_open *cmd = call->cmd;
	struct hpcvm_vm *vm;
	struct file *file;

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_vm_open, pad0));
	vm = vm_find(call, cmd->id);
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	file = handle_file(call, vm, cmd->flags & HPCVM_OPEN_TIMES);
	if (IS_ERR(file)) {
		kobject_put(&vm->kobj);
		return PTR_ERR(file);
	}
	call->new_file = file;
	call->new_fd = &cmd->out_fd;
	return 0;
}

/**
 * hpcvm_vms_init() - make the place of VMs in sysfs
 * @device: the device's kobject.
 */
void hpcvm_vms_init(struct kobject *device)
{
	guard(mutex)(&vms_lock);
	vms_parent = device;
	make_vms_dir();
}

void hpcvm_vms_exit(void)
{
	kobject_put(vms_dir);
}
