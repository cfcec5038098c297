/*
 * pc-q35-hpcvm: each vCPU owns a core, and QEMU's other threads stay off them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * libvirt starts QEMU stopped, sets the affinity of the vCPUs' threads, and
 * then says "cont".  So the claims are made when the guest is about to run for
 * the first time, from what the XML has made of the affinities:
 *
 *   one CPU (<vcpupin>)        its core, or none
 *   several                    the first of them whose core can be had
 *   no choice                  any free core, where the guest's memory is
 *
 * in this order, lest one without a choice takes what another wants.
 *
 * All other threads stay off every core that vCPUs can claim, this guest's or
 * another's, as long as that leaves them any CPU.  The sandbox of libvirt lets
 * a thread move none but itself (patches/seccomp.patch), so the main thread
 * does it before it starts others, which inherit it (the vCPUs undo that); it
 * and those that libvirt places or that were there before do it again when the
 * guest first runs.
 *
 * A guest that is stopped can lend its cores: they are released, and claimed
 * again before it runs on, each vCPU's where it was, or where its thread has
 * been placed meanwhile.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/ctype.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "block/aio.h"
#include "hw/boards.h"
#include "system/iothread.h"
#include "system/kvm.h"
#include <sched.h>
#include "lib/hpcvm.h"
#include "cores.h"

#define CLAIMABLE HPCVM_SYSFS "/cores/claimable"
#define HOST_CPUS 8192 /* no kernel has more */

struct cpus {
    DECLARE_BITMAP(bits, HOST_CPUS);
};

/* What this thread could run on before it restricted itself. */
static struct cpus inherited;

/* CPUs and threads */

static bool parse_cpus(const char *list, struct cpus *cpus)
{
    unsigned long first, last;

    bitmap_zero(cpus->bits, HOST_CPUS);
    while (qemu_isdigit(*list)) {
        if (qemu_strtoul(list, &list, 10, &first)) {
            return false;
        }
        last = first;
        if (*list == '-' && qemu_strtoul(list + 1, &list, 10, &last)) {
            return false;
        }
        if (last < first || last >= HOST_CPUS) {
            return false;
        }
        bitmap_set(cpus->bits, first, last - first + 1);
        list += *list == ',';
    }
    return true;
}

/* Those of all cores that vCPUs can claim. */
static bool read_claimable(struct cpus *cpus)
{
    g_autofree char *list = NULL;

    return g_file_get_contents(CLAIMABLE, &list, NULL, NULL) &&
           parse_cpus(list, cpus);
}

static void get_affinity(int tid, struct cpus *cpus)
{
    bitmap_zero(cpus->bits, HOST_CPUS);
    sched_getaffinity(tid, sizeof(cpus->bits), (cpu_set_t *)cpus->bits);
}

/* Of this thread: the sandbox allows no other. */
static void set_affinity(const struct cpus *cpus)
{
    sched_setaffinity(0, sizeof(cpus->bits), (const cpu_set_t *)cpus->bits);
}

/* This very thread runs on no such CPU, unless it may run nowhere else. */
static void keep_off(const struct cpus *cores)
{
    struct cpus now, rest;

    get_affinity(0, &now);
    if (bitmap_andnot(rest.bits, now.bits, cores->bits, HOST_CPUS)) {
        set_affinity(&rest);
    }
}

static void keep_off_bh(void *opaque)
{
    g_autofree struct cpus *cores = opaque;

    keep_off(cores);
}

static int keep_iothread_off(Object *obj, void *cores)
{
    IOThread *io = (IOThread *)object_dynamic_cast(obj, TYPE_IOTHREAD);

    if (io) {
        aio_bh_schedule_oneshot(iothread_get_aio_context(io), keep_off_bh,
                                g_memdup2(cores, sizeof(struct cpus)));
    }
    return 0;
}

/* QEMU's own RCU has a thread, which was there before all else. */
struct keep_rcu_off {
    struct rcu_head rcu;
    struct cpus cores;
};

static void keep_rcu_off(struct keep_rcu_off *work)
{
    keep_off(&work->cores);
    g_free(work);
}

