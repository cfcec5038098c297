// SPDX-License-Identifier: GPL-2.0-only
/*
 * What this node can do, and what stands in the way. Each fact is asked of
 * the kernel at the moment of the question; nothing is remembered.
 */
#include <linux/cpufeature.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/nodemask.h>
#include <linux/pci.h>
#include <linux/tick.h>

#include "hpcvm.h"

/**
 * hpcvm_node_valid() - is this a NUMA node with memory, or "any"?
 * @node: from user space.
 */
bool hpcvm_node_valid(s32 node)
{
	return node == HPCVM_NODE_ANY ||
	       (node >= 0 && node < MAX_NUMNODES && node_state(node, N_MEMORY));
}

/* Read a parameter of a module, as its sysfs file would show it. */
static bool param_is_set(struct module *mod, const char *name, bool *set)
{
	char *page __free(kfree) = kzalloc(PAGE_SIZE, GFP_KERNEL);
	unsigned int i;

	if (!page)
		return false;
	for (i = 0; i < mod->num_kp; i++) {
		const struct kernel_param *kp = &mod->kp[i];
		int len;

		if (strcmp(kp->name, name) || !kp->ops->get)
			continue;
		kernel_param_lock(mod);
		len = kp->ops->get(page, kp);
		kernel_param_unlock(mod);
		*set = len > 0 && page[0] == 'Y';
		return len > 0;
	}
	return false;
}

/*
 * KVM splits hugepages that a guest executes from while nx_huge_pages is on.
 * The parameter says whether it is; kvm.ko exports nothing that would. All
 * loaded modules are siblings of this one in sysfs, so kvm.ko is found there
 * without linking to it.
 */
static u64 kvm_facts(void)
{
	struct kobject *kobj = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, "kvm");
	struct module *mod;
	u64 facts = HPCVM_NODE_NX_UNKNOWN;
	bool set;

	if (!kobj)
		return facts;
	mod = container_of(kobj, struct module_kobject, kobj)->mod;
	if (!mod) {
		/* Built in: its parameters are the kernel's own. */
		facts |= HPCVM_NODE_KVM;
	} else if (try_module_get(mod)) {
		facts |= HPCVM_NODE_KVM;
		if (param_is_set(mod, "nx_huge_pages", &set)) {
			facts &= ~HPCVM_NODE_NX_UNKNOWN;
			facts |= set ? HPCVM_NODE_NX_HUGE_PAGES : 0;
		}
		module_put(mod);
	}
	kobject_put(kobj);
	return facts;
}

static bool have_iommu(void)
{
	struct pci_dev *pdev = NULL;
	bool found = false;

	while (!found && (pdev = pci_get_device(PCI_ANY_ID, PCI_ANY_ID, pdev)))
		found = device_iommu_mapped(&pdev->dev);
	pci_dev_put(pdev);
	return found;
}

static u64 node_facts(void)
{
	u64 facts = kvm_facts();

	if (hpcvm_memory_has(SZ_2M))
		facts |= HPCVM_NODE_PAGES_2M;
	if (hpcvm_memory_has(SZ_1G))
		facts |= HPCVM_NODE_PAGES_1G;
	if (tick_nohz_full_enabled())
		facts |= HPCVM_NODE_NOHZ_FULL;
	if (have_iommu())
		facts |= HPCVM_NODE_IOMMU;
	if (boot_cpu_has(X86_FEATURE_SVM) || boot_cpu_has(X86_FEATURE_VMX))
		facts |= HPCVM_NODE_VIRT;
	return facts;
}

/**
 * hpcvm_query() - HPCVM_QUERY
 * @call: on any fd.
 *
 * Return: 0. Context: process, may sleep, takes none of our locks.
 */
int hpcvm_query(struct hpcvm_call *call)
{
	struct hpcvm_query *cmd = call->cmd;

	cmd->api_version = HPCVM_API_VERSION;
	cmd->nodes = num_node_state(N_MEMORY);
	cmd->features = HPCVM_FEATURE_MEMORY | HPCVM_FEATURE_CORES | HPCVM_FEATURE_MONITOR |
			HPCVM_FEATURE_PIN;
	cmd->node = node_facts();
	cmd->free_2m = hpcvm_memory_free(SZ_2M);
	cmd->free_1g = hpcvm_memory_free(SZ_1G);
	cmd->vm_id = call->vm ? hpcvm_vm_id(call->vm) : 0;
	return 0;
}
