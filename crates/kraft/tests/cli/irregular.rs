//! FIFOs, devices, sockets and directories in place of files: an immediate error, never a hang.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;

use crate::support::Home;

const A_FIFO: &str = "it is a FIFO, not a regular file";

fn fifo(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let made = Command::new("mkfifo").arg(path).output().unwrap();
    assert!(made.status.success());
}

/// Runs `kraft` and returns its output; a command that waits or succeeds is a failure.
fn fails(home: &Home, words: &[&str]) -> String {
    let mut command = home.command(words);
    let output = command.timeout(Duration::from_mins(2)).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| code != 0),
        "{words:?}: {code:?} {text}"
    );
    text
}

#[test]
fn a_fifo_in_place_of_a_file_argument_is_an_error() {
    let mut wrong = Vec::new();
    let home = Home::new();
    let kernel = home.kernel();
    fifo(&home.path().join("pipe"));
    for words in [
        &["run", "./pipe"][..],
        &["run", "--rootfs", "pipe", "--no-start", &kernel],
        &["run", "-K", "pipe"],
        &["check", "-K", "pipe"],
        &["check", "pipe"],
        &["build", "-K", "pipe"],
        &["pkg", "--name", "x", "--kernel", "pipe"],
        &[
            "pkg", "--name", "x", "--kernel", &kernel, "--rootfs", "pipe",
        ],
        &["pkg", "load", "-i", "pipe"],
        &["rootfs", "build", "pipe", "-o", "out"],
        &[
            "rootfs",
            "build",
            "--builder",
            "kraft",
            "-o",
            "out",
            "./pipe",
        ],
        &["rootfs", "ls", "pipe"],
        &["rootfs", "cat", "pipe", "x"],
        &["x", "probe", "pipe"],
        &["size", "pipe"],
        &["pkg", "pull", "--ca-file", "pipe", "localhost:1/x"],
        &["kconfig", "diff", "./pipe", "./pipe"],
        &["--config-dir", ".", "ps"],
    ] {
        if words.contains(&".") {
            fifo(&home.path().join("config.yaml"));
        }
        let text = fails(&home, words);
        let told = text.contains(A_FIFO)
            || text.contains("neither a file nor a directory")
            || text.contains("not a regular file")
            || text.contains("Not a directory");
        if !told {
            wrong.push(format!("{words:?}: {text}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

const BUILD: [&str; 7] = [
    "rootfs",
    "build",
    "--builder",
    "kraft",
    "./Dockerfile",
    "-o",
    "x",
];

#[test]
fn a_fifo_in_place_of_a_file_that_kraft_searches_is_an_error() {
    let mut wrong = Vec::new();
    for (at, words) in [
        ("Kraftfile", &["check"][..]),
        (".config/kraftkit/config.yaml", &["ps"]),
        (".dockerignore", &BUILD),
        ("Dockerfile", &BUILD),
        ("kraft.lock", &["build", "--locked"]),
        ("compose.yaml", &["cloud", "compose", "ps"]),
    ] {
        let home = Home::new();
        home.write(
            "Kraftfile",
            "spec: v0.6\nname: x\nunikraft: stable\ntargets: [qemu/x86_64]\n",
        );
        home.write("Dockerfile", "FROM scratch\nCOPY . /\n");
        let path = home.path().join(at);
        let _ = std::fs::remove_file(&path);
        fifo(&path);
        let text = fails(&home, words);
        let told = text.contains("it is a FIFO") || text.contains("neither a file nor a directory");
        if !told {
            wrong.push(format!("{at}: {text}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn sockets_devices_and_directories_are_not_kernels_or_archives() {
    let home = Home::new();
    let socket = home.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    home.write("dir/x", "");
    for (path, what) in [
        ("./socket", "socket"),
        ("/dev/zero", "device"),
        ("/dev/null", "device"),
    ] {
        for words in [
            &["run", path][..],
            &["pkg", "--name", "x", "--kernel", path],
            &["size", path],
            &["x", "probe", path],
        ] {
            let text = fails(&home, words);
            // A socket cannot be opened at all.
            let told = text.contains(what) || text.contains("No such device or address");
            assert!(told, "{words:?}: {text}");
        }
    }
    for words in [
        &["size", "dir"][..],
        &["pkg", "--name", "x", "--kernel", "dir"],
        &["rootfs", "ls", "dir"],
    ] {
        let text = fails(&home, words);
        assert!(text.contains("directory"), "{words:?}: {text}");
    }
}
