/* The guest's parser as a function of the host: a line in, the report's text out. */
#include <string.h>

#include "cmdline.h"
#include "print.h"
#include "report.h"

static char *out;
static size_t room;

int text_equal(const char *a, const char *b)
{
	return !strcmp(a, b);
}

void put_byte(char byte)
{
	if (room) {
		*out++ = byte;
		room--;
	}
}

/* Returns how many bytes were written to `report`, or -1 if the guest refuses the line. */
long guest_report(const char *text, char *report, size_t size)
{
	static struct cmdline line;

	out = report;
	room = size;
	if (cmdline_parse(&line, text))
		return -1;
	report_cmdline(&line);
	return out - report;
}
