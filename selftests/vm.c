// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM object: what may be put in hpcvm's charge, who may look at it, how
 * it ends, and that nothing of it is left.
 */
#include <grp.h>
#include <sys/eventfd.h>
#include "selftest.h"

#define NOBODY 65534

FIXTURE(vm)
{
	int dev;
	int kvm;
	long users;	/* of KVM */
};

FIXTURE_SETUP(vm)
{
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	self->users = kvm_users();
	self->kvm = new_kvm();
	ASSERT_LE(0, self->kvm);
	ASSERT_EQ(0, count_entries(VMS));
}

FIXTURE_TEARDOWN(vm)
{
	close(self->dev);
	close(self->kvm);
	EXPECT_EQ(0, count_entries(VMS));
	EXPECT_TRUE(kvm_settles(self->users));
}

static int open_vm(int dev, uint64_t id, struct hpcvm_vm_open *open)
{
	*open = (struct hpcvm_vm_open){ .size = sizeof(*open), .id = id };
	return call(dev, HPCVM_VM_OPEN, open);
}

TEST_F(vm, not_a_kvm_vm)
{
	int kvm = open("/dev/kvm", O_RDWR), vcpu = ioctl(self->kvm, KVM_CREATE_VCPU, 0);
	int fds[] = { kvm, vcpu, eventfd(0, 0), memfd_create("kvm-vm", 0), self->dev };
	unsigned int i;

	for (i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		struct hpcvm_vm_create create = vm_create(fds[i]);

		ASSERT_LE(0, fds[i]);
		EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EINVAL,
			       HPCVM_REASON_NOT_KVM, fds[i]);
		if (fds[i] != self->dev)
			close(fds[i]);
	}
}

TEST_F(vm, not_an_fd)
{
	struct hpcvm_vm_create create = vm_create(-1);

	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EBADF, HPCVM_REASON_FD, -1);
	create = vm_create(999);
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EBADF, HPCVM_REASON_FD, 999);
}

TEST_F(vm, other_mm)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);

	EXPECT_EQ(EPERM, IN_CHILD(call(self->dev, HPCVM_VM_CREATE, &create)));
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(self->dev, HPCVM_VM_CREATE, &create), create.reason)));
}

TEST_F(vm, twice)
{
	struct hpcvm_vm_create first = vm_create(self->kvm), second = first;

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &first));
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &second, EBUSY, HPCVM_REASON_VM_EXISTS,
		       first.out_id);
	close(first.out_fd);
	second = vm_create(self->kvm);
	EXPECT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &second));
	EXPECT_LT(first.out_id, second.out_id);
	close(second.out_fd);
}

static void nothing(int sig)
{
}

/* Signals that a program handles are none of its calls' business. */
TEST_F(vm, signals)
{
	pid_t parent = getpid(), child;
	int i;

	signal(SIGUSR1, nothing);
	child = fork();
	ASSERT_LE(0, child);
	while (!child) {
		usleep(700);
		if (getppid() != parent || kill(parent, SIGUSR1))
			_exit(0);
	}
	for (i = 0; i < 500; i++) {
		struct hpcvm_vm_create create = vm_create(self->kvm);

		ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create)) TH_LOG("call %d", i);
		close(create.out_fd);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TEST_F(vm, close_on_exec)
{
	int vm = new_vm(self->dev, self->kvm);

	ASSERT_LE(0, vm);
	EXPECT_EQ(FD_CLOEXEC, fcntl(vm, F_GETFD));
	close(vm);
}

TEST_F(vm, name)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);

	memset(create.name, 'a', sizeof(create.name));
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EINVAL, HPCVM_REASON_NAME,
		       HPCVM_NAME_MAX - 1);
	strcpy(create.name, "two\nlines");
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EINVAL, HPCVM_REASON_NAME, 3);
	strcpy(create.name, "\033[2J");
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EINVAL, HPCVM_REASON_NAME, 0);
	strcpy(create.name, "x\xc2\x9b""2J");
	EXPECT_REFUSED(self->dev, HPCVM_VM_CREATE, &create, EINVAL, HPCVM_REASON_NAME, 1);
}

static int read_text(uint64_t id, const char *name, char *text, size_t len)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), VMS "/%llu/%s", (unsigned long long)id, name);
	f = fopen(path, "r");
	if (!f || !fgets(text, len, f))
		return -1;
	fclose(f);
	return 0;
}

