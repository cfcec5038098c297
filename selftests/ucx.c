// SPDX-License-Identifier: GPL-2.0-only
/*
 * UCX as Debian ships it, over rxe, with hpcvm's monitor loaded beside it
 * (selftests/ucx.sh): what its registration cache keeps costs no pinning, and nothing
 * stale is sent. The oracles are those of fabric.c: who pins pages, and what arrives.
 */
#include <sys/mount.h>
#include <ucp/api/ucp.h>
#include "monitor.h"
#include "rxe.h"

#define SIZE (64 * SZ_4K)
#define TAG 7

FIXTURE(ucx)
{
	ucp_context_h context;
	ucp_worker_h from, to;
	ucp_ep_h ep;
	char *ram, *there;
	long long balancing;
};

static ucp_context_h new_context(void)
{
	ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_TAG | UCP_FEATURE_RMA,
	};
	ucp_config_t *config;
	ucp_context_h context;
	ucs_status_t status;

	if (ucp_config_read(NULL, NULL, &config) != UCS_OK)
		return NULL;
	status = ucp_init(&params, config, &context);
	ucp_config_release(config);
	return status == UCS_OK ? context : NULL;
}

static ucp_worker_h new_worker(ucp_context_h context)
{
	ucp_worker_params_t params = {
		.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
		.thread_mode = UCS_THREAD_MODE_SINGLE,
	};
	ucp_worker_h worker;

	return ucp_worker_create(context, &params, &worker) == UCS_OK ? worker : NULL;
}

static ucp_ep_h connect_to(ucp_worker_h from, ucp_worker_h to)
{
	ucp_ep_params_t params = { .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS };
	ucp_address_t *address;
	ucs_status_t status;
	size_t length;
	ucp_ep_h ep;

	if (ucp_worker_get_address(to, &address, &length) != UCS_OK)
		return NULL;
	params.address = address;
	status = ucp_ep_create(from, &params, &ep);
	ucp_worker_release_address(to, address);
	return status == UCS_OK ? ep : NULL;
}

/* Wait until UCX gives the buffer back. */
static int completed(ucp_worker_h a, ucp_worker_h b, ucs_status_ptr_t request)
{
	uint64_t end = now_ns() + slow() * 30000000000ull;
	ucs_status_t status;

	if (!UCS_PTR_IS_PTR(request))
		return UCS_PTR_STATUS(request);
	do {
		ucp_worker_progress(a);
		ucp_worker_progress(b);
		status = ucp_request_check_status(request);
	} while (status == UCS_INPROGRESS && now_ns() < end);
	ucp_request_free(request);
	return status;
}

static int sent(FIXTURE_DATA(ucx) *self, const void *ram, size_t length)
{
	ucp_request_param_t param = { };
	ucs_status_ptr_t in, out;
	int failed;

	in = ucp_tag_recv_nbx(self->to, self->there, length, TAG, -1ULL, &param);
	out = ucp_tag_send_nbx(self->ep, ram, length, TAG, &param);
	failed = completed(self->from, self->to, out);
	return completed(self->from, self->to, in) || failed || memcmp(self->there, ram, length);
}

/* What sending it costs: how many times pages were pinned. -1: it did not arrive so. */
static long long cost_of(FIXTURE_DATA(ucx) *self, const void *ram, size_t length)
{
	long long before = pins();

	memset(self->there, 0, length);
	return sent(self, ram, length) ? -1 : pins() - before;
}

FIXTURE_SETUP(ucx)
{
	int i;

	self->balancing = set_balancing(0);
	self->context = new_context();
	ASSERT_NE(NULL, self->context);
	self->from = new_worker(self->context);
	self->to = new_worker(self->context);
	ASSERT_NE(NULL, self->from);
	ASSERT_NE(NULL, self->to);
	self->ep = connect_to(self->from, self->to);
	ASSERT_NE(NULL, self->ep);
	ASSERT_EQ(0, map_at(&self->ram, SIZE));
	ASSERT_EQ(0, map_at(&self->there, SIZE));
	memset(self->ram, 1, SIZE);
	ASSERT_LE(0, pins());
	/* Until both ends have met, UCX takes other ways. */
	for (i = 0; i < 10 && (i < 3 || cost_of(self, self->there, SIZE)); i++)
		ASSERT_LE(0, cost_of(self, self->ram, SIZE));
}

