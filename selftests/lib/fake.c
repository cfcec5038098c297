// SPDX-License-Identifier: GPL-2.0-only
/*
 * A node without the module: linked into a test, or preloaded into the hpcvm
 * command.
 *
 * Files below /dev/hpcvm, /sys, /proc and /run are looked for in the directory
 * that FAKE names, and nowhere else. The ioctls of hpcvm go to fake_ioctl,
 * or are answered from the file FAKE/answers: lines of a field and a number,
 * such as "query.node 0x83". The field "err" of a struct makes its ioctl
 * fail. Lines with "slot.gpa" begin a new slot, lines with "vcpu.vcpu" a new
 * vCPU; of that, times and counters grow by what is said with each call, but for
 * what has its own lines for the first call, such as "then.cpu". "vcpu.gaps[N]" is
 * class N of the preemptions. After "stats.calls" of these calls they fail.
 *
 * FAKE_KILL=N kills the program with its Nth look at a file, but none that it runs.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/hpcvm.h>

#include "fake.h"

int (*fake_ioctl)(int fd, unsigned int cmd, void *arg);

static void kill_at_last(void)
{
	static int left = -1;

	if (left < 0) {
		left = getenv("FAKE_KILL") ? atoi(getenv("FAKE_KILL")) : 0;
		unsetenv("FAKE_KILL");
	}
	if (left && !--left)
		raise(SIGKILL);
}

static const char *redirect(const char *path, char *buf)
{
	const char *fake = getenv("FAKE");

	kill_at_last();
	if (!fake || (strncmp(path, "/sys/", 5) && strncmp(path, "/proc/", 6) &&
		      strncmp(path, "/run/", 5) && strcmp(path, "/dev/hpcvm")))
		return path;
	snprintf(buf, PATH_MAX, "%s%s", fake, path);
	return buf;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
	char buf[PATH_MAX];
	mode_t mode = 0;
	va_list ap;

	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return REAL(open)(redirect(path, buf), flags, mode);
}

int open64(const char *path, int flags, ...) __attribute__((alias("open")));

DIR *opendir(const char *path)
{
	char buf[PATH_MAX];

	return REAL(opendir)(redirect(path, buf));
}

int access(const char *path, int mode)
{
	char buf[PATH_MAX];

	return REAL(access)(redirect(path, buf), mode);
}

FILE *fopen(const char *path, const char *mode)
{
	char buf[PATH_MAX];

	return REAL(fopen)(redirect(path, buf), mode);
}

int mkdir(const char *path, mode_t mode)
{
	char buf[PATH_MAX];

	return REAL(mkdir)(redirect(path, buf), mode);
}

int rmdir(const char *path)
{
	char buf[PATH_MAX];

	return REAL(rmdir)(redirect(path, buf));
}

int unlink(const char *path)
{
	char buf[PATH_MAX];

	return REAL(unlink)(redirect(path, buf));
}

int rename(const char *from, const char *to)
{
	char a[PATH_MAX], b[PATH_MAX];

	return REAL(rename)(redirect(from, a), redirect(to, b));
}

int faccessat(int dir, const char *path, int mode, int flags)
{
	char buf[PATH_MAX];

	return REAL(faccessat)(dir, redirect(path, buf), mode, flags);
}

/* The answers from a file */

static int err[256];
static struct hpcvm_query query;
static struct hpcvm_vm_open vm_open;
static struct hpcvm_mem_create create;
static struct hpcvm_reserve_drop drop;
static struct hpcvm_mem_verify verify;
static struct hpcvm_slot_report slots[256];
static uint32_t nr_slots;
static struct hpcvm_vcpu_stats vcpus[16], firsts[16], stats;
static unsigned int nr_vcpus, asked[16], stats_calls, max_stats_calls;

