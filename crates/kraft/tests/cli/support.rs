//! A home of its own for every test, and `kraft` in it.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// An empty home; nothing of the real environment gets in.
#[derive(Debug)]
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

/// How a `kraft` ended.
#[derive(Debug)]
#[must_use]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file below the home.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
        path
    }

    /// The path of the configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path().join(".config/kraftkit/config.yaml")
    }

    /// Writes the configuration file.
    pub(crate) fn configure(&self, text: &str) {
        self.write(".config/kraftkit/config.yaml", text);
    }

    /// Prepares a `kraft` with these arguments.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kraft"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.path());
        command
    }

    /// Runs `kraft` with these arguments.
    pub(crate) fn kraft(&self, words: &[&str]) -> Outcome {
        self.finish(&mut self.command(words))
    }

    /// Runs a prepared `kraft`.
    pub(crate) fn finish(&self, command: &mut Command) -> Outcome {
        let output = command.output().unwrap();
        let home = self.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(home, "[HOME]");
        Outcome {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs `kraft`, which must succeed, and returns its stdout.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.kraft(words).exits(0).stdout
    }

    /// Runs `kraft`, which must succeed, and returns its JSON output.
    pub(crate) fn json(&self, words: &[&str]) -> serde_json::Value {
        let text = self.ok(words);
        assert!(text.ends_with('\n'), "no line break at the end: {text:?}");
        serde_json::from_str(&text).unwrap()
    }

    /// Writes a file that is detected as a kernel: the head of an arm64 `Image`.
    pub(crate) fn kernel(&self) -> String {
        let mut image = vec![0; 64];
        image.splice(56..60, *b"ARM\x64");
        self.write("kernel", image);
        "./kernel".to_owned()
    }
}

impl Outcome {
    /// Asserts the exit code.
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout, self.stderr
        );
        self
    }
}
