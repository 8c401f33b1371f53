//! `runu`, the OCI runtime: bundles without an engine, and containers of a real Docker.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kraft_e2e::engines::Docker;
use kraft_e2e::guest::package;
use kraft_e2e::harness::{Bench, Outcome, eventually, has_builtin_runtime, kraft_binary, skip};
use kraft_e2e::netns;
use kraft_e2e::networks::make_server;
use kraft_e2e::registry::{Registry, installed};
use serde_json::{Value, json};

mod kubernetes;
mod mesh;
mod nerdctl;
mod podman;
mod pods;
mod swarm;

/// Packages the program `server` in the directory of a bench.
fn pack_server(bench: &Bench, image: &str, flags: &[&str]) {
    let dockerfile = bench.path().join("Dockerfile");
    fs::write(dockerfile, "FROM scratch\nCOPY server /server\n").unwrap();
    let pack = ["pkg", "--name", image, "--rootfs", "./Dockerfile"];
    bench.ok(pack.iter().chain(flags));
}

/// Containers below a directory, made by `runu`.
struct Runtime {
    bench: Bench,
    /// The control group of the containers.
    cgroup: String,
    program: PathBuf,
}

impl Runtime {
    /// Prepares it; `None` without root, whom a control group and a network namespace need.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("runu is tested as root only");
            return None;
        }
        let bench = Bench::new();
        let program = bench.path().join("runu");
        symlink(kraft_binary(), &program).unwrap();
        let name = bench.path().file_name().unwrap().to_str().unwrap();
        let cgroup = name.to_owned();
        Some(Self {
            bench,
            cgroup,
            program,
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.bench.path().join("state"))
            .arg("--log")
            .arg(self.bench.path().join("log"))
            .args(["--log-format", "json"])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(args))
    }

    /// Unpacks the Linux side of an image of the miniature kernel into a bundle.
    fn bundle(&self, args: &[&str], more: &Value) -> PathBuf {
        package(&self.bench, "test/bundle:v1", &[]);
        self.bundle_of("test/bundle:v1", args, more)
    }

    fn bundle_of(&self, image: &str, args: &[&str], more: &Value) -> PathBuf {
        let layout = self.bench.path().join("layout");
        self.bench
            .ok(["pkg", "save", "-o", layout.to_str().unwrap(), image]);
        let blob = |digest: &Value| {
            let hex = digest
                .as_str()
                .unwrap()
                .strip_prefix("sha256:")
                .unwrap()
                .to_owned();
            layout.join("blobs/sha256").join(hex)
        };
        let read =
            |path: PathBuf| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
        let top = read(layout.join("index.json"));
        let index = read(blob(&top["manifests"][0]["digest"]));
        let linux = index["manifests"].as_array().unwrap().iter();
        let linux = linux
            .clone()
            .find(|it| it["platform"]["os"] == "linux")
            .unwrap();
        let manifest = read(blob(&linux["digest"]));
        let bundle = self.bench.path().join("bundle");
        let _ = fs::remove_dir_all(&bundle);
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(&rootfs).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let tar = blob(&layer["digest"]);
            let status = Command::new("tar")
                .arg("-C")
                .arg(&rootfs)
                .arg("-xf")
                .arg(tar)
                .status();
            assert!(status.unwrap().success());
        }
        let config = read(blob(&manifest["config"]["digest"]));
        let mut all: Vec<Value> = config["config"]["Entrypoint"].as_array().unwrap().clone();
        all.extend(args.iter().map(|&arg| arg.into()));
        let mut json = json!({
            "ociVersion": "1.0.2",
            "root": { "path": "rootfs" },
            "process": { "args": all, "env": ["PATH=/bin", "COLOUR=dark green"], "cwd": "/" },
            "linux": {
                "namespaces": [{ "type": "network" }],
                "cgroupsPath": format!("/{}/c", self.cgroup),
            },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            json[key] = value.clone();
        }
        fs::write(bundle.join("config.json"), json.to_string()).unwrap();
        bundle
    }

    /// Creates a container whose output goes to a file; returns the file.
    fn create(&self, id: &str, bundle: &Path) -> PathBuf {
        let out = self.bench.path().join(format!("{id}.out"));
        let file = fs::File::create(&out).unwrap();
        let pid = self.bench.path().join(format!("{id}.pid"));
        // Flags may be behind the id.
        let args = ["create", id, "--bundle", bundle.to_str().unwrap()];
        let args = [&args[..], &["--pid-file", pid.to_str().unwrap()]].concat();
        let status = self
            .command(&args)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap();
        assert!(status.success(), "{}", fs::read_to_string(&out).unwrap());
        assert!(fs::read_to_string(&pid).unwrap().parse::<u32>().is_ok());
        out
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.run(&["state", id]).success().stdout).unwrap()
    }

    fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }

    /// Checks that nothing of a container is left.
    fn is_clean(&self) {
        let left = fs::read_dir(self.bench.path().join("state")).unwrap();
        assert_eq!(left.count(), 0);
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let parent = hierarchy.path().join(&self.cgroup);
            assert!(!parent.join("c").exists(), "{}", parent.display());
        }
    }
}

