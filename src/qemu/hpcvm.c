/*
 * pc-q35-hpcvm: a q35 board whose RAM is hugepages from /dev/hpcvm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Plain domain XML shall be enough.  For it libvirt asks for an anonymous
 * memory-backend-ram, one for each NUMA cell; while this machine is being
 * built, such a backend takes its memory from hpcvm instead (a reservation if
 * one fits; 1 GiB pages where the size and the pool allow it, else 2 MiB), so
 * the anonymous memory never exists.  Everything else in QEMU sees an ordinary backend with shared memory
 * from a file.
 *
 * With <hugepages/> libvirt brings hugetlb memory of its own.  That stays as
 * it is, and hpcvm adopts it.
 *
 * What happens when:
 *   a backend is completed     /dev/hpcvm is opened, the KVM VM is put in
 *                              hpcvm's charge, the memory is created
 *   machine init               what breaks the promise is refused or disarmed,
 *                              then the parent builds its q35 board
 *   machine init done          KVM has its memslots; hpcvm is told which part
 *                              of which backend is which part of RAM, and
 *                              checks
 *   the guest is to run        each vCPU gets a core of its own (cores.c)
 *   lend-cores=on              of a stopped guest: its cores are others' to take,
 *                              until it has them back it does not run
 *
 * A refusal is one sentence on stderr, which "virsh start" shows, and exit(1).
 * Nothing needs undoing on the way out: hpcvm owns all of it by file
 * descriptors, and so does a QEMU that is killed.
 *
 * Under qtest there is no KVM and RAM stays what it is on a stock q35; what
 * can be refused without KVM is refused all the same.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/bitmap.h"
#include "qemu/error-report.h"
#include "qemu/uuid.h"
#include "qapi/error.h"
#include "qapi/util.h"
#include "qobject/qdict.h"
#include "qobject/qbool.h"
#include "qobject/qstring.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/boards.h"
#include "hw/core/cpu.h"
#include "hw/i386/pc.h"
#include "hw/qdev-core.h"
#include "migration/blocker.h"
#include "system/hostmem.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "system/numa.h"
#include "system/qtest.h"
#include "system/runstate.h"
#include "system/system.h"
#ifdef CONFIG_NUMA
#include <numaif.h>
#endif
#include "lib/hpcvm.h"
#include "cores.h"

#define HPCVM_MACHINE_NAME "pc-q35-hpcvm-1.0"
#define TYPE_HPCVM_MACHINE MACHINE_TYPE_NAME(HPCVM_MACHINE_NAME)
OBJECT_DECLARE_TYPE(HpcvmMachineState, HpcvmMachineClass, HPCVM_MACHINE)

struct HpcvmMachineState {
    PCMachineState parent_obj;

    bool allow_dirty_log;
    bool cores;

    int dev;                  /* /dev/hpcvm; open while the machine is built */
    int vm;                   /* the VM fd; kept open until QEMU ends */
    GPtrArray *filled;        /* the backends that hpcvm's memory went into */

    Notifier init_done;
    bool has_run;
    DeviceListener screen;
    MemoryListener dirty_log;
    Error *migration_blocker;
};

struct HpcvmMachineClass {
    PCMachineClass parent_class;

    void (*parent_init)(MachineState *machine);
    int (*parent_kvm_type)(MachineState *machine, const char *type);
};

/* How memory-backend-ram gets its memory on all other machines. */
static bool (*stock_alloc)(HostMemoryBackend *backend, Error **errp);

static const char dirty_log_refused[] =
    "migrating, saving, snapshotting or measuring the dirty rate of this guest"
    " would write-protect its RAM by 4 KiB pages, and " HPCVM_MACHINE_NAME
    " promises hugepages (the machine property allow-dirty-log=on permits it)";

/* Only the sentence: where on the command line it arose helps nobody. */
static G_NORETURN void G_GNUC_PRINTF(1, 2) refuse(const char *fmt, ...)
{
    Location none;
    va_list ap;

    loc_push_none(&none);
    va_start(ap, fmt);
    error_vreport(fmt, ap);
    va_end(ap);
    exit(1);
}

