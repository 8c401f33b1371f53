# The trial guest of Firecracker, entered in long mode by the Linux boot protocol: it uses vector
# instructions and 64-bit registers, writes K to the serial port, and resets the machine.
#
#   cc -nostdlib -static -no-pie -s -o x86_64.elf -Wl,--build-id=none,-Ttext=0x101000,-N,-z,noseparate-code x86_64.S

.intel_syntax noprefix
.globl _start
_start:
  mov rsp, 0x8ff0
  mov rax, cr0
  and eax, 0xfffffffb                   # no emulation of the coprocessor
  or eax, 2
  mov cr0, rax
  mov rax, cr4
  or eax, 0x600                         # FXSR, XMM exceptions
  mov cr4, rax
  mov r8, 0x4b0000004b                  # K
  movq xmm0, r8
  pshufd xmm1, xmm0, 1
  movd eax, xmm1
  mov dx, 0x3f8
  out dx, al
  mov al, 10
  out dx, al
  mov al, 0xfe                          # the reset line of the keyboard controller
  out 0x64, al
1: hlt
  jmp 1b
