// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rules that hold for every ioctl, tried on every ioctl of the table:
 * lengths, flags, pads, structs that cannot be read or written from some byte
 * on, the wrong kind of fd, 32-bit callers, an fd that is closed meanwhile. What
 * becomes of a call whose result cannot be written: unwritable.c.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "selftest.h"
#include "ioctls.h"

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
	struct hpcvm_monitor_create monitor = { .size = sizeof(monitor), .slots = 8 };

	self->kvm = new_kvm();
	ASSERT_LE(0, self->kvm);
	self->fd[ON_DEVICE] = open_device();
	ASSERT_LE(0, self->fd[ON_DEVICE]);
	create = vm_create(self->kvm);
	ASSERT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_VM_CREATE, &create));
	self->fd[ON_VM] = create.out_fd;
	open.id = create.out_id;
	ASSERT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_VM_OPEN, &open));
	self->fd[ON_HANDLE] = open.out_fd;
	ASSERT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_MONITOR_CREATE, &monitor));
	self->fd[ON_MONITOR] = monitor.out_fd;
}

FIXTURE_TEARDOWN(abi)
{
	int i;

	for (i = 0; i < KINDS; i++)
		close(self->fd[i]);
	close(self->kvm);
}

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
	struct hpcvm_monitor_watch watch = { .size = sizeof(watch), .pad0 = 1 };
	struct hpcvm_monitor_unwatch unwatch = { .size = sizeof(unwatch), .pad0 = 1 };
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
	EXPECT_REFUSED(self->fd[ON_DEVICE], HPCVM_VM_OPEN, &open, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_vm_open, pad0));
	EXPECT_REFUSED(self->fd[ON_VM], HPCVM_MEM_ADOPT, &adopt, EINVAL, HPCVM_REASON_PAD,
		       offsetof(struct hpcvm_mem_adopt, pad0));
	EXPECT_REFUSED(self->fd[ON_MONITOR], HPCVM_MONITOR_WATCH, &watch, EINVAL,
		       HPCVM_REASON_PAD, offsetof(struct hpcvm_monitor_watch, pad0));
	EXPECT_REFUSED(self->fd[ON_MONITOR], HPCVM_MONITOR_UNWATCH, &unwatch, EINVAL,
		       HPCVM_REASON_PAD, offsetof(struct hpcvm_monitor_unwatch, pad0));
}

/* Two pages, the second one not there or read-only; a struct of @def across them. */
static void *across(uint8_t *pages, const struct ioctl_def *def, int second, uint32_t before)
{
	union buffer b = { .size = def->size, .flags = 1u << 31 };
	void *at = pages + SZ_4K - before;

	mprotect(pages + SZ_4K, SZ_4K, PROT_READ | PROT_WRITE);
	memcpy(at, &b, def->size);
	mprotect(pages + SZ_4K, SZ_4K, second);
	return at;
}

/* Wherever in the struct the page ends: it is not read; nor the verdict written. */
TEST_F(abi, page_ends)
{
	uint8_t *pages = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct ioctl_def *def;
	uint32_t before;
	int kind;

	ASSERT_NE(MAP_FAILED, pages);
	for_each_def(def) for_each_kind(def, kind) for (before = 0; before < def->size; before++) {
		void *arg = across(pages, def, PROT_NONE, before);

		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, arg))
			TH_LOG("%s, %u bytes before the hole", def->name, before);
		if (before >= def->min_size)
			continue;
		arg = across(pages, def, PROT_READ, before);
		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, arg))
			TH_LOG("%s, %u bytes writable", def->name, before);
	}
	for_each_def(def) for_each_kind(def, kind)
		EXPECT_EQ(EFAULT, call(self->fd[kind], def->cmd, NULL));
}

