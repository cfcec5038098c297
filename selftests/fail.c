// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fault sweep: in each scenario every allocation, and every copy from and
 * to the caller, fails once: the first, then the second, and so on, until the
 * scenario comes through with none left to fail. After each the errno is a
 * documented one, everything is as it was, and the same scenario works.
 *
 * The kernel counts down in /proc/thread-self/fail-nth, for one thread, and
 * here only while a call of ours is under way: what lies between our calls is
 * not what is tested. Each round is a child, with an fd table and an address
 * space that no round before it has touched.
 *
 * For a kernel with fault injection: scripts/node/run --kernel 6.12-debug.
 */
#include <poll.h>
#include "reserve.h"
#include "vcpu.h"

#define PAGES 3
#define RAM (PAGES * SZ_2M)
#define FAIL_NTH "/proc/thread-self/fail-nth"
#define DEBUGFS "/sys/kernel/debug/"
#define POOL_PAGES 512	/* for many rounds, as some give theirs back late */
#define BAD_ENOUGH 8

/* The fault to come. */
static struct {
	int fd;			/* fail-nth; -1: this kernel has none */
	unsigned int left;	/* which of the next ones fails; 0: none */
	bool hit;		/* it has */
	bool surprise;		/* and was answered as it should not be */
} fault;

static void arm(void)
{
	char text[16];

	if (fault.left && pwrite(fault.fd, text, sprintf(text, "%u", fault.left), 0) < 0)
		fault.surprise = true;
}

/* Our own question is a copy that counts, too, and so is the switch. */
static void disarm(void)
{
	char text[16] = "";
	ssize_t n;

	if (!fault.left)
		return;
	n = pread(fault.fd, text, sizeof(text) - 1, 0);
	while (pwrite(fault.fd, "0", 1, 0) < 0)
		;
	fault.left = n > 0 ? atoi(text) : 1;
	fault.hit |= !fault.left;
}

#define UNDER_FAULT(expr) ({						\
	long value_;							\
	arm();								\
	value_ = (expr);						\
	disarm();							\
	value_;								\
})

/* What the ABI says of a failure that is none of the caller's making. */
static bool documented(unsigned long cmd, int err, uint32_t reason)
{
	switch (err) {
	case 0:
	case EFAULT:
		return true;
	case ENOMEM:
		return reason == HPCVM_REASON_KERNEL_MEMORY;
	case ENOSPC:
		return cmd == HPCVM_MEM_CREATE && reason == HPCVM_REASON_LIMIT;
	default:
		return false;
	}
}

static int judged(const char *name, unsigned long cmd, int err, uint32_t reason)
{
	if (!documented(cmd, err, reason)) {
		printf("# %s: errno %d, reason %u\n", name, err, reason);
		fault.surprise = true;
	}
	return err;
}

#define FAULTY(_fd, _cmd, _arg) ({					\
	int err_ = UNDER_FAULT(call(_fd, _cmd, _arg));			\
	judged(#_cmd, _cmd, err_, (_arg)->reason);			\
})

/* What must be as before; the caller's own side of it, and the node's. */
struct own {
	int fds, maps;
};

struct node {
	long module, kvm, vms, reservations, claims, slots;
};

static int count_lines(const char *path)
{
	static char text[1 << 16];
	int fd = open(path, O_RDONLY | O_CLOEXEC), n = 0;
	ssize_t got;

	while ((got = read(fd, text, sizeof(text))) > 0)
		while (got--)
			n += text[got] == '\n';
	close(fd);
	return n;
}

static struct own look_own(void)
{
	return (struct own){ .fds = open_fds(), .maps = count_lines("/proc/self/maps") };
}

static struct node look_node(void)
{
	return (struct node){
		.module = get_number("/sys/module/hpcvm/refcnt"),
		.kvm = get_number("/sys/module/kvm/refcnt"),
		.claims = count_lines(CORES "claimed"),
		.vms = count_entries(VMS), .reservations = nr_reservations(),
		.slots = get_number("/sys/class/misc/hpcvm/monitors/slots"),
	};
}

