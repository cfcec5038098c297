// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules that hold for every ioctl, tried on every ioctl: lengths, flags,
 * pads, unreadable and unwritable structs, the wrong kind of fd. A new ioctl
 * without a line in the table fails here (only_known).
 */
#include "selftest.h"

enum { DEVICE, VM, HANDLE, KINDS };

static const struct ioctl_def {
	const char *name;
	unsigned long cmd;
	uint32_t size;
	uint32_t min_size;
	uint32_t verdict;
	bool on[KINDS];
	uint32_t flags;		/* that it knows */
} defs[] = {
#define DEF(_cmd, _struct, _last, ...) { #_cmd, _cmd, sizeof(struct _struct),		\
	offsetof(struct _struct, _last) + sizeof(((struct _struct *)0)->_last),		\
	offsetof(struct _struct, reason), __VA_ARGS__ }
	DEF(HPCVM_QUERY, hpcvm_query, detail, { true, true, true }),
	DEF(HPCVM_VM_CREATE, hpcvm_vm_create, detail, { true, false, false }),
	DEF(HPCVM_VM_OPEN, hpcvm_vm_open, detail, { true, false, false }),
	DEF(HPCVM_MEM_CREATE, hpcvm_mem_create, detail, { true, false, false },
	    HPCVM_MEM_FRESH | HPCVM_MEM_PREPARE),
	DEF(HPCVM_MEM_SLOT, hpcvm_mem_slot, detail, { false, true, false }),
	DEF(HPCVM_MEM_UNSLOT, hpcvm_mem_unslot, detail, { false, true, false }),
	DEF(HPCVM_MEM_ADOPT, hpcvm_mem_adopt, detail, { false, true, false }),
	DEF(HPCVM_MEM_VERIFY, hpcvm_mem_verify, detail, { false, true, true }),
	DEF(HPCVM_RESERVE_PARK, hpcvm_reserve_park, detail, { true, false, false },
	    HPCVM_RESERVE_UID | HPCVM_RESERVE_GID),
	DEF(HPCVM_RESERVE_DROP, hpcvm_reserve_drop, detail, { true, false, false }),
};

/* A struct of any of them, with room behind it. */
union buffer {
	struct {
		uint32_t size;
		uint32_t flags;
	};
	uint8_t bytes[8192];
};

struct verdict {
	uint32_t reason;
	uint32_t pad;
	uint64_t detail;
};

FIXTURE(abi)
{
	int kvm;
	int fd[KINDS];
};

FIXTURE_SETUP(abi)
{
	struct hpcvm_vm_create create;
	struct hpcvm_vm_open open = { .size = sizeof(open) };

	self->kvm = new_kvm();
	ASSERT_LE(0, self->kvm);
	self->fd[DEVICE] = open_device();
	ASSERT_LE(0, self->fd[DEVICE]);
	create = vm_create(self->kvm);
	ASSERT_EQ(0, call(self->fd[DEVICE], HPCVM_VM_CREATE, &create));
	self->fd[VM] = create.out_fd;
	open.id = create.out_id;
	ASSERT_EQ(0, call(self->fd[DEVICE], HPCVM_VM_OPEN, &open));
	self->fd[HANDLE] = open.out_fd;
}

FIXTURE_TEARDOWN(abi)
{
	int i;

	for (i = 0; i < KINDS; i++)
		close(self->fd[i]);
	close(self->kvm);
}

#define for_each_def(def) for (def = defs; def < defs + sizeof(defs) / sizeof(defs[0]); def++)
#define for_each_kind(def, kind) for (kind = 0; kind < KINDS; kind++) if ((def)->on[kind])

