/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef FAKE_H
#define FAKE_H

/*
 * Takes the hpcvm ioctls instead of the module. Returns 0 or a positive
 * errno. NULL: the file "answers" says what happens, see fake.c.
 */
extern int (*fake_ioctl)(int fd, unsigned int cmd, void *arg);

#endif /* FAKE_H */
