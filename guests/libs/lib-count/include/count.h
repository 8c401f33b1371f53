/* Counts from one to where the configuration says. */
void count(void);
