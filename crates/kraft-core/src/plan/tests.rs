//! Decisions of the planner.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::host::Limits;
use crate::{port, problem::Severity};

fn boot() -> Boot {
    Boot {
        origin: "kernel://app_qemu".into(),
        kernel: "/srv/app_qemu".into(),
        image: KernelImage {
            arch: Arch::X86_64,
            boot: BootProtocol::Multiboot,
            guest: Guest::Unikraft,
        },
        abilities: Abilities::default(),
        initrd: None,
        mounts_initrd: false,
        args: vec![],
        workdir: None,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
    }
}

fn arm64() -> Boot {
    Boot {
        image: KernelImage {
            arch: Arch::Arm64,
            boot: BootProtocol::Arm64Image,
            guest: Guest::Unikraft,
        },
        ..boot()
    }
}

fn host(kvm: Kvm) -> Host {
    let qemu = VmmSupport {
        platform: Platform::Qemu,
        boots: vec![
            BootProtocol::Multiboot,
            BootProtocol::Arm64Image,
            BootProtocol::LinuxBzImage,
        ],
        ipv6_ports: false,
        limits: Limits::default(),
    };
    Host {
        arch: Some(Arch::X86_64),
        kvm,
        vmms: vec![qemu],
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn ports(texts: &[&str]) -> Vec<PortMapping> {
    texts
        .iter()
        .flat_map(|text| port::parse(text).unwrap())
        .collect()
}

fn volume(source: &str, destination: &str) -> Volume {
    Volume {
        name: None,
        source: source.into(),
        destination: destination.into(),
        read_only: false,
    }
}

fn spec(request: &RunRequest, boot: &Boot) -> MachineSpec {
    plan(request, boot, &host(Kvm::Works)).unwrap().spec
}

/// Formats problems as in a terminal.
fn listed(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| {
        let help: Vec<String> = problem
            .help
            .iter()
            .map(|help| format!("\n  help: {help}"))
            .collect();
        format!("{}{}", problem.message, help.concat())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn refused(request: &RunRequest, boot: &Boot) -> String {
    listed(&plan(request, boot, &host(Kvm::Works)).unwrap_err())
}

#[test]
fn a_kernel_without_options_gets_the_defaults() {
    let planned = plan(&RunRequest::default(), &boot(), &host(Kvm::Works)).unwrap();
    assert_eq!(planned.notes, []);
    insta::assert_snapshot!(serde_json::to_string_pretty(&planned.spec).unwrap(), @r#"
    {
      "name": null,
      "arch": "x86_64",
      "platform": "qemu",
      "origin": "kernel://app_qemu",
      "kernel": "/srv/app_qemu",
      "boot": "multiboot",
      "guest": "unikraft",
      "initrd": null,
      "mounts_initrd": false,
      "kernel_args": [],
      "args": [],
      "env": {},
      "labels": {},
      "memory": 67108864,
      "cpus": 1,
      "ports": [],
      "volumes": [],
      "acceleration": "kvm",
      "remove_when_ended": false,
      "lifecycle": {
        "restart": "no",
        "stop_timeout": null,
        "health": null
      },
      "stdin": false,
      "tty": false
    }
    "#);
}

#[test]
fn the_built_in_runtime_learns_the_working_directory_and_no_other_kernel() {
    let of = |guest, image: Option<&str>, asked: Option<&str>| {
        let mut boot = Boot {
            workdir: image.map(str::to_owned),
            ..boot()
        };
        boot.image.guest = guest;
        let request = RunRequest {
            workdir: asked.map(str::to_owned),
            kernel_args: strings(&["a.b=1"]),
            ..RunRequest::default()
        };
        let planned = plan(&request, &boot, &host(Kvm::Works)).unwrap();
        (planned.spec.kernel_args.join(" "), listed(&planned.notes))
    };
    let asks = |dir: &str| (format!("a.b=1 kraft.workdir={dir}"), String::new());
    let nothing = ("a.b=1".to_owned(), String::new());
    assert_eq!(of(Guest::Runtime, Some("/app"), None), asks("/app"));
    assert_eq!(of(Guest::Runtime, Some("/app"), Some("/x y")), asks("/x y"));
    assert_eq!(of(Guest::Runtime, Some("/app"), Some("/")), nothing);
    assert_eq!(of(Guest::Runtime, None, None), nothing);
    assert_eq!(of(Guest::Unikraft, Some("/app"), None), nothing);
    let (args, note) = of(Guest::Unikraft, None, Some("/app"));
    assert_eq!(args, "a.b=1");
    assert!(note.contains("`/app` has no effect"), "{note}");
}

#[test]
fn typed_arguments_win_over_those_of_the_project() {
    let project = Boot {
        args: strings(&["a.b=project", "--", "/app", "-v"]),
        ..boot()
    };
    let decided = |args: &[&str], kernel_args: &[&str]| {
        let request = RunRequest {
            args: strings(args),
            kernel_args: strings(kernel_args),
            ..RunRequest::default()
        };
        let spec = spec(&request, &project);
        (spec.kernel_args.join(" "), spec.args.join(" "))
    };
    let pair = |kernel: &str, app: &str| (kernel.to_owned(), app.to_owned());
    assert_eq!(decided(&[], &[]), pair("a.b=project", "/app -v"));
    assert_eq!(decided(&["x", "y"], &[]), pair("", "x y"));
    assert_eq!(decided(&["a.b=1", "--", "x"], &[]), pair("a.b=1", "x"));
    assert_eq!(decided(&["a.b=1", "--"], &[]), pair("a.b=1", ""));
    assert_eq!(decided(&["--", "x", "--", "y"], &[]), pair("", "x -- y"));
    assert_eq!(
        decided(&["a.b=1", "--", "x"], &["c.d=2"]),
        pair("c.d=2", "x")
    );
    assert_eq!(decided(&[], &["c.d=2"]), pair("c.d=2", "/app -v"));
}

#[test]
fn the_environment_of_the_user_goes_over_that_of_the_project() {
    let env = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect()
    };
    let project = Boot {
        env: env(&[("A", "project"), ("B", "project")]),
        ..boot()
    };
    let request = RunRequest {
        env: env(&[("B", "user"), ("C", "user")]),
        ..RunRequest::default()
    };
    let expected = env(&[("A", "project"), ("B", "user"), ("C", "user")]);
    assert_eq!(spec(&request, &project).env, expected);
}

#[test]
fn kvm_is_used_only_where_it_works_for_this_guest() {
    let unusable = Kvm::Unusable {
        reason: "guests do not run: the probe did not answer".into(),
        cure: Some("enable nested virtualisation on the outer host".into()),
    };
    let decided = |boot: &Boot, kvm: &Kvm, disable_acceleration| {
        let request = RunRequest {
            disable_acceleration,
            ..RunRequest::default()
        };
        let planned = plan(&request, boot, &host(kvm.clone())).unwrap();
        assert!(
            planned
                .unaccelerated
                .iter()
                .all(|note| note.severity == Severity::Warning)
        );
        let notes: Vec<Problem> = planned.unaccelerated.into_iter().collect();
        assert_eq!(planned.notes, []);
        format!("{:?} {}", planned.spec.acceleration, listed(&notes))
    };
    assert_eq!(decided(&boot(), &Kvm::Works, false), "Kvm ");
    assert_eq!(decided(&boot(), &Kvm::Works, true), "Tcg ");
    assert_eq!(decided(&boot(), &Kvm::Disabled, false), "Tcg ");
    assert_eq!(decided(&boot(), &unusable, true), "Tcg ");
    insta::assert_snapshot!(decided(&boot(), &unusable, false), @"
    Tcg running without acceleration: KVM does not work on this host
      help: details: `kraft doctor`
    ");
    insta::assert_snapshot!(decided(&arm64(), &Kvm::Works, false), @"Tcg running without acceleration: the kernel is built for arm64, and this host is x86_64");
    insta::assert_snapshot!(decided(&arm64(), &unusable, false), @"Tcg running without acceleration: the kernel is built for arm64, and this host is x86_64");
}

#[test]
fn the_kernel_decides_the_architecture() {
    let asked = |arch| RunRequest {
        arch: Some(arch),
        ..RunRequest::default()
    };
    assert_eq!(spec(&RunRequest::default(), &arm64()).arch, Arch::Arm64);
    assert_eq!(spec(&asked(Arch::Arm64), &arm64()).arch, Arch::Arm64);
    insta::assert_snapshot!(refused(&asked(Arch::Arm64), &boot()), @"
    `--arch arm64` does not fit the kernel, which is built for x86_64
      help: leave out `--arch`, or give a kernel built for arm64
    ");
}

#[test]
fn platforms_without_a_driver_are_refused_with_what_works() {
    let asked = |platform| RunRequest {
        platform: Some(platform),
        ..RunRequest::default()
    };
    let firecracker = Boot {
        image: KernelImage {
            boot: BootProtocol::Linux64,
            ..boot().image
        },
        ..boot()
    };
    assert_eq!(
        spec(&asked(Platform::Qemu), &boot()).platform,
        Platform::Qemu
    );
    insta::assert_snapshot!(refused(&asked(Platform::Xen), &boot()), @"
    `--plat xen`: there is no driver for xen yet
      help: leave out `--plat`: QEMU boots this kernel
    ");
    insta::assert_snapshot!(refused(&asked(Platform::Firecracker), &boot()), @"
    `--plat fc`: there is no driver for fc yet
      help: leave out `--plat`: QEMU boots this kernel
    ");
    insta::assert_snapshot!(refused(&RunRequest::default(), &firecracker), @"
    the kernel is built for fc, for which there is no driver yet
      help: build the project for qemu, which has a driver
    ");
    insta::assert_snapshot!(refused(&asked(Platform::Qemu), &firecracker), @"
    QEMU cannot load this kernel, which is built for Firecracker (64-bit ELF)
      help: build the project for qemu and run that kernel
    ");
}

#[test]
fn memory_is_counted_in_whole_mebibytes() {
    let asked = |memory| RunRequest {
        memory: Some(memory),
        ..RunRequest::default()
    };
    assert_eq!(spec(&asked(100_000_000), &boot()).memory, 95 * MIB);
    assert_eq!(spec(&asked(MIB), &boot()).memory, MIB);
    insta::assert_snapshot!(refused(&asked(MIB - 1), &boot()), @"
    memory must be at least 1Mi: `--memory` is 1048575
      help: `Mi` means 1024 × 1024 bytes, as in `--memory 64Mi` (a small `m` means thousandths)
    ");
}

#[test]
fn a_root_filesystem_that_does_not_fit_is_noted() {
    let spec = spec(&RunRequest::default(), &boot());
    assert_eq!(check_fit(&spec, MIB, 20 * MIB), None);
    insta::assert_snapshot!(listed(&[check_fit(&spec, MIB, 40 * MIB).unwrap()]), @"
    64Mi of memory may not hold the kernel and its root filesystem of 40Mi, which is unpacked into memory
      help: increase it: `--memory 112Mi`
    ");
    assert!(check_fit(&spec, u64::MAX, u64::MAX).is_some());
}

#[test]
fn ports_on_the_same_address_collide() {
    let decided = |texts: &[&str]| {
        let request = RunRequest {
            ports: ports(texts),
            ..RunRequest::default()
        };
        match plan(&request, &boot(), &host(Kvm::Works)) {
            Ok(planned) => planned
                .spec
                .ports
                .iter()
                .map(PortMapping::as_typed)
                .collect::<Vec<_>>()
                .join(" "),
            Err(problems) => listed(&problems),
        }
    };
    assert_eq!(
        decided(&["8080:80", "127.0.0.2:53:53/udp", "8080:80", "80", "80"]),
        "0.0.0.0:8080:80/tcp 127.0.0.2:53:53/udp 0.0.0.0::80/tcp 0.0.0.0::80/tcp"
    );
    insta::assert_snapshot!(decided(&["8080:80", "127.0.0.1:8080:81"]), @"
    `--port 127.0.0.1:8080:81/tcp` and `--port 0.0.0.0:8080:80/tcp` both listen on port 8080 of the host
      help: give one of them another host port, or each its own address
    ");
    insta::assert_snapshot!(decided(&["[::1]:8080:80"]), @"
    `--port [::1]:8080:80/tcp`: QEMU publishes ports on IPv4 addresses only
      help: give an IPv4 address, such as 127.0.0.1
    ");
}

#[test]
fn volumes_must_not_cover_each_other() {
    let request = RunRequest {
        volumes: vec![
            volume("/a", "/data"),
            volume("/b", "/data/"),
            volume("/c", "data"),
            volume("d", "/d"),
            volume("/e", "/"),
            volume("/f", "/x:y"),
            volume("/g", "/deep/er"),
            volume("/h", "/deep"),
            volume("/i", "/deeper"),
        ],
        ..RunRequest::default()
    };
    let rooted = Boot {
        initrd: Some("/srv/root.cpio".into()),
        mounts_initrd: true,
        ..boot()
    };
    insta::assert_snapshot!(refused(&request, &rooted), @"
    `--volume /b:/data/`: another volume is mounted there already
      help: give each volume its own path inside the machine
    `--volume /c:data`: the path inside the machine, `data`, is not absolute: it must begin with a slash
    `--volume d:/d`: the directory on the host is not an absolute path
    `--volume /e:/`: it would cover the root filesystem
      help: leave out one of the two, or mount the volume below `/`
    `--volume /f:/x:y`: the path inside the machine, `/x:y`, contains a colon, which separates the fields of the guest's table
    `--volume /h:/deep`: it would cover the volume mounted on /deep/er before it
      help: give the volume of the outer path first
    ");
}

#[test]
fn more_variables_than_kernels_usually_take_are_noted() {
    let env = |count: usize| RunRequest {
        env: (0..count).map(|n| (format!("N{n}"), "v".into())).collect(),
        ..RunRequest::default()
    };
    let notes = |count| plan(&env(count), &boot(), &host(Kvm::Works)).unwrap().notes;
    assert_eq!(notes(8), []);
    insta::assert_snapshot!(listed(&notes(9)), @"
    the kernel may drop some of the 9 environment variables: most take 8
      help: build it with a larger CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT, or pass them in a file
    ");
}

#[test]
fn volumes_of_linux_guests_cause_a_warning() {
    let linux = Boot {
        image: KernelImage {
            boot: BootProtocol::LinuxBzImage,
            guest: Guest::Other,
            ..boot().image
        },
        ..boot()
    };
    let request = RunRequest {
        volumes: vec![volume("/a", "/data"), volume("/b", "/more")],
        kernel_args: strings(&["console=ttyS0"]),
        ..RunRequest::default()
    };
    let planned = plan(&request, &linux, &host(Kvm::Works)).unwrap();
    insta::assert_snapshot!(listed(&planned.notes), @"
    a Linux kernel does not mount volumes by itself
      help: let its init run `mount -t 9p -o trans=virtio fs1 /data`, `mount -t 9p -o trans=virtio fs2 /more`
    ");
}

#[test]
fn all_errors_are_reported_at_once() {
    let env = [("", "x"), ("A B", "x"), ("A=B", "x"), ("A\"", "x")];
    let request = RunRequest {
        name: Some("-d".into()),
        arch: Some(Arch::Arm64),
        platform: Some(Platform::Xen),
        memory: Some(64),
        ports: ports(&["80:80", "80:81"]),
        volumes: vec![volume("/a", "data")],
        env: env
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect(),
        kernel_args: strings(&["quiet"]),
        args: strings(&["a", ""]),
        ..RunRequest::default()
    };
    insta::assert_snapshot!(refused(&request, &boot()), @r#"
    `--name -d`: a machine's name begins with a letter or a digit (A-Z, a-z, 0-9)
    `--arch arm64` does not fit the kernel, which is built for x86_64
      help: leave out `--arch`, or give a kernel built for arm64
    `--plat xen`: there is no driver for xen yet
      help: leave out `--plat`: QEMU boots this kernel
    memory must be at least 1Mi: `--memory` is 64
      help: `Mi` means 1024 × 1024 bytes, as in `--memory 64Mi` (a small `m` means thousandths)
    `--port 0.0.0.0:80:81/tcp` and `--port 0.0.0.0:80:80/tcp` both listen on port 80 of the host
      help: give one of them another host port, or each its own address
    `--volume /a:data`: the path inside the machine, `data`, is not absolute: it must begin with a slash
    the name of environment variable `` is empty
      help: write `--env NAME=VALUE`, or `--env NAME` to pass that of this shell
    the name of environment variable `A B` contains a blank
      help: write `--env NAME=VALUE`, or `--env NAME` to pass that of this shell
    the name of environment variable `A\"` contains a quote or a backslash
      help: write `--env NAME=VALUE`, or `--env NAME` to pass that of this shell
    the name of environment variable `A=B` contains `=`
      help: write `--env NAME=VALUE`, or `--env NAME` to pass that of this shell
    argument 2 is empty, and a kernel command line cannot represent an empty argument
      help: pass the empty value by `--env NAME=`, or in a file of the root filesystem
    expected param to be in the format 'libname.param=value' but got: 'quiet'
      help: arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    "#);
}

proptest! {
    #[test]
    fn any_request_is_planned_or_rejected(
        name: Option<String>,
        memory: Option<u64>,
        args in proptest::collection::vec("\\PC{0,6}|--", 0..6),
        host_port: u16,
        destination in "\\PC{0,8}",
    ) {
        let port = |machine_port| PortMapping {
            host_ip: Ipv4Addr::LOCALHOST.into(),
            host_port,
            machine_port,
            protocol: port::Protocol::Tcp,
        };
        let request = RunRequest {
            name, memory, args,
            ports: vec![port(80), port(81)],
            volumes: vec![volume("/a", &destination)],
            ..RunRequest::default()
        };
        if let Ok(planned) = plan(&request, &boot(), &host(Kvm::Works)) {
            prop_assert!(CommandLine::of(&planned.spec).is_ok());
            prop_assert!(planned.spec.memory >= LEAST_MEMORY);
        }
    }
}

/// Warnings about a machine that uses every feature, on a kernel with these options.
fn lacks(options: &[&str], request: &RunRequest) -> (MachineSpec, String) {
    let all = ["CONFIG_LIBUKBOOT=y"].iter().chain(options).copied();
    let boot = Boot {
        abilities: Abilities::of_options(all),
        initrd: Some("/srv/root.cpio".into()),
        mounts_initrd: true,
        ..boot()
    };
    let planned = plan(request, &boot, &host(Kvm::Works)).unwrap();
    let notes: Vec<String> = planned
        .notes
        .iter()
        .map(|note| format!("{} | {}", note.message, note.help.join(", ")))
        .collect();
    (planned.spec, notes.join("\n"))
}

fn everything() -> RunRequest {
    RunRequest {
        ports: ports(&["8080:80"]),
        volumes: vec![volume("/srv/data", "/data"), volume("/srv/x", "/x")],
        env: BTreeMap::from([("A".to_owned(), "b".to_owned())]),
        kernel_args: strings(&["a.b=c"]),
        args: strings(&["/app"]),
        ..RunRequest::default()
    }
}

#[test]
fn kernels_without_parameters_get_none_and_cause_a_warning() {
    let (spec, notes) = lacks(&["CONFIG_LIBUKNETDEV=y"], &everything());
    insta::assert_snapshot!(notes, @"the kernel does not support parameters: the root filesystem will not be mounted, the volumes `/data`, `/x` will not be mounted, the application does not get `A`, `a.b=c` is not passed | build the kernel with `CONFIG_LIBUKLIBPARAM: 'y'`, or use another runtime");
    assert_eq!(CommandLine::of(&spec).unwrap().render(), "/app");
    let quiet = RunRequest {
        args: strings(&["x"]),
        ..RunRequest::default()
    };
    let (_, notes) = lacks(&[], &quiet);
    insta::assert_snapshot!(notes, @"the kernel does not support parameters: the root filesystem will not be mounted | build the kernel with `CONFIG_LIBUKLIBPARAM: 'y'`, or use another runtime");
}

#[test]
fn linux_sets_up_its_first_card_and_a_unikernel_all() {
    let request = RunRequest {
        networks: ["a", "b"]
            .map(|name| Interface::parse(name).unwrap())
            .to_vec(),
        ..RunRequest::default()
    };
    for (protocol, expected) in [
        (BootProtocol::Multiboot, ""),
        (
            BootProtocol::LinuxBzImage,
            "Linux sets up its first network card only",
        ),
    ] {
        let mut boot = boot();
        boot.image.boot = protocol;
        let planned = plan(&request, &boot, &host(Kvm::Works)).unwrap();
        let mut notes = planned.notes.iter().map(|note| note.message.as_str());
        let found = notes
            .find(|note| note.contains("network card"))
            .unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty());
        assert_eq!(planned.spec.networks.len(), 2);
    }
}

#[test]
fn missing_features_cause_warnings() {
    let (spec, notes) = lacks(&["CONFIG_LIBUKLIBPARAM=y"], &everything());
    insta::assert_snapshot!(notes, @"
    the kernel does not read environment variables from its command line: the application does not get `A` | build the kernel with `CONFIG_LIBPOSIX_ENVIRON_LIBPARAM: 'y'`
    the kernel has no file system: the root filesystem will not be mounted | build the kernel with `CONFIG_LIBVFSCORE: 'y'`, or use another runtime
    the kernel has no 9p file system: the volumes `/data`, `/x` will not be mounted | build the kernel with `CONFIG_LIB9PFS: 'y'`, or use another runtime
    the kernel has no network: nothing will answer on `--port 0.0.0.0:8080:80/tcp` | build the kernel with a network stack such as lwip, or use another runtime
    ");
    assert_eq!(spec.volumes.len(), 2);
    let full = [
        "CONFIG_LIBUKLIBPARAM=y",
        "CONFIG_LIBPOSIX_ENVIRON_LIBPARAM=y",
        "CONFIG_LIBVFSCORE=y",
        "CONFIG_LIB9PFS=y",
        "CONFIG_LIBUKNETDEV=y",
        "CONFIG_LWIP_FAILNOIFACE=y",
    ];
    assert_eq!(lacks(&full, &everything()).1, "");
    let without = RunRequest {
        ports: vec![],
        networks: Vec::new(),
        ..everything()
    };
    insta::assert_snapshot!(lacks(&full, &without).1, @"the kernel does not boot without a network (CONFIG_LWIP_FAILNOIFACE), and the machine has none | publish a port: `--port 8080:8080`");
}

#[test]
fn the_kernels_limit_of_variables_is_used_if_known() {
    let request = RunRequest {
        env: (0..9).map(|n| (format!("N{n}"), String::new())).collect(),
        ..everything()
    };
    let of = |count: &str| {
        let option = format!("CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT={count}");
        let base = [
            "CONFIG_LIBPOSIX_ENVIRON_LIBPARAM=y",
            "CONFIG_LIBUKLIBPARAM=y",
            "CONFIG_LIBVFSCORE=y",
            "CONFIG_LIB9PFS=y",
            "CONFIG_LIBUKNETDEV=y",
            &option,
        ];
        lacks(&base, &request).1
    };
    assert_eq!(of("9"), "");
    assert!(of("8").contains("drops some of the 9 environment variables: it takes 8"));
}

#[test]
fn the_built_in_runtime_uses_one_cpu_and_counts_neither_variables_nor_words() {
    let runtime = Boot {
        image: KernelImage {
            boot: BootProtocol::Arm64Image,
            guest: Guest::Runtime,
            ..arm64().image
        },
        args: (0..100).map(|number| number.to_string()).collect(),
        env: (0..20).map(|n| (format!("V{n}"), "x".to_owned())).collect(),
        ..arm64()
    };
    let request = |cpus| RunRequest {
        cpus,
        ..RunRequest::default()
    };
    for cpus in [None, Some(1)] {
        let planned = plan(&request(cpus), &runtime, &host(Kvm::Disabled)).unwrap();
        assert_eq!(planned.spec.cpus, 1);
        assert_eq!(planned.spec.args.len(), 100);
        assert_eq!(planned.notes, []);
    }
    insta::assert_snapshot!(refused(&request(Some(2)), &runtime), @r"
    `--cpus 2`: the built-in runtime uses one CPU only
      help: leave out `--cpus`, or name another runtime with `--runtime`
    ");
    insta::assert_snapshot!(refused(&request(Some(0)), &boot()), @"`--cpus 0`: expected 1-256");
    assert_eq!(spec(&request(Some(4)), &boot()).cpus, 4);
}

#[test]
fn a_kernel_with_a_pvh_note_runs_on_qemu_and_on_others_that_load_it() {
    let pvh = Boot {
        image: KernelImage {
            boot: BootProtocol::Pvh,
            guest: Guest::Runtime,
            ..boot().image
        },
        ..boot()
    };
    let mut host = host(Kvm::Disabled);
    host.vmms[0].boots.push(BootProtocol::Pvh);
    host.vmms.push(VmmSupport {
        platform: Platform::Firecracker,
        boots: vec![BootProtocol::Linux64, BootProtocol::Pvh],
        ipv6_ports: false,
        limits: Limits::default(),
    });
    for (asked, expected) in [
        (None, Platform::Qemu),
        (Some(Platform::Qemu), Platform::Qemu),
        (Some(Platform::Firecracker), Platform::Firecracker),
    ] {
        let request = RunRequest {
            platform: asked,
            ..RunRequest::default()
        };
        assert_eq!(plan(&request, &pvh, &host).unwrap().spec.platform, expected);
    }
}

#[test]
fn what_firecracker_cannot_do_is_an_error_with_the_way_out() {
    let kernel = Boot {
        image: KernelImage {
            boot: BootProtocol::Linux64,
            ..boot().image
        },
        ..boot()
    };
    let mut host = host(Kvm::Works);
    host.vmms[0].boots.push(BootProtocol::Linux64);
    host.vmms.push(VmmSupport {
        platform: Platform::Firecracker,
        boots: vec![BootProtocol::Linux64],
        ipv6_ports: true,
        limits: Limits {
            needs_kvm: true,
            ports_need_network: true,
            no_volumes: true,
            networks: Some(1),
            cpus: Some(32),
            line: Some(100),
        },
    });
    let on = |platform, change: &dyn Fn(&mut RunRequest)| {
        let mut request = RunRequest {
            platform: Some(platform),
            ..RunRequest::default()
        };
        change(&mut request);
        request
    };
    let network = |name| Interface::parse(name).unwrap();
    let changes: [&dyn Fn(&mut RunRequest); 6] = [
        &|it| it.disable_acceleration = true,
        &|it| it.ports = ports(&["8080:80"]),
        &|it| {
            it.volumes = vec![Volume {
                name: None,
                source: "/srv".into(),
                destination: "/data".to_owned(),
                read_only: false,
            }];
        },
        &|it| it.networks = vec![network("a"), network("b")],
        &|it| it.cpus = Some(33),
        &|it| it.args = vec!["x".repeat(100)],
    ];
    let firecracker = Platform::Firecracker;
    let said: Vec<String> = changes
        .iter()
        .map(|change| {
            let problems = plan(&on(firecracker, change), &kernel, &host).unwrap_err();
            // Each of them is possible on QEMU, which says that the kernel is for another VMM.
            let planned = plan(&on(Platform::Qemu, change), &kernel, &host).unwrap();
            assert!(
                planned
                    .notes
                    .iter()
                    .any(|it| it.message.contains("microvm"))
            );
            listed(&problems)
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    Firecracker needs KVM: it is switched off (`-W`, or the key `acceleration`)
      help: run it on QEMU, which can do without: `--plat qemu`
    `--port 0.0.0.0:8080:80/tcp`: Firecracker publishes ports of machines in a network only
      help: put it into a network: `kraft net create web`, then `--network web`
      help: run it on QEMU: `--plat qemu`
    the volume `/data`: Firecracker shares no directories of the host (it has no 9p)
      help: put the files into the root filesystem: `--rootfs`
      help: run it on QEMU: `--plat qemu`
    `--network` is given 2 times, and a machine on Firecracker is in 1 network at most
      help: run it on QEMU: `--plat qemu`
    `--cpus 33`: Firecracker gives a machine 32 at most
      help: run it on QEMU: `--plat qemu`
    the kernel command line has 124 bytes, and Firecracker takes 100
      help: pass fewer arguments and environment variables, or put them into a file
      help: run it on QEMU: `--plat qemu`
    ");
    // In one network ports are published by kraft.
    let request = on(firecracker, &|it| {
        it.networks = vec![network("a")];
        it.ports = ports(&["8080:80"]);
    });
    assert_eq!(plan(&request, &kernel, &host).unwrap().notes, []);
    host.kvm = Kvm::Unusable {
        reason: "cannot find the program `firecracker`".to_owned(),
        cure: Some("download it".to_owned()),
    };
    let problems = plan(&on(firecracker, &|_| {}), &kernel, &host).unwrap_err();
    insta::assert_snapshot!(listed(&problems), @"
    Firecracker cannot be used: cannot find the program `firecracker`
      help: download it
      help: run it on QEMU, which can do without: `--plat qemu`
    ");
}
