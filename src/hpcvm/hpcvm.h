/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the objects of hpcvm.ko know of each other: functions, never fields.
 *
 *	main -> node, vm, vcpu, reserve, monitor   the device and its ioctls
 *	vm   -> slot, verify -> look -> memory, kvm, pagetable
 *	vm   -> watch -> verify
 *	vcpu -> core, fifo, account, quiet who owns which core, and what disturbs it
 *	vm, vcpu -> times -> core          where its time goes, for who asks
 *	vcpu -> tick -> thin -> migrator   how the core's tick is thinned
 *	tick -> keeper -> core, thin       and of what it did for the node
 *	reserve -> memory
 *	monitor -> generation              what a registration cache is told
 *	pin                                memory that is registered by its dma-buf
 *
 * Locks, outermost first:
 *
 *	vms_lock (vm.c)         the list of VMs
 *	vm->lock                one VM's slots, and whether it has ended
 *	kvm->srcu               KVM's memslots (kvm.c)
 *	mm->mmap_lock           the owner's mappings
 *	mapping->i_mmap_rwsem   the owner's page tables of one file
 *	watched->lock           who watches, and what was seen last (watch.c)
 *
 * below vm->lock also:
 *
 *	cores_lock (core.c)     who owns which core
 *	cpu_hotplug_lock        which CPUs are online
 *
 * and, on its own:
 *
 *	reservations_lock (reserve.c)   the list of reservations
 *	inode lock                      a file's size, flags and owner
 *	monitors_lock (monitor.c)       the list of monitors
 *	monitor->lock (raw)             one monitor's watches
 *	pins_lock (pin.c)               the list of pins
 *	dma-buf's resv                  who holds a pin; pin->lock (raw): its state
 *
 * No memory of user space is touched under any of them, and mmap_lock is
 * never waited for once the VM is ending: either could make whoever closes
 * the VM fd wait for as long as a hostile owner likes.
 */
#ifndef HPCVM_H
#define HPCVM_H

#include <linux/list.h>
#include <linux/mmu_notifier.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/hpcvm.h>

struct attribute;
struct cpumask;
struct file;
struct hstate;
struct kobject;
struct kvm;
struct kvm_memory_slot;
struct kvm_vcpu;
struct mm_struct;
struct poll_table_struct;
struct path;
struct reservation;
struct task_struct;
struct tracepoint;

struct hpcvm_monitor;
struct hpcvm_vm;
struct hpcvm_watch;

/**
 * struct hpcvm_call - one ioctl on its way through the module
 * @cmd: the kernel's copy of the caller's struct.
 * @vm: the VM of the fd; NULL on the device.
 * @watch: the fd's; NULL on the device.
 * @monitor: the fd's, if it is one.
 * @owner: the fd is the VM fd itself, not a handle.
 * @reason: enum hpcvm_reason.
 * @detail: belongs to @reason.
 * @new_file: the file that a successful call leaves behind.
 * @new_fd: where the new fd stands in @cmd.
 * @settle: if not NULL, hears whether a call has succeeded whose handler has;
 *	if not, it undoes it.
 * @reservation: reserve.c's: it comes or goes with this call.
 *
 * A handler that makes an fd leaves the file in @new_file and the place for
 * its number in @new_fd; the dispatcher writes all results and installs the
 * fd only then, so a caller whose memory cannot be written keeps nothing.
 */
struct hpcvm_call {
	void *cmd;
	struct hpcvm_vm *vm;
	struct hpcvm_watch *watch;
	struct hpcvm_monitor *monitor;
	bool owner;
	u32 reason;
	u64 detail;
	struct file *new_file;
	s32 *new_fd;
	void (*settle)(struct hpcvm_call *call, bool done);
	struct reservation *reservation;
};

/* Refuse a call: remember why, return the errno. */
static inline int hpcvm_refuse(struct hpcvm_call *call, int err, u32 reason, u64 detail)
{
	call->reason = reason;
	call->detail = detail;
	return err;
}

