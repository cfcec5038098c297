// SPDX-License-Identifier: GPL-2.0-only
/*
 * A storm of claims. In each round some VMs claim cores, move, give them back, ask
 * for times, all at random, while others change where their threads may run, take
 * processors away, switch thinning on and off and list other cores; then they are
 * killed. A call may fail, with an errno that its documentation names; and after
 * each round everything is as before. ROUNDS of them (10), and more until so many as
 * CYCLES (0) vCPUs that owned no core have been given one; all of these lose it again.
 */
#include <dirent.h>
#include "vcpu.h"

#define OWNERS 3
#define VCPUS 2
/* Most of what a round takes, at a multiple of it, is to make VMs and to end them. */
#define LIFE_MS (asked_for("CYCLES", 0) ? 4000 : 500)

/* Of all processes. */
static struct {
	atomic_int surprises, cycles;
} *seen;

static int asked_for(const char *name, int otherwise)
{
	const char *s = getenv(name);

	return s && *s ? atoi(s) : otherwise;
}

static bool one_in(int n)
{
	return random() % n == 0;
}

/* A call may fail, but only so; 0 ends the list. */
#define EXPECT_ONE_OF(_expr, ...) do {					\
	static const int errnos_[] = { __VA_ARGS__, 0 };		\
	int err_ = (_expr), i_ = 0;					\
	while (errnos_[i_] && errnos_[i_] != err_)			\
		i_++;							\
	if (err_ != errnos_[i_]) {					\
		fprintf(stderr, "# %s: errno %d\n", #_expr, err_);	\
		atomic_fetch_add(&seen->surprises, 1);				\
	}								\
} while (0)

/* One VM: what its process does until it is killed, or for a while. */

struct owner {
	int dev, vm, handle;
	uint64_t id;
	char *ram;
	struct vcpu vcpus[VCPUS];
	bool owns[VCPUS];	/* unless the core was taken away */
};

static void begin(struct owner *o)
{
	int kvm = spinning_kvm(o->ram), i;
	struct hpcvm_vm_create create = vm_create(kvm);

	o->handle = -1;
	EXPECT_ONE_OF(call(o->dev, HPCVM_VM_CREATE, &create), 0);
	o->vm = create.out_fd;
	o->id = create.out_id;
	for (i = 0; i < VCPUS; i++) {
		o->vcpus[i] = (struct vcpu){
			.kvm = kvm, .vm = o->vm, .id = i, .ram = o->ram,
			.sleeps = one_in(4), .exits = one_in(4), .rest_us = one_in(3) ? 500 : 0,
		};
		EXPECT_ONE_OF(vcpu_start(&o->vcpus[i]), 0);
		o->owns[i] = false;
	}
}

static void end(struct owner *o)
{
	int i;

	for (i = 0; i < VCPUS; i++)
		vcpu_stop(&o->vcpus[i]);
	close(o->vcpus[0].kvm);
	close(o->vm);
	close(o->handle);
}

static void claim_at_random(struct owner *o)
{
	int i = random() % VCPUS, err;
	struct hpcvm_vcpu_claim c = vcpu_claim(i, random() % 4);

	if (one_in(2))
		c.cpu = HPCVM_CPU_ANY;
	c.flags = random() & (HPCVM_CLAIM_SIBLING | HPCVM_CLAIM_LOCAL);
	if (one_in(4))
		c.flags |= HPCVM_CLAIM_FIFO;
	c.tick = one_in(4) ? random() % 4 : HPCVM_TICK_AUTO;
	err = call(o->vm, HPCVM_VCPU_CLAIM, &c);
	EXPECT_ONE_OF(err, EINVAL, EPERM, EBUSY, EOPNOTSUPP, ESRCH);
	if (err || o->owns[i])
		return;
	o->owns[i] = true;
	atomic_fetch_add(&seen->cycles, 1);
}

static void release_at_random(struct owner *o)
{
	int i = random() % VCPUS, err = release(o->vm, i);

	EXPECT_ONE_OF(err, ENOENT);
	o->owns[i] = false;
}

static void look(struct owner *o)
{
	struct hpcvm_vm_open open = { .size = sizeof(open), .id = o->id,
		.flags = HPCVM_OPEN_TIMES };
	struct hpcvm_vcpu_stats s = { .size = sizeof(s), .vcpu = random() % VCPUS };

	if (o->handle >= 0) {
		EXPECT_ONE_OF(call(o->handle, HPCVM_VCPU_STATS, &s), 0);
		close(o->handle);
		o->handle = -1;
	} else {
		EXPECT_ONE_OF(call(o->dev, HPCVM_VM_OPEN, &open), 0);
		o->handle = open.out_fd;
	}
}

static void act(struct owner *o)
{
	switch (random() % 8) {
	case 0:
	case 1:
	case 2:
		claim_at_random(o);
		break;
	case 3:
		release_at_random(o);
		break;
	case 4:
		look(o);
		break;
	case 5:
		run_only_on(o->vcpus[random() % VCPUS].tid, random() % 4);
		break;
	case 6:
		if (one_in(4)) {
			end(o);
			begin(o);
		}
		break;
	case 7:
		usleep(random() % 20000);
	}
}

