// SPDX-License-Identifier: GPL-2.0-only
/*
 * libhpcvm's monitor as a registration cache uses it: a look that is no system
 * call, from any thread, and that fails closed after fork().
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "../src/lib/hpcvm.h"
#include "monitor.h"

#define PAGES 16

FIXTURE(cache)
{
	struct hpcvm_monitor *m;
	char *ram;
	long long balancing;
};

FIXTURE_SETUP(cache)
{
	struct hpcvm_error e;

	self->balancing = set_balancing(0);
	ASSERT_EQ(0, hpcvm_monitor_open(1000, &self->m, &e));
	self->ram = mmap(NULL, PAGES * SZ_4K, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->ram);
}

FIXTURE_TEARDOWN(cache)
{
	hpcvm_monitor_close(self->m);
	munmap(self->ram, PAGES * SZ_4K);
	set_balancing(self->balancing);
	EXPECT_TRUE(slots_settle(0));
}

TEST_F(cache, watch_and_look)
{
	struct hpcvm_monitor_event event;
	struct hpcvm_monitor_stats stats;
	struct hpcvm_watch a, b;
	uint64_t sequence;

	ASSERT_EQ(0, hpcvm_monitor_watch(self->m, self->ram, SZ_4K, &a, NULL));
	ASSERT_EQ(0, hpcvm_monitor_watch(self->m, self->ram + SZ_4K, SZ_4K, &b, NULL));
	EXPECT_TRUE(hpcvm_watch_holds(&a));
	EXPECT_TRUE(hpcvm_watch_holds(&b));
	EXPECT_EQ(0, hpcvm_monitor_read(self->m, &event, 1));
	sequence = hpcvm_monitor_sequence(self->m);

	madvise(self->ram, SZ_4K, MADV_DONTNEED);
	EXPECT_FALSE(hpcvm_watch_holds(&a));
	EXPECT_TRUE(hpcvm_watch_holds(&b));
	EXPECT_LT(sequence, hpcvm_monitor_sequence(self->m));
	EXPECT_EQ(1, hpcvm_monitor_read(self->m, &event, 1));
	EXPECT_EQ(a.cookie, event.cookie);
	EXPECT_LE(0, hpcvm_monitor_fd(self->m));

	EXPECT_EQ(0, hpcvm_monitor_unwatch(self->m, &a, NULL));
	EXPECT_EQ(0, hpcvm_monitor_unwatch(self->m, &b, NULL));
	EXPECT_FALSE(hpcvm_watch_holds(&b));
	ASSERT_EQ(0, hpcvm_monitor_stats(self->m, &stats, NULL));
	EXPECT_EQ(2, stats.watches);
	EXPECT_EQ(0, stats.taken);
}

/* What went wrong is said. */
TEST_F(cache, refused)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_monitor *none = NULL;
	struct hpcvm_watch w = { .slot = 9, .cookie = 99 };
	struct hpcvm_error e;

	EXPECT_EQ(-EINVAL, hpcvm_monitor_open(0, &none, &e));
	EXPECT_EQ(HPCVM_REASON_MONITOR_SLOTS, e.reason);
	EXPECT_STREQ("a monitor has from 1 to 1048576 slots",
		     hpcvm_explain(&e, sentence, sizeof(sentence)));
	EXPECT_EQ(-ENOENT, hpcvm_monitor_unwatch(self->m, &w, &e));
	EXPECT_EQ(HPCVM_REASON_WATCH_UNKNOWN, e.reason);
	EXPECT_EQ(-EINVAL, hpcvm_monitor_watch(self->m, self->ram, 0, &w, &e));
	hpcvm_monitor_close(NULL);
}

/* In a child no watch holds, whatever becomes of the parent's memory; it makes its own. */
static int child(struct hpcvm_monitor *m, const struct hpcvm_watch *shared, char *ram)
{
	struct hpcvm_monitor *own;
	struct hpcvm_error e;
	struct hpcvm_watch w;

	if (hpcvm_watch_holds(shared))
		return 1;
	if (hpcvm_monitor_watch(m, ram, SZ_4K, &w, &e) != -EPERM ||
	    e.reason != HPCVM_REASON_MONITOR_MM)
		return 2;
	if (hpcvm_monitor_sequence(m))
		return 3;
	if (hpcvm_monitor_open(10, &own, &e) || hpcvm_monitor_watch(own, ram, SZ_4K, &w, &e))
		return 4;
	if (!hpcvm_watch_holds(&w) || hpcvm_watch_holds(shared))
		return 5;
	hpcvm_monitor_close(m);
	if (!hpcvm_watch_holds(&w))
		return 6;
	/* A grandchild, of the child's own monitor. */
	if (IN_CHILD(hpcvm_watch_holds(&w)))
		return 7;
	hpcvm_monitor_close(own);
	return 0;
}

