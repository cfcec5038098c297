// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls: all ioctls of /dev/hpcvm, and whatever else can happen to the
 * files, mappings, memslots and processes that these work on.
 *
 * Arguments are numbers; whatever they are, a call does nothing to the fuzzer
 * itself: mappings come and go within the arenas alone, and memory that may
 * not be there is touched by system calls, which fail where a program dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/kvm.h>
#include <linux/mempolicy.h>
#include <linux/hpcvm.h>
#include "table.h"

static int new_fd(uint64_t place, int fd)
{
	int err = result(fd);

	put_fd(place, fd);
	return err;
}

#define CALL(_name) static int run_##_name(struct runner *r, const struct call_def *def,	\
					   const uint64_t *arg, uint32_t *reason)

CALL(open)
{
	return new_fd(arg[0], open("/dev/hpcvm", O_RDWR | O_CLOEXEC));
}

/* A struct that others may be in the middle of. */
CALL(poke)
{
	table.shared[arg[0] % 256] = arg[1];
	return 0;
}

/* KVM */

CALL(kvm)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), err;

	err = new_fd(arg[0], ioctl(kvm, KVM_CREATE_VM, 0));
	close(kvm);
	return err;
}

CALL(memslot)
{
	struct kvm_userspace_memory_region region = {
		.slot = arg[1], .flags = arg[2], .guest_phys_addr = arg[3],
		.memory_size = arg[4], .userspace_addr = arg[5],
	};

	return result(ioctl(fd_of(arg[0]), KVM_SET_USER_MEMORY_REGION, &region));
}

CALL(vcpu)
{
	return new_fd(arg[1], ioctl(fd_of(arg[0]), KVM_CREATE_VCPU, 0));
}

static void interrupt_after(struct runner *r, long us)
{
	struct itimerspec after = { .it_value = { us / 1000000, us % 1000000 * 1000 } };

	after.it_interval = after.it_value;
	timer_settime(r->timer, 0, &after, NULL);
}

/* A guest that writes a word every 2 MiB, as long as it is given time. */
CALL(guest)
{
	static const uint8_t code[] = {
		0xbf, 0x00, 0x20, 0x00, 0x00,		/*    mov  $0x2000, %edi */
		0x89, 0x07,				/* 1: mov  %eax, (%edi) */
		0x81, 0xc7, 0x00, 0x00, 0x20, 0x00,	/*    add  $0x200000, %edi */
		0x81, 0xff, 0x00, 0x00, 0x80, 0x00,	/*    cmp  $0x800000, %edi */
		0x72, 0xf0,				/*    jb   1b */
		0xf4,					/*    hlt */
	};
	struct kvm_segment flat = { .limit = ~0u, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;
	int vcpu = fd_of(arg[0]), err;

	carry(true, (char *)arg[1] + 0x1000, (void *)code, sizeof(code));
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		return errno;
	sregs.ds = sregs.es = sregs.ss = sregs.cs = flat;
	sregs.ds.type = sregs.es.type = sregs.ss.type = 3;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		return errno;
	interrupt_after(r, 20000);
	err = result(ioctl(vcpu, KVM_RUN, 0));
	interrupt_after(r, 0);
	return err;
}

/* Mappings */

static bool in_arena(uint64_t addr, uint64_t length)
{
	return addr >= ARENA(0) && addr < ARENA(ARENAS) && length <= ARENA(ARENAS) - addr;
}

/* Where HPCVM_VCPU_ATTACH wants it. */
CALL(run_page)
{
	if (!in_arena(arg[1], PAGE))
		return ERANGE;
	return result((long)mmap((void *)(arg[1] & -PAGE), PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, fd_of(arg[0]), 0));
}

/* Of the thread, whose vCPU may own a core. */
CALL(affinity)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(arg[0] % 8, &set);
	return result(sched_setaffinity(0, sizeof(set), &set));
}

CALL(mmap)
{
	static const int how[] = {
		MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_SHARED | MAP_POPULATE,
		MAP_PRIVATE, MAP_PRIVATE | MAP_POPULATE, MAP_SHARED | MAP_NORESERVE,
		MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
	};

	if (!in_arena(arg[1], arg[2]))
		return ERANGE;
	return result((long)mmap((void *)arg[1], arg[2], arg[3] & 7,
				 MAP_FIXED | how[arg[4] % (sizeof(how) / sizeof(how[0]))],
				 fd_of(arg[0]), arg[5]));
}

CALL(munmap)
{
	return in_arena(arg[0], arg[1]) ? result(munmap((void *)arg[0], arg[1])) : ERANGE;
}

