// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The ioctls of /dev/hpcvm, one function each. Filling in a struct is all
 * that happens here; HPCVM_MEM_CREATE, which needs more, is in place.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "private.h"

int hpcvm_call(int fd, unsigned int cmd, void *arg, const __u32 *reason,
	       const __u64 *detail, struct hpcvm_error *error)
{
	int err = 0;

	if (ioctl(fd, _IO(HPCVM_TYPE, cmd), arg) < 0)
		err = errno;
	if (error)
		*error = (struct hpcvm_error){
			.err = err,
			.cmd = cmd,
			.reason = err ? *reason : HPCVM_REASON_NONE,
			.node = HPCVM_NODE_ANY,
			.detail = err ? *detail : 0,
		};
	return -err;
}

int hpcvm_open(struct hpcvm_error *error)
{
	int fd = open(HPCVM_DEVICE, O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? errno : 0;

	if (error)
		*error = (struct hpcvm_error){
			.err = err,
			.cmd = HPCVM_CMD_OPEN,
			.node = HPCVM_NODE_ANY,
		};
	return err ? -err : fd;
}

int hpcvm_query(int fd, struct hpcvm_query *query, struct hpcvm_error *error)
{
	*query = (struct hpcvm_query){ .size = sizeof(*query) };
	return HPCVM_CALL(fd, HPCVM_CMD_QUERY, query, error);
}

/*
 * A name for tools to show: the module refuses what would upset a terminal,
 * and a domain shall not fail to start for its name.
 */
static void copy_name(char *to, const char *from)
{
	size_t n = strnlen(from, HPCVM_NAME_MAX - 1);

	for (size_t i = 0; i < n; i++)
		to[i] = from[i] < 0x20 || from[i] > 0x7e ? '?' : from[i];
}

int hpcvm_vm_create(int dev, int kvm_fd, const uint8_t *uuid, const char *name,
		    uint64_t *id, struct hpcvm_error *error)
{
	struct hpcvm_vm_create c = { .size = sizeof(c), .kvm_fd = kvm_fd };
	int ret;

	if (uuid)
		memcpy(c.uuid, uuid, sizeof(c.uuid));
	if (name)
		copy_name(c.name, name);
	ret = HPCVM_CALL(dev, HPCVM_CMD_VM_CREATE, &c, error);
	if (ret)
		return ret;
	if (id)
		*id = c.out_id;
	return c.out_fd;
}

int hpcvm_vm_open(int dev, uint64_t id, struct hpcvm_error *error)
{
	return hpcvm_vm_open_flags(dev, id, 0, error);
}

int hpcvm_vm_open_flags(int dev, uint64_t id, uint32_t flags, struct hpcvm_error *error)
{
	struct hpcvm_vm_open o = { .size = sizeof(o), .flags = flags, .id = id };
	int ret = HPCVM_CALL(dev, HPCVM_CMD_VM_OPEN, &o, error);

	return ret ? ret : o.out_fd;
}

int hpcvm_mem_slot(int vm, int mem_fd, int node, uint64_t gpa, uint64_t offset,
		   uint64_t length, struct hpcvm_error *error)
{
	struct hpcvm_mem_slot s = {
		.size = sizeof(s),
		.mem_fd = mem_fd,
		.node = node,
		.gpa = gpa,
		.offset = offset,
		.length = length,
	};
	int ret = HPCVM_CALL(vm, HPCVM_CMD_MEM_SLOT, &s, error);

	if (error)
		error->node = node;
	return ret;
}

int hpcvm_mem_adopt(int vm, int node, uint64_t gpa, const void *memory,
		    uint64_t length, struct hpcvm_error *error)
{
	struct hpcvm_mem_adopt a = {
		.size = sizeof(a),
		.node = node,
		.gpa = gpa,
		.hva = (uintptr_t)memory,
		.length = length,
	};
	int ret = HPCVM_CALL(vm, HPCVM_CMD_MEM_ADOPT, &a, error);

	if (error)
		error->node = node;
	return ret;
}

int hpcvm_mem_unslot(int vm, uint64_t gpa, struct hpcvm_error *error)
{
	struct hpcvm_mem_unslot u = { .size = sizeof(u), .gpa = gpa };

	return HPCVM_CALL(vm, HPCVM_CMD_MEM_UNSLOT, &u, error);
}

int hpcvm_mem_verify(int vm, struct hpcvm_mem_verify *verify,
		     struct hpcvm_slot_report *slots, uint32_t nr_slots,
		     struct hpcvm_error *error)
{
	if (!slots)
		nr_slots = 0;
	*verify = (struct hpcvm_mem_verify){
		.size = sizeof(*verify),
		.nr_slots = nr_slots,
		.slot_size = nr_slots ? sizeof(*slots) : 0,
		.slots = (uintptr_t)slots,
	};
	return HPCVM_CALL(vm, HPCVM_CMD_MEM_VERIFY, verify, error);
}

int hpcvm_reserve_park(int dev, int mem_fd, int node, int64_t uid, int64_t gid,
		       uint64_t *id, struct hpcvm_error *error)
{
	struct hpcvm_reserve_park p = { .size = sizeof(p), .mem_fd = mem_fd, .node = node };
	int ret;

	if (uid != HPCVM_RESERVE_ANYONE) {
		p.flags |= HPCVM_RESERVE_UID;
		p.uid = (uint32_t)uid;
	}
	if (gid != HPCVM_RESERVE_ANYONE) {
		p.flags |= HPCVM_RESERVE_GID;
		p.gid = (uint32_t)gid;
	}
	ret = HPCVM_CALL(dev, HPCVM_CMD_RESERVE_PARK, &p, error);
	if (error)
		error->node = node;
	if (!ret && id)
		*id = p.out_id;
	return ret;
}

int hpcvm_vcpu_attach(int vm, int vcpu_fd, const void *run, struct hpcvm_error *error)
{
	struct hpcvm_vcpu_attach a = {
		.size = sizeof(a),
		.vcpu_fd = vcpu_fd,
		.run = (uintptr_t)run,
	};

	return HPCVM_CALL(vm, HPCVM_CMD_VCPU_ATTACH, &a, error);
}

int hpcvm_vcpu_claim(int vm, uint32_t vcpu, int cpu, int node, uint32_t flags,
		     enum hpcvm_tick_mode tick, struct hpcvm_error *error)
{
	struct hpcvm_vcpu_claim c = {
		.size = sizeof(c),
		.flags = flags,
		.vcpu = vcpu,
		.cpu = cpu,
		.node = node,
		.tick = tick,
	};
	int ret = HPCVM_CALL(vm, HPCVM_CMD_VCPU_CLAIM, &c, error);

	if (error)
		error->node = node;
	return ret;
}

int hpcvm_vcpu_release(int vm, uint32_t vcpu, struct hpcvm_error *error)
{
	struct hpcvm_vcpu_release r = { .size = sizeof(r), .vcpu = vcpu };

	return HPCVM_CALL(vm, HPCVM_CMD_VCPU_RELEASE, &r, error);
}

int hpcvm_vcpu_stats(int vm, uint32_t vcpu, struct hpcvm_vcpu_stats *stats,
		     struct hpcvm_error *error)
{
	*stats = (struct hpcvm_vcpu_stats){ .size = sizeof(*stats), .vcpu = vcpu };
	return HPCVM_CALL(vm, HPCVM_CMD_VCPU_STATS, stats, error);
}

int hpcvm_vcpu_mark(int vm, uint32_t vcpu, struct hpcvm_error *error)
{
	struct hpcvm_vcpu_stats s = {
		.size = sizeof(s),
		.flags = HPCVM_STATS_MARK,
		.vcpu = vcpu,
	};

	return HPCVM_CALL(vm, HPCVM_CMD_VCPU_STATS, &s, error);
}

int hpcvm_reserve_drop(int dev, uint64_t id, struct hpcvm_error *error)
{
	struct hpcvm_reserve_drop d = { .size = sizeof(d), .id = id };

	return HPCVM_CALL(dev, HPCVM_CMD_RESERVE_DROP, &d, error);
}

int hpcvm_pin(int dev, void *addr, size_t length, uint64_t *segments, struct hpcvm_error *error)
{
	struct hpcvm_pin p = { .size = sizeof(p), .addr = (uintptr_t)addr, .length = length };
	int ret = HPCVM_CALL(dev, HPCVM_CMD_PIN, &p, error);

	if (ret)
		return ret;
	if (segments)
		*segments = p.segments;
	return p.out_fd;
}
