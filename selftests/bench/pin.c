// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs to pin memory, in nanoseconds: under -icount these are instructions.
 * As a dma-buf (HPCVM_PIN), and beside it the stock way, a buffer that io_uring is given:
 * page by page, as RDMA and VFIO do. Prints the rows of a table.
 */
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include "../selftest.h"

#define ROUNDS 8

static void fail(const char *what)
{
	fprintf(stderr, "bench: %s: %m\n", what);
	exit(1);
}

static int pin(int dev, const void *ram, size_t length)
{
	struct hpcvm_pin p = { .size = sizeof(p), .addr = (uintptr_t)ram, .length = length };

	if (call(dev, HPCVM_PIN, &p))
		fail("HPCVM_PIN");
	return p.out_fd;
}

static void give(int ring, void *ram, size_t length)
{
	struct iovec iov = { ram, length };

	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1))
		fail("io_uring_register");
}

/* The least of some rounds. */
static void rows(int dev, int ring, const char *what, size_t length, int flags)
{
	char *ram = mmap(NULL, length, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | flags, -1, 0);
	uint64_t ours = -1, stock = -1, begin, took;
	int i, fd;

	if (ram == MAP_FAILED)
		fail(what);
	for (i = 0; i < ROUNDS; i++) {
		begin = now_ns();
		fd = pin(dev, ram, length);
		took = now_ns() - begin;
		ours = took < ours ? took : ours;
		close(fd);

		begin = now_ns();
		give(ring, ram, length);
		took = now_ns() - begin;
		stock = took < stock ? took : stock;
		if (syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
			fail("io_uring_register");
	}
	munmap(ram, length);
	printf("%s, page by page%*s  %12llu\n", what, 46 - 14 - (int)strlen(what), "",
	       (unsigned long long)stock);
	printf("%s, HPCVM_PIN%*s  %12llu\n", what, 46 - 11 - (int)strlen(what), "",
	       (unsigned long long)ours);
}

int main(void)
{
	struct io_uring_params params = {};
	int dev = open_device(), ring = syscall(SYS_io_uring_setup, 1, &params);

	if (dev < 0 || ring < 0)
		fail("no device, or no io_uring");
	rows(dev, ring, "64 KiB of 4K", 64 << 10, 0);
	rows(dev, ring, "16 MiB of 4K", 16 << 20, 0);
	rows(dev, ring, "256 MiB of 4K", 256 << 20, 0);
	if (pool_set(SZ_2M, HPCVM_NODE_ANY, 128) < 128)
		fail("no 128 hugepages");
	rows(dev, ring, "2 MiB of 2M", 2 << 20, MAP_HUGETLB);
	rows(dev, ring, "256 MiB of 2M", 256 << 20, MAP_HUGETLB);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	return 0;
}
