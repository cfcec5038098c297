/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libhpcvm: /dev/hpcvm from C.
 *
 * One function an ioctl, nothing hidden: every function takes the fd it works on
 * and returns 0 or a new fd, or a negative errno. Only a monitor, which is memory
 * that is looked at without a call, is an object of its own.
 * Where it returns an error and was given a struct hpcvm_error, that says
 * which rule was broken, and hpcvm_explain() makes a sentence of it.
 *
 * All functions may be called from any number of threads.
 */
#ifndef HPCVM_H
#define HPCVM_H

#include <stddef.h>
#include <stdint.h>
#include <linux/hpcvm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HPCVM_DEVICE "/dev/hpcvm"
#define HPCVM_SYSFS "/sys/class/misc/hpcvm"

/* Room that is enough for any sentence of hpcvm_explain(). */
#define HPCVM_SENTENCE_MAX 512

/**
 * struct hpcvm_error - why a call failed
 * @err: the errno, positive; 0: it did not fail.
 * @cmd: which call (HPCVM_CMD_*).
 * @reason: enum hpcvm_reason; 0 if the module gave none.
 * @node: the NUMA node asked for, or HPCVM_NODE_ANY.
 * @detail: see enum hpcvm_reason.
 * @page_size: the page size asked for, in bytes, or 0.
 * @pages: how many pages were asked for, or 0.
 */
struct hpcvm_error {
	int err;
	uint32_t cmd;
	uint32_t reason;
	int32_t node;
	uint64_t detail;
	uint64_t page_size;
	uint64_t pages;
};

/**
 * hpcvm_explain() - turn an error into one sentence
 * @error: from a call that failed.
 * @buf: where to write it, zero-terminated.
 * @len: room in @buf; HPCVM_SENTENCE_MAX is always enough.
 *
 * The sentence says what is missing and, where one command helps, names it.
 * It has no newline and no full stop at its end.
 *
 * Return: @buf.
 */
const char *hpcvm_explain(const struct hpcvm_error *error, char *buf, size_t len);

/**
 * hpcvm_broken_next() - walk the broken promises of a verification
 * @broken: bits of enum hpcvm_broken; the one returned is cleared.
 *
 * Return: a sentence without a full stop, or NULL when none is left. A bit
 * that this library does not know yet gives "an unknown promise is broken".
 */
const char *hpcvm_broken_next(uint64_t *broken);

/**
 * hpcvm_open() - open the device
 * @error: if not NULL, why it failed.
 *
 * Return: an fd, close-on-exec. -ENOENT: the module is not loaded; -EACCES:
 * the caller is not in group kvm.
 */
int hpcvm_open(struct hpcvm_error *error);

/**
 * hpcvm_query() - HPCVM_QUERY
 * @fd: any hpcvm fd.
 * @query: filled in.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_query(int fd, struct hpcvm_query *query, struct hpcvm_error *error);

/**
 * hpcvm_vm_create() - HPCVM_VM_CREATE
 * @dev: from hpcvm_open().
 * @kvm_fd: the KVM VM.
 * @uuid: 16 bytes, or NULL.
 * @name: the domain's name, or NULL; cut to what fits, and what is not
 *	printable ASCII becomes '?'.
 * @id: if not NULL, the VM's id.
 * @error: if not NULL, why it failed.
 *
 * Return: the VM fd.
 */
int hpcvm_vm_create(int dev, int kvm_fd, const uint8_t *uuid, const char *name,
		    uint64_t *id, struct hpcvm_error *error);

/**
 * hpcvm_vm_open() - HPCVM_VM_OPEN
 * @dev: from hpcvm_open().
 * @id: the VM's id.
 * @error: if not NULL, why it failed.
 *
 * Return: a read-only handle.
 */
int hpcvm_vm_open(int dev, uint64_t id, struct hpcvm_error *error);

/**
 * hpcvm_vm_open_flags() - hpcvm_vm_open() with all its choices
 * @dev: from hpcvm_open().
 * @id: the VM's id.
 * @flags: bits of enum hpcvm_open_flag.
 * @error: if not NULL, why it failed.
 *
 * Return: a read-only handle.
 */
int hpcvm_vm_open_flags(int dev, uint64_t id, uint32_t flags, struct hpcvm_error *error);

