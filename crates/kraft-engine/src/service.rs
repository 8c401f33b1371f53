//! Starting machines when the host boots: a systemd unit that runs kraft once.
//!
//! No process of kraft's stays for that: the unit starts the machines whose restart policy says so,
//! and stops them before the host shuts down.
//!
//! ```
//! use kraft_engine::service::{Scope, Unit};
//!
//! let unit = Unit {
//!     scope: Scope::User,
//!     program: "/usr/bin/kraft".into(),
//!     environment: vec![("KRAFTKIT_RUNTIME_DIR".to_owned(), "/home/anna/run".into())],
//! };
//! let text = unit.text();
//! assert!(text.contains("ExecStart=/usr/bin/kraft service start"));
//! assert!(text.contains("WantedBy=default.target"));
//! ```

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kraft_sys::fs;
use kraft_sys::process::own_program;
use kraft_sys::tool::{Tool, ToolError};

use crate::context::Context;

/// The name of the unit.
pub const UNIT: &str = "kraft-machines.service";

/// How long `systemctl` may take.
const SYSTEMCTL_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximal size of a unit in bytes.
const MAX_UNIT: u64 = 64 << 10;

/// Why the unit cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written or removed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// Another program wrote a unit of this name.
    #[error("`{}` was not written by kraft", .0.display())]
    Foreign(PathBuf),
    /// The path of this program is unknown.
    #[error("cannot determine the path of this program")]
    Program(#[source] std::io::Error),
    /// `systemctl` failed.
    #[error("cannot have systemd read its units again")]
    Systemctl(#[source] ToolError),
}

/// Whose machines are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of the user, by the user's systemd.
    User,
    /// Those of root, by the host's systemd.
    System,
}

impl Scope {
    /// Returns the scope of the user that runs this program.
    pub fn of_this_user() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::System
        } else {
            Self::User
        }
    }

    /// Returns the target of systemd that wants the unit.
    const fn target(self) -> &'static str {
        match self {
            Self::User => "default.target",
            Self::System => "multi-user.target",
        }
    }

    /// Returns the directory of units.
    fn dir(self, ctx: &Context) -> PathBuf {
        match self {
            Self::System => PathBuf::from("/etc/systemd/system"),
            Self::User => {
                let config = ctx.env.path("XDG_CONFIG_HOME");
                let config = config.filter(|dir| dir.is_absolute());
                let config =
                    config.unwrap_or_else(|| kraft_config::dirs::home(&ctx.env).join(".config"));
                config.join("systemd/user")
            }
        }
    }
}

/// The unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whose machines it starts.
    pub scope: Scope,
    /// The absolute path of kraft.
    pub program: PathBuf,
    /// Variables of its environment.
    pub environment: Vec<(String, OsString)>,
}

/// The first line of each unit that kraft writes.
const MARK: &str = "# Written by `kraft service enable`; `kraft service disable` removes it.";

impl Unit {
    /// Returns the unit for this program with the settings of the context.
    ///
    /// # Errors
    ///
    /// If the path of this program cannot be determined.
    pub fn new(ctx: &Context, scope: Scope) -> Result<Self, Error> {
        Ok(Self {
            scope,
            program: std::fs::canonicalize(own_program()).map_err(Error::Program)?,
            environment: vec![
                (
                    "KRAFTKIT_CONFIG_DIR".to_owned(),
                    ctx.dirs.config.clone().into(),
                ),
                (
                    "KRAFTKIT_RUNTIME_DIR".to_owned(),
                    ctx.settings.runtime_dir.clone().into(),
                ),
            ],
        })
    }

    /// Returns its text. Machines outlive the command that starts them, so the unit stays active, and
    /// systemd stops them only when it stops the unit.
    pub fn text(&self) -> String {
        let mut environment = String::new();
        for (name, value) in &self.environment {
            // Writing to a string cannot fail.
            let _ = writeln!(
                environment,
                "Environment={}",
                quoted(&[name.as_bytes(), b"=", value.as_bytes()].concat())
            );
        }
        let program = quoted(self.program.as_os_str().as_bytes());
        let after = match self.scope {
            Scope::User => "",
            Scope::System => "After=network-online.target\nWants=network-online.target\n",
        };
        format!(
            "{MARK}\n[Unit]\nDescription=Machines of kraft with a restart policy\n{after}\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\n{environment}\
             ExecStart={program} service start\nExecStop={program} service stop\n\
             KillMode=process\nTimeoutStartSec=10min\nTimeoutStopSec=2min\n\n\
             [Install]\nWantedBy={}\n",
            self.scope.target()
        )
    }
}

