// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a monitor costs, in nanoseconds: under -icount these are instructions. A look
 * at a generation; a watch; and what munmap() and mprotect() of memory that nobody
 * watches pay for what is watched elsewhere. Prints the rows of a table.
 */
#include <sched.h>
#include "../monitor.h"

#define ROUNDS 64

static void row(const char *what, double ns)
{
	printf("%-46s  %12.0f\n", what, ns);
}

/* The least that @act takes of ROUNDS times; @before is not counted. */
#define COST(before, act) ({						\
	uint64_t least_ = -1, took_;					\
	int round_;							\
	for (round_ = 0; round_ < ROUNDS; round_++) {			\
		before;							\
		took_ = now_ns();					\
		act;							\
		took_ = now_ns() - took_;				\
		least_ = took_ < least_ ? took_ : least_;		\
	}								\
	least_;								\
})

static char *page(void)
{
	char *p = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*p = 1;
	return p;
}

static double empty;		/* what reading the clock costs */

static void unwatched(const char *what)
{
	char name[64];
	char *p;

	snprintf(name, sizeof(name), "munmap() of a page, %s", what);
	row(name, COST(p = page(), munmap(p, SZ_4K)) - empty);
	p = page();
	snprintf(name, sizeof(name), "mprotect() of a page, %s", what);
	row(name, COST(mprotect(p, SZ_4K, PROT_READ | PROT_WRITE); *p = 1,
		       mprotect(p, SZ_4K, PROT_READ)) - empty);
	munmap(p, SZ_4K);
}

/* One look; the loop around them is taken off. */
static double look(const struct mapped_monitor *m, struct watch w)
{
	const int times = 100000;
	uint64_t begin, loop, looks;
	int i, sum = 0;

	begin = now_ns();
	for (i = 0; i < times; i++)
		asm volatile("" : "+r" (sum));
	loop = now_ns() - begin;
	begin = now_ns();
	for (i = 0; i < times; i++) {
		if (!holds(m, w))
			abort();
		asm volatile("" : "+r" (sum));
	}
	looks = now_ns() - begin;
	return (double)(looks - loop) / times;
}

int main(void)
{
	struct hpcvm_monitor_stats stats = { .size = 0 };
	struct mapped_monitor m;
	struct watch w;
	char *ram, *p;
	char name[32];
	int i;

	ram = mmap(NULL, 10000 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	empty = COST(, );
	unwatched("no monitor");
	m = new_monitor(open_device(), 20000);
	if (m.fd < 0)
		return 1;
	unwatched("0 watches");
	w = watch(&m, ram, SZ_4K);
	unwatched("1 watch");
	for (i = 1; i < 10000; i++) {
		if (!watch(&m, ram + i * SZ_4K, SZ_4K).cookie)
			return 1;
		if (i != 99 && i != 9999)
			continue;
		snprintf(name, sizeof(name), "%d watches", i + 1);
		unwatched(name);
	}
	row("munmap() of a page that is watched", COST(p = page(); watch(&m, p, SZ_4K),
						       munmap(p, SZ_4K)) - empty);
	row("an ioctl that is refused at once",
	    COST(, call(m.fd, HPCVM_MONITOR_STATS, &stats)) - empty);
	row("to watch a page", COST(, watch(&m, ram, SZ_4K)) - empty);
	row("to unwatch it", COST(w = watch(&m, ram, SZ_4K), unwatch(&m, w)) - empty);
	row("to look whether it is as it was", look(&m, w = watch(&m, ram, SZ_4K)));
	return 0;
}
