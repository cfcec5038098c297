/*
 * qtest of the machine type pc-q35-hpcvm
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * /machine needs neither KVM nor hpcvm: what the machine is beside its
 * parent, what it refuses before it starts, what it refuses while it runs.
 *
 * /memory wants both, and a pool of hugepages, or is skipped: what becomes of
 * the memory backends that a guest's RAM is asked from.  The guest does not
 * run; its RAM is written through QEMU and read in the file that it should be.
 */

#include "qemu/osdep.h"
#include "qemu/units.h"
#include "libqtest.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "qobject/qstring.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>

#define MACHINE "pc-q35-hpcvm-1.0"
#define PARENT "pc-q35-10.0"
#define BARE "-machine " MACHINE " -nodefaults "
#define WITH_KVM "-accel kvm -S "

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

static const char dirty_log_refused[] = "promises hugepages (the machine"
    " property allow-dirty-log=on permits it)";

/* A list of dictionaries: the one whose @key is @value; NULL: none. */
static QDict *find(QList *list, const char *key, const char *value)
{
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *dict = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_try_str(dict, key) ?: "", value)) {
            return dict;
        }
    }
    return NULL;
}

/* What the machine is */

static void test_as_parent(void)
{
    static const char *const same[] = {
        "compat-props", "cpu-max", "default-cpu-type", "default-ram-id",
        "numa-mem-supported", "deprecated", "acpi",
    };
    QTestState *qts = qtest_init("-machine none");
    QDict *ret = qtest_qmp(qts, "{ 'execute': 'query-machines',"
                                "  'arguments': { 'compat-props': true } }");
    QList *machines = qdict_get_qlist(ret, "return");
    QDict *ours = find(machines, "name", MACHINE);
    QDict *parent = find(machines, "name", PARENT);
    size_t i;

    g_assert(ours && parent);
    for (i = 0; i < ARRAY_SIZE(same); i++) {
        g_assert(qdict_haskey(parent, same[i]));
        g_assert(qobject_is_equal(qdict_get(ours, same[i]),
                                  qdict_get(parent, same[i])));
    }
    g_assert(!qlist_empty(qdict_get_qlist(ours, "compat-props")));
    g_assert_cmpstr(qdict_get_str(ours, "alias"), ==, "pc-q35-hpcvm");
    g_assert_cmpstr(qdict_get_str(parent, "alias"), ==, "q35");
    g_assert(!qdict_get_try_bool(ours, "is-default", false));
    g_assert(!qdict_get_bool(ours, "hotpluggable-cpus"));

    qobject_unref(ret);
    qtest_quit(qts);
}

static QDict *properties(QTestState *qts, const char *machine)
{
    return qtest_qmp(qts, "{ 'execute': 'qom-list-properties',"
                          "  'arguments': { 'typename': %s } }", machine);
}

static void test_properties(void)
{
    QTestState *qts = qtest_init("-machine none");
    QDict *ours = properties(qts, MACHINE "-machine");
    QDict *parent = properties(qts, PARENT "-machine");
    QList *list = qdict_get_qlist(parent, "return");
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(list, entry) {
        QDict *property = qobject_to(QDict, qlist_entry_obj(entry));
        QDict *same = find(qdict_get_qlist(ours, "return"), "name",
                           qdict_get_str(property, "name"));

        g_assert(same);
        g_assert_cmpstr(qdict_get_str(same, "type"), ==,
                        qdict_get_str(property, "type"));
    }
    g_assert_cmpint(qlist_size(qdict_get_qlist(ours, "return")), ==,
                    qlist_size(list) + 3);
    g_assert(find(qdict_get_qlist(ours, "return"), "name", "allow-dirty-log"));
    g_assert(find(qdict_get_qlist(ours, "return"), "name", "cores"));
    g_assert(find(qdict_get_qlist(ours, "return"), "name", "lend-cores"));

    qobject_unref(ours);
    qobject_unref(parent);
    qtest_quit(qts);
}

