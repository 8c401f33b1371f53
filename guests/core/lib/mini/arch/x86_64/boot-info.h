/* What a boot protocol tells: one of multiboot.c and pvh.c is linked. */
#ifndef MINI_BOOT_INFO_H
#define MINI_BOOT_INFO_H

#include "../../platform.h"

/* Fills in what `told` points to: the line, the memory and the root archive. */
void read_boot_info(const void *told, struct boot *boot);

#endif
