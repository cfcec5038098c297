// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a call has reached. KCOV writes the address of each basic block that
 * the calling thread runs in the kernel; counted are those in hpcvm.ko, and
 * which of them follows which. That an ioctl has answered with a reason that
 * it never gave before counts, too, so that there is something to go by on a
 * kernel without KCOV.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kcov.h>
#include "fuzz.h"

#define TRACE (1UL << 18)	/* addresses a call */
#define POINTS (1UL << 20)	/* bytes of code, at most */
#define EDGES (1UL << 18)
#define ERRNOS 256
#define REASONS 64
#define VERDICTS (64UL * ERRNOS * REASONS)

static uint64_t code, code_size;	/* of hpcvm.ko */
static _Atomic uint8_t points[POINTS], edges[EDGES], verdicts[VERDICTS];
static atomic_ulong nr_points, nr_edges, nr_verdicts;

/* Where the module's code is; false: the kernel does not say. */
static bool find_code(void)
{
	char line[300], module[80], type;
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long addr;
	uint64_t end = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx %c %*s [%79[^]]", &addr, &type, module) != 3 ||
		    strcmp(module, "hpcvm") || (type != 't' && type != 'T'))
			continue;
		if (!code || addr < code)
			code = addr;
		if (addr + 0x1000 > end)
			end = addr + 0x1000;
	}
	if (f)
		fclose(f);
	code_size = end - code;
	return code && code_size < POINTS;
}

/* Is there coverage to go by? */
bool cover_init(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return find_code();
}

bool cover_thread(struct runner *r)
{
	r->kcov = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (r->kcov < 0 || ioctl(r->kcov, KCOV_INIT_TRACE, TRACE))
		return false;
	r->trace = mmap(NULL, TRACE * sizeof(*r->trace), PROT_READ | PROT_WRITE, MAP_SHARED,
			r->kcov, 0);
	if (r->trace == MAP_FAILED) {
		r->trace = NULL;
		return false;
	}
	return !ioctl(r->kcov, KCOV_ENABLE, KCOV_TRACE_PC);
}

static void mark(struct runner *r, _Atomic uint8_t *seen, atomic_ulong *nr)
{
	if (*seen || atomic_exchange(seen, 1))
		return;
	atomic_fetch_add(nr, 1);
	r->news = true;
}

void cover_begin(struct runner *r)
{
	if (r->trace)
		__atomic_store_n(r->trace, 0, __ATOMIC_RELAXED);
}

void cover_end(struct runner *r, int call, int err, uint32_t reason)
{
	uint64_t n = r->trace ? __atomic_load_n(r->trace, __ATOMIC_RELAXED) : 0, i, last = 0;

	for (i = 1; i <= n && i < TRACE; i++) {
		uint64_t at = r->trace[i] - code;

		if (at >= code_size)
			continue;
		mark(r, &points[at], &nr_points);
		mark(r, &edges[(last * 0x9e3779b1 ^ at) % EDGES], &nr_edges);
		last = at;
	}
	mark(r, &verdicts[((call * ERRNOS) + err % ERRNOS) * REASONS + reason % REASONS], &nr_verdicts);
}

void cover_figures(unsigned long *p, unsigned long *e, unsigned long *v)
{
	*p = nr_points;
	*e = nr_edges;
	*v = nr_verdicts;
}

/* Which call was answered how: its name, an errno, a reason. */
void cover_save_answers(FILE *f)
{
	unsigned long i;

	for (i = 0; i < VERDICTS; i++)
		if (verdicts[i])
			fprintf(f, "%s %lu %lu\n", calls[i / (ERRNOS * REASONS)].name,
				i / REASONS % ERRNOS, i % REASONS);
}

/* The points, as offsets into the module's code: for addr2line. */
void cover_save_points(FILE *f)
{
	uint64_t at;

	for (at = 0; at < code_size; at++)
		if (points[at])
			fprintf(f, "%#lx\n", (unsigned long)at);
}
