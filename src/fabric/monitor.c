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
 * this needs none. (A second domain may be used while the first still starts: there is
 * no monitor yet then, and nothing is kept.)
 *
 * Whether a registration is valid is asked for the range that was subscribed, so ranges
 * are found by both their ends. Several caches (a domain has one) may subscribe the same:
 * they share its watch. Once it has changed, it holds for none of them, and nobody can
 * join, until all have left.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
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
#define CHAINS_ORDER 10

struct range {
	struct range *next;
	const void *addr;
	size_t length;
	unsigned int subscribers;
	struct hpcvm_watch watch;
};

static struct hpcvm_monitor *monitor;
static struct range *chains[1 << CHAINS_ORDER];
static __thread uint64_t ended;		/* invalidations, before what it registers now */
static pthread_t teller;
static pid_t owner;			/* whose thread that is; 0: there is none */
static int stopped = -1;		/* an eventfd: the teller is to end */

static void complain(const char *why)
{
	fprintf(stderr, "hpcvm: libfabric keeps no registrations: %s\n", why);
}

/* Where it hangs, or would: a chain by the page that it begins in. */
static struct range **find(const void *addr, size_t length)
{
	uint64_t hash = ((uintptr_t)addr >> 12) * 0x9e3779b97f4a7c15;
	struct range **at = &chains[hash >> (64 - CHAINS_ORDER)];

	while (*at && ((*at)->addr != addr || (*at)->length != length))
		at = &(*at)->next;
	return at;
}

static int add(struct range **at, const void *addr, size_t length, const struct hpcvm_watch *watch)
{
	struct range *range = calloc(1, sizeof(*range));

	if (!range) {
		hpcvm_monitor_unwatch(monitor, watch, NULL);
		return -ENOMEM;
	}
	range->addr = addr;
	range->length = length;
	range->watch = *watch;
	*at = range;
	return 0;
}

/* One that is refused leaves all the same: libfabric unsubscribes it at once. */
static int subscribe(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	struct hpcvm_monitor *m = __atomic_load_n(&monitor, __ATOMIC_ACQUIRE);
	struct range **at = find(addr, length);
	struct hpcvm_watch watch;
	int ret;

	if (!m)
		return -EAGAIN;
	ret = hpcvm_monitor_watch_since(m, addr, length, &ended, &watch, NULL);
	if (!ret && !*at) {
		ret = add(at, addr, length, &watch);
	} else if (!ret) {
		if (!hpcvm_watch_holds(&(*at)->watch))
			ret = -EAGAIN;
		hpcvm_monitor_unwatch(m, &watch, NULL);
	}
	if (*at)
		(*at)->subscribers++;
	return ret;
}

static void unsubscribe(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	struct range **at = find(addr, length);
	struct range *range = *at;

	if (!range || --range->subscribers)
		return;
	hpcvm_monitor_unwatch(monitor, &range->watch, NULL);
	*at = range->next;
	free(range);
}

static bool valid(struct fid_mem_monitor *fid, const void *addr, size_t length)
{
	const struct range *range = *find(addr, length);
	struct hpcvm_monitor_stats now;

	if (!range)
		return false;
	if (hpcvm_watch_holds(&range->watch))
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

/* The program's signals are not for it. */
static int begin_telling(struct fid_mem_monitor *fid)
{
	sigset_t all, was;
	int err;

	stopped = eventfd(0, EFD_CLOEXEC);
	if (stopped < 0)
		return errno;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = pthread_create(&teller, NULL, tell, fid);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (!err)
		owner = getpid();
	return err;
}

/* A child of fork() has no such thread. */
static void end_telling(void)
{
	if (owner == getpid()) {
		eventfd_write(stopped, 1);
		pthread_join(teller, NULL);
	}
	owner = 0;
	if (stopped >= 0)
		close(stopped);
	stopped = -1;
}

static void forget_all(void)
{
	struct range *range;
	size_t i;

	for (i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
		while ((range = chains[i])) {
			chains[i] = range->next;
			free(range);
		}
	}
}

static void stop(struct fid_mem_monitor *fid)
{
	end_telling();
	hpcvm_monitor_close(monitor);
	monitor = NULL;
	forget_all();
}

/* Refused, it leaves libfabric without a cache: slower, and right. */
static int start(struct fid_mem_monitor *fid)
{
	char why[HPCVM_SENTENCE_MAX];
	struct hpcvm_error error;
	struct hpcvm_monitor *m;
	int ret;

	ret = hpcvm_monitor_open(SLOTS, &m, &error);
	if (ret) {
		complain(hpcvm_explain(&error, why, sizeof(why)));
		return ret;
	}
	__atomic_store_n(&monitor, m, __ATOMIC_RELEASE);
	ret = begin_telling(fid);
	if (ret) {
		complain(strerror(ret));
		stop(fid);
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

/* The program ends, and libfabric after this: nobody tells it anything any more. */
static __attribute__((destructor)) void forget(void)
{
	end_telling();
	if (fid.fid.ops)
		fi_close(&fid.fid);
}
