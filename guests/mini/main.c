/* A miniature unikernel: says how it was started, does what it is asked to, leaves. */
#include "actions.h"
#include "cmdline.h"
#include "cpio.h"
#include "platform.h"
#include "print.h"
#include "report.h"

static struct cmdline line;

_Noreturn void mini_panic(const char *why)
{
	put_text("kraft-guest: panic: ");
	put_text(why);
	put_byte('\n');
	platform_panic();
}

static void report_initrd(const struct boot *boot)
{
	struct cpio archive = cpio_open(boot->initrd_start, boot->initrd_end);
	struct cpio_entry entry;
	uint64_t files = 0, bytes = 0;

	if (boot->initrd_start == boot->initrd_end)
		return;
	while (cpio_next(&archive, &entry)) {
		files++;
		bytes += entry.size;
	}
	if (archive.fault)
		mini_panic(archive.fault);
	put_text("initrd ");
	put_number(files);
	put_text(" entries, ");
	put_number(bytes);
	put_text(" bytes\n");
}

_Noreturn void mini_main(const struct boot *boot)
{
	enum cmdline_fault fault;

	put_text("kraft-guest: hello from ");
	put_text(platform_name);
	put_byte('\n');
	fault = cmdline_parse(&line, boot->cmdline);
	if (fault)
		mini_panic(describe_fault(fault));
	report_cmdline(&line);
	report_initrd(boot);
	put_text("ready\n");
	for (int i = 1; i < line.arg_count; i++)
		if (line.args[i][0] == '@')
			act(boot, line.args[i]);
	put_text("bye\n");
	platform_power_off();
}