impl Drop for Runtime {
    /// Removes what a failed test has left running, and the group above those of containers.
    fn drop(&mut self) {
        for id in fs::read_dir(self.bench.path().join("state"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let id = id.file_name();
            let _ = self.run(&["delete", "--force", &id.to_string_lossy()]);
        }
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs::remove_dir(hierarchy.path().join(&self.cgroup));
        }
    }
}

#[test]
fn a_bundle_is_a_machine_from_create_to_delete() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let secret = runtime.bench.path().join("secret");
    fs::write(&secret, "from the engine").unwrap();
    let mounts = json!({ "mounts": [{
        "destination": "/run/secrets/key", "type": "bind", "source": secret, "options": ["bind", "ro"],
    }]});
    let args = [
        "@cat:/run/secrets/key",
        "@cat:/srv/added",
        "@sleep:600",
        "a b",
    ];
    let bundle = runtime.bundle(&args, &mounts);
    // As `docker cp` before the start does it, and `COPY` in an image on top of this one.
    fs::create_dir(bundle.join("rootfs/srv")).unwrap();
    fs::write(bundle.join("rootfs/srv/added"), "added later").unwrap();
    let out = runtime.create("one", &bundle);
    assert_eq!(runtime.status("one"), "created");
    assert_eq!(
        fs::read_to_string(&out).unwrap(),
        "",
        "nothing but the guest prints there"
    );
    let again = runtime
        .run(&["create", "--bundle", bundle.to_str().unwrap(), "one"])
        .exits(1);
    assert!(again.stderr.contains("already exists"), "{}", again.stderr);
    let _ = runtime.run(&["start", "one"]).success();
    assert_eq!(runtime.status("one"), "running");
    eventually("the guest has printed everything", || {
        let text = fs::read_to_string(&out).unwrap();
        text.contains("from the engine")
            && text.contains("added later")
            && text.contains("a b")
            && text.contains("COLOUR=dark green")
    });
    let refused = runtime.run(&["delete", "one"]).exits(1);
    assert!(
        refused.stderr.contains("that is not stopped: running"),
        "{}",
        refused.stderr
    );
    let refused = runtime.run(&["exec", "one", "sh"]).exits(1);
    assert!(
        refused.stderr.contains("one program and no shell"),
        "{}",
        refused.stderr
    );
    let pids: Vec<u32> = serde_json::from_str(
        &runtime
            .run(&["ps", "--format", "json", "one"])
            .success()
            .stdout,
    )
    .unwrap();
    assert!(pids.len() >= 2, "{pids:?}");
    for (verb, status) in [("pause", "paused"), ("resume", "running")] {
        let _ = runtime.run(&[verb, "one"]).success();
        assert_eq!(runtime.status("one"), status);
    }
    let _ = runtime.run(&["kill", "one", "SIGUSR1"]).success();
    let _ = runtime.run(&["kill", "one", "15"]).success();
    eventually("it has ended", || runtime.status("one") == "stopped");
    let late = runtime.run(&["kill", "one", "9"]).exits(1);
    assert!(
        late.stderr.contains("container not running"),
        "{}",
        late.stderr
    );
    let _ = runtime.run(&["kill", "--all", "one", "9"]).success();
    let _ = runtime.run(&["delete", "one"]).success();
    // The engine's second one.
    let _ = runtime.run(&["delete", "--force", "one"]).success();
    runtime.is_clean();
    let log = fs::read_to_string(runtime.bench.path().join("log")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["msg"], "container not running");
}

