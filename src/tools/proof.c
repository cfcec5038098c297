// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm proof: does each promise to a VM hold now?
 *
 * One section for each kind of promise, in a file of its own. What a section
 * says comes from the module, which looks at the kernel's own tables and
 * counters at the time of asking.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tool.h"

static const struct section {
	const char *name;	/* its key in the JSON */
	struct json_object *(*look)(struct proof *p);
} sections[] = {
	{ "memory", proof_memory },
	{ "cores", proof_cores },
};

/* Each section once. */
static int look(struct proof *p)
{
	int status = EXIT_HOLDS;

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		struct json_object *o = sections[i].look(p);

		json_add(p->report.root, sections[i].name, o);
		if (!o)
			status = EXIT_TROUBLE;
	}
	return status;
}

static int prove(struct proof *p, const struct domain *d)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;
	int status;

	p->vm = d->vm;
	p->info = d->info;
	if (hpcvm_query(p->vm, &p->query, &e)) {
		report_error(&p->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		return EXIT_TROUBLE;
	}
	domain_headline(d, &p->report);
	status = look(p);
	if (status == EXIT_HOLDS && report_failures(&p->report))
		status = EXIT_BROKEN;
	return status;
}

static void conclude(const struct report *r, int status)
{
	size_t n = report_failures(r);

	if (status == EXIT_HOLDS)
		report_text(r, "Every promise holds.\n");
	if (status != EXIT_BROKEN)
		return;
	report_text(r, "Broken:\n");
	for (size_t i = 0; i < n; i++)
		report_text(r, "  %s\n",
			    json_object_get_string(json_object_array_get_idx(r->failed, i)));
}

/* --watch */

static void news(const char *what, const char *sentence)
{
	char when[32];
	time_t now = time(NULL);

	strftime(when, sizeof(when), "%F %T", localtime(&now));
	printf("%s %s%s%s\n", when, what, *sentence ? ": " : "", sentence);
}

/* Sentences of @a that are not in @b. */
static void print_missing(const char *what, struct json_object *a, struct json_object *b)
{
	size_t n = json_object_array_length(a), m = json_object_array_length(b), j;

	for (size_t i = 0; i < n; i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(a, i));

		for (j = 0; j < m; j++)
			if (!strcmp(s, json_object_get_string(json_object_array_get_idx(b, j))))
				break;
		if (j == m)
			news(what, s);
	}
}

/* The VM's fd has news: look again, and tell what is different. */
static bool tell_news(struct proof *p)
{
	struct proof now = { .vm = p->vm, .info = p->info, .query = p->query };
	struct report was = p->report;
	bool seen;

	report_begin(&now.report, true, 0);
	seen = look(&now) == EXIT_HOLDS;
	if (seen) {
		print_missing("broken", now.report.failed, was.failed);
		print_missing("holds again", was.failed, now.report.failed);
		p->report.failed = now.report.failed;
		now.report.failed = was.failed;
	}
	report_free(&now.report);
	return seen;
}

/* Until the VM ends. Was a promise ever broken? */
static int watch(struct proof *p, int status)
{
	struct pollfd pfd = { .fd = p->vm, .events = POLLIN };

	report_text(&p->report, "Watching; Ctrl-C ends it.\n");
	while (!fflush(stdout) && poll(&pfd, 1, -1) > 0 && !(pfd.revents & POLLHUP)) {
		/* Who cannot look waits for the end, which is the likely cause. */
		if (!tell_news(p))
			pfd.events = 0;
		if (report_failures(&p->report))
			status = EXIT_BROKEN;
	}
	if (!(pfd.revents & POLLHUP)) {
		perror("hpcvm proof: cannot go on watching");
		return EXIT_TROUBLE;
	}
	news("the VM has ended", "");
	return status;
}

struct options {
	bool watch;
	uint64_t seconds;
};

static const struct option long_options[] = {
	{ "seconds", required_argument, NULL, 's' },
	{ "watch", no_argument, NULL, 'w' },
	{ 0 },
};

static bool take_option(int c, const char *value, void *to)
{
	struct options *o = to;

	if (c == 's')
		return parse_number(value, 86400, &o->seconds);
	o->watch = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct options o = { .seconds = 1 };
	struct proof p = { .vm = -1 };
	struct domain domain;
	int status, first;
	bool json;

	first = parse_options(self, argc, argv, &json, long_options, take_option, &o, &status);
	if (first < 0)
		return status;
	if (json && o.watch)
		return usage_error(self, "--watch prints lines, not JSON: take one of the two");
	if (!one_domain(self, argc - first))
		return EXIT_TROUBLE;

	p.seconds = o.seconds;
	report_begin(&p.report, json, 51);
	/* Keys that are there however this ends. */
	json_add(p.report.root, "domain", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		json_add(p.report.root, sections[i].name, NULL);

	status = EXIT_TROUBLE;
	if (domain_open(&domain, argv[first], &p.report, hpcvm_vm_open))
		status = prove(&p, &domain);
	conclude(&p.report, status);
	if (o.watch && status != EXIT_TROUBLE)
		status = watch(&p, status);
	domain_close(&domain);
	return report_end(&p.report, status);
}

const struct command cmd_proof = {
	.name = "proof",
	.args = "[--json|--watch] [--seconds N] DOMAIN|UUID|ID",
	.summary = "show whether each promise to a VM holds now",
	.help = "Look at a VM's memory as it is now, in the node's page tables and in KVM's\n"
		"memory slots and counters, and at its vCPUs' cores, and show which promises\n"
		"hold. The VM is called by its libvirt name, its UUID or its id in hpcvm list.\n\n"
		"      --json       print JSON\n"
		"      --seconds N  count for so long what disturbs the cores (1); 0: take\n"
		"                   what was counted since the vCPUs have had them\n"
		"      --watch      go on, and print a line when a promise is broken or holds\n"
		"                   again, until the VM ends\n\n"
		"Exits 0 if each promise holds, 1 if one is broken, 2 if it could not look:\n"
		"no such VM, not permitted, wrong usage.\n",
	.run = run,
};
