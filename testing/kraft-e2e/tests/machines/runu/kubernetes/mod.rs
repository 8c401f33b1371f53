//! A real Kubernetes: its servers, kubelet and proxy with containerd, whose Pods are unikernels of `runu`.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, Outcome, has_builtin_runtime, kraft_binary, skip};
use kraft_e2e::kubernetes::{Cluster, NODE, TOOLS};
use kraft_e2e::networks::compile;
use kraft_e2e::registry::installed;
use serde_json::{Value, json};

mod failures;
mod life;
mod network;
mod volumes;

/// The server in every guest.
const WEB: &str = include_str!("web.c");

/// How long one thing may take: generous, because several guests without KVM share two processors.
const SOON: Duration = Duration::from_secs(60);

/// What one thing needs; it panics if that is not so.
type Check = fn(&mut Place);

/// The checks, in their order; each leaves the cluster as it was.
const CHECKS: [(&str, Check); 15] = [
    ("deployment", life::deployment),
    ("services", network::services),
    ("scaling", life::scaling),
    ("rolling update", life::rolling_update),
    ("exports", life::exports),
    ("probes", failures::probes),
    ("ends", failures::ends),
    ("sidecar", network::sidecar),
    ("port-forward", network::port_forward),
    ("resize", life::resize),
    ("volumes", volumes::volumes),
    ("twenty Pods", life::twenty_pods),
    ("eviction", life::eviction),
    ("restart of daemons", life::restart_of_daemons),
    ("restart of the node", life::restart_of_node),
];

/// A cluster, and the images in its registry.
struct Place {
    cluster: Cluster,
    bench: Bench,
}

/// Runs the checks on one cluster. `KRAFT_CHECK=NAME,…` runs only those whose name contains one of these.
#[test]
#[ignore = "needs make test-kubernetes"]
fn kubernetes_runs_unikernels() {
    for program in ["gcc", "qemu-system-x86_64"] {
        if !installed(program) {
            return skip(&format!("{program} is not installed"));
        }
    }
    if !has_builtin_runtime() {
        return skip("the built-in runtime is not built: make runtime");
    }
    let bench = Bench::new().limit(Duration::from_hours(1));
    let runu = bench.path().join("runu");
    symlink(kraft_binary(), &runu).unwrap();
    let begun = Instant::now();
    let Some(cluster) = Cluster::start(&runu) else {
        return;
    };
    eprintln!("ready {:6.1} s  the node", begun.elapsed().as_secs_f64());
    let mut place = Place { cluster, bench };
    compile(&place.bench, "web", WEB);
    place.push(1);
    place.push(2);
    place.add_class();
    let only = std::env::var("KRAFT_CHECK").unwrap_or_default();
    let mut failed = Vec::new();
    let wanted = |name: &str| only.split(',').any(|part| name.contains(part));
    for (name, check) in CHECKS.iter().filter(|(name, _)| wanted(name)) {
        let begun = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| {
            check(&mut place);
            place.remove_everything();
        }))
        .is_ok();
        let word = if passed { "ok   " } else { "FAILED" };
        eprintln!("{word} {:6.1} s  {name}", begun.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
            let _ = catch_unwind(AssertUnwindSafe(|| place.remove_everything()));
        }
    }
    let begun = Instant::now();
    // The kubelet removes what has ended once a minute.
    place.cluster.wait("no container is left", 2 * SOON, || {
        place.containers().is_empty()
    });
    assert_eq!(place.networks(), "");
    figure("no container is left", begun);
    assert_eq!(failed, [] as [&str; 0]);
}

impl Place {
    /// Pushes an image as users do; its guest greets with `version N`.
    fn push(&self, version: u32) {
        let name = image(version);
        let dockerfile =
            format!("FROM scratch\nCOPY web /web\nCMD [\"/web\", \"version {version}\"]\n");
        fs::write(self.bench.path().join("Dockerfile"), dockerfile).unwrap();
        let args = ["pkg", "--name", &name, "--rootfs", "./Dockerfile", "--push"];
        let mut push = self.cluster.in_network(&self.bench.command(args));
        let _ = Outcome::of(&mut push).success();
    }