CALL(mprotect)
{
	return in_arena(arg[0], arg[1]) ? result(mprotect((void *)arg[0], arg[1], arg[2] & 7)) :
		ERANGE;
}

CALL(mremap)
{
	if (!in_arena(arg[0], arg[1]) || !in_arena(arg[2], arg[1]))
		return ERANGE;
	return result((long)mremap((void *)arg[0], arg[1], arg[1], MREMAP_MAYMOVE | MREMAP_FIXED,
				   (void *)arg[2]));
}

/* No memory errors: they cost the pool a page for good. */
CALL(madvise)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_REMOVE, 22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */,
		MADV_DONTFORK, MADV_DOFORK, MADV_COLD, MADV_PAGEOUT, MADV_WIPEONFORK,
		MADV_MERGEABLE, MADV_HUGEPAGE, MADV_FREE,
	};

	if (!in_arena(arg[0], arg[1]))
		return ERANGE;
	return result(madvise((void *)arg[0], arg[1],
			      advice[arg[2] % (sizeof(advice) / sizeof(advice[0]))]));
}

CALL(touch)
{
	return in_arena(arg[0], 8) ? result(read(table.zero, (void *)arg[0], 8)) : ERANGE;
}

/* A page that a pipe holds. */
CALL(splice)
{
	struct iovec word = { (void *)arg[0], 8 };
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return errno;
	err = result(vmsplice(ends[1], &word, 1, SPLICE_F_NONBLOCK));
	close(ends[1]);
	put_fd(arg[1], ends[0]);
	return err;
}

/* Files */

CALL(memfd)
{
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_CLOEXEC), err = result(fd);

	if (!err)
		err = result(ftruncate(fd, arg[1] % (16 * MIB2)));
	put_fd(arg[0], fd);
	return err;
}

CALL(fallocate)
{
	static const int mode[] = { 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE };

	return result(fallocate(fd_of(arg[0]), mode[arg[1] % 4], arg[2] % (32 * MIB2),
				arg[3] % (32 * MIB2)));
}

CALL(ftruncate)
{
	return result(ftruncate(fd_of(arg[0]), arg[1] % (32 * MIB2)));
}

CALL(close)
{
	int fd = atomic_exchange(&table.fd[arg[0] % FDS], -1);

	return fd < 0 ? EBADF : result(close(fd));
}

CALL(dup)
{
	return new_fd(arg[1], fcntl(fd_of(arg[0]), F_DUPFD_CLOEXEC, OWN));
}

/* The same file once more, by /proc. */
CALL(reopen)
{
	static const int flags[] = { O_RDWR, O_RDONLY, O_PATH, O_WRONLY };
	char path[64];

	sprintf(path, "/proc/self/fd/%d", fd_of(arg[0]));
	return new_fd(arg[2], open(path, flags[arg[1] % 4] | O_CLOEXEC | O_NONBLOCK));
}

CALL(poll)
{
	struct pollfd fd = { .fd = fd_of(arg[0]), .events = POLLIN };
	int n = poll(&fd, 1, arg[1] % 20);

	return n < 0 ? errno : fd.revents;
}

/* Events of a monitor; to memory that may not be there, and never waiting. */
CALL(read)
{
	int fd = fd_of(arg[0]);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	return in_arena(arg[1], 8) ? result(read(fd, (void *)arg[1], arg[2] % PAGE)) : ERANGE;
}