static G_NORETURN void refuse_error(const struct hpcvm_error *error)
{
    char sentence[HPCVM_SENTENCE_MAX];

    refuse("%s", hpcvm_explain(error, sentence, sizeof(sentence)));
}

/* Refusals */

/* What the machine's own options say: known before any memory is taken. */
static void refuse_options(HpcvmMachineState *s)
{
    MachineState *machine = MACHINE(s);

    if (!kvm_enabled() && !qtest_enabled()) {
        refuse(HPCVM_MACHINE_NAME " needs KVM");
    }
    if (machine->maxram_size > machine->ram_size) {
        refuse("memory cannot be added to a running " HPCVM_MACHINE_NAME
               " guest: remove <maxMemory> (maxmem= of -m)");
    }
    if (machine->smp.max_cpus > machine->smp.cpus) {
        refuse("CPUs cannot be added to a running " HPCVM_MACHINE_NAME
               " guest: remove current= from <vcpu> (maxcpus= of -smp)");
    }
    if (!s->allow_dirty_log && kvm_dirty_ring_enabled()) {
        refuse("the dirty ring is of use only to log the guest's writes by"
               " 4 KiB pages, and " HPCVM_MACHINE_NAME " promises hugepages:"
               " remove <dirty-ring> (the machine property allow-dirty-log=on"
               " permits it)");
    }
    if (!QEMU_IS_ALIGNED(PC_MACHINE(s)->max_ram_below_4g, 2 * MiB)) {
        refuse("max-ram-below-4g must be a multiple of 2 MiB, or RAM above"
               " 4 GiB could not be in hugepages");
    }
    if (machine->cgs) {
        refuse("confidential guests cannot have their RAM from hpcvm: remove"
               " <launchSecurity>");
    }
}

/* The backends of RAM in order of address: the machine's, or its NUMA cells'. */
static GPtrArray *ram_backends(const MachineState *machine)
{
    const NumaState *numa = machine->numa_state;
    GPtrArray *backends = g_ptr_array_new();
    int i;

    if (machine->memdev) {
        g_ptr_array_add(backends, machine->memdev);
    }
    for (i = 0; !machine->memdev && numa && i < numa->num_nodes; i++) {
        if (numa->nodes[i].node_memdev) {
            g_ptr_array_add(backends, numa->nodes[i].node_memdev);
        }
    }
    return backends;
}

static void refuse_size(uint64_t size, uint64_t page_size)
{
    if (!QEMU_IS_ALIGNED(size, page_size)) {
        refuse("RAM of %" PRIu64 " MiB cannot be all in hugepages: the size of"
               " the guest, or of its NUMA cell, must be a multiple of %"
               PRIu64 " MiB", size / MiB, page_size / MiB);
    }
}

/* Memory that is there already: is it ours, or can it be adopted? */
static void refuse_backend(HostMemoryBackend *backend)
{
    size_t page_size = host_memory_backend_pagesize(backend);

    if (object_dynamic_cast(OBJECT(backend), TYPE_MEMORY_BACKEND_RAM)) {
        page_size = 2 * MiB; /* at least; under qtest nothing of it is */
    }
    if (page_size < 2 * MiB) {
        refuse("RAM from %s is in pages of %zu KiB, and " HPCVM_MACHINE_NAME
               " promises hugepages: add <hugepages/> to <memoryBacking>, or"
               " remove <source/> and <access/> from it, and the machine takes"
               " hugepages by itself",
               object_get_typename(OBJECT(backend)), page_size / KiB);
    }
    refuse_size(backend->size, page_size);
}

static void refuse_backends(HpcvmMachineState *s)
{
    g_autoptr(GPtrArray) backends = ram_backends(MACHINE(s));
    guint i;

    if (!backends->len) {
        refuse("a " HPCVM_MACHINE_NAME " guest needs RAM");
    }
    for (i = 0; i < backends->len; i++) {
        refuse_backend(backends->pdata[i]);
    }
    for (i = 0; i < s->filled->len; i++) {
        if (!g_ptr_array_find(backends, s->filled->pdata[i], NULL)) {
            refuse("the memory backend %s is not the guest's RAM, but has taken"
                   " hugepages from hpcvm: remove it",
                   object_get_canonical_path_component(s->filled->pdata[i]));
        }
    }
}

