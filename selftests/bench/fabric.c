// SPDX-License-Identifier: GPL-2.0-only
/*
 * fabric NAME: what libfabric takes to register memory and to let go of it, in
 * nanoseconds: under -icount these are instructions. With what lies there for the first
 * time (a miss), and again (a hit). Which monitor its cache has is the environment's;
 * NAME stands in the rows of the table.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

#define KIB (1UL << 10)
#define MIB (1UL << 20)

static struct fid_domain *domain;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "fabric: %s failed\n", what);
	exit(1);
}

static void open_domain(void)
{
	struct fi_info *hints = fi_allocinfo(), *info;
	struct fid_fabric *fabric;

	hints->fabric_attr->prov_name = strdup("verbs");
	hints->ep_attr->type = FI_EP_MSG;
	hints->caps = FI_MSG;
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_ALLOCATED | FI_MR_PROV_KEY |
				      FI_MR_VIRT_ADDR;
	if (fi_getinfo(FI_VERSION(1, 18), "192.0.2.1", NULL, FI_SOURCE, hints, &info) ||
	    fi_fabric(info->fabric_attr, &fabric, NULL) || fi_domain(fabric, info, &domain, NULL))
		fail("opening the domain");
}

static uint64_t cost(char *at, size_t length)
{
	uint64_t took = now_ns();
	struct fid_mr *mr;

	if (fi_mr_reg(domain, at, length, FI_SEND | FI_RECV, 0, 0, 0, &mr, NULL) ||
	    fi_close(&mr->fid))
		fail("registering");
	return now_ns() - took;
}

static char *renew(char *at, size_t length, int huge)
{
	char *new;

	if (at)
		munmap(at, length);
	new = mmap(at, length, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0) |
		   (huge ? MAP_HUGETLB : 0), -1, 0);
	if (new == MAP_FAILED)
		fail("mmap");
	if (!huge)
		madvise(new, length, MADV_NOHUGEPAGE);
	memset(new, 1, length);
	return new;
}

static void rows(const char *name, const char *size, size_t length, int huge)
{
	uint64_t miss = -1, hit = -1, took;
	size_t mapped = huge ? (length + 2 * MIB - 1) & -(2 * MIB) : length;
	char *at = NULL;
	char row[64];
	int i;

	for (i = 0; i < 4; i++) {
		at = renew(at, mapped, huge);
		took = cost(at, length);
		miss = took < miss ? took : miss;
		/* What was in doubt is kept the second time. */
		cost(at, length);
		took = cost(at, length);
		hit = took < hit ? took : hit;
	}
	munmap(at, mapped);
	snprintf(row, sizeof(row), "%s, %s of %s: a miss", name, size, huge ? "2M" : "4K");
	printf("%-46s  %12llu\n", row, (unsigned long long)miss);
	snprintf(row, sizeof(row), "%s, %s of %s: a hit", name, size, huge ? "2M" : "4K");
	printf("%-46s  %12llu\n", row, (unsigned long long)hit);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	open_domain();
	rows(name, "64 KiB", 64 * KIB, 0);
	rows(name, "1 MiB", MIB, 0);
	rows(name, "16 MiB", 16 * MIB, 0);
	rows(name, "256 MiB", 256 * MIB, 0);
	rows(name, "256 MiB", 256 * MIB, 1);
	return 0;
}
