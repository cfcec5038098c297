// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMs in hpcvm's charge, as sysfs shows them, and finding one of them.
 * A VM that ends while it is read is left out.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tool.h"

#define VMS HPCVM_SYSFS "/vms"
#define NO_UUID "00000000-0000-0000-0000-000000000000"

static void *grow(void *array, size_t nr, size_t size)
{
	array = reallocarray(array, nr + 1, size);
	if (!array)
		abort();
	return array;
}

static bool number(const char *s, int base, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(s, &end, base);
	return isxdigit((unsigned char)*s) && !*end && !errno;
}

static int by_gpa(const void *a, const void *b)
{
	const struct vm_slot *x = a, *y = b;

	return x->gpa < y->gpa ? -1 : x->gpa > y->gpa;
}

static int by_vcpu(const void *a, const void *b)
{
	const struct vm_vcpu *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_id(const void *a, const void *b)
{
	const struct vm *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static void load_slots(struct vm *vm)
{
	char path[128], line[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), VMS "/%" PRIu64 "/slots", vm->id);
	dir = opendir(path);
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		struct vm_slot s = { .node = HPCVM_NODE_ANY };

		/* the directory is named after the GPA, in hex */
		if (!number(d->d_name, 16, &s.gpa) ||
		    !sysfs_u64(&s.length, "%s/%s/length", path, d->d_name) ||
		    !sysfs_u64(&s.offset, "%s/%s/offset", path, d->d_name) ||
		    !sysfs_u64(&s.page_size, "%s/%s/page_size", path, d->d_name))
			continue;
		if (sysfs_line(line, sizeof(line), "%s/%s/node", path, d->d_name))
			s.node = strtoll(line, NULL, 10);
		vm->slots = grow(vm->slots, vm->nr_slots, sizeof(s));
		vm->slots[vm->nr_slots++] = s;
	}
	closedir(dir);
	if (vm->nr_slots)
		qsort(vm->slots, vm->nr_slots, sizeof(*vm->slots), by_gpa);
}

static void load_vcpus(struct vm *vm)
{
	char path[128], line[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), VMS "/%" PRIu64 "/vcpus", vm->id);
	dir = opendir(path);
	if (!dir)
		return;
	while ((d = readdir(dir))) {
		struct vm_vcpu v;

		if (!number(d->d_name, 10, &v.id) ||
		    !sysfs_line(line, sizeof(line), "%s/%s/cpu", path, d->d_name))
			continue;
		v.cpu = strtoll(line, NULL, 10);
		vm->vcpus = grow(vm->vcpus, vm->nr_vcpus, sizeof(v));
		vm->vcpus[vm->nr_vcpus++] = v;
	}
	closedir(dir);
	if (vm->nr_vcpus)
		qsort(vm->vcpus, vm->nr_vcpus, sizeof(*vm->vcpus), by_vcpu);
}

static bool load(struct vm *vm, uint64_t id)
{
	*vm = (struct vm){ .id = id };
	if (!sysfs_line(vm->name, sizeof(vm->name), VMS "/%" PRIu64 "/name", id) ||
	    !sysfs_line(vm->uuid, sizeof(vm->uuid), VMS "/%" PRIu64 "/uuid", id) ||
	    !sysfs_u64(&vm->pid, VMS "/%" PRIu64 "/pid", id) ||
	    !sysfs_u64(&vm->uid, VMS "/%" PRIu64 "/uid", id))
		return false;
	if (!strcmp(vm->uuid, NO_UUID))
		vm->uuid[0] = 0;
	vm->counted =
		sysfs_u64(&vm->kvm_pages_4k, VMS "/%" PRIu64 "/kvm_pages_4k", id) &&
		sysfs_u64(&vm->kvm_pages_2m, VMS "/%" PRIu64 "/kvm_pages_2m", id) &&
		sysfs_u64(&vm->kvm_pages_1g, VMS "/%" PRIu64 "/kvm_pages_1g", id);
	load_slots(vm);
	load_vcpus(vm);
	return true;
}

int vms_load(struct vm **vms)
{
	DIR *dir = opendir(VMS);
	struct dirent *d;
	uint64_t id;
	int nr = 0;

	*vms = NULL;
	if (!dir)
		return -1;
	while ((d = readdir(dir))) {
		if (!number(d->d_name, 10, &id))
			continue;
		*vms = grow(*vms, nr, sizeof(**vms));
		if (load(*vms + nr, id))
			nr++;
	}
	closedir(dir);
	if (nr)
		qsort(*vms, nr, sizeof(**vms), by_id);
	return nr;
}

void vms_free(struct vm *vms, int nr)
{
	for (int i = 0; i < nr; i++) {
		free(vms[i].slots);
		free(vms[i].vcpus);
	}
	free(vms);
}

uint64_t vm_ram_bytes(const struct vm *vm)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < vm->nr_slots; i++)
		sum += vm->slots[i].length;
	return sum;
}

struct json_object *vm_identity(const struct vm *vm)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "id", vm->id);
	json_add_str(o, "uuid", *vm->uuid ? vm->uuid : NULL);
	json_add_str(o, "name", *vm->name ? vm->name : NULL);
	return o;
}

/* Same UUID, however written: dashes and case do not count. */
static bool same_uuid(const char *a, const char *b)
{
	int digits = 0;

	for (;; a++, b++) {
		while (*a == '-')
			a++;
		while (*b == '-')
			b++;
		if (tolower((unsigned char)*a) != tolower((unsigned char)*b))
			return false;
		if (!*a)
			return digits == 32;
		digits++;
	}
}


const struct vm *vms_find(const struct vm *vms, int nr, const char *what,
			  struct report *r)
{
	const struct vm *found = NULL;
	char ids[256] = "";
	size_t used = 0;
	uint64_t id;
	int hits = 0;

	if (number(what, 10, &id))
		for (int i = 0; i < nr; i++)
			if (vms[i].id == id)
				return &vms[i];

	/* by UUID, then by name; the empty name is no name */
	for (int pass = 0; pass < 2 && !hits && *what; pass++) {
		for (int i = 0; i < nr; i++) {
			if (pass ? strcmp(vms[i].name, what) :
				   !same_uuid(vms[i].uuid, what))
				continue;
			found = &vms[i];
			hits++;
			if (used < sizeof(ids))
				used += snprintf(ids + used, sizeof(ids) - used, "%s%" PRIu64,
						 used ? ", " : "", vms[i].id);
		}
	}
	if (hits == 1)
		return found;
	if (hits)
		report_error(r, "%d VMs are called %s; take one by its id: %s", hits, what, ids);
	else
		report_error(r, "no VM in hpcvm's charge is called %s; those that are, are listed by: hpcvm list", what);
	return NULL;
}