/* Memory: what a memory-backend-ram is filled with */

/* The host node that the backend is bound to, if it is exactly one. */
static int bound_node(const HostMemoryBackend *backend)
{
    if (backend->policy != HOST_MEM_POLICY_BIND ||
        bitmap_count_one(backend->host_nodes, MAX_NODES) != 1) {
        return HPCVM_NODE_ANY;
    }
    return find_first_bit(backend->host_nodes, MAX_NODES);
}

static int is_ragged(Object *obj, void *opaque)
{
    HostMemoryBackend *backend = (HostMemoryBackend *)
        object_dynamic_cast(obj, TYPE_MEMORY_BACKEND);

    return backend && !QEMU_IS_ALIGNED(backend->size, GiB);
}

/*
 * KVM maps by 1 GiB only what stays aligned on both sides of the PCI hole and
 * behind other cells.
 */
static bool suits_1g(HpcvmMachineState *s, uint64_t size)
{
    return QEMU_IS_ALIGNED(size, GiB) &&
           QEMU_IS_ALIGNED(PC_MACHINE(s)->max_ram_below_4g, GiB) &&
           !object_child_foreach(object_get_objects_root(), is_ragged, NULL);
}

/* Reserved or fresh is for hpcvm to choose; it says at once if it has neither. */
static int take_memory(HpcvmMachineState *s, uint64_t size, int node)
{
    struct hpcvm_error error;
    int fd = -1;

    refuse_size(size, 2 * MiB);
    if (suits_1g(s, size)) {
        fd = hpcvm_mem_create(s->dev, size, GiB, node, NULL);
    }
    if (fd < 0) {
        fd = hpcvm_mem_create(s->dev, size, 2 * MiB, node, &error);
    }
    if (fd < 0) {
        refuse_error(&error);
    }
    return fd;
}

/*
 * Several nodes, or one that is only preferred: hpcvm promises no node then,
 * and the kernel takes the pages by this thread's policy.  Use the backend's.
 */
static int take_memory_by_policy(HpcvmMachineState *s,
                                 const HostMemoryBackend *backend)
{
    int node = bound_node(backend);
#ifdef CONFIG_NUMA
    DECLARE_BITMAP(nodes, MAX_NODES + 1) = { };
    int fd, policy;

    if (backend->policy != HOST_MEM_POLICY_DEFAULT && node == HPCVM_NODE_ANY &&
        !get_mempolicy(&policy, nodes, MAX_NODES + 1, NULL, 0) &&
        !set_mempolicy((int)backend->policy, backend->host_nodes,
                       MAX_NODES + 1)) {
        fd = take_memory(s, backend->size, node);
        set_mempolicy(policy, nodes, MAX_NODES + 1);
        return fd;
    }
#endif
    return take_memory(s, backend->size, node);
}

/* Put the KVM VM in hpcvm's charge, once. */
static void attach(HpcvmMachineState *s)
{
    struct hpcvm_error error;

    if (s->vm >= 0) {
        return;
    }
    s->dev = hpcvm_open(&error);
    if (s->dev < 0) {
        refuse_error(&error);
    }
    s->vm = hpcvm_vm_create(s->dev, kvm_state->vmfd,
                            qemu_uuid_set ? qemu_uuid.data : NULL,
                            qemu_get_vm_name(), NULL, &error);
    if (s->vm < 0) {
        refuse_error(&error);
    }
}

static bool hpcvm_alloc(HostMemoryBackend *backend, Error **errp)
{
    HpcvmMachineState *s = (HpcvmMachineState *)
        object_dynamic_cast(OBJECT(current_machine), TYPE_HPCVM_MACHINE);
    g_autofree char *name = NULL;
    int fd;

    if (!s || !kvm_enabled() || !backend->size ||
        phase_check(PHASE_MACHINE_INITIALIZED)) {
        return stock_alloc(backend, errp);
    }
    refuse_options(s);
    attach(s);
    fd = take_memory_by_policy(s, backend);
    g_ptr_array_add(s->filled, backend);

    backend->share = true;
    backend->merge = false;
    name = host_memory_backend_get_name(backend);
    return memory_region_init_ram_from_fd(&backend->mr, OBJECT(backend), name,
                                          backend->size, RAM_SHARED, fd, 0,
                                          errp);
}

