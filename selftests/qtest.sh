# SPDX-License-Identifier: GPL-2.0-only
# The half of the machine type's qtest that wants KVM, hpcvm and hugepages: what
# becomes of the memory backends that a guest's RAM is asked from. The other
# half needs no node. Its own TAP (src/qemu/hpcvm-test.c).

. "$(dirname "$0")/flow.sh"
insmod "$HPCVM_KO"
udevadm settle
set_pool 256
ln -s "$(built_qemu)" "$work/qemu-system-x86_64"
export QTEST_QEMU_BINARY=$work/qemu-system-x86_64 HPCVM=$top/build/user/hpcvm
"$(dirname "$(built_qemu)")/hpcvm-test" --tap -k -r /x86_64/hpcvm/memory
set_pool 0
rmmod hpcvm