static void keep_threads_off(const struct cpus *cores)
{
    struct keep_rcu_off *work = g_new0(struct keep_rcu_off, 1);

    keep_off(cores);
    object_child_foreach(object_get_objects_root(), keep_iothread_off,
                         (void *)cores);
    object_child_foreach(object_get_internal_root(), keep_iothread_off,
                         (void *)cores);
    work->cores = *cores;
    call_rcu(work, keep_rcu_off, rcu);
}

void cores_begin(void)
{
    struct cpus cores;

    get_affinity(0, &inherited);
    if (read_claimable(&cores)) {
        keep_off(&cores);
    }
}

/*
 * The first KVM_RUN of a VM starts a thread of KVM's, from 6.14 on: as a child
 * of the vCPU's, so now rather than when that is on a core of its own.
 */
static void begin_kvm(CPUState *cpu, run_on_cpu_data data)
{
    cpu->kvm_run->immediate_exit = 1;
    kvm_vcpu_ioctl(cpu, KVM_RUN, 0);
    cpu->kvm_run->immediate_exit = 0;
}

static void go_anywhere(CPUState *cpu, run_on_cpu_data data)
{
    set_affinity(&inherited);
}

void cores_ready(void)
{
    CPUState *cpu;

    run_on_cpu(first_cpu, begin_kvm, RUN_ON_CPU_NULL);
    CPU_FOREACH(cpu) {
        run_on_cpu(cpu, go_anywhere, RUN_ON_CPU_NULL);
    }
}

/* Claims */

enum choice { ONE, SEVERAL, NONE };

/* Where somebody wants this vCPU to run, if anybody does. */
static enum choice choice(CPUState *cpu, struct cpus *cpus)
{
    long n;

    get_affinity(cpu->thread_id, cpus);
    n = bitmap_count_one(cpus->bits, HOST_CPUS);
    return n == 1 ? ONE : n == sysconf(_SC_NPROCESSORS_ONLN) ? NONE : SEVERAL;
}

struct attaching {
    int vm, ret;
    struct hpcvm_error error;
};

static void attach(CPUState *cpu, run_on_cpu_data data)
{
    struct attaching *a = data.host_ptr;

    a->ret = hpcvm_vcpu_attach(a->vm, cpu->kvm_fd, cpu->kvm_run, &a->error);
}

static bool claim(int vm, CPUState *cpu, int host_cpu, int node,
                  struct hpcvm_error *error)
{
    return !hpcvm_vcpu_claim(vm, kvm_arch_vcpu_id(cpu), host_cpu, node, 0,
                             HPCVM_TICK_AUTO, error);
}

static bool claim_one_of(int vm, CPUState *cpu, const struct cpus *cpus,
                         struct hpcvm_error *error)
{
    unsigned long i;

    for (i = find_first_bit(cpus->bits, HOST_CPUS); i < HOST_CPUS;
         i = find_next_bit(cpus->bits, HOST_CPUS, i + 1)) {
        if (claim(vm, cpu, i, HPCVM_NODE_ANY, error)) {
            return true;
        }
    }
    return false;
}

/* On @node; else, if that is any, best where the memory happens to be. */
static bool claim_any(int vm, CPUState *cpu, int node,
                      struct hpcvm_error *error)
{
    struct hpcvm_mem_verify v;

    if (node == HPCVM_NODE_ANY && !hpcvm_mem_verify(vm, &v, NULL, 0, NULL) &&
        is_power_of_2(v.nodes) &&
        claim(vm, cpu, HPCVM_CPU_ANY, ctz64(v.nodes), error)) {
        return true;
    }
    return claim(vm, cpu, HPCVM_CPU_ANY, node, error);
}

static char * G_GNUC_PRINTF(2, 3)
why_not(const struct hpcvm_error *error, const char *fmt, ...)
{
    char sentence[HPCVM_SENTENCE_MAX];
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return g_strdup_printf("%s: %s", what,
                           hpcvm_explain(error, sentence, sizeof(sentence)));
}