/* Scenarios: 0 or the errno of the call that failed; what they made is gone. */

static int query(int dev)
{
	struct hpcvm_query query = { .size = sizeof(query) };

	return FAULTY(dev, HPCVM_QUERY, &query);
}

static int create_vm(int dev)
{
	int kvm = new_kvm(), err;
	struct hpcvm_vm_create create = vm_create(kvm);

	err = FAULTY(dev, HPCVM_VM_CREATE, &create);
	if (!err)
		UNDER_FAULT(close(create.out_fd));
	close(kvm);
	return err;
}

static int open_handle(int dev)
{
	struct hpcvm_vm_open open = { .size = sizeof(open) };
	struct hpcvm_vm_create create;
	int kvm = new_kvm(), err;

	create = vm_create(kvm);
	err = call(dev, HPCVM_VM_CREATE, &create);
	open.id = create.out_id;
	if (!err)
		err = FAULTY(dev, HPCVM_VM_OPEN, &open);
	if (!err)
		UNDER_FAULT(close(open.out_fd));
	close(create.out_fd);
	close(kvm);
	return err;
}

static int create_memory(int dev, uint32_t flags, int node)
{
	struct hpcvm_mem_create create = ask(PAGES, flags, node);
	int err;

	err = FAULTY(dev, HPCVM_MEM_CREATE, &create);
	if (!err)
		UNDER_FAULT(close(create.out_fd));
	return err;
}

static int memory(int dev)
{
	return create_memory(dev, HPCVM_MEM_FRESH, HPCVM_NODE_ANY);
}

static int memory_on_node(int dev)
{
	return create_memory(dev, HPCVM_MEM_FRESH, 0);
}

/* The new fd is the one for which the process's table must grow. */
static int fd_table(int dev)
{
	int first = dup(dev), last = first, err;

	while (last < 63)
		last = dup(dev);
	err = create_memory(dev, HPCVM_MEM_FRESH, HPCVM_NODE_ANY);
	close_range(first, last, 0);
	return err;
}

static int prepared(int dev)
{
	return create_memory(dev, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
}

/* Parked or not at all; drawn or parked still; dropped. */
static int reservation(int dev)
{
	struct hpcvm_reserve_drop drop = { .size = sizeof(drop) };
	struct hpcvm_mem_create create = ask(PAGES, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	struct hpcvm_reserve_park park;
	int err, i;

	for (i = 0; i < 2; i++) {
		create = ask(PAGES, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
		err = FAULTY(dev, HPCVM_MEM_CREATE, &create);
		if (err)
			break;
		park = park_of(create.out_fd, HPCVM_NODE_ANY);
		err = populate(create.out_fd, PAGES, HPCVM_NODE_ANY);
		if (!err)
			err = FAULTY(dev, HPCVM_RESERVE_PARK, &park);
		close(create.out_fd);
		if (err)
			break;
	}
	if (i == 2) {
		create = ask(PAGES, 0, HPCVM_NODE_ANY);
		err = FAULTY(dev, HPCVM_MEM_CREATE, &create);
		if (!err && !create.out_reservation)
			err = EPROTO;
		if (!err)
			close(create.out_fd);
		fault.surprise |= nr_reservations() != (err ? 2 : 1);
		drop.id = park.out_id;
		if (!err)
			err = FAULTY(dev, HPCVM_RESERVE_DROP, &drop);
	}
	drop_all(dev);
	return err;
}

/* A VM with memory that KVM maps, for what follows. */
struct vm {
	int kvm, fd, mem;
	char *ram, *other;
};

static int vm_begin(int dev, struct vm *vm)
{
	vm->kvm = new_kvm();
	vm->fd = new_vm(dev, vm->kvm);
	vm->mem = new_mem(dev, RAM, SZ_2M);
	vm->ram = map_shared(vm->mem, RAM);
	vm->other = mmap(NULL, RAM, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (vm->fd < 0 || vm->ram == MAP_FAILED || vm->other == MAP_FAILED ||
	    kvm_memslot(vm->kvm, 0, 0, RAM, vm->ram, 0) ||
	    kvm_memslot(vm->kvm, 1, SZ_1G, RAM, vm->other, 0))
		return EPROTO;
	return 0;
}

static void vm_finish(struct vm *vm)
{
	munmap(vm->other, RAM);
	munmap(vm->ram, RAM);
	close(vm->mem);
	UNDER_FAULT(close(vm->fd));
	close(vm->kvm);
}

/* How a VM's slots stand, in sysfs and in a report. */
static int expect_slots(int fd, uint32_t slots)
{
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);

	if (!call(fd, HPCVM_MEM_VERIFY, &verify) && verify.nr_slots == slots)
		return 0;
	fault.surprise = true;
	return EPROTO;
}

static int slot(int dev)
{
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_mem_slot slot;
	struct vm vm;
	int err = vm_begin(dev, &vm);

	slot = mem_slot(vm.mem, 0, 0, RAM);
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_SLOT, &slot);
	/* What makes no fd is done, even if the caller cannot be told. */
	if (err != EFAULT)
		expect_slots(vm.fd, !err);
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_UNSLOT, &unslot);
	vm_finish(&vm);
	return err;
}

static int adopt(int dev)
{
	struct hpcvm_mem_adopt adopt;
	struct vm vm;
	int err = vm_begin(dev, &vm);

	adopt = mem_adopt(vm.other, SZ_1G, RAM, HPCVM_NODE_ANY);
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_ADOPT, &adopt);
	vm_finish(&vm);
	return err;
}

