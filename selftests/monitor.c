// SPDX-License-Identifier: GPL-2.0-only
/*
 * The monitor as an object: whose it is, how many ranges it watches, what it tells
 * of them and to whom, and how it ends. What changes a range: change.c.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "monitor.h"

#define SLOTS 1000		/* two pages of words */

FIXTURE(monitor)
{
	int dev;
	struct mapped_monitor m;
	char *ram;
	long long balancing;
};

#define RAM (16 * SZ_4K)

FIXTURE_SETUP(monitor)
{
	self->balancing = set_balancing(0);
	self->dev = open_device();
	self->m = new_monitor(self->dev, SLOTS);
	ASSERT_LE(0, self->m.fd);
	self->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
}

FIXTURE_TEARDOWN(monitor)
{
	munmap(self->ram, RAM);
	end_monitor(&self->m);
	close(self->dev);
	set_balancing(self->balancing);
	EXPECT_TRUE(slots_settle(0));
}

static void dontneed(char *page)
{
	madvise(page, SZ_4K, MADV_DONTNEED);
}

TEST_F(monitor, create_refused)
{
	struct hpcvm_monitor_create c = monitor_create(0);
	long long limit = get_number(MONITORS "user_limit");
	char text[32];

	EXPECT_REFUSED(self->dev, HPCVM_MONITOR_CREATE, &c, EINVAL, HPCVM_REASON_MONITOR_SLOTS,
		       HPCVM_MONITOR_SLOTS_MAX);
	c = monitor_create(HPCVM_MONITOR_SLOTS_MAX + 1);
	EXPECT_REFUSED(self->dev, HPCVM_MONITOR_CREATE, &c, EINVAL, HPCVM_REASON_MONITOR_SLOTS,
		       HPCVM_MONITOR_SLOTS_MAX);
	EXPECT_TRUE(slots_settle(SLOTS));

	ASSERT_EQ(0, put_text(MONITORS "user_limit", "1100"));
	c = monitor_create(101);
	EXPECT_REFUSED(self->dev, HPCVM_MONITOR_CREATE, &c, EPERM, HPCVM_REASON_MONITOR_LIMIT,
		       1100);
	c = monitor_create(100);
	EXPECT_EQ(0, call(self->dev, HPCVM_MONITOR_CREATE, &c));
	EXPECT_TRUE(slots_settle(SLOTS + 100));
	close(c.out_fd);
	snprintf(text, sizeof(text), "%lld", limit);
	EXPECT_EQ(0, put_text(MONITORS "user_limit", text));
}

TEST_F(monitor, watch_refused)
{
	const uint64_t top = 0x7ffffffff000;
	struct hpcvm_monitor_watch w = monitor_watch(self->ram, 0);

	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &w, EINVAL, HPCVM_REASON_SIZE_ZERO, 0);
	w = monitor_watch((void *)top, 1);
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &w, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	w = monitor_watch((void *)SZ_4K, top);
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &w, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	w = monitor_watch((void *)-SZ_4K, 2 * SZ_4K);
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &w, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	w = monitor_watch((void *)SZ_4K, UINT64_MAX);
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &w, EINVAL, HPCVM_REASON_HVA_LIMIT, top);
	w = monitor_watch((void *)(top - 1), 1);
	EXPECT_EQ(0, call(self->m.fd, HPCVM_MONITOR_WATCH, &w));
	EXPECT_EQ(1, monitor_stats(self->m.fd).taken);
}

TEST_F(monitor, unwatch_refused)
{
	struct watch w = watch(&self->m, self->ram, SZ_4K);
	struct hpcvm_monitor_unwatch u = monitor_unwatch((struct watch){ 0, w.cookie });

	ASSERT_NE(0, w.cookie);
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_UNWATCH, &u, ENOENT, HPCVM_REASON_WATCH_UNKNOWN,
		       0);
	u = monitor_unwatch((struct watch){ SLOTS + 1, w.cookie });
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_UNWATCH, &u, ENOENT, HPCVM_REASON_WATCH_UNKNOWN,
		       SLOTS + 1);
	u = monitor_unwatch((struct watch){ w.slot, w.cookie + 1 });
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_UNWATCH, &u, ENOENT, HPCVM_REASON_WATCH_UNKNOWN,
		       w.slot);
	u = monitor_unwatch((struct watch){ w.slot + 1, 0 });
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_UNWATCH, &u, ENOENT, HPCVM_REASON_WATCH_UNKNOWN,
		       w.slot + 1);
	EXPECT_TRUE(holds(&self->m, w));
	EXPECT_EQ(0, unwatch(&self->m, w));
	EXPECT_FALSE(holds(&self->m, w));
	EXPECT_EQ(ENOENT, unwatch(&self->m, w));
	EXPECT_EQ(0, monitor_stats(self->m.fd).taken);
}

