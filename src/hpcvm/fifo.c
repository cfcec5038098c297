// SPDX-License-Identifier: GPL-2.0-only
/*
 * Claims with FIFO priority: no ordinary task takes the CPU from the vCPU's thread.
 *
 * Only a thread of the ordinary policy is taken, as it can be put back exactly: the
 * kernel keeps its nice value, and whatever becomes of that, meanwhile. Threads that
 * it makes in this time are ordinary ones. Who gives the thread another policy during
 * the claim has it his way, then and afterwards.
 */
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/sched/prio.h>
#include <uapi/linux/sched/types.h>

#include "hpcvm.h"

/**
 * hpcvm_fifo_check() - can this thread be given FIFO priority?
 * @call: of the process that asks for it; is told why not.
 * @task: the thread.
 *
 * Return: 0, -EPERM, or -EBUSY.
 */
int hpcvm_fifo_check(struct hpcvm_call *call, const struct task_struct *task)
{
	unsigned int policy;

	if (!capable(CAP_SYS_NICE))
		return hpcvm_refuse(call, -EPERM, HPCVM_REASON_NOT_NICE, 0);
	policy = READ_ONCE(task->policy);
	if (task->sched_reset_on_fork)
		policy |= SCHED_RESET_ON_FORK;
	if (policy != SCHED_NORMAL)
		return hpcvm_refuse(call, -EBUSY, HPCVM_REASON_POLICY, policy);
	return 0;
}

/**
 * hpcvm_fifo_on() - give it the lowest priority that is above all ordinary tasks',
 * unless somebody else has changed it since
 * @task: the thread.
 */
void hpcvm_fifo_on(struct task_struct *task)
{
	static const struct sched_attr fifo = {
		.size = sizeof(fifo),
		.sched_policy = SCHED_FIFO,
		.sched_flags = SCHED_FLAG_RESET_ON_FORK,
		.sched_priority = 1,
	};

	if (READ_ONCE(task->policy) == SCHED_NORMAL)
		WARN_ON_ONCE(sched_setattr_nocheck(task, &fifo));
}

/** hpcvm_fifo_off() - and back, unless somebody else has changed it since */
void hpcvm_fifo_off(struct task_struct *task)
{
	if (READ_ONCE(task->policy) == SCHED_FIFO && READ_ONCE(task->rt_priority) == 1)
		sched_set_normal(task, task_nice(task));
}
