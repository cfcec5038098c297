// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/hpcvm: the device, and the way of every ioctl through the module.
 *
 * One table says for each ioctl which struct it takes, how short that may be,
 * on which fds it works and who serves it. Lengths, flags, pads, the copy in
 * and out, the reason and the birth of new fds are handled here, once: a
 * handler sees a checked struct in kernel memory and touches no user memory
 * of the call itself.
 */
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/uaccess.h>

#include "hpcvm.h"

/* The kinds of fd, as bits. */
#define ON_DEVICE 1
#define ON_VM 2
#define ON_HANDLE 4
#define ON_MONITOR 8

/* What all structs begin with, and what all of them carry. */
struct head {
	u32 size;
	u32 flags;
};

struct verdict {
	u32 reason;
	u32 pad;
	u64 detail;
};

union cmd {
	struct head head;
	struct hpcvm_query query;
	struct hpcvm_vm_create vm_create;
	struct hpcvm_vm_open vm_open;
	struct hpcvm_mem_create mem_create;
	struct hpcvm_mem_slot mem_slot;
	struct hpcvm_mem_unslot mem_unslot;
	struct hpcvm_mem_adopt mem_adopt;
	struct hpcvm_mem_verify mem_verify;
	struct hpcvm_reserve_park reserve_park;
	struct hpcvm_reserve_drop reserve_drop;
	struct hpcvm_vcpu_attach vcpu_attach;
	struct hpcvm_vcpu_claim vcpu_claim;
	struct hpcvm_vcpu_release vcpu_release;
	struct hpcvm_vcpu_stats vcpu_stats;
	struct hpcvm_monitor_create monitor_create;
	struct hpcvm_monitor_watch monitor_watch;
	struct hpcvm_monitor_unwatch monitor_unwatch;
	struct hpcvm_monitor_stats monitor_stats;
	struct hpcvm_pin pin;
};

struct op {
	u16 on;		/* kinds of fd */
	u16 size;	/* of the struct as this module knows it */
	u16 min_size;	/* of its first published version */
	u16 verdict;	/* where in it the verdict stands */
	u32 flags;	/* that it knows */
	bool results;	/* it has some, and is undone if they cannot be written */
	int (*fn)(struct hpcvm_call *call);
};

#define RESULTS true
#define NONE false
#define OP(_nr, _struct, _last, _on, _results, _fn, _flags...)		\
	[HPCVM_CMD_##_nr] = {						\
		.on = (_on),						\
		.size = sizeof(struct _struct),				\
		.min_size = offsetofend(struct _struct, _last),		\
		.verdict = offsetof(struct _struct, reason),		\
		.flags = (_flags + 0),					\
		.results = (_results),					\
		.fn = (_fn),						\
	}

