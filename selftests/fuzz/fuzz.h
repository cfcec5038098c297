/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The fuzzer of /dev/hpcvm: what its parts know of each other.
 *
 *	main.c		rounds, threads, corpus, figures
 *	program.c	programs: random, mutated, as text
 *	call.c		the calls: their arguments, and what they do
 *	ioctl.c		of these, the ioctls of /dev/hpcvm
 *	table.c		what they work on, and how it goes
 *	cover.c		what a call has reached in the module (KCOV)
 *
 * A *program* is a sequence of calls over one table of *resources* (fds, ids,
 * ranges of addresses) that stand in fixed places, so that a call names them
 * by number and a program is nothing but numbers. Several threads each run a
 * program at a time on the same table: a *round*. Then everything goes, and
 * the next round begins with nothing.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <sys/types.h>

#define CALLS_MAX 24		/* in a program */
#define ARGS_MAX 10		/* of a call */
#define THREADS_MAX 16
#define TEXT_MAX (CALLS_MAX * 256)

/* What an argument means, and so which values are worth a try. */
enum kind {
	NO_ARG,
	/* resources: a place in the table */
	DEV, VM, HANDLE, KVM, VCPU, MEM, HUGE, OTHER, MONITOR, VM_OR_HANDLE, FILE_FD, ANY_FD,
	NEW_DEV, NEW_VM, NEW_HANDLE, NEW_KVM, NEW_VCPU, NEW_MEM, NEW_HUGE, NEW_OTHER,
	NEW_MONITOR,
	VM_ID, RESERVATION, NEW_RESERVATION, WATCH, WATCH_COOKIE, NEW_WATCH,
	/* numbers */
	WHERE, SIZE, PAD, FLAGS, MEM_FLAGS, PARK_FLAGS, LENGTH, PAGE_SIZE_ARG, NODE, GPA, OFFSET,
	HVA, UID, NAME, COUNT, SLOTS, REPORT_SIZE, COMMAND, MEMSLOT, MEMSLOT_FLAGS, PROT, MAP_FLAGS,
	ADVICE, FALLOC_MODE, CHILD, MS, US, ATTRIBUTE, BYTE, VCPU_ID, CPU, CLAIM_FLAGS, OPEN_FLAGS, TICK_MODE,
	KINDS
};

struct call {
	uint64_t arg[ARGS_MAX];
	int nr;			/* in calls[] */
};

struct program {
	int nr;
	struct call call[CALLS_MAX];
};

/* A thread that runs programs. */
struct runner {
	int id;
	uint64_t seed;		/* of its random numbers */
	struct program program;
	timer_t timer;		/* interrupts it */
	char *buffer;		/* call.c: where structs go */
	const char *readonly;	/* the same page once more */
	uint64_t *trace;	/* cover.c */
	int kcov;
	bool news;		/* its program has reached something new */
	unsigned long calls;
};

/* What a call is; run gives 0 or an errno, and the reason if there is one. */
struct call_def {
	const char *name;
	int weight;		/* how often, beside the others */
	enum kind kind[ARGS_MAX];
	int (*run)(struct runner *r, const struct call_def *def, const uint64_t *arg,
		   uint32_t *reason);
	unsigned long cmd;	/* of an ioctl of ours; and where its arguments go */
	unsigned int size, verdict;
	struct {
		uint16_t offset, width;
	} field[ARGS_MAX];
};

/* call.c */
extern const struct call_def calls[];
extern const int nr_calls;
int call_args(const struct call_def *def);
void runner_init(struct runner *r);
void runner_run(struct runner *r);

/* ioctl.c */
uint64_t meaning(enum kind kind, uint64_t arg);
size_t carry(bool in, char *at, void *bytes, size_t size);
int run_ioctl(struct runner *r, const struct call_def *def, const uint64_t *arg,
	      uint32_t *reason);
int run_command(struct runner *r, const struct call_def *def, const uint64_t *arg,
		uint32_t *reason);

/* program.c */
uint64_t draw(struct runner *r, uint64_t below);
void program_random(struct runner *r, struct program *p);
void program_mutate(struct runner *r, struct program *p, const struct program *other);
int program_print(const struct program *p, char *text, size_t room);
const char *program_parse(const char *text, struct program *p);

/* cover.c */
bool cover_init(void);
bool cover_thread(struct runner *r);
void cover_begin(struct runner *r);
void cover_end(struct runner *r, int call, int err, uint32_t reason);
void cover_figures(unsigned long *points, unsigned long *edges, unsigned long *verdicts);
void cover_save_points(FILE *f);
void cover_save_answers(FILE *f);

#endif
