// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots: which memory is which range of guest RAM.
 *
 * A slot is a promise made once and looked at again whenever somebody asks.
 * Both are the same look (look.c). The memory is a range of a file from
 * HPCVM_MEM_CREATE, which the slot keeps open, or a range of the owner's
 * address space that somebody else has filled with hugepages: that is adopted
 * as it stands, nothing of it is kept, and what happens to it later shows.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "hpcvm.h"

/* What a guest can address at most: x86's architectural limit. */
#define GPA_LIMIT BIT_ULL(52)

struct slot {
	struct kobject kobj;
	struct list_head entry;
	struct hpcvm_ram ram;
};

/* sysfs: what stands in slots/GPA/ */

static struct slot *to_slot(struct kobject *kobj)
{
	return container_of(kobj, struct slot, kobj);
}

#define SLOT_ATTR(_name, _fmt)							\
	static ssize_t _name##_show(struct kobject *kobj,			\
				    struct kobj_attribute *attr, char *buf)	\
	{									\
		return sysfs_emit(buf, _fmt "\n", to_slot(kobj)->ram._name);	\
	}									\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

SLOT_ATTR(gpa, "0x%llx");
SLOT_ATTR(length, "%llu");
SLOT_ATTR(offset, "%llu");
SLOT_ATTR(page_size, "%llu");
SLOT_ATTR(node, "%d");

static ssize_t kind_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", to_slot(kobj)->ram.file ? "file" : "adopted");
}

static struct kobj_attribute kind_attr = __ATTR_RO(kind);

