//! Ordinary containers: another runtime gets the command line as it is.

use std::ffi::{OsStr, OsString};

use kraft_sys::process::own_program;
use kraft_sys::{fs, tool};

use crate::Context;
use crate::failure::Failure;

/// The runtimes that are looked for. crun is not the first: some versions refuse hosts with both
/// versions of control groups.
const KNOWN: [&str; 3] = ["runc", "crun", "youki"];

/// Replaces this process by the runtime for ordinary containers. Returns only if that fails.
pub(crate) fn hand_over(ctx: &Context<'_>) -> Failure {
    let program = match find(ctx) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let error = tool::replace(&program, &ctx.arguments.plain);
    Failure::of(
        &format!("cannot run `{}`", program.to_string_lossy()),
        &error,
    )
}

/// Finds the runtime for ordinary containers.
pub(crate) fn find(ctx: &Context<'_>) -> Result<OsString, Failure> {
    let configured = ctx.arguments.global.delegate.clone();
    let configured = configured.or_else(|| ctx.settings.delegate.as_ref().map(OsString::from));
    if let Some(name) = configured {
        return locate(&name).ok_or_else(|| {
            let name = name.to_string_lossy();
            Failure(format!(
                "cannot find the runtime `{name}` for containers without a unikernel"
            ))
        });
    }
    KNOWN
        .iter()
        .find_map(|name| locate(OsStr::new(name)))
        .ok_or_else(|| {
            Failure(format!(
                "the image has no unikernel (`/{}`), and none of {} is installed to run it as a \
                 container",
                crate::decide::KERNEL,
                KNOWN.join(", ")
            ))
        })
}

/// Where programs are looked for beside `PATH`: podman runs this one without it, except to create.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Returns the path of a program that is not this one under another name.
fn locate(name: &OsStr) -> Option<OsString> {
    let path = tool::locate(name).or_else(|| tool::find(name, Some(OsStr::new(USUAL))))?;
    let own = fs::is_same_file(&path, &own_program());
    (!own).then(|| path.into_os_string())
}
