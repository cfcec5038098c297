// SPDX-License-Identifier: GPL-2.0-only
/*
 * libhpcvm's calls against a fake module: what each sends, what each makes
 * of the answer, and that hpcvm_mem_create() leaves the thread as it was.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/mempolicy.h>

#include "fake.h"
#include "hpcvm.h"
#include "tap.h"

#define MIB (1ULL << 20)
#define WORDS 16

static unsigned int cmd_seen;
static int fd_seen, calls, fail_with, eintrs;
static unsigned char got[1024];

struct policy {
	int err, mode;
	unsigned long nodes[WORDS];
};
static struct policy during;
static sigset_t blocked;

static struct policy policy(void)
{
	struct policy p = { 0 };

	if (syscall(SYS_get_mempolicy, &p.mode, p.nodes, WORDS * 64 + 1UL, NULL, 0UL))
		p.err = errno;
	return p;
}

/* What a struct looks like from its end: reason, pad, detail; two have grown since. */
static void refuse(unsigned int cmd, void *s, size_t size, uint32_t reason, uint64_t detail)
{
	if (cmd == HPCVM_CMD_MEM_CREATE)
		size = offsetof(struct hpcvm_mem_create, out_reservation);
	if (cmd == HPCVM_CMD_VCPU_STATS)
		size = offsetof(struct hpcvm_vcpu_stats, guest_ns);
	memcpy((char *)s + size - 16, &reason, 4);
	memcpy((char *)s + size - 8, &detail, 8);
}

static int module(int fd, unsigned int cmd, void *arg)
{
	uint32_t size = *(uint32_t *)arg;

	calls++;
	fd_seen = fd;
	cmd_seen = cmd;
	memcpy(got, arg, size);
	during = policy();
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (eintrs > 0) {
		eintrs--;
		refuse(cmd, arg, size, HPCVM_REASON_INTERRUPTED, 9);
		return EINTR;
	}
	if (fail_with) {
		refuse(cmd, arg, size, HPCVM_REASON_FLAGS, 0x123456789ULL);
		return fail_with;
	}
	switch (cmd) {
	case HPCVM_CMD_QUERY:
		((struct hpcvm_query *)arg)->free_2m = 5;
		break;
	case HPCVM_CMD_VM_CREATE:
		((struct hpcvm_vm_create *)arg)->out_fd = 41;
		((struct hpcvm_vm_create *)arg)->out_id = 1ULL << 40;
		break;
	case HPCVM_CMD_VM_OPEN:
		((struct hpcvm_vm_open *)arg)->out_fd = 42;
		break;
	case HPCVM_CMD_MEM_CREATE:
		((struct hpcvm_mem_create *)arg)->out_fd = 43;
		((struct hpcvm_mem_create *)arg)->out_reservation = 1ULL << 41;
		break;
	case HPCVM_CMD_RESERVE_PARK:
		((struct hpcvm_reserve_park *)arg)->out_id = 1ULL << 42;
		break;
	case HPCVM_CMD_VCPU_STATS:
		((struct hpcvm_vcpu_stats *)arg)->cpu = 3;
		break;
	case HPCVM_CMD_MEM_VERIFY:
		((struct hpcvm_mem_verify *)arg)->ram_bytes = 6;
		break;
	}
	return 0;
}

#define GOT(type) ((struct hpcvm_##type *)got)

