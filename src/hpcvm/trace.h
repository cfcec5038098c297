/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracepoints of hpcvm: what becomes of vCPUs and their cores.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM hpcvm

#if !defined(HPCVM_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define HPCVM_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(hpcvm_core,
	TP_PROTO(u64 vm, u32 vcpu, int cpu),
	TP_ARGS(vm, vcpu, cpu),
	TP_STRUCT__entry(
		__field(u64, vm)
		__field(u32, vcpu)
		__field(int, cpu)
	),
	TP_fast_assign(
		__entry->vm = vm;
		__entry->vcpu = vcpu;
		__entry->cpu = cpu;
	),
	TP_printk("vm=%llu vcpu=%u cpu=%d", __entry->vm, __entry->vcpu, __entry->cpu)
);

/* A vCPU has a core: its first one, or a new one. */
DEFINE_EVENT(hpcvm_core, claim, TP_PROTO(u64 vm, u32 vcpu, int cpu), TP_ARGS(vm, vcpu, cpu));

/* It has given that one back. */
DEFINE_EVENT(hpcvm_core, release, TP_PROTO(u64 vm, u32 vcpu, int cpu), TP_ARGS(vm, vcpu, cpu));

/* Its thread could run elsewhere than on that CPU: put back. */
DEFINE_EVENT(hpcvm_core, drift, TP_PROTO(u64 vm, u32 vcpu, int cpu), TP_ARGS(vm, vcpu, cpu));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
