//! Private engines for one test: dockerd and containerd from Debian, each with its own directories
//! and socket.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{PATIENCE, skip};
use crate::http::{self, Answer};
use crate::registry::installed;

/// A process that serves on a socket in a directory of its own.
#[derive(Debug)]
struct Daemon {
    process: Child,
    dir: tempfile::TempDir,
    socket: PathBuf,
    /// Whether its namespaces end with it, so that nothing needs to be tidied up.
    is_killed: bool,
}

impl Daemon {
    /// Starts a daemon and waits for its socket; `arrange` gets the private directory and the
    /// socket's path, and returns the command.
    fn start(programs: &[&str], arrange: impl FnOnce(&Path, &Path) -> Command) -> Option<Self> {
        for program in programs {
            if !installed(program) {
                skip(&format!(
                    "{program} is not installed: scripts/setup.sh test"
                ));
                return None;
            }
        }
        if !rustix::process::geteuid().is_root() {
            skip("engines of containers are started as root only");
            return None;
        }
        // Short, because the path of a socket may not be long.
        let dir = tempfile::Builder::new()
            .prefix("kraft-e-")
            .tempdir()
            .unwrap();
        let socket = dir.path().join("s");
        let log = File::create(dir.path().join("log")).unwrap();
        let process = arrange(dir.path(), &socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Self {
            process,
            dir,
            socket,
            is_killed: false,
        };
        daemon.wait_until_it_listens();
        Some(daemon)
    }

    fn wait_until_it_listens(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&self.socket).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the engine does not start ({ended:?}): {}",
                std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.is_killed {
            let _ = self.process.kill();
        }
        // Asked politely, both unmount what they mounted and end their own helpers.
        if let Some(pid) = rustix::process::Pid::from_raw(self.process.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.process.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A private `dockerd`, spoken to over its API: the client is another package in some releases.
#[derive(Debug)]
pub struct Docker(Daemon);

impl Docker {
    /// Starts it; `None`, and a word of why, if this host cannot.
    pub fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// Starts it with another OCI runtime under a name.
    pub fn with_runtime(name: &str, program: &Path) -> Option<Self> {
        Self::with(&["--add-runtime", &format!("{name}={}", program.display())])
    }

    fn with(flags: &[&str]) -> Option<Self> {
        let all = [&["--iptables=false", "--bridge=none"], flags].concat();
        Self::behind(&[], &all)
    }

    /// Starts a host of its own: in the network namespace of this name, and in a namespace of processes whose end
    /// is that of the daemon, of its containers and of its mounts. All its containers have an OCI runtime.
    pub fn host(network: &str, runtime: &Path) -> Option<Self> {
        let network = format!("--net=/run/netns/{network}");
        let alone = [
            "unshare",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
        ];
        let runtime = format!("own={}", runtime.display());
        let group = format!("/{}", network.rsplit_once('/')?.1);
        let mut host = Self::behind(
            &[&["nsenter", &network], &alone[..]].concat(),
            &[
                "--add-runtime",
                &runtime,
                "--default-runtime",
                "own",
                "--cgroup-parent",
                &group,
            ],
        )?;
        host.0.is_killed = true;
        Some(host)
    }

    /// Starts it by another program.
    fn behind(prefix: &[&str], flags: &[&str]) -> Option<Self> {
        let daemon = Daemon::start(&["dockerd", "containerd", "runc"], |dir, socket| {
            let words = [prefix, &["dockerd"]].concat();
            let mut command = Command::new(words[0]);
            command
                .args(&words[1..])
                .arg("--data-root")
                .arg(dir.join("data"))
                .arg("--exec-root")
                .arg(dir.join("exec"))
                .arg("--pidfile")
                .arg(dir.join("pid"))
                .arg("--config-file")
                .arg(empty_configuration(dir))
                .arg("--host")
                .arg(format!("unix://{}", socket.display()))
                .args(flags);
            command
        })?;
        Some(Self(daemon))
    }

    /// Creates a container, as the API describes it, and starts it; returns its id.
    pub fn run(&self, container: &Value) -> String {
        let made = self
            .ask("POST /containers/create", container)
            .expect(&[201]);
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        let id = made["Id"].as_str().unwrap().to_owned();
        let start = format!("POST /containers/{id}/start");
        let _ = self.ask(&start, &Value::Null).expect(&[204]);
        id
    }

    /// Waits for the end of a container; returns its exit code and what it printed.
    pub fn wait(&self, id: &str) -> (i64, String) {
        let waited = self.ask(&format!("POST /containers/{id}/wait"), &Value::Null);
        let waited: Value = serde_json::from_slice(&waited.expect(&[200]).body).unwrap();
        let logs = format!("GET /containers/{id}/logs?stdout=1&stderr=1");
        let logs = self.ask(&logs, &Value::Null).expect(&[200]).text();
        (waited["StatusCode"].as_i64().unwrap(), logs)
    }

    /// Asks the API; `what` is method and path, and a `body` of null is none at all: what the
    /// daemon leaves unread would make it break the connection instead of ending it.
    pub fn ask(&self, what: &str, body: &Value) -> Answer {
        let connection = UnixStream::connect(&self.0.socket).unwrap();
        let json = [("Content-Type", "application/json")];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        http::ask(connection, what, &json, body.as_bytes())
    }

    /// Returns the path of its socket.
    pub fn socket(&self) -> &Path {
        &self.0.socket
    }

    /// Does what `docker import TAR NAME` does.
    pub fn import(&self, tar: &Path, name: &str) {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        // With a command, because no container can be made of an image without one.
        let command = "changes=CMD%20%5B%22%2Fbin%2Fsh%22%5D";
        let what = format!("POST /images/create?fromSrc=-&repo={repository}&tag={tag}&{command}");
        let connection = UnixStream::connect(&self.0.socket).unwrap();
        let body = std::fs::read(tar).unwrap();
        let kind = [("Content-Type", "application/x-tar")];
        let answer = http::ask(connection, &what, &kind, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Does what `docker pull --platform PLATFORM NAME` does; `Err` is the engine's own word.
    pub fn pull(&self, name: &str, platform: &str) -> Result<(), String> {
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let answer = self.ask(
            &format!("POST /images/create?fromImage={repository}&tag={tag}&platform={platform}"),
            &Value::Null,
        );
        // An error after the headers can only be reported in the stream.
        let text = answer.text();
        if answer.status != 200 || text.contains("\"errorDetail\"") {
            return Err(text);
        }
        Ok(())
    }

    /// Does what `docker create NAME` and `docker inspect` do; returns what the latter prints.
    pub fn create(&self, name: &str) -> Value {
        let made = self
            .ask(
                "POST /containers/create",
                &serde_json::json!({ "Image": name, "NetworkDisabled": true }),
            )
            .expect(&[201]);
        let made: Value = serde_json::from_slice(&made.body).unwrap();
        let id = made["Id"].as_str().unwrap();
        let told = self
            .ask(&format!("GET /containers/{id}/json"), &Value::Null)
            .expect(&[200]);
        serde_json::from_slice(&told.body).unwrap()
    }
}

/// A private `containerd`, spoken to with its own `ctr`.
#[derive(Debug)]
pub struct Containerd(Daemon);

impl Containerd {
    /// Starts it; `None`, and a word of why, if this host cannot.
    pub fn start() -> Option<Self> {
        Self::behind(&[])
    }

    /// Starts it in a network namespace, by its name.
    pub fn in_namespace(name: &str) -> Option<Self> {
        Self::behind(&["nsenter", &format!("--net=/run/netns/{name}")])
    }

    /// Starts it by another program.
    fn behind(prefix: &[&str]) -> Option<Self> {
        let daemon = Daemon::start(&["containerd", "ctr"], |dir, socket| {
            let config = dir.join("config.toml");
            let text = format!(
                "version = 2\nroot = {:?}\nstate = {:?}\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = {socket:?}\n",
                dir.join("root"),
                dir.join("state")
            );
            std::fs::write(&config, text).unwrap();
            let words = [prefix, &["containerd"]].concat();
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("--config").arg(config);
            command
        })?;
        Some(Self(daemon))
    }

    /// Starts it with the interface of Kubernetes (CRI), whose Pods may have the runtime `runu` and get
    /// addresses of a network, such as `10.1.2.0/24`.
    pub fn with_pods(runu: &Path, network: &str) -> Option<Self> {
        let plugins = "/usr/lib/cni";
        if !Path::new(plugins).join("ptp").exists() {
            skip("containernetworking-plugins is not installed");
            return None;
        }
        let daemon = Daemon::start(&["containerd", "ctr", "runc"], |dir, socket| {
            let networks = dir.join("networks");
            std::fs::create_dir(&networks).unwrap();
            let addresses = serde_json::json!({
                "type": "host-local",
                "dataDir": dir.join("addresses"),
                "ranges": [[{ "subnet": network }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            });
            let list = serde_json::json!({
                "cniVersion": "0.4.0",
                "name": "pods",
                "plugins": [{ "type": "ptp", "ipam": addresses }, { "type": "loopback" }],
            });
            std::fs::write(networks.join("pods.conflist"), list.to_string()).unwrap();
            let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
            let text = format!(
                "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {socket:?}\n\
                 [{cri}]\nsandbox_image = \"localhost/pause:1\"\ndisable_apparmor = true\n\
                 restrict_oom_score_adj = true\nstream_server_address = \"127.0.0.1\"\n\
                 [{cri}.cni]\nbin_dir = {plugins:?}\nconf_dir = {networks:?}\n\
                 [{cri}.containerd]\ndefault_runtime_name = \"runu\"\n\
                 [{cri}.containerd.runtimes.runu]\nruntime_type = \"io.containerd.runc.v2\"\n\
                 [{cri}.containerd.runtimes.runu.options]\nBinaryName = {runu:?}\n",
                dir.join("root"),
                dir.join("state")
            );
            let config = dir.join("config.toml");
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new("containerd");
            command.arg("--config").arg(config);
            command
        })?;
        Some(Self(daemon))
    }

    /// Returns the path of its socket, as `containerd_addr` wants it.
    pub fn address(&self) -> &Path {
        &self.0.socket
    }

    /// Runs `ctr` in a namespace of tests.
    pub fn ctr(&self, args: &[&str]) -> Output {
        Command::new("ctr")
            .arg("--address")
            .arg(&self.0.socket)
            .args(["--namespace", "tests"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Writes a configuration that says nothing, so that the host's own is not read.
fn empty_configuration(dir: &Path) -> PathBuf {
    let path = dir.join("daemon.json");
    std::fs::write(&path, "{}").unwrap();
    path
}
