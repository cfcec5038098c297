// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer for /dev/hpcvm that knows its state, and is guided by what it
 * reaches in the module.
 *
 *	fuzz [--seed N] [--threads N] [--seconds N | --rounds N] [--dir DIR]
 *	     [--seeds DIR] [--dry] [--replay FILE]
 *
 * Programs begin as the seeds and as random ones. With several threads what
 * reaches something new joins the corpus, which further programs are made
 * from. One thread is not guided: which programs it runs follows from the
 * seed alone, and the last line has a digest of them.
 *
 * Before a round runs, it is in DIR/current. A node that dies leaves it there,
 * for --replay; so does a round that does not end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
#include "table.h"

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define EVERY 15		/* seconds between lines */
#define STUCK 180		/* seconds that a round may take */

static struct {
	unsigned long seed, seconds, rounds;
	int threads;
	const char *dir, *seeds, *replay;
	bool dry;
} options = { .seed = 1, .threads = 4, .dir = "build/fuzz", .seeds = "selftests/fuzz/seeds" };

static struct runner runners[THREADS_MAX];
static pthread_barrier_t barrier;
static atomic_ulong rounds;
static atomic_bool stop;
static bool guided;
static uint64_t digest = 0xcbf29ce484222325;
static time_t begin;

/* The corpus: the seeds, then what has reached something new. */
static struct {
	pthread_mutex_t lock;
	struct program *program;
	int nr;
} corpus = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void die(const char *what)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void corpus_add(const struct program *p)
{
	char path[PATH_MAX], text[TEXT_MAX];
	FILE *f;

	pthread_mutex_lock(&corpus.lock);
	corpus.program = realloc(corpus.program, (corpus.nr + 1) * sizeof(*p));
	corpus.program[corpus.nr++] = *p;
	snprintf(path, sizeof(path), "%s/corpus/%04d", options.dir, corpus.nr);
	pthread_mutex_unlock(&corpus.lock);
	if (options.dry)
		return;
	program_print(p, text, sizeof(text));
	f = fopen(path, "we");
	if (!f)
		return;
	fputs(text, f);
	fclose(f);
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = calloc(1, 1 << 20);

	if (!f || !fread(text, 1, (1 << 20) - 1, f))
		die(path);
	fclose(f);
	return text;
}

/* In order of their names: what follows depends on it. */
static void read_seeds(void)
{
	struct dirent **entry;
	struct program p;
	char path[PATH_MAX], *text;
	int n = scandir(options.seeds, &entry, NULL, alphasort), i;

	if (n < 0)
		die(options.seeds);
	for (i = 0; i < n; i++) {
		if (entry[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", options.seeds, entry[i]->d_name);
		text = read_file(path);
		if (!program_parse(text, &p))
			exit(2);
		corpus_add(&p);
		free(text);
	}
}

/* What a thread runs next. */
static void choose(struct runner *r)
{
	struct program other;

	r->news = false;
	if (options.replay)
		return;
	if (!draw(r, 8)) {
		program_random(r, &r->program);
		return;
	}
	pthread_mutex_lock(&corpus.lock);
	r->program = corpus.program[draw(r, corpus.nr)];
	other = corpus.program[draw(r, corpus.nr)];
	pthread_mutex_unlock(&corpus.lock);
	program_mutate(r, &r->program, &other);
}

/* All programs of the round, as --replay reads them. */
static int print_round(char *text, size_t room)
{
	int n = snprintf(text, room, "# seed %lu, round %lu\n", options.seed, (unsigned long)rounds);
	int i;

	for (i = 0; i < options.threads; i++) {
		n += snprintf(text + n, room - n, "thread %d\n", i);
		n += program_print(&runners[i].program, text + n, room - n);
	}
	return n;
}

static void leave_round(int fd)
{
	static char text[TEXT_MAX * THREADS_MAX];
	int n = print_round(text, sizeof(text)), i;

	for (i = 0; i < n; i++)
		digest = (digest ^ (uint8_t)text[i]) * 0x100000001b3;
	if (options.dry)
		return;
	if (pwrite(fd, text, n, 0) != n || ftruncate(fd, n))
		die("current");
}

static void read_replay(void)
{
	const char *text = read_file(options.replay);

	text += strncmp(text, "#", 1) ? 0 : strcspn(text, "\n") + 1;
	for (options.threads = 0; *text; options.threads++) {
		if (options.threads == THREADS_MAX)
			die("too many threads");
		if (!strncmp(text, "thread", 6))
			text += strcspn(text, "\n") + 1;
		text = program_parse(text, &runners[options.threads].program);
		if (!text)
			exit(2);
	}
}

static void *work(void *arg)
{
	struct runner *r = arg;
	int current = -1;

	if (!r->id && !options.dry) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/current", options.dir);
		current = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_SYNC | O_CLOEXEC, 0644);
		if (current < 0)
			die(path);
	}
	if (!options.dry) {
		runner_init(r);
		if (guided && !cover_thread(r))
			die("KCOV");
	}
	pthread_barrier_wait(&barrier);
	if (!r->id && !options.dry)
		table_init();
	for (;;) {
		if (!r->id)
			stop = options.rounds ? rounds >= options.rounds :
				time(NULL) - begin >= (time_t)options.seconds;
		pthread_barrier_wait(&barrier);
		if (stop)
			break;
		choose(r);
		pthread_barrier_wait(&barrier);
		if (!r->id)
			leave_round(current);
		pthread_barrier_wait(&barrier);
		if (!options.dry)
			runner_run(r);
		if (r->news && options.threads > 1 && !options.replay)
			corpus_add(&r->program);
		pthread_barrier_wait(&barrier);
		if (!r->id && !options.dry)
			table_reset();
		if (!r->id)
			rounds++;
	}
	return NULL;
}