/* Can these be addresses of a process? */
static inline int hpcvm_check_range(struct hpcvm_call *call, u64 addr, u64 length)
{
	if (!length)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	if (addr > TASK_SIZE_MAX || length > TASK_SIZE_MAX - addr)
		return hpcvm_refuse(call, -EINVAL, HPCVM_REASON_HVA_LIMIT, TASK_SIZE_MAX);
	return 0;
}

/* main.c */
long hpcvm_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long hpcvm_handle_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long hpcvm_monitor_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* node.c: what this node can do */
int hpcvm_query(struct hpcvm_call *call);
bool hpcvm_node_valid(s32 node);

/* vm.c: the VM object and its fds */
void hpcvm_vms_init(struct kobject *device);
void hpcvm_vms_exit(void);
int hpcvm_vm_create(struct hpcvm_call *call);
int hpcvm_vm_open(struct hpcvm_call *call);
u64 hpcvm_vm_id(const struct hpcvm_vm *vm);
kuid_t hpcvm_vm_uid(const struct hpcvm_vm *vm);
struct kvm *hpcvm_vm_kvm(const struct hpcvm_vm *vm);
u64 hpcvm_vm_splits(const struct hpcvm_vm *vm);
struct hpcvm_slots *hpcvm_vm_slots(struct hpcvm_vm *vm);
struct hpcvm_vcpus *hpcvm_vm_vcpus(struct hpcvm_vm *vm);
struct hpcvm_watched *hpcvm_vm_watched(struct hpcvm_vm *vm);
int hpcvm_vm_check_own(struct hpcvm_call *call);
int hpcvm_vm_lock(struct hpcvm_call *call);
int hpcvm_vm_lock_own(struct hpcvm_call *call);
bool hpcvm_vm_trylock(struct hpcvm_vm *vm);
void hpcvm_vm_unlock(struct hpcvm_vm *vm);
bool hpcvm_vm_ended(const struct hpcvm_vm *vm);

/* look.c: does a piece of guest RAM keep its promise? */

/**
 * struct hpcvm_ram - a piece of guest RAM, and where its pages are
 * @gpa: where the guest sees it.
 * @length: bytes.
 * @page_size: of its hugepages.
 * @node: the NUMA node promised, or HPCVM_NODE_ANY.
 * @file: a file of ours; NULL: it is adopted.
 * @offset: where it begins in @file; 0 if it is adopted.
 * @hva: adopted: where it begins in the owner's address space; else 0.
 */
struct hpcvm_ram {
	u64 gpa;
	u64 length;
	u64 page_size;
	s32 node;
	struct file *file;
	u64 offset;
	u64 hva;
};

static inline u64 hpcvm_ram_end(const struct hpcvm_ram *ram)
{
	return ram->gpa + ram->length;
}

u64 hpcvm_ram_huge_from(const struct hpcvm_ram *ram);
u64 hpcvm_ram_mapped_by(unsigned long hva);
int hpcvm_ram_check(struct hpcvm_call *call, const struct hpcvm_ram *ram);
int hpcvm_ram_look(const struct hpcvm_vm *vm, const struct hpcvm_ram *ram,
		   struct mm_struct *mm, struct hpcvm_slot_report *report);

/* slot.c: which memory is which range of guest RAM */
#define HPCVM_SLOTS_MAX 64

/* The slots of one VM, in order of GPA. All of it is under vm->lock. */
struct hpcvm_slots {
	struct list_head list;
	struct kobject *dir;
	u32 nr;
};

int hpcvm_slots_init(struct hpcvm_slots *slots, struct kobject *vm);
void hpcvm_slots_drop(struct hpcvm_slots *slots);
int hpcvm_mem_slot(struct hpcvm_call *call);
int hpcvm_mem_adopt(struct hpcvm_call *call);
int hpcvm_mem_unslot(struct hpcvm_call *call);
int hpcvm_slots_look(struct hpcvm_vm *vm, struct mm_struct *mm,
		     struct hpcvm_slot_report *reports);
