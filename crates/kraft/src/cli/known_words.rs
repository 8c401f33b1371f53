//! Answers to commands and flags that kraft does not have but its users know: those of Docker, of
//! other container and cloud tools, of the CLI of Unikraft Cloud, and of the first kraft, which was
//! written in Python.
//!
//! An answer replaces the suggestions of clap. Suggestions of hidden commands and flags, and of
//! names with one or two letters, are left out.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Stands for every command in [`FLAGS`].
const ANY: &str = "";

/// Commands, with the names of the commands above them, and what to use instead.
const COMMANDS: &[(&str, &str)] = &[
    // Docker, podman
    ("build-image", "`kraft pkg` packages an image"),
    (
        "builder",
        "`kraft store gc` removes what builds left behind",
    ),
    (
        "buildx",
        "`kraft build` and `kraft pkg` build Dockerfiles, with BuildKit if `--builder buildkit` is set",
    ),
    (
        "commit",
        "an image is made from a Dockerfile or a project: `kraft pkg --name NAME`",
    ),
    (
        "container",
        "commands of machines have no prefix: `kraft ps`, `kraft rm`, `kraft logs`",
    ),
    (
        "context",
        "machines run on this host; `kraft cloud` manages those of Unikraft Cloud",
    ),
    (
        "create",
        "`kraft run --no-start` creates a machine, `kraft init` a project",
    ),
    ("df", "`kraft store du` shows the disk usage of images"),
    (
        "diff",
        "a machine starts from its image again each time, so there is nothing to compare",
    ),
    (
        "history",
        "`kraft pkg inspect IMAGE` shows how an image is made up, `kraft pkg tree IMAGE` its files",
    ),
    (
        "image",
        "`kraft pkg` manages images: `kraft pkg ls` lists them",
    ),
    (
        "import",
        "`kraft pkg load` imports an image; `kraft pkg --rootfs FILE` packages a root filesystem",
    ),
    (
        "info",
        "`kraft doctor` checks this host, `kraft version` shows the version",
    ),
    ("load", "use `kraft pkg load --input FILE`"),
    (
        "machine",
        "commands of machines have no prefix: `kraft ps`, `kraft rm`, `kraft logs`",
    ),
    (
        "manifest",
        "an image has the manifests of all its platforms: `kraft pkg --strategy merge` adds one",
    ),
    ("plugin", "kraft has no plugins"),
    (
        "prune",
        "`kraft rm --all` removes machines, `kraft store gc` what no image needs, `kraft vol prune` and `kraft net prune` the rest",
    ),
    ("rmi", "use `kraft pkg rm IMAGE`"),
    ("save", "use `kraft pkg save --output FILE IMAGE`"),
    (
        "search",
        "registries cannot be searched; `kraft pkg ls --update` lists the packages of the configured ones",
    ),
    (
        "secret",
        "pass a secret as a variable (`kraft run --env`) or a file (`kraft run --volume`)",
    ),
    ("stack", "use `kraft compose`"),
    (
        "swarm",
        "kraft runs machines on this host only; `kraft cloud` scales services",
    ),
    (
        "system",
        "`kraft store du` shows the disk usage, `kraft store gc` frees it, `kraft doctor` checks this host, `kraft events` prints events",
    ),
    (
        "trust",
        "images are verified against their digests: pull `NAME@sha256:…`",
    ),
    ("update-image", "use `kraft pkg pull IMAGE`"),
    (
        "net connect",
        "a machine joins its networks when it is created: `kraft run --network NAME`",
    ),
    (
        "net disconnect",
        "a machine joins its networks when it is created: `kraft run --network NAME`",
    ),
    (
        "compose publish",
        "`kraft compose push` pushes the images; the file itself is shared as any other file",
    ),
    (
        "compose bridge",
        "`kraft cloud compose` deploys the file; docs/clusters.md is about Kubernetes",
    ),
    // The first kraft
    (
        "configure",
        "`kraft build` configures targets, `kraft menu` edits their configuration",
    ),
    (
        "list",
        "`kraft ps` lists machines, `kraft pkg ls` images and, with `--libs`, libraries",
    ),
    (
        "ls",
        "`kraft ps` lists machines, `kraft pkg ls` images and, with `--libs`, libraries",
    ),
    (
        "prepare",
        "`kraft fetch` downloads components; `kraft build` does so, too",
    ),
    (
        "up",
        "`kraft run` runs a project, `kraft compose up` the services of a Compose file",
    ),
    (
        "down",
        "`kraft stop` stops a machine, `kraft compose down` the services of a Compose file",
    ),
    (
        "devel",
        "use a directory as the `source` of a component in the Kraftfile",
    ),
    ("bump", "`kraft update` moves the versions in kraft.lock"),
    // Package managers, other tools
    ("add", "`kraft lib add LIBRARY` adds a library"),
    (
        "console",
        "`kraft attach MACHINE` connects to the console of a machine, `kraft logs` prints it",
    ),
    ("debug", "`--log-level debug` shows what kraft does"),
    (
        "delete",
        "use `kraft remove MACHINE`, or `kraft pkg rm IMAGE`",
    ),
    ("deploy", "use `kraft cloud deploy`"),
    (
        "describe",
        "use `kraft inspect MACHINE`, or `kraft pkg inspect IMAGE`",
    ),
    ("destroy", "use `kraft remove MACHINE`"),
    (
        "env",
        "`kraft config` lists the configuration with its variables",
    ),
    (
        "get",
        "`kraft ps` lists machines, `kraft kconfig get` the configuration of a kernel",
    ),
    (
        "install",
        "`kraft lib add` adds a library, `kraft pkg pull` pulls an image",
    ),
    (
        "instance",
        "instances are in Unikraft Cloud: `kraft cloud instance`; `kraft ps` lists the machines of this host",
    ),
    ("lint", "use `kraft check`"),
    ("make", "use `kraft build`"),
    ("new", "use `kraft init`"),
    (
        "publish",
        "`kraft pkg push` pushes an image, `kraft run --port` publishes a port",
    ),
    (
        "release",
        "`kraft pkg push` pushes an image, `kraft cloud deploy` deploys a project",
    ),
    (
        "self-update",
        "install the new version as you installed this one",
    ),
    (
        "shell",
        "use `kraft run -it IMAGE /bin/sh` for a new machine; a running one has no other programs",
    ),
    (
        "ssh",
        "use `kraft attach MACHINE`: a machine has no SSH server unless its image has one",
    ),
    (
        "status",
        "`kraft ps` lists machines, `kraft doctor` checks this host",
    ),
    (
        "sync",
        "`kraft compose watch` copies changed files, `kraft run --volume` mounts a directory",
    ),
    (
        "test",
        "`kraft check` validates a project, `kraft run --rm` runs it",
    ),
    (
        "uninstall",
        "`kraft lib remove` removes a library, `kraft pkg rm` an image",
    ),
    (
        "upgrade",
        "install the new version as you installed this one",
    ),
    ("validate", "use `kraft check`"),
    ("watch", "use `kraft compose watch`"),
    // The CLI of Unikraft Cloud
    (
        "cloud build .",
        "`kraft cloud deploy` builds and deploys a directory; `kraft cloud build create` builds on the platform",
    ),
    (
        "instances",
        "instances are in Unikraft Cloud: `kraft cloud instance`; `kraft ps` lists the machines of this host",
    ),
    (
        "vm",
        "instances are in Unikraft Cloud: `kraft cloud instance`; `kraft ps` lists the machines of this host",
    ),
    (
        "vms",
        "instances are in Unikraft Cloud: `kraft cloud instance`; `kraft ps` lists the machines of this host",
    ),
    (
        "services",
        "services are in Unikraft Cloud: `kraft cloud service`",
    ),
    (
        "svc",
        "services are in Unikraft Cloud: `kraft cloud service`",
    ),
    (
        "service list",
        "services are in Unikraft Cloud: `kraft cloud service`; `kraft service` starts machines when the host boots",
    ),
    (
        "service ls",
        "services are in Unikraft Cloud: `kraft cloud service`; `kraft service` starts machines when the host boots",
    ),
    (
        "service get",
        "services are in Unikraft Cloud: `kraft cloud service`; `kraft service` starts machines when the host boots",
    ),
    (
        "service create",
        "services are in Unikraft Cloud: `kraft cloud service`; `kraft service` starts machines when the host boots",
    ),
    ("certificates", "use `kraft cloud certificate`"),
    ("certificate", "use `kraft cloud certificate`"),
    ("certs", "use `kraft cloud certificate`"),
    ("cert", "use `kraft cloud certificate`"),
    ("metros", "use `kraft cloud metro`"),
    ("metro", "use `kraft cloud metro`"),
    ("quotas", "use `kraft cloud quota`"),
    ("quota", "use `kraft cloud quota`"),
    ("tunnel", "use `kraft cloud tunnel`"),
    (
        "scale",
        "`kraft compose scale` sets numbers of machines, `kraft cloud scale` scales services",
    ),
    ("profiles", "use `kraft cloud profile`"),
    ("profile", "use `kraft cloud profile`"),
    ("whoami", "use `kraft cloud whoami`"),
    (
        "img",
        "`kraft images` lists local images, `kraft cloud image` those on Unikraft Cloud",
    ),
    ("api", "`kraft cloud` has a command for each request"),
    (
        "tui",
        "`kraft cloud` has commands only: `kraft cloud instance list`",
    ),
    ("ver", "use `kraft version`"),
    ("conf", "use `kraft config`"),
    ("cfg", "use `kraft config`"),
    (
        "vol clone",
        "`kraft cp` copies files between volumes and this host; `kraft cloud volume clone` copies a volume in Unikraft Cloud",
    ),
    (
        "vol edit",
        "a volume is a directory without a size; `kraft cloud volume resize` is for Unikraft Cloud",
    ),
    (
        "vol resize",
        "a volume is a directory without a size; `kraft cloud volume resize` is for Unikraft Cloud",
    ),
    (
        "vol attach",
        "a machine gets its volumes when it is created: `kraft run --volume NAME:PATH`",
    ),
    (
        "vol detach",
        "a machine gets its volumes when it is created: `kraft run --volume NAME:PATH`",
    ),
    (
        "vol import",
        "`kraft cp FILE MACHINE:PATH` copies files into a volume; `kraft cloud volume import` is for Unikraft Cloud",
    ),
    (
        "cloud purge",
        "each kind of resource is removed by itself: `kraft cloud instance remove --all`",
    ),
    ("cloud instance inspect", "use `kraft cloud instance get`"),
    ("cloud instance show", "use `kraft cloud instance get`"),
    (
        "cloud image get",
        "`kraft cloud image list` lists the images, `kraft pkg inspect IMAGE` shows one",
    ),
    (
        "cloud image inspect",
        "`kraft cloud image list` lists the images, `kraft pkg inspect IMAGE` shows one",
    ),
    (
        "cloud image copy",
        "`kraft pull`, `kraft tag` and `kraft push` copy an image",
    ),
    (
        "cloud image cp",
        "`kraft pull`, `kraft tag` and `kraft push` copy an image",
    ),
    ("cloud metro get", "use `kraft cloud metro list`"),
    ("cloud profile get", "use `kraft cloud profile list`"),
];

