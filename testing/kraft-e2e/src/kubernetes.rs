//! A node of Kubernetes for one test: the real servers, kubelet and containerd, in namespaces of their own
//! (`testing/kubernetes/node.sh`).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Outcome, repository, skip, wrapped};
use crate::netns;
use crate::registry::installed;

/// The address of the node, where its `NodePort`s are.
pub const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 1);

/// How long the node may take to be ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long an HTTP server may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What the node needs beside the programs that `make test-kubernetes` builds.
const PROGRAMS: [&str; 11] = [
    "busybox",
    "conntrack",
    "containerd",
    "docker-registry",
    "ip",
    "nft",
    "nsenter",
    "openssl",
    "python3",
    "runc",
    "unshare",
];

/// The program in the image [`TOOLS`].
const BUSYBOX: &str = "/bin/busybox";

/// An image with a static `/busybox`, for containers beside a unikernel; Pods have it, too.
pub const TOOLS: &str = "localhost/tools:1";

/// Writes an image with one program, as `docker save` does: program, name, entry point, archive.
const IMAGE: &str = r#"
import hashlib, io, json, sys, tarfile
program, name, entrypoint, out = sys.argv[1:]
entrypoint = json.loads(entrypoint)
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as tar:
    tar.add(program, arcname=entrypoint[0].lstrip("/"))
layer = layer.getvalue()
digest = "sha256:" + hashlib.sha256(layer).hexdigest()
config = {"architecture": "amd64", "os": "linux", "config": {"Entrypoint": entrypoint},
          "rootfs": {"type": "layers", "diff_ids": [digest]}}
manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
with tarfile.open(out, "w") as tar:
    for file, data in [("config.json", json.dumps(config).encode()), ("layer.tar", layer),
                       ("manifest.json", json.dumps(manifest).encode())]:
        info = tarfile.TarInfo(file)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
"#;

/// Writes an image that starts a static program, as `docker save` does.
///
/// # Panics
/// If it cannot.
pub fn save_image(program: &Path, name: &str, entrypoint: &[&str], archive: &Path) {
    let mut command = Command::new("python3");
    command.args(["-c", IMAGE]).arg(program).arg(name);
    command.arg(Value::from(entrypoint).to_string());
    let _ = Outcome::of(command.arg(archive)).success();
}

/// A node, whose processes, mounts and interfaces end with this.
#[derive(Debug)]
pub struct Cluster {
    process: Child,
    dir: tempfile::TempDir,
    programs: PathBuf,
    runu: PathBuf,
}

impl Cluster {
    /// Starts a node with the OCI runtime `runu`; `None`, with a message, if this host has no programs for
    /// it.
    ///
    /// # Panics
    /// If they do not start.
    pub fn start(runu: &Path) -> Option<Self> {
        let programs = std::env::var_os("KRAFT_KUBERNETES")
            .map_or_else(|| repository().join("target/kubernetes"), PathBuf::from);
        let missing = PROGRAMS.into_iter().find(|program| !installed(program));
        let why = if !programs.join("kubelet").exists() {
            Some("Kubernetes is not built: make test-kubernetes".to_owned())
        } else if let Some(program) = missing {
            Some(format!("{program} is not installed"))
        } else if !Path::new("/usr/lib/cni/bridge").exists() {
            Some("containernetworking-plugins is not installed".to_owned())
        } else if !rustix::process::geteuid().is_root() {
            Some("a node of Kubernetes needs root".to_owned())
        } else {
            None
        };
        if let Some(why) = why {
            skip(&why);
            return None;
        }
        let dir = tempfile::Builder::new()
            .prefix("kraft-kube-")
            .tempdir()
            .unwrap();
        let images = dir.path().join("images");
        fs::create_dir(&images).unwrap();
        let pause = ["/busybox", "sleep", "1000000000"];
        save_image(Path::new(BUSYBOX), TOOLS, &pause, &images.join("tools.tar"));
        let cluster = Self {
            process: node(dir.path(), &programs, runu),
            dir,
            programs,
            runu: runu.to_owned(),
        };
        cluster.wait_until_ready();
        Some(cluster)
    }

    /// Ends the node as a power failure does, and starts it again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let _ = fs::remove_file(self.dir.path().join("kubeconfig"));
        self.process = node(self.dir.path(), &self.programs, &self.runu);
        self.wait_until_ready();
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let deadline = Instant::now() + PATIENCE;
        // Its processes end a moment later.
        while !self.remove_control_groups() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills a daemon of the node, which is started again: `containerd`, `kubelet` ….
    ///
    /// # Panics
    /// If there is no such daemon.
    pub fn kill_daemon(&self, name: &str) {
        let pid = fs::read_to_string(self.dir.path().join("pids").join(name)).unwrap();
        let mut kill = self.nsenter(&["--pid", "--mount"]);
        let _ = Outcome::of(kill.args(["kill", "-KILL", pid.trim()])).success();
    }