    /// Creates the RuntimeClass that Pods need: the first object of every manifest.
    fn add_class(&self) {
        let manifest = self.manifest(&[]);
        self.cluster
            .apply(manifest.split("\n---\n").next().unwrap());
    }

    /// Returns what `kraft export kubernetes` prints for version 1 with some flags.
    fn manifest(&self, flags: &[&str]) -> String {
        self.manifest_of(flags, &[])
    }

    /// As [`Place::manifest`], with another command for the guest.
    fn manifest_of(&self, flags: &[&str], command: &[&str]) -> String {
        let image = image(1);
        let args = [&["export", "kubernetes"], flags, &[&image], command].concat();
        let mut export = self.cluster.in_network(&self.bench.command(args));
        Outcome::of(&mut export).success().stdout
    }

    /// Applies such a manifest, and returns it.
    fn export(&self, flags: &[&str]) -> String {
        let manifest = self.manifest(flags);
        let _ = self.cluster.apply(&manifest);
        manifest
    }

    /// Waits until a Deployment has its replicas.
    fn wait_for(&self, deployment: &str) {
        let name = format!("deployment/{deployment}");
        self.cluster.wait(&format!("{name} is there"), SOON, || {
            let deployment = self.cluster.get(&[&name]);
            let status = &deployment["status"];
            let replicas = ["replicas", "updatedReplicas", "availableReplicas"];
            status["observedGeneration"] == deployment["metadata"]["generation"]
                && replicas
                    .iter()
                    .all(|it| status[it] == deployment["spec"]["replicas"])
        });
    }

    /// Creates a Pod with a container `guest` of version 1, with more keys, and more keys of the Pod.
    fn pod(&self, name: &str, guest: Value, more: Value) {
        self.cluster.apply(&pod(name, guest, more).to_string());
    }

    /// Waits until a Pod is ready; returns its address.
    fn wait_for_pod(&self, name: &str) -> Ipv4Addr {
        self.cluster.wait(&format!("{name} is ready"), SOON, || {
            condition(&self.cluster.get(&["pod", name]), "Ready")
        });
        let address = self.cluster.get(&["pod", name])["status"]["podIP"].clone();
        address.as_str().unwrap().parse().unwrap()
    }

    /// Returns what the guest of a Pod answers; waits for it.
    fn ask(&self, address: Ipv4Addr, path: &str) -> String {
        let mut answer = None;
        self.cluster.wait(&format!("{address} answers"), SOON, || {
            answer = self.cluster.fetch(address, 8080, path);
            answer.is_some()
        });
        answer.unwrap()
    }

    /// Returns the state of the only container of a Pod.
    fn guest(&self, pod: &str) -> Value {
        self.cluster.get(&["pod", pod])["status"]["containerStatuses"][0].clone()
    }

    /// Runs a command in the container `tools` of a Pod; returns what it prints.
    fn exec(&self, pod: &str, command: &[&str]) -> Outcome {
        let exec = ["exec", pod, "--container", "tools", "--"];
        self.cluster.kubectl(&[&exec, command].concat())
    }

    /// Returns what a server answers to the container `tools` of a Pod.
    fn exec_fetch(&self, pod: &str, address: &str, port: u16, path: &str) -> String {
        let request =
            format!("printf 'GET {path} HTTP/1.0\\r\\n\\r\\n' | /busybox nc -w 3 {address} {port}");
        let answer = self.exec(pod, &["/busybox", "sh", "-c", &request]);
        let page = answer.stdout.split("\r\n\r\n").nth(1).map(str::to_owned);
        page.unwrap_or(answer.stderr)
    }

