/* What a guest says about how it was started: one line for each thing, strings as JSON. */
#ifndef MINI_REPORT_H
#define MINI_REPORT_H

#include "cmdline.h"

/* Calls `take` for every value of every parameter of that name. */
void each_value(const struct cmdline *line, const char *name, void (*take)(const char *value));
void report_cmdline(const struct cmdline *line);
const char *describe_fault(enum cmdline_fault fault);

/* An option that the kernel was configured with. */
struct setting {
	const char *name, *value;
};

/* What a build brings along, each ended by zeros; a kernel that was built by hand has none. */
extern const struct setting mini_settings[] __attribute__((weak));
extern const char *const mini_environ[] __attribute__((weak));

#endif
