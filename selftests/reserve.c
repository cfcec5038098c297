// SPDX-License-Identifier: GPL-2.0-only
/*
 * Drawing from reservations: what is drawn is zero and costs no page, it goes
 * to whom it may and to one alone, and every page comes home.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include "reserve.h"

/* Drawing takes no page, and what it gives is as good as fresh memory. */
TEST_F(reserve, draw)
{
	uint64_t id = reserve(self->dev, 8, HPCVM_NODE_ANY);
	struct hpcvm_mem_create create = ask(8, 0, HPCVM_NODE_ANY);
	struct stat st;
	char path[64];
	int again;

	ASSERT_NE(0, id);
	EXPECT_EQ(self->free - 8, pool_free(SZ_2M));
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(id, create.out_reservation);
	EXPECT_EQ(self->free - 8, pool_free(SZ_2M));
	EXPECT_EQ(0, pool_reserved(SZ_2M));
	EXPECT_EQ(0, nr_reservations());

	EXPECT_TRUE(is_zero(create.out_fd, 8 * SZ_2M));
	EXPECT_TRUE(scribble(create.out_fd, 8 * SZ_2M));
	EXPECT_EQ(FD_CLOEXEC, fcntl(create.out_fd, F_GETFD));
	ASSERT_EQ(0, fstat(create.out_fd, &st));
	EXPECT_EQ(8 * SZ_2M, st.st_size);
	EXPECT_EQ(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, fcntl(create.out_fd, F_GET_SEALS));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", create.out_fd);
	again = open(path, O_RDWR);
	EXPECT_LE(0, again);
	close(again);
	EXPECT_EQ(0, fallocate(create.out_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SZ_2M));
	close(create.out_fd);
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));

	/* The next one is fresh, and says so, also to a caller who knows less. */
	create = ask(8, 0, HPCVM_NODE_ANY);
	create.out_reservation = 77;
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(0, create.out_reservation);
	close(create.out_fd);
}

TEST_F(reserve, draw_by_an_old_program)
{
	struct hpcvm_mem_create create = ask(2, 0, HPCVM_NODE_ANY);

	ASSERT_NE(0, reserve(self->dev, 2, HPCVM_NODE_ANY));
	create.size = offsetof(struct hpcvm_mem_create, out_reservation);
	create.out_reservation = 77;
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(77, create.out_reservation);
	EXPECT_EQ(0, nr_reservations());
	close(create.out_fd);
}

TEST_F(reserve, fresh_draws_nothing)
{
	struct hpcvm_mem_create create = ask(4, HPCVM_MEM_FRESH, HPCVM_NODE_ANY);

	ASSERT_NE(0, reserve(self->dev, 4, HPCVM_NODE_ANY));
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(0, create.out_reservation);
	EXPECT_EQ(self->free - 8, pool_free(SZ_2M));
	EXPECT_EQ(1, nr_reservations());
	close(create.out_fd);
	create = ask(4, HPCVM_MEM_FRESH | HPCVM_MEM_PREPARE, HPCVM_NODE_ANY);
	EXPECT_REFUSED(self->dev, HPCVM_MEM_CREATE, &create, EINVAL, HPCVM_REASON_FLAGS, 3);
}

/* All of the pool goes round, so each page is one that was written before. */
TEST_F(reserve, nothing_is_left_for_the_next)
{
	int round, mem, all = 2 * POOL;

	for (round = 0; round < 3; round++) {
		ASSERT_NE(0, reserve(self->dev, all, HPCVM_NODE_ANY));
		ASSERT_LT(0, take(self->dev, all, HPCVM_NODE_ANY, &mem));
		EXPECT_TRUE(is_zero(mem, all * SZ_2M));
		EXPECT_TRUE(scribble(mem, all * SZ_2M));
		close(mem);
		ASSERT_TRUE(pool_settles(SZ_2M, self->free));
	}
	ASSERT_EQ(0, take(self->dev, all, HPCVM_NODE_ANY, &mem));
	EXPECT_TRUE(is_zero(mem, all * SZ_2M));
	close(mem);
}