#[test]
fn a_container_that_cannot_be_a_machine_leaves_nothing() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let bundle = runtime.bundle(&["x"], &Value::Null);
    let create = ["create", "--bundle", bundle.to_str().unwrap(), "bad"];
    let mark = runtime.bench.path().join("mark");
    let script = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let after = script(&format!("echo poststop >> {}", mark.display()));
    let marks = || fs::read_to_string(&mark).unwrap_or_default();
    let hook = json!({ "hooks": {
        "prestart": script("echo no network >&2; exit 1"), "poststop": after,
    }});
    let kernel = bundle.join("rootfs/unikraft/bin/kernel");
    for (what, more, expected) in [
        ("a failed hook", hook, "no network"),
        (
            "a terminal without a socket",
            json!({ "process": { "terminal": true, "args": ["x"] } }),
            "no `--console-socket`",
        ),
        (
            "a namespace that does not exist",
            json!({ "linux": { "namespaces": [{ "type": "network", "path": "/no/ns" }] } }),
            "cannot enter the network namespace `/no/ns`",
        ),
        (
            "a size that is none",
            json!({ "annotations": { "org.unikraft.runu.memory": "64Mi -nographic" } }),
            "is not a size",
        ),
    ] {
        let mut config: Value =
            serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let saved = fs::read(bundle.join("config.json")).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let failed = runtime.run(&create).exits(1);
        assert!(
            failed.stderr.contains(expected),
            "{what}: {}",
            failed.stderr
        );
        assert_eq!(failed.stdout, "", "{what}");
        runtime.is_clean();
        fs::write(bundle.join("config.json"), saved).unwrap();
    }
    assert_eq!(marks(), "poststop\n", "the hooks after the end have run");
    // A failed hook after the start ends the machine.
    let saved = fs::read(bundle.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&saved).unwrap();
    config["hooks"] = json!({ "poststart": script("exit 1"), "poststop": after });
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let _ = runtime.create("bad", &bundle);
    let failed = runtime.run(&["start", "bad"]).exits(1);
    assert!(failed.stderr.contains("poststart"), "{}", failed.stderr);
    assert_eq!(runtime.status("bad"), "stopped");
    let _ = runtime.run(&["delete", "bad"]).success();
    // `run` is all of it at once.
    config["hooks"] = json!({ "poststop": after });
    config["process"]["args"] = json!(["@exit:7"]);
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let _ = runtime
        .run(&["run", "--bundle", bundle.to_str().unwrap(), "bad"])
        .exits(7);
    assert_eq!(marks().lines().count(), 3);
    runtime.is_clean();
    // A file of the host in place of the kernel.
    fs::remove_file(&kernel).unwrap();
    symlink("/etc/shadow", &kernel).unwrap();
    let failed = runtime.run(&create).exits(1);
    assert!(failed.stderr.contains("symbolic link"), "{}", failed.stderr);
    runtime.is_clean();
}

