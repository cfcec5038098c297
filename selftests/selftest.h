/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the selftests share: the device, a real KVM VM, the node's hugepage
 * pools. They use the raw ABI, not libhpcvm, and run as root on a node that
 * is theirs (scripts/node/run).
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/hpcvm.h>

/* How many times slower than a stock kernel this node's is. */
static inline int slow(void)
{
	const char *times = getenv("HPCVM_SLOW");

	return times ? atoi(times) : 1;
}

/* The harness knows time limits by alarm() alone. */
#define alarm(seconds) alarm((seconds) * slow())
#include "kselftest_harness.h"

#define SZ_4K 0x1000UL
#define SZ_2M 0x200000UL
#define SZ_1G 0x40000000UL
#define VMS "/sys/class/misc/hpcvm/vms"

/* An ioctl as an errno: 0 or what went wrong. */
static inline int call(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) < 0 ? errno : 0;
}

static inline int open_device(void)
{
	return open("/dev/hpcvm", O_RDWR | O_CLOEXEC);
}

static inline int new_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	/* It takes all locks of an address space, which gives way to any signal. */
	do
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
	while (vm < 0 && errno == EINTR);
	close(kvm);
	return vm;
}

/* KVM's memslot: @size bytes at @gpa are @hva. 0 bytes: delete it. */
static inline int kvm_memslot(int kvm, uint32_t slot, uint64_t gpa, uint64_t size, void *hva,
			      uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = size, .userspace_addr = (uintptr_t)hva,
	};

	return call(kvm, KVM_SET_USER_MEMORY_REGION, &region);
}

static inline struct hpcvm_vm_create vm_create(int kvm)
{
	return (struct hpcvm_vm_create){ .size = sizeof(struct hpcvm_vm_create), .kvm_fd = kvm };
}

static inline struct hpcvm_mem_create mem_create(uint64_t length, uint64_t page_size, int node)
{
	return (struct hpcvm_mem_create){ .size = sizeof(struct hpcvm_mem_create),
		.length = length, .page_size = page_size, .node = node };
}

static inline struct hpcvm_mem_slot mem_slot(int mem, uint64_t gpa, uint64_t offset, uint64_t length)
{
	return (struct hpcvm_mem_slot){ .size = sizeof(struct hpcvm_mem_slot), .mem_fd = mem,
		.node = HPCVM_NODE_ANY, .gpa = gpa, .offset = offset, .length = length };
}

static inline struct hpcvm_mem_adopt mem_adopt(void *ram, uint64_t gpa, uint64_t length, int node)
{
	return (struct hpcvm_mem_adopt){ .size = sizeof(struct hpcvm_mem_adopt), .node = node,
		.gpa = gpa, .hva = (uintptr_t)ram, .length = length };
}

/* A verification with room for so many slots. */
static inline struct hpcvm_mem_verify verify_with(struct hpcvm_slot_report *reports, uint32_t room)
{
	return (struct hpcvm_mem_verify){ .size = sizeof(struct hpcvm_mem_verify),
		.nr_slots = room, .slot_size = sizeof(*reports), .slots = (uintptr_t)reports };
}

/* What is broken now, or all bits if the call itself failed. */
static inline uint64_t broken(int vm)
{
	struct hpcvm_mem_verify verify = verify_with(NULL, 0);

	return call(vm, HPCVM_MEM_VERIFY, &verify) ? ~0ULL : verify.broken;
}

/*
 * A guest in flat 32-bit mode that writes one word at each step of [from, to)
 * and halts.
 */
static inline int run_guest_step(int kvm, char *ram, uint32_t from, uint32_t to, uint32_t step)
{
	unsigned char code[] = {
		0xbf, 0, 0, 0, 0,			/*    mov  $from, %edi */
		0x89, 0x07,				/* 1: mov  %eax, (%edi) */
		0x81, 0xc7, 0, 0, 0, 0,			/*    add  $step, %edi */
		0x81, 0xff, 0, 0, 0, 0,			/*    cmp  $to, %edi */
		0x72, 0xf0,				/*    jb   1b */
		0xf4,					/*    hlt */
	};
	struct kvm_segment flat = { .limit = ~0u, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	static int vcpu = -1;
	static struct kvm_run *run;
	struct kvm_sregs sregs;

	memcpy(code + 1, &from, 4);
	memcpy(code + 9, &step, 4);
	memcpy(code + 15, &to, 4);
	memcpy(ram + 0x1000, code, sizeof(code));
	if (vcpu < 0) {
		vcpu = ioctl(kvm, KVM_CREATE_VCPU, 0);
		run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	}
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.ds = sregs.es = sregs.ss = sregs.cs = flat;
	sregs.ds.type = sregs.es.type = sregs.ss.type = 3;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs) ||
	    ioctl(vcpu, KVM_RUN, 0))
		return -1;
	return run->exit_reason;
}

