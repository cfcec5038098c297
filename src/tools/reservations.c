// SPDX-License-Identifier: GPL-2.0-only
/*
 * The reservations of this node, as sysfs shows them, read and listed.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "reserve.h"

static bool read_signed(int64_t *value, uint64_t id, const char *name)
{
	char line[32], *end;

	if (!sysfs_line(line, sizeof(line), RESERVATIONS "/%" PRIu64 "/%s", id, name))
		return false;
	*value = strtoll(line, &end, 10);
	return end != line && !*end;
}

/* False: it has gone meanwhile. */
static bool load(struct reservation *r, uint64_t id)
{
	uint64_t held;

	r->id = id;
	if (!sysfs_u64(&r->length, RESERVATIONS "/%" PRIu64 "/length", id) ||
	    !sysfs_u64(&r->page_size, RESERVATIONS "/%" PRIu64 "/page_size", id) ||
	    !sysfs_u64(&held, RESERVATIONS "/%" PRIu64 "/held", id) ||
	    !read_signed(&r->node, id, "node") || !read_signed(&r->uid, id, "uid") ||
	    !read_signed(&r->gid, id, "gid"))
		return false;
	r->held = held;
	return true;
}

static int by_id(const void *a, const void *b)
{
	const struct reservation *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

int reservations_load(struct reservation **all)
{
	DIR *dir = opendir(RESERVATIONS);
	struct dirent *entry;
	int nr = 0, room = 0;

	*all = NULL;
	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		if (nr == room) {
			room = room ? 2 * room : 16;
			*all = realloc(*all, room * sizeof(**all));
			if (!*all)
				abort();
		}
		nr += load(&(*all)[nr], strtoull(entry->d_name, NULL, 10));
	}
	closedir(dir);
	if (nr)
		qsort(*all, nr, sizeof(**all), by_id);
	return nr;
}

bool reservation_is(const struct reservation *r, const struct reserve_spec *spec)
{
	return r->length == spec->size && r->page_size == spec->page_size &&
	       r->node == spec->node && r->uid == spec->uid && r->gid == spec->gid;
}

static const char *for_whom(const struct reservation *r, char *buf, size_t len)
{
	if (r->uid >= 0 && r->gid >= 0)
		snprintf(buf, len, "uid %" PRId64 ", gid %" PRId64, r->uid, r->gid);
	else if (r->uid >= 0)
		snprintf(buf, len, "uid %" PRId64, r->uid);
	else if (r->gid >= 0)
		snprintf(buf, len, "gid %" PRId64, r->gid);
	else
		snprintf(buf, len, "anyone");
	return buf;
}

/* -1 is nobody in particular. */
static void json_add_one(struct json_object *to, const char *key, int64_t value)
{
	json_add(to, key, value < 0 ? NULL : json_object_new_int64(value));
}

static struct json_object *to_json(const struct reservation *r)
{
	struct json_object *o = json_object_new_object();

	json_add_u64(o, "id", r->id);
	json_add_u64(o, "length", r->length);
	json_add_u64(o, "page_size", r->page_size);
	json_add_one(o, "node", r->node);
	json_add_one(o, "uid", r->uid);
	json_add_one(o, "gid", r->gid);
	json_add(o, "held", json_object_new_boolean(r->held));
	return o;
}

static void to_text(const struct report *report, const struct reservation *r)
{
	char whom[64], node[24];

	snprintf(node, sizeof(node), r->node < 0 ? "any" : "%" PRId64, r->node);
	report_text(report, "%-5" PRIu64 " %-10s %-6s %-5s %-5s %s\n", r->id,
		    size_word(r->length).s, size_word(r->page_size).s, node,
		    r->held ? "yes" : "no", for_whom(r, whom, sizeof(whom)));
}

static void not_loaded(struct report *report)
{
	struct hpcvm_error e = { .err = ENOENT, .node = HPCVM_NODE_ANY };
	char sentence[HPCVM_SENTENCE_MAX];

	report_error(report, "%s", hpcvm_explain(&e, sentence, sizeof(sentence)));
}

int reservations_list(struct report *report)
{
	struct json_object *array = json_object_new_array();
	struct reservation *all;
	int nr = reservations_load(&all);

	json_add(report->root, "reservations", array);
	if (nr < 0) {
		not_loaded(report);
		return EXIT_BROKEN;
	}
	report_text(report, "%-5s %-10s %-6s %-5s %-5s %s\n", "ID", "LENGTH", "PAGE", "NODE",
		    "HELD", "FOR");
	for (int i = 0; i < nr; i++) {
		to_text(report, &all[i]);
		json_object_array_add(array, to_json(&all[i]));
	}
	free(all);
	return EXIT_HOLDS;
}
