// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * libhpcvm-ucx: UCX's registration cache asks hpcvm's monitor.
 *
 * A shared object that is loaded beside the program (LD_PRELOAD). Neither UCX nor the
 * program is patched or built anew.
 *
 * UCX looks its cache up within its own code, and believes what it finds until it is told
 * of an unmapping. A program that sees its unmappings by itself may say so
 * (ucm_set_external_event()) and tell them (ucm_vm_munmap()). Here that is done by the
 * thread that is about to hand UCX some memory, before UCX looks: each function of UCP's
 * that takes a buffer compares the monitor's sequence with the one that UCX was told up
 * to, which is one load, and tells what has changed since. So every change is seen that
 * has happened before the call. A buffer that UCX has is not changed until it gives it
 * back: that is the program's part, and no cache could do without.
 *
 * What UCX registers is watched before it is registered. A region that cannot be watched
 * (no slot is left, or this is a child of fork()) is told as changed at each call.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <ucm/api/ucm.h>
#include <ucp/api/ucp.h>
#include <ucs/memory/rcache.h>
#include "hpcvm.h"
#include "ucx.h"

#define SLOTS 16384
#define USER_SPACE (1UL << 47)

/* A registration cache of UCX's, and what it would do without us. */
struct cache {
	struct cache *next;
	ucs_rcache_t *rcache;
	const ucs_rcache_ops_t *theirs;
	ucs_rcache_ops_t ours;
	void *context;
	size_t watch_at;		/* in a region, behind what is theirs */
};

static struct hpcvm_monitor *monitor;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;	/* told, caches */
static uint64_t told;			/* the sequence that UCX was told up to */
static unsigned int unwatched;		/* regions; while there are any, all is told */
static struct cache *caches;

static struct {
	typeof(ucs_rcache_create) *rcache_create;
	typeof(ucs_rcache_destroy) *rcache_destroy;
	typeof(ucm_set_external_event) *set_external_event;
	typeof(ucm_vm_munmap) *vm_munmap;
} ucx;

void *ucx_symbol(const char *lib, const char *name)
{
	void *handle = dlopen(lib, RTLD_LAZY | RTLD_NOLOAD);
	void *symbol = handle ? dlsym(handle, name) : NULL;

	if (!symbol) {
		fprintf(stderr, "hpcvm: UCX has no %s any more\n", name);
		abort();
	}
	return symbol;
}

static void hold(void)
{
	pthread_mutex_lock(&lock);
}

static void go_on(void)
{
	pthread_mutex_unlock(&lock);
}

/* No watch holds there. */
static void in_child(void)
{
	unwatched++;
	pthread_mutex_unlock(&lock);
}

static void begin(void)
{
	char why[HPCVM_SENTENCE_MAX];
	struct hpcvm_monitor *m;
	struct hpcvm_error error;

	ucx.rcache_create = ucx_symbol("libucs.so.0", "ucs_rcache_create");
	ucx.rcache_destroy = ucx_symbol("libucs.so.0", "ucs_rcache_destroy");
	ucx.set_external_event = ucx_symbol("libucm.so.0", "ucm_set_external_event");
	ucx.vm_munmap = ucx_symbol("libucm.so.0", "ucm_vm_munmap");
	if (hpcvm_monitor_open(SLOTS, &m, &error)) {
		fprintf(stderr, "hpcvm: UCX keeps no registrations: %s\n",
			hpcvm_explain(&error, why, sizeof(why)));
		return;
	}
	pthread_atfork(hold, go_on, in_child);
	ucx.set_external_event(UCM_EVENT_VM_UNMAPPED);
	/* A thread may have another context of UCX's already, with no cache. */
	__atomic_store_n(&monitor, m, __ATOMIC_RELEASE);
}

/* Tell UCX what has changed */