static struct attribute *slot_attrs[] = {
	&gpa_attr.attr,
	&length_attr.attr,
	&offset_attr.attr,
	&page_size_attr.attr,
	&node_attr.attr,
	&kind_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(slot);

static void slot_free(struct kobject *kobj)
{
	struct slot *slot = to_slot(kobj);

	if (slot->ram.file)
		fput(slot->ram.file);
	kfree(slot);
}

static const struct kobj_type slot_type = {
	.release = slot_free,
	.sysfs_ops = &kobj_sysfs_ops,
	.default_groups = slot_groups,
};

static void slot_drop(struct hpcvm_slots *slots, struct slot *slot)
{
	list_del(&slot->entry);
	slots->nr--;
	kobject_del(&slot->kobj);
	kobject_put(&slot->kobj);
}

/** hpcvm_slots_init() - a VM's empty set of slots, with its place in sysfs */
int hpcvm_slots_init(struct hpcvm_slots *slots, struct kobject *vm)
{
	INIT_LIST_HEAD(&slots->list);
	slots->dir = kobject_create_and_add("slots", vm);
	return slots->dir ? 0 : -ENOMEM;
}

/** hpcvm_slots_drop() - the end of a VM: forget all slots; never fails */
void hpcvm_slots_drop(struct hpcvm_slots *slots)
{
	struct slot *slot, *next;

	list_for_each_entry_safe(slot, next, &slots->list, entry)
		slot_drop(slots, slot);
	kobject_put(slots->dir);
	slots->dir = NULL;
}

/* The numbers alone: nothing outside the struct is looked at yet. */
static int check_numbers(struct hpcvm_call *call, const struct hpcvm_ram *ram)
{
	if (!hpcvm_node_valid(ram->node))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NODE, (u64)ram->node);
	if (!ram->length)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	if (!IS_ALIGNED(ram->length, ram->page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ALIGN, ram->page_size);
	if (!IS_ALIGNED(ram->offset, ram->page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_OFFSET_ALIGN, ram->page_size);
	if (!IS_ALIGNED(ram->hva, ram->page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_HVA_ALIGN, ram->page_size);
	if (!IS_ALIGNED(ram->gpa, ram->page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_GPA_ALIGN, ram->page_size);
	return 0;
}

static int check_limits(struct hpcvm_call *call, const struct hpcvm_ram *ram)
{
	u64 size = ram->file ? i_size_read(file_inode(ram->file)) : TASK_SIZE_MAX;
	u64 begin = ram->file ? ram->offset : ram->hva;

	if (begin > size || ram->length > size - begin)
		return hpcvm_refuse(call, -EINVAL,
				    ram->file ? HPCVM_REASON_RANGE : HPCVM_REASON_HVA_LIMIT, size);
	if (ram->gpa >= GPA_LIMIT || ram->length > GPA_LIMIT - ram->gpa)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_GPA_LIMIT, GPA_LIMIT);
	return 0;
}

static bool overlap(u64 a, u64 b, u64 length_a, u64 length_b)
{
	return a < b + length_b && b < a + length_a;
}

/* Do two slots have the same pages, as far as can be told by their places? */
static u32 same_place(const struct hpcvm_ram *a, const struct hpcvm_ram *b)
{
	if (!a->file != !b->file)
		return 0;
	if (!a->file)
		return overlap(a->hva, b->hva, a->length, b->length) ?
			HPCVM_REASON_HVA_OVERLAP : 0;
	return file_inode(a->file) == file_inode(b->file) &&
	       overlap(a->offset, b->offset, a->length, b->length) ?
		HPCVM_REASON_FILE_OVERLAP : 0;
}

static int check_others(struct hpcvm_call *call, struct hpcvm_slots *slots,
			const struct hpcvm_ram *new)
{
	struct slot *slot;

	list_for_each_entry(slot, &slots->list, entry) {
		const struct hpcvm_ram *old = &slot->ram;
		u32 reason = same_place(old, new);

		if (overlap(old->gpa, new->gpa, old->length, new->length))
			reason = HPCVM_REASON_SLOT_OVERLAP;
		if (reason)
			return hpcvm_refuse(call, -EEXIST, reason, old->gpa);
	}
	if (slots->nr >= HPCVM_SLOTS_MAX)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_SLOTS_FULL, HPCVM_SLOTS_MAX);
	return 0;
}

/* List the slot, in order of GPA, and show it in sysfs. */
static int slot_add(struct hpcvm_slots *slots, struct slot *new)
{
	struct slot *next;
	int err;

	err = kobject_add(&new->kobj, slots->dir, "0x%llx", new->ram.gpa);
	if (err)
		return err;
	list_for_each_entry(next, &slots->list, entry)
		if (next->ram.gpa > new->ram.gpa)
			break;
	list_add_tail(&new->entry, &next->entry);
	slots->nr++;
	return 0;
}

/* Make a slot of @ram, whose page size is known, if it keeps the promise. */
static int slot_new(struct hpcvm_call *call, const struct hpcvm_ram *ram)
{
	struct hpcvm_slots *slots;
	struct slot *new;
	int err;

	err = check_numbers(call, ram);
	if (!err)
		err = check_limits(call, ram);
	if (err)
		return err;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	kobject_init(&new->kobj, &slot_type);
	new->ram = *ram;
	if (ram->file)
		get_file(ram->file);

	err = hpcvm_vm_lock_own(call);
	if (!err) {
		slots = hpcvm_vm_slots(call->vm);
		err = check_others(call, slots, ram);
		if (!err)
			err = hpcvm_ram_check(call, ram);
		if (!err)
			err = slot_add(slots, new);
		hpcvm_vm_unlock(call->vm);
	}
	if (err)
		kobject_put(&new->kobj);
	return err;
}

/**
 * hpcvm_mem_slot() - HPCVM_MEM_SLOT
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: the process that runs the VM.
 */
int hpcvm_mem_slot(struct hpcvm_call *call)
{
	struct hpcvm_mem_slot *cmd = call->cmd;
	struct file *file __free(fput) = fget(cmd->mem_fd);
	struct hpcvm_ram ram = {
		.file = file,
		.gpa = cmd->gpa,
		.offset = cmd->offset,
		.length = cmd->length,
		.node = cmd->node,
	};
	struct hstate *h;

	if (!file)
		return hpcvm_refuse(call, -EBADF, HPCVM_REASON_FD, (u64)cmd->mem_fd);
	h = hpcvm_memory_hstate(file);
	if (!h)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_OURS, (u64)cmd->mem_fd);
	ram.page_size = huge_page_size(h);
	return slot_new(call, &ram);
}

/**
 * hpcvm_mem_adopt() - HPCVM_MEM_ADOPT
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: the process that runs the VM.
 */
int hpcvm_mem_adopt(struct hpcvm_call *call)
{
	struct hpcvm_mem_adopt *cmd = call->cmd;
	struct hpcvm_ram ram = {
		.gpa = cmd->gpa,
		.hva = cmd->hva,
		.length = cmd->length,
		.node = cmd->node,
	};

	if (cmd->pad0)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_PAD,
				    offsetof(struct hpcvm_mem_adopt, pad0));
	ram.page_size = hpcvm_ram_mapped_by(cmd->hva);
	if (!ram.page_size)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_HUGETLB, cmd->gpa);
	return slot_new(call, &ram);
}

