/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * hpcvm: HPC guests on KVM. The ABI of /dev/hpcvm.
 */
#ifndef _UAPI_LINUX_HPCVM_H
#define _UAPI_LINUX_HPCVM_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: General format
 *
 * Every ioctl takes one struct whose first field is its size. A caller sets
 * ``size`` to the size of the struct it was compiled with and zeroes the
 * rest before it fills in what it means; a kernel that knows more fields
 * takes the missing ones as zero, a kernel that knows fewer refuses the call
 * if one of the unknown ones is not zero.
 *
 * ``flags`` and every field called ``pad`` must be zero where nothing is
 * documented for them. Fields marked *out* are ignored on entry.
 *
 * Every call either does all of what it says or nothing. Every struct
 * carries ``reason`` and ``detail``, written back on success (0, 0) and on
 * failure alike: the errno says of which kind the failure is, the reason
 * (&enum hpcvm_reason) which rule was broken, the detail where or by how
 * much. libhpcvm turns the two into a sentence. The errno stands alone only
 * where it says all: when the struct, or memory that it points to, cannot be
 * read or written, or the struct is too short or too long (EFAULT, EINVAL,
 * E2BIG); when there is no fd left (EMFILE, ENFILE); when a security module
 * objects (EACCES).
 *
 * Errors that every ioctl can return:
 *
 * - ENOTTY: this fd has no such ioctl.
 * - EINVAL: ``size`` is smaller than the first published version of the
 *   struct; an unknown flag (%HPCVM_REASON_FLAGS); a pad that is not zero
 *   (%HPCVM_REASON_PAD).
 * - E2BIG: the struct is longer than this kernel knows, and what it does not
 *   know is not zero; or it is longer than a page.
 * - EFAULT: the struct cannot be read, or neither verdict nor results can be
 *   written: nothing was done.
 * - ENOMEM: the kernel has no memory for its own bookkeeping
 *   (%HPCVM_REASON_KERNEL_MEMORY).
 *
 * There are four kinds of fd. The device, ``/dev/hpcvm``; the VM fd, which
 * owns everything hpcvm does for one VM and undoes all of it when it is
 * closed; the handle on a VM, by which tools look at a VM that another
 * process owns, and which keeps nothing of the VM alive; and the monitor, which
 * needs no VM and no KVM.
 */

/**
 * DOC: A broken promise is an event
 *
 * VM fds and handles can be polled (poll(), select(), epoll). One is readable
 * (POLLIN) while the VM's memory is not as the last HPCVM_MEM_VERIFY on that
 * fd has said, or as it should be where there was none: a promise is broken
 * that held then, or holds again, or more pages are gone. The next
 * HPCVM_MEM_VERIFY on the fd says what, and quietens it. POLLHUP: the VM has
 * ended.
 *
 * The first poll of an fd begins the watch, closing the fd ends it; where
 * nobody watches, it costs nothing. What changes in KVM's memslots or by
 * KVM's splitting of hugepages is seen within a second, as is what changes in
 * the owner's mappings; a memory error in a page that nobody has mapped yet,
 * within a minute.
 */

/**
 * DOC: Is a cached registration still valid?
 *
 * A monitor answers that for one address space, the one that has made it:
 *
 *   If the pages behind a watched range may have changed, its generation has
 *   changed before the system call that changed them returns. Never a missed
 *   change.
 *
 * False changes are allowed: NUMA balancing, collapse and split of transparent
 * hugepages, and migration look like changes. They are counted by cause
 * (HPCVM_MONITOR_STATS), and are rare in hugepage memory.
 *
 * Each watched range has a slot, and each slot a word of 64 bits, its
 * generation, in an array that mmap() of the monitor fd gives, read-only: the
 * word of slot n is entry n. HPCVM_MONITOR_WATCH returns a cookie. The range is
 * as it was then for as long as the word equals the cookie; once it does not, it
 * never will again. No cookie comes twice in the life of a monitor, so a slot
 * that has been given to another range is told from the old one. Entry 0 is the
 * sequence: it grows with each change of any word, after that word.
 *
 * A registration cache watches first and registers then; it looks at the word
 * when the registration is done, and before each use. One load with acquire
 * semantics and one comparison are enough. A watch waits while an invalidation
 * of its range runs, so what is registered after it is never older than it.
 *
 * The monitor fd can be read, too, instead or beside: each read() returns as
 * many &struct hpcvm_monitor_event as there are and fit, one for each watch
 * whose generation has changed since; poll() says whether there are any. An
 * event waits in its slot, so there is always room for all of them and none is
 * ever lost; HPCVM_MONITOR_UNWATCH takes it back. The generation is exact, a
 * reader of events hears of it a little later.
 *
 * The array is the address space's alone: a child has no mapping of it after
 * fork(), and whoever is given the fd can neither watch nor map nor read.
 */

#define HPCVM_TYPE 0xBC

/**
 * define HPCVM_API_VERSION - the version of this ABI; it only grows
 */
#define HPCVM_API_VERSION 1

/**
 * define HPCVM_NODE_ANY - no promise about the NUMA node
 */
#define HPCVM_NODE_ANY (-1)

/**
 * define HPCVM_CPU_ANY - any free core of those that can be claimed
 */
#define HPCVM_CPU_ANY (-1)

/**
 * define HPCVM_NAME_MAX - bytes of a VM's name, its terminating zero included
 */
#define HPCVM_NAME_MAX 64

/**
 * define HPCVM_LEGACY_END - guest RAM below this GPA has no page size promise
 *
 * The first 2 MiB of a PC hold the VGA hole, option ROMs and the firmware's
 * shadow; KVM maps what lies there by 4K. RAM from here up is all huge.
 */
#define HPCVM_LEGACY_END 0x200000ULL

enum {
	HPCVM_CMD_QUERY = 0x00,
	HPCVM_CMD_VM_CREATE = 0x01,
	HPCVM_CMD_VM_OPEN = 0x02,
	HPCVM_CMD_MEM_CREATE = 0x10,
	HPCVM_CMD_MEM_SLOT = 0x11,
	HPCVM_CMD_MEM_UNSLOT = 0x12,
	HPCVM_CMD_MEM_VERIFY = 0x13,
	HPCVM_CMD_MEM_ADOPT = 0x14,
	HPCVM_CMD_RESERVE_PARK = 0x18,
	HPCVM_CMD_RESERVE_DROP = 0x19,
	HPCVM_CMD_VCPU_ATTACH = 0x20,
	HPCVM_CMD_VCPU_CLAIM = 0x21,
	HPCVM_CMD_VCPU_RELEASE = 0x22,
	HPCVM_CMD_VCPU_STATS = 0x23,
	HPCVM_CMD_MONITOR_CREATE = 0x30,
	HPCVM_CMD_MONITOR_WATCH = 0x31,
	HPCVM_CMD_MONITOR_UNWATCH = 0x32,
	HPCVM_CMD_MONITOR_STATS = 0x33,
	HPCVM_CMD_PIN = 0x34,
};

