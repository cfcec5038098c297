#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench, on a node: figures, each beside the stock way of doing it.

bench.py memory OUT, bench.py start OUT: what memory costs, and how long a guest
takes to start. For a node under -icount, where a nanosecond is an instruction.
bench.py hpcc OUT: HPC Challenge in guests of several page sizes and on the
node itself, as ratios. For a node without -icount, where a TLB miss costs
time.
bench.py zero OUT: what threads help to prepare memory. For real hardware: in
emulation all processors share one memory bus, that of the host.

OUT gets a table in reStructuredText. The guests are started by QEMU alone, so
that what differs between two rows is one thing: where the RAM comes from.
"""
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
USER = TOP + "/build/user"
HPCVM = USER + "/hpcvm"
MEMORY = TOP + "/build/selftests/bench/memory"
QEMU = TOP + "/build/qemu"
POOL = "/sys/kernel/mm/hugepages/hugepages-%dkB/%s"
TRACING = "/sys/kernel/tracing/instances/bench"
SHARE = "/var/lib/hpcvm/guest/share"


def say(text):
    print(time.strftime("[%H:%M:%S] ") + text, file=sys.stderr, flush=True)


def write(path, text):
    with open(path, "w") as f:
        f.write(str(text))


def read(path):
    with open(path) as f:
        return f.read().strip()


def pool(kib, pages):
    """Make a pool of so many free pages, or say why that cannot be."""
    write(POOL % (kib, "nr_hugepages"), pages)
    free = int(read(POOL % (kib, "free_hugepages")))
    if free < pages:
        sys.exit("bench: only %d of %d pages of %d KiB: too little memory" % (free, pages, kib))


def settled(kib):
    """All pages of a pool are home: io_uring lets go of what it has pinned later."""
    for _ in range(500):
        if read(POOL % (kib, "free_hugepages")) == read(POOL % (kib, "nr_hugepages")):
            return
        time.sleep(0.01)
    sys.exit("bench: somebody keeps hugepages")


def reserve(mib):
    subprocess.run([HPCVM, "reserve", "--size", "%dM" % mib, "--count", "1"], check=True,
                   stdout=subprocess.DEVNULL)


def million(n):
    return "%.3g M" % (n / 1e6) if n >= 1e6 else "%.3g k" % (n / 1e3)


def table(out, head, rows):
    """A simple table of reStructuredText."""
    rows = [list(head)] + [[str(c) for c in row] for row in rows]
    width = [max(len(row[i]) for row in rows) for i in range(len(head))]
    line = "  ".join("=" * w for w in width)
    for i, row in enumerate(rows):
        if i < 2:
            print(line, file=out)
        print("  ".join(c.ljust(w) for c, w in zip(row, width)).rstrip(), file=out)
    print(line + "\n", file=out, flush=True)


# What memory costs

WAYS = (
    ("anon", "4K (plain q35, no THP)"),
    ("hugetlb", "2M, ``<hugepages/>``"),
    ("fresh", "2M, hpcvm, fresh"),
    ("draw", "2M, hpcvm, reserved"),
)


def memory(how, mib, rounds=3):
    """The least of: create, map, touch, pin: what no interrupt came into."""
    took = []
    for _ in range(rounds):
        if how == "draw":
            reserve(mib)
        line = subprocess.run([MEMORY, how, str(mib)], check=True, stdout=subprocess.PIPE,
                              text=True).stdout
        took.append([int(n) for n in line.split()])
        settled(2048)
    return [min(column) for column in zip(*took)]


def bench_memory(out):
    print("Memory ready for a guest, in instructions\n"
          "=========================================\n", file=out)
    rows = []
    for mib in 1024, 4096:
        pool(2048, mib // 2)
        took = {}
        for how, label in WAYS:
            say("%d MiB, %s" % (mib, label))
            took[how] = memory(how, mib, 3 if mib == 1024 or how == "draw" else 1)
        ready = {how: sum(t[:3]) for how, t in took.items()}
        for how, label in WAYS:
            create, mapped, touch, _ = took[how]
            rows.append(("%d GiB" % (mib >> 10), label, million(create), million(mapped),
                         million(touch), million(ready[how]),
                         "%.3g" % (ready["fresh"] / ready[how])))
        pinned = {how: t[3] for how, t in took.items()}
    table(out, ("guest", "way", "create", "map", "touch", "ready", "fresh / this"), rows)
    pool(2048, 0)

    print("Stock hugepages have this already\n"
          "=================================\n\n"
          "Pinning 1 GiB of it for a device (an io_uring buffer, as VFIO and RDMA pin).\n", file=out)
    table(out, ("way", "instructions", "4K pages / this"),
          [(label, million(pinned[how]), "%.3g" % (pinned["anon"] / pinned[how]))
           for how, label in WAYS])


# How long a guest takes to start

class Guest:
    """A guest of MIB, its RAM as WAY says, the job in SHARE."""

    def __init__(self, way, mib):
        backend = "memory-backend-ram,id=ram,size=%dM" % mib
        if way == "hugetlb":
            backend = "memory-backend-memfd,id=ram,size=%dM,hugetlb=on,hugetlbsize=2M,prealloc=on" % mib
        machine = "pc-q35-10.0" if way in ("anon", "hugetlb") else "pc-q35-hpcvm-1.0"
        guest = os.path.dirname(SHARE)
        for name in os.listdir(SHARE):
            if name in ("booted", "status", "filled", "hpccoutf.txt"):
                os.unlink(SHARE + "/" + name)
        share = []
        for tag, path, options in (("root", guest + "/root", ",readonly=on"), ("share", SHARE, "")):
            share += ["-fsdev", "local,id=%s,path=%s,security_model=passthrough,multidevs=remap%s"
                      % (tag, path, options), "-device", "virtio-9p-pci,fsdev=%s,mount_tag=%s" % (tag, tag)]
        qemu = "/cache/%s/bin/qemu-system-hpcvm" % os.path.basename(os.readlink(QEMU))
        self.begin = time.monotonic_ns()
        self.qemu = subprocess.Popen(
            [qemu, "-machine", machine + ",memory-backend=ram", "-accel", "kvm", "-cpu", "host",
             "-smp", "1", "-m", str(mib), "-object", backend, "-nodefaults", "-no-user-config",
             "-display", "none", "-no-reboot", "-serial", "file:/tmp/bench-console",
             "-kernel", guest + "/vmlinuz", "-initrd", guest + "/initrd", "-append",
             "console=ttyS0 quiet panic=-1 hpcvm_init=/share/init"] + share)

    def until(self, name, limit):
        """The time it took until the guest has left a file."""
        end = time.monotonic() + limit
        last = time.monotonic()
        while not os.path.exists(SHARE + "/" + name):
            if self.qemu.poll() is not None or time.monotonic() > end:
                sys.stderr.write(read("/tmp/bench-console")[-2000:] + "\n")
                sys.exit("bench: the guest did not get as far as %s" % name)
            if time.monotonic() - last > 15:
                last = time.monotonic()
                say("  ... until %s" % name)
            time.sleep(0.01)
        return time.monotonic_ns() - self.begin

    def mappings(self):
        """How KVM maps it: how many pages of 4K, 2M, 1G."""
        for name in os.listdir("/sys/kernel/debug/kvm"):
            if name.startswith("%d-" % self.qemu.pid):
                return [int(read("/sys/kernel/debug/kvm/%s/pages_%s" % (name, size)))
                        for size in ("4k", "2m", "1g")]
        sys.exit("bench: KVM has no counters of the guest")

    def end(self):
        self.qemu.kill()
        self.qemu.wait()
        time.sleep(0.3)


def first_entry():
    """When the guest's first instruction ran, on the clock of time.monotonic_ns()."""
    for line in read(TRACING + "/trace").splitlines():
        found = re.search(r" (\d+)\.(\d{6}): kvm_entry", line)
        if found:
            return int(found[1]) * 10**9 + int(found[2]) * 1000
    sys.exit("bench: no kvm_entry was traced")


