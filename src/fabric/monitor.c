// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libhpcvm-fabric: libfabric's registration cache asks hpcvm's monitor.
 *
 * A shared object that is loaded beside the program (LD_PRELOAD) and gives
 * libfabric a memory monitor of its own (fi_mr(3), "mr_cache"), before libfabric
 * chooses one. Neither libfabric nor the program is patched or built anew.
 *
 * libfabric registers first and subscribes then, both in the thread that wants the
 * registration. So a subscription is a watch *since* the last time that this thread
 * was here without one: what may have changed while the registration was made is
 * refused, and libfabric uses such a registration once and does not keep it.
 *
 * All of libfabric's calls but start and stop come under its own lock of all caches;
 * this needs none. Whether a registration is valid is asked for the range that was
 * subscribed, so the ranges are a tree, by both ends. Several caches (a domain has one)
 * may subscribe the same: they share its watch. Once it has changed, it holds for none
 * of them, and nobody can join, until all have left.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include <rdma/fabric.h>
#include <rdma/fi_ext.h>
#include "hpcvm.h"

/* Of libfabric's FI_MR_CACHE_MAX_COUNT (1024) for sixteen domains. */
#define SLOTS 16384

struct range {
	const void *addr;
	size_t length;
	unsigned int subscribers;
	struct hpcvm_watch watch;
};

static struct hpcvm_monitor *monitor;
static void *ranges;			/* tsearch(3): of struct range */
static __thread uint64_t ended;		/* invalidations, before what it registers now */
static pthread_t teller;
static pid_t owner;			/* whose thread that is */
static int stopped = -1;		/* an eventfd: the teller is to end */

static void complain(const char *why)
{
	fprintf(stderr, "hpcvm: libfabric keeps no registrations: %s\n", why);
}

static int by_ends(const void *x, const void *y)
{
	const struct range *a = x, *b = y;

	if (a->addr != b->addr)
		return a->addr < b->addr ? -1 : 1;
	return a->length < b->length ? -1 : a->length > b->length;
}

static struct range *find(const void *addr, size_t length)
{
	struct range key = { .addr = addr, .length = length };
	void *node = tfind(&key, &ranges, by_ends);

	return node ? *(struct range **)node : NULL;
}

static struct range *add(const void *addr, size_t length, const struct hpcvm_watch *watch)
{
	struct range *range = calloc(1, sizeof(*range));

	if (range) {
		range->addr = addr;
		range->length = length;
		range->watch = *watch;
		if (tsearch(range, &ranges, by_ends))
			return range;
		free(range);
	}
	hpcvm_monitor_unwatch(monitor, watch, NULL);
	return NULL;
}

/* One that is refused leaves all the same: libfabric unsubscribes it at once. */
static int subscribe(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	struct range *range = find(addr, length);
	struct hpcvm_watch watch;
	int ret;

	ret = hpcvm_monitor_watch_since(monitor, addr, length, &ended, &watch, NULL);
	if (!ret && !range) {
		range = add(addr, length, &watch);
		if (!range)
			ret = -ENOMEM;
	} else if (!ret) {
		if (!hpcvm_watch_holds(&range->watch))
			ret = -EAGAIN;
		hpcvm_monitor_unwatch(monitor, &watch, NULL);
	}
	if (range)
		range->subscribers++;
	return ret;
}

static void unsubscribe(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	struct range *range = find(addr, length);

	if (!range || --range->subscribers)
		return;
	hpcvm_monitor_unwatch(monitor, &range->watch, NULL);
	tdelete(range, &ranges, by_ends);
	free(range);
}

static bool valid(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	const struct range *range = find(addr, length);
	struct hpcvm_monitor_stats now;

	if (range && hpcvm_watch_holds(&range->watch))
		return true;
	/* It will be registered anew, after this. */
	if (!hpcvm_monitor_stats(monitor, &now, NULL))
		ended = now.ended;
	return false;
}

/*
 * What has changed is found by who looks for it, and is registered anew and kept then.
 * What nobody has looked for within a second would stay pinned: of that libfabric is
 * told. Not during a fork(), which is a change itself: the child would find libfabric's
 * lock taken, by a thread that it does not have.
 */
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static void hold(void)
{
	pthread_mutex_lock(&telling);
}

static void go_on(void)
{
	pthread_mutex_unlock(&telling);
}

static void *tell(void *arg)
{
	struct fid_mem_monitor *fid = arg;
	struct hpcvm_monitor_event events[64];
	struct pollfd fds[] = {
		{ .fd = hpcvm_monitor_fd(monitor), .events = POLLIN },
		{ .fd = stopped, .events = POLLIN },
	};
	int i, n;

	while (poll(fds, 2, -1) > 0 || errno == EINTR) {
		if (fds[1].revents || poll(&fds[1], 1, 1000))
			break;
		hold();
		n = hpcvm_monitor_read(monitor, events, 64);
		for (i = 0; i < n; i++)
			fid->import_ops->notify(fid, (void *)(uintptr_t)events[i].addr,
						events[i].length);
		go_on();
		if (n < 0)
			break;
	}
	return NULL;
}

static void close_all(void)
{
	if (stopped >= 0)
		close(stopped);
	stopped = -1;
	hpcvm_monitor_close(monitor);
	monitor = NULL;
	tdestroy(ranges, free);
	ranges = NULL;
}

static void stop(struct fid_mem_monitor *fid)
{
	/* A child of fork() has no such thread. */
	if (getpid() == owner) {
		eventfd_write(stopped, 1);
		pthread_join(teller, NULL);
	}
	close_all();
}

/* Refused, it leaves libfabric without a cache: slower, and right. */
static int start(struct fid_mem_monitor *fid)
{
	char why[HPCVM_SENTENCE_MAX];
	struct hpcvm_error error;
	int ret;

	ret = hpcvm_monitor_open(SLOTS, &monitor, &error);
	if (ret) {
		complain(hpcvm_explain(&error, why, sizeof(why)));
		return ret;
	}
	owner = getpid();
	stopped = eventfd(0, EFD_CLOEXEC);
	ret = stopped < 0 ? errno : pthread_create(&teller, NULL, tell, fid);
	if (ret) {
		complain(strerror(ret));
		close_all();
	}
	return -ret;
}

static struct fi_ops_mem_monitor ops = {
	.size = sizeof(ops),
	.start = start,
	.stop = stop,
	.subscribe = subscribe,
	.unsubscribe = unsubscribe,
	.valid = valid,
};

static struct fid_mem_monitor fid = {
	.fid.fclass = FI_CLASS_MEM_MONITOR,
	.export_ops = &ops,
};

static __attribute__((constructor)) void import(void)
{
	struct fid *cache;
	int ret;

	ret = fi_open(FI_VERSION(1, 13), "mr_cache", NULL, 0, 0, &cache, NULL);
	if (!ret) {
		ret = fi_import_fid(cache, &fid.fid, 0);
		fi_close(cache);
	}
	if (ret)
		fprintf(stderr, "hpcvm: libfabric takes no memory monitor (%s): it has its own\n",
			fi_strerror(-ret));
	else
		pthread_atfork(hold, go_on, go_on);
}

static __attribute__((destructor)) void forget(void)
{
	if (fid.fid.ops)
		fi_close(&fid.fid);
}