/* What somebody still has a hold on is not drawn, until he lets go. */
TEST_F(reserve, draw_held)
{
	int mem = ready(self->dev, 2, HPCVM_NODE_ANY), other, sv[2];
	struct hpcvm_reserve_park park = park_of(mem, HPCVM_NODE_ANY);
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, path[64];
	struct iovec iov = { .iov_base = path, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	void *p;

#define EXPECT_HELD() do {						\
	EXPECT_EQ(1, show(park.out_id, "held"));			\
	EXPECT_EQ(0, take(self->dev, 2, HPCVM_NODE_ANY, NULL));		\
} while (0)
	ASSERT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	EXPECT_HELD();
	other = dup(mem);
	close(mem);
	EXPECT_HELD();
	p = map_read(other, SZ_2M);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	EXPECT_EQ(-1, open(path, O_RDWR));
	close(other);
	EXPECT_HELD();
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (long)p, (long)(p + SZ_2M));
	other = open(path, O_PATH);
	ASSERT_LE(0, other);
	munmap(p, SZ_2M);
	EXPECT_HELD();

	/* On its way from one process to another. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
	mem = open(path, O_RDONLY);
	ASSERT_LE(0, mem);
	close(other);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, sv));
	*cmsg = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
	memcpy(CMSG_DATA(cmsg), &mem, sizeof(int));
	ASSERT_EQ(1, sendmsg(sv[0], &msg, 0));
	close(mem);
	EXPECT_HELD();
	close(sv[0]);
	close(sv[1]);

	EXPECT_EQ(0, show(park.out_id, "held"));
	EXPECT_EQ(park.out_id, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
}

TEST_F(reserve, drop)
{
	uint64_t id = reserve(self->dev, 5, HPCVM_NODE_ANY);

	EXPECT_EQ(self->free - 5, pool_free(SZ_2M));
	EXPECT_EQ(0, drop(self->dev, id));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free));
	EXPECT_EQ(ENOENT, drop(self->dev, id));
	EXPECT_EQ(-1, show(id, "length"));
}

/* Another size, another node, another policy: fresh pages. */
TEST_F(reserve, draw_what_fits)
{
	uint64_t id = reserve(self->dev, 4, 1);

	ASSERT_NE(0, id);
	EXPECT_EQ(0, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(0, take(self->dev, 6, HPCVM_NODE_ANY, NULL));
	ASSERT_EQ(0, bind_to(0));
	EXPECT_EQ(0, take(self->dev, 4, 0, NULL));
	EXPECT_EQ(0, take(self->dev, 4, HPCVM_NODE_ANY, NULL));
	ASSERT_EQ(0, bind_to(1));
	EXPECT_EQ(0, take(self->dev, 4, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(id, take(self->dev, 4, 1, NULL));
	bind_to(-1);

	id = reserve(self->dev, 4, 1);
	EXPECT_EQ(id, take(self->dev, 4, HPCVM_NODE_ANY, NULL));

	/* Parked without a node, it is for those who ask for none. */
	id = reserve(self->dev, 4, HPCVM_NODE_ANY);
	ASSERT_EQ(0, bind_to(0));
	EXPECT_EQ(0, take(self->dev, 4, 0, NULL));
	bind_to(-1);
	EXPECT_EQ(id, take(self->dev, 4, HPCVM_NODE_ANY, NULL));
}

/* One guest of each kind leaves the others' alone. */
TEST_F(reserve, draw_in_order)
{
	uint64_t a = reserve(self->dev, 2, 0), b = reserve(self->dev, 2, 1),
		 c = reserve(self->dev, 2, 1), d = reserve(self->dev, 3, 1);

	EXPECT_EQ(b, take(self->dev, 2, 1, NULL));
	EXPECT_EQ(d, take(self->dev, 3, 1, NULL));
	EXPECT_EQ(a, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(c, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(0, nr_reservations());
}

static int take_in_cgroup(int dev, int pages)
{
	if (put_text(CGROUP "/cgroup.procs", "0"))
		return 99;
	return take(dev, pages, HPCVM_NODE_ANY, NULL) == 0 ? 0 : 1;
}

TEST_F(reserve, draw_within_the_cpuset)
{
	uint64_t id = reserve(self->dev, 2, 1);

	ASSERT_EQ(0, put_text("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset"));
	mkdir(CGROUP, 0755);
	ASSERT_EQ(0, put_text(CGROUP "/cpuset.mems", "0"));
	EXPECT_EQ(0, IN_CHILD(take_in_cgroup(self->dev, 2)));
	ASSERT_EQ(0, put_text(CGROUP "/cpuset.mems", "0-1"));
	EXPECT_EQ(1, IN_CHILD(take_in_cgroup(self->dev, 2)));
	EXPECT_EQ(ENOENT, drop(self->dev, id));
	EXPECT_EQ(0, rmdir(CGROUP));
}

/* As somebody; what was drawn is theirs to open again. 0: nothing was drawn. */
static int take_as(int dev, uid_t uid, gid_t gid)
{
	struct stat st;
	char path[64];
	int mem;

	become(uid, gid);
	if (take(dev, 2, HPCVM_NODE_ANY, &mem) <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", mem);
	if (fstat(mem, &st) || st.st_uid != uid || st.st_gid != uid || open(path, O_RDWR) < 0)
		return 97;
	return 1;
}

TEST_F(reserve, for_whom)
{
	uint64_t id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_UID, 1000);

	EXPECT_EQ(1000, show(id, "uid"));
	EXPECT_EQ(-1, show(id, "gid"));
	EXPECT_EQ(0, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(0, IN_CHILD(take_as(self->dev, 1001, 1000)));
	EXPECT_EQ(1, IN_CHILD(take_as(self->dev, 1000, 1000)));

	id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_GID, 2000);
	EXPECT_EQ(-1, show(id, "uid"));
	EXPECT_EQ(2000, show(id, "gid"));
	EXPECT_EQ(0, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(1, IN_CHILD(take_as(self->dev, 2000, 1000)));
	id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_GID, 2000);
	EXPECT_EQ(0, IN_CHILD(take_as(self->dev, 1001, 1000)));
	EXPECT_EQ(1, IN_CHILD(take_as(self->dev, 1001, 2000)));

	/* With both, one will do. */
	id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_UID | HPCVM_RESERVE_GID, 1000);
	EXPECT_EQ(0, IN_CHILD(take_as(self->dev, 1001, 2000)));
	EXPECT_EQ(1, IN_CHILD(take_as(self->dev, 1000, 2000)));
	id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_UID | HPCVM_RESERVE_GID, 1000);
	EXPECT_EQ(1, IN_CHILD(take_as(self->dev, 1001, 1000)));

	id = reserve_for(self->dev, 2, HPCVM_NODE_ANY, HPCVM_RESERVE_UID, 0);
	EXPECT_EQ(0, IN_CHILD(take_as(self->dev, 1000, 1000)));
	EXPECT_EQ(id, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
}

/* Of two that want the last one, one gets it, the other fresh pages. */
TEST_F(reserve, race)
{
	struct { int64_t id[2]; int go; } *shared = shared_page();
	int round, i;

	for (round = 0; round < 40; round++) {
		uint64_t id = reserve(self->dev, 2, HPCVM_NODE_ANY);
		pid_t child[2];

		shared->go = 0;
		for (i = 0; i < 2; i++) {
			child[i] = fork();
			if (child[i])
				continue;
			while (!__atomic_load_n(&shared->go, __ATOMIC_ACQUIRE))
				sched_yield();
			shared->id[i] = take(self->dev, 2, HPCVM_NODE_ANY, NULL);
			_exit(0);
		}
		__atomic_store_n(&shared->go, 1, __ATOMIC_RELEASE);
		for (i = 0; i < 2; i++)
			waitpid(child[i], NULL, 0);
		EXPECT_EQ(id, shared->id[0] + shared->id[1]);
		EXPECT_EQ(0, shared->id[0] * shared->id[1]);
	}
}

/* All of it at once: makers, drawers, droppers, readers. */
static struct {
	int dev;
	atomic_bool stop;
	atomic_ullong last;	/* id that was made */
	atomic_int drawn, dropped, dirty, again;
	atomic_bool seen[1 << 20];
} storm;

static void *maker(void *arg)
{
	while (!storm.stop) {
		uint64_t id = reserve(storm.dev, 2, HPCVM_NODE_ANY);

		if (id)
			storm.last = id;
	}
	return arg;
}

static void *drawer(void *arg)
{
	while (!storm.stop) {
		int mem;
		int64_t id = take(storm.dev, 2, HPCVM_NODE_ANY, &mem);
		uint64_t *p = id > 0 ? map_shared(mem, 2 * SZ_2M) : NULL;

		if (p) {
			storm.drawn++;
			storm.again += atomic_exchange(&storm.seen[id % (1 << 20)], true);
			storm.dirty += p[0] || p[SZ_2M / 8];
			p[0] = p[SZ_2M / 8] = ~0UL;
			munmap(p, 2 * SZ_2M);
		}
		if (id >= 0)
			close(mem);
	}
	return arg;
}

static void *dropper(void *arg)
{
	while (!storm.stop) {
		storm.dropped += !drop(storm.dev, storm.last);
		usleep(1000);
	}
	return arg;
}

static void *watcher(void *arg)
{
	while (!storm.stop) {
		show(storm.last, "held");
		show(storm.last, "uid");
		get_number(RESERVATIONS "/gone");
	}
	return arg;
}

TEST_F_TIMEOUT(reserve, storm, 120)
{
	void *(*const work[])(void *) = { maker, maker, maker, drawer, drawer, dropper, watcher };
	const int threads = sizeof(work) / sizeof(work[0]);
	pthread_t thread[8];
	int i;

	storm.dev = self->dev;
	for (i = 0; i < threads; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, work[i], NULL));
	sleep(6 * slow());
	storm.stop = true;
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	TH_LOG("%d drawn, %d dropped", storm.drawn, storm.dropped);
	EXPECT_LT(20, storm.drawn);
	EXPECT_LT(0, storm.dropped);
	EXPECT_EQ(0, storm.dirty);
	EXPECT_EQ(0, storm.again);
}

/* The pool is made smaller below what is parked. */
TEST_F(reserve, pool_shrunk)
{
	uint64_t id = reserve(self->dev, 10, 1);
	int mem;

	ASSERT_NE(0, id);
	pool_set(SZ_2M, HPCVM_NODE_ANY, 0);
	EXPECT_EQ(0, pool_free(SZ_2M));
	EXPECT_EQ(-1, take(self->dev, 2, HPCVM_NODE_ANY, NULL));
	EXPECT_EQ(id, take(self->dev, 10, 1, &mem));
	EXPECT_TRUE(is_zero(mem, 10 * SZ_2M));
	EXPECT_TRUE(scribble(mem, 10 * SZ_2M));
	close(mem);
	EXPECT_TRUE(pool_settles(SZ_2M, 0));
	EXPECT_EQ(0, get_number(pool_path(SZ_2M, HPCVM_NODE_ANY, "nr_hugepages")));
	self->free = 0;
}

/* A call whose result cannot be written has parked and drawn nothing. */
TEST_F(reserve, results_unwritable)
{
	struct hpcvm_mem_create *create;
	int mem = ready(self->dev, 2, HPCVM_NODE_ANY), got;
	struct hpcvm_reserve_park *park;
	uint64_t id;
	void *page = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	park = page;
	*park = park_of(mem, HPCVM_NODE_ANY);
	mprotect(page, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->dev, HPCVM_RESERVE_PARK, page));
	EXPECT_EQ(0, nr_reservations());
	mprotect(page, SZ_4K, PROT_READ | PROT_WRITE);
	ASSERT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, page));
	id = park->out_id;
	close(mem);

	create = page;
	*create = ask(2, 0, HPCVM_NODE_ANY);
	mprotect(page, SZ_4K, PROT_READ);
	EXPECT_EQ(EFAULT, call(self->dev, HPCVM_MEM_CREATE, page));
	mprotect(page, SZ_4K, PROT_READ | PROT_WRITE);
	EXPECT_EQ(0, show(id, "held"));
	while (dup(0) >= 0)
		;
	EXPECT_EQ(EMFILE, call(self->dev, HPCVM_MEM_CREATE, page));
	closefrom(self->dev + 1);
	EXPECT_EQ(0, show(id, "held"));
	EXPECT_EQ(id, take(self->dev, 2, HPCVM_NODE_ANY, &got));
	EXPECT_TRUE(is_zero(got, 2 * SZ_2M));
	EXPECT_TRUE(scribble(got, 2 * SZ_2M));
	close(got);
}

