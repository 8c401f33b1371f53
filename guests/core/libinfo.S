/* What a library is, in the records that Unikraft's kernels carry (lib/uklibid, layout 1). */
#define RECORD(type, text)		\
1:	.2byte type			; \
	.4byte 2f - 1b			; \
	.asciz text			; \
2:

	.section .uk_libinfo, "a"
3:	.4byte 4f - 3b
	.2byte 1
	RECORD(1, LIBNAME)
	RECORD(3, LIBVERSION)
	RECORD(4, LIBLICENSE)
	RECORD(11, COMPILER)
4:
	.section .note.GNU-stack, "", %progbits
