//! Unikernels of Docker Swarm, on hosts that are network namespaces with a Docker each.
//!
//! Ports are published in mode `host` and services have the names of their tasks' addresses (`dnsrr`); `mesh.rs` has
//! the routing mesh and virtual addresses, which need IPVS.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::engines::Docker;
use kraft_e2e::harness::{has_builtin_runtime, skip};
use kraft_e2e::networks::compile;
use kraft_e2e::registry::{Registry, installed};
use serde_json::{Value, json};

use super::{Runtime, pack_server};

/// Answers every request with its name, two files of the engine, and what a peer answers.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void show(int client, const char *path) {
    char text[256] = "none";
    FILE *file = fopen(path, "r");
    if (file) fgets(text, sizeof text, file);
    dprintf(client, "%s: %s\n", path, text);
}
static void ask(int client, const char *name) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    char text[4096], address[32];
    int got, peer = socket(AF_INET, SOCK_STREAM, 0);
    if (getaddrinfo(name, "8080", &hints, &found)) dprintf(client, "%s: unknown\n", name);
    else if (connect(peer, found->ai_addr, found->ai_addrlen)) dprintf(client, "%s: refused\n", name);
    else {
        inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, address, sizeof address);
        dprintf(client, "%s is %s\n", name, address);
        dprintf(peer, "GET / HTTP/1.0\r\n\r\n");
        while ((got = read(peer, text, sizeof text)) > 0) write(client, text, got);
    }
    close(peer);
}
int main(int count, char **words) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (count < 2 || bind(server, (void *)&any, sizeof any) || listen(server, 8)) return 1;
    for (;;) {
        char request[4096], host[64] = "";
        int client = accept(server, 0, 0);
        if (read(client, request, sizeof request) < 0) return 2;
        gethostname(host, sizeof host - 1);
        dprintf(client, "HTTP/1.0 200 OK\r\n\r\nhello from %s of %s\nhost %s of %s\n",
            words[1], VERSION, host, words[1]);
        show(client, "/run/secrets/key");
        show(client, "/etc/app.cfg");
        if (count > 2) ask(client, words[2]);
        close(client);
    }
}
"#;

/// Waits longer than a node is missed for, also where the hosts are emulated.
pub(super) const LONG: Duration = Duration::from_mins(10);

/// Hosts on a network of their own, with a registry that all reach at its address.
pub(super) struct Hosts {
    pub(super) dockers: Vec<Docker>,
    names: Vec<String>,
    forwards: Vec<Child>,
    /// What makes the images.
    runtime: Runtime,
    registry: Registry,
}

impl Hosts {
    /// Prepares some; `None` where that is not possible.
    pub(super) fn new(count: usize) -> Option<Self> {
        let runtime = Runtime::new()?;
        for program in [
            "dockerd", "ip", "nsenter", "unshare", "iptables", "socat", "gcc",
        ] {
            if !installed(program) {
                skip(&format!(
                    "{program} is not installed: scripts/setup.sh test"
                ));
                return None;
            }
        }
        if !has_builtin_runtime() || !Path::new("/dev/net/tun").exists() {
            skip("needs the built-in runtime and /dev/net/tun: make runtime");
            return None;
        }
        let mut hosts = Self {
            dockers: Vec::new(),
            names: (1..=count)
                .map(|host| format!("{}-{host}", runtime.cgroup))
                .collect(),
            forwards: Vec::new(),
            registry: Registry::plain()?,
            runtime,
        };
        hosts.connect();
        hosts.forward_registry();
        for name in &hosts.names {
            hosts
                .dockers
                .push(Docker::host(name, &hosts.runtime.program)?);
        }
        Some(hosts)
    }

    /// Returns the address of a host.
    fn address(host: usize) -> String {
        format!("10.77.0.{}", host + 1)
    }

    /// Makes the namespaces, and a bridge between them in the first.
    fn connect(&self) {
        let first = &self.names[0];
        let ip = |line: String| {
            let done = Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(done.success(), "ip {line}");
        };
        for name in &self.names {
            ip(format!("netns add {name}"));
            ip(format!("-n {name} link set lo up"));
        }
        ip(format!("-n {first} link add hosts type bridge"));
        ip(format!(
            "-n {first} addr add {}/24 dev hosts",
            Self::address(0)
        ));
        ip(format!("-n {first} link set hosts up"));
        for (host, name) in self.names.iter().enumerate().skip(1) {
            ip(format!(
                "-n {first} link add port{host} type veth peer name host0 netns {name}"
            ));
            ip(format!("-n {first} link set port{host} master hosts up"));
            ip(format!(
                "-n {name} addr add {}/24 dev host0",
                Self::address(host)
            ));
            ip(format!("-n {name} link set host0 up"));
        }
    }

