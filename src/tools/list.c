// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm list: the VMs in hpcvm's charge.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

static struct json_object *to_json(const struct vm *vm)
{
	struct json_object *o = vm_identity(vm), *slots = json_object_new_array();
	struct json_object *vcpus = json_object_new_array();

	json_add_u64(o, "pid", vm->pid);
	json_add_u64(o, "uid", vm->uid);
	json_add_u64(o, "ram_bytes", vm_ram_bytes(vm));
	if (vm->counted) {
		json_add_u64(o, "kvm_pages_4k", vm->kvm_pages_4k);
		json_add_u64(o, "kvm_pages_2m", vm->kvm_pages_2m);
		json_add_u64(o, "kvm_pages_1g", vm->kvm_pages_1g);
	}
	for (size_t i = 0; i < vm->nr_slots; i++) {
		const struct vm_slot *s = &vm->slots[i];
		struct json_object *slot = json_object_new_object();

		json_add_u64(slot, "gpa", s->gpa);
		json_add_u64(slot, "length", s->length);
		json_add_u64(slot, "offset", s->offset);
		json_add_u64(slot, "page_size", s->page_size);
		json_add(slot, "node", s->node == HPCVM_NODE_ANY ? NULL :
				       json_object_new_int64(s->node));
		json_object_array_add(slots, slot);
	}
	json_add(o, "slots", slots);
	for (size_t i = 0; i < vm->nr_vcpus; i++) {
		const struct vm_vcpu *v = &vm->vcpus[i];
		struct json_object *vcpu = json_object_new_object();

		json_add_u64(vcpu, "vcpu", v->id);
		json_add(vcpu, "cpu", v->cpu == HPCVM_CPU_ANY ? NULL : json_object_new_int64(v->cpu));
		json_object_array_add(vcpus, vcpu);
	}
	json_add(o, "vcpus", vcpus);
	return o;
}

/* The CPUs that its vCPUs own, in the vCPUs' order: "1,2,3" */
static void cpus_to_text(const struct report *r, const struct vm *vm)
{
	const char *sep = " ";

	for (size_t i = 0; i < vm->nr_vcpus; i++) {
		if (vm->vcpus[i].cpu == HPCVM_CPU_ANY)
			report_text(r, "%s-", sep);
		else
			report_text(r, "%s%" PRId64, sep, vm->vcpus[i].cpu);
		sep = ",";
	}
	report_text(r, "%s\n", vm->nr_vcpus ? "" : " -");
}

static void to_text(const struct report *r, const struct vm *vm, int width)
{
	report_text(r, "%-5" PRIu64 " %-*s %-36s %-8" PRIu64 " %-6" PRIu64 " %-10s",
		    vm->id, width, *vm->name ? vm->name : "-",
		    *vm->uuid ? vm->uuid : "-", vm->pid, vm->uid,
		    size_word(vm_ram_bytes(vm)).s);
	if (vm->counted)
		report_text(r, " %-8" PRIu64 " %-8" PRIu64 " %-8" PRIu64, vm->kvm_pages_4k,
			    vm->kvm_pages_2m, vm->kvm_pages_1g);
	else
		report_text(r, " %-8s %-8s %-8s", "-", "-", "-");
	cpus_to_text(r, vm);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct json_object *all = json_object_new_array();
	char sentence[HPCVM_SENTENCE_MAX];
	struct report r;
	struct vm *vms;
	int status, first, nr, width = 4;
	bool json;

	first = parse_options(self, argc, argv, &json, NULL, NULL, NULL, &status);
	if (first < 0 || first < argc) {
		json_object_put(all);
		return first < 0 ? status : usage_error(self, "it takes no operand");
	}

	report_begin(&r, json, 0);
	status = EXIT_HOLDS;
	nr = vms_load(&vms);
	if (nr < 0) {
		struct hpcvm_error e = { .err = ENOENT, .node = HPCVM_NODE_ANY };

		report_error(&r, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		status = EXIT_BROKEN;
	} else {
		for (int i = 0; i < nr; i++)
			if ((int)strlen(vms[i].name) > width)
				width = strlen(vms[i].name);
		report_text(&r, "%-5s %-*s %-36s %-8s %-6s %-10s %-8s %-8s %-8s %s\n", "ID",
			    width, "NAME", "UUID", "PID", "UID", "RAM", "4K", "2M", "1G", "CPUS");
		for (int i = 0; i < nr; i++) {
			to_text(&r, &vms[i], width);
			json_object_array_add(all, to_json(&vms[i]));
		}
		vms_free(vms, nr);
	}
	json_add(r.root, "vms", all);
	return report_end(&r, status);
}

const struct command cmd_list = {
	.name = "list",
	.args = "[--json]",
	.summary = "the VMs in hpcvm's charge",
	.help = "List the VMs in hpcvm's charge: id, name, UUID, process, owner, RAM from\n"
		"hpcvm, how many pages of each size KVM maps for them now, and the CPUs that\n"
		"their vCPUs own.\n\n"
		"      --json  print JSON, with each VM's memory slots and vCPUs\n\n"
		"Exits 0, also if there is no VM; 1 if the module is not loaded; 2 on wrong\n"
		"usage.\n",
	.run = run,
};