/**
 * hpcvm_mem_unslot() - HPCVM_MEM_UNSLOT
 * @call: on a VM fd.
 *
 * Return: 0 or a documented errno. Context: the process that runs the VM.
 */
int hpcvm_mem_unslot(struct hpcvm_call *call)
{
	struct hpcvm_mem_unslot *cmd = call->cmd;
	struct hpcvm_slots *slots;
	struct slot *slot;
	int err;

	err = hpcvm_vm_lock_own(call);
	if (err)
		return err;
	slots = hpcvm_vm_slots(call->vm);
	err = hpcvm_refuse(call, -ENOENT, HPCVM_REASON_SLOT_UNKNOWN, cmd->gpa);
	list_for_each_entry(slot, &slots->list, entry) {
		if (slot->ram.gpa != cmd->gpa)
			continue;
		slot_drop(slots, slot);
		err = 0;
		break;
	}
	hpcvm_vm_unlock(call->vm);
	return err;
}

/**
 * hpcvm_slots_look() - look at every slot of a VM as it is now
 * @vm: locked.
 * @mm: the owner's address space, held by mmget().
 * @reports: room for as many reports as it has slots.
 *
 * Return: 0, or -EINTR for a fatal signal or because the VM is ending.
 * Context: process, may sleep.
 */
int hpcvm_slots_look(struct hpcvm_vm *vm, struct mm_struct *mm,
		     struct hpcvm_slot_report *reports)
{
	struct slot *slot;
	int err;

	list_for_each_entry(slot, &hpcvm_vm_slots(vm)->list, entry) {
		err = hpcvm_ram_look(vm, &slot->ram, mm, reports++);
		if (err)
			return err;
	}
	return 0;
}

/** hpcvm_slots_nodes() - the nodes promised for a VM's memory, a bit each; 63: or above */
u64 hpcvm_slots_nodes(const struct hpcvm_slots *slots)
{
	const struct slot *slot;
	u64 nodes = 0;

	list_for_each_entry(slot, &slots->list, entry)
		if (slot->ram.node != HPCVM_NODE_ANY)
			nodes |= BIT_ULL(min(slot->ram.node, 63));
	return nodes;
}

/**
 * hpcvm_slots_overlap() - how much of a GPA range is promised RAM?
 * @slots: under the VM's lock.
 * @gpa: begin.
 * @end: one past the last byte.
 *
 * Return: bytes of it that lie in slots, from HPCVM_LEGACY_END up.
 */
u64 hpcvm_slots_overlap(const struct hpcvm_slots *slots, u64 gpa, u64 end)
{
	struct slot *slot;
	u64 bytes = 0;

	list_for_each_entry(slot, &slots->list, entry) {
		u64 from = max(gpa, hpcvm_ram_huge_from(&slot->ram));
		u64 to = min(end, hpcvm_ram_end(&slot->ram));

		bytes += from < to ? to - from : 0;
	}
	return bytes;
}
