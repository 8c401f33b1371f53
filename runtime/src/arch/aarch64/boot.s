// Entry on arm64 and the ways between user mode and the kernel.
//
// Linux's boot protocol (Documentation/arch/arm64/booting.rst): the image is somewhere in memory,
// the translation of addresses is off, x0 has the physical address of the device tree.

.equ IMAGE, 0xffffffff80000000

// Bits of page table entries: valid, attribute 1 (normal memory), inner shareable, accessed.
.equ PAGE_BITS, 0x707
.equ BLOCK_BITS, 0x705
.equ READ_ONLY, 1 << 7
.equ NOT_FOR_KERNEL, 1 << 53            // PXN: the kernel does not run it
.equ NOT_FOR_USER, 1 << 54              // UXN

// Attribute 0: devices (nGnRE). Attribute 1: memory, write-back.
.equ MEMORY_KINDS, 0xff04
// 48 bits on both sides, 4 KiB pages, tables in write-back shared memory, user mode's top byte
// ignored. The bits of physical addresses (IPS, bit 32) come from the processor.
.equ TRANSLATION, 1 << 37 | 0xb5103510
// Translation, caches, stack alignment checks; user mode may clean caches, read their geometry
// and wait; bits that older processors want set.
.equ CONTROL, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 26 | 1 << 7 | 1 << 8 | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29

// kraft's mark: a file with this section is this kernel, not a Linux program.
.section .kraft_runtime, "a"
.quad 0

.section .boot, "ax"
.globl image_header
image_header:
  b boot_entry
  .long 0
  .quad 0                               // offset from a multiple of 2 MiB
  .quad image_size
  .quad 0xa                             // little endian, 4 KiB pages, anywhere in memory
  .quad 0
  .ascii "kraft-rt"                     // reserved: kraft's mark in the flat file
  .quad 0
  .ascii "ARM\x64"
  .long 0

boot_entry:
  msr daifset, #15
  msr spsel, #1
  mov x19, x0
  adrp x20, image_header                // where the image is
  adrp x21, kernel_end
  adrp x0, kernel_bss
1: stp xzr, xzr, [x0], #16
  cmp x0, x21
  b.lo 1b

  // The image, page by page: code, constants, data.
  adrp x0, image_pages
  adrp x1, kernel_text_end
  adrp x2, kernel_constants_end
  ldr x3, =PAGE_BITS | READ_ONLY | NOT_FOR_USER
  ldr x4, =PAGE_BITS | READ_ONLY | NOT_FOR_USER | NOT_FOR_KERNEL
  ldr x5, =PAGE_BITS | NOT_FOR_USER | NOT_FOR_KERNEL
  mov x6, x20
2: cmp x6, x2
  csel x7, x4, x5, lo
  cmp x6, x1
  csel x7, x3, x7, lo
  orr x7, x7, x6
  str x7, [x0], #8
  add x6, x6, #4096
  cmp x6, x21
  b.lo 2b
  adrp x0, image_middle
  adrp x1, image_pages
  orr x1, x1, #3
  mov x2, #4
