// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may do what: each row of the table in Documentation/security.rst, tried by
 * a user without rights, by a member of group kvm, by root, and where it is a
 * capability that counts by root without it and by a user who has it in a
 * user namespace of his own alone.
 */
#include <sched.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include "monitor.h"
#include "reserve.h"
#include "vcpu.h"

#define NOBODY 65534
#define MEMBER 1000

static gid_t kvm_group(void)
{
	struct group *group = getgrnam("kvm");

	return group ? group->gr_gid : 0;
}

/* Who tries. */
enum who { STRANGER, A_MEMBER, ROOT, LESS, NAMESPACE };

static int drop_capability(int cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return errno;
	data[cap / 32].effective &= ~(1u << cap % 32);
	data[cap / 32].permitted &= ~(1u << cap % 32);
	return syscall(SYS_capset, &head, data) ? errno : 0;
}

/* In a child of its own: become somebody; LESS is root without @cap. */
static void become_who(enum who who, int cap)
{
	int err = 0;

	switch (who) {
	case STRANGER:
		become(NOBODY, NOBODY);
		break;
	case A_MEMBER:
		become(MEMBER, kvm_group());
		break;
	case ROOT:
		break;
	case LESS:
		err = drop_capability(cap);
		break;
	case NAMESPACE:
		become(MEMBER, kvm_group());
		err = unshare(CLONE_NEWUSER);
		break;
	}
	if (err)
		_exit(96);
}

/* What @expr gives, done by somebody. */
#define AS(who, cap, expr) IN_CHILD((become_who(who, cap), (expr)))

static int open_errno(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

FIXTURE(permit)
{
	int dev;
};

/* The rule that `make install` brings, at work; and a few hugepages. */
FIXTURE_SETUP(permit)
{
	ASSERT_NE(0, kvm_group());
	ASSERT_EQ(0, system("mkdir -p /run/udev/rules.d && "
			    "cp scripts/install/60-hpcvm.rules /run/udev/rules.d/ && "
			    "udevadm control --reload && "
			    "udevadm trigger --action=add /sys/class/misc/hpcvm && "
			    "udevadm settle"));
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	ASSERT_LE(8, pool_set(SZ_2M, HPCVM_NODE_ANY, 8));
}

FIXTURE_TEARDOWN(permit)
{
	drop_all(self->dev);
	close(self->dev);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
}

TEST_F(permit, open_device)
{
	EXPECT_EQ(EACCES, AS(STRANGER, 0, open_errno("/dev/hpcvm", O_RDWR)));
	EXPECT_EQ(EACCES, AS(STRANGER, 0, open_errno("/dev/hpcvm", O_RDONLY)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, open_errno("/dev/hpcvm", O_RDWR)));
	EXPECT_EQ(0, AS(ROOT, 0, open_errno("/dev/hpcvm", O_RDWR)));
}

/* A VM with memory and a slot, all by a user's own means. */
static int run_vm(void)
{
	int dev = open_device(), kvm = new_kvm(), vm = new_vm(dev, kvm);
	int mem = new_mem(dev, 4 * SZ_2M, SZ_2M);
	struct hpcvm_mem_slot slot = mem_slot(mem, 0, 0, 4 * SZ_2M);
	char *ram = map_shared(mem, 4 * SZ_2M);

	if (dev < 0 || vm < 0 || mem < 0)
		return 1;
	if (kvm_memslot(kvm, 0, 0, 4 * SZ_2M, ram, 0) || call(vm, HPCVM_MEM_SLOT, &slot))
		return 2;
	return broken(vm) ? 3 : run_guest(kvm, ram, 0, 4 * SZ_2M) != KVM_EXIT_HLT;
}

TEST_F(permit, run_a_vm)
{
	EXPECT_EQ(1, AS(STRANGER, 0, run_vm()));
	EXPECT_EQ(0, AS(A_MEMBER, 0, run_vm()));
	EXPECT_EQ(0, AS(ROOT, 0, run_vm()));
}

/* For whom else it may be: reserve.for_whom. */
TEST_F(permit, draw_a_reservation)
{
	ASSERT_NE(0, reserve(self->dev, 2, HPCVM_NODE_ANY));
	EXPECT_EQ(0, AS(A_MEMBER, 0, take(open_device(), 2, HPCVM_NODE_ANY, NULL) <= 0));
	EXPECT_EQ(0, nr_reservations());
}

/* 0 if all three that make or drop reservations are refused for want of CAP_SYS_ADMIN. */
static int no_reserving(int dev, int mem, uint64_t id)
{
	struct hpcvm_mem_create create = ask(1, HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	struct hpcvm_reserve_park park = park_of(mem, HPCVM_NODE_ANY);
	struct hpcvm_reserve_drop drop = { .size = sizeof(drop), .id = id };

	return !(call(dev, HPCVM_MEM_CREATE, &create) == EPERM &&
		 create.reason == HPCVM_REASON_NOT_ADMIN &&
		 call(dev, HPCVM_RESERVE_PARK, &park) == EPERM &&
		 park.reason == HPCVM_REASON_NOT_ADMIN &&
		 call(dev, HPCVM_RESERVE_DROP, &drop) == EPERM &&
		 drop.reason == HPCVM_REASON_NOT_ADMIN);
}

/* An fd that root has opened gives nobody what root may. */
TEST_F(permit, make_and_drop_reservations)
{
	uint64_t id = reserve(self->dev, 1, HPCVM_NODE_ANY);
	int mem = ready(self->dev, 1, HPCVM_NODE_ANY);

	EXPECT_EQ(0, AS(STRANGER, 0, no_reserving(self->dev, mem, id)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, no_reserving(self->dev, mem, id)));
	EXPECT_EQ(0, AS(LESS, CAP_SYS_ADMIN, no_reserving(self->dev, mem, id)));
	EXPECT_EQ(0, AS(NAMESPACE, 0, no_reserving(self->dev, mem, id)));
	EXPECT_EQ(1, nr_reservations());
	EXPECT_EQ(0, AS(ROOT, 0, drop(self->dev, id)));
	close(mem);
}

static int open_vm(int dev, uint64_t id)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .id = id };
	int err = call(dev, HPCVM_VM_OPEN, &open);

	return open.reason == (err == EPERM ? HPCVM_REASON_NOT_PERMITTED : 0) ? err : 97;
}

