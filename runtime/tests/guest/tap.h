/* Lines of the Test Anything Protocol. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count;

/* Prints the result of one check. */
#define ok(condition, name)                                                                        \
    do {                                                                                           \
        int holds = (condition) != 0;                                                              \
        printf("%sok %d - %s\n", holds ? "" : "not ", ++tap_count, name);                          \
        if (!holds)                                                                                \
            printf("# %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);             \
    } while (0)

/* Ends the program after its checks. */
static inline int done(void) {
    printf("1..%d\n", tap_count);
    return 0;
}