static void vm(void)
{
	static const uint8_t uuid[16] = "0123456789abcdef";
	struct hpcvm_error e;
	struct hpcvm_query q;
	uint64_t id = 0;
	char name[200];

	memset(&q, 0xff, sizeof(q));
	ok(!hpcvm_query(7, &q, &e) && q.free_2m == 5 && fd_seen == 7 && !e.err &&
	   GOT(query)->size == sizeof(q) && !GOT(query)->features, "query");

	ok(hpcvm_vm_create(7, 8, uuid, "demo", &id, &e) == 41 && id == 1ULL << 40 &&
	   GOT(vm_create)->kvm_fd == 8 && !memcmp(GOT(vm_create)->uuid, uuid, 16) &&
	   !strcmp(GOT(vm_create)->name, "demo") && cmd_seen == HPCVM_CMD_VM_CREATE, "vm_create");
	ok(hpcvm_vm_create(7, 8, NULL, NULL, NULL, NULL) == 41 && !*GOT(vm_create)->name &&
	   !*GOT(vm_create)->uuid, "vm_create without uuid, name, id, error");

	hpcvm_vm_create(7, 8, NULL, "a\nb\x1b[31m\x7f\xc3\xa9", NULL, NULL);
	ok(!strcmp(GOT(vm_create)->name, "a?b?[31m???"), "what is not printable ASCII becomes ?");

	memset(name, 'n', sizeof(name));
	name[63] = 0;
	hpcvm_vm_create(7, 8, NULL, name, NULL, NULL);
	ok(!strcmp(GOT(vm_create)->name, name), "a name of 63 bytes fits");
	name[63] = 'n';
	name[199] = 0;
	hpcvm_vm_create(7, 8, NULL, name, NULL, NULL);
	ok(strlen(GOT(vm_create)->name) == 63, "a longer one is cut");

	ok(hpcvm_vm_open(7, 99, &e) == 42 && GOT(vm_open)->id == 99 && !GOT(vm_open)->flags,
	   "vm_open");
	ok(hpcvm_vm_open_flags(7, 98, HPCVM_OPEN_TIMES, &e) == 42 && GOT(vm_open)->id == 98 &&
	   GOT(vm_open)->flags == HPCVM_OPEN_TIMES, "vm_open_flags");
}

static void memory(void)
{
	struct hpcvm_slot_report slots[3];
	struct hpcvm_mem_verify v;
	struct hpcvm_error e;

	ok(hpcvm_mem_slot(9, 10, 1, 2, 3, 4, &e) == 0 && GOT(mem_slot)->mem_fd == 10 &&
	   GOT(mem_slot)->node == 1 && GOT(mem_slot)->gpa == 2 && GOT(mem_slot)->offset == 3 &&
	   GOT(mem_slot)->length == 4, "mem_slot");
	ok(hpcvm_mem_adopt(9, 1, 2, (void *)3, 4, &e) == 0 && GOT(mem_adopt)->node == 1 &&
	   GOT(mem_adopt)->gpa == 2 && GOT(mem_adopt)->hva == 3 && GOT(mem_adopt)->length == 4,
	   "mem_adopt");
	ok(hpcvm_mem_unslot(9, 2, NULL) == 0 && GOT(mem_unslot)->gpa == 2, "mem_unslot");
	ok(!hpcvm_mem_verify(9, &v, slots, 3, &e) && v.ram_bytes == 6 &&
	   GOT(mem_verify)->nr_slots == 3 && GOT(mem_verify)->slot_size == sizeof(slots[0]) &&
	   GOT(mem_verify)->slots == (uintptr_t)slots, "mem_verify");
	ok(!hpcvm_mem_verify(9, &v, NULL, 3, &e) && !GOT(mem_verify)->nr_slots &&
	   !GOT(mem_verify)->slot_size, "mem_verify without slots");
}

static void reservations(void)
{
	struct hpcvm_error e;
	uint64_t id = 0;

	ok(hpcvm_mem_take(7, 4 * MIB, 2 * MIB, HPCVM_NODE_ANY, HPCVM_MEM_PREPARE, &id, &e) == 43 &&
	   id == 1ULL << 41 && GOT(mem_create)->flags == HPCVM_MEM_PREPARE &&
	   GOT(mem_create)->length == 4 * MIB && GOT(mem_create)->page_size == 2 * MIB, "mem_take");
	ok(hpcvm_mem_create(7, 4 * MIB, 2 * MIB, HPCVM_NODE_ANY, &e) == 43 &&
	   !GOT(mem_create)->flags, "mem_create has no flags");
	ok(!hpcvm_reserve_park(7, 8, 1, 1000, HPCVM_RESERVE_ANYONE, &id, &e) && id == 1ULL << 42 &&
	   GOT(reserve_park)->flags == HPCVM_RESERVE_UID && GOT(reserve_park)->uid == 1000 &&
	   !GOT(reserve_park)->gid && GOT(reserve_park)->mem_fd == 8 &&
	   GOT(reserve_park)->node == 1, "reserve_park for a uid");
	ok(!hpcvm_reserve_park(7, 8, 1, 0, 4294967294LL, NULL, NULL) &&
	   GOT(reserve_park)->flags == (HPCVM_RESERVE_UID | HPCVM_RESERVE_GID) &&
	   GOT(reserve_park)->gid == 4294967294U, "reserve_park for root and a gid");
	ok(!hpcvm_reserve_park(7, 8, 1, HPCVM_RESERVE_ANYONE, HPCVM_RESERVE_ANYONE, NULL, NULL) &&
	   !GOT(reserve_park)->flags && !GOT(reserve_park)->uid, "reserve_park for anyone");
	ok(!hpcvm_reserve_drop(7, 99, &e) && GOT(reserve_drop)->id == 99, "reserve_drop");
}