/* A VM of a user's; he waits until the pipe is closed. The VM's id. */
static uint64_t vm_of(enum who who, int dev, pid_t *child, int *hold)
{
	uint64_t id = 0;
	int in[2], out[2];
	char c;

	if (pipe(in) || pipe(out))
		return 0;
	*child = fork();
	if (!*child) {
		struct hpcvm_vm_create create;

		become_who(who, 0);
		create = vm_create(new_kvm());
		if (call(dev, HPCVM_VM_CREATE, &create) ||
		    write(in[1], &create.out_id, sizeof(create.out_id)) < 0)
			_exit(1);
		close(out[1]);
		_exit(read(out[0], &c, 1));
	}
	close(in[1]);
	close(out[0]);
	if (read(in[0], &id, sizeof(id)) != sizeof(id))
		id = 0;
	close(in[0]);
	*hold = out[1];
	return id;
}

TEST_F(permit, look_at_a_vm)
{
	pid_t child;
	int hold;
	uint64_t id = vm_of(A_MEMBER, self->dev, &child, &hold);

	ASSERT_NE(0, id);
	EXPECT_EQ(EPERM, AS(STRANGER, 0, open_vm(self->dev, id)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, open_vm(self->dev, id)));
	EXPECT_EQ(0, AS(ROOT, 0, open_vm(self->dev, id)));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_PTRACE, open_vm(self->dev, id)));
	close(hold);
	waitpid(child, NULL, 0);

	/* Another member's, and root's. */
	id = vm_of(ROOT, self->dev, &child, &hold);
	ASSERT_NE(0, id);
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, open_vm(self->dev, id)));
	EXPECT_EQ(EPERM, AS(NAMESPACE, 0, open_vm(self->dev, id)));
	close(hold);
	waitpid(child, NULL, 0);
}

