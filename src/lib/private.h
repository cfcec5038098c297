/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of libhpcvm share. Nothing here leaves the library.
 */
#ifndef HPCVM_PRIVATE_H
#define HPCVM_PRIVATE_H

#include "hpcvm.h"

/* struct hpcvm_error.cmd of a failed hpcvm_open(), which is no ioctl. */
#define HPCVM_CMD_OPEN UINT32_MAX

#define HPCVM_PAGES_2M (UINT64_C(2) << 20)
#define HPCVM_PAGES_1G (UINT64_C(1) << 30)

/*
 * Do one ioctl. Returns what it returned, or a negative errno; fills *error
 * either way. @reason and @detail are those of the struct at @arg.
 */
int hpcvm_call(int fd, unsigned int cmd, void *arg, const __u32 *reason,
	       const __u64 *detail, struct hpcvm_error *error);

#define HPCVM_CALL(fd, cmd, s, error) \
	hpcvm_call(fd, cmd, s, &(s)->reason, &(s)->detail, error)

#endif /* HPCVM_PRIVATE_H */