u64 hpcvm_slots_nodes(const struct hpcvm_slots *slots);
u64 hpcvm_slots_overlap(const struct hpcvm_slots *slots, u64 gpa, u64 end);

/* verify.c: does the memory promise hold now? */
int hpcvm_mem_verify(struct hpcvm_call *call);
int hpcvm_verify_state(struct hpcvm_vm *vm);

/* memory.c: hugetlb files from the node's pools */
int hpcvm_memory_init(void);
void hpcvm_memory_exit(void);
int hpcvm_memory_check(struct hpcvm_call *call);
struct file *hpcvm_memory_fresh(struct hpcvm_call *call);
struct file *hpcvm_memory_prepare(struct hpcvm_call *call);
bool hpcvm_memory_prepared(struct file *file);
struct file *hpcvm_memory_hand_out(const struct path *path);
void hpcvm_memory_take_back(const struct path *path);
struct hstate *hpcvm_memory_hstate(struct file *file);
bool hpcvm_memory_has(u64 page_size);
u64 hpcvm_memory_free(u64 page_size);

/**
 * struct hpcvm_file_look - what a range of a hugetlb file holds
 * @present: hugepages that are there.
 * @off_node: of these, on another node than asked.
 * @held: of these, not the file's alone: mapped, pinned, in a pipe.
 * @nodes: nodes they are on, a bit each, bit 63 for all from there up.
 * @absent_at: file offset of the first hole; U64_MAX if there is none.
 * @off_node_at: file offset of the first page on another node; U64_MAX.
 * @poison_at: file offset of the first page with a memory error; U64_MAX.
 */
struct hpcvm_file_look {
	u64 present;
	u64 off_node;
	u64 held;
	u64 nodes;
	u64 absent_at;
	u64 off_node_at;
	u64 poison_at;
};

void hpcvm_memory_look(struct file *file, u64 offset, u64 length, s32 node,
		       struct hpcvm_file_look *look);

/* reserve.c: memory that was prepared before anybody asks for it */
void hpcvm_reserve_init(struct kobject *device);
void hpcvm_reserve_exit(void);
int hpcvm_mem_create(struct hpcvm_call *call);
int hpcvm_reserve_park(struct hpcvm_call *call);
int hpcvm_reserve_drop(struct hpcvm_call *call);

/* kvm.c: what KVM says of a VM; nothing of KVM is linked */

/**
 * struct hpcvm_kvm_pages - KVM's own counters of one VM
 * @pages: mappings it holds by size: 4K, 2M, 1G.
 * @splits: hugepages that nx_huge_pages has split and not yet mended.
 * @shadow: it shadows page tables of the guest (nested guests, or no nested
 *	paging): these mappings follow the guest's page sizes, not ours.
 */
struct hpcvm_kvm_pages {
	u64 pages[3];
	u64 splits;
	bool shadow;
};

/**
 * struct hpcvm_kvm_glance - what costs nothing to read, and changes when KVM
 *	begins to map RAM in another way
 * @generations: of the memslots; each change of one, its flags too, is a new
 *	one.
 * @splits: as in struct hpcvm_kvm_pages.
 * @pages_4k: a power of two that the number of 4K mappings has reached.
 */
struct hpcvm_kvm_glance {
	u64 generations;
	u64 splits;
	u64 pages_4k;
};

/* KVM's address spaces: of the guest, and of the firmware in SMM. */
enum {
	HPCVM_AS_GUEST = 0,
	HPCVM_AS_SMM = 1,
};

typedef int (*hpcvm_kvm_slot_fn)(const struct kvm_memory_slot *ms, void *arg);

bool hpcvm_file_is_kvm_vm(struct file *file);
bool hpcvm_file_is_kvm_vcpu(struct file *file, const struct kvm *kvm);
void hpcvm_kvm_exits(const struct kvm_vcpu *vcpu, struct hpcvm_vcpu_stats *stats);
u64 hpcvm_kvm_nr_exits(const struct kvm_vcpu *vcpu);
bool hpcvm_kvm_is_inside(const struct kvm_vcpu *vcpu);
struct kvm *hpcvm_kvm_of(struct file *file);
void hpcvm_kvm_count(struct kvm *kvm, struct hpcvm_kvm_pages *count);
void hpcvm_kvm_glance(struct kvm *kvm, struct hpcvm_kvm_glance *glance);
int hpcvm_kvm_each_slot(struct kvm *kvm, int as_id, u64 gpa, u64 end,
			hpcvm_kvm_slot_fn fn, void *arg);
