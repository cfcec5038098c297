# SPDX-License-Identifier: GPL-2.0-only
# make install, twice, then make uninstall: what it puts where, and that
# nothing of it stays. Runs in the node's root, but without a node (depmod
# takes minutes in emulation): scripts/check-group makes a throw-away copy
# and says for which kernel (RELEASE).

. "$(dirname "$0")/flow.sh"
make() { command make KDIR="/usr/src/linux-headers-$RELEASE" "$@"; }

# Every file below what an installation may touch, with its contents.
tree()
{
	find /etc /usr/local /usr/lib/udev/rules.d /usr/lib/modules-load.d /var/lib/hpcvm \
		/usr/lib/systemd/system \
		"/lib/modules/$RELEASE/updates" "/lib/modules/$RELEASE/modules.dep" \
		-xdev \( -type f -o -type l \) 2>/dev/null |
		grep -v '/etc/ld.so.cache' | sort | xargs md5sum
}
known() { modprobe --set-version "$RELEASE" --show-depends hpcvm; }

qemu=$(built_qemu)
[ -e "$qemu" ] || qemu=/bin/true
tree >"$work/before"

ok "make install" make install QEMU="$qemu"
tree >"$work/once"
ok "make install again" make install QEMU="$qemu"
tree >"$work/twice"
ok "the second time changes nothing" diff "$work/once" "$work/twice"
for f in "/lib/modules/$RELEASE/updates/hpcvm.ko" /usr/lib/udev/rules.d/60-hpcvm.rules \
	/usr/lib/modules-load.d/hpcvm.conf /usr/local/bin/hpcvm /usr/local/bin/qemu-system-hpcvm \
	/usr/local/include/hpcvm.h /usr/local/lib/libhpcvm.so.0 /usr/local/lib/libhpcvm-fabric.so \
	/usr/local/lib/libhpcvm-ucx.so \
	/usr/local/share/man/man1/hpcvm-proof.1 /usr/local/share/man/man1/hpcvm-reserve.1 \
	/usr/lib/systemd/system/hpcvm-reserve.service; do
	ok "$f" sh -c "ls $f* >/dev/null"
done
ok "modprobe finds the module" known
ok "the service runs the command that is installed" sh -c 'cmd=$(sed -n "s/^ExecStart=\([^ ]*\).*/\1/p" \
	/usr/lib/systemd/system/hpcvm-reserve.service); test -x "$cmd" && "$cmd" help reserve'
fails "it is not enabled" "No such file" ls /etc/systemd/system/multi-user.target.wants/hpcvm-reserve.service
is "libvirt is told of the device, once" "$(grep -c '^[^#]*"/dev/hpcvm"' /etc/libvirt/qemu.conf)" 1
is "AppArmor lets domains use the device" \
	"$(grep -c '/dev/hpcvm rw,' /etc/apparmor.d/local/abstractions/libvirt-qemu)" 1

ok "make uninstall" make uninstall
tree >"$work/after"
ok "everything is as before" diff "$work/before" "$work/after"
fails "modprobe finds it no more" "not found" known
ok "make uninstall again" make uninstall

is "dkms.conf and VERSION agree" "$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)" "$(cat VERSION)"

# An administrator's own device list keeps its words and gains one.
sed -i 's|^#cgroup_device_acl = \[|cgroup_device_acl = [ "/dev/mine",|; /^cgroup_device_acl/,/^#\]/s/^#//' \
	/etc/libvirt/qemu.conf
cp /etc/libvirt/qemu.conf "$work/qemu.conf"
scripts/install/libvirt apply /usr/local/bin/qemu-system-hpcvm
ok "an own device list gains one word" \
	grep -q '^cgroup_device_acl = \["/dev/hpcvm",  "/dev/mine",$' /etc/libvirt/qemu.conf
scripts/install/libvirt undo /usr/local/bin/qemu-system-hpcvm
ok "and loses it" diff "$work/qemu.conf" /etc/libvirt/qemu.conf
plan
