// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm reserve --keep: have so many reservations at all times.
 *
 * Those of the asked kind that are there already count, whoever made them, so
 * the service may be stopped and started, and killed, without loss. The pool
 * grows until all are there for the first time; what is drawn after that is
 * made up for from the pages that the pool has (those of guests that have
 * ended), one reservation after the other, at idle priority.
 *
 * The kernel says when one was drawn or dropped. When a page comes home to
 * the pool nobody says so; while some are missing, it looks every few
 * seconds. No fd is kept meanwhile, so the module can be unloaded.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reserve.h"

#define SHORT_LOOK_S 5
#define LONG_LOOK_S 60

struct keep {
	const struct reserve_spec *spec;
	uint64_t count;
	bool full_once;
	char said[HPCVM_SENTENCE_MAX];	/* why some are missing */
};

/* Something new: once is enough. */
static void say(struct keep *k, const char *sentence)
{
	if (!strcmp(k->said, sentence))
		return;
	snprintf(k->said, sizeof(k->said), "%s", sentence);
	fprintf(stderr, "hpcvm: %s\n", sentence);
}

static uint64_t have(const struct reserve_spec *spec)
{
	struct reservation *all;
	int n = reservations_load(&all);
	uint64_t of_kind = 0;

	for (int i = 0; i < n; i++)
		of_kind += reservation_is(&all[i], spec);
	free(all);
	return of_kind;
}

/* From now on only when nobody else wants the processor; threads inherit it. */
static void be_idle(void)
{
	struct sched_param none = { 0 };

	if (sched_setscheduler(0, SCHED_IDLE, &none))
		fprintf(stderr, "hpcvm: no idle priority: %m\n");
}

/* False: some are missing, and it has been said why. */
static bool make_up(struct keep *k)
{
	char why[HPCVM_SENTENCE_MAX];
	struct filled filled;

	while (have(k->spec) < k->count && !stop_wanted()) {
		if (!reserve_fill(k->spec, 1, !k->full_once, &filled, why, sizeof(why))) {
			if (!stop_wanted())
				say(k, why);
			return false;
		}
		free(filled.ids);
	}
	if (stop_wanted())
		return true;
	if (!k->full_once)
		be_idle();
	if (!k->full_once || *k->said)
		fprintf(stderr, "hpcvm: %" PRIu64 " reservation%s ready\n", k->count,
			k->count == 1 ? " is" : "s are");
	k->full_once = true;
	*k->said = 0;
	return true;
}

/* Until one has gone since @gone was read, or a signal comes. */
static void sleep_on(int gone, int seconds)
{
	struct pollfd p = { .fd = gone, .events = POLLPRI };
	struct timespec t = { .tv_sec = seconds };
	sigset_t none;

	sigemptyset(&none);
	ppoll(&p, 1, &t, &none);
}

int reserve_keep(const struct reserve_spec *spec, uint64_t count)
{
	struct keep k = { .spec = spec, .count = count };
	char line[32];

	while (!stop_wanted()) {
		int gone = open(RESERVATIONS "/gone", O_RDONLY | O_CLOEXEC);
		/* Read before they are counted: nothing that goes now is missed. */
		bool told = gone >= 0 && read(gone, line, sizeof(line)) >= 0;

		told &= make_up(&k);
		if (!stop_wanted())
			sleep_on(gone, told ? LONG_LOOK_S : SHORT_LOOK_S);
		if (gone >= 0)
			close(gone);
	}
	return EXIT_HOLDS;
}
