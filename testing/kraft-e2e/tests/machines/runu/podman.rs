//! Unikernels of a private podman, as root and as an ordinary user: `podman run`, and `podman kube play` of the
//! Pod that `kraft export` prints.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, skip};
use kraft_e2e::networks::make_server;
use kraft_e2e::registry::{Registry, free_port, installed};

use super::pack_server;

/// The user ID of an ordinary user: Debian's `nobody`.
const USER: u32 = 65534;

/// Enters the namespaces of the test, and opens the device of network cards to users there: it is a host's
/// decision who may use its own.
const ENTER: &str = "mount --bind \"$0/tun\" /dev/net/tun && exec \"$@\"";

/// A podman with directories of its own.
struct Podman {
    bench: Bench,
    /// The program and arguments that run another as its user, in its namespaces.
    prefix: Vec<String>,
    /// The network namespace in which root's networks are.
    namespace: Option<String>,
}

impl Podman {
    /// Prepares one; `None` where that is not possible.
    fn new(root: bool) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("podman is tested by root only, also for an ordinary user");
            return None;
        }
        let mut needed = vec!["podman", "catatonit", "conmon", "gcc"];
        needed.extend(if root {
            &["ip", "nsenter", "iptables"][..]
        } else {
            &["setpriv", "unshare", "slirp4netns"]
        });
        if let Some(missing) = needed.into_iter().find(|program| !installed(program)) {
            skip(&format!(
                "{missing} is not installed: scripts/setup.sh test"
            ));
            return None;
        }
        if !has_builtin_runtime() || !Path::new("/dev/net/tun").exists() {
            skip("needs the built-in runtime and /dev/net/tun: make runtime");
            return None;
        }
        let bench = Bench::new();
        let program = bench.path().join("runu");
        symlink(bench.kraft_copy(), &program).unwrap();
        let mut podman = Self {
            bench,
            prefix: Vec::new(),
            namespace: None,
        };
        if root {
            podman.make_namespace();
        } else {
            podman.make_device();
        }
        Some(podman)
    }

    fn make_namespace(&mut self) {
        let name = format!("kraft-podman-{}", std::process::id());
        for args in [
            &["netns", "add", &name][..],
            &["-n", &name, "link", "set", "lo", "up"],
        ] {
            assert!(Command::new("ip").args(args).status().unwrap().success());
        }
        let enter = [
            "nsenter".to_owned(),
            format!("--net=/run/netns/{name}"),
            "--".to_owned(),
        ];
        self.prefix.extend(enter);
        self.namespace = Some(name);
    }

    fn make_device(&mut self) {
        let dir = self.bench.path().to_str().unwrap().to_owned();
        let device = format!("{dir}/tun");
        let made = Command::new("mknod")
            .args(["--mode=666", &device, "c", "10", "200"])
            .status();
        assert!(made.unwrap().success());
        let enter = ["unshare", "--mount", "--", "sh", "-c", ENTER, &dir];
        self.prefix.extend(enter.map(str::to_owned));
        self.prefix.push("setpriv".to_owned());
    }

    /// Gives everything to the user of this podman.
    fn hand_over(&mut self) {
        if self.namespace.is_none() {
            let [_, rights @ ..] = self.bench.hand_over(USER);
            self.prefix.extend(rights);
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.bench.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_behind(&self.prefix, args)
    }

    /// Pulls from the registry, which root's networks do not lead to.
    fn pull(&self, image: &str) {
        let in_namespace = self.namespace.is_some();
        let prefix = if in_namespace {
            &["env".to_owned()][..]
        } else {
            &self.prefix
        };
        let _ = self
            .run_behind(prefix, &["pull", "--tls-verify=false", image])
            .success();
    }

    fn run_behind(&self, prefix: &[String], args: &[&str]) -> Outcome {
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg("podman");
        command.arg("--root").arg(self.dir("storage"));
        command.arg("--runroot").arg(self.dir("run"));
        command.arg("--tmpdir").arg(self.dir("tmp"));
        command
            .arg("--network-config-dir")
            .arg(self.dir("networks"));
        command.args(["--cgroup-manager", "cgroupfs", "--log-level", "error"]);
        command
            .arg("--runtime")
            .arg(self.dir("runu"))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.bench.path())
            .env("XDG_RUNTIME_DIR", self.dir("xdg"))
            .env("CONTAINERS_CONF", self.dir("containers.conf"))
            .current_dir(self.bench.path())
            .stdin(Stdio::null());
        Outcome::of(&mut command)
    }

    /// Fetches a page from a published port.
    fn fetch(&self, port: u16) -> String {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 5 cat <&3"
        );
        let mut command = Command::new("bash");
        if let Some(name) = &self.namespace {
            command = Command::new("nsenter");
            command.args([&format!("--net=/run/netns/{name}"), "bash"]);
        }
        let output = command.args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        for args in [
            &["pod", "rm", "--force", "--all", "--time", "0"][..],
            &["rm", "--force", "--all", "--time", "0"],
            &["rmi", "--force", "--all"],
        ] {
            let _ = self.run(args);
        }
        if let Some(name) = &self.namespace {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
        // What holds the namespaces of an ordinary user.
        for dir in ["tmp", "xdg/libpod/tmp"] {
            let pid = fs::read_to_string(self.dir(dir).join("pause.pid"));
            if let Ok(pid) = pid {
                let _ = Command::new("kill").arg(pid.trim()).status();
            }
        }
    }
}

