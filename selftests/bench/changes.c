// SPDX-License-Identifier: GPL-2.0-only
/*
 * changes [SECONDS]: how often a registration cache is told of changes where the program
 * has made none: NUMA balancing and transparent hugepages are on, and threads on all CPUs
 * write 64 MiB that 32 ranges watch, and that stay where they are. What has changed is
 * watched again, as a cache registers it again. Prints the rows of a table, per minute.
 */
#include <pthread.h>
#include <sched.h>
#include "../monitor.h"
#include "../vcpu.h"

#define LENGTH (32UL * SZ_2M)
#define RANGES 32

static const char *const causes[] = {
	[HPCVM_CHANGE_UNMAP] = "unmapped",
	[HPCVM_CHANGE_CLEAR] = "migrated, collapsed or split",
	[HPCVM_CHANGE_PROTECT] = "NUMA balancing",
	[HPCVM_CHANGE_MIGRATE] = "device memory",
};

static struct {
	char *ram;
	bool over;
} used;

/* Each second on another CPU: so whose memory it is is never settled. */
static void *use(void *arg)
{
	long cpu = (long)arg, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	time_t now, then = 0;
	size_t at;

	while (!__atomic_load_n(&used.over, __ATOMIC_RELAXED)) {
		now = time(NULL);
		if (now != then)
			run_only_on(0, cpu++ % cpus);
		then = now;
		for (at = 0; at < LENGTH; at += SZ_4K)
			used.ram[at]++;
		usleep(1000);
	}
	return NULL;
}

static char *memory(const char *kind)
{
	int huge = !strcmp(kind, "2M of hugetlbfs");
	char *ram = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | (huge ? MAP_HUGETLB : 0), -1, 0);

	if (ram == MAP_FAILED) {
		perror("changes: mmap");
		exit(1);
	}
	if (!huge)
		madvise(ram, LENGTH, strcmp(kind, "4K") ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	memset(ram, 1, LENGTH);
	return ram;
}

static void watch_for(const struct mapped_monitor *m, int seconds)
{
	struct watch watches[RANGES] = { };
	time_t end = time(NULL) + seconds;
	int i;

	while (time(NULL) < end) {
		for (i = 0; i < RANGES; i++) {
			if (holds(m, watches[i]))
				continue;
			if (watches[i].cookie)
				unwatch(m, watches[i]);
			watches[i] = watch(m, used.ram + i * (LENGTH / RANGES), LENGTH / RANGES);
		}
		usleep(1000);
	}
}

static void row(const char *kind, const char *what, uint64_t changes, int seconds)
{
	char name[64];

	snprintf(name, sizeof(name), "%s: %s", kind, what);
	printf("%-46s  %12llu\n", name, (unsigned long long)changes * 60 / seconds);
}

static void rows(int dev, const char *kind, int seconds)
{
	struct mapped_monitor m = new_monitor(dev, RANGES);
	struct hpcvm_monitor_stats s;
	pthread_t threads[2];
	uint64_t all = 0;
	long i;

	used.ram = memory(kind);
	used.over = false;
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, use, (void *)i);
	watch_for(&m, seconds);
	s = monitor_stats(m.fd);
	__atomic_store_n(&used.over, true, __ATOMIC_RELAXED);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < HPCVM_CHANGES; i++)
		all += s.changes[i];
	row(kind, "changes", all, seconds);
	for (i = 0; i < HPCVM_CHANGES; i++)
		if (s.changes[i])
			row(kind, i < 9 && causes[i] ? causes[i] : "others", s.changes[i], seconds);
	end_monitor(&m);
	munmap(used.ram, LENGTH);
}

int main(int argc, char **argv)
{
	int seconds = argc > 1 ? atoi(argv[1]) : 60, dev = open_device();

	put_text(BALANCING, "1");
	put_text("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	put_text("/proc/sys/vm/nr_hugepages", "64");
	rows(dev, "4K", seconds);
	rows(dev, "4K and transparent hugepages", seconds);
	rows(dev, "2M of hugetlbfs", seconds);
	put_text("/proc/sys/vm/nr_hugepages", "0");
	return 0;
}