/**
 * enum hpcvm_reason - which rule a refused call broke
 * @HPCVM_REASON_NONE: none; the call succeeded.
 * @HPCVM_REASON_FLAGS: unknown flags; detail: those bits.
 * @HPCVM_REASON_PAD: a pad is not zero; detail: its offset in the struct.
 * @HPCVM_REASON_KERNEL_MEMORY: the kernel is out of memory.
 * @HPCVM_REASON_FD: not an open fd; detail: the fd.
 * @HPCVM_REASON_NOT_KVM: the fd is no KVM VM; detail: the fd.
 * @HPCVM_REASON_OTHER_MM: the KVM VM belongs to another process.
 * @HPCVM_REASON_VM_EXISTS: the KVM VM has an hpcvm VM already; detail: its id.
 * @HPCVM_REASON_NAME: the name is not terminated, or holds something else
 *	than printable ASCII; detail: the offset of the first bad byte.
 * @HPCVM_REASON_VM_UNKNOWN: no VM has this id; detail: the id.
 * @HPCVM_REASON_VM_GONE: the VM of this handle has ended; detail: its id.
 * @HPCVM_REASON_NOT_PERMITTED: the VM belongs to another user, and the
 *	caller lacks CAP_SYS_PTRACE; detail: the owner's uid in the caller's
 *	user namespace.
 * @HPCVM_REASON_PAGE_SIZE: neither 2 MiB nor 1 GiB; detail: what was asked.
 * @HPCVM_REASON_PAGE_SIZE_UNAVAILABLE: the node's processors or kernel have
 *	no pages of this size; detail: the size.
 * @HPCVM_REASON_SIZE_ZERO: the size is zero.
 * @HPCVM_REASON_SIZE_ALIGN: the size is not a multiple of the page size;
 *	detail: the page size.
 * @HPCVM_REASON_SIZE_LIMIT: more than a file can hold; detail: the limit.
 * @HPCVM_REASON_NODE: no such NUMA node with memory; detail: the node.
 * @HPCVM_REASON_POOL_SHORT: the hugepage pool is short; detail: how many
 *	pages are missing.
 * @HPCVM_REASON_POOL_SHORT_NODE: the pool gave pages, but not on the asked
 *	node; detail: how many are missing there. (Bind the calling thread to
 *	the node first; libhpcvm does.)
 * @HPCVM_REASON_LIMIT: the pool has the pages, but a cgroup or another
 *	limit forbids them; detail: how many pages were refused.
 * @HPCVM_REASON_INTERRUPTED: a signal came in between; detail: how many
 *	pages were missing still, 0 where none were wanted.
 * @HPCVM_REASON_NOT_OURS: the fd is no file from HPCVM_MEM_CREATE; detail:
 *	the fd.
 * @HPCVM_REASON_OFFSET_ALIGN: the file offset is no multiple of the file's
 *	page size; detail: the page size.
 * @HPCVM_REASON_GPA_ALIGN: the GPA is no multiple of the file's page size;
 *	detail: the page size.
 * @HPCVM_REASON_RANGE: offset and length reach past the end of the file;
 *	detail: the file's size.
 * @HPCVM_REASON_GPA_LIMIT: the GPA range is past what a guest can address;
 *	detail: the limit.
 * @HPCVM_REASON_SLOT_OVERLAP: a slot covers part of these GPAs already;
 *	detail: that slot's GPA.
 * @HPCVM_REASON_FILE_OVERLAP: a slot uses part of this file range already;
 *	detail: that slot's GPA.
 * @HPCVM_REASON_SLOT_UNKNOWN: no slot begins at this GPA; detail: the GPA.
 * @HPCVM_REASON_SLOTS_FULL: too many slots; detail: the limit.
 * @HPCVM_REASON_KVM_UNCOVERED: KVM has no memslot for RAM that the slot
 *	promises; detail: the first GPA without one.
 * @HPCVM_REASON_KVM_OTHER_MEMORY: KVM's memslot maps other memory than this
 *	range of this file; detail: the first such GPA.
 * @HPCVM_REASON_KVM_PRIVATE: the file is mapped MAP_PRIVATE there: writes
 *	would go to other pages; detail: the GPA.
 * @HPCVM_REASON_KVM_MISALIGNED: GPA and HVA differ modulo the page size, or
 *	a memslot begins or ends inside a hugepage, so that KVM would use 4K
 *	pages silently; detail: the first such GPA.
 * @HPCVM_REASON_KVM_READONLY: KVM's memslot is read-only; detail: the GPA.
 * @HPCVM_REASON_PAGES_ABSENT: the file has holes where the slot wants RAM
 *	(somebody punched them); detail: how many pages.
 * @HPCVM_REASON_PAGES_NODE: pages of the file are not on the asked node;
 *	detail: how many.
 * @HPCVM_REASON_SLOT_SIZE: the size of a slot report is 0 or too large;
 *	detail: the limit.
 * @HPCVM_REASON_HVA_ALIGN: the address of the memory is no multiple of its
 *	page size; detail: the page size.
 * @HPCVM_REASON_HVA_LIMIT: address and length reach past what a process can
 *	map; detail: the limit.
 * @HPCVM_REASON_HVA_OVERLAP: a slot has adopted part of this memory already;
 *	detail: that slot's GPA.
 * @HPCVM_REASON_NOT_HUGETLB: the memory is no hugetlb mapping: nothing is
 *	mapped there, or ordinary memory (transparent hugepages are that, too);
 *	detail: the first such GPA.
 * @HPCVM_REASON_PAGE_SIZES: the memory has hugepages of another size than it
 *	begins with; detail: the first such GPA.
 * @HPCVM_REASON_NOT_PRESENT: a hugepage is not there: nobody has touched it
 *	yet, or it has been taken away; detail: the first such GPA.
 * @HPCVM_REASON_COPY_ON_WRITE: a hugepage of a private mapping is not its
 *	own (the file's, only read so far, or one that a fork has shared): the
 *	first write would go to a copy, which is not there yet; detail: the
 *	first such GPA.
 * @HPCVM_REASON_WRONG_NODE: a hugepage is not on the asked node; detail: the
 *	first such GPA.
 * @HPCVM_REASON_POISON: a hugepage has a memory error; detail: the first such
 *	GPA.
 * @HPCVM_REASON_NOT_ADMIN: the caller lacks CAP_SYS_ADMIN.
 * @HPCVM_REASON_NOT_PREPARED: the file was not made by %HPCVM_MEM_PREPARE, or
 *	has been handed out since; detail: the fd.
 * @HPCVM_REASON_PARKED: the file is parked already; detail: the reservation's
 *	id.
 * @HPCVM_REASON_MAPPED: the file is still mapped.
 * @HPCVM_REASON_HELD: somebody besides the caller's fd has the file; detail:
 *	how many times.
 * @HPCVM_REASON_PAGES_HELD: somebody holds pages of the file, pinned or in a
 *	pipe; detail: how many.
 * @HPCVM_REASON_RESERVATIONS_FULL: too many reservations; detail: the limit.
 * @HPCVM_REASON_RESERVATION_UNKNOWN: no reservation has this id; detail: the
 *	id.
 * @HPCVM_REASON_RESERVE_FOR: not a uid or gid of the caller's user namespace;
 *	detail: what was given.
 * @HPCVM_REASON_NOT_VCPU: the fd is no vCPU of this VM; detail: the fd.
 * @HPCVM_REASON_RUN: the address is not where the vCPU's kvm_run is mapped;
 *	detail: the address.
 * @HPCVM_REASON_VCPU_ATTACHED: a living thread has attached this vCPU
 *	already; detail: the vCPU's id.
 * @HPCVM_REASON_THREAD_ATTACHED: this thread has attached a vCPU already;
 *	detail: that vCPU's id.
 * @HPCVM_REASON_VCPU_UNKNOWN: no vCPU with this id is attached; detail: the
 *	id.
 * @HPCVM_REASON_VCPU_GONE: the thread that has attached this vCPU has ended;
 *	detail: the vCPU's id.
 * @HPCVM_REASON_CPU: no such CPU, or it is offline; detail: the CPU.
 * @HPCVM_REASON_CORE_NOT_LISTED: the administrator has not listed this CPU's
 *	core as claimable; detail: the CPU.
 * @HPCVM_REASON_CORE_OWNED: a vCPU owns the core; detail: the id of its VM.
 * @HPCVM_REASON_CORES_TAKEN: no free core is left of those that could be
 *	claimed; detail: how many could be, were they free.
 * @HPCVM_REASON_CORE_LIMIT: the caller's user owns as many cores as a user
 *	may; detail: the limit.
 * @HPCVM_REASON_CORE_REMOTE: the core is on another NUMA node than the VM's
 *	memory; detail: the core's node.
 * @HPCVM_REASON_NO_CLAIM: the vCPU has no core; detail: the vCPU's id.
 * @HPCVM_REASON_TICK_MODE: no such tick mode; detail: what was given.
 * @HPCVM_REASON_TICK: the core's tick cannot be suppressed in the mode that
 *	was asked for; detail: &enum hpcvm_tick_why.
 * @HPCVM_REASON_TIMES: this kernel's KVM does not tell when a guest is entered
 *	and left (the tracepoints kvm_entry and kvm_exit).
 * @HPCVM_REASON_NOT_NICE: FIFO priority needs CAP_SYS_NICE.
 * @HPCVM_REASON_POLICY: the vCPU's thread has not the ordinary scheduling
 *	policy (SCHED_OTHER), or has SCHED_RESET_ON_FORK; detail: its policy, as
 *	sched_getscheduler() says it.
 * @HPCVM_REASON_MONITOR_SLOTS: a monitor has one slot at least; detail: the
 *	most that it can have.
 * @HPCVM_REASON_MONITOR_LIMIT: the monitors of the caller's user have as many
 *	slots as a user's may; detail: the limit.
 * @HPCVM_REASON_MONITOR_MM: the monitor belongs to another address space.
 * @HPCVM_REASON_WATCHES_FULL: all slots of the monitor are taken; detail: how
 *	many there are.
 * @HPCVM_REASON_WATCH_UNKNOWN: no watch has this slot and this cookie; detail:
 *	the slot.
 * @HPCVM_REASON_WATCH_LATE: the range has changed since it was to be watched
 *	from, or that is too long ago to tell; detail: how many invalidations
 *	have ended by now.
 * @HPCVM_REASON_PIN_ADDR: memory that cannot be pinned: nothing is mapped there,
 *	or it cannot be written, or it is a device's, or a file's whose file system
 *	does not allow that; detail: the first such address.
 * @HPCVM_REASON_PIN_LIMIT: more than RLIMIT_MEMLOCK allows; detail: how many bytes
 *	are missing.
 */