TEST_F(abi, too_short)
{
	const struct ioctl_def *def;
	int kind;

	for_each_def(def) for_each_kind(def, kind) {
		union buffer b = { .size = def->min_size - 1 };

		EXPECT_EQ(EINVAL, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		b.size = 0;
		EXPECT_EQ(EINVAL, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
	}
}

TEST_F(abi, long_with_tail)
{
	const struct ioctl_def *def;
	int kind;

	for_each_def(def) for_each_kind(def, kind) {
		union buffer b = { .size = def->size + 8 };

		b.bytes[def->size + 7] = 1;
		EXPECT_EQ(E2BIG, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		b.bytes[def->size + 7] = 0;
		b.bytes[def->size] = 1;
		EXPECT_EQ(E2BIG, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		memset(&b, 0, sizeof(b));
		b.size = sizeof(b);
		EXPECT_EQ(E2BIG, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		b.size = UINT32_MAX;
		EXPECT_EQ(E2BIG, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
	}
}

/* A longer struct whose tail is zero is the same call as the exact one. */
TEST_F(abi, long_without_tail)
{
	const struct ioctl_def *def;
	int kind;

	for_each_def(def) for_each_kind(def, kind) {
		union buffer exact = { .size = def->size }, longer = { .size = def->size + 64 };
		int err = call(self->fd[kind], def->cmd, &exact);

		EXPECT_EQ(err, call(self->fd[kind], def->cmd, &longer)) TH_LOG("%s", def->name);
		EXPECT_EQ(0, memcmp(exact.bytes + def->verdict, longer.bytes + def->verdict,
				    sizeof(struct verdict))) TH_LOG("%s", def->name);
		EXPECT_EQ(0, longer.bytes[def->size]);
	}
}

TEST_F(abi, unknown_flags)
{
	const struct ioctl_def *def;
	int kind, bit;

	for_each_def(def) for_each_kind(def, kind) for (bit = 0; bit < 32; bit++) {
		union buffer b = { .size = def->size, .flags = 1u << bit };
		struct verdict *v = (void *)(b.bytes + def->verdict);

		if (def->flags & 1u << bit)
			continue;
		EXPECT_EQ(EINVAL, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		EXPECT_EQ(HPCVM_REASON_FLAGS, v->reason);
		EXPECT_EQ(1u << bit, v->detail);
	}
}

TEST_F(abi, pad)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .pad0 = 1 };
	struct hpcvm_mem_adopt adopt = { .size = sizeof(adopt), .pad0 = 1 };
	const struct ioctl_def *def;
	int kind;

	for_each_def(def) for_each_kind(def, kind) {
		union buffer b = { .size = def->size };
		struct verdict *v = (void *)(b.bytes + def->verdict);

		v->pad = 1;
		EXPECT_EQ(EINVAL, call(self->fd[kind], def->cmd, &b)) TH_LOG("%s", def->name);
		EXPECT_EQ(HPCVM_REASON_PAD, v->reason);
		EXPECT_EQ(def->verdict + 4, v->detail);
	}
	EXPECT_REFUSED(self->fd[DEVICE], HPCVM_VM_OPEN, &open, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_vm_open, pad0));
	EXPECT_REFUSED(self->fd[VM], HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_mem_adopt, pad0));
}

TEST_F(abi, unreadable)
{
	uint8_t *page = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct ioctl_def *def;
	int kind;

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, munmap(page + SZ_4K, SZ_4K));
	for_each_def(def) for_each_kind(def, kind) {
		uint32_t *straddling = (uint32_t *)(page + SZ_4K - 8);

		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, NULL));
		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, page + SZ_4K));
		straddling[0] = def->size;
		straddling[1] = 0;
		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, straddling));
	}
}

/* A caller that cannot be told the result keeps no fd and no memory. */
TEST_F(abi, unwritable)
{
	struct hpcvm_mem_create *create;
	struct hpcvm_query *query;
	int kvm = new_kvm(), fds = open_fds(), vms = count_entries(VMS);
	long free;
	void *page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_LE(4, pool_set(SZ_2M, HPCVM_NODE_ANY, 4));
	free = pool_free(SZ_2M);

	query = page;
	*query = (struct hpcvm_query){ .size = sizeof(*query) };
	mprotect(page, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->fd[DEVICE], HPCVM_QUERY, page));

	mprotect(page, SZ_4K, PROT_READ | PROT_WRITE);
	create = page;
	*create = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	mprotect(page, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->fd[DEVICE], HPCVM_MEM_CREATE, page));

	mprotect(page, SZ_4K, PROT_READ | PROT_WRITE);
	*(struct hpcvm_vm_create *)page = vm_create(kvm);
	mprotect(page, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->fd[DEVICE], HPCVM_VM_CREATE, page));

	EXPECT_EQ(fds, open_fds());
	EXPECT_EQ(vms, count_entries(VMS));
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	close(kvm);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