/// Replays GHSA-crxr-jm9v-349c and GHSA-3385-hmpj-4678 of urunc, in which annotations and files of an image chose
/// the program, the options and the files of the VMM: the command line of a running VMM stays the same.
#[test]
fn nothing_of_an_image_changes_the_command_line_of_its_vmm() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let bundle = runtime.bundle(&["@sleep:600"], &Value::Null);
    let mark = runtime.bench.path().join("mark");
    let program = runtime.bench.path().join("vmm");
    fs::write(&program, format!("#!/bin/sh\ntouch {}\n", mark.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let line = || {
        let _ = runtime.create("one", &bundle);
        let _ = runtime.run(&["start", "one"]).success();
        let pids = runtime.run(&["ps", "--format", "json", "one"]).success();
        let pids: Vec<u32> = serde_json::from_str(&pids.stdout).unwrap();
        let lines = pids
            .iter()
            .map(|pid| fs::read(format!("/proc/{pid}/cmdline")).unwrap());
        let line = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', "\n"));
        let line = line
            .filter(|line| line.contains("-kernel"))
            .collect::<String>();
        assert!(!line.is_empty(), "a VMM runs");
        let _ = runtime.run(&["delete", "--force", "one"]).success();
        // Every machine has its own id as the name.
        let mut words: Vec<String> = line.lines().map(str::to_owned).collect();
        let name = words.iter().position(|word| word == "-name").unwrap();
        words.drain(name..name + 2);
        words
    };
    let plain = line();
    let path = program.to_str().unwrap();
    let options = format!("-device x -chardev file,id=c,path={}", mark.display());
    let mut urunc = serde_json::Map::new();
    for (key, value) in [
        ("unikernelType", "unikraft"),
        ("hypervisor", path),
        ("binary", "../../../etc/shadow"),
        ("initrd", "/etc/shadow"),
        ("block", "/dev/sda"),
        ("blkMntPoint", "/"),
        ("useDMBlock", "true"),
        ("cmdline", &options),
    ] {
        urunc.insert(format!("com.urunc.unikernel.{key}"), value.into());
    }
    let mut annotations = urunc.clone();
    for key in ["qemu", "firecracker", "kernel", "initrd", "delegate"] {
        annotations.insert(format!("org.unikraft.runu.{key}"), path.into());
    }
    let file = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    config["annotations"] = annotations.into();
    fs::write(&file, config.to_string()).unwrap();
    // What an image may hold itself.
    let root = bundle.join("rootfs");
    fs::write(root.join("urunc.json"), Value::from(urunc).to_string()).unwrap();
    let metadata = json!({
        "version": 1, "platform": "xen", "architecture": options, "kernel_version": options,
        "features": [options, path], "qemu": path, "delegate": path,
    });
    fs::write(root.join("unikraft/runu.json"), metadata.to_string()).unwrap();
    fs::create_dir_all(root.join("etc/kraft")).unwrap();
    let settings = json!({ "qemu": path, "delegate": path });
    fs::write(root.join("etc/kraft/runu.json"), settings.to_string()).unwrap();
    assert_eq!(line(), plain);
    // Nor does a link to a file of the host: it is refused.
    for name in ["unikraft/runu.json", "unikraft/bin/initrd"] {
        let saved = fs::read(root.join(name)).unwrap();
        fs::remove_file(root.join(name)).unwrap();
        symlink("/etc/shadow", root.join(name)).unwrap();
        let create = ["create", "--bundle", bundle.to_str().unwrap(), "one"];
        let refused = runtime.run(&create).exits(1);
        assert!(
            refused.stderr.contains("symbolic link"),
            "{}",
            refused.stderr
        );
        fs::remove_file(root.join(name)).unwrap();
        fs::write(root.join(name), saved).unwrap();
    }
    assert!(
        !mark.exists(),
        "neither the program nor the options were used"
    );
    runtime.is_clean();
}

/// Other engines find in the same image what they want, and images that are not for them stay the same.
#[test]
fn an_image_for_other_engines_boots_and_changes_no_other() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let bench = &runtime.bench;
    let pack = |more: &[&str]| package(bench, "test/both:v1", more);
    let plain = pack(&[]);
    let both = pack(&["--for", "urunc,kubevirt"]);
    assert_ne!(plain, both);
    assert_eq!(pack(&[]), plain);
    assert_eq!(pack(&["--for", "kubevirt", "--for", "urunc"]), both);
    let bundle = runtime.bundle_of("test/both:v1", &["@exit:7"], &Value::Null);
    let root = bundle.join("rootfs");
    for file in ["kernel", "initrd"] {
        let found = fs::metadata(root.join("unikraft/bin").join(file)).unwrap();
        assert_eq!((found.uid(), found.gid()), (107, 107), "{file}");
    }
    let urunc: Value = serde_json::from_slice(&fs::read(root.join("urunc.json")).unwrap()).unwrap();
    // In base64: unikraft, qemu, the paths, and "@cat:/etc/motd packaged".
    let expected = json!({
        "com.urunc.unikernel.unikernelType": "dW5pa3JhZnQ=",
        "com.urunc.unikernel.hypervisor": "cWVtdQ==",
        "com.urunc.unikernel.binary": "L3VuaWtyYWZ0L2Jpbi9rZXJuZWw=",
        "com.urunc.unikernel.initrd": "L3VuaWtyYWZ0L2Jpbi9pbml0cmQ=",
        "com.urunc.unikernel.cmdline": "QGNhdDovZXRjL21vdGQgcGFja2FnZWQ=",
    });
    assert_eq!(urunc, expected);
    let _ = runtime
        .run(&["run", "--bundle", bundle.to_str().unwrap(), "both"])
        .exits(7);
    runtime.is_clean();
    let kernel = kraft_e2e::guest::mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    let xen = [
        "pkg",
        "--name",
        "test/xen:v1",
        "--kernel",
        kernel,
        "--arch",
        "x86_64",
        "--plat",
        "xen",
    ];
    let refused = bench.kraft(xen.iter().chain(&["--for", "urunc"])).exits(2);
    assert!(
        refused.stderr.contains("no monitor for the platform `xen`"),
        "{}",
        refused.stderr
    );
}

