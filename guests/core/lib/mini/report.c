/* What a guest says about how it was started; see report.h. */
#include "report.h"
#include "print.h"
#include "text.h"

void each_value(const struct cmdline *line, const char *name, void (*take)(const char *value))
{
	for (int i = 0; i < line->param_count; i++) {
		const struct param *param = &line->params[i];

		if (!text_equal(param->name, name))
			continue;
		for (int v = 0; v < param->count; v++)
			take(line->values[param->first + v]);
	}
}

static void report_param(const struct cmdline *line, const struct param *param)
{
	put_text("param ");
	put_json(param->name);
	put_text(param->is_list ? " [" : " ");
	for (int v = 0; v < param->count; v++) {
		if (v)
			put_text(", ");
		put_json(line->values[param->first + v]);
	}
	if (!param->is_list && !param->count)
		put_json("");
	put_text(param->is_list ? "]\n" : "\n");
}

static void report_env(const char *value)
{
	put_text("env ");
	put_json(value);
	put_byte('\n');
}

static void report_fstab(const char *value)
{
	put_text("fstab ");
	put_json(value);
	put_byte('\n');
}

void report_cmdline(const struct cmdline *line)
{
	put_text("line ");
	put_json(line->raw);
	put_byte('\n');
	for (int i = 0; i < line->param_count; i++)
		report_param(line, &line->params[i]);
	each_value(line, "env.vars", report_env);
	each_value(line, "vfs.fstab", report_fstab);
	for (int i = 0; i < line->arg_count; i++) {
		put_text("arg ");
		put_number((uint64_t)i);
		put_byte(' ');
		put_json(line->args[i]);
		put_byte('\n');
	}
}

const char *describe_fault(enum cmdline_fault fault)
{
	switch (fault) {
	case CMDLINE_OK:
		return "nothing is wrong";
	case CMDLINE_TOO_LONG:
		return "the command line is longer than 4096 bytes";
	}
	return "unknown fault";
}