static int read_attribute(const char *dir, uint64_t id, const char *name)
{
	char path[200], text[PAGE];
	int fd, err;

	snprintf(path, sizeof(path), SYSFS "%s/%llu/%s", dir, (unsigned long long)id, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	err = result(read(fd, text, sizeof(text)));
	close(fd);
	return err;
}

CALL(show_vm)
{
	static const char *const names[] = {
		"uuid", "name", "uid", "pid", "kvm_pages_4k", "kvm_pages_2m", "kvm_pages_1g",
		"slots/0x0/gpa", "slots/0x0/length", "slots/0x0/offset", "slots/0x0/page_size",
		"slots/0x0/node", "slots/0x0/kind", "slots/0x200000/kind", "slots", "",
	};

	return read_attribute("vms", meaning(VM_ID, arg[0]), names[arg[1] % 16]);
}

CALL(show_reservation)
{
	static const char *const names[] = {
		"length", "page_size", "node", "uid", "gid", "held", "../gone", "",
	};

	return read_attribute("reservations", meaning(RESERVATION, arg[0]), names[arg[1] % 8]);
}

/* Who calls, and when */

CALL(uid)
{
	uid_t uid = arg[0];

	return result(syscall(SYS_setresuid, -1, uid == (uid_t)-1 ? 0 : uid, -1));
}

CALL(bind)
{
	unsigned long mask = 1UL << (arg[0] & 1);

	if ((int32_t)arg[0] < 0)
		return result(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	return result(syscall(SYS_set_mempolicy, MPOL_BIND, &mask, 8 * sizeof(mask)));
}

CALL(interrupt)
{
	interrupt_after(r, 1 + arg[0] % 10000);
	return 0;
}

/* What a child does with what it has inherited, its own address space being another. */
static void be_child(int how)
{
	struct hpcvm_mem_verify verify = { .size = sizeof(verify) };
	struct hpcvm_mem_slot slot = { .size = sizeof(slot), .length = MIB2, .node = -1 };
	struct places vms = places_of(VM);
	int i;

	switch (how) {
	case 0:
		break;
	case 1:
		for (i = 0; i < 2 * ARENAS; i++)
			if (read(table.zero, (void *)ARENA(i / 2) + i % 2 * MIB2, 8) < 0)
				continue;
		break;
	case 2:
		for (i = vms.first; i < vms.first + vms.nr; i++) {
			slot.mem_fd = fd_of(places_of(MEM).first);
			ioctl(fd_of(i), HPCVM_MEM_VERIFY, &verify);
			ioctl(fd_of(i), HPCVM_MEM_SLOT, &slot);
		}
		break;
	case 3:
		execl("/bin/true", "true", NULL);
		break;
	default:
		pause();
	}
	_exit(0);
}

/* One in four stays, until it is killed. */
CALL(fork)
{
	bool stays = arg[0] % 8 > 5;
	pid_t child = syscall(SYS_fork);
	int err = result(child);

	if (!child)
		be_child(stays ? 4 : arg[0] % 4);
	if (err || !stays)
		while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	else
		child = atomic_exchange(&table.child[table.children++ % CHILDREN], child);
	if (!err && stays && child) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	return err;
}

CALL(reap)
{
	kill_children();
	return 0;
}

#define ARG(_i, _kind) .kind[_i] = _kind
#define FIELD(_i, _kind, _struct, _field) .kind[_i] = _kind, .field[_i] = {	\
	offsetof(struct _struct, _field), sizeof(((struct _struct *)0)->_field) }
#define IOCTL(_name, _weight, _cmd, _struct, _fd, _flags, ...) {		\
	.name = _name, .weight = _weight, .run = run_ioctl, .cmd = _cmd,	\
	.size = sizeof(struct _struct), .verdict = offsetof(struct _struct, reason), \
	ARG(0, _fd), ARG(1, WHERE), ARG(2, SIZE), FIELD(3, _flags, _struct, flags), \
	FIELD(4, PAD, _struct, pad), __VA_ARGS__ }
#define OTHER_CALL(_name, _weight, ...) {					\
	.name = #_name, .weight = _weight, .run = run_##_name, .kind = { __VA_ARGS__ } }