static void vcpus(void)
{
	struct hpcvm_vcpu_stats s;
	struct hpcvm_error e;

	ok(!hpcvm_vcpu_attach(9, 10, (void *)0x3000, &e) && GOT(vcpu_attach)->vcpu_fd == 10 &&
	   GOT(vcpu_attach)->run == 0x3000, "vcpu_attach");
	ok(!hpcvm_vcpu_claim(9, 1, HPCVM_CPU_ANY, 1, HPCVM_CLAIM_LOCAL, HPCVM_TICK_THIN, &e) &&
	   GOT(vcpu_claim)->vcpu == 1 && GOT(vcpu_claim)->cpu == HPCVM_CPU_ANY &&
	   GOT(vcpu_claim)->node == 1 && GOT(vcpu_claim)->flags == HPCVM_CLAIM_LOCAL &&
	   GOT(vcpu_claim)->tick == HPCVM_TICK_THIN, "vcpu_claim");
	ok(!hpcvm_vcpu_release(9, 5, NULL) && GOT(vcpu_release)->vcpu == 5, "vcpu_release");
	ok(!hpcvm_vcpu_stats(9, 6, &s, &e) && s.cpu == 3 && GOT(vcpu_stats)->vcpu == 6,
	   "vcpu_stats");
	ok(!hpcvm_vcpu_mark(9, 6, &e) && GOT(vcpu_stats)->vcpu == 6 &&
	   GOT(vcpu_stats)->flags == HPCVM_STATS_MARK, "vcpu_mark");
}

static void failures(void)
{
	struct hpcvm_vcpu_stats s;
	struct hpcvm_mem_verify v;
	struct hpcvm_error e;
	struct hpcvm_query q;

	fail_with = EBUSY;
#define FAILS(call, c) do {						\
	memset(&e, 0xff, sizeof(e));					\
	ok((call) == -EBUSY && e.err == EBUSY && e.cmd == (c) &&	\
	   e.reason == HPCVM_REASON_FLAGS && e.detail == 0x123456789ULL,	\
	   "a failure comes back: %s", #call);				\
} while (0)
	FAILS(hpcvm_query(7, &q, &e), HPCVM_CMD_QUERY);
	FAILS(hpcvm_vm_create(7, 8, NULL, NULL, NULL, &e), HPCVM_CMD_VM_CREATE);
	FAILS(hpcvm_vm_open(7, 1, &e), HPCVM_CMD_VM_OPEN);
	FAILS(hpcvm_mem_create(7, 4 * MIB, 2 * MIB, HPCVM_NODE_ANY, &e), HPCVM_CMD_MEM_CREATE);
	ok(e.page_size == 2 * MIB && e.pages == 2 && e.node == HPCVM_NODE_ANY,
	   "and says what was asked for");
	FAILS(hpcvm_mem_slot(7, 8, 3, 0, 0, 0, &e), HPCVM_CMD_MEM_SLOT);
	ok(e.node == 3, "and on which node");
	FAILS(hpcvm_mem_adopt(7, 3, 0, NULL, 0, &e), HPCVM_CMD_MEM_ADOPT);
	ok(e.node == 3, "and on which node");
	FAILS(hpcvm_reserve_park(7, 8, 3, -1, -1, NULL, &e), HPCVM_CMD_RESERVE_PARK);
	ok(e.node == 3, "and on which node");
	FAILS(hpcvm_reserve_drop(7, 1, &e), HPCVM_CMD_RESERVE_DROP);
	FAILS(hpcvm_vcpu_attach(7, 8, NULL, &e), HPCVM_CMD_VCPU_ATTACH);
	FAILS(hpcvm_vcpu_claim(7, 1, 2, 3, 0, HPCVM_TICK_AUTO, &e), HPCVM_CMD_VCPU_CLAIM);
	ok(e.node == 3, "and on which node");
	FAILS(hpcvm_vcpu_release(7, 1, &e), HPCVM_CMD_VCPU_RELEASE);
	FAILS(hpcvm_vcpu_stats(7, 1, &s, &e), HPCVM_CMD_VCPU_STATS);
	FAILS(hpcvm_vcpu_mark(7, 1, &e), HPCVM_CMD_VCPU_STATS);
	FAILS(hpcvm_mem_unslot(7, 0, &e), HPCVM_CMD_MEM_UNSLOT);
	FAILS(hpcvm_mem_verify(7, &v, NULL, 0, &e), HPCVM_CMD_MEM_VERIFY);
	ok(hpcvm_mem_create(7, 1, 0, HPCVM_NODE_ANY, NULL) == -EBUSY, "no error, page size 0");
	fail_with = 0;
}

