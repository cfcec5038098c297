#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""make bench, on a node: figures, each beside the stock way of doing it.

bench.py memory OUT, bench.py first OUT: what memory costs, and what QEMU does before
a guest's first instruction. For a node under -icount, where a nanosecond is an
instruction.
bench.py start OUT, bench.py hpcc OUT: how long a guest takes to come up; HPC
Challenge in guests of several page sizes and on the node itself; both as
ratios. For a node without -icount, where a TLB miss costs time.
bench.py latency OUT: what rt-tests notice of what disturbs a core, in guest and node.
bench.py zero OUT: what threads help to prepare memory. For real hardware: in
emulation all processors share one memory bus, that of the host.

OUT gets a table in reStructuredText. The guests are started by QEMU alone, so
that what differs between two rows is one thing: where the RAM comes from.
"""
import json
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
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
KVM = "/sys/kernel/debug/kvm"
CORES = "/sys/class/misc/hpcvm/cores/"
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
    """A guest of MIB, its RAM as WAY says, the job in SHARE. Each of its vCPUs is
    bound to one of CPUS, if there are any, or claims one if CLAIM. Its kernel boots
    with APPEND."""

    def __init__(self, way, mib, *more, cpus=(), claim=False, append=""):
        backend = "memory-backend-ram,id=ram,size=%dM" % mib
        if way == "hugetlb":
            backend = "memory-backend-memfd,id=ram,size=%dM,hugetlb=on,hugetlbsize=2M,prealloc=on" % mib
        machine = "pc-q35-10.0" if way in ("anon", "hugetlb") else \
            "pc-q35-hpcvm-1.0" + ("" if claim else ",cores=off")
        guest = os.path.dirname(SHARE)
        for name in os.listdir(SHARE):
            if name in ("booted", "status", "filled", "spinning", "hpccoutf.txt"):
                os.unlink(SHARE + "/" + name)
        share = []
        for tag, path, options in (("root", guest + "/root", ",readonly=on"), ("share", SHARE, "")):
            share += ["-fsdev", "local,id=%s,path=%s,security_model=passthrough,multidevs=remap%s"
                      % (tag, path, options), "-device", "virtio-9p-pci,fsdev=%s,mount_tag=%s" % (tag, tag)]
        qemu = "/cache/%s/bin/qemu-system-hpcvm" % os.path.basename(os.readlink(QEMU))
        self.begin = time.monotonic_ns()
        self.qemu = subprocess.Popen(
            [qemu, "-machine", machine + ",memory-backend=ram", "-accel", "kvm", "-cpu", "host",
             "-smp", str(len(cpus) or 1), "-m", str(mib), "-object", backend, "-nodefaults",
             "-no-user-config", "-name", "bench,debug-threads=on",
             "-display", "none", "-no-reboot", "-serial", "file:/tmp/bench-console",
             "-kernel", guest + "/vmlinuz", "-initrd", guest + "/initrd", "-append",
             "console=ttyS0 quiet panic=-1 hpcvm_init=/share/init " + append] + share + list(more))
        if cpus and not claim:
            self.bind(cpus)

    def bind(self, cpus):
        """Each vCPU to a CPU, as <vcpupin> does."""
        for vcpu, cpu in enumerate(cpus):
            os.sched_setaffinity(self.thread(vcpu), {cpu})

    def thread(self, vcpu):
        """Its thread's number, once there is one."""
        tasks = "/proc/%d/task" % self.qemu.pid
        while self.qemu.poll() is None:
            for tid in os.listdir(tasks):
                try:
                    if read("%s/%s/comm" % (tasks, tid)) == "CPU %d/KVM" % vcpu:
                        return int(tid)
                except FileNotFoundError:
                    continue  # a thread that has ended meanwhile
            time.sleep(0.01)
        sys.exit("bench: QEMU has ended")

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

    def counters(self):
        """KVM's, if it has come as far as that."""
        for name in os.listdir(KVM):
            if name.startswith("%d-" % self.qemu.pid):
                return {key: int(read("%s/%s/%s" % (KVM, name, key)))
                        for key in ("pages_4k", "pages_2m", "pages_1g", "halt_exits")}
        return None

    def mappings(self):
        """How KVM maps it: how many pages of 4K, 2M, 1G."""
        counters = self.counters()
        return " / ".join(str(counters["pages_" + size]) for size in ("4k", "2m", "1g"))

    def end(self):
        self.qemu.kill()
        self.qemu.wait()
        time.sleep(0.3)


