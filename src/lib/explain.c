// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From an error to a sentence that somebody can act on.
 *
 * The switches over enums have no default on purpose: a new reason or a new
 * broken promise without a sentence does not compile. Where a command helps,
 * the sentence ends with it, made for this very node: the number in it comes
 * from sysfs at the time of asking.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "private.h"

#define QEMU_CONF "/etc/libvirt/qemu.conf"

static const char *const cmd_names[] = {
	[HPCVM_CMD_QUERY] = "HPCVM_QUERY",
	[HPCVM_CMD_VM_CREATE] = "HPCVM_VM_CREATE",
	[HPCVM_CMD_VM_OPEN] = "HPCVM_VM_OPEN",
	[HPCVM_CMD_MEM_CREATE] = "HPCVM_MEM_CREATE",
	[HPCVM_CMD_MEM_SLOT] = "HPCVM_MEM_SLOT",
	[HPCVM_CMD_MEM_UNSLOT] = "HPCVM_MEM_UNSLOT",
	[HPCVM_CMD_MEM_VERIFY] = "HPCVM_MEM_VERIFY",
	[HPCVM_CMD_MEM_ADOPT] = "HPCVM_MEM_ADOPT",
	[HPCVM_CMD_RESERVE_PARK] = "HPCVM_RESERVE_PARK",
	[HPCVM_CMD_RESERVE_DROP] = "HPCVM_RESERVE_DROP",
	[HPCVM_CMD_VCPU_ATTACH] = "HPCVM_VCPU_ATTACH",
	[HPCVM_CMD_VCPU_CLAIM] = "HPCVM_VCPU_CLAIM",
	[HPCVM_CMD_VCPU_RELEASE] = "HPCVM_VCPU_RELEASE",
	[HPCVM_CMD_VCPU_STATS] = "HPCVM_VCPU_STATS",
	[HPCVM_CMD_MONITOR_CREATE] = "HPCVM_MONITOR_CREATE",
	[HPCVM_CMD_MONITOR_WATCH] = "HPCVM_MONITOR_WATCH",
	[HPCVM_CMD_MONITOR_UNWATCH] = "HPCVM_MONITOR_UNWATCH",
	[HPCVM_CMD_MONITOR_STATS] = "HPCVM_MONITOR_STATS",
	[HPCVM_CMD_PIN] = "HPCVM_PIN",
};

static const char *cmd_name(uint32_t cmd)
{
	if (cmd == HPCVM_CMD_OPEN)
		return "opening " HPCVM_DEVICE;
	if (cmd < sizeof(cmd_names) / sizeof(cmd_names[0]) && cmd_names[cmd])
		return cmd_names[cmd];
	return "an hpcvm call";
}

/* The sentence under construction; what does not fit is cut. */
struct text {
	char *buf;
	size_t len, used;
};

__attribute__((format(printf, 2, 3)))
static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->used, t->len - t->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += (size_t)n < t->len - t->used ? (size_t)n : t->len - t->used - 1;
}

static void say_bytes(struct text *t, uint64_t bytes)
{
	if (bytes && !(bytes % HPCVM_PAGES_1G))
		say(t, "%" PRIu64 " GiB", bytes / HPCVM_PAGES_1G);
	else if (bytes && !(bytes % (1 << 20)))
		say(t, "%" PRIu64 " MiB", bytes >> 20);
	else
		say(t, "%" PRIu64 " bytes", bytes);
}

/* "3 hugepages of 2 MiB", "1 page", ... then the verb that goes with it */
static void say_pages(struct text *t, uint64_t n, uint64_t page_size,
		      const char *one, const char *many)
{
	say(t, "%" PRIu64 " hugepage%s", n, n == 1 ? "" : "s");
	if (page_size) {
		say(t, " of ");
		say_bytes(t, page_size);
	}
	say(t, " %s", n == 1 ? one : many);
}

/* The first line of a file of sysfs or procfs; false if it cannot be read. */
static int read_line(const char *path, char *buf, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return 0;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return 1;
}

