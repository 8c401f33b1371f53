/* What a library is, and in one of them what the core is: records as Unikraft's kernels carry them
 * (lib/uklibid, layout 1). */
#define RECORD(type, text)		\
1:	.2byte type			; \
	.4byte 2f - 1b			; \
	.asciz text			; \
2:

	.section .uk_libinfo, "a"
#ifdef OF_CORE
	/* The one without a name is the core. */
3:	.4byte 4f - 3b
	.2byte 1
	RECORD(7, CONFIG_UK_FULLVERSION)
	RECORD(8, CONFIG_UK_CODENAME)
	RECORD(11, COMPILER)
4:
#endif
3:	.4byte 4f - 3b
	.2byte 1
	RECORD(1, LIBNAME)
	RECORD(3, LIBVERSION)
	RECORD(4, LIBLICENSE)
	RECORD(11, COMPILER)
4:
	.section .note.GNU-stack, "", %progbits