TEST_F(reserve, sysfs)
{
	struct pollfd gone = { .fd = open(RESERVATIONS "/gone", O_RDONLY), .events = POLLPRI };
	long long before = get_number(RESERVATIONS "/gone");
	uint64_t id = reserve(self->dev, 3, 1);
	char text[32];

	EXPECT_EQ(3 * SZ_2M, show(id, "length"));
	EXPECT_EQ(SZ_2M, show(id, "page_size"));
	EXPECT_EQ(1, show(id, "node"));
	EXPECT_EQ(-1, show(id, "uid"));
	EXPECT_EQ(-1, show(id, "gid"));
	EXPECT_EQ(0, show(id, "held"));

	ASSERT_LT(0, pread(gone.fd, text, sizeof(text), 0));
	EXPECT_EQ(0, poll(&gone, 1, 0));
	EXPECT_EQ(id, take(self->dev, 3, 1, NULL));
	EXPECT_EQ(1, poll(&gone, 1, 5000));
	EXPECT_TRUE(gone.revents & POLLPRI);
	EXPECT_EQ(before + 1, get_number(RESERVATIONS "/gone"));
	ASSERT_LT(0, pread(gone.fd, text, sizeof(text), 0));
	EXPECT_EQ(0, poll(&gone, 1, 0));
	EXPECT_EQ(0, drop(self->dev, reserve(self->dev, 1, HPCVM_NODE_ANY)));
	EXPECT_EQ(1, poll(&gone, 1, 5000));
	EXPECT_EQ(before + 2, get_number(RESERVATIONS "/gone"));
	close(gone.fd);
}