TEST_F(vm, sysfs)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);
	char text[128], pid[16];

	strcpy(create.name, "node one");
	memcpy(create.uuid, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	ASSERT_EQ(0, read_text(create.out_id, "uuid", text, sizeof(text)));
	EXPECT_STREQ("01234567-89ab-cdef-0123-456789abcdef\n", text);
	ASSERT_EQ(0, read_text(create.out_id, "name", text, sizeof(text)));
	EXPECT_STREQ("node one\n", text);
	ASSERT_EQ(0, read_text(create.out_id, "uid", text, sizeof(text)));
	EXPECT_STREQ("0\n", text);
	ASSERT_EQ(0, read_text(create.out_id, "pid", text, sizeof(text)));
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	EXPECT_STREQ(pid, text);
	EXPECT_EQ(0, read_text(create.out_id, "kvm_pages_4k", text, sizeof(text)));
	close(create.out_fd);
	EXPECT_NE(0, read_text(create.out_id, "uuid", text, sizeof(text)));
}

TEST_F(vm, kvm_fd_closed_first)
{
	int vm = new_vm(self->dev, self->kvm);
	struct hpcvm_mem_verify verify = { .size = sizeof(verify) };

	ASSERT_LE(0, vm);
	close(self->kvm);
	EXPECT_EQ(0, call(vm, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(HPCVM_BROKEN_NO_RAM, verify.broken);
	close(vm);
}

TEST_F(vm, handle)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);
	struct hpcvm_mem_verify verify = { .size = sizeof(verify) };
	struct hpcvm_query query = { .size = sizeof(query) };
	struct hpcvm_vm_open open;

	EXPECT_EQ(ENOENT, open_vm(self->dev, UINT64_MAX, &open));
	EXPECT_EQ(HPCVM_REASON_VM_UNKNOWN, open.reason);
	EXPECT_EQ(UINT64_MAX, open.detail);
	EXPECT_EQ(ENOENT, open_vm(self->dev, 0, &open));

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	ASSERT_EQ(0, open_vm(self->dev, create.out_id, &open));
	EXPECT_EQ(FD_CLOEXEC, fcntl(open.out_fd, F_GETFD));
	EXPECT_EQ(0, call(open.out_fd, HPCVM_MEM_VERIFY, &verify));
	EXPECT_EQ(0, call(open.out_fd, HPCVM_QUERY, &query));
	EXPECT_EQ(create.out_id, query.vm_id);

	/* The handle keeps nothing alive. */
	close(create.out_fd);
	EXPECT_EQ(0, count_entries(VMS));
	EXPECT_REFUSED(open.out_fd, HPCVM_MEM_VERIFY, &verify, ENODEV, HPCVM_REASON_VM_GONE,
		       create.out_id);
	EXPECT_EQ(ENODEV, call(open.out_fd, HPCVM_MEM_VERIFY, &verify));
	close(open.out_fd);
	EXPECT_EQ(ENOENT, open_vm(self->dev, create.out_id, &open));
}

/* What a user other than the owner sees. */
static int open_as_nobody(int dev, uint64_t id, struct hpcvm_vm_open *open)
{
	if (setgroups(0, NULL) || setresuid(NOBODY, NOBODY, NOBODY))
		return 99;
	return open_vm(dev, id, open);
}

TEST_F(vm, handle_of_another_user)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);
	struct hpcvm_vm_open *open = shared_page();

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	EXPECT_EQ(EPERM, IN_CHILD(open_as_nobody(self->dev, create.out_id, open)));
	EXPECT_EQ(HPCVM_REASON_NOT_PERMITTED, open->reason);
	EXPECT_EQ(0, open->detail);
	/* Without the group, the device cannot even be opened. */
	EXPECT_EQ(EACCES, IN_CHILD(setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
				   setresuid(NOBODY, NOBODY, NOBODY) ? 99 :
				   open_device() < 0 ? errno : 0));
	close(create.out_fd);
}

/* The owner's uid is enough, with no capability. */
static int open_own_as_nobody(int dev)
{
	struct hpcvm_vm_create create;
	struct hpcvm_vm_open open;
	int kvm = new_kvm(), err;

	if (setgroups(0, NULL) || setresuid(NOBODY, NOBODY, NOBODY))
		return 99;
	create = vm_create(kvm);
	err = call(dev, HPCVM_VM_CREATE, &create);
	return err ? err : open_vm(dev, create.out_id, &open);
}

TEST_F(vm, handle_of_own)
{
	EXPECT_EQ(0, IN_CHILD(open_own_as_nobody(self->dev)));
}

