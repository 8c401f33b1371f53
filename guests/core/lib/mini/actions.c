/* What the guest does on request; README.md lists it for people. */
#include "actions.h"
#include "cpio.h"
#include "print.h"
#include "text.h"

static void sleep_seconds(const struct boot *boot, const char *seconds)
{
	(void)boot;
	platform_sleep(text_number(seconds) * 1000);
}

static void tick(const struct boot *boot, const char *times)
{
	uint64_t count = text_number(times);

	(void)boot;
	for (uint64_t n = 1; n <= count; n++) {
		put_text("tick ");
		put_number(n);
		put_byte('\n');
		platform_sleep(100);
	}
}

static void lines(const struct boot *boot, const char *count)
{
	uint64_t last = text_number(count);

	(void)boot;
	for (uint64_t n = 1; n <= last; n++) {
		put_text("line ");
		put_number(n);
		put_byte('\n');
	}
}

static void exit_with(const struct boot *boot, const char *code)
{
	(void)boot;
	platform_exit((uint8_t)text_number(code));
}

static void crash_kernels(const struct boot *boot, const char *times)
{
	uint64_t count = text_number(times);

	(void)boot;
	for (uint64_t n = 0; n < count; n++)
		platform_crash_loaded();
}

static void print(const struct boot *boot, const char *text)
{
	(void)boot;
	put_text(text);
}

static void cat(const struct boot *boot, const char *path)
{
	struct cpio archive = cpio_open(boot->initrd_start, boot->initrd_end);
	struct cpio_entry entry, found = { 0 };

	while (*path == '/')
		path++;
	/* The last of several entries of one name wins, as when they are unpacked. */
	while (cpio_next(&archive, &entry))
		if (text_equal(entry.name, path))
			found = entry;
	if (!found.name)
		mini_panic("no such file in the root archive");
	put_text("file ");
	put_json(path);
	put_byte(' ');
	put_number(found.size);
	put_byte('\n');
	put_bytes(found.data, found.size);
	put_byte('\n');
}

static void list(const struct boot *boot, const char *unused)
{
	struct cpio archive = cpio_open(boot->initrd_start, boot->initrd_end);
	struct cpio_entry entry;

	(void)unused;
	while (cpio_next(&archive, &entry)) {
		put_text("entry ");
		put_octal(entry.mode);
		put_byte(' ');
		put_number(entry.size);
		put_byte(' ');
		put_json(entry.name);
		put_byte('\n');
	}
}

static void memory(const struct boot *boot, const char *unused)
{
	(void)unused;
	put_text("memory ");
	put_number(boot->memory_bytes);
	put_text(" bytes\n");
}

static void fill(const struct boot *boot, const char *mebibytes)
{
	uint64_t wanted = text_number(mebibytes) << 20;
	uint64_t there = (uint64_t)(boot->free_end - boot->free_start);
	volatile char *page = boot->free_start;

	for (uint64_t done = 0; done < wanted && done < there; done += 4096)
		page[done] = 1;
	if (wanted > there)
		mini_panic("out of memory");
	put_text("filled ");
	put_number(wanted);
	put_text(" bytes\n");
}

static void crash(const struct boot *boot, const char *how)
{
	(void)boot;
	if (text_equal(how, "panic"))
		mini_panic("asked to");
	if (text_equal(how, "triple"))
		platform_triple_fault();
	if (text_equal(how, "hang"))
		platform_hang();
	mini_panic("asked to crash in a way that is unknown");
}

static const struct {
	const char *word;
	void (*act)(const struct boot *boot, const char *operand);
} actions[] = {
	{ "@sleep:", sleep_seconds }, { "@tick:", tick },  { "@print:", print },
	{ "@lines:", lines },         { "@exit:", exit_with }, { "@events:", crash_kernels },
	{ "@cat:", cat },             { "@ls", list },     { "@mem", memory },
	{ "@fill:", fill },           { "@crash:", crash },
};

void act(const struct boot *boot, const char *word)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		const char *operand = text_after(word, actions[i].word);

		if (operand) {
			actions[i].act(boot, operand);
			return;
		}
	}
	mini_panic("asked for an action that is unknown");
}