TEST_F(monitor, full)
{
	struct hpcvm_monitor_watch more = monitor_watch(self->ram, SZ_4K);
	struct watch w[SLOTS];
	int i;

	for (i = 0; i < SLOTS; i++) {
		w[i] = watch(&self->m, self->ram + i % 16 * SZ_4K, SZ_4K);
		ASSERT_NE(0, w[i].cookie);
		ASSERT_LE(1, w[i].slot);
		ASSERT_GE(SLOTS, w[i].slot);
	}
	EXPECT_REFUSED(self->m.fd, HPCVM_MONITOR_WATCH, &more, ENOSPC, HPCVM_REASON_WATCHES_FULL,
		       SLOTS);
	/* One that has changed takes its slot still. */
	dontneed(self->ram);
	EXPECT_FALSE(holds(&self->m, w[0]));
	EXPECT_TRUE(holds(&self->m, w[1]));
	EXPECT_EQ(ENOSPC, call(self->m.fd, HPCVM_MONITOR_WATCH, &more));
	EXPECT_EQ(0, unwatch(&self->m, w[0]));
	EXPECT_EQ(0, call(self->m.fd, HPCVM_MONITOR_WATCH, &more));
	EXPECT_EQ(w[0].slot, more.slot);
	EXPECT_LT(w[SLOTS - 1].cookie, more.cookie);
}

/* Ranges that overlap, and one that is not of whole pages. */
TEST_F(monitor, ranges)
{
	struct watch all = watch(&self->m, self->ram, RAM);
	struct watch first = watch(&self->m, self->ram, SZ_4K);
	struct watch inside = watch(&self->m, self->ram + 4 * SZ_4K, 4 * SZ_4K);
	struct watch across = watch(&self->m, self->ram + 6 * SZ_4K, 4 * SZ_4K);
	struct watch bytes = watch(&self->m, self->ram + 3 * SZ_4K - 1, 2);
	struct watch same = watch(&self->m, self->ram + 3 * SZ_4K - 1, 2);

	dontneed(self->ram + 2 * SZ_4K);
	EXPECT_FALSE(holds(&self->m, all));
	EXPECT_FALSE(holds(&self->m, bytes));
	EXPECT_FALSE(holds(&self->m, same));
	EXPECT_TRUE(holds(&self->m, first));
	EXPECT_TRUE(holds(&self->m, inside));
	dontneed(self->ram + 7 * SZ_4K);
	EXPECT_FALSE(holds(&self->m, inside));
	EXPECT_FALSE(holds(&self->m, across));
	EXPECT_TRUE(holds(&self->m, first));
	dontneed(self->ram + 1 * SZ_4K);
	EXPECT_TRUE(holds(&self->m, first));
}

