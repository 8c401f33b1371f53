/* Writing to the console: bytes, numbers, and strings in JSON's quotes. */
#ifndef MINI_PRINT_H
#define MINI_PRINT_H

#include <stddef.h>
#include <stdint.h>

/* Supplied by whoever links this: the serial port of a guest, stdout of the host's tool. */
void put_byte(char byte);

void put_text(const char *text);
void put_bytes(const char *bytes, size_t count);
void put_number(uint64_t number);
void put_octal(uint64_t number);
void put_hex(uint64_t number);
/* Quotes and escapes as RFC 8259 wants it; bytes above 0x7f go out as they are. */
void put_json(const char *text);

#endif