static QDict *devices(const char *machine)
{
    QTestState *qts = qtest_initf("-machine %s -nodefaults", machine);
    QDict *pci = qtest_qmp(qts, "{ 'execute': 'query-pci' }");

    qtest_quit(qts);
    return pci;
}

static void test_board(void)
{
    QDict *ours = devices(MACHINE), *parent = devices(PARENT);

    g_assert(qdict_haskey(parent, "return"));
    g_assert(qobject_is_equal(QOBJECT(ours), QOBJECT(parent)));
    qobject_unref(ours);
    qobject_unref(parent);
}

static void test_defaults(void)
{
    QTestState *qts = qtest_init(BARE);

    g_assert(!qtest_qom_get_bool(qts, "/machine", "mem-merge"));
    g_assert(!qtest_qom_get_bool(qts, "/machine", "allow-dirty-log"));
    g_assert(qtest_qom_get_bool(qts, "/machine", "cores"));
    g_assert(!qtest_qom_get_bool(qts, "/machine", "lend-cores"));
    qtest_quit(qts);
}

/*
 * What the domain XML of virt-install and libvirt's defaults ask for, what an
 * HPC guest is given, and what is there to be refused in words.
 */
static void test_devices(void)
{
    static const char *const wanted[] = {
        "pcie-root-port", "pcie-pci-bridge", "pci-bridge", "i82801b11-bridge",
        "x3130-upstream", "xio3130-downstream", "ioh3420",
        "qemu-xhci", "ich9-usb-ehci1", "ich9-usb-uhci1", "ich9-usb-uhci2",
        "ich9-usb-uhci3", "usb-tablet", "usb-kbd", "usb-mouse", "usb-hub",
        "usb-storage",
        "virtio-blk-pci", "virtio-scsi-pci", "scsi-hd", "scsi-cd", "scsi-block",
        "ide-hd", "ide-cd", "ich9-ahci",
        "virtio-net-pci", "e1000e", "virtio-serial-pci", "virtserialport",
        "virtconsole", "virtio-rng-pci", "virtio-balloon-pci", "virtio-9p-pci",
        "vhost-vsock-pci", "vhost-user-fs-pci",
        "VGA", "virtio-vga", "virtio-gpu-pci", "bochs-display",
        "vfio-pci", "intel-iommu", "isa-serial", "cfi.pflash01",
        "pvpanic", "pvpanic-pci", "hpet", "vmgenid", "virtio-mem-pci",
    };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(wanted); i++) {
        if (!qtest_has_device(wanted[i])) {
            g_test_message("there is no %s", wanted[i]);
            g_test_fail();
        }
    }
}

/* What it refuses before it starts */

struct refusal {
    const char *name;
    const char *args;
    const char *words;
};

static const struct refusal refusals[] = {
    { "size", "-m 1025M", "must be a multiple of 2 MiB" },
    { "cell", "-m 512M -object memory-backend-ram,id=a,size=255M"
      " -object memory-backend-ram,id=b,size=257M"
      " -numa node,memdev=a -numa node,memdev=b",
      "must be a multiple of 2 MiB" },
    { "maxcpus", "-m 64 -smp 1,maxcpus=2", "remove current= from <vcpu>" },
    { "maxmem", "-m 512M,slots=2,maxmem=1G", "remove <maxMemory>" },
    { "low-end", "-machine max-ram-below-4g=1025M",
      "max-ram-below-4g must be a multiple of 2 MiB" },
    { "memfd", "-m 64M -object memory-backend-memfd,id=m,size=64M"
      " -machine memory-backend=m",
      "memory-backend-memfd is in pages of 4 KiB" },
    { "file", "-m 64M -object memory-backend-file,id=m,size=64M,mem-path=/tmp"
      " -machine memory-backend=m",
      "memory-backend-file is in pages of 4 KiB" },
    { "cell-memfd", "-m 128M -object memory-backend-ram,id=a,size=64M"
      " -object memory-backend-memfd,id=b,size=64M"
      " -numa node,memdev=a -numa node,memdev=b",
      "memory-backend-memfd is in pages of 4 KiB" },
    { "virtio-mem", "-device virtio-mem-pci", "remove the device" },
    { "reporting", "-device virtio-balloon-pci,free-page-reporting=on",
      "remove freePageReporting" },
    { "reporting-json", "-device '{\"driver\": \"virtio-balloon-pci\","
      " \"free-page-reporting\": true}'", "remove freePageReporting" },
};