void hpcvm_kvm_each_slot_all(struct kvm *kvm, void (*fn)(const struct kvm_memory_slot *, void *),
			     void *arg);
bool hpcvm_kvm_small(const struct kvm_memory_slot *ms, u64 gpa);

/* pagetable.c: what the host page tables map */

/**
 * struct hpcvm_entry - a present entry of the host page tables
 * @node: the NUMA node of its page.
 * @own: what is written goes to this page, not to a copy of it.
 */
struct hpcvm_entry {
	int node;
	bool own;
};

u64 hpcvm_pagetable_look(struct mm_struct *mm, unsigned long addr, struct hpcvm_entry *entry);

/* watch.c: a broken promise is an event */

/**
 * struct hpcvm_state - how a VM's memory stands
 * @broken: bits of enum hpcvm_broken.
 * @pages: hugepages that are there.
 */
struct hpcvm_state {
	u64 broken;
	u64 pages;
};

/* The VM's side of all watches on it; only watch.c looks inside. */
struct hpcvm_watched {
	struct hpcvm_vm *vm;
	struct mmu_notifier notifier;
	int marks;			/* looks that the owner's changes call for */
	struct delayed_work work;	/* alone uses the next two */
	struct hpcvm_kvm_glance glance;
	int periods;
	wait_queue_head_t wait;
	spinlock_t lock;		/* what follows, and each fd's side */
	unsigned int polls;
	bool ended;
	struct hpcvm_state now;
};

int hpcvm_watch_init(void);
void hpcvm_watch_exit(void);
int hpcvm_watched_init(struct hpcvm_watched *watched, struct hpcvm_vm *vm);
void hpcvm_watched_end(struct hpcvm_watched *watched);
void hpcvm_watched_seen(struct hpcvm_watched *watched, const struct hpcvm_state *now);
struct hpcvm_watch *hpcvm_watch_new(struct hpcvm_vm *vm);
void hpcvm_watch_free(struct hpcvm_watch *watch);
struct hpcvm_vm *hpcvm_watch_vm(const struct hpcvm_watch *watch);
void hpcvm_watch_told(struct hpcvm_watch *watch, const struct hpcvm_state *state);
__poll_t hpcvm_watch_poll(struct file *file, struct poll_table_struct *table);

/* core.c: which cores can be claimed, and who owns which */

/**
 * struct hpcvm_claim - a vCPU's side of who owns which core
 * @cpu: the CPU that it runs on, of the core that it owns; HPCVM_CPU_ANY: it
 *	owns none.
 * @flags: bits of enum hpcvm_claim_flag.
 * @vcpu: KVM's id of it.
 * @vm_id: its VM's.
 * @uid: its VM's owner.
 */
struct hpcvm_claim {
	int cpu;
	u32 flags;
	u32 vcpu;
	u64 vm_id;
	kuid_t uid;
};

void hpcvm_cores_init(struct kobject *device);
void hpcvm_cores_exit(void);
int hpcvm_cores_lock(void);
void hpcvm_cores_lock_always(void);
void hpcvm_cores_unlock(void);
int hpcvm_core_find(struct hpcvm_call *call, const struct hpcvm_claim *claim, int cpu, int node);
void hpcvm_core_own(struct hpcvm_claim *claim, int cpu);

bool hpcvm_core_is_owned(int cpu);

/* fifo.c: claims that no ordinary task comes before */
int hpcvm_fifo_check(struct hpcvm_call *call, const struct task_struct *task);
void hpcvm_fifo_on(struct task_struct *task);
void hpcvm_fifo_off(struct task_struct *task);