static inline int run_guest(int kvm, char *ram, uint32_t from, uint32_t to)
{
	return run_guest_step(kvm, ram, from, to, SZ_2M);
}

/* A VM in hpcvm's charge; the fd or -1. */
static inline int new_vm(int dev, int kvm)
{
	struct hpcvm_vm_create create = vm_create(kvm);

	return call(dev, HPCVM_VM_CREATE, &create) ? -1 : create.out_fd;
}

/* Memory from the pool; the fd or -1. */
static inline int new_mem(int dev, uint64_t length, uint64_t page_size)
{
	struct hpcvm_mem_create create = mem_create(length, page_size, HPCVM_NODE_ANY);

	return call(dev, HPCVM_MEM_CREATE, &create) ? -1 : create.out_fd;
}

static inline void *map_shared(int fd, size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* Read or write one number of a file below /sys or /proc; -1 if it is not there. */
static inline long long get_number(const char *path)
{
	long long n = -1;
	FILE *f = fopen(path, "r");

	if (f) {
		if (fscanf(f, "%lli", &n) != 1)
			n = -1;
		fclose(f);
	}
	return n;
}

static inline int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n < 0 ? errno : 0;
}

static inline const char *pool_path(unsigned long page_size, int node, const char *what)
{
	static char path[160];

	if (node == HPCVM_NODE_ANY)
		snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%lukB/%s",
			 page_size >> 10, what);
	else
		snprintf(path, sizeof(path),
			 "/sys/devices/system/node/node%d/hugepages/hugepages-%lukB/%s",
			 node, page_size >> 10, what);
	return path;
}

static inline long pool_free(unsigned long page_size)
{
	return get_number(pool_path(page_size, HPCVM_NODE_ANY, "free_hugepages"));
}

static inline long pool_reserved(unsigned long page_size)
{
	return get_number(pool_path(page_size, HPCVM_NODE_ANY, "resv_hugepages"));
}

/* Set the pool's size; returns what the kernel made of it. */
static inline long pool_set(unsigned long page_size, int node, long pages)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", pages);
	put_text(pool_path(page_size, node, "nr_hugepages"), text);
	return get_number(pool_path(page_size, node, "nr_hugepages"));
}

/* Files are closed a moment after the last close() returns. */
static inline bool pool_settles(unsigned long page_size, long pages)
{
	int i;

	for (i = 0; i < 200 * slow(); i++) {
		if (pool_free(page_size) == pages && !pool_reserved(page_size))
			return true;
		usleep(20000);
	}
	return false;
}

/* How many entries a directory has, hidden ones left out; -1: none such. */
static inline int count_entries(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static inline int open_fds(void)
{
	return count_entries("/proc/self/fd");
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* The number of the next fd: reserved ones, that nobody has installed, count too. */
static inline int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Each VM of KVM's, vCPUs and the device that is open hold KVM's module. */
static inline long kvm_users(void)
{
	long amd = get_number("/sys/module/kvm_amd/refcnt");

	return amd < 0 ? get_number("/sys/module/kvm_intel/refcnt") : amd;
}

static inline bool kvm_settles(long users)
{
	int i;

	for (i = 0; i < 200 * slow() && kvm_users() != users; i++)
		usleep(20000);
	return kvm_users() == users;
}

/* A page that a child shares. */
static inline void *shared_page(void)
{
	return mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* Run @expr in a child; its value, 0 to 255, or 256 + the signal that ended it. */
#define IN_CHILD(expr) ({						\
	pid_t child_ = fork();						\
	int status_;							\
	if (!child_)							\
		_exit(expr);						\
	waitpid(child_, &status_, 0);					\
	WIFEXITED(status_) ? WEXITSTATUS(status_) : 256 + WTERMSIG(status_); \
})

/* A call is refused with this errno, reason and detail. */
#define EXPECT_REFUSED(_fd, _cmd, _arg, _errno, _reason, _detail) do {	\
	EXPECT_EQ(_errno, call(_fd, _cmd, _arg));			\
	EXPECT_EQ(_reason, (_arg)->reason);				\
	EXPECT_EQ((uint64_t)(_detail), (_arg)->detail);			\
} while (0)

#endif