/* Those vCPUs for which there is this choice. */
static char *claim_by(int vm, enum choice by, int (*memory_node)(CPUState *cpu))
{
    struct hpcvm_error error;
    struct cpus cpus;
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        if (choice(cpu, &cpus) != by) {
            continue;
        }
        switch (by) {
        case ONE:
            if (!claim_one_of(vm, cpu, &cpus, &error)) {
                return why_not(&error, "vCPU %d cannot have CPU %lu",
                               cpu->cpu_index,
                               find_first_bit(cpus.bits, HOST_CPUS));
            }
            break;
        case SEVERAL:
            if (!claim_one_of(vm, cpu, &cpus, &error)) {
                return why_not(&error, "vCPU %d cannot have any of the CPUs it"
                               " is pinned to, the last one for this reason",
                               cpu->cpu_index);
            }
            break;
        case NONE:
            if (!claim_any(vm, cpu, memory_node(cpu), &error)) {
                return why_not(&error, "vCPU %d cannot have a core",
                               cpu->cpu_index);
            }
            break;
        }
    }
    return NULL;
}

char *cores_claim(int vm, int (*memory_node)(CPUState *cpu))
{
    struct attaching a = { .vm = vm };
    struct cpus cores;
    char *why = NULL;
    enum choice by;
    CPUState *cpu;

    if (!read_claimable(&cores)) {
        return g_strdup(CLAIMABLE " cannot be read");
    }
    CPU_FOREACH(cpu) {
        run_on_cpu(cpu, attach, RUN_ON_CPU_HOST_PTR(&a));
        if (a.ret < 0) {
            return why_not(&a.error, "vCPU %d cannot be told to hpcvm",
                           cpu->cpu_index);
        }
    }
    /* A vCPU that has its core is on one CPU from then on. */
    for (by = ONE; by <= NONE && !why; by++) {
        why = claim_by(vm, by, memory_node);
    }
    if (!why) {
        keep_threads_off(&cores);
    }
    return why;
}

/* Lending */

/* Where each vCPU was, in their order; NULL: no core is lent. */
static int *home;

bool cores_lent(void)
{
    return home;
}

void cores_mark(int vm)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        hpcvm_vcpu_mark(vm, kvm_arch_vcpu_id(cpu), NULL);
    }
}

/* A vCPU without a core has none to release: that is no error here. */
static void release_all(int vm)
{
    CPUState *cpu;

    CPU_FOREACH(cpu) {
        hpcvm_vcpu_release(vm, kvm_arch_vcpu_id(cpu), NULL);
    }
}

void cores_lend(int vm)
{
    struct hpcvm_vcpu_stats stats;
    CPUState *cpu;
    int n = 0;

    if (home) {
        return;
    }
    home = g_new(int, current_machine->smp.cpus);
    CPU_FOREACH(cpu) {
        home[n++] = hpcvm_vcpu_stats(vm, kvm_arch_vcpu_id(cpu), &stats, NULL) ?
                    HPCVM_CPU_ANY : stats.cpu;
    }
    release_all(vm);
}

/* Where it was, unless its thread may not run there any more. */
static char *take_back(int vm, CPUState *cpu, int was)
{
    struct hpcvm_error error;
    struct cpus cpus;

    choice(cpu, &cpus);
    if (was != HPCVM_CPU_ANY && test_bit(was, cpus.bits)) {
        return claim(vm, cpu, was, HPCVM_NODE_ANY, &error) ? NULL :
               why_not(&error, "vCPU %d cannot have CPU %d back",
                       cpu->cpu_index, was);
    }
    return claim_one_of(vm, cpu, &cpus, &error) ? NULL :
           why_not(&error, "vCPU %d cannot have a core", cpu->cpu_index);
}

char *cores_take_back(int vm)
{
    char *why = NULL;
    CPUState *cpu;
    int n = 0;

    if (!home) {
        return NULL;
    }
    CPU_FOREACH(cpu) {
        why = why ?: take_back(vm, cpu, home[n++]);
    }
    if (why) {
        release_all(vm);
        return why;
    }
    g_clear_pointer(&home, g_free);
    return NULL;
}