/// As podman without root does: as the root of a user namespace, with nothing but the user's directory
/// in the environment, and without `PATH` for everything but `create`.
#[test]
fn the_root_of_a_user_namespace_runs_machines() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let bundle = runtime.bundle(&["@exit:7"], &Value::Null);
    let dir = runtime.bench.path().join("user");
    fs::create_dir(&dir).unwrap();
    let own = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user"])
            .arg(&runtime.program)
            .args(args)
            .env("XDG_RUNTIME_DIR", &dir)
            .stdin(Stdio::null());
        command
    };
    let mark = bundle.join("mark");
    let script = format!("ls {} > {}", dir.join("runu").display(), mark.display());
    let mut config: Value =
        serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
    config["hooks"] = json!({ "poststart": [{
        "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"],
    }]});
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    let run = ["run", "--bundle", bundle.to_str().unwrap(), "mine"];
    let _ = Outcome::of(&mut own(&run)).exits(7);
    assert_eq!(fs::read_to_string(mark).unwrap(), "mine\n");
    assert_eq!(fs::read_dir(dir.join("runu")).unwrap().count(), 0);
    if !installed("runc") {
        return skip("runc is not installed: scripts/setup.sh test");
    }
    // Engines ask what ordinary containers can have.
    let mut bare = Command::new(&runtime.program);
    let features = Outcome::of(bare.arg("features").env_clear()).success();
    let features: Value = serde_json::from_str(&features.stdout).unwrap();
    let annotations = features["annotations"].as_object().unwrap();
    for name in [
        "org.opencontainers.runc.version",
        "org.unikraft.runu.version",
    ] {
        assert!(annotations.contains_key(name), "{annotations:?}");
    }
}

#[test]
fn a_machine_takes_over_the_interface_of_its_namespace() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    if !installed("ip")
        || !installed("gcc")
        || !has_builtin_runtime()
        || !installed("iptables")
        || !Path::new("/dev/net/tun").exists()
    {
        return skip(
            "needs iproute2, iptables, gcc, /dev/net/tun and the built-in runtime: scripts/setup.sh test",
        );
    }
    let namespace = Namespace::new();
    make_server(&runtime.bench);
    pack_server(&runtime.bench, "test/web:v1", &[]);
    let more = json!({ "linux": {
        "namespaces": [{ "type": "network", "path": namespace.path() }],
        "cgroupsPath": format!("/{}/c", runtime.cgroup),
    }});
    for round in 0..2 {
        let bundle = runtime.bundle_of("test/web:v1", &["/server", "web"], &more);
        let out = runtime.create("web", &bundle);
        let _ = runtime.run(&["start", "web"]).success();
        eventually("it answers at the address of the interface", || {
            let address = namespace.address(2);
            // Of the second round: a port that is published under another number.
            let published = address.replace(":8080", ":18080");
            get(if round == 0 { &address } else { &published }).is_some()
        });
        if round == 0 {
            let config = bundle.join("config.json");
            let text = fs::read_to_string(&config).unwrap();
            let group = |name: &str| format!("/{}/{name}", runtime.cgroup);
            fs::write(&config, text.replace(&group("c"), &group("second"))).unwrap();
            let _ = runtime.create("second", &bundle);
            let refused = runtime.run(&["start", "second"]).exits(1);
            let why = "another machine runs in this network namespace";
            assert!(refused.stderr.contains(why), "{}", refused.stderr);
            let _ = runtime.run(&["delete", "--force", "second"]).success();
            let first = get(&namespace.address(2));
            assert!(first.is_some(), "the first one keeps its network");
            let pid = runtime.state("web")["pid"].as_u64().unwrap();
            let probe = ["exec", "web", "runu-probe", "http", "8080/"];
            let _ = runtime.run(&probe).success();
            let line = "runu-probe http 8080/ || exit 1";
            let _ = runtime
                .run(&["exec", "web", "/bin/sh", "-c", line])
                .success();
            shares_its_address(&namespace);
            let _ = runtime
                .run(&["exec", "web", "runu-probe", "tcp", "81"])
                .exits(1);
            // Killed without a chance to clean up: the next one finds its traces.
            let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
            assert!(killed.unwrap().success());
            eventually("it has ended", || runtime.status("web") == "stopped");
            namespace.publish("18080", "8080");
        }
        let _ = runtime.run(&["delete", "--force", "web"]).success();
        let left = namespace.ip(&["-o", "link"]);
        assert!(
            !left.contains("runu"),
            "{left}{}",
            fs::read_to_string(out).unwrap()
        );
    }
    runtime.is_clean();
}