/* Devices and dirty logging: what comes later and may be refused then */

static bool option_is_on(const QDict *opts, const char *key)
{
    const QObject *value = qdict_get(opts, key);
    const QString *string = qobject_to(QString, value);
    const QBool *boolean = qobject_to(QBool, value);
    bool on = false;

    if (string) {
        qapi_bool_parse(key, qstring_get_str(string), &on, NULL);
    }
    return on || (boolean && qbool_get_bool(boolean));
}

/* What is wrong with a device for this machine; NULL: nothing. */
static const char *objection(const char *driver, const QDict *opts)
{
    ObjectClass *oc = object_class_by_name(driver);

    if (g_str_has_prefix(driver, "virtio-mem")) {
        return "virtio-mem takes RAM from the guest and gives it back, and "
               HPCVM_MACHINE_NAME " promises that all of it stays in hugepages:"
               " remove the device";
    }
    if (g_str_has_prefix(driver, "virtio-balloon") &&
        option_is_on(opts, "free-page-reporting")) {
        return "free page reporting gives the guest's RAM back to the host, and"
               " " HPCVM_MACHINE_NAME " promises that all of it stays in"
               " hugepages: remove freePageReporting from <memballoon>";
    }
    if (oc && object_class_dynamic_cast(oc, TYPE_CPU)) {
        return "CPUs cannot be added to a " HPCVM_MACHINE_NAME " guest";
    }
    return NULL;
}

/* Called for each -device and device_add, before the device exists. */
static bool screen_device(DeviceListener *listener, const QDict *opts,
                          bool from_json, Error **errp)
{
    const char *why = objection(qdict_get_str(opts, "driver"), opts);

    if (why && !phase_check(PHASE_MACHINE_READY)) {
        refuse("%s", why);
    } else if (why) {
        error_setg(errp, "%s", why);
    }
    return false; /* what is refused is refused by *errp, not hidden */
}

static bool refuse_dirty_log(MemoryListener *listener, Error **errp)
{
    error_setg(errp, "%s", dirty_log_refused);
    return false;
}

/* The blocker says it early and to all who ask; the listener enforces it. */
static void forbid_dirty_log(HpcvmMachineState *s)
{
    error_setg(&s->migration_blocker, "%s", dirty_log_refused);
    migrate_add_blocker(&s->migration_blocker, &error_fatal);

    s->dirty_log = (MemoryListener) {
        .name = "hpcvm",
        .priority = MEMORY_LISTENER_PRIORITY_MIN,
        .log_global_start = refuse_dirty_log,
    };
    memory_listener_register(&s->dirty_log, &address_space_memory);
}

/* The machine */

/* This part of a backend is RAM at @gpa. */
static void promise(HpcvmMachineState *s, HostMemoryBackend *backend,
                    hwaddr gpa, uint64_t offset, uint64_t length)
{
    struct hpcvm_error error;
    int ret;

    if (!length) {
        return;
    }
    if (g_ptr_array_find(s->filled, backend, NULL)) {
        ret = hpcvm_mem_slot(s->vm, memory_region_get_fd(&backend->mr),
                             bound_node(backend), gpa, offset, length, &error);
    } else {
        ret = hpcvm_mem_adopt(s->vm, bound_node(backend), gpa,
                              memory_region_get_ram_ptr(&backend->mr) + offset,
                              length, &error);
    }
    if (ret < 0) {
        refuse_error(&error);
    }
}

