/* SPDX-License-Identifier: GPL-2.0-only */
/* The table of resources: where each kind stands, and how many there are. */
#ifndef TABLE_H
#define TABLE_H

#include <errno.h>
#include <stdatomic.h>
#include "fuzz.h"

#define MIB2 0x200000UL
#define PAGE 0x1000UL
#define FDS 32
#define IDS 6
#define CHILDREN 8
#define OWN 100		/* fds below this one are the fuzzer's own */
#define SYSFS "/sys/class/misc/hpcvm/"

/* Ranges of addresses that programs map into, each wide enough for 1 GiB pages. */
#define ARENAS 4
#define ARENA_SIZE 0x80000000UL
#define ARENA(i) (0x100000000000UL + (i) * ARENA_SIZE)

/* Where the struct of an ioctl can be. */
enum { PLAIN, AT_THE_END, CUT, READ_ONLY, NOWHERE, SHARED, IN_ARENA, WHERES };

struct table {
	_Atomic int fd[FDS];
	_Atomic uint64_t vm_id[IDS], reservation[IDS], watch[IDS], cookie[IDS];
	_Atomic pid_t child[CHILDREN];
	atomic_int children;
	int zero;
	char *shared;		/* a page that structs of several threads lie in */
};

extern struct table table;

/* An errno from what a system call returns. */
static inline int result(long value)
{
	return value < 0 ? errno : 0;
}

int fd_of(uint64_t place);
void put_fd(uint64_t place, int fd);
void kill_children(void);
void table_init(void);
void table_reset(void);

struct places {
	int first, nr;
};

/* The places of a kind of fd, or of a new one. */
static inline struct places places_of(enum kind kind)
{
	switch (kind) {
	case DEV: case NEW_DEV: return (struct places){ 0, 2 };
	case VM: case NEW_VM: return (struct places){ 2, 4 };
	case HANDLE: case NEW_HANDLE: return (struct places){ 6, 3 };
	case KVM: case NEW_KVM: return (struct places){ 9, 3 };
	case VCPU: case NEW_VCPU: return (struct places){ 12, 2 };
	case MEM: case NEW_MEM: return (struct places){ 14, 8 };
	case HUGE: case NEW_HUGE: return (struct places){ 22, 3 };
	case OTHER: case NEW_OTHER: return (struct places){ 25, 3 };
	case MONITOR: case NEW_MONITOR: return (struct places){ 28, 3 };
	default: return (struct places){ 0, FDS };
	}
}

#endif
