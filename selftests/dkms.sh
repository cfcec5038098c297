# SPDX-License-Identifier: GPL-2.0-only
# DKMS: the module built, installed and removed for each kernel in RELEASES; a
# kernel package that comes and goes takes it along; a kernel that hpcvm is
# not made for is refused. Runs where install.sh does: in a throw-away copy of
# the node's root. That what DKMS built also loads is dkms-load.sh's part.

. "$(dirname "$0")/flow.sh"
export INITRD=No DEBIAN_FRONTEND=noninteractive
version=$(cat VERSION)
read -ra releases <<<"$RELEASES"
last=${releases[-1]}

# What modprobe would load for RELEASE.
file_for() { modprobe --set-version "$1" --show-depends hpcvm | sed -n 's/^insmod \([^ ]*hpcvm\.ko[^ ]*\).*/\1/p'; }
by_dkms() { case $(file_for "$1") in "/lib/modules/$1/updates/dkms/hpcvm.ko"*) ;; *) file_for "$1"; return 1 ;; esac; }
for_release() { modinfo -F vermagic "$(file_for "$1")" | grep -F "$1 "; }
signed() { [ -n "$(modinfo -F sig_id "$(file_for "$1")")" ] && ls -l /var/lib/dkms/mok.pub; }
says() { dkms status "hpcvm/$version" -k "$1" | grep ": $2"; }

ok "make dkms-install DESTDIR= copies the sources" make dkms-install DESTDIR="$work/d" KDIR="/usr/src/linux-headers-$last"
is "exactly what Kbuild needs" "$(cd "$work/d/usr/src/hpcvm-$version" && find . -type f ! -path './src/*' | sort | xargs)" \
	"./Kbuild ./VERSION ./dkms.conf ./include/uapi/linux/hpcvm.h"
ok "dkms add" dkms add "$work/d/usr/src/hpcvm-$version"
for r in "${releases[@]}"; do
	ok "$r: dkms build" dkms build "hpcvm/$version" -k "$r"
	ok "$r: dkms install" dkms install "hpcvm/$version" -k "$r"
	ok "$r: dkms status says so" says "$r" installed
	ok "$r: modprobe finds it" by_dkms "$r"
	ok "$r: it is for this kernel" for_release "$r"
	ok "$r: it is signed with DKMS's own key" signed "$r"
	ok "$r: dkms remove" dkms remove "hpcvm/$version" -k "$r"
	fails "$r: modprobe finds it no more" "not found" modprobe --set-version "$r" --show-depends hpcvm
done

# Removed for its last kernel, DKMS has forgotten it. As an administrator does:
export KDIR=/usr/src/linux-headers-$last
for i in "" " again"; do
	ok "make dkms-install$i" make dkms-install
	ok "modprobe finds the module$i" by_dkms "$last"
done
fails "make install-module leaves it alone" "DKMS" make install-module

for k in 5.15.0-1-amd64 6.6.0-1-amd64 6.10.1-amd64 6.18.1-amd64 7.1.1-amd64 7.20.1-amd64; do
	fails "$k is refused" "BUILD_EXCLUSIVE" \
		dkms build "hpcvm/$version" -k "$k" --kernelsourcedir "$KDIR"
done

# A kernel upgrade: apt calls dpkg, dpkg the kernel's hooks, they dkms. Once, with the
# kernel whose packages the root has kept.
new=$(awk '$1 == "6.12-cloud" { print $2 }' /etc/hpcvm-node/kernels)
if [[ " $RELEASES " = *" $new "* ]]; then
	ok "the cloud kernel is taken away" dpkg --purge "linux-headers-$new" "linux-image-$new"
	ok "and installed" dpkg -i /usr/src/hpcvm-kernel/linux-image-"$new"_*.deb /usr/src/hpcvm-kernel/linux-headers-"$new"_*.deb
	ok "DKMS has built the module for it" says "$new" installed
	ok "modprobe finds it there" by_dkms "$new"
	ok "the kernel is taken away again" dpkg --purge "linux-headers-$new" "linux-image-$new"
	ok "and DKMS's module with it" sh -c "! dkms status hpcvm -k $new | grep installed; ! ls -d /lib/modules/$new"
fi

ok "make dkms-uninstall" make dkms-uninstall
is "DKMS knows nothing of it" "$(dkms status hpcvm)" ""
ok "nor is anything left" sh -c '! ls -d /usr/src/hpcvm-[0-9]* /var/lib/dkms/hpcvm /lib/modules/*/updates/dkms/hpcvm.ko*'
ok "make dkms-uninstall again" make dkms-uninstall
plan
