// SPDX-License-Identifier: GPL-2.0-only
/*
 * What "hpcvm isolate" has set: a file below /run, which is gone after a reboot like
 * the settings themselves.
 *
 * It is written before anything is changed, whole or not at all, and has for each
 * setting what it was and what it is to be. So at any moment the file and the node
 * together tell what is still to be undone: whatever is as it was needs nothing.
 *
 *	CORES
 *	NAME <tab> TARGET <tab> PUT <tab> WAS		a line each
 *
 * The lock is inherited by the programs that the command runs. Whoever comes after a
 * command that was killed waits for these.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "isolate.h"

#define STATE RUN "/isolate"
#define STATE_NEW STATE ".new"

static char *copy(const char *s)
{
	char *c;

	if (asprintf(&c, "%s", s) < 0)
		abort();
	return c;
}

struct change *isolation_find(struct isolation *i, const struct setting *s, const char *target)
{
	for (size_t c = 0; c < i->nr; c++)
		if (i->changes[c].setting == s && !strcmp(i->changes[c].target, target))
			return &i->changes[c];
	return NULL;
}

void isolation_add(struct isolation *i, const struct setting *s, const char *target,
		   const char *put, const char *was)
{
	struct change *c;

	i->changes = realloc(i->changes, (i->nr + 1) * sizeof(*i->changes));
	if (!i->changes)
		abort();
	c = &i->changes[i->nr++];
	c->setting = s;
	c->target = copy(target);
	c->put = copy(put);
	c->was = copy(was);
	c->undone = false;
}

static void release(struct change *c)
{
	free(c->target);
	free(c->put);
	free(c->was);
}

void isolation_drop(struct isolation *i, struct change *c)
{
	release(c);
	i->nr--;
	memmove(c, c + 1, (i->changes + i->nr - c) * sizeof(*c));
}

static bool load_line(struct isolation *i, char *line)
{
	char *name = strsep(&line, "\t"), *target = strsep(&line, "\t");
	char *put = strsep(&line, "\t"), *was = strsep(&line, "\n");

	for (size_t s = 0; was && s < nr_settings; s++) {
		if (strcmp(settings[s].name, name))
			continue;
		isolation_add(i, &settings[s], target, put, was);
		return true;
	}
	return false;
}

static bool load(struct isolation *i, char *why)
{
	FILE *f = fopen(STATE, "re");
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	bool ok;

	if (!f && errno == ENOENT)
		return true;
	if (!f) {
		snprintf(why, WHY_MAX, "cannot read %s: %m", STATE);
		return false;
	}
	n = getline(&line, &room, f);
	if (n > 0)
		line[n - 1] = 0;
	ok = n > 0 && cpus_from_list(&i->cores, line) && !cpus_empty(&i->cores);
	while (ok && getline(&line, &room, f) > 0)
		ok = load_line(i, line);
	free(line);
	fclose(f);
	if (!ok)
		snprintf(why, WHY_MAX, "%s is not as this version of hpcvm writes it", STATE);
	return ok;
}

/* Who only looks needs no lock: the file is always whole. */
bool isolation_open(struct isolation *i, bool change, char *why)
{
	*i = (struct isolation){ .lock = -1 };
	if (change) {
		if (mkdir(RUN, 0755) && errno != EEXIST) {
			snprintf(why, WHY_MAX, "cannot create %s: %m%s", RUN,
				 errno == EACCES ? "; this is for root" : "");
			return false;
		}
		i->lock = open(STATE ".lock", O_RDWR | O_CREAT, 0600);
		if (i->lock < 0 || flock(i->lock, LOCK_EX)) {
			snprintf(why, WHY_MAX, "cannot lock %s: %m%s", STATE ".lock",
				 errno == EACCES ? "; this is for root" : "");
			return false;
		}
	}
	return load(i, why);
}

void isolation_close(struct isolation *i)
{
	while (i->nr)
		release(&i->changes[--i->nr]);
	free(i->changes);
	if (i->lock >= 0)
		close(i->lock);
}

static bool write_to(const struct isolation *i, int fd)
{
	char cores[VALUE_MAX];
	FILE *f = fdopen(fd, "w");
	bool ok;

	if (!f)
		return false;
	cpus_to_list(&i->cores, cores, sizeof(cores));
	fprintf(f, "%s\n", cores);
	for (size_t c = 0; c < i->nr; c++)
		fprintf(f, "%s\t%s\t%s\t%s\n", i->changes[c].setting->name, i->changes[c].target,
			i->changes[c].put, i->changes[c].was);
	ok = !ferror(f);
	return !fclose(f) && ok;
}

bool isolation_save(const struct isolation *i, char *why)
{
	int fd;

	if (!i->nr) {
		if (!unlink(STATE) || errno == ENOENT)
			return true;
	} else {
		fd = open(STATE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (fd >= 0 && write_to(i, fd) && !rename(STATE_NEW, STATE))
			return true;
	}
	snprintf(why, WHY_MAX, "cannot write %s: %m", STATE);
	return false;
}
