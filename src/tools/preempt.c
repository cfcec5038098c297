// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm preempt and hpcvm resume: all vCPUs of a VM together.
 *
 * libvirt stops the VM and lets it run on. Its QEMU, which owns the cores, lends
 * them while it is stopped, and claims them again before it runs: whoever says
 * "resume", and however this command may end.
 *
 * The module tells when each vCPU was run last, and when first.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tool.h"

#define PATIENCE_MS 10000

struct gang {
	struct report report;
	struct domain domain;
	bool keep;
	uint64_t begin;		/* of the command, by the clock of the module */
	struct vcpus vcpus;
	size_t done;		/* vCPUs that have stopped, or run, since */
	uint64_t skew;		/* from the first of them to the last, in ns */
};

static uint64_t began(const struct vcpu *v)
{
	return v->now.run_began_ns;
}

static uint64_t ended(const struct vcpu *v)
{
	return v->now.run_ended_ns;
}

/* Look at the vCPUs now; when() tells when each has done what is waited for. */
static bool look(struct gang *g, uint64_t (*when)(const struct vcpu *v))
{
	uint64_t first = UINT64_MAX, last = 0;
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;

	vcpus_free(&g->vcpus);
	if (vcpus_look(&g->vcpus, g->domain.info, g->domain.vm, &e)) {
		report_error(&g->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		return false;
	}
	g->done = 0;
	for (size_t i = 0; i < g->vcpus.nr; i++) {
		uint64_t t = when(&g->vcpus.all[i]);

		if (t < g->begin)
			continue;
		first = t < first ? t : first;
		last = t > last ? t : last;
		g->done++;
	}
	g->skew = g->done ? last - first : 0;
	return true;
}

static void tell(struct gang *g, const char *label, uint64_t (*when)(const struct vcpu *v))
{
	struct json_object *all = json_object_new_array();
	const struct report *r = &g->report;

	for (size_t i = 0; i < g->vcpus.nr; i++) {
		const struct vcpu *v = &g->vcpus.all[i];
		struct json_object *o = json_object_new_object();
		uint64_t t = when(v);

		json_add_u64(o, "vcpu", v->now.vcpu);
		json_add(o, "cpu", vcpu_owns(&v->now) ? json_object_new_int(v->now.cpu) : NULL);
		json_add(o, "at_ns", t >= g->begin ? json_object_new_uint64(t) : NULL);
		json_object_array_add(all, o);
	}
	json_add(r->root, "vcpus", all);
	json_add(r->root, "skew_ns", g->done > 1 ? json_object_new_uint64(g->skew) : NULL);

	domain_headline(&g->domain, r);
	if (g->done > 1)
		report_line(r, MARK_YES, label, "%zu of %zu, the last %" PRIu64 " us after the first",
			    g->done, g->vcpus.nr, g->skew / 1000);
	else if (g->vcpus.nr)
		report_line(r, MARK_YES, label, "%zu of %zu just now", g->done, g->vcpus.nr);
	else
		report_line(r, MARK_YES, label, "when is not known: they own no cores");
}

static void tell_cores(struct gang *g, enum mark mark, const char *label)
{
	const struct report *r = &g->report;
	char cpus[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < g->vcpus.nr && used < sizeof(cpus); i++)
		if (vcpu_owns(&g->vcpus.all[i].now))
			used += snprintf(cpus + used, sizeof(cpus) - used, "%s%d", used ? ", " : "",
					 g->vcpus.all[i].now.cpu);
	if (g->vcpus.nr)
		report_line(r, mark, label, "%s", used ? cpus : "none");
}

/* The machine type's; a QEMU that has no such thing says so. */
static bool lend(struct gang *g)
{
	struct json_object *reply, *error = NULL, *desc = NULL;
	bool done;
	char *text;

	text = virsh(&g->report, "qemu-monitor-command", g->domain.info->uuid,
		     "{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"/machine\","
		     " \"property\": \"lend-cores\", \"value\": true}}");
	if (!text)
		return false;
	reply = json_tokener_parse(text);
	done = reply && !json_object_object_get_ex(reply, "error", &error);
	if (error)
		json_object_object_get_ex(error, "desc", &desc);
	if (!done)
		report_error(&g->report, "%s", desc ? json_object_get_string(desc) : text);
	json_object_put(reply);
	free(text);
	return done;
}

static int preempt(struct gang *g)
{
	char *said = virsh(&g->report, "suspend", g->domain.info->uuid, NULL);
	bool lent;

	free(said);
	if (!said || !look(g, ended))
		return EXIT_TROUBLE;
	tell(g, "its vCPUs are stopped", ended);
	if (g->keep || !g->vcpus.nr) {
		tell_cores(g, MARK_NOTE, "its cores are kept");
		return EXIT_HOLDS;
	}
	lent = lend(g);
	json_add(g->report.root, "lent", json_object_new_boolean(lent));
	if (lent)
		tell_cores(g, MARK_YES, "its cores are lent");
	else
		tell_cores(g, MARK_NO, "its cores are kept");
	return lent ? EXIT_HOLDS : EXIT_BROKEN;
}

static int resume(struct gang *g)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	char *said = virsh(&g->report, "resume", g->domain.info->uuid, NULL);
	int ms = 0;

	free(said);
	if (!said)
		return EXIT_TROUBLE;
	do {
		nanosleep(&moment, NULL);
		if (!look(g, began))
			return EXIT_TROUBLE;
	} while (g->done < g->vcpus.nr && ms++ < PATIENCE_MS);
	tell(g, "its vCPUs run", began);
	tell_cores(g, MARK_YES, "its cores are its own");
	if (g->done == g->vcpus.nr)
		return EXIT_HOLDS;
	report_error(&g->report, "%zu of %zu vCPUs have not run yet", g->vcpus.nr - g->done,
		     g->vcpus.nr);
	return EXIT_BROKEN;
}

