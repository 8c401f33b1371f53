/* Text and memory, as a freestanding program needs them. */
#ifndef MINI_TEXT_H
#define MINI_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The compiler may call these by itself. */
void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);
int memcmp(const void *a, const void *b, size_t count);
size_t strlen(const char *text);

int text_equal(const char *a, const char *b);
/* Returns what follows `prefix` in `text`, or NULL if it begins otherwise. */
const char *text_after(const char *text, const char *prefix);
/* Reads a decimal number up to the first other character. */
uint64_t text_number(const char *text);

#endif
