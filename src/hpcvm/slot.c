// SPDX-License-Identifier: GPL-2.0-only
/*
 * Slots: which range of which file is which range of guest RAM.
 *
 * A slot is a promise made once and looked at again whenever somebody asks.
 * Both are the same look: at the file (is every page there, on its node?),
 * then, memslot by memslot, at what KVM would map (does it cover the RAM, is
 * it this range of this file in the owner's address space, shared, writable,
 * aligned, in whole hugepages?). HPCVM_MEM_SLOT refuses with the first
 * offence; HPCVM_MEM_VERIFY reports all.
 *
 * RAM below HPCVM_LEGACY_END is the firmware's to remap and is not looked at.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/kobject.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "hpcvm.h"

/* What a guest can address at most: x86's architectural limit. */
#define GPA_LIMIT BIT_ULL(52)

struct slot {
	struct kobject kobj;
	struct list_head entry;
	struct file *file;
	u64 page_size;
	u64 gpa;
	u64 offset;
	u64 length;
	s32 node;
};

/* A look at one slot in progress. */
struct look {
	const struct hpcvm_vm *vm;
	const struct slot *slot;
	struct mm_struct *mm;
	struct hpcvm_slot_report *report;
	u64 covered;		/* KVM's memslots cover the slot up to here */
	u32 reason;		/* of the first offence */
	u64 detail;
};

static u64 slot_end(const struct slot *slot)
{
	return slot->gpa + slot->length;
}

static u64 slot_ram(const struct slot *slot)
{
	return clamp(HPCVM_LEGACY_END, slot->gpa, slot_end(slot));
}

static u64 to_offset(const struct slot *slot, u64 gpa)
{
	return gpa - slot->gpa + slot->offset;
}

static void offence(struct look *look, u64 broken, u32 reason, u64 gpa, u64 detail)
{
	if (!look->report->broken || gpa < look->report->broken_gpa)
		look->report->broken_gpa = gpa;
	look->report->broken |= broken;
	if (!look->reason && reason) {
		look->reason = reason;
		look->detail = detail;
	}
}

static void look_at_file(struct look *look)
{
	const struct slot *slot = look->slot;
	struct hpcvm_file_look file;

	hpcvm_memory_look(slot->file, slot->offset, slot->length, slot->node, &file);
	look->report->nodes = file.nodes;
	look->report->pages_present = file.present;
	look->report->pages_off_node = file.off_node;
	if (file.absent_at != U64_MAX)
		offence(look, HPCVM_BROKEN_ABSENT, HPCVM_REASON_PAGES_ABSENT,
			file.absent_at - slot->offset + slot->gpa,
			slot->length / slot->page_size - file.present);
	if (file.off_node)
		offence(look, HPCVM_BROKEN_NODE, HPCVM_REASON_PAGES_NODE,
			file.off_node_at - slot->offset + slot->gpa, file.off_node);
}

/* One VMA of the owner, where KVM expects the slot's file. 0: it is so. */
static u32 check_vma(const struct slot *slot, const struct vm_area_struct *vma,
		     unsigned long hva, u64 gpa)
{
	u64 offset;

	if (!vma || !vma->vm_file || file_inode(vma->vm_file) != file_inode(slot->file))
		return HPCVM_REASON_KVM_OTHER_MEMORY;
	offset = hva - vma->vm_start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
	if (offset != to_offset(slot, gpa))
		return HPCVM_REASON_KVM_OTHER_MEMORY;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return HPCVM_REASON_KVM_PRIVATE;
	return vma->vm_flags & VM_WRITE ? 0 : HPCVM_REASON_KVM_READONLY;
}

/* Entries that begin in the range: so no entry is counted in two ranges. */
static void count_mapped(struct look *look, unsigned long hva, unsigned long end)
{
	struct address_space *mapping = look->slot->file->f_mapping;
	u64 page_size = look->slot->page_size;

	i_mmap_lock_read(mapping);
	hpcvm_pagetable_count(look->mm, round_up(hva, page_size), round_up(end, page_size),
			      &look->report->mapped_2m, &look->report->mapped_1g);
	i_mmap_unlock_read(mapping);
}

/*
 * A hostile owner can hold its mmap_lock for as long as it likes. Whoever
 * closes the VM fd waits for the VM's lock, so do not hold on to that then.
 */
static int lock_mm(struct look *look)
{
	while (!mmap_read_trylock(look->mm)) {
		if (fatal_signal_pending(current) || hpcvm_vm_ended(look->vm))
			return -EINTR;
		schedule_timeout_killable(1);
	}
	return 0;
}

/* Where the mapping that begins at or covers @addr ends, or the hole at @addr. */
static unsigned long next_vma(struct mm_struct *mm, const struct vm_area_struct *vma,
			      unsigned long addr, unsigned long end)
{
	if (!vma)
		vma = find_vma(mm, addr);
	if (!vma)
		return end;
	return min(vma->vm_start > addr ? vma->vm_start : vma->vm_end, end);
}

