// SPDX-License-Identifier: GPL-2.0-only
/*
 * The one VM that a command is about: found by what the user calls it, with a
 * handle to look at it.
 */
#include <inttypes.h>
#include <unistd.h>

#include "tool.h"

bool one_domain(const struct command *cmd, int operands)
{
	if (operands < 1)
		usage_error(cmd, "say which VM: its name, UUID or id");
	else if (operands > 1)
		usage_error(cmd, "it takes one VM at a time");
	return operands == 1;
}

static bool look_up(struct domain *d, const char *what, struct report *r)
{
	d->nr = vms_load(&d->vms);
	if (d->nr < 0) {
		report_error(r, "there is no %s: is sysfs mounted?", HPCVM_SYSFS "/vms");
		return false;
	}
	d->info = vms_find(d->vms, d->nr, what, r);
	if (d->info)
		json_add(r->root, "domain", vm_identity(d->info));
	return d->info;
}

bool domain_open(struct domain *d, const char *what, struct report *r,
		 int (*open)(int dev, uint64_t id, struct hpcvm_error *e))
{
	char sentence[HPCVM_SENTENCE_MAX];
	struct hpcvm_error e;

	*d = (struct domain){ .vm = -1 };
	d->dev = hpcvm_open(&e);
	if (d->dev >= 0) {
		if (!look_up(d, what, r))
			return false;
		d->vm = open(d->dev, d->info->id, &e);
	}
	if (d->vm < 0)
		report_error(r, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
	return d->vm >= 0;
}

void domain_headline(const struct domain *d, const struct report *r)
{
	report_text(r, "VM %" PRIu64 ", %s, %s\n", d->info->id,
		    *d->info->name ? d->info->name : "without a name",
		    *d->info->uuid ? d->info->uuid : "without a UUID");
}

void domain_close(struct domain *d)
{
	if (d->vm >= 0)
		close(d->vm);
	vms_free(d->vms, d->nr);
	if (d->dev >= 0)
		close(d->dev);
}
