//! The network of a build step: one of its own with a way out, which is not the host's loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kraft_e2e::dockerfiles::{OWN_BUILD, context, text};
use kraft_e2e::harness::{Bench, Outcome, skip, wrapped};
use kraft_e2e::registry::installed;

/// What that host has of its own; all its processes end with the command.
const NAMESPACES: [&str; 7] = [
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
];

/// Runs a command in a private network namespace: a network with one neighbour (10.9.0.2), which
/// serves `hello` at port 8080, a service on the loopback address (port 8081), and a `/dev/net/tun`
/// that all users may open.
const HOST: &str = r#"
set -eu
dir=$1; shift
mknod "$dir/tun" c 10 200; chmod 666 "$dir/tun"; mount --bind "$dir/tun" /dev/net/tun
printf 'nameserver 127.0.0.53\nsearch example\n' >"$dir/resolv.conf"; chmod 644 "$dir/resolv.conf"
mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)"
mkfifo "$dir/started"
unshare --net sh -c 'echo $$ >"$1/started"; exec sleep 600' sh "$dir" >/dev/null 2>&1 &
read neighbour <"$dir/started"
ip link set lo up
ip link add v0 type veth peer name v1 netns "$neighbour"
ip addr add 10.9.0.1/24 dev v0; ip link set v0 up; ip route add default via 10.9.0.2
at_neighbour() { nsenter --net -t "$neighbour" "$@"; }
at_neighbour ip addr add 10.9.0.2/24 dev v1; at_neighbour ip link set v1 up
mkdir "$dir/served"; echo hello >"$dir/served/hello"
at_neighbour busybox httpd -p 8080 -h "$dir/served" >/dev/null 2>&1
busybox httpd -p 127.0.0.1:8081 -h "$dir/served" >/dev/null 2>&1
"$@"
"#;

/// Asks for the page at an address and reports whether it came.
const STEP: &str = r#"
ask() { printf 'GET /hello HTTP/1.0\r\n\r\n' | /busybox timeout 2 /busybox nc $1 $2 | /busybox grep -q hello && echo "$1:$2 answers" >>/report || echo "$1:$2 is silent" >>/report; }
ask 10.9.0.2 8080; ask 127.0.0.1 8081; ask 10.9.0.2 8081; ask 10.9.0.1 8081
/busybox cat /etc/resolv.conf >>/report || :
"#;

fn obstacle() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("making networks requires root");
    }
    if !["unshare", "nsenter", "ip", "busybox"]
        .into_iter()
        .all(installed)
    {
        return Some("util-linux, iproute2 or busybox is not installed: scripts/setup.sh test");
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun");
    }
    None
}

/// Builds on that host, with a certain way out, and returns what the step reported.
fn report(way: &str, user: Option<u32>, network: Option<&str>) -> String {
    let bench = Bench::new();
    let script: String = STEP.trim().lines().collect::<Vec<_>>().join("; ");
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /\nSHELL [\"/busybox\", \"sh\", \"-c\"]\n\
         RUN /busybox mkdir /etc\nRUN {script}\n"
    );
    context(&bench, &[("Dockerfile", &dockerfile)]);
    fs::copy("/bin/busybox", bench.path().join("context/busybox")).unwrap();
    // Only this way out is found.
    let programs = bench.path().join("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(program(way), programs.join(way)).unwrap();
    let kraft = bench.kraft_copy();
    let mut words = OWN_BUILD.to_vec();
    if let Some(network) = network {
        words.extend(["--build-network", network]);
    }
    let mut like = bench.command_of(&kraft, words);
    like.env("PATH", &programs);
    let mut wrapper = Command::new(program("unshare"));
    // All users may read it.
    let place = tempfile::tempdir().unwrap();
    wrapper.args(NAMESPACES);
    wrapper.args(["sh", "-c", HOST, "sh"]).arg(place.path());
    if let Some(user) = user {
        wrapper.args(bench.hand_over(user));
    }
    wrapper
        .arg("env")
        .arg(format!("PATH={}", programs.display()));
    let mut command = wrapped(wrapper, &like);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    drop(Outcome::of(&mut command).success());
    text(&bench, "report")
}

fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
        .unwrap()
}

#[test]
fn a_step_has_internet_access_without_access_to_the_host() {
    if let Some(why) = obstacle() {
        skip(why);
        return;
    }
    for (way, server) in [("pasta", "169.254.1.1"), ("slirp4netns", "10.0.2.3")] {
        if !installed(way) {
            skip("passt or slirp4netns is not installed: scripts/setup.sh test");
            continue;
        }
        for user in [None, Some(1000)] {
            let report = report(way, user, None);
            let expected = format!(
                "10.9.0.2:8080 answers\n127.0.0.1:8081 is silent\n10.9.0.2:8081 is silent\n\
                 10.9.0.1:8081 is silent\nnameserver {server}\nsearch example\n"
            );
            assert_eq!(report, expected, "{way} as {user:?}");
        }
    }
}

#[test]
fn a_step_has_the_requested_network() {
    if let Some(why) = obstacle() {
        skip(why);
        return;
    }
    let none = report("pasta", None, Some("none"));
    assert!(!none.contains("answers"), "{none}");
    let host = report("pasta", None, Some("host"));
    assert!(host.contains("127.0.0.1:8081 answers"), "{host}");
    assert!(host.contains("nameserver 127.0.0.53"), "{host}");
}