/* A VM with a slot of each kind. */
static int vm_begin_slots(int dev, struct vm *vm)
{
	int err = vm_begin(dev, vm);
	struct hpcvm_mem_slot slot = mem_slot(vm->mem, 0, 0, RAM);
	struct hpcvm_mem_adopt adopt = mem_adopt(vm->other, SZ_1G, RAM, HPCVM_NODE_ANY);

	if (!err)
		err = call(vm->fd, HPCVM_MEM_SLOT, &slot);
	return err ? err : call(vm->fd, HPCVM_MEM_ADOPT, &adopt);
}

static int verify(int dev)
{
	struct hpcvm_slot_report reports[2];
	struct hpcvm_mem_verify verify = verify_with(reports, 2);
	struct vm vm;
	int err = vm_begin_slots(dev, &vm);

	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_VERIFY, &verify);
	if (!err && (verify.broken || verify.nr_slots != 2))
		err = EPROTO;
	vm_finish(&vm);
	return err;
}

static int read_attribute(const char *dir, const char *name)
{
	char path[400], text[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

/* Polled, read in sysfs, and ended while somebody polls still. */
static int watch(int dev)
{
	struct pollfd pfd = { .events = POLLIN };
	char dir[64];
	struct hpcvm_query query = { .size = sizeof(query) };
	struct vm vm;
	int err = vm_begin_slots(dev, &vm);

	pfd.fd = vm.fd;
	if (!err && UNDER_FAULT(poll(&pfd, 1, 0)) < 0)
		err = errno;
	if (!err)
		err = call(vm.fd, HPCVM_QUERY, &query);
	sprintf(dir, VMS "/%llu", (unsigned long long)query.vm_id);
	if (!err)
		err = UNDER_FAULT(read_attribute(dir, "kvm_pages_2m"));
	if (!err)
		err = UNDER_FAULT(read_attribute(dir, "slots/0x0/kind"));
	vm_finish(&vm);
	return err;
}

/* This thread's, as the caller found it. */
static void expect_affinity(const cpu_set_t *before)
{
	cpu_set_t now;

	if (sched_getaffinity(0, sizeof(now), &now) || !CPU_EQUAL(before, &now))
		fault.surprise = true;
}

static void expect_core(int vm, int cpu)
{
	if (stats(vm, 0).cpu != cpu || !bound_to(gettid(), cpu))
		fault.surprise = true;
}

/* A vCPU of this thread, that gets a core, another one, is looked at, and gives it back. */
static int own_core(int dev, int vm)
{
	struct hpcvm_vcpu_claim a = vcpu_claim(0, CPU_A), b = vcpu_claim(0, CPU_B);
	struct hpcvm_vcpu_release release = { .size = sizeof(release) };
	struct hpcvm_vm_open open = { .size = sizeof(open), .flags = HPCVM_OPEN_TIMES };
	struct hpcvm_vcpu_stats s = { .size = sizeof(s) };
	struct hpcvm_query query = { .size = sizeof(query) };
	int err;

	b.flags = HPCVM_CLAIM_FIFO;
	err = FAULTY(vm, HPCVM_VCPU_CLAIM, &a);
	if (err)
		return err;
	expect_core(vm, CPU_A);
	err = FAULTY(vm, HPCVM_VCPU_CLAIM, &b);
	expect_core(vm, err ? CPU_A : CPU_B);
	if (!err)
		err = call(vm, HPCVM_QUERY, &query);
	open.id = query.vm_id;
	if (!err)
		err = FAULTY(dev, HPCVM_VM_OPEN, &open);
	if (err)
		return err;
	err = FAULTY(open.out_fd, HPCVM_VCPU_STATS, &s);
	UNDER_FAULT(close(open.out_fd));
	if (!err)
		err = FAULTY(vm, HPCVM_VCPU_RELEASE, &release);
	return err;
}

static int one_claim(int dev, int vm)
{
	struct hpcvm_vcpu_claim claim = vcpu_claim(0, CPU_A);

	return FAULTY(vm, HPCVM_VCPU_CLAIM, &claim);
}

static int attached(int dev, int (*then)(int dev, int vm))
{
	int kvm = new_kvm(), vm = new_vm(dev, kvm), fd = ioctl(kvm, KVM_CREATE_VCPU, 0), err;
	void *run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct hpcvm_vcpu_attach attach = { .size = sizeof(attach), .vcpu_fd = fd,
		.run = (uintptr_t)run };
	cpu_set_t before;

	sched_getaffinity(0, sizeof(before), &before);
	err = FAULTY(vm, HPCVM_VCPU_ATTACH, &attach);
	if (!err)
		err = then(dev, vm);
	UNDER_FAULT(close(vm));
	expect_affinity(&before);
	munmap(run, SZ_4K);
	close(fd);
	close(kvm);
	return err;
}

static int vcpu(int dev)
{
	return attached(dev, own_core);
}

/* The first of a node that has had none for a while: the probes are placed. */
static int first_claim(int dev)
{
	usleep(1500000);
	return attached(dev, one_claim);
}

/* A monitor watches a page that changes, and tells of it. */
static int watched(int fd, char *page)
{
	struct hpcvm_monitor_watch w = { .size = sizeof(w), .addr = (uintptr_t)page, .length = SZ_4K };
	struct hpcvm_monitor_stats stats = { .size = sizeof(stats) };
	struct hpcvm_monitor_unwatch u = { .size = sizeof(u) };
	struct hpcvm_monitor_event event;
	int err = FAULTY(fd, HPCVM_MONITOR_WATCH, &w);

	if (call(fd, HPCVM_MONITOR_STATS, &stats) || stats.taken != !err)
		fault.surprise = true;
	if (!err && UNDER_FAULT(madvise(page, SZ_4K, MADV_DONTNEED)))
		err = errno;
	/* What could not be written is still there. */
	if (!err && UNDER_FAULT(read(fd, &event, sizeof(event))) < 0 &&
	    (errno != EFAULT || read(fd, &event, sizeof(event)) != sizeof(event)))
		err = errno;
	if (!err && event.cookie != w.cookie)
		err = EPROTO;
	u.slot = w.slot;
	u.cookie = w.cookie;
	if (!err)
		err = FAULTY(fd, HPCVM_MONITOR_UNWATCH, &u);
	return err;
}

static int monitor(int dev)
{
	struct hpcvm_monitor_create create = { .size = sizeof(create), .slots = 1000 };
	char *page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	void *words = MAP_FAILED;
	int err = FAULTY(dev, HPCVM_MONITOR_CREATE, &create);

	if (!err) {
		words = (void *)UNDER_FAULT((long)mmap(NULL, 2 * SZ_4K, PROT_READ, MAP_SHARED,
						       create.out_fd, 0));
		if (words == MAP_FAILED)
			err = errno;
	}
	if (!err)
		err = watched(create.out_fd, page);
	if (words != MAP_FAILED)
		munmap(words, 2 * SZ_4K);
	if (create.out_fd > 0)
		UNDER_FAULT(close(create.out_fd));
	munmap(page, SZ_4K);
	return err;
}

/* Memory that is not there yet is pinned, and let go. */
static int pin(int dev)
{
	char *ram = mmap(NULL, 600 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	struct hpcvm_pin p = { .size = sizeof(p), .addr = (uintptr_t)ram, .length = 600 * SZ_4K };
	int err = FAULTY(dev, HPCVM_PIN, &p);

	if (!err)
		UNDER_FAULT(close(p.out_fd));
	munmap(ram, 600 * SZ_4K);
	return err;
}

/* From the first call of a VM to its last, each of them under fault. */
static int whole_life(int dev)
{
	struct hpcvm_mem_create create = ask(PAGES, 0, 0);
	struct hpcvm_vm_open open = { .size = sizeof(open) };
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_slot_report reports[2];
	struct hpcvm_mem_verify verify = verify_with(reports, 2);
	struct vm vm = { .kvm = new_kvm(), .fd = -1, .mem = -1, .ram = MAP_FAILED };
	struct hpcvm_vm_create vm_call = vm_create(vm.kvm);
	struct hpcvm_mem_slot slot;
	int err;

	open.out_fd = -1;
	err = FAULTY(dev, HPCVM_VM_CREATE, &vm_call);
	if (!err) {
		vm.fd = vm_call.out_fd;
		err = FAULTY(dev, HPCVM_MEM_CREATE, &create);
	}
	if (!err) {
		vm.mem = create.out_fd;
		vm.ram = map_shared(vm.mem, RAM);
		err = kvm_memslot(vm.kvm, 0, 0, RAM, vm.ram, 0);
	}
	slot = mem_slot(vm.mem, 0, 0, RAM);
	open.id = vm_call.out_id;
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_SLOT, &slot);
	if (!err)
		err = FAULTY(dev, HPCVM_VM_OPEN, &open);
	if (!err)
		err = FAULTY(open.out_fd, HPCVM_MEM_VERIFY, &verify);
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_VERIFY, &verify);
	if (!err)
		err = FAULTY(vm.fd, HPCVM_MEM_UNSLOT, &unslot);
	if (vm.ram != MAP_FAILED)
		munmap(vm.ram, RAM);
	close(vm.mem);
	UNDER_FAULT(close(vm.fd));
	UNDER_FAULT(close(open.out_fd));
	close(vm.kvm);
	return err;
}

/* One round, in a child. */
enum { HIT, CLEAN, BAD };

static int play(int (*scenario)(int dev), unsigned int nth)
{
	int dev = open_device(), err;
	struct own before, after;

	look_own();
	before = look_own();
	fault.fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	fault.left = nth;
	err = scenario(dev);
	close(fault.fd);
	after = look_own();
	if (!fault.hit && err)
		printf("# errno %d without a fault\n", err);
	if (before.fds != after.fds || before.maps != after.maps)
		printf("# fds %d -> %d, mappings %d -> %d\n",
		       before.fds, after.fds, before.maps, after.maps);
	if (fault.surprise || (!fault.hit && err) || memcmp(&before, &after, sizeof(before)))
		return BAD;
	if (!fault.hit)
		return CLEAN;
	fault.left = 0;
	err = scenario(dev);
	if (err)
		printf("# errno %d when it was done again\n", err);
	return err || fault.surprise ? BAD : HIT;
}

/*
 * A kernel that tests the lives of kobjects (DEBUG_KOBJECT_RELEASE) lets a slot
 * go, and with it its pages, some seconds late. The pool is asked when the
 * sweep is over, or after each point (@slowly) to learn which one it was.
 */
static int rounds(struct __test_metadata *_metadata, int (*scenario)(int dev), bool slowly)
{
	struct node before = look_node(), after;
	long free = pool_free(SZ_2M);
	int outcome = HIT, bad = 0;
	unsigned int nth;

	for (nth = 1; outcome != CLEAN && bad < BAD_ENOUGH; nth++) {
		fflush(stdout);
		outcome = IN_CHILD(({ int o = play(scenario, nth); fflush(stdout); o; }));
		after = look_node();
		if (memcmp(&before, &after, sizeof(before)))
			printf("# module %ld -> %ld, kvm %ld -> %ld, VMs %ld -> %ld, reservations %ld -> %ld, claims %ld -> %ld, slots %ld -> %ld\n",
			       before.module, after.module, before.kvm, after.kvm, before.vms,
			       after.vms, before.reservations, after.reservations,
			       before.claims, after.claims, before.slots, after.slots);
		else if ((outcome == HIT || outcome == CLEAN) &&
			 (!slowly || pool_settles(SZ_2M, free)))
			continue;
		TH_LOG("at injection point %u", nth);
		bad++;
	}
	printf("# %u injection points\n", nth - 2);
	return bad;
}

static void sweep(struct __test_metadata *_metadata, int (*scenario)(int dev))
{
	long free = pool_free(SZ_2M);

	EXPECT_EQ(0, rounds(_metadata, scenario, false));
	EXPECT_TRUE(pool_settles(SZ_2M, free)) {
		TH_LOG("free %ld -> %ld, reserved %ld", free, pool_free(SZ_2M),
		       pool_reserved(SZ_2M));
		rounds(_metadata, scenario, true);
	}
	fflush(stdout);
}

static const char *const attrs[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

/* Quiet, and with nothing spared. */
static void put_knob(const char *attr, const char *knob, const char *value)
{
	char path[100];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", attr, knob);
	put_text(path, value);
}

FIXTURE(fail)
{
	long free;
	int kvm;	/* the first and the last of a node take their time */
};

FIXTURE_SETUP(fail)
{
	int i;

	if (access(FAIL_NTH, W_OK))
		SKIP(return, "this kernel has no fault injection");
	for (i = 0; i < 3; i++) {
		put_knob(attrs[i], "verbose", "0");
		put_knob(attrs[i], "ignore-gfp-wait", "N");
		put_knob(attrs[i], "ignore-gfp-highmem", "N");
		put_knob(attrs[i], "min-order", "0");
	}
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	ASSERT_EQ(POOL_PAGES, pool_set(SZ_2M, 0, POOL_PAGES));
	self->free = pool_free(SZ_2M);
	self->kvm = new_kvm();
	ASSERT_EQ(0, list_cores("2-3"));
}

FIXTURE_TEARDOWN(fail)
{
	close(self->kvm);
	EXPECT_EQ(0, list_cores("\n"));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

#define SWEEP(_scenario) TEST_F_TIMEOUT(fail, _scenario, 600) { sweep(_metadata, _scenario); }

SWEEP(query)
SWEEP(create_vm)
SWEEP(open_handle)
SWEEP(memory)
SWEEP(memory_on_node)
SWEEP(fd_table)
SWEEP(prepared)
SWEEP(reservation)
SWEEP(slot)
SWEEP(adopt)
SWEEP(verify)
SWEEP(watch)
SWEEP(vcpu)
SWEEP(first_claim)
SWEEP(monitor)
SWEEP(pin)
SWEEP(whole_life)

/* Only what is called from this range of code fails from now on; 0: whatever it is. */
static void only_below(unsigned long long start, unsigned long long size)
{
	char from[32], to[32];
	int i;

	sprintf(from, "%#llx", start);
	sprintf(to, "%#llx", size ? start + size : ~0ULL);
	for (i = 0; i < 3; i++) {
		put_knob(attrs[i], "require-start", from);
		put_knob(attrs[i], "require-end", to);
	}
}

/* Where the module's code begins; beyond what a signed number holds. */
static unsigned long long text_begins(void)
{
	unsigned long long addr = 0;
	FILE *f = fopen("/sys/module/hpcvm/sections/.text", "r");

	if (!f || fscanf(f, "%llx", &addr) != 1)
		addr = 0;
	if (f)
		fclose(f);
	return addr;
}

/* The look of those who watch is made by a worker, and made again if it fails. */
TEST_F_TIMEOUT(fail, look_of_a_watch, 60)
{
	struct pollfd pfd = { .events = POLLIN };
	struct vm vm;
	int dev = open_device();

	if (access(DEBUGFS "failslab/require-start", W_OK))
		SKIP(return, "this kernel cannot fail allocations by who makes them");
	ASSERT_EQ(0, vm_begin_slots(dev, &vm));
	ASSERT_EQ(0, broken(vm.fd));
	pfd.fd = vm.fd;
	EXPECT_EQ(0, poll(&pfd, 1, 2000));

	only_below(text_begins(), 0x40000);
	put_knob("failslab", "times", "2");
	put_knob("failslab", "probability", "100");
	EXPECT_EQ(0, fallocate(vm.mem, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SZ_2M, SZ_2M));
	EXPECT_EQ(1, poll(&pfd, 1, 10000 * slow()));
	put_knob("failslab", "probability", "0");
	EXPECT_EQ(0, get_number(DEBUGFS "failslab/times"));
	put_knob("failslab", "times", "-1");
	only_below(0, 0);
	EXPECT_EQ(HPCVM_BROKEN_ABSENT, broken(vm.fd));
	vm_finish(&vm);
	close(dev);
}

static unsigned long long address_of(const char *name)
{
	char line[300], symbol[128];
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long long addr = 0;

	while (f && fgets(line, sizeof(line), f) &&
	       (sscanf(line, "%llx %*c %127s", &addr, symbol) != 2 || strcmp(symbol, name)))
		addr = 0;
	if (f)
		fclose(f);
	return addr;
}

static bool loaded(void)
{
	return !access("/sys/module/hpcvm", F_OK) || !access("/sys/class/misc/hpcvm", F_OK);
}

/* Where kobjects go late (see above) the module must not go before them. */
static bool unload(void)
{
	sleep(5);
	return !syscall(SYS_delete_module, "hpcvm", O_NONBLOCK) && !loaded();
}

/* Loaded or not; if it is, it works, and goes. */
static int load(const char *path, unsigned int nth)
{
	int file = open(path, O_RDONLY | O_CLOEXEC), dev, err;

	fault.fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	fault.left = nth;
	err = UNDER_FAULT(syscall(SYS_finit_module, file, "", 0)) < 0 ? errno : 0;
	fault.left = 0;
	if (err) {
		if (loaded() || !fault.hit)
			return BAD;
		return HIT;
	}
	dev = open_device();
	err = reservation(dev);
	if (!err)
		err = whole_life(dev);
	close(dev);
	if (err || fault.surprise || !unload())
		return BAD;
	return fault.hit ? HIT : CLEAN;
}

/* Of what the module does when it is loaded; not of the kernel's loading it. */
TEST_F_TIMEOUT(fail, loading, 600)
{
	unsigned long long init = address_of("do_one_initcall");
	const char *path = getenv("HPCVM_KO");
	long free = pool_free(SZ_2M);
	unsigned int nth, bad = 0;
	int outcome = HIT;

	if (!path || !init || access(DEBUGFS "failslab/require-start", W_OK))
		SKIP(return, "no HPCVM_KO, or this kernel cannot fail allocations by who makes them");
	ASSERT_TRUE(unload());
	only_below(init, 0x300);
	for (nth = 1; outcome != CLEAN && bad < BAD_ENOUGH; nth++) {
		fflush(stdout);
		outcome = IN_CHILD(load(path, nth));
		if (outcome == HIT || outcome == CLEAN)
			continue;
		TH_LOG("at injection point %u", nth);
		bad++;
	}
	only_below(0, 0);
	EXPECT_EQ(0, bad);
	printf("# %u injection points\n", nth - 2);
	fflush(stdout);
	EXPECT_TRUE(pool_settles(SZ_2M, free));
	EXPECT_EQ(0, syscall(SYS_finit_module, open(path, O_RDONLY | O_CLOEXEC), "", 0));
}

TEST_HARNESS_MAIN
