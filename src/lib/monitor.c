// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A monitor: its fd and the mapped array of generations.
 *
 * fork() leaves no mapping of the array in the child. There a look would be a
 * fault, or, if something else came to lie there, a look at that; so the child has
 * zeroes in the same place before fork() returns in it: no watch holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>

#include "private.h"

struct hpcvm_monitor {
	struct hpcvm_monitor *next;
	int fd;
	size_t length;
	const uint64_t *words;		/* entry 0 is the sequence, n slot n's */
	bool inherited;			/* they are zeroes, and so for each child */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct hpcvm_monitor *monitors;

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

static void child_of_fork(void)
{
	struct hpcvm_monitor *m;

	for (m = monitors; m; m = m->next) {
		if (m->inherited)
			continue;
		/* Somebody else's memory in this place could be taken for a generation. */
		if (mmap((void *)m->words, m->length, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != m->words)
			abort();
		m->inherited = true;
	}
	pthread_mutex_unlock(&lock);
}

static void look_after_fork(void)
{
	pthread_atfork(before_fork, after_fork, child_of_fork);
}

static int create(uint32_t slots, struct hpcvm_error *error)
{
	struct hpcvm_monitor_create c = { .size = sizeof(c), .slots = slots };
	int dev = hpcvm_open(error), ret;

	if (dev < 0)
		return dev;
	ret = HPCVM_CALL(dev, HPCVM_CMD_MONITOR_CREATE, &c, error);
	close(dev);
	return ret ? ret : c.out_fd;
}

static int failed(int err, struct hpcvm_error *error)
{
	if (error)
		*error = (struct hpcvm_error){
			.err = err, .cmd = HPCVM_CMD_MONITOR_CREATE, .node = HPCVM_NODE_ANY,
		};
	return -err;
}

int hpcvm_monitor_open(uint32_t slots, struct hpcvm_monitor **monitor, struct hpcvm_error *error)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t page = sysconf(_SC_PAGESIZE);
	struct hpcvm_monitor *m;
	int fd, err;

	pthread_once(&once, look_after_fork);
	fd = create(slots, error);
	if (fd < 0)
		return fd;
	m = malloc(sizeof(*m));
	if (!m) {
		close(fd);
		return failed(ENOMEM, error);
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	m->fd = fd;
	m->inherited = false;
	m->length = ((slots + 1UL) * sizeof(uint64_t) + page - 1) & -page;
	/* Not listed before it is mapped: a child in between has neither. */
	pthread_mutex_lock(&lock);
	m->words = mmap(NULL, m->length, PROT_READ, MAP_SHARED, fd, 0);
	err = m->words == MAP_FAILED ? errno : 0;
	if (!err) {
		m->next = monitors;
		monitors = m;
	}
	pthread_mutex_unlock(&lock);
	if (err) {
		close(fd);
		free(m);
		return failed(err, error);
	}
	*monitor = m;
	return 0;
}

void hpcvm_monitor_close(struct hpcvm_monitor *monitor)
{
	struct hpcvm_monitor **m = &monitors;

	if (!monitor)
		return;
	pthread_mutex_lock(&lock);
	while (*m != monitor)
		m = &(*m)->next;
	*m = monitor->next;
	munmap((void *)monitor->words, monitor->length);
	pthread_mutex_unlock(&lock);
	close(monitor->fd);
	free(monitor);
}

int hpcvm_monitor_fd(const struct hpcvm_monitor *monitor)
{
	return monitor->fd;
}

uint64_t hpcvm_monitor_sequence(const struct hpcvm_monitor *monitor)
{
	return __atomic_load_n(monitor->words, __ATOMIC_ACQUIRE);
}

static int watch(struct hpcvm_monitor *monitor, struct hpcvm_monitor_watch *w,
		 struct hpcvm_watch *watch, struct hpcvm_error *error)
{
	int ret = HPCVM_CALL(monitor->fd, HPCVM_CMD_MONITOR_WATCH, w, error);

	if (!ret)
		*watch = (struct hpcvm_watch){
			.word = monitor->words + w->slot,
			.cookie = w->cookie,
			.slot = w->slot,
		};
	return ret;
}

int hpcvm_monitor_watch(struct hpcvm_monitor *monitor, const void *addr, size_t length,
			struct hpcvm_watch *to, struct hpcvm_error *error)
{
	struct hpcvm_monitor_watch w = {
		.size = sizeof(w),
		.addr = (uintptr_t)addr,
		.length = length,
	};

	return watch(monitor, &w, to, error);
}

int hpcvm_monitor_watch_since(struct hpcvm_monitor *monitor, const void *addr, size_t length,
			      uint64_t *ended, struct hpcvm_watch *to, struct hpcvm_error *error)
{
	struct hpcvm_monitor_watch w = {
		.size = sizeof(w),
		.flags = HPCVM_WATCH_SINCE,
		.addr = (uintptr_t)addr,
		.length = length,
		.ended = *ended,
	};
	int ret = watch(monitor, &w, to, error);

	if (!ret)
		*ended = w.ended;
	else if (w.reason == HPCVM_REASON_WATCH_LATE)
		*ended = w.detail;
	return ret;
}

int hpcvm_monitor_unwatch(struct hpcvm_monitor *monitor, const struct hpcvm_watch *watch,
			  struct hpcvm_error *error)
{
	struct hpcvm_monitor_unwatch u = {
		.size = sizeof(u),
		.slot = watch->slot,
		.cookie = watch->cookie,
	};

	return HPCVM_CALL(monitor->fd, HPCVM_CMD_MONITOR_UNWATCH, &u, error);
}

int hpcvm_monitor_read(struct hpcvm_monitor *monitor, struct hpcvm_monitor_event *events, int max)
{
	ssize_t n = read(monitor->fd, events, max * sizeof(*events));

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return n / sizeof(*events);
}

int hpcvm_monitor_stats(struct hpcvm_monitor *monitor, struct hpcvm_monitor_stats *stats,
			struct hpcvm_error *error)
{
	*stats = (struct hpcvm_monitor_stats){ .size = sizeof(*stats) };
	return HPCVM_CALL(monitor->fd, HPCVM_CMD_MONITOR_STATS, stats, error);
}
