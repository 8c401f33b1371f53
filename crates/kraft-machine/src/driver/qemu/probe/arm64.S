/*
 * The guest that answers "do guests run here?" on arm64: what a unikernel does on its first steps,
 * a letter at a time on the PL011 of QEMU's `virt`; then it powers itself off by PSCI.
 *
 *   E  the first instruction, and the serial port      T  the virtual timer fires
 *   F  vector instructions                              K  all of it
 *
 * Assembled by hand, the result is kept beside this file; a test compares the two:
 *   aarch64-linux-gnu-gcc -c -o arm64.o arm64.S
 *   aarch64-linux-gnu-objcopy -O binary -j .text arm64.o arm64.bin
 */
.set	UART, 0x09000000

.macro say letter
	mov	w1, #\letter
	str	w1, [x0]
.endm

.text
.globl _start
_start:				/* the header of an arm64 Image */
	b	begin
	.long	0
	.quad	0x80000		/* where to load it, from the start of memory */
	.quad	0x10000		/* how much memory it takes */
	.quad	0xa		/* little endian, pages of 4 KiB, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

begin:
	ldr	x0, =UART
	say	'E'

	mov	x2, #(3 << 20)	/* let EL1 use the vector registers */
	msr	cpacr_el1, x2
	isb
	movi	v0.2d, #0
	add	v1.2d, v0.2d, v0.2d
	fmov	x2, d1
	cbnz	x2, fail
	say	'F'

	mrs	x2, cntfrq_el0	/* a millisecond from now */
	mov	x3, #1000
	udiv	x2, x2, x3
	mrs	x3, cntvct_el0
	add	x2, x2, x3
	msr	cntv_cval_el0, x2
	mov	x2, #3		/* enabled, its interrupt masked: only the state is looked at */
	msr	cntv_ctl_el0, x2
	isb
1:	yield
	mrs	x2, cntv_ctl_el0
	tbz	x2, #2, 1b
	say	'T'
	say	'K'
	b	leave

fail:
	say	'X'
leave:
	ldr	w0, =0x84000008	/* PSCI: SYSTEM_OFF */
	hvc	#0
1:	wfi
	b	1b