/// Flags, with their commands, and what to use instead.
const FLAGS: &[(&str, &str, &str)] = &[
    // Docker, podman
    (
        "run",
        "--add-host",
        "machines of a network find each other by name: `--network NAME`",
    ),
    (
        "run",
        "--cap-add",
        "a unikernel has no capabilities: its program has the whole machine",
    ),
    (
        "run",
        "--cap-drop",
        "a unikernel has no capabilities: its program has the whole machine",
    ),
    ("run", "--cpu-shares", "use `--cpus NUMBER`"),
    ("run", "--device", "machines have virtual devices only"),
    (
        "run",
        "--dns",
        "name a server in `--network NAME:IP/MASK:GATEWAY:DNS`",
    ),
    (
        "run",
        "--entrypoint",
        "put the program after the image: `kraft run IMAGE PROGRAM ARGS`",
    ),
    ("run", "--gpus", "machines have no GPU"),
    (
        "run",
        "--hostname",
        "name it in `--network NAME:IP/MASK:GATEWAY:DNS:DNS:HOST`",
    ),
    (
        "run",
        "--link",
        "machines of a network find each other by name: `--network NAME`",
    ),
    ("run", "--mount", "use `--volume NAME|DIR:PATH[:ro]`"),
    ("run", "--net", "use `--network NAME`"),
    (
        "run",
        "--platform",
        "use `--plat PLATFORM` and `--arch ARCH`",
    ),
    (
        "run",
        "--privileged",
        "a unikernel has no privileges: its program has the whole machine",
    ),
    ("run", "--publish", "use `--port`, or `-p`"),
    ("run", "--publish-all", "name each port: `--port 8080:80`"),
    ("run", "-P", "name each port: `--port 8080:80`"),
    (
        "run",
        "--read-only",
        "mount volumes read-only: `--volume DIR:PATH:ro`",
    ),
    ("run", "--tmpfs", "the root filesystem is in memory already"),
    ("run", "--ulimit", "`--memory` and `--cpus` limit a machine"),
    ("run", "--user", "a unikernel has one user"),
    ("run", "-u", "a unikernel has one user"),
    (
        "run",
        "--volumes-from",
        "give both machines the same named volume: `--volume NAME:PATH`",
    ),
    (
        "run",
        "-w",
        "use `--workdir DIR`, or `--disable-acceleration` (`-W`)",
    ),
    (
        "build",
        "--tag",
        "`kraft pkg --name NAME` packages an image with a name",
    ),
    (
        "build",
        "--file",
        "`--kraftfile FILE` selects a Kraftfile, whose `rootfs` names the Dockerfile",
    ),
    (
        "build",
        "--name",
        "`kraft pkg --name NAME` packages an image with a name",
    ),
    ("build", "--push", "use `kraft pkg --name NAME --push`"),
    (
        "build",
        "--platform",
        "use `--plat PLATFORM` and `--arch ARCH`",
    ),
    ("pkg", "--tag", "use `--name NAME:TAG`"),
    (
        "pkg",
        "--file",
        "`--kraftfile FILE` selects a Kraftfile, whose `rootfs` names the Dockerfile",
    ),
    (
        "ps",
        "-n",
        "machines are listed newest last: `kraft ps --all | tail -n NUMBER`",
    ),
    (
        "ps",
        "--last",
        "machines are listed newest last: `kraft ps --all | tail -n NUMBER`",
    ),
    (
        "ps",
        "--no-trunc",
        "nothing is cut where the output is not a terminal; see also `--output json`",
    ),
    (
        "ps",
        "--size",
        "`kraft stats` shows the memory of machines, `kraft store du` the size of images",
    ),
    ("compose", "--workdir", "use `--project-directory DIR`"),
    (
        "compose build",
        "--print",
        "`kraft compose config` prints the builds of services",
    ),
    ("compose build", "--check", "`kraft check` checks a project"),
    // The first kraft, and old texts about KraftKit
    ("run", "--elfloader", "use `--runtime IMAGE`"),
    ("run", "--bridge", "use `--network NAME`"),
    ("run", "-b", "use `--network NAME`"),
    ("run", "--initramfs", "use `--rootfs PATH`"),
    (
        "run",
        "--gdb",
        "QEMU of a machine has no debugger port; `--dry-run` prints its command line",
    ),
    ("run", "--timeout", "use `timeout 10s kraft run …`"),
    (
        "x probe",
        "-r",
        "images that do not exist locally are pulled",
    ),
    (
        "clean",
        "-d",
        "use `--proper` to remove the configuration and the downloaded components, too",
    ),
    (
        "clean",
        "--distclean",
        "use `--proper` to remove the configuration and the downloaded components, too",
    ),
    // The CLI of Unikraft Cloud, and newer KraftKits
    (
        "cloud deploy",
        "--start",
        "an instance is started unless `--no-start` is set",
    ),
    (
        "pkg",
        "--with-kconfig",
        "KConfig options are recorded unless `--no-kconfig` is set",
    ),
    (
        "init",
        "-F",
        "files that exist are kept; `--dry-run` prints those that would be written",
    ),
    (
        "init",
        "-M",
        "`kraft init` writes all files that the project needs",
    ),
    (
        "run",
        "--metro",
        "`kraft run` runs on this host, `kraft cloud deploy` in a metro of Unikraft Cloud",
    ),
    (
        "run",
        "--image",
        "put the image after the options: `kraft run IMAGE ARGS`",
    ),
    ("run", "--vcpus", "use `--cpus NUMBER`"),
    (
        "run",
        "--scale-to-zero",
        "`--sleep-after TIME` saves an idle machine until its next connection; `kraft cloud deploy --scale-to-zero on` is for Unikraft Cloud",
    ),
    (
        "run",
        "--autostart",
        "a machine is started unless `--no-start` is set",
    ),
    (
        "run",
        "--follow",
        "the console is printed unless `--detach` is set",
    ),
    (
        "run",
        "-f",
        "the console is printed unless `--detach` is set",
    ),
    (
        "run",
        "--domain",
        "domains are published by Unikraft Cloud: `kraft cloud deploy --domain DOMAIN`",
    ),
    (
        "run",
        "--subdomain",
        "domains are published by Unikraft Cloud: `kraft cloud deploy --domain DOMAIN`",
    ),
    (
        "run",
        "--template",
        "use `--snapshot NAME`, or `kraft cloud instance create --template NAME` in Unikraft Cloud",
    ),
    (
        "run",
        "--rom",
        "put the files into the root filesystem, or mount them: `--volume DIR:PATH:ro`",
    ),
    ("build", "--secret", "use `--build-secret id=NAME,src=FILE`"),
    (
        "pkg",
        "--rom",
        "images of kraft have no ROMs: put the files into the root filesystem, or mount them when it runs: `kraft run --volume DIR:PATH:ro`",
    ),
    (
        "pkg",
        "-R",
        "images of kraft have no ROMs: put the files into the root filesystem, or mount them when it runs: `kraft run --volume DIR:PATH:ro`",
    ),
    (
        "pkg",
        "--rom-type",
        "images of kraft have no ROMs: put the files into the root filesystem, or mount them when it runs: `kraft run --volume DIR:PATH:ro`",
    ),
    (
        "pkg",
        "--no-kernel",
        "an image of kraft has a kernel; `kraft rootfs build` writes a root filesystem alone",
    ),
    (
        "images",
        "list",
        "`kraft images` lists the images by itself",
    ),
    ("images", "ls", "`kraft images` lists the images by itself"),
    ("images", "get", "use `kraft pkg inspect IMAGE`"),
    ("images", "inspect", "use `kraft pkg inspect IMAGE`"),
    ("images", "copy", "use `kraft tag` and `kraft push`"),
    ("images", "cp", "use `kraft tag` and `kraft push`"),
    ("images", "delete", "use `kraft pkg rm IMAGE`"),
    ("images", "rm", "use `kraft pkg rm IMAGE`"),
    (
        "login",
        "--no-browser",
        "`kraft cloud login` logs in to Unikraft Cloud",
    ),
    (
        "vol create",
        "--size",
        "a volume is a directory without a size; `kraft cloud volume create --size SIZE` is for Unikraft Cloud",
    ),
    (
        "vol create",
        "-s",
        "a volume is a directory without a size; `kraft cloud volume create --size SIZE` is for Unikraft Cloud",
    ),
    (
        "vol create",
        "--name",
        "the name is an argument: `kraft vol create NAME`",
    ),
    (
        "vol create",
        "--metro",
        "use `kraft cloud volume create --name NAME --size SIZE`",
    ),
    (
        "vol create",
        "--set",
        "use `kraft cloud volume create --name NAME --size SIZE`",
    ),
    ("cloud deploy", "--publish", "use `--port PORT`"),
    ("cloud deploy", "-m", "use `--memory SIZE`"),
    (
        "cloud deploy",
        "--template",
        "use `kraft cloud instance create --template NAME`",
    ),
    (
        "cloud instance list",
        "--filter",
        "`--output json` has every field",
    ),
    (
        "cloud instance list",
        "--fields",
        "`--output json` has every field",
    ),
    (
        "cloud instance get",
        "--fields",
        "`--output json` has every field",
    ),
    ("cloud instance wait", "--until", "use `--state STATE`"),
    (
        "cloud volume create",
        "--set",
        "each property has an option: `--name NAME --size SIZE`",
    ),
    (
        "cloud volume edit",
        "--set",
        "use `kraft cloud volume resize --size SIZE`",
    ),
    // Every command
    (ANY, "--verbose", "use `--log-level debug`"),
    (ANY, "--debug", "use `--log-level debug`"),
    (
        ANY,
        "--quiet",
        "use `--log-type quiet`, or `--log-level error`",
    ),
    (ANY, "--json", "use `--output json`"),
    (ANY, "--yes", "use `--no-prompt`"),
    (ANY, "-y", "use `--no-prompt`"),
    (
        ANY,
        "--dir",
        "use `--workdir DIR`, or give the directory as an argument",
    ),
];