TEST_F(abi, no_fd_left)
{
	struct hpcvm_mem_create create = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	long free;

	ASSERT_LE(2, pool_set(SZ_2M, HPCVM_NODE_ANY, 2));
	free = pool_free(SZ_2M);
	while (dup(0) >= 0)
		;
	EXPECT_EQ(EMFILE, call(self->fd[DEVICE], HPCVM_MEM_CREATE, &create));
	closefrom(self->fd[HANDLE] + 1);
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

TEST_F(abi, wrong_kind_of_fd)
{
	const struct ioctl_def *def;
	int kind, null = open("/dev/null", O_RDWR);

	for_each_def(def) {
		union buffer b = { .size = def->size };

		for (kind = 0; kind < KINDS; kind++)
			if (!def->on[kind])
				EXPECT_EQ(ENOTTY, call(self->fd[kind], def->cmd, &b))
					TH_LOG("%s on %d", def->name, kind);
		EXPECT_EQ(ENOTTY, call(null, def->cmd, &b));
		EXPECT_EQ(EBADF, call(-1, def->cmd, &b));
		EXPECT_EQ(EBADF, call(1000, def->cmd, &b));
	}
}

/* Nothing answers that is not in the table. */
TEST_F(abi, only_known)
{
	const struct ioctl_def *def;
	int nr, kind;

	for (nr = 0; nr < 256; nr++) {
		unsigned long cmd = _IO(HPCVM_TYPE, nr);
		union buffer b = { .size = 0 };
		bool known = false;

		for_each_def(def)
			known |= def->cmd == cmd;
		for (kind = 0; kind < KINDS; kind++) {
			if (!known)
				EXPECT_EQ(ENOTTY, call(self->fd[kind], cmd, &b))
					TH_LOG("ioctl %#x has no line in the table", nr);
			EXPECT_EQ(ENOTTY, call(self->fd[kind], _IO(HPCVM_TYPE + 1, nr), &b));
			EXPECT_EQ(ENOTTY, call(self->fd[kind], _IOWR(HPCVM_TYPE, nr, int), &b));
		}
	}
}

TEST_F(abi, query)
{
	struct hpcvm_query query = { .size = sizeof(query), .reason = 7, .detail = 7 };
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		ASSERT_EQ(0, call(self->fd[kind], HPCVM_QUERY, &query));
		EXPECT_EQ(HPCVM_API_VERSION, query.api_version);
		EXPECT_EQ(HPCVM_FEATURE_MEMORY, query.features);
		EXPECT_EQ(0, query.reason);
		EXPECT_EQ(0, query.detail);
		EXPECT_EQ(kind == DEVICE, query.vm_id == 0);
	}
	EXPECT_TRUE(query.node & HPCVM_NODE_PAGES_2M);
	EXPECT_TRUE(query.node & HPCVM_NODE_KVM);
	EXPECT_TRUE(query.node & HPCVM_NODE_VIRT);
	EXPECT_TRUE(query.node & HPCVM_NODE_IOMMU);
	EXPECT_FALSE(query.node & HPCVM_NODE_NOHZ_FULL);
	EXPECT_FALSE(query.node & HPCVM_NODE_NX_UNKNOWN);
	EXPECT_EQ(2, query.nodes);
	ASSERT_LE(3, pool_set(SZ_2M, HPCVM_NODE_ANY, 3));
	ASSERT_EQ(0, call(self->fd[DEVICE], HPCVM_QUERY, &query));
	EXPECT_EQ(3, query.free_2m);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

/* The node's fact follows KVM's parameter. */
TEST_F(abi, query_nx_huge_pages)
{
	const char *parameter = "/sys/module/kvm/parameters/nx_huge_pages";
	struct hpcvm_query query = { .size = sizeof(query) };

	ASSERT_EQ(0, put_text(parameter, "force"));
	EXPECT_EQ(0, call(self->fd[DEVICE], HPCVM_QUERY, &query));
	EXPECT_TRUE(query.node & HPCVM_NODE_NX_HUGE_PAGES);
	ASSERT_EQ(0, put_text(parameter, "off"));
	EXPECT_EQ(0, call(self->fd[DEVICE], HPCVM_QUERY, &query));
	EXPECT_FALSE(query.node & HPCVM_NODE_NX_HUGE_PAGES);
}

TEST_HARNESS_MAIN
