// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints by their names: most are not exported, but all can be found.
 */
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "hpcvm.h"

struct search {
	struct hpcvm_probe *probes;
	int nr;
};

static void look(struct tracepoint *tp, void *search)
{
	const struct search *s = search;
	int i;

	for (i = 0; i < s->nr; i++)
		if (!strcmp(tp->name, s->probes[i].name))
			s->probes[i].tp = tp;
}

/** hpcvm_probes_find() - has this kernel all these tracepoints? */
bool hpcvm_probes_find(struct hpcvm_probe *probes, int nr)
{
	struct search search = { probes, nr };
	int i;

	for_each_kernel_tracepoint(look, &search);
	for (i = 0; i < nr; i++)
		if (!probes[i].tp)
			return false;
	return true;
}

/**
 * hpcvm_probes_place() - have functions called at tracepoints
 * @probes: which, where.
 * @nr: how many.
 *
 * Return: 0, -ENOMEM, or -EOPNOTSUPP on a kernel that lacks one of them.
 * Context: process, without cpu_hotplug_lock.
 */
int hpcvm_probes_place(struct hpcvm_probe *probes, int nr)
{
	int i, err;

	if (!hpcvm_probes_find(probes, nr))
		return -EOPNOTSUPP;
	for (i = 0; i < nr; i++) {
		err = tracepoint_probe_register(probes[i].tp, probes[i].fn, NULL);
		if (err) {
			hpcvm_probes_remove(probes, i);
			return err;
		}
	}
	return 0;
}

/** hpcvm_probes_remove() - and no longer: none of them runs when this returns */
void hpcvm_probes_remove(struct hpcvm_probe *probes, int nr)
{
	while (nr--)
		tracepoint_probe_unregister(probes[nr].tp, probes[nr].fn, NULL);
	tracepoint_synchronize_unregister();
}
