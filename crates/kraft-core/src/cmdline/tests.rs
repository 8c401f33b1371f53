//! Rendering, rejected command lines, and round trips through the guest's parser.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::arch::Arch;
use crate::machine::Acceleration;
use crate::mount::Volume;
use crate::platform::Platform;

fn spec(boot: BootProtocol) -> MachineSpec {
    MachineSpec {
        name: None,
        arch: match boot {
            BootProtocol::Arm64Image => Arch::Arm64,
            BootProtocol::Multiboot
            | BootProtocol::LinuxBzImage
            | BootProtocol::Linux64
            | BootProtocol::Pvh => Arch::X86_64,
        },
        platform: Platform::Qemu,
        origin: "kernel://kernel".into(),
        kernel: "/srv/app_qemu".into(),
        boot,
        guest: Guest::default(),
        initrd: None,
        mounts_initrd: false,
        kernel_args: vec![],
        args: vec![],
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        memory: 64 << 20,
        cpus: 1,
        ports: vec![],
        networks: Vec::new(),
        volumes: vec![],
        acceleration: Acceleration::Tcg,
        remove_when_ended: false,
        lifecycle: crate::lifecycle::Lifecycle::default(),
        stdin: false,
        tty: false,
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).into(), (*v).into()))
        .collect()
}

fn volume(destination: &str) -> Volume {
    Volume {
        name: None,
        source: "/srv/data".into(),
        destination: destination.into(),
        read_only: false,
    }
}