    /// Makes the registry of this host one of theirs, by a socket in the file system.
    fn forward_registry(&mut self) {
        let port = self
            .registry
            .address()
            .rsplit_once(':')
            .unwrap()
            .1
            .to_owned();
        let socket = self.runtime.bench.path().join("registry.sock");
        let mut start = |prefix: &[String], from: String, to: String| {
            let words = [prefix, &["socat".to_owned(), from, to]].concat();
            let mut command = Command::new(&words[0]);
            command
                .args(&words[1..])
                .stdin(Stdio::null())
                .stderr(Stdio::null());
            self.forwards.push(command.spawn().unwrap());
        };
        let shown = socket.display();
        start(
            &[],
            format!("UNIX-LISTEN:{shown},fork"),
            format!("TCP:127.0.0.1:{port}"),
        );
        for name in &self.names {
            let enter = ["nsenter".to_owned(), format!("--net=/run/netns/{name}")];
            let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr");
            start(&enter, listen, format!("UNIX-CONNECT:{shown}"));
        }
    }

    /// Pushes an image of the server, and returns its name.
    pub(super) fn push(&self, version: &str) -> String {
        let bench = &self.runtime.bench;
        let text = format!("#define VERSION \"{version}\"\n{SERVER}");
        compile(bench, "server", &text);
        let image = self.registry.name(&format!("apps/swarm:{version}"));
        pack_server(bench, &image, &["--push"]);
        image
    }

    /// Begins to update a service to another image.
    pub(super) fn update(&self, service: &str, image: &str) {
        let present = self.ask(&format!("GET /services/{service}"), &Value::Null);
        let mut spec = present["Spec"].clone();
        spec["TaskTemplate"]["ContainerSpec"]["Image"] = image.into();
        let version = &present["Version"]["Index"];
        let what = format!("POST /services/{service}/update?version={version}");
        let _ = self.ask(&what, &spec);
    }

    /// Makes a swarm of the hosts, which misses one that is silent for some seconds.
    pub(super) fn make_swarm(&self) {
        let address = |host: usize| format!("{}:2377", Self::address(host));
        let place = |host| json!({ "ListenAddr": address(host), "AdvertiseAddr": address(host) });
        let mut init = place(0);
        init["Spec"] = json!({ "Dispatcher": { "HeartbeatPeriod": 3_000_000_000_u64 } });
        let _ = self.dockers[0]
            .ask("POST /swarm/init", &init)
            .expect(&[200]);
        let swarm = self.ask("GET /swarm", &Value::Null);
        for (host, docker) in self.dockers.iter().enumerate().skip(1) {
            let mut join = place(host);
            join["RemoteAddrs"] = json!([address(0)]);
            join["JoinToken"] = swarm["JoinTokens"]["Worker"].clone();
            let _ = docker.ask("POST /swarm/join", &join).expect(&[200]);
        }
    }

    /// Asks the manager.
    pub(super) fn ask(&self, what: &str, body: &Value) -> Value {
        let answer = self.dockers[0].ask(what, body).expect(&[200, 201, 204]);
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// Creates a service of the server with a published port on each host, or on any free one.
    pub(super) fn create(&self, name: &str, image: &str, replicas: u32, more: &Value) {
        let mut container = json!({ "Image": image, "Args": ["/server", name] });
        for (key, value) in more["Container"].as_object().into_iter().flatten() {
            container[key] = value.clone();
        }
        let port = json!({ "Protocol": "tcp", "TargetPort": 8080, "PublishMode": "host" });
        let mut service = json!({
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": container,
                "Resources": { "Limits": { "MemoryBytes": 64 << 20 } },
                "RestartPolicy": { "Condition": "any", "Delay": 100_000_000 },
                "Networks": more["Networks"],
            },
            "Mode": { "Replicated": { "Replicas": replicas } },
            "UpdateConfig": { "Parallelism": 1, "Delay": 2_000_000_000_u64, "Order": "stop-first" },
            "EndpointSpec": { "Mode": "dnsrr", "Ports": [port] },
        });
        if let Some(endpoint) = more.get("EndpointSpec") {
            service["EndpointSpec"] = endpoint.clone();
        }
        let _ = self.ask("POST /services/create", &service);
    }