/* probe.c: tracepoints by their names */

/**
 * struct hpcvm_probe - a function to be called at a tracepoint
 * @name: the tracepoint's.
 * @fn: the function, as the tracepoint wants it.
 * @tp: the tracepoint, once it was found.
 */
struct hpcvm_probe {
	const char *name;
	void *fn;
	struct tracepoint *tp;
};

bool hpcvm_probes_find(struct hpcvm_probe *probes, int nr);
int hpcvm_probes_place(struct hpcvm_probe *probes, int nr);
void hpcvm_probes_remove(struct hpcvm_probe *probes, int nr);

/* account.c: what happens to a vCPU on its core */

/**
 * struct hpcvm_account - what the scheduler has done to a task on a CPU
 * @task: the task.
 * @kvm: the vCPU that it runs.
 * @cpu: the CPU.
 * @opened: when; this and all other times in ns of the monotonic clock.
 * @timer_irqs: the CPU's count of them when the account was opened.
 * @all_irqs: likewise.
 * @came: when the task came to the CPU last,
 * @left: and when it left.
 * @inside: it was in KVM_RUN then.
 * @exits: the vCPU's count of them then.
 * @run_began: when the task came to the CPU to run the vCPU, first since the
 *	last mark.
 * @run_ended: when it left the CPU first after KVM_RUN had ended last.
 * @wanted: it would not have, by itself.
 * @preempted: how often that was so.
 * @preempted_ns: how long in all.
 * @longest: how long at most.
 * @slept: how often it left by itself.
 * @migrations: how often it was taken to another CPU,
 * @ours: unless by us.
 * @gaps: how often for how long (HPCVM_GAPS).
 *
 * From @came on it is written on @cpu alone, with its run queue locked; but for
 * @run_began, which a mark clears.
 */
struct hpcvm_account {
	struct task_struct *task;
	const struct kvm_vcpu *kvm;
	int cpu;
	u64 opened;
	u32 timer_irqs;
	u64 all_irqs;
	u64 came;
	u64 left;
	bool inside;
	u64 exits;
	u64 run_began;
	u64 run_ended;
	bool wanted;
	u64 preempted;
	u64 preempted_ns;
	u64 longest;
	u64 slept;
	u64 migrations;
	bool ours;
	u64 gaps[HPCVM_GAPS];
};

int hpcvm_accounts_start(void);
void hpcvm_accounts_stop(void);
void hpcvm_account_open(struct hpcvm_account *a, struct task_struct *task,
			const struct kvm_vcpu *kvm, int cpu);
void hpcvm_account_close(struct hpcvm_account *a);
void hpcvm_account_mark(struct hpcvm_account *a);
void hpcvm_account_ours(struct hpcvm_account *a, bool ours);
void hpcvm_account_read(const struct hpcvm_account *a, struct hpcvm_vcpu_stats *stats);

/* times.c: where a vCPU's time on its core goes */
int hpcvm_times_ask(void);
void hpcvm_times_unask(void);
void hpcvm_times_begin(int cpu, struct task_struct *task);
void hpcvm_times_end(int cpu);
void hpcvm_times_read(int cpu, struct hpcvm_vcpu_stats *stats);

/* quiet.c: what else disturbs a claimed core */
extern const struct attribute *hpcvm_quiet_attrs[];

bool hpcvm_quiet_settle(void);
void hpcvm_quiet_exit(void);

/* tick.c: what becomes of a claimed core's tick */

/**
 * struct hpcvm_thin_counts - what has become of the ticks of a thinned CPU
 * @deferred: how often one was put off.
 * @restored: how often it was needed before its time.
 * @refused: ticks in the guest after which none was put off.
 */
struct hpcvm_thin_counts {
	u64 deferred;
	u64 restored;
	u64 refused;
};

