#include <count.h>
#include <hello.h>

int main(void)
{
	hello();
	count();
	return 0;
}