#define FIELD(s, f) { #s "." #f, &s.f, sizeof(s.f) }
static const struct field {
	const char *name;
	void *where;
	size_t size;
} fields[] = {
	{ "query.err", &err[HPCVM_CMD_QUERY], sizeof(int) },
	FIELD(query, api_version), FIELD(query, nodes), FIELD(query, features),
	FIELD(query, node), FIELD(query, free_2m), FIELD(query, free_1g),
	FIELD(query, reason), FIELD(query, detail),
	{ "vm_open.err", &err[HPCVM_CMD_VM_OPEN], sizeof(int) },
	FIELD(vm_open, reason), FIELD(vm_open, detail),
	{ "create.err", &err[HPCVM_CMD_MEM_CREATE], sizeof(int) },
	FIELD(create, reason), FIELD(create, detail),
	{ "drop.err", &err[HPCVM_CMD_RESERVE_DROP], sizeof(int) },
	FIELD(drop, reason), FIELD(drop, detail),
	{ "verify.err", &err[HPCVM_CMD_MEM_VERIFY], sizeof(int) },
	FIELD(verify, ram_bytes), FIELD(verify, nodes), FIELD(verify, kvm_pages_4k),
	FIELD(verify, kvm_pages_2m), FIELD(verify, kvm_pages_1g),
	FIELD(verify, kvm_pages_4k_ram), FIELD(verify, kvm_pages_4k_legacy),
	FIELD(verify, kvm_legacy_frames), FIELD(verify, nx_lpage_splits),
	FIELD(verify, broken), FIELD(verify, broken_gpa), FIELD(verify, reason),
	FIELD(verify, detail),
	{ "stats.err", &err[HPCVM_CMD_VCPU_STATS], sizeof(int) },
	FIELD(stats, reason), FIELD(stats, detail),
	{ "stats.calls", &max_stats_calls, sizeof(int) },
};

#define SLOT(f) { "slot." #f, (void *)offsetof(struct hpcvm_slot_report, f), sizeof(slots[0].f) }
static const struct field slot_fields[] = {
	SLOT(gpa), SLOT(length), SLOT(offset), SLOT(page_size), SLOT(node), SLOT(kind), SLOT(nodes),
	SLOT(pages_present), SLOT(pages_off_node), SLOT(mapped_2m), SLOT(mapped_1g),
	SLOT(kvm_bytes), SLOT(kvm_small), SLOT(broken), SLOT(broken_gpa),
};

#define VCPU(f) { #f, (void *)offsetof(struct hpcvm_vcpu_stats, f), sizeof(vcpus[0].f) }
static const struct field vcpu_fields[] = {
	VCPU(vcpu), VCPU(cpu), VCPU(node), VCPU(claim), VCPU(tick), VCPU(tick_why), VCPU(tid),
	VCPU(owned_ns), VCPU(timer_irqs), VCPU(all_irqs), VCPU(preempted), VCPU(preempted_ns),
	VCPU(preempted_longest_ns), VCPU(migrations), VCPU(drifts), VCPU(moves), VCPU(exits),
	VCPU(exits_irq), VCPU(exits_halt), VCPU(exits_io), VCPU(exits_mmio),
	VCPU(exits_irq_window), VCPU(exits_signal), VCPU(exits_request),
	VCPU(run_began_ns), VCPU(run_ended_ns),
	VCPU(guest_ns), VCPU(hypervisor_ns), VCPU(out_ns),
	VCPU(gaps[0]), VCPU(gaps[10]), VCPU(gaps[13]), VCPU(gaps[39]),
};

/* What counts. */
static const size_t growing[] = {
#define GROWS(f) offsetof(struct hpcvm_vcpu_stats, f)
	GROWS(owned_ns), GROWS(timer_irqs), GROWS(all_irqs), GROWS(preempted), GROWS(preempted_ns),
	GROWS(exits), GROWS(exits_irq), GROWS(exits_halt), GROWS(exits_io), GROWS(exits_mmio),
	GROWS(exits_irq_window), GROWS(exits_signal), GROWS(exits_request),
	GROWS(guest_ns), GROWS(hypervisor_ns), GROWS(out_ns),
	GROWS(gaps[0]), GROWS(gaps[10]), GROWS(gaps[13]), GROWS(gaps[39]),
};

static void begin_vcpu(void)
{
	vcpus[nr_vcpus] = (struct hpcvm_vcpu_stats){ .tid = 1 };
	firsts[nr_vcpus] = vcpus[nr_vcpus];
	nr_vcpus++;
}

