// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm noise: what takes time from a VM's vCPUs on their cores.
 *
 * A measurement, no judgement: where the time of each vCPU went in some seconds,
 * interrupts, exits and preemptions, and how long these were, in classes of powers
 * of two.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "tool.h"

struct noise {
	struct report report;
	bool csv;
	uint64_t seconds;
	struct vcpus vcpus;
	struct json_object *notes;
};

static const struct kind {
	const char *name;	/* in the JSON */
	const char *title;
	size_t where;
} kinds[] = {
#define KIND(name, title, field) { name, title, offsetof(struct hpcvm_vcpu_stats, field) }
	KIND("all", "EXITS/S", exits),
	KIND("irq", "IRQ", exits_irq),
	KIND("halt", "HALT", exits_halt),
	KIND("io", "IO", exits_io),
	KIND("mmio", "MMIO", exits_mmio),
	KIND("irq_window", "WINDOW", exits_irq_window),
	KIND("signal", "SIGNAL", exits_signal),
	KIND("request", "REQUEST", exits_request),
};

static uint64_t count(const struct hpcvm_vcpu_stats *s, const struct kind *k)
{
	return *(const __u64 *)((const char *)s + k->where);
}

static double exits(const struct vcpu *v, const struct kind *k)
{
	return vcpu_exit_rate(v, count(&v->then, k), count(&v->now, k));
}

static uint64_t gap(const struct vcpu *v, int class)
{
	return v->now.gaps[class] - v->then.gaps[class];
}

static bool last(int class)
{
	return class == HPCVM_GAPS - 1;
}

/* "17 ns", "1.05 us", "33.5 ms": three digits, as classes are wide */
struct time_word {
	char s[24];
};

static struct time_word time_word(uint64_t ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	struct time_word w;
	double value = ns;
	size_t u = 0;

	while (value >= 999.5 && u + 1 < ARRAY_SIZE(units)) {
		value /= 1000;
		u++;
	}
	snprintf(w.s, sizeof(w.s), "%.*f %s", !u || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2,
		 value, units[u]);
	return w;
}

/* Remarks */

static void note(struct noise *n, const char *fmt, ...) PRINTF(2, 3);

static void note(struct noise *n, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (n->csv)
		fprintf(stderr, "hpcvm: %s\n", s);
	else
		report_text(&n->report, "%s  %s\n", json_object_array_length(n->notes) ? "" : "\n", s);
	json_object_array_add(n->notes, json_object_new_string(s));
	free(s);
}

static void note_vcpu(struct noise *n, const struct vcpu *v)
{
	const struct hpcvm_vcpu_stats *a = &v->then, *b = &v->now;
	struct time_word since = time_word(b->owned_ns);

	if (!b->tid)
		note(n, "the thread of vCPU %u has ended", b->vcpu);
	else if (!vcpu_owns(b))
		note(n, "vCPU %u owns no core: only its exits are counted", b->vcpu);
	else if (v->then_ns && v->anew && vcpu_owns(a) && a->cpu != b->cpu)
		note(n, "vCPU %u has moved from CPU %d to CPU %d: its core is counted since then, %s",
		     b->vcpu, a->cpu, b->cpu, since.s);
	else if (v->then_ns && v->anew)
		note(n, "vCPU %u has come to CPU %d meanwhile: its core is counted since then, %s",
		     b->vcpu, b->cpu, since.s);
}

static void note_all(struct noise *n)
{
	if (!n->vcpus.nr)
		note(n, "no vCPU is known: the guest has not run yet, or has cores=off");
	for (size_t i = 0; i < n->vcpus.nr; i++)
		note_vcpu(n, &n->vcpus.all[i]);
}

/* Text */

static void print_cores(const struct noise *n)
{
	const struct report *r = &n->report;

	report_text(r, "\n  %-5s %-5s %-10s %-10s %-10s %-10s %s\n", "VCPU", "CPU", "TICKS/S",
		    "IRQS/S", "PREEMPTED", "IN ALL", "LONGEST SINCE ITS CLAIM");
	for (size_t i = 0; i < n->vcpus.nr; i++) {
		const struct vcpu *v = &n->vcpus.all[i];
		const struct hpcvm_vcpu_stats *a = &v->then, *b = &v->now;

		if (!vcpu_owns(b)) {
			report_text(r, "  %-5u %-5s %-10s %-10s %-10s %-10s %s\n", b->vcpu, "none",
				    "-", "-", "-", "-", "-");
			continue;
		}
		report_text(r, "  %-5u %-5d %-10s %-10s %-10llu %-10s %s\n", b->vcpu, b->cpu,
			    rate_word(vcpu_rate(v, a->timer_irqs, b->timer_irqs)).s,
			    rate_word(vcpu_rate(v, a->all_irqs, b->all_irqs)).s,
			    b->preempted - a->preempted,
			    time_word(b->preempted_ns - a->preempted_ns).s,
			    time_word(b->preempted_longest_ns).s);
	}
}

