//! Tests of [`super::decide`].

use kraft_core::arch::Arch;
use kraft_core::host::VmmSupport;
use proptest::prelude::*;

use super::*;

fn host(kvm: Kvm) -> Host {
    Host {
        arch: Some(Arch::X86_64),
        kvm,
        vmms: kraft_machine::driver::Drivers::default().support(),
    }
}

fn found() -> Found {
    Found {
        kernel: "/root/unikraft/bin/kernel".into(),
        image: KernelImage {
            arch: Arch::X86_64,
            boot: BootProtocol::Pvh,
            guest: Guest::Runtime,
        },
        abilities: Abilities::RUNTIME,
        initrd: Some("/root/unikraft/bin/initrd".into()),
        sources: BTreeMap::from([
            ("/srv/data".into(), SourceKind::Directory),
            ("/run/secret".into(), SourceKind::File),
            ("/e/resolv.conf".into(), SourceKind::File),
            ("/dev/x".into(), SourceKind::Other),
        ]),
    }
}

const LIMITS: Limits = Limits {
    overhead: 64 << 20,
    kvm: true,
    firecracker: false,
};

fn config(json: &str) -> Config {
    Config::parse(json.as_bytes()).unwrap()
}

fn decided(json: &str) -> Decision {
    decide(&config(json), &found(), &host(Kvm::Disabled), LIMITS).unwrap()
}

fn refused(json: &str) -> String {
    let refused = decide(&config(json), &found(), &host(Kvm::Disabled), LIMITS);
    refused.unwrap_err().join("; ")
}

#[test]
fn only_the_first_major_version_of_the_specification_is_supported() {
    let of = |version: &str| format!(r#"{{"ociVersion":"{version}","process":{{"args":["/x"]}}}}"#);
    for version in ["1.0.2", "1.0.2-dev", "1.3.0+build.1", ""] {
        let _ = decided(&of(version));
    }
    for version in ["invalid", "1", "1.0", "2.0.0", "1.0.0.0", "1.-1.0"] {
        let refused = refused(&of(version));
        assert!(refused.contains("`ociVersion`"), "{version}: {refused}");
    }
}

#[test]
fn what_docker_writes_becomes_a_machine() {
    let decision = decided(
        r#"{"process":{"terminal":false,"cwd":"/srv","env":["PATH=/bin","A=b c","odd"],
            "args":["/sbin/docker-init","--","/unikraft/bin/kernel","/http","8080","a b"]},
            "mounts":[
              {"destination":"/proc","type":"proc","source":"proc"},
              {"destination":"/dev","type":"tmpfs","source":"tmpfs"},
              {"destination":"/run/../run/app","type":"tmpfs","source":"tmpfs","options":["size=1m"]},
              {"destination":"/etc/resolv.conf","type":"bind","source":"/e/resolv.conf","options":["rbind"]},
              {"destination":"/sbin/docker-init","type":"bind","source":"/run/secret","options":["bind","ro"]},
              {"destination":"/data/../data","type":"bind","source":"/srv/data","options":["rbind","ro"]},
              {"destination":"/run/secrets/key","type":"bind","source":"/run/secret","options":["bind","ro"]},
              {"destination":"/x","type":"bind","source":"/dev/x","options":["bind"]}],
            "linux":{"resources":{"memory":{"limit":134217728,"swap":268435456},"pids":{"limit":4}}}}"#,
    );
    let spec = &decision.spec;
    assert_eq!(spec.args, ["/http", "8080", "a b"]);
    assert_eq!(spec.env.len(), 2);
    assert_eq!(spec.kernel_args, ["kraft.workdir=/srv"]);
    assert_eq!(spec.memory, 128 << 20);
    assert_eq!(spec.platform, Platform::Qemu);
    let volume = spec.volumes.first().unwrap();
    assert_eq!(
        (volume.destination.as_str(), volume.read_only),
        ("/data", true)
    );
    let files: Vec<&str> = decision
        .files
        .iter()
        .map(|it| it.destination.as_str())
        .collect();
    assert_eq!(files, ["/etc/resolv.conf", "/run/secrets/key"]);
    assert_eq!(decision.directories, ["/run/app"]);
    let memory = decision.resources.memory.unwrap();
    assert_eq!(
        (memory.limit, memory.swap),
        (Some(192 << 20), Some(320 << 20))
    );
    assert_eq!(decision.resources.pids.unwrap().limit, Some(64));
    assert!(
        decision
            .notes
            .iter()
            .any(|note| note.contains("`/x` is not mounted"))
    );
}

