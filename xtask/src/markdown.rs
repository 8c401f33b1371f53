//! The reference of the command line, from its command tree.
//!
//! One section per command in the order of its help; hidden commands and
//! arguments stay hidden. Global flags are listed once, at the
//! top. The output depends only on the tree.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// Says in the file itself where it comes from.
const PREFACE: &str = "<!-- Made by `cargo xtask docs` from the command tree: do not edit. -->\n\n";

/// Returns the whole reference of `root` as Markdown.
pub(crate) fn reference(mut root: Command) -> String {
    // Without a width, clap would fold the usage at the width of the terminal.
    root = root.term_width(0);
    root.build();
    let mut page = PREFACE.to_owned();
    section(&mut page, &root, &[], true);
    page
}

/// Writes a command's section, then those of its subcommands.
fn section(page: &mut String, command: &Command, parents: &[&str], is_root: bool) {
    let words: Vec<&str> = parents
        .iter()
        .copied()
        .chain([command.get_name()])
        .collect();
    let level = "#".repeat(words.len().min(3));
    line(page, &format!("{level} `{}`\n", words.join(" ")));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        line(page, &format!("{}\n", about.to_string().trim_end()));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim_end();
    line(page, &format!("```text\n{usage}\n```\n"));
    aliases(page, command);
    let visible = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let positionals: Vec<&Arg> = visible().filter(|arg| arg.is_positional()).collect();
    let (global, own): (Vec<&Arg>, Vec<&Arg>) = visible()
        .filter(|arg| !arg.is_positional())
        .partition(|arg| arg.is_global_set());
    list(page, "Arguments", &positionals);
    list(page, "Options", &own);
    if is_root {
        list(page, "Options of every command", &global);
    }
    if let Some(more) = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
    {
        line(page, &format!("{}\n", more.to_string().trim_end()));
    }
    // clap adds `help`, which mirrors the whole tree.
    let children = command.get_subcommands();
    for child in children.filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        section(page, child, &words, false);
    }
}

fn aliases(page: &mut String, command: &Command) {
    let names: Vec<String> = command
        .get_visible_aliases()
        .map(|name| format!("`{name}`"))
        .collect();
    if !names.is_empty() {
        line(page, &format!("Also: {}\n", names.join(", ")));
    }
}

fn list(page: &mut String, title: &str, args: &[&Arg]) {
    if args.is_empty() {
        return;
    }
    line(page, &format!("**{title}**\n"));
    for arg in args {
        line(page, &format!("- {}", item(arg)));
    }
    page.push('\n');
}

/// Returns one argument: how it is typed, what it means, what it may be.
fn item(arg: &Arg) -> String {
    let mut text = format!("`{}`", spelling(arg));
    if let Some(help) = arg.get_help().or_else(|| arg.get_long_help()) {
        let _ = write!(text, ": {}", help.to_string().replace('\n', " ").trim_end());
    }
    let takes_value = arg.get_action().takes_values();
    let defaults: Vec<String> = arg
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if takes_value && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        let _ = write!(text, " (default {})", defaults.join(", "));
    }
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if takes_value && !choices.is_empty() && !arg.is_hide_possible_values_set() {
        let _ = write!(text, " (one of {})", choices.join(", "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " (environment `{}`)", variable.to_string_lossy());
    }
    text
}

/// Returns the usage of an argument: `-m, --memory <SIZE>`, `<KERNEL>`, `[ARGS]...`.
fn spelling(arg: &Arg) -> String {
    if arg.is_positional() {
        return arg.to_string();
    }
    let short = arg.get_short().map(|c| format!("-{c}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    let mut text = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if !matches!(
        arg.get_action(),
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count
    ) && arg.get_action().takes_values()
    {
        let names: Vec<String> = match arg.get_value_names() {
            Some(names) => names.iter().map(|name| format!("<{name}>")).collect(),
            None => vec![format!("<{}>", arg.get_id().as_str().to_uppercase())],
        };
        let _ = write!(text, " {}", names.join(" "));
    }
    text
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Command {
        Command::new("kraft")
            .about("Build and run unikernels")
            .arg(
                Arg::new("level")
                    .long("log-level")
                    .global(true)
                    .env("KRAFTKIT_LOG_LEVEL")
                    .value_name("LEVEL")
                    .value_parser(["debug", "info"])
                    .default_value("info")
                    .help("How much to say"),
            )
            .subcommand(
                Command::new("run")
                    .about("Run a unikernel")
                    .visible_alias("r")
                    .arg(
                        Arg::new("kernel")
                            .required(true)
                            .value_name("KERNEL")
                            .help("What to boot"),
                    )
                    .arg(
                        Arg::new("detach")
                            .short('d')
                            .long("detach")
                            .action(ArgAction::SetTrue),
                    )
                    .arg(Arg::new("secret").long("secret").hide(true)),
            )
            .subcommand(Command::new("__monitor").hide(true))
    }

    #[test]
    fn a_command_is_told_with_its_arguments_and_aliases() {
        let page = reference(tree());
        assert!(
            page.contains("## `kraft run`\n\nRun a unikernel\n"),
            "{page}"
        );
        assert!(page.contains("Also: `r`\n"), "{page}");
        assert!(page.contains("- `<KERNEL>`: What to boot\n"), "{page}");
        assert!(page.contains("- `-d, --detach`\n"), "{page}");
    }

    #[test]
    fn a_global_flag_is_told_once_with_all_its_sources() {
        let page = reference(tree());
        let flag = "- `--log-level <LEVEL>`: How much to say (default `info`) \
                    (one of `debug`, `info`) (environment `KRAFTKIT_LOG_LEVEL`)\n";
        assert_eq!(page.matches(flag).count(), 1, "{page}");
    }

    #[test]
    fn what_is_hidden_stays_hidden() {
        let page = reference(tree());
        assert!(!page.contains("__monitor"), "{page}");
        assert!(!page.contains("secret"), "{page}");
        assert!(!page.contains("`kraft help`"), "{page}");
    }
}
