/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A vCPU that spins in its guest, on a thread of its own, as QEMU would run it:
 * what is tested of cores needs one. And what the node says of CPUs.
 */
#ifndef VCPU_H
#define VCPU_H

#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include "selftest.h"

#define CORES "/sys/class/misc/hpcvm/cores/"

/* The node's CPUs: 0 and 1 on NUMA node 0, 2 and 3 on 1. */
enum { NEAR = 1, CPU_A = 2, CPU_B = 3 };

#define VCPU_RAM SZ_2M

struct vcpu {
	int kvm, vm;		/* in: KVM's VM; ours, or -1: it is not attached */
	uint32_t id;		/* in */
	char *ram;		/* in: a page of guest RAM at 0x1000, of all vCPUs */
	bool sleeps;		/* in: it halts at once, in the guest */
	bool exits;		/* in: it writes to a port, for ever */
	unsigned int rest_us;	/* in: so long it rests after each KVM_RUN */
	atomic_bool pause;	/* while this is so, it does not run after the next one */
	int given;		/* in: its fd, if KVM has it already */
	int fd;
	struct kvm_run *run;
	pid_t tid;
	int err;		/* of HPCVM_VCPU_ATTACH */
	uint32_t reason;
	atomic_bool ready, stop;
	pthread_t thread;
};

static inline void vcpu_signal(int sig)
{
}

static inline int vcpu_attach(int vm, int fd, void *run, uint32_t *reason)
{
	struct hpcvm_vcpu_attach attach = { .size = sizeof(attach), .vcpu_fd = fd,
		.run = (uintptr_t)run };
	int err = call(vm, HPCVM_VCPU_ATTACH, &attach);

	if (reason)
		*reason = attach.reason;
	return err;
}

static inline struct hpcvm_vcpu_claim vcpu_claim(uint32_t vcpu, int cpu)
{
	return (struct hpcvm_vcpu_claim){ .size = sizeof(struct hpcvm_vcpu_claim),
		.vcpu = vcpu, .cpu = cpu, .node = HPCVM_NODE_ANY };
}

static inline int claim(int vm, uint32_t vcpu, int cpu)
{
	struct hpcvm_vcpu_claim c = vcpu_claim(vcpu, cpu);

	return call(vm, HPCVM_VCPU_CLAIM, &c);
}

static inline int release(int vm, uint32_t vcpu)
{
	struct hpcvm_vcpu_release r = { .size = sizeof(r), .vcpu = vcpu };

	return call(vm, HPCVM_VCPU_RELEASE, &r);
}

/* All zero, and no CPU, if the call fails. */
static inline struct hpcvm_vcpu_stats stats(int vm, uint32_t vcpu)
{
	struct hpcvm_vcpu_stats s = { .size = sizeof(s), .vcpu = vcpu };

	if (call(vm, HPCVM_VCPU_STATS, &s))
		s = (struct hpcvm_vcpu_stats){ .cpu = -99 };
	return s;
}

/* Flat 32-bit mode: 1: inc %eax; jmp 1b. Or: 1: hlt; jmp 1b. Or: 1: out %al, $128; jmp 1b. */
static inline int vcpu_setup(struct vcpu *v)
{
	static const unsigned char spin[] = { 0x40, 0xeb, 0xfd }, halt[] = { 0xf4, 0xeb, 0xfd },
		out[] = { 0xe6, 0x80, 0xeb, 0xfc };
	struct kvm_segment flat = { .limit = ~0u, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rip = v->sleeps ? 0x1100 : v->exits ? 0x1200 : 0x1000,
		.rflags = 2 };
	struct kvm_sregs sregs;

	memcpy(v->ram + 0x1000, spin, sizeof(spin));
	memcpy(v->ram + 0x1100, halt, sizeof(halt));
	memcpy(v->ram + 0x1200, out, sizeof(out));
	if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.ds = sregs.es = sregs.ss = sregs.cs = flat;
	sregs.ds.type = sregs.es.type = sregs.ss.type = 3;
	sregs.cs.type = 11;
	sregs.cr0 |= 1;
	return ioctl(v->fd, KVM_SET_SREGS, &sregs) || ioctl(v->fd, KVM_SET_REGS, &regs);
}

static inline void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;

	v->tid = gettid();
	v->fd = v->given ?: ioctl(v->kvm, KVM_CREATE_VCPU, v->id);
	v->run = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	v->err = vcpu_setup(v) ? EIO : v->vm < 0 ? 0 :
		 vcpu_attach(v->vm, v->fd, v->run, &v->reason);
	v->ready = true;
	while (!v->stop && (!ioctl(v->fd, KVM_RUN, 0) || errno == EINTR)) {
		if (v->rest_us)
			usleep(v->rest_us);
		while (v->pause && !v->stop)
			usleep(1000);
	}
	munmap(v->run, SZ_4K);
	close(v->fd);
	return NULL;
}

/* Start it; what HPCVM_VCPU_ATTACH has said. */
static inline int vcpu_start(struct vcpu *v)
{
	struct sigaction sa = { .sa_handler = vcpu_signal };

	sigaction(SIGUSR1, &sa, NULL);
	v->ready = v->stop = false;
	if (pthread_create(&v->thread, NULL, vcpu_thread, v))
		return EAGAIN;
	while (!v->ready)
		usleep(1000);
	return v->err;
}

static inline void vcpu_stop(struct vcpu *v)
{
	v->stop = true;
	while (pthread_tryjoin_np(v->thread, NULL)) {
		pthread_kill(v->thread, SIGUSR1);
		usleep(2000);
	}
}

