//! Unikernels of nerdctl, Docker's commands for containerd.

use std::path::Path;
use std::process::{Command, Stdio};

use kraft_e2e::engines::Containerd;
use kraft_e2e::harness::{Outcome, eventually, has_builtin_runtime, skip};
use kraft_e2e::networks::make_server;
use kraft_e2e::registry::{Registry, installed};
use serde_json::Value;

use super::{Namespace, Runtime, pack_server};

/// The port at which the server is published, in a network namespace of the test.
const PORT: &str = "8088";

/// A containerd in a network namespace, and nerdctl for it.
struct Nerdctl<'a> {
    containerd: Containerd,
    runtime: &'a Runtime,
    namespace: &'a Namespace,
}

impl Nerdctl<'_> {
    fn run(&self, in_namespace: bool, args: &[&str]) -> Outcome {
        let dir = self.runtime.bench.path();
        let mut command = if in_namespace {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", self.namespace.path()));
            command.arg("nerdctl");
            command
        } else {
            Command::new("nerdctl")
        };
        command
            .arg("--address")
            .arg(self.containerd.address())
            .args(["--namespace", "tests", "--cgroup-manager", "cgroupfs"])
            .args(["--cni-path", "/usr/lib/cni", "--cni-netconfpath"])
            .arg(dir.join("networks"))
            .arg("--data-root")
            .arg(dir.join("nerdctl"))
            .args(["--insecure-registry"])
            .args(args)
            .env("HOME", dir)
            .stdin(Stdio::null());
        Outcome::of(&mut command)
    }

    fn fetch(&self) -> String {
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{PORT}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 5 cat <&3"
        );
        let net = format!("--net={}", self.namespace.path());
        let mut command = Command::new("nsenter");
        let output = command.args([&net, "bash", "-c", &script]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }
}

impl Drop for Nerdctl<'_> {
    fn drop(&mut self) {
        let _ = self.run(true, &["rm", "--force", "web"]);
    }
}

#[test]
#[ignore = "needs nerdctl, of the Go module github.com/containerd/nerdctl/v2"]
fn nerdctl_publishes_the_port_of_a_unikernel() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    for program in ["nerdctl", "ip", "nsenter", "iptables", "gcc"] {
        if !installed(program) {
            return skip(&format!("{program} is not installed"));
        }
    }
    if !has_builtin_runtime() || !Path::new("/usr/lib/cni/bridge").exists() {
        return skip("needs the built-in runtime and containernetworking-plugins: make runtime");
    }
    let namespace = Namespace::new();
    let name = namespace.0.clone();
    let (Some(registry), Some(containerd)) = (Registry::plain(), Containerd::in_namespace(&name))
    else {
        return;
    };
    let image = registry.name("apps/nerdctl:v1");
    make_server(&runtime.bench);
    pack_server(&runtime.bench, &image, &["--push"]);
    let nerdctl = Nerdctl {
        containerd,
        runtime: &runtime,
        namespace: &namespace,
    };
    // The program pulls itself, and the registry is on the host.
    let _ = nerdctl.run(false, &["pull", "--quiet", &image]).success();
    let runu = runtime.program.to_str().unwrap();
    let publish = format!("127.0.0.1:{PORT}:8080");
    let run = [
        "run",
        "--detach",
        "--name",
        "web",
        "--runtime",
        runu,
        "--memory",
        "64m",
    ];
    let run = [
        &run[..],
        &["--publish", &publish, &image, "/server", "nerdctl"],
    ]
    .concat();
    let _ = nerdctl.run(true, &run).success();
    eventually("the guest answers at the published port", || {
        nerdctl.fetch().contains("hello from nerdctl")
    });
    let probe = ["exec", "web", "runu-probe", "http", "8080/"];
    let _ = nerdctl.run(true, &probe).success();
    let _ = nerdctl
        .run(true, &["stop", "--time", "20", "web"])
        .success();
    let inspected = nerdctl.run(true, &["inspect", "web"]).success().stdout;
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected[0]["State"]["ExitCode"], 143, "{inspected:#}");
    let _ = nerdctl.run(true, &["rm", "web"]).success();
    // Without it, a sentence says what is missing.
    let run = ["run", "--rm", "--net", "none", "--runtime", "runc", &image];
    let refused = nerdctl.run(true, &run).exits(126);
    let printed = [refused.stdout, refused.stderr].concat();
    assert!(printed.contains("the OCI runtime runu"), "{printed}");
}