/// A value of another tool.
struct ForeignValue {
    command: &'static str,
    flag: &'static str,
    is_it: fn(&str) -> bool,
    answer: &'static str,
}

const SCALE_TO_ZERO: &str =
    "use `--scale-to-zero on --scale-to-zero-cooldown TIME --scale-to-zero-stateful`";

/// Values, and what to use instead.
const VALUES: &[ForeignValue] = &[
    ForeignValue {
        command: "run",
        flag: "--arch",
        is_it: |value| value.starts_with(|first: char| first.is_ascii_digit()),
        answer: "the memory is `--memory SIZE`, or `-M`; `-m` is the architecture",
    },
    ForeignValue {
        command: "cloud deploy",
        flag: "--scale-to-zero",
        is_it: |value| value.contains('='),
        answer: SCALE_TO_ZERO,
    },
    ForeignValue {
        command: "cloud instance create",
        flag: "--scale-to-zero",
        is_it: |value| value.contains('='),
        answer: SCALE_TO_ZERO,
    },
];

/// The commands whose arguments may begin with a dash after `--`.
const WITH_ARGUMENTS: [&str; 5] = ["run", "compose run", "exec", "compose exec", "cloud deploy"];

/// Replaces the suggestions of an error about an unknown command or flag by an answer, if there is
/// one, and removes those that are hidden or too short.
pub(super) fn answer(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let about = match error.kind() {
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => return of_value(error, args),
        ErrorKind::MissingRequiredArgument => return of_missing(error, args),
        _ => return error,
    };
    let Some(ContextValue::String(word)) = error.get(about) else {
        return error;
    };
    let mut root = super::command();
    root.build();
    let (command, path) = command_of(&root, args);
    let answer = match about {
        ContextKind::InvalidSubcommand => of_command(&path, word),
        _ => of_flag(&path, word),
    };
    if let Some(answer) = answer {
        for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(kind);
        }
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(answer)]);
        error.insert(ContextKind::Suggested, tips);
    } else {
        keep_useful(&mut error, command, &path);
    }
    // Clap's names the suggested flag.
    if about == ContextKind::InvalidArg {
        let usage = ContextValue::StyledStr(command.clone().render_usage());
        error.insert(ContextKind::Usage, usage);
    }
    error
}