static int same(const struct policy *a, const struct policy *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void placed(void)
{
	static const struct { int mode; unsigned long nodes; const char *name; } before[] = {
		{ MPOL_DEFAULT, 0, "MPOL_DEFAULT" },
		{ MPOL_LOCAL, 0, "MPOL_LOCAL" },
		{ MPOL_PREFERRED, 1, "MPOL_PREFERRED" },
		{ MPOL_INTERLEAVE, 1, "MPOL_INTERLEAVE" },
		{ MPOL_BIND | MPOL_F_STATIC_NODES, 1, "MPOL_BIND, static nodes" },
		{ MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES, 1, "MPOL_INTERLEAVE, relative nodes" },
	};
	struct hpcvm_error e;
	struct policy p, q;

	p = policy();
	if (p.err) {
		skip(strerror(p.err), "memory policy");
		ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, 0, &e) == 43, "goes on without one");
		return;
	}
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		if (syscall(SYS_set_mempolicy, before[i].mode,
			    before[i].nodes ? &before[i].nodes : NULL,
			    before[i].nodes ? 65UL : 0UL)) {
			skip(strerror(errno), "%s", before[i].name);
			continue;
		}
		p = policy();
		ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, 0, &e) == 43 && !e.err &&
		   during.mode == MPOL_BIND && during.nodes[0] == 1, "%s: bound in the call",
		   before[i].name);
		q = policy();
		ok(same(&p, &q), "%s: restored after", before[i].name);
		hpcvm_mem_create(7, 2 * MIB, 2 * MIB, HPCVM_NODE_ANY, &e);
		ok(same(&p, &during), "%s: left alone without a node", before[i].name);
		fail_with = ENOSPC;
		hpcvm_mem_create(7, 2 * MIB, 2 * MIB, 0, &e);
		fail_with = 0;
		q = policy();
		ok(e.err == ENOSPC && same(&p, &q), "%s: restored after a failure", before[i].name);
	}
	p = policy();
	for (int node = 1000; node < 3000; node += 1000) {
		calls = 0;
		ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, node, &e) == -EINVAL &&
		   e.reason == HPCVM_REASON_NODE && e.detail == (uint64_t)node && !calls,
		   "node %d does not exist", node);
	}
	ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, -2, &e) == -EINVAL &&
	   e.reason == HPCVM_REASON_NODE, "node -2 does not exist");
	q = policy();
	ok(same(&p, &q), "restored after that");
}

static void signals(void)
{
	sigset_t before, after;
	struct hpcvm_error e;

	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	eintrs = 3;
	calls = 0;
	ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, HPCVM_NODE_ANY, &e) == 43 && calls == 4 &&
	   GOT(mem_create)->out_fd == 0 && !e.err, "EINTR: tried again, with a fresh struct");
	ok(sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGALRM) &&
	   sigismember(&blocked, SIGTERM), "signals are blocked in the call");
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ok(sigismember(&after, SIGUSR2) && !sigismember(&after, SIGINT), "and as before after it");
	eintrs = 1000;
	ok(hpcvm_mem_create(7, 2 * MIB, 2 * MIB, HPCVM_NODE_ANY, &e) == -EINTR &&
	   e.reason == HPCVM_REASON_INTERRUPTED && e.detail == 9, "EINTR for ever: it gives up");
	eintrs = 0;
}

int main(void)
{
	fake_ioctl = module;
	vm();
	memory();
	reservations();
	vcpus();
	failures();
	placed();
	signals();
	return tap_done();
}