/* The same address and the same slot again: it is another watch. */
TEST_F(monitor, cookie)
{
	struct watch old = watch(&self->m, self->ram, SZ_4K), new;

	ASSERT_EQ(self->ram, mmap(self->ram, SZ_4K, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_FALSE(holds(&self->m, old));
	EXPECT_EQ(0, unwatch(&self->m, old));
	new = watch(&self->m, self->ram, SZ_4K);
	EXPECT_EQ(old.slot, new.slot);
	EXPECT_NE(old.cookie, new.cookie);
	EXPECT_TRUE(holds(&self->m, new));
	EXPECT_FALSE(holds(&self->m, old));
	EXPECT_EQ(ENOENT, unwatch(&self->m, old));
}

TEST_F(monitor, sequence)
{
	struct watch a = watch(&self->m, self->ram, SZ_4K);
	struct watch b = watch(&self->m, self->ram + SZ_4K, SZ_4K);
	uint64_t before = word(&self->m, 0);

	dontneed(self->ram + 2 * SZ_4K);
	EXPECT_EQ(before, word(&self->m, 0));
	dontneed(self->ram);
	EXPECT_LT(before, word(&self->m, 0));
	before = word(&self->m, 0);
	dontneed(self->ram);
	EXPECT_EQ(before, word(&self->m, 0));
	EXPECT_FALSE(holds(&self->m, a));
	EXPECT_TRUE(holds(&self->m, b));
}

/* For who registers first: what has ended in between is not overlooked. */
static int watch_since(int fd, void *addr, uint64_t *ended)
{
	struct hpcvm_monitor_watch w = monitor_watch(addr, SZ_4K);
	int err;

	w.flags = HPCVM_WATCH_SINCE;
	w.ended = *ended;
	err = call(fd, HPCVM_MONITOR_WATCH, &w);
	*ended = err ? w.detail : w.ended;
	return err;
}

/* Others may invalidate something meanwhile: counts are lower bounds. */
TEST_F(monitor, since)
{
	struct hpcvm_monitor_watch late = monitor_watch(self->ram, SZ_4K);
	uint64_t first = monitor_stats(self->m.fd).ended, ended;
	int i;

	dontneed(self->ram);
	ended = monitor_stats(self->m.fd).ended;
	EXPECT_LT(first, ended);
	late.flags = HPCVM_WATCH_SINCE;
	late.ended = first;
	EXPECT_EQ(EAGAIN, call(self->m.fd, HPCVM_MONITOR_WATCH, &late));
	EXPECT_EQ(HPCVM_REASON_WATCH_LATE, late.reason);
	EXPECT_LE(ended, late.detail);
	EXPECT_EQ(0, watch_since(self->m.fd, self->ram, &ended));
	/* Another range is not concerned, whenever it was registered. */
	EXPECT_EQ(0, watch_since(self->m.fd, self->ram + SZ_4K, &first));
	EXPECT_LE(ended, first);

	/* 256 are known; what is further back, or yet to come, counts as a change. */
	first = ended;
	for (i = 0; i < 200; i++)
		dontneed(self->ram);
	EXPECT_EQ(0, watch_since(self->m.fd, self->ram + SZ_4K, &ended));
	EXPECT_LE(first + 200, ended);
	for (i = 0; i < 57; i++)
		dontneed(self->ram);
	ended = first;
	EXPECT_EQ(EAGAIN, watch_since(self->m.fd, self->ram + SZ_4K, &ended));
	EXPECT_LE(first + 257, ended);
	ended = UINT64_MAX;
	EXPECT_EQ(EAGAIN, watch_since(self->m.fd, self->ram + SZ_4K, &ended));
	EXPECT_EQ(3, monitor_stats(self->m.fd).late);
	EXPECT_EQ(3, monitor_stats(self->m.fd).taken);
}

/* What somebody reads of a monitor, without waiting: how many, or -errno. */
static int read_events(int fd, struct hpcvm_monitor_event *events, int max)
{
	ssize_t n = read(fd, events, max * sizeof(*events));

	return n < 0 ? -errno : n / (ssize_t)sizeof(*events);
}

TEST_F(monitor, events)
{
	struct pollfd p = { .fd = self->m.fd, .events = POLLIN };
	struct hpcvm_monitor_event e[SLOTS + 1];
	struct watch w[SLOTS];
	int i;

	fcntl(self->m.fd, F_SETFL, O_NONBLOCK);
	for (i = 0; i < SLOTS; i++)
		w[i] = watch(&self->m, self->ram + i % 16 * SZ_4K + 1, 5);
	EXPECT_EQ(0, poll(&p, 1, 0));
	EXPECT_EQ(-EAGAIN, read_events(self->m.fd, e, 1));
	EXPECT_EQ(-EINVAL, read_events(self->m.fd, e, 0));

	dontneed(self->ram);
	EXPECT_EQ(1, poll(&p, 1, 0));
	EXPECT_EQ(-EFAULT, read_events(self->m.fd, (void *)SZ_4K, 10));
	ASSERT_EQ(1, read_events(self->m.fd, e, 1));
	EXPECT_EQ(w[0].cookie, e[0].cookie);
	EXPECT_EQ(w[0].slot, e[0].slot);
	EXPECT_EQ(HPCVM_CHANGE_CLEAR, e[0].change);
	EXPECT_EQ((uintptr_t)self->ram + 1, e[0].addr);
	EXPECT_EQ(5, e[0].length);

	/* One that is not watched any more has nothing to tell; all others have, once. */
	EXPECT_EQ(0, unwatch(&self->m, w[16]));
	munmap(self->ram, RAM);
	EXPECT_EQ(SLOTS - 2, read_events(self->m.fd, e, SLOTS));
	EXPECT_EQ(w[32].cookie, e[0].cookie);
	EXPECT_EQ(0, poll(&p, 1, 0));
	EXPECT_EQ(-EAGAIN, read_events(self->m.fd, e, 1));
	for (i = 0; i < SLOTS; i++)
		EXPECT_EQ(i == 16 ? ENOENT : 0, unwatch(&self->m, w[i]));
	EXPECT_EQ(0, monitor_stats(self->m.fd).taken);
}

/* A reader that waits, and one that polls, are woken. */
static void *change_soon(void *page)
{
	usleep(200000);
	dontneed(page);
	return NULL;
}

TEST_F(monitor, waiting_for_events)
{
	struct pollfd p = { .fd = self->m.fd, .events = POLLIN };
	struct hpcvm_monitor_event e;
	pthread_t thread;
	int i;

	for (i = 0; i < 2; i++) {
		ASSERT_NE(0, watch(&self->m, self->ram + i * SZ_4K, SZ_4K).cookie);
		pthread_create(&thread, NULL, change_soon, self->ram + i * SZ_4K);
		if (i)
			EXPECT_EQ(1, poll(&p, 1, 20000));
		EXPECT_EQ(1, read_events(self->m.fd, &e, 1));
		pthread_join(thread, NULL);
	}
}

TEST_F(monitor, mapping)
{
	size_t length = words_length(SLOTS);
	void *map;

	EXPECT_EQ(2 * SZ_4K, length);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, self->m.fd, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, length + SZ_4K, PROT_READ, MAP_SHARED, self->m.fd, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, self->m.fd, SZ_4K));
	EXPECT_EQ(EINVAL, errno);
	map = mmap(NULL, length, PROT_READ, MAP_PRIVATE, self->m.fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, mprotect(map, length, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(-1, mprotect((void *)self->m.words, length, PROT_READ | PROT_WRITE));
	munmap(map, length);
}

/* Another address space: a child of fork(), and whoever is given the fd. */
static int stranger(const struct mapped_monitor *m, struct watch w)
{
	struct hpcvm_monitor_watch watch = monitor_watch((void *)m, 8);
	struct hpcvm_monitor_unwatch unwatch = monitor_unwatch(w);
	struct hpcvm_monitor_event e;
	unsigned char there;

	if (!mincore((void *)m->words, SZ_4K, &there) || errno != ENOMEM)
		return 1;
	if (call(m->fd, HPCVM_MONITOR_WATCH, &watch) != EPERM ||
	    watch.reason != HPCVM_REASON_MONITOR_MM)
		return 2;
	if (call(m->fd, HPCVM_MONITOR_UNWATCH, &unwatch) != EPERM ||
	    unwatch.reason != HPCVM_REASON_MONITOR_MM)
		return 3;
	if (mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, m->fd, 0) != MAP_FAILED || errno != EPERM)
		return 4;
	if (read(m->fd, &e, sizeof(e)) >= 0 || errno != EPERM)
		return 5;
	if (monitor_stats(m->fd).taken != 1)
		return 6;
	return word(m, w.slot);	/* not there */
}

TEST_F(monitor, another_process)
{
	struct watch w = watch(&self->m, (void *)self->m.words, 8);

	EXPECT_EQ(256 + SIGSEGV, IN_CHILD(stranger(&self->m, w)));
	EXPECT_EQ(1, monitor_stats(self->m.fd).taken);

	/* Nor where the parent has asked for it, as old kernels let it. */
	if (!madvise((void *)self->m.words, words_length(SLOTS), MADV_DOFORK))
		EXPECT_EQ(256 + SIGBUS, IN_CHILD(word(&self->m, w.slot) == w.cookie));
	EXPECT_EQ(w.cookie, word(&self->m, w.slot));
}

/* The owner ends, by exit and by exec; who has the fd still hears of it. */
static int heir(int parent, int fd, int answer)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct hpcvm_monitor_stats s;
	char ok;

	while (getppid() == parent)
		usleep(10000);
	ok = poll(&p, 1, 20000) == 1;
	s = monitor_stats(fd);
	ok = ok && s.changes[HPCVM_CHANGE_END] == 1 && s.taken == 1;
	return write(answer, &ok, 1) != 1;
}

