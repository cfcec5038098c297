// SPDX-License-Identifier: GPL-2.0-only
/*
 * What "hpcvm isolate" sets: the table, and how each kind of it is read and set.
 *
 *	file	a file of the kernel
 *	thread	a kernel thread that may be moved
 *	slice	what systemd runs its programs in; all but machine.slice, where VMs are
 *	daemon	irqbalance, by its environment
 *
 * The cores are taken from the others, and not made an isolated partition: to such
 * cores nobody outside the partition can bind a thread, so no <vcpupin> would work.
 *
 * What is not in the table, and why: Documentation/isolate.rst.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "isolate.h"

#define CGROUP "/sys/fs/cgroup"
#define SYSTEMD "/run/systemd"
#define BANNED "IRQBALANCE_BANNED_CPULIST"

typedef void (*found_fn)(const struct setting *s, const char *target, void *to);

struct means {
	void (*each)(const struct setting *s, const struct cpus *cores, found_fn found, void *to);
	bool (*get)(const char *target, char *value);	/* no such thing: ENOENT */
	bool (*set)(const char *target, const char *value, char *why);
	bool (*restore)(const char *target, const char *was, char *why);	/* NULL: set() */
};

static bool fail(char *why, const char *fmt, ...) PRINTF(2, 3);

static bool fail(char *why, const char *fmt, ...)
{
	int error = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, WHY_MAX, fmt, ap);
	va_end(ap);
	errno = error;
	return false;
}

/* A file */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return false;
	if (dprintf(fd, "%s\n", text) < 0)
		error = errno;
	close(fd);
	errno = error;
	return !error;
}

static void file_each(const struct setting *s, const struct cpus *cores, found_fn found, void *to)
{
	char path[PATH_MAX];

	if (!strchr(s->where, '%')) {
		found(s, s->where, to);
		return;
	}
	for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (!cpus_has(cores, cpu))
			continue;
		snprintf(path, sizeof(path), s->where, cpu);
		found(s, path, to);
	}
}

/* Of "always [madvise] never" what is in force. */
static bool file_get(const char *target, char *value)
{
	char *begin, *end;

	if (!sysfs_line(value, VALUE_MAX, "%s", target)) {
		if (errno == ENODEV || errno == ENXIO || errno == EOPNOTSUPP)
			errno = ENOENT;
		return false;
	}
	begin = strchr(value, '[');
	end = begin ? strchr(begin, ']') : NULL;
	if (end) {
		*end = 0;
		memmove(value, begin + 1, end - begin);
	}
	return true;
}

static bool file_set(const char *target, const char *value, char *why)
{
	return write_file(target, value) || fail(why, "%s cannot be \"%s\": %m", target, value);
}

static const struct means file = { file_each, file_get, file_set, NULL };

/* A thread: "PID START", as the kernel gives PIDs again */

#define PF_NO_SETAFFINITY 0x04000000
#define PF_KTHREAD 0x00200000

static bool thread_look(const char *pid, uint64_t *start, unsigned int *flags)
{
	char line[1024], *p;

	if (!sysfs_line(line, sizeof(line), "/proc/%s/stat", pid))
		return false;
	p = strrchr(line, ')');
	return p && sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d"
			   " %*d %*d %*d %" SCNu64, flags, start) == 2;
}

static void thread_each(const struct setting *s, const struct cpus *cores, found_fn found, void *to)
{
	DIR *d = opendir("/proc");
	unsigned int flags;
	struct dirent *e;
	char target[64];
	uint64_t start;

	while (d && (e = readdir(d))) {
		struct cpus may;

		if (!isdigit((unsigned char)*e->d_name) ||
		    !thread_look(e->d_name, &start, &flags) ||
		    (flags & (PF_KTHREAD | PF_NO_SETAFFINITY)) != PF_KTHREAD)
			continue;
		memset(&may, 0, sizeof(may));
		snprintf(target, sizeof(target), "%.20s %" PRIu64, e->d_name, start);
		if (!sched_getaffinity(atoi(e->d_name), sizeof(may), (cpu_set_t *)&may) &&
		    cpus_meet(&may, cores))
			found(s, target, to);
	}
	if (d)
		closedir(d);
}