static bool is_domain(struct gang *g)
{
	if (!*g->domain.info->uuid)
		report_error(&g->report, "VM %" PRIu64 " has no UUID, so it is no domain of libvirt's",
			     g->domain.info->id);
	return *g->domain.info->uuid;
}

static bool take_option(int c, const char *value, void *to)
{
	(void)c;
	(void)value;
	((struct gang *)to)->keep = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv, const struct option *options,
	       int (*act)(struct gang *g))
{
	struct gang g = { .begin = clock_ns() };
	int status, first;
	bool json;

	first = parse_options(self, argc, argv, &json, options, take_option, &g, &status);
	if (first < 0)
		return status;
	if (!one_domain(self, argc - first))
		return EXIT_TROUBLE;

	report_begin(&g.report, json, 22);
	json_add(g.report.root, "domain", NULL);
	json_add(g.report.root, "vcpus", NULL);
	json_add(g.report.root, "skew_ns", NULL);
	status = EXIT_TROUBLE;
	if (domain_open(&g.domain, argv[first], &g.report, hpcvm_vm_open) && is_domain(&g))
		status = act(&g);
	vcpus_free(&g.vcpus);
	domain_close(&g.domain);
	return report_end(&g.report, status);
}

static int run_preempt(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = { { "keep", no_argument, NULL, 'k' }, { 0 } };

	return run(self, argc, argv, options, preempt);
}

static int run_resume(const struct command *self, int argc, char **argv)
{
	return run(self, argc, argv, NULL, resume);
}

const struct command cmd_preempt = {
	.name = "preempt",
	.args = "[--json] [--keep] DOMAIN|UUID|ID",
	.summary = "stop all vCPUs of a VM, and lend its cores",
	.help = "Stop all vCPUs of a VM together, so that something urgent can have its cores:\n"
		"a job of the node's, or another VM, which may claim them. The guest's clock\n"
		"stands still. hpcvm resume lets the VM run on. The VM is called by its libvirt\n"
		"name, its UUID or its id in hpcvm list.\n\n"
		"      --json  print JSON\n"
		"      --keep  the VM goes on owning its cores: no other VM gets them\n\n"
		"Exits 0 when that is done, 1 if the VM is stopped but keeps its cores against\n"
		"the wish, 2 if it was not stopped: no such VM, not permitted, no libvirt, wrong\n"
		"usage.\n",
	.run = run_preempt,
};

const struct command cmd_resume = {
	.name = "resume",
	.args = "[--json] DOMAIN|UUID|ID",
	.summary = "give a VM its cores back, and let it run on",
	.help = "Let a VM run on that hpcvm preempt has stopped. What it has lent it gets back\n"
		"first, each vCPU its own core; if another VM owns one of them, this VM stays\n"
		"stopped. virsh resume does the same.\n\n"
		"      --json  print JSON\n\n"
		"Exits 0 when all vCPUs run, 1 if some have not yet, 2 if the VM stays stopped: a\n"
		"core is another's; no such VM, not permitted, no libvirt, wrong usage.\n",
	.run = run_resume,
};