/// Quotes a word as `systemd.service(5)` says; a plain word is left as it is.
fn quoted(bytes: &[u8]) -> String {
    let plain = |&byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:@,".contains(&byte);
    if bytes.iter().all(plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            // Specifiers and variables.
            b'%' => text.push_str("%%"),
            b'$' => text.push_str("$$"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The file of the unit.
    pub unit: PathBuf,
    /// Whether the file exists and kraft wrote it.
    pub installed: bool,
    /// Whether systemd starts it at boot.
    pub enabled: bool,
    /// Whether the user's systemd is started at boot, or only when the user logs in; `None` for the
    /// host's, or if it is unknown.
    pub lingers: Option<bool>,
}

/// Returns what is installed.
pub fn status(ctx: &Context, scope: Scope) -> Status {
    let unit = scope.dir(ctx).join(UNIT);
    let installed = is_ours(&unit).unwrap_or(false);
    let link = wanted_by(ctx, scope);
    let enabled = installed && std::fs::symlink_metadata(&link).is_ok();
    Status {
        unit,
        installed,
        enabled,
        lingers: match scope {
            Scope::System => None,
            Scope::User => ctx
                .env
                .text("USER")
                .filter(|user| !user.is_empty() && !user.contains('/'))
                .map(|user| Path::new("/var/lib/systemd/linger").join(user).exists()),
        },
    }
}

/// Returns the link by which the unit is started at boot.
fn wanted_by(ctx: &Context, scope: Scope) -> PathBuf {
    let wants = format!("{}.wants", scope.target());
    scope.dir(ctx).join(wants).join(UNIT)
}

/// Returns whether kraft wrote a unit; false if there is none.
fn is_ours(unit: &Path) -> Result<bool, Error> {
    match fs::read_file(unit, MAX_UNIT) {
        Ok(bytes) if bytes.starts_with(MARK.as_bytes()) => Ok(true),
        Ok(_) => Err(Error::Foreign(unit.to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes the unit and has systemd start it at boot.
///
/// # Errors
///
/// If a file cannot be written, another program wrote the unit, or systemd does not read it.
pub fn enable(ctx: &Context, scope: Scope) -> Result<Status, Error> {
    let dir = scope.dir(ctx);
    let unit = dir.join(UNIT);
    is_ours(&unit)?;
    let link = wanted_by(ctx, scope);
    if let Some(wants) = link.parent() {
        fs::create_dir_all(wants, 0o755)?;
    }
    fs::replace_file(&unit, Unit::new(ctx, scope)?.text().as_bytes())?;
    // What `systemctl enable` does, also where systemd does not run.
    fs::replace_link(&link, &Path::new("..").join(UNIT))?;
    reload(ctx, scope)?;
    Ok(status(ctx, scope))
}

/// Removes the unit; returns whether there was one. Machines that run are left alone.
///
/// # Errors
///
/// As [`enable`].
pub fn disable(ctx: &Context, scope: Scope) -> Result<bool, Error> {
    let unit = scope.dir(ctx).join(UNIT);
    let existed = is_ours(&unit)?;
    fs::remove_file(&wanted_by(ctx, scope))?;
    fs::remove_file(&unit)?;
    if existed {
        reload(ctx, scope)?;
    }
    Ok(existed)
}

/// Has systemd read its units again, if it runs.
fn reload(ctx: &Context, scope: Scope) -> Result<(), Error> {
    let runs = match scope {
        Scope::System => Path::new("/run/systemd/system").is_dir(),
        Scope::User => ctx
            .env
            .path("XDG_RUNTIME_DIR")
            .is_some_and(|dir| dir.join("systemd").is_dir()),
    };
    if !runs {
        return Ok(());
    }
    let mut args = vec!["daemon-reload"];
    if scope == Scope::User {
        args.insert(0, "--user");
    }
    Tool::new("systemctl")
        .args(args)
        .limit(SYSTEMCTL_TIMEOUT)
        .run()
        .map(drop)
        .map_err(Error::Systemctl)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context};

    #[test]
    fn a_unit_keeps_paths_with_blanks_and_specifiers() {
        for (word, wanted) in [
            ("/usr/bin/kraft", "/usr/bin/kraft"),
            ("/a b/100%", r#""/a b/100%%""#),
            (r#"/"$x\"#, r#""/\"$$x\\""#),
            ("/\u{e4}\n", r#""/\xc3\xa4\x0a""#),
        ] {
            assert_eq!(quoted(word.as_bytes()), wanted);
        }
    }

    #[test]
    fn a_unit_is_enabled_and_disabled_and_a_foreign_one_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = context(home.path(), &Script::silent());
        let config = home.path().join("config");
        ctx.env =
            kraft_config::env::Environment::from([("XDG_CONFIG_HOME", config.to_str().unwrap())]);
        assert!(!status(&ctx, Scope::User).enabled);
        assert!(!disable(&ctx, Scope::User).unwrap());
        for _ in 0..2 {
            let status = enable(&ctx, Scope::User).unwrap();
            assert!(status.enabled && status.installed);
            let link = wanted_by(&ctx, Scope::User);
            let text = std::fs::read_to_string(&link).unwrap();
            assert!(text.starts_with(MARK), "{text}");
            assert!(text.contains("KRAFTKIT_RUNTIME_DIR="), "{text}");
        }
        assert!(disable(&ctx, Scope::User).unwrap());
        let status = status(&ctx, Scope::User);
        assert!(!status.installed && !status.enabled);

        fs::replace_file(&status.unit, b"[Unit]\n").unwrap();
        for refused in [
            enable(&ctx, Scope::User).map(drop),
            disable(&ctx, Scope::User).map(drop),
        ] {
            assert!(matches!(refused, Err(Error::Foreign(_))));
        }
        assert_eq!(std::fs::read(&status.unit).unwrap(), b"[Unit]\n");
    }
}
