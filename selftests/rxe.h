/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of libraries over rxe share; selftests/rxe.sh makes the device. */
#ifndef RXE_H
#define RXE_H

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#define PROFILE "/sys/kernel/tracing/kprobe_profile"

/* How often anybody has pinned pages the fast way: rxe, for each registration. */
static inline long long pins(void)
{
	static int fd = -1;
	char text[256];
	long long hits;
	ssize_t n;

	if (fd < 0)
		fd = open(PROFILE, O_RDONLY | O_CLOEXEC);
	n = pread(fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = 0;
	return sscanf(text, "%*s %lld", &hits) == 1 ? hits : -1;
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

/* Memory whose pages are exchanged at random, by one thread or another. */
struct shaken {
	char *ram;
	size_t length;
	int fd;			/* of what it is mapped from, at times */
	unsigned int seed;
	size_t at, part;	/* a random part of it */
	int what;		/* is done to it */
};

static inline int begin_shaking(struct shaken *m)
{
	m->fd = memfd_create("shaken", MFD_CLOEXEC);
	m->seed = 1;
	return m->fd < 0 ? -1 : ftruncate(m->fd, m->length);
}

static inline void *shake_now(void *arg)
{
	const struct shaken *m = arg;
	char *at = m->ram + m->at, *other;

	switch (m->what) {
	case 0:
		mmap(m->ram, m->length, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	case 1:
		mmap(m->ram, m->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 0);
		break;
	case 2:
		madvise(at, m->part, MADV_DONTNEED);
		break;
	case 3:
		fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, m->at, m->part);
		break;
	case 4:
		other = mmap(NULL, m->part, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		mremap(other, m->part, m->part, MREMAP_MAYMOVE | MREMAP_FIXED, at);
		break;
	case 5:
		munmap(at, m->part);
		mmap(at, m->part, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	}
	return NULL;
}

/* Half of the time nothing is done. */
static inline int shake(struct shaken *m)
{
	pthread_t other;

	m->at = rand_r(&m->seed) % (m->length / SZ_4K) * SZ_4K;
	m->part = (rand_r(&m->seed) % ((m->length - m->at) / SZ_4K) + 1) * SZ_4K;
	m->what = rand_r(&m->seed) % 12;
	if (rand_r(&m->seed) % 2) {
		shake_now(m);
		return 0;
	}
	return pthread_create(&other, NULL, shake_now, m) || pthread_join(other, NULL);
}

/* ROUNDS of the environment */
static inline int asked_rounds(int otherwise)
{
	const char *s = getenv("ROUNDS");

	return s && *s ? atoi(s) : otherwise;
}

#endif