/* The owner's mappings behind a piece of a memslot. */
static int look_at_mappings(struct look *look, unsigned long hva, u64 gpa, u64 length)
{
	unsigned long addr, next, end = hva + length;
	struct vm_area_struct *vma;
	u32 reason;

	if (lock_mm(look))
		return -EINTR;
	for (addr = hva; addr < end; addr = next) {
		vma = vma_lookup(look->mm, addr);
		next = next_vma(look->mm, vma, addr, end);
		reason = check_vma(look->slot, vma, addr, gpa + (addr - hva));
		if (reason) {
			offence(look, HPCVM_BROKEN_OTHER_MEMORY, reason,
				gpa + (addr - hva), gpa + (addr - hva));
		} else {
			look->report->kvm_bytes += next - addr;
			count_mapped(look, addr, next);
		}
	}
	mmap_read_unlock(look->mm);
	return 0;
}

/* Which blocks must KVM map by 4K, by its own account? */
static void look_at_blocks(struct look *look, const struct kvm_memory_slot *ms, u64 gpa, u64 end)
{
	u64 next;

	for (; gpa < end; gpa = next) {
		next = min(ALIGN(gpa + 1, SZ_2M), end);
		cond_resched();
		if (!hpcvm_kvm_small(ms, gpa))
			continue;
		look->report->kvm_small += next - gpa;
		offence(look, HPCVM_BROKEN_SMALL, HPCVM_REASON_KVM_MISALIGNED, gpa, gpa);
	}
}

/* One memslot of KVM that has RAM of the slot; they come in order of GPA. */
static int look_at_memslot(const struct kvm_memory_slot *ms, void *arg)
{
	struct look *look = arg;
	u64 base = gfn_to_gpa(ms->base_gfn);
	u64 start = max(base, look->covered);
	u64 end = min(base + ((u64)ms->npages << PAGE_SHIFT), slot_end(look->slot));
	unsigned long hva = ms->userspace_addr + (start - base);

	if (start >= end)
		return 0;
	if (start > look->covered)
		offence(look, HPCVM_BROKEN_UNCOVERED, HPCVM_REASON_KVM_UNCOVERED,
			look->covered, look->covered);
	look->covered = end;
	if (ms->flags & KVM_MEM_GUEST_MEMFD)
		offence(look, HPCVM_BROKEN_OTHER_MEMORY, HPCVM_REASON_KVM_OTHER_MEMORY,
			start, start);
	if (ms->flags & KVM_MEM_READONLY)
		offence(look, HPCVM_BROKEN_OTHER_MEMORY, HPCVM_REASON_KVM_READONLY, start, start);
	if ((start ^ hva) & (look->slot->page_size - 1))
		offence(look, HPCVM_BROKEN_SMALL, HPCVM_REASON_KVM_MISALIGNED, start, start);
	if (ms->flags & KVM_MEM_LOG_DIRTY_PAGES)
		offence(look, HPCVM_BROKEN_DIRTY_LOG, HPCVM_REASON_NONE, start, 0);
	look_at_blocks(look, ms, start, end);
	return look_at_mappings(look, hva, start, end - start);
}

/* The whole look. -EINTR, or 0 and what was seen in look and its report. */
static int look_at_slot(struct look *look, struct kvm *kvm)
{
	const struct slot *slot = look->slot;
	int err;

	*look->report = (struct hpcvm_slot_report){
		.gpa = slot->gpa,
		.length = slot->length,
		.offset = slot->offset,
		.page_size = slot->page_size,
		.node = slot->node,
	};
	look_at_file(look);
	look->covered = slot_ram(slot);
	if (look->covered == slot_end(slot))
		return 0;
	err = hpcvm_kvm_each_slot(kvm, look->covered, slot_end(slot), look_at_memslot, look);
	if (!err && look->covered < slot_end(slot))
		offence(look, HPCVM_BROKEN_UNCOVERED, HPCVM_REASON_KVM_UNCOVERED,
			look->covered, look->covered);
	return err;
}

/* sysfs: what stands in slots/GPA/ */

static struct slot *to_slot(struct kobject *kobj)
{
	return container_of(kobj, struct slot, kobj);
}

#define SLOT_ATTR(_name, _fmt)							\
	static ssize_t _name##_show(struct kobject *kobj,			\
				    struct kobj_attribute *attr, char *buf)	\
	{									\
		return sysfs_emit(buf, _fmt "\n", to_slot(kobj)->_name);	\
	}									\
	static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

SLOT_ATTR(gpa, "0x%llx");
SLOT_ATTR(length, "%llu");
SLOT_ATTR(offset, "%llu");
SLOT_ATTR(page_size, "%llu");
SLOT_ATTR(node, "%d");

