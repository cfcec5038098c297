// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of resources: what stands in it, and how all of it goes when a
 * round is over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/kvm.h>
#include <linux/hpcvm.h>
#include "table.h"

struct table table;

int fd_of(uint64_t place)
{
	return table.fd[place % FDS];
}

/* A new fd takes its place; what stood there is closed. */
void put_fd(uint64_t place, int fd)
{
	if (fd < OWN)
		return;
	fd = atomic_exchange(&table.fd[place % FDS], fd);
	if (fd >= 0)
		close(fd);
}

void kill_children(void)
{
	pid_t child;
	int i;

	for (i = 0; i < CHILDREN; i++) {
		child = atomic_exchange(&table.child[i], 0);
		if (!child)
			continue;
		kill(child, SIGKILL);
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

/* All that stand in sysfs: a program may have parked what it never heard of. */
static void drop_reservations(void)
{
	struct hpcvm_reserve_drop drop = { .size = sizeof(drop) };
	int dev = open("/dev/hpcvm", O_RDWR | O_CLOEXEC);
	DIR *dir = opendir(SYSFS "reservations");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		drop.id = strtoull(entry->d_name, NULL, 10);
		if (drop.id)
			ioctl(dev, HPCVM_RESERVE_DROP, &drop);
	}
	if (dir)
		closedir(dir);
	close(dev);
}

static void map_arenas(void)
{
	if (mmap((void *)ARENA(0), ARENA_SIZE * ARENAS, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		abort();
}

/* Everything goes: as if no program had ever run. */
void table_reset(void)
{
	int i;

	kill_children();
	map_arenas();
	close_range(OWN, ~0U, 0);
	for (i = 0; i < FDS; i++)
		table.fd[i] = -1;
	for (i = 0; i < IDS; i++)
		table.vm_id[i] = 0;
	drop_reservations();
	for (i = 0; i < IDS; i++)
		table.reservation[i] = 0;
	table.children = 0;
}

/* Two of the node's four CPUs are for claims. */
static void list_cores(void)
{
	int fd = open(SYSFS "cores/claimable", O_WRONLY | O_CLOEXEC);

	if (write(fd, "2-3", 3) < 0)
		abort();
	close(fd);
}

/*
 * After the last fd that the fuzzer keeps for itself was opened. One of them is
 * a KVM VM with a vCPU: the first and the last of a node cost it dear.
 */
void table_init(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (ioctl(ioctl(kvm, KVM_CREATE_VM, 0), KVM_CREATE_VCPU, 0) < 0)
		abort();
	list_cores();
	table.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	table.shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	while (dup(table.zero) < OWN - 1)
		;
	table_reset();
}