/* Nobody changes a VM by a handle, nor by a VM fd that has come to him. */
static int change(int vm, int handle)
{
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };

	if (call(handle, HPCVM_MEM_UNSLOT, &unslot) != ENOTTY)
		return 1;
	return call(vm, HPCVM_MEM_UNSLOT, &unslot) != EPERM ||
	       unslot.reason != HPCVM_REASON_OTHER_MM;
}

TEST_F(permit, change_a_vm)
{
	struct hpcvm_vm_create create = vm_create(new_kvm());
	struct hpcvm_vm_open open = { .size = sizeof(open) };

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	open.id = create.out_id;
	ASSERT_EQ(0, call(self->dev, HPCVM_VM_OPEN, &open));
	EXPECT_EQ(0, AS(STRANGER, 0, change(create.out_fd, open.out_fd)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, change(create.out_fd, open.out_fd)));
	EXPECT_EQ(0, AS(ROOT, 0, change(create.out_fd, open.out_fd)));
	close(open.out_fd);
	close(create.out_fd);
	close(create.kvm_fd);
}

/* Everybody reads sysfs, nobody writes there. */
TEST_F(permit, sysfs_is_for_reading)
{
	struct hpcvm_vm_create create = vm_create(new_kvm());
	char path[128];

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	ASSERT_NE(0, reserve(self->dev, 1, HPCVM_NODE_ANY));
	snprintf(path, sizeof(path), VMS "/%llu/uid", (unsigned long long)create.out_id);
	EXPECT_EQ(0, AS(STRANGER, 0, get_number(path)));
	EXPECT_EQ(0, system("! find " VMS "/ " RESERVATIONS "/ -type f -perm /222 | grep ."));
	EXPECT_EQ(0, system("! find " VMS "/ " RESERVATIONS "/ -type f ! -perm -444 | grep ."));
	close(create.out_fd);
	close(create.kvm_fd);
}

/* Everybody reads what root alone may write. */
TEST_F(permit, list_cores)
{
	EXPECT_EQ(EACCES, AS(STRANGER, 0, list_cores("2")));
	EXPECT_EQ(EACCES, AS(A_MEMBER, 0, list_cores("2")));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_ADMIN, list_cores("2")));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_ADMIN, put_text(CORES "user_limit", "9")));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_ADMIN, put_text(CORES "thin_ticks", "1")));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_ADMIN, put_text(CORES "max_defer_us", "9000")));
	EXPECT_EQ(EACCES, AS(A_MEMBER, 0, put_text(CORES "thin_ticks", "1")));
	EXPECT_EQ(0, AS(STRANGER, 0, get_number(CORES "user_limit")));
	EXPECT_EQ(0, AS(ROOT, 0, list_cores("2")));
	EXPECT_EQ(0, list_cores("\n"));
	EXPECT_EQ(0, system("! find " CORES " -type f ! -perm 644 ! -perm 444 | grep ."));
}

/* 0, or the errno of the claim, or 99. */
static int claim_a_core(uint32_t flags)
{
	int dev = open_device(), kvm = new_kvm(), vm = new_vm(dev, kvm);
	int vcpu = ioctl(kvm, KVM_CREATE_VCPU, 0);
	void *run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	struct hpcvm_vcpu_claim c = vcpu_claim(0, CPU_A);

	c.flags = flags;
	return vcpu_attach(vm, vcpu, run, NULL) ? 99 : call(vm, HPCVM_VCPU_CLAIM, &c);
}

/* A core that root has listed, and no other. */
TEST_F(permit, claim_a_core)
{
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, claim_a_core(0)));
	EXPECT_EQ(EPERM, AS(ROOT, 0, claim_a_core(0)));
	ASSERT_EQ(0, list_cores("2"));
	EXPECT_EQ(99, AS(STRANGER, 0, claim_a_core(0)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, claim_a_core(0)));
	EXPECT_TRUE(SOON(!AS(ROOT, 0, claim_a_core(0))));
	EXPECT_TRUE(SOON(!list_cores("\n")));
}

TEST_F(permit, claim_with_fifo)
{
	ASSERT_EQ(0, list_cores("2"));
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, claim_a_core(HPCVM_CLAIM_FIFO)));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_NICE, claim_a_core(HPCVM_CLAIM_FIFO)));
	EXPECT_TRUE(SOON(!AS(ROOT, 0, claim_a_core(HPCVM_CLAIM_FIFO))));
	EXPECT_TRUE(SOON(!list_cores("\n")));
}