/**
 * hpcvm_mem_create() - HPCVM_MEM_CREATE, placed
 * @dev: from hpcvm_open().
 * @length: bytes.
 * @page_size: bytes: 2 MiB or 1 GiB.
 * @node: NUMA node or HPCVM_NODE_ANY.
 * @error: if not NULL, why it failed.
 *
 * Draws a reservation if there is one that fits; else takes fresh pages. Binds
 * the calling thread's memory policy to @node for the length of the call (the
 * kernel takes pages by it), blocks its signals, and puts both back. Fresh
 * pages take as long as zeroing takes.
 *
 * Return: the memory's fd.
 */
int hpcvm_mem_create(int dev, uint64_t length, uint64_t page_size, int node,
		     struct hpcvm_error *error);

/**
 * hpcvm_mem_take() - hpcvm_mem_create() with all its choices
 * @dev: from hpcvm_open().
 * @length: bytes.
 * @page_size: bytes: 2 MiB or 1 GiB.
 * @node: NUMA node or HPCVM_NODE_ANY.
 * @flags: bits of enum hpcvm_mem_flag.
 * @reservation: if not NULL, the id of the reservation drawn; 0: fresh pages.
 * @error: if not NULL, why it failed.
 *
 * Return: the memory's fd; with HPCVM_MEM_PREPARE that of an empty file for
 * hpcvm_reserve_park(), which is populated by reading.
 */
int hpcvm_mem_take(int dev, uint64_t length, uint64_t page_size, int node,
		   uint32_t flags, uint64_t *reservation, struct hpcvm_error *error);

/**
 * hpcvm_mem_slot() - HPCVM_MEM_SLOT
 * @vm: VM fd.
 * @mem_fd: from hpcvm_mem_create().
 * @node: NUMA node promised to the guest, or HPCVM_NODE_ANY.
 * @gpa: where the guest sees it.
 * @offset: where it begins in the file.
 * @length: bytes.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_mem_slot(int vm, int mem_fd, int node, uint64_t gpa, uint64_t offset,
		   uint64_t length, struct hpcvm_error *error);

/**
 * hpcvm_mem_adopt() - HPCVM_MEM_ADOPT
 * @vm: VM fd.
 * @node: NUMA node promised to the guest, or HPCVM_NODE_ANY.
 * @gpa: where the guest sees it.
 * @memory: hugetlb memory of this process, every page of it written to.
 * @length: bytes.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_mem_adopt(int vm, int node, uint64_t gpa, const void *memory,
		    uint64_t length, struct hpcvm_error *error);

/**
 * hpcvm_mem_unslot() - HPCVM_MEM_UNSLOT
 * @vm: VM fd.
 * @gpa: where the slot begins.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_mem_unslot(int vm, uint64_t gpa, struct hpcvm_error *error);

/**
 * hpcvm_mem_verify() - HPCVM_MEM_VERIFY
 * @vm: VM fd or handle.
 * @verify: filled in.
 * @slots: room for the slots' reports, or NULL.
 * @nr_slots: how many; @verify says how many there are.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_mem_verify(int vm, struct hpcvm_mem_verify *verify,
		     struct hpcvm_slot_report *slots, uint32_t nr_slots,
		     struct hpcvm_error *error);

/* For hpcvm_reserve_park(): not for one uid (gid) only. */
#define HPCVM_RESERVE_ANYONE (-1)

