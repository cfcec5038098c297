// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the module counts of vCPUs and their cores, as rates: from two looks
 * some time apart.
 *
 * Most is counted from the moment at which the vCPU came to its core. Where that
 * was between the two looks, or there was only one, it is the time since then
 * that counts.
 */
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tool.h"

bool vcpu_owns(const struct hpcvm_vcpu_stats *s)
{
	return s->cpu != HPCVM_CPU_ANY;
}

const char *vcpu_tick_word(const struct hpcvm_vcpu_stats *s)
{
	if (!vcpu_owns(s))
		return NULL;
	switch (s->tick) {
	case HPCVM_TICK_KEPT:
		return "kept";
	case HPCVM_TICK_NOHZ_FULL:
		return "nohz_full";
	case HPCVM_TICK_THIN:
		return "thin";
	}
	return "unknown";
}

int vcpus_open(int dev, uint64_t id, struct hpcvm_error *e)
{
	int handle = hpcvm_vm_open_flags(dev, id, HPCVM_OPEN_TIMES, e);

	return handle < 0 && e->reason == HPCVM_REASON_TIMES ? hpcvm_vm_open(dev, id, e) : handle;
}

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int vcpus_look(struct vcpus *s, const struct vm *vm, int handle, struct hpcvm_error *e)
{
	s->all = reallocarray(s->all, s->nr + vm->nr_vcpus + 1, sizeof(*s->all));
	if (!s->all)
		abort();
	for (size_t i = 0; i < vm->nr_vcpus; i++) {
		struct vcpu *v = &s->all[s->nr + i];
		int ret;

		*v = (struct vcpu){ .vm = vm, .anew = true };
		ret = hpcvm_vcpu_stats(handle, vm->vcpus[i].id, &v->now, e);
		if (ret)
			return ret;
		v->now_ns = clock_ns();
	}
	s->nr += vm->nr_vcpus;
	return 0;
}

/* It has had its core since before the first look: by then, the counters ran. */
static bool same_claim(const struct vcpu *a, const struct vcpu *b)
{
	return vcpu_owns(&a->now) && a->now.cpu == b->now.cpu && a->now.moves == b->now.moves &&
	       b->now.owned_ns >= a->now.owned_ns &&
	       b->now.owned_ns >= b->now_ns - a->now_ns;
}

static void since(struct vcpu *v, const struct vcpu *first)
{
	v->then = first->now;
	v->then_ns = first->now_ns;
	v->anew = !same_claim(first, v);
	if (!v->anew)
		return;
	v->then.owned_ns = 0;
	v->then.timer_irqs = 0;
	v->then.all_irqs = 0;
	v->then.preempted = 0;
	v->then.preempted_ns = 0;
	v->then.guest_ns = 0;
	v->then.hypervisor_ns = 0;
	v->then.out_ns = 0;
	for (size_t i = 0; i < HPCVM_GAPS; i++)
		v->then.gaps[i] = 0;
}

void vcpus_since(struct vcpus *s, const struct vcpus *first)
{
	for (size_t i = 0; i < s->nr; i++)
		for (size_t j = 0; j < first->nr; j++)
			if (s->all[i].vm->id == first->all[j].vm->id &&
			    s->all[i].now.vcpu == first->all[j].now.vcpu)
				since(&s->all[i], &first->all[j]);
}

int vcpus_measure(struct vcpus *s, const struct vm *vm, int handle, unsigned int seconds,
		  struct hpcvm_error *e)
{
	struct pollfd end = { .fd = handle };
	struct vcpus first = { 0 };
	int ret = 0;

	*s = (struct vcpus){ 0 };
	if (seconds && vm->nr_vcpus) {
		ret = vcpus_look(&first, vm, handle, e);
		if (!ret)
			poll(&end, 1, seconds * 1000);
	}
	if (!ret)
		ret = vcpus_look(s, vm, handle, e);
	if (!ret)
		vcpus_since(s, &first);
	vcpus_free(&first);
	return ret;
}

void vcpus_free(struct vcpus *s)
{
	free(s->all);
	*s = (struct vcpus){ 0 };
}

uint64_t vcpu_counted_ns(const struct vcpu *v)
{
	return v->now.owned_ns - v->then.owned_ns;
}

double vcpu_rate(const struct vcpu *v, uint64_t then, uint64_t now)
{
	uint64_t ns = vcpu_counted_ns(v);

	return vcpu_owns(&v->now) && ns ? (now - then) * 1e9 / ns : NAN;
}

double vcpu_exit_rate(const struct vcpu *v, uint64_t then, uint64_t now)
{
	return v->then_ns && v->now_ns > v->then_ns ?
	       (now - then) * 1e9 / (v->now_ns - v->then_ns) : NAN;
}

struct shares vcpu_shares(const struct vcpu *v)
{
	const struct hpcvm_vcpu_stats *a = &v->then, *b = &v->now;
	double guest = b->guest_ns - a->guest_ns, out = b->out_ns - a->out_ns;
	double hypervisor = b->hypervisor_ns - a->hypervisor_ns, percent;

	percent = vcpu_owns(b) && v->then_ns && guest + hypervisor + out ?
		  100 / (guest + hypervisor + out) : NAN;
	return (struct shares){ guest * percent, hypervisor * percent, out * percent };
}

struct rate_word rate_word(double rate)
{
	struct rate_word w = { "-" };

	if (!isnan(rate))
		snprintf(w.s, sizeof(w.s), "%.1f", rate);
	return w;
}

struct json_object *rate_json(double rate)
{
	char s[32];

	if (isnan(rate))
		return NULL;
	snprintf(s, sizeof(s), "%.2f", rate);
	return json_object_new_double_s(rate, s);
}
