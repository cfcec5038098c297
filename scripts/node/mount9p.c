// SPDX-License-Identifier: GPL-2.0-only
/*
 * mount9p TAG DIR OPTIONS: mount a 9p share, for the initrd.
 *
 * busybox could do it, were it not for a guest on an emulated node. Software
 * emulation of SVM leaves in a VM exit the type of the last exception that the
 * guest took (exit_int_info, without its valid bit); since 6.14 KVM looks at
 * the type alone and stops the guest when its first access to a device
 * register follows an exception without another exit in between. The first
 * message to a 9p device, after the page faults of a mount program, is just
 * that. So: touch everything first, force an exit with CPUID, then go into
 * the system call at once.
 */
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* The kernel copies whole pages from here, which must not fault either. */
static char arg[3][4096] __attribute__((aligned(4096)));

int main(int argc, char **argv)
{
	const char *type = "9p";
	register long flags asm("r10") = 0;
	register char *options asm("r8") = arg[2];
	long ret;

	if (argc != 4)
		return 2;
	for (int i = 0; i < 3; i++)
		snprintf(arg[i], sizeof(arg[i]), "%s", argv[i + 1]);

	asm volatile(".balign 64\n\t"
		     "xor %%eax, %%eax; cpuid\n\t"
		     "mov %[type], %%rdx; mov %[nr], %%eax; syscall"
		     : "=&a"(ret)
		     : "D"(arg[0]), "S"(arg[1]), [type] "r"(type), "r"(flags),
		       "r"(options), [nr] "i"(SYS_mount)
		     : "rbx", "rcx", "rdx", "r11", "memory");
	if (ret < 0) {
		fprintf(stderr, "mount9p: %s on %s: %s\n", arg[0], arg[1], strerror(-ret));
		return 1;
	}
	return 0;
}
