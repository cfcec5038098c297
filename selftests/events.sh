# SPDX-License-Identifier: GPL-2.0-only
# A broken promise is an event, on a running guest: hpcvm proof --watch says
# what happened, when it happens. And a memory error on a page of the guest:
# what the guest sees of it.

. "$(dirname "$0")/flow.sh"
node_up
share=/var/lib/hpcvm/guest/share

# watch DOMAIN: in the background; what it says is in $work/watch.
watch()
{
	hpcvm proof --watch "$1" >"$work/watch" 2>&1 &
	watcher=$!
	within 20 grep -q '^Watching' "$work/watch"
}
# The watch has said this, N times or once.
said() { [ "$(grep -cE "$1" "$work/watch")" -ge "${2:-1}" ] || { cat "$work/watch"; return 1; }; }
# hears NAME WORDS [N]
hears() { ok "$1" within 30 said "$2" "${3:-1}"; }
ended() { wait "$watcher"; echo $?; }

# A program in the guest that owns 64 MiB, says where the guest has it, and
# reads all of it over and over, without a pause: it depends on no timer.
cat >"$work/reader.py" <<'EOF'
import mmap, os, struct
size = 64 << 20
ram = mmap.mmap(-1, size)
for at in range(0, size, 4096):
    ram[at] = 1
def physical(address):
    with open("/proc/self/pagemap", "rb") as f:
        f.seek(address >> 12 << 3)
        return (struct.unpack("Q", f.read(8))[0] & (1 << 55) - 1) << 12
import ctypes
begin = ctypes.addressof(ctypes.c_char.from_buffer(ram))
with open("/share/gpa.tmp", "w") as f:
    f.write(str(physical(begin + (32 << 20))))
os.rename("/share/gpa.tmp", "/share/gpa")
while True:
    for at in range(0, size, 4096):
        ram[at]
EOF
cat >"$work/job" <<'EOF'
python3 /share/reader.py
sleep 1000
EOF

set_pool 1024
scripts/node/guest-prepare /lower "$(guest_initrd)" \
	"$work/job" "$work/reader.py"
permit='s|<domain type=.kvm.>|<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">|
s|</domain>|<qemu:commandline><qemu:arg value="-machine"/><qemu:arg value="allow-dirty-log=on"/></qemu:commandline></domain>|'
domain e "$permit" >/dev/null
ok "a guest that permits dirty logging starts" virsh start e
ok "a program in it has its memory" within 240 test -e "$share/gpa"
watch e
ok "the watch begins with a whole promise" grep -q 'Every promise holds' "$work/watch"

# Dirty logging, by the one command that needs no second node.
ok "its dirty rate can be measured" virsh domdirtyrate-calc e --seconds 3 --mode dirty-bitmap
hears "dirty logging is news" 'broken: .*dirty logging'
hears "that it is over, too" 'holds again: .*dirty logging'
ok "the promise holds" within 20 hpcvm proof e

# A hole, by QEMU's own fd.
qemu=$(cat "$vms"/*/pid)
fd=$(find "/proc/$qemu/fd" -lname '/#*' | head -n 1)
ok "somebody punches a hole into the guest's memory" \
	fallocate --punch-hole --offset $((1900 << 20)) --length $((4 << 20)) "$fd"
hears "the hole is news" 'broken: .*gone'

# A memory error. The guest's RAM is one mapping, GPA 0 at its begin.
hva=$(awk '/\/#[0-9]+ \(deleted\)/ { split($1, a, "-"); print a[1]; exit }' "/proc/$qemu/maps")
physical=$(python3 - "$qemu" "$hva" "$(cat "$share/gpa")" <<'EOF'
import struct, sys
at = int(sys.argv[2], 16) + int(sys.argv[3])
with open("/proc/%s/pagemap" % sys.argv[1], "rb") as f:
    f.seek(at >> 12 << 3)
    print((struct.unpack("Q", f.read(8))[0] & (1 << 55) - 1) << 12)
EOF
)
gpa=$(cat "$share/gpa")
ok "a memory error hits a page of that program" \
	sh -c "echo $physical >/sys/devices/system/memory/hard_offline_page"
hears "the memory error is news" 'broken: .*(memory errors|gone)' 2
# What comes then is QEMU's and the guest kernel's: it kills the program, and
# may panic when it touches the rest of the hugepage, which it thinks is sound.
console=/var/log/libvirt/qemu/e-console.log
ok "QEMU passes it on to the guest" within 60 grep 'type BUS_MCEERR_AR injected' /var/log/libvirt/qemu/e.log
ok "the guest's kernel knows it as a hardware error" within 30 grep 'hardware memory error' "$console"
ok "at the address that the program had told" \
	grep -i "ADDR $(printf %x $((gpa >> 21 << 21)) | cut -c1-3)" "$console"
ok "and ends the program" within 30 grep 'Sending SIGBUS to python3' "$console"
sed -n '/hardware\|Hardware\|SIGBUS\|panic/s/^/# guest: /p' "$console" | head -n 16

virsh destroy e >/dev/null 2>&1
hears "so is the end of the VM" 'the VM has ended'
is "and the watch ends, with the status of a broken promise" "$(ended)" 1
gone e
ok "every page is back, but the broken one" within 10 pool_is 1023

# Nothing happens: nothing is said, and that is a promise kept.
whole_pool 1024
domain q "$strip" >/dev/null
virsh start q >/dev/null
watch q
sleep 5
is "a quiet guest is no news" "$(sed '1,/^Watching/d' "$work/watch")" ""
virsh destroy q >/dev/null
is "a watch of a promise that was kept: status 0" "$(ended)" 0
gone q
scripts/node/guest-prepare --undo
ok "the module unloads" rmmod hpcvm
plan
