//! The `--name=value` words before what an instruction says.

use super::instruction::{Mount, MountKind};
use super::lines::{Line, Word};
use crate::nearest;
use crate::problem::{Problem, Span};

/// One flag.
#[derive(Clone, Debug)]
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) span: Span,
}

/// Takes the flags off the front of a line. Returns them and where the rest begins.
pub(super) fn take(line: &Line, words: &[Word<'_>]) -> (Vec<Flag>, usize) {
    let mut flags = Vec::new();
    for word in words {
        let Some(body) = word.text.strip_prefix("--").filter(|body| !body.is_empty()) else {
            return (flags, word.start);
        };
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        flags.push(Flag {
            name: name.to_owned(),
            value,
            span: line.span(word.start, word.end()),
        });
    }
    (flags, line.text.len())
}

impl Flag {
    /// Returns the value, which must be there.
    pub(super) fn needed(&self) -> Result<String, Box<Problem>> {
        match &self.value {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => Err(Box::new(
                Problem::error(format!("`--{}` needs a value", self.name))
                    .at(self.span)
                    .label(format!("write `--{}=VALUE`", self.name)),
            )),
        }
    }

    /// Returns whether it is on.
    pub(super) fn switch(&self) -> Result<bool, Box<Problem>> {
        truth(self.value.as_deref().unwrap_or("true")).ok_or_else(|| {
            let problem = Problem::error(format!("`--{}` is on or off", self.name));
            Box::new(problem.at(self.span).label("`true` or `false`"))
        })
    }

    /// Says that an instruction has no such flag.
    pub(super) fn unknown(&self, known: &[&str]) -> Problem {
        let problem = Problem::error(format!("unknown flag `--{}`", self.name)).at(self.span);
        match nearest::nearest(&self.name, known.iter().copied()) {
            Some(meant) => problem.label(format!("did you mean `--{meant}`?")),
            None if known.is_empty() => problem.label("this instruction has no flags"),
            None => problem.help(format!("known here: --{}", known.join(", --"))),
        }
    }

    /// Reads the value of a `--mount`.
    pub(super) fn mount(&self) -> Result<Mount, Box<Problem>> {
        let mut mount = Mount {
            kind: MountKind::Bind,
            target: None,
            source: None,
            from: None,
            id: None,
            env: None,
            read_only: None,
            required: false,
            mode: None,
            uid: None,
            gid: None,
        };
        let wrong = |what: String| Box::new(Problem::error(what).at(self.span));
        let text = self.needed()?;
        for field in text.trim_matches('"').split(',') {
            let (name, value) = match field.split_once('=') {
                Some((name, value)) => (name, value),
                None => (field, "true"),
            };
            let number = |radix| {
                u32::from_str_radix(value, radix)
                    .map(Some)
                    .map_err(|_| wrong(format!("`{name}={value}` is no number")))
            };
            let on = || truth(value).ok_or_else(|| wrong(format!("`{name}` is `true` or `false`")));
            match name.to_ascii_lowercase().as_str() {
                "type" => {
                    mount.kind = match value {
                        "bind" => MountKind::Bind,
                        "cache" => MountKind::Cache,
                        "tmpfs" => MountKind::Tmpfs,
                        "secret" => MountKind::Secret,
                        "ssh" => MountKind::Ssh,
                        other => {
                            return Err(wrong(format!(
                                "unknown type of mount `{other}`: it is one of bind, cache, \
                                 tmpfs, secret and ssh"
                            )));
                        }
                    }
                }
                "target" | "dst" | "destination" => mount.target = Some(value.to_owned()),
                "source" | "src" => mount.source = Some(value.to_owned()),
                "from" => mount.from = Some(value.to_owned()),
                "id" => mount.id = Some(value.to_owned()),
                "env" => mount.env = Some(value.to_owned()),
                "readonly" | "ro" => mount.read_only = Some(on()?),
                "readwrite" | "rw" => mount.read_only = Some(!on()?),
                "required" => mount.required = on()?,
                "mode" => mount.mode = number(8)?,
                "uid" => mount.uid = number(10)?,
                "gid" => mount.gid = number(10)?,
                "sharing" | "size" => {}
                other => return Err(wrong(format!("unknown field `{other}` of a mount"))),
            }
        }
        Ok(mount)
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Some(true),
        "false" | "0" | "f" => Some(false),
        _ => None,
    }
}
