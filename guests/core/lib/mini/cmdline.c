/* The command line, parsed as Unikraft parses it; see cmdline.h. */
#include "cmdline.h"
#include "text.h"

static int is_blank(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r' || byte == '\v';
}

/*
 * Splits the raw line into words, without their quotes. Outside quotes a
 * backslash takes the next byte as it is; inside "..." it does so for `"` and
 * `\`; inside '...' nothing is special. An empty word never begins, and the last
 * word that fits keeps the rest of the line as it is.
 */
static void split(struct cmdline *line)
{
	const char *from = line->raw;
	char *to = line->text;
	int between = 1, escaped = 0;
	char quote = 0;

	for (; *from; from++) {
		char byte = *from;
		int mark = byte == '"' || byte == '\'';

		if (is_blank(byte) && !quote && !escaped) {
			if (!between)
				*to++ = 0;
			between = 1;
			continue;
		}
		if (byte == '"' && escaped && quote) {
			/* The backslash was written before it was known to be one. */
			escaped = 0;
			to--;
		} else if (mark && !escaped && !quote) {
			quote = byte;
			continue;
		} else if (mark && quote == byte) {
			quote = 0;
			continue;
		}
		if (between) {
			between = 0;
			escaped = 0;
			line->words[line->word_count++] = to;
			if (line->word_count == CMDLINE_WORDS) {
				memcpy(to, from, strlen(from) + 1);
				return;
			}
		}
		if (byte == '\\' && quote != '\'') {
			if (!escaped)
				*to++ = byte;
			escaped = !escaped;
		} else {
			if (escaped && !quote)
				to--;
			escaped = 0;
			*to++ = byte;
		}
	}
	*to = 0;
}

static void add_value(struct cmdline *line, struct param *param, char *value)
{
	line->values[line->value_count++] = value;
	param->count++;
}

/* Adds a word of a list; returns whether the list goes on behind it. */
static int add_to_list(struct cmdline *line, struct param *param, char *word)
{
	size_t length = strlen(word);
	int closes = length && word[length - 1] == ']';

	if (closes)
		word[length - 1] = 0;
	if (*word)
		add_value(line, param, word);
	return !closes;
}

/* Returns the first of a byte in a word, or the word's end. */
static char *find_byte(char *word, char byte)
{
	while (*word && *word != byte)
		word++;
	return word;
}

/* Reads one `lib.name=value`; returns whether it opens a list. */
static int read_param(struct cmdline *line, char *word)
{
	struct param *param = &line->params[line->param_count];
	char *dot = find_byte(word, '.');
	char *value = find_byte(dot, '=');

	/* Unikraft warns of a word that is no parameter, and goes on. */
	if (!*dot)
		return 0;
	*param = (struct param){ .name = word, .first = line->value_count };
	line->param_count++;
	if (!*value)
		return 0;
	*value++ = 0;
	param->is_list = *value == '[';
	if (!param->is_list) {
		add_value(line, param, value);
		return 0;
	}
	return !value[1] || add_to_list(line, param, value + 1);
}

/*
 * Reads parameters until a bare `--`, which is a value like any other within a
 * list that is still open. Returns the place of the `--`, 0 if there is none.
 */
static int read_params(struct cmdline *line)
{
	int in_list = 0;

	for (int i = 1; i < line->word_count; i++) {
		char *word = line->words[i];

		if (in_list)
			in_list = add_to_list(line, &line->params[line->param_count - 1], word);
		else if (text_equal(word, "--"))
			return i;
		else
			in_list = read_param(line, word);
	}
	return 0;
}

enum cmdline_fault cmdline_parse(struct cmdline *line, const char *text)
{
	size_t length = strlen(text);
	int separator;

	memset(line, 0, sizeof(*line));
	if (length > CMDLINE_BYTES)
		return CMDLINE_TOO_LONG;
	memcpy(line->raw, text, length + 1);
	split(line);
	separator = read_params(line);
	/* Only a `--` behind at least one word separates. */
	if (separator <= 1) {
		separator = 0;
		line->param_count = 0;
		line->value_count = 0;
		/* Reading cut the words up: they are made whole again. */
		line->word_count = 0;
		split(line);
	}
	if (line->word_count)
		line->args[line->arg_count++] = line->words[0];
	for (int i = separator + 1; i < line->word_count; i++)
		line->args[line->arg_count++] = line->words[i];
	return CMDLINE_OK;
}