static const struct op ops[] = {
	OP(QUERY, hpcvm_query, detail, ON_DEVICE | ON_VM | ON_HANDLE | ON_MONITOR, RESULTS,
	   hpcvm_query),
	OP(VM_CREATE, hpcvm_vm_create, detail, ON_DEVICE, RESULTS, hpcvm_vm_create),
	OP(VM_OPEN, hpcvm_vm_open, detail, ON_DEVICE, RESULTS, hpcvm_vm_open, HPCVM_OPEN_TIMES),
	OP(MEM_CREATE, hpcvm_mem_create, detail, ON_DEVICE, RESULTS, hpcvm_mem_create,
	   (HPCVM_MEM_FRESH | HPCVM_MEM_PREPARE)),
	OP(MEM_SLOT, hpcvm_mem_slot, detail, ON_VM, NONE, hpcvm_mem_slot),
	OP(MEM_UNSLOT, hpcvm_mem_unslot, detail, ON_VM, NONE, hpcvm_mem_unslot),
	OP(MEM_ADOPT, hpcvm_mem_adopt, detail, ON_VM, NONE, hpcvm_mem_adopt),
	OP(MEM_VERIFY, hpcvm_mem_verify, detail, ON_VM | ON_HANDLE, RESULTS, hpcvm_mem_verify),
	OP(RESERVE_PARK, hpcvm_reserve_park, detail, ON_DEVICE, RESULTS, hpcvm_reserve_park,
	   (HPCVM_RESERVE_UID | HPCVM_RESERVE_GID)),
	OP(RESERVE_DROP, hpcvm_reserve_drop, detail, ON_DEVICE, NONE, hpcvm_reserve_drop),
	OP(VCPU_ATTACH, hpcvm_vcpu_attach, detail, ON_VM, NONE, hpcvm_vcpu_attach),
	OP(VCPU_CLAIM, hpcvm_vcpu_claim, detail, ON_VM, NONE, hpcvm_vcpu_claim,
	   (HPCVM_CLAIM_SIBLING | HPCVM_CLAIM_LOCAL | HPCVM_CLAIM_FIFO)),
	OP(VCPU_RELEASE, hpcvm_vcpu_release, detail, ON_VM, NONE, hpcvm_vcpu_release),
	OP(VCPU_STATS, hpcvm_vcpu_stats, detail, ON_VM | ON_HANDLE, RESULTS, hpcvm_vcpu_stats,
	   HPCVM_STATS_MARK),
	OP(MONITOR_CREATE, hpcvm_monitor_create, detail, ON_DEVICE, RESULTS, hpcvm_monitor_create),
	OP(MONITOR_WATCH, hpcvm_monitor_watch, detail, ON_MONITOR, RESULTS, hpcvm_monitor_watch,
	   HPCVM_WATCH_SINCE),
	OP(MONITOR_UNWATCH, hpcvm_monitor_unwatch, detail, ON_MONITOR, NONE,
	   hpcvm_monitor_unwatch),
	OP(MONITOR_STATS, hpcvm_monitor_stats, detail, ON_MONITOR, RESULTS, hpcvm_monitor_stats),
	OP(PIN, hpcvm_pin, detail, ON_DEVICE, RESULTS, hpcvm_pin),
};

static const struct op *find_op(unsigned int cmd, unsigned int on)
{
	unsigned int nr = _IOC_NR(cmd);
	const struct op *op;

	if (cmd != _IO(HPCVM_TYPE, nr) || nr >= ARRAY_SIZE(ops))
		return NULL;
	op = &ops[array_index_nospec(nr, ARRAY_SIZE(ops))];
	return op->on & on ? op : NULL;
}

/* After a failure nothing is written but the verdict. */
static int tell(const struct op *op, const struct hpcvm_call *call, void __user *arg, int err)
{
	struct verdict verdict = { .reason = call->reason, .detail = call->detail };

	if (err == -ENOMEM && !verdict.reason)
		verdict.reason = HPCVM_REASON_KERNEL_MEMORY;
	if (copy_to_user(arg + op->verdict, &verdict, sizeof(verdict)))
		return -EFAULT;
	return err;
}

/*
 * The rules that hold for every struct. Whoever passes has a clear verdict, so
 * that a caller who cannot be told anything learns so before anything is done.
 */
static int check_common(const struct op *op, union cmd *cmd, struct hpcvm_call *call,
			void __user *arg)
{
	struct verdict *verdict = (void *)cmd + op->verdict;

	if (cmd->head.flags & ~op->flags)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_FLAGS,
				    cmd->head.flags & ~op->flags);
	if (verdict->pad)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    op->verdict + offsetof(struct verdict, pad));
	*verdict = (struct verdict){};
	return tell(op, call, arg, 0);
}

/* Write the results and only then install the new fd. */
static int finish(const struct op *op, union cmd *cmd, struct hpcvm_call *call,
		  void __user *arg, u32 usize)
{
	struct file *file = call->new_file;
	int fd = -1;

	if (!op->results)
		return 0;
	if (file) {
		fd = get_unused_fd_flags(O_CLOEXEC);
		if (fd < 0) {
			fput(file);
			return fd;
		}
		*call->new_fd = fd;
	}
	if (copy_to_user(arg, cmd, min_t(u32, usize, op->size))) {
		if (file) {
			put_unused_fd(fd);
			fput(file);
		}
		return -EFAULT;
	}
	if (file)
		fd_install(fd, file);
	return 0;
}