enum hpcvm_reason {
	HPCVM_REASON_NONE = 0,
	HPCVM_REASON_FLAGS = 1,
	HPCVM_REASON_PAD = 2,
	HPCVM_REASON_KERNEL_MEMORY = 3,
	HPCVM_REASON_FD = 4,
	HPCVM_REASON_NOT_KVM = 5,
	HPCVM_REASON_OTHER_MM = 6,
	HPCVM_REASON_VM_EXISTS = 7,
	HPCVM_REASON_NAME = 8,
	HPCVM_REASON_VM_UNKNOWN = 9,
	HPCVM_REASON_VM_GONE = 10,
	HPCVM_REASON_NOT_PERMITTED = 11,
	HPCVM_REASON_PAGE_SIZE = 12,
	HPCVM_REASON_PAGE_SIZE_UNAVAILABLE = 13,
	HPCVM_REASON_SIZE_ZERO = 14,
	HPCVM_REASON_SIZE_ALIGN = 15,
	HPCVM_REASON_SIZE_LIMIT = 16,
	HPCVM_REASON_NODE = 17,
	HPCVM_REASON_POOL_SHORT = 18,
	HPCVM_REASON_POOL_SHORT_NODE = 19,
	HPCVM_REASON_LIMIT = 20,
	HPCVM_REASON_INTERRUPTED = 21,
	HPCVM_REASON_NOT_OURS = 22,
	HPCVM_REASON_OFFSET_ALIGN = 23,
	HPCVM_REASON_GPA_ALIGN = 24,
	HPCVM_REASON_RANGE = 25,
	HPCVM_REASON_GPA_LIMIT = 26,
	HPCVM_REASON_SLOT_OVERLAP = 27,
	HPCVM_REASON_FILE_OVERLAP = 28,
	HPCVM_REASON_SLOT_UNKNOWN = 29,
	HPCVM_REASON_SLOTS_FULL = 30,
	HPCVM_REASON_KVM_UNCOVERED = 31,
	HPCVM_REASON_KVM_OTHER_MEMORY = 32,
	HPCVM_REASON_KVM_PRIVATE = 33,
	HPCVM_REASON_KVM_MISALIGNED = 34,
	HPCVM_REASON_KVM_READONLY = 35,
	HPCVM_REASON_PAGES_ABSENT = 36,
	HPCVM_REASON_PAGES_NODE = 37,
	HPCVM_REASON_SLOT_SIZE = 38,
	HPCVM_REASON_HVA_ALIGN = 39,
	HPCVM_REASON_HVA_LIMIT = 40,
	HPCVM_REASON_HVA_OVERLAP = 41,
	HPCVM_REASON_NOT_HUGETLB = 42,
	HPCVM_REASON_PAGE_SIZES = 43,
	HPCVM_REASON_NOT_PRESENT = 44,
	HPCVM_REASON_COPY_ON_WRITE = 45,
	HPCVM_REASON_WRONG_NODE = 46,
	HPCVM_REASON_POISON = 47,
	HPCVM_REASON_NOT_ADMIN = 48,
	HPCVM_REASON_NOT_PREPARED = 49,
	HPCVM_REASON_PARKED = 50,
	HPCVM_REASON_MAPPED = 51,
	HPCVM_REASON_HELD = 52,
	HPCVM_REASON_PAGES_HELD = 53,
	HPCVM_REASON_RESERVATIONS_FULL = 54,
	HPCVM_REASON_RESERVATION_UNKNOWN = 55,
	HPCVM_REASON_RESERVE_FOR = 56,
	HPCVM_REASON_NOT_VCPU = 57,
	HPCVM_REASON_RUN = 58,
	HPCVM_REASON_VCPU_ATTACHED = 59,
	HPCVM_REASON_THREAD_ATTACHED = 60,
	HPCVM_REASON_VCPU_UNKNOWN = 61,
	HPCVM_REASON_VCPU_GONE = 62,
	HPCVM_REASON_CPU = 63,
	HPCVM_REASON_CORE_NOT_LISTED = 64,
	HPCVM_REASON_CORE_OWNED = 65,
	HPCVM_REASON_CORES_TAKEN = 66,
	HPCVM_REASON_CORE_LIMIT = 67,
	HPCVM_REASON_CORE_REMOTE = 68,
	HPCVM_REASON_NO_CLAIM = 69,
	HPCVM_REASON_TICK_MODE = 70,
	HPCVM_REASON_TICK = 71,
	HPCVM_REASON_TIMES = 72,
	HPCVM_REASON_NOT_NICE = 73,
	HPCVM_REASON_POLICY = 74,
	HPCVM_REASON_MONITOR_SLOTS = 75,
	HPCVM_REASON_MONITOR_LIMIT = 76,
	HPCVM_REASON_MONITOR_MM = 77,
	HPCVM_REASON_WATCHES_FULL = 78,
	HPCVM_REASON_WATCH_UNKNOWN = 79,
	HPCVM_REASON_WATCH_LATE = 80,
	HPCVM_REASON_PIN_ADDR = 81,
	HPCVM_REASON_PIN_LIMIT = 82,
};

/**
 * enum hpcvm_feature - what this module offers (bits of hpcvm_query.features)
 * @HPCVM_FEATURE_MEMORY: hugepage-only guest memory.
 * @HPCVM_FEATURE_CORES: core claims.
 * @HPCVM_FEATURE_MONITOR: monitors for registration caches.
 * @HPCVM_FEATURE_PIN: pins as dma-bufs.
 */
enum hpcvm_feature {
	HPCVM_FEATURE_MEMORY = 1 << 0,
	HPCVM_FEATURE_CORES = 1 << 1,
	HPCVM_FEATURE_MONITOR = 1 << 2,
	HPCVM_FEATURE_PIN = 1 << 3,
};

/**
 * enum hpcvm_node_fact - what holds on this node (bits of hpcvm_query.node)
 * @HPCVM_NODE_PAGES_2M: 2 MiB pages can be had.
 * @HPCVM_NODE_PAGES_1G: 1 GiB pages can be had.
 * @HPCVM_NODE_KVM: KVM is loaded, or built in.
 * @HPCVM_NODE_NX_HUGE_PAGES: KVM's nx_huge_pages workaround is active:
 *	it splits hugepages that the guest executes from, so the memory
 *	promise cannot hold.
 * @HPCVM_NODE_NX_UNKNOWN: whether it is active cannot be told (kvm.ko is
 *	not loaded, or is built in).
 * @HPCVM_NODE_NOHZ_FULL: the node was booted with nohz_full cores.
 * @HPCVM_NODE_IOMMU: PCI devices are behind an IOMMU.
 * @HPCVM_NODE_VIRT: the processors have SVM or VMX.
 */
enum hpcvm_node_fact {
	HPCVM_NODE_PAGES_2M = 1 << 0,
	HPCVM_NODE_PAGES_1G = 1 << 1,
	HPCVM_NODE_KVM = 1 << 2,
	HPCVM_NODE_NX_HUGE_PAGES = 1 << 3,
	HPCVM_NODE_NX_UNKNOWN = 1 << 4,
	HPCVM_NODE_NOHZ_FULL = 1 << 5,
	HPCVM_NODE_IOMMU = 1 << 6,
	HPCVM_NODE_VIRT = 1 << 7,
};

/**
 * struct hpcvm_query - ioctl(HPCVM_QUERY), on every fd
 * @size: sizeof(struct hpcvm_query).
 * @flags: must be 0.
 * @api_version: out: %HPCVM_API_VERSION of the module.
 * @nodes: out: how many NUMA nodes have memory.
 * @features: out: bits of &enum hpcvm_feature.
 * @node: out: bits of &enum hpcvm_node_fact.
 * @free_2m: out: free 2 MiB pages of the pool that nobody has reserved.
 * @free_1g: out: the same for 1 GiB pages.
 * @vm_id: out: on a VM fd or handle the VM's id, elsewhere 0.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * What the module is and what this node can do. Never sleeps for long, takes
 * no lock of a VM. Errors: the general ones only.
 */