/* 0 if it has ended */
static pid_t thread_of(const char *target)
{
	unsigned int pid, flags;
	uint64_t start, now;
	char name[16];

	if (sscanf(target, "%u %" SCNu64, &pid, &start) != 2)
		return 0;
	snprintf(name, sizeof(name), "%u", pid);
	return thread_look(name, &now, &flags) && now == start ? pid : 0;
}

static bool thread_get(const char *target, char *value)
{
	pid_t pid = thread_of(target);
	struct cpus may = { 0 };

	if (!pid || sched_getaffinity(pid, sizeof(may), (cpu_set_t *)&may)) {
		errno = ENOENT;
		return false;
	}
	cpus_to_list(&may, value, VALUE_MAX);
	return true;
}

/* One that has ended, or that the kernel has bound meanwhile, is no trouble. */
static bool thread_set(const char *target, const char *value, char *why)
{
	pid_t pid = thread_of(target);
	struct cpus may;

	if (!pid || !cpus_from_list(&may, value) ||
	    !sched_setaffinity(pid, sizeof(may), (cpu_set_t *)&may) ||
	    errno == ESRCH || errno == EINVAL)
		return true;
	return fail(why, "kernel thread %d cannot be kept to CPUs %s: %m", pid, value);
}

static const struct means thread = { thread_each, thread_get, thread_set, NULL };

/* systemd */

/* Run systemctl; what it says, without the newline, is in @out. */
static bool systemctl(char *out, size_t len, const char *const *args)
{
	const char *argv[8] = { "systemctl" };
	int ends[2], status = -1;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	for (int i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	if (pipe2(ends, O_CLOEXEC))
		return false;
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execvp(argv[0], (char **)argv);
		_exit(127);
	}
	close(ends[1]);
	while (pid > 0 && n + 1 < len && (got = read(ends[0], out + n, len - n - 1)) > 0)
		n += got;
	close(ends[0]);
	out[n] = 0;
	out[strcspn(out, "\n")] = 0;
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

#define SYSTEMCTL(out, ...) systemctl(out, sizeof(out), (const char *const []){ __VA_ARGS__, NULL })

static bool reload_wanted, restart_wanted;

bool settings_finish(char *why)
{
	char said[WHY_MAX - 64];

	if (reload_wanted && !SYSTEMCTL(said, "daemon-reload"))
		return fail(why, "systemctl daemon-reload fails: %s", said);
	if (restart_wanted && !SYSTEMCTL(said, "try-restart", "irqbalance.service"))
		return fail(why, "irqbalance cannot be restarted: %s", said);
	reload_wanted = false;
	restart_wanted = false;
	return true;
}

static bool systemd_runs(void)
{
	return !access(SYSTEMD "/system", F_OK);
}

/* A slice (and the scope of systemd itself) */

static bool is_slice(const char *name)
{
	const char *suffix = strrchr(name, '.');

	return !strcmp(name, "init.scope") ||
	       (suffix && !strcmp(suffix, ".slice") && strcmp(name, "machine.slice"));
}

static void slice_each(const struct setting *s, const struct cpus *cores, found_fn found, void *to)
{
	DIR *d = systemd_runs() ? opendir(CGROUP) : NULL;
	struct dirent *e;

	(void)cores;
	while (d && (e = readdir(d)))
		if (is_slice(e->d_name))
			found(s, e->d_name, to);
	if (d)
		closedir(d);
}

static bool slice_get(const char *target, char *value)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", CGROUP, target);
	if (!systemd_runs() || access(path, F_OK))
		return false;
	errno = EIO;
	return systemctl(value, VALUE_MAX, (const char *const []){
		"show", "--property=AllowedCPUs", "--value", target, NULL });
}

/* The first of the two empties the list: what is assigned is added. */
static bool slice_set(const char *target, const char *value, char *why)
{
	char said[WHY_MAX / 2], assign[VALUE_MAX + 16];

	snprintf(assign, sizeof(assign), "AllowedCPUs=%s", value);
	return SYSTEMCTL(said, "set-property", "--runtime", target, "AllowedCPUs=", assign) ||
	       fail(why, "%.64s cannot be kept to CPUs %.64s: %s", target, value, said);
}

