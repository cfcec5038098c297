// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm proof, cores: each vCPU owns a core, runs nowhere else, and has been
 * there all the time.
 *
 * What comes to pass on a core is counted by the module and by the kernel. Two
 * looks some seconds apart give rates; with no time between them, the rates
 * are those since the vCPU has had this core.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tool.h"

struct core {
	struct hpcvm_vcpu_stats then, now;
	double ticks, irqs;		/* a second */
};

struct cores {
	const struct proof *p;
	size_t nr;
	struct core *all;
	size_t without, ended;
	uint64_t migrations, drifts;
};

static bool owns(const struct hpcvm_vcpu_stats *s)
{
	return s->cpu != HPCVM_CPU_ANY;
}

static bool exclusive(const struct hpcvm_vcpu_stats *s)
{
	return owns(s) && !(s->claim & HPCVM_CLAIM_SIBLING);
}

static const char *tick_word(const struct hpcvm_vcpu_stats *s)
{
	if (!owns(s))
		return NULL;
	switch (s->tick) {
	case HPCVM_TICK_KEPT:
		return "kept";
	case HPCVM_TICK_NOHZ_FULL:
		return "nohz_full";
	case HPCVM_TICK_THIN:
		return "thin";
	}
	return "unknown";
}

static const char *why_word(const struct hpcvm_vcpu_stats *s)
{
	if (!owns(s))
		return NULL;
	switch ((enum hpcvm_tick_why)s->tick_why) {
	case HPCVM_TICK_WHY_NONE:
		return NULL;
	case HPCVM_TICK_WHY_ASKED:
		return "as asked";
	case HPCVM_TICK_WHY_NOT_NOHZ_FULL:
		return "the core was not booted with nohz_full";
	case HPCVM_TICK_WHY_THIN_OFF:
		return "tick thinning is not switched on for this node";
	case HPCVM_TICK_WHY_TSC:
		return "the TSC is unstable";
	case HPCVM_TICK_WHY_PROBE:
		return "the kernel takes no probe of its tick";
	case HPCVM_TICK_WHY_NO_KEEPER:
		return "no CPU is unclaimed, and one must do the node's duties";
	case HPCVM_TICK_WHY_DUTY:
		return "the core does a duty for the node just now";
	}
	return "for a reason that this program does not know";
}

/* Is the core on a NUMA node where the VM's memory was seen? */
static bool local(const struct proof *p, const struct hpcvm_vcpu_stats *s)
{
	return s->node >= 0 && p->memory_nodes >> (s->node < 63 ? s->node : 63) & 1;
}

static double per_second(uint64_t n, uint64_t ns)
{
	return ns ? n * 1e9 / ns : 0;
}

static void rate(struct core *c)
{
	const struct hpcvm_vcpu_stats *a = &c->then, *b = &c->now;
	static const struct hpcvm_vcpu_stats begin;

	/* All begins anew when it comes to another core. */
	if (a->cpu != b->cpu || a->moves != b->moves || a->owned_ns >= b->owned_ns)
		a = &begin;
	c->ticks = per_second(b->timer_irqs - a->timer_irqs, b->owned_ns - a->owned_ns);
	c->irqs = per_second(b->all_irqs - a->all_irqs, b->owned_ns - a->owned_ns);
}

static void add_up(struct cores *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->all[i].now;

		rate(&t->all[i]);
		t->ended += !s->tid;
		t->without += s->tid && !owns(s);
		t->migrations += s->migrations;
		t->drifts += s->drifts;
	}
}

/* Two looks at each vCPU. */
static int measure(struct cores *t, struct hpcvm_error *e)
{
	const struct vm *vm = t->p->info;
	struct timespec pause = { .tv_sec = t->p->seconds };
	int ret = 0;

	t->all = calloc(vm->nr_vcpus + 1, sizeof(*t->all));
	if (!t->all)
		abort();
	for (size_t i = 0; i < vm->nr_vcpus && !ret; i++)
		ret = hpcvm_vcpu_stats(t->p->vm, vm->vcpus[i].id, &t->all[i].then, e);
	if (!ret && vm->nr_vcpus && t->p->seconds)
		nanosleep(&pause, NULL);
	for (size_t i = 0; i < vm->nr_vcpus && !ret; i++)
		ret = hpcvm_vcpu_stats(t->p->vm, vm->vcpus[i].id, &t->all[i].now, e);
	t->nr = vm->nr_vcpus;
	return ret;
}

