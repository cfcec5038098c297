/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of monitors share. */
#ifndef MONITOR_H
#define MONITOR_H

#include "selftest.h"

#define MONITORS "/sys/class/misc/hpcvm/monitors/"
#define BALANCING "/proc/sys/kernel/numa_balancing"

struct mapped_monitor {
	int fd;
	uint32_t slots;
	const uint64_t *words;
};

struct watch {
	uint32_t slot;
	uint64_t cookie;
};

static inline struct hpcvm_monitor_create monitor_create(uint32_t slots)
{
	return (struct hpcvm_monitor_create){ .size = sizeof(struct hpcvm_monitor_create),
		.slots = slots };
}

static inline size_t words_length(uint32_t slots)
{
	return ((slots + 1) * 8UL + SZ_4K - 1) & -SZ_4K;
}

static inline struct hpcvm_monitor_watch monitor_watch(const void *addr, uint64_t length)
{
	return (struct hpcvm_monitor_watch){ .size = sizeof(struct hpcvm_monitor_watch),
		.addr = (uintptr_t)addr, .length = length };
}

static inline struct hpcvm_monitor_unwatch monitor_unwatch(struct watch w)
{
	return (struct hpcvm_monitor_unwatch){ .size = sizeof(struct hpcvm_monitor_unwatch),
		.slot = w.slot, .cookie = w.cookie };
}

/* One of the caller's; no fd: it failed. */
static inline struct mapped_monitor new_monitor(int dev, uint32_t slots)
{
	struct hpcvm_monitor_create create = monitor_create(slots);
	struct mapped_monitor m = { .fd = -1, .slots = slots };

	if (call(dev, HPCVM_MONITOR_CREATE, &create))
		return m;
	m.fd = create.out_fd;
	m.words = mmap(NULL, words_length(slots), PROT_READ, MAP_SHARED, m.fd, 0);
	if (m.words == MAP_FAILED) {
		close(m.fd);
		m.fd = -1;
	}
	return m;
}

static inline void end_monitor(struct mapped_monitor *m)
{
	munmap((void *)m->words, words_length(m->slots));
	close(m->fd);
}

/* Cookie 0: it failed. */
static inline struct watch watch(const struct mapped_monitor *m, const void *addr, uint64_t length)
{
	struct hpcvm_monitor_watch w = monitor_watch(addr, length);

	if (call(m->fd, HPCVM_MONITOR_WATCH, &w))
		return (struct watch){};
	return (struct watch){ w.slot, w.cookie };
}

static inline int unwatch(const struct mapped_monitor *m, struct watch w)
{
	struct hpcvm_monitor_unwatch u = monitor_unwatch(w);

	return call(m->fd, HPCVM_MONITOR_UNWATCH, &u);
}

/* As it is now: the kernel writes it. */
static inline uint64_t word(const struct mapped_monitor *m, uint32_t nr)
{
	return __atomic_load_n(&m->words[nr], __ATOMIC_ACQUIRE);
}

static inline bool holds(const struct mapped_monitor *m, struct watch w)
{
	return w.cookie && word(m, w.slot) == w.cookie;
}

static inline struct hpcvm_monitor_stats monitor_stats(int fd)
{
	struct hpcvm_monitor_stats s = { .size = sizeof(s) };

	if (call(fd, HPCVM_MONITOR_STATS, &s))
		s.slots = 0;
	return s;
}

/*
 * NUMA balancing makes false changes whenever it likes: off, while a test means to
 * see none. What it was; -1: there is none.
 */
static inline long long set_balancing(long long to)
{
	long long was = get_number(BALANCING);
	char text[32];

	snprintf(text, sizeof(text), "%lld", to);
	if (was >= 0 && to >= 0)
		put_text(BALANCING, text);
	return was;
}

/* All monitors have so many slots, soon: a file is closed a moment after its fd. */
static inline bool slots_settle(long long slots)
{
	int i;

	for (i = 0; i < 200 * slow() && get_number(MONITORS "slots") != slots; i++)
		usleep(20000);
	return get_number(MONITORS "slots") == slots;
}

/* The frame of a page that is there, or 0: the oracle, which is not ours. */
static inline uint64_t frame_of(const void *addr)
{
	static int fd = -1;
	uint64_t entry = 0;

	if (fd < 0)
		fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pread(fd, &entry, 8, (uintptr_t)addr / SZ_4K * 8) != 8 || !(entry >> 63))
		return 0;
	return entry & ((1ULL << 55) - 1);
}

#endif