const struct call_def calls[] = {
	IOCTL("QUERY", 2, HPCVM_QUERY, hpcvm_query, ANY_FD, FLAGS),
	IOCTL("VM_CREATE", 8, HPCVM_VM_CREATE, hpcvm_vm_create, DEV, FLAGS,
	      FIELD(5, KVM, hpcvm_vm_create, kvm_fd), FIELD(6, NAME, hpcvm_vm_create, name),
	      ARG(7, NEW_VM)),
	IOCTL("VM_OPEN", 6, HPCVM_VM_OPEN, hpcvm_vm_open, DEV, OPEN_FLAGS,
	      FIELD(5, VM_ID, hpcvm_vm_open, id), FIELD(6, PAD, hpcvm_vm_open, pad0),
	      ARG(7, NEW_HANDLE)),
	IOCTL("MEM_CREATE", 10, HPCVM_MEM_CREATE, hpcvm_mem_create, DEV, MEM_FLAGS,
	      FIELD(5, LENGTH, hpcvm_mem_create, length),
	      FIELD(6, PAGE_SIZE_ARG, hpcvm_mem_create, page_size),
	      FIELD(7, NODE, hpcvm_mem_create, node), ARG(8, NEW_MEM)),
	IOCTL("MEM_SLOT", 12, HPCVM_MEM_SLOT, hpcvm_mem_slot, VM, FLAGS,
	      FIELD(5, FILE_FD, hpcvm_mem_slot, mem_fd), FIELD(6, NODE, hpcvm_mem_slot, node),
	      FIELD(7, GPA, hpcvm_mem_slot, gpa), FIELD(8, OFFSET, hpcvm_mem_slot, offset),
	      FIELD(9, LENGTH, hpcvm_mem_slot, length)),
	IOCTL("MEM_UNSLOT", 4, HPCVM_MEM_UNSLOT, hpcvm_mem_unslot, VM, FLAGS,
	      FIELD(5, GPA, hpcvm_mem_unslot, gpa)),
	IOCTL("MEM_ADOPT", 12, HPCVM_MEM_ADOPT, hpcvm_mem_adopt, VM, FLAGS,
	      FIELD(5, NODE, hpcvm_mem_adopt, node), FIELD(6, PAD, hpcvm_mem_adopt, pad0),
	      FIELD(7, GPA, hpcvm_mem_adopt, gpa), FIELD(8, HVA, hpcvm_mem_adopt, hva),
	      FIELD(9, LENGTH, hpcvm_mem_adopt, length)),
	IOCTL("MEM_VERIFY", 12, HPCVM_MEM_VERIFY, hpcvm_mem_verify, VM_OR_HANDLE, FLAGS,
	      FIELD(5, COUNT, hpcvm_mem_verify, nr_slots),
	      FIELD(6, REPORT_SIZE, hpcvm_mem_verify, slot_size),
	      FIELD(7, HVA, hpcvm_mem_verify, slots)),
	IOCTL("RESERVE_PARK", 8, HPCVM_RESERVE_PARK, hpcvm_reserve_park, DEV, PARK_FLAGS,
	      FIELD(5, MEM, hpcvm_reserve_park, mem_fd), FIELD(6, NODE, hpcvm_reserve_park, node),
	      FIELD(7, UID, hpcvm_reserve_park, uid), FIELD(8, UID, hpcvm_reserve_park, gid),
	      ARG(9, NEW_RESERVATION)),
	IOCTL("RESERVE_DROP", 4, HPCVM_RESERVE_DROP, hpcvm_reserve_drop, DEV, FLAGS,
	      FIELD(5, RESERVATION, hpcvm_reserve_drop, id)),
	IOCTL("VCPU_ATTACH", 6, HPCVM_VCPU_ATTACH, hpcvm_vcpu_attach, VM, FLAGS,
	      FIELD(5, VCPU, hpcvm_vcpu_attach, vcpu_fd), FIELD(6, PAD, hpcvm_vcpu_attach, pad0),
	      FIELD(7, HVA, hpcvm_vcpu_attach, run)),
	IOCTL("VCPU_CLAIM", 8, HPCVM_VCPU_CLAIM, hpcvm_vcpu_claim, VM, CLAIM_FLAGS,
	      FIELD(5, VCPU_ID, hpcvm_vcpu_claim, vcpu), FIELD(6, CPU, hpcvm_vcpu_claim, cpu),
	      FIELD(7, NODE, hpcvm_vcpu_claim, node), FIELD(8, TICK_MODE, hpcvm_vcpu_claim, tick)),
	IOCTL("VCPU_RELEASE", 4, HPCVM_VCPU_RELEASE, hpcvm_vcpu_release, VM, FLAGS,
	      FIELD(5, VCPU_ID, hpcvm_vcpu_release, vcpu),
	      FIELD(6, PAD, hpcvm_vcpu_release, pad0)),
	IOCTL("VCPU_STATS", 4, HPCVM_VCPU_STATS, hpcvm_vcpu_stats, VM_OR_HANDLE, CLAIM_FLAGS,
	      FIELD(5, VCPU_ID, hpcvm_vcpu_stats, vcpu), FIELD(6, PAD, hpcvm_vcpu_stats, pad0)),
	IOCTL("MONITOR_CREATE", 6, HPCVM_MONITOR_CREATE, hpcvm_monitor_create, DEV, FLAGS,
	      FIELD(5, SLOTS, hpcvm_monitor_create, slots), ARG(6, NEW_MONITOR)),
	IOCTL("MONITOR_WATCH", 12, HPCVM_MONITOR_WATCH, hpcvm_monitor_watch, MONITOR, OPEN_FLAGS,
	      FIELD(5, HVA, hpcvm_monitor_watch, addr), FIELD(6, LENGTH, hpcvm_monitor_watch, length),
	      FIELD(7, PAD, hpcvm_monitor_watch, pad0), FIELD(8, COUNT, hpcvm_monitor_watch, ended),
	      ARG(9, NEW_WATCH)),
	IOCTL("MONITOR_UNWATCH", 6, HPCVM_MONITOR_UNWATCH, hpcvm_monitor_unwatch, MONITOR, FLAGS,
	      FIELD(5, WATCH, hpcvm_monitor_unwatch, slot),
	      FIELD(6, WATCH_COOKIE, hpcvm_monitor_unwatch, cookie),
	      FIELD(7, PAD, hpcvm_monitor_unwatch, pad0)),
	IOCTL("MONITOR_STATS", 2, HPCVM_MONITOR_STATS, hpcvm_monitor_stats, MONITOR, FLAGS),
	IOCTL("PIN", 6, HPCVM_PIN, hpcvm_pin, DEV, FLAGS, FIELD(5, HVA, hpcvm_pin, addr),
	      FIELD(6, LENGTH, hpcvm_pin, length), FIELD(7, PAD, hpcvm_pin, pad0),
	      ARG(8, NEW_OTHER)),
	{ .name = "command", .weight = 1, .run = run_command, .kind = { ANY_FD, COMMAND, SIZE } },
	OTHER_CALL(open, 3, NEW_DEV),
	OTHER_CALL(poke, 2, BYTE, BYTE),
	OTHER_CALL(kvm, 5, NEW_KVM),
	OTHER_CALL(memslot, 10, KVM, MEMSLOT, MEMSLOT_FLAGS, GPA, LENGTH, HVA),
	OTHER_CALL(vcpu, 1, KVM, NEW_VCPU),
	OTHER_CALL(guest, 1, VCPU, HVA),
	OTHER_CALL(run_page, 4, VCPU, HVA),
	OTHER_CALL(affinity, 3, CPU),
	OTHER_CALL(mmap, 10, FILE_FD, HVA, LENGTH, PROT, MAP_FLAGS, OFFSET),
	OTHER_CALL(munmap, 3, HVA, LENGTH),
	OTHER_CALL(mprotect, 2, HVA, LENGTH, PROT),
	OTHER_CALL(mremap, 1, HVA, LENGTH, HVA),
	OTHER_CALL(madvise, 5, HVA, LENGTH, ADVICE),
	OTHER_CALL(touch, 3, HVA),
	OTHER_CALL(splice, 1, HVA, NEW_OTHER),
	OTHER_CALL(memfd, 2, NEW_HUGE, LENGTH),
	OTHER_CALL(fallocate, 4, FILE_FD, FALLOC_MODE, OFFSET, LENGTH),
	OTHER_CALL(ftruncate, 1, FILE_FD, LENGTH),
	OTHER_CALL(close, 5, ANY_FD),
	OTHER_CALL(dup, 2, ANY_FD, ANY_FD),
	OTHER_CALL(reopen, 2, FILE_FD, BYTE, NEW_MEM),
	OTHER_CALL(poll, 4, VM_OR_HANDLE, MS),
	OTHER_CALL(read, 4, MONITOR, HVA, SIZE),
	OTHER_CALL(show_vm, 3, VM_ID, ATTRIBUTE),
	OTHER_CALL(show_reservation, 2, RESERVATION, ATTRIBUTE),
	OTHER_CALL(uid, 1, UID),
	OTHER_CALL(bind, 1, NODE),
	OTHER_CALL(interrupt, 1, US),
	OTHER_CALL(fork, 2, CHILD),
	OTHER_CALL(reap, 1),
};

