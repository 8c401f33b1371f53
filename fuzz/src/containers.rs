//! What container engines hand to the OCI runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kraft_core::arch::Arch;
use kraft_core::cmdline::CommandLine;
use kraft_core::host::{Host, Kvm};
use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
use kraft_core::machine::MachineSpec;
use kraft_machine::Id;
use kraft_machine::driver::{Drivers, Extras, Launch};
use kraft_runu::config::{Config, Process, Resources};
use kraft_runu::decide::{Found, Limits, SourceKind, decide};

/// The options of QEMU that a machine without networks has, and no others.
const OPTIONS: [&str; 21] = [
    "-name",
    "-no-user-config",
    "-nodefaults",
    "-no-reboot",
    "-S",
    "-display",
    "-sandbox",
    "-machine",
    "-cpu",
    "-device",
    "-m",
    "-smp",
    "-rtc",
    "-chardev",
    "-serial",
    "-mon",
    "-fsdev",
    "-bios",
    "-kernel",
    "-initrd",
    "-append",
];

/// The options without a value.
const SWITCHES: [&str; 4] = ["-no-user-config", "-nodefaults", "-no-reboot", "-S"];

/// Decides which machine a `config.json` describes; nothing in it becomes an option of the VMM or names
/// a file of the host, but for the sources of bind mounts, which the engine chooses.
pub fn runu(bytes: &[u8]) {
    let Ok(config) = Config::parse(bytes) else {
        return;
    };
    let binds = config.mounts.iter().filter(|mount| mount.is_bind());
    let kinds = [SourceKind::Directory, SourceKind::File, SourceKind::Other];
    let sources: BTreeMap<PathBuf, SourceKind> = binds
        .zip(kinds.into_iter().cycle())
        .map(|(mount, kind)| (PathBuf::from(&mount.source), kind))
        .collect();
    let guests = [
        (Guest::Runtime, BootProtocol::Pvh),
        (Guest::Unikraft, BootProtocol::Multiboot),
    ];
    for (guest, boot) in guests {
        let found = Found {
            kernel: "/root/unikraft/bin/kernel".into(),
            image: KernelImage {
                arch: Arch::X86_64,
                boot,
                guest,
            },
            abilities: Abilities::RUNTIME,
            initrd: Some("/root/unikraft/bin/initrd".into()),
            sources: sources.clone(),
        };
        check(&config, &found);
    }
}

fn check(config: &Config, found: &Found) {
    let drivers = Drivers::default();
    let host = Host {
        arch: Some(Arch::X86_64),
        kvm: Kvm::Disabled,
        vmms: drivers.support(),
    };
    let limits = Limits {
        overhead: 64 << 20,
        kvm: true,
        firecracker: false,
    };
    let Ok(decision) = decide(config, found, &host, limits) else {
        return;
    };
    let spec = &decision.spec;
    assert_eq!(spec.kernel, found.kernel);
    assert_eq!(spec.initrd, found.initrd);
    assert!(spec.ports.is_empty() && spec.networks.is_empty());
    let given = |path: &PathBuf| found.sources.contains_key(path);
    assert!(spec.volumes.iter().all(|volume| given(&volume.source)));
    assert!(decision.files.iter().all(|file| given(&file.source)));
    let line = line_of(spec);
    let id = Id::new();
    let argv = argv(&drivers, id, spec, &line);
    check_argv(&argv, found, &line);
    // The machine is that of a configuration with nothing of the image or the user in it.
    let mut plain = config.clone();
    plain.annotations.clear();
    plain.mounts.clear();
    plain.linux.resources = Resources::default();
    plain.process = plain.process.map(|process| Process {
        terminal: process.terminal,
        args: vec!["/a".to_owned()],
        ..Process::default()
    });
    let plain = decide(&plain, found, &host, limits).expect("an empty configuration is a machine");
    let line = line_of(&plain.spec);
    let plain = self::argv(&drivers, id, &plain.spec, &line);
    assert_eq!(without_sizes(&argv), without_sizes(&plain));
}

fn line_of(spec: &MachineSpec) -> String {
    let line = CommandLine::of(spec).expect("a planned machine has a line");
    line.render()
}

/// Returns the arguments with which the VMM is started, without its program.
fn argv(drivers: &Drivers, id: Id, spec: &MachineSpec, line: &str) -> Vec<String> {
    let driver = drivers
        .get(spec.platform)
        .expect("a planned machine has a driver");
    let program = ["qemu".to_owned()];
    let argv = driver.command_line(&Launch {
        id,
        spec,
        kernel_line: line,
        events: "events",
        ports: &[],
        cards: &[],
        program: &program,
        extras: Extras {
            sandbox: true,
            small_board: true,
        },
        saved: None,
        profile: false,
    });
    let words = argv.iter().skip(1);
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Splits arguments into options with their values.
fn options(argv: &[String]) -> Vec<(&str, Option<&str>)> {
    let mut words = argv.iter().map(String::as_str);
    let mut options = Vec::new();
    while let Some(option) = words.next() {
        let is_switch = SWITCHES.contains(&option);
        let value = (!is_switch).then(|| words.next().expect("an option has a value"));
        options.push((option, value));
    }
    options
}

/// Checks that there are no other options, and no other files than those of the image and the engine.
fn check_argv(argv: &[String], found: &Found, line: &str) {
    for (option, value) in options(argv) {
        assert!(OPTIONS.contains(&option), "{option}");
        match (option, value) {
            ("-append", value) => assert_eq!(value, Some(line)),
            ("-fsdev", Some(value)) => check_directory(value, found),
            _ => {}
        }
    }
}

/// Checks the value of `-fsdev`, in which a comma that is not doubled begins another property.
fn check_directory(value: &str, found: &Found) {
    let whole = value.replace(",,", "\0");
    let mut properties = whole.split(',').map(|it| it.replace('\0', ","));
    assert_eq!(properties.next().as_deref(), Some("local"));
    for property in properties {
        let (name, value) = property.split_once('=').expect("a property has a value");
        match name {
            "path" => assert!(found.sources.keys().any(|it| it.to_string_lossy() == value)),
            "id" => assert!(
                value
                    .strip_prefix("fs")
                    .is_some_and(|it| it.parse::<u32>().is_ok())
            ),
            _ => assert!(
                ["security_model", "multidevs", "readonly"].contains(&name),
                "{name}"
            ),
        }
    }
}

/// Returns the options without those of directories, and without sizes and the line of the kernel.
fn without_sizes(argv: &[String]) -> Vec<(&str, Option<&str>)> {
    let is_own = |(option, value): &(&str, Option<&str>)| {
        let is_directory = value.is_some_and(|value| value.starts_with("virtio-9p"));
        !is_directory && !["-append", "-fsdev", "-m", "-smp"].contains(option)
    };
    options(argv).into_iter().filter(is_own).collect()
}