/* QEMU ends by itself, with status 1 and this one sentence. */
static void assert_refused(const char *args, const char *words)
{
    g_autofree char *command = g_strdup_printf("timeout 60 %s " BARE
                                               "-display none %s -accel qtest",
                                               getenv("QTEST_QEMU_BINARY"),
                                               args);
    g_autofree char *out = NULL, *err = NULL;
    int status;

    g_test_message("%s", command);
    g_assert(g_spawn_command_line_sync(command, &out, &err, &status, NULL));
    g_strchomp(err);
    g_test_message("%s", err);
    g_assert(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    g_assert_nonnull(strstr(err, words));
    g_assert_null(strchr(err, '\n'));
}

static void test_refusal(const void *data)
{
    const struct refusal *refusal = data;

    assert_refused(refusal->args, refusal->words);
}

/* What it refuses while it runs */

static void assert_error(QDict *response, const char *words)
{
    const char *desc;

    g_assert(qdict_haskey(response, "error"));
    desc = qdict_get_str(qdict_get_qdict(response, "error"), "desc");
    g_test_message("%s", desc);
    g_assert_nonnull(strstr(desc, words));
    qobject_unref(response);
}

static QDict *plug(QTestState *qts, const char *json)
{
    QDict *args = qobject_to(QDict, qobject_from_json(json, &error_abort));

    return qtest_qmp(qts, "{ 'execute': 'device_add', 'arguments': %p }", args);
}

static void test_hotplug(void)
{
    QTestState *qts = qtest_init(BARE "-m 64"
                                 " -device pcie-root-port,id=rp0,chassis=1"
                                 " -device pcie-root-port,id=rp1,chassis=2");

    assert_error(plug(qts, "{ 'driver': 'virtio-mem-pci', 'bus': 'rp0' }"),
                 "remove the device");
    assert_error(plug(qts, "{ 'driver': 'virtio-balloon-pci', 'bus': 'rp0',"
                           "  'free-page-reporting': true }"),
                 "remove freePageReporting");
    assert_error(plug(qts, "{ 'driver': 'qemu64-x86_64-cpu',"
                           "  'socket-id': 1, 'core-id': 0, 'thread-id': 0 }"),
                 "CPUs cannot be added");
    /* without it, the balloon may stay, and others may come */
    qtest_qmp_device_add(qts, "virtio-balloon-pci", "b", "{ 'bus': 'rp0' }");
    qtest_qmp_device_add(qts, "virtio-rng-pci", "r", "{ 'bus': 'rp1' }");
    qtest_quit(qts);
}

static bool migration_blocked(QTestState *qts)
{
    QDict *ret = qtest_qmp_assert_success_ref(qts,
                                              "{ 'execute': 'query-migrate' }");
    QList *reasons = qdict_get_qlist(ret, "blocked-reasons");
    bool blocked = false;
    QListEntry *entry;

    if (reasons) {
        QLIST_FOREACH_ENTRY(reasons, entry) {
            QString *why = qobject_to(QString, qlist_entry_obj(entry));

            blocked |= !!strstr(qstring_get_str(why), dirty_log_refused);
        }
    }
    qobject_unref(ret);
    return blocked;
}

/* Without KVM no core is claimed: what there is to refuse, and to go on. */
static void test_lend_cores(void)
{
    QTestState *qts = qtest_init(BARE);

    assert_error(qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': { 'path':"
                           " '/machine', 'property': 'lend-cores',"
                           " 'value': true } }"),
                 "it has not run yet");
    qtest_qmp_assert_success(qts, "{ 'execute': 'stop' }");
    qtest_qmp_assert_success(qts, "{ 'execute': 'cont' }");
    qtest_quit(qts);
}

