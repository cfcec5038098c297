/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of "hpcvm isolate" share:
 *
 *	isolate.c	the command: isolate, undo, show
 *	settings.c	the table of what is set, and how each kind is read and set
 *	isolation.c	what was set, in a file that outlives the command
 *	cpus.c		sets of CPUs
 */
#ifndef HPCVM_ISOLATE_H
#define HPCVM_ISOLATE_H

#include "tool.h"

/* No value is longer: a list of every other CPU of 8192. */
#define VALUE_MAX 24576
#define WHY_MAX 512
#define CPU "/sys/devices/system/cpu"

/* cpus.c */
#define CPUS_MAX 8192

struct cpus {
	uint64_t bits[CPUS_MAX / 64];
};

/* "0-3,8", also as systemd writes it, "0-3 8"; nothing is the empty set. */
bool cpus_from_list(struct cpus *c, const char *s);
/* "ff,ffffffff", in hexadecimal words of 32 CPUs */
bool cpus_from_mask(struct cpus *c, const char *s);
void cpus_to_list(const struct cpus *c, char *buf, size_t len);
void cpus_to_mask(const struct cpus *c, char *buf, size_t len);
bool cpus_has(const struct cpus *c, unsigned int cpu);
bool cpus_meet(const struct cpus *a, const struct cpus *b);
bool cpus_within(const struct cpus *a, const struct cpus *b);
bool cpus_empty(const struct cpus *c);
bool cpus_same(const struct cpus *a, const struct cpus *b);
void cpus_add(struct cpus *c, const struct cpus *more);
/* False: nothing is left of it. */
bool cpus_remove(struct cpus *c, const struct cpus *less);
/* Read a list from a file of the kernel. */
bool cpus_read(struct cpus *c, const char *path);

/* settings.c */
struct setting {
	const char *name;
	const struct means *means;
	const char *where;	/* a file; one for each core if it has a %u */
	enum form { WORD, LIST, MASK } form;
	const char *word;	/* what it is to be; of CPUs: without the cores, or */
	bool with;		/* with them */
	const char *busy;	/* what EBUSY means */
};

extern const struct setting settings[];
extern const size_t nr_settings;

/* Call @found for each thing of this kind that the node has. */
void setting_each(const struct setting *s, const struct cpus *cores,
		  void (*found)(const struct setting *s, const char *target, void *to), void *to);
/* What it is now; false, with ENOENT if there is no such thing. */
bool setting_get(const struct setting *s, const char *target, char *value);
/* What it is to be if it was @was. */
void setting_want(const struct setting *s, const struct cpus *cores, const char *was, char *value);
bool setting_same(const struct setting *s, const char *a, const char *b);
/* False, with the reason in @why. */
bool setting_set(const struct setting *s, const char *target, const char *value, char *why);
/* The same for the value that it had before. */
bool setting_restore(const struct setting *s, const char *target, const char *was, char *why);
/* What is to be done once for all that was restored. */
bool settings_finish(char *why);

/* isolation.c */
#define RUN "/run/hpcvm"

struct change {
	const struct setting *setting;
	char *target;		/* a file, a unit, a thread */
	char *put, *was;
	bool undone;
};

struct isolation {
	int lock;		/* nobody else changes it meanwhile */
	struct cpus cores;	/* none: nothing is isolated */
	struct change *changes;
	size_t nr;
};

/* Lock and load. False, with the reason in @why. Close it in any case. */
bool isolation_open(struct isolation *i, bool change, char *why);
void isolation_close(struct isolation *i);
struct change *isolation_find(struct isolation *i, const struct setting *s, const char *target);
void isolation_add(struct isolation *i, const struct setting *s, const char *target,
		   const char *put, const char *was);
void isolation_drop(struct isolation *i, struct change *c);
/* Whatever comes now, this is what can be undone. With nothing to undo it removes the file. */
bool isolation_save(const struct isolation *i, char *why);

#endif /* HPCVM_ISOLATE_H */