static long dispatch(struct hpcvm_call *call, unsigned int on, unsigned int nr, void __user *arg)
{
	const struct op *op = find_op(nr, on);
	union cmd cmd = {};
	u32 usize;
	int err;

	if (!op)
		return -ENOTTY;
	if (get_user(usize, (u32 __user *)arg))
		return -EFAULT;
	if (usize < op->min_size)
		return -EINVAL;
	if (usize > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(&cmd, op->size, arg, usize);
	if (err)
		return err;

	call->cmd = &cmd;
	err = check_common(op, &cmd, call, arg);
	if (!err)
		err = op->fn(call);
	if (err)
		return tell(op, call, arg, err);

	cmd.head.size = usize;
	err = finish(op, &cmd, call, arg, usize);
	if (call->settle)
		call->settle(call, !err);
	return err == -EFAULT ? err : err ? tell(op, call, arg, err) : 0;
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hpcvm_call call = {};

	return dispatch(&call, ON_DEVICE, cmd, (void __user *)arg);
}

static long watch_ioctl(struct hpcvm_watch *watch, unsigned int on, unsigned int cmd,
			unsigned long arg)
{
	struct hpcvm_call call = {
		.vm = hpcvm_watch_vm(watch),
		.watch = watch,
		.owner = on == ON_VM,
	};

	return dispatch(&call, on, cmd, (void __user *)arg);
}

/* The ioctls of a VM fd. */
long hpcvm_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return watch_ioctl(file->private_data, ON_VM, cmd, arg);
}

/* The ioctls of a handle. */
long hpcvm_handle_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return watch_ioctl(file->private_data, ON_HANDLE, cmd, arg);
}

/* The ioctls of a monitor. */
long hpcvm_monitor_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct hpcvm_call call = { .monitor = file->private_data };

	return dispatch(&call, ON_MONITOR, cmd, (void __user *)arg);
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = nonseekable_open,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hpcvm",
	.fops = &device_fops,
	.mode = 0660,
};

static int __init hpcvm_init(void)
{
	int err;

	err = hpcvm_memory_init();
	if (err)
		return err;
	err = hpcvm_watch_init();
	if (err)
		goto memory;
	err = hpcvm_vcpu_init();
	if (err)
		goto watch;
	err = misc_register(&device);
	if (err)
		goto vcpu;

	/* From here on the device can be open: nothing may fail any more. */
	hpcvm_vms_init(&device.this_device->kobj);
	hpcvm_reserve_init(&device.this_device->kobj);
	hpcvm_cores_init(&device.this_device->kobj);
	hpcvm_monitors_init(&device.this_device->kobj);
	hpcvm_pins_init(&device.this_device->kobj);
	/* For udev rules that write there. */
	kobject_uevent(&device.this_device->kobj, KOBJ_CHANGE);
	pr_info("version %s, hugepages of %s\n", HPCVM_MODULE_VERSION,
		hpcvm_memory_has(SZ_1G) ? "2 MiB and 1 GiB" : "2 MiB");
	return 0;

vcpu:
	hpcvm_vcpu_exit();
watch:
	hpcvm_watch_exit();
memory:
	hpcvm_memory_exit();
	return err;
}

/* Every fd but the device's holds the module, so none is left here. */
static void __exit hpcvm_exit(void)
{
	hpcvm_pins_exit();
	hpcvm_monitors_exit();
	hpcvm_cores_exit();
	hpcvm_reserve_exit();
	hpcvm_vms_exit();
	misc_deregister(&device);
	hpcvm_vcpu_exit();
	hpcvm_watch_exit();
	hpcvm_memory_exit();
}

module_init(hpcvm_init);
module_exit(hpcvm_exit);

MODULE_DESCRIPTION("HPC guests on KVM: hugepage-only memory, proved");
MODULE_AUTHOR("The hpcvm authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(HPCVM_MODULE_VERSION);
