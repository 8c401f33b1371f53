//! Programs that tests make: scripts that replace other programs, and copies of kraft.
//!
//! Another test of this process may start a child at any moment, and between fork and exec that
//! child holds every file that this process has open for writing. The kernel runs no such file
//! (`ETXTBSY`). So a child writes each program, and this process never has it open.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a shell script that can be run; `text` is what follows the line `#!/bin/sh`.
///
/// # Panics
/// If it cannot be written.
pub fn script(path: &Path, text: &str) {
    let mut writer = Command::new("sh")
        .args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = writer.stdin.take().unwrap();
    write!(input, "#!/bin/sh\n{text}").unwrap();
    drop(input);
    assert!(writer.wait().unwrap().success(), "{}", path.display());
}

/// Copies a program.
///
/// # Panics
/// If it cannot be copied.
pub fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{}", to.display());
}
