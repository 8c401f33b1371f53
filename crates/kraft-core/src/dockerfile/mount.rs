//! `--mount` of `RUN`: its fields as written, and their values after expansion of variables
//! (BuildKit, `frontend/dockerfile/instructions/commands_runmount.go`).

use super::expand::ExpandError;
use super::flags::Flag;
use super::parse::{Outcome, fail};
use crate::nearest;
use crate::problem::{Problem, Span};

/// All fields of `--mount`.
const FIELDS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

/// A `--mount` as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// `from`: a stage or an image; the only field that cannot contain variables.
    pub from: Option<String>,
    fields: Vec<Field>,
    span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: String,
    value: Option<String>,
    span: Span,
}

/// The options of a `--mount`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// The type of the mount.
    pub kind: MountKind,
    /// `source`: a path below `from`; for a secret an alias of `id`.
    pub source: String,
    /// `target`: the mount point; empty if not specified.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// `size` of a tmpfs in bytes; 0 is the kernel's default.
    pub size: u64,
    /// `id` of a cache or secret.
    pub id: String,
    /// `sharing` of a cache.
    pub sharing: Sharing,
    /// Whether the step fails if it is missing.
    pub required: bool,
    /// `env`: a variable that contains the secret.
    pub env: Option<String>,
    /// `mode` of the mounted file or directory.
    pub mode: Option<u32>,
    /// `uid`: its owner.
    pub uid: Option<u32>,
    /// `gid`: its group.
    pub gid: Option<u32>,
}

/// The type of a `--mount`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that persists between builds.
    Cache,
    /// A directory in memory.
    Tmpfs,
    /// A secret as a file.
    Secret,
    /// The socket of an ssh agent.
    Ssh,
}

/// How a cache can be used concurrently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Several steps use it at the same time.
    #[default]
    Shared,
    /// Concurrent steps get separate caches.
    Private,
    /// Steps wait for each other.
    Locked,
}

impl MountKind {
    const ALL: [(&str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    fn name(self) -> &'static str {
        let named = Self::ALL.into_iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(name, _)| name)
    }

    fn has_owner(self) -> bool {
        matches!(self, Self::Cache | Self::Secret | Self::Ssh)
    }

    fn can_be_required(self) -> bool {
        matches!(self, Self::Secret | Self::Ssh)
    }
}

impl Mount {
    /// Parses the value of the flag. Fields without variables are validated at once.
    pub(super) fn read(flag: &Flag) -> Outcome<Self> {
        let text = flag.needed()?.unwrap_or_default();
        let fields = fields(flag, &text)?;
        let mut mount = Self {
            from: None,
            fields,
            span: flag.span,
        };
        for field in &mount.fields {
            let value = field.value.as_deref().unwrap_or_default();
            if field.name == "from" {
                if value.strip_suffix('$').unwrap_or(value).contains('$') {
                    let problem = Problem::error("`from` of a mount cannot contain variables")
                        .at(field.span)
                        .label("name a stage: `FROM $IMAGE AS NAME`, then `from=NAME`");
                    return fail(problem);
                }
                mount.from = Some(value.to_owned()).filter(|from| !from.is_empty());
            }
        }
        let mut plain = mount.fields.iter().map(|field| field.value.as_deref());
        if !plain.any(|value| value.is_some_and(|value| value.contains(['$', '\\', '`']))) {
            mount.options(&|value| Ok(value.to_owned()))?;
        }
        Ok(mount)
    }

    /// Returns whether its type is known to be `ssh` before variables are expanded.
    pub fn is_ssh(&self) -> bool {
        let mut fields = self.fields.iter().filter(|field| field.name == "type");
        fields.any(|field| {
            let value = field.value.as_deref().unwrap_or_default();
            value.eq_ignore_ascii_case("ssh")
        })
    }

    /// Returns the options after expansion of variables.
    pub fn options(
        &self,
        expand: &dyn Fn(&str) -> Result<String, ExpandError>,
    ) -> Result<MountOptions, Box<Problem>> {
        let mut options = MountOptions::default();
        let mut read_only = None;
        let mut sharing = None;
        for field in &self.fields {
            let Some(value) = &field.value else {
                match field.name.as_str() {
                    "readonly" | "ro" => read_only = Some(true),
                    "readwrite" | "rw" => read_only = Some(false),
                    "required" if options.kind.can_be_required() => options.required = true,
                    "required" => return fail(field.not_of(options.kind)),
                    _ => {
                        let what = format!("`{}` of a mount has no value", field.name);
                        return fail(field.problem(what, "expected NAME=VALUE"));
                    }
                }
                continue;
            };
            let value = expand(value)
                .map_err(|error| Box::new(Problem::error(error.to_string()).at(field.span)))?;
            match field.name.as_str() {
                "type" => options.kind = field.one_of(&value, &MountKind::ALL)?,
                "from" => {}
                "source" | "src" => options.source = value,
                "target" | "dst" | "destination" => options.target = value,
                "id" => options.id = value,
                "env" => options.env = Some(value),
                "readonly" | "ro" => read_only = Some(field.truth(&value)?),
                "readwrite" | "rw" => read_only = Some(!field.truth(&value)?),
                "required" if options.kind.can_be_required() => {
                    options.required = field.truth(&value)?;
                }
                "size" if options.kind == MountKind::Tmpfs => options.size = field.size(&value)?,
                "required" | "size" => return fail(field.not_of(options.kind)),
                "sharing" => sharing = Some((field, field.one_of(&value, &Sharing::ALL)?)),
                "mode" => options.mode = Some(field.number(&value, 8)?),
                "uid" => options.uid = Some(field.number(&value, 10)?),
                "gid" => options.gid = Some(field.number(&value, 10)?),
                _ => return fail(field.unknown()),
            }
        }
        let writable = matches!(options.kind, MountKind::Cache | MountKind::Tmpfs);
        options.read_only = read_only.unwrap_or(!writable);
        if let Some((field, sharing)) = sharing {
            if options.kind != MountKind::Cache {
                return fail(field.not_of(options.kind));
            }
            options.sharing = sharing;
        }
        self.check(&options)?;
        Ok(options)
    }

