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

#include "tool.h"

struct cores {
	const struct proof *p;
	struct vcpus vcpus;
	size_t without, ended;
	uint64_t migrations, drifts;
};

static bool exclusive(const struct hpcvm_vcpu_stats *s)
{
	return vcpu_owns(s) && !(s->claim & HPCVM_CLAIM_SIBLING);
}

static const char *why_word(const struct hpcvm_vcpu_stats *s)
{
	if (!vcpu_owns(s))
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

static double ticks(const struct vcpu *v)
{
	return vcpu_owns(&v->now) ? vcpu_rate(v, v->then.timer_irqs, v->now.timer_irqs) : 0;
}

static double irqs(const struct vcpu *v)
{
	return vcpu_owns(&v->now) ? vcpu_rate(v, v->then.all_irqs, v->now.all_irqs) : 0;
}

static void add_up(struct cores *t)
{
	for (size_t i = 0; i < t->vcpus.nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->vcpus.all[i].now;

		t->ended += !s->tid;
		t->without += s->tid && !vcpu_owns(s);
		t->migrations += s->migrations;
		t->drifts += s->drifts;
	}
}

static void print(const struct report *r, const struct cores *t)
{
	size_t n = t->vcpus.nr, alone = 0, quiet = 0, near = 0;

	if (!n) {
		report_line(r, MARK_NOTE, "each vCPU owns a core",
			    "none promised: the guest has not run yet, or has cores=off");
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct hpcvm_vcpu_stats *s = &t->vcpus.all[i].now;

		alone += exclusive(s);
		quiet += vcpu_owns(s) && s->tick != HPCVM_TICK_KEPT;
		near += vcpu_owns(s) && local(t->p, s);
	}
	report_line(r, t->without + t->ended ? MARK_NO : MARK_YES, "each vCPU owns a core",
		    "%zu of %zu, %zu of them exclusively", n - t->without - t->ended, n, alone);
	report_line(r, t->migrations + t->drifts ? MARK_NO : MARK_YES, "none was taken from its core",
		    "%" PRIu64 " migrations, %" PRIu64 " changes of affinity put back",
		    t->migrations, t->drifts);
	report_line(r, quiet == n ? MARK_YES : MARK_NOTE, "the cores' ticks are suppressed",
		    "%zu of %zu", quiet, n);
	report_line(r, near == n ? MARK_YES : MARK_NOTE, "cores are on the memory's NUMA nodes",
		    "%zu of %zu", near, n);
}

static void print_cores(const struct report *r, const struct cores *t)
{
	if (!t->vcpus.nr)
		return;
	report_text(r, "\n  %-5s %-5s %-5s %-10s %-10s %-10s %-10s %-11s %-10s %s\n", "VCPU", "CPU",
		    "NODE", "EXCLUSIVE", "TICK", "TICKS/S", "IRQS/S", "MIGRATIONS", "PREEMPTED",
		    "WHY NOT QUIETER");
	for (size_t i = 0; i < t->vcpus.nr; i++) {
		const struct vcpu *v = &t->vcpus.all[i];
		const struct hpcvm_vcpu_stats *s = &v->now;
		const char *why = why_word(s);
		char cpu[16] = "none", node[16] = "-";

		if (vcpu_owns(s))
			snprintf(cpu, sizeof(cpu), "%d", s->cpu);
		if (s->node != HPCVM_NODE_ANY)
			snprintf(node, sizeof(node), "%d", s->node);
		report_text(r, "  %-5u %-5s %-5s %-10s %-10s %-10s %-10s %-11llu %-10llu %s\n",
			    s->vcpu, cpu, node, exclusive(s) ? "yes" : "no",
			    vcpu_tick_word(s) ?: "-", rate_word(ticks(v)).s,
			    rate_word(irqs(v)).s, s->migrations, s->preempted, why ?: "-");
	}
	report_text(r, "\n");
}

static void fail(struct report *r, const struct cores *t)
{
	for (size_t i = 0; i < t->vcpus.nr; i++) {
		const struct hpcvm_vcpu_stats *s = &t->vcpus.all[i].now;

		if (!s->tid)
			report_fail(r, "the thread of vCPU %u has ended", s->vcpu);
		else if (!vcpu_owns(s))
			report_fail(r, "vCPU %u owns no core: it is lent (hpcvm resume gets it back), or its CPU went offline", s->vcpu);
		if (s->drifts)
			report_fail(r, "somebody has changed where vCPU %u may run, %llu times, and was put back",
				    s->vcpu, s->drifts);
		if (s->migrations)
			report_fail(r, "vCPU %u was taken from its core, CPU %d, %llu times", s->vcpu,
				    s->cpu, s->migrations);
	}
}

static struct json_object *to_json(const struct cores *t)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; i < t->vcpus.nr; i++) {
		const struct vcpu *v = &t->vcpus.all[i];
		const struct hpcvm_vcpu_stats *s = &v->now;
		struct json_object *o = json_object_new_object();

		json_add_u64(o, "vcpu", s->vcpu);
		json_add(o, "cpu", vcpu_owns(s) ? json_object_new_int(s->cpu) : NULL);
		json_add(o, "node", s->node == HPCVM_NODE_ANY ? NULL : json_object_new_int(s->node));
		json_add(o, "exclusive", json_object_new_boolean(exclusive(s)));
		json_add(o, "local", vcpu_owns(s) ? json_object_new_boolean(local(t->p, s)) : NULL);
		json_add_str(o, "tick_mode", vcpu_tick_word(s));
		json_add_str(o, "tick_why", why_word(s));
		json_add(o, "ticks_per_s", rate_json(ticks(v)));
		json_add(o, "all_irqs_per_s", rate_json(irqs(v)));
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

	if (vcpus_measure(&t.vcpus, p->info, p->vm, p->seconds, &e)) {
		report_error(&p->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	} else {
		add_up(&t);
		print(&p->report, &t);
		print_cores(&p->report, &t);
		fail(&p->report, &t);
		a = to_json(&t);
	}
	vcpus_free(&t.vcpus);
	return a;
}
