// SPDX-License-Identifier: GPL-2.0-only
/*
 * The look at a piece of guest RAM: does it keep its promise?
 *
 * First at its pages: is every one there, in hugepages, on its node? They are
 * found in one of two places. Memory from HPCVM_MEM_CREATE is in a file of
 * ours, and the file is asked. Adopted memory is wherever somebody else has
 * mapped it, and the page tables of that mapping are asked: of a private
 * mapping the file knows nothing, and even in a shared one only what is
 * mapped already needs no further page.
 *
 * Then, memslot by memslot, at what KVM would map: does it cover the RAM, is
 * it these very pages in the owner's address space, writable, aligned, in
 * whole hugepages? A promise is refused with the first offence; a
 * verification reports all.
 *
 * KVM has a second address space, for SMM. UEFI firmware with Secure Boot
 * hides a piece of RAM in it (TSEG), which the guest's own then lacks. So RAM
 * is covered if either has it, and an offence counts in both.
 *
 * RAM below HPCVM_LEGACY_END is the firmware's to remap: its pages are looked
 * at, KVM's memslots are not.
 */
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "hpcvm.h"

/* A look in progress. */
struct look {
	const struct hpcvm_vm *vm;
	const struct hpcvm_ram *ram;
	const struct place *place;
	struct mm_struct *mm;
	struct hpcvm_slot_report *report;
	int as_id;		/* which of KVM's address spaces */
	u64 covered;		/* its memslots cover the RAM up to here */
	u64 end;		/* of what is looked at */
	u32 reason;		/* of the first offence */
	u64 detail;
};

/* Where pages can be. */
struct place {
	/* Look at all of them; 0 or -EINTR. */
	int (*look)(struct look *look);
	/* Does this VMA of the owner, at @hva, map the pages of @gpa? 0: yes. */
	u32 (*check)(const struct hpcvm_ram *ram, struct vm_area_struct *vma,
		     unsigned long hva, u64 gpa);
};

/**
 * hpcvm_ram_huge_from() - where the promise of hugepages begins
 * @ram: a piece of guest RAM.
 *
 * Return: its first GPA from HPCVM_LEGACY_END up, or its end.
 */