static void print_times(const struct noise *n)
{
	report_text(&n->report, "\n  %-5s %-9s %-12s %s\n", "VCPU", "GUEST %", "HYPERVISOR %",
		    "OUT %");
	for (size_t i = 0; i < n->vcpus.nr; i++) {
		struct shares s = vcpu_shares(&n->vcpus.all[i]);

		report_text(&n->report, "  %-5u %-9s %-12s %s\n", n->vcpus.all[i].now.vcpu,
			    rate_word(s.guest).s, rate_word(s.hypervisor).s, rate_word(s.out).s);
	}
}

static void print_exits(const struct noise *n)
{
	report_text(&n->report, "\n  %-5s", "VCPU");
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		report_text(&n->report, " %-9s", kinds[k].title);
	for (size_t i = 0; i < n->vcpus.nr; i++) {
		report_text(&n->report, "\n  %-5u", n->vcpus.all[i].now.vcpu);
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			report_text(&n->report, " %-9s",
				    rate_word(exits(&n->vcpus.all[i], &kinds[k])).s);
	}
	report_text(&n->report, "\n");
}

/* One scale for all vCPUs, so that they can be compared. */
static uint64_t highest(const struct noise *n)
{
	uint64_t max = 0;

	for (size_t i = 0; i < n->vcpus.nr; i++)
		for (int c = 0; c < HPCVM_GAPS; c++)
			if (gap(&n->vcpus.all[i], c) > max)
				max = gap(&n->vcpus.all[i], c);
	return max;
}

/* What occurs is shown, and what is beside it. */
static bool shown(const struct vcpu *v, int class)
{
	return gap(v, class) || (class && gap(v, class - 1)) ||
	       (!last(class) && gap(v, class + 1));
}

static void print_class(const struct noise *n, const struct vcpu *v, int class, uint64_t max)
{
	enum { LABEL = 36, BAR_MIN = 10 };
	int columns = terminal_size().columns, length;

	columns = columns > LABEL + BAR_MIN ? columns - LABEL : BAR_MIN;
	/* what occurred has a bar, however short */
	length = (double)gap(v, class) / max * (columns - 1) + (gap(v, class) > 0);
	report_text(&n->report, "  %9s - %-9s %10" PRIu64 "%s", time_word(1ull << class).s,
		    last(class) ? "" : time_word(2ull << class).s, gap(v, class), length ? " " : "");
	for (int i = 0; i < length; i++)
		report_text(&n->report, "#");
	report_text(&n->report, "\n");
}

static void print_gaps(const struct noise *n)
{
	uint64_t max = highest(n);

	for (size_t i = 0; i < n->vcpus.nr; i++) {
		const struct vcpu *v = &n->vcpus.all[i];

		if (!vcpu_owns(&v->now))
			continue;
		report_text(&n->report, "\n  vCPU %u was preempted %llu times in %s\n", v->now.vcpu,
			    v->now.preempted - v->then.preempted, time_word(vcpu_counted_ns(v)).s);
		for (int c = 0; c < HPCVM_GAPS; c++)
			if (shown(v, c))
				print_class(n, v, c, max);
	}
}

/* CSV: all classes, so that one gnuplot command fits any guest */

static void print_csv(const struct noise *n)
{
	puts("vcpu,cpu,from_ns,to_ns,count");
	for (size_t i = 0; i < n->vcpus.nr; i++) {
		const struct vcpu *v = &n->vcpus.all[i];

		for (int c = 0; c < HPCVM_GAPS && vcpu_owns(&v->now); c++) {
			printf("%u,%d,%llu,", v->now.vcpu, v->now.cpu, 1ull << c);
			if (last(c))
				printf("inf,%" PRIu64 "\n", gap(v, c));
			else
				printf("%llu,%" PRIu64 "\n", 2ull << c, gap(v, c));
		}
	}
}

/* JSON */

static struct json_object *exits_json(const struct vcpu *v)
{
	struct json_object *o = json_object_new_object();

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		json_add(o, kinds[k].name, rate_json(exits(v, &kinds[k])));
	return o;
}

static struct json_object *gaps_json(const struct vcpu *v)
{
	struct json_object *all = json_object_new_array();