static void test_dirty_log(void)
{
    QTestState *qts = qtest_init(BARE "-m 64");
    g_autofree char *said = NULL;

    g_assert(migration_blocked(qts));
    assert_error(qtest_qmp(qts, "{ 'execute': 'migrate',"
                                "  'arguments': { 'uri': 'exec:cat' } }"),
                 dirty_log_refused);
    said = qtest_hmp(qts, "savevm s");
    g_assert_nonnull(strstr(said, dirty_log_refused));
    /* what needs no log */
    qtest_qmp_assert_success(qts, "{ 'execute': 'dump-guest-memory',"
                                  "  'arguments': { 'paging': false,"
                                  "    'protocol': 'file:/dev/null' } }");
    qtest_quit(qts);
}

static void test_dirty_log_allowed(void)
{
    QTestState *qts = qtest_init(BARE "-m 64 -machine allow-dirty-log=on");

    g_assert(!migration_blocked(qts));
    qtest_qmp_assert_success(qts, "{ 'execute': 'migrate', 'arguments':"
                                  "  { 'uri': 'exec:cat >/dev/null' } }");
    qtest_quit(qts);
}

/* The guest's memory */

static uint64_t free_pages(void)
{
    g_autofree char *text = NULL;

    g_assert(g_file_get_contents(POOL, &text, NULL, NULL));
    return g_ascii_strtoull(text, NULL, 10);
}

static bool node_lacks(void)
{
    if (qtest_has_accel("kvm") && !access("/dev/hpcvm", R_OK | W_OK) &&
        free_pages() >= 64) {
        return false;
    }
    g_test_skip("this wants KVM, hpcvm and 64 free hugepages of 2 MiB");
    return true;
}

/* Files of hugepages that QEMU has open: how many, and one that is @size. */
static int hugetlb_files(QTestState *qts, uint64_t size, char **path)
{
    g_autofree char *dir = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    GDir *fds = g_dir_open(dir, 0, NULL);
    const char *name;
    int n = 0;

    g_assert(fds);
    while ((name = g_dir_read_name(fds))) {
        g_autofree char *fd = g_build_filename(dir, name, NULL);
        struct statfs fs;
        struct stat st;

        if (statfs(fd, &fs) || fs.f_type != HUGETLBFS_MAGIC || stat(fd, &st)) {
            continue;
        }
        n++;
        if (path && !*path && st.st_size == size) {
            *path = g_steal_pointer(&fd);
        }
    }
    g_dir_close(fds);
    return n;
}

static void assert_same(QTestState *qts, uint64_t gpa, const char *path,
                        uint64_t offset)
{
    uint64_t pattern = 0x6870637600000000ULL | gpa, seen = 0;
    int fd = open(path, O_RDONLY);

    g_assert_cmpint(fd, >=, 0);
    qtest_memwrite(qts, gpa, &pattern, sizeof(pattern));
    g_assert_cmpint(pread(fd, &seen, sizeof(seen), offset), ==, sizeof(seen));
    g_assert_cmphex(seen, ==, pattern);
    close(fd);
}

/* What QEMU says of the memory backend @id. */
static QDict *memdev(QTestState *qts, const char *id)
{
    QDict *ret = qtest_qmp(qts, "{ 'execute': 'query-memdev' }");
    QDict *dev = find(qdict_get_qlist(ret, "return"), "id", id);

    g_assert(dev);
    qobject_ref(dev);
    qobject_unref(ret);
    return dev;
}

