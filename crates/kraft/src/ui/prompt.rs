//! Questions, asked only where somebody can answer: stdin and stderr are terminals, and nobody
//! forbade it.

use std::io::{self, BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::failure::{Failure, Kind};

/// Asks which of several lines is meant; the answer is its place.
pub(super) fn select(question: &str, lines: &[String]) -> Result<usize, Failure> {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{question}");
    for (number, line) in lines.iter().enumerate() {
        let _ = writeln!(stderr, "  {}) {line}", number + 1);
    }
    loop {
        let _ = write!(stderr, "1-{} [1]: ", lines.len());
        let answer = read_line(&mut stderr)?;
        if answer.is_empty() {
            return Ok(0);
        }
        match answer.parse::<usize>() {
            Ok(number) if (1..=lines.len()).contains(&number) => return Ok(number - 1),
            _ => {
                let _ = writeln!(stderr, "`{answer}` is none of them.");
            }
        }
    }
}

/// Asks for a line of text.
pub(super) fn line(question: &str) -> Result<String, Failure> {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "{question}");
    read_line(&mut stderr)
}

/// Asks for a line that is not shown while it is typed.
pub(super) fn secret(question: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let failed = |error: rustix::io::Errno| {
        Failure::new(Kind::Failed, format!("cannot hide what is typed: {error}"))
    };
    let before = tcgetattr(&stdin).map_err(failed)?;
    let mut hidden = before.clone();
    hidden.local_modes -= LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(failed)?;
    let answer = line(question);
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
    let _ = writeln!(io::stderr());
    answer
}

fn read_line(stderr: &mut impl Write) -> Result<String, Failure> {
    let _ = stderr.flush();
    let mut answer = String::new();
    let count = io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Kind::Failed, format!("cannot read the answer: {error}")))?;
    if count == 0 {
        return Err(Failure::told(Kind::Interrupted));
    }
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}
