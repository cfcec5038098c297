// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reading sysfs: small files, one line each.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

/* How many bytes the UTF-8 character at @s has; 0 if it is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 :
		   s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, past the last character */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static bool read_line(char *buf, size_t len, const char *fmt, va_list ap)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	if (vsnprintf(path, sizeof(path), fmt, ap) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, len - 1);
	close(fd);
	if (n < 0)
		return false;
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;

	/* A name may be anything; JSON and terminals take UTF-8 only. */
	for (unsigned char *s = (unsigned char *)buf; *s; ) {
		size_t l = utf8_length(s);

		if (!l || *s < 0x20 || *s == 0x7f) {
			*s = '?';
			l = 1;
		}
		s += l;
	}
	return true;
}

bool sysfs_line(char *buf, size_t len, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = read_line(buf, len, fmt, ap);
	va_end(ap);
	return ok;
}

bool sysfs_u64(uint64_t *value, const char *fmt, ...)
{
	char line[64], *end;
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = read_line(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!ok)
		return false;
	errno = 0;
	*value = strtoull(line, &end, 0);
	return end != line && !*end && !errno;
}

enum nx_state nx_state(const struct hpcvm_query *query)
{
	char line[16];

	if (!(query->node & HPCVM_NODE_NX_UNKNOWN))
		return query->node & HPCVM_NODE_NX_HUGE_PAGES ? NX_ON : NX_OFF;
	if (!sysfs_line(line, sizeof(line), NX_PARAMETER))
		return NX_UNKNOWN;
	if (!strcmp(line, "N") || !strcmp(line, "never"))
		return NX_OFF;
	return NX_ON;
}
