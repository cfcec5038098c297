// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm top: all VMs' vCPUs on their cores, again and again.
 *
 * What the first look shows is counted since the vCPUs came to their cores; each
 * later one counts from the one before it on.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

struct top {
	struct report report;
	int dev;
	uint64_t seconds;
	bool once;
};

/* All that was seen at one time. */
struct view {
	struct vm *vms;
	int nr;
	struct vcpus vcpus;
	int *handles;		/* on those that were looked at; -1: on none */
	size_t hidden;		/* VMs of other users */
	uint64_t seconds;	/* since the view before it; 0: there is none */
};

static void drop(struct view *w)
{
	vcpus_free(&w->vcpus);
	for (int i = 0; i < w->nr; i++)
		if (w->handles[i] >= 0)
			close(w->handles[i]);
	free(w->handles);
	vms_free(w->vms, w->nr);
	*w = (struct view){ 0 };
}

/* Of a VM that is not there any more. */
static bool ended(const struct hpcvm_error *e)
{
	return e->reason == HPCVM_REASON_VM_UNKNOWN || e->reason == HPCVM_REASON_VM_GONE;
}

/* The handle stays until there is a later view: times are counted for as long. */
static int look_at(const struct top *t, struct view *w, int i, struct hpcvm_error *e)
{
	int ret;

	w->handles[i] = vcpus_open(t->dev, w->vms[i].id, e);
	if (w->handles[i] < 0) {
		w->hidden += e->reason == HPCVM_REASON_NOT_PERMITTED;
		return ended(e) || e->reason == HPCVM_REASON_NOT_PERMITTED ? 0 : w->handles[i];
	}
	ret = vcpus_look(&w->vcpus, &w->vms[i], w->handles[i], e);
	return ret && !ended(e) ? ret : 0;
}

/* False after having said why. */
static bool look(struct top *t, struct view *w)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;

	*w = (struct view){ 0 };
	w->nr = vms_load(&w->vms);
	if (w->nr < 0) {
		report_error(&t->report, "there is no %s: is sysfs mounted?", HPCVM_SYSFS "/vms");
		w->nr = 0;
		return false;
	}
	w->handles = calloc(w->nr + 1, sizeof(*w->handles));
	if (!w->handles)
		abort();
	for (int i = 0; i < w->nr; i++)
		w->handles[i] = -1;
	for (int i = 0; i < w->nr; i++)
		if (w->vms[i].nr_vcpus && look_at(t, w, i, &e)) {
			report_error(&t->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
			return false;
		}
	return true;
}

/* The next view, a while after @w, which it replaces. */
static bool look_again(struct top *t, struct view *w)
{
	struct timespec pause = { .tv_sec = t->seconds };
	struct view now;
	bool ok;

	nanosleep(&pause, NULL);
	ok = look(t, &now);
	vcpus_since(&now.vcpus, &w->vcpus);
	now.seconds = t->seconds;
	drop(w);
	*w = now;
	return ok;
}

struct rates {
	double ticks, irqs, exits, preempted;
};

static struct rates rates(const struct vcpu *v)
{
	const struct hpcvm_vcpu_stats *a = &v->then, *b = &v->now;

	return (struct rates){
		.ticks = vcpu_rate(v, a->timer_irqs, b->timer_irqs),
		.irqs = vcpu_rate(v, a->all_irqs, b->all_irqs),
		.exits = vcpu_exit_rate(v, a->exits, b->exits),
		.preempted = vcpu_rate(v, a->preempted, b->preempted),
	};
}

/* Name, or id of what has none. */
struct vm_word {
	char s[HPCVM_NAME_MAX];
};

static struct vm_word vm_word(const struct vm *vm)
{
	struct vm_word w;

	if (*vm->name)
		memcpy(w.s, vm->name, sizeof(w.s));
	else
		snprintf(w.s, sizeof(w.s), "%" PRIu64, vm->id);
	return w;
}

static void print_head(const struct report *r, const struct view *w)
{
	if (w->seconds)
		report_text(r, "%zu vCPUs, in %" PRIu64 " s", w->vcpus.nr, w->seconds);
	else
		report_text(r, "%zu vCPUs, since they came to their cores", w->vcpus.nr);
	if (w->hidden)
		report_text(r, "; %zu VM%s of other users not shown", w->hidden,
			    w->hidden == 1 ? "" : "s");
	report_text(r, "\n");
}

static void print_vcpu(const struct report *r, const struct vcpu *v, int width)
{
	const struct hpcvm_vcpu_stats *s = &v->now;
	struct shares share = vcpu_shares(v);
	struct rates rate = rates(v);
	char cpu[16] = "none";

	if (vcpu_owns(s))
		snprintf(cpu, sizeof(cpu), "%d", s->cpu);
	report_text(r, "%-*s %-5u %-5s %-7s %-6s %-6s %-10s %-9s %-9s %-9s %-11s %-10llu %llu\n",
		    width, vm_word(v->vm).s, s->vcpu, cpu, rate_word(share.guest).s,
		    rate_word(share.hypervisor).s, rate_word(share.out).s, vcpu_tick_word(s) ?: "-",
		    rate_word(rate.ticks).s, rate_word(rate.irqs).s, rate_word(rate.exits).s,
		    rate_word(rate.preempted).s, s->migrations, s->drifts);
}

