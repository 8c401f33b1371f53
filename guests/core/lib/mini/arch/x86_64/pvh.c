/* The PVH boot protocol (Xen, docs/misc/pvh): what Firecracker and QEMU load as a 64-bit ELF. */
#include "boot-info.h"

/* The note that names the 32-bit entry: XEN_ELFNOTE_PHYS32_ENTRY. */
#define PHYSICAL_ENTRY 18

extern void _start(void);

__attribute__((section(".note.pvh"), used, aligned(4)))
static const struct {
	uint32_t name_size, size, type;
	char name[4];
	void (*entry)(void);
} note = { 4, 8, PHYSICAL_ENTRY, "Xen", _start };

/* xen/include/public/arch-x86/hvm/start_info.h describes them; the map is there from version 1 on. */
struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, map;
	uint32_t map_count, reserved;
};
struct start_module {
	uint64_t start, size, cmdline, reserved;
};
struct start_range {
	uint64_t start, size;
	uint32_t type, reserved;
};

#define RANGE_RAM 1
/* Where the kernel is, and so where the memory begins that counts. */
#define KERNEL_START 0x100000

void read_boot_info(const void *told, struct boot *boot)
{
	const struct start_info *info = told;
	const struct start_range *map = (const void *)info->map;

	boot->cmdline = info->cmdline ? (const char *)info->cmdline : "";
	for (uint32_t i = 0; info->version > 0 && i < info->map_count; i++) {
		uint64_t end = map[i].start + map[i].size;

		if (map[i].type == RANGE_RAM && map[i].start <= KERNEL_START && end > KERNEL_START)
			boot->memory_bytes = end;
	}
	if (info->module_count) {
		const struct start_module *module = (const void *)info->modules;

		boot->initrd_start = (const char *)module->start;
		boot->initrd_end = (const char *)(module->start + module->size);
	}
}
