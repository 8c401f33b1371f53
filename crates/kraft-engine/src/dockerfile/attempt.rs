//! Result of one builder: a failure of the builder or of the host is told apart from an error in the
//! Dockerfile, because another builder may build it.

use kraft_buildkit::Failure as DaemonFailure;

use super::Image;
use super::error::Error;

/// Result of a build by one builder.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The archive was built.
    Built(Image),
    /// The builder failed for a reason of its own.
    BuilderFailed {
        /// The reason, as the builder reports it.
        reason: String,
        /// The error of the build if no other builder is tried.
        error: Error,
    },
}

/// What engines print when the runtime, the network, the storage or the host fails (moby, buildkit,
/// runc, crun, containers/buildah).
const OF_ENGINES: [&str; 18] = [
    "network bridge not found",
    "could not find an available, non-overlapping",
    "failed to create endpoint",
    "failed to set up container networking",
    "oci runtime",
    "failed to create shim",
    "runc did not terminate successfully",
    "runc run failed",
    "unable to start container process",
    "creating container for",
    "cgroup",
    "error creating overlay mount",
    "failed to mount",
    "no space left on device",
    "newuidmap",
    "cannot set up namespace",
    "no subuid ranges found",
    "failed to create temp dir",
];

/// What engines print when they cannot pull an image that another builder may have or may pull.
const OF_IMAGES: [&str; 9] = [
    "did not resolve to an alias",
    "failed to resolve source metadata",
    "failed to load cache key",
    "failed to do request",
    "pull access denied",
    "initializing source docker://",
    "pinging container registry",
    "no such host",
    "failed to resolve reference",
];

/// Returns the reason if a daemon failed for a reason of its own.
pub(super) fn of_daemon(failure: &DaemonFailure) -> Option<String> {
    // A command ran and exited: its message is the command's, whatever it mentions.
    if failure.message.contains("exit code:") && !failure.message.contains("runc run failed") {
        return None;
    }
    let mut lines = failure.message.lines();
    lines.find(|line| is_own(line)).map(shortened)
}

/// Returns the reason if a program failed for a reason of its own. Only what the program itself
/// prints counts, not what commands print.
pub(super) fn of_program(output: &str) -> Option<String> {
    let own = ["Error: ", "error running container: ", "error building "];
    let mut lines = output.lines();
    lines.find_map(|line| {
        let why = own.iter().find_map(|start| line.strip_prefix(start))?;
        // A step in quotes may contain anything.
        let why = match why.strip_prefix("building at STEP ") {
            Some(_) => why.rsplit_once("\": ").map_or("", |(_, why)| why),
            None => why,
        };
        is_own(why).then(|| shortened(why))
    })
}

fn is_own(line: &str) -> bool {
    let line = line.to_lowercase();
    OF_ENGINES
        .iter()
        .chain(&OF_IMAGES)
        .any(|known| line.contains(known))
}

/// Truncates a message to a length that fits a line or two.
fn shortened(line: &str) -> String {
    const LONGEST: usize = 240;
    let line = line.trim();
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(message: &str) -> Option<String> {
        of_daemon(&DaemonFailure {
            message: message.to_owned(),
            ..DaemonFailure::default()
        })
    }

    #[test]
    fn a_daemon_without_a_network_failed_for_a_reason_of_its_own() {
        for message in [
            "process \"/bin/sh -c x\" did not complete successfully: network bridge not found",
            "executor failed running [/bin/sh -c make]: network bridge not found",
            "failed to create shim task: OCI runtime create failed: runc create failed",
            "docker.io/library/gcc:13: failed to do request: Head \"https://registry-1.docker.io\"",
        ] {
            assert!(daemon(message).is_some(), "{message}");
        }
    }

    #[test]
    fn errors_of_commands_and_of_the_dockerfile_are_not_the_daemons() {
        for message in [
            "process \"/bin/sh -c cat cgroup\" did not complete successfully: exit code: 1",
            "executor failed running [/bin/sh -c false]: exit code: 1",
            "failed to compute cache key: \"/lost\" not found: not found",
            "dockerfile parse error line 2: unknown instruction: RUNN",
        ] {
            assert_eq!(daemon(message), None, "{message}");
        }
    }

    #[test]
    fn a_runtime_that_does_not_support_the_host_is_the_reason_of_the_program() {
        let output = "error running container: from /usr/bin/crun creating container for \
                    [/bin/sh -c echo hi]: cgroups in hybrid mode not supported\n: exit status 1\n\
                    Error: building at STEP \"RUN echo hi\": while running runtime: exit status 1\n";
        assert!(of_program(output).unwrap().contains("hybrid mode"));
        let output = "Error: creating build container: short-name \"gcc:13\" did not resolve to an \
                    alias and no unqualified-search registries are defined\n";
        assert!(of_program(output).is_some());
    }

    #[test]
    fn the_same_words_in_the_output_of_a_command_do_not_count() {
        let output = "cat: no such file in the cgroup\n\
                    Error: building at STEP \"RUN ls cgroup\": while running runtime: exit status 3\n";
        assert_eq!(of_program(output), None);
    }
}