static void print(const struct report *r, const struct cores *t)
{
	size_t alone = 0, quiet = 0, near = 0;

	if (!t->nr) {
		report_line(r, MARK_NOTE, "each vCPU owns a core",
			    "none promised: the guest has not run yet, or has cores=off");
		return;
	}
	for (size_t i = 0; i < t->nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->all[i].now;

		alone += exclusive(s);
		quiet += owns(s) && s->tick != HPCVM_TICK_KEPT;
		near += owns(s) && local(t->p, s);
	}
	report_line(r, t->without + t->ended ? MARK_NO : MARK_YES, "each vCPU owns a core",
		    "%zu of %zu, %zu of them exclusively", t->nr - t->without - t->ended, t->nr, alone);
	report_line(r, t->migrations + t->drifts ? MARK_NO : MARK_YES, "none was taken from its core",
		    "%" PRIu64 " migrations, %" PRIu64 " changes of affinity put back",
		    t->migrations, t->drifts);
	report_line(r, quiet == t->nr ? MARK_YES : MARK_NOTE, "the cores' ticks are suppressed",
		    "%zu of %zu", quiet, t->nr);
	report_line(r, near == t->nr ? MARK_YES : MARK_NOTE, "cores are on the memory's NUMA nodes",
		    "%zu of %zu", near, t->nr);
}

static void print_cores(const struct report *r, const struct cores *t)
{
	if (!t->nr)
		return;
	report_text(r, "\n  %-5s %-5s %-5s %-10s %-10s %-10s %-10s %-11s %-10s %s\n", "VCPU", "CPU",
		    "NODE", "EXCLUSIVE", "TICK", "TICKS/S", "IRQS/S", "MIGRATIONS", "PREEMPTED",
		    "WHY NOT QUIETER");
	for (size_t i = 0; i < t->nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->all[i].now;
		const char *why = why_word(s);
		char cpu[16] = "none", node[16] = "-";

		if (owns(s))
			snprintf(cpu, sizeof(cpu), "%d", s->cpu);
		if (s->node != HPCVM_NODE_ANY)
			snprintf(node, sizeof(node), "%d", s->node);
		report_text(r, "  %-5u %-5s %-5s %-10s %-10s %-10.1f %-10.1f %-11llu %-10llu %s\n",
			    s->vcpu, cpu, node, exclusive(s) ? "yes" : "no",
			    tick_word(s) ?: "-", t->all[i].ticks, t->all[i].irqs, s->migrations,
			    s->preempted, why ?: "-");
	}
	report_text(r, "\n");
}

static void fail(struct report *r, const struct cores *t)
{
	for (size_t i = 0; i < t->nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->all[i].now;

		if (!s->tid)
			report_fail(r, "the thread of vCPU %u has ended", s->vcpu);
		else if (!owns(s))
			report_fail(r, "vCPU %u owns no core: it was given back, or its CPU went offline", s->vcpu);
		if (s->drifts)
			report_fail(r, "somebody has changed where vCPU %u may run, %llu times, and was put back",
				    s->vcpu, s->drifts);
		if (s->migrations)
			report_fail(r, "vCPU %u was taken from its core, CPU %d, %llu times", s->vcpu,
				    s->cpu, s->migrations);
	}
}

/* Two decimals, for more would say nothing. */
static struct json_object *rate_json(double rate)
{
	char s[32];

	snprintf(s, sizeof(s), "%.2f", rate);
	return json_object_new_double_s(rate, s);
}

static struct json_object *to_json(const struct cores *t)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < t->nr; i++) {
		const struct core *c = &t->all[i];
		const struct hpcvm_vcpu_stats *s = &c->now;
		struct json_object *o = json_object_new_object();

		json_add_u64(o, "vcpu", s->vcpu);
		json_add(o, "cpu", owns(s) ? json_object_new_int(s->cpu) : NULL);
		json_add(o, "node", s->node == HPCVM_NODE_ANY ? NULL : json_object_new_int(s->node));
		json_add(o, "exclusive", json_object_new_boolean(exclusive(s)));
		json_add(o, "local", owns(s) ? json_object_new_boolean(local(t->p, s)) : NULL);
		json_add_str(o, "tick_mode", tick_word(s));
		json_add_str(o, "tick_why", why_word(s));
		json_add(o, "ticks_per_s", rate_json(c->ticks));
		json_add(o, "all_irqs_per_s", rate_json(c->irqs));
		json_add_u64(o, "migrations", s->migrations);
		json_add_u64(o, "drifts", s->drifts);
		json_add_u64(o, "moves", s->moves);
		json_add_u64(o, "preempted", s->preempted);
		json_object_array_add(a, o);
	}
	return a;
}

struct json_object *proof_cores(struct proof *p)
{
	struct cores t = { .p = p };
	char sentence[HPCVM_SENTENCE_MAX];
	struct json_object *a = NULL;
	struct hpcvm_error e;

	if (measure(&t, &e)) {
		report_error(&p->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	} else {
		add_up(&t);
		print(&p->report, &t);
		print_cores(&p->report, &t);
		fail(&p->report, &t);
		a = to_json(&t);
	}
	free(t.all);
	return a;
}