TEST_F(cache, fork)
{
	struct hpcvm_watch shared;
	struct hpcvm_monitor *second;
	/* fork() changes nothing behind it in the parent. */
	char *page = mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_EQ(0, hpcvm_monitor_open(5, &second, NULL));
	ASSERT_EQ(0, hpcvm_monitor_watch(self->m, page, SZ_4K, &shared, NULL));
	EXPECT_EQ(0, IN_CHILD(child(self->m, &shared, self->ram)));
	EXPECT_TRUE(hpcvm_watch_holds(&shared));
	hpcvm_monitor_close(second);
	EXPECT_EQ(0, IN_CHILD(child(self->m, &shared, self->ram)));
	EXPECT_TRUE(hpcvm_watch_holds(&shared));
}

/*
 * A cache of one registration, with what stands for one: the page's frame. Several
 * threads look it up and renew it while another one maps the page anew. What a hit
 * returns is the frame that is there, as long as the watch holds.
 */
struct entry {
	pthread_mutex_t lock;
	struct hpcvm_monitor *m;
	struct hpcvm_watch watch;
	uint64_t frame;
	char *page;
	bool there, registers_first;
	uint64_t ended;
	atomic_int hits, misses, stale;
	atomic_bool over;
};

static void renew(struct entry *e)
{
	if (e->there)
		hpcvm_monitor_unwatch(e->m, &e->watch, NULL);
	e->there = !hpcvm_monitor_watch(e->m, e->page, SZ_4K, &e->watch, NULL);
	e->frame = frame_of(e->page);
	e->misses++;
}

/* The other order, as libfabric's cache has it; not kept if it is too late. */
static void renew_before_watching(struct entry *e)
{
	if (e->there)
		hpcvm_monitor_unwatch(e->m, &e->watch, NULL);
	e->frame = frame_of(e->page);
	e->there = !hpcvm_monitor_watch_since(e->m, e->page, SZ_4K, &e->ended, &e->watch, NULL);
	e->misses++;
}

static void *look_up(void *arg)
{
	struct entry *e = arg;
	uint64_t now;

	while (!e->over) {
		pthread_mutex_lock(&e->lock);
		if (!e->there || !hpcvm_watch_holds(&e->watch))
			e->registers_first ? renew_before_watching(e) : renew(e);
		now = frame_of(e->page);
		if (e->there && hpcvm_watch_holds(&e->watch)) {
			e->hits++;
			if (e->frame && now != e->frame)
				e->stale++;
		}
		pthread_mutex_unlock(&e->lock);
	}
	return NULL;
}

static void look_up_and_remap(struct __test_metadata *_metadata, struct hpcvm_monitor *m,
			      char *page, bool registers_first)
{
	struct entry e = { .lock = PTHREAD_MUTEX_INITIALIZER, .m = m, .page = page,
		.registers_first = registers_first };
	time_t until = time(NULL) + 4;
	pthread_t threads[3];
	int i;

	for (i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, look_up, &e);
	/* Three that read the page tables keep one that changes them waiting. */
	for (i = 0; i < 50 || (i < 2000 && time(NULL) < until); i++) {
		mmap(e.page, SZ_4K, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0);
		usleep(i % 1000);
	}
	e.over = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	TH_LOG("%d hits, %d misses", e.hits, e.misses);
	EXPECT_LT(100, e.hits);
	EXPECT_LT(10, e.misses);
	EXPECT_EQ(0, e.stale);
}

TEST_F_TIMEOUT(cache, threads, 120)
{
	look_up_and_remap(_metadata, self->m, self->ram, false);
}

TEST_F_TIMEOUT(cache, threads_that_register_first, 120)
{
	struct hpcvm_monitor_stats stats;

	look_up_and_remap(_metadata, self->m, self->ram, true);
	ASSERT_EQ(0, hpcvm_monitor_stats(self->m, &stats, NULL));
	TH_LOG("%llu were too late", stats.late);
	EXPECT_LT(0, stats.late);
}

TEST_HARNESS_MAIN
