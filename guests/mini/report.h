/* What a guest says about how it was started: one line for each thing, strings as JSON. */
#ifndef MINI_REPORT_H
#define MINI_REPORT_H

#include "cmdline.h"

/* Calls `take` for every value of every parameter of that name. */
void each_value(const struct cmdline *line, const char *name, void (*take)(const char *value));
void report_cmdline(const struct cmdline *line);
const char *describe_fault(enum cmdline_fault fault);

#endif
