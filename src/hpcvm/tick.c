// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of the scheduler's tick on a claimed core.
 *
 * On a core booted nohz_full the kernel stops it by itself; that is found out,
 * and the account counts what is left of it. Elsewhere it is kept, and the
 * answer says so.
 */
#include <linux/tick.h>

#include "hpcvm.h"

/**
 * hpcvm_tick_choose() - how can the tick of this CPU be suppressed?
 * @call: is told why not.
 * @cpu: is about to be claimed.
 * @asked: enum hpcvm_tick_mode.
 * @tick: filled in.
 *
 * Return: 0, or -EOPNOTSUPP if it cannot be done in the mode asked for.
 */
int hpcvm_tick_choose(struct hpcvm_call *call, int cpu, u32 asked, struct hpcvm_tick *tick)
{
	*tick = (struct hpcvm_tick){ .asked = asked, .mode = HPCVM_TICK_KEPT };

	if (asked == HPCVM_TICK_KEPT) {
		tick->why = HPCVM_TICK_WHY_ASKED;
		return 0;
	}
	if (asked != HPCVM_TICK_THIN) {
		if (tick_nohz_full_cpu(cpu)) {
			tick->mode = HPCVM_TICK_NOHZ_FULL;
			return 0;
		}
		tick->why = HPCVM_TICK_WHY_NOT_NOHZ_FULL;
		if (asked == HPCVM_TICK_NOHZ_FULL)
			return hpcvm_refuse(call, -EOPNOTSUPP, HPCVM_REASON_TICK, tick->why);
	}
	tick->why = HPCVM_TICK_WHY_THIN_OFF;
	if (asked == HPCVM_TICK_THIN)
		return hpcvm_refuse(call, -EOPNOTSUPP, HPCVM_REASON_TICK, tick->why);
	return 0;
}
