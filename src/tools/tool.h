/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the hpcvm command share.
 *
 * One file a command; main.c has the table of them. A command fills a
 * report: as text it is printed as it grows, as JSON at the end.
 */
#ifndef HPCVM_TOOL_H
#define HPCVM_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <json-c/json.h>

#include "hpcvm.h"

/* The version of every JSON form: grows when a key goes or changes. */
#define JSON_FORM 1

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Exit statuses, of every command. */
enum {
	EXIT_HOLDS = 0,		/* done, and all is well */
	EXIT_BROKEN = 1,	/* done, and something is not as it should be */
	EXIT_TROUBLE = 2,	/* not done: usage, no such VM, no permission */
};

struct command {
	const char *name;
	const char *args;	/* after the name, in a usage line */
	const char *summary;	/* half a line */
	const char *help;	/* some lines more */
	int (*run)(const struct command *self, int argc, char **argv);
};

extern const struct command cmd_info;
extern const struct command cmd_isolate;
extern const struct command cmd_list;
extern const struct command cmd_noise;
extern const struct command cmd_preempt;
extern const struct command cmd_proof;
extern const struct command cmd_reserve;
extern const struct command cmd_resume;
extern const struct command cmd_top;

/* main.c */
struct option;
/*
 * Parse the options that all commands have, and the command's own, at most four,
 * each of which take() is given: false if its value is no good. NULL if it has
 * none. Returns the index of the first operand, or -1 with the exit status in
 * *status.
 */
int parse_options(const struct command *cmd, int argc, char **argv, bool *json,
		  const struct option *more, bool (*take)(int c, const char *value, void *to),
		  void *to, int *status);
bool parse_number(const char *s, uint64_t max, uint64_t *n);
void help_command(const struct command *cmd);
int usage_error(const struct command *cmd, const char *fmt, ...) PRINTF(2, 3);

/* report.c */
enum mark { MARK_YES, MARK_NO, MARK_NOTE };

struct report {
	bool json;
	int width;			/* of a label */
	struct json_object *root;
	struct json_object *failed;	/* in root */
};

void report_begin(struct report *r, bool json, int width);
/* A line of the text form: tick, cross or dot; label; what was seen. */
void report_line(const struct report *r, enum mark mark, const char *label,
		 const char *fmt, ...) PRINTF(4, 5);
void report_text(const struct report *r, const char *fmt, ...) PRINTF(2, 3);
/* A sentence for "failed". */
void report_fail(struct report *r, const char *fmt, ...) PRINTF(2, 3);
/* The same, for what kept the command from its work: text goes to stderr. */
void report_error(struct report *r, const char *fmt, ...) PRINTF(2, 3);
size_t report_failures(const struct report *r);
void report_free(struct report *r);
/* Print the JSON form and free it all; returns status, or EXIT_TROUBLE if stdout is broken. */
int report_end(struct report *r, int status);

void json_add(struct json_object *to, const char *key, struct json_object *value);
void json_add_u64(struct json_object *to, const char *key, uint64_t value);
void json_add_str(struct json_object *to, const char *key, const char *value);
/* An array of the numbers of the bits that are set. */
struct json_object *json_bits(uint64_t bits);

/* "2 GiB", "3 MiB", "1 byte": in the largest unit that divides it */
struct size_word {
	char s[32];
};
struct size_word size_word(uint64_t bytes);
/* "0, 1", or "-" for none; node 63 stands for more */
struct node_words {
	char s[256];
};
struct node_words node_words(uint64_t bits);

/* Of the terminal that stdout is; what is none has 80 columns and 0 rows. */
struct terminal_size {
	int rows, columns;
};
struct terminal_size terminal_size(void);

/* sysfs.c */
/* First line of a file, in valid UTF-8 whatever it held. */
bool sysfs_line(char *buf, size_t len, const char *fmt, ...) PRINTF(3, 4);
bool sysfs_u64(uint64_t *value, const char *fmt, ...) PRINTF(2, 3);

enum nx_state { NX_OFF, NX_ON, NX_UNKNOWN };
/* Is KVM's nx_huge_pages active? Asks sysfs where the module cannot tell. */
enum nx_state nx_state(const struct hpcvm_query *query);
#define CLAIMABLE HPCVM_SYSFS "/cores/claimable"
#define MONITORS HPCVM_SYSFS "/monitors"
#define NX_PARAMETER "/sys/module/kvm/parameters/nx_huge_pages"

/* vms.c */
struct vm_slot {
	uint64_t gpa, length, offset, page_size;
	int64_t node;
};

struct vm_vcpu {
	uint64_t id;
	int64_t cpu;
};

