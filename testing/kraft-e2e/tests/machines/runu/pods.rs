//! Pods as Kubernetes makes them, through the CRI of a real containerd.

use std::fs;
use std::path::Path;
use std::process::Command;

use kraft_e2e::engines::Containerd;
use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, kraft_binary, skip};
use kraft_e2e::kubernetes::save_image;
use kraft_e2e::networks::{compile, make_server};
use kraft_e2e::registry::installed;
use serde_json::{Value, json};

use super::pack_server;

/// Waits for a signal; with arguments, fetches a page of an address and a port.
const SIDE: &str = r#"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
int main(int count, char **words) {
    signal(SIGTERM, end);
    if (count == 1) for (;;) pause();
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[2]))};
    inet_pton(AF_INET, words[1], &to.sin_addr);
    int server = socket(AF_INET, SOCK_STREAM, 0), got;
    if (connect(server, (void *)&to, sizeof to)) return 1;
    dprintf(server, "GET / HTTP/1.0\r\n\r\n");
    char text[4096];
    while ((got = read(server, text, sizeof text)) > 0) write(1, text, got);
    return 0;
}
"#;

struct Cri<'a> {
    bench: &'a Bench,
    socket: String,
}

impl Cri<'_> {
    fn ask(&self, args: &[&str]) -> Outcome {
        let mut command = Command::new("crictl");
        command.args(["--runtime-endpoint", &self.socket]);
        command.args(["--image-endpoint", &self.socket, "--timeout", "60s"]);
        Outcome::of(command.args(args))
    }

    /// Asks for something whose answer is an id.
    fn make(&self, args: &[&str]) -> String {
        self.ask(args).success().stdout.trim().to_owned()
    }

    fn file(&self, name: &str, text: &Value) -> String {
        let path = self.bench.path().join(name);
        fs::write(&path, text.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Creates a container of a Pod and starts it.
    fn start(&self, pod: &str, config: &str, container: &Value) -> String {
        let name = container["metadata"]["name"].as_str().unwrap();
        let file = self.file(name, container);
        let id = self.make(&["create", pod, &file, config]);
        let _ = self.ask(&["start", &id]).success();
        id
    }
}

#[test]
#[ignore = "needs crictl, of the Go module sigs.k8s.io/cri-tools"]
fn a_pod_of_cri_has_a_unikernel_and_an_ordinary_container() {
    for program in ["crictl", "gcc", "python3"] {
        if !installed(program) {
            return skip(&format!("{program} is not installed"));
        }
    }
    if !has_builtin_runtime() || !Path::new("/dev/net/tun").exists() {
        return skip("needs /dev/net/tun and the built-in runtime: scripts/setup.sh test");
    }
    let bench = Bench::new();
    let runu = bench.path().join("runu");
    std::os::unix::fs::symlink(kraft_binary(), &runu).unwrap();
    let network = format!("10.{}.0.0/24", 64 + std::process::id() % 64);
    let Some(containerd) = Containerd::with_pods(&runu, &network) else {
        return;
    };
    make_server(&bench);
    pack_server(&bench, "localhost/web:1", &[]);
    let layout = bench.path().join("layout");
    bench.ok([
        "pkg",
        "save",
        "-o",
        layout.to_str().unwrap(),
        "localhost/web:1",
    ]);
    compile(&bench, "side", SIDE);
    let path = |name: &str| bench.path().join(name).to_str().unwrap().to_owned();
    let _ =
        Outcome::of(Command::new("tar").args(["-C", &path("layout"), "-cf", &path("web"), "."]))
            .success();
    for name in ["pause", "side"] {
        let image = format!("localhost/{name}:1");
        let archive = bench.path().join(format!("{name}.tar"));
        let entrypoint = format!("/{name}");
        save_image(&bench.path().join("side"), &image, &[&entrypoint], &archive);
    }
    for archive in ["web", "pause.tar", "side.tar"] {
        let mut import = Command::new("ctr");
        import.arg("--address").arg(containerd.address());
        let _ = Outcome::of(import.args(["-n", "k8s.io", "images", "import", &path(archive)]));
    }
    let cri = Cri {
        bench: &bench,
        socket: format!("unix://{}", containerd.address().display()),
    };
    let group = bench.path().file_name().unwrap().to_str().unwrap();
    let pod = json!({
        "metadata": { "name": "web", "namespace": "tests", "uid": "u" },
        "log_directory": path("logs"), "linux": { "cgroup_parent": format!("/{group}") },
    });
    let config = cri.file("pod", &pod);
    let pod = cri.make(&["runp", "--runtime", "runu", &config]);
    let limit = json!({ "resources": { "memory_limit_in_bytes": 64 << 20 } });
    let container = |name: &str, args: &[&str]| {
        json!({
            "metadata": { "name": name }, "image": { "image": format!("localhost/{name}:1") },
            "args": args, "log_path": format!("{name}.log"), "linux": limit,
        })
    };
    let web = cri.start(&pod, &config, &container("web", &["/server", "the guest"]));
    let side = cri.start(&pod, &config, &container("side", &[]));
    let pods: Value =
        serde_json::from_str(&cri.ask(&["inspectp", "-o", "json", &pod]).success().stdout).unwrap();
    let address = pods["status"]["network"]["ip"].as_str().unwrap();
    for address in [address, "169.254.1.2"] {
        eventually("the other container reaches the guest", || {
            let fetched = cri.ask(&["exec", "--sync", &side, "/side", address, "8080"]);
            fetched.stdout.contains("the guest")
        });
    }
    let probe = ["exec", "--sync", &web, "runu-probe", "http", "8080/"];
    let _ = cri.ask(&probe).success();
    let refused = cri.ask(&["exec", "--sync", &web, "ls"]).exits(1);
    assert!(refused.stderr.contains("no shell"), "{}", refused.stderr);
    let stats = cri.ask(&["stats", "-o", "json", "--id", &web]).success();
    let stats: Value = serde_json::from_str(&stats.stdout).unwrap();
    let memory = &stats["stats"][0]["memory"]["workingSetBytes"]["value"];
    assert!(memory.as_str().unwrap().parse::<u64>().unwrap() > 1 << 20);
    // A namespace has addresses for one machine.
    let second = cri.file("second", &{
        let mut second = container("web", &["/server", "another"]);
        second["metadata"]["name"] = "second".into();
        second
    });
    let second = cri.make(&["create", &pod, &second, &config]);
    let refused = cri.ask(&["start", &second]).exits(1);
    assert!(
        refused.stderr.contains("another machine"),
        "{}",
        refused.stderr
    );
    let _ = cri.ask(&["stopp", &pod]).success();
    let _ = cri.ask(&["rmp", &pod]).success();
    let left = cri.ask(&["ps", "--all", "--quiet"]).success().stdout;
    assert_eq!(left.trim(), "");
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        // The engine does not remove that of a Pod.
        let _ = fs::remove_dir(hierarchy.path().join(group));
    }
}
