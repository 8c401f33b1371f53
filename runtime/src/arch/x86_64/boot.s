# Entry on x86_64, in 32-bit protected mode without paging or in 64-bit mode, and the ways between
# user mode and the kernel.
#
# PVH (Xen's "HVM direct boot" ABI): the note below names boot_entry; EBX holds the physical
# address of the start info. Multiboot 1: the header below is active only in the 32-bit twin
# of the kernel, because QEMU refuses a 64-bit file with it; EBX holds the information structure. Linux's
# 64-bit protocol: RSI holds `boot_params`; Firecracker before 1.12 knows nothing else.

.section .note.pvh, "a", @note
.balign 4
.long 4                                 # bytes of the name
.long 4                                 # bytes of the value
.long 18                                # XEN_ELFNOTE_PHYS32_ENTRY
.asciz "Xen"
.long boot_entry

# kraft's mark: a file with this section is this kernel, not a Linux program.
.section .kraft_runtime, "a"
.quad 0

.section .boot, "ax"
.balign 4
# The twin's header has 0x1badb002 here: the loader of the twin writes it.
.globl multiboot_header
multiboot_header:
.long 0x5badb002, 3, -(0x1badb002 + 3)

# Goes back to 32-bit mode: memory is mapped one to one, and what follows is the same for all.
.code64
.globl boot_entry_64
boot_entry_64:
  cli
  mov ebx, esi
  lgdt [rip + boot_gdt_pointer_64]
  lea rax, [rip + boot_compatible]
  mov esp, offset boot_stack_end - 0xffffffff80000000
  push 24
  push rax
  retfq

.code32
boot_compatible:
  mov eax, 16
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov eax, cr0
  and eax, 0x7fffffff                   # no paging: this leaves 64-bit mode
  mov cr0, eax
  jmp boot_entry

.globl boot_entry
boot_entry:
  cli
  cld
  mov esp, offset boot_stack_end - 0xffffffff80000000
  mov ebp, ebx
  # Page tables: four gigabytes of memory one to one, again at PHYSICAL (entry 256 of the
  # top table) and the first gigabyte at -2 GiB, in pages of 2 MiB.
  mov edi, offset boot_tables - 0xffffffff80000000
  xor eax, eax
  mov ecx, 7 * 1024
  rep stosd
  mov eax, offset boot_low - 0xffffffff80000000 + 3
  mov dword ptr [boot_tables - 0xffffffff80000000], eax
  mov dword ptr [boot_tables - 0xffffffff80000000 + 256 * 8], eax
  mov eax, offset boot_high - 0xffffffff80000000 + 3
  mov dword ptr [boot_tables - 0xffffffff80000000 + 511 * 8], eax
  mov eax, offset boot_pages - 0xffffffff80000000 + 3
  mov dword ptr [boot_high - 0xffffffff80000000 + 510 * 8], eax
  mov edi, offset boot_low - 0xffffffff80000000
  mov ecx, 4
1: mov [edi], eax
  add eax, 0x1000
  add edi, 8
  loop 1b
  mov edi, offset boot_pages - 0xffffffff80000000
  mov eax, 0x183                        # present, writable, 2 MiB, global
  mov ecx, 2048
2: mov [edi], eax
  add eax, 0x200000
  add edi, 8
  loop 2b
  mov eax, offset boot_tables - 0xffffffff80000000
  mov cr3, eax
  mov eax, cr4
  or eax, 0x6a0                         # PAE, global pages, FXSR, XMM exceptions
  mov cr4, eax
  mov ecx, 0xc0000080                   # EFER
  rdmsr
  or eax, 0x901                         # SYSCALL, long mode, no-execute
  wrmsr
  mov eax, 0x80010033                   # paging, write protection, numeric errors, protected mode
  mov cr0, eax
  lgdt [boot_gdt_pointer]
  .byte 0xea                            # far jump into 64-bit code
  .long boot_long_mode
  .word 8
.balign 8
boot_gdt:
  .quad 0
  .quad 0x00af9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00cf9b000000ffff              # 32-bit code, for the way back from 64-bit mode
boot_gdt_pointer:
  .word 23
  .long boot_gdt
boot_gdt_pointer_64:
  .word 31
  .quad boot_gdt

.code64
boot_long_mode:
  mov eax, 16
  mov ds, eax
  mov es, eax
  mov ss, eax
  mov rsp, offset boot_stack_end
  mov edi, ebp
  mov rax, offset enter_x86_64
  call rax
3: hlt
  jmp 3b

.text
# The layout on the stack is `Registers` of registers.rs.
.macro SAVE
  push rdi
  push rsi
  push rdx
  push rcx
  push rax
  push r8
  push r9
  push r10
  push r11
  push rbx
  push rbp
  push r12
  push r13
  push r14
  push r15
.endm
.macro RESTORE
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbp
  pop rbx
  pop r11
  pop r10
  pop r9
  pop r8
  pop rax
  pop rcx
  pop rdx
  pop rsi
  pop rdi
  add rsp, 16                           # vector and error code
.endm

# SYSCALL: RCX holds the return address, R11 the flags; interrupts are off by FMASK.
.globl syscall_entry
syscall_entry:
  mov [rip + syscall_user_stack], rsp
  mov rsp, [rip + syscall_kernel_stack]
  push 0x1b
  push qword ptr [rip + syscall_user_stack]
  push r11
  push 0x23
  push rcx
  push 0
  push 0x100
  SAVE
  mov rdi, rsp
  call syscall_x86_64
.globl return_to_user
return_to_user:
  RESTORE
  iretq

.altmacro
.macro TRAP n
  .balign 16
  .if !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21)
  push 0                                # where the processor pushes no error code
  .endif
  push \n
  jmp trap_common
.endm
.balign 16
.globl trap_table
trap_table:
.set i, 0
.rept 64
  TRAP %i
  .set i, i+1
.endr
.noaltmacro
.balign 16
trap_common:
  SAVE
  cld
  mov rdi, rsp
  call trap_x86_64
  RESTORE
  iretq

# switch_stacks(from: *mut usize, to: usize): saves what the calling convention wants kept on
# the old stack, its pointer in *from, and continues where `to` stopped.
.globl switch_stacks
switch_stacks:
  push rbp
  push rbx
  push r12
  push r13
  push r14
  push r15
  mov [rdi], rsp
  mov rsp, rsi
  pop r15
  pop r14
  pop r13
  pop r12
  pop rbx
  pop rbp
  ret

.bss
.balign 8
syscall_user_stack: .skip 8
.globl syscall_kernel_stack
syscall_kernel_stack: .skip 8
.balign 4096
.globl boot_tables
boot_tables: .skip 4096
boot_low: .skip 4096
boot_high: .skip 4096
boot_pages: .skip 16384
.balign 16
boot_stack: .skip 65536
.globl boot_stack_end
boot_stack_end:
