#include <print.h>

int main(void)
{
	put_text("one source, four targets\n");
	return 0;
}
