//! Rendered command lines against the C parser of the repository's own guest.
//!
//! `make -C guests` builds that parser for the host; without it the test reports that it is
//! skipped.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "test helpers panic"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_core::arch::Arch;
use kraft_core::cmdline::CommandLine;
use kraft_core::kernel::{BootProtocol, Guest};
use kraft_core::machine::{Acceleration, MachineSpec};
use kraft_core::mount::Volume;
use kraft_core::platform::Platform;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const LINES: usize = 2000;

fn machine(words: Vec<String>, variables: Vec<String>, mounts: Vec<String>) -> MachineSpec {
    let volume = |path: String| Volume {
        name: None,
        source: PathBuf::from("/srv"),
        destination: format!("/{path}"),
        read_only: false,
    };
    let variables = variables.into_iter().enumerate();
    MachineSpec {
        name: None,
        arch: Arch::Arm64,
        platform: Platform::Qemu,
        origin: "kernel://kernel".to_owned(),
        kernel: PathBuf::from("/kernel"),
        boot: BootProtocol::Arm64Image,
        guest: Guest::Unikraft,
        initrd: None,
        mounts_initrd: false,
        kernel_args: Vec::new(),
        args: words,
        env: variables
            .map(|(n, value)| (format!("V{n}"), value))
            .collect::<BTreeMap<_, _>>(),
        labels: BTreeMap::new(),
        memory: 64 << 20,
        cpus: 1,
        ports: Vec::new(),
        networks: Vec::new(),
        volumes: mounts.into_iter().map(volume).collect(),
        acceleration: Acceleration::Tcg,
        remove_when_ended: false,
        lifecycle: kraft_core::lifecycle::Lifecycle::default(),
        stdin: false,
        tty: false,
    }
}

/// Returns the strings that the guest reports after a keyword.
fn strings(report: &str, word: &str) -> Vec<String> {
    report
        .lines()
        .filter_map(|line| line.strip_prefix(word))
        .map(|rest| serde_json::from_str(&rest[rest.find('"').unwrap()..]).unwrap())
        .collect()
}

#[test]
fn the_guest_parses_rendered_command_lines() {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guests/build/host/parse-cmdline");
    if !tool.is_file() {
        eprintln!("SKIPPED: the guest's parser is not built: make -C guests");
        return;
    }
    let word = || "[a-z \"'\\\\=\\[\\]\\-\u{e9}]{1,8}";
    let strategy = (
        vec(word(), 0..8),
        vec(word(), 0..5),
        vec("[a-z]{1,5}", 0..3),
    );
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    let mut lines = Vec::new();
    while cases.len() < LINES {
        let (words, variables, mounts) = strategy.new_tree(&mut runner).unwrap().current();
        let spec = machine(words, variables, mounts);
        // Unrepresentable command lines are rejected, which other tests check.
        if let Ok(line) = CommandLine::of(&spec) {
            lines.extend(line.render().into_bytes());
            lines.push(0);
            cases.push(spec);
        }
    }
    let mut parser = Command::new(tool)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&lines).unwrap());
    let output = parser.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<&str> = text.split_terminator("end\n").collect();
    assert_eq!(reports.len(), cases.len());
    for (spec, report) in cases.iter().zip(reports) {
        let args = strings(report, "arg ").split_off(1);
        assert_eq!(args, spec.args, "{report}");
        let env: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(strings(report, "env "), env, "{report}");
        let entries: Vec<String> = spec
            .volumes
            .iter()
            .enumerate()
            .map(|(n, volume)| volume.fstab_entry(n, spec.guest))
            .collect();
        assert_eq!(strings(report, "fstab "), entries, "{report}");
    }
}
