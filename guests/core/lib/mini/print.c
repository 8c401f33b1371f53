/* Writing to the console: bytes, numbers, and strings in JSON's quotes. */
#include "print.h"

static const char digits[] = "0123456789abcdef";

void put_text(const char *text)
{
	while (*text)
		put_byte(*text++);
}

void put_bytes(const char *bytes, size_t count)
{
	while (count--)
		put_byte(*bytes++);
}

static void put_in_base(uint64_t number, unsigned int base)
{
	char reversed[64];
	int count = 0;

	do {
		reversed[count++] = digits[number % base];
		number /= base;
	} while (number);
	while (count)
		put_byte(reversed[--count]);
}

void put_number(uint64_t number)
{
	put_in_base(number, 10);
}

void put_octal(uint64_t number)
{
	put_in_base(number, 8);
}

void put_hex(uint64_t number)
{
	put_text("0x");
	put_in_base(number, 16);
}

void put_json(const char *text)
{
	put_byte('"');
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte == '"' || byte == '\\') {
			put_byte('\\');
			put_byte(*text);
		} else if (byte < 0x20) {
			put_text("\\u00");
			put_byte(digits[byte >> 4]);
			put_byte(digits[byte & 15]);
		} else {
			put_byte(*text);
		}
	}
	put_byte('"');
}
