//! The ways to a BuildKit, and what it may ask of us while it builds.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use kraft_e2e::dockerfiles::{Bridge, base_tar, build, context, paths, push_base, text};
use kraft_e2e::engines::Docker;
use kraft_e2e::harness::{Bench, Outcome, eventually, skip};
use kraft_e2e::program;
use kraft_e2e::registry::{Registry, free_port, installed};

/// An engine behind the protocol of a stand-alone BuildKit; `None` (and said so) if there is none
/// here, or nothing to put between.
fn engine() -> Option<(Docker, Bridge, Bench)> {
    if !installed("socat") {
        skip("socat is not installed: scripts/setup.sh test");
        return None;
    }
    let docker = Docker::start()?;
    let bridge = Bridge::to(docker.socket());
    let bench = Bench::new();
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "x")],
    );
    Some((docker, bridge, bench))
}

/// Builds with the BuildKit at an address, and no other.
fn at(bench: &Bench, address: &str) -> Outcome {
    build(
        bench,
        &[
            "--builder",
            "buildkit",
            "--buildkit-host",
            address,
            "--no-rootfs-cache",
        ],
    )
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Path, args: &[&str]) {
    let made = Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// Makes an authority, and certificates of a server and a client that it vouches for.
fn certificates(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let subject = ["-subj", "/CN=127.0.0.1", "-nodes", "-newkey", "rsa:2048"];
    let mut args = vec!["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem"];
    args.extend(["-subj", "/CN=kraft tests", "-nodes", "-newkey", "rsa:2048"]);
    openssl(dir, &args);
    for name in ["server", "client"] {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let mut args = vec!["req", "-new", "-keyout", &key, "-out", &request];
        args.extend(subject);
        openssl(dir, &args);
        fs::write(dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let out = format!("{name}.pem");
        let mut args = vec![
            "x509", "-req", "-in", &request, "-out", &out, "-CA", "ca.pem",
        ];
        args.extend([
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-days",
            "2",
        ]);
        openssl(dir, &args);
    }
}

#[test]
fn tls_uses_the_certificate_of_the_emulator() {
    let Some((_docker, bridge, bench)) = engine() else {
        return;
    };
    let dir = bench.path().join("tls");
    certificates(&dir);
    let port = free_port();
    let [unix, _] = bridge.addresses();
    let socket = unix.strip_prefix("unix://").unwrap();
    let listen = format!(
        "OPENSSL-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,cert={0}/server.pem,key={0}/server.key,\
         cafile={0}/ca.pem,verify=1",
        dir.display()
    );
    let _proxy = Running(
        Command::new("socat")
            .args([&listen, &format!("UNIX-CONNECT:{socket}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("the proxy listens", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let address = format!("tcp://127.0.0.1:{port}");
    // As `buildctl --tlsdir` finds them.
    let ours = bench.path().join("ours");
    fs::create_dir(&ours).unwrap();
    fs::copy(dir.join("ca.pem"), ours.join("ca.pem")).unwrap();
    let bench = bench.env("KRAFTKIT_BUILDKIT_TLS_DIR", ours.to_str().unwrap());
    let refused = at(&bench, &address).exits(7);
    assert!(
        refused
            .stderr
            .contains(&format!("the BuildKit at {address}: ")),
        "{}",
        refused.stderr
    );
    fs::copy(dir.join("client.pem"), ours.join("cert.pem")).unwrap();
    fs::copy(dir.join("client.key"), ours.join("key.pem")).unwrap();
    drop(at(&bench, &address).success());
    assert_eq!(paths(&bench), ["a"]);
    // An authority that did not vouch for the server.
    openssl(
        &ours,
        &[
            "req", "-x509", "-keyout", "x.key", "-out", "ca.pem", "-subj", "/CN=x", "-nodes",
            "-newkey", "rsa:2048",
        ],
    );
    let stranger = at(&bench, &address).exits(7);
    assert!(
        stranger.stderr.contains("certificate"),
        "{}",
        stranger.stderr
    );
}

#[test]
fn a_buildkit_in_a_container_is_reached_through_the_program_of_its_engine() {
    let Some((_docker, bridge, bench)) = engine() else {
        return;
    };
    let [unix, _] = bridge.addresses();
    let socket = unix.strip_prefix("unix://").unwrap();
    let bin = bench.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // What `docker exec -i NAME buildctl dial-stdio` does, for a container that is none.
    let script = format!(
        "[ \"$*\" = 'exec -i builder buildctl dial-stdio' ] || exit 9\n\
         exec socat - UNIX-CONNECT:{socket}\n"
    );
    for name in ["docker", "podman"] {
        program::script(&bin.join(name), &script);
    }
    let search = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let bench = bench.env("PATH", &search);
    for address in ["docker-container://builder", "podman-container://builder"] {
        drop(at(&bench, address).success());
        assert_eq!(paths(&bench), ["a"]);
    }
    let refused = at(&bench, "docker-container://other").exits(7);
    assert!(
        refused.stderr.contains("docker-container://other"),
        "{}",
        refused.stderr
    );
}

#[test]
fn unreachable_and_invalid_addresses_are_reported() {
    let bench = Bench::new();
    context(
        &bench,
        &[("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "x")],
    );
    let nowhere = at(&bench, "tcp://127.0.0.1:1").exits(7);
    assert!(
        nowhere
            .stderr
            .contains("the BuildKit at tcp://127.0.0.1:1: "),
        "{}",
        nowhere.stderr
    );
    let wrong = at(&bench, "http://127.0.0.1").exits(2);
    assert!(
        wrong
            .stderr
            .contains("`http://127.0.0.1` is not a valid value of `--buildkit-host`"),
        "{}",
        wrong.stderr
    );
    // Without `--builder` another builder is used.
    let flags = [
        "--buildkit-host",
        "unix:///nowhere/s",
        "--build-arg",
        "UNSET_HERE",
    ];
    let outcome = build(&bench, &flags);
    assert!(
        outcome
            .stderr
            .contains("not available: the BuildKit at unix:///nowhere/s"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("has no such variable"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_daemon_gets_credentials_and_the_socket_of_an_agent_from_us() {
    let (Some((docker, _bridge, bench)), Some(registry)) =
        (engine(), Registry::with_password("me", "secret word"))
    else {
        return;
    };
    let Some(tar) = base_tar(bench.path()) else {
        return;
    };
    let name = registry.name("base:1");
    push_base(&registry, &tar, &name);
    let dockerfile = format!(
        "FROM {name}\nRUN --mount=type=ssh [ -S \"$SSH_AUTH_SOCK\" ] && echo yes > /agent\n"
    );
    context(&bench, &[("Dockerfile", &dockerfile)]);
    let agent = bench.path().join("agent");
    let _agent = UnixListener::bind(&agent).unwrap();
    let host = format!("unix://{}", docker.socket().display());
    let bench = bench
        .env("DOCKER_HOST", &host)
        .env("SSH_AUTH_SOCK", agent.to_str().unwrap());
    let flags = ["--builder", "docker", "--build-network", "none"];
    let stranger = build(&bench, &flags).exits(6);
    assert!(!stranger.stderr.contains("secret word"));
    let login = [
        "login",
        &registry.address(),
        "-u",
        "me",
        "-t",
        "secret word",
    ];
    bench.ok(login);
    let outcome = build(&bench, &flags).success();
    assert!(!outcome.stderr.contains("secret word"));
    assert_eq!(text(&bench, "agent"), "yes\n");
}