/// Starts the container `web` of a bundle in a namespace of the root of a user namespace, and fetches its page from
/// outside and from inside: program, bundle, state.
const IN_USER_NAMESPACE: &str = r#"
set -eu
runu=$1 bundle=$2 state=$3
unshare --net sleep 600 >/dev/null 2>&1 & inner=$!
trap '"$runu" --root "$state" delete --force web; kill $inner' EXIT
while [ "$(readlink /proc/$inner/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add eth1 type veth peer name eth0 netns $inner
ip address add 10.9.9.1/24 dev eth1
ip link set eth1 up
inside="nsenter --target $inner --net"
$inside ip address add 10.9.9.2/24 dev eth0
$inside ip link set eth0 up
$inside ip link set lo up
sed -i "s|NAMESPACE|/proc/$inner/ns/net|" "$bundle/config.json"
"$runu" --root "$state" --log "$state.log" create --bundle "$bundle" web >/dev/null 2>&1
"$runu" --root "$state" start web
get='exec 3<>/dev/tcp/10.9.9.2/8080; printf "GET / HTTP/1.0\r\n\r\n" >&3; cat <&3'
page=
for attempt in {1..100}; do
    page=$(timeout 10 bash -c "$get" 2>/dev/null) || true
    [[ -z $page ]] || break
    sleep 0.1
done
echo "outside: $page"
echo "inside: $($inside timeout 10 bash -c "$get" || true)"
"#;

/// Who may not load programs for packets has the guest get all of them; other processes of the namespace reach it by
/// a translation of addresses.
#[test]
fn without_programs_for_packets_a_guest_gets_all_of_them() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    if !installed("ip") || !installed("gcc") || !has_builtin_runtime() {
        return skip("needs iproute2, gcc and the built-in runtime: scripts/setup.sh test");
    }
    make_server(&runtime.bench);
    pack_server(&runtime.bench, "test/web:v1", &[]);
    let more = json!({ "linux": {
        "namespaces": [{ "type": "network", "path": "NAMESPACE" }],
        "cgroupsPath": format!("/{}/c", runtime.cgroup),
    }});
    let bundle = runtime.bundle_of("test/web:v1", &["/server", "web"], &more);
    let state = runtime.bench.path().join("user");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "bash", "-c"]);
    command.args([IN_USER_NAMESPACE, "bash"]);
    command.args([&runtime.program, &bundle, &state]);
    let fetched = Outcome::of(command.env("XDG_RUNTIME_DIR", runtime.bench.path())).success();
    let pages = fetched.stdout.matches("hello from web").count();
    let log = fs::read_to_string(state.with_extension("log")).unwrap_or_default();
    assert_eq!(pages, 2, "{}{log}", fetched.stdout);
    assert!(log.contains("NET_CLS_BPF"), "{log}");
}

/// Processes beside a machine, as other containers of a Pod, reach it, have servers and are clients of others.
fn shares_its_address(namespace: &Namespace) {
    let own = namespace.address(2);
    for address in [&own, "127.0.0.1:8080", "169.254.1.2:8080"] {
        let answer = namespace.get(address).unwrap_or_default();
        assert!(answer.contains("hello from web"), "{address}: {answer}");
    }
    let path = namespace.path();
    let inside = netns::inside(Path::new(&path), || TcpListener::bind("0.0.0.0:0")).unwrap();
    let outside = TcpListener::bind(namespace.address(1).replace("8080", "0")).unwrap();
    let port = inside.local_addr().unwrap().port();
    let there = own.replace("8080", &port.to_string());
    let loopback = format!("127.0.0.1:{port}");
    let elsewhere = outside.local_addr().unwrap().to_string();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&inside, "the process", 3));
        scope.spawn(|| serve(&outside, "the host", 1));
        for (answer, expected) in [
            (get(&there), "the process"),
            (namespace.get(&there), "the process"),
            (namespace.get(&loopback), "the process"),
            (namespace.get(&elsewhere), "the host"),
            (get(&own), "hello from web"),
        ] {
            let answer = answer.unwrap_or_default();
            assert!(answer.contains(expected), "{answer} instead of {expected}");
        }
    });
}

