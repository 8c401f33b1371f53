/* What an architecture supplies, and what it is told. */
#ifndef MINI_PLATFORM_H
#define MINI_PLATFORM_H

#include <stdint.h>

/* How the machine was started, as the boot protocol told it. */
struct boot {
	const char *cmdline;
	const char *initrd_start, *initrd_end;
	uint64_t memory_bytes;
	/* Memory that nobody uses: behind the kernel and everything that was loaded. */
	char *free_start, *free_end;
};

extern const char platform_name[];

void platform_sleep(uint64_t milliseconds);
_Noreturn void platform_power_off(void);
/* Powers off with an exit status, where the machine can carry one. */
_Noreturn void platform_exit(uint8_t status);
/* Reports that a crash kernel took over, where that can be reported. */
void platform_crash_loaded(void);
/* Tells the monitor that the guest is lost. */
_Noreturn void platform_panic(void);
/* Ends the machine the hard way: a triple fault, or a reset where there is none. */
_Noreturn void platform_triple_fault(void);
_Noreturn void platform_hang(void);

/* The common part, entered by the architecture's once it can print. */
_Noreturn void mini_main(const struct boot *boot);
_Noreturn void mini_panic(const char *why);

#endif