TEST_F(monitor, owner_ends)
{
	int pipes[2], how;
	char ok;

	for (how = 0; how < 2; how++) {
		ok = 2;
		ASSERT_EQ(0, pipe(pipes));
		IN_CHILD(({
			struct mapped_monitor m = new_monitor(self->dev, 10);
			/* Shared, so that fork() leaves it alone. */
			void *page = mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
			int self_pid = getpid();

			watch(&m, page, SZ_4K);
			if (!fork())
				_exit(heir(self_pid, m.fd, pipes[1]));
			if (how)
				kill(self_pid, SIGKILL);
			0;
		}));
		close(pipes[1]);
		EXPECT_EQ(1, read(pipes[0], &ok, 1));
		EXPECT_EQ(1, ok);
		close(pipes[0]);
	}
}

/* It lives as long as the fd or the mapping, and rmmod waits for both. */
TEST_F(monitor, closed_in_any_order)
{
	struct mapped_monitor m = new_monitor(self->dev, 10);
	struct watch w = watch(&m, self->ram, SZ_4K);
	struct hpcvm_monitor_stats s;
	int again;

	ASSERT_NE(0, w.cookie);
	close(m.fd);
	EXPECT_TRUE(slots_settle(SLOTS + 10));
	EXPECT_TRUE(holds(&m, w));
	dontneed(self->ram);
	EXPECT_FALSE(holds(&m, w));
	munmap((void *)m.words, SZ_4K);
	EXPECT_TRUE(slots_settle(SLOTS));

	m = new_monitor(self->dev, 10);
	w = watch(&m, self->ram + SZ_4K, SZ_4K);
	munmap((void *)m.words, SZ_4K);
	dontneed(self->ram + SZ_4K);
	s = monitor_stats(m.fd);
	EXPECT_EQ(1, s.changes[HPCVM_CHANGE_CLEAR]);
	again = dup(m.fd);
	close(m.fd);
	EXPECT_EQ(10, monitor_stats(again).slots);
	close(again);
	EXPECT_TRUE(slots_settle(SLOTS));
}