static void say(const char *end)
{
	unsigned long points, edges, verdicts, calls = 0;
	int i;

	for (i = 0; i < options.threads; i++)
		calls += runners[i].calls;
	cover_figures(&points, &edges, &verdicts);
	printf("[%5ld s] %lu rounds, %lu calls, %lu points, %lu edges, %lu answers, corpus %d%s\n",
	       (long)(time(NULL) - begin), (unsigned long)rounds, calls, points, edges, verdicts,
	       corpus.nr, end);
	fflush(stdout);
}

/* Says how far it is; and if a round does not end, what the kernel is at. */
static void *watch(void *arg)
{
	unsigned long last = 0;
	int t, still = 0, fd;

	for (t = 1;; t++) {
		sleep(1);
		if (t % EVERY == 0)
			say("");
		still = rounds == last ? still + 1 : 0;
		last = rounds;
		if (still < STUCK)
			continue;
		printf("not ok: round %lu does not end; it is in %s/current\n", last, options.dir);
		fflush(stdout);
		fd = open("/proc/sysrq-trigger", O_WRONLY);
		if (write(fd, "w", 1) < 0)
			perror("sysrq");
		_exit(1);
	}
	return arg;
}

/* What must be afterwards as it was before. */

struct node {
	long free, reserved, free_1g, vms, reservations, module;
};

static long number(const char *path)
{
	FILE *f = fopen(path, "re");
	long n = -1;

	if (!f || fscanf(f, "%li", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static long entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	long n = 0;

	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

static struct node look(void)
{
	return (struct node){
		.free = number(POOL "free_hugepages"), .reserved = number(POOL "resv_hugepages"),
		.free_1g = number("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"),
		.vms = entries(SYSFS "vms"), .reservations = entries(SYSFS "reservations"),
		.module = number("/sys/module/hpcvm/refcnt"),
	};
}

static bool settles(const struct node *before)
{
	struct node now;
	int i;

	for (i = 0; i < 1000; i++) {
		now = look();
		if (!memcmp(&now, before, sizeof(now)))
			return true;
		usleep(20000);
	}
	printf("not ok: free 2M pages %ld -> %ld, reserved %ld -> %ld, free 1G pages %ld -> %ld, VMs %ld -> %ld, reservations %ld -> %ld, module %ld -> %ld\n",
	       before->free, now.free, before->reserved, now.reserved, before->free_1g, now.free_1g,
	       before->vms, now.vms, before->reservations, now.reservations,
	       before->module, now.module);
	return false;
}

static void nothing(int signal)
{
}

static void parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "seed", 1, NULL, 's' }, { "threads", 1, NULL, 't' }, { "seconds", 1, NULL, 'n' },
		{ "rounds", 1, NULL, 'r' }, { "dir", 1, NULL, 'd' }, { "seeds", 1, NULL, 'c' },
		{ "dry", 0, NULL, 'y' }, { "replay", 1, NULL, 'p' }, {},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 's': options.seed = strtoul(optarg, NULL, 0); break;
		case 't': options.threads = atoi(optarg); break;
		case 'n': options.seconds = strtoul(optarg, NULL, 0); break;
		case 'r': options.rounds = strtoul(optarg, NULL, 0); break;
		case 'd': options.dir = optarg; break;
		case 'c': options.seeds = optarg; break;
		case 'y': options.dry = true; break;
		case 'p': options.replay = optarg; break;
		default: exit(2);
		}
	}
	if (options.threads < 1 || options.threads > THREADS_MAX)
		options.threads = 1;
	if (!options.seconds && !options.rounds)
		options.rounds = options.replay ? 1 : 100;
}

static void save(const char *name, void (*write_to)(FILE *f))
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", options.dir, name);
	f = fopen(path, "we");
	if (!f)
		die(path);
	write_to(f);
	fclose(f);
}

int main(int argc, char **argv)
{
	struct sigaction ignore = { .sa_handler = nothing };
	pthread_t thread[THREADS_MAX], watcher;
	struct node before;
	char path[PATH_MAX];
	int i;

	parse_options(argc, argv);
	snprintf(path, sizeof(path), "%s/corpus", options.dir);
	mkdir(options.dir, 0755);
	mkdir(path, 0755);
	if (options.replay)
		read_replay();
	else
		read_seeds();
	if (!options.dry) {
		guided = cover_init();
		if (!guided)
			printf("no KCOV on this kernel: guided by errnos and reasons alone\n");
	}
	sigaction(SIGUSR1, &ignore, NULL);
	before = look();
	begin = time(NULL);
	pthread_barrier_init(&barrier, NULL, options.threads);
	for (i = 0; i < options.threads; i++) {
		runners[i].id = i;
		runners[i].seed = options.seed * 0x10001 + i * 0x9e3779b9;
		if (pthread_create(&thread[i], NULL, work, &runners[i]))
			die("a thread");
	}
	pthread_create(&watcher, NULL, watch, NULL);
	for (i = 0; i < options.threads; i++)
		pthread_join(thread[i], NULL);
	say("");
	printf("digest of all programs %016lx\n", (unsigned long)digest);
	if (options.dry)
		return 0;
	save("points", cover_save_points);
	save("answers", cover_save_answers);
	if (!settles(&before))
		return 1;
	printf("ok: all that programs have made is gone\n");
	return 0;
}
