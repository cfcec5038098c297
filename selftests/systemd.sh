# SPDX-License-Identifier: GPL-2.0-only
# A node as sites run it: Debian booted by systemd, with udev and AppArmor, the
# module from DKMS and loaded as at boot, libvirt's daemon started by systemd; an unprivileged user of group libvirt starts the example domain,
# and the shutdown of the node stops it. Runs by scripts/node/run --systemd;
# scripts/node/dkms has made the archive.

. "$(dirname "$0")/flow.sh"
release=$(uname -r)
user=alice

as_user() { runuser -u "$user" -- env -u XDG_RUNTIME_DIR virsh -c qemu:///system "$@"; }
denials() { dmesg | sed 's/^\[[^]]*\] //' | grep 'apparmor="DENIED"'; }
# Those that are hpcvm's affair: its emulator, its device, what they read.
ours() { denials | grep -E "hpcvm|profile=\"libvirt-|libvirtd//"; }
confined() { aa-status | grep -F "$1"; }

is "process 1" "$(cat /proc/1/comm)" systemd
ok "the system is up" sh -c 'systemctl is-active multi-user.target apparmor libvirtd.socket libvirt-guests'
ok "AppArmor is on" aa-enabled

# As an administrator: DKMS's module, then the rest.
tar -xf "build/$release/dkms.tar" -C /
ok "make install-user" make install-user QEMU="$(built_qemu)"
ok "systemctl restart libvirtd" systemctl restart libvirtd
ok "the module is loaded as at boot" systemctl restart systemd-modules-load
ok "it is DKMS's" sh -c 'modinfo -F filename hpcvm | grep updates/dkms && test -d /sys/module/hpcvm'
udevadm settle
echo 1-3 >"$cores/claimable"
is "udev gives the device to group kvm" "$(stat -c '%U:%G %a' /dev/hpcvm)" "root:kvm 660"
set_pool 1024
echo true >"$work/job"
guest_files "$work/job"

useradd -m "$user"
fails "a user who is in no group may not" "authentication unavailable" as_user list
usermod -aG libvirt "$user"

# The service makes the guest's memory ready, all that the pool has.
echo 'HPCVM_RESERVE="--size 2G --count 1"' >/etc/default/hpcvm-reserve
ok "hpcvm-reserve starts" systemctl start hpcvm-reserve
ok "  what it reserves is there" within 200 sh -c 'hpcvm reserve --list | grep "2 GiB"'
ok "  it waits" within 20 sh -c 'journalctl -u hpcvm-reserve | grep "1 reservation is ready"'
ok "  it stops" systemctl stop hpcvm-reserve
is "  cleanly" "$(systemctl show -p Result --value hpcvm-reserve)" success
is "  no page is free" "$(free_pages)" 0

# The node's own programs keep off the cores of the domain, that are in its <vcpupin>.
# A service of that name stands for irqbalance.
echo IRQBALANCE_BANNED_CPULIST=1 >/etc/default/irqbalance
printf '[Service]\nEnvironmentFile=-/etc/default/irqbalance\nExecStart=sleep infinity\n' \
	>/etc/systemd/system/irqbalance.service
systemctl start irqbalance
slices="init.scope system.slice user.slice"
# What systemd is told, what the kernel has, where systemd itself may run
allowed()
{
	local s
	for s in $slices; do
		echo "$(systemctl show -p AllowedCPUs --value "$s")|$(cat "/sys/fs/cgroup/$s/cpuset.cpus.effective" 2>/dev/null)"
	done | sort -u
	sed -n 's/^Cpus_allowed_list:\t//p' /proc/1/status
}
banned() { tr '\0' '\n' <"/proc/$(systemctl show -p MainPID --value irqbalance)/environ" | sed -n 's/^IRQBALANCE_BANNED_CPULIST=//p'; }
ok "hpcvm isolate" hpcvm isolate 1-3
hpcvm isolate | sed 's/^/# /'
is "  programs keep to CPU 0" "$(allowed | xargs)" "0|0 0"
is "  machine.slice has no limit" "$(systemctl show -p AllowedCPUs --value machine.slice)" ""
is "  irqbalance is told" "$(banned)" 1-3

ok "a user of group libvirt defines the domain" as_user define Documentation/examples/hpcvm.xml
ok "and starts it" as_user start hpcvm-example
is "  which has drawn the reservation" "$(hpcvm reserve --list | wc -l)" 1
ok "AppArmor confines libvirtd" confined "libvirtd"
ok "and the domain" confined "libvirt-$(virsh domuuid hpcvm-example | head -n 1)"
ok "the domain's processes are in that profile" \
	grep -q "^libvirt-.*(enforce)" "/proc/$(cat "$vms"/*/pid)/attr/apparmor/current"
ok "the guest boots" within 400 test -e /var/lib/hpcvm/guest/share/status
ok "hpcvm proof" hpcvm proof hpcvm-example
is "  it runs in machine.slice" "$(grep -c /machine.slice/ "/proc/$(cat "$vms"/*/pid)/cgroup")" 1
ok "hpcvm isolate --undo" hpcvm isolate --undo
is "  programs run anywhere" "$(allowed | xargs)" "|0-3 0-3"
is "  irqbalance is told" "$(banned)" 1
is "  no file is left" "$(find /run/systemd -path '*AllowedCPUs*' -o -path '*irqbalance.service.d*')" ""
ok "  hpcvm proof" hpcvm proof hpcvm-example
ok "the user may ask whether it runs" sh -c "runuser -u $user -- virsh -c qemu:///system domstate hpcvm-example | grep running"
is "AppArmor had nothing of ours to deny" "$(ours)" ""

# A refusal still says its sentence from inside the profile.
domain d2 >/dev/null
fails "a second guest is refused in words" "2 MiB" as_user start d2
# And one that reads the domain's own cgroup.
echo +hugetlb >/sys/fs/cgroup/cgroup.subtree_control
set_pool 2048
echo 4M >/sys/fs/cgroup/machine.slice/hugetlb.2MB.max
fails "one that a limit forbids, too" "forbidden by a limit" as_user start d2
echo max >/sys/fs/cgroup/machine.slice/hugetlb.2MB.max
# Memory that libvirt brings is adopted from inside the profile, too. The example has
# all cores: this one goes without.
without='s|<domain type=.kvm.>|<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">|
	s|</domain>|<qemu:commandline><qemu:arg value="-machine"/><qemu:arg value="cores=off"/></qemu:commandline>&|'
domain h "$small; $without; s|<vcpu>|<memoryBacking><hugepages/></memoryBacking>&|" >/dev/null
ok "a guest with <hugepages/> starts" as_user start h
ok "  hpcvm proof" hpcvm proof h
gone h
set_pool 1024
is "nothing was denied on these ways" "$(ours)" ""
denials | sort | uniq -c | sed 's/^/# elsewhere: /'

# The shutdown: stops after libvirt-guests, and reports what it finds then.
cat >/etc/systemd/system/hpcvm-last.service <<UNIT
[Unit]
Before=libvirt-guests.service libvirtd.service
RequiresMountsFor=/hpcvm
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=true
ExecStop=/bin/bash /hpcvm/selftests/systemd-last $((n + 1))
UNIT
systemctl daemon-reload
systemctl start hpcvm-last
echo "1..$((n + 2))"