/* The host node that the memory of a vCPU, or of its cell, is bound to. */
static int memory_node(CPUState *cpu)
{
    const MachineState *machine = current_machine;
    int cell = X86_CPU(cpu)->node_id;

    if (machine->memdev) {
        return bound_node(machine->memdev);
    }
    if (cell < 0 || !machine->numa_state->nodes[cell].node_memdev) {
        return HPCVM_NODE_ANY;
    }
    return bound_node(machine->numa_state->nodes[cell].node_memdev);
}

/* By now libvirt has placed the vCPUs' threads. */
static void first_run(HpcvmMachineState *s)
{
    g_autofree char *why = cores_claim(s->vm, memory_node);

    if (why) {
        refuse("%s", why);
    }
    s->has_run = true;
}

/* "cont": refused where the guest would run without its cores. */
static bool hpcvm_may_run(MachineState *machine, Error **errp)
{
    g_autofree char *why = cores_take_back(HPCVM_MACHINE(machine)->vm);

    if (why) {
        error_setg(errp, "%s", why);
    }
    return !why;
}

/* The few ways to run that are not "cont" (a debugger's) cannot be refused. */
static void hpcvm_runs(void *opaque, bool running, RunState state)
{
    HpcvmMachineState *s = opaque;
    g_autofree char *why = NULL;

    if (!running) {
        return;
    }
    if (!s->has_run) {
        first_run(s);
        return;
    }
    why = cores_take_back(s->vm);
    if (why) {
        error_report("%s", why);
        qemu_system_vmstop_request_prepare();
        qemu_system_vmstop_request(RUN_STATE_PAUSED);
    }
    cores_mark(s->vm);
}

/* RAM is the backends one behind the other, cut in two by the PCI hole. */
static void hpcvm_init_done(Notifier *notifier, void *data)
{
    HpcvmMachineState *s = container_of(notifier, HpcvmMachineState, init_done);
    g_autoptr(GPtrArray) backends = ram_backends(MACHINE(s));
    X86MachineState *x86ms = X86_MACHINE(s);
    uint64_t low = x86ms->below_4g_mem_size, begin = 0, below;
    guint i;

    for (i = 0; i < backends->len; i++) {
        HostMemoryBackend *backend = backends->pdata[i];

        below = begin < low ? MIN(backend->size, low - begin) : 0;
        promise(s, backend, begin, 0, below);
        promise(s, backend, x86ms->above_4g_mem_start + begin + below - low,
                below, backend->size - below);
        begin += backend->size;
    }
    close(s->dev);
    s->dev = -1;
    if (s->cores) {
        cores_ready();
        qemu_add_vm_change_state_handler(hpcvm_runs, s);
    }
}

/* The first that a machine hears of KVM, before most threads begin. */
static int hpcvm_kvm_type(MachineState *machine, const char *type)
{
    HpcvmMachineState *s = HPCVM_MACHINE(machine);

    if (s->cores) {
        cores_begin();
    }
    return HPCVM_MACHINE_GET_CLASS(s)->parent_kvm_type(machine, type);
}

static void hpcvm_init(MachineState *machine)
{
    HpcvmMachineState *s = HPCVM_MACHINE(machine);

    refuse_options(s);
    refuse_backends(s);
    if (kvm_enabled()) {
        attach(s);
    }

    /* The balloon of libvirt's default XML stays, without effect. */
    if (ram_block_discard_disable(true) < 0) {
        refuse("a device of this guest must be able to discard RAM, which "
               HPCVM_MACHINE_NAME " does not allow");
    }
    s->screen.hide_device = screen_device;
    device_listener_register(&s->screen);
    if (!s->allow_dirty_log) {
        forbid_dirty_log(s);
    }

    HPCVM_MACHINE_GET_CLASS(s)->parent_init(machine);

    if (kvm_enabled()) {
        s->init_done.notify = hpcvm_init_done;
        qemu_add_machine_init_done_notifier(&s->init_done);
    }
}

static bool hpcvm_get_allow_dirty_log(Object *obj, Error **errp)
{
    return HPCVM_MACHINE(obj)->allow_dirty_log;
}

static void hpcvm_set_allow_dirty_log(Object *obj, bool value, Error **errp)
{
    HPCVM_MACHINE(obj)->allow_dirty_log = value;
}

