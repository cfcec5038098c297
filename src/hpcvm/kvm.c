// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM says of a VM: its memslots, which blocks of them it may map by
 * hugepages, and its counters.
 *
 * KVM is read, never called: its structures come from the headers this
 * module is built against and the VM from the file that user space gave, so
 * no symbol of kvm.ko is linked and hpcvm.ko loads without it. The build
 * and the running kernel agree on these structures as they agree on all
 * others: the module loader compares the kernel's version string.
 */
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/magic.h>

#include "hpcvm.h"

/**
 * hpcvm_file_is_kvm_vm() - is this the file of a KVM VM?
 * @file: any file.
 *
 * kvm's own test is closed to other modules since 6.18. A VM is an
 * anonymous inode called "kvm-vm": user space can make neither of the two.
 */
bool hpcvm_file_is_kvm_vm(struct file *file)
{
	const struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(dentry->d_name.name, "kvm-vm") && file->private_data;
}

/**
 * hpcvm_file_is_kvm_vcpu() - is this the file of a vCPU of this VM?
 * @file: any file.
 * @kvm: the VM.
 */
bool hpcvm_file_is_kvm_vcpu(struct file *file, const struct kvm *kvm)
{
	const struct dentry *dentry = file->f_path.dentry;
	const struct kvm_vcpu *vcpu = file->private_data;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       str_has_prefix(dentry->d_name.name, "kvm-vcpu:") && vcpu && vcpu->kvm == kvm;
}

/** hpcvm_kvm_exits() - KVM's own counters of a vCPU's exits */
void hpcvm_kvm_exits(const struct kvm_vcpu *vcpu, struct hpcvm_vcpu_stats *stats)
{
	const struct kvm_vcpu_stat *stat = &vcpu->stat;

	stats->exits = READ_ONCE(stat->exits);
	stats->exits_irq = READ_ONCE(stat->irq_exits);
	stats->exits_halt = READ_ONCE(stat->halt_exits);
	stats->exits_io = READ_ONCE(stat->io_exits);
	stats->exits_mmio = READ_ONCE(stat->mmio_exits);
	stats->exits_irq_window = READ_ONCE(stat->irq_window_exits);
	stats->exits_signal = READ_ONCE(stat->signal_exits);
	stats->exits_request = READ_ONCE(stat->request_irq_exits);
}

/** hpcvm_kvm_nr_exits() - all exits of a vCPU: a new one, and it has been in its guest */
u64 hpcvm_kvm_nr_exits(const struct kvm_vcpu *vcpu)
{
	return READ_ONCE(vcpu->stat.exits);
}

/** hpcvm_kvm_is_inside() - is a thread in KVM_RUN, or another ioctl of the vCPU? */
bool hpcvm_kvm_is_inside(const struct kvm_vcpu *vcpu)
{
	return mutex_is_locked((struct mutex *)&vcpu->mutex);
}

/** hpcvm_kvm_of() - the VM of a file that hpcvm_file_is_kvm_vm() accepts */
struct kvm *hpcvm_kvm_of(struct file *file)
{
	return file->private_data;
}

/** hpcvm_kvm_count() - read KVM's counters of a VM; each is exact, not all at once */
void hpcvm_kvm_count(struct kvm *kvm, struct hpcvm_kvm_pages *count)
{
	struct kvm_vm_stat *stat = &kvm->stat;
	int i;

	BUILD_BUG_ON(ARRAY_SIZE(stat->pages) != ARRAY_SIZE(count->pages));
	for (i = 0; i < ARRAY_SIZE(count->pages); i++)
		count->pages[i] = max_t(s64, atomic64_read(&stat->pages[i]), 0);
	count->splits = READ_ONCE(stat->nx_lpage_splits);
	count->shadow = READ_ONCE(kvm->arch.indirect_shadow_pages);
}

/** hpcvm_kvm_glance() - a first look at a VM, that takes no time */
void hpcvm_kvm_glance(struct kvm *kvm, struct hpcvm_kvm_glance *glance)
{
	struct hpcvm_kvm_pages count;
	int as_id, idx;

	hpcvm_kvm_count(kvm, &count);
	glance->splits = count.splits;
	glance->pages_4k = fls64(count.pages[0]);
	glance->generations = 0;
	idx = srcu_read_lock(&kvm->srcu);
	for (as_id = 0; as_id < compat_kvm_nr_as_ids(kvm); as_id++)
		glance->generations += __kvm_memslots(kvm, as_id)->generation;
	srcu_read_unlock(&kvm->srcu, idx);
}

/**
 * hpcvm_kvm_each_slot() - visit the memslots of a GPA range in order
 * @kvm: the VM.
 * @as_id: of this address space; one that the VM has not is empty.
 * @gpa: begin.
 * @end: one past the last byte.
 * @fn: called with each memslot that has a page in the range; ends the walk
 *	by returning an error. May sleep.
 * @arg: for @fn.
 *
 * Return: 0 or @fn's error. Context: process; kvm->srcu is held meanwhile.
 */
int hpcvm_kvm_each_slot(struct kvm *kvm, int as_id, u64 gpa, u64 end,
			hpcvm_kvm_slot_fn fn, void *arg)
{
	struct kvm_memslot_iter iter;
	int idx, err = 0;

	if (as_id >= compat_kvm_nr_as_ids(kvm))
		return 0;
	idx = srcu_read_lock(&kvm->srcu);
	kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, as_id), gpa_to_gfn(gpa),
					  gpa_to_gfn(end - 1) + 1) {
		err = fn(iter.slot, arg);
		if (err)
			break;
	}
	srcu_read_unlock(&kvm->srcu, idx);
	return err;
}

/**
 * hpcvm_kvm_each_slot_all() - visit all memslots, those of SMM too
 * @kvm: the VM.
 * @fn: called with each memslot, in no order. May sleep.
 * @arg: for @fn.
 *
 * Context: process; kvm->srcu is held meanwhile.
 */
void hpcvm_kvm_each_slot_all(struct kvm *kvm, void (*fn)(const struct kvm_memory_slot *, void *),
			     void *arg)
{
	struct kvm_memory_slot *ms;
	int as_id, bkt, idx;

	idx = srcu_read_lock(&kvm->srcu);
	for (as_id = 0; as_id < compat_kvm_nr_as_ids(kvm); as_id++) {
		/* The macro looks at it at each step, and KVM may swap the sets meanwhile. */
		const struct kvm_memslots *slots = __kvm_memslots(kvm, as_id);

		kvm_for_each_memslot(ms, bkt, slots)
			fn(ms, arg);
	}
	srcu_read_unlock(&kvm->srcu, idx);
}

/**
 * hpcvm_kvm_small() - must KVM map this block by 4K?
 * @ms: a memslot.
 * @gpa: an address in it.
 *
 * KVM keeps, for each 2 MiB block of each memslot, how many reasons forbid a
 * hugepage there: the block is cut by the memslot's edge, GPA and HVA do not
 * agree modulo 2 MiB, a page in it is write-tracked.
 */
bool hpcvm_kvm_small(const struct kvm_memory_slot *ms, u64 gpa)
{
	const int shift = PMD_SHIFT - PAGE_SHIFT;
	const struct kvm_lpage_info *info = ms->arch.lpage_info[PG_LEVEL_2M - PG_LEVEL_2M];
	u64 block = (gpa_to_gfn(gpa) >> shift) - (ms->base_gfn >> shift);

	return !info || READ_ONCE(info[block].disallow_lpage);
}