/**
 * struct hpcvm_tick - the tick of a claimed core
 * @cpu: the vCPU's.
 * @asked: enum hpcvm_tick_mode: what was asked for.
 * @mode: enum hpcvm_tick_mode: what it is.
 * @why: enum hpcvm_tick_why: why it is nothing better.
 * @seen: when hpcvm_tick_settle() looked last.
 * @tries: how often the core was freed of its duties in vain.
 * @waited: seconds since.
 * @keepers: hpcvm_keepers_changes() then.
 */
struct hpcvm_tick {
	int cpu;
	u32 asked;
	u32 mode;
	u32 why;
	struct hpcvm_thin_counts seen;
	unsigned int tries;
	unsigned int waited;
	unsigned int keepers;
};

extern const struct attribute *hpcvm_tick_attrs[];

const struct cpumask *hpcvm_tick_thinned(void);
void hpcvm_tick_open(void);
void hpcvm_tick_close(bool none_claimed);
int hpcvm_tick_choose(struct hpcvm_call *call, int cpu, u32 asked, struct hpcvm_tick *tick);
void hpcvm_tick_prepare(const struct hpcvm_tick *tick);
void hpcvm_tick_begin(const struct hpcvm_tick *tick, struct task_struct *task);
void hpcvm_tick_end(const struct hpcvm_tick *tick);
bool hpcvm_tick_settle(struct hpcvm_tick *tick, struct cpumask *idle);
unsigned int hpcvm_tick_idle_ms(const struct hpcvm_tick *tick);
void hpcvm_tick_read(const struct hpcvm_tick *tick, struct hpcvm_vcpu_stats *stats);

/* thin.c: put ticks off */
int hpcvm_thin_start(void);
void hpcvm_thin_stop(void);
void hpcvm_thin_on(int cpu, struct task_struct *task);
void hpcvm_thin_off(int cpu);
void hpcvm_thin_poke(int cpu);
void hpcvm_thin_help(int cpu);
void hpcvm_thin_read(int cpu, struct hpcvm_thin_counts *counts);
unsigned long hpcvm_thin_missed(void);
u64 hpcvm_thin_max_defer(void);
void hpcvm_thin_set_max_defer(u64 ns);

/* migrator.c: which CPU expires the timers of idle ones */
int hpcvm_migrator_start(void);
void hpcvm_migrator_stop(void);
bool hpcvm_migrator_is_free(int cpu);
bool hpcvm_migrator_can_pass(int cpu, struct cpumask *idle);
bool hpcvm_migrator_apart(int a, int b);

/* keeper.c: CPUs that do the node's duties for thinned ones */
int hpcvm_keeper_of(int core);
void hpcvm_keepers_settle(void);
unsigned int hpcvm_keepers_changes(void);

/* vcpu.c: which thread runs which vCPU, and on which core of its own */

/* The vCPUs of one VM, under vm->lock. */
struct hpcvm_vcpus {
	struct list_head list;
	struct kobject *dir;
};

int hpcvm_vcpu_init(void);
void hpcvm_vcpu_exit(void);
int hpcvm_vcpus_init(struct hpcvm_vcpus *vcpus, struct kobject *vm);
void hpcvm_vcpus_drop(struct hpcvm_vcpus *vcpus);
void hpcvm_vcpus_kick(void);
int hpcvm_vcpu_attach(struct hpcvm_call *call);
int hpcvm_vcpu_claim(struct hpcvm_call *call);
int hpcvm_vcpu_release(struct hpcvm_call *call);
int hpcvm_vcpu_stats(struct hpcvm_call *call);

/* monitor.c: is a cached registration still valid? */
void hpcvm_monitors_init(struct kobject *device);
void hpcvm_monitors_exit(void);
int hpcvm_monitor_create(struct hpcvm_call *call);

/* generation.c: what it watches */
int hpcvm_monitor_watch(struct hpcvm_call *call);
int hpcvm_monitor_unwatch(struct hpcvm_call *call);
int hpcvm_monitor_stats(struct hpcvm_call *call);

/* pin.c: memory that is registered by its dma-buf */
void hpcvm_pins_init(struct kobject *device);
void hpcvm_pins_exit(void);
int hpcvm_pin(struct hpcvm_call *call);

#endif
