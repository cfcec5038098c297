#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Storms (make stress), on a node: stress.py ROUNDS SEED

A round starts something that uses hpcvm, QEMU with the machine type, the tool in
one of its roles, or churn.c, and kills it at a random moment. Three rounds run
at a time, while others shake the node: processors go and come, the hugepage pool
shrinks and grows, memory gets short, the module is unloaded whenever it lets
itself. After every 25 rounds all is quiet, and every counter must be as before:
hugepages free and reserved, the module's users, its tree in sysfs, processes.
"""
import glob
import os
import random
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HPCVM = TOP + "/build/user/hpcvm"
CHURN = TOP + "/build/selftests/stress/churn"
CLAIMS = TOP + "/build/selftests/claims"
QEMU = "/cache/%s/bin/qemu-system-hpcvm" % os.path.basename(os.readlink(TOP + "/build/qemu"))
KO = TOP + "/build/%s/hpcvm.ko" % os.uname().release
POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
TREE = "/sys/class/misc/hpcvm"
PAGES = 320
MACHINE = [QEMU, "-machine", "pc-q35-hpcvm-1.0,cores=off", "-accel", "kvm", "-nodefaults", "-display", "none"]
QUIET = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def say(text):
    print(time.strftime("[%H:%M:%S] ") + text, file=sys.stderr, flush=True)


def number(path):
    with open(path) as f:
        return int(f.read())


def put(path, value):
    try:
        with open(path, "w") as f:
            f.write(str(value))
    except OSError:
        pass


def loaded():
    return os.path.isdir("/sys/module/hpcvm")


# What is started and killed

def adopting():
    return MACHINE + ["-m", "128", "-machine", "memory-backend=m", "-object",
                      "memory-backend-memfd,id=m,size=128M,hugetlb=on,hugetlbsize=2M,prealloc=on"]


VICTIMS = {
    "qemu": lambda dice: MACHINE + ["-m", str(dice.choice((64, 128, 256)))],
    "qemu-adopts": lambda dice: adopting(),
    "reserve": lambda dice: [HPCVM, "reserve", "--size", "64M", "--count", "2"],
    "keep": lambda dice: [HPCVM, "reserve", "--keep", "--size", "64M", "--count", "1"],
    "watch": lambda dice: [HPCVM, "proof", "--watch", dice.choice(os.listdir(TREE + "/vms") or ["1"])],
    "list": lambda dice: [HPCVM, "list"],
    "claims": lambda dice: ["env", "ROUNDS=2", CLAIMS],
    "churn": lambda dice: [CHURN, str(dice.getrandbits(30)), "1500"],
}


def one_round(dice):
    kind = dice.choice(list(VICTIMS))
    try:
        argv = VICTIMS[kind](dice)
    except OSError:  # the module is unloaded at the moment
        return
    victim = subprocess.Popen(argv, start_new_session=True, **QUIET)
    try:
        victim.wait(dice.uniform(0, 2.5))
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(victim.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    victim.wait()


# What shakes the node meanwhile

def hotplug(dice, stop):
    cpus = glob.glob("/sys/devices/system/cpu/cpu[1-9]*/online")
    while not stop.wait(dice.uniform(0.2, 1)):
        put(dice.choice(cpus), dice.getrandbits(1))
    for cpu in cpus:
        put(cpu, 1)


def pool(dice, stop):
    while not stop.wait(dice.uniform(0.1, 0.6)):
        put(POOL + "nr_hugepages", dice.choice((0, 20, 100, PAGES)))


def pressure(dice, stop):
    """All but a little of the free memory, for a moment."""
    while not stop.wait(dice.uniform(1, 4)):
        with open("/proc/meminfo") as f:
            available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
        with open("/dev/shm/pressure", "wb") as f:
            try:
                os.posix_fallocate(f.fileno(), 0, max(available - (400 << 10), 1) << 10)
            except OSError:
                pass
            stop.wait(0.5)
        os.unlink("/dev/shm/pressure")


def unload(dice, stop):
    while not stop.wait(dice.uniform(0.05, 0.5)):
        if not subprocess.run(["rmmod", "hpcvm"], **QUIET).returncode:
            unload.done += 1
            stop.wait(dice.uniform(0, 0.2))
        if not loaded():
            subprocess.run(["insmod", KO], **QUIET)


unload.done = 0
SHAKERS = (hotplug, pool, pressure, unload)


# What must be as before

def drop_all():
    """Reservations that were whole when their maker was killed stay, and rightly."""
    subprocess.run([HPCVM, "reserve", "--drop", "all"], **QUIET)


def state():
    tree = []
    for path, dirs, files in os.walk(TREE):
        tree += [path + "/" + name for name in dirs + files]
    left = [p for p in os.listdir("/proc") if p.isdigit() and os.path.exists("/proc/%s/exe" % p) and
            os.path.basename(os.readlink("/proc/%s/exe" % p)) in ("claims", "churn", "hpcvm", "qemu-system-hpcvm")]
    return {
        "pages": number(POOL + "nr_hugepages"),
        "free": number(POOL + "free_hugepages"),
        "reserved": number(POOL + "resv_hugepages"),
        "surplus": number(POOL + "surplus_hugepages"),
        "module's users": number("/sys/module/hpcvm/refcnt"),
        "sysfs": sorted(tree),
        "claims": open(TREE + "/cores/claimed").read(),
        "processes": left,
    }


def calm(want):
    """The state when all is quiet; waits for what the kernel does later."""
    if not loaded():
        subprocess.run(["insmod", KO], check=True)
    drop_all()
    for _ in range(100):
        put("/proc/sys/vm/compact_memory", 1)
        put(POOL + "nr_hugepages", PAGES)
        now = state()
        if want is None or now == want:
            break
        time.sleep(0.2)
    return now


def storm(rounds, dice):
    """So many rounds, three at a time, with the node shaken."""
    stop = threading.Event()
    shakers = [threading.Thread(target=s, args=(random.Random(dice.getrandbits(64)), stop))
               for s in SHAKERS]
    share = [random.Random(dice.getrandbits(64)) for _ in range(rounds)]
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not share:
                    return
                mine = share.pop()
            one_round(mine)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for t in shakers + workers:
        t.start()
    for t in workers:
        t.join()
    stop.set()
    for t in shakers:
        t.join()


def main():
    rounds, seed = int(sys.argv[1]), int(sys.argv[2])
    dice = random.Random(seed)
    before = calm(None)
    if before["free"] != PAGES:
        sys.exit("stress: no pool of %d pages on this node" % PAGES)
    done = 0
    while done < rounds:
        storm(min(25, rounds - done), dice)
        done = min(done + 25, rounds)
        after = calm(before)
        if after != before:
            for key in before:
                if before[key] != after[key]:
                    say("not as before: %s: %s, was %s" % (key, after[key], before[key]))
            sys.exit("stress: failed after %d rounds of seed %d" % (done, seed))
        say("%d of %d rounds, every counter as before; the module was unloaded %d times" %
            (done, rounds, unload.done))
    print("%d rounds, seed %d: every counter as before; unloaded %d times" % (rounds, seed, unload.done))


main()