/* Does it run? The tick takes it out of the guest now and then. */
static inline bool vcpu_spins(struct vcpu *v)
{
	uint64_t exits = stats(v->vm, v->id).exits;
	int i;

	for (i = 0; i < 100 * slow(); i++) {
		usleep(20000);
		if (stats(v->vm, v->id).exits != exits)
			return true;
	}
	return false;
}

static inline bool may_run_on(pid_t tid, int cpu)
{
	cpu_set_t set;

	return !sched_getaffinity(tid, sizeof(set), &set) && CPU_ISSET(cpu, &set);
}

/* It may run on this CPU, and on no other. */
static inline bool bound_to(pid_t tid, int cpu)
{
	cpu_set_t set;

	return !sched_getaffinity(tid, sizeof(set), &set) && CPU_COUNT(&set) == 1 &&
	       CPU_ISSET(cpu, &set);
}

static inline int run_only_on(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(tid, sizeof(set), &set) ? errno : 0;
}

static inline int list_cores(const char *list)
{
	return put_text(CORES "claimable", list);
}

/* Wait a little for something that happens soon. */
#define SOON(expr) ({							\
	bool seen_ = false;						\
	int try_;							\
	for (try_ = 0; try_ < 150 * slow() && !(seen_ = (expr)); try_++)	\
		usleep(20000);						\
	seen_;								\
})

/* The number of a CPU's column in a line of /proc/interrupts; -1: no such line. */
static inline long long interrupts(const char *name, int cpu)
{
	char line[4096], *at;
	long long n = -1;
	FILE *f = fopen("/proc/interrupts", "r");
	int i;

	while (f && n < 0 && fgets(line, sizeof(line), f)) {
		at = line + strspn(line, " ");
		if (strncmp(at, name, strlen(name)) || at[strlen(name)] != ':')
			continue;
		at += strlen(name) + 1;
		for (i = 0; i <= cpu; i++)
			n = strtoll(at, &at, 10);
	}
	if (f)
		fclose(f);
	return n;
}

/* A KVM VM with this RAM, for vCPUs that spin in it. */
static inline int spinning_kvm(char *ram)
{
	int kvm = new_kvm();

	kvm_memslot(kvm, 0, 0, VCPU_RAM, ram, 0);
	return kvm;
}

/* A wait in the kernel, by a timer of the wheel, in ms: how long was it? */
static inline double kernel_sleep(int ms)
{
	struct timeval timeout = { .tv_usec = ms * 1000 };
	struct sockaddr_in any = { .sin_family = AF_INET };
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t begin;
	char c;

	bind(s, (struct sockaddr *)&any, sizeof(any));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	begin = now_ns();
	if (recv(s, &c, 1, 0) >= 0)
		begin = 0;
	close(s);
	return (now_ns() - begin) / 1e6;
}

/*
 * What the tests of cores stand on: a VM of ours with a vCPU that spins, and some
 * cores that are listed. For FIXTURE(), FIXTURE_SETUP() and FIXTURE_TEARDOWN().
 */
#define SPINNING_VM							\
	int dev;							\
	int kvm;							\
	int vm;								\
	uint64_t id;							\
	char *ram;							\
	struct vcpu vcpu

#define SPINNING_VM_SETUP(_list) do {					\
	struct hpcvm_vm_create create_;					\
	self->dev = open_device();					\
	ASSERT_LE(0, self->dev);					\
	ASSERT_EQ(0, list_cores(_list));				\
	self->ram = mmap(NULL, VCPU_RAM, PROT_READ | PROT_WRITE,	\
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);		\
	self->kvm = spinning_kvm(self->ram);				\
	create_ = vm_create(self->kvm);					\
	ASSERT_EQ(0, call(self->dev, HPCVM_VM_CREATE, &create_));	\
	self->vm = create_.out_fd;					\
	self->id = create_.out_id;					\
	self->vcpu = (struct vcpu){ .kvm = self->kvm, .vm = self->vm, .ram = self->ram };	\
	ASSERT_EQ(0, vcpu_start(&self->vcpu));				\
} while (0)

#define SPINNING_VM_TEARDOWN() do {					\
	vcpu_stop(&self->vcpu);						\
	close(self->vm);						\
	close(self->kvm);						\
	close(self->dev);						\
	munmap(self->ram, VCPU_RAM);					\
	EXPECT_TRUE(SOON(list_cores("\n") == 0));			\
} while (0)

/* Time that is charged: fields of /proc/self/task/TID/stat, from 1. */
static inline long long stat_field(pid_t tid, int field)
{
	char path[64], text[1024], *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	at = f && fgets(text, sizeof(text), f) ? strrchr(text, ')') + 2 : NULL;
	if (f)
		fclose(f);
	for (field -= 3; at && field; field--) {
		at = strchr(at, ' ');
		at += !!at;
	}
	return at ? strtoll(at, NULL, 10) : -1;
}

static inline double cpu_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static _Atomic double timer_came;

static inline void on_cpu_timer(int signal)
{
	timer_came = cpu_time();
}

/* So much CPU time it is until a timer of so many seconds of it comes. */
static inline double cpu_time_until_timer(int seconds)
{
	struct itimerval timer = { .it_value.tv_sec = seconds };
	double begin = cpu_time();

	timer_came = 0;
	signal(SIGPROF, on_cpu_timer);
	setitimer(ITIMER_PROF, &timer, NULL);
	while (!timer_came)
		usleep(100000);
	return timer_came - begin;
}

#endif