static void print(const struct report *r, const struct view *w, size_t room)
{
	size_t n = w->vcpus.nr <= room ? w->vcpus.nr : room - 1;
	int width = 4;

	for (size_t i = 0; i < w->vcpus.nr; i++)
		if ((int)strlen(vm_word(w->vcpus.all[i].vm).s) > width)
			width = strlen(vm_word(w->vcpus.all[i].vm).s);
	print_head(r, w);
	report_text(r, "%-*s %-5s %-5s %-7s %-6s %-6s %-10s %-9s %-9s %-9s %-11s %-10s %s\n",
		    width, "VM", "VCPU", "CPU", "GUEST%", "HYP%", "OUT%", "TICK", "TICKS/S",
		    "IRQS/S", "EXITS/S", "PREEMPTED/S", "MIGRATIONS", "DRIFTS");
	for (size_t i = 0; i < n; i++)
		print_vcpu(r, &w->vcpus.all[i], width);
	if (n < w->vcpus.nr)
		report_text(r, "... and %zu more\n", w->vcpus.nr - n);
}

static struct json_object *vcpu_json(const struct vcpu *v)
{
	struct json_object *o = json_object_new_object();
	const struct hpcvm_vcpu_stats *s = &v->now;
	struct shares share = vcpu_shares(v);
	struct rates rate = rates(v);

	json_add(o, "domain", vm_identity(v->vm));
	json_add_u64(o, "vcpu", s->vcpu);
	json_add(o, "cpu", vcpu_owns(s) ? json_object_new_int(s->cpu) : NULL);
	json_add_str(o, "tick_mode", vcpu_tick_word(s));
	json_add(o, "guest_percent", rate_json(share.guest));
	json_add(o, "hypervisor_percent", rate_json(share.hypervisor));
	json_add(o, "out_percent", rate_json(share.out));
	json_add(o, "ticks_per_s", rate_json(rate.ticks));
	json_add(o, "all_irqs_per_s", rate_json(rate.irqs));
	json_add(o, "exits_per_s", rate_json(rate.exits));
	json_add(o, "preempted_per_s", rate_json(rate.preempted));
	json_add_u64(o, "migrations", s->migrations);
	json_add_u64(o, "drifts", s->drifts);
	return o;
}

static bool show_once(struct top *t, struct view *w)
{
	struct json_object *all;

	if (!look_again(t, w))
		return false;
	print(&t->report, w, SIZE_MAX);
	all = json_object_new_array();
	for (size_t i = 0; i < w->vcpus.nr; i++)
		json_object_array_add(all, vcpu_json(&w->vcpus.all[i]));
	json_add(t->report.root, "vcpus", all);
	json_add_u64(t->report.root, "hidden", w->hidden);
	return true;
}

/* Until it fails, for Ctrl-C ends the process. */
static void show_for_ever(struct top *t, struct view *w)
{
	enum { LINES_ABOVE = 2, LINES_BELOW = 1, ROOM_MIN = 2 };

	/* a screen is written at once */
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	do {
		int room = terminal_size().rows - LINES_ABOVE - LINES_BELOW;

		fputs("\033[H\033[2J", stdout);
		print(&t->report, w, room > ROOM_MIN ? room : ROOM_MIN);
	} while (!fflush(stdout) && look_again(t, w));
}

static bool show(struct top *t)
{
	struct view w;
	bool ok = look(t, &w);

	if (ok && t->once)
		ok = show_once(t, &w);
	else if (ok)
		show_for_ever(t, &w);
	drop(&w);
	return ok && t->once;
}

static const struct option long_options[] = {
	{ "seconds", required_argument, NULL, 's' },
	{ "once", no_argument, NULL, 'o' },
	{ 0 },
};

static bool take_option(int c, const char *value, void *to)
{
	struct top *t = to;

	if (c == 's')
		return parse_number(value, 86400, &t->seconds) && t->seconds;
	t->once = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct top t = { .seconds = 2 };
	int status = EXIT_TROUBLE, first;
	struct hpcvm_error e;
	bool json;

	first = parse_options(self, argc, argv, &json, long_options, take_option, &t, &status);
	if (first < 0)
		return status;
	if (first < argc)
		return usage_error(self, "it takes no operand");

	t.once |= json || !isatty(STDOUT_FILENO);
	report_begin(&t.report, json, 0);
	json_add(t.report.root, "vcpus", NULL);
	t.dev = hpcvm_open(&e);
	if (t.dev < 0) {
		report_error(&t.report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	} else {
		if (show(&t))
			status = EXIT_HOLDS;
		close(t.dev);
	}
	return report_end(&t.report, status);
}

const struct command cmd_top = {
	.name = "top",
	.args = "[--once|--json] [--seconds N]",
	.summary = "watch the vCPUs of all VMs on their cores",
	.help = "Show a line for each vCPU of each VM that the caller may look at: its CPU, how\n"
		"much of its time goes to the guest, to the hypervisor, and to others while it\n"
		"is scheduled out, in percent; what becomes of the tick there, timer and all\n"
		"interrupts, exits and preemptions a second, and migrations and changes of\n"
		"affinity put back since it came to this core. Ctrl-C ends it.\n\n"
		"      --json       print JSON, once\n"
		"      --once       print it once, as also if stdout is no terminal\n"
		"      --seconds N  count for so long each time (2)\n\n"
		"Exits 0, also if there is no VM; 2 if it could not look: module not loaded,\n"
		"not permitted, wrong usage.\n",
	.run = run,
};
