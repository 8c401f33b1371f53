//! The log file: its contents, and refused paths.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Home, Outcome};

fn logged(home: &Home, file: &str, words: &[&str]) -> Outcome {
    let mut command = home.command(words);
    command.env("KRAFTKIT_LOG_FILE", home.path().join(file));
    home.finish(&mut command)
}

#[test]
fn a_log_file_is_private_and_grows() {
    let home = Home::new();
    for words in [
        &["inspect", "unknown"][..],
        &["--log-type=quiet", "stop", "unknown"],
    ] {
        let _ = logged(&home, "log", words).exits(3);
    }
    let path = home.path().join("log");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(" error: ").count(), 2, "{text}");
    for line in text.lines().filter(|line| line.contains("error: ")) {
        let (time, _) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_path_that_is_not_a_regular_file_is_unchanged_and_the_command_works() {
    let home = Home::new();
    let victim = home.write("victim", "as it was");
    symlink(&victim, home.path().join("link")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        home.path().join("fifo"),
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    for file in ["link", "fifo", ".", "missing/log"] {
        let outcome = logged(&home, file, &["ps"]).exits(0);
        assert!(
            outcome.stderr.starts_with("warning: ") && outcome.stderr.contains("KRAFTKIT_LOG_FILE"),
            "{file}: {}",
            outcome.stderr
        );
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
}
