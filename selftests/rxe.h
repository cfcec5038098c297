/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of libraries over rxe share; selftests/rxe.sh makes the device. */
#ifndef RXE_H
#define RXE_H

#include <stdio.h>
#include <sys/mman.h>

#define PROFILE "/sys/kernel/tracing/kprobe_profile"

/* How often anybody has pinned pages the fast way: rxe, for each registration. */
static inline long long pins(void)
{
	char name[64];
	long long hits;
	FILE *f = fopen(PROFILE, "r");
	int n = f ? fscanf(f, "%63s %lld", name, &hits) : 0;

	if (f)
		fclose(f);
	return n == 2 ? hits : -1;
}

/* Fresh memory, in the place of what is there. */
static inline int map_at(char **ram, size_t length)
{
	void *at = mmap(*ram, length, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | (*ram ? MAP_FIXED : 0), -1, 0);

	if (at == MAP_FAILED)
		return -1;
	*ram = at;
	return 0;
}

#endif