#[test]
fn the_stand_in_for_engines_without_this_runtime_is_dropped() {
    for first in [
        "/unikraft/bin/kernel",
        "unikraft/bin/kernel",
        "/unikraft/bin/needs-runu",
    ] {
        let json = format!(r#"{{"process":{{"args":["{first}","/a"]}}}}"#);
        assert_eq!(decided(&json).spec.args, ["/a"], "{first}");
    }
    let args = |json: &str| {
        let spec = decided(json).spec;
        (spec.kernel_args, spec.args)
    };
    let none = Vec::<String>::new();
    let words = |words: &[&str]| words.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    // A `--` is the program's, unless parameters of the kernel are in front of it.
    assert_eq!(
        args(r#"{"process":{"args":["/dev/init","--","/a","--","b"]}}"#),
        (none.clone(), words(&["/a", "--", "b"]))
    );
    assert_eq!(
        args(r#"{"process":{"args":["vfs.x=1","--","/a"]}}"#),
        (words(&["vfs.x=1"]), words(&["/a"]))
    );
    assert_eq!(
        args(r#"{"process":{"args":["/a.b=c"]}}"#),
        (none, words(&["/a.b=c"]))
    );
}

#[test]
fn only_known_annotations_count_and_within_limits() {
    let with = |annotation: &str, limit: &str| {
        format!(
            r#"{{"process":{{"args":["/a"]}},"annotations":{{{annotation}}},
                "linux":{{"resources":{{"memory":{{"limit":{limit}}}}}}}}}"#
        )
    };
    let smaller = decided(&with(r#""org.unikraft.runu.memory":"32Mi""#, "67108864"));
    assert_eq!(smaller.spec.memory, 32 << 20);
    assert_eq!(smaller.resources.memory.unwrap().limit, Some(128 << 20));
    let more = refused(&with(r#""org.unikraft.runu.memory":"128Mi""#, "67108864"));
    assert!(more.contains("more than the memory limit"), "{more}");
    for odd in ["-m 5", "", "64Mi -nographic", "64Mi,share=on"] {
        let json = with(&format!(r#""org.unikraft.runu.memory":"{odd}""#), "-1");
        assert!(refused(&json).contains("is not a size"), "{odd}");
    }
    assert!(refused(&with(r#""org.unikraft.runu.cpus":"0""#, "-1")).contains("expected 1-32"));
    let speed = refused(&with(r#""org.unikraft.runu.acceleration":"kvm,x""#, "-1"));
    assert!(speed.contains("expected auto or tcg"), "{speed}");
}

/// GHSA-crxr-jm9v-349c and GHSA-3385-hmpj-4678 of urunc: annotations and files of an image chose the
/// program and the options of the VMM, and files of the host that it opened.
#[test]
fn annotations_of_other_runtimes_change_nothing() {
    let plain = decided(r#"{"process":{"args":["/a"]}}"#);
    let hostile = r#"{"process":{"args":["/a"]},"annotations":{
        "com.urunc.unikernel.hypervisor":"L2Jpbi9zaA==",
        "com.urunc.unikernel.unikernelType":"dW5pa3JhZnQ=",
        "com.urunc.unikernel.binary":"Li4vLi4vLi4vZXRjL3NoYWRvdw==",
        "com.urunc.unikernel.initrd":"/etc/shadow",
        "com.urunc.unikernel.block":"/dev/sda",
        "com.urunc.unikernel.blkMntPoint":"/",
        "com.urunc.unikernel.useDMBlock":"true",
        "com.urunc.unikernel.cmdline":"-device vfio-pci,host=0 -monitor tcp:0.0.0.0:1",
        "org.unikraft.runu.qemu":"/bin/sh",
        "org.unikraft.kernel":"/etc/shadow",
        "org.opencontainers.image.stopSignal":"9"}}"#;
    assert_eq!(decided(hostile), plain);
}

#[test]
fn what_cannot_be_a_machine_is_explained() {
    assert!(refused("{}").contains("no `process`"));
    let line = r#"{"process":{"args":["/a\u0000b"]}}"#;
    assert!(!refused(line).is_empty());
    let mut arm = found();
    arm.image.boot = BootProtocol::Linux64;
    arm.image.guest = Guest::Unikraft;
    let config = config(r#"{"process":{"args":["/a"]}}"#);
    // A kernel for Firecracker runs on QEMU where there is no Firecracker.
    let spec = decide(&config, &arm, &host(Kvm::Disabled), LIMITS)
        .unwrap()
        .spec;
    assert_eq!(spec.platform, Platform::Qemu);
    let installed = Limits {
        firecracker: true,
        ..LIMITS
    };
    let spec = decide(&config, &arm, &host(Kvm::Works), installed)
        .unwrap()
        .spec;
    assert_eq!(spec.platform, Platform::Firecracker);
    let without = Host {
        vmms: Vec::<VmmSupport>::new(),
        ..host(Kvm::Disabled)
    };
    assert!(decide(&config, &found(), &without, LIMITS).is_err());
}

#[test]
fn processors_follow_the_limit_of_time() {
    let mut other = found();
    other.image.guest = Guest::Other;
    let cpus = |quota: i64| {
        let config = config(&format!(
            r#"{{"process":{{"args":["/a"]}},
                "linux":{{"resources":{{"cpu":{{"quota":{quota},"period":100000}}}}}}}}"#
        ));
        let decision = decide(&config, &other, &host(Kvm::Disabled), LIMITS);
        decision.unwrap().spec.cpus
    };
    assert_eq!(
        [cpus(-1), cpus(50_000), cpus(150_000), cpus(i64::MAX)],
        [1, 1, 2, 32]
    );
}

proptest! {
    /// Nothing that an image or an annotation holds becomes an option of the VMM, or a file of the host
    /// that the engine did not give.
    #[test]
    fn no_text_becomes_an_option_or_a_file(
        args in prop::collection::vec("\\PC{0,20}", 0..4),
        env in prop::collection::vec("\\PC{0,20}", 0..4),
        annotation in "\\PC{0,30}",
        destination in "\\PC{0,20}",
    ) {
        let json = serde_json::json!({
            "process": { "args": args, "env": env, "cwd": annotation },
            "hostname": destination,
            "annotations": {
                "org.unikraft.runu.memory": annotation,
                "com.urunc.unikernel.hypervisor": annotation,
            },
            "mounts": [
                { "destination": destination, "type": "bind", "source": "/srv/data" },
                { "destination": "/b", "type": "bind", "source": annotation },
            ],
        });
        let config = Config::parse(json.to_string().as_bytes()).unwrap();
        if let Ok(decision) = decide(&config, &found(), &host(Kvm::Disabled), LIMITS) {
            let spec = decision.spec;
            prop_assert_eq!(spec.kernel, found().kernel);
            prop_assert_eq!(spec.initrd, found().initrd);
            for volume in &spec.volumes {
                prop_assert_eq!(&volume.source, Path::new("/srv/data"));
                prop_assert!(!volume.destination.contains(".."));
            }
            prop_assert!(spec.ports.is_empty() && spec.networks.is_empty());
        }
    }
}
