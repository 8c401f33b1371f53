/* A miniature unikernel: says how it was started, does what it is asked to, leaves. */
#include "actions.h"
#include "cmdline.h"
#include "cpio.h"
#include "platform.h"
#include "print.h"
#include "report.h"

static struct cmdline line;

/* The application, and a root filesystem inside the kernel: only what was built with them has them. */
extern int main(int argc, char *argv[]) __attribute__((weak));
extern const char mini_einitrd_start[] __attribute__((weak));
extern const char mini_einitrd_end[] __attribute__((weak));

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

/* What the kernel was built with: its options, and the variables among them. */
static void report_build(void)
{
	for (int i = 0; mini_settings && mini_settings[i].name; i++) {
		put_text("config ");
		put_text(mini_settings[i].name);
		put_byte(' ');
		put_json(mini_settings[i].value);
		put_byte('\n');
	}
	for (int i = 0; mini_environ && mini_environ[i]; i++) {
		if (!mini_environ[i][0])
			continue;
		put_text("env ");
		put_json(mini_environ[i]);
		put_byte('\n');
	}
}

static void run_application(void)
{
	int status;

	if (!main)
		return;
	status = main(line.arg_count, line.args);
	put_text("main returned ");
	put_number((uint64_t)status);
	put_byte('\n');
}

_Noreturn void mini_main(const struct boot *given)
{
	static struct boot found;
	const struct boot *boot = &found;
	enum cmdline_fault fault;

	found = *given;
	if (found.initrd_start == found.initrd_end && mini_einitrd_start) {
		found.initrd_start = mini_einitrd_start;
		found.initrd_end = mini_einitrd_end;
	}
	put_text("kraft-guest: hello from ");
	put_text(platform_name);
	put_byte('\n');
	report_build();
	fault = cmdline_parse(&line, boot->cmdline);
	if (fault)
		mini_panic(describe_fault(fault));
	report_cmdline(&line);
	report_initrd(boot);
	put_text("ready\n");
	run_application();
	for (int i = 1; i < line.arg_count; i++)
		if (line.args[i][0] == '@')
			act(boot, line.args[i]);
	put_text("bye\n");
	platform_power_off();
}