u64 hpcvm_ram_huge_from(const struct hpcvm_ram *ram)
{
	return clamp(HPCVM_LEGACY_END, ram->gpa, hpcvm_ram_end(ram));
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

/* Place one: a file of ours */

static int look_in_file(struct look *look)
{
	const struct hpcvm_ram *ram = look->ram;
	struct hpcvm_file_look file;

	hpcvm_memory_look(ram->file, ram->offset, ram->length, ram->node, &file);
	look->report->nodes = file.nodes;
	look->report->pages_present = file.present;
	look->report->pages_off_node = file.off_node;
	if (file.absent_at != U64_MAX)
		offence(look, HPCVM_BROKEN_ABSENT, HPCVM_REASON_PAGES_ABSENT,
			file.absent_at - ram->offset + ram->gpa,
			ram->length / ram->page_size - file.present);
	if (file.off_node)
		offence(look, HPCVM_BROKEN_NODE, HPCVM_REASON_PAGES_NODE,
			file.off_node_at - ram->offset + ram->gpa, file.off_node);
	if (file.poison_at != U64_MAX)
		offence(look, HPCVM_BROKEN_POISON, HPCVM_REASON_POISON,
			file.poison_at - ram->offset + ram->gpa,
			file.poison_at - ram->offset + ram->gpa);
	return 0;
}

static u32 check_file(const struct hpcvm_ram *ram, struct vm_area_struct *vma,
		      unsigned long hva, u64 gpa)
{
	u64 offset;

	if (!vma || !vma->vm_file || file_inode(vma->vm_file) != file_inode(ram->file))
		return HPCVM_REASON_KVM_OTHER_MEMORY;
	offset = hva - vma->vm_start + ((u64)vma->vm_pgoff << PAGE_SHIFT);
	if (offset != gpa - ram->gpa + ram->offset)
		return HPCVM_REASON_KVM_OTHER_MEMORY;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return HPCVM_REASON_KVM_PRIVATE;
	return vma->vm_flags & VM_WRITE ? 0 : HPCVM_REASON_KVM_READONLY;
}

static const struct place in_file = { .look = look_in_file, .check = check_file };

/* Place two: a mapping of somebody else's hugepages */

static void look_at_entry(struct look *look, unsigned long addr)
{
	const struct hpcvm_ram *ram = look->ram;
	u64 gpa = addr - ram->hva + ram->gpa;
	struct hpcvm_entry entry;

	cond_resched();
	if (hpcvm_pagetable_look(look->mm, addr, &entry) != ram->page_size) {
		offence(look, HPCVM_BROKEN_ABSENT, HPCVM_REASON_NOT_PRESENT, gpa, gpa);
		return;
	}
	look->report->pages_present++;
	look->report->nodes |= BIT_ULL(min(entry.node, 63));
	if (!entry.own)
		offence(look, HPCVM_BROKEN_COPY_ON_WRITE, HPCVM_REASON_COPY_ON_WRITE, gpa, gpa);
	if (ram->node != HPCVM_NODE_ANY && entry.node != ram->node) {
		look->report->pages_off_node++;
		offence(look, HPCVM_BROKEN_NODE, HPCVM_REASON_WRONG_NODE, gpa, gpa);
	}
}

/* What is wrong with this VMA as a home of hugepages; 0: nothing. */
static u32 check_hugetlb(const struct hpcvm_ram *ram, struct vm_area_struct *vma)
{
	if (!vma || !is_vm_hugetlb_page(vma))
		return HPCVM_REASON_NOT_HUGETLB;
	if (huge_page_size(hstate_vma(vma)) != ram->page_size)
		return HPCVM_REASON_PAGE_SIZES;
	return 0;
}

static int look_in_mapping(struct look *look)
{
	const struct hpcvm_ram *ram = look->ram;
	unsigned long addr, next, end = ram->hva + ram->length;

	if (lock_mm(look))
		return -EINTR;
	for (addr = ram->hva; addr < end; addr = next) {
		struct vm_area_struct *vma = vma_lookup(look->mm, addr);
		u32 reason = check_hugetlb(ram, vma);
		u64 gpa = addr - ram->hva + ram->gpa;

		next = next_vma(look->mm, vma, addr, end);
		if (reason) {
			offence(look, HPCVM_BROKEN_ABSENT, reason, gpa, gpa);
			continue;
		}
		i_mmap_lock_read(vma->vm_file->f_mapping);
		for (; addr < next; addr += ram->page_size)
			look_at_entry(look, addr);
		i_mmap_unlock_read(vma->vm_file->f_mapping);
	}
	mmap_read_unlock(look->mm);
	return 0;
}

static u32 check_mapping(const struct hpcvm_ram *ram, struct vm_area_struct *vma,
			 unsigned long hva, u64 gpa)
{
	if (hva != gpa - ram->gpa + ram->hva || check_hugetlb(ram, vma))
		return HPCVM_REASON_KVM_OTHER_MEMORY;
	return vma->vm_flags & VM_WRITE ? 0 : HPCVM_REASON_KVM_READONLY;
}

static const struct place in_mapping = { .look = look_in_mapping, .check = check_mapping };

/**
 * hpcvm_ram_mapped_by() - of which size are the hugepages mapped at an address?
 * @hva: in the caller's address space.
 *
 * Return: 2 MiB or 1 GiB; 0: there is no hugetlb mapping, or a fatal signal.
 */
u64 hpcvm_ram_mapped_by(unsigned long hva)
{
	struct vm_area_struct *vma;
	u64 page_size = 0;

	if (mmap_read_lock_killable(current->mm))
		return 0;
	vma = vma_lookup(current->mm, hva);
	if (vma && is_vm_hugetlb_page(vma))
		page_size = huge_page_size(hstate_vma(vma));
	mmap_read_unlock(current->mm);
	return page_size;
}

/* KVM's memslots */

/* Entries that begin in the range: so no entry is counted in two ranges. */
static void count_mapped(struct look *look, const struct vm_area_struct *vma,
			 unsigned long hva, unsigned long end)
{
	u64 page_size = look->ram->page_size;
	struct hpcvm_entry entry;

	i_mmap_lock_read(vma->vm_file->f_mapping);
	for (hva = round_up(hva, page_size); hva < end; hva += page_size) {
		u64 size = hpcvm_pagetable_look(look->mm, hva, &entry);

		cond_resched();
		look->report->mapped_2m += size == SZ_2M;
		look->report->mapped_1g += size == SZ_1G;
	}
	i_mmap_unlock_read(vma->vm_file->f_mapping);
}

/* The owner's mappings behind a piece of a memslot; they are counted but once. */
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
		reason = look->place->check(look->ram, vma, addr, gpa + (addr - hva));
		if (reason) {
			offence(look, HPCVM_BROKEN_OTHER_MEMORY, reason,
				gpa + (addr - hva), gpa + (addr - hva));
		} else if (look->as_id == HPCVM_AS_GUEST) {
			look->report->kvm_bytes += next - addr;
			count_mapped(look, vma, addr, next);
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

/* What a memslot has of our RAM that was not yet looked at; they come in order of GPA. */
static bool piece_of(const struct look *look, const struct kvm_memory_slot *ms,
		     u64 *start, u64 *end, unsigned long *hva)
{
	u64 base = gfn_to_gpa(ms->base_gfn);

	*start = max(base, look->covered);
	*end = min(base + ((u64)ms->npages << PAGE_SHIFT), look->end);
	*hva = ms->userspace_addr + (*start - base);
	return *start < *end;
}

/* A memslot of SMM, behind a gap in the guest's own. */
static int look_into_gap(const struct kvm_memory_slot *ms, void *arg)
{
	struct look *look = arg;
	unsigned long hva;
	u64 start, end;

	if (!piece_of(look, ms, &start, &end, &hva))
		return 0;
	if (start > look->covered)
		offence(look, HPCVM_BROKEN_UNCOVERED, HPCVM_REASON_KVM_UNCOVERED,
			look->covered, look->covered);
	look->covered = end;
	return look_at_mappings(look, hva, start, end - start);
}

/* The guest has no memslot from look->covered to @end: is it hidden in SMM? */
static int look_at_gap(struct look *look, u64 end)
{
	u64 all = look->end;
	int err;

	if (look->as_id != HPCVM_AS_GUEST || look->covered >= end)
		return 0;
	look->end = end;
	err = hpcvm_kvm_each_slot(hpcvm_vm_kvm(look->vm), HPCVM_AS_SMM, look->covered, end,
				  look_into_gap, look);
	look->end = all;
	if (!err && look->covered < end)
		offence(look, HPCVM_BROKEN_UNCOVERED, HPCVM_REASON_KVM_UNCOVERED,
			look->covered, look->covered);
	return err;
}

/* One memslot of KVM that has RAM of ours. */
static int look_at_memslot(const struct kvm_memory_slot *ms, void *arg)
{
	struct look *look = arg;
	unsigned long hva;
	u64 start, end;
	int err;

	if (!piece_of(look, ms, &start, &end, &hva))
		return 0;
	err = look_at_gap(look, start);
	if (err)
		return err;
	look->covered = end;
	if (ms->flags & KVM_MEM_GUEST_MEMFD)
		offence(look, HPCVM_BROKEN_OTHER_MEMORY, HPCVM_REASON_KVM_OTHER_MEMORY,
			start, start);
	if (ms->flags & KVM_MEM_READONLY)
		offence(look, HPCVM_BROKEN_OTHER_MEMORY, HPCVM_REASON_KVM_READONLY, start, start);
	if (ms->flags & KVM_MEM_LOG_DIRTY_PAGES)
		offence(look, HPCVM_BROKEN_DIRTY_LOG, HPCVM_REASON_NONE, start, 0);
	look_at_blocks(look, ms, start, end);
	return look_at_mappings(look, hva, start, end - start);
}

static int look_at_address_space(struct look *look, int as_id)
{
	int err;

	look->as_id = as_id;
	look->covered = hpcvm_ram_huge_from(look->ram);
	look->end = hpcvm_ram_end(look->ram);
	if (look->covered == look->end)
		return 0;
	err = hpcvm_kvm_each_slot(hpcvm_vm_kvm(look->vm), as_id, look->covered, look->end,
				  look_at_memslot, look);
	return err ? err : look_at_gap(look, look->end);
}

/* The whole look. -EINTR, or 0 and what was seen in look and its report. */
static int look_at_ram(struct look *look)
{
	const struct hpcvm_ram *ram = look->ram;
	int err;

	*look->report = (struct hpcvm_slot_report){
		.gpa = ram->gpa,
		.length = ram->length,
		.offset = ram->offset,
		.page_size = ram->page_size,
		.node = ram->node,
		.kind = ram->file ? HPCVM_SLOT_FILE : HPCVM_SLOT_ADOPTED,
	};
	look->place = ram->file ? &in_file : &in_mapping;
	err = look->place->look(look);
	if (!err)
		err = look_at_address_space(look, HPCVM_AS_GUEST);
	if (!err)
		err = look_at_address_space(look, HPCVM_AS_SMM);
	return err;
}

/**
 * hpcvm_ram_check() - can this be promised?
 * @call: of the process that runs the VM; the VM is locked.
 * @ram: the RAM.
 *
 * Return: 0, -EINVAL with the first offence in the call, or -EINTR for a
 * fatal signal or because the VM is ending. Context: process, may sleep.
 */
int hpcvm_ram_check(struct hpcvm_call *call, const struct hpcvm_ram *ram)
{
	struct hpcvm_slot_report report;
	struct look look = {
		.vm = call->vm, .ram = ram, .mm = current->mm, .report = &report,
	};
	int err;

	err = look_at_ram(&look);
	if (err)
		return hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, 0);
	return look.reason ? hpcvm_refuse(call, -EINVAL, look.reason, look.detail) : 0;
}

/**
 * hpcvm_ram_look() - look at RAM as it is now
 * @vm: locked.
 * @ram: the RAM.
 * @mm: the owner's address space, held by mmget().
 * @report: filled in.
 *
 * Return: 0, or -EINTR for a fatal signal or because the VM is ending.
 * Context: process, may sleep.
 */
int hpcvm_ram_look(const struct hpcvm_vm *vm, const struct hpcvm_ram *ram,
		   struct mm_struct *mm, struct hpcvm_slot_report *report)
{
	struct look look = { .vm = vm, .ram = ram, .mm = mm, .report = report };

	return look_at_ram(&look);
}