def first_instruction(way, mib):
    """What QEMU's threads have executed when the guest executes its first instruction. Its
    firmware is full of them, all halts, so that is all it ever does."""
    with open("/tmp/halt.bin", "wb") as f:
        f.write(b"\xf4" * 65536)
    guest = Guest(way, mib, "-bios", "/tmp/halt.bin")
    for _ in range(600):
        time.sleep(0.1)
        if guest.qemu.poll() is not None:
            sys.exit("bench: QEMU ended by itself")
        if guest.counters() and guest.counters()["halt_exits"]:
            # The clock that clock_getcpuclockid(3) has for it.
            took = time.clock_gettime_ns(~guest.qemu.pid << 3 | 2)
            guest.end()
            return took
    sys.exit("bench: the guest does not start")


def bench_first(out, mib=1024):
    print("A guest of 1 GiB starts: to its first instruction\n"
          "=================================================\n\n"
          "What QEMU executes until then, the kernel's work for it included, in\n"
          "instructions; the least of three.\n", file=out)
    pool(2048, mib // 2)
    least = {}
    for way, label in WAYS:
        say("first instruction: %s" % label)
        took = []
        for _ in range(3):
            if way == "draw":
                reserve(mib)
            took.append(first_instruction(way, mib))
            settled(2048)
        least[way] = min(took)
    table(out, ("way", "instructions", "``<hugepages/>`` / this"),
          [(label, million(least[way]), "%.2f" % (least["hugetlb"] / least[way]))
           for way, label in WAYS])
    pool(2048, 0)


def bench_start(out, mib=1024, rounds=3):
    print("A guest of 1 GiB starts: to its userspace\n"
          "=========================================\n\n"
          "From QEMU's start, the shortest of %d times, as a ratio; the mappings are KVM's\n"
          "when the guest has written 500 MiB.\n" % rounds, file=out)
    pool(2048, mib // 2)
    took, mappings = {way: [] for way, _ in WAYS}, {}
    for n in range(rounds):
        for way, label in WAYS:
            say("userspace, %d of %d: %s" % (n + 1, rounds, label))
            if way == "draw":
                reserve(mib)
            guest = Guest(way, mib)
            took[way].append(guest.until("booted", 600))
            if n == 0:
                guest.until("filled", 300)
                mappings[way] = guest.mappings()
            guest.end()
            settled(2048)
    least = {way: min(took[way]) for way in took}
    table(out, ("way", "4K / this", "longest / shortest", "mapped by 4K / 2M / 1G"),
          [(label, "%.2f" % (least["anon"] / least[way]), "%.2f" % (max(took[way]) / least[way]),
            mappings[way]) for way, label in WAYS])
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


def hpcc_in_guest(way, mib, claim):
    guest = Guest(way, mib, claim=claim)
    guest.until("status", 1800)
    guest.end()
    return results(SHARE + "/hpccoutf.txt")


def hpcc_on_node(cpu, switches):
    """On that CPU. With switches, a process that sleeps 1 ms at a time shares it: the
    emulator makes a TLB larger only when it is flushed, as each exit of a guest does
    and on the node each switch to another process, of which there are next to none."""
    sleeper = switches and subprocess.Popen(
        ["taskset", "-c", cpu, sys.executable, "-c",
         "import time\nwhile True:\n    time.sleep(0.001)"])
    subprocess.run(["taskset", "-c", cpu, TOP + "/scripts/node/hpcc-run", "/tmp/native"], check=True)
    if sleeper:
        sleeper.kill()
        sleeper.wait()
    return results("/tmp/native/hpccoutf.txt")


def bench_hpcc(out, mib=3072):
    print("HPC Challenge, guest / native\n"
          "=============================\n\n"
          "One process, a guest of 3 GiB with one vCPU, one run each. The guest's\n"
          "kernel and, for the native run, the node's use transparent hugepages, as Debian's do.\n"
          "In the column claimed, one of 2M whose vCPU has a core of its own, its tick thinned.\n"
          "Native runs beside a process that sleeps 1 ms at a time; in the last column alone.\n",
          file=out)
    columns = {}
    # 1 GiB pages first: the machine takes them where they are, and who has given
    # them back hardly gets them again.
    write(CORES + "thin_ticks", 1)
    write(CORES + "claimable", "1-3")
    for way, label, kib in (("fresh", "1G", 1 << 20), ("fresh", "2M", 2048),
                            ("fresh", "claimed", 2048), ("anon", "4K", 0)):
        say("hpcc in a guest: %s" % label)
        if kib:
            pool(kib, mib * 1024 // kib)
        columns[label] = hpcc_in_guest(way, mib, label == "claimed")
        if kib:
            pool(kib, 0)
    write(THP, "always")
    os.makedirs("/tmp/native", exist_ok=True)
    write("/tmp/native/hpccinf.txt", read(SHARE + "/hpccinf.txt") + "\n")
    say("hpcc on the node")
    native = hpcc_on_node("1", True)
    # On a CPU whose TLB has not grown by that.
    say("hpcc on the node, alone")
    columns["alone"] = hpcc_on_node("2", False)
    labels = ("4K", "2M", "claimed", "1G", "alone")
    table(out, ("",) + labels,
          [[name] + ["%.2f" % (columns[label][key] / native[key]) for label in labels]
           for name, key in RESULTS])


# What a program notices

class Traced:
    """How often an event of the kernel's has come from a thread: the kernel counts."""

    def __init__(self, event, condition=""):
        self.file = "/sys/kernel/tracing/events/" + event
        self.trigger = "hist:keys=common_pid" + (" if " + condition if condition else "")
        write(self.file + "/trigger", self.trigger)

    def end(self, tid):
        counts = re.findall(r"{ common_pid:\s*(\d+) } hitcount:\s*(\d+)", read(self.file + "/hist"))
        write(self.file + "/trigger", "!" + self.trigger)
        return sum(int(count) for thread, count in counts if int(thread) == tid)


def timer_interrupts(cpu):
    with open("/proc/interrupts") as f:
        return next(int(line.split()[1 + cpu]) for line in f if line.lstrip().startswith("LOC:"))


def exits_in_guest(guest, cpu, seconds=12):
    """What interrupts a program in a guest that spins on vCPU 1, on this CPU: local timer
    interrupts of the CPU, all exits, and those by which the guest sets its timer; in a
    second."""
    guest.until("spinning", 600)
    time.sleep(4)
    traced = [Traced("kvm/kvm_exit"), Traced("kvm/kvm_msr", "write == 1 && ecx == 0x6e0"),
              Traced("kvm/kvm_apic", "rw == 1 && reg == 0x380")]
    timers = -timer_interrupts(cpu)
    time.sleep(seconds)
    timers += timer_interrupts(cpu)
    exits, deadline, count = (event.end(guest.thread(1)) for event in traced)
    return timers / seconds, exits / seconds, (deadline + count) / seconds


def latency_in_guest(claim, cpus=(2, 3)):
    guest = Guest("fresh" if claim else "hugetlb", 1024, cpus=cpus, claim=claim,
                  append="nohz_full=1")
    seen = exits_in_guest(guest, cpus[1])
    guest.until("status", 600)
    guest.end()
    return noticed(SHARE) + seen


def latency_on_node(cpu=3):
    os.makedirs("/tmp/native", exist_ok=True)
    subprocess.run([TOP + "/scripts/node/latency-run", str(cpu), "/tmp/native"], check=True)
    return noticed("/tmp/native") + (None, None, None)


def noticed(path):
    """Of what latency-run left there: how often in a second oslat's loop stood still for
    more than its first class, 50 us, and how late cyclictest woke up on average."""
    with open(path + "/oslat.json") as f:
        oslat = json.load(f)["thread"]["0"]
    with open(path + "/cyclictest.json") as f:
        cyclictest = json.load(f)["thread"]["0"]
    gaps = sum(n for us, n in oslat["histogram"].items() if int(us) > 50)
    return gaps / oslat["duration"], cyclictest["avg"]


def bench_latency(out):
    print("What a program notices of it\n"
          "============================\n\n"
          "oslat's loop stands still for more than 50 us so many times a second; cyclictest\n"
          "wakes up so late on average, as a ratio. On CPU 3 of the node, and on CPU 1 of a\n"
          "guest of two, booted nohz_full=1, which are bound to CPUs 2 and 3 or claim them;\n"
          "20 s each. While oslat spins in a guest: local timer interrupts of CPU 3, exits of\n"
          "vCPU 1, and those of them by which the guest sets its timer, in a second.\n", file=out)
    say("oslat, cyclictest: on the node")
    rows = [("node", latency_on_node())]
    pool(2048, 512)
    say("oslat, cyclictest: in a guest that is bound")
    rows.append(("guest, bound", latency_in_guest(False)))
    write(CORES + "thin_ticks", 1)
    write(CORES + "claimable", "2-3")
    say("oslat, cyclictest: in a guest that has claimed")
    rows.append(("guest, claimed", latency_in_guest(True)))
    subprocess.run([HPCVM, "isolate", "2-3"], check=True, stdout=subprocess.DEVNULL)
    say("oslat, cyclictest: the same, isolated")
    rows.append(("guest, claimed, isolated", latency_in_guest(True)))
    say("oslat, cyclictest: on the node, isolated")
    rows.append(("node, isolated", latency_on_node()))
    subprocess.run([HPCVM, "isolate", "--undo"], check=True, stdout=subprocess.DEVNULL)
    table(out, ("who", "gaps/s", "wake-up / node's", "ticks/s", "exits/s", "timer exits/s"),
          [(who, "%.0f" % gaps, "%.2f" % (late / rows[0][1][1])) +
           tuple("-" if n is None else "%.1f" % n for n in exits)
           for who, (gaps, late, *exits) in rows])
    pool(2048, 0)


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
        write(THP, "never")
        {"memory": bench_memory, "first": bench_first, "start": bench_start,
         "hpcc": bench_hpcc, "latency": bench_latency}[what](out)


main()
