// SPDX-License-Identifier: GPL-2.0-only
/*
 * memory HOW MIB: what it costs until a guest of so many MiB can use its
 * memory, in nanoseconds, one line:
 *
 *	CREATE MAP TOUCH PIN
 *
 * CREATE until there is a file, MAP until it is mapped, TOUCH until the page
 * tables of this process have all of it: each page written once. PIN: what it
 * costs then to pin 1 GiB (or all of it) for a device, as io_uring's
 * registered buffers, VFIO and RDMA do. Under -icount a nanosecond is an
 * instruction.
 *
 * HOW: anon (4K pages, as of a plain q35 guest), hugetlb (a memfd of 2M pages,
 * preallocated, as of libvirt's <hugepages/>), fresh (HPCVM_MEM_CREATE from
 * the pool), draw (HPCVM_MEM_CREATE from a reservation, which must be there).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <linux/memfd.h>
#include <linux/hpcvm.h>

#define SZ_2M 0x200000UL
#define SZ_1G 0x40000000UL

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "memory: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int create(const char *how, size_t size)
{
	struct hpcvm_mem_create c = {
		.size = sizeof(c), .length = size, .page_size = SZ_2M, .node = HPCVM_NODE_ANY,
		.flags = strcmp(how, "fresh") ? 0 : HPCVM_MEM_FRESH,
	};
	int fd;

	if (!strcmp(how, "anon"))
		return -1;
	if (!strcmp(how, "hugetlb")) {
		fd = memfd_create("ram", MFD_HUGETLB | MFD_HUGE_2MB);
		check(fd >= 0 && !ftruncate(fd, size), "memfd");
		return fd;
	}
	fd = open("/dev/hpcvm", O_RDWR);
	check(fd >= 0, "/dev/hpcvm");
	check(!ioctl(fd, HPCVM_MEM_CREATE, &c), "HPCVM_MEM_CREATE");
	close(fd);
	if (!strcmp(how, "draw") && !c.out_reservation) {
		fprintf(stderr, "memory: there was no reservation to draw\n");
		exit(1);
	}
	return c.out_fd;
}

/* Pin it as a registered buffer: pin_user_pages() with FOLL_LONGTERM. */
static uint64_t pin(char *ram, size_t size)
{
	struct iovec iov = { .iov_base = ram, .iov_len = size < SZ_1G ? size : SZ_1G };
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 4, &params);
	uint64_t begin;

	check(ring >= 0, "io_uring_setup");
	begin = now();
	check(!syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1),
	      "IORING_REGISTER_BUFFERS");
	begin = now() - begin;
	close(ring);
	return begin;
}

int main(int argc, char **argv)
{
	uint64_t begin, created, mapped, touched;
	size_t size, step, at;
	char *ram;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: memory anon|hugetlb|fresh|draw MIB\n");
		return 2;
	}
	size = strtoul(argv[2], NULL, 10) << 20;
	step = strcmp(argv[1], "anon") ? SZ_2M : 4096;

	begin = now();
	fd = create(argv[1], size);
	created = now();
	ram = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	check(ram != MAP_FAILED, "mmap");
	if (fd < 0)
		madvise(ram, size, MADV_NOHUGEPAGE);
	mapped = now();
	for (at = 0; at < size; at += step)
		__atomic_store_n(ram + at, 1, __ATOMIC_RELAXED);
	touched = now();
	printf("%llu %llu %llu %llu\n", (unsigned long long)(created - begin),
	       (unsigned long long)(mapped - created), (unsigned long long)(touched - mapped),
	       (unsigned long long)pin(ram, size));
	return 0;
}
