#include <hello.h>
#include <print.h>

int main(int argc, char *argv[])
{
	put_text("the template runs ");
	put_text(argc > 1 ? argv[1] : "nothing");
	put_byte('\n');
	hello();
	return 0;
}