    /// Returns the running tasks of a service.
    pub(super) fn running(&self, service: &str) -> Vec<Task> {
        let filter = format!("%7B%22service%22:%7B%22{service}%22:true%7D%7D");
        let tasks = self.ask(&format!("GET /tasks?filters={filter}"), &Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tasks = tasks.as_array().unwrap().iter();
        let tasks = tasks.filter(|task| {
            task["Status"]["State"] == "running" && task["DesiredState"] == "running"
        });
        let tasks = tasks.map(|task| Task {
            container: text(&task["Status"]["ContainerStatus"]["ContainerID"]),
            node: text(&task["NodeID"]),
            image: text(&task["Spec"]["ContainerSpec"]["Image"]),
            port: task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"].as_u64(),
        });
        tasks.collect()
    }

    pub(super) fn wait_for(&self, service: &str, replicas: usize) {
        until(service, || {
            let running = self.running(service).len();
            let tasks = || format!("{:#}", self.ask("GET /tasks", &Value::Null));
            if running == replicas {
                Ok(())
            } else {
                Err(tasks())
            }
        });
    }

    /// Fetches the page of a published port on a host.
    pub(super) fn fetch(&self, host: usize, port: Option<u64>) -> String {
        let port = port.unwrap_or_default();
        let address = Self::address(host);
        let script = format!(
            "exec 3<>/dev/tcp/{address}/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 5 cat <&3"
        );
        let net = format!("--net=/run/netns/{}", self.names[0]);
        let output = Command::new("nsenter")
            .args([&net, "timeout", "10", "bash", "-c", &script])
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// Returns the names of the nodes, that of the manager first.
    pub(super) fn nodes(&self) -> Vec<String> {
        let id = |docker: &Docker| {
            let info = docker.ask("GET /info", &Value::Null).expect(&[200]);
            let info: Value = serde_json::from_slice(&info.body).unwrap();
            info["Swarm"]["NodeID"].as_str().unwrap().to_owned()
        };
        self.dockers.iter().map(id).collect()
    }
}

/// Waits until something holds.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + LONG;
    while let Err(found) = holds() {
        assert!(Instant::now() < deadline, "{what}: {found}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until a page has all of some texts.
fn until_it_has(expected: &[&str], fetch: impl Fn() -> String) {
    until(&format!("{expected:?}"), || {
        let page = fetch();
        let has_all = expected.iter().all(|text| page.contains(text));
        if has_all { Ok(()) } else { Err(page) }
    });
}

/// A running task of a service.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) container: String,
    pub(super) node: String,
    pub(super) image: String,
    port: Option<u64>,
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.dockers.clear();
        for forward in &mut self.forwards {
            let _ = forward.kill();
            let _ = forward.wait();
        }
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
            let groups = fs::read_dir("/sys/fs/cgroup")
                .into_iter()
                .flatten()
                .flatten();
            for group in groups.map(|hierarchy| hierarchy.path().join(name)) {
                let below = fs::read_dir(&group).into_iter().flatten().flatten();
                below.for_each(|entry| drop(fs::remove_dir(entry.path())));
                let _ = fs::remove_dir(group);
            }
        }
    }
}

#[test]
#[ignore = "a service of Docker Swarm takes half a minute"]
fn swarm_replaces_and_updates_unikernels() {
    let Some(hosts) = Hosts::new(1) else {
        return;
    };
    let (first, second) = (hosts.push("v1"), hosts.push("v2"));
    hosts.make_swarm();
    // "from a secret" and "from a config" in base64.
    let secret = json!({ "Name": "key", "Data": "ZnJvbSBhIHNlY3JldA==" });
    let config = json!({ "Name": "cfg", "Data": "ZnJvbSBhIGNvbmZpZw==" });
    let secret = hosts.ask("POST /secrets/create", &secret)["ID"].clone();
    let config = hosts.ask("POST /configs/create", &config)["ID"].clone();
    let file = |name: &str| json!({ "Name": name, "UID": "0", "GID": "0", "Mode": 0o444 });
    let files = json!({ "Container": {
        "Secrets": [{ "SecretID": secret, "SecretName": "key", "File": file("key") }],
        "Configs": [{ "ConfigID": config, "ConfigName": "cfg", "File": file("/etc/app.cfg") }],
    }});
    hosts.create("web", &first, 3, &files);
    hosts.wait_for("web", 3);
    let files = [
        "hello from web of v1",
        "/run/secrets/key: from a secret",
        "/etc/app.cfg: from a config",
    ];
    for task in hosts.running("web") {
        until_it_has(&files, || hosts.fetch(0, task.port));
    }
    // 3, 2, 3.
    let before = hosts.running("web");
    let killed = &before[0];
    let _ = hosts.ask(
        &format!("POST /containers/{}/kill", killed.container),
        &Value::Null,
    );
    until("the killed one is missed", || {
        let running = hosts.running("web");
        let is_left = running
            .iter()
            .any(|task| task.container == killed.container);
        if is_left {
            Err(format!("{running:#?}"))
        } else {
            Ok(())
        }
    });
    hosts.wait_for("web", 3);
    let running = hosts.running("web");
    let others = before
        .iter()
        .filter(|task| task.container != killed.container);
    for task in others {
        let is_left = running.iter().any(|it| it.container == task.container);
        assert!(is_left, "only the killed one is replaced: {running:#?}");
    }
    for task in &running {
        until_it_has(&["of v1"], || hosts.fetch(0, task.port));
    }
    update_without_a_failed_request(&hosts, &second);
}

/// Updates a service task by task, and fetches its page all the while. A client has to try another replica: Swarm stops
/// an old task first, and removes its port from the list afterwards.
fn update_without_a_failed_request(hosts: &Hosts, image: &str) {
    hosts.update("web", image);
    let (mut requests, mut old, mut new) = (0, 0, 0);
    let deadline = Instant::now() + LONG;
    loop {
        let tasks = hosts.running("web");
        let pages = || tasks.iter().map(|task| hosts.fetch(0, task.port));
        let page = pages().find(|page| page.contains("hello from web"));
        let page = page.unwrap_or_else(|| panic!("request {requests} has no answer: {tasks:#?}"));
        requests += 1;
        old += u32::from(page.contains("of v1"));
        new += u32::from(page.contains("of v2"));
        let is_new = |task: &Task| task.image.starts_with(image);
        if tasks.len() == 3 && tasks.iter().all(is_new) && new > 0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "the update takes too long: {tasks:#?}"
        );
    }
    assert!(
        old > 0 && new > 0,
        "{old} pages of the old, {new} of the new image"
    );
    println!("{requests} requests during the update: {old} to the old, {new} to the new image");
}