TEST_F(reserve, pages_of_1g)
{
	struct hpcvm_mem_create create = mem_create(SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	struct hpcvm_reserve_park park;
	void *p;

	if (pool_set(SZ_1G, HPCVM_NODE_ANY, 1) != 1)
		SKIP(return, "the node has no contiguous GiB left");
	create.flags = HPCVM_MEM_PREPARE;
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	p = map_read(create.out_fd, SZ_1G);
	ASSERT_EQ(0, madvise(p, SZ_1G, MADV_POPULATE_READ));
	munmap(p, SZ_1G);
	park = park_of(create.out_fd, HPCVM_NODE_ANY);
	ASSERT_EQ(0, call(self->dev, HPCVM_RESERVE_PARK, &park));
	close(create.out_fd);
	EXPECT_EQ(0, pool_free(SZ_1G));
	EXPECT_EQ(SZ_1G, show(park.out_id, "page_size"));

	create = mem_create(SZ_1G, SZ_1G, HPCVM_NODE_ANY);
	ASSERT_EQ(0, call(self->dev, HPCVM_MEM_CREATE, &create));
	EXPECT_EQ(park.out_id, create.out_reservation);
	p = map_shared(create.out_fd, SZ_1G);
	ASSERT_NE(MAP_FAILED, p);
	((char *)p)[SZ_1G - 1] = 1;
	munmap(p, SZ_1G);
	close(create.out_fd);
	EXPECT_TRUE(pool_settles(SZ_1G, 1));
	pool_set(SZ_1G, HPCVM_NODE_ANY, 0);
}

/* What is parked goes with the module; what was handed out stays. */
TEST_F(reserve, unload)
{
	int mem, ko;
	char *p;

	ASSERT_NE(0, reserve(self->dev, 4, HPCVM_NODE_ANY));
	ASSERT_NE(0, reserve(self->dev, 3, HPCVM_NODE_ANY));
	ASSERT_NE(0, reserve(self->dev, 5, 1));
	ASSERT_LT(0, take(self->dev, 4, HPCVM_NODE_ANY, &mem));
	p = map_shared(mem, 4 * SZ_2M);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 5;
	close(self->dev);
	ASSERT_EQ(0, syscall(SYS_delete_module, "hpcvm", O_NONBLOCK));
	EXPECT_TRUE(pool_settles(SZ_2M, self->free - 4));
	EXPECT_EQ(5, p[0]);
	p[3 * SZ_2M] = 6;
	EXPECT_EQ(6, p[3 * SZ_2M]);
	ko = open(getenv("HPCVM_KO"), O_RDONLY);
	ASSERT_LE(0, ko);
	ASSERT_EQ(0, syscall(SYS_finit_module, ko, "", 0));
	close(ko);
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	EXPECT_EQ(0, nr_reservations());
	EXPECT_EQ(5, p[0]);
	munmap(p, 4 * SZ_2M);
	close(mem);
}

TEST_HARNESS_MAIN