def bench_start(out, mib=1024):
    write("/sys/kernel/tracing/options/record-cmd", 0)
    os.makedirs(TRACING, exist_ok=True)
    write(TRACING + "/trace_clock", "mono")
    write(TRACING + "/events/kvm/kvm_entry/trigger", "traceoff:1")
    write(TRACING + "/events/kvm/kvm_entry/enable", 1)
    print("A guest of 1 GiB starts, in instructions\n"
          "========================================\n\n"
          "From QEMU's start; the mappings are KVM's when the guest has written 500 MiB.\n", file=out)
    pool(2048, mib // 2)
    rows, first_of, user_of = [], {}, {}
    for way, label in WAYS:
        say("start: %s" % label)
        if way == "draw":
            reserve(mib)
        write(TRACING + "/trace", "")
        write(TRACING + "/events/kvm/kvm_entry/trigger", "!traceoff:1")
        write(TRACING + "/events/kvm/kvm_entry/trigger", "traceoff:1")
        write(TRACING + "/tracing_on", 1)
        guest = Guest(way, mib)
        user_of[way] = guest.until("booted", 600)
        first_of[way] = first_entry() - guest.begin
        guest.until("filled", 300)
        rows.append((label, million(first_of[way]), million(user_of[way]),
                     " / ".join(str(n) for n in guest.mappings())))
        guest.end()
    table(out, ("way", "first instruction", "userspace", "mapped by 4K / 2M / 1G"), rows)
    write(TRACING + "/events/kvm/kvm_entry/trigger", "!traceoff:1")
    write(TRACING + "/events/kvm/kvm_entry/enable", 0)
    os.rmdir(TRACING)
    pool(2048, 0)


# HPC Challenge

RESULTS = (
    ("HPL", "HPL_Tflops"),
    ("STREAM triad", "SingleSTREAM_Triad"),
    ("RandomAccess", "SingleRandomAccess_GUPs"),
    ("FFT", "SingleFFT_Gflops"),
)


def results(path):
    pairs = (line.split("=") for line in read(path).splitlines() if line.count("=") == 1)
    return {key: float(value) for key, value in pairs if key in dict(RESULTS).values()}


def bench_hpcc(out, mib=3072):
    print("HPC Challenge, guest / native\n"
          "=============================\n\n"
          "One process, a guest of 3 GiB with one vCPU.\n", file=out)
    columns = {}
    # 1 GiB pages first: the machine takes them where they are, and who has given
    # them back hardly gets them again.
    for way, label, kib in (("anon", "4K", 0), ("fresh", "1G", 1 << 20), ("fresh", "2M", 2048)):
        say("hpcc in a guest of %s pages" % label)
        if kib:
            pool(kib, mib * 1024 // kib)
        guest = Guest(way, mib)
        guest.until("status", 1800)
        columns[label] = results(SHARE + "/hpccoutf.txt")
        guest.end()
        if kib:
            pool(kib, 0)
    say("hpcc on the node")
    os.makedirs("/tmp/native", exist_ok=True)
    write("/tmp/native/hpccinf.txt", read(SHARE + "/hpccinf.txt") + "\n")
    subprocess.run([TOP + "/scripts/node/hpcc-run", "/tmp/native"], check=True)
    native = results("/tmp/native/hpccoutf.txt")
    sizes = ("4K", "2M", "1G")
    table(out, ("",) + sizes,
          [[name] + ["%.2f" % (columns[label][key] / native[key]) for label in sizes]
           for name, key in RESULTS])


# Threads

def prepared(mib, threads):
    """The shortest of three times to prepare a reservation."""
    took = []
    for _ in range(3):
        begin = time.monotonic()
        subprocess.run([HPCVM, "reserve", "--size", "%dM" % mib, "--count", "1", "--threads",
                        str(threads)], check=True, stdout=subprocess.DEVNULL)
        took.append(time.monotonic() - begin)
        subprocess.run([HPCVM, "reserve", "--drop", "all"], check=True, stdout=subprocess.DEVNULL)
    return min(took)


def bench_zero(out, mib=4096):
    if os.listdir("/sys/class/misc/hpcvm/reservations") != ["gone"]:
        sys.exit("bench: there are reservations; they would be dropped: hpcvm reserve --list")
    print("A reservation of 4 GiB, by threads\n"
          "==================================\n", file=out)
    pages = int(read(POOL % (2048, "nr_hugepages")))
    pool(2048, pages + mib // 2)
    say("4 GiB, 1, 2, 4 threads")
    took = {n: prepared(mib, n) for n in (1, 2, 4)}
    write(POOL % (2048, "nr_hugepages"), pages)
    table(out, ("threads", "times as fast as one"),
          [(n, "%.2f" % (took[1] / t)) for n, t in took.items()])


def main():
    what, path = sys.argv[1:]
    with open(path, "w") as out:
        if what == "zero":
            bench_zero(out)
            return
        write("/sys/kernel/mm/transparent_hugepage/enabled", "never")
        {"memory": bench_memory, "start": bench_start, "hpcc": bench_hpcc}[what](out)


main()