/* A system call as 32-bit programs make it; @arg lies below 4 GiB. */
static int call_32bit(int fd, unsigned long cmd, void *arg)
{
	long ret;

	asm volatile("int $0x80" : "=a" (ret)
		     : "a" (54), "b" ((long)fd), "c" (cmd), "d" (arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return ret < 0 ? -ret : 0;
}

static bool runs_32bit(void)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(call_32bit(-1, 0, NULL) != EBADF);
	return waitpid(child, &status, 0) == child && !status;
}

/* The structs are the same: so is every answer. */
TEST_F(abi, caller_of_32_bits)
{
	union buffer *low = mmap(NULL, sizeof(*low), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct hpcvm_query *query = (void *)low;
	const struct ioctl_def *def;
	int kind;

	ASSERT_NE(MAP_FAILED, low);
	if (!runs_32bit())
		SKIP(return, "this kernel runs no 32-bit programs");
	for_each_def(def) for_each_kind(def, kind) {
		union buffer wide = { .size = def->size, .flags = 1u << 31 };

		*low = wide;
		EXPECT_EQ(call(self->fd[kind], def->cmd, &wide),
			  call_32bit(self->fd[kind], def->cmd, low)) TH_LOG("%s", def->name);
		EXPECT_EQ(0, memcmp(&wide, low, def->size)) TH_LOG("%s", def->name);
		EXPECT_EQ(EFAULT, call_32bit(self->fd[kind], def->cmd, NULL));
	}
	for (kind = 0; kind < KINDS; kind++) {
		*query = (struct hpcvm_query){ .size = sizeof(*query) };
		ASSERT_EQ(0, call_32bit(self->fd[kind], HPCVM_QUERY, query));
		EXPECT_EQ(HPCVM_API_VERSION, query->api_version);
	}
}

/* One thread calls by a number that another one closes and gives away again. */
struct renewal {
	int fd, from;
	atomic_bool over;
};

static void *renew(void *arg)
{
	struct renewal *r = arg;
	int i;

	for (i = 0; i < 300; i++) {
		close(r->fd);
		sched_yield();
		if (dup2(r->from, r->fd) < 0)
			break;
	}
	r->over = true;
	return NULL;
}

TEST_F(abi, closed_meanwhile)
{
	const struct ioctl_def *def;
	int kind, fds = open_fds();

	for_each_def(def) for_each_kind(def, kind) {
		struct renewal r = { .fd = dup(self->fd[kind]), .from = self->fd[kind] };
		pthread_t thread;
		int err;

		ASSERT_EQ(0, pthread_create(&thread, NULL, renew, &r));
		while (!r.over) {
			union buffer b = { .size = def->size, .flags = 1u << 31 };

			err = call(r.fd, def->cmd, &b);
			if (err != EINVAL && err != EBADF)
				EXPECT_EQ(EINVAL, err) TH_LOG("%s", def->name);
		}
		pthread_join(thread, NULL);
		close(r.fd);
	}
	EXPECT_EQ(fds, open_fds());
}

TEST_F(abi, no_fd_left)
{
	struct hpcvm_mem_create create = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	long free;

	ASSERT_LE(2, pool_set(SZ_2M, HPCVM_NODE_ANY, 2));
	free = pool_free(SZ_2M);
	while (dup(0) >= 0)
		;
	EXPECT_EQ(EMFILE, call(self->fd[ON_DEVICE], HPCVM_MEM_CREATE, &create));
	closefrom(self->fd[ON_HANDLE] + 1);
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

#define FILE_MAX "/proc/sys/fs/file-max"

/* The same where the node has no file left, to which root is not bound: as a user. */
static int no_file_left(int dev)
{
	struct hpcvm_mem_create mem = mem_create(SZ_2M, SZ_2M, HPCVM_NODE_ANY);
	struct hpcvm_vm_create first, second = vm_create(new_kvm());
	struct hpcvm_vm_open open = { .size = sizeof(open) };

	/* The VM belongs to the real uid; the capabilities go with the other two. */
	first = vm_create(new_kvm());
	if (setresuid(65534, 0, 0) || call(dev, HPCVM_VM_CREATE, &first))
		return 99;
	open.id = first.out_id;
	/* None at all: the kernel compares an estimate, 0 on a node that has just booted. */
	if (put_text(FILE_MAX, "0") || setresuid(65534, 65534, 65534))
		return 98;
	if (call(dev, HPCVM_MEM_CREATE, &mem) != ENFILE)
		return 1;
	if (call(dev, HPCVM_VM_CREATE, &second) != ENFILE)
		return 2;
	return call(dev, HPCVM_VM_OPEN, &open) != ENFILE ? 3 : 0;
}

TEST_F(abi, no_file_left)
{
	long long max = get_number(FILE_MAX);
	int vms = count_entries(VMS);
	char text[32];
	long free;

	ASSERT_LE(2, pool_set(SZ_2M, HPCVM_NODE_ANY, 2));
	free = pool_free(SZ_2M);
	EXPECT_EQ(0, IN_CHILD(no_file_left(self->fd[ON_DEVICE])));
	snprintf(text, sizeof(text), "%lld", max);
	EXPECT_EQ(0, put_text(FILE_MAX, text));
	EXPECT_EQ(vms, count_entries(VMS));
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
			if (!(def->on & 1u << kind))
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
					TH_LOG("ioctl %#x is in no header", nr);
			EXPECT_EQ(ENOTTY, call(self->fd[kind], _IO(HPCVM_TYPE + 1, nr), &b));
			EXPECT_EQ(ENOTTY, call(self->fd[kind], _IOWR(HPCVM_TYPE, nr, int), &b));
		}
	}
}

/* Then there is no module whose parameters could be read. */
static bool kvm_is_built_in(void)
{
	return access("/sys/module/kvm/initstate", F_OK);
}

TEST_F(abi, query)
{
	struct hpcvm_query query = { .size = sizeof(query), .reason = 7, .detail = 7 };
	int kind;

	for (kind = 0; kind < KINDS; kind++) {
		ASSERT_EQ(0, call(self->fd[kind], HPCVM_QUERY, &query));
		EXPECT_EQ(HPCVM_API_VERSION, query.api_version);
		EXPECT_EQ(HPCVM_FEATURE_MEMORY | HPCVM_FEATURE_CORES | HPCVM_FEATURE_MONITOR |
			  HPCVM_FEATURE_PIN, query.features);
		EXPECT_EQ(0, query.reason);
		EXPECT_EQ(0, query.detail);
		EXPECT_EQ(kind == ON_DEVICE || kind == ON_MONITOR, query.vm_id == 0);
	}
	EXPECT_TRUE(query.node & HPCVM_NODE_PAGES_2M);
	EXPECT_TRUE(query.node & HPCVM_NODE_KVM);
	EXPECT_TRUE(query.node & HPCVM_NODE_VIRT);
	EXPECT_TRUE(query.node & HPCVM_NODE_IOMMU);
	EXPECT_FALSE(query.node & HPCVM_NODE_NOHZ_FULL);
	EXPECT_EQ(kvm_is_built_in(), !!(query.node & HPCVM_NODE_NX_UNKNOWN));
	EXPECT_EQ(2, query.nodes);
	ASSERT_LE(3, pool_set(SZ_2M, HPCVM_NODE_ANY, 3));
	ASSERT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_QUERY, &query));
	EXPECT_EQ(3, query.free_2m);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

/* The node's fact follows KVM's parameter. */
TEST_F(abi, query_nx_huge_pages)
{
	const char *parameter = "/sys/module/kvm/parameters/nx_huge_pages";
	struct hpcvm_query query = { .size = sizeof(query) };

	if (kvm_is_built_in())
		SKIP(return, "KVM is built into this kernel");
	ASSERT_EQ(0, put_text(parameter, "force"));
	EXPECT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_QUERY, &query));
	EXPECT_TRUE(query.node & HPCVM_NODE_NX_HUGE_PAGES);
	ASSERT_EQ(0, put_text(parameter, "off"));
	EXPECT_EQ(0, call(self->fd[ON_DEVICE], HPCVM_QUERY, &query));
	EXPECT_FALSE(query.node & HPCVM_NODE_NX_HUGE_PAGES);
}

TEST_HARNESS_MAIN