/// Answers some requests.
fn serve(listener: &TcpListener, page: &str, requests: usize) {
    for stream in listener.incoming().take(requests) {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        write!(stream, "HTTP/1.0 200 OK\r\n\r\n{page}\n").unwrap();
    }
}

/// Fetches a page.
fn get(address: &str) -> Option<String> {
    let address = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A network namespace with an interface, as an engine makes it. Its other end is on this host.
struct Namespace(String);

impl Namespace {
    fn new() -> Self {
        let namespace = Self(format!("kraft-e2e-{}", std::process::id()));
        let network = namespace.address(0).replace(".0:8080", "");
        let ip = |line: &str| {
            let line = line
                .replace("NS", &namespace.0)
                .replace("NET", &network)
                .replace("IF", &format!("kr{}", std::process::id() % 100_000));
            let done = Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(done.success(), "ip {line}");
        };
        for line in [
            "netns add NS",
            "link add IF type veth peer name eth0 netns NS",
            "addr add NET.1/24 dev IF",
            "link set IF up",
            "-n NS addr add NET.2/24 dev eth0",
            "-n NS link set eth0 up",
            "-n NS link set lo up",
            "-n NS route add default via NET.1",
        ] {
            ip(line);
        }
        namespace
    }

    /// Returns the address of a host of its network with the port of the server. Every process has
    /// a network of its own.
    fn address(&self, host: u8) -> String {
        let [.., high, low] = std::process::id().to_be_bytes();
        format!("10.{}.{low}.{host}:8080", 128 + high % 64)
    }

    fn path(&self) -> String {
        format!("/var/run/netns/{}", self.0)
    }

    /// Fetches a page from inside, as other containers of a Pod do.
    fn get(&self, address: &str) -> Option<String> {
        netns::inside(Path::new(&self.path()), || get(address))
    }

    /// Makes of its interface that of Docker Swarm's ingress network, with a published port, and adds
    /// another interface.
    fn publish(&self, published: &str, target: &str) {
        let run = |program: &str, line: &str| {
            let done = Command::new("ip")
                .args(["netns", "exec", &self.0, program])
                .args(line.split(' '))
                .status();
            assert!(done.unwrap().success(), "{program} {line}");
        };
        run("ip", "link add eth1 type veth peer name eth2");
        run("ip", "addr add 10.250.0.2/24 dev eth1");
        run("ip", "link set eth1 up");
        run("ip", "link set eth2 up");
        let own = self.address(2).replace(":8080", "");
        let rule = format!("-t nat -A PREROUTING -d {own} -p tcp --dport {published}");
        run(
            "iptables",
            &format!("{rule} -j REDIRECT --to-port {target}"),
        );
    }

    fn ip(&self, args: &[&str]) -> String {
        let output = Command::new("ip")
            .args(["-n", &self.0])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // With it, both ends of its interface.
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Lists what is left of containers: processes, interfaces of machines, mounts, control groups, state.
fn left_of(runtime: &Runtime, namespace: &Namespace) -> Vec<String> {
    let dir = runtime.bench.path().to_str().unwrap();
    let state = runtime.bench.path().join("state");
    let mut left = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        let cwd = fs::read_link(path.join("cwd")).unwrap_or_default();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_own = path.file_name() == Some(std::process::id().to_string().as_ref());
        if !is_own && (line.contains(dir) || cwd.starts_with(&state)) {
            left.push(format!("process {}: {line}", path.display()));
        }
    }
    let links = namespace.ip(&["-o", "link"]);
    let taps = links.lines().filter(|line| line.contains("runu"));
    left.extend(taps.map(str::to_owned));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = mounts.lines().filter(|line| line.contains(dir));
    left.extend(mounts.map(str::to_owned));
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = hierarchy.path().join(&runtime.cgroup).join("c");
        if group.exists() {
            left.push(group.display().to_string());
        }
    }
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        left.push(entry.path().display().to_string());
    }
    left
}

