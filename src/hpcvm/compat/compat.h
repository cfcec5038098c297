/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernels, as small inline functions in the shape of
 * the newest one. The only file that knows; force-included before all others.
 */
#ifndef HPCVM_COMPAT_H
#define HPCVM_COMPAT_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/hugetlb.h>
#include <linux/irqnr.h>
#include <linux/kernel_stat.h>
#include <linux/kvm_host.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/rcupdate.h>

/* A namespace of symbols became a string. */
#ifdef HAVE_IMPORT_NS_TOKEN
#define compat_import_ns(ns) MODULE_IMPORT_NS(ns)
#else
#define compat_import_ns(ns) MODULE_IMPORT_NS(#ns)
#endif

#ifndef HAVE_FREE_FPUT
DEFINE_FREE(fput, struct file *, if (!IS_ERR_OR_NULL(_T)) fput(_T))
#endif

static inline struct file *compat_tmpfile_open(const struct path *dir, umode_t mode, int flags)
{
#ifdef HAVE_KERNEL_TMPFILE_OPEN
	return kernel_tmpfile_open(&nop_mnt_idmap, dir, mode, flags, current_cred());
#else
	return vfs_tmpfile_open(&init_user_ns, dir, mode, flags, current_cred());
#endif
}

static inline int compat_parse_fs_string(struct fs_context *fc, const char *key, const char *value)
{
#ifdef HAVE_VFS_PARSE_FS_STRING_3
	return vfs_parse_fs_string(fc, key, value);
#else
	return vfs_parse_fs_string(fc, key, value, strlen(value));
#endif
}

static inline struct vfsmount *compat_fc_mount(struct fs_context *fc)
{
#ifdef HAVE_FC_MOUNT_LONGTERM
	return fc_mount_longterm(fc);
#else
	return fc_mount(fc);
#endif
}

/* The page cache index of a hugetlb file's offset. */
static inline pgoff_t compat_hugetlb_index(struct hstate *h, u64 offset)
{
#ifdef HAVE_HUGETLB_BASE_PAGE_INDEX
	return offset >> PAGE_SHIFT;
#else
	return offset >> huge_page_shift(h);
#endif
}

/* How many references the page cache has on a hugetlb folio of its own. */
static inline int compat_hugetlb_cache_refs(const struct folio *folio)
{
#ifdef HAVE_HUGETLB_BASE_PAGE_INDEX
	return folio_nr_pages(folio);
#else
	return 1;
#endif
}

/* Memslots whose memory is not the owner's mapping at all came later. */
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD 0
#endif

/* Guest address spaces of a VM: the normal one and SMM's. */
static inline int compat_kvm_nr_as_ids(struct kvm *kvm)
{
#ifdef HAVE_KVM_NR_AS_IDS
	return kvm_arch_nr_memslot_as_ids(kvm);
#else
	return KVM_ADDRESS_SPACE_NUM;
#endif
}

static inline unsigned int compat_nr_irqs(void)
{
#ifdef HAVE_IRQ_GET_NR_IRQS
	return irq_get_nr_irqs();
#else
	return nr_irqs;
#endif
}

static inline void compat_vm_flags_mod(struct vm_area_struct *vma, vm_flags_t set,
				       vm_flags_t clear)
{
#ifdef HAVE_VM_FLAGS_MOD
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* Exported, but declared in a header of RCU's own. */
unsigned long rcu_get_gp_seq(void);

static inline void compat_rcu_momentary_eqs(void)
{
#ifdef HAVE_RCU_MOMENTARY_EQS
	rcu_momentary_eqs();
#else
	rcu_momentary_dyntick_idle();
#endif
}

#ifdef HAVE_DMA_BUF_INVALIDATE_MAPPINGS
#define compat_dma_buf_invalidate_mappings(buf) dma_buf_invalidate_mappings(buf)
#else
#define compat_dma_buf_invalidate_mappings(buf) dma_buf_move_notify(buf)
#endif

#ifndef HAVE_TIMER_DELETE_SYNC
#define timer_delete_sync(timer) del_timer_sync(timer)
#endif

/* The architecture's interrupts of a CPU, but for what is none or counted twice. */
static inline u32 compat_timer_irqs(int cpu)
{
#ifdef HAVE_IRQ_STAT_COUNTS
	return READ_ONCE(per_cpu(irq_stat, cpu).counts[IRQ_COUNT_APIC_TIMER]);
#else
	return READ_ONCE(per_cpu(irq_stat, cpu).apic_timer_irqs);
#endif
}

/* All interrupts of a CPU: local timer, devices, other CPUs; /proc/interrupts' sum. */
static inline u64 compat_all_irqs(int cpu)
{
	const irq_cpustat_t *stat = &per_cpu(irq_stat, cpu);
	u64 sum = kstat_cpu_irqs_sum(cpu);
#ifdef HAVE_IRQ_STAT_COUNTS
	static const int counted[] = {
		IRQ_COUNT_NMI, IRQ_COUNT_APIC_TIMER, IRQ_COUNT_SPURIOUS, IRQ_COUNT_APIC_PERF,
		IRQ_COUNT_IRQ_WORK, IRQ_COUNT_X86_PLATFORM_IPI, IRQ_COUNT_RESCHEDULE,
		IRQ_COUNT_CALL_FUNCTION,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(counted); i++)
		sum += READ_ONCE(stat->counts[counted[i]]);
#else
	sum += (u64)READ_ONCE(stat->__nmi_count) + READ_ONCE(stat->apic_timer_irqs) +
	       READ_ONCE(stat->irq_spurious_count) + READ_ONCE(stat->apic_perf_irqs) +
	       READ_ONCE(stat->apic_irq_work_irqs) + READ_ONCE(stat->x86_platform_ipis) +
	       READ_ONCE(stat->irq_resched_count) + READ_ONCE(stat->irq_call_count);
#endif
	return sum;
}

#endif