/// Returns the command that arguments lead to, and the names on the way.
fn command_of<'c>(root: &'c Command, args: &[OsString]) -> (&'c Command, String) {
    let mut command = root;
    let mut path = String::new();
    let mut is_value = false;
    for word in args.iter().skip(1).filter_map(|word| word.to_str()) {
        if word.starts_with('-') {
            // The next word may be its value.
            is_value = !word.contains('=');
            continue;
        }
        let below = command.find_subcommand(word);
        match below {
            Some(below) => {
                if !path.is_empty() {
                    path.push(' ');
                }
                path.push_str(below.get_name());
                command = below;
            }
            None if is_value => {}
            None => break,
        }
        is_value = false;
    }
    (command, path)
}

fn of_command(path: &str, word: &str) -> Option<String> {
    let typed = format!("{path} {word}");
    let known = COMMANDS
        .iter()
        .find(|(command, _)| *command == typed.trim_start());
    if let Some((_, answer)) = known {
        return Some((*answer).to_owned());
    }
    let is_target = path.is_empty() && (word.contains(['/', ':', '.']) || Path::new(word).exists());
    is_target.then(|| format!("use `kraft run {word}` to run it"))
}

fn of_flag(path: &str, word: &str) -> Option<String> {
    let flag = word.split_once('=').map_or(word, |(flag, _)| flag);
    // Behind an image, a flag is more likely one of its program.
    let any = (!WITH_ARGUMENTS.contains(&path)).then_some(ANY);
    let known = FLAGS
        .iter()
        .find(|(command, known, _)| (*command == path || Some(*command) == any) && *known == flag);
    known.map(|(.., answer)| (*answer).to_owned())
}

