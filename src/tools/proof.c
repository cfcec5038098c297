// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm proof: does each promise to a VM hold now?
 *
 * One section for each kind of promise, in a file of its own. What a section
 * says comes from the module, which looks at the kernel's own tables and
 * counters at the time of asking.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const struct section {
	const char *name;	/* its key in the JSON */
	struct json_object *(*look)(struct proof *p);
} sections[] = {
	{ "memory", proof_memory },
};

/* Everything that can go wrong before there is something to prove. */
static int prove(struct proof *p, const struct vm *vms, int nr, int dev, const char *what)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;
	int status = EXIT_TROUBLE;

	p->info = vms_find(vms, nr, what, &p->report);
	if (!p->info)
		return status;
	json_add(p->report.root, "domain", vm_identity(p->info));

	p->vm = hpcvm_vm_open(dev, p->info->id, &e);
	if (p->vm >= 0 && !hpcvm_query(p->vm, &p->query, &e)) {
		report_text(&p->report, "VM %" PRIu64 ", %s, %s\n", p->info->id,
			    *p->info->name ? p->info->name : "without a name",
			    *p->info->uuid ? p->info->uuid : "without a UUID");
		status = EXIT_HOLDS;
		for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
			struct json_object *o = sections[i].look(p);

			json_add(p->report.root, sections[i].name, o);
			if (!o)
				status = EXIT_TROUBLE;
		}
	} else {
		report_error(&p->report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	}
	if (p->vm >= 0)
		close(p->vm);
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

static int run(const struct command *self, int argc, char **argv)
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct proof p = { .vm = -1 };
	struct hpcvm_error e;
	struct vm *vms = NULL;
	int status, first, dev, nr;
	bool json;

	first = parse_options(self, argc, argv, &json, &status);
	if (first < 0)
		return status;
	if (first == argc)
		return usage_error(self, "say which VM: its name, UUID or id");
	if (first + 1 < argc)
		return usage_error(self, "it takes one VM at a time");

	report_begin(&p.report, json, 51);
	/* Keys that are there however this ends. */
	json_add(p.report.root, "domain", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		json_add(p.report.root, sections[i].name, NULL);

	status = EXIT_TROUBLE;
	dev = hpcvm_open(&e);
	if (dev < 0) {
		report_error(&p.report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	} else {
		nr = vms_load(&vms);
		if (nr < 0)
			report_error(&p.report, "there is no %s: is sysfs mounted?", HPCVM_SYSFS "/vms");
		else
			status = prove(&p, vms, nr, dev, argv[first]);
		conclude(&p.report, status);
		vms_free(vms, nr);
		close(dev);
	}
	return report_end(&p.report, status);
}

const struct command cmd_proof = {
	.name = "proof",
	.args = "[--json] DOMAIN|UUID|ID",
	.summary = "show whether each promise to a VM holds now",
	.help = "Look at a VM's memory as it is now, in the node's page tables and in KVM's\n"
		"memory slots and counters, and show which promises hold. The VM is called\n"
		"by its libvirt name, its UUID or its id in hpcvm list.\n\n"
		"      --json  print JSON\n\n"
		"Exits 0 if each promise holds, 1 if one is broken, 2 if it could not look:\n"
		"no such VM, not permitted, wrong usage.\n",
	.run = run,
};