static void own(int dev, unsigned int seed)
{
	struct owner o = { .dev = dev };
	uint64_t until;

	srandom(seed);
	o.ram = mmap(NULL, VCPU_RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	begin(&o);
	until = now_ns() + random() % (LIFE_MS * slow()) * 1000000ull;
	while (now_ns() < until)
		act(&o);
	if (one_in(2))
		end(&o);
	_exit(0);
}

/* What others do to them */

static void put_at_random(const char *path, const char *a, const char *b)
{
	put_text(path, one_in(2) ? a : b);
}

/* Any thread of the owner's, where somebody has had the idea. */
static void move_a_thread(pid_t owner)
{
	char path[64];
	struct dirent *e;
	cpu_set_t set;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", owner);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (*e->d_name != '.' && one_in(3)) {
			memset(&set, 0, sizeof(set));
			*(char *)&set = 1 + random() % 15;
			sched_setaffinity(atoi(e->d_name), sizeof(set), &set);
		}
	if (dir)
		closedir(dir);
}

static void shake(const pid_t *owners)
{
	pid_t owner = owners[random() % OWNERS];

	switch (random() % 7) {
	case 0:
		put_at_random("/sys/devices/system/cpu/cpu2/online", "0", "1");
		break;
	case 1:
		put_at_random("/sys/devices/system/cpu/cpu3/online", "0", "1");
		break;
	case 2:
		put_at_random(CORES "thin_ticks", "0", "1");
		break;
	case 3:
		put_at_random(CORES "claimable", "1-3", "2-3");
		break;
	case 4:
		put_at_random(CORES "max_defer_us", "20000", "500000");
		break;
	case 5:
		move_a_thread(owner);
		break;
	case 6:
		kill(owner, SIGSTOP);
		usleep(random() % 20000);
		kill(owner, SIGCONT);
	}
}

static void calm(void)
{
	put_text("/sys/devices/system/cpu/cpu2/online", "1");
	put_text("/sys/devices/system/cpu/cpu3/online", "1");
	put_text(CORES "thin_ticks", "0");
	put_text(CORES "max_defer_us", "500000");
}

static bool nothing_is_claimed(void)
{
	FILE *f = fopen(CORES "claimed", "r");
	bool none = f && fgetc(f) == EOF;

	if (f)
		fclose(f);
	return none;
}

static void one_round(int dev, unsigned int seed)
{
	int deeds = random() % (LIFE_MS * slow() / 25), i;
	pid_t owners[OWNERS];

	put_text(CORES "claimable", "1-3");
	for (i = 0; i < OWNERS; i++) {
		fflush(stdout);
		owners[i] = fork();
		if (!owners[i])
			own(dev, seed + i);
	}
	for (i = 0; i < deeds; i++) {
		usleep(random() % 20000);
		shake(owners);
	}
	for (i = 0; i < OWNERS; i++)
		if (one_in(2))
			kill(owners[i], SIGKILL);
	for (i = 0; i < OWNERS; i++)
		waitpid(owners[i], NULL, 0);
	calm();
}

FIXTURE(claims)
{
	int dev;
	int rounds, cycles;
	long users, kvm, kvm_vendor;
};

FIXTURE_SETUP(claims)
{
	seen = shared_page();
	self->rounds = asked_for("ROUNDS", 10);
	self->cycles = asked_for("CYCLES", 0);
	self->dev = open_device();
	ASSERT_LE(0, self->dev);
	ASSERT_TRUE(nothing_is_claimed());
	self->users = get_number("/sys/module/hpcvm/refcnt");
	self->kvm = get_number("/sys/module/kvm/refcnt");
	self->kvm_vendor = kvm_users();
}

FIXTURE_TEARDOWN(claims)
{
	close(self->dev);
	EXPECT_TRUE(SOON(list_cores("\n") == 0));
	munmap(seen, SZ_4K);
}

TEST_F_TIMEOUT(claims, storm, 6 * 3600)
{
	uint64_t begin = now_ns();
	int i;

	for (i = 0; i < self->rounds || seen->cycles < self->cycles; i++) {
		srandom(i + 1);
		one_round(self->dev, 1000 * (i + 1));
		ASSERT_EQ(0, seen->surprises) TH_LOG("in round %d", i);
		ASSERT_TRUE(SOON(nothing_is_claimed())) TH_LOG("in round %d", i);
		ASSERT_TRUE(SOON(!count_entries(VMS))) TH_LOG("in round %d", i);
		ASSERT_TRUE(SOON(get_number("/sys/module/hpcvm/refcnt") == self->users))
			TH_LOG("in round %d", i);
		ASSERT_TRUE(SOON(get_number("/sys/module/kvm/refcnt") == self->kvm))
			TH_LOG("in round %d", i);
		ASSERT_TRUE(kvm_settles(self->kvm_vendor)) TH_LOG("in round %d", i);
		if (i % 10 == 9)
			fprintf(stderr, "# %d rounds, %d cycles\n", i + 1, seen->cycles);
	}
	printf("# %d rounds, %d claims and their ends, in %.1f s\n", i, seen->cycles,
	       (now_ns() - begin) / 1e9);
	EXPECT_LT(0, seen->cycles);
	EXPECT_EQ(0, get_number(CORES "missed_probes"));
	EXPECT_TRUE(SOON(kernel_sleep(40) < 1000 * slow()));
}

TEST_HARNESS_MAIN
