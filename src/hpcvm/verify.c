// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the memory promise hold now?
 *
 * KVM counts its mappings by size for the whole VM, not by address. So the
 * 4K ones are split by what they can be: every frame of a memslot that is
 * not promised RAM (the first 2 MiB, ROMs, BARs, in SMM's view too) may be
 * mapped by 4K, and together they bound the legacy remainder. More 4K
 * mappings than that are RAM. The other way round, RAM can hide within the
 * bound only where KVM had a reason to map it small, and each reason shows:
 * a block it may not map huge, a mapping that is not ours, dirty logging,
 * a split, page tables of a nested guest that KVM shadows. With none of these
 * seen, 0 is exact; otherwise the figure is an upper bound.
 */
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hpcvm.h"

struct legacy {
	const struct hpcvm_slots *slots;
	u64 frames;
};

static void count_legacy(const struct kvm_memory_slot *ms, void *arg)
{
	struct legacy *legacy = arg;
	u64 gpa = gfn_to_gpa(ms->base_gfn);
	u64 bytes = (u64)ms->npages << PAGE_SHIFT;

	bytes -= min(bytes, hpcvm_slots_overlap(legacy->slots, gpa, gpa + bytes));
	legacy->frames += bytes >> PAGE_SHIFT;
	cond_resched();
}

/* Sum up the slots; returns the bytes of RAM that can be mapped by 4K. */
static u64 sum_slots(struct hpcvm_mem_verify *cmd, const struct hpcvm_slot_report *reports)
{
	u64 small = 0;
	u32 i;

	cmd->ram_bytes = 0;
	cmd->nodes = 0;
	cmd->broken = cmd->nr_slots ? 0 : HPCVM_BROKEN_NO_RAM;
	cmd->broken_gpa = U64_MAX;
	for (i = 0; i < cmd->nr_slots; i++) {
		const struct hpcvm_slot_report *report = &reports[i];

		cmd->ram_bytes += report->length;
		cmd->nodes |= report->nodes;
		if (report->broken)
			cmd->broken_gpa = min(cmd->broken_gpa, report->broken_gpa);
		cmd->broken |= report->broken;
		if (report->broken & (HPCVM_BROKEN_DIRTY_LOG | HPCVM_BROKEN_OTHER_MEMORY))
			small += report->length;
		else
			small += report->kvm_small;
	}
	if (cmd->broken_gpa == U64_MAX)
		cmd->broken_gpa = 0;
	return small;
}

/* KVM's counters, split. */
static void judge_kvm(struct hpcvm_vm *vm, struct legacy *legacy, u64 small,
		      struct hpcvm_mem_verify *cmd)
{
	struct hpcvm_kvm_pages count;
	u64 excess;

	hpcvm_kvm_count(hpcvm_vm_kvm(vm), &count);
	if (count.shadow)
		small = cmd->ram_bytes;
	cmd->kvm_pages_4k = count.pages[0];
	cmd->kvm_pages_2m = count.pages[1];
	cmd->kvm_pages_1g = count.pages[2];
	cmd->nx_lpage_splits = count.splits;
	cmd->kvm_legacy_frames = legacy->frames;

	excess = count.pages[0] - min(count.pages[0], legacy->frames);
	if (excess)
		cmd->broken |= HPCVM_BROKEN_4K;
	if (count.splits > hpcvm_vm_splits(vm))
		cmd->broken |= HPCVM_BROKEN_SPLITS;
	cmd->kvm_pages_4k_ram = max(excess, min(count.pages[0], small >> PAGE_SHIFT));
	cmd->kvm_pages_4k_legacy = count.pages[0] - cmd->kvm_pages_4k_ram;
}

static u64 count_pages(const struct hpcvm_slot_report *reports, u32 nr)
{
	u64 pages = 0;

	while (nr--)
		pages += reports[nr].pages_present;
	return pages;
}

/* Everything that needs the VM's lock. 0, -EINTR, or -ENODEV: the VM has ended. */
static int verify_locked(struct hpcvm_vm *vm, struct hpcvm_mem_verify *cmd,
			 struct hpcvm_slot_report *reports, struct hpcvm_state *state)
{
	struct hpcvm_slots *slots = hpcvm_vm_slots(vm);
	struct kvm *kvm = hpcvm_vm_kvm(vm);
	struct legacy legacy = { .slots = slots };
	int err;

	if (!mmget_not_zero(kvm->mm))
		return -ENODEV;
	err = hpcvm_slots_look(vm, kvm->mm, reports);
	/* Not mmput(): the last one tears down the address space, here. */
	mmput_async(kvm->mm);
	if (hpcvm_vm_ended(vm))
		return -ENODEV;
	if (err)
		return err;
	cmd->nr_slots = slots->nr;
	hpcvm_kvm_each_slot_all(kvm, count_legacy, &legacy);
	judge_kvm(vm, &legacy, sum_slots(cmd, reports), cmd);
	state->broken = cmd->broken;
	state->pages = count_pages(reports, cmd->nr_slots);
	hpcvm_watched_seen(hpcvm_vm_watched(vm), state);
	return 0;
}

static struct hpcvm_slot_report *new_reports(void)
{
	return kcalloc(HPCVM_SLOTS_MAX, sizeof(struct hpcvm_slot_report), GFP_KERNEL_ACCOUNT);
}

/* The reports, in the caller's idea of their size. */
static int copy_reports(const struct hpcvm_mem_verify *cmd, u32 room,
			const struct hpcvm_slot_report *reports)
{
	u32 known = min_t(u32, cmd->slot_size, sizeof(*reports));
	u32 i, n = min(room, cmd->nr_slots);

	for (i = 0; i < n; i++) {
		void __user *to = u64_to_user_ptr(cmd->slots) + (size_t)i * cmd->slot_size;

		if (copy_to_user(to, &reports[i], known) ||
		    clear_user(to + known, cmd->slot_size - known))
			return -EFAULT;
	}
	return 0;
}

/**
 * hpcvm_mem_verify() - HPCVM_MEM_VERIFY
 * @call: on a VM fd or a handle.
 *
 * Return: 0 or a documented errno. Context: process, may sleep; takes the
 * VM's lock, and under it the owner's mmap_lock for reading.
 */
int hpcvm_mem_verify(struct hpcvm_call *call)
{
	struct hpcvm_mem_verify *cmd = call->cmd;
	struct hpcvm_slot_report *reports __free(kfree) = NULL;
	struct hpcvm_state state;
	u32 room = cmd->nr_slots;
	int err;

	if (room && (!cmd->slot_size || cmd->slot_size > PAGE_SIZE))
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SLOT_SIZE, PAGE_SIZE);
	reports = new_reports();
	if (!reports)
		return -ENOMEM;

	err = hpcvm_vm_lock(call);
	if (err)
		return err;
	err = verify_locked(call->vm, cmd, reports, &state);
	hpcvm_vm_unlock(call->vm);
	if (err == -ENODEV)
		return hpcvm_refuse(call, err, HPCVM_REASON_VM_GONE, hpcvm_vm_id(call->vm));
	if (err)
		return hpcvm_refuse(call, err, HPCVM_REASON_INTERRUPTED, 0);
	err = copy_reports(cmd, room, reports);
	if (!err)
		hpcvm_watch_told(call->watch, &state);
	return err;
}

/**
 * hpcvm_verify_state() - look at all memory of a VM for those who watch it
 * @vm: locked.
 *
 * Return: 0, -ENOMEM, or -EINTR or -ENODEV if the VM is ending. Context:
 * process, may sleep.
 */
int hpcvm_verify_state(struct hpcvm_vm *vm)
{
	struct hpcvm_slot_report *reports __free(kfree) = new_reports();
	struct hpcvm_mem_verify cmd = {};
	struct hpcvm_state state;

	return reports ? verify_locked(vm, &cmd, reports, &state) : -ENOMEM;
}