static void tell(void)
{
	struct hpcvm_monitor_event events[64];
	uint64_t now;
	int i, n;

	pthread_mutex_lock(&lock);
	now = hpcvm_monitor_sequence(monitor);
	do {
		n = hpcvm_monitor_read(monitor, events, 64);
		for (i = 0; i < n; i++)
			ucx.vm_munmap((void *)(uintptr_t)events[i].addr, events[i].length);
	} while (n > 0);
	if (n < 0 || __atomic_load_n(&unwatched, __ATOMIC_RELAXED))
		ucx.vm_munmap(NULL, USER_SPACE);
	if (!n)
		__atomic_store_n(&told, now, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
}

void look(void)
{
	struct hpcvm_monitor *m = __atomic_load_n(&monitor, __ATOMIC_ACQUIRE);

	if (m && (hpcvm_monitor_sequence(m) != __atomic_load_n(&told, __ATOMIC_ACQUIRE) ||
		  __atomic_load_n(&unwatched, __ATOMIC_ACQUIRE)))
		tell();
}

/* Watch what UCX registers */

static struct hpcvm_watch *watch_of(const struct cache *cache, ucs_rcache_region_t *region)
{
	return (struct hpcvm_watch *)((char *)region + cache->watch_at);
}

static void unwatch(struct hpcvm_watch *watch)
{
	if (watch->cookie)
		hpcvm_monitor_unwatch(monitor, watch, NULL);
	else
		__atomic_fetch_sub(&unwatched, 1, __ATOMIC_RELEASE);
}

static ucs_status_t mem_reg(void *context, ucs_rcache_t *rcache, void *arg,
			    ucs_rcache_region_t *region, uint16_t flags)
{
	const struct cache *cache = context;
	struct hpcvm_watch *watch = watch_of(cache, region);
	ucs_status_t status;

	if (hpcvm_monitor_watch(monitor, (void *)region->super.start,
				region->super.end - region->super.start, watch, NULL)) {
		watch->cookie = 0;
		__atomic_fetch_add(&unwatched, 1, __ATOMIC_RELEASE);
	}
	status = cache->theirs->mem_reg(cache->context, rcache, arg, region, flags);
	if (status != UCS_OK)
		unwatch(watch);
	return status;
}

static void mem_dereg(void *context, ucs_rcache_t *rcache, ucs_rcache_region_t *region)
{
	const struct cache *cache = context;

	cache->theirs->mem_dereg(cache->context, rcache, region);
	unwatch(watch_of(cache, region));
}

static void merge(void *context, ucs_rcache_t *rcache, void *arg, ucs_rcache_region_t *region)
{
	const struct cache *cache = context;

	cache->theirs->merge(cache->context, rcache, arg, region);
}

static void dump_region(void *context, ucs_rcache_t *rcache, ucs_rcache_region_t *region,
			char *buf, size_t max)
{
	const struct cache *cache = context;

	cache->theirs->dump_region(cache->context, rcache, region, buf, max);
}

static struct cache *new_cache(const ucs_rcache_params_t *params)
{
	struct cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return NULL;
	cache->theirs = params->ops;
	cache->ours = (ucs_rcache_ops_t){
		.mem_reg = mem_reg,
		.mem_dereg = mem_dereg,
		.merge = params->ops->merge ? merge : NULL,
		.dump_region = params->ops->dump_region ? dump_region : NULL,
	};
	cache->context = params->context;
	cache->watch_at = (params->region_struct_size + 7) & -8UL;
	return cache;
}

/* Without a monitor it fails, and UCX does without a cache: slower, and right. */
exported ucs_status_t ucs_rcache_create(const ucs_rcache_params_t *params, const char *name,
					ucs_stats_node_t *stats_parent, ucs_rcache_t **rcache_p)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	ucs_rcache_params_t p = *params;
	ucs_status_t status;
	struct cache *cache;

	pthread_once(&once, begin);
	if (!monitor)
		return UCS_ERR_UNSUPPORTED;
	cache = new_cache(params);
	if (!cache)
		return UCS_ERR_NO_MEMORY;
	p.ops = &cache->ours;
	p.context = cache;
	p.region_struct_size = cache->watch_at + sizeof(struct hpcvm_watch);
	p.ucm_events |= UCM_EVENT_VM_UNMAPPED;
	if (p.max_regions > SLOTS)
		p.max_regions = SLOTS;
	status = ucx.rcache_create(&p, name, stats_parent, rcache_p);
	if (status != UCS_OK) {
		free(cache);
		return status;
	}
	cache->rcache = *rcache_p;
	pthread_mutex_lock(&lock);
	cache->next = caches;
	caches = cache;
	pthread_mutex_unlock(&lock);
	return UCS_OK;
}

exported void ucs_rcache_destroy(ucs_rcache_t *rcache)
{
	struct cache **at = &caches, *cache;

	ucx.rcache_destroy(rcache);
	pthread_mutex_lock(&lock);
	while (*at && (*at)->rcache != rcache)
		at = &(*at)->next;
	cache = *at;
	if (cache)
		*at = cache->next;
	pthread_mutex_unlock(&lock);
	free(cache);
}