3: str x1, [x0], #8
  add x1, x1, #4096
  subs x2, x2, #1
  b.ne 3b
  adrp x0, image_gigabytes
  adrp x1, image_middle
  orr x1, x1, #3
  str x1, [x0, #510 * 8]
  adrp x1, kernel_top
  orr x2, x0, #3
  str x2, [x1, #511 * 8]
  adrp x0, physical_gigabytes
  orr x2, x0, #3
  str x2, [x1, #256 * 8]

  // One to one, the gigabyte of this code, until the jump below.
  adrp x2, boot_top
  adrp x3, boot_gigabytes
  orr x4, x3, #3
  ubfx x5, x20, #39, #9
  str x4, [x2, x5, lsl #3]
  and x4, x20, #~0x3fffffff
  mov x5, #BLOCK_BITS
  orr x4, x4, x5
  ubfx x5, x20, #30, #9
  str x4, [x3, x5, lsl #3]

  // What the caches hold of this memory is older than what was written without them.
  adrp x4, kernel_bss
4: dc ivac, x4
  add x4, x4, #16
  cmp x4, x21
  b.lo 4b
  dsb sy

  ldr x4, =MEMORY_KINDS
  msr mair_el1, x4
  ldr x4, =TRANSLATION
  mrs x5, id_aa64mmfr0_el1
  and x5, x5, #15                       // bits of physical addresses, up to 48
  mov x6, #5
  cmp x5, x6
  csel x5, x5, x6, lo
  orr x4, x4, x5, lsl #32
  msr tcr_el1, x4
  msr ttbr0_el1, x2
  msr ttbr1_el1, x1
  tlbi vmalle1
  ic iallu
  dsb sy
  isb
  ldr x4, =CONTROL
  msr sctlr_el1, x4
  isb
  ldr x4, =boot_high
  br x4

boot_high:
  adrp x4, user_top
  ldr x5, =IMAGE
  sub x4, x4, x5
  add x4, x4, x20
  msr ttbr0_el1, x4
  isb
  tlbi vmalle1
  dsb nsh
  isb
  mov x4, #3 << 20                      // floating point for everybody
  msr cpacr_el1, x4
  ldr x4, =vectors
  msr vbar_el1, x4
  isb
  ldr x4, =boot_stack_end
  mov sp, x4
  mov x29, xzr
  mov x30, xzr
  mov x0, x19
  mov x1, x20
  bl enter_aarch64
5: wfi
  b 5b
.ltorg

.text
// The layout on the stack is `Registers` of registers.rs; x0 becomes the number of the vector.
.macro VECTOR number
  .balign 128
  sub sp, sp, #272
  stp x0, x1, [sp]
  mov x0, #\number
  b trap_common
.endm
.balign 2048
vectors:
.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
  VECTOR \number
.endr
trap_common:
  stp x2, x3, [sp, #16]
  stp x4, x5, [sp, #32]
  stp x6, x7, [sp, #48]
  stp x8, x9, [sp, #64]
  stp x10, x11, [sp, #80]
  stp x12, x13, [sp, #96]
  stp x14, x15, [sp, #112]
  stp x16, x17, [sp, #128]
  stp x18, x19, [sp, #144]
  stp x20, x21, [sp, #160]
  stp x22, x23, [sp, #176]
  stp x24, x25, [sp, #192]
  stp x26, x27, [sp, #208]
  stp x28, x29, [sp, #224]
  mrs x1, sp_el0
  stp x30, x1, [sp, #240]
  mrs x1, elr_el1
  mrs x2, spsr_el1
  stp x1, x2, [sp, #256]
  mov x1, x0
  mov x0, sp
  mov x29, xzr
  bl trap_aarch64
.globl return_to_user
return_to_user:
  ldp x1, x2, [sp, #256]
  msr elr_el1, x1
  msr spsr_el1, x2
  ldp x30, x1, [sp, #240]
  msr sp_el0, x1
  ldp x2, x3, [sp, #16]
  ldp x4, x5, [sp, #32]
  ldp x6, x7, [sp, #48]
  ldp x8, x9, [sp, #64]
  ldp x10, x11, [sp, #80]
  ldp x12, x13, [sp, #96]
  ldp x14, x15, [sp, #112]
  ldp x16, x17, [sp, #128]
  ldp x18, x19, [sp, #144]
  ldp x20, x21, [sp, #160]
  ldp x22, x23, [sp, #176]
  ldp x24, x25, [sp, #192]
  ldp x26, x27, [sp, #208]
  ldp x28, x29, [sp, #224]
  ldp x0, x1, [sp], #272
  eret

// switch_stacks(from: *mut usize, to: usize): saves what the calling convention wants kept on
// the old stack, its pointer in *from, and goes on where `to` stopped.
.globl switch_stacks
switch_stacks:
  stp x19, x20, [sp, #-96]!
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  mov x2, sp
  str x2, [x0]
  mov sp, x1
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp x19, x20, [sp], #96
  ret

// save_vectors(at: *mut u128) and load_vectors(at: *const u128): q0 to q31, then FPSR and FPCR
// as Linux's `struct user_fpsimd_state` has them.
.arch_extension fp
.arch_extension simd
.macro EACH_PAIR instruction
  \instruction q0, q1, [x0]
  \instruction q2, q3, [x0, #32]
  \instruction q4, q5, [x0, #64]
  \instruction q6, q7, [x0, #96]
  \instruction q8, q9, [x0, #128]
  \instruction q10, q11, [x0, #160]
  \instruction q12, q13, [x0, #192]
  \instruction q14, q15, [x0, #224]
  \instruction q16, q17, [x0, #256]
  \instruction q18, q19, [x0, #288]
  \instruction q20, q21, [x0, #320]
  \instruction q22, q23, [x0, #352]
  \instruction q24, q25, [x0, #384]
  \instruction q26, q27, [x0, #416]
  \instruction q28, q29, [x0, #448]
  \instruction q30, q31, [x0, #480]
.endm
.globl save_vectors
save_vectors:
  EACH_PAIR stp
  mrs x1, fpsr
  mrs x2, fpcr
  str w1, [x0, #512]
  str w2, [x0, #516]
  ret
.globl load_vectors
load_vectors:
  EACH_PAIR ldp
  ldr w1, [x0, #512]
  ldr w2, [x0, #516]
  msr fpsr, x1
  msr fpcr, x2
  ret

// Where handlers of signals return to that name no other place (see signal.rs).
.balign 8
.globl return_from_handler_code
return_from_handler_code:
  mov x8, #139
  svc #0

.bss
.balign 4096
kernel_top: .skip 4096
.globl physical_gigabytes
physical_gigabytes: .skip 4096
image_gigabytes: .skip 4096
image_middle: .skip 4096
image_pages: .skip 16384
boot_top: .skip 4096
boot_gigabytes: .skip 4096
// The table of user mode while no program runs, and the way to the code above.
.globl user_top
user_top: .skip 4096
.globl user_tables
user_tables: .skip 16384
.balign 16
boot_stack: .skip 65536
.globl boot_stack_end
boot_stack_end:
