// SPDX-License-Identifier: GPL-2.0-only
/*
 * libfabric as Debian ships it, over rxe, with hpcvm's memory monitor loaded beside
 * it (selftests/fabric.sh): what its registration cache keeps costs no pinning, and
 * nothing stale is ever handed to the device. Two oracles, neither of them ours: a
 * kprobe that counts who pins pages, and the bytes that arrive at the other end.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include "monitor.h"
#include "rxe.h"

#define HERE "192.0.2.1"
#define SIZE (16 * SZ_4K)
#define API FI_VERSION(1, 18)

struct end {
	struct fid_ep *ep;
	struct fid_eq *eq;
	struct fid_cq *cq;
};

FIXTURE(fabric)
{
	struct fi_info *info;
	struct fid_fabric *fabric;
	struct fid_domain *domain;
	char *ram;
	char *to;
	struct fid_mr *to_mr;
	struct end a, b;
};

static struct fi_info *find_verbs(const char *port, uint64_t flags)
{
	struct fi_info *hints = fi_allocinfo(), *info = NULL;

	hints->fabric_attr->prov_name = strdup("verbs");
	hints->ep_attr->type = FI_EP_MSG;
	hints->caps = FI_MSG | FI_RMA;
	hints->addr_format = FI_SOCKADDR_IN;
	hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_ALLOCATED | FI_MR_PROV_KEY |
				      FI_MR_VIRT_ADDR;
	if (fi_getinfo(API, HERE, port, flags, hints, &info))
		info = NULL;
	fi_freeinfo(hints);
	return info;
}

static struct fid_mr *reg(struct fid_domain *domain, void *at, size_t length)
{
	struct fid_mr *mr;

	if (fi_mr_reg(domain, at, length,
		      FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE,
		      0, 0, 0, &mr, NULL))
		return NULL;
	return mr;
}

/* What a registration costs: how many times pages were pinned for it. */
static long long cost_of(struct fid_domain *domain, void *at, size_t length)
{
	long long before = pins();
	struct fid_mr *mr = reg(domain, at, length);

	if (!mr)
		return -1;
	fi_close(&mr->fid);
	return pins() - before;
}

static int new_end(struct fid_fabric *fabric, struct fid_domain *domain, struct fi_info *info,
		   struct end *end)
{
	struct fi_eq_attr eq = { .wait_obj = FI_WAIT_UNSPEC };
	struct fi_cq_attr cq = { .format = FI_CQ_FORMAT_CONTEXT, .size = 64 };

	return fi_eq_open(fabric, &eq, &end->eq, NULL) || fi_cq_open(domain, &cq, &end->cq, NULL) ||
	       fi_endpoint(domain, info, &end->ep, NULL) ||
	       fi_ep_bind(end->ep, &end->eq->fid, 0) ||
	       fi_ep_bind(end->ep, &end->cq->fid, FI_TRANSMIT | FI_RECV) || fi_enable(end->ep);
}

static int expect(struct fid_eq *eq, uint32_t wanted, struct fi_info **info)
{
	struct fi_eq_cm_entry entry;
	uint32_t event = 0;
	ssize_t n = fi_eq_sread(eq, &event, &entry, sizeof(entry), 20000, 0);

	if (n != sizeof(entry) || event != wanted)
		return -1;
	if (info)
		*info = entry.info;
	return 0;
}

/* Who connects has to look for events until it is done: they move it on. */
static void *connected(void *eq)
{
	return expect(eq, FI_CONNECTED, NULL) ? NULL : eq;
}

static int accept_one(struct fid_fabric *fabric, struct fid_domain *domain, struct fid_eq *eq,
		      struct end *b)
{
	struct fi_info *request = NULL;
	int failed = expect(eq, FI_CONNREQ, &request) || new_end(fabric, domain, request, b) ||
		     fi_accept(b->ep, NULL, 0) || expect(b->eq, FI_CONNECTED, NULL);

	fi_freeinfo(request);
	return failed;
}

/* Two endpoints of this process, each the other's. */
static int connect_ends(struct fid_fabric *fabric, struct fid_domain *domain, struct fi_info *info,
			struct end *a, struct end *b)
{
	struct fi_eq_attr attr = { .wait_obj = FI_WAIT_UNSPEC };
	struct fi_info *there;
	struct sockaddr_in addr;
	size_t length = sizeof(addr);
	struct fid_pep *listener;
	pthread_t thread;
	struct fid_eq *eq;
	void *done = NULL;
	char port[16];
	int failed;

	if (fi_eq_open(fabric, &attr, &eq, NULL) || fi_passive_ep(fabric, info, &listener, NULL) ||
	    fi_pep_bind(listener, &eq->fid, 0) || fi_listen(listener) ||
	    fi_getname(&listener->fid, &addr, &length))
		return -1;
	snprintf(port, sizeof(port), "%d", ntohs(addr.sin_port));
	there = find_verbs(port, 0);
	if (!there || new_end(fabric, domain, there, a) ||
	    fi_connect(a->ep, there->dest_addr, NULL, 0) ||
	    pthread_create(&thread, NULL, connected, a->eq))
		return -1;
	failed = accept_one(fabric, domain, eq, b);
	pthread_join(thread, &done);
	fi_freeinfo(there);
	fi_close(&listener->fid);
	fi_close(&eq->fid);
	return failed || !done ? -1 : 0;
}

static void end_of(struct end *end)
{
	fi_close(&end->ep->fid);
	fi_close(&end->cq->fid);
	fi_close(&end->eq->fid);
}

static int completed(struct fid_cq *cq)
{
	time_t end = time(NULL) + 20;
	struct fi_cq_entry entry;
	ssize_t n;

	do {
		n = fi_cq_read(cq, &entry, 1);
	} while (n == -FI_EAGAIN && time(NULL) < end);
	return n == 1 ? 0 : -1;
}

/* Send it, registered as the cache thinks right, and wait until it has arrived. */
static int sent(struct end *a, struct end *b, struct fid_domain *domain, char *from, size_t length,
		char *to, struct fid_mr *to_mr)
{
	struct fid_mr *mr = reg(domain, from, length);
	int failed;

	if (!mr)
		return -1;
	failed = fi_recv(b->ep, to, length, fi_mr_desc(to_mr), 0, NULL) ||
		 fi_send(a->ep, from, length, fi_mr_desc(mr), 0, NULL) ||
		 completed(a->cq) || completed(b->cq);
	fi_close(&mr->fid);
	return failed ? -1 : 0;
}

FIXTURE_SETUP(fabric)
{
	self->info = find_verbs(NULL, FI_SOURCE);
	ASSERT_NE(NULL, self->info);
	ASSERT_EQ(0, fi_fabric(self->info->fabric_attr, &self->fabric, NULL));
	ASSERT_EQ(0, fi_domain(self->fabric, self->info, &self->domain, NULL));
	ASSERT_EQ(0, map_at(&self->ram, SIZE));
	ASSERT_EQ(0, map_at(&self->to, SIZE));
	memset(self->ram, 1, SIZE);
	ASSERT_LE(0, pins());
}

FIXTURE_TEARDOWN(fabric)
{
	munmap(self->ram, SIZE);
	munmap(self->to, SIZE);
	fi_close(&self->domain->fid);
	fi_close(&self->fabric->fid);
	fi_freeinfo(self->info);
	EXPECT_TRUE(slots_settle(0));
}

/* What is kept is not pinned again; the monitor that says so is ours. */
TEST_F(fabric, hit)
{
	int i;

	EXPECT_LT(0, get_number(MONITORS "slots"));
	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
	for (i = 0; i < 100; i++)
		ASSERT_EQ(0, cost_of(self->domain, self->ram, SIZE));
	/* Nor is what lies inside of it. */
	EXPECT_EQ(0, cost_of(self->domain, self->ram + SZ_4K, SZ_4K));
}