const int nr_calls = sizeof(calls) / sizeof(calls[0]);

int call_args(const struct call_def *def)
{
	int n = 0;

	while (n < ARGS_MAX && def->kind[n] != NO_ARG)
		n++;
	return n;
}

/* Threads that run programs */

void runner_init(struct runner *r)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	int fd = memfd_create("structs", MFD_CLOEXEC);

	event._sigev_un._tid = gettid();
	if (ftruncate(fd, 2 * PAGE) || timer_create(CLOCK_MONOTONIC, &event, &r->timer))
		abort();
	r->buffer = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r->buffer = mmap(r->buffer, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	r->readonly = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
}

/* Run the program of a thread; afterwards the thread is what it was. */
void runner_run(struct runner *r)
{
	const uint64_t root[] = { 0 }, nowhere[] = { -1 };
	int i;

	for (i = 0; i < r->program.nr; i++) {
		const struct call *call = &r->program.call[i];
		uint32_t reason = 0;
		int err;

		cover_begin(r);
		err = calls[call->nr].run(r, &calls[call->nr], call->arg, &reason);
		cover_end(r, call->nr, err, reason);
		r->calls++;
	}
	interrupt_after(r, 0);
	run_uid(r, NULL, root, NULL);
	run_bind(r, NULL, nowhere, NULL);
}
