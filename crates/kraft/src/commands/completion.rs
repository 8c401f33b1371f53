//! `kraft completion`, and the hidden `kraft __complete` that its scripts call.

use kraft_core::machine::MachineState;

use crate::app::App;
use crate::completion::{self, Candidate, Names, Paths, Shell};
use crate::failure::Failure;
use kraft_config::keys;
use kraft_engine::machines;

/// Print the completion script of a shell
///
/// Print the script with which a shell completes commands, flags, values and the names of machines.
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
    words: Vec<String>,
}

/// Prints one candidate per line, with a tab before its description.
pub(crate) fn answer(app: &App, mut args: CompleteArgs) -> Result<(), Failure> {
    match args.words.last_mut() {
        None => args.words.push(String::new()),
        // Older PowerShells drop empty arguments; the script passes `""` for one.
        Some(last) if last == "\"\"" => last.clear(),
        Some(_) => {}
    }
    let current = args.words.last().cloned().unwrap_or_default();
    let mut completion = completion::complete(&crate::command(), &args.words);
    let named = match &completion.names {
        Some(Names::Machines { command, taken }) => named_machines(app, command, taken),
        Some(Names::Keys) => keys::ALL
            .iter()
            .map(|key| Candidate {
                word: key.name.to_owned(),
                about: key.help.to_owned(),
            })
            .collect(),
        None => Vec::new(),
    };
    let fitting = named.into_iter().filter(|c| c.word.starts_with(&current));
    completion.candidates.extend(fitting);
    let mut text = String::new();
    for Candidate { word, about } in completion.candidates {
        // A description is one line of plain text, whatever the help looks like.
        let about = about.split(['\t', '\n']).next().unwrap_or_default();
        text.push_str(&word);
        text.push('\t');
        text.push_str(about);
        text.push('\n');
    }
    match completion.paths {
        Some(Paths::Files) => text.push_str(":files\n"),
        Some(Paths::Dirs) => text.push_str(":dirs\n"),
        None => {}
    }
    app.ui.text(&text)
}

/// Returns the machines that a command applies to, without those already on the command line.
/// Errors are ignored: a shell cannot show them.
fn named_machines(app: &App, command: &str, taken: &[String]) -> Vec<Candidate> {
    use MachineState::{
        Created, Errored, Exited, Failed, Paused, Restarting, Running, Suspended, Unknown,
    };

    let fits = |state: MachineState| match command {
        "pause" => matches!(state, Running | Restarting),
        "unpause" => matches!(state, Paused | Suspended),
        "stop" => matches!(state, Running | Paused | Suspended | Restarting),
        "start" => matches!(state, Created | Exited | Errored | Failed | Paused),
        _ => state != Unknown || command == "rm",
    };
    machines::readable(app)
        .into_iter()
        .filter(|machine| fits(machine.state) && !taken.contains(&machine.name))
        .map(|machine| Candidate {
            about: format!("{}, {}", machine.state.name(), machine.spec.origin),
            word: machine.name,
        })
        .collect()
}