/* Other pages at the same address are registered anew. */
TEST_F(fabric, remapped)
{
	int i;

	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
	for (i = 0; i < 50; i++) {
		ASSERT_EQ(0, map_at(&self->ram, SIZE));
		memset(self->ram, i, SIZE);
		ASSERT_LT(0, cost_of(self->domain, self->ram, SIZE));
		ASSERT_EQ(0, cost_of(self->domain, self->ram, SIZE));
	}
	madvise(self->ram, SZ_4K, MADV_DONTNEED);
	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
}

/* What changes in use is not deregistered under its user, and not handed out again. */
TEST_F(fabric, changes_in_use)
{
	struct fid_mr *mr = reg(self->domain, self->ram, SIZE);

	ASSERT_NE(NULL, mr);
	ASSERT_EQ(0, map_at(&self->ram, SIZE));
	memset(self->ram, 2, SIZE);
	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
	EXPECT_EQ(0, cost_of(self->domain, self->ram, SIZE));
	EXPECT_EQ(0, fi_close(&mr->fid));
	EXPECT_EQ(0, cost_of(self->domain, self->ram, SIZE));
}

/* Two caches keep the same range: neither takes the other's word for its own. */
TEST_F(fabric, two_domains)
{
	struct fid_domain *other;
	int i;

	ASSERT_EQ(0, fi_domain(self->fabric, self->info, &other, NULL));
	for (i = 0; i < 10; i++) {
		ASSERT_LT(0, cost_of(self->domain, self->ram, SIZE));
		ASSERT_LT(0, cost_of(other, self->ram, SIZE));
		/* The first one may have found the other's leave still to come. */
		ASSERT_LE(0, cost_of(self->domain, self->ram, SIZE));
		ASSERT_EQ(0, cost_of(self->domain, self->ram, SIZE));
		ASSERT_EQ(0, cost_of(other, self->ram, SIZE));
		ASSERT_EQ(0, map_at(&self->ram, SIZE));
		memset(self->ram, i, SIZE);
		/* Each has to see it, in whatever order. */
		ASSERT_LT(0, cost_of(i % 2 ? other : self->domain, self->ram, SIZE));
		ASSERT_LT(0, cost_of(i % 2 ? self->domain : other, self->ram, SIZE));
		ASSERT_EQ(0, map_at(&self->ram, SIZE));
		memset(self->ram, i, SIZE);
	}
	EXPECT_EQ(0, fi_close(&other->fid));
}

/* A child of fork() registers nothing by its parent's word, and the parent goes on. */
TEST_F(fabric, fork)
{
	pid_t child;
	int status;

	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
	child = fork();
	if (!child)
		_exit(cost_of(self->domain, self->ram, SIZE) == 0);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* Its pages may have been copied. */
	EXPECT_LT(0, cost_of(self->domain, self->ram, SIZE));
	EXPECT_EQ(0, cost_of(self->domain, self->ram, SIZE));
}

/* Without a device there is no cache, and nothing is kept. */
TEST_F(fabric, refused)
{
	struct fid_domain *other;

	fi_close(&self->domain->fid);
	ASSERT_EQ(0, mount("/dev/null", "/dev/hpcvm", NULL, MS_BIND, NULL));
	EXPECT_EQ(0, fi_domain(self->fabric, self->info, &other, NULL));
	EXPECT_LT(0, cost_of(other, self->ram, SIZE));
	EXPECT_LT(0, cost_of(other, self->ram, SIZE));
	EXPECT_EQ(0, fi_close(&other->fid));
	EXPECT_EQ(0, umount("/dev/hpcvm"));
	ASSERT_EQ(0, fi_domain(self->fabric, self->info, &self->domain, NULL));
}

/*
 * The bytes that arrive are those that lie there now: random ranges are mapped anew,
 * dropped, punched, moved, written and sent, and what the device has read is compared.
 */
