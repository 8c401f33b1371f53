#include "count.h"
#include "print.h"

void count(void)
{
	for (int i = 1; i <= CONFIG_LIBCOUNT_TO; i++) {
		put_text("count ");
		put_number((uint64_t)i);
		put_byte('\n');
	}
}
