// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm reserve: memory that is ready before a guest asks for it.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "reserve.h"

struct options {
	struct reserve_spec spec;
	uint64_t count;
	bool list, keep, json;
	const char *drop;
};

/* Signals that end the command are blocked, and looked for where it is safe. */
static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP };
static atomic_bool stopped;

static void on_stop(int signal)
{
	(void)signal;
	atomic_store(&stopped, true);
}

static void block_stops(void)
{
	struct sigaction action = { .sa_handler = on_stop };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++) {
		sigaction(stop_signals[i], &action, NULL);
		sigaddset(&set, stop_signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
}

bool stop_wanted(void)
{
	sigset_t pending;

	if (stopped || sigpending(&pending))
		return stopped;
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		if (sigismember(&pending, stop_signals[i]) == 1)
			return true;
	return false;
}

/* "4G", "512M": false if it is none, or too large. */
static bool parse_size(const char *s, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t n;
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno || !n)
		return false;
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (*end && (!unit || end[1]))
		return false;
	for (int i = 0; unit && i <= unit - units; i++) {
		if (n >> 53)
			return false;
		n <<= 10;
	}
	*bytes = n;
	return true;
}

static bool parse_user(const char *s, int64_t *uid)
{
	const struct passwd *pw = getpwnam(s);
	uint64_t n;

	if (!pw && !parse_number(s, UINT32_MAX - 1, &n))
		return false;
	*uid = pw ? pw->pw_uid : n;
	return true;
}

static bool parse_group(const char *s, int64_t *gid)
{
	const struct group *gr = getgrnam(s);
	uint64_t n;

	if (!gr && !parse_number(s, UINT32_MAX - 1, &n))
		return false;
	*gid = gr ? gr->gr_gid : n;
	return true;
}