/// Adds what to use instead of a value that another tool has.
fn of_value(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let flag = text(ContextKind::InvalidArg).split(' ').next();
    let value = text(ContextKind::InvalidValue);
    let root = super::command();
    let (_, path) = command_of(&root, args);
    let mut values = VALUES.iter();
    let known = values.find(|it| it.command == path && Some(it.flag) == flag && (it.is_it)(value));
    if let Some(known) = known {
        error.remove(ContextKind::SuggestedValue);
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(known.answer)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// Adds what was probably meant by a command without its arguments.
fn of_missing(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let root = super::command();
    let answer = match command_of(&root, args).1.as_str() {
        "login" => {
            "`kraft cloud login` logs in to Unikraft Cloud, `kraft login HOST` to a registry"
        }
        "logout" => {
            "`kraft cloud logout` removes the login of Unikraft Cloud, `kraft logout HOST` that of a registry"
        }
        _ => return error,
    };
    let tips = ContextValue::StyledStrs(vec![StyledStr::from(answer)]);
    error.insert(ContextKind::Suggested, tips);
    error
}

/// Removes suggestions of hidden or very short names, and to write `--` where arguments with dashes
/// make no sense.
fn keep_useful(error: &mut clap::Error, command: &Command, path: &str) {
    if let Some(ContextValue::Strings(names)) = error.remove(ContextKind::SuggestedSubcommand) {
        let shown = |name: &String| {
            name.len() > 2
                && command.find_subcommand(name).is_some_and(|it| {
                    let mut names = it.get_visible_aliases().chain([it.get_name()]);
                    !it.is_hide_set() && names.any(|it| it == name)
                })
        };
        let names: Vec<String> = names.into_iter().filter(shown).collect();
        if !names.is_empty() {
            let names = ContextValue::Strings(names);
            error.insert(ContextKind::SuggestedSubcommand, names);
        }
    }
    if let Some(ContextValue::String(flag)) = error.remove(ContextKind::SuggestedArg) {
        let name = flag.split([' ', '=', '[']).next().unwrap_or_default();
        let name = name.trim_start_matches('-');
        let mut args = command.get_arguments();
        // Global flags are far from what a command does.
        let shown = args
            .any(|arg| arg.get_long() == Some(name) && !arg.is_hide_set() && !arg.is_global_set());
        if shown {
            error.insert(ContextKind::SuggestedArg, ContextValue::String(flag));
        }
    }
    let is_argument = error.kind() == ErrorKind::UnknownArgument;
    if !(is_argument && WITH_ARGUMENTS.contains(&path)) {
        error.remove(ContextKind::Suggested);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> String {
        let args = line.split(' ').map(OsString::from);
        super::super::parse(args).unwrap_err().render().to_string()
    }

    #[test]
    fn known_words_are_answered_by_what_kraft_has() {
        for (line, part) in [
            ("kraft rmi nginx", "tip: use `kraft pkg rm IMAGE`"),
            ("kraft system prune", "`kraft store gc` frees it"),
            ("kraft configure", "`kraft build` configures targets"),
            (
                "kraft run --entrypoint sh nginx",
                "kraft run IMAGE PROGRAM ARGS",
            ),
            ("kraft run -b br0", "use `--network NAME`"),
            ("kraft net connect a b", "`kraft run --network NAME`"),
            ("kraft ./app", "use `kraft run ./app`"),
            ("kraft ps --verbose", "use `--log-level debug`"),
            ("kraft run nginx -x", "'-- -x'"),
        ] {
            let text = text(line);
            assert!(text.contains(part), "{line}: {text}");
        }
    }

    #[test]
    fn hidden_and_very_short_names_are_not_suggested() {
        for line in [
            "kraft comp1ete",
            "kraft runn",
            "kraft ps --nothing-prompt",
            "kraft vo",
            "kraft bl",
            "kraft stop --runtime-dirs x",
            "kraft run --editors x",
        ] {
            let text = text(line);
            for name in [
                "'__complete'",
                "'r'",
                "'v'",
                "'bld'",
                "--no-prompt",
                "--runtime-dir <",
                "--editor",
            ] {
                assert!(
                    !text.contains(name) || line.contains(name),
                    "{line}: {text}"
                );
            }
        }
        assert!(text("kraft buidl").contains("'build'"));
        assert!(text("kraft run --memry 1G").contains("'--memory'"));
    }

    #[test]
    fn only_what_does_not_exist_is_answered() {
        let root = crate::command();
        for (command, answer) in COMMANDS {
            let (found, path) = command_of(&root, &split(command));
            assert_ne!(path, *command, "{command} exists: {}", found.get_name());
            commands_exist(&root, answer);
        }
        for (command, flag, answer) in FLAGS {
            let (found, path) = command_of(&root, &split(command));
            let name = flag.trim_start_matches('-');
            if *command != ANY {
                assert_eq!(&path, command);
                let same = found.get_arguments().any(|arg| {
                    arg.get_long() == Some(name)
                        || (name.len() == 1 && arg.get_short() == name.chars().next())
                });
                assert!(!same, "{command} {flag} exists");
            }
            commands_exist(&root, answer);
        }
    }

    fn split(line: &str) -> Vec<OsString> {
        ["kraft"]
            .into_iter()
            .chain(line.split(' '))
            .map(OsString::from)
            .collect()
    }

    /// Checks the commands and long flags that an answer names.
    fn commands_exist(root: &Command, answer: &str) {
        for code in answer.split('`').skip(1).step_by(2) {
            let words: Vec<&str> = code.split([' ', '=']).collect();
            if words.first() != Some(&"kraft") {
                continue;
            }
            let (command, path) = command_of(root, &split(&words[1..].join(" ")));
            assert!(!path.is_empty(), "{answer}");
            for flag in words.iter().filter_map(|word| word.strip_prefix("--")) {
                let mut args = command.get_arguments().chain(root.get_arguments());
                assert!(
                    args.any(|arg| arg.get_long() == Some(flag)),
                    "{answer}: --{flag}"
                );
            }
        }
    }
}
