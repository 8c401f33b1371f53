#include "hello.h"
#include "print.h"

void hello(void)
{
	put_text("hello to " CONFIG_LIBHELLO_WHOM);
#ifdef CONFIG_LIBHELLO_LOUD
	put_byte('!');
#endif
	put_byte('\n');
}