/// Waits until nothing is left.
fn nothing_is_left(runtime: &Runtime, namespace: &Namespace, when: &str) {
    let mut left = Vec::new();
    for _ in 0..400 {
        left = left_of(runtime, namespace);
        if left.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{when}: {left:#?}");
}

/// Numbers that look random, the same in every run.
fn next(number: &mut u64) -> u64 {
    *number ^= *number << 13;
    *number ^= *number >> 7;
    *number ^= *number << 17;
    *number
}

#[test]
#[ignore = "300 machines take several minutes"]
fn nothing_is_left_of_200_cycles_and_100_kills() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    if !installed("ip") || !Path::new("/dev/net/tun").exists() {
        return skip("needs iproute2 and /dev/net/tun: scripts/setup.sh test");
    }
    let namespace = Namespace::new();
    let more = json!({ "linux": {
        "namespaces": [{ "type": "network", "path": namespace.path() }],
        "cgroupsPath": format!("/{}/c", runtime.cgroup),
    }});
    let bundle = runtime.bundle(&["@sleep:600"], &more);
    let kill = |pid: &str| {
        let _ = Command::new("kill").args(["-9", pid]).output();
    };
    for round in 0..200 {
        let _ = runtime.create("one", &bundle);
        let _ = runtime.run(&["start", "one"]).success();
        let signal = if round % 2 == 0 { "KILL" } else { "TERM" };
        let _ = runtime.run(&["kill", "one", signal]).success();
        eventually("it has ended", || runtime.status("one") == "stopped");
        let _ = runtime.run(&["delete", "one"]).success();
        if round % 20 == 19 {
            nothing_is_left(&runtime, &namespace, &format!("cycle {round}"));
        }
    }
    let mut number = 0x9e37_79b9_7f4a_7c15;
    for round in 0..100 {
        let moment = Duration::from_millis(next(&mut number) % 120);
        let what = ["create", "start", "supervisor", "VMM"][round % 4];
        let out = fs::File::create(runtime.bench.path().join("killed.out")).unwrap();
        let spawn = |args: &[&str]| {
            let mut command = runtime.command(args);
            command.stdout(out.try_clone().unwrap());
            command.stderr(out.try_clone().unwrap());
            command.spawn().unwrap()
        };
        if what == "create" {
            let mut create = spawn(&["create", "--bundle", bundle.to_str().unwrap(), "one"]);
            std::thread::sleep(moment);
            kill(&create.id().to_string());
            let _ = create.wait();
        } else {
            let _ = runtime.create("one", &bundle);
            let mut start = spawn(&["start", "one"]);
            if what != "start" {
                let _ = start.wait();
            }
            std::thread::sleep(moment);
            let pids = runtime.run(&["ps", "--format", "json", "one"]).stdout;
            let pids: Vec<u32> = serde_json::from_str(&pids).unwrap_or_default();
            match what {
                "start" => kill(&start.id().to_string()),
                "supervisor" => pids.first().iter().for_each(|pid| kill(&pid.to_string())),
                _ => pids.iter().skip(1).for_each(|pid| kill(&pid.to_string())),
            }
            let _ = start.wait();
        }
        let _ = runtime.run(&["delete", "--force", "one"]).success();
        nothing_is_left(
            &runtime,
            &namespace,
            &format!("kill {round} of {what} after {moment:?}"),
        );
    }
    runtime.is_clean();
}

#[test]
fn docker_runs_unikernels_and_ordinary_containers() {
    let Some(runtime) = Runtime::new() else {
        return;
    };
    let (Some(registry), Some(docker)) = (
        Registry::plain(),
        Docker::with_runtime("runu", &runtime.program),
    ) else {
        return;
    };
    let image = registry.name("apps/runu:v1");
    package(&runtime.bench, &image, &["--push"]);
    docker.pull(&image, "linux/amd64").unwrap();
    let run = |runtime: &str, cmd: &[&str]| {
        let host = json!({ "Runtime": runtime, "NetworkMode": "none", "Memory": 64 << 20 });
        docker.run(&json!({ "Image": image, "Cmd": cmd, "HostConfig": host }))
    };
    let ended = docker.wait(&run("runu", &["@exit:7"]));
    assert_eq!(ended.0, 7, "{}", ended.1);
    // Without it, a sentence says what is missing.
    let ended = docker.wait(&run("runc", &["x"]));
    assert_eq!(ended.0, 126, "{}", ended.1);
    assert!(
        ended.1.contains("run it with the OCI runtime runu"),
        "{}",
        ended.1
    );
    let id = run("runu", &["@sleep:600"]);
    let logs = format!("GET /containers/{id}/logs?stdout=1");
    eventually("the guest runs", || {
        docker
            .ask(&logs, &Value::Null)
            .text()
            .contains("@sleep:600")
    });
    let stopped = docker.ask(&format!("POST /containers/{id}/stop?t=20"), &Value::Null);
    assert_eq!(stopped.status, 204);
    let ended = docker.wait(&id);
    assert_eq!(ended.0, 143, "{}", ended.1);
}
