// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm isolate: keep the node's own work off some cores, and list them for guests.
 *
 * All settings or none. What each was is written down before the first is changed
 * (isolation.c), so a command that was killed can be undone, or done to its end. Undoing
 * restores what is still as it was set here; what somebody else has changed since is
 * theirs.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isolate.h"

struct isolate {
	struct report report;
	struct isolation state;
	bool undo;
	struct json_object *notes;
};

static void note(struct isolate *o, const char *fmt, ...) PRINTF(2, 3);

static void note(struct isolate *o, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	va_end(ap);
	report_text(&o->report, "  %s\n", s);
	json_object_array_add(o->notes, json_object_new_string(s));
	free(s);
}

/* Showing what is set */

static struct json_object *change_json(const struct change *c, const char *now)
{
	struct json_object *j = json_object_new_object();

	json_add_str(j, "name", c->setting->name);
	json_add_str(j, "target", c->target);
	json_add_str(j, "set", c->put);
	json_add_str(j, "was", c->was);
	json_add_str(j, "now", now);
	return j;
}

/* One line for all changes of one setting: slices, threads, cores. */
static void show_setting(struct isolate *o, const struct setting *s, struct json_object *all)
{
	size_t n = 0, failed = report_failures(&o->report);
	const struct change *first = NULL;
	char now[VALUE_MAX];
	enum mark mark;

	for (size_t i = 0; i < o->state.nr; i++) {
		const struct change *c = &o->state.changes[i];
		bool there;

		if (c->setting != s)
			continue;
		there = setting_get(s, c->target, now);
		json_object_array_add(all, change_json(c, there ? now : NULL));
		if (there && !setting_same(s, now, c->put))
			report_fail(&o->report, "%s (%s) is \"%s\" and no longer \"%s\"", s->name,
				    c->target, now, c->put);
		first = first ?: c;
		n++;
	}
	mark = report_failures(&o->report) > failed ? MARK_NO : MARK_YES;
	if (!n)
		report_line(&o->report, MARK_NOTE, s->name, "nothing to set");
	else if (n == 1)
		report_line(&o->report, mark, s->name, "%s, was %s", first->put,
			    *first->was ? first->was : "empty");
	else
		report_line(&o->report, mark, s->name, "%s, for %zu", first->put, n);
}

static int show(struct isolate *o)
{
	struct json_object *all = json_object_new_array();
	struct report *r = &o->report;
	char cores[VALUE_MAX];

	json_add(r->root, "settings", all);
	if (cpus_empty(&o->state.cores)) {
		report_text(r, "no core is isolated\n");
		return EXIT_HOLDS;
	}
	cpus_to_list(&o->state.cores, cores, sizeof(cores));
	json_add_str(r->root, "cores", cores);
	report_text(r, "isolated: CPUs %s\n", cores);
	for (size_t s = 0; s < nr_settings; s++)
		show_setting(o, &settings[s], all);
	for (size_t i = 0; i < report_failures(r); i++)
		report_text(r, "  %s\n",
			    json_object_get_string(json_object_array_get_idx(r->failed, i)));
	return report_failures(r) ? EXIT_BROKEN : EXIT_HOLDS;
}

/* Undoing */

/* True: nothing is left to do for it. */
static bool undo_one(struct isolate *o, const struct change *c)
{
	char now[VALUE_MAX], why[WHY_MAX];
	const char *name = c->setting->name;

	if (!setting_get(c->setting, c->target, now)) {
		if (errno == ENOENT)
			return true;
		report_error(&o->report, "%s (%s) cannot be read: %m", name, c->target);
		return false;
	}
	if (setting_same(c->setting, now, c->was))
		return true;
	if (!setting_same(c->setting, now, c->put)) {
		note(o, "%s (%s) is left as it is, \"%s\": somebody else has changed it since; it was \"%s\"",
		     name, c->target, now, c->was);
		return true;
	}
	if (setting_restore(c->setting, c->target, c->was, why))
		return true;
	report_error(&o->report, "%s stays as it is: %s", name, why);
	return false;
}