struct hpcvm_query {
	__u32 size;
	__u32 flags;
	__u32 api_version;
	__u32 nodes;
	__u64 features;
	__u64 node;
	__u64 free_2m;
	__u64 free_1g;
	__u64 vm_id;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_QUERY _IO(HPCVM_TYPE, HPCVM_CMD_QUERY)

/**
 * struct hpcvm_vm_create - ioctl(HPCVM_VM_CREATE), on the device
 * @size: sizeof(struct hpcvm_vm_create).
 * @flags: must be 0.
 * @kvm_fd: the KVM VM's fd, from KVM_CREATE_VM in this process.
 * @out_fd: out: the VM fd, close-on-exec.
 * @out_id: out: the VM's id: never 0, never used again until the module is
 *	loaded anew.
 * @uuid: the domain's UUID, or zeroes; told to tools, not interpreted.
 * @name: the domain's name, in printable ASCII, terminated by a zero, or empty;
 *	told to tools.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Put a KVM VM in hpcvm's charge. The VM fd owns all that hpcvm does for it;
 * closing its last copy undoes everything. The KVM VM must belong to the
 * caller's address space; it stays alive as long as the VM fd is open.
 *
 * Errors:
 *
 * - EBADF: %HPCVM_REASON_FD.
 * - EINVAL: %HPCVM_REASON_NOT_KVM, %HPCVM_REASON_NAME.
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EBUSY: %HPCVM_REASON_VM_EXISTS.
 * - EMFILE, ENFILE: the caller or the node has no fd left.
 */
struct hpcvm_vm_create {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__s32 out_fd;
	__u64 out_id;
	__u8 uuid[16];
	char name[HPCVM_NAME_MAX];
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_VM_CREATE _IO(HPCVM_TYPE, HPCVM_CMD_VM_CREATE)

/**
 * enum hpcvm_open_flag - what a handle is for besides looking
 * @HPCVM_OPEN_TIMES: while it is open, count where the time of vCPUs that own
 *	a core goes: guest_ns, hypervisor_ns and out_ns of HPCVM_VCPU_STATS, of
 *	all VMs. Each entry to a guest takes a little longer then.
 */
enum hpcvm_open_flag {
	HPCVM_OPEN_TIMES = 1 << 0,
};

/**
 * struct hpcvm_vm_open - ioctl(HPCVM_VM_OPEN), on the device
 * @size: sizeof(struct hpcvm_vm_open).
 * @flags: bits of &enum hpcvm_open_flag.
 * @id: the VM's id (sysfs lists them).
 * @out_fd: out: the handle, close-on-exec.
 * @pad0: must be 0.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Get a read-only handle on a VM that any process owns. It takes HPCVM_QUERY,
 * HPCVM_MEM_VERIFY and HPCVM_VCPU_STATS; once the VM has ended they fail with
 * ENODEV (%HPCVM_REASON_VM_GONE). For the uid that created the VM, and for
 * CAP_SYS_PTRACE.
 *
 * Errors:
 *
 * - ENOENT: %HPCVM_REASON_VM_UNKNOWN.
 * - EPERM: %HPCVM_REASON_NOT_PERMITTED.
 * - EOPNOTSUPP: %HPCVM_REASON_TIMES.
 * - EMFILE, ENFILE: the caller or the node has no fd left.
 */
struct hpcvm_vm_open {
	__u32 size;
	__u32 flags;
	__u64 id;
	__s32 out_fd;
	__u32 pad0;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_VM_OPEN _IO(HPCVM_TYPE, HPCVM_CMD_VM_OPEN)

/**
 * enum hpcvm_mem_flag - what HPCVM_MEM_CREATE does besides its usual work
 * @HPCVM_MEM_FRESH: take pages from the pool, never a reservation.
 * @HPCVM_MEM_PREPARE: make a file for HPCVM_RESERVE_PARK; not together with
 *	%HPCVM_MEM_FRESH.
 */
enum hpcvm_mem_flag {
	HPCVM_MEM_FRESH = 1 << 0,
	HPCVM_MEM_PREPARE = 1 << 1,
};

/**
 * struct hpcvm_mem_create - ioctl(HPCVM_MEM_CREATE), on the device
 * @size: sizeof(struct hpcvm_mem_create).
 * @flags: bits of &enum hpcvm_mem_flag.
 * @length: bytes, a multiple of @page_size.
 * @page_size: 2 MiB or 1 GiB, in bytes.
 * @node: the NUMA node every page must be on, or %HPCVM_NODE_ANY.
 * @out_fd: out: the memory, close-on-exec.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 * @out_reservation: out: the id of the reservation that the memory is from;
 *	0: fresh pages.
 *
 * Take guest memory. The fd is a hugetlbfs file like any other: map it
 * MAP_SHARED, pass it on, pin it. It is populated, zeroed, sealed against a
 * change of size, and every page was seen on @node. The pages go back to the
 * pool when the last fd and mapping are gone, also when the module has been
 * unloaded since.
 *
 * A reservation (HPCVM_RESERVE_PARK) is drawn if there is one of this @length
 * and @page_size that the caller may have: parked on @node, or anywhere if that
 * is %HPCVM_NODE_ANY and the calling thread has no memory policy of its own;
 * on nodes within its cpuset; and for its fsuid or one of its groups. It takes
 * the same few instructions whatever the length.
 *
 * Otherwise the pages are taken from the node's hugepage pool. Where the
 * kernel takes them from follows the calling thread's memory policy and
 * cpuset, and its hugetlb cgroup is charged; the module can only verify the
 * node. libhpcvm's hpcvm_mem_create() binds the thread and blocks signals for
 * the length of the call. Sleeps as long as zeroing takes; a signal ends it.
 *
 * With %HPCVM_MEM_PREPARE (for CAP_SYS_ADMIN) the pages are reserved in the
 * pool, but not taken: the file has its size and is empty. Nobody can write to
 * it, root included: the fd is read-only and the file immutable, as chattr(1)
 * would call it. A read through a shared mapping (MADV_POPULATE_READ, from
 * any number of threads) lets the kernel take, zero and charge a page. So the
 * file holds nothing but zeroes, by construction.
 *
 * Errors (after each, nothing is kept):
 *
 * - EINVAL: %HPCVM_REASON_PAGE_SIZE, %HPCVM_REASON_SIZE_ZERO,
 *   %HPCVM_REASON_SIZE_ALIGN, %HPCVM_REASON_SIZE_LIMIT, %HPCVM_REASON_NODE;
 *   %HPCVM_REASON_FLAGS: both flags.
 * - EPERM: %HPCVM_REASON_NOT_ADMIN.
 * - EOPNOTSUPP: %HPCVM_REASON_PAGE_SIZE_UNAVAILABLE.
 * - ENOSPC: %HPCVM_REASON_POOL_SHORT, %HPCVM_REASON_POOL_SHORT_NODE,
 *   %HPCVM_REASON_LIMIT.
 * - EINTR: %HPCVM_REASON_INTERRUPTED.
 * - EMFILE, ENFILE: the caller or the node has no fd left.
 */
struct hpcvm_mem_create {
	__u32 size;
	__u32 flags;
	__u64 length;
	__u64 page_size;
	__s32 node;
	__s32 out_fd;
	__u32 reason;
	__u32 pad;
	__u64 detail;
	__u64 out_reservation;
};

#define HPCVM_MEM_CREATE _IO(HPCVM_TYPE, HPCVM_CMD_MEM_CREATE)

/**
 * define HPCVM_RESERVATIONS_MAX - how many reservations a node can have
 */
#define HPCVM_RESERVATIONS_MAX 1024

/**
 * enum hpcvm_reserve_flag - who may draw a reservation
 * @HPCVM_RESERVE_UID: callers whose fsuid is the given uid.
 * @HPCVM_RESERVE_GID: callers in the given group.
 *
 * With both, either is enough; with neither, whoever may open the device.
 */
enum hpcvm_reserve_flag {
	HPCVM_RESERVE_UID = 1 << 0,
	HPCVM_RESERVE_GID = 1 << 1,
};

/**
 * struct hpcvm_reserve_park - ioctl(HPCVM_RESERVE_PARK), on the device
 * @size: sizeof(struct hpcvm_reserve_park).
 * @flags: bits of &enum hpcvm_reserve_flag.
 * @mem_fd: a file from %HPCVM_MEM_PREPARE, populated.
 * @node: the NUMA node every page must be on, or %HPCVM_NODE_ANY.
 * @uid: who may draw it, with %HPCVM_RESERVE_UID; else must be 0.
 * @gid: who may draw it, with %HPCVM_RESERVE_GID; else must be 0.
 * @out_id: out: the reservation's id: never 0, never used again until the
 *	module is loaded anew.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Leave a prepared file in the module, for HPCVM_MEM_CREATE to hand out. For
 * CAP_SYS_ADMIN. The module looks at every page: it must be there, on @node,
 * and nobody's but the file's. Of the file @mem_fd must be the only fd, in
 * this process and all others, and nothing may map it. The caller closes
 * @mem_fd then: a reservation that anybody but the module has a hold on is not
 * drawn (``held`` in sysfs), and HPCVM_MEM_CREATE looks again in the moment of
 * drawing.
 *
 * The pages stay charged to the hugetlb cgroup of whoever populated the file,
 * also after they were drawn. A file that has been handed out cannot be
 * parked again. When the module is unloaded, what is parked goes back to the
 * pool.
 *
 * Errors:
 *
 * - EPERM: %HPCVM_REASON_NOT_ADMIN.
 * - EBADF: %HPCVM_REASON_FD.
 * - EINVAL: %HPCVM_REASON_NODE, %HPCVM_REASON_RESERVE_FOR,
 *   %HPCVM_REASON_PAD (a uid or gid without its flag),
 *   %HPCVM_REASON_NOT_OURS, %HPCVM_REASON_NOT_PREPARED,
 *   %HPCVM_REASON_PAGES_ABSENT, %HPCVM_REASON_PAGES_NODE.
 * - EEXIST: %HPCVM_REASON_PARKED.
 * - EBUSY: %HPCVM_REASON_MAPPED, %HPCVM_REASON_HELD,
 *   %HPCVM_REASON_PAGES_HELD.
 * - ENOSPC: %HPCVM_REASON_RESERVATIONS_FULL.
 */
struct hpcvm_reserve_park {
	__u32 size;
	__u32 flags;
	__s32 mem_fd;
	__s32 node;
	__u32 uid;
	__u32 gid;
	__u64 out_id;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_RESERVE_PARK _IO(HPCVM_TYPE, HPCVM_CMD_RESERVE_PARK)

/**
 * struct hpcvm_reserve_drop - ioctl(HPCVM_RESERVE_DROP), on the device
 * @size: sizeof(struct hpcvm_reserve_drop).
 * @flags: must be 0.
 * @id: the reservation's id (sysfs lists them).
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Give up a reservation. Its pages go back to the pool, unless somebody has
 * a hold on the file still. For CAP_SYS_ADMIN.
 *
 * Errors:
 *
 * - EPERM: %HPCVM_REASON_NOT_ADMIN.
 * - ENOENT: %HPCVM_REASON_RESERVATION_UNKNOWN: also if it was drawn.
 */
struct hpcvm_reserve_drop {
	__u32 size;
	__u32 flags;
	__u64 id;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_RESERVE_DROP _IO(HPCVM_TYPE, HPCVM_CMD_RESERVE_DROP)

/**
 * struct hpcvm_mem_slot - ioctl(HPCVM_MEM_SLOT), on a VM fd
 * @size: sizeof(struct hpcvm_mem_slot).
 * @flags: must be 0.
 * @mem_fd: a file from HPCVM_MEM_CREATE.
 * @node: the NUMA node promised to the guest, or %HPCVM_NODE_ANY.
 * @gpa: where the guest sees the memory, a multiple of the file's page size.
 * @offset: where it begins in the file, a multiple of the file's page size.
 * @length: bytes, a multiple of the file's page size.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Say which range of a file is which range of guest RAM. The module believes
 * nothing: the file must be whole and on @node, and KVM's own memslots must
 * map this very range of it, shared, writable and so aligned that KVM can
 * use hugepages, from %HPCVM_LEGACY_END up without a gap. What the firmware
 * does below that is tolerated. HPCVM_MEM_VERIFY checks all of it again at
 * any later time.
 *
 * The slot keeps the file open until HPCVM_MEM_UNSLOT or the end of the VM.
 * At most 64 slots a VM.
 *
 * Errors:
 *
 * - EBADF: %HPCVM_REASON_FD.
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EINVAL: %HPCVM_REASON_NOT_OURS, %HPCVM_REASON_NODE,
 *   %HPCVM_REASON_SIZE_ZERO, %HPCVM_REASON_SIZE_ALIGN,
 *   %HPCVM_REASON_OFFSET_ALIGN, %HPCVM_REASON_GPA_ALIGN,
 *   %HPCVM_REASON_RANGE, %HPCVM_REASON_GPA_LIMIT,
 *   %HPCVM_REASON_KVM_UNCOVERED, %HPCVM_REASON_KVM_OTHER_MEMORY,
 *   %HPCVM_REASON_KVM_PRIVATE, %HPCVM_REASON_KVM_MISALIGNED,
 *   %HPCVM_REASON_KVM_READONLY, %HPCVM_REASON_PAGES_ABSENT,
 *   %HPCVM_REASON_PAGES_NODE.
 * - EEXIST: %HPCVM_REASON_SLOT_OVERLAP, %HPCVM_REASON_FILE_OVERLAP.
 * - ENOSPC: %HPCVM_REASON_SLOTS_FULL.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_mem_slot {
	__u32 size;
	__u32 flags;
	__s32 mem_fd;
	__s32 node;
	__u64 gpa;
	__u64 offset;
	__u64 length;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MEM_SLOT _IO(HPCVM_TYPE, HPCVM_CMD_MEM_SLOT)

/**
 * struct hpcvm_mem_adopt - ioctl(HPCVM_MEM_ADOPT), on a VM fd
 * @size: sizeof(struct hpcvm_mem_adopt).
 * @flags: must be 0.
 * @node: the NUMA node promised to the guest, or %HPCVM_NODE_ANY.
 * @pad0: must be 0.
 * @gpa: where the guest sees the memory, a multiple of its page size.
 * @hva: where it is in the caller's address space, a multiple of its page
 *	size.
 * @length: bytes, a multiple of its page size.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Take memory in charge that somebody else has allocated: a hugetlbfs or
 * memfd file or anonymous hugetlb memory, mapped privately or shared. Proved
 * of it, page by page and without faulting anything in: it is hugetlb all
 * over, of one page size; every hugepage is mapped, on @node, and not one that
 * the first write would replace by a copy. Of KVM's memslots the same is
 * proved as by HPCVM_MEM_SLOT.
 *
 * The result is a slot like any other, for HPCVM_MEM_UNSLOT, HPCVM_MEM_VERIFY
 * and sysfs. It keeps neither the mapping nor a file: pages that go later (a
 * hole, a truncated file, an undone mapping, a fork) are not prevented from
 * going, but HPCVM_MEM_VERIFY says so. A page on its way to another node is
 * not there for that moment.
 *
 * Errors:
 *
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EINVAL: %HPCVM_REASON_PAD, %HPCVM_REASON_NODE, %HPCVM_REASON_SIZE_ZERO,
 *   %HPCVM_REASON_SIZE_ALIGN, %HPCVM_REASON_HVA_ALIGN,
 *   %HPCVM_REASON_GPA_ALIGN, %HPCVM_REASON_HVA_LIMIT,
 *   %HPCVM_REASON_GPA_LIMIT, %HPCVM_REASON_NOT_HUGETLB,
 *   %HPCVM_REASON_PAGE_SIZES, %HPCVM_REASON_NOT_PRESENT,
 *   %HPCVM_REASON_COPY_ON_WRITE, %HPCVM_REASON_WRONG_NODE,
 *   %HPCVM_REASON_KVM_UNCOVERED, %HPCVM_REASON_KVM_OTHER_MEMORY,
 *   %HPCVM_REASON_KVM_MISALIGNED, %HPCVM_REASON_KVM_READONLY.
 * - EEXIST: %HPCVM_REASON_SLOT_OVERLAP, %HPCVM_REASON_HVA_OVERLAP.
 * - ENOSPC: %HPCVM_REASON_SLOTS_FULL.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_mem_adopt {
	__u32 size;
	__u32 flags;
	__s32 node;
	__u32 pad0;
	__u64 gpa;
	__u64 hva;
	__u64 length;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MEM_ADOPT _IO(HPCVM_TYPE, HPCVM_CMD_MEM_ADOPT)

/**
 * struct hpcvm_mem_unslot - ioctl(HPCVM_MEM_UNSLOT), on a VM fd
 * @size: sizeof(struct hpcvm_mem_unslot).
 * @flags: must be 0.
 * @gpa: where the slot begins.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Forget a slot, and the promise that went with it. Neither KVM's memslots
 * nor the file change.
 *
 * Errors:
 *
 * - ENOENT: %HPCVM_REASON_SLOT_UNKNOWN.
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_mem_unslot {
	__u32 size;
	__u32 flags;
	__u64 gpa;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MEM_UNSLOT _IO(HPCVM_TYPE, HPCVM_CMD_MEM_UNSLOT)

/**
 * enum hpcvm_broken - a memory promise that does not hold now
 * @HPCVM_BROKEN_NO_RAM: the VM has no slot at all.
 * @HPCVM_BROKEN_ABSENT: pages of a slot are gone from its file or, if it is
 *	adopted, from the owner's address space.
 * @HPCVM_BROKEN_NODE: pages are on another NUMA node than promised.
 * @HPCVM_BROKEN_UNCOVERED: KVM has no memslot for RAM of a slot, not even one
 *	of SMM.
 * @HPCVM_BROKEN_OTHER_MEMORY: KVM's memslot maps other memory than the
 *	slot's, or maps its file privately, or read-only.
 * @HPCVM_BROKEN_SMALL: KVM may not map all of the RAM from
 *	%HPCVM_LEGACY_END up by hugepages (misaligned, or split).
 * @HPCVM_BROKEN_DIRTY_LOG: dirty logging is on for RAM: KVM writes it by 4K.
 * @HPCVM_BROKEN_4K: KVM maps more 4K pages than the legacy remainder has.
 * @HPCVM_BROKEN_SPLITS: nx_huge_pages has split hugepages since the VM was
 *	put in hpcvm's charge.
 * @HPCVM_BROKEN_COPY_ON_WRITE: pages of an adopted slot are no longer the
 *	owner's own: what the guest writes next goes to copies, if there are
 *	pages for them.
 * @HPCVM_BROKEN_POISON: hugepages have a memory error. The kernel may also
 *	take such a page away: then it is absent.
 */
enum hpcvm_broken {
	HPCVM_BROKEN_NO_RAM = 1 << 0,
	HPCVM_BROKEN_ABSENT = 1 << 1,
	HPCVM_BROKEN_NODE = 1 << 2,
	HPCVM_BROKEN_UNCOVERED = 1 << 3,
	HPCVM_BROKEN_OTHER_MEMORY = 1 << 4,
	HPCVM_BROKEN_SMALL = 1 << 5,
	HPCVM_BROKEN_DIRTY_LOG = 1 << 6,
	HPCVM_BROKEN_4K = 1 << 7,
	HPCVM_BROKEN_SPLITS = 1 << 8,
	HPCVM_BROKEN_COPY_ON_WRITE = 1 << 9,
	HPCVM_BROKEN_POISON = 1 << 10,
};

/**
 * enum hpcvm_slot_kind - where the pages of a slot are
 * @HPCVM_SLOT_FILE: in a file from HPCVM_MEM_CREATE (HPCVM_MEM_SLOT).
 * @HPCVM_SLOT_ADOPTED: in the owner's address space (HPCVM_MEM_ADOPT).
 */
enum hpcvm_slot_kind {
	HPCVM_SLOT_FILE = 0,
	HPCVM_SLOT_ADOPTED = 1,
};

/**
 * struct hpcvm_slot_report - one slot, as HPCVM_MEM_VERIFY sees it now
 * @gpa: where it begins.
 * @length: bytes.
 * @offset: where it begins in its file; 0 if it is adopted.
 * @page_size: of its hugepages, in bytes.
 * @node: the node promised, or %HPCVM_NODE_ANY.
 * @kind: &enum hpcvm_slot_kind.
 * @nodes: the nodes its pages are on, a bit each; bit 63 stands for node 63
 *	and all above.
 * @pages_present: hugepages that the file holds in this range or, if it is
 *	adopted, that the owner's page tables map.
 * @pages_off_node: of these, how many are not on @node.
 * @mapped_2m: 2 MiB entries of the owner's page tables that begin in this
 *	range, from %HPCVM_LEGACY_END up.
 * @mapped_1g: 1 GiB entries, likewise.
 * @kvm_bytes: bytes of this range, from %HPCVM_LEGACY_END up, that KVM's
 *	memslots map from these pages.
 * @kvm_small: bytes from %HPCVM_LEGACY_END up that KVM may not map huge, for
 *	the guest or for SMM; twice if for both.
 * @broken: bits of &enum hpcvm_broken.
 * @broken_gpa: the first GPA at which one of them was seen.
 */
struct hpcvm_slot_report {
	__u64 gpa;
	__u64 length;
	__u64 offset;
	__u64 page_size;
	__s32 node;
	__u32 kind;
	__u64 nodes;
	__u64 pages_present;
	__u64 pages_off_node;
	__u64 mapped_2m;
	__u64 mapped_1g;
	__u64 kvm_bytes;
	__u64 kvm_small;
	__u64 broken;
	__u64 broken_gpa;
};

/**
 * struct hpcvm_mem_verify - ioctl(HPCVM_MEM_VERIFY), on a VM fd or a handle
 * @size: sizeof(struct hpcvm_mem_verify).
 * @flags: must be 0.
 * @nr_slots: in: room in @slots, in entries; out: how many slots there are.
 *	Entries beyond the room are left out.
 * @slot_size: sizeof(struct hpcvm_slot_report) of the caller; a shorter or
 *	longer one than the module's gets what both know, zeroes beyond.
 *	Ignored if @nr_slots is 0.
 * @slots: where to write them, in order of GPA; ignored if @nr_slots is 0.
 * @ram_bytes: out: sum of the slots' lengths.
 * @nodes: out: the nodes their pages are on, as in &struct hpcvm_slot_report.
 * @kvm_pages_4k: out: 4K mappings that KVM holds for this VM now.
 * @kvm_pages_2m: out: 2M mappings.
 * @kvm_pages_1g: out: 1G mappings.
 * @kvm_pages_4k_ram: out: how many of @kvm_pages_4k can be RAM from
 *	%HPCVM_LEGACY_END up; 0 where the promise holds. An upper bound
 *	otherwise.
 * @kvm_pages_4k_legacy: out: the rest of @kvm_pages_4k.
 * @kvm_legacy_frames: out: 4K frames of all memslots that are not such RAM
 *	(RAM below %HPCVM_LEGACY_END, ROMs, BARs, SMM's view of them): the
 *	bound of @kvm_pages_4k_legacy.
 * @nx_lpage_splits: out: hugepages split by nx_huge_pages now.
 * @broken: out: bits of &enum hpcvm_broken; 0: every memory promise holds.
 * @broken_gpa: out: the first GPA at which one does not; 0 if that cannot
 *	be said.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Look at the VM's memory as it is now: the files, the owner's page tables,
 * KVM's memslots and KVM's counters. A promise that does not hold is no
 * error of this call; it is said in @broken.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_SLOT_SIZE: @slot_size is 0 (with @nr_slots not 0)
 *   or more than a page.
 * - ENODEV: on a handle: %HPCVM_REASON_VM_GONE; or the owner's address space
 *   is gone.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_mem_verify {
	__u32 size;
	__u32 flags;
	__u32 nr_slots;
	__u32 slot_size;
	__aligned_u64 slots;
	__u64 ram_bytes;
	__u64 nodes;
	__u64 kvm_pages_4k;
	__u64 kvm_pages_2m;
	__u64 kvm_pages_1g;
	__u64 kvm_pages_4k_ram;
	__u64 kvm_pages_4k_legacy;
	__u64 kvm_legacy_frames;
	__u64 nx_lpage_splits;
	__u64 broken;
	__u64 broken_gpa;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MEM_VERIFY _IO(HPCVM_TYPE, HPCVM_CMD_MEM_VERIFY)

/**
 * struct hpcvm_vcpu_attach - ioctl(HPCVM_VCPU_ATTACH), on a VM fd
 * @size: sizeof(struct hpcvm_vcpu_attach).
 * @flags: must be 0.
 * @vcpu_fd: the vCPU, from KVM_CREATE_VCPU of this VM.
 * @pad0: must be 0.
 * @run: where its kvm_run is mapped in the caller's address space.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Tell hpcvm which thread runs a vCPU: the calling one, so it is called from
 * there. From now on the vCPU is known by the id that KVM_CREATE_VCPU was
 * given. It stays attached until the VM ends; when its thread has ended,
 * another may attach it.
 *
 * Errors:
 *
 * - EBADF: %HPCVM_REASON_FD.
 * - EINVAL: %HPCVM_REASON_PAD, %HPCVM_REASON_NOT_VCPU, %HPCVM_REASON_RUN.
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EBUSY: %HPCVM_REASON_VCPU_ATTACHED, %HPCVM_REASON_THREAD_ATTACHED.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_vcpu_attach {
	__u32 size;
	__u32 flags;
	__s32 vcpu_fd;
	__u32 pad0;
	__aligned_u64 run;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_VCPU_ATTACH _IO(HPCVM_TYPE, HPCVM_CMD_VCPU_ATTACH)

/**
 * enum hpcvm_claim_flag - how a core is claimed
 * @HPCVM_CLAIM_SIBLING: share the core with vCPUs of the same VM that are
 *	claimed with this flag, one on each of its SMT siblings. Without it the
 *	siblings stay empty.
 * @HPCVM_CLAIM_LOCAL: refuse a core on another NUMA node than those that were
 *	promised for the VM's memory; where none was, any core is local.
 * @HPCVM_CLAIM_FIFO: during the claim the vCPU's thread is SCHED_FIFO with
 *	priority 1. Needs CAP_SYS_NICE, and a thread of SCHED_OTHER; it has that
 *	back, with its nice value, when the claim ends, unless somebody else has
 *	changed the policy meanwhile. Threads that it makes are SCHED_OTHER.
 *	Danger: while the guest runs, no ordinary task of the core does, the
 *	kernel's own threads and work that are bound to it included; who waits
 *	for these waits for the guest (Documentation/cores.rst).
 */
enum hpcvm_claim_flag {
	HPCVM_CLAIM_SIBLING = 1 << 0,
	HPCVM_CLAIM_LOCAL = 1 << 1,
	HPCVM_CLAIM_FIFO = 1 << 2,
};

/**
 * enum hpcvm_tick_mode - what becomes of a claimed core's scheduler tick
 * @HPCVM_TICK_AUTO: the best that this core and node allow. Only to ask for.
 * @HPCVM_TICK_KEPT: it stays as it is.
 * @HPCVM_TICK_NOHZ_FULL: the node was booted with nohz_full on this core; the
 *	kernel stops the tick by itself while one task runs there.
 * @HPCVM_TICK_THIN: while the vCPU alone runs there, in the guest, the next
 *	tick is put off, by a bounded time. To ask for it on a core booted with
 *	nohz_full gives that.
 */
enum hpcvm_tick_mode {
	HPCVM_TICK_AUTO = 0,
	HPCVM_TICK_KEPT = 1,
	HPCVM_TICK_NOHZ_FULL = 2,
	HPCVM_TICK_THIN = 3,
};

/**
 * enum hpcvm_tick_why - why a core's tick is not suppressed, or not better
 * @HPCVM_TICK_WHY_NONE: nothing stands in the way.
 * @HPCVM_TICK_WHY_ASKED: %HPCVM_TICK_KEPT was asked for.
 * @HPCVM_TICK_WHY_NOT_NOHZ_FULL: the core was not booted with nohz_full.
 * @HPCVM_TICK_WHY_THIN_OFF: the administrator has not switched thinning on
 *	(``cores/thin_ticks`` in sysfs).
 * @HPCVM_TICK_WHY_TSC: the node's TSC is unstable.
 * @HPCVM_TICK_WHY_PROBE: the kernel has no place for the probe of the tick.
 * @HPCVM_TICK_WHY_NO_KEEPER: no CPU is left that nobody has claimed, and that
 *	could do the node's duties.
 * @HPCVM_TICK_WHY_DUTY: it is thinned, but just now the core does a duty for
 *	the node (it keeps the time, or expires idle CPUs' timers), and so needs
 *	its tick. Where a group of CPUs, eight as a rule, is all claimed, one of
 *	them keeps it.
 */
enum hpcvm_tick_why {
	HPCVM_TICK_WHY_NONE = 0,
	HPCVM_TICK_WHY_ASKED = 1,
	HPCVM_TICK_WHY_NOT_NOHZ_FULL = 2,
	HPCVM_TICK_WHY_THIN_OFF = 3,
	HPCVM_TICK_WHY_TSC = 4,
	HPCVM_TICK_WHY_PROBE = 5,
	HPCVM_TICK_WHY_NO_KEEPER = 6,
	HPCVM_TICK_WHY_DUTY = 7,
};

/**
 * struct hpcvm_vcpu_claim - ioctl(HPCVM_VCPU_CLAIM), on a VM fd
 * @size: sizeof(struct hpcvm_vcpu_claim).
 * @flags: bits of &enum hpcvm_claim_flag.
 * @vcpu: an attached vCPU.
 * @cpu: the CPU to run it on, or %HPCVM_CPU_ANY.
 * @node: with %HPCVM_CPU_ANY: on this NUMA node, or %HPCVM_NODE_ANY; else
 *	must be %HPCVM_NODE_ANY.
 * @tick: &enum hpcvm_tick_mode.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Give a vCPU a core of its own: the whole core of @cpu, SMT siblings
 * included, belongs to it until HPCVM_VCPU_RELEASE, the end of its thread or
 * of the VM; no other vCPU of any VM gets any part of it. Its thread is moved
 * to @cpu and runs nowhere else. Only cores that the administrator has listed
 * can be claimed (``cores/claimable`` in sysfs); %HPCVM_CPU_ANY never takes
 * the core of CPU 0, listed or not.
 *
 * A vCPU that has a core moves to the new one: it owns the new one before the
 * old one is free, and keeps the old one if the call fails. Who sets the
 * thread's affinity to exactly one CPU of a free listed core moves the claim
 * with it, as if by this call; every other change of the affinity is put
 * back, and counted. The kernel takes the core back when a CPU goes offline.
 *
 * HPCVM_VCPU_STATS tells which core it is, and what became of its tick.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_CPU, %HPCVM_REASON_NODE, %HPCVM_REASON_TICK_MODE,
 *   %HPCVM_REASON_CORE_REMOTE.
 * - ENOENT: %HPCVM_REASON_VCPU_UNKNOWN.
 * - ESRCH: %HPCVM_REASON_VCPU_GONE.
 * - EPERM: %HPCVM_REASON_OTHER_MM, %HPCVM_REASON_CORE_NOT_LISTED,
 *   %HPCVM_REASON_CORE_LIMIT, %HPCVM_REASON_NOT_NICE.
 * - EBUSY: %HPCVM_REASON_CORE_OWNED, %HPCVM_REASON_CORES_TAKEN,
 *   %HPCVM_REASON_POLICY.
 * - EOPNOTSUPP: %HPCVM_REASON_TICK.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_vcpu_claim {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__s32 cpu;
	__s32 node;
	__u32 tick;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_VCPU_CLAIM _IO(HPCVM_TYPE, HPCVM_CMD_VCPU_CLAIM)

/**
 * struct hpcvm_vcpu_release - ioctl(HPCVM_VCPU_RELEASE), on a VM fd
 * @size: sizeof(struct hpcvm_vcpu_release).
 * @flags: must be 0.
 * @vcpu: an attached vCPU that has a core.
 * @pad0: must be 0.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Give the core back, with its tick. The vCPU's thread may run again where it
 * could before it had a core.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_PAD.
 * - ENOENT: %HPCVM_REASON_VCPU_UNKNOWN, %HPCVM_REASON_NO_CLAIM.
 * - EPERM: %HPCVM_REASON_OTHER_MM.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_vcpu_release {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__u32 pad0;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_VCPU_RELEASE _IO(HPCVM_TYPE, HPCVM_CMD_VCPU_RELEASE)

/**
 * define HPCVM_GAPS - classes of interruptions by how long they lasted
 *
 * Class n counts those of 2^n up to 2^(n+1) - 1 nanoseconds; the last one all
 * that were longer.
 */
#define HPCVM_GAPS 40

/**
 * enum hpcvm_stats_flag - what else HPCVM_VCPU_STATS shall do
 * @HPCVM_STATS_MARK: all of the VM's vCPUs are stopped, and are about to run:
 *	from now on @run_began_ns of &struct hpcvm_vcpu_stats is that of the
 *	next run. On a VM fd only.
 */
enum hpcvm_stats_flag {
	HPCVM_STATS_MARK = 1 << 0,
};

/**
 * struct hpcvm_vcpu_stats - ioctl(HPCVM_VCPU_STATS), on a VM fd or a handle
 * @size: sizeof(struct hpcvm_vcpu_stats).
 * @flags: bits of &enum hpcvm_stats_flag.
 * @vcpu: an attached vCPU.
 * @cpu: out: the CPU that it owns, or %HPCVM_CPU_ANY: none.
 * @node: out: the NUMA node of @cpu.
 * @claim: out: bits of &enum hpcvm_claim_flag that it was claimed with.
 * @tick: out: the &enum hpcvm_tick_mode that is active.
 * @tick_why: out: &enum hpcvm_tick_why.
 * @tid: out: its thread, in the caller's pid namespace; 0: it has ended.
 * @pad0: must be 0.
 * @memory_nodes: out: the nodes promised for the VM's memory, a bit each; bit
 *	63 stands for node 63 and all above.
 * @owned_ns: out: how long it has had this core. What follows counts from
 *	then on.
 * @timer_irqs: out: local timer interrupts of the core's CPU.
 * @all_irqs: out: all its interrupts: of devices, timers and other CPUs.
 * @preempted: out: how often another task was given the CPU though the vCPU
 *	wanted to run.
 * @preempted_ns: out: how long that lasted in all.
 * @preempted_longest_ns: out: the longest of them.
 * @slept: out: how often the thread waited by itself (a guest that halts does).
 * @gaps: out: the preemptions by their length.
 * @run_began_ns: out: when, by CLOCK_MONOTONIC, the thread came to its CPU to
 *	run the vCPU, first since the claim or the last %HPCVM_STATS_MARK; 0: it
 *	has not yet.
 * @run_ended_ns: out: when it left its CPU first after KVM_RUN had ended last;
 *	0: it has not yet. Of vCPUs that are stopped, this is when each has.
 * @migrations: out: how often the thread was taken to another CPU.
 * @drifts: out: changes of the thread's affinity that were put back.
 * @moves: out: how often the vCPU has come to another core since its first
 *	one; this one counts over all its cores.
 * @ticks_deferred: out: thinned: how often a tick was put off.
 * @ticks_restored: out: thinned: how often it was needed before its time.
 * @exits: out: exits from the guest since the vCPU was made, this and those
 *	that follow, as KVM counts them: all,
 * @exits_irq: out: for an interrupt of the CPU,
 * @exits_halt: out: by HLT,
 * @exits_io: out: for a port,
 * @exits_mmio: out: for memory of a device,
 * @exits_irq_window: out: to inject an interrupt,
 * @exits_signal: out: for a signal of the thread,
 * @exits_request: out: for a request of user space.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 * @guest_ns: out: how long, while somebody had a handle with %HPCVM_OPEN_TIMES
 *	open, it was in the guest,
 * @hypervisor_ns: out: in the kernel or in user space, on behalf of the guest,
 * @out_ns: out: and not on its CPU. These three are all of that time.
 *
 * What has happened to a vCPU on its core. Numbers are exact, but not all of
 * one moment. Interrupts are the kernel's own counts of the CPU, the ones in
 * /proc/interrupts.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_PAD; on a handle: %HPCVM_REASON_FLAGS for
 *   %HPCVM_STATS_MARK.
 * - ENOENT: %HPCVM_REASON_VCPU_UNKNOWN.
 * - ENODEV: on a handle: %HPCVM_REASON_VM_GONE.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_vcpu_stats {
	__u32 size;
	__u32 flags;
	__u32 vcpu;
	__s32 cpu;
	__s32 node;
	__u32 claim;
	__u32 tick;
	__u32 tick_why;
	__u32 tid;
	__u32 pad0;
	__u64 memory_nodes;
	__u64 owned_ns;
	__u64 timer_irqs;
	__u64 all_irqs;
	__u64 preempted;
	__u64 preempted_ns;
	__u64 preempted_longest_ns;
	__u64 slept;
	__u64 gaps[HPCVM_GAPS];
	__u64 run_began_ns;
	__u64 run_ended_ns;
	__u64 migrations;
	__u64 drifts;
	__u64 moves;
	__u64 ticks_deferred;
	__u64 ticks_restored;
	__u64 exits;
	__u64 exits_irq;
	__u64 exits_halt;
	__u64 exits_io;
	__u64 exits_mmio;
	__u64 exits_irq_window;
	__u64 exits_signal;
	__u64 exits_request;
	__u32 reason;
	__u32 pad;
	__u64 detail;
	__u64 guest_ns;
	__u64 hypervisor_ns;
	__u64 out_ns;
};

#define HPCVM_VCPU_STATS _IO(HPCVM_TYPE, HPCVM_CMD_VCPU_STATS)

/**
 * define HPCVM_MONITOR_SLOTS_MAX - how many slots one monitor can have
 */
#define HPCVM_MONITOR_SLOTS_MAX (1 << 20)

/**
 * struct hpcvm_monitor_create - ioctl(HPCVM_MONITOR_CREATE), on the device
 * @size: sizeof(struct hpcvm_monitor_create).
 * @flags: must be 0.
 * @slots: how many ranges it can watch at a time; up to
 *	%HPCVM_MONITOR_SLOTS_MAX.
 * @out_fd: out: the monitor fd, close-on-exec.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Make a monitor of the caller's address space. Its memory, about 100 bytes a
 * slot, is charged to the caller's memory cgroup now; watching takes no more.
 * mmap() of the fd, from its beginning and read-only, gives the array of
 * generations: 8 bytes for each slot, and 8 before them. The monitor lives as
 * long as the fd or the mapping.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_MONITOR_SLOTS.
 * - EPERM: %HPCVM_REASON_MONITOR_LIMIT.
 */
struct hpcvm_monitor_create {
	__u32 size;
	__u32 flags;
	__u32 slots;
	__s32 out_fd;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MONITOR_CREATE _IO(HPCVM_TYPE, HPCVM_CMD_MONITOR_CREATE)

/**
 * enum hpcvm_watch_flag - how a range is watched
 * @HPCVM_WATCH_SINCE: not from now on, but since as many invalidations of the
 *	address space had ended as @ended of &struct hpcvm_monitor_watch says.
 */
enum hpcvm_watch_flag {
	HPCVM_WATCH_SINCE = 1 << 0,
};

/**
 * struct hpcvm_monitor_watch - ioctl(HPCVM_MONITOR_WATCH), on a monitor
 * @size: sizeof(struct hpcvm_monitor_watch).
 * @flags: bits of &enum hpcvm_watch_flag.
 * @addr: where the range begins.
 * @length: bytes; changes are noticed page by page.
 * @ended: in: with %HPCVM_WATCH_SINCE: what an earlier call has said here, or 0:
 *	since the monitor was made; out: how many invalidations of the address
 *	space have ended since then.
 * @slot: out: the range's slot, from 1 up.
 * @pad0: must be 0.
 * @cookie: out: what the slot's word in the array is until the range changes.
 *	Never 0.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Watch a range of the address space, mapped or not; ranges may overlap. If an
 * invalidation of the range runs, it is waited for first. The slot is taken
 * until HPCVM_MONITOR_UNWATCH, changed or not.
 *
 * A cache that registers first and watches then would miss what changes in
 * between. With %HPCVM_WATCH_SINCE it does not: such a watch is refused if an
 * invalidation of the range has ended since @ended. Who keeps @ended of one call
 * for the next one, and begins no registration before that one returns, misses
 * nothing. The module knows the last 256 invalidations; what is further back
 * counts as a change.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_PAD, %HPCVM_REASON_SIZE_ZERO,
 *   %HPCVM_REASON_HVA_LIMIT.
 * - EPERM: %HPCVM_REASON_MONITOR_MM.
 * - ENOSPC: %HPCVM_REASON_WATCHES_FULL.
 * - EAGAIN: %HPCVM_REASON_WATCH_LATE; detail is the next @ended.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_monitor_watch {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__u64 ended;
	__u32 slot;
	__u32 pad0;
	__u64 cookie;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MONITOR_WATCH _IO(HPCVM_TYPE, HPCVM_CMD_MONITOR_WATCH)

/**
 * enum hpcvm_change - what has changed a watched range, as the kernel calls it
 * @HPCVM_CHANGE_NONE: nothing has.
 * @HPCVM_CHANGE_UNMAP: it was unmapped, or mapped over: munmap(), mremap(),
 *	mmap() with MAP_FIXED.
 * @HPCVM_CHANGE_CLEAR: pages were taken out or replaced: MADV_DONTNEED and its
 *	kin, a hole or a truncation of the file, copy on write, migration,
 *	reclaim, a transparent hugepage that was made or split, KSM.
 * @HPCVM_CHANGE_PROTECT: mprotect(), userfaultfd's write protection, NUMA
 *	balancing.
 * @HPCVM_CHANGE_PROTECT_PAGE: fork() has made pages copy-on-write, or KSM.
 * @HPCVM_CHANGE_SOFT_DIRTY: somebody has begun to ask which pages are written
 *	(/proc/PID/clear_refs).
 * @HPCVM_CHANGE_MIGRATE: pages moved to the memory of a device, or back.
 * @HPCVM_CHANGE_EXCLUSIVE: a device has taken pages for itself.
 * @HPCVM_CHANGE_END: the address space has ended.
 * @HPCVM_CHANGE_OTHER: something that this module does not know.
 *
 * Kernels differ in what they call an event: a hole in a hugetlb file is an
 * unmapping on 6.1, moving hugepages by mremap() a clearing on all. It is for
 * statistics; that a range has changed does not depend on it.
 */
enum hpcvm_change {
	HPCVM_CHANGE_NONE = 0,
	HPCVM_CHANGE_UNMAP = 1,
	HPCVM_CHANGE_CLEAR = 2,
	HPCVM_CHANGE_PROTECT = 3,
	HPCVM_CHANGE_PROTECT_PAGE = 4,
	HPCVM_CHANGE_SOFT_DIRTY = 5,
	HPCVM_CHANGE_MIGRATE = 6,
	HPCVM_CHANGE_EXCLUSIVE = 7,
	HPCVM_CHANGE_END = 8,
	HPCVM_CHANGE_OTHER = 9,
};

/**
 * define HPCVM_CHANGES - room for counts by &enum hpcvm_change
 */
#define HPCVM_CHANGES 16

/**
 * struct hpcvm_monitor_unwatch - ioctl(HPCVM_MONITOR_UNWATCH), on a monitor
 * @size: sizeof(struct hpcvm_monitor_unwatch).
 * @flags: must be 0.
 * @slot: from HPCVM_MONITOR_WATCH.
 * @pad0: must be 0.
 * @cookie: from HPCVM_MONITOR_WATCH.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * End a watch. Its slot's word is 0 from now on, until the slot is given to
 * another range; an event of it that nobody has read will not be read.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_PAD.
 * - ENOENT: %HPCVM_REASON_WATCH_UNKNOWN.
 * - EPERM: %HPCVM_REASON_MONITOR_MM.
 */
struct hpcvm_monitor_unwatch {
	__u32 size;
	__u32 flags;
	__u32 slot;
	__u32 pad0;
	__u64 cookie;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MONITOR_UNWATCH _IO(HPCVM_TYPE, HPCVM_CMD_MONITOR_UNWATCH)

/**
 * struct hpcvm_monitor_stats - ioctl(HPCVM_MONITOR_STATS), on a monitor
 * @size: sizeof(struct hpcvm_monitor_stats).
 * @flags: must be 0.
 * @slots: out: how many slots there are,
 * @taken: out: how many of them have a watch.
 * @watches: out: calls of HPCVM_MONITOR_WATCH that have succeeded,
 * @waited: out: and how many of them waited for an invalidation.
 * @late: out: calls that were refused for %HPCVM_REASON_WATCH_LATE.
 * @invalidations: out: what the kernel has told of the whole address space,
 * @ended: out: and how many of these have ended.
 * @changes: out: watches that have changed, by &enum hpcvm_change.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * What has happened since the monitor was made. Anybody who has the fd may ask.
 * Errors: the general ones only.
 */
struct hpcvm_monitor_stats {
	__u32 size;
	__u32 flags;
	__u32 slots;
	__u32 taken;
	__u64 watches;
	__u64 waited;
	__u64 late;
	__u64 invalidations;
	__u64 ended;
	__u64 changes[HPCVM_CHANGES];
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_MONITOR_STATS _IO(HPCVM_TYPE, HPCVM_CMD_MONITOR_STATS)

/**
 * struct hpcvm_pin - ioctl(HPCVM_PIN), on the device
 * @size: sizeof(struct hpcvm_pin).
 * @flags: must be 0.
 * @addr: where the memory begins, a multiple of 4 KiB.
 * @length: bytes, a multiple of 4 KiB.
 * @out_fd: out: a dma-buf fd, close-on-exec.
 * @pad0: must be 0.
 * @segments: out: of how many physically contiguous pieces it is; none is over
 *	4 GiB less 4 KiB.
 * @reason: out: &enum hpcvm_reason.
 * @pad: must be 0.
 * @detail: out: see @reason.
 *
 * Pin memory of the caller's once, for long, and for writing, and give it to drivers
 * that import dma-bufs: ibv_reg_dmabuf_mr() and the like register it without another
 * look at the caller's page tables, as often as is wanted. A hugepage of hugetlbfs is
 * pinned once. Guest memory of hpcvm's is pinned through its mapping, as any other.
 *
 * It counts against RLIMIT_MEMLOCK, each page once a pin, whoever holds it then;
 * CAP_IPC_LOCK lifts that limit.
 *
 * The dma-buf is of the pages that are there now. It is revoked when the address space
 * puts others in their place (munmap(), mremap(), MADV_DONTNEED, a hole in the file
 * and the like) or ends: importers that can let go are told to, and mapping it anew
 * fails with ENODEV. Changes of protection and fork() leave it as it is. What an
 * importer still has of it stays pinned, and counted, until it lets go
 * (``pins/revoked_bytes`` in sysfs). In memory of small pages the kernel may revoke it
 * though nothing has changed, when it tries to move a page and then finds it pinned;
 * hugetlb memory is not moved.
 *
 * Errors:
 *
 * - EINVAL: %HPCVM_REASON_PAD, %HPCVM_REASON_SIZE_ZERO, %HPCVM_REASON_SIZE_ALIGN,
 *   %HPCVM_REASON_HVA_ALIGN, %HPCVM_REASON_HVA_LIMIT, %HPCVM_REASON_PIN_ADDR.
 * - ENOMEM: %HPCVM_REASON_PIN_LIMIT.
 * - EINTR: %HPCVM_REASON_INTERRUPTED: a fatal signal came.
 */
struct hpcvm_pin {
	__u32 size;
	__u32 flags;
	__u64 addr;
	__u64 length;
	__s32 out_fd;
	__u32 pad0;
	__u64 segments;
	__u32 reason;
	__u32 pad;
	__u64 detail;
};

#define HPCVM_PIN _IO(HPCVM_TYPE, HPCVM_CMD_PIN)

/**
 * struct hpcvm_monitor_event - what read() of a monitor returns
 * @slot: the watch's.
 * @change: &enum hpcvm_change: what has changed its range first.
 * @cookie: the watch's.
 * @addr: as it was watched.
 * @length: as it was watched.
 *
 * read() fails with EINVAL where not even one fits, EAGAIN where none is there
 * and the fd is non-blocking, EPERM in another address space, EFAULT where it
 * cannot write (the events are still there then).
 */
struct hpcvm_monitor_event {
	__u32 slot;
	__u32 change;
	__u64 cookie;
	__u64 addr;
	__u64 length;
};

#endif /* _UAPI_LINUX_HPCVM_H */
