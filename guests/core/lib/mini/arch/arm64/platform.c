/* QEMU's `virt` machine: serial port, generic timer, interrupt controller, PSCI. */
#include "fdt.h"
#include "../../platform.h"
#include "../../print.h"
#include "../../text.h"

/* PrimeCell UART PL011: data, and the flag that its queue is full. */
#define UART_DATA 0x09000000
#define UART_FLAGS 0x09000018
#define UART_FULL 0x20

/* GICv2 of `virt`: distributor, processor interface; the virtual timer is interrupt 27. */
#define GIC_DISTRIBUTOR 0x08000000
#define GIC_ENABLE (GIC_DISTRIBUTOR + 0x100)
#define GIC_INTERFACE 0x08010000
#define GIC_PRIORITY_MASK (GIC_INTERFACE + 4)
#define TIMER_INTERRUPT 27

/* Arm PSCI 1.0 (DEN0022). */
#define PSCI_SYSTEM_OFF 0x84000008
#define PSCI_SYSTEM_RESET 0x84000009

const char platform_name[] = "arm64";

extern char kernel_end[];

static inline void write32(uint64_t address, uint32_t value)
{
	*(volatile uint32_t *)address = value;
}

static inline uint32_t read32(uint64_t address)
{
	return *(volatile uint32_t *)address;
}

void put_byte(char byte)
{
	while (read32(UART_FLAGS) & UART_FULL)
		;
	write32(UART_DATA, (unsigned char)byte);
}

static _Noreturn void psci(uint64_t function)
{
	register uint64_t x0 __asm__("x0") = function;

	__asm__ volatile("hvc #0" : "+r"(x0) : : "memory");
	platform_hang();
}

_Noreturn void platform_hang(void)
{
	for (;;)
		__asm__ volatile("msr daifset, #15; msr cntv_ctl_el0, xzr; wfi");
}

_Noreturn void platform_power_off(void)
{
	psci(PSCI_SYSTEM_OFF);
}

/* There is no panic device: a reset, which `-no-reboot` makes an end, is how a crash is told. */
_Noreturn void platform_exit(uint8_t status)
{
	(void)status;
	platform_power_off();
}

void platform_crash_loaded(void)
{
}

_Noreturn void platform_panic(void)
{
	psci(PSCI_SYSTEM_RESET);
}

_Noreturn void platform_triple_fault(void)
{
	psci(PSCI_SYSTEM_RESET);
}

_Noreturn void platform_exception(uint64_t syndrome, uint64_t where)
{
	put_text("kraft-guest: exception ");
	put_hex(syndrome);
	put_text(" at ");
	put_hex(where);
	put_byte('\n');
	platform_panic();
}

static uint64_t now(void)
{
	uint64_t count;

	__asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(count));
	return count;
}

/* Interrupts stay masked: one that is pending wakes the processor all the same. */
void platform_sleep(uint64_t milliseconds)
{
	uint64_t hertz, until;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hertz));
	until = now() + hertz / 1000 * milliseconds;
	__asm__ volatile("msr cntv_cval_el0, %0; msr cntv_ctl_el0, %1; isb"
			 :
			 : "r"(until), "r"((uint64_t)1));
	while (now() < until)
		__asm__ volatile("wfi");
	__asm__ volatile("msr cntv_ctl_el0, xzr; isb");
}

static void start_timer(void)
{
	write32(GIC_DISTRIBUTOR, 1);
	write32(GIC_ENABLE, 1u << TIMER_INTERRUPT);
	write32(GIC_PRIORITY_MASK, 0xff);
	write32(GIC_INTERFACE, 1);
}

/* A 32-bit or 64-bit address, as the boot loader pleases. */
static char *address(struct fdt_property property)
{
	return (char *)fdt_cells(property, 0, property.size / 4);
}

_Noreturn void platform_main(const void *tree)
{
	static struct boot boot;
	struct fdt_property cmdline = fdt_find(tree, "chosen", "bootargs");
	struct fdt_property memory = fdt_find(tree, "memory", "reg");
	uint64_t memory_start = fdt_cells(memory, 0, 2);
	uint64_t tree_end = (uint64_t)tree + fdt_size(tree);
	uint64_t used = (uint64_t)kernel_end;

	boot.cmdline = cmdline.size ? (const char *)cmdline.data : "";
	boot.memory_bytes = fdt_cells(memory, 2, 2);
	boot.initrd_start = address(fdt_find(tree, "chosen", "linux,initrd-start"));
	boot.initrd_end = address(fdt_find(tree, "chosen", "linux,initrd-end"));
	if ((uint64_t)boot.initrd_end > used)
		used = (uint64_t)boot.initrd_end;
	if (tree_end > used)
		used = tree_end;
	boot.free_start = (char *)((used + 0xfff) & ~(uint64_t)0xfff);
	boot.free_end = (char *)(memory_start + boot.memory_bytes);
	start_timer();
	mini_main(&boot);
}