static const struct option long_options[] = {
	{ "size", required_argument, NULL, 's' },
	{ "count", required_argument, NULL, 'c' },
	{ "page", required_argument, NULL, 'p' },
	{ "node", required_argument, NULL, 'n' },
	{ "uid", required_argument, NULL, 'u' },
	{ "gid", required_argument, NULL, 'g' },
	{ "threads", required_argument, NULL, 't' },
	{ "keep", no_argument, NULL, 'k' },
	{ "list", no_argument, NULL, 'l' },
	{ "drop", required_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

/* One option with its value; false if that is no good. */
static bool take_option(struct options *o, int c, const char *value)
{
	struct reserve_spec *s = &o->spec;
	uint64_t n;

	switch (c) {
	case 's':
		return parse_size(value, &s->size);
	case 'c':
		return parse_number(value, HPCVM_RESERVATIONS_MAX, &o->count) && o->count;
	case 'p':
		return parse_size(value, &s->page_size);
	case 'n':
		if (!parse_number(value, INT32_MAX, &n))
			return false;
		s->node = n;
		return true;
	case 'u':
		return parse_user(value, &s->uid);
	case 'g':
		return parse_group(value, &s->gid);
	case 't':
		if (!parse_number(value, 256, &n) || !n)
			return false;
		s->threads = n;
		return true;
	case 'k':
		o->keep = true;
		return true;
	case 'l':
		o->list = true;
		return true;
	case 'd':
		o->drop = value;
		return parse_number(value, UINT64_MAX, &n) || !strcmp(value, "all");
	default:
		o->json = true;
		return true;
	}
}

/* What is asked must be one thing, and whole. -1: it is, and to be done. */
static int check_options(const struct command *self, const struct options *o)
{
	bool make = o->spec.size || o->count || o->keep;

	if (o->list + !!o->drop + make != 1)
		return usage_error(self, "say either --size and --count, or --list, or --drop");
	if (make && (!o->spec.size || !o->count))
		return usage_error(self, "it needs --size and --count");
	if (o->keep && o->json)
		return usage_error(self, "--keep prints no JSON");
	return -1;
}

static int parse(const struct command *self, int argc, char **argv, struct options *o)
{
	int c, index = 0;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
		if (c == '?')
			return usage_error(self, "there is no option %s, or its value is missing",
					   argv[optind - 1]);
		if (c == 'h') {
			help_command(self);
			return EXIT_HOLDS;
		}
		if (!take_option(o, c, optarg))
			return usage_error(self, "--%s cannot be %s", long_options[index].name, optarg);
	}
	if (optind < argc)
		return usage_error(self, "it takes no operand");
	return check_options(self, o);
}

/* --drop */

static bool drop_one(struct report *report, int dev, uint64_t id, bool must_exist)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;

	if (!hpcvm_reserve_drop(dev, id, &e))
		return true;
	if (e.reason == HPCVM_REASON_RESERVATION_UNKNOWN && !must_exist)
		return true;
	report_error(report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	return false;
}

/* Those that are drawn meanwhile are gone, too. */
static bool drop_all(struct report *report, int dev)
{
	struct reservation *all;
	int nr = reservations_load(&all);
	bool ok = true;

	for (int i = 0; i < nr && ok; i++)
		ok = drop_one(report, dev, all[i].id, false);
	free(all);
	return ok;
}

static int drop(struct report *report, const char *what)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;
	int dev = hpcvm_open(&e);
	bool ok;

	if (dev < 0) {
		report_error(report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		return EXIT_BROKEN;
	}
	ok = strcmp(what, "all") ? drop_one(report, dev, strtoull(what, NULL, 10), true) :
				   drop_all(report, dev);
	close(dev);
	return ok ? EXIT_HOLDS : EXIT_BROKEN;
}

/* Making */

static int make(struct report *report, const struct options *o)
{
	struct json_object *array = json_object_new_array();
	char why[HPCVM_SENTENCE_MAX];
	struct filled filled;

	json_add(report->root, "ids", array);
	if (!reserve_fill(&o->spec, o->count, true, &filled, why, sizeof(why))) {
		report_error(report, "nothing is reserved: %s", why);
		return EXIT_BROKEN;
	}
	report_text(report, "reserved %" PRIu64 " x %s in pages of %s:", o->count,
		    size_word(o->spec.size).s, size_word(o->spec.page_size).s);
	for (uint64_t i = 0; i < o->count; i++) {
		report_text(report, " %" PRIu64, filled.ids[i]);
		json_object_array_add(array, json_object_new_uint64(filled.ids[i]));
	}
	report_text(report, "\n");
	if (filled.grown)
		report_text(report, "the pool has grown by %" PRIu64 " pages\n", filled.grown);
	json_add_u64(report->root, "pool_grown", filled.grown);
	free(filled.ids);
	return EXIT_HOLDS;
}

/* Each file that is prepared is open until all are parked. */
static void allow_files(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* As many as this process has processors, up to what memory can keep busy. */
static unsigned int default_threads(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return n < 16 ? n : 16;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct options o = {
		.spec = {
			.page_size = UINT64_C(2) << 20,
			.node = HPCVM_NODE_ANY,
			.uid = HPCVM_RESERVE_ANYONE,
			.gid = HPCVM_RESERVE_ANYONE,
			.threads = default_threads(),
		},
	};
	struct report report;
	int status = parse(self, argc, argv, &o);

	if (status >= 0)
		return status;
	block_stops();
	allow_files();
	if (o.keep)
		return reserve_keep(&o.spec, o.count);
	report_begin(&report, o.json, 0);
	if (o.list)
		status = reservations_list(&report);
	else if (o.drop)
		status = drop(&report, o.drop);
	else
		status = make(&report, &o);
	return report_end(&report, status);
}

const struct command cmd_reserve = {
	.name = "reserve",
	.args = "--size S --count N [OPTION]... | --list | --drop ID|all",
	.summary = "memory that is ready before a guest asks for it",
	.help = "Make N reservations of S bytes each: hugepages that are zeroed now, for\n"
		"guests that start later. All of them or none.\n\n"
		"      --size S       such as 4G or 512M\n"
		"      --count N      how many\n"
		"      --page P       pages of 2M (default) or 1G\n"
		"      --node K       on this NUMA node (default any)\n"
		"      --uid U        only for this user's guests\n"
		"      --gid G        only for guests of members of this group\n"
		"      --threads T    that zero (default one a processor, at most 16)\n"
		"      --keep         stay, and make up for those that are drawn\n"
		"      --list         show the reservations there are\n"
		"      --drop ID|all  give reservations back\n"
		"      --json         print JSON\n\n"
		"Exits 0 if it is done, 1 if it cannot be, with nothing reserved, 2 on wrong\n"
		"usage.\n",
	.run = run,
};
