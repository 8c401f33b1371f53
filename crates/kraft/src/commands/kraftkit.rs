//! Aliases and flags of KraftKit, and flags of Docker's Compose, that kraft accepts for scripts and has
//! no use for.
//!
//! They are hidden from the help. A flag that is used is answered by a warning, which says what kraft
//! does instead.

use std::mem;

use clap::builder::ValueParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// What one command accepts.
struct Accepted {
    /// The names of the command and of those above it.
    command: &'static str,
    aliases: &'static [&'static str],
    flags: &'static [Flag],
}

/// A flag without effect.
struct Flag {
    /// As in a synopsis: `-o --output FILE`, or `FILE` for an argument.
    synopsis: &'static str,
    /// What kraft does instead.
    why: &'static str,
}

/// A flag that was used and has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// Its long name.
    pub(crate) flag: &'static str,
    /// What kraft does instead.
    pub(crate) why: &'static str,
}

const fn flag(synopsis: &'static str, why: &'static str) -> Flag {
    Flag { synopsis, why }
}

const fn aliases(command: &'static str, aliases: &'static [&'static str]) -> Accepted {
    let flags = &[];
    Accepted {
        command,
        aliases,
        flags,
    }
}

const fn flags(command: &'static str, flags: &'static [Flag]) -> Accepted {
    let aliases = &[];
    Accepted {
        command,
        aliases,
        flags,
    }
}

const STORED: &str = "images are stored locally; `kraft pkg save` writes an archive";
const PROGRESS: &str = "progress is shown on terminals only; `--log-level error` silences it";
const QUIET_PULL: Flag = flag("--quiet-pull", PROGRESS);
const QUIET_BUILD: Flag = flag("--quiet-build", PROGRESS);
const QUIET: Flag = flag("-q --quiet", PROGRESS);
const YES: Flag = flag("-y --yes", "nothing is asked");
const USER: Flag = flag("-u --user USER", "a unikernel has one user");
const BY_ITSELF: &str = "a unikernel has no privileges: its program has the whole machine";
const ARCHIVE: Flag = flag(
    "-a --archive",
    "permissions and times are always copied, and owners never",
);
const NOT_CUT: Flag = flag(
    "--no-trunc",
    "nothing is cut where the output is not a terminal",
);
const IN_TURN: &str = "services are built and pulled one after the other";
const ALWAYS_CPIO: Flag = flag(
    "--rootfs-type TYPE",
    "root filesystems are CPIO archives, which every kernel reads",
);
const KEEP_OWNERS: Flag = flag(
    "--keep-file-owners",
    "files belong to root; `kraft rootfs build --keep-owners` keeps their owners",
);
const PREFIX: &str = "lines are prefixed with the name of their machine if there are several";
const WAIT: &str = "`--wait TIME` sets it";
const NO_PROJECT: Flag = flag(
    "-K --kraftfile FILE",
    "this command does not read a project",
);

/// The aliases and flags, by command.
const ACCEPTED: &[Accepted] = &[
    Accepted {
        command: "build",
        aliases: &["bld"],
        flags: &[
            ALWAYS_CPIO,
            KEEP_OWNERS,
            flag(
                "-k --kernel FILE",
                "kernels are where `kraft build` prints; `outdir` in the Kraftfile is their directory",
            ),
            flag(
                "-C --validate",
                "options that KConfig drops or changes are always errors",
            ),
        ],
    },
    aliases("clean", &["cln"]),
    Accepted {
        command: "fetch",
        aliases: &["ft"],
        flags: &[flag(
            "--no-pull",
            "components that exist locally are not pulled again",
        )],
    },
    Accepted {
        command: "menu",
        aliases: &["m"],
        flags: &[flag(
            "--no-pull",
            "components that exist locally are not pulled again",
        )],
    },
    flags(
        "logs",
        &[flag("--prefix TEXT", PREFIX), flag("--prefix-name", PREFIX)],
    ),
    flags(
        "start",
        &[flag("--prefix TEXT", PREFIX), flag("--prefix-name", PREFIX)],
    ),
    aliases("set", &["s"]),
    aliases("unset", &["u"]),
    aliases("lib add", &["a"]),
    aliases("lib create", &["init"]),
    aliases("lib remove", &["delete", "del"]),
    flags(
        "pkg",
        &[
            ALWAYS_CPIO,
            KEEP_OWNERS,
            flag("-c --compress", "layers of images are not compressed"),
            flag(
                "--no-pull",
                "images that exist locally are not pulled again",
            ),
            flag("-o --output FILE", STORED),
        ],
    ),
    Accepted {
        command: "pkg ls",
        aliases: &["l"],
        flags: &[NO_PROJECT],
    },
    Accepted {
        command: "pkg info",
        aliases: &["show", "get", "i"],
        flags: &[
            NO_PROJECT,
            flag(
                "-u --update",
                "local images are shown; `kraft pkg update` updates the lists of packages",
            ),
        ],
    },
    Accepted {
        command: "pkg pull",
        aliases: &["pl"],
        flags: &[
            flag(
                "-C --no-checksum",
                "contents are always verified against their digests",
            ),
            flag("-o --output DIR", STORED),
            flag(
                "-Z --force-cache",
                "blobs that exist locally are not pulled again",
            ),
            flag("-D --no-deps", "an image has all that it needs"),
            flag("-d --with-deps", "an image has all that it needs"),
            flag(
                "-g --git",
                "components come from archives if there are any; `kraft build --git` prefers Git",
            ),
            flag(
                "--git-depth N",
                "one commit of a repository is fetched; `kraft build --git-depth` fetches more",
            ),
            flag(
                "-u --update",
                "the registry is asked for the image, without a list of packages",
            ),
        ],
    },
    aliases("pkg push", &["ph"]),
    Accepted {
        command: "pkg save",
        aliases: &["export", "e"],
        flags: &[
            flag("-M --as FORMAT", "images are OCI images"),
            flag("-m --arch ARCH", "all platforms that were pulled are saved"),
            flag(
                "-p --plat PLATFORM",
                "all platforms that were pulled are saved",
            ),
            flag(
                "-u --update",
                "local images are saved; `kraft pull` pulls them before",
            ),
        ],
    },
    Accepted {
        command: "pkg rm",
        aliases: &["prune"],
        flags: &[NO_PROJECT],
    },
    Accepted {
        command: "pkg source",
        aliases: &["src"],
        flags: &[NO_PROJECT],
    },
    Accepted {
        command: "pkg unsource",
        aliases: &["unsrc"],
        flags: &[NO_PROJECT],
    },
    Accepted {
        command: "pkg update",
        aliases: &["upd", "u"],
        flags: &[NO_PROJECT],
    },
    flags(
        "run",
        &[
            ALWAYS_CPIO,
            flag("--as RUNNER", "kraft detects what it is given"),
            flag(
                "--prefix TEXT",
                "`kraft logs` prefixes lines if there are several machines",
            ),
            flag(
                "--prefix-name",
                "`kraft logs` prefixes lines if there are several machines",
            ),
            flag(
                "--symbolic",
                "the kernel with debug information runs the same code: name its file to boot it",
            ),
            flag(
                "--qemu-sgabios-preamble",
                "machines have a serial console, without a VGA BIOS",
            ),
        ],
    ),
    Accepted {
        command: "events",
        aliases: &["e"],
        flags: &[
            flag(
                "-g --poll-granularity DURATION",
                "events are reported when they happen",
            ),
            flag("-q --quit-together", "there is no daemon to end"),
            flag("-p --plat PLATFORM", "events of all platforms are reported"),
        ],
    },
    aliases("login", &["logon"]),
    aliases("compose down", &["dw"]),
    flags(
        "compose",
        &[
            flag(
                "--ansi WHEN",
                "use `--no-color`, or the variable `NO_COLOR`",
            ),
            flag("--no-ansi", "use `--no-color`, or the variable `NO_COLOR`"),
            flag("--progress TYPE", PROGRESS),
            flag("--parallel NUMBER", IN_TURN),
            flag(
                "--compatibility",
                "names of machines are the same in every version",
            ),
            flag(
                "--insecure-registry HOST",
                "trusted registries are those of `kraft config`",
            ),
        ],
    ),
    flags(
        "compose attach",
        &[flag(
            "--sig-proxy",
            "Ctrl-C goes to the guest if it has a terminal",
        )],
    ),
    flags(
        "compose build",
        &[
            QUIET,
            flag("--compress", "the build context is not sent over a network"),
            flag("--force-rm", "builds leave no containers"),
            flag("--no-rm", "builds leave no containers"),
            flag("--parallel", IN_TURN),
            flag("--progress TYPE", PROGRESS),
            flag("-m --memory SIZE", "builds have the memory of the host"),
            flag("--provenance TYPE", "images have no attestations"),
            flag("--sbom TYPE", "images have no attestations"),
        ],
    ),
    flags(
        "compose config",
        &[
            flag("--models", "a unikernel uses no models of the host"),
            flag("--no-consistency", "a file is always checked"),
        ],
    ),
    flags("cp", &[ARCHIVE, QUIET]),
    flags(
        "compose cp",
        &[
            ARCHIVE,
            flag("--all", "name the machine of `run`: `kraft cp`"),
        ],
    ),
    flags("compose create", &[QUIET_PULL, YES]),
    flags(
        "compose exec",
        &[
            flag("-d --detach", "a machine runs one program"),
            flag("-e --env NAME=VALUE", "a machine runs one program"),
            flag("--index NUMBER", "a machine runs one program"),
            flag("--privileged", "a machine runs one program"),
            flag("-u --user USER", "a machine runs one program"),
            flag("-w --workdir DIR", "a machine runs one program"),
        ],
    ),
    flags(
        "compose kill",
        &[flag(
            "--remove-orphans",
            "machines of removed services are killed as well",
        )],
    ),
    flags(
        "compose pull",
        &[
            QUIET,
            flag("--ignore-buildable", "what is built is not pulled"),
            flag("--parallel", IN_TURN),
        ],
    ),
    flags("compose push", &[QUIET]),
    flags(
        "compose rm",
        &[flag("-a --all", "`down` removes machines of `run`")],
    ),
    flags(
        "compose run",
        &[
            QUIET,
            QUIET_PULL,
            QUIET_BUILD,
            USER,
            flag("--cap-add NAME", BY_ITSELF),
            flag("--cap-drop NAME", BY_ITSELF),
        ],
    ),
    flags("compose stats", &[NOT_CUT]),
    flags(
        "compose up",
        &[
            QUIET_PULL,
            QUIET_BUILD,
            YES,
            flag("--menu", "Ctrl-C is the only key"),
        ],
    ),
    flags(
        "compose watch",
        &[
            flag("--prune", "builds leave no images behind"),
            flag("--quiet", PROGRESS),
        ],
    ),
    flags(
        "compose ls",
        &[flag(
            "-f --file FILE",
            "all projects of this host are listed",
        )],
    ),
    flags(
        "compose ps",
        &[flag("-l --long", "the table has every column"), NOT_CUT],
    ),
    flags(
        "compose start",
        &[flag(
            "-d --detach",
            "machines are always started in the background",
        )],
    ),
    flags(
        "compose unpause",
        &[flag(
            "-d --detach",
            "machines always continue in the background",
        )],
    ),
    flags(
        "compose stop",
        &[flag(
            "--composefile FILE",
            "the Compose file is named by `--file`",
        )],
    ),
    flags(
        "cloud deploy",
        &[
            ALWAYS_CPIO,
            KEEP_OWNERS,
            flag(
                "-c --config FILE",
                "options of the kernel are those of the Kraftfile; `kraft kconfig set` edits them",
            ),
        ],
    ),
    aliases("cloud image", &["images"]),
    aliases("cloud instance template", &["templates"]),
    aliases("cloud instance template create", &["crt"]),
    aliases("cloud instance template get", &["gt", "status", "info"]),
    aliases("cloud instance metrics", &["metric", "m", "meter"]),
    aliases("cloud instance restart", &["rr"]),
    flags("cloud instance start", &[flag("--wait_timeout_ms N", WAIT)]),
    flags(
        "cloud instance stop",
        &[
            flag("--wait_timeout_ms N", WAIT),
            flag("--timeout-ms N", WAIT),
        ],
    ),
    flags(
        "cloud quota",
        &[
            flag("-l --limits", "everything is shown"),
            flag("-f --features", "everything is shown"),
        ],
    ),
    aliases("cloud scale get", &["g"]),
    flags(
        "cloud scale init",
        &[
            flag("--cooldown-time-ms N", "`--cooldown-time TIME` sets it"),
            flag("--warmup-time-ms N", "`--warmup-time TIME` sets it"),
        ],
    ),
    aliases("cloud volume attach", &["join", "mount"]),
    aliases("cloud volume create", &["new"]),
    aliases("cloud volume detach", &["separate", "unmount"]),
    flags(
        "cloud compose ls",
        &[flag("PATH", "all projects of the metro are listed")],
    ),
    flags(
        "cloud compose up",
        &[flag(
            "--rollout-wait TIME",
            "changed instances are replaced without a pause",
        )],
    ),
    flags(
        "cloud compose logs",
        &[flag("-o --output FORMAT", "lines are printed as they are")],
    ),
];

/// The parts of the synopsis of a flag.
struct Parts {
    long: &'static str,
    short: Option<char>,
    /// The name of the value, if it takes one.
    value: Option<&'static str>,
}

impl Flag {
    fn parts(&self) -> Parts {
        let mut parts = Parts {
            long: "",
            short: None,
            value: None,
        };
        for word in self.synopsis.split(' ') {
            if let Some(long) = word.strip_prefix("--") {
                parts.long = long;
            } else if let Some(short) = word.strip_prefix('-') {
                parts.short = short.chars().next();
            } else {
                parts.value = Some(word);
            }
        }
        parts
    }

    /// Returns its long name with the dashes, or the name of the argument.
    fn name(&self) -> &'static str {
        let mut words = self.synopsis.split(' ');
        let long = words.find(|word| word.starts_with("--"));
        long.unwrap_or(self.synopsis)
    }

    fn arg(&self) -> Arg {
        let Parts { long, short, value } = self.parts();
        let arg = Arg::new(self.name())
            .hide(true)
            .action(ArgAction::Append)
            .value_parser(ValueParser::os_string());
        if long.is_empty() {
            return arg;
        }
        let arg = arg.long(long).short(short);
        match value {
            Some(name) => arg.value_name(name),
            // Switches may have a value, as in `--orphans=false`.
            None => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true"),
        }
    }
}

