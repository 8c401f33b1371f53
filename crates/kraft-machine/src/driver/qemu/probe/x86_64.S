/*
 * The guest that answers "do guests run here?" on x86_64: it does what a unikernel does on its
 * first steps and says so, a letter at a time, on port 0xe9; 'K' at the end means that all of it
 * worked. It then leaves through QEMU's isa-debug-exit at port 0x501.
 *
 *   P  protected mode, where Multiboot enters       A  the local APIC's timer interrupts
 *   L  long mode, through EFER and page tables      K  all of it
 *   S  CPUID, SSE and the MSRs of a 64-bit system   X  an exception came that should not
 *   T  the PIT's interrupts wake a halted processor
 *
 * Assembled by hand, the result is kept beside this file; a test compares the two:
 *   cc -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,--oformat=binary \
 *      -o x86_64.bin x86_64.S
 */
.set	TABLES,   0x200000		/* six pages: PML4, PDPT, four page directories */
.set	STACK,    0x208000
.set	IDT,      0x209000
.set	LAPIC,    0xfee00000
.set	PIT_VECTOR,  0x20
.set	APIC_VECTOR, 0x30

.macro say letter
	movb	$\letter, %al
	outb	%al, $0xe9
.endm

.code32
.text
.globl _start
.align 4
header:					/* Multiboot 1, with the addresses of a flat file */
	.long	0x1badb002, 0x00010000, -(0x1badb002 + 0x00010000)
	.long	header, header, 0, 0, _start

_start:
	cli
	cld
	movl	$STACK, %esp
	say	'P'

	movl	$TABLES, %edi		/* clear the tables and the IDT */
	xorl	%eax, %eax
	movl	$(0xa000 / 4), %ecx
	rep stosl

	movl	$(TABLES + 0x1003), TABLES
	movl	$(TABLES + 0x2003), TABLES + 0x1000
	movl	$(TABLES + 0x3003), TABLES + 0x1008
	movl	$(TABLES + 0x4003), TABLES + 0x1010
	movl	$(TABLES + 0x5003), TABLES + 0x1018
	movl	$(TABLES + 0x2000), %edi	/* 4 GiB, one to one, in pages of 2 MiB */
	movl	$0x83, %eax
	movl	$2048, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b

	movl	%cr4, %eax
	orl	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl	%eax, %cr4
	movl	$TABLES, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER */
	rdmsr
	orl	$0x901, %eax		/* NXE, LME, SCE */
	wrmsr
	movl	%cr0, %eax
	andl	$~0x4, %eax		/* no FPU emulation */
	orl	$0x80010002, %eax	/* PG, WP, MP */
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$8, $long_mode

.code64
long_mode:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	say	'L'

	xorl	%eax, %eax
	cpuid
	movl	$1, %eax
	cpuid
	movl	$0x80000001, %eax
	cpuid
	pxor	%xmm0, %xmm0
	movdqa	%xmm0, %xmm1
	paddq	%xmm1, %xmm0
	movaps	%xmm0, IDT
	movl	$0xc0000100, %ecx	/* FS.base, then GS.base */
	xorl	%edx, %edx
	movl	$STACK, %eax
	wrmsr
	incl	%ecx
	wrmsr
	movl	$0xc0000082, %ecx	/* LSTAR */
	rdmsr
	wrmsr
	movl	$0x277, %ecx		/* PAT */
	rdmsr
	wrmsr
	rdtsc
	say	'S'

	movl	$256, %ecx		/* every vector leads to the fault handler ... */
	movl	$IDT, %edi
1:	movl	$fault, %eax
	call	gate
	loop	1b
	movl	$(IDT + PIT_VECTOR * 16), %edi	/* ... but the timers' */
	movl	$pit_tick, %eax
	call	gate
	movl	$(IDT + APIC_VECTOR * 16), %edi
	movl	$apic_tick, %eax
	call	gate
	lidt	idt_pointer

	movb	$0x11, %al		/* the PICs: vectors from 0x20 and 0x28, only IRQ 0 */
	outb	%al, $0x20
	outb	%al, $0xa0
	movb	$PIT_VECTOR, %al
	outb	%al, $0x21
	movb	$(PIT_VECTOR + 8), %al
	outb	%al, $0xa1
	movb	$4, %al
	outb	%al, $0x21
	movb	$2, %al
	outb	%al, $0xa1
	movb	$1, %al
	outb	%al, $0x21
	outb	%al, $0xa1
	movb	$0xfe, %al
	outb	%al, $0x21
	movb	$0xff, %al
	outb	%al, $0xa1
	movb	$0x34, %al		/* the PIT: rate generator, about 1 kHz */
	outb	%al, $0x43
	movb	$0xa9, %al
	outb	%al, $0x40
	movb	$0x04, %al
	outb	%al, $0x40

	xorl	%ebx, %ebx
1:	sti
	hlt
	cli
	cmpl	$3, %ebx
	jb	1b
	say	'T'

	movb	$0xff, %al		/* silence the PIC */
	outb	%al, $0x21
	movl	$LAPIC, %esi
	movl	$0x1ff, 0xf0(%rsi)	/* enabled, spurious vector 0xff */
	movl	$0x3, 0x3e0(%rsi)	/* bus clock divided by 16 */
	movl	$(0x20000 | APIC_VECTOR), 0x320(%rsi)	/* periodic */
	movl	$50000, 0x380(%rsi)
	xorl	%ebx, %ebx
1:	sti
	hlt
	cli
	cmpl	$3, %ebx
	jb	1b
	say	'A'
	say	'K'
	jmp	leave

pit_tick:
	incl	%ebx
	pushq	%rax
	movb	$0x20, %al
	outb	%al, $0x20
	popq	%rax
	iretq

apic_tick:
	incl	%ebx
	movl	$0, 0xb0(%rsi)
	iretq

fault:
	say	'X'
leave:
	movw	$0x501, %dx
	xorl	%eax, %eax
	outl	%eax, %dx
1:	cli
	hlt
	jmp	1b

gate:					/* %edi: gate, then the next one; %eax: handler */
	movw	%ax, (%rdi)
	movw	$8, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	shrl	$16, %eax
	movw	%ax, 6(%rdi)
	addl	$16, %edi
	ret

.align 8
gdt:	.quad	0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt
idt_pointer:
	.word	256 * 16 - 1
	.quad	IDT