static struct attribute *slot_attrs[] = {
	&gpa_attr.attr,
	&length_attr.attr,
	&offset_attr.attr,
	&page_size_attr.attr,
	&node_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(slot);

static void slot_free(struct kobject *kobj)
{
	struct slot *slot = to_slot(kobj);

	fput(slot->file);
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
static int check_range(struct hpcvm_call *call, struct file *file, u64 page_size)
{
	struct hpcvm_mem_slot *cmd = call->cmd;
	u64 file_size = i_size_read(file_inode(file));

	if (!hpcvm_node_valid(cmd->node))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NODE, (u64)cmd->node);
	if (!cmd->length)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	if (!IS_ALIGNED(cmd->length, page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ALIGN, page_size);
	if (!IS_ALIGNED(cmd->offset, page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_OFFSET_ALIGN, page_size);
	if (!IS_ALIGNED(cmd->gpa, page_size))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_GPA_ALIGN, page_size);
	if (cmd->offset > file_size || cmd->length > file_size - cmd->offset)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_RANGE, file_size);
	if (cmd->gpa >= GPA_LIMIT || cmd->length > GPA_LIMIT - cmd->gpa)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_GPA_LIMIT, GPA_LIMIT);
	return 0;
}

static bool overlap(u64 a, u64 b, u64 length_a, u64 length_b)
{
	return a < b + length_b && b < a + length_a;
}

static int check_others(struct hpcvm_call *call, struct hpcvm_slots *slots, const struct slot *new)
{
	struct slot *old;

	list_for_each_entry(old, &slots->list, entry) {
		if (overlap(old->gpa, new->gpa, old->length, new->length))
			return hpcvm_refuse(call, -EEXIST, HPCVM_REASON_SLOT_OVERLAP, old->gpa);
		if (file_inode(old->file) == file_inode(new->file) &&
		    overlap(old->offset, new->offset, old->length, new->length))
			return hpcvm_refuse(call, -EEXIST, HPCVM_REASON_FILE_OVERLAP, old->gpa);
	}
	if (slots->nr >= HPCVM_SLOTS_MAX)
		return hpcvm_refuse(call, -ENOSPC, HPCVM_REASON_SLOTS_FULL, HPCVM_SLOTS_MAX);
	return 0;
}

static int check_kvm(struct hpcvm_call *call, const struct slot *new)
{
	struct hpcvm_slot_report report;
	struct look look = {
		.vm = call->vm, .slot = new, .mm = current->mm, .report = &report,
	};
	int err;

	err = look_at_slot(&look, hpcvm_vm_kvm(call->vm));
	if (err)
		return hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, 0);
	return look.reason ? hpcvm_refuse(call, -EINVAL, look.reason, look.detail) : 0;
}

/* List the slot, in order of GPA, and show it in sysfs. */
static int slot_add(struct hpcvm_slots *slots, struct slot *new)
{
	struct slot *next;
	int err;

	err = kobject_add(&new->kobj, slots->dir, "0x%llx", new->gpa);
	if (err)
		return err;
	list_for_each_entry(next, &slots->list, entry)
		if (next->gpa > new->gpa)
			break;
	list_add_tail(&new->entry, &next->entry);
	slots->nr++;
	return 0;
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
	struct hstate *h;
	struct slot *new;
	int err;

	if (!file)
		return hpcvm_refuse(call, -EBADF, HPCVM_REASON_FD, (u64)cmd->mem_fd);
	h = hpcvm_memory_hstate(file);
	if (!h)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_NOT_OURS, (u64)cmd->mem_fd);
	err = check_range(call, file, huge_page_size(h));
	if (err)
		return err;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	kobject_init(&new->kobj, &slot_type);
	new->file = get_file(file);
	new->page_size = huge_page_size(h);
	new->gpa = cmd->gpa;
	new->offset = cmd->offset;
	new->length = cmd->length;
	new->node = cmd->node;

	err = hpcvm_vm_lock_own(call);
	if (!err) {
		struct hpcvm_slots *slots = hpcvm_vm_slots(call->vm);

		err = check_others(call, slots, new);
		if (!err)
			err = check_kvm(call, new);
		if (!err)
			err = slot_add(slots, new);
		hpcvm_vm_unlock(call->vm);
	}
	if (err)
		kobject_put(&new->kobj);
	return err;
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
		if (slot->gpa != cmd->gpa)
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
		struct look look = { .vm = vm, .slot = slot, .mm = mm, .report = reports++ };

		err = look_at_slot(&look, hpcvm_vm_kvm(vm));
		if (err)
			return err;
	}
	return 0;
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
		u64 from = max(gpa, slot_ram(slot)), to = min(end, slot_end(slot));

		bytes += from < to ? to - from : 0;
	}
	return bytes;
}
