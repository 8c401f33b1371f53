/* The command line, parsed as Unikraft parses it; see cmdline.h. */
#include "cmdline.h"
#include "text.h"

static int is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '\v';
}

/*
 * Takes one word from `*from`, writes it without its quotes to `*to`, and ends
 * it with NUL. Outside quotes a backslash takes the next byte as it is; inside
 * "..." it does so for `"` and `\` only; inside '...' nothing is special.
 */
static char *take_word(char **from, char **to)
{
	char *word = *to;
	char *f = *from, *t = *to;
	char quote = 0;

	for (; *f && (quote || !is_blank(*f)); f++) {
		if (quote == '\'') {
			if (*f == quote)
				quote = 0;
			else
				*t++ = *f;
		} else if (*f == '\\' && f[1] && (!quote || f[1] == '"' || f[1] == '\\')) {
			*t++ = *++f;
		} else if (quote && *f == quote) {
			quote = 0;
		} else if (!quote && (*f == '"' || *f == '\'')) {
			quote = *f;
		} else {
			*t++ = *f;
		}
	}
	if (*f)
		f++;
	/* A word is never longer than its source, so this stays behind `f`. */
	*t++ = 0;
	*from = f;
	*to = t;
	return word;
}

static enum cmdline_fault split(struct cmdline *line)
{
	char *from = line->text, *to = line->text;

	line->word_count = 0;
	for (;;) {
		char *word;

		while (is_blank(*from))
			from++;
		if (!*from)
			return CMDLINE_OK;
		word = take_word(&from, &to);
		/* An empty word vanishes: it cannot be passed. */
		if (!*word) {
			to = word;
			continue;
		}
		if (line->word_count == CMDLINE_WORDS)
			return CMDLINE_TOO_MANY_WORDS;
		line->words[line->word_count++] = word;
	}
}

/* Cuts `]` off the end of a word; returns whether it was there. */
static int closes(char *word)
{
	size_t length = strlen(word);

	if (!length || word[length - 1] != ']')
		return 0;
	word[length - 1] = 0;
	return 1;
}

static void add_value(struct cmdline *line, struct param *param, char *value)
{
	if (!*value)
		return;
	line->values[line->value_count++] = value;
	param->count++;
}

/* Reads the parameters that stand in words[1] to words[end - 1]. */
static void read_params(struct cmdline *line, int end)
{
	for (int i = 1; i < end; i++) {
		struct param *param = &line->params[line->param_count];
		char *value = line->words[i];
		int closed;

		while (*value && *value != '=')
			value++;
		/* Unikraft warns of a malformed word and goes on. */
		if (!*value)
			continue;
		*value++ = 0;
		*param = (struct param){ .name = line->words[i], .first = line->value_count };
		line->param_count++;
		if (*value != '[') {
			add_value(line, param, value);
			continue;
		}
		param->is_list = 1;
		closed = closes(++value);
		add_value(line, param, value);
		while (!closed && ++i < end) {
			closed = closes(line->words[i]);
			add_value(line, param, line->words[i]);
		}
	}
}

static int ends_in_bracket(const char *word)
{
	size_t length = strlen(word);

	return length && word[length - 1] == ']';
}

/*
 * Finds the `--` behind the parameters, 0 if there is none. Within a list that
 * is not closed yet it is a value like any other.
 */
static int find_separator(const struct cmdline *line)
{
	int in_list = 0;

	for (int i = 1; i < line->word_count; i++) {
		const char *word = line->words[i];

		if (in_list) {
			in_list = !ends_in_bracket(word);
			continue;
		}
		if (text_equal(word, "--"))
			return i;
		while (*word && *word != '=')
			word++;
		in_list = word[0] == '=' && word[1] == '[' && !ends_in_bracket(word + 2);
	}
	return 0;
}

enum cmdline_fault cmdline_parse(struct cmdline *line, const char *text)
{
	enum cmdline_fault fault;
	int separator;
	size_t length = strlen(text);

	memset(line, 0, sizeof(*line));
	if (length > CMDLINE_BYTES)
		return CMDLINE_TOO_LONG;
	memcpy(line->raw, text, length + 1);
	memcpy(line->text, text, length + 1);
	fault = split(line);
	if (fault)
		return fault;
	/* Only a `--` behind at least one parameter separates. */
	separator = find_separator(line);
	if (separator > 1)
		read_params(line, separator);
	else
		separator = 0;
	if (line->word_count)
		line->args[line->arg_count++] = line->words[0];
	for (int i = separator + 1; i < line->word_count; i++)
		line->args[line->arg_count++] = line->words[i];
	return CMDLINE_OK;
}
