//! Tests that need a full guest: an initramfs of kraft that Linux boots from, 9p mounts, TCP and
//! UDP.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use kraft_e2e::harness::{Bench, eventually, skip};
use kraft_e2e::linux;
use kraft_e2e::registry::free_port;

/// Lays out a guest that runs `script`; `None` (and said so) if this machine has no Linux guest.
fn guest(bench: &Bench, script: &str) -> Option<String> {
    let laid_out = linux::kernel().and_then(|kernel| {
        linux::lay_out(&bench.path().join("root"), script)?;
        Ok(kernel.to_str().unwrap().to_owned())
    });
    match laid_out {
        Ok(kernel) => Some(kernel),
        Err(reason) => {
            skip(reason);
            None
        }
    }
}

fn run<'a>(bench: &Bench, kernel: &'a str, flags: &[&'a str]) -> String {
    let mut args = vec!["run", "--rm", "-M", "256Mi", "--rootfs", "root"];
    args.extend(flags);
    args.push(kernel);
    let outcome = bench.kraft(&args).success();
    assert!(
        outcome.stdout.contains("linux-guest: bye"),
        "{}",
        outcome.stdout
    );
    outcome.stdout
}

#[test]
fn linux_boots_from_a_built_archive_with_every_kind_of_entry() {
    let bench = Bench::new();
    let script = "cd /tree; stat -c '%n %f %h' * | sort; cat hard two; readlink link; \
                  cat 'd/with blank'; wc -c < big";
    let Some(kernel) = guest(&bench, script) else {
        return;
    };
    let tree = bench.path().join("root/tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    fs::write(tree.join("one"), "shared\n").unwrap();
    fs::hard_link(tree.join("one"), tree.join("hard")).unwrap();
    fs::write(tree.join("two"), "second\n").unwrap();
    fs::write(tree.join("d/with blank"), "found\n").unwrap();
    fs::write(tree.join("big"), vec![7; 3 << 20]).unwrap();
    std::os::unix::fs::symlink("two", tree.join("link")).unwrap();
    let setuid = std::process::Command::new("chmod")
        .arg("4755")
        .arg(tree.join("two"))
        .status();
    assert!(setuid.unwrap().success());
    let console = run(&bench, &kernel, &[]).replace('\r', "");
    for expected in [
        "hard 81a4 2\n",
        "one 81a4 2\n",
        "two 89ed 1\n",
        "link a1ff 1\n",
        "shared\nsecond\ntwo\nfound\n3145728\n",
    ] {
        assert!(console.contains(expected), "no {expected:?} in\n{console}");
    }
}

#[test]
fn volumes_are_mounted_and_read_only_is_honoured() {
    let bench = Bench::new();
    let script = "cat /rw/in /ro/in; echo from-guest > /rw/out; \
                  echo bad > /ro/out && echo WROTE-TO-READ-ONLY; rm -f /ro/in; mount | grep -c 9p";
    let Some(kernel) = guest(&bench, script) else {
        return;
    };
    for (dir, text) in [("rw", "in rw\n"), ("ro, with comma", "in ro\n")] {
        fs::create_dir(bench.path().join(dir)).unwrap();
        fs::write(bench.path().join(dir).join("in"), text).unwrap();
    }
    let console = run(
        &bench,
        &kernel,
        &["-v", "rw:/rw", "-v", "ro, with comma:/ro:ro"],
    );
    assert!(
        console.contains("in rw") && console.contains("in ro"),
        "{console}"
    );
    assert!(!console.contains("WROTE-TO-READ-ONLY"), "{console}");
    let out = bench.path().join("rw/out");
    assert_eq!(fs::read_to_string(&out).unwrap(), "from-guest\n");
    assert_eq!(
        fs::metadata(&out).unwrap().uid(),
        rustix::process::geteuid().as_raw()
    );
    assert!(!bench.path().join("ro, with comma/out").exists());
    assert!(bench.path().join("ro, with comma/in").exists());
}

#[test]
fn tcp_and_udp_ports_reach_the_guest_on_the_requested_address() {
    let bench = Bench::new();
    let script = "ls /sys/class/net | grep -c eth; udp-echo 90 & \
                  while true; do echo over-tcp | nc -l -p 80; done";
    let Some(kernel) = guest(&bench, script) else {
        return;
    };
    linux::add_program(&bench.path().join("root"), "udp-echo");
    let (tcp, udp) = (free_port(), free_port());
    let (tcp_flag, udp_flag) = (format!("127.0.0.2:{tcp}:80"), format!("{udp}:90/udp"));
    let args = [
        "run", "-d", "--name", "m", "-M", "256Mi", "--rootfs", "root", "-p", &tcp_flag, "-p",
        &udp_flag, &kernel,
    ];
    bench.ok(args);
    bench.wait_for_log("m", "linux-guest: ready");

    let taken = bench.kraft(["run", "--rm", "-p", &tcp_flag, &kernel]);
    assert_eq!(taken.code, Some(1), "{}", taken.stderr);
    assert!(
        taken.stderr.contains("`m`"),
        "the owner is not named: {}",
        taken.stderr
    );
    assert!(
        TcpStream::connect(("127.0.0.1", tcp)).is_err(),
        "it listens on every address"
    );

    let mut got = String::new();
    eventually("an answer over TCP", || {
        got.clear();
        let Ok(mut stream) = TcpStream::connect(("127.0.0.2", tcp)) else {
            return false;
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream.read_to_string(&mut got).is_ok() && !got.is_empty()
    });
    assert_eq!(got, "over-tcp\n");

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    eventually("an answer over UDP", || {
        socket.send_to(b"knock", ("127.0.0.1", udp)).unwrap();
        let mut answer = [0; 64];
        socket
            .recv(&mut answer)
            .is_ok_and(|n| &answer[..n] == b"knockknock")
    });
    let listed = bench.machine("m").unwrap();
    assert_eq!(listed["ports"].as_array().unwrap().len(), 2, "{listed}");
    assert!(
        bench
            .ok(["logs", "m"])
            .lines()
            .any(|line| line.trim() == "1"),
        "more than one card"
    );
}

#[test]
fn a_port_in_use_is_an_error_that_names_its_process() {
    let bench = Bench::new();
    let Some(kernel) = guest(&bench, "true") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = bench.kraft([
        "run",
        "--rm",
        "-p",
        &format!("127.0.0.1:{port}:80"),
        kernel.as_str(),
    ]);
    assert_eq!(outcome.code, Some(1));
    let pid = std::process::id().to_string();
    assert!(
        outcome.stderr.contains(&port.to_string()),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains(&pid),
        "the owner is not named: {}",
        outcome.stderr
    );
    drop(listener);
}
