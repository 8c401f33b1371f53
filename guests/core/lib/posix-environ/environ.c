/* Variables that were compiled in; the kernel says them with those of its command line. */
#include "report.h"

#define VARIABLE(n) CONFIG_LIBPOSIX_ENVIRON_ENVP##n

const char *const mini_environ[] = {
	VARIABLE(0),
	VARIABLE(1),
	VARIABLE(2),
	VARIABLE(3),
	VARIABLE(4),
	VARIABLE(5),
	VARIABLE(6),
	VARIABLE(7),
	VARIABLE(8),
	VARIABLE(9),
	VARIABLE(10),
	VARIABLE(11),
	VARIABLE(12),
	VARIABLE(13),
	VARIABLE(14),
	VARIABLE(15),
	0,
};
