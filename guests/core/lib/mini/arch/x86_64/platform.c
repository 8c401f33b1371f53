/* A PC as QEMU's `pc` machine makes it, or as little of one as Firecracker does. */
#include "boot-info.h"
#include "../../platform.h"
#include "../../print.h"
#include "../../text.h"

#define SERIAL 0x3f8
#define SERIAL_STATUS (SERIAL + 5)
#define SERIAL_READY 0x20

/* Local APIC (Intel SDM volume 3, chapter 11): its switch, and the line the PIC is wired to. */
#define APIC_SPURIOUS 0xfee000f0
#define APIC_ENABLED 0x1ff
#define APIC_LINE_0 0xfee00350
#define APIC_EXTERNAL 0x700

#define PIC_MASTER 0x20
#define PIC_SLAVE 0xa0
#define TIMER_VECTOR 32
#define PIT_COMMAND 0x43
#define PIT_CHANNEL_0 0x40
#define PIT_HERTZ 1193182u
#define TICKS_PER_SECOND 100u

/* PM1a control of QEMU's ACPI; sleep type 0 is "off" there, bit 13 does it. */
#define ACPI_CONTROL 0x604
#define ACPI_OFF 0x2000
/* docs/specs/pvpanic of QEMU. */
#define PVPANIC 0x505
#define PVPANIC_PANICKED 1
#define PVPANIC_CRASH_LOADED 2

/* QEMU's isa-debug-exit, where kraft puts it: ends QEMU with twice the value and one. */
#define DEBUG_EXIT 0xf4

/* The keyboard controller's line to the processor's reset: Firecracker's only way out. */
#define KEYBOARD 0x64
#define KEYBOARD_RESET 0xfe

const char platform_name[] = "x86_64";

struct gate {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

static struct gate gates[TIMER_VECTOR + 1];
volatile uint64_t timer_ticks;
extern char exception_entries[], timer_entry[], kernel_end[];

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void put_byte(char byte)
{
	while (!(in8(SERIAL_STATUS) & SERIAL_READY))
		;
	out8(SERIAL, (uint8_t)byte);
}

static void set_gate(int vector, const char *entry)
{
	uint64_t address = (uint64_t)entry;

	gates[vector] = (struct gate){
		.low = (uint16_t)address,
		.selector = 8,
		.flags = 0x8e00,
		.middle = (uint16_t)(address >> 16),
		.high = (uint32_t)(address >> 32),
	};
}

static void load_gates(uint16_t limit)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { limit, (uint64_t)gates };

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

/* Turns the timer on: 100 interrupts a second, so that sleeping costs the host nothing. */
static void start_timer(void)
{
	uint16_t divisor = PIT_HERTZ / TICKS_PER_SECOND;

	for (int vector = 0; vector < TIMER_VECTOR; vector++)
		set_gate(vector, exception_entries + 16 * vector);
	set_gate(TIMER_VECTOR, timer_entry);
	load_gates(sizeof(gates) - 1);
	/* SeaBIOS wires the PIC through the local APIC; smaller firmware leaves it to us. */
	*(volatile uint32_t *)APIC_SPURIOUS = APIC_ENABLED;
	*(volatile uint32_t *)APIC_LINE_0 = APIC_EXTERNAL;
	/* Both interrupt controllers, initialised in their four words; then only IRQ 0 open. */
	out8(PIC_MASTER, 0x11);
	out8(PIC_SLAVE, 0x11);
	out8(PIC_MASTER + 1, TIMER_VECTOR);
	out8(PIC_SLAVE + 1, TIMER_VECTOR + 8);
	out8(PIC_MASTER + 1, 4);
	out8(PIC_SLAVE + 1, 2);
	out8(PIC_MASTER + 1, 1);
	out8(PIC_SLAVE + 1, 1);
	out8(PIC_MASTER + 1, 0xfe);
	out8(PIC_SLAVE + 1, 0xff);
	out8(PIT_COMMAND, 0x34);
	out8(PIT_CHANNEL_0, (uint8_t)divisor);
	out8(PIT_CHANNEL_0, (uint8_t)(divisor >> 8));
	__asm__ volatile("sti");
}

void platform_sleep(uint64_t milliseconds)
{
	uint64_t until = timer_ticks + milliseconds * TICKS_PER_SECOND / 1000;

	while (timer_ticks < until)
		__asm__ volatile("hlt");
}

_Noreturn void platform_hang(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

_Noreturn void platform_power_off(void)
{
#ifdef CONFIG_KVM_VMM_FIRECRACKER
	out8(KEYBOARD, KEYBOARD_RESET);
#else
	out16(ACPI_CONTROL, ACPI_OFF);
#endif
	platform_hang();
}

_Noreturn void platform_exit(uint8_t status)
{
#ifndef CONFIG_KVM_VMM_FIRECRACKER
	out8(DEBUG_EXIT, status);
#else
	(void)status;
#endif
	platform_power_off();
}

void platform_crash_loaded(void)
{
#ifndef CONFIG_KVM_VMM_FIRECRACKER
	out8(PVPANIC, PVPANIC_CRASH_LOADED);
#endif
}

_Noreturn void platform_panic(void)
{
#ifdef CONFIG_KVM_VMM_FIRECRACKER
	out8(KEYBOARD, KEYBOARD_RESET);
#else
	out8(PVPANIC, PVPANIC_PANICKED);
#endif
	platform_hang();
}

_Noreturn void platform_triple_fault(void)
{
	load_gates(0);
	__asm__ volatile("int3");
	platform_hang();
}

_Noreturn void platform_exception(uint64_t number, uint64_t code, uint64_t where)
{
	put_text("kraft-guest: exception ");
	put_number(number);
	put_text(", code ");
	put_hex(code);
	put_text(", at ");
	put_hex(where);
	put_byte('\n');
	platform_panic();
}

_Noreturn void platform_main(const void *told)
{
	static struct boot boot;
	uint64_t used = (uint64_t)kernel_end;

	read_boot_info(told, &boot);
	if ((uint64_t)boot.initrd_end > used)
		used = (uint64_t)boot.initrd_end;
	/* What the loader left (the command line, say) lies within a page behind the modules. */
	boot.free_start = (char *)((used + 0x4fff) & ~(uint64_t)0xfff);
	boot.free_end = (char *)boot.memory_bytes;
	start_timer();
	mini_main(&boot);
}