/* In the reverse order. What cannot be restored now stays written down. */
static int undo(struct isolate *o)
{
	struct isolation *state = &o->state;
	char why[WHY_MAX];

	for (size_t i = state->nr; i--;)
		state->changes[i].undone = undo_one(o, &state->changes[i]);
	if (!settings_finish(why)) {
		report_error(&o->report, "%s", why);
		return EXIT_BROKEN;
	}
	for (size_t i = state->nr; i--;)
		if (state->changes[i].undone)
			isolation_drop(state, &state->changes[i]);
	if (!isolation_save(state, why))
		report_error(&o->report, "%s", why);
	return report_failures(&o->report) ? EXIT_BROKEN : EXIT_HOLDS;
}

static int undo_command(struct isolate *o)
{
	char cores[VALUE_MAX];
	int status;

	cpus_to_list(&o->state.cores, cores, sizeof(cores));
	if (!*cores) {
		report_text(&o->report, "no core is isolated\n");
		return EXIT_HOLDS;
	}
	status = undo(o);
	if (status == EXIT_HOLDS)
		report_text(&o->report, "CPUs %s are as all others again\n", cores);
	else
		report_error(&o->report, "the rest is undone; once that is mended: hpcvm isolate --undo");
	return status;
}

/* Isolating */

/* What is found again, as it was left: the value before that counts. */
static void renew(struct isolate *o)
{
	struct isolation *state = &o->state;
	char now[VALUE_MAX];

	for (size_t i = state->nr; i--;) {
		struct change *c = &state->changes[i];
		const struct setting *s = c->setting;
		bool there = setting_get(s, c->target, now);

		/* What is gone needs nothing; what somebody else has changed is planned anew. */
		if (there ? !setting_same(s, now, c->put) && !setting_same(s, now, c->was) :
			    errno == ENOENT)
			isolation_drop(state, c);
	}
}

static void plan(const struct setting *s, const char *target, void *to)
{
	struct isolate *o = to;
	struct isolation *state = &o->state;
	char now[VALUE_MAX], put[VALUE_MAX];

	if (isolation_find(state, s, target))
		return;
	if (!setting_get(s, target, now)) {
		if (errno != ENOENT)
			report_error(&o->report, "nothing is isolated: %s (%s) cannot be read: %m",
				     s->name, target);
		return;
	}
	setting_want(s, &state->cores, now, put);
	if (!setting_same(s, now, put))
		isolation_add(state, s, target, put, now);
}

static bool apply(struct isolate *o)
{
	char now[VALUE_MAX], why[WHY_MAX];

	for (size_t i = 0; i < o->state.nr; i++) {
		const struct change *c = &o->state.changes[i];
		bool there = setting_get(c->setting, c->target, now);

		if ((!there && errno == ENOENT) || (there && setting_same(c->setting, now, c->put)) ||
		    setting_set(c->setting, c->target, c->put, why))
			continue;
		report_error(&o->report, "nothing is isolated: %s: %s", c->setting->name, why);
		return false;
	}
	return true;
}

/* A core is isolated whole, and that of CPU 0 is the node's own. */
static bool acceptable(struct isolate *o, const struct cpus *cores)
{
	struct cpus online, siblings;
	char path[128], list[VALUE_MAX];

	if (!cpus_read(&online, CPU "/online")) {
		report_error(&o->report, "cannot read %s: is sysfs mounted?", CPU "/online");
		return false;
	}
	for (unsigned int cpu = 0; cpu < CPUS_MAX; cpu++) {
		if (!cpus_has(cores, cpu))
			continue;
		if (!cpus_has(&online, cpu)) {
			report_error(&o->report, "CPU %u is not there, or not online", cpu);
			return false;
		}
		snprintf(path, sizeof(path), CPU "/cpu%u/topology/thread_siblings_list", cpu);
		if (!cpus_read(&siblings, path)) {
			report_error(&o->report, "cannot read %s", path);
			return false;
		}
		cpus_to_list(&siblings, list, sizeof(list));
		if (cpus_has(&siblings, 0)) {
			report_error(&o->report, "CPU %u is of CPU 0's core, which the node itself needs",
				     cpu);
			return false;
		}
		if (!cpus_within(&siblings, cores)) {
			report_error(&o->report, "CPU %u is not a core: name all its siblings, %s", cpu,
				     list);
			return false;
		}
	}
	return true;
}

