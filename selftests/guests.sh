# SPDX-License-Identifier: GPL-2.0-only
# Guests as sites have them: a cloud image of Debian on a qcow2 disk,
# virtio-blk and virtio-scsi, what virt-install makes of its defaults, cloud-init,
# serial console, VNC, guest agent. The memory promise holds for each, and every
# page is back after it.
#
# One vCPU each: on a busy host the emulation starves the second one of its timer.
#
# UEFI does not run here: TCG, which emulates this node, dies of it (node.rst). So
# with UEFI the guest is paused: the proof is of the memslots that it starts with.
# What they look like when the firmware has hidden RAM in SMM is in verify.c and
# in the qtest.

. "$(dirname "$0")/flow.sh"
apparmor=1
node_up
images=/var/lib/libvirt/images
base=/cache/$(basename "$(readlink build/guest.qcow2)")
logs=/var/log/libvirt/qemu

console() { tr -d '\r' <"$logs/$1-console.log" 2>/dev/null; }
console_says() { console "$1" | grep -aqE -- "$2"; }
# says SECONDS DOMAIN WORDS: its serial console does; else show the end of that.
# To look often would cost the guest more than the time between two looks.
says()
{
	local end=$((SECONDS + $1))
	until console_says "$2" "$3"; do
		sleep 3
		[ "$SECONDS" -lt "$end" ] || { console "$2" | tail -n 15; return 1; }
	done
}
# what libvirt has made of it, for whoever reads the log
devices() { virsh dumpxml "$1" | grep -E '<(controller|input|model|watchdog|memballoon|rng)' | grep -v pcie-root; }
agent_says() { virsh "${@:2}" | grep -E -- "$1"; }
# rfb DOMAIN: the first bytes that its VNC server sends
rfb()
{
	local port
	port=$(virsh vncdisplay "$1" | sed -n 's/.*:\([0-9]\+\)$/\1/p')
	exec 3<>"/dev/tcp/127.0.0.1/$((5900 + port))" || return
	head -c 12 <&3
	exec 3>&-
}
off() { [ "$(virsh domstate "$1")" = "shut off" ]; }
forget()
{
	virsh destroy "$1"
	virsh undefine "$1" --nvram
} >/dev/null 2>&1
over()
{
	forget "$1"
	ok "  every page is back" within 20 pool_is 600
}

# install NAME OPTION...: a domain by virt-install, in the words of the
# administrator's guide.
install()
{
	virt-install --name "$1" --memory 1024 --vcpus 1 --import --network user --noautoconsole \
		--serial "pty,log.file=$logs/$1-console.log,log.append=off" \
		--machine q35 --xml ./os/type/@machine=pc-q35-hpcvm-1.0 "${@:2}"
}
emulator=/usr/local/bin/qemu-system-hpcvm

mkdir -p "$images"
qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$images/cloud.qcow2"
cat >"$work/user-data" <<'END'
#cloud-config
hostname: made-by-cloud-init
runcmd:
  - |
    if [ -d /sys/firmware/efi ]; then firmware=UEFI; else firmware=BIOS; fi
    echo "cloud-init: $(hostname), / on $(findmnt -no SOURCE /), $firmware" >/dev/ttyS0
    touch /etc/cloud/cloud-init.disabled
END
echo 'network: {config: disabled}' >"$work/network-config"

# One: by virt-install's defaults, which are BIOS and virtio-blk. In a page of
# 1 GiB if there is one.
set_pool 600
echo 1 >"$pool_1g/nr_hugepages"
gigantic=$(cat "$pool_1g/free_hugepages")
ok "virt-install, BIOS, virtio-blk, cloud-init" install one --osinfo debian13 \
	--disk "$images/cloud.qcow2" --boot "hd,emulator=$emulator" \
	--cloud-init "user-data=$work/user-data,network-config=$work/network-config"
is "  the machine" "$(virsh dumpxml one | grep -o "machine='[^']*'")" "machine='pc-q35-hpcvm-1.0'"
devices one | sed 's/^/# /'
is "  VNC answers" "$(rfb one)" "RFB 003.008"
ok "  GRUB starts from the disk" says 200 one "GRUB: Debian"
ok "  cloud-init ran" says 700 one "cloud-init: made-by-cloud-init, / on /dev/vda3, BIOS"
ok "  userspace is up" says 100 one "made-by-cloud-init login:"
ok "  hpcvm proof" hpcvm proof one
is "  its pages of 1 GiB" "$(cat "$pool_1g/free_hugepages")" 0
is "  and of 2 MiB" "$(free_pages)" $((gigantic ? 600 : 88))
ok "  the guest agent answers" within 60 agent_says made-by-cloud-init guestinfo one --hostname
# Without D-Bus in the guest the agent complains, and does it.
virsh shutdown one --mode agent >"$work/shutdown" 2>&1
ok "  it powers off when the agent is told to" within 100 off one
over one
is "  and the page of 1 GiB" "$(cat "$pool_1g/free_hugepages")" "$gigantic"
echo 0 >"$pool_1g/nr_hugepages"

# Two: what virt-install makes for other guests, for one that it knows nothing of.
qemu-img create -q -f qcow2 "$images/empty.qcow2" 1G
for os in generic linux2022; do
	ok "virt-install, $os" install two --osinfo "$os" --disk "$images/empty.qcow2" \
		--boot "hd,emulator=$emulator"
	devices two | sed 's/^/# /'
	is "  VNC answers" "$(rfb two)" "RFB 003.008"
	ok "  hpcvm proof" hpcvm proof two
	over two
done

# Three: the example, but BIOS, with virtio-scsi and the first one's disk.
sed -e 's|hpcvm-disk.qcow2|cloud.qcow2|; s|hpcvm-disk|three|; s|2097152|1048576|; s|<vcpu>2|<vcpu>1|' \
	Documentation/examples/disk.xml >"$work/uefi.xml"
bios="s| firmware='efi'||; /<firmware>/,/<.firmware>/d"
sed -e "$bios" "$work/uefi.xml" >"$work/three.xml"
ok "virsh define, BIOS, virtio-scsi" virsh define "$work/three.xml"
ok "  virsh start" virsh start three
is "  VNC answers" "$(rfb three)" "RFB 003.008"
ok "  GRUB starts from the disk" says 200 three "GRUB: Debian"
ok "  userspace is up, with what the first guest wrote" says 300 three "made-by-cloud-init login:"
ok "  its root is a SCSI disk" within 60 agent_says '^ */ +sda3 ' domfsinfo three
ok "  hpcvm proof" hpcvm proof three
is "  its pages of 2 MiB" "$(free_pages)" 88
over three

# Four: the example as it is, with UEFI, and with Secure Boot and its SMM. Paused.
sed 's|enabled=.no.|enabled="yes"|; s|<acpi/>|&<smm state="on"/>|' "$work/uefi.xml" >"$work/secure.xml"
for firmware in uefi secure; do
	ok "virsh define, $firmware" virsh define "$work/$firmware.xml"
	ok "  virsh start --paused" virsh start --paused three
	ok "  its firmware is in flash" sh -c \
		"virsh qemu-monitor-command three --hmp 'info mtree -f' | grep -E 'rom(d)?\): system.flash0'"
	ok "  hpcvm proof" hpcvm proof three
	over three
done
set_pool 0
plan
