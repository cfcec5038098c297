// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs: made at random, made from others, written and read as text. A
 * call is a line: its name, then its arguments, in hexadecimal.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "table.h"

/* splitmix64 */
uint64_t draw(struct runner *r, uint64_t below)
{
	uint64_t z = r->seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % below;
}

static bool one_in(struct runner *r, int n)
{
	return !draw(r, n);
}

static uint64_t any_number(struct runner *r)
{
	uint64_t bits = draw(r, 1ULL << 32) << 32 | draw(r, 1ULL << 32);

	return bits >> draw(r, 64);
}

#define ONE_OF(_r, ...) ({						\
	static const uint64_t values_[] = { __VA_ARGS__ };		\
	values_[draw(_r, sizeof(values_) / sizeof(values_[0]))];	\
})

static uint64_t place(struct runner *r, struct places p)
{
	return p.first + draw(r, p.nr);
}

/* A resource: mostly of the kind that is wanted. */
static uint64_t resource(struct runner *r, enum kind kind)
{
	if (kind == ANY_FD || one_in(r, 40))
		return draw(r, FDS);
	if (kind == VM_OR_HANDLE)
		kind = one_in(r, 2) ? VM : HANDLE;
	if (kind == FILE_FD)
		kind = one_in(r, 4) ? HUGE : one_in(r, 8) ? MONITOR : MEM;
	return place(r, places_of(kind));
}

static uint64_t length(struct runner *r)
{
	if (one_in(r, 2))
		return 4 * MIB2;
	return one_in(r, 8) ? ONE_OF(r, 0, 1, 0x1000, MIB2 / 2, MIB2 + 0x1000, 1UL << 30, 1UL << 31,
				     1UL << 40, 1UL << 52, 1UL << 63, ~0UL, ~0UL & -MIB2) :
		(1 + draw(r, 12)) * MIB2;
}

static uint64_t address(struct runner *r)
{
	if (one_in(r, 30))
		return ONE_OF(r, 0, 1, 0x1000, 0x7fffffffe000, 0x7fffffe00000, 0x800000000000,
			      0xffffffffffe00000, ~0UL);
	return ARENA(draw(r, ARENAS)) + (one_in(r, 2) ? 0 : draw(r, 12) * MIB2) +
	       (one_in(r, 12) ? ONE_OF(r, 0x1000, 1, MIB2 - 0x1000, 0xff8) : 0);
}

static uint64_t gpa(struct runner *r)
{
	if (one_in(r, 20))
		return ONE_OF(r, 1, 0x1000, 0xa0000, (1UL << 52) - MIB2, 1UL << 52, ~0UL & -MIB2,
			      ~0UL, 1UL << 63);
	return one_in(r, 2) ? 0 : one_in(r, 8) ? 1UL << 30 : draw(r, 16) * MIB2;
}

/* A value that is worth a try. */
static uint64_t value(struct runner *r, enum kind kind)
{
	if (kind < VM_ID)
		return resource(r, kind);
	if (one_in(r, 100))
		return any_number(r);
	switch (kind) {
	case VM_ID:
	case RESERVATION:
	case NEW_RESERVATION:
	case WATCH:
	case WATCH_COOKIE:
	case NEW_WATCH:
		return one_in(r, 20) ? any_number(r) : draw(r, IDS);
	case WHERE:
		return one_in(r, 8) ? draw(r, WHERES) : 0;
	case SIZE:
		return one_in(r, 16) ? ONE_OF(r, 1, 4, 8, 0x30, 0x40, 0x80, 0x1000, 0x1001, ~0U) : 0;
	case PAD:
		return one_in(r, 25) ? any_number(r) : 0;
	case FLAGS:
		return one_in(r, 20) ? 1ULL << draw(r, 32) : 0;
	case OPEN_FLAGS:
	case MEM_FLAGS:
	case PARK_FLAGS:
		return one_in(r, 30) ? any_number(r) : one_in(r, 2) ? 0 : draw(r, 4);
	case CLAIM_FLAGS:
		return one_in(r, 30) ? any_number(r) : one_in(r, 2) ? 0 : draw(r, 8);
	case VCPU_ID:
		return one_in(r, 12) ? any_number(r) : 0;
	case CPU:
		return one_in(r, 12) ? any_number(r) : one_in(r, 3) ? ~0U : draw(r, 4);
	case TICK_MODE:
		return one_in(r, 20) ? any_number(r) : draw(r, 4);
	case LENGTH:
		return length(r);
	case PAGE_SIZE_ARG:
		return one_in(r, 25) ? ONE_OF(r, 1UL << 30, 0, 0x1000, MIB2 * 2, ~0UL) : MIB2;
	case NODE:
		return one_in(r, 20) ? ONE_OF(r, 2, 64, 1023, 1024, 0x80000000, 0xfffffffe) :
			ONE_OF(r, 0xffffffff, 0xffffffff, 0, 1);
	case GPA:
		return gpa(r);
	case OFFSET:
		return one_in(r, 2) ? 0 : one_in(r, 12) ? any_number(r) : draw(r, 8) * MIB2;
	case HVA:
		return address(r);
	case UID:
		return one_in(r, 2) ? 0 : ONE_OF(r, 0, 1000, 0xffffffff);
	case NAME:
		return draw(r, 6);
	case COUNT:
		return one_in(r, 10) ? any_number(r) : draw(r, 4);
	case SLOTS:
		return one_in(r, 12) ? any_number(r) : 1 + draw(r, 4);
	case REPORT_SIZE:
		return one_in(r, 8) ? ONE_OF(r, 0, 1, 8, 0x70, 0x200, 0x1000, 0x1001, ~0U) : 0x70;
	case COMMAND:
		return one_in(r, 4) ? any_number(r) : 0xbc00 + draw(r, 0x38);
	case MEMSLOT:
		return draw(r, 3) | (one_in(r, 6) ? 1 << 16 : 0);
	case MEMSLOT_FLAGS:
		return one_in(r, 5) ? draw(r, 8) : 0;
	case PROT:
		return one_in(r, 4) ? draw(r, 8) : 3;
	case MAP_FLAGS:
	case ADVICE:
	case FALLOC_MODE:
	case CHILD:
	case ATTRIBUTE:
		return draw(r, 16);
	case MS:
		return draw(r, 12);
	case US:
		return draw(r, 3000);
	default:
		return any_number(r);
	}
}

