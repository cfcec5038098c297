// SPDX-License-Identifier: GPL-2.0-only
/*
 * hpcvm: see and prove what hpcvm does for the VMs of this node.
 */
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tool.h"

#ifndef HPCVM_VERSION
#define HPCVM_VERSION "unknown"
#endif

static const struct command *const commands[] = {
	&cmd_info,
	&cmd_list,
	&cmd_proof,
	&cmd_reserve,
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

int parse_options(const struct command *cmd, int argc, char **argv, bool *json,
		  const struct option *more, bool *flag, int *status)
{
	struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		more ? *more : (struct option){ 0 },
		{ 0 },
	};
	int c;

	*json = false;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			*json = true;
			break;
		case 'h':
			help_command(cmd);
			*status = EXIT_HOLDS;
			return -1;
		default:
			if (more && c == more->val) {
				*flag = true;
				break;
			}
			*status = usage_error(cmd, "there is no option %s",
					      argv[optind - 1]);
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
