// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls of /dev/hpcvm: arguments become a struct, in one of several places
 * where a struct can be, and what comes back finds its place in the table.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <linux/hpcvm.h>
#include "table.h"

/* What an argument stands for. */
uint64_t meaning(enum kind kind, uint64_t arg)
{
	switch (kind) {
	case MEM: case HUGE: case KVM: case FILE_FD:
		return fd_of(arg);
	case VM_ID:
		return arg < IDS ? table.vm_id[arg] : arg;
	case RESERVATION:
		return arg < IDS ? table.reservation[arg] : arg;
	case WATCH:
		return arg < IDS ? table.watch[arg] : arg;
	case WATCH_COOKIE:
		return arg < IDS ? table.cookie[arg] : arg;
	default:
		return arg;
	}
}

static void fill_name(char *name, uint64_t how)
{
	static const char *const names[] = { "", "guest", "a b", "\x1b[2J", "n\xc3\xbc" };

	if (how < 5)
		strcpy(name, names[how]);
	else
		memset(name, 'x', HPCVM_NAME_MAX);
}

/* Where the struct goes. */
static char *place_struct(struct runner *r, uint64_t where, size_t size)
{
	switch (where) {
	case AT_THE_END: return r->buffer + 2 * PAGE - size;
	case CUT: return r->buffer + 2 * PAGE - (size / 2 & ~7UL);
	case READ_ONLY: return (char *)r->readonly;
	case NOWHERE: return NULL;
	case SHARED: return table.shared;
	case IN_ARENA: return (char *)ARENA(0) + MIB2 - (size / 2 & ~7UL);
	default: return r->buffer;
	}
}

/* To or from memory that may not be there; how much of it went. */
size_t carry(bool in, char *at, void *bytes, size_t size)
{
	struct iovec own = { bytes, size }, there = { at, size };
	ssize_t n = in ? process_vm_writev(getpid(), &own, 1, &there, 1, 0) :
			 process_vm_readv(getpid(), &own, 1, &there, 1, 0);

	return n < 0 ? 0 : n;
}

static void keep_results(const struct call_def *def, const uint64_t *arg, const void *cmd)
{
	const struct hpcvm_vm_create *vm = cmd;
	const struct hpcvm_vm_open *handle = cmd;
	const struct hpcvm_mem_create *mem = cmd;
	const struct hpcvm_reserve_park *park = cmd;
	const struct hpcvm_monitor_create *monitor = cmd;
	const struct hpcvm_monitor_watch *watch = cmd;
	const struct hpcvm_pin *pin = cmd;
	int last = call_args(def) - 1;

	switch (def->cmd) {
	case HPCVM_VM_CREATE:
		put_fd(arg[last], vm->out_fd);
		table.vm_id[arg[last] % IDS] = vm->out_id;
		break;
	case HPCVM_VM_OPEN:
		put_fd(arg[last], handle->out_fd);
		break;
	case HPCVM_MEM_CREATE:
		put_fd(arg[last], mem->out_fd);
		break;
	case HPCVM_RESERVE_PARK:
		table.reservation[arg[last] % IDS] = park->out_id;
		break;
	case HPCVM_MONITOR_CREATE:
		put_fd(arg[last], monitor->out_fd);
		break;
	case HPCVM_PIN:
		put_fd(arg[last], pin->out_fd);
		break;
	case HPCVM_MONITOR_WATCH:
		table.watch[arg[last] % IDS] = watch->slot;
		table.cookie[arg[last] % IDS] = watch->cookie;
		break;
	}
}

int run_ioctl(struct runner *r, const struct call_def *def, const uint64_t *arg,
	      uint32_t *reason)
{
	uint8_t bytes[PAGE] = {};
	size_t size = arg[2] ? arg[2] : def->size, room = size < PAGE ? size : PAGE;
	char *at = place_struct(r, arg[1], room);
	int i, err;

	for (i = 3; i < ARGS_MAX; i++) {
		uint64_t value = meaning(def->kind[i], arg[i]);

		if (def->field[i].width > 8)
			fill_name((char *)bytes + def->field[i].offset, value);
		else
			memcpy(bytes + def->field[i].offset, &value, def->field[i].width);
	}
	memcpy(bytes, &size, 4);
	carry(true, at == r->readonly ? r->buffer : at, bytes, room);
	err = result(ioctl(fd_of(arg[0]), def->cmd, at));
	if (carry(false, at, bytes, room) < def->size)
		return err;
	memcpy(reason, bytes + def->verdict, 4);
	if (!err)
		keep_results(def, arg, bytes);
	return err;
}

/* A command that is none of ours, or not so. */
int run_command(struct runner *r, const struct call_def *def, const uint64_t *arg,
		uint32_t *reason)
{
	memset(r->buffer, 0, 2 * PAGE);
	*(uint32_t *)r->buffer = arg[2];
	return result(ioctl(fd_of(arg[0]), arg[1], r->buffer));
}