#[test]
#[ignore = "a node of Docker Swarm is missed after half a minute"]
fn swarm_moves_unikernels_from_a_lost_node() {
    let Some(mut hosts) = Hosts::new(2) else {
        return;
    };
    let image = hosts.push("v1");
    hosts.make_swarm();
    let network = json!({ "Name": "back", "Driver": "overlay" });
    let network = hosts.ask("POST /networks/create", &network)["Id"].clone();
    let on_network = json!({ "Networks": [{ "Target": network }] });
    hosts.create("store", &image, 2, &on_network);
    let mut asking = on_network.clone();
    asking["Container"] = json!({ "Args": ["/server", "web", "store"] });
    hosts.create("web", &image, 2, &asking);
    let nodes = hosts.nodes();
    for service in ["store", "web"] {
        hosts.wait_for(service, 2);
        let running = hosts.running(service);
        for node in &nodes {
            assert!(
                running.iter().any(|task| task.node == *node),
                "{running:#?}"
            );
        }
    }
    let both = ["hello from web", "hello from store"];
    for task in hosts.running("web") {
        let host = nodes.iter().position(|node| *node == task.node).unwrap();
        until_it_has(&both, || hosts.fetch(host, task.port));
    }
    // Everything of the second host ends at once, as if its power failed.
    drop(hosts.dockers.pop());
    for service in ["store", "web"] {
        until(service, || {
            let running = hosts.running(service);
            let is_moved = running.len() == 2 && running.iter().all(|task| task.node == nodes[0]);
            if is_moved {
                Ok(())
            } else {
                Err(format!("{running:#?}"))
            }
        });
    }
    for task in hosts.running("web") {
        until_it_has(&both, || hosts.fetch(0, task.port));
    }
}