/* "2 MiB" or so: by which pages does QEMU take it that the block is mapped? */
static void assert_page_size(QTestState *qts, const char *block,
                             const char *size)
{
    g_autofree char *blocks = qtest_hmp(qts, "info ramblock");
    g_autofree char *line = g_strdup_printf("%s *%s ", block, size);

    g_assert(g_regex_match_simple(line, blocks, 0, 0));
}

/* Which of "file" and "adopted" does the module say of the slot at @gpa? */
static void assert_kind(QTestState *qts, uint64_t gpa, const char *kind)
{
    const char *vms = "/sys/class/misc/hpcvm/vms";
    g_autofree char *want = g_strdup_printf("%d\n", qtest_pid(qts));
    GDir *dir = g_dir_open(vms, 0, NULL);
    bool found = false;
    const char *id;

    g_assert(dir);
    while ((id = g_dir_read_name(dir))) {
        g_autofree char *of = g_strdup_printf("%s/%s/pid", vms, id);
        g_autofree char *slot = g_strdup_printf("%s/%s/slots/0x%" PRIx64
                                                "/kind", vms, id, gpa);
        g_autofree char *pid = NULL, *is = NULL;

        g_assert(g_file_get_contents(of, &pid, NULL, NULL));
        if (!g_str_equal(pid, want)) {
            continue;
        }
        found = true;
        g_assert(g_file_get_contents(slot, &is, NULL, NULL));
        g_assert_cmpstr(g_strchomp(is), ==, kind);
    }
    g_assert(found);
    g_dir_close(dir);
}

/* Plain "-m": the machine's own backend. */
static void test_replaced(void)
{
    g_autofree char *path = NULL;
    uint64_t before;
    QTestState *qts;
    QDict *dev;

    if (node_lacks()) {
        return;
    }
    before = free_pages();
    qts = qtest_init(BARE WITH_KVM "-m 64");
    dev = memdev(qts, "pc.ram");
    g_assert_cmpint(free_pages(), ==, before - 32);
    g_assert_cmpint(hugetlb_files(qts, 64 * MiB, &path), ==, 1);
    g_assert(path);
    assert_same(qts, 2 * MiB, path, 2 * MiB);
    assert_same(qts, 64 * MiB - 8, path, 64 * MiB - 8);
    assert_page_size(qts, "pc.ram", "2 MiB");
    assert_kind(qts, 0, "file");

    g_assert_cmpint(qdict_get_int(dev, "size"), ==, 64 * MiB);
    g_assert(qdict_get_bool(dev, "share"));
    g_assert(!qdict_get_bool(dev, "merge"));
    g_assert(qdict_get_bool(dev, "dump"));
    g_assert_cmpstr(qdict_get_str(dev, "policy"), ==, "default");
    qobject_unref(dev);

    /* what is no RAM of the guest's remains what it was */
    assert_page_size(qts, "pc.bios", "4 KiB");
    qtest_quit(qts);
    g_assert_cmpint(free_pages(), ==, before);
}