/* The command that lets a pool grow by @missing pages. */
static void say_grow(struct text *t, uint64_t missing, uint64_t page_size, int node)
{
	char path[128], line[32];

	if (node == HPCVM_NODE_ANY)
		snprintf(path, sizeof(path),
			 "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
			 page_size >> 10);
	else
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d"
			 "/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
			 node, page_size >> 10);

	if (read_line(path, line, sizeof(line))) {
		uint64_t total = strtoull(line, NULL, 10) + missing;

		say(t, "echo %" PRIu64 " > %s", total, path);
		if (page_size == HPCVM_PAGES_1G)
			say(t, " (if the pool does not grow so far, boot the node with hugepagesz=1G hugepages=N)");
	} else {
		say(t, "echo $(( $(cat %s) + %" PRIu64 " )) > %s", path, missing, path);
	}
}

static void say_pool_short(struct text *t, const struct hpcvm_error *e)
{
	say_pages(t, e->detail, e->page_size, "is missing", "are missing");
	if (e->node != HPCVM_NODE_ANY)
		say(t, " on NUMA node %d", e->node);
	say(t, "; add %s with: ", e->detail == 1 ? "it" : "them");
	say_grow(t, e->detail, e->page_size, e->node);
}

/* The pool has them, but we may not: nearly always the hugetlb cgroup. */
static void say_limit(struct text *t, const struct hpcvm_error *e)
{
	const char *size = e->page_size == HPCVM_PAGES_1G ? "1GB" : "2MB";
	char cgroup[160], file[256];

	say_pages(t, e->detail, e->page_size, "is", "are");
	say(t, " in the pool but forbidden by a limit");
	if (read_line("/proc/self/cgroup", cgroup, sizeof(cgroup)) &&
	    !strncmp(cgroup, "0::/", 4)) {
		/* the root group is "/": do not write two slashes then */
		snprintf(file, sizeof(file), "/sys/fs/cgroup%s/hugetlb.%s.max",
			 cgroup[4] ? cgroup + 3 : "", size);
		if (!access(file, F_OK)) {
			say(t, "; lift it, and those above it, with: echo max > %s", file);
			return;
		}
	}
	say(t, ": raise hugetlb.%s.max of the caller's cgroup or of one above it", size);
}

#define CLAIMABLE HPCVM_SYSFS "/cores/claimable"

/* "VM 7 (alpha)": by the name that its domain has, if it has one */
static void say_vm(struct text *t, uint64_t id)
{
	char path[128], name[HPCVM_NAME_MAX + 1];

	say(t, "VM %" PRIu64, id);
	snprintf(path, sizeof(path), HPCVM_SYSFS "/vms/%" PRIu64 "/name", id);
	if (read_line(path, name, sizeof(name)) && *name)
		say(t, " (%s)", name);
}

static void say_not_listed(struct text *t, int cpu)
{
	char list[256];

	say(t, "CPU %d is of no core that can be claimed", cpu);
	if (!read_line(CLAIMABLE, list, sizeof(list)) || !*list)
		say(t, ", as none is; list those that are for guests with: echo %d-N > " CLAIMABLE, cpu);
	else
		say(t, "; those are: %s (listed in " CLAIMABLE ")", list);
}

static void say_no_core(struct text *t, uint64_t candidates, int node)
{
	char where[32] = "";

	if (node != HPCVM_NODE_ANY)
		snprintf(where, sizeof(where), " on NUMA node %d", node);
	if (candidates)
		say(t, "no core is free%s, of %" PRIu64 " CPU%s that can be claimed (who owns them: "
		    HPCVM_SYSFS "/cores/claimed)", where, candidates, candidates == 1 ? "" : "s");
	else
		say(t, "no core%s can be claimed; list those that are for guests with: echo CPUS > "
		    CLAIMABLE, where);
}

