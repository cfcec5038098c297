// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm: see and prove what hpcvm does for the VMs of this node.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#ifndef HPCVM_VERSION
#define HPCVM_VERSION "unknown"
#endif

static const struct command *const commands[] = {
	&cmd_info,
	&cmd_isolate,
	&cmd_list,
	&cmd_noise,
	&cmd_preempt,
	&cmd_proof,
	&cmd_reserve,
	&cmd_resume,
	&cmd_top,
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}

static void help(FILE *to)
{
	fputs("Usage: hpcvm COMMAND [OPTION]... [OPERAND]...\n"
	      "See and prove what hpcvm does for the VMs of this node.\n\nCommands:\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("  help       explain a command: hpcvm help COMMAND\n\n"
	      "      --help     print this, or with a command what it does\n"
	      "      --version  print the version\n", to);
}

void help_command(const struct command *cmd)
{
	printf("Usage: hpcvm %s%s%s\n\n%s", cmd->name, *cmd->args ? " " : "",
	       cmd->args, cmd->help);
}

int usage_error(const struct command *cmd, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "hpcvm%s%s: ", cmd ? " " : "", cmd ? cmd->name : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry: hpcvm help%s%s\n", cmd ? " " : "", cmd ? cmd->name : "");
	return EXIT_TROUBLE;
}

bool parse_number(const char *s, uint64_t max, uint64_t *n)
{
	char *end;

	if (!isdigit((unsigned char)*s))
		return false;
	errno = 0;
	*n = strtoull(s, &end, 10);
	return !errno && !*end && *n <= max;
}

int parse_options(const struct command *cmd, int argc, char **argv, bool *json,
		  const struct option *more, bool (*take)(int c, const char *value, void *to),
		  void *to, int *status)
{
	struct option options[7] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
	};
	int c, index = 0;

	for (int i = 0; more && more[i].name; i++)
		options[i + 2] = more[i];
	*json = false;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, &index)) != -1) {
		switch (c) {
		case 'j':
			*json = true;
			break;
		case 'h':
			help_command(cmd);
			*status = EXIT_HOLDS;
			return -1;
		case '?':
			*status = usage_error(cmd, "there is no option %s%s", argv[optind - 1],
					      more ? ", or its value is missing" : "");
			return -1;
		default:
			if (take(c, optarg, to))
				break;
			*status = usage_error(cmd, "--%s cannot be %s", options[index].name, optarg);
			return -1;
		}
	}
	return optind;
}

int main(int argc, char **argv)
{
	const struct command *cmd;
	const char *name = argc > 1 ? argv[1] : NULL;

	setlocale(LC_CTYPE, "");
	if (!name) {
		help(stderr);
		return EXIT_TROUBLE;
	}
	if (!strcmp(name, "--version")) {
		puts("hpcvm " HPCVM_VERSION);
		return EXIT_HOLDS;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		if (argc < 3) {
			help(stdout);
			return EXIT_HOLDS;
		}
		cmd = find(argv[2]);
		if (!cmd)
			return usage_error(NULL, "there is no command %s", argv[2]);
		help_command(cmd);
		return EXIT_HOLDS;
	}
	cmd = find(name);
	if (!cmd)
		return usage_error(NULL, "there is no command %s", name);
	return cmd->run(cmd, argc - 1, argv + 1);
}