struct vm {
	uint64_t id;
	char uuid[40];		/* empty: it has none */
	char name[HPCVM_NAME_MAX];
	uint64_t pid, uid;
	bool counted;		/* KVM's counters could be read */
	uint64_t kvm_pages_4k, kvm_pages_2m, kvm_pages_1g;
	size_t nr_slots;
	struct vm_slot *slots;
	size_t nr_vcpus;	/* attached */
	struct vm_vcpu *vcpus;
};

/* All VMs by id, or -1 if there is no hpcvm in sysfs. Free with vms_free(). */
int vms_load(struct vm **vms);
void vms_free(struct vm *vms, int nr);
uint64_t vm_ram_bytes(const struct vm *vm);
struct json_object *vm_identity(const struct vm *vm);
/*
 * Which one @what means: an id, else a UUID, else a name. Returns NULL after
 * having said why in the report.
 */
const struct vm *vms_find(const struct vm *vms, int nr, const char *what,
			  struct report *r);

/* domain.c */
struct domain {
	int dev, vm;		/* a handle */
	struct vm *vms;
	int nr;
	const struct vm *info;	/* one of them */
};

/* Is there one operand? If not, it has said how to use the command. */
bool one_domain(const struct command *cmd, int operands);
/*
 * With a handle from @open. Adds "domain" to the report; false after having said why
 * there. Close it in any case.
 */
bool domain_open(struct domain *d, const char *what, struct report *r,
		 int (*open)(int dev, uint64_t id, struct hpcvm_error *e));
void domain_headline(const struct domain *d, const struct report *r);
void domain_close(struct domain *d);

/* virsh.c */
/*
 * virsh -q WHAT UUID [MORE]: what it has printed, to be freed; NULL after having
 * said why in the report.
 */
char *virsh(struct report *r, const char *what, const char *uuid, const char *more);

/* vcpus.c */
struct vcpu {
	const struct vm *vm;
	struct hpcvm_vcpu_stats then, now;
	uint64_t then_ns, now_ns;	/* when that was, by one clock */
	bool anew;			/* counted since it came to its core, not from then on */
};

struct vcpus {
	size_t nr;
	struct vcpu *all;
};

/* The clock of vcpu.now_ns, and of the module. */
uint64_t clock_ns(void);
/*
 * A handle on a VM; as long as it is open, where vCPUs' time goes is counted, if
 * the node can.
 */
int vcpus_open(int dev, uint64_t id, struct hpcvm_error *e);
/* Append all vCPUs of a VM, as they are now. */
int vcpus_look(struct vcpus *s, const struct vm *vm, int handle, struct hpcvm_error *e);
/* Count from an earlier look on. What it had not seen is counted since its claim. */
void vcpus_since(struct vcpus *s, const struct vcpus *first);
/* Two looks; with no time between them, one. It ends early if the VM does. */
int vcpus_measure(struct vcpus *s, const struct vm *vm, int handle, unsigned int seconds,
		  struct hpcvm_error *e);
void vcpus_free(struct vcpus *s);
bool vcpu_owns(const struct hpcvm_vcpu_stats *s);
/* NULL: it owns no core */
const char *vcpu_tick_word(const struct hpcvm_vcpu_stats *s);
/* For how long its core was looked at. */
uint64_t vcpu_counted_ns(const struct vcpu *v);
/*
 * What a counter of the core, or of exits, has grown a second. NAN if nobody can
 * tell: it owns no core; there was only one look, and exits count from the vCPU's
 * first day on.
 */
double vcpu_rate(const struct vcpu *v, uint64_t then, uint64_t now);
double vcpu_exit_rate(const struct vcpu *v, uint64_t then, uint64_t now);
/* Where its time went between two looks, in percent; NAN if that was not counted. */
struct shares {
	double guest, hypervisor, out;
};
struct shares vcpu_shares(const struct vcpu *v);
/* "-" for NAN */
struct rate_word {
	char s[32];
};
struct rate_word rate_word(double rate);
/* Two decimals, for more would say nothing; null for NAN. */
struct json_object *rate_json(double rate);

/* proof.c, and a file for each of its sections */
struct proof {
	struct report report;
	int vm;				/* a handle */
	const struct vm *info;
	struct hpcvm_query query;
	unsigned int seconds;		/* between two looks at what is counted */
	uint64_t memory_nodes;		/* where pages were seen */
};

/*
 * A section looks at one kind of promise, prints its lines, calls
 * report_fail() for each broken one and returns its JSON; NULL after
 * report_error() if it could not look.
 */
struct json_object *proof_memory(struct proof *p);
struct json_object *proof_cores(struct proof *p);

#endif /* HPCVM_TOOL_H */