/**
 * hpcvm_reserve_park() - HPCVM_RESERVE_PARK
 * @dev: from hpcvm_open().
 * @mem_fd: from hpcvm_mem_take() with HPCVM_MEM_PREPARE, populated, not mapped.
 * @node: NUMA node its pages are on, or HPCVM_NODE_ANY.
 * @uid: who may draw it, or HPCVM_RESERVE_ANYONE.
 * @gid: members of which group may draw it, or HPCVM_RESERVE_ANYONE.
 * @id: if not NULL, the reservation's id.
 * @error: if not NULL, why it failed.
 *
 * Close @mem_fd afterwards: what anybody has a hold on is not drawn.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_reserve_park(int dev, int mem_fd, int node, int64_t uid, int64_t gid,
		       uint64_t *id, struct hpcvm_error *error);

/**
 * hpcvm_reserve_drop() - HPCVM_RESERVE_DROP
 * @dev: from hpcvm_open().
 * @id: the reservation's id.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_reserve_drop(int dev, uint64_t id, struct hpcvm_error *error);

/**
 * hpcvm_vcpu_attach() - HPCVM_VCPU_ATTACH, from the vCPU's own thread
 * @vm: VM fd.
 * @vcpu_fd: the KVM vCPU.
 * @run: its kvm_run.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_vcpu_attach(int vm, int vcpu_fd, const void *run, struct hpcvm_error *error);

/**
 * hpcvm_vcpu_claim() - HPCVM_VCPU_CLAIM
 * @vm: VM fd.
 * @vcpu: KVM's id of an attached vCPU.
 * @cpu: CPU, or HPCVM_CPU_ANY.
 * @node: with HPCVM_CPU_ANY: of this NUMA node, or HPCVM_NODE_ANY; else
 *	HPCVM_NODE_ANY.
 * @flags: bits of enum hpcvm_claim_flag.
 * @tick: what shall become of the core's tick.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_vcpu_claim(int vm, uint32_t vcpu, int cpu, int node, uint32_t flags,
		     enum hpcvm_tick_mode tick, struct hpcvm_error *error);

/**
 * hpcvm_vcpu_release() - HPCVM_VCPU_RELEASE
 * @vm: VM fd.
 * @vcpu: KVM's id of an attached vCPU.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_vcpu_release(int vm, uint32_t vcpu, struct hpcvm_error *error);

/**
 * hpcvm_vcpu_stats() - HPCVM_VCPU_STATS
 * @vm: VM fd or handle.
 * @vcpu: KVM's id of an attached vCPU.
 * @stats: filled in.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_vcpu_stats(int vm, uint32_t vcpu, struct hpcvm_vcpu_stats *stats,
		     struct hpcvm_error *error);

/**
 * hpcvm_vcpu_mark() - HPCVM_VCPU_STATS with %HPCVM_STATS_MARK
 * @vm: VM fd.
 * @vcpu: KVM's id of an attached vCPU, which is stopped and is about to run.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_vcpu_mark(int vm, uint32_t vcpu, struct hpcvm_error *error);

/**
 * DOC: Is a cached registration still valid?
 *
 * A monitor watches ranges of the address space that has opened it. If the pages
 * behind a watched range may have changed, its generation has changed before the
 * system call that changed them returns. Never a missed change; false ones are
 * allowed.
 */
struct hpcvm_monitor;

/**
 * struct hpcvm_watch - a watched range
 * @word: where its generation stands.
 * @cookie: what that is as long as the range is as it was.
 * @slot: for hpcvm_monitor_unwatch().
 *
 * A cache keeps it beside the registration. It is filled in once and only read
 * then, so threads may share it.
 */
struct hpcvm_watch {
	const uint64_t *word;
	uint64_t cookie;
	uint32_t slot;
};

/**
 * hpcvm_watch_holds() - is the range as it was when it was watched?
 * @watch: from hpcvm_monitor_watch(), not yet unwatched.
 *
 * No system call: one load with acquire semantics and a comparison. What the
 * caller does next, such as to hand the registration to a device, is not done
 * before the look. A change that some other thread makes at this very moment
 * may be missed by it, as by any look: it is the program's own race, and that
 * thread's system call has not returned. A change that has happened before, in
 * this thread or in one that this thread has synchronised with, is always seen.
 *
 * Once it is false it stays so. After fork() it is false in the child.
 *
 * Return: non-zero if it is.
 */
static inline int hpcvm_watch_holds(const struct hpcvm_watch *watch)
{
	return __atomic_load_n(watch->word, __ATOMIC_ACQUIRE) == watch->cookie;
}

/**
 * hpcvm_monitor_open() - a monitor of the calling process
 * @slots: how many ranges it can watch at a time.
 * @monitor: the new monitor.
 * @error: if not NULL, why it failed.
 *
 * Needs the device, and no KVM. fork() is looked after by pthread_atfork(): in
 * the child no watch holds, and nothing can be watched. A child made by a bare
 * clone system call without CLONE_VM must not look: it has no such memory.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_monitor_open(uint32_t slots, struct hpcvm_monitor **monitor, struct hpcvm_error *error);

/**
 * hpcvm_monitor_close() - end a monitor and all its watches
 * @monitor: from hpcvm_monitor_open(), or NULL. Nobody uses it any more, nor any
 *	struct hpcvm_watch of it.
 */