fn render(spec: &MachineSpec) -> String {
    match CommandLine::of(spec) {
        Ok(line) => line.render(),
        Err(problems) => (problems.iter())
            .map(|problem| {
                format!(
                    "REFUSED: {} | {}",
                    problem.message,
                    problem.help.join(" | ")
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// What the guest parses, where QEMU prepends the kernel's path.
fn received(spec: &MachineSpec) -> Parsed {
    let line = CommandLine::of(spec).unwrap().render();
    match spec.boot {
        BootProtocol::Multiboot => parse(&format!("{} {line}", spec.kernel.display())),
        BootProtocol::Arm64Image | BootProtocol::Linux64 | BootProtocol::Pvh => parse(&line),
        BootProtocol::LinuxBzImage => parse_linux(&line),
    }
}

/// A machine that uses every feature.
fn full(boot: BootProtocol) -> MachineSpec {
    MachineSpec {
        initrd: Some("/srv/root.cpio".into()),
        mounts_initrd: true,
        kernel_args: strings(&["netdev.ip=172.18.0.2/16:172.18.0.1::::"]),
        args: strings(&["a", "b c", "d\"e"]),
        env: env(&[("K", "v w"), ("EMPTY", "")]),
        volumes: vec![volume("/data"), volume("/with blank")],
        ..spec(boot)
    }
}

#[test]
fn every_element_is_rendered_in_every_dialect() {
    insta::assert_snapshot!(render(&full(BootProtocol::Multiboot)), @r#"netdev.ip=172.18.0.2/16:172.18.0.1:::: vfs.fstab=[ "initrd0:/:extract::ramfs=2:" "fs1:/data:9pfs:::mkmp" "fs2:/with blank:9pfs:::mkmp" ] env.vars=[ "EMPTY=" "K=v w" ] -- a "b c" 'd"e'"#);
    insta::assert_snapshot!(render(&full(BootProtocol::Arm64Image)), @r#"app_qemu netdev.ip=172.18.0.2/16:172.18.0.1:::: vfs.fstab=[ "initrd0:/:extract::ramfs=2:" "fs1:/data:9pfs:::mkmp" "fs2:/with blank:9pfs:::mkmp" ] env.vars=[ "EMPTY=" "K=v w" ] -- a "b c" 'd"e'"#);
    insta::assert_snapshot!(render(&full(BootProtocol::Linux64)), @r#"app_qemu netdev.ip=172.18.0.2/16:172.18.0.1:::: vfs.fstab=[ "initrd0:/:extract::ramfs=2:" "fs1:/data:9pfs:::mkmp" "fs2:/with blank:9pfs:::mkmp" ] env.vars=[ "EMPTY=" "K=v w" ] -- a "b c" 'd"e'"#);
    let linux = MachineSpec {
        kernel_args: strings(&["console=hvc0", "quiet"]),
        args: strings(&["a", "b c", "K=v w", "x=y", "voilà"]),
        ..full(BootProtocol::LinuxBzImage)
    };
    insta::assert_snapshot!(render(&linux), @r#"console=hvc0 quiet panic=-1 vfs.fstab=fs1:/data:9pfs:::mkmp vfs.fstab="fs2:/with blank:9pfs:::mkmp" EMPTY= K="v w" -- a "b c" K="v w" x=y "voilà""#);
}

#[test]
fn the_double_dash_follows_parameters_only() {
    let args = |args: &[&str], boot| {
        render(&MachineSpec {
            args: strings(args),
            ..spec(boot)
        })
    };
    assert_eq!(args(&[], BootProtocol::Multiboot), "");
    assert_eq!(args(&["a", "b"], BootProtocol::Multiboot), "a b");
    assert_eq!(args(&[], BootProtocol::Arm64Image), "app_qemu");
    assert_eq!(args(&["a"], BootProtocol::Arm64Image), "app_qemu a");
    // Firecracker inserts its devices before the `--`.
    assert_eq!(
        args(&["a"], BootProtocol::Linux64),
        "app_qemu env.vars=[] -- a"
    );
    let param = MachineSpec {
        kernel_args: strings(&["a.b=c"]),
        ..spec(BootProtocol::Multiboot)
    };
    assert_eq!(render(&param), "a.b=c --");
    assert_eq!(
        args(&["a"], BootProtocol::LinuxBzImage),
        "console=ttyS0 panic=-1 -- a"
    );
    assert_eq!(
        args(&[], BootProtocol::LinuxBzImage),
        "console=ttyS0 panic=-1"
    );
}

#[test]
fn arguments_that_mean_something_to_the_kernel_reach_the_application() {
    for args in [
        &["--"][..],
        &["--", "a", "--", "b"],
        &["a", "--", "b"],
        &["help"],
        &["help", "--"],
        &["env.vars=[", "--", "x"],
        &["vfs.fstab=[x", "]"],
        &["-h", "--version"],
        &["[", "]", "[]"],
    ] {
        for kernel_args in [&[][..], &["a.b=c"]] {
            for boot in [
                BootProtocol::Multiboot,
                BootProtocol::Arm64Image,
                BootProtocol::Linux64,
            ] {
                let spec = MachineSpec {
                    args: strings(args),
                    kernel_args: strings(kernel_args),
                    ..spec(boot)
                };
                let received = received(&spec);
                assert_eq!(received.args, args, "{boot:?} {kernel_args:?}");
                assert!(!received.help && received.strays.is_empty(), "{received:?}");
            }
        }
    }
}

#[test]
fn lists_in_kernel_syntax_are_parsed_and_rendered_again() {
    let line = |text: &str| {
        render(&MachineSpec {
            kernel_args: strings(&[text]),
            ..spec(BootProtocol::Multiboot)
        })
    };
    assert_eq!(line("a.b=[ x \"y z\" ]"), "a.b=[ \"x\" \"y z\" ] --");
    assert_eq!(line("a.b=[\"x\" 'y']"), "a.b=[ \"x\" \"y\" ] --");
    assert_eq!(line("a.b=[]"), "a.b=[] --");
    assert_eq!(line("a.b=[ x]] "), "a.b=[ \"x]]\" --");
    for open in ["a.b=[ x", "a.b=[x] y", "a.b=[ \"x ]", "a.b=[ ] ]"] {
        assert!(
            line(open).starts_with("REFUSED: the list in kernel parameter"),
            "{open}"
        );
    }
}

#[test]
fn a_value_that_ends_in_a_bracket_does_not_end_its_list() {
    let spec = MachineSpec {
        env: env(&[("A", "[x]"), ("B", "y"), ("C", "]"), ("D", "z")]),
        ..spec(BootProtocol::Multiboot)
    };
    insta::assert_snapshot!(render(&spec), @r#"env.vars=[ "A=[x]]" env.vars=[ "B=y" "C=]]" env.vars=[ "D=z" ] --"#);
    assert_eq!(
        received(&spec).values("env.vars"),
        ["A=[x]", "B=y", "C=]", "D=z"]
    );
}

#[test]
fn arguments_are_quoted_only_if_necessary() {
    let words = [
        "plain",
        "a b",
        "d\"e",
        "it's",
        "back\\slash",
        "'\"\\",
        "a=b,c",
        "ünï",
        "#$;&|*?",
        "trailing\\",
        "\"",
    ];
    insta::assert_snapshot!(words.map(guest::quote).join("\n"), @r#"
    plain
    "a b"
    'd"e'
    "it's"
    'back\slash'
    "'\"\\"
    a=b,c
    ünï
    #$;&|*?
    'trailing\'
    '"'
    "#);
}

#[test]
fn unrepresentable_arguments_are_rejected_with_a_reason() {
    let wrong = MachineSpec {
        args: strings(&["ok", "", "a\nb", "nul\0"]),
        kernel_args: strings(&[
            "novalue", "no=dot", "a.b.c=d", ".b=c", "a.=c", "a b.c=d", "a.b=\x1b",
        ]),
        env: env(&[("K", "a\rb")]),
        ..spec(BootProtocol::Multiboot)
    };
    insta::assert_snapshot!(render(&wrong), @r#"
    REFUSED: argument 2 is empty, and a kernel command line cannot represent an empty argument | pass the empty value by `--env NAME=`, or in a file of the root filesystem
    REFUSED: argument 3 (`a\nb`) contains a control character (U+000A), which a kernel command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: argument 4 (`nul\0`) contains a control character (U+0000), which a kernel command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: kernel parameter `a.b=\u{1b}` contains a control character (U+001B), which a kernel command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: environment variable `K` contains a control character (U+000D), which a kernel command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: expected param to be in the format 'libname.param=value' but got: 'novalue' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    REFUSED: expected param to be in the format 'libname.param=value' but got: 'no=dot' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    REFUSED: expected param to be in the format 'libname.param=value' but got: 'a.b.c=d' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    REFUSED: expected param to be in the format 'libname.param=value' but got: '.b=c' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    REFUSED: expected param to be in the format 'libname.param=value' but got: 'a.=c' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    REFUSED: expected param to be in the format 'libname.param=value' but got: 'a b.c=d' | arguments before a `--` are kernel parameters: to pass them to the application, put a `--` in front of them all
    "#);
    let linux = MachineSpec {
        args: strings(&["d\"e", "--", ""]),
        env: env(&[("a.b", "c"), ("Q", "\"")]),
        ..spec(BootProtocol::LinuxBzImage)
    };
    insta::assert_snapshot!(render(&linux), @r#"
    REFUSED: argument 1 (`d\"e`) contains a double quote, which a Linux command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: argument 2 is `--`, and Linux drops it and everything after it | pass the arguments in a file of the root filesystem
    REFUSED: argument 3 is empty, and a kernel command line cannot represent an empty argument | pass the empty value by `--env NAME=`, or in a file of the root filesystem
    REFUSED: environment variable `Q` contains a double quote, which a Linux command line cannot represent | put it into a file of the root filesystem or of a volume instead
    REFUSED: environment variable `a.b` has a dot in its name, and Linux does not pass such names to init | give it a name of letters, digits and `_`
    "#);
}

#[test]
fn a_line_that_is_too_long_names_the_longest_argument() {
    let long = |length: usize, boot| MachineSpec {
        args: vec!["a".into(), "x".repeat(length)],
        ..spec(boot)
    };
    // "/srv/app_qemu a " goes before it.
    assert_eq!(
        received(&long(MAX_BYTES - 16, BootProtocol::Multiboot))
            .args
            .len(),
        2
    );
    insta::assert_snapshot!(render(&long(MAX_BYTES - 15, BootProtocol::Multiboot)), @"REFUSED: the kernel command line would be 4095 bytes long, and the kernel takes 4094 | argument 2 (`xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`) has 4079 of them | put long values into a file of the root filesystem or of a volume");
    insta::assert_snapshot!(render(&long(2048, BootProtocol::LinuxBzImage)), @"REFUSED: the kernel command line would be 2076 bytes long, and the kernel takes 2047 | argument 2 (`xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…`) has 2048 of them | put long values into a file of the root filesystem or of a volume");
}

#[test]
fn the_last_kept_argument_must_not_need_quotes() {
    let many = |count: usize, last: &str| MachineSpec {
        args: (1..count)
            .map(|n| n.to_string())
            .chain([last.to_owned()])
            .collect(),
        ..spec(BootProtocol::Multiboot)
    };
    for spec in [many(58, "a b"), many(59, "plain")] {
        assert_eq!(received(&spec).args, spec.args);
    }
    insta::assert_snapshot!(render(&many(59, "a b")), @"REFUSED: the kernel command line would have 60 arguments, and the kernel keeps 59, or one more if that needs no quotes (names, brackets and `--` count) | argument 59 (`a b`) is the first that would be lost | put the arguments into a file of the root filesystem or of a volume");
    insta::assert_snapshot!(render(&many(60, "x")), @"REFUSED: the kernel command line would have 61 arguments, and the kernel keeps 60 (names, brackets and `--` count) | argument 60 (`x`) is the first that would be lost | put the arguments into a file of the root filesystem or of a volume");
    let env = (0..70).map(|n| (format!("N{n}"), String::new())).collect();
    insta::assert_snapshot!(render(&MachineSpec { env, ..many(1, "x") }), @"REFUSED: the kernel command line would have 75 arguments, and the kernel keeps 60 (names, brackets and `--` count) | argument 1 (`x`) is the first that would be lost | put the arguments into a file of the root filesystem or of a volume");
}

#[test]
fn table_limits_of_the_guest_are_checked() {
    let volumes = |count: usize| MachineSpec {
        volumes: (0..count).map(|n| volume(&format!("/{n}"))).collect(),
        initrd: Some("/srv/root.cpio".into()),
        mounts_initrd: true,
        ..spec(BootProtocol::Multiboot)
    };
    assert!(CommandLine::of(&volumes(15)).is_ok());
    insta::assert_snapshot!(render(&volumes(16)), @"REFUSED: the machine would mount 17 file systems, and the kernel's table holds 16 | mount a common parent directory instead of several volumes");
    let init = MachineSpec {
        args: vec!["x".into(); 32],
        env: (0..31).map(|n| (format!("N{n}"), "v".into())).collect(),
        ..spec(BootProtocol::LinuxBzImage)
    };
    insta::assert_snapshot!(render(&init), @"
    REFUSED: 32 arguments are more than the 31 that Linux passes to init | put them into a file of the root filesystem or of a volume
    REFUSED: 31 environment variables are more than the 30 that Linux passes to init | put them into a file of the root filesystem or of a volume
    ");
}

#[test]
fn the_program_is_called_by_the_kernels_file_name() {
    let name = |kernel: &str| {
        let spec = MachineSpec {
            kernel: kernel.into(),
            ..spec(BootProtocol::Arm64Image)
        };
        received(&spec).program.unwrap()
    };
    assert_eq!(name("/a/my app"), "my app");
    assert_eq!(name("/a/it's \"x\""), "it's \"x\"");
    assert_eq!(name("/a/new\nline"), "kernel");
    assert_eq!(name("/"), "kernel");
}

#[test]
fn paths_that_qemu_would_corrupt_are_detected() {
    let needs = |path: &str| needs_safe_path(&PathBuf::from(path), BootProtocol::Multiboot);
    assert!(!needs("/srv/app_qemu-x86_64"));
    for path in ["/a b", "/a,b", "/a\"", "/a'", "/a\\b", "/a\tb", "/a\nb"] {
        assert!(needs(path), "{path:?}");
        assert!(!needs_safe_path(
            &PathBuf::from(path),
            BootProtocol::Arm64Image
        ));
    }
}

#[test]
fn the_guests_splitter_has_its_quirks() {
    let words = |line: &str| split_words(line, 60);
    assert_eq!(words(" a  b\tc\r\n"), ["a", "b", "c"]);
    assert_eq!(
        words("a\\ b 'c d' \"e \\\"f\\\"\""),
        ["a b", "c d", "e \"f\""]
    );
    assert_eq!(
        words("x'y z'w"),
        ["xy zw"],
        "quotes group inside a word too"
    );
    assert_eq!(words("\"\" a ''"), ["a"], "an empty word vanishes");
    assert_eq!(words("'a\\b' \"c\\d\" e\\f"), ["a\\b", "c\\d", "ef"]);
    assert_eq!(words("\"a\\\\\" b"), ["a\\", "b"]);
    assert_eq!(
        split_words("a b 'c d' e", 3),
        ["a", "b", "c d' e"],
        "the last word keeps the rest"
    );
}

fn split_words(line: &str, most: usize) -> Vec<String> {
    guest::split(line, most).words
}

#[test]
fn the_guests_parameters_have_their_quirks() {
    let seen = parse("name a.b=1 a.c stray a.l=[ x y] a.l=[z] help x.y=[ -- ] -- p -- q");
    let values = |name| seen.values(name);
    assert_eq!(values("a.b"), ["1"]);
    assert_eq!(values("a.l"), ["x", "y", "z"]);
    assert_eq!(values("x.y"), ["--"]);
    assert_eq!(
        seen.params[1],
        Assignment {
            name: "a.c".into(),
            value: None
        }
    );
    assert_eq!((seen.strays, seen.help), (strings(&["stray"]), true));
    assert_eq!(seen.args, ["p", "--", "q"]);
    assert_eq!(
        parse("name a.b=1 x").args,
        ["a.b=1", "x"],
        "without a stop word nothing is a parameter"
    );
    assert_eq!(
        parse("name -- x").args,
        ["--", "x"],
        "nor is it one with nothing before it"
    );
    assert_eq!(parse(""), Parsed::default());
}

/// Texts valid on a command line: arbitrary ones, and ones with characters special to parsers.
fn text(least: usize) -> impl Strategy<Value = String> {
    let arbitrary = proptest::string::string_regex(&format!("[^\\p{{Cc}}]{{{least},16}}")).unwrap();
    let special =
        proptest::string::string_regex(&format!("[ab \"'\\\\\\[\\]=.-]{{{least},8}}")).unwrap();
    prop_oneof![arbitrary, special]
}

prop_compose! {
    fn carried()(
        boot in prop_oneof![
            Just(BootProtocol::Multiboot), Just(BootProtocol::Arm64Image), Just(BootProtocol::Linux64),
        ],
        args in vec(text(1), 0..8),
        env in btree_map("[A-Za-z_][A-Za-z0-9_.]{0,6}", text(0), 0..5),
        params in vec(("[a-z]{1,4}\\.[a-z_]{1,6}", "|[^\\p{Cc}\\[][^\\p{Cc}]{0,10}"), 0..4),
        destinations in vec("/[^\\p{Cc}:]{0,12}", 0..4),
        mounts_initrd: bool,
    ) -> MachineSpec {
        MachineSpec {
            args,
            env,
            kernel_args: params.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            volumes: destinations.iter().map(|destination| volume(destination)).collect(),
            initrd: Some("/srv/root.cpio".into()),
            mounts_initrd,
            ..spec(boot)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn unikraft_parses_what_was_rendered(spec in carried()) {
        let received = received(&spec);
        let mut fstab: Vec<String> = spec.mounts_initrd.then(|| mount::INITRD_ENTRY.into()).into_iter().collect();
        fstab.extend(spec.volumes.iter().enumerate().map(|(index, volume)| volume.fstab_entry(index, spec.guest)));
        let env: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let name = match spec.boot { BootProtocol::Multiboot => "/srv/app_qemu", _ => "app_qemu" };
        prop_assert_eq!(received.program.as_deref(), Some(name));
        prop_assert_eq!(&received.args, &spec.args);
        prop_assert_eq!(received.values("env.vars"), env);
        prop_assert_eq!(received.values("vfs.fstab"), fstab);
        prop_assert!(received.strays.is_empty() && !received.help);
        let given: Vec<String> = received.params.iter()
            .take(spec.kernel_args.len())
            .map(|param| format!("{}={}", param.name, param.value.clone().unwrap_or_default()))
            .collect();
        prop_assert_eq!(&given, &spec.kernel_args);
    }

    #[test]
    fn linux_parses_what_was_rendered(
        args in vec("[^\\p{Cc}\"]{1,12}|[abà =-]{1,6}", 0..8),
        env in btree_map("[A-Za-z_][A-Za-z0-9_]{0,6}", "[^\\p{Cc}\"]{0,12}|[ab =-]{0,6}", 0..5),
    ) {
        prop_assume!(!args.iter().any(|arg| arg == "--"));
        let spec = MachineSpec { args, env, ..spec(BootProtocol::LinuxBzImage) };
        let received = received(&spec);
        prop_assert_eq!(received.args, spec.args);
        let params = received.params.into_iter();
        let env: BTreeMap<_, _> = params
            .filter(|param| !matches!(param.name.as_str(), "console" | "panic"))
            .map(|param| (param.name, param.value.unwrap_or_default()))
            .collect();
        prop_assert_eq!(env, spec.env);
    }

    #[test]
    fn any_line_is_parsed(line in "\\PC*|[ab \"'\\\\\\[\\]=.-]{0,40}") {
        parse(&line);
        parse_linux(&line);
    }

    #[test]
    fn any_machine_has_a_line_or_an_error(
        boot in prop_oneof![Just(BootProtocol::Multiboot), Just(BootProtocol::LinuxBzImage)],
        args in vec(any::<String>(), 0..80),
        kernel_args in vec("\\PC*|a\\.b=[\\[\\] \"']{0,8}", 0..4),
    ) {
        let spec = MachineSpec { kernel_args, args, ..spec(boot) };
        if let Ok(line) = CommandLine::of(&spec)
            && boot == BootProtocol::Multiboot
        {
            prop_assert_eq!(parse(&format!("k {}", line.render())).args, spec.args);
        }
    }
}

#[test]
fn a_kernel_with_a_pvh_note_gets_the_line_of_its_kind() {
    let line = |guest, args: &[&str], variables: &[(&str, &str)]| {
        let spec = MachineSpec {
            guest,
            args: strings(args),
            env: env(variables),
            ..spec(BootProtocol::Pvh)
        };
        CommandLine::of(&spec).unwrap().render()
    };
    let (args, variables) = (["/app", "a b"], [("K", "v w")]);
    assert_eq!(
        line(Guest::Runtime, &args, &variables),
        r#"app_qemu env.vars=[ "K=v w" ] -- /app "a b""#
    );
    assert_eq!(
        line(Guest::Runtime, &args, &[]),
        r#"app_qemu env.vars=[] -- /app "a b""#
    );
    assert_eq!(
        line(Guest::Runtime, &["/app", "", "a"], &[]),
        r#"app_qemu env.vars=[] -- /app "" a"#
    );
    assert_eq!(
        line(Guest::Other, &args, &variables),
        r#"console=ttyS0 panic=-1 K="v w" -- /app "a b""#
    );
}