/// Adds the aliases and flags to the commands below `top`, whose name is empty for the root.
pub(crate) fn accept(top: &mut Command, name: &str) {
    for accepted in ACCEPTED {
        let below = match name {
            "" => Some(accepted.command),
            name => accepted
                .command
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix(' ')),
        };
        let Some(path) = below else { continue };
        let mut at = Some(&mut *top);
        for word in path.split(' ') {
            at = at.and_then(|command| command.find_subcommand_mut(word));
        }
        // Commands that are described on demand are not there yet.
        let Some(command) = at else { continue };
        *command = mem::take(command)
            .aliases(accepted.aliases.iter().copied())
            .args(accepted.flags.iter().map(Flag::arg));
    }
}

/// Returns the flags without effect that were used.
pub(crate) fn ignored(matches: &ArgMatches) -> Vec<Ignored> {
    let mut path = String::new();
    let mut at = matches;
    let mut ignored = Vec::new();
    while let Some((name, below)) = at.subcommand() {
        if !path.is_empty() {
            path.push(' ');
        }
        path.push_str(name);
        at = below;
        let of_command = ACCEPTED.iter().filter(|it| it.command == path);
        let used = of_command
            .flat_map(|accepted| accepted.flags)
            .filter(|flag| at.value_source(flag.name()) == Some(ValueSource::CommandLine));
        ignored.extend(used.map(|used| Ignored {
            flag: used.name(),
            why: used.why,
        }));
    }
    ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_about_a_command() {
        let root = crate::command();
        for accepted in ACCEPTED {
            let mut command = &root;
            for word in accepted.command.split(' ') {
                command = command.find_subcommand(word).unwrap();
            }
            for alias in accepted.aliases {
                assert!(command.get_all_aliases().any(|it| it == *alias), "{alias}");
            }
        }
    }

    #[test]
    fn a_synopsis_has_a_long_name_and_perhaps_more() {
        let parts = flag("-o --output FILE", "").parts();
        assert_eq!(
            (parts.long, parts.short, parts.value),
            ("output", Some('o'), Some("FILE"))
        );
        let parts = flag("--no-pull", "").parts();
        assert_eq!(
            (parts.long, parts.short, parts.value),
            ("no-pull", None, None)
        );
    }
}