/// Runs a server with a published port, and the Pod that `kraft export` prints for it.
fn run_and_play(mut podman: Podman, pod_network: &[&str]) {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let image = registry.name("apps/podman:v1");
    make_server(&podman.bench);
    pack_server(&podman.bench, &image, &["--push"]);
    let pod_port = free_port();
    let publish = format!("{pod_port}:8080");
    let export = [
        "export", "podman", "--name", "web", "--memory", "64Mi", "--port", &publish,
    ];
    let export = [
        &export[..],
        &["--output", "units", &image, "/server", "a pod"],
    ]
    .concat();
    podman.bench.ok(export);
    // podman raises limits that a container of its own may not raise.
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
    fs::write(podman.dir("containers.conf"), limits).unwrap();
    for dir in ["xdg", "networks"] {
        fs::create_dir(podman.dir(dir)).unwrap();
    }
    podman.hand_over();
    podman.pull(&image);
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:8080");
    let run = [
        "run",
        "--detach",
        "--name",
        "web",
        "--publish",
        &publish,
        &image,
    ];
    let _ = podman
        .run(&[&run[..], &["/server", "podman"]].concat())
        .success();
    eventually("the guest answers at the published port", || {
        podman.fetch(port).contains("hello from podman")
    });
    let _ = podman
        .run(&["exec", "web", "runu-probe", "http", "8080/"])
        .success();
    let _ = podman.run(&["exec", "web", "sh"]).exits(255);
    let _ = podman.run(&["stop", "--time", "20", "web"]).success();
    let inspect = ["inspect", "--format", "{{.State.ExitCode}}", "web"];
    assert_eq!(podman.run(&inspect).success().stdout.trim(), "143");
    let _ = podman.run(&["rm", "web"]).success();
    let play = [&["kube", "play"][..], pod_network, &["units/web.pod.yaml"]].concat();
    let _ = podman.run(&play).success();
    eventually("the guest of the Pod answers at its port", || {
        podman.fetch(pod_port).contains("hello from a pod")
    });
    let _ = podman
        .run(&["kube", "down", "units/web.pod.yaml"])
        .success();
    assert_eq!(podman.run(&["ps", "--all", "--quiet"]).success().stdout, "");
}

#[test]
#[ignore = "starts containers of a podman"]
fn podman_publishes_the_ports_of_unikernels_and_plays_pods() {
    if let Some(podman) = Podman::new(true) {
        run_and_play(podman, &[]);
    }
}

#[test]
#[ignore = "starts containers of a podman"]
fn podman_of_an_ordinary_user_runs_unikernels_and_plays_pods() {
    if let Some(podman) = Podman::new(false) {
        run_and_play(podman, &["--network", "slirp4netns"]);
    }
}