TEST_F_TIMEOUT(fabric, coherence, 600)
{
	struct shaken m = { .ram = self->ram, .length = SIZE };
	int i, rounds = asked_rounds(10000);
	long long hits = 0, before;

	self->to_mr = reg(self->domain, self->to, SIZE);
	ASSERT_NE(NULL, self->to_mr);
	ASSERT_EQ(0, connect_ends(self->fabric, self->domain, self->info, &self->a, &self->b));
	ASSERT_EQ(0, begin_shaking(&m));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, shake(&m));
		memset(m.ram + m.at, i, m.part);
		memset(self->to, i + 1, m.part);
		before = pins();
		ASSERT_EQ(0, sent(&self->a, &self->b, self->domain, m.ram + m.at, m.part,
				  self->to, self->to_mr));
		hits += pins() == before;
		ASSERT_EQ(0, memcmp(m.ram + m.at, self->to, m.part)) TH_LOG("round %d: stale", i);
	}
	printf("# %d transfers, %lld of them from registrations that were kept\n", rounds, hits);
	EXPECT_LT(rounds / 100, hits);
	EXPECT_GT(rounds, hits);
	end_of(&self->a);
	end_of(&self->b);
	EXPECT_EQ(0, fi_close(&self->to_mr->fid));
	close(m.fd);
}

#define BIG (2 * SZ_2M)

struct flipper {
	char *ram;
	uint64_t window;		/* ns that a registration takes */
	atomic_int rounds, done;
	bool failed;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Once a round, at some moment of the registration that runs meanwhile. */
static void *flip(void *arg)
{
	struct flipper *f = arg;
	unsigned int seed = 1;
	uint64_t at;
	int n = 0;

	for (;;) {
		while (f->rounds == n)
			sched_yield();
		if (f->rounds < 0)
			return NULL;
		at = clock_ns() + f->window * (rand_r(&seed) % 1000) / 1000;
		while (clock_ns() < at)
			;
		f->failed |= map_at(&f->ram, BIG);
		memset(f->ram + BIG - SZ_4K, ++n, SZ_4K);
		f->done = n;
	}
}

/*
 * Another thread maps the range anew just while it is registered: whatever of the two
 * comes first, such a registration is not kept if its pages have gone.
 */
TEST_F_TIMEOUT(fabric, changes_while_it_registers, 120)
{
	struct flipper f = {};
	pthread_t thread;
	uint64_t begin;
	int i;

	self->to_mr = reg(self->domain, self->to, SIZE);
	ASSERT_NE(NULL, self->to_mr);
	ASSERT_EQ(0, map_at(&f.ram, BIG));
	begin = clock_ns();
	ASSERT_LT(0, cost_of(self->domain, f.ram, BIG));
	f.window = clock_ns() - begin;
	ASSERT_EQ(0, connect_ends(self->fabric, self->domain, self->info, &self->a, &self->b));
	ASSERT_EQ(0, pthread_create(&thread, NULL, flip, &f));
	for (i = 1; i <= 300; i++) {
		/* What was kept is not: it is registered anew. */
		ASSERT_EQ(0, map_at(&f.ram, BIG));
		f.rounds = i;
		ASSERT_LT(0, cost_of(self->domain, f.ram, BIG));
		while (f.done != i)
			sched_yield();
		ASSERT_EQ(0, sent(&self->a, &self->b, self->domain, f.ram + BIG - SZ_4K, SZ_4K,
				  self->to, self->to_mr));
		ASSERT_EQ(0, memcmp(f.ram + BIG - SZ_4K, self->to, SZ_4K));
	}
	f.rounds = -1;
	pthread_join(thread, NULL);
	EXPECT_FALSE(f.failed);
	end_of(&self->a);
	end_of(&self->b);
	EXPECT_EQ(0, fi_close(&self->to_mr->fid));
	munmap(f.ram, BIG);
}

TEST_HARNESS_MAIN