static void say_tick(struct text *t, uint64_t why)
{
	switch ((enum hpcvm_tick_why)why) {
	case HPCVM_TICK_WHY_NOT_NOHZ_FULL:
		say(t, "the core was not booted with nohz_full");
		return;
	case HPCVM_TICK_WHY_THIN_OFF:
		say(t, "tick thinning is not switched on for this node; switch it on with: echo 1 > "
		    HPCVM_SYSFS "/cores/thin_ticks");
		return;
	case HPCVM_TICK_WHY_TSC:
		say(t, "the node's TSC is unstable, and thinned ticks need it");
		return;
	case HPCVM_TICK_WHY_PROBE:
		say(t, "the kernel lets no probe be placed on its tick (kprobes are off, or it is an unknown one)");
		return;
	case HPCVM_TICK_WHY_NO_KEEPER:
		say(t, "no CPU is left that nobody has claimed: one must do the node's duties");
		return;
	case HPCVM_TICK_WHY_DUTY:
		say(t, "the core does a duty for the node just now, and keeps its tick for it");
		return;
	case HPCVM_TICK_WHY_NONE:
	case HPCVM_TICK_WHY_ASKED:
		break;
	}
	say(t, "the core's tick cannot be suppressed in this way");
}

/* /dev/hpcvm cannot be opened, and the kernel gave an errno only. */
static void say_open(struct text *t, int err)
{
	int loaded = !access(HPCVM_SYSFS, F_OK);

	switch (err) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		if (!loaded)
			say(t, "the hpcvm module is not loaded: modprobe hpcvm");
		else
			say(t, "the hpcvm module is loaded, but " HPCVM_DEVICE
			    " cannot be seen from here: for a libvirt domain, add it to cgroup_device_acl in "
			    QEMU_CONF " and restart libvirtd; otherwise start udev");
		break;
	case EACCES:
		if (!faccessat(AT_FDCWD, HPCVM_DEVICE, R_OK | W_OK, AT_EACCESS))
			say(t, "a security module forbids " HPCVM_DEVICE
			    ": for a libvirt domain, add the line \"" HPCVM_DEVICE
			    " rw,\" to /etc/apparmor.d/local/abstractions/libvirt-qemu");
		else
			say(t, "not permitted to open " HPCVM_DEVICE
			    ": add the user to group kvm with: usermod -aG kvm $(id -nu %u)",
			    (unsigned int)geteuid());
		break;
	case EPERM:
		say(t, "a device cgroup forbids " HPCVM_DEVICE
		    ": for a libvirt domain, add it to cgroup_device_acl in "
		    QEMU_CONF " and restart libvirtd");
		break;
	case EMFILE:
		say(t, "this process has no file descriptor left: raise its limit (ulimit -n)");
		break;
	case ENFILE:
		say(t, "the node has no file left: raise it with: sysctl fs.file-max=N");
		break;
	default:
		errno = err;
		say(t, HPCVM_DEVICE " cannot be opened: %m");
	}
}

/* An ioctl failed, and the module gave no reason. */
static void say_errno(struct text *t, const struct hpcvm_error *e)
{
	const char *name = cmd_name(e->cmd);

	switch (e->err) {
	case 0:
		say(t, "%s succeeded", name);
		break;
	case ENOTTY:
		say(t, "this fd takes no %s: it is of another kind, or the loaded hpcvm module is older than this program",
		    name);
		break;
	case E2BIG:
		say(t, "the loaded hpcvm module is older than this program and does not know all that %s asks for: load the module of the same release",
		    name);
		break;
	case EINVAL:
		say(t, "the loaded hpcvm module does not take this form of %s: load the module of the same release",
		    name);
		break;
	case EFAULT:
		say(t, "%s was given memory that cannot be read or written", name);
		break;
	case EBADF:
		say(t, "%s was called on an fd that is not open", name);
		break;
	case ENODEV:
		say(t, "the VM has ended");
		break;
	case EINTR:
		say(t, "a signal interrupted %s", name);
		break;
	case ENOENT:
	case ENXIO:
	case EACCES:
	case EPERM:
	case EMFILE:
	case ENFILE:
		say_open(t, e->err);
		break;
	case ENOMEM:
		say(t, "the kernel has no memory left for %s", name);
		break;
	default:
		errno = e->err;
		say(t, "%s failed: %m", name);
	}
}

