/*
 * The guest's parser, on the host: reads command lines from stdin, each ended by
 * NUL, and prints for each what a guest would report, then the word `end`.
 */
#include <stdio.h>
#include <string.h>

#include "../core/lib/mini/cmdline.h"
#include "../core/lib/mini/print.h"
#include "../core/lib/mini/report.h"

int text_equal(const char *a, const char *b)
{
	return !strcmp(a, b);
}

void put_byte(char byte)
{
	putchar(byte);
}

int main(void)
{
	static struct cmdline line;
	static char text[4 * CMDLINE_BYTES];
	size_t length = 0;
	int byte;

	while ((byte = getchar()) != EOF) {
		enum cmdline_fault fault;

		if (length < sizeof(text) - 1)
			text[length++] = (char)byte;
		if (byte)
			continue;
		text[length] = 0;
		fault = cmdline_parse(&line, text);
		if (fault)
			printf("fault %s\n", describe_fault(fault));
		else
			report_cmdline(&line);
		printf("end\n");
		fflush(stdout);
		length = 0;
	}
	return 0;
}