/*
 * Without the file that set-property has made, systemd has no limit again. It does not
 * tell the kernel, so this must be done for it, and first: as long as systemd still has
 * the limit, there is something to restore.
 */
static bool slice_restore(const char *target, const char *was, char *why)
{
	static const char *const homes[] = { "system.control", "transient" };
	char path[PATH_MAX], all[VALUE_MAX];
	struct cpus possible;

	if (*was)
		return slice_set(target, was, why);
	if (!cpus_read(&possible, CPU "/possible"))
		return fail(why, "cannot read %s", CPU "/possible");
	cpus_to_list(&possible, all, sizeof(all));
	snprintf(path, sizeof(path), "%s/%s/cpuset.cpus", CGROUP, target);
	if (!write_file(path, all) && errno != ENOENT)
		return fail(why, "%s cannot be \"%s\": %m", path, all);
	for (size_t i = 0; i < ARRAY_SIZE(homes); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s.d/50-AllowedCPUs.conf", SYSTEMD, homes[i], target);
		if (unlink(path) && errno != ENOENT)
			return fail(why, "cannot remove %s: %m", path);
		*strrchr(path, '/') = 0;
		rmdir(path);
	}
	reload_wanted = true;
	return true;
}

static const struct means slice = { slice_each, slice_get, slice_set, slice_restore };

/*
 * The daemon irqbalance. It looks at its environment once, and the last file of those
 * that its unit names counts; so it gets one file more, and is restarted.
 */

#define ENVIRONMENT RUN "/irqbalance"
#define DROP_IN_DIR SYSTEMD "/system/irqbalance.service.d"
#define DROP_IN DROP_IN_DIR "/90-hpcvm.conf"

static bool daemon_pid(char *pid, size_t len)
{
	return systemd_runs() && systemctl(pid, len, (const char *const []){
		"show", "--property=MainPID", "--value", "irqbalance.service", NULL }) &&
	       isdigit((unsigned char)*pid) && strcmp(pid, "0");
}

static void daemon_each(const struct setting *s, const struct cpus *cores, found_fn found, void *to)
{
	char pid[256];

	(void)cores;
	if (daemon_pid(pid, sizeof(pid)))
		found(s, "irqbalance.service", to);
}