/* An inherited VM fd keeps the VM, but gives no power over it. */
TEST_F(vm, fork)
{
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };
	struct hpcvm_mem_slot slot = mem_slot(0, 0, 0, SZ_2M);
	int vm = new_vm(self->dev, self->kvm), ready[2];
	pid_t child;
	char c;

	ASSERT_LE(0, vm);
	ASSERT_EQ(0, pipe(ready));
	EXPECT_EQ(EPERM, IN_CHILD(call(vm, HPCVM_MEM_UNSLOT, &unslot)));
	EXPECT_EQ(HPCVM_REASON_OTHER_MM,
		  IN_CHILD((call(vm, HPCVM_MEM_UNSLOT, &unslot), unslot.reason)));
	EXPECT_EQ(EINVAL, IN_CHILD(call(vm, HPCVM_MEM_SLOT, &slot)));
	child = fork();
	if (!child) {
		close(ready[0]);
		pause();
	}
	close(ready[1]);
	close(vm);
	EXPECT_EQ(1, count_entries(VMS));
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_EQ(0, read(ready[0], &c, 1));
	EXPECT_EQ(0, count_entries(VMS));
}

/* The process that ran the VM is gone, but its fd lives on elsewhere. */
TEST_F(vm, owner_gone)
{
	struct hpcvm_mem_verify *verify = shared_page();
	pid_t *heir = (pid_t *)shared_page();
	char text[32], c;
	int ready[2];
	pid_t owner;

	ASSERT_EQ(0, pipe(ready));
	owner = fork();
	if (!owner) {
		int vm = new_vm(self->dev, new_kvm());

		owner = getpid();
		*heir = fork();
		if (*heir)
			_exit(0);
		*heir = getpid();
		while (kill(owner, 0) == 0)
			usleep(1000);
		*verify = (struct hpcvm_mem_verify){ .size = sizeof(*verify) };
		c = call(vm, HPCVM_MEM_VERIFY, verify);
		if (write(ready[1], &c, 1) == 1)
			pause();
	}
	waitpid(owner, NULL, 0);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	EXPECT_EQ(ENODEV, c);
	EXPECT_EQ(HPCVM_REASON_VM_GONE, verify->reason);
	ASSERT_EQ(0, read_text(verify->detail, "pid", text, sizeof(text)));
	EXPECT_STREQ("0\n", text);
	kill(*heir, SIGKILL);
	while (kill(*heir, 0) == 0)
		usleep(1000);
}

/* No fd left, no memory to write to: no VM, no handle. */
TEST_F(vm, nothing_half_done)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);
	struct hpcvm_vm_open *open = shared_page();
	int last;

	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	*open = (struct hpcvm_vm_open){ .size = sizeof(*open), .id = create.out_id };
	mprotect(open, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->dev, HPCVM_VM_OPEN, open));
	mprotect(open, SZ_4K, PROT_READ | PROT_WRITE);
	last = (create.out_fd > self->kvm ? create.out_fd : self->kvm) + 1;
	while (dup(0) >= 0)
		;
	EXPECT_EQ(EMFILE, call(self->dev, HPCVM_VM_OPEN, open));
	closefrom(last);
	close(create.out_fd);
	EXPECT_EQ(0, count_entries(VMS));
	while (dup(0) >= 0)
		;
	create = vm_create(self->kvm);
	EXPECT_EQ(EMFILE, call(self->dev, HPCVM_VM_CREATE, &create));
	closefrom(last);
	EXPECT_EQ(0, count_entries(VMS));
}

TEST_F(vm, killed)
{
	int ready[2], i;
	char c;

	for (i = 0; i < 20; i++) {
		pid_t child;

		ASSERT_EQ(0, pipe(ready));
		child = fork();
		if (!child) {
			c = new_vm(self->dev, new_kvm()) < 0;
			if (write(ready[1], &c, 1) == 1)
				pause();
			_exit(1);
		}
		ASSERT_EQ(1, read(ready[0], &c, 1));
		EXPECT_EQ(0, c);
		EXPECT_EQ(1, count_entries(VMS));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		EXPECT_EQ(0, count_entries(VMS));
		close(ready[0]);
		close(ready[1]);
	}
}

static int unload(void)
{
	return syscall(SYS_delete_module, "hpcvm", O_NONBLOCK) ? errno : 0;
}

/* Unload is refused while anything is open. */
TEST_F(vm, unload_refused)
{
	struct hpcvm_vm_create create = vm_create(self->kvm);
	struct hpcvm_vm_open open;

	EXPECT_EQ(EAGAIN, unload());
	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create));
	ASSERT_EQ(0, open_vm(self->dev, create.out_id, &open));
	close(self->dev);
	EXPECT_EQ(EAGAIN, unload());
	close(create.out_fd);
	EXPECT_EQ(EAGAIN, unload());
	self->dev = open_device();
	close(open.out_fd);
}

TEST_HARNESS_MAIN