    /// Rejects conflicting fields.
    fn check(&self, options: &MountOptions) -> Outcome<()> {
        let named = |names: &[&str]| {
            let mut fields = self.fields.iter();
            fields.find(|field| names.contains(&field.name.as_str()))
        };
        if let Some(field) = named(&["mode", "uid", "gid"])
            && !options.kind.has_owner()
        {
            return fail(field.not_of(options.kind));
        }
        if options.kind != MountKind::Secret {
            return Ok(());
        }
        if let Some(field) = named(&["from"])
            && self.from.is_some()
        {
            return fail(field.not_of(options.kind));
        }
        if options.source.is_empty() && options.target.is_empty() && options.id.is_empty() {
            let problem = Problem::error("the mount does not name a secret").at(self.span);
            return fail(problem.label("add `id=NAME`"));
        }
        if let Some(field) = named(&["source", "src"])
            && !options.source.is_empty()
            && !options.id.is_empty()
        {
            let what = "`source` and `id` of a secret are the same";
            return fail(field.problem(what.to_owned(), "leave one of them out"));
        }
        Ok(())
    }
}

impl Sharing {
    const ALL: [(&str, Self); 3] = [
        ("shared", Self::Shared),
        ("private", Self::Private),
        ("locked", Self::Locked),
    ];
}

impl Field {
    fn problem(&self, what: String, label: &str) -> Problem {
        Problem::error(what).at(self.span).label(label)
    }

    fn not_of(&self, kind: MountKind) -> Problem {
        let what = format!("a mount of type `{}` has no `{}`", kind.name(), self.name);
        Problem::error(what).at(self.span)
    }

    fn unknown(&self) -> Problem {
        let what = format!("unknown field `{}` of a mount", self.name);
        let problem = Problem::error(what).at(self.span);
        match nearest::nearest(&self.name, FIELDS) {
            Some(meant) => problem.label(format!("did you mean `{meant}`?")),
            None => problem,
        }
    }

    fn invalid<T>(&self, value: &str, expected: &str) -> Outcome<T> {
        let what = format!("`{value}` is not a valid `{}` of a mount", self.name);
        fail(self.problem(what, &format!("expected {expected}")))
    }

    fn one_of<T: Copy>(&self, value: &str, all: &[(&str, T)]) -> Outcome<T> {
        let lower = value.to_lowercase();
        if let Some((_, value)) = all.iter().find(|(name, _)| *name == lower) {
            return Ok(*value);
        }
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        self.invalid(value, &format!("one of {}", names.join(", ")))
    }

    fn truth(&self, value: &str) -> Outcome<bool> {
        match value {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
            _ => self.invalid(value, "`true` or `false`"),
        }
    }

    fn number(&self, value: &str, radix: u32) -> Outcome<u32> {
        let digits = value.chars().all(|c| c.is_ascii_digit());
        match u32::from_str_radix(value, radix) {
            Ok(number) if digits => Ok(number),
            _ if radix == 8 => self.invalid(value, "an octal number"),
            _ => self.invalid(value, "a number"),
        }
    }

    fn size(&self, value: &str) -> Outcome<u64> {
        match size(value) {
            Some(bytes) => Ok(bytes),
            None => self.invalid(value, "a size such as `64m`"),
        }
    }
}

/// Reads a size as docker does: `64k`, `1.5GiB`.
fn size(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit() || ". ".contains(c))?;
    let (number, unit) = text.split_at_checked(end + 1)?;
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    let thousands = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = number * 1024_f64.powi(thousands);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is neither negative nor too large"
    )]
    (0.0..9e18).contains(&bytes).then_some(bytes as u64)
}

/// Splits the value of the flag at its commas; fields in double quotes may contain commas.
fn fields(flag: &Flag, text: &str) -> Outcome<Vec<Field>> {
    let wrong = |what: &str| Box::new(Problem::error(what).at(flag.span));
    let mut fields = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Err(wrong("`--mount` needs a value"));
    }
    loop {
        let start = text.len() - rest.len();
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted).ok_or_else(|| wrong("a quote in `--mount` is never closed"))?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (field, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            if field.contains('"') {
                return Err(wrong("a quote in `--mount` is not at the start of a field"));
            }
            (field.to_owned(), after)
        };
        let end = text.len() - after.len();
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (field.as_str(), None),
        };
        fields.push(Field {
            name: name.to_lowercase(),
            value,
            span: flag.span_in_value(start, end),
        });
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => {
                return Err(wrong(
                    "a quoted field of `--mount` continues after its closing quote",
                ));
            }
        }
    }
}

/// Reads a field up to its closing quote; two quotes in it are one.
fn quoted_field(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Some((field, after)),
        }
    }
}
