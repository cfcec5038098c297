/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * All ioctls, for the tests that try the same on each: what it is called, its
 * struct, the last field of the struct's first published version, the fds it
 * works on, the flags it knows.
 *
 * uapi-ioctls.h is made from the uapi header (selftests/Makefile): one name a line.
 * An ioctl without an entry here does not compile.
 */
#ifndef IOCTLS_H
#define IOCTLS_H

#define IOCTLS(DEF)								\
	DEF(HPCVM_QUERY, hpcvm_query, detail, DEVICE | VM | HANDLE | MONITOR, 0)	\
	DEF(HPCVM_VM_CREATE, hpcvm_vm_create, detail, DEVICE, 0)		\
	DEF(HPCVM_VM_OPEN, hpcvm_vm_open, detail, DEVICE, HPCVM_OPEN_TIMES)	\
	DEF(HPCVM_MEM_CREATE, hpcvm_mem_create, detail, DEVICE,			\
	    HPCVM_MEM_FRESH | HPCVM_MEM_PREPARE)				\
	DEF(HPCVM_MEM_SLOT, hpcvm_mem_slot, detail, VM, 0)			\
	DEF(HPCVM_MEM_UNSLOT, hpcvm_mem_unslot, detail, VM, 0)			\
	DEF(HPCVM_MEM_ADOPT, hpcvm_mem_adopt, detail, VM, 0)			\
	DEF(HPCVM_MEM_VERIFY, hpcvm_mem_verify, detail, VM | HANDLE, 0)		\
	DEF(HPCVM_RESERVE_PARK, hpcvm_reserve_park, detail, DEVICE,		\
	    HPCVM_RESERVE_UID | HPCVM_RESERVE_GID)				\
	DEF(HPCVM_RESERVE_DROP, hpcvm_reserve_drop, detail, DEVICE, 0)		\
	DEF(HPCVM_VCPU_ATTACH, hpcvm_vcpu_attach, detail, VM, 0)		\
	DEF(HPCVM_VCPU_CLAIM, hpcvm_vcpu_claim, detail, VM,			\
	    HPCVM_CLAIM_SIBLING | HPCVM_CLAIM_LOCAL | HPCVM_CLAIM_FIFO)		\
	DEF(HPCVM_VCPU_RELEASE, hpcvm_vcpu_release, detail, VM, 0)		\
	DEF(HPCVM_VCPU_STATS, hpcvm_vcpu_stats, detail, VM | HANDLE, HPCVM_STATS_MARK) \
	DEF(HPCVM_MONITOR_CREATE, hpcvm_monitor_create, detail, DEVICE, 0)	\
	DEF(HPCVM_MONITOR_WATCH, hpcvm_monitor_watch, detail, MONITOR,	\
	    HPCVM_WATCH_SINCE)							\
	DEF(HPCVM_MONITOR_UNWATCH, hpcvm_monitor_unwatch, detail, MONITOR, 0)	\
	DEF(HPCVM_MONITOR_STATS, hpcvm_monitor_stats, detail, MONITOR, 0)	\
	DEF(HPCVM_PIN, hpcvm_pin, detail, DEVICE, 0)

/* Kinds of fd: as bits in the table, as indices in a test. */
enum { DEVICE = 1, VM = 2, HANDLE = 4, MONITOR = 8 };
enum { ON_DEVICE, ON_VM, ON_HANDLE, ON_MONITOR, KINDS };

static const struct ioctl_def {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	uint32_t min_size;
	uint32_t verdict;	/* where it stands */
	uint32_t on;		/* kinds of fd */
	uint32_t flags;		/* that it knows */
} defs[] = {
#define DEF(_cmd, _struct, _last, _on, _flags) { #_cmd, _cmd, sizeof(struct _struct),	\
	offsetof(struct _struct, _last) + sizeof(((struct _struct *)0)->_last),		\
	offsetof(struct _struct, reason), _on, _flags },
	IOCTLS(DEF)
#undef DEF
};

#define for_each_def(def) for (def = defs; def < defs + sizeof(defs) / sizeof(defs[0]); def++)
#define for_each_kind(def, kind) for (kind = 0; kind < KINDS; kind++) if ((def)->on & 1u << (kind))

enum {
#define DEF(_cmd, ...) HAS_##_cmd,
	IOCTLS(DEF)
#undef DEF
	NR_IOCTLS
};

#define UAPI(_cmd) HAS_##_cmd,
static const int in_uapi[] = {
#include "uapi-ioctls.h"
};
_Static_assert(sizeof(in_uapi) / sizeof(in_uapi[0]) == NR_IOCTLS,
	       "this table has an entry that the uapi header has not");

#endif