static void say_reason(struct text *t, const struct hpcvm_error *e)
{
	const uint64_t d = e->detail;

	switch ((enum hpcvm_reason)e->reason) {
	case HPCVM_REASON_NONE:
		if (e->cmd == HPCVM_CMD_OPEN && e->err)
			say_open(t, e->err);
		else
			say_errno(t, e);
		return;
	case HPCVM_REASON_FLAGS:
		say(t, "the loaded hpcvm module does not know the flags 0x%" PRIx64 " of %s",
		    d, cmd_name(e->cmd));
		return;
	case HPCVM_REASON_PAD:
		say(t, "byte %" PRIu64 " of the struct of %s must be zero and is not",
		    d, cmd_name(e->cmd));
		return;
	case HPCVM_REASON_KERNEL_MEMORY:
		say(t, "the kernel has no memory left for its own bookkeeping");
		return;
	case HPCVM_REASON_FD:
		say(t, "fd %d is not open", (int)d);
		return;
	case HPCVM_REASON_NOT_KVM:
		say(t, "fd %d is not a KVM VM", (int)d);
		return;
	case HPCVM_REASON_OTHER_MM:
		say(t, "the KVM VM belongs to another process");
		return;
	case HPCVM_REASON_VM_EXISTS:
		say(t, "this KVM VM is in hpcvm's charge already, as VM %" PRIu64, d);
		return;
	case HPCVM_REASON_NAME:
		say(t, "the VM's name is not terminated or not printable ASCII at byte %" PRIu64, d);
		return;
	case HPCVM_REASON_VM_UNKNOWN:
		say(t, "there is no VM %" PRIu64 "; those that exist are listed by: hpcvm list", d);
		return;
	case HPCVM_REASON_VM_GONE:
		say(t, "VM %" PRIu64 " has ended", d);
		return;
	case HPCVM_REASON_NOT_PERMITTED:
		say(t, "the VM belongs to uid %" PRIu64 ": look at it as that user or with CAP_SYS_PTRACE (as root)", d);
		return;
	case HPCVM_REASON_PAGE_SIZE:
		say(t, "guest memory comes in pages of 2 MiB or 1 GiB, not of ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_PAGE_SIZE_UNAVAILABLE:
		say(t, "this node's processors or kernel have no pages of ");
		say_bytes(t, d);
		if (d == HPCVM_PAGES_1G)
			say(t, ": use pages of 2 MiB");
		return;
	case HPCVM_REASON_SIZE_ZERO:
		say(t, "the size is zero");
		return;
	case HPCVM_REASON_SIZE_ALIGN:
		say(t, "the size is not a multiple of the page size, ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_SIZE_LIMIT:
		say(t, "the size is beyond what one file can hold, ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_NODE:
		say(t, "NUMA node %d does not exist, has no memory, or is not among those that this process may use (its cpuset)",
		    (int)d);
		return;
	case HPCVM_REASON_POOL_SHORT:
	case HPCVM_REASON_POOL_SHORT_NODE:
		say_pool_short(t, e);
		return;
	case HPCVM_REASON_LIMIT:
		say_limit(t, e);
		return;
	case HPCVM_REASON_INTERRUPTED:
		if (!d) {
			say(t, "a signal came in between");
			return;
		}
		say(t, "a signal came while hugepages were prepared, ");
		say_pages(t, d, e->page_size, "was missing still", "were missing still");
		return;
	case HPCVM_REASON_NOT_OURS:
		say(t, "fd %d is no memory from hpcvm", (int)d);
		return;
	case HPCVM_REASON_OFFSET_ALIGN:
		say(t, "the offset in the file is not a multiple of its page size, ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_GPA_ALIGN:
		say(t, "the guest address is not a multiple of the memory's page size, ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_RANGE:
		say(t, "offset and length reach past the end of the file, which has ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_GPA_LIMIT:
		say(t, "the range reaches past the last address that a guest can have, 0x%" PRIx64, d);
		return;
	case HPCVM_REASON_SLOT_OVERLAP:
		say(t, "the slot at guest address 0x%" PRIx64 " covers part of this range already", d);
		return;
	case HPCVM_REASON_FILE_OVERLAP:
		say(t, "the slot at guest address 0x%" PRIx64 " uses part of this range of the file already", d);
		return;
	case HPCVM_REASON_SLOT_UNKNOWN:
		say(t, "no slot begins at guest address 0x%" PRIx64, d);
		return;
	case HPCVM_REASON_SLOTS_FULL:
		say(t, "the VM has the most slots it can have, %" PRIu64, d);
		return;
	case HPCVM_REASON_KVM_UNCOVERED:
		say(t, "KVM has no memory at guest address 0x%" PRIx64 ", which the slot promises to be RAM", d);
		return;
	case HPCVM_REASON_KVM_OTHER_MEMORY:
		say(t, "KVM maps other memory than the slot's at guest address 0x%" PRIx64, d);
		return;
	case HPCVM_REASON_KVM_PRIVATE:
		say(t, "the file is mapped MAP_PRIVATE at guest address 0x%" PRIx64 ": what the guest writes would go to other pages", d);
		return;
	case HPCVM_REASON_KVM_MISALIGNED:
		say(t, "guest and host address differ modulo the page size at guest address 0x%" PRIx64 ", so KVM would use 4K pages there", d);
		return;
	case HPCVM_REASON_KVM_READONLY:
		say(t, "KVM maps guest address 0x%" PRIx64 " read-only", d);
		return;
	case HPCVM_REASON_PAGES_ABSENT:
		say_pages(t, d, e->page_size, "of the file is gone", "of the file are gone");
		say(t, ": somebody punched holes into it");
		return;
	case HPCVM_REASON_PAGES_NODE:
		say_pages(t, d, e->page_size, "of the file is", "of the file are");
		if (e->node == HPCVM_NODE_ANY)
			say(t, " not on the NUMA node promised");
		else
			say(t, " not on NUMA node %d", e->node);
		return;
	case HPCVM_REASON_SLOT_SIZE:
		say(t, "a slot report must have between 1 and %" PRIu64 " bytes", d);
		return;
	case HPCVM_REASON_HVA_ALIGN:
		say(t, "the address of the memory is not a multiple of its page size, ");
		say_bytes(t, d);
		return;
	case HPCVM_REASON_HVA_LIMIT:
		say(t, "the memory reaches past the last address that a process can have, 0x%" PRIx64, d);
		return;
	case HPCVM_REASON_HVA_OVERLAP:
		say(t, "the slot at guest address 0x%" PRIx64 " has adopted part of this memory already", d);
		return;
	case HPCVM_REASON_NOT_HUGETLB:
		say(t, "the memory at guest address 0x%" PRIx64 " is not made of reserved hugepages (hugetlb)", d);
		return;
	case HPCVM_REASON_PAGE_SIZES:
		say(t, "the memory at guest address 0x%" PRIx64 " has hugepages of another size than it begins with", d);
		return;
	case HPCVM_REASON_NOT_PRESENT:
		say(t, "the hugepage at guest address 0x%" PRIx64 " is not there: memory must be populated (prealloc) before it is adopted", d);
		return;
	case HPCVM_REASON_COPY_ON_WRITE:
		say(t, "the hugepage at guest address 0x%" PRIx64 " is not the guest's own: its first write would go to a copy", d);
		return;
	case HPCVM_REASON_WRONG_NODE:
		say(t, "the hugepage at guest address 0x%" PRIx64 " is not on ", d);
		if (e->node == HPCVM_NODE_ANY)
			say(t, "the NUMA node promised");
		else
			say(t, "NUMA node %d", e->node);
		return;
	case HPCVM_REASON_POISON:
		say(t, "the hugepage at guest address 0x%" PRIx64 " has a memory error", d);
		return;
	case HPCVM_REASON_NOT_ADMIN:
		say(t, "only root (CAP_SYS_ADMIN) may make and drop reservations");
		return;
	case HPCVM_REASON_NOT_PREPARED:
		say(t, "fd %d is no prepared memory, or has been handed out since", (int)d);
		return;
	case HPCVM_REASON_PARKED:
		say(t, "the memory is parked already, as reservation %" PRIu64, d);
		return;
	case HPCVM_REASON_MAPPED:
		say(t, "the memory is still mapped, here or in another process");
		return;
	case HPCVM_REASON_HELD:
		say(t, "the memory has %" PRIu64 " more holder%s than this fd (a copy of it, or another process)",
		    d, d == 1 ? "" : "s");
		return;
	case HPCVM_REASON_PAGES_HELD:
		say_pages(t, d, e->page_size, "of the memory is", "of the memory are");
		say(t, " held by somebody: pinned, or in a pipe");
		return;
	case HPCVM_REASON_RESERVATIONS_FULL:
		say(t, "the node has the most reservations it can have, %" PRIu64
		    "; give some back with: hpcvm reserve --drop ID", d);
		return;
	case HPCVM_REASON_RESERVATION_UNKNOWN:
		say(t, "there is no reservation %" PRIu64 "; those that exist are listed by: hpcvm reserve --list", d);
		return;
	case HPCVM_REASON_RESERVE_FOR:
		say(t, "%" PRIu64 " is no uid or gid here", d);
		return;
	case HPCVM_REASON_NOT_VCPU:
		say(t, "fd %d is no vCPU of this VM", (int)d);
		return;
	case HPCVM_REASON_RUN:
		say(t, "the vCPU's kvm_run is not mapped at address 0x%" PRIx64, d);
		return;
	case HPCVM_REASON_VCPU_ATTACHED:
		say(t, "vCPU %" PRIu64 " is attached already, by a thread that lives", d);
		return;
	case HPCVM_REASON_THREAD_ATTACHED:
		say(t, "this thread runs vCPU %" PRIu64 " already", d);
		return;
	case HPCVM_REASON_VCPU_UNKNOWN:
		say(t, "vCPU %" PRIu64 " is not attached", d);
		return;
	case HPCVM_REASON_VCPU_GONE:
		say(t, "the thread of vCPU %" PRIu64 " has ended", d);
		return;
	case HPCVM_REASON_CPU:
		say(t, "there is no CPU %d, or it is offline", (int)d);
		return;
	case HPCVM_REASON_CORE_NOT_LISTED:
		say_not_listed(t, (int)d);
		return;
	case HPCVM_REASON_CORE_OWNED:
		say_vm(t, d);
		say(t, " owns the core");
		return;
	case HPCVM_REASON_CORES_TAKEN:
		say_no_core(t, d, e->node);
		return;
	case HPCVM_REASON_CORE_LIMIT:
		say(t, "the user's VMs own %" PRIu64 " core%s, the most that one user may (" HPCVM_SYSFS
		    "/cores/user_limit)", d, d == 1 ? "" : "s");
		return;
	case HPCVM_REASON_CORE_REMOTE:
		say(t, "the core is on NUMA node %d, and the VM's memory is not", (int)d);
		return;
	case HPCVM_REASON_NO_CLAIM:
		say(t, "vCPU %" PRIu64 " has no core", d);
		return;
	case HPCVM_REASON_TICK_MODE:
		say(t, "there is no tick mode %" PRIu64, d);
		return;
	case HPCVM_REASON_TICK:
		say_tick(t, d);
		return;
	case HPCVM_REASON_TIMES:
		say(t, "this kernel's KVM does not tell when a guest is entered and left (it has no tracepoints)");
		return;
	case HPCVM_REASON_NOT_NICE:
		say(t, "FIFO priority for vCPUs needs CAP_SYS_NICE (root has it)");
		return;
	case HPCVM_REASON_POLICY:
		say(t, "the vCPU's thread has a scheduling policy of its own (%" PRIu64 "), which FIFO priority would lose; put it back with: chrt --other -p 0 TID",
		    d);
		return;
	case HPCVM_REASON_MONITOR_SLOTS:
		say(t, "a monitor has from 1 to %" PRIu64 " slots", d);
		return;
	case HPCVM_REASON_MONITOR_LIMIT:
		say(t, "the monitors of one user can have %" PRIu64 " slots in all, and would have more; the administrator sets the limit in "
		    HPCVM_SYSFS "/monitors/user_limit", d);
		return;
	case HPCVM_REASON_MONITOR_MM:
		say(t, "the monitor is another process's: only the one that has made it can use it (a child of fork() makes its own)");
		return;
	case HPCVM_REASON_WATCHES_FULL:
		say(t, "all %" PRIu64 " slots of the monitor are taken; unwatch a range, or make the monitor with more",
		    d);
		return;
	case HPCVM_REASON_WATCH_UNKNOWN:
		say(t, "no watch has this cookie and slot %" PRIu64 "; it was ended before", d);
		return;
	case HPCVM_REASON_WATCH_LATE:
		say(t, "the memory has changed since it was registered, or that is too long ago to tell; register it again");
		return;
	case HPCVM_REASON_PIN_ADDR:
		say(t, "the memory at 0x%" PRIx64 " cannot be pinned: nothing is mapped there, it is read-only, or a device's, or of a file that does not allow it",
		    d);
		return;
	case HPCVM_REASON_PIN_LIMIT:
		say(t, "the process may lock too little memory: %" PRIu64 " KiB are missing; raise it with: ulimit -l unlimited (or in /etc/security/limits.conf: memlock)",
		    d / 1024);
		return;
	}
	errno = e->err;
	say(t, "%s failed for a reason that this program does not know (%u, detail %" PRIu64 "): %m",
	    cmd_name(e->cmd), e->reason, d);
}

const char *hpcvm_explain(const struct hpcvm_error *error, char *buf, size_t len)
{
	struct text t = { .buf = buf, .len = len };
	int saved = errno;

	if (!len)
		return buf;
	buf[0] = 0;
	say_reason(&t, error);
	errno = saved;
	return buf;
}

static const char *broken_sentence(enum hpcvm_broken bit)
{
	switch (bit) {
	case HPCVM_BROKEN_NO_RAM:
		return "the VM has no RAM from hpcvm";
	case HPCVM_BROKEN_ABSENT:
		return "hugepages of the VM's RAM are gone: somebody punched holes into the file, cut it or unmapped it";
	case HPCVM_BROKEN_NODE:
		return "hugepages of the VM's RAM are not on the NUMA node promised";
	case HPCVM_BROKEN_UNCOVERED:
		return "KVM has no memory where RAM was promised";
	case HPCVM_BROKEN_OTHER_MEMORY:
		return "KVM maps other memory than what hpcvm was told, or maps it privately or read-only";
	case HPCVM_BROKEN_SMALL:
		return "KVM may not use hugepages for all of the RAM from 2 MiB up (memory slots misaligned or split)";
	case HPCVM_BROKEN_DIRTY_LOG:
		return "dirty logging is on, so KVM maps what the guest writes by 4K pages";
	case HPCVM_BROKEN_4K:
		return "KVM maps more 4K pages than lie outside the RAM from 2 MiB up";
	case HPCVM_BROKEN_SPLITS:
		return "the nx_huge_pages workaround has split hugepages of this VM";
	case HPCVM_BROKEN_COPY_ON_WRITE:
		return "what the guest writes next goes to copies of its hugepages (its process has been forked)";
	case HPCVM_BROKEN_POISON:
		return "hugepages have memory errors: the guest lost what was in them";
	}
	return "an unknown promise is broken";
}

const char *hpcvm_broken_next(uint64_t *broken)
{
	uint64_t bit = *broken & -*broken;

	if (!bit)
		return NULL;
	*broken &= ~bit;
	if (bit > INT32_MAX)
		return broken_sentence((enum hpcvm_broken)0);
	return broken_sentence((enum hpcvm_broken)bit);
}
