/* Multiboot Specification 0.6.96: what QEMU loads as a 32-bit ELF. */
#include "boot-info.h"

#define MAGIC 0x1badb002u
/* Memory is to be told. */
#define FLAGS 2u

/* Section 3.1: it stands in the first 8 KiB of the file. */
__attribute__((section(".boot"), used, aligned(4)))
static const uint32_t header[] = { MAGIC, FLAGS, -(MAGIC + FLAGS) };

/* Section 3.3: what we use of it. */
struct multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
};
struct multiboot_module {
	uint32_t start, end, string, reserved;
};

void read_boot_info(const void *told, struct boot *boot)
{
	const struct multiboot_info *info = told;

	boot->cmdline = info->flags & 4 ? (const char *)(uint64_t)info->cmdline : "";
	boot->memory_bytes = ((uint64_t)info->mem_upper + 1024) << 10;
	if (info->flags & 8 && info->mods_count) {
		const struct multiboot_module *module = (const void *)(uint64_t)info->mods_addr;

		boot->initrd_start = (const char *)(uint64_t)module->start;
		boot->initrd_end = (const char *)(uint64_t)module->end;
	}
}
