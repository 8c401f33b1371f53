//! What container engines hand to the OCI runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kraft_core::arch::Arch;
use kraft_core::cmdline::CommandLine;
use kraft_core::host::{Host, Kvm};
use kraft_core::kernel::abilities::Abilities;
use kraft_core::kernel::{BootProtocol, Guest, KernelImage};
use kraft_machine::Id;
use kraft_machine::driver::{Drivers, Extras, Launch};
use kraft_runu::config::Config;
use kraft_runu::decide::{Found, Limits, SourceKind, decide};

/// The options of QEMU that a machine without networks has, and no others.
const OPTIONS: [&str; 20] = [
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
];

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
    let line = CommandLine::of(spec).expect("a planned machine has a line");
    let driver = drivers
        .get(spec.platform)
        .expect("a planned machine has a driver");
    let program = ["qemu".to_owned()];
    let line = line.render();
    let argv = driver.command_line(&Launch {
        id: Id::new(),
        spec,
        kernel_line: &line,
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
    let options: BTreeSet<&str> = OPTIONS.into_iter().chain(["-append"]).collect();
    // Every option but for the switches has one value.
    let switches = ["-no-user-config", "-nodefaults", "-no-reboot", "-S"];
    let mut words = argv
        .iter()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned());
    while let Some(option) = words.next() {
        assert!(options.contains(option.as_str()), "{option}");
        if !switches.contains(&option.as_str()) {
            let value = words.next().expect("an option has a value");
            assert!(option != "-append" || value == line);
        }
    }
}
