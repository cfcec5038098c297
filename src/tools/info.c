// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm info: what this node can do, and what to do about what it cannot.
 *
 * A cross is something without which no guest keeps its promises here; it
 * makes the command fail. A dot is something that a guest may go without.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

struct info {
	struct report report;
	struct json_object *node, *notes;
	struct hpcvm_query query;
};

/* One fact: a line of text, and if it is no tick, a sentence in the JSON. */
static void fact(struct info *in, enum mark mark, const char *label,
		 const char *sentence)
{
	report_line(&in->report, mark, label, "%s", sentence);
	if (mark == MARK_NO)
		report_fail(&in->report, "%s", sentence);
	else if (mark == MARK_NOTE)
		json_object_array_add(in->notes, json_object_new_string(sentence));
}

static bool has(struct info *in, uint64_t bit, const char *key)
{
	bool set = in->query.node & bit;

	json_add(in->node, key, json_object_new_boolean(set));
	return set;
}

static void processors(struct info *in)
{
	char vendor[4096] = "";
	int amd = 0;
	FILE *f;

	if (has(in, HPCVM_NODE_VIRT, "virt"))
		fact(in, MARK_YES, "virtualisation", "the processors have SVM or VMX");
	else
		fact(in, MARK_NO, "virtualisation",
		     "the processors offer neither SVM nor VMX: switch AMD-V or VT-x on in the firmware's set-up");

	if (has(in, HPCVM_NODE_KVM, "kvm")) {
		fact(in, MARK_YES, "KVM", "kvm.ko is loaded");
		return;
	}
	f = fopen("/proc/cpuinfo", "re");
	while (f && !amd && fgets(vendor, sizeof(vendor), f))
		amd = strstr(vendor, "AuthenticAMD") || strstr(vendor, "HygonGenuine");
	if (f)
		fclose(f);
	fact(in, MARK_NO, "KVM", amd ? "KVM is not loaded: modprobe kvm_amd" :
				       "KVM is not loaded: modprobe kvm_intel");
}

static void nx_huge_pages(struct info *in)
{
	enum nx_state nx = nx_state(&in->query);

	json_add(in->node, "nx_huge_pages",
		 nx == NX_UNKNOWN ? NULL : json_object_new_boolean(nx == NX_ON));
	switch (nx) {
	case NX_OFF:
		fact(in, MARK_YES, "nx_huge_pages", "off: KVM keeps hugepages whole");
		break;
	case NX_ON:
		fact(in, MARK_NO, "nx_huge_pages",
		     "nx_huge_pages is active, so KVM splits hugepages that a guest executes from; where guests are trusted, switch it off with: echo off > "
		     NX_PARAMETER);
		break;
	case NX_UNKNOWN:
		fact(in, MARK_NOTE, "nx_huge_pages",
		     "whether nx_huge_pages is active cannot be told until KVM is loaded");
		break;
	}
}

/* A pool's line. Returns how many pages it has, in use or not. */
static uint64_t pool(struct info *in, const char *label, const char *size,
		     uint64_t free, uint64_t kib, bool exists)
{
	uint64_t total = 0;
	char s[192];

	if (!exists) {
		snprintf(s, sizeof(s), "this node's processors or kernel have no pages of %s", size);
		fact(in, MARK_NOTE, label, s);
		return 0;
	}
	sysfs_u64(&total, "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages", kib);
	if (total < free)
		total = free;
	if (free)
		snprintf(s, sizeof(s), "%" PRIu64 " of %" PRIu64 " are free", free, total);
	else if (total)
		snprintf(s, sizeof(s), "all %" PRIu64 " pages of %s are in use", total, size);
	else
		snprintf(s, sizeof(s), "the pool of %s pages is empty; it grows by: echo N > /sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
			 size, kib);
	fact(in, free ? MARK_YES : MARK_NOTE, label, s);
	return total;
}