FIXTURE_TEARDOWN(ucx)
{
	ucp_request_param_t param = { };

	completed(self->from, self->to, ucp_ep_close_nbx(self->ep, &param));
	ucp_worker_destroy(self->from);
	ucp_worker_destroy(self->to);
	ucp_cleanup(self->context);
	munmap(self->ram, SIZE);
	munmap(self->there, SIZE);
	set_balancing(self->balancing);
}

/* What is kept is not pinned again; the monitor that says so is ours. */
TEST_F(ucx, hit)
{
	int i;

	EXPECT_LT(0, get_number(MONITORS "slots"));
	for (i = 0; i < 20; i++)
		ASSERT_EQ(0, cost_of(self, self->ram, SIZE));
	EXPECT_EQ(0, cost_of(self, self->ram + SZ_4K, SIZE / 2));
}

/* Other pages at the same address are registered anew. */
TEST_F(ucx, remapped)
{
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, map_at(&self->ram, SIZE));
		memset(self->ram, i, SIZE);
		ASSERT_LT(0, cost_of(self, self->ram, SIZE));
		ASSERT_EQ(0, cost_of(self, self->ram, SIZE));
	}
	madvise(self->ram, SZ_4K, MADV_DONTNEED);
	EXPECT_LT(0, cost_of(self, self->ram, SIZE));
}

/* Pages are taken out of a file that is mapped: no function that UCX patches does that. */
TEST_F(ucx, hole)
{
	int fd = memfd_create("ram", MFD_CLOEXEC), i;
	char *ram;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ram = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, ram);
	for (i = 1; i < 10; i++) {
		memset(ram, i, SIZE);
		ASSERT_LE(0, cost_of(self, ram, SIZE));
		ASSERT_EQ(0, cost_of(self, ram, SIZE));
		ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
		memset(ram, -i, SIZE);
		ASSERT_LT(0, cost_of(self, ram, SIZE));
	}
	munmap(ram, SIZE);
	close(fd);
}

/* With what UCX does by itself, such a hole goes unseen: these tests would see it. */
TEST_F_TIMEOUT(ucx, hole_unseen_by_stock, 120)
{
	int status;
	pid_t child = fork();

	if (!child) {
		unsetenv("LD_PRELOAD");
		unsetenv("UCX_MEM_MMAP_HOOK_MODE");
		freopen("/dev/null", "w", stdout);
		execl("/proc/self/exe", "ucx", "-t", "hole", NULL);
		_exit(100);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(1, WEXITSTATUS(status));
}

/* The parent of a child goes on, with pages that may be copies. */
TEST_F(ucx, fork)
{
	int status;
	pid_t child;

	EXPECT_EQ(0, cost_of(self, self->ram, SIZE));
	child = fork();
	if (!child)
		_exit(0);
	memset(self->ram, 2, SIZE);
	EXPECT_LT(0, cost_of(self, self->ram, SIZE));
	EXPECT_EQ(0, cost_of(self, self->ram, SIZE));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* Without a device there is no cache, and nothing is kept. */
TEST_F_TIMEOUT(ucx, refused, 120)
{
	int status;
	pid_t child;

	ASSERT_EQ(0, mount("/dev/null", "/dev/hpcvm", NULL, MS_BIND, NULL));
	child = fork();
	if (!child) {
		freopen("/dev/null", "w", stdout);
		execl("/proc/self/exe", "ucx", "-t", "kept", NULL);
		_exit(100);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, umount("/dev/hpcvm"));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(1, WEXITSTATUS(status));
}

TEST_F(ucx, kept)
{
	EXPECT_EQ(0, cost_of(self, self->ram, SIZE));
}

/*
 * The bytes that arrive are those that lie there now: random ranges are mapped anew,
 * dropped, punched, moved, written and sent, by this thread or after another's deed.
 */
TEST_F_TIMEOUT(ucx, coherence, 300)
{
	struct shaken m = { .ram = self->ram, .length = SIZE };
	long long hits = 0, cost;
	int i, rounds = asked_rounds(1000);

	ASSERT_EQ(0, begin_shaking(&m));
	for (i = 0; i < rounds; i++) {
		ASSERT_EQ(0, shake(&m));
		memset(m.ram + m.at, i, m.part);
		cost = cost_of(self, m.ram + m.at, m.part);
		ASSERT_LE(0, cost) TH_LOG("round %d: stale", i);
		hits += !cost;
	}
	printf("# %d transfers, %lld of them from registrations that were kept\n", rounds, hits);
	EXPECT_LT(rounds / 100, hits);
	EXPECT_GT(rounds, hits);
	close(m.fd);
}

TEST_HARNESS_MAIN
