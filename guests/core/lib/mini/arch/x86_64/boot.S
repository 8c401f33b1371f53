/* From 32-bit protected mode, where Multiboot and PVH leave us, to 64-bit long mode, then into C. */

#define STACK_SIZE 65536
#define PAGE_PRESENT_WRITE 0x3
#define PAGE_LARGE 0x80
#define CR0_PG_PE 0x80000001
#define CR4_PAE_OSFXSR 0x620
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define GIBIBYTES 4

	.section .text, "ax"
	.code32
	.globl _start
_start:
	cli
	cld
	mov $stack_end, %esp
	/* What the loader tells lies where this points to, in both protocols. */
	mov %ebx, %ebp

	/* The firmware may leave anything in memory: the tables are built from nothing. */
	mov $page_tables, %edi
	xor %eax, %eax
	mov $((2 + GIBIBYTES) * 1024), %ecx
	rep stosl

	movl $(page_tables + 0x1000 + PAGE_PRESENT_WRITE), page_tables
	mov $(page_tables + 0x2000 + PAGE_PRESENT_WRITE), %eax
	mov $(page_tables + 0x1000), %edi
	mov $GIBIBYTES, %ecx
1:	mov %eax, (%edi)
	add $0x1000, %eax
	add $8, %edi
	loop 1b

	/* Everything below 4 GiB maps to itself, in pages of 2 MiB. */
	mov $(page_tables + 0x2000), %edi
	mov $(PAGE_PRESENT_WRITE | PAGE_LARGE), %eax
	mov $(GIBIBYTES * 512), %ecx
2:	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	loop 2b

	mov $page_tables, %eax
	mov %eax, %cr3
	mov %cr4, %eax
	or $CR4_PAE_OSFXSR, %eax
	mov %eax, %cr4
	mov $MSR_EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov %cr0, %eax
	or $CR0_PG_PE, %eax
	mov %eax, %cr0
	lgdt gdt_pointer
	ljmp $8, $long_mode

	.code64
long_mode:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov %ebp, %edi
	call platform_main
3:	hlt
	jmp 3b

	/* One entry for each exception; those that push no error code push a zero. */
	.text
	.altmacro
	.macro exception number
	.align 16
exception_\number:
	.if !(\number == 8 || (\number >= 10 && \number <= 14) || \number == 17)
	push $0
	.endif
	push $\number
	jmp exception_common
	.endm

	.align 16
	.globl exception_entries
exception_entries:
	.set i, 0
	.rept 32
	exception %i
	.set i, i + 1
	.endr

exception_common:
	pop %rdi	/* number */
	pop %rsi	/* error code */
	mov (%rsp), %rdx	/* where */
	and $-16, %rsp
	call platform_exception

	.globl timer_entry
timer_entry:
	push %rax
	incq timer_ticks(%rip)
	mov $0x20, %al
	outb %al, $0x20
	pop %rax
	iretq

	.data
	.align 8
gdt:	.quad 0
	.quad 0x00af9b000000ffff	/* code, 64 bits */
	.quad 0x00cf93000000ffff	/* data */
gdt_pointer:
	.word . - gdt - 1
	.long gdt

	.bss
	.align 4096
page_tables:
	.skip (2 + GIBIBYTES) * 4096
	.skip STACK_SIZE
stack_end:

	/* The mark by which a Unikraft kernel is known: its table of initialisers. */
	.section .uk_inittab, "a"
	.quad 0

	.section .note.GNU-stack, "", @progbits