/* libvirt's plain cells: as asked for, each in a file of its own. */
static void test_replaced_cells(void)
{
    g_autofree char *a = NULL, *b = NULL;
    uint64_t before;
    QTestState *qts;
    QDict *dev;

    if (node_lacks()) {
        return;
    }
    before = free_pages();
    qts = qtest_init(BARE WITH_KVM "-m 96 -smp 2"
        " -object memory-backend-ram,id=a,size=64M,merge=on,share=off,"
        "prealloc=on,host-nodes=0,policy=bind"
        " -object memory-backend-ram,id=b,size=32M,host-nodes=0-1,"
        "policy=interleave"
        " -numa node,memdev=a,cpus=0 -numa node,memdev=b,cpus=1");
    dev = memdev(qts, "a");
    g_assert_cmpint(free_pages(), ==, before - 48);
    g_assert_cmpint(hugetlb_files(qts, 64 * MiB, &a), ==, 2);
    g_assert_cmpint(hugetlb_files(qts, 32 * MiB, &b), ==, 2);
    g_assert(a && b);
    assert_same(qts, 64 * MiB - 8, a, 64 * MiB - 8);
    assert_same(qts, 64 * MiB, b, 0);
    assert_kind(qts, 0, "file");
    assert_kind(qts, 64 * MiB, "file");

    g_assert(qdict_get_bool(dev, "share"));
    g_assert(!qdict_get_bool(dev, "merge"));
    g_assert_cmpstr(qdict_get_str(dev, "policy"), ==, "bind");
    qobject_unref(dev);
    dev = memdev(qts, "b");
    g_assert_cmpstr(qdict_get_str(dev, "policy"), ==, "interleave");
    qobject_unref(dev);
    qtest_quit(qts);
    g_assert_cmpint(free_pages(), ==, before);
}

/* A backend that comes when the machine stands is none of its RAM. */
static void test_later_backend(void)
{
    uint64_t before;
    QTestState *qts;
    QDict *dev;

    if (node_lacks()) {
        return;
    }
    before = free_pages();
    qts = qtest_init(BARE WITH_KVM "-m 32");
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-add', 'arguments':"
                                  "  { 'qom-type': 'memory-backend-ram',"
                                  "    'id': 'later', 'size': 33554432 } }");
    g_assert_cmpint(free_pages(), ==, before - 16);
    g_assert_cmpint(hugetlb_files(qts, 0, NULL), ==, 1);
    dev = memdev(qts, "later");
    g_assert(!qdict_get_bool(dev, "share"));
    qobject_unref(dev);
    qtest_quit(qts);
    g_assert_cmpint(free_pages(), ==, before);
}

struct adoption {
    const char *name;
    const char *backend;
    bool share;
};

static const struct adoption adoptions[] = {
    { "file-private", "file,mem-path=/dev/hugepages", false },
    { "file-shared", "file,mem-path=/dev/hugepages,share=on", true },
    { "memfd", "memfd,hugetlb=on,hugetlbsize=2M", true },
};

/* Hugepages that are there already stay as they are. */
static void test_adopted(const void *data)
{
    const struct adoption *adoption = data;
    g_autofree char *path = NULL;
    uint64_t before;
    QTestState *qts;
    QDict *dev;

    if (node_lacks()) {
        return;
    }
    before = free_pages();
    qts = qtest_initf(BARE WITH_KVM "-m 64 -object memory-backend-%s,id=m,"
                      "size=64M,prealloc=on -machine memory-backend=m",
                      adoption->backend);
    dev = memdev(qts, "m");
    g_assert_cmpint(free_pages(), ==, before - 32);
    g_assert_cmpint(hugetlb_files(qts, 64 * MiB, &path), ==, 1);
    assert_page_size(qts, "m", "2 MiB");
    assert_kind(qts, 0, "adopted");
    g_assert(qdict_get_bool(dev, "prealloc"));
    g_assert(qdict_get_bool(dev, "share") == adoption->share);
    qobject_unref(dev);
    if (adoption->share) {
        g_assert(path);
        assert_same(qts, 2 * MiB, path, 2 * MiB);
    }
    qtest_quit(qts);
    g_assert_cmpint(free_pages(), ==, before);
}

/* What "hpcvm proof" says of the guest: 0, every promise holds. */
static int proof(QTestState *qts)
{
    g_autofree char *name = g_strdup_printf("qtest-%d", getpid());
    const char *argv[] = { getenv("HPCVM") ?: "hpcvm", "proof", name, NULL };
    g_autofree char *out = NULL;
    int status;

    g_assert(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
                          NULL, &out, NULL, &status, NULL));
    g_test_message("%s", out);
    g_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/*
 * UEFI with Secure Boot hides the last 16 MiB of low RAM in SMM: KVM's memslots
 * of the guest end before them, and the promise holds.
 */
