// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets of CPUs, as the kernel writes them: lists and masks.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isolate.h"

#define MASK_WORDS (CPUS_MAX / 32)

static void set(struct cpus *c, unsigned int cpu)
{
	c->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

bool cpus_has(const struct cpus *c, unsigned int cpu)
{
	return cpu < CPUS_MAX && c->bits[cpu / 64] >> cpu % 64 & 1;
}

/* Where the number ends; NULL: there is none, or there is no such CPU. */
static const char *number(const char *s, unsigned int *n)
{
	char *end;
	unsigned long value;

	if (!isdigit((unsigned char)*s))
		return NULL;
	value = strtoul(s, &end, 10);
	*n = value;
	return value < CPUS_MAX ? end : NULL;
}

bool cpus_from_list(struct cpus *c, const char *s)
{
	unsigned int from, to;

	memset(c, 0, sizeof(*c));
	while (*s) {
		s = number(s, &from);
		if (!s)
			return false;
		to = from;
		if (*s == '-')
			s = number(s + 1, &to);
		if (!s || to < from || !strchr(", ", *s))
			return false;
		for (; from <= to; from++)
			set(c, from);
		if (*s && !*++s)
			return false;
	}
	return true;
}

bool cpus_from_mask(struct cpus *c, const char *s)
{
	unsigned int words = 1, digits = 0;

	memset(c, 0, sizeof(*c));
	for (const char *p = s; *p; p++)
		words += *p == ',';
	for (; *s && words <= MASK_WORDS; s++) {
		uint64_t *bits = &c->bits[(words - 1) / 2];
		unsigned int shift = (words - 1) % 2 * 32;
		uint32_t word = *bits >> shift;

		if (*s == ',') {
			words--;
			digits = 0;
			continue;
		}
		if (!isxdigit((unsigned char)*s) || ++digits > 8)
			return false;
		word = word << 4 | (isdigit((unsigned char)*s) ? *s - '0' : (*s | 32) - 'a' + 10);
		*bits = (*bits & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)word << shift;
	}
	return digits && !*s;
}

void cpus_to_list(const struct cpus *c, char *buf, size_t len)
{
	size_t n = 0;

	*buf = 0;
	for (unsigned int from = 0, to; from < CPUS_MAX && n < len; from = to + 1) {
		to = from;
		if (!cpus_has(c, from))
			continue;
		while (cpus_has(c, to + 1))
			to++;
		n += snprintf(buf + n, len - n, "%s%u", n ? "," : "", from);
		if (to > from && n < len)
			n += snprintf(buf + n, len - n, "-%u", to);
	}
}

void cpus_to_mask(const struct cpus *c, char *buf, size_t len)
{
	size_t n = 0;

	for (int i = MASK_WORDS - 1; i >= 0 && n < len; i--) {
		uint32_t word = c->bits[i / 2] >> i % 2 * 32;

		if (n)
			n += snprintf(buf + n, len - n, ",%08x", word);
		else if (word || !i)
			n += snprintf(buf + n, len - n, "%x", word);
	}
}

bool cpus_meet(const struct cpus *a, const struct cpus *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(a->bits); i++)
		if (a->bits[i] & b->bits[i])
			return true;
	return false;
}

bool cpus_within(const struct cpus *a, const struct cpus *b)
{
	struct cpus rest = *a;

	return !cpus_remove(&rest, b);
}

bool cpus_empty(const struct cpus *c)
{
	return !cpus_meet(c, c);
}

bool cpus_same(const struct cpus *a, const struct cpus *b)
{
	return !memcmp(a, b, sizeof(*a));
}

void cpus_add(struct cpus *c, const struct cpus *more)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->bits); i++)
		c->bits[i] |= more->bits[i];
}

bool cpus_remove(struct cpus *c, const struct cpus *less)
{
	for (size_t i = 0; i < ARRAY_SIZE(c->bits); i++)
		c->bits[i] &= ~less->bits[i];
	return !cpus_empty(c);
}

bool cpus_read(struct cpus *c, const char *path)
{
	char line[VALUE_MAX];

	return sysfs_line(line, sizeof(line), "%s", path) && cpus_from_list(c, line);
}