static bool begin(struct isolate *o, const struct cpus *cores)
{
	struct isolation *state = &o->state;
	char list[VALUE_MAX], why[WHY_MAX];

	if (!acceptable(o, cores))
		return false;
	if (!cpus_empty(&state->cores) && !cpus_same(&state->cores, cores)) {
		cpus_to_list(&state->cores, list, sizeof(list));
		report_error(&o->report, "CPUs %s are isolated; undo that first: hpcvm isolate --undo",
			     list);
		return false;
	}
	state->cores = *cores;
	renew(o);
	for (size_t s = 0; s < nr_settings; s++)
		setting_each(&settings[s], cores, plan, o);
	if (report_failures(&o->report))
		return false;
	if (isolation_save(state, why))
		return true;
	report_error(&o->report, "%s", why);
	return false;
}

static int isolate(struct isolate *o, const struct cpus *cores)
{
	if (!begin(o, cores))
		return EXIT_BROKEN;
	if (apply(o))
		return show(o);
	undo(o);
	return EXIT_BROKEN;
}

static const struct option long_options[] = {
	{ "undo", no_argument, NULL, 'u' },
	{ 0 },
};

static bool take_option(int c, const char *value, void *to)
{
	struct isolate *o = to;

	(void)c;
	(void)value;
	o->undo = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct isolate o = { 0 };
	struct cpus cores = { 0 };
	char why[WHY_MAX];
	int status, first, operands;
	bool json;

	first = parse_options(self, argc, argv, &json, long_options, take_option, &o, &status);
	if (first < 0)
		return status;
	operands = argc - first;
	if (operands > 1)
		return usage_error(self, "it takes one list of CPUs, such as 2-15");
	if (operands && o.undo)
		return usage_error(self, "--undo takes no list: it undoes all");
	if (operands && (!cpus_from_list(&cores, argv[first]) || cpus_empty(&cores)))
		return usage_error(self, "%s is no list of CPUs, such as 2-15", argv[first]);

	report_begin(&o.report, json, 20);
	o.notes = json_object_new_array();
	json_add(o.report.root, "cores", NULL);
	json_add(o.report.root, "settings", NULL);
	json_add(o.report.root, "notes", o.notes);
	status = EXIT_BROKEN;
	if (!isolation_open(&o.state, operands || o.undo, why))
		report_error(&o.report, "%s", why);
	else if (o.undo)
		status = undo_command(&o);
	else
		status = operands ? isolate(&o, &cores) : show(&o);
	isolation_close(&o.state);
	return report_end(&o.report, status);
}

const struct command cmd_isolate = {
	.name = "isolate",
	.args = "[CORES|--undo] [--json]",
	.summary = "keep the node's own work off cores for guests",
	.help = "Keep the node's programs, kernel threads, interrupts and timers off CORES, a\n"
		"list of CPUs as 2-15,18, and list them for guests. All of it or nothing. What\n"
		"was set before is kept in /run/hpcvm. Without CORES it shows what is set.\n\n"
		"      --undo  restore what is still as it was set; what somebody else has\n"
		"              changed since is left, and named\n"
		"      --json  print JSON\n\n"
		"Exits 0 if it is done, 1 if it cannot be, or if a setting has changed since,\n"
		"2 on wrong usage.\n",
	.run = run,
};
