/*
 * The command line, parsed as Unikraft 0.17 parses it (lib/ukargparse for words,
 * lib/uklibparam for parameters, lib/ukboot for what is a parameter at all).
 *
 * Pure: no output, no memory but its own, so that the host's tests can link it too.
 */
#ifndef MINI_CMDLINE_H
#define MINI_CMDLINE_H

/* Unikraft's defaults: bytes of the line, words in all. */
#define CMDLINE_BYTES 4096
#define CMDLINE_WORDS 60

enum cmdline_fault {
	CMDLINE_OK,
	CMDLINE_TOO_LONG,
};

/* One `lib.name=value`, or `lib.name=[ value value ]`. */
struct param {
	char *name;
	int is_list;
	/* Where its values lie in `values`, and how many there are. */
	int first, count;
};

struct cmdline {
	char raw[CMDLINE_BYTES + 1];
	char text[CMDLINE_BYTES + 1];
	char *words[CMDLINE_WORDS];
	int word_count;
	struct param params[CMDLINE_WORDS];
	int param_count;
	char *values[CMDLINE_WORDS];
	int value_count;
	/* What the application gets: its name, then the words that are no parameters. */
	char *args[CMDLINE_WORDS];
	int arg_count;
};

enum cmdline_fault cmdline_parse(struct cmdline *line, const char *text);

#endif