TEST_F(monitor, rmmod_is_refused)
{
	struct mapped_monitor m = new_monitor(self->dev, 10);

	close(m.fd);
	EXPECT_NE(0, syscall(SYS_delete_module, "hpcvm", O_NONBLOCK));
	EXPECT_EQ(EWOULDBLOCK, errno);
	EXPECT_EQ(0, word(&m, 1));
	munmap((void *)m.words, SZ_4K);
}

/* Whose result cannot be written has no watch; who cannot be told keeps no fd. */
TEST_F(monitor, results_unwritable)
{
	struct hpcvm_monitor_watch w = monitor_watch(self->ram, SZ_4K);
	struct hpcvm_monitor_create c = monitor_create(10);
	char *pages = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *at = pages + SZ_4K - offsetof(struct hpcvm_monitor_watch, reason);
	int fds = open_fds();

	memcpy(at, &w, sizeof(w));
	mprotect(pages, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->m.fd, HPCVM_MONITOR_WATCH, at));
	EXPECT_EQ(0, monitor_stats(self->m.fd).taken);

	mprotect(pages, SZ_4K, PROT_READ | PROT_WRITE);
	at = pages + SZ_4K - offsetof(struct hpcvm_monitor_create, reason);
	memcpy(at, &c, sizeof(c));
	mprotect(pages, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->dev, HPCVM_MONITOR_CREATE, at));
	EXPECT_EQ(fds, open_fds());
	EXPECT_TRUE(slots_settle(SLOTS));
	munmap(pages, 2 * SZ_4K);
}

