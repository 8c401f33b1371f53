/* Says hello to whom the configuration names. */
void hello(void);