void hpcvm_monitor_close(struct hpcvm_monitor *monitor);

/**
 * hpcvm_monitor_fd() - its fd, to poll
 * @monitor: from hpcvm_monitor_open().
 *
 * Return: the fd; it is readable when hpcvm_monitor_read() has something.
 */
int hpcvm_monitor_fd(const struct hpcvm_monitor *monitor);

/**
 * hpcvm_monitor_sequence() - a number that grows when any watch changes
 * @monitor: from hpcvm_monitor_open().
 *
 * Who has looked at all watches and finds it unchanged since before that need
 * not look again.
 *
 * Return: the sequence, loaded with acquire semantics.
 */
uint64_t hpcvm_monitor_sequence(const struct hpcvm_monitor *monitor);

/**
 * hpcvm_monitor_watch() - HPCVM_MONITOR_WATCH
 * @monitor: from hpcvm_monitor_open().
 * @addr: where the range begins.
 * @length: bytes.
 * @watch: filled in.
 * @error: if not NULL, why it failed.
 *
 * Watch first, register then, and look when the registration is done: if the
 * watch does not hold any more, unregister and begin again.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_monitor_watch(struct hpcvm_monitor *monitor, const void *addr, size_t length,
			struct hpcvm_watch *watch, struct hpcvm_error *error);

/**
 * hpcvm_monitor_watch_since() - HPCVM_MONITOR_WATCH with %HPCVM_WATCH_SINCE
 * @monitor: from hpcvm_monitor_open().
 * @addr: where the range begins.
 * @length: bytes.
 * @ended: in: from the call before, in which it was 0 the first time; out: for the
 *	next one, also where this one is refused.
 * @watch: filled in.
 * @error: if not NULL, why it failed.
 *
 * For a cache that registers first and watches then. If the range has changed since
 * @ended was given out, it is refused with -EAGAIN: the registration may be of pages
 * that are gone, and must not be kept. Nothing is missed if the registration was
 * begun after the call that has given out @ended.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_monitor_watch_since(struct hpcvm_monitor *monitor, const void *addr, size_t length,
			      uint64_t *ended, struct hpcvm_watch *watch,
			      struct hpcvm_error *error);

/**
 * hpcvm_monitor_unwatch() - HPCVM_MONITOR_UNWATCH
 * @monitor: from hpcvm_monitor_open().
 * @watch: of hpcvm_monitor_watch(), whether it holds or not. It never holds
 *	again.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_monitor_unwatch(struct hpcvm_monitor *monitor, const struct hpcvm_watch *watch,
			  struct hpcvm_error *error);

/**
 * hpcvm_monitor_read() - which watches have changed
 * @monitor: from hpcvm_monitor_open().
 * @events: filled in, one for each watch that has changed and was not read yet.
 * @max: room in @events.
 *
 * Does not wait.
 *
 * Return: how many; 0: none; or a negative errno.
 */
int hpcvm_monitor_read(struct hpcvm_monitor *monitor, struct hpcvm_monitor_event *events, int max);

/**
 * hpcvm_monitor_stats() - HPCVM_MONITOR_STATS
 * @monitor: from hpcvm_monitor_open().
 * @stats: filled in.
 * @error: if not NULL, why it failed.
 *
 * Return: 0 or a negative errno.
 */
int hpcvm_monitor_stats(struct hpcvm_monitor *monitor, struct hpcvm_monitor_stats *stats,
			struct hpcvm_error *error);

/**
 * hpcvm_pin() - HPCVM_PIN
 * @dev: from hpcvm_open().
 * @addr: where the memory begins, a multiple of 4 KiB.
 * @length: bytes, a multiple of 4 KiB.
 * @segments: if not NULL, of how many contiguous pieces it is.
 * @error: if not NULL, why it failed.
 *
 * For ibv_reg_dmabuf_mr() and its like, which can register it again and again without
 * pinning anything. It is revoked when the memory at these addresses changes: a
 * registration cache watches them as well (hpcvm_monitor_watch()).
 *
 * Return: a dma-buf fd, or a negative errno.
 */
int hpcvm_pin(int dev, void *addr, size_t length, uint64_t *segments, struct hpcvm_error *error);

#ifdef __cplusplus
}
#endif

#endif /* HPCVM_H */