static void random_call(struct runner *r, struct call *call)
{
	int all = 0, at, i;

	for (i = 0; i < nr_calls; i++)
		all += calls[i].weight;
	at = draw(r, all);
	for (i = 0; at >= calls[i].weight; i++)
		at -= calls[i].weight;
	*call = (struct call){ .nr = i };
	for (i = 0; i < call_args(&calls[call->nr]); i++)
		call->arg[i] = value(r, calls[call->nr].kind[i]);
}

void program_random(struct runner *r, struct program *p)
{
	int i;

	p->nr = 4 + draw(r, CALLS_MAX - 4);
	for (i = 0; i < p->nr; i++)
		random_call(r, &p->call[i]);
}

static void insert(struct program *p, int at, const struct call *call)
{
	if (p->nr == CALLS_MAX)
		p->nr--;
	if (at > p->nr)
		at = p->nr;
	memmove(&p->call[at + 1], &p->call[at], (p->nr - at) * sizeof(*call));
	p->call[at] = *call;
	p->nr++;
}

static void delete(struct program *p, int at)
{
	p->nr--;
	memmove(&p->call[at], &p->call[at + 1], (p->nr - at) * sizeof(p->call[0]));
}

/* One argument: another value, or the same a little off. */
static void turn(struct runner *r, struct call *call)
{
	int args = call_args(&calls[call->nr]), i;

	if (!args)
		return;
	i = draw(r, args);
	if (one_in(r, 6))
		call->arg[i] ^= 1ULL << draw(r, 64);
	else if (one_in(r, 6))
		call->arg[i] += draw(r, 2) ? MIB2 : -MIB2;
	else
		call->arg[i] = value(r, calls[call->nr].kind[i]);
}

/* Change a program in a few places; @other lends its end, or a call. */
void program_mutate(struct runner *r, struct program *p, const struct program *other)
{
	int times = 1 + draw(r, 4), at;
	struct call call;

	while (times--) {
		at = p->nr ? draw(r, p->nr) : 0;
		switch (p->nr ? draw(r, 8) : 0) {
		case 0:
		case 1:
			random_call(r, &call);
			insert(p, at, &call);
			break;
		case 2:
			delete(p, at);
			break;
		case 3:
			call = p->call[at];
			insert(p, draw(r, p->nr + 1), &call);
			break;
		case 4:
			if (other->nr)
				insert(p, at, &other->call[draw(r, other->nr)]);
			break;
		case 5:
			if (!one_in(r, 3))
				break;
			for (; at < other->nr; at++)
				p->call[at] = other->call[at];
			p->nr = at;
			break;
		default:
			turn(r, &p->call[at]);
		}
	}
}

int program_print(const struct program *p, char *text, size_t room)
{
	int i, j, n = 0;

	for (i = 0; i < p->nr; i++) {
		const struct call_def *def = &calls[p->call[i].nr];

		n += snprintf(text + n, room - n, "%s", def->name);
		for (j = 0; j < call_args(def); j++)
			n += snprintf(text + n, room - n, " %lx", (unsigned long)p->call[i].arg[j]);
		n += snprintf(text + n, room - n, "\n");
	}
	return n;
}

static bool parse_call(char *line, struct call *call)
{
	char *word = strtok(line, " \t");
	int i, j;

	for (i = 0; i < nr_calls && strcmp(calls[i].name, word); i++)
		;
	if (i == nr_calls)
		return false;
	*call = (struct call){ .nr = i };
	for (j = 0; j < ARGS_MAX && (word = strtok(NULL, " \t")); j++)
		call->arg[j] = strtoull(word, NULL, 16);
	return j == call_args(&calls[i]);
}

/*
 * Read one program, up to the end or to a line that begins with "thread";
 * what follows a # is a remark. Returns what is left, NULL if there is a
 * mistake.
 */
const char *program_parse(const char *text, struct program *p)
{
	p->nr = 0;
	while (*text && strncmp(text, "thread", 6)) {
		size_t n = strcspn(text, "\n"), used;
		char line[400];

		used = n < sizeof(line) ? n : sizeof(line) - 1;
		memcpy(line, text, used);
		line[used] = 0;
		line[strcspn(line, "#")] = 0;
		if (line[strspn(line, " \t")] &&
		    (p->nr == CALLS_MAX || !parse_call(line, &p->call[p->nr++]))) {
			fprintf(stderr, "no call: %.*s\n", (int)n, text);
			return NULL;
		}
		text += n + (text[n] == '\n');
	}
	return text;
}