/* A monitor of one's own, with @slots. */
static int monitor_errno(uint32_t slots)
{
	struct hpcvm_monitor_create c = monitor_create(slots);
	int dev = open_device();

	return dev < 0 ? errno : call(dev, HPCVM_MONITOR_CREATE, &c);
}

TEST_F(permit, watch_own_memory)
{
	long long limit = get_number(MONITORS "user_limit");
	char text[32];

	EXPECT_EQ(EACCES, AS(STRANGER, 0, monitor_errno(10)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, monitor_errno(10)));
	EXPECT_EQ(EACCES, AS(A_MEMBER, 0, put_text(MONITORS "user_limit", "100")));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_ADMIN, put_text(MONITORS "user_limit", "100")));
	EXPECT_EQ(EACCES, AS(NAMESPACE, 0, put_text(MONITORS "user_limit", "100")));
	EXPECT_EQ(EINVAL, put_text(MONITORS "user_limit", "many"));
	ASSERT_EQ(0, AS(ROOT, 0, put_text(MONITORS "user_limit", "100")));

	/* What one user has is nothing to another. */
	EXPECT_EQ(0, monitor_errno(100));
	EXPECT_EQ(0, AS(A_MEMBER, 0, monitor_errno(100)));
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, monitor_errno(101)));
	EXPECT_EQ(EPERM, AS(NAMESPACE, 0, monitor_errno(101)));
	EXPECT_EQ(EPERM, monitor_errno(1));
	snprintf(text, sizeof(text), "%lld", limit);
	EXPECT_EQ(0, put_text(MONITORS "user_limit", text));
}

/* A page of one's own, within a limit of locked memory. */
static int pin_errno(uint64_t limit)
{
	struct rlimit memlock = { limit, limit };
	struct hpcvm_pin p = { .size = sizeof(p), .length = SZ_4K };
	int dev = open_device();

	p.addr = (uintptr_t)mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (dev < 0 || setrlimit(RLIMIT_MEMLOCK, &memlock))
		return errno;
	return call(dev, HPCVM_PIN, &p);
}

TEST_F(permit, pin_own_memory)
{
	EXPECT_EQ(EACCES, AS(STRANGER, 0, pin_errno(SZ_4K)));
	EXPECT_EQ(0, AS(A_MEMBER, 0, pin_errno(SZ_4K)));
	EXPECT_EQ(ENOMEM, AS(A_MEMBER, 0, pin_errno(0)));
	EXPECT_EQ(ENOMEM, AS(LESS, CAP_IPC_LOCK, pin_errno(0)));
	EXPECT_EQ(ENOMEM, AS(NAMESPACE, 0, pin_errno(0)));
	EXPECT_EQ(0, AS(ROOT, 0, pin_errno(0)));
}

TEST_F(permit, change_the_pool)
{
	const char *pool = pool_path(SZ_2M, HPCVM_NODE_ANY, "nr_hugepages");

	EXPECT_EQ(EACCES, AS(STRANGER, 0, open_errno(pool, O_WRONLY)));
	EXPECT_EQ(EACCES, AS(A_MEMBER, 0, open_errno(pool, O_WRONLY)));
	EXPECT_EQ(0, AS(ROOT, 0, open_errno(pool, O_WRONLY)));
}

static int load(void)
{
	int ko = open(getenv("HPCVM_KO"), O_RDONLY);

	if (ko < 0)
		return 99;
	return syscall(SYS_finit_module, ko, "", 0) ? errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, "hpcvm", O_NONBLOCK) ? errno : 0;
}

TEST_F(permit, load_and_unload)
{
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, load()));
	EXPECT_EQ(EPERM, AS(A_MEMBER, 0, unload()));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_MODULE, load()));
	EXPECT_EQ(EPERM, AS(LESS, CAP_SYS_MODULE, unload()));
	EXPECT_EQ(EEXIST, AS(ROOT, 0, load()));
}

TEST_HARNESS_MAIN