    /// Returns the names of the Pods, without those that are being deleted.
    fn pods(&self) -> Vec<String> {
        let pods = self.cluster.get(&["pods"]);
        let pods = pods["items"].as_array().unwrap().iter();
        pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Removes all that a check has made, and insists that nothing of it is left on the node.
    fn remove_everything(&self) {
        let kinds = "deployments,services,pods,configmaps,secrets";
        let delete = ["delete", kinds, "--selector", "!provider", "--wait=false"];
        let keep = [
            "--field-selector",
            "metadata.name!=kubernetes,metadata.name!=kube-root-ca.crt",
        ];
        let _ = self.cluster.kubectl(&[&delete[..], &keep].concat());
        self.cluster.wait("no Pod is left", SOON, || {
            let pods = self.cluster.get(&["pods"]);
            pods["items"].as_array().unwrap().is_empty()
        });
        self.cluster
            .wait("no machine is left", SOON, || self.machines().is_empty());
        self.cluster
            .wait("no control group of a Pod is left", SOON, || {
                let groups = self.cluster.control_groups();
                groups
                    .iter()
                    .all(|path| !path.to_string_lossy().contains("/pod"))
            });
    }

    /// Returns the processes of machines, and the files that `runu` keeps about them.
    fn machines(&self) -> Vec<String> {
        let mut list = self.cluster.nsenter(&["--pid", "--mount"]);
        let list = list.args([
            "sh",
            "-c",
            "for dir in /proc/[0-9]*; do tr '\\0' ' ' <$dir/cmdline; echo; done; \
             find /run/containerd/runc/k8s.io /run/runu -mindepth 1 -maxdepth 1",
        ]);
        let lines = Outcome::of(list).stdout;
        let mine = |line: &&str| {
            line.starts_with("qemu-system")
                || line.contains("/qemu-system")
                || line.contains("__runu-")
                || line.starts_with("/run/")
        };
        lines.lines().filter(mine).map(str::to_owned).collect()
    }

    /// Returns the namespaces and interfaces of Pods.
    fn networks(&self) -> String {
        let mut list = self.cluster.nsenter(&["--mount", "--net"]);
        let script = "ls /run/netns; ip -o link show type veth | grep -v node";
        Outcome::of(list.args(["sh", "-c", script])).stdout
    }

    /// Returns the containers of containerd.
    fn containers(&self) -> String {
        let mut list = self.cluster.nsenter(&["--mount"]);
        let list = list.args(["ctr", "-n", "k8s.io", "containers", "ls", "-q"]);
        Outcome::of(list).success().stdout
    }
}

/// Returns the image of a version.
fn image(version: u32) -> String {
    format!("localhost:5000/web:{version}")
}

/// Returns a Pod with a guest of version 1, with more keys of the guest and of the Pod's specification.
fn pod(name: &str, guest: Value, more: Value) -> Value {
    let mut container = json!({
        "name": "guest", "image": image(1),
        "resources": {
            "limits": { "memory": "64Mi", "cpu": "1" }, "requests": { "cpu": "10m" },
        },
        "readinessProbe": { "httpGet": { "port": 8080, "path": "/" }, "periodSeconds": 1 },
    });
    merge(&mut container, guest);
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": {
            "runtimeClassName": "runu", "terminationGracePeriodSeconds": 5, "containers": [container],
        },
    });
    merge(&mut pod["spec"], more);
    pod
}

/// Sets the keys of an object, and appends to its lists.
fn merge(into: &mut Value, from: Value) {
    for (key, value) in from.as_object().cloned().unwrap_or_default() {
        match (into[&key].as_array_mut(), value) {
            (Some(list), Value::Array(more)) => list.extend(more),
            (_, value) => into[key] = value,
        }
    }
}

/// Returns a container beside a guest, which serves its own page on port 9000.
fn tools() -> Value {
    let serve = "mkdir -p /www && echo the tools >/www/index.html && exec /busybox httpd -f -p 9000 -h /www";
    let serve = serve.replace("mkdir", "/busybox mkdir");
    json!({
        "name": "tools", "image": TOOLS, "imagePullPolicy": "Never",
        "command": ["/busybox", "sh", "-c", serve],
    })
}

/// Returns whether an object has a condition.
fn condition(of: &Value, name: &str) -> bool {
    let conditions = of["status"]["conditions"].as_array();
    conditions.is_some_and(|all| {
        all.iter()
            .any(|it| it["type"] == name && it["status"] == "True")
    })
}

/// Prints how long something took.
fn figure(what: &str, begun: Instant) {
    eprintln!("      {:6.1} s  {what}", begun.elapsed().as_secs_f64());
}