	for (int c = 0; c < HPCVM_GAPS; c++) {
		struct json_object *o;

		if (!gap(v, c))
			continue;
		o = json_object_new_object();
		json_add_u64(o, "from_ns", 1ull << c);
		json_add(o, "to_ns", last(c) ? NULL : json_object_new_uint64(2ull << c));
		json_add_u64(o, "count", gap(v, c));
		json_object_array_add(all, o);
	}
	return all;
}

static struct json_object *vcpu_json(const struct vcpu *v)
{
	const struct hpcvm_vcpu_stats *a = &v->then, *b = &v->now;
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "vcpu", b->vcpu);
	json_add(o, "cpu", vcpu_owns(b) ? json_object_new_int(b->cpu) : NULL);
	json_add_u64(o, "counted_ns", vcpu_counted_ns(v));
	json_add(o, "since_claim", json_object_new_boolean(vcpu_owns(b) && v->anew));
	json_add(o, "ticks_per_s", rate_json(vcpu_rate(v, a->timer_irqs, b->timer_irqs)));
	json_add(o, "all_irqs_per_s", rate_json(vcpu_rate(v, a->all_irqs, b->all_irqs)));
	json_add(o, "guest_percent", rate_json(vcpu_shares(v).guest));
	json_add(o, "hypervisor_percent", rate_json(vcpu_shares(v).hypervisor));
	json_add(o, "out_percent", rate_json(vcpu_shares(v).out));
	json_add(o, "exits_per_s", exits_json(v));
	json_add_u64(o, "preempted", b->preempted - a->preempted);
	json_add_u64(o, "preempted_ns", b->preempted_ns - a->preempted_ns);
	json_add_u64(o, "preempted_longest_ns", b->preempted_longest_ns);
	json_add(o, "gaps", gaps_json(v));
	return o;
}

static struct json_object *to_json(const struct noise *n)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < n->vcpus.nr; i++)
		json_object_array_add(all, vcpu_json(&n->vcpus.all[i]));
	return all;
}

static int measure(struct noise *n, const struct domain *d)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;

	if (vcpus_measure(&n->vcpus, d->info, d->vm, n->seconds, &e)) {
		report_error(&n->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		return EXIT_TROUBLE;
	}
	json_add(n->report.root, "vcpus", to_json(n));
	if (n->csv) {
		print_csv(n);
		note_all(n);
		return EXIT_HOLDS;
	}
	domain_headline(d, &n->report);
	if (n->vcpus.nr) {
		print_times(n);
		print_cores(n);
		print_exits(n);
	}
	note_all(n);
	print_gaps(n);
	return EXIT_HOLDS;
}

static const struct option long_options[] = {
	{ "seconds", required_argument, NULL, 's' },
	{ "csv", no_argument, NULL, 'c' },
	{ 0 },
};

static bool take_option(int c, const char *value, void *to)
{
	struct noise *n = to;

	if (c == 's')
		return parse_number(value, 86400, &n->seconds);
	n->csv = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct noise n = { .seconds = 10 };
	struct domain domain;
	int status, first;
	bool json;

	first = parse_options(self, argc, argv, &json, long_options, take_option, &n, &status);
	if (first < 0)
		return status;
	if (json && n.csv)
		return usage_error(self, "take one of --csv and --json");
	if (!one_domain(self, argc - first))
		return EXIT_TROUBLE;

	report_begin(&n.report, json, 0);
	n.notes = json_object_new_array();
	json_add(n.report.root, "domain", NULL);
	json_add(n.report.root, "vcpus", NULL);
	json_add(n.report.root, "notes", n.notes);
	status = EXIT_TROUBLE;
	if (domain_open(&domain, argv[first], &n.report, vcpus_open))
		status = measure(&n, &domain);
	vcpus_free(&n.vcpus);
	domain_close(&domain);
	return report_end(&n.report, status);
}

const struct command cmd_noise = {
	.name = "noise",
	.args = "[--csv|--json] [--seconds N] DOMAIN|UUID|ID",
	.summary = "measure what disturbs a VM's vCPUs on their cores",
	.help = "Count for some seconds what takes time from a VM's vCPUs: how much of it went to\n"
		"the guest, to the hypervisor, and to others while the vCPU was scheduled out;\n"
		"timer and all interrupts of their cores, exits from the guest by kind, and\n"
		"preemptions, with a histogram of how long these were. The VM is called by its\n"
		"libvirt name, its UUID or its id in hpcvm list.\n\n"
		"      --csv        print the preemptions only, a line for each class and vCPU\n"
		"      --json       print JSON\n"
		"      --seconds N  count for so long (10); 0: take what was counted since the\n"
		"                   vCPUs have had their cores\n\n"
		"Exits 0 whatever was counted, 2 if it could not look: no such VM, not\n"
		"permitted, the VM has ended meanwhile, wrong usage.\n",
	.run = run,
};
