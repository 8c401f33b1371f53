//! A real terminal (tmux) of a chosen size, in which kraft runs and whose screen is read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Bench, eventually, skip};
use crate::registry::installed;

/// A terminal in which a program runs; it ends with this.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
    columns: usize,
}

impl Terminal {
    /// Runs `kraft` in a terminal of 40 lines; `None`, with a message, without tmux.
    ///
    /// With `data`, stdout goes to that file and the screen shows stderr alone.
    ///
    /// # Panics
    /// If the terminal cannot be opened.
    pub fn open(
        bench: &Bench,
        dir: &Path,
        columns: u16,
        data: Option<&Path>,
        words: &[&str],
    ) -> Option<Self> {
        use std::fmt::Write as _;

        // A server that is being ended still has its socket.
        static COUNT: AtomicU32 = AtomicU32::new(0);

        if !installed("tmux") {
            skip("tmux is not installed: scripts/setup.sh test");
            return None;
        }
        let inner = bench.command(words);
        // The shell stays when the program that it runs is interrupted.
        let mut text = "#!/bin/sh\ntrap : INT\n".to_owned();
        for (key, value) in inner.get_envs() {
            let value = value.unwrap_or_default().to_str().unwrap();
            let _ = writeln!(text, "export {}='{value}'", key.to_str().unwrap());
        }
        let program = inner.get_program().to_str().unwrap();
        let _ = write!(
            text,
            "export KRAFTKIT_NO_PROMPT=false\ncd '{}'\n'{program}'",
            dir.display()
        );
        for word in words {
            let _ = write!(text, " '{word}'");
        }
        if let Some(data) = data {
            let _ = write!(text, " > '{}'", data.display());
        }
        text.push_str("\necho \"ended with $?\"\nexec sh -i\n");
        let script = bench.path().join("in-the-terminal");
        std::fs::write(&script, text).unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: bench.path().join(format!("tmux-{count}")),
            columns: columns.into(),
        };
        let columns = columns.to_string();
        let session = ["-f", "/dev/null", "new-session", "-d", "-x", &columns];
        let script = script.to_str().unwrap();
        terminal.tmux(&[&session[..], &["-y", "40", "sh", script]].concat());
        Some(terminal)
    }

    /// Runs tmux, and returns what it printed.
    ///
    /// # Panics
    /// If it cannot be run.
    pub fn tmux(&self, words: &[&str]) -> String {
        let output = std::process::Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(words)
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types keys, in tmux's names.
    pub fn type_keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen shows a text.
    ///
    /// # Panics
    /// If it never does.
    pub fn wait_for(&self, text: &str) {
        eventually(text, || self.tmux(&["capture-pane", "-p"]).contains(text));
    }

    /// Watches the screen until the program has ended well; returns the screens that were seen.
    ///
    /// # Panics
    /// If it fails, or if the line of a bar or a spinner was wider than the terminal at any time: what is
    /// in the next line is never cleared.
    pub fn watch(&self) -> Vec<String> {
        let mut screens: Vec<String> = Vec::new();
        eventually("ended with", || {
            // Lines that wrap are joined. A bar fills its line, so that the next one seems to continue it.
            let screen = self.tmux(&["capture-pane", "-p", "-J"]);
            for line in screen.lines().filter(|line| is_moving(line)) {
                let cells: Vec<char> = line.trim_end().chars().collect();
                for part in cells.chunks(self.columns) {
                    let part: String = part.iter().collect();
                    assert!(is_moving(&part), "a line wraps:\n{part}\n{screen}");
                }
            }
            let has_ended = screen.contains("ended with ");
            if screens.last() != Some(&screen) {
                screens.push(screen);
            }
            has_ended
        });
        let last = screens.last().unwrap();
        assert!(last.contains("ended with 0"), "{last}");
        screens
    }

    /// Waits until the program has ended well, and returns the lines that it left on the screen.
    ///
    /// # Panics
    /// As [`Terminal::watch`], or if one of them is wider than the terminal.
    pub fn left(&self) -> Vec<String> {
        let lines = lines_of(self.watch().last().unwrap());
        for line in &lines {
            let fits = line.chars().count() <= self.columns;
            assert!(fits, "a line wraps:\n{line}\n{lines:#?}");
        }
        lines
    }
}

/// Returns the lines of a screen that a program left.
pub fn lines_of(screen: &str) -> Vec<String> {
    let (shown, _) = screen.split_once("ended with").unwrap();
    let lines = shown.lines().map(|line| line.trim_end().to_owned());
    lines.collect()
}

/// Returns the last line that a program left.
///
/// # Panics
/// If something of a bar or a spinner is left.
pub fn closing_line(lines: &[String]) -> &str {
    for line in lines {
        assert!(!is_moving(line), "{lines:#?}");
        assert!(!line.contains(" 0 B"), "{lines:#?}");
    }
    lines.last().unwrap()
}

/// Returns whether a line has a bar or a spinner.
pub fn is_moving(line: &str) -> bool {
    let moving = |c: char| ('\u{2800}'..='\u{28ff}').contains(&c) || "█░".contains(c);
    line.contains(moving)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
