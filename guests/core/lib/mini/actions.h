/* What the guest does on request: application arguments that begin with `@`. */
#ifndef MINI_ACTIONS_H
#define MINI_ACTIONS_H

#include "platform.h"

void act(const struct boot *boot, const char *word);

#endif
