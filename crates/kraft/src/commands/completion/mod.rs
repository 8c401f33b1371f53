//! `kraft completion`, and the hidden `kraft __complete` that its scripts call.

mod names;

use std::ffi::OsString;

use crate::app::App;
use crate::completion::{self, Shell};
use crate::failure::Failure;
use kraft_engine::candidates::Candidate;

/// Print the completion script of a shell
///
/// Print the script with which a shell completes commands, flags and values: machines, images, targets
/// and KConfig options of the project in the current directory, metros, configuration keys. Completion
/// never uses the network. `COMPLETE=bash kraft` prints the same script.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  Bash, for this session:   source <(kraft completion bash)
  Bash, permanently:        kraft completion bash > ~/.local/share/bash-completion/completions/kraft
  Zsh, permanently:         kraft completion zsh > \"${fpath[1]}/_kraft\"
  Fish, permanently:        kraft completion fish > ~/.config/fish/completions/kraft.fish
  PowerShell:               kraft completion powershell | Out-String | Invoke-Expression")]
pub(crate) struct Args {
    /// Name of the shell
    shell: Shell,
}

pub(crate) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    app.ui.data(completion::script(args.shell))
}

/// Complete a command line
#[derive(Debug, clap::Args)]
pub(crate) struct CompleteArgs {
    /// Arguments so far, without the program's name
    #[arg(last = true, num_args = 0..)]
    words: Vec<OsString>,
}

/// Prints one candidate per line, with a tab before its description.
pub(crate) fn answer(app: &App, mut args: CompleteArgs) -> Result<(), Failure> {
    match args.words.last_mut() {
        None => args.words.push(OsString::new()),
        // Older PowerShells drop empty arguments; the script passes `""` for one.
        Some(last) if last == "\"\"" => last.clear(),
        Some(_) => {}
    }
    let completion = completion::complete(crate::command(), &args.words, &names::look_up(app));
    let mut text = String::new();
    for Candidate { word, about } in completion.candidates {
        // A description is one line of plain text, whatever the help looks like.
        let about = about.split(['\t', '\n']).next().unwrap_or_default();
        text.push_str(&word);
        text.push('\t');
        text.push_str(about);
        text.push('\n');
    }
    if let Some(paths) = completion.paths {
        text.push_str(paths.directive());
        text.push('\n');
    }
    app.ui.text(&text)
}
