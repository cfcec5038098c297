/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Just enough of the Test Anything Protocol for tests that need no kernel.
 */
#ifndef TAP_H
#define TAP_H

#include <stdio.h>

static int tap_count, tap_failed;

#define ok(cond, ...) do {						\
	int ok_ = !!(cond);						\
									\
	printf("%sok %d - ", ok_ ? "" : "not ", ++tap_count);		\
	printf(__VA_ARGS__);						\
	putchar('\n');							\
	if (!ok_) {							\
		tap_failed++;						\
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);	\
	}								\
} while (0)

#define skip(why, ...) do {						\
	printf("ok %d - ", ++tap_count);				\
	printf(__VA_ARGS__);						\
	printf(" # SKIP %s\n", why);					\
} while (0)

static inline int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed != 0;
}

#endif /* TAP_H */
