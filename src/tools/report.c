// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a command found out, as text while it goes or as JSON at its end.
 */
#include <inttypes.h>
#include <langinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tool.h"

void report_begin(struct report *r, bool json, int width)
{
	r->json = json;
	r->width = width;
	r->root = json_object_new_object();
	r->failed = json_object_new_array();
	json_add_u64(r->root, "version", JSON_FORM);
}

void report_line(const struct report *r, enum mark mark, const char *label,
		 const char *fmt, ...)
{
	static const char *const plain[] = { "ok", "NO", "--" };
	static const char *const pretty[] = { "✓", "✗", "·" };
	bool utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
	va_list ap;

	if (r->json)
		return;
	printf("  %s %-*s ", utf8 ? pretty[mark] : plain[mark], r->width, label);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void report_text(const struct report *r, const char *fmt, ...)
{
	va_list ap;

	if (r->json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void add_failed(struct report *r, bool to_stderr, const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	if (to_stderr && !r->json)
		fprintf(stderr, "hpcvm: %s\n", s);
	json_object_array_add(r->failed, json_object_new_string(s));
	free(s);
}

void report_fail(struct report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_failed(r, false, fmt, ap);
	va_end(ap);
}

void report_error(struct report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_failed(r, true, fmt, ap);
	va_end(ap);
}

size_t report_failures(const struct report *r)
{
	return json_object_array_length(r->failed);
}

void report_free(struct report *r)
{
	json_object_put(r->root);
	json_object_put(r->failed);
}

int report_end(struct report *r, int status)
{
	json_add(r->root, "ok", json_object_new_boolean(status == EXIT_HOLDS));
	json_add(r->root, "failed", r->failed);
	if (r->json)
		puts(json_object_to_json_string_ext(r->root, JSON_C_TO_STRING_PRETTY |
						    JSON_C_TO_STRING_SPACED |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(r->root);
	if (fflush(stdout) || ferror(stdout)) {
		perror("hpcvm: cannot write the report");
		return EXIT_TROUBLE;
	}
	return status;
}

void json_add(struct json_object *to, const char *key, struct json_object *value)
{
	json_object_object_add(to, key, value);
}

void json_add_u64(struct json_object *to, const char *key, uint64_t value)
{
	json_add(to, key, json_object_new_uint64(value));
}

void json_add_str(struct json_object *to, const char *key, const char *value)
{
	json_add(to, key, value ? json_object_new_string(value) : NULL);
}

struct json_object *json_bits(uint64_t bits)
{
	struct json_object *a = json_object_new_array();

	for (int i = 0; i < 64; i++)
		if (bits >> i & 1)
			json_object_array_add(a, json_object_new_int(i));
	return a;
}

struct size_word size_word(uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	struct size_word w;
	size_t u = 0;

	while (bytes && !(bytes & 1023) && u + 1 < ARRAY_SIZE(units)) {
		bytes >>= 10;
		u++;
	}
	snprintf(w.s, sizeof(w.s), "%" PRIu64 " %s", bytes, units[u]);
	return w;
}

struct node_words node_words(uint64_t bits)
{
	struct node_words w = { "-" };
	int n = 0;

	for (int i = 0; i < 64; i++)
		if (bits >> i & 1)
			n += snprintf(w.s + n, sizeof(w.s) - n, "%s%d", n ? ", " : "", i);
	return w;
}

struct terminal_size terminal_size(void)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w))
		return (struct terminal_size){ .columns = 80 };
	return (struct terminal_size){ .rows = w.ws_row ?: 24, .columns = w.ws_col ?: 80 };
}