/* Who watches while an invalidation of the range runs waits for its end. */
struct emptier {
	char *ram;
	size_t length;
	atomic_bool begins, over;
};

static void *empty(void *arg)
{
	struct emptier *e = arg;

	e->begins = true;
	madvise(e->ram, e->length, MADV_DONTNEED);
	e->over = true;
	return NULL;
}

TEST_F_TIMEOUT(monitor, watch_while_it_changes, 120)
{
	struct emptier e = { .length = 64 << 20 };
	int round, seen = 0;

	for (round = 0; round < 20 && seen < 3; round++) {
		uint64_t before;
		pthread_t thread;
		struct watch w;
		bool over, there;
		char *last;

		e.ram = mmap(NULL, e.length, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, e.ram);
		madvise(e.ram, e.length, MADV_NOHUGEPAGE);
		memset(e.ram, 1, e.length);
		last = e.ram + e.length - SZ_4K;
		e.begins = e.over = false;
		before = monitor_stats(self->m.fd).invalidations;
		pthread_create(&thread, NULL, empty, &e);
		while (!e.begins || (!e.over && monitor_stats(self->m.fd).invalidations == before))
			;
		over = e.over;
		w = watch(&self->m, last, SZ_4K);
		there = frame_of(last);
		/* A watch that holds is of what is there when it is made, for good. */
		if (!over) {
			seen++;
			EXPECT_FALSE(there && holds(&self->m, w));
		}
		pthread_join(thread, NULL);
		unwatch(&self->m, w);
		munmap(e.ram, e.length);
	}
	TH_LOG("%d watches in the middle of an invalidation, %llu waited", seen,
	       monitor_stats(self->m.fd).waited);
	EXPECT_LT(0, monitor_stats(self->m.fd).waited);
}

/* The generation goes first, the pages then: in the middle of a long invalidation too. */
TEST_F_TIMEOUT(monitor, changes_before_its_pages, 120)
{
	struct emptier e = { .length = 64 << 20 };
	int looks = 0, late = 0;
	pthread_t thread;
	struct watch w;

	e.ram = mmap(NULL, e.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, e.ram);
	madvise(e.ram, e.length, MADV_NOHUGEPAGE);
	memset(e.ram, 1, e.length);
	w = watch(&self->m, e.ram, SZ_4K);
	EXPECT_NE(0, frame_of(e.ram));
	pthread_create(&thread, NULL, empty, &e);
	while (!e.over) {
		bool gone = !frame_of(e.ram);

		late += gone && !e.over && holds(&self->m, w);
		looks++;
	}
	pthread_join(thread, NULL);
	TH_LOG("%d looks meanwhile", looks);
	EXPECT_EQ(0, late);
	EXPECT_EQ(0, frame_of(e.ram));
	munmap(e.ram, e.length);
}