static bool set_vcpu(const char *field, bool then, uint64_t value)
{
	struct hpcvm_vcpu_stats *now, *first;

	for (size_t i = 0; i < sizeof(vcpu_fields) / sizeof(vcpu_fields[0]); i++) {
		if (strcmp(vcpu_fields[i].name, field))
			continue;
		if (!strcmp(field, "vcpu"))
			begin_vcpu();
		now = &vcpus[nr_vcpus - 1];
		first = &firsts[nr_vcpus - 1];
		memcpy((char *)first + (size_t)vcpu_fields[i].where, &value, vcpu_fields[i].size);
		if (!then)
			memcpy((char *)now + (size_t)vcpu_fields[i].where, &value, vcpu_fields[i].size);
		return true;
	}
	return false;
}

static void answer(const char *key, uint64_t value)
{
	if ((!strncmp(key, "vcpu.", 5) || !strncmp(key, "then.", 5)) &&
	    set_vcpu(key + 5, *key == 't', value))
		return;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (!strcmp(fields[i].name, key)) {
			memcpy(fields[i].where, &value, fields[i].size);
			return;
		}
	for (size_t i = 0; i < sizeof(slot_fields) / sizeof(slot_fields[0]); i++)
		if (!strcmp(slot_fields[i].name, key)) {
			if (!strcmp(key, "slot.gpa"))
				nr_slots++;
			memcpy((char *)&slots[nr_slots - 1] + (size_t)slot_fields[i].where,
			       &value, slot_fields[i].size);
			return;
		}
	fprintf(stderr, "fake: no field %s\n", key);
	abort();
}

static void load(void)
{
	char path[PATH_MAX], key[64], value[64];
	FILE *f;

	nr_slots = 0;
	nr_vcpus = 0;
	snprintf(path, sizeof(path), "%s/answers", getenv("FAKE"));
	f = fopen(path, "re");
	while (f && fscanf(f, "%63s %63s", key, value) == 2)
		answer(key, strtoull(value, NULL, 0));
	if (f)
		fclose(f);
}

static int vcpu_stats(struct hpcvm_vcpu_stats *s)
{
	bool ended = max_stats_calls && ++stats_calls > max_stats_calls;

	for (unsigned int i = 0; i < nr_vcpus && !ended; i++) {
		if (vcpus[i].vcpu != s->vcpu)
			continue;
		*s = asked[i]++ ? vcpus[i] : firsts[i];
		s->size = sizeof(*s);
		for (size_t j = 0; j < sizeof(growing) / sizeof(growing[0]); j++)
			*(uint64_t *)((char *)s + growing[j]) *= asked[i];
		return 0;
	}
	s->reason = stats.reason;
	s->detail = stats.detail;
	return err[HPCVM_CMD_VCPU_STATS] ?: ENOENT;
}

static int from_file(unsigned int cmd, void *arg)
{
	load();
	switch (cmd) {
	case HPCVM_CMD_QUERY:
		query.size = sizeof(query);
		memcpy(arg, &query, sizeof(query));
		break;
	case HPCVM_CMD_VM_OPEN:
		vm_open.size = sizeof(vm_open);
		vm_open.out_fd = err[cmd] ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
		memcpy(arg, &vm_open, sizeof(vm_open));
		break;
	case HPCVM_CMD_MEM_CREATE:
		create.size = sizeof(create);
		create.out_fd = -1;
		memcpy(arg, &create, sizeof(create));
		break;
	case HPCVM_CMD_RESERVE_DROP:
		drop.size = sizeof(drop);
		memcpy(arg, &drop, sizeof(drop));
		break;
	case HPCVM_CMD_MEM_VERIFY: {
		struct hpcvm_mem_verify *v = arg;
		uint32_t n = v->nr_slots < nr_slots ? v->nr_slots : nr_slots;

		if (v->slot_size != sizeof(slots[0]))
			return EINVAL;
		memcpy((void *)(uintptr_t)v->slots, slots, n * sizeof(slots[0]));
		verify.slots = v->slots;
		verify.size = sizeof(verify);
		verify.nr_slots = nr_slots;
		memcpy(v, &verify, sizeof(verify));
		break;
	}
	case HPCVM_CMD_VCPU_STATS:
		return vcpu_stats(arg);
	default:
		return ENOTTY;
	}
	return err[cmd];
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;
	int e;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (_IOC_TYPE(request) != HPCVM_TYPE)
		return REAL(ioctl)(fd, request, arg);
	e = fake_ioctl ? fake_ioctl(fd, _IOC_NR(request), arg) : from_file(_IOC_NR(request), arg);
	if (!e)
		return 0;
	errno = e;
	return -1;
}