/* What our file says, as if it had been read; else what is in the environment. */
static bool daemon_get(const char *target, char *value)
{
	char pid[256], path[PATH_MAX], *entry = NULL;
	const size_t name = strlen(BANNED "=");
	size_t room = 0;
	FILE *f;

	(void)target;
	if (sysfs_line(value, VALUE_MAX, ENVIRONMENT)) {
		memmove(value, value + name, strlen(value) < name ? 1 : strlen(value + name) + 1);
		return true;
	}
	if (!daemon_pid(pid, sizeof(pid))) {
		errno = ENOENT;
		return false;
	}
	snprintf(path, sizeof(path), "/proc/%s/environ", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	*value = 0;
	while (getdelim(&entry, &room, 0, f) > 0)
		if (!strncmp(entry, BANNED "=", name))
			snprintf(value, VALUE_MAX, "%s", entry + name);
	free(entry);
	fclose(f);
	return true;
}

static bool create(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	bool ok = fd >= 0 && dprintf(fd, "%s\n", text) > 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool daemon_set(const char *target, const char *value, char *why)
{
	char line[VALUE_MAX + 64];

	snprintf(line, sizeof(line), BANNED "=%s", value);
	if ((mkdir(DROP_IN_DIR, 0755) && errno != EEXIST) || !create(ENVIRONMENT, line) ||
	    !create(DROP_IN, "[Service]\nEnvironmentFile=-" ENVIRONMENT))
		return fail(why, "cannot write %s for %s: %m", DROP_IN, target);
	reload_wanted = true;
	restart_wanted = true;
	return settings_finish(why);
}

static bool daemon_restore(const char *target, const char *was, char *why)
{
	(void)target;
	(void)was;
	if ((unlink(DROP_IN) && errno != ENOENT) || (unlink(ENVIRONMENT) && errno != ENOENT))
		return fail(why, "cannot remove %s: %m", DROP_IN);
	rmdir(DROP_IN_DIR);
	reload_wanted = true;
	restart_wanted = true;
	return true;
}

static const struct means daemon_env = { daemon_each, daemon_get, daemon_set, daemon_restore };

/* The table, in the order in which it is applied */

#define FILE_IS(name, where, word) { name, &file, where, WORD, word, false, NULL }
#define FILE_OF(name, where, form) { name, &file, where, form, NULL, false, NULL }

const struct setting settings[] = {
	{ "slices", &slice, NULL, LIST, NULL, false, NULL },
	{ "kernel threads", &thread, NULL, LIST, NULL, false, NULL },
	{ "irqbalance", &daemon_env, NULL, LIST, NULL, true, NULL },
	FILE_OF("new interrupts", "/proc/irq/default_smp_affinity", MASK),
	FILE_OF("workqueues", "/sys/devices/virtual/workqueue/cpumask", MASK),
	FILE_OF("watchdogs", "/proc/sys/kernel/watchdog_cpumask", LIST),
	FILE_IS("stat_interval", "/proc/sys/vm/stat_interval", "10"),
	FILE_IS("timer_migration", "/proc/sys/kernel/timer_migration", "0"),
	FILE_IS("numa_balancing", "/proc/sys/kernel/numa_balancing", "0"),
	FILE_IS("sched_rt_runtime_us", "/proc/sys/kernel/sched_rt_runtime_us", "-1"),
	FILE_IS("transparent pages", "/sys/kernel/mm/transparent_hugepage/enabled", "never"),
	FILE_IS("page merging", "/sys/kernel/mm/ksm/run", "0"),
	FILE_IS("machine checks", "/sys/devices/system/machinecheck/machinecheck0/check_interval", "0"),
	FILE_IS("governor", CPU "/cpu%u/cpufreq/scaling_governor", "performance"),
	FILE_IS("energy bias", CPU "/cpu%u/power/energy_perf_bias", "0"),
	{ "claimable", &file, CLAIMABLE, LIST, NULL, true,
	  "a VM owns a core that would not be listed any more; hpcvm list shows it" },
};

const size_t nr_settings = ARRAY_SIZE(settings);

static bool to_cpus(const struct setting *s, struct cpus *c, const char *value)
{
	return s->form == MASK ? cpus_from_mask(c, value) : cpus_from_list(c, value);
}

void setting_each(const struct setting *s, const struct cpus *cores, found_fn found, void *to)
{
	s->means->each(s, cores, found, to);
}

bool setting_get(const struct setting *s, const char *target, char *value)
{
	return s->means->get(target, value);
}

/* Where nothing would be left, all others; a slice that has no list may use all. */
void setting_want(const struct setting *s, const struct cpus *cores, const char *was, char *value)
{
	struct cpus c, possible;

	if (s->form == WORD) {
		snprintf(value, VALUE_MAX, "%s", s->word);
		return;
	}
	if (!to_cpus(s, &c, was))
		memset(&c, 0, sizeof(c));
	if (s->with) {
		cpus_add(&c, cores);
	} else if (!cpus_remove(&c, cores)) {
		cpus_add(&c, cpus_read(&possible, CPU "/possible") ? &possible : cores);
		cpus_remove(&c, cores);
	}
	if (s->form == MASK)
		cpus_to_mask(&c, value, VALUE_MAX);
	else
		cpus_to_list(&c, value, VALUE_MAX);
}

bool setting_same(const struct setting *s, const char *a, const char *b)
{
	struct cpus x, y;

	if (s->form == WORD || !to_cpus(s, &x, a) || !to_cpus(s, &y, b))
		return !strcmp(a, b);
	return cpus_same(&x, &y);
}

/* What was assigned may be refused for a reason that the table knows. */
static bool explain(const struct setting *s, bool done, char *why)
{
	if (!done && s->busy && errno == EBUSY)
		fail(why, "%s", s->busy);
	return done;
}

bool setting_set(const struct setting *s, const char *target, const char *value, char *why)
{
	return explain(s, s->means->set(target, value, why), why);
}

bool setting_restore(const struct setting *s, const char *target, const char *was, char *why)
{
	return explain(s, (s->means->restore ?: s->means->set)(target, was, why), why);
}