/* Who waits can be killed, and then has no watch. */
static void wait_for_emptier(int dev, struct hpcvm_monitor_watch *w, atomic_int *fd)
{
	struct mapped_monitor m = new_monitor(dev, 10);
	struct emptier e = { .length = 64 << 20 };
	pthread_t thread;
	uint64_t before;

	e.ram = mmap(NULL, e.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(e.ram, e.length, MADV_NOHUGEPAGE);
	memset(e.ram, 1, e.length);
	*w = monitor_watch(e.ram, e.length);
	w->reason = 99;
	before = monitor_stats(m.fd).invalidations;
	pthread_create(&thread, NULL, empty, &e);
	while (monitor_stats(m.fd).invalidations == before)
		;
	*fd = m.fd;
	call(m.fd, HPCVM_MONITOR_WATCH, w);
	pause();
}

TEST_F_TIMEOUT(monitor, killed_while_it_waits, 120)
{
	struct {
		struct hpcvm_monitor_watch watch;
		atomic_int fd;
	} *shared = shared_page();
	int round;

	for (round = 0; round < 100; round++) {
		pid_t child;

		shared->fd = 0;
		child = fork();
		if (!child)
			wait_for_emptier(self->dev, &shared->watch, &shared->fd);
		while (!shared->fd)
			sched_yield();
		usleep(500 << round % 10);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		/* EINTR, if it was waiting. */
		if (shared->watch.reason == HPCVM_REASON_INTERRUPTED)
			break;
	}
	TH_LOG("killed in round %d", round);
	EXPECT_EQ(HPCVM_REASON_INTERRUPTED, shared->watch.reason);
	EXPECT_EQ(0, shared->watch.detail);
	EXPECT_TRUE(slots_settle(SLOTS));
	munmap(shared, SZ_4K);
}

/* A race: as long as a watch holds, the page has the frame that it had. */
struct racer {
	char *page;
	atomic_bool over;
};

static void *remap(void *arg)
{
	struct racer *r = arg;

	while (!r->over) {
		mmap(r->page, SZ_4K, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		sched_yield();
	}
	return NULL;
}

TEST_F_TIMEOUT(monitor, race, 120)
{
	struct racer r = { .page = self->ram };
	int round, rounds = 10000 / slow(), held = 0, stale = 0;
	pthread_t thread;

	pthread_create(&thread, NULL, remap, &r);
	for (round = 0; round < rounds; round++) {
		struct watch w = watch(&self->m, r.page, SZ_4K);
		uint64_t first = frame_of(r.page), second;
		bool holds_first = holds(&self->m, w), holds_second;

		second = frame_of(r.page);
		holds_second = holds(&self->m, w);
		held += holds_second;
		/* What was not there yet may have come; what was is the same. */
		stale += holds_first && holds_second && first && first != second;
		unwatch(&self->m, w);
	}
	r.over = true;
	pthread_join(thread, NULL);
	TH_LOG("of %d watches %d held", rounds, held);
	EXPECT_LT(100, held);
	EXPECT_GT(rounds, held);
	EXPECT_EQ(0, stale);
}

/* Many watch and end watches, others change what is watched, one reads. */
static atomic_bool enough;

struct share {
	const struct mapped_monitor *m;
	char *ram;
	unsigned int seed;
	int wrong;
};

static void *watch_and_unwatch(void *arg)
{
	struct share *s = arg;

	while (!enough) {
		int page = rand_r(&s->seed) % 16;
		struct watch w = watch(s->m, s->ram + page * SZ_4K, SZ_4K);

		if (!w.cookie || unwatch(s->m, w) || holds(s->m, w))
			s->wrong++;
	}
	return NULL;
}

static void *change_all(void *arg)
{
	struct share *s = arg;

	while (!enough)
		madvise(s->ram + rand_r(&s->seed) % 8 * SZ_4K, 8 * SZ_4K, MADV_DONTNEED);
	return NULL;
}

static void *read_all(void *arg)
{
	struct hpcvm_monitor_event e[7];
	struct share *s = arg;

	while (!enough)
		if (read_events(s->m->fd, e, 7) < 0 && errno != EAGAIN)
			s->wrong++;
	return NULL;
}

TEST_F(monitor, many_at_once)
{
	static void *(*const what[])(void *) = { watch_and_unwatch, watch_and_unwatch, change_all,
		read_all, read_all };
	struct share shares[5];
	pthread_t threads[5];
	int i;

	fcntl(self->m.fd, F_SETFL, O_NONBLOCK);
	enough = false;
	for (i = 0; i < 5; i++) {
		shares[i] = (struct share){ &self->m, self->ram, i };
		pthread_create(&threads[i], NULL, what[i], &shares[i]);
	}
	sleep(3);
	enough = true;
	for (i = 0; i < 5; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, shares[i].wrong);
	}
	EXPECT_EQ(0, monitor_stats(self->m.fd).taken);
	TH_LOG("%llu watches", monitor_stats(self->m.fd).watches);
}

TEST_HARNESS_MAIN
