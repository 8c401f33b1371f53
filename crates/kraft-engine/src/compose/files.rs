//! Files that the machines of a service get: configs, secrets and single files of this host.
//!
//! A machine mounts directories only, so they become a part of its root filesystem when it is created.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use kraft_config::dirs::absolute;
use kraft_core::compose::{FileContent, FileMount, HostAddress, Mount, Service};
use kraft_core::mount::check_destination;
use kraft_core::problem::{Problem, Span};
use kraft_rootfs::ExtraFile;
use kraft_sys::fs;

use super::Error;
use super::definition::Definition;
use crate::context::Context;

/// The maximal size of a file, in bytes: it is copied into the machine.
const LARGEST: u64 = 64 << 20;

/// Returns the `/etc/hosts` of a service that has names of its own. Names of the host are those of the
/// name server.
fn hosts(service: &Service) -> Option<ExtraFile> {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned();
    let before = text.len();
    for host in &service.extra_hosts {
        if let HostAddress::Ip(address) = host.address {
            let _ = writeln!(text, "{address}\t{}", host.name);
        }
    }
    (text.len() > before).then(|| ExtraFile {
        path: "/etc/hosts".to_owned(),
        mode: 0o644,
        content: text.into_bytes(),
    })
}

impl Definition {
    /// Returns the files that the machines of a service get.
    ///
    /// # Errors
    ///
    /// If one is not declared, or cannot be read.
    pub fn files(&self, ctx: &Context, service: &Service) -> Result<Vec<ExtraFile>, Error> {
        let mut files = Vec::new();
        files.extend(hosts(service));
        for mount in &service.volumes {
            let path = self.path(ctx, &mount.source);
            if mount.is_directory() && path.is_file() {
                let mode = std::fs::metadata(&path).map(|it| it.permissions().mode());
                files.push(ExtraFile {
                    path: self.target(&mount.target, mount.span)?,
                    mode: mode.unwrap_or(0o644),
                    content: fs::read_file(&path, LARGEST)?,
                });
            }
        }
        for mount in &service.files {
            files.push(ExtraFile {
                path: self.target(&mount.target, mount.span)?,
                mode: mount.mode,
                content: self.content(ctx, mount)?,
            });
        }
        Ok(files)
    }

    /// Returns whether a mount is of a single file, which is copied.
    pub(super) fn is_file(&self, ctx: &Context, mount: &Mount) -> bool {
        mount.is_directory() && self.path(ctx, &mount.source).is_file()
    }

    /// Returns a path of this host, as it is written in a file.
    pub(super) fn path(&self, ctx: &Context, written: &str) -> PathBuf {
        match written.strip_prefix('~') {
            Some(rest) => kraft_config::dirs::home(&ctx.env).join(rest.trim_start_matches('/')),
            None => absolute(&self.dir.join(written)),
        }
    }

    fn target(&self, target: &str, span: Span) -> Result<String, Error> {
        let refuse = |why: String| self.unsupported(Problem::error(why).at(span));
        match check_destination(target) {
            Ok(path) if path == "/" => Err(refuse("a file cannot be at `/`".to_owned())),
            Ok(path) => Ok(path),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    fn content(&self, ctx: &Context, mount: &FileMount) -> Result<Vec<u8>, Error> {
        let name = &mount.source;
        let (all, kind) = if mount.secret {
            (&self.compose.secrets, "secret")
        } else {
            (&self.compose.configs, "config")
        };
        let refuse = |why: String| Err(self.unsupported(Problem::error(why).at(mount.span)));
        let Some(source) = all.iter().find(|one| one.key == *name) else {
            return refuse(format!("the {kind} `{name}` is not declared"));
        };
        match &source.content {
            Some(FileContent::File(path)) => Ok(fs::read_file(&self.path(ctx, path), LARGEST)?),
            Some(FileContent::Text(text)) => Ok(text.clone().into_bytes()),
            Some(FileContent::Variable(variable)) => match self.look_up(ctx, variable) {
                Some(value) => Ok(value.into_bytes()),
                None => refuse(format!(
                    "the {kind} `{name}` is that of the variable `{variable}`, which is not set"
                )),
            },
            None => refuse(format!(
                "the {kind} `{name}` has neither `file`, `environment` nor `content`"
            )),
        }
    }
}
