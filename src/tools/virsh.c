// SPDX-License-Identifier: GPL-2.0-only
/*
 * What libvirt is asked to do: virsh does it, and what it says when it fails is
 * made one sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

extern char **environ;

/* All that comes from a pipe, until nobody writes to it any more. */
static char *read_all(int fd)
{
	FILE *f = fdopen(fd, "r");
	char *text = NULL;
	size_t size = 0;

	if (!f || getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		text = strdup("");
	}
	if (f)
		fclose(f);
	if (!text)
		abort();
	return text;
}

/* Returns 0 or an errno; *out: the end from which to read what it prints. */
static int spawn(pid_t *child, int *out, char *const argv[])
{
	posix_spawn_file_actions_t actions;
	int ends[2], err;

	if (pipe2(ends, O_CLOEXEC))
		return errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
	err = posix_spawnp(child, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	*out = ends[0];
	if (err)
		close(ends[0]);
	return err;
}

/* Its last "error: ", without what libvirt says around QEMU's own sentence. */
static const char *sentence(char *text)
{
	static const char error[] = "error: ", qemu[] = "unable to execute QEMU command '";
	char *last = text, *at;

	for (at = text; (at = strstr(at, error)); last = at)
		at += strlen(error);
	last[strcspn(last, "\n")] = 0;
	at = strstr(last, qemu);
	at = at ? strstr(at + strlen(qemu), "': ") : NULL;
	return at ? at + 3 : last;
}

char *virsh(struct report *r, const char *what, const char *uuid, const char *more)
{
	const char *const argv[] = { "virsh", "-q", what, uuid, more, NULL };
	int out = -1, status = 0, err;
	pid_t child;
	char *text;

	err = spawn(&child, &out, (char *const *)argv);
	if (err) {
		report_error(r, "virsh, of libvirt, cannot be run: %s", strerror(err));
		return NULL;
	}
	text = read_all(out);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!status)
		return text;
	report_error(r, "%s", *text ? sentence(text) : "virsh has failed");
	free(text);
	return NULL;
}