    fn wait_until_ready(&self) {
        let config = self.dir.path().join("kubeconfig");
        self.wait("the node starts", PATIENCE, || config.exists());
        self.wait("the node is ready", PATIENCE, || {
            let condition = "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let account = ["get", "serviceaccount", "default", "-o", "name"];
            self.kubectl(&["get", "nodes", condition]).stdout == "True"
                && self.kubectl(&account).code == Some(0)
        });
    }

    /// Returns the directory with the logs of the node.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs `kubectl` to its end.
    pub fn kubectl(&self, args: &[&str]) -> Outcome {
        Outcome::of(&mut self.kubectl_command(args))
    }

    /// Prepares a `kubectl`.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = self.nsenter(&["--net"]);
        command
            .arg(self.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(self.dir.path().join("kubeconfig"))
            .args(args)
            .env("HOME", self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Returns what `kubectl get ARGS -o json` prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn get(&self, args: &[&str]) -> Value {
        let args = [&["get"], args, &["-o", "json"]].concat();
        serde_json::from_str(&self.kubectl(&args).success().stdout).unwrap()
    }

    /// Does what `kubectl apply` does with a manifest; returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn apply(&self, manifest: &str) -> String {
        let path = self.dir.path().join("manifest");
        fs::write(&path, manifest).unwrap();
        let path = path.to_str().unwrap();
        let applied = self.kubectl(&["apply", "--filename", path]).success();
        // Kubernetes warns of what it does not understand.
        assert_eq!(applied.stderr, "");
        applied.stdout
    }

    /// Returns a command in the network of the node, where the registry is `localhost:5000`.
    pub fn in_network(&self, command: &Command) -> Command {
        wrapped(self.nsenter(&["--net"]), command)
    }

    /// Prepares a command in namespaces of the node; the program is added to it.
    pub fn nsenter(&self, namespaces: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.node()));
        command.args(namespaces);
        command
    }

    /// Fetches a page by HTTP from the network of the node; `None` if there is no answer.
    ///
    /// # Panics
    /// If the network cannot be entered.
    pub fn fetch(&self, address: Ipv4Addr, port: u16, path: &str) -> Option<String> {
        let namespace = PathBuf::from(format!("/proc/{}/ns/net", self.node()));
        netns::inside(&namespace, || {
            let address = SocketAddr::new(address.into(), port);
            let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
            stream.set_read_timeout(Some(ANSWER)).ok()?;
            // In one piece: simple servers read once.
            let request = format!("GET {path} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.split("\r\n\r\n").nth(1).map(str::to_owned)
        })
    }

    /// Waits for a condition; panics with `what`, and with what the cluster reports, if it does not come in time.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait(&self, what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + limit;
        while !condition() {
            if Instant::now() > deadline {
                let pods = self.kubectl(&["get", "pods", "--output", "wide"]);
                let events = self.kubectl(&["get", "events", "--sort-by", ".lastTimestamp"]);
                let tail = events.stdout.lines().rev().take(15).collect::<Vec<_>>();
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                panic!(
                    "not within {} s: {what}\n{}{}\n{tail}",
                    limit.as_secs(),
                    pods.stdout,
                    pods.stderr
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Returns the control groups below that of the Pods, and those of a name of this node.
    pub fn control_groups(&self) -> Vec<PathBuf> {
        let name = self.dir.path().file_name().unwrap();
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).unwrap().flatten();
        let mut found = Vec::new();
        let mut open: Vec<PathBuf> = hierarchies.map(|it| it.path().join(name)).collect();
        open.push(root.join(name));
        while let Some(path) = open.pop().filter(|_| open.len() < 10_000) {
            let Ok(entries) = fs::read_dir(&path) else {
                continue;
            };
            let inner = entries.flatten().filter(|it| it.path().is_dir());
            open.extend(inner.map(|it| it.path()));
            found.push(path);
        }
        found
    }

    /// Removes the control groups of this node; returns whether none is left.
    fn remove_control_groups(&self) -> bool {
        let mut all = self.control_groups();
        all.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        all.iter().all(|path| fs::remove_dir(path).is_ok())
    }

    /// Returns the first process of the node's namespaces: the only child of `unshare`.
    fn node(&self) -> u32 {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let first = children.ok().and_then(|it| it.trim().parse().ok());
        first.unwrap_or(id)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a node in a directory.
fn node(dir: &Path, programs: &Path, runu: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log-of-node"))
        .unwrap();
    // It ends with this thread, also if that is killed.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--propagation", "private"])
        .arg(repository().join("testing/kubernetes/node.sh"))
        .args([dir, programs, runu])
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
