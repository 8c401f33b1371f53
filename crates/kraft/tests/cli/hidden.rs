//! Hidden flags: each works, or warns that it has no effect.

use clap::Command;

use crate::support::Home;

/// Every hidden flag, those of the whole program first: a command that uses it, and a part of the
/// output that shows what it does. A flag that only selects among formats refuses those that do not
/// exist. [`TOGETHER`] has more.
const TABLE: &[(&str, &[&str], &str)] = &[
    (
        "--no-emojis",
        &["version", "--no-emojis=false"],
        "`--no-emojis` has no effect",
    ),
    (
        "--no-check-updates",
        &["version", "--no-check-updates=false"],
        "`--no-check-updates` has no effect",
    ),
    (
        "--no-warn-sudo",
        &["version", "--no-warn-sudo=false"],
        "`--no-warn-sudo` has no effect",
    ),
    (
        "--plugins-dir",
        &["version", "--plugins-dir", "x"],
        "`--plugins-dir` has no effect",
    ),
    (
        "--with-mirror",
        &["version", "--with-mirror", "x"],
        "`--with-mirror` has no effect",
    ),
    (
        "--http-unix-sock",
        &["version", "--http-unix-sock", "x"],
        "`--http-unix-sock` has no effect",
    ),
    (
        "--events-pid-file",
        &["version", "--events-pid-file", "x"],
        "`--events-pid-file` has no effect",
    ),
    (
        "--editor",
        &["version", "--editor", "x"],
        "`--editor` has no effect",
    ),
    (
        "--git-protocol",
        &["version", "--git-protocol", "x"],
        "`--git-protocol` has no effect",
    ),
    (
        "--pager",
        &["version", "--pager", "x"],
        "`--pager` has no effect",
    ),
    (
        "build --no-fetch",
        &["build", "--no-fetch"],
        "`--no-fetch` has no effect",
    ),
    (
        "build --config",
        &["build", "--config", "x"],
        "`--config` has no effect",
    ),
    // The menu itself needs a terminal; its arguments are those of `build`.
    (
        "menu --no-fetch",
        &["menu", "--no-fetch"],
        "the menu needs a terminal",
    ),
    (
        "kconfig get --no-fetch",
        &["kconfig", "get", "--no-fetch"],
        "`--no-fetch` has no effect",
    ),
    (
        "kconfig explain --no-fetch",
        &["kconfig", "explain", "--no-fetch", "A"],
        "`--no-fetch` has no effect",
    ),
    (
        "kconfig diff --no-fetch",
        &["kconfig", "diff", "--no-fetch", "x"],
        "`--no-fetch` has no effect",
    ),
    (
        "kconfig search --no-fetch",
        &["kconfig", "search", "--no-fetch", "A"],
        "`--no-fetch` has no effect",
    ),
    (
        "fetch --no-fetch",
        &["fetch", "--no-fetch"],
        "`--no-fetch` has no effect",
    ),
    (
        "fetch --no-pull",
        &["fetch", "--no-pull"],
        "`--no-pull` has no effect",
    ),
    (
        "clean --no-fetch",
        &["clean", "--no-fetch"],
        "`--no-fetch` has no effect",
    ),
    (
        "pkg --initrd",
        &[
            "pkg", "--name", "x", "--initrd", "nope", "--kernel", "KERNEL",
        ],
        "`--initrd` is the old name of `--rootfs`",
    ),
    (
        "pkg --workdir",
        &["pkg", "--name", "x", "--workdir", "nope"],
        "`nope`: No such file",
    ),
    (
        "pkg --as",
        &["pkg", "--name", "x", "--as", "deb"],
        "possible values: oci, auto",
    ),
    (
        "pkg --force-format",
        &["pkg", "--name", "x", "--force-format"],
        "`--force-format` has no effect",
    ),
    (
        "pkg --compress",
        &["pkg", "--compress"],
        "`--compress` has no effect",
    ),
    (
        "pkg --no-pull",
        &["pkg", "--no-pull"],
        "`--no-pull` has no effect",
    ),
    (
        "pkg --output",
        &["pkg", "--output", "x"],
        "`--output` has no effect",
    ),
    (
        "pkg ls --no-limit",
        &[
            "pkg",
            "ls",
            "--local",
            "-o",
            "list",
            "--limit",
            "0",
            "--no-limit",
        ],
        "packed",
    ),
    (
        "pkg ls --archs",
        &["pkg", "ls", "--local", "--archs"],
        "no packages found",
    ),
    (
        "pkg ls --plats",
        &["pkg", "ls", "--local", "--plats"],
        "no packages found",
    ),
    (
        "pkg ls --core",
        &["pkg", "ls", "--local", "--core"],
        "no packages found",
    ),
    (
        "pkg ls --kraftfile",
        &["pkg", "ls", "--local", "--kraftfile", "x"],
        "`--kraftfile` has no effect",
    ),
    (
        "pkg info --kraftfile",
        &["pkg", "info", "--kraftfile", "x", "packed"],
        "`--kraftfile` has no effect",
    ),
    (
        "pkg info --update",
        &["pkg", "info", "--update", "packed"],
        "`--update` has no effect",
    ),
    (
        "pkg pull --as",
        &["pkg", "pull", "--as", "deb"],
        "possible values: oci, manifest, auto",
    ),
    (
        "pkg pull --workdir",
        &["pkg", "pull", "--workdir", "nope"],
        "nope",
    ),
    (
        "pkg pull --no-checksum",
        &["pkg", "pull", "--no-checksum", "a.b/x"],
        "`--no-checksum` has no effect",
    ),
    (
        "pkg pull --output",
        &["pkg", "pull", "--output", "x", "a.b/x"],
        "`--output` has no effect",
    ),
    (
        "pkg pull --git",
        &["pkg", "pull", "--git", "a.b/x"],
        "`--git` has no effect",
    ),
    (
        "pkg pull --git-depth",
        &["pkg", "pull", "--git-depth", "1", "a.b/x"],
        "`--git-depth` has no effect",
    ),
    (
        "pkg pull --update",
        &["pkg", "pull", "--update", "a.b/x"],
        "`--update` has no effect",
    ),
    (
        "pkg push --as",
        &["pkg", "push", "--as", "deb", "x"],
        "possible values: oci, auto",
    ),
    (
        "pkg rm --name",
        &["pkg", "rm", "--name", "unheard-of"],
        "unheard-of",
    ),
    (
        "pkg rm --format",
        &["pkg", "rm", "--format", "deb", "x"],
        "possible values: any, oci",
    ),
    (
        "pkg rm --kraftfile",
        &["pkg", "rm", "--kraftfile", "x", "unheard-of"],
        "`--kraftfile` has no effect",
    ),
    (
        "pkg update --manager",
        &["pkg", "update", "--manager", "deb"],
        "possible values: all, oci, manifest",
    ),
    (
        "pkg update --kraftfile",
        &["pkg", "update", "--kraftfile", "x"],
        "`--kraftfile` has no effect",
    ),
    (
        "pkg source --kraftfile",
        &["pkg", "source", "--kraftfile", "x", "a.b"],
        "`--kraftfile` has no effect",
    ),
    (
        "pkg unsource --kraftfile",
        &["pkg", "unsource", "--kraftfile", "x", "a.b"],
        "`--kraftfile` has no effect",
    ),
    ("images --all", &["images", "--all"], "packed"),
    (
        "pull --as",
        &["pull", "--as", "deb"],
        "possible values: oci, manifest, auto",
    ),
    ("pull --workdir", &["pull", "--workdir", "nope"], "nope"),
    (
        "push --as",
        &["push", "--as", "deb", "x"],
        "possible values: oci, auto",
    ),
    (
        "run --initrd",
        &["run", "--initrd", "nope", "KERNEL"],
        "`--initrd` is the old name of `--rootfs`",
    ),
    (
        "run --as",
        &["run", "--as", "kernel", "nope"],
        "`--as` has no effect",
    ),
    (
        "run --prefix",
        &["run", "--prefix", "x", "nope"],
        "`--prefix` has no effect",
    ),
    (
        "run --prefix-name",
        &["run", "--prefix-name", "nope"],
        "`--prefix-name` has no effect",
    ),
    (
        "run --symbolic",
        &["run", "--symbolic", "nope"],
        "`--symbolic` has no effect",
    ),
    (
        "run --qemu-sgabios-preamble",
        &["run", "--qemu-sgabios-preamble", "nope"],
        "`--qemu-sgabios-preamble` has no effect",
    ),
    (
        "bench boot --initrd",
        &["bench", "boot", "--initrd", "nope", "KERNEL"],
        "`--initrd` is the old name of `--rootfs`",
    ),
    (
        "events --poll-granularity",
        &["events", "--poll-granularity", "1s", "nothing"],
        "`--poll-granularity` has no effect",
    ),
    (
        "events --quit-together",
        &["events", "--quit-together", "nothing"],
        "`--quit-together` has no effect",
    ),
    (
        "events --plat",
        &["events", "--plat", "qemu", "nothing"],
        "`--plat` has no effect",
    ),
    (
        "compose up --file",
        &["compose", "up", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose down --file",
        &["compose", "down", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose create --file",
        &["compose", "create", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose run --file",
        &["compose", "run", "--file", "absent.yaml", "web"],
        "absent.yaml",
    ),
    (
        "compose run --interactive",
        &[
            "compose",
            "run",
            "--interactive",
            "--file",
            "absent.yaml",
            "web",
        ],
        "absent.yaml",
    ),
    (
        "compose run --tty",
        &["compose", "run", "--tty", "--file", "absent.yaml", "web"],
        "absent.yaml",
    ),
    (
        "compose watch --file",
        &["compose", "watch", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose build --file",
        &["compose", "build", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose pull --file",
        &["compose", "pull", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose push --file",
        &["compose", "push", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose start --file",
        &["compose", "start", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose stop --file",
        &["compose", "stop", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose stop --composefile",
        &["compose", "stop", "--composefile", "x"],
        "`--composefile` has no effect",
    ),
    (
        "compose restart --file",
        &["compose", "restart", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose kill --file",
        &["compose", "kill", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose pause --file",
        &["compose", "pause", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose unpause --file",
        &["compose", "unpause", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose ps --file",
        &["compose", "ps", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose ps --long",
        &["compose", "ps", "--long"],
        "`--long` has no effect",
    ),
    (
        "compose ls --file",
        &["compose", "ls", "--file", "x"],
        "`--file` has no effect",
    ),
    (
        "compose logs --file",
        &["compose", "logs", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose images --file",
        &["compose", "images", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose volumes --file",
        &["compose", "volumes", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose config --file",
        &["compose", "config", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose top --file",
        &["compose", "top", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose stats --file",
        &["compose", "stats", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose events --file",
        &["compose", "events", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose wait --file",
        &["compose", "wait", "--file", "absent.yaml"],
        "absent.yaml",
    ),
    (
        "compose exec --interactive",
        &["compose", "exec", "--interactive", "web", "sh"],
        "cannot start a program in the service `web`",
    ),
    (
        "compose exec --tty",
        &["compose", "exec", "--tty", "web", "sh"],
        "cannot start a program in the service `web`",
    ),
    (
        "compose exec --no-tty",
        &["compose", "exec", "--no-tty", "web", "sh"],
        "cannot start a program in the service `web`",
    ),
    (
        "compose export rest",
        &["compose", "export", "web", "x"],
        "cannot read the files",
    ),
    (
        "compose commit rest",
        &["compose", "commit", "web", "x"],
        "cannot read the files",
    ),
    (
        "cloud --token",
        &[
            "cloud", "instance", "list", "--metro", "fra0", "--token", "x",
        ],
        "value of `--token`: set `UKC_TOKEN` instead",
    ),
    (
        "cloud deploy --compress",
        &["cloud", "deploy", "--compress"],
        "`--compress` has no effect",
    ),
    (
        "cloud deploy --no-fetch",
        &["cloud", "deploy", "--no-fetch"],
        "`--no-fetch` has no effect",
    ),
    (
        "cloud deploy --config",
        &["cloud", "deploy", "--config", "x"],
        "`--config` has no effect",
    ),
    (
        "cloud compose ls PATH",
        &["cloud", "compose", "ls", "x"],
        "`PATH` has no effect",
    ),
    (
        "cloud compose logs --output",
        &["cloud", "compose", "logs", "--output", "table"],
        "`--output` has no effect",
    ),
];

/// Flags of Docker's that have no effect: a command, the flags, and the rest of its command line.
const TOGETHER: &[(&str, &str, &str)] = &[
    (
        "build",
        "--rootfs-type=erofs --keep-file-owners --kernel=x --validate",
        "",
    ),
    ("menu", "--no-pull", ""),
    ("run", "--rootfs-type=cpio", "nope"),
    ("logs", "--prefix=x --prefix-name", "nothing"),
    ("start", "--prefix=x --prefix-name", "nothing"),
    ("pkg", "--rootfs-type=erofs --keep-file-owners", ""),
    ("pkg pull", "--force-cache --no-deps --with-deps", "a.b/x"),
    (
        "pkg save",
        "--as=oci --arch=arm64 --plat=qemu --update",
        "--output packed.tar packed",
    ),
    ("cp", "--archive --quiet", "one:/x ."),
    (
        "compose",
        "--ansi=never --no-ansi --progress=plain --parallel=2 --compatibility --insecure-registry=a.b",
        "ls",
    ),
    ("compose attach", "--sig-proxy", "web"),
    (
        "compose build",
        "--quiet --compress --force-rm --no-rm --parallel --progress=plain --memory=1g --provenance=x --sbom=x",
        "",
    ),
    ("compose config", "--models --no-consistency", "--quiet"),
    ("compose cp", "--archive --all", "web:/x ."),
    ("compose create", "--quiet-pull --yes", ""),
    (
        "compose exec",
        "--detach --env=A=1 --index=1 --privileged --user=me --workdir=/",
        "web sh",
    ),
    ("compose kill", "--remove-orphans", ""),
    ("compose pull", "--quiet --ignore-buildable --parallel", ""),
    ("compose ps", "--no-trunc", ""),
    ("compose push", "--quiet", ""),
    ("compose rm", "--all", ""),
    (
        "compose run",
        "--quiet --quiet-pull --quiet-build --user=me --cap-add=x --cap-drop=x",
        "web",
    ),
    ("compose start", "--detach", ""),
    ("compose unpause", "--detach", ""),
    ("cloud deploy", "--rootfs-type=erofs --keep-file-owners", ""),
    ("cloud instance start", "--wait_timeout_ms=1", "web"),
    (
        "cloud instance stop",
        "--wait_timeout_ms=1 --timeout-ms=1",
        "web",
    ),
    ("cloud compose up", "--rollout-wait=1s", ""),
    ("cloud quota", "--limits --features", ""),
    (
        "cloud scale init",
        "--cooldown-time-ms=1 --warmup-time-ms=1",
        "web",
    ),
    ("compose stats", "--no-trunc", "--no-stream"),
    ("compose up", "--quiet-pull --quiet-build --yes --menu", ""),
    ("compose watch", "--prune --quiet", ""),
];

/// Returns the names of the flags of a line.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let flags = line.split(' ');
    flags.map(|flag| flag.split_once('=').map_or(flag, |(name, _)| name))
}

fn listed(command: &Command, path: &str, found: &mut Vec<String>) {
    for arg in command.get_arguments().filter(|arg| arg.is_hide_set()) {
        let name = arg
            .get_long()
            .map_or_else(|| arg.get_id().to_string(), |long| format!("--{long}"));
        found.push(format!("{path} {name}").trim().to_owned());
    }
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        listed(inner, format!("{path} {}", inner.get_name()).trim(), found);
    }
}

#[test]
fn every_hidden_flag_works_or_reports_that_it_has_no_effect() {
    let mut found = Vec::new();
    listed(&kraft::command(), "", &mut found);
    let known = TABLE.iter().map(|(flag, ..)| (*flag).to_owned());
    let together = TOGETHER
        .iter()
        .flat_map(|(command, flags, _)| names(flags).map(move |flag| format!("{command} {flag}")));
    let mut known: Vec<String> = known.chain(together).collect();
    known.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, known);

    let home = Home::new();
    let kernel = home.kernel();
    home.write(
        "Kraftfile",
        "spec: v0.6\nname: x\nunikraft: stable\ntargets: [qemu/x86_64]\n",
    );
    home.write("compose.yaml", "services: {web: {image: x}}\n");
    home.ok(&[
        "pkg", "--name", "packed", "--kernel", &kernel, "--plat", "qemu",
    ]);
    let mut wrong = Vec::new();
    for (flag, words, shows) in TABLE {
        let given = words.iter().map(|&word| match word {
            "KERNEL" => kernel.as_str(),
            word => word,
        });
        let words: Vec<&str> = given.chain(["--offline"]).collect();
        let outcome = home.kraft(&words);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        if !said.contains(shows) {
            wrong.push(format!("{flag}: {said}"));
        }
    }
    for (command, flags, rest) in TOGETHER {
        let line = format!("{command} {flags} {rest} --offline");
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = home.kraft(&words).stderr;
        let silent = |flag: &&str| !said.contains(&format!("`{flag}` has no effect"));
        if names(flags).any(|flag| silent(&flag)) {
            wrong.push(format!("{line}: {said}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}