static bool hpcvm_get_cores(Object *obj, Error **errp)
{
    return HPCVM_MACHINE(obj)->cores;
}

static void hpcvm_set_cores(Object *obj, bool value, Error **errp)
{
    HPCVM_MACHINE(obj)->cores = value;
}

static bool hpcvm_get_lend_cores(Object *obj, Error **errp)
{
    return cores_lent();
}

static void hpcvm_set_lend_cores(Object *obj, bool value, Error **errp)
{
    HpcvmMachineState *s = HPCVM_MACHINE(obj);

    if (!value) {
        hpcvm_may_run(MACHINE(s), errp);
    } else if (!s->has_run) {
        error_setg(errp, "the guest has no cores to lend: it has not run yet,"
                   " or has cores=off");
    } else if (runstate_is_live(runstate_get())) {
        error_setg(errp, "only a guest that is stopped can lend its cores");
    } else {
        cores_lend(s->vm);
    }
}

static void hpcvm_instance_init(Object *obj)
{
    HpcvmMachineState *s = HPCVM_MACHINE(obj);

    MACHINE(obj)->mem_merge = false;
    s->cores = true;
    s->dev = -1;
    s->vm = -1;
    s->filled = g_ptr_array_new();
}

static void hpcvm_instance_finalize(Object *obj)
{
    g_ptr_array_unref(HPCVM_MACHINE(obj)->filled);
}

static void hpcvm_class_init(ObjectClass *oc, void *data)
{
    MachineClass *mc = MACHINE_CLASS(oc);
    MachineClass *parent = MACHINE_CLASS(object_class_get_parent(oc));
    HostMemoryBackendClass *bc =
        MEMORY_BACKEND_CLASS(object_class_by_name(TYPE_MEMORY_BACKEND_RAM));

    mc->desc = "HPC guest (Q35 with all RAM in hugepages from hpcvm)";
    mc->alias = "pc-q35-hpcvm";
    mc->is_default = false;
    mc->has_hotpluggable_cpus = false;
    mc->default_nic = "virtio-net-pci";
    /* Every machine class starts with an empty list of its own. */
    g_ptr_array_extend(mc->compat_props, parent->compat_props, NULL, NULL);

    HPCVM_MACHINE_CLASS(oc)->parent_init = mc->init;
    mc->init = hpcvm_init;
    HPCVM_MACHINE_CLASS(oc)->parent_kvm_type = mc->kvm_type;
    mc->kvm_type = hpcvm_kvm_type;
    mc->may_run = hpcvm_may_run;

    stock_alloc = bc->alloc;
    bc->alloc = hpcvm_alloc;

    object_class_property_add_bool(oc, "allow-dirty-log",
                                   hpcvm_get_allow_dirty_log,
                                   hpcvm_set_allow_dirty_log);
    object_class_property_set_description(oc, "allow-dirty-log",
        "Permit migration, saving and snapshots, which break the promise of"
        " hugepages while they last (default: off)");
    object_class_property_add_bool(oc, "cores", hpcvm_get_cores,
                                   hpcvm_set_cores);
    object_class_property_set_description(oc, "cores",
        "Each vCPU owns a core of those that the node's administrator has"
        " listed, or the guest does not start (default: on)");
    object_class_property_add_bool(oc, "lend-cores", hpcvm_get_lend_cores,
                                   hpcvm_set_lend_cores);
    object_class_property_set_description(oc, "lend-cores",
        "Of a stopped guest: others may have its cores until it is to run on"
        " (default: off)");
}

static const TypeInfo hpcvm_machine_info = {
    .name = TYPE_HPCVM_MACHINE,
    .parent = MACHINE_TYPE_NAME("pc-q35-10.0"),
    .instance_size = sizeof(HpcvmMachineState),
    .instance_init = hpcvm_instance_init,
    .instance_finalize = hpcvm_instance_finalize,
    .class_size = sizeof(HpcvmMachineClass),
    .class_init = hpcvm_class_init,
};

static void hpcvm_register_types(void)
{
    type_register_static(&hpcvm_machine_info);
}

type_init(hpcvm_register_types)
