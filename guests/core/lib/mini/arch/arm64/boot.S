/* The arm64 `Image` header (Linux, Documentation/arch/arm64/booting), then into C. */

#define LOAD_OFFSET 0x200000
#define FLAGS_4K_LITTLE_ENDIAN 0x2
#define STACK_SIZE 65536

	.section .boot, "ax"
	.globl _start
_start:
	b entry
	.long 0
	.quad LOAD_OFFSET
	.quad kernel_end - _start
	.quad FLAGS_4K_LITTLE_ENDIAN
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

entry:
	/* x0 holds the address of the device tree until C takes it. */
	adrp x1, stack_end
	add x1, x1, :lo12:stack_end
	mov sp, x1

	/* What is not in the file is not zero yet. */
	adrp x1, bss_start
	add x1, x1, :lo12:bss_start
	adrp x2, kernel_end
	add x2, x2, :lo12:kernel_end
1:	cmp x1, x2
	b.hs 2f
	str xzr, [x1], #8
	b 1b

2:	adrp x1, vectors
	add x1, x1, :lo12:vectors
	msr vbar_el1, x1
	isb
	bl platform_main
3:	wfi
	b 3b

	/* Sixteen entries of 128 bytes; every one of them is the end. */
	.text
	.align 11
vectors:
	.rept 16
	.align 7
	mrs x0, esr_el1
	mrs x1, elr_el1
	b platform_exception
	.endr

	.section .stack, "aw", @nobits
	.align 4
	.skip STACK_SIZE
stack_end:

	.section .note.GNU-stack, "", @progbits
