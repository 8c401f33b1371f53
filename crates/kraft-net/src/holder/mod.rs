//! The process of a network while machines run in it.
//!
//! It is this program, started with a hidden argument. One of its threads stays in the host's
//! network and opens sockets there; the others are in the network's own, where they dial machines
//! and answer their questions for names. A socket belongs to the network it was opened in, and can
//! be used from both.
//!
//! Without privileges on the host, the process is root of a user namespace of its own, which gives
//! it the rights over the network namespace and over nothing else.

mod dns;
mod names;
mod namespace;
mod netlink;
mod outside;
mod proxy;
mod server;
pub(crate) mod tap;
mod way_out;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kraft_sys::process::{self, Identity, own_program};
use kraft_sys::tool;

use crate::error::Error;
use crate::host::Refusal as Refused;
use crate::layout::NetworkDir;
use crate::protocol::{Report, line};
use crate::record::{HolderRecord, Network};

use namespace::{Kept, Namespaces};
pub(crate) use netlink::Netlink;
use outside::Outside;
use server::Server;
pub(crate) use way_out::PROGRAM as WAY_OUT;

/// The hidden first word that makes this program the holder of a network.
pub const ARGUMENT: &str = "__network";

/// Starts a holder that is no child of the process that asked for it.
pub(crate) const START: &str = "start";
/// Is a holder.
const HOLD: &str = "hold";

/// The name of the bridge in its namespace.
const BRIDGE: &str = "br0";

/// Returns why this user cannot make networks, as far as that is known without making one.
pub(crate) fn refusal() -> Option<Refused> {
    tap::check().err().or_else(namespace::refusal)
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Returns a function that adds to an error what could not be done.
fn cannot<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> Refused {
    let doing = doing.to_owned();
    move |error| Refused::new(format!("cannot {doing}: {error}"))
}

/// Runs as a holder with the arguments after [`ARGUMENT`], and returns the exit code. The process
/// must have one thread.
///
/// ```no_run
/// let mut args = std::env::args_os().skip(1);
/// if args.next().is_some_and(|arg| arg == kraft_net::holder::ARGUMENT) {
///     std::process::exit(kraft_net::holder::main(args));
/// }
/// ```
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    let mut args = args.into_iter();
    let (Some(task), Some(dir)) = (args.next(), args.next()) else {
        return 2;
    };
    let dir = PathBuf::from(dir);
    let done = match task.to_str() {
        Some(START) => start(&dir),
        Some(HOLD) => hold(&dir),
        _ => return 2,
    };
    match done {
        Ok(()) => 0,
        Err(refused) => {
            // To the log of the holder.
            let _ = writeln!(io::stderr(), "kraft: {refused}");
            let report = Report::Refused {
                why: refused.why,
                cure: refused.cure,
            };
            // After the report of a holder that was ready, stdout leads nowhere.
            let _ = io::stdout().write_all(&line(&report));
            1
        }
    }
}

/// Starts a holder that outlives this process.
fn start(dir: &Path) -> Result<(), Refused> {
    let mut command = tool::command(own_program());
    command
        .arg0("kraft")
        .args([ARGUMENT, HOLD])
        .arg(dir)
        .stdin(Stdio::null());
    command.spawn().map_err(cannot("start the holder"))?;
    Ok(())
}

/// Is the holder of a network until no machine runs in it.
fn hold(path: &Path) -> Result<(), Refused> {
    let _ = process::leave_session();
    std::env::set_current_dir(path).map_err(cannot("enter the directory of the network"))?;
    let dir = NetworkDir::new(path.to_owned());
    let network = Network::load(&dir)?;
    let me = Identity::me().ok_or_else(|| Refused::new("`/proc` is not mounted"))?;
    let previous = HolderRecord::load(&dir);
    let kept = previous.as_ref().and_then(Kept::find);
    let machines = match (&kept, previous) {
        (Some(_), Some(previous)) => previous.living(),
        _ => Vec::new(),
    };
    tap::check()?;
    let user = namespace::enter_user(kept.as_ref())?;
    // Before this thread leaves the host's network.
    let outside = Outside::start().map_err(cannot("start a thread"))?;
    namespace::enter_network(kept.as_ref())?;
    let namespaces = Namespaces::current(user).map_err(cannot("open the namespaces"))?;
    drop(kept);
    raise_file_limit();
    let server = Server::new(dir, network, me, namespaces, outside)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(cannot("start the event loop"))?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async move {
        // Before anything is recorded: the next holder has to know them as well.
        server.take_over(machines);
        let listener = server.open().await?;
        let report = process::take_stdout().map_err(cannot("report"))?;
        // The process that asked may be gone; then no other comes, and the holder ends.
        let _ = (&report).write_all(&line(&Report::Ready));
        drop(report);
        server.serve(listener).await;
        Ok(())
    }))
}

/// Allows as many open files as the system does: every connection to a published port needs two.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Then there are fewer connections at once.
    let _ = setrlimit(Resource::Nofile, raised);
}