static void pools(struct info *in)
{
	uint64_t total;

	total = pool(in, "pages of 2 MiB", "2 MiB", in->query.free_2m, 2048,
		     has(in, HPCVM_NODE_PAGES_2M, "pages_2m"));
	total += pool(in, "pages of 1 GiB", "1 GiB", in->query.free_1g, 1048576,
		      has(in, HPCVM_NODE_PAGES_1G, "pages_1g"));
	if (!total)
		fact(in, MARK_NO, "guest memory",
		     "the node has set no hugepages aside, so no guest can have memory; for 2 GiB: echo 1024 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
}

static void cores(struct info *in)
{
	char list[4096], s[4160];

	if (!sysfs_line(list, sizeof(list), CLAIMABLE))
		list[0] = 0;
	json_add_str(in->node, "claimable", list);
	snprintf(s, sizeof(s), "CPUs %s are for guests", list);
	if (*list)
		fact(in, MARK_YES, "cores", s);
	else
		fact(in, MARK_NO, "cores",
		     "no core is listed for guests, so no vCPU can own one; list those that are with: echo CPUS > "
		     CLAIMABLE);
}

static void monitors(struct info *in)
{
	uint64_t slots = 0, limit = 0;
	char s[128];

	sysfs_u64(&slots, MONITORS "/slots");
	sysfs_u64(&limit, MONITORS "/user_limit");
	json_add_u64(in->node, "monitor_slots", slots);
	snprintf(s, sizeof(s), "registration caches watch with %" PRIu64 " slots; a user can have %" PRIu64,
		 slots, limit);
	fact(in, MARK_YES, "monitors", s);
}

static void rest(struct info *in)
{
	char s[64];

	snprintf(s, sizeof(s), "%u with memory", in->query.nodes);
	fact(in, MARK_YES, "NUMA nodes", s);
	json_add_u64(in->node, "numa_nodes", in->query.nodes);

	if (has(in, HPCVM_NODE_IOMMU, "iommu"))
		fact(in, MARK_YES, "IOMMU", "PCI devices are behind an IOMMU");
	else
		fact(in, MARK_NOTE, "IOMMU",
		     "no IOMMU is active, so no device can be passed to a guest: switch it on in the firmware's set-up and boot with intel_iommu=on or amd_iommu=on");

	if (has(in, HPCVM_NODE_NOHZ_FULL, "nohz_full"))
		fact(in, MARK_YES, "nohz_full", "the node was booted with nohz_full cores");
	else
		fact(in, MARK_NOTE, "nohz_full", "the node was booted without nohz_full cores");
}

static void look(struct info *in)
{
	struct json_object *features = json_object_new_array();

	if (in->query.features & HPCVM_FEATURE_MEMORY)
		json_object_array_add(features, json_object_new_string("memory"));
	if (in->query.features & HPCVM_FEATURE_CORES)
		json_object_array_add(features, json_object_new_string("cores"));
	if (in->query.features & HPCVM_FEATURE_MONITOR)
		json_object_array_add(features, json_object_new_string("monitor"));
	if (in->query.features & HPCVM_FEATURE_PIN)
		json_object_array_add(features, json_object_new_string("pin"));
	json_add_u64(in->report.root, "api_version", in->query.api_version);
	json_add(in->report.root, "features", features);
	json_add(in->report.root, "node", in->node);
	json_add_u64(in->report.root, "free_2m", in->query.free_2m);
	json_add_u64(in->report.root, "free_1g", in->query.free_1g);

	report_text(&in->report, "hpcvm, version %u of its ABI\n", in->query.api_version);
	processors(in);
	nx_huge_pages(in);
	pools(in);
	if (in->query.features & HPCVM_FEATURE_CORES)
		cores(in);
	if (in->query.features & HPCVM_FEATURE_MONITOR)
		monitors(in);
	rest(in);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct info in = { 0 };
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;
	int status, first, dev;
	bool json;

	first = parse_options(self, argc, argv, &json, NULL, NULL, NULL, &status);
	if (first < 0)
		return status;
	if (first < argc)
		return usage_error(self, "it takes no operand");

	report_begin(&in.report, json, 15);
	in.node = json_object_new_object();
	in.notes = json_object_new_array();
	dev = hpcvm_open(&e);
	if (dev >= 0 && !hpcvm_query(dev, &in.query, &e)) {
		look(&in);
	} else {
		report_error(&in.report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
		json_add(in.report.root, "node", NULL);
		json_object_put(in.node);
	}
	json_add(in.report.root, "notes", in.notes);
	if (dev >= 0)
		close(dev);
	return report_end(&in.report,
			  report_failures(&in.report) ? EXIT_BROKEN : EXIT_HOLDS);
}

const struct command cmd_info = {
	.name = "info",
	.args = "[--json]",
	.summary = "what this node can do for HPC guests, and why not",
	.help = "Ask the hpcvm module what it offers and what this node has: hugepages, cores,\n"
		"KVM, IOMMU. For what is missing it says what to do.\n\n"
		"      --json  print JSON\n\n"
		"Exits 0 if guests can run with all promises kept, 1 if something needed for\n"
		"that is missing or the module is not loaded, 2 on wrong usage.\n",
	.run = run,
};
