/* The root filesystem that the kernel carries inside. */
	.section .rodata
	.balign 16
	.globl mini_einitrd_start, mini_einitrd_end
mini_einitrd_start:
	.incbin CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD_PATH
mini_einitrd_end:
	.byte 0
	.section .note.GNU-stack, "", %progbits
