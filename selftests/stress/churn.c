// SPDX-License-Identifier: GPL-2.0-only
/*
 * churn SEED MILLISECONDS: a process that does what no sane one does with
 * /dev/hpcvm: opens, makes VMs and memory, promises, verifies, polls, closes
 * at random; forks children that go on with the same fds, executes itself
 * anew, kills itself. Nothing is checked here: whoever runs it (stress.py)
 * looks at what is left when all of them are gone.
 */
#include <poll.h>
#include <time.h>
#include "selftest.h"

#define FDS 24
#define PAGES 4

static int fds[FDS];	/* of all kinds; -1: none */
static char *ram;	/* of the last memory made */
static int mem = -1;
static int depth = 3;	/* generations of children that may follow */

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int any_fd(void)
{
	return fds[random() % FDS];
}

static void keep(int fd)
{
	int *slot = &fds[random() % FDS];

	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static void make_vm(void)
{
	int kvm = new_kvm();

	if (ram)
		kvm_memslot(kvm, 0, 0, PAGES * SZ_2M, ram, 0);
	keep(new_vm(any_fd(), kvm));
	keep(kvm);
}

static void make_memory(void)
{
	if (ram)
		munmap(ram, PAGES * SZ_2M);
	ram = NULL;
	mem = new_mem(any_fd(), PAGES * SZ_2M, SZ_2M);
	if (mem < 0)
		return;
	keep(mem);
	ram = map_shared(mem, PAGES * SZ_2M);
	if (ram == MAP_FAILED)
		ram = NULL;
}

static void promise(void)
{
	struct hpcvm_mem_slot slot = mem_slot(mem, 0, 0, PAGES * SZ_2M);
	struct hpcvm_mem_unslot unslot = { .size = sizeof(unslot) };

	if (random() % 3)
		call(any_fd(), HPCVM_MEM_SLOT, &slot);
	else
		call(any_fd(), HPCVM_MEM_UNSLOT, &unslot);
}

static void look(void)
{
	struct hpcvm_query query = { .size = sizeof(query) };
	struct hpcvm_vm_open open = { .size = sizeof(open) };
	struct pollfd watched = { .fd = any_fd(), .events = POLLIN };

	if (!call(any_fd(), HPCVM_QUERY, &query)) {
		open.id = query.vm_id;
		if (!call(any_fd(), HPCVM_VM_OPEN, &open))
			keep(open.out_fd);
	}
	broken(any_fd());
	poll(&watched, 1, random() % 20);
}

static void multiply(char **argv, long left)
{
	char seed[24], ms[24];

	switch (random() % 4) {
	case 0:
		if (depth && !fork())
			depth--;
		break;
	case 1:
		if (random() % 4)
			break;
		snprintf(seed, sizeof(seed), "%ld", random());
		snprintf(ms, sizeof(ms), "%ld", left);
		execl(argv[0], argv[0], seed, ms, NULL);
		break;
	case 2:
		if (!(random() % 8))
			kill(getpid(), SIGKILL);
	}
}

int main(int argc, char **argv)
{
	long end;
	int i;

	if (argc != 3) {
		fprintf(stderr, "usage: churn SEED MILLISECONDS\n");
		return 2;
	}
	srandom(atol(argv[1]));
	end = now() + atol(argv[2]);
	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < FDS; i++)
		fds[i] = -1;
	while (now() < end) {
		switch (random() % 8) {
		case 0:
		case 1:
			keep(open_device());
			break;
		case 2:
			make_vm();
			break;
		case 3:
			make_memory();
			break;
		case 4:
			promise();
			break;
		case 5:
			look();
			break;
		case 6:
			keep(-1);
			break;
		case 7:
			multiply(argv, end - now());
		}
	}
	return 0;
}