static void test_tseg(void)
{
    QTestState *qts;
    g_autofree char *before = NULL, *after = NULL;

    if (node_lacks()) {
        return;
    }
    qts = qtest_initf(BARE WITH_KVM "-m 64 -machine smm=on -name qtest-%d",
                      getpid());
    g_assert_cmpint(proof(qts), ==, 0);
    before = qtest_hmp(qts, "info mtree -f");
    g_assert_null(strstr(before, "tseg"));

    /* the host bridge: SMRAM is on; TSEG has QEMU's size, and is on */
    qtest_outl(qts, 0xcf8, 0x8000009c);
    qtest_outb(qts, 0xcfd, 0x0a);
    qtest_outb(qts, 0xcfe, 0x07);
    after = qtest_hmp(qts, "info mtree -f");
    g_assert_nonnull(strstr(after,
        "0000000003000000-0000000003ffffff (prio 1, i/o): tseg-blackhole"));
    g_assert_cmpint(proof(qts), ==, 0);
    qtest_quit(qts);
}

static void test_dirty_ring(void)
{
    uint64_t before;

    if (node_lacks()) {
        return;
    }
    before = free_pages();
    assert_refused("-m 64 -S -accel kvm,dirty-ring-size=4096",
                   "remove <dirty-ring>");
    g_assert_cmpint(free_pages(), ==, before);
}

/* A kernel that was booted nohz_full refuses membarrier() for all processes. */
static void refuse_membarrier(void *unused)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { ARRAY_SIZE(filter), filter };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        _exit(1);
    }
}

static void test_nohz_full(void)
{
    char *args[] = { getenv("QTEST_QEMU_BINARY"), (char *)"--version", NULL };
    int status = -1;

    g_assert_true(g_spawn_sync(NULL, args, NULL, G_SPAWN_STDOUT_TO_DEV_NULL,
                               refuse_membarrier, NULL, NULL, NULL, &status,
                               NULL));
    g_assert_cmpint(status, ==, 0);
}

int main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);

    qtest_add_func("hpcvm/machine/as-parent", test_as_parent);
    qtest_add_func("hpcvm/machine/properties", test_properties);
    qtest_add_func("hpcvm/machine/board", test_board);
    qtest_add_func("hpcvm/machine/defaults", test_defaults);
    qtest_add_func("hpcvm/machine/devices", test_devices);
    for (i = 0; i < ARRAY_SIZE(refusals); i++) {
        g_autofree char *name = g_strdup_printf("hpcvm/machine/refused/%s",
                                                refusals[i].name);

        qtest_add_data_func(name, &refusals[i], test_refusal);
    }
    qtest_add_func("hpcvm/machine/hotplug", test_hotplug);
    qtest_add_func("hpcvm/machine/lend-cores", test_lend_cores);
    qtest_add_func("hpcvm/machine/dirty-log", test_dirty_log);
    qtest_add_func("hpcvm/machine/dirty-log-allowed", test_dirty_log_allowed);
    qtest_add_func("hpcvm/machine/nohz-full", test_nohz_full);

    qtest_add_func("hpcvm/memory/replaced", test_replaced);
    qtest_add_func("hpcvm/memory/replaced-cells", test_replaced_cells);
    qtest_add_func("hpcvm/memory/later-backend", test_later_backend);
    for (i = 0; i < ARRAY_SIZE(adoptions); i++) {
        g_autofree char *name = g_strdup_printf("hpcvm/memory/adopted/%s",
                                                adoptions[i].name);

        qtest_add_data_func(name, &adoptions[i], test_adopted);
    }
    qtest_add_func("hpcvm/memory/tseg", test_tseg);
    qtest_add_func("hpcvm/memory/dirty-ring", test_dirty_ring);
    return g_test_run();
}
