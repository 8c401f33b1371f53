//! Environment of the KConfig tests: trees on disk, reference programs, and random configurations.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_kconfig::language::{Kind, Sources, Tree};

/// Files, commands and an environment, as seen by a program started with it.
#[derive(Default)]
pub(crate) struct Disk {
    pub(crate) env: HashMap<String, String>,
}

impl Disk {
    /// Finds a file as `conf` does: by its name, otherwise in `$srctree`.
    fn find(&self, path: &str) -> PathBuf {
        let tree = self.env.get("srctree").map(Path::new);
        let plain = PathBuf::from(path);
        match tree {
            Some(tree) if !plain.exists() => tree.join(plain),
            _ => plain,
        }
    }
}

impl Sources for Disk {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn shell(&self, command: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", command])
            .envs(&self.env)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.find(path))
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        if !pattern.contains(['*', '?', '[']) {
            return self
                .find(pattern)
                .exists()
                .then(|| pattern.to_owned())
                .into_iter()
                .collect();
        }
        let list = Command::new("sh")
            .args([
                "-c",
                "IFS=; for f in $1; do [ -e \"$f\" ] && echo \"$f\"; done",
                "sh",
                pattern,
            ])
            .output();
        let list = String::from_utf8(list.unwrap().stdout).unwrap();
        list.lines().map(str::to_owned).collect()
    }
}

/// Files in memory, an environment, and commands that echo.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) HashMap<&'static str, &'static str>);

impl Memory {
    pub(crate) fn of(text: &'static str) -> Self {
        Self([("Config.uk", text)].into())
    }

    pub(crate) fn with(mut self, name: &'static str, text: &'static str) -> Self {
        self.0.insert(name, text);
        self
    }
}

impl Sources for Memory {
    fn env(&self, name: &str) -> Option<String> {
        self.0
            .get(format!("${name}").as_str())
            .map(|text| (*text).to_owned())
    }

    fn shell(&self, command: &str) -> String {
        command.strip_prefix("echo ").unwrap_or_default().to_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let (before, after) = pattern.split_once('*').unwrap_or((pattern, ""));
        let exact = !pattern.contains('*');
        let fits = |name: &&str| {
            if exact {
                *name == pattern
            } else {
                name.starts_with(before) && name.ends_with(after)
            }
        };
        let mut names: Vec<String> = self
            .0
            .keys()
            .copied()
            .filter(|name| fits(name))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }
}

/// A reproducible random generator.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % limit as u64).unwrap()
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Generates a random configuration: many symbols, some with invalid values.
pub(crate) fn random_config(tree: &Tree, chance: &mut Chance) -> String {
    let mut text = String::new();
    let share = 1 + chance.below(10);
    for name in tree.names() {
        if chance.below(10) >= share {
            continue;
        }
        let kind = tree.symbol(name).unwrap().kind;
        let value = match kind {
            Kind::Bool | Kind::Tristate => {
                let values = ["y", "y", "y", "y", "n", "n", "m", "m", "\"y\"", "x", "-"];
                let odd = chance.below(4) == 0;
                chance.one_of(&values[..if odd { 11 } else { 8 }])
            }
            Kind::Int => chance.one_of(&[
                "0",
                "1",
                "2",
                "3",
                "7",
                "12",
                "64",
                "500",
                "5000",
                "-3",
                "-20",
                "007",
                "abc",
                "0x10",
                "\"5\"",
                "",
                "99999999999999999999",
            ]),
            Kind::Hex => chance.one_of(&[
                "0x0",
                "0x1000",
                "0x1801",
                "ff00",
                "0xffffffff",
                "0xfffffffffffffffff",
                "0xg",
                "\"0x10\"",
                "12",
                "",
            ]),
            Kind::String | Kind::Unknown => chance.one_of(&[
                "\"\"",
                "\"x\"",
                "\"a b\"",
                "\"q\\\"q\"",
                "\"b\\\\\"",
                "\"open",
                "bare",
                "\"1\"x",
            ]),
        };
        match value {
            "-" => writeln!(text, "# CONFIG_{name} is not set").unwrap(),
            "n" if chance.below(2) == 0 => writeln!(text, "# CONFIG_{name} is not set").unwrap(),
            value => writeln!(text, "CONFIG_{name}={value}").unwrap(),
        }
    }
    if chance.below(8) == 0 {
        text.push_str("CONFIG_NOBODY_KNOWS_ME=y\n");
    }
    text
}
