//! What tests of Dockerfiles build on: a base image of one program, engines that know it, and the
//! protocol of a stand-alone BuildKit.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Bench, Outcome, skip};
use crate::registry::{Registry, digest_of, installed, skopeo};

/// What a shell script may use in the base image.
const APPLETS: [&str; 13] = [
    "sh", "cat", "chmod", "cp", "dd", "echo", "id", "ln", "ls", "mkdir", "sleep", "touch", "wc",
];

/// Makes a tar of the base image: busybox, and the directories of a system; `None` (and said so)
/// without busybox.
pub fn base_tar(dir: &Path) -> Option<PathBuf> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.is_file() {
        skip("busybox-static is not installed: scripts/setup.sh test");
        return None;
    }
    let root = dir.join("base");
    for below in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let everybody = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(root.join("tmp"), everybody).unwrap();
    let users = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n";
    fs::write(root.join("etc/passwd"), users).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:33:\n").unwrap();
    let tar = dir.join("base.tar");
    let packed = Command::new("tar")
        .args(["--owner=0", "--group=0", "-C"])
        .args([&root, Path::new("-cf"), &tar])
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    Some(tar)
}

/// Puts the base image into a registry under `name`, for this architecture.
pub fn push_base(registry: &Registry, tar: &Path, name: &str) {
    push_image(registry, tar, name, &["PATH=/bin", "BASE=yes"]);
}

/// Puts an image with one layer and some variables into a registry under `name`, for this
/// architecture.
pub fn push_image(registry: &Registry, tar: &Path, name: &str, env: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| -> Value {
        let digest = digest_of(bytes);
        fs::write(blobs.join(digest.strip_prefix("sha256:").unwrap()), bytes).unwrap();
        json!({ "digest": digest, "size": bytes.len() })
    };
    let typed = |mut descriptor: Value, kind: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let layer = typed(put(&fs::read(tar).unwrap()), "layer.v1.tar");
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": env, "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let config = typed(put(config.to_string().as_bytes()), "config.v1+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
    });
    let manifest = typed(put(manifest.to_string().as_bytes()), "manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
    fs::write(
        dir.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let mut args = vec!["copy".to_owned()];
    args.extend(registry.skopeo_flags("dest-"));
    args.push(format!("oci:{}", dir.path().display()));
    args.push(format!("docker://{name}"));
    skopeo(args);
}

/// Writes the files of a build context.
pub fn context(bench: &Bench, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = bench.path().join("context").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// The arguments that have kraft's own builder build [`context`].
pub const OWN_BUILD: [&str; 7] = [
    "rootfs",
    "build",
    "context/Dockerfile",
    "-o",
    "root.cpio",
    "--builder",
    "kraft",
];

/// Builds `context/Dockerfile` into `root.cpio`.
pub fn build(bench: &Bench, flags: &[&str]) -> Outcome {
    let mut args = vec!["rootfs", "build", "context/Dockerfile", "-o", "root.cpio"];
    args.extend(flags);
    bench.kraft(args)
}

/// Returns the entries of `root.cpio`: everything about them but where they lie.
pub fn tree(bench: &Bench) -> Vec<Value> {
    let listed = bench.json(["rootfs", "ls", "root.cpio", "-o", "json"]);
    listed.as_array().unwrap().clone()
}

/// Returns the paths of `root.cpio`.
pub fn paths(bench: &Bench) -> Vec<String> {
    let path = |entry: &Value| entry["path"].as_str().unwrap().to_owned();
    tree(bench).iter().map(path).collect()
}

/// Returns the text of a file of `root.cpio`.
pub fn text(bench: &Bench, path: &str) -> String {
    bench.ok(["rootfs", "cat", "root.cpio", path])
}

/// Returns whether a build program exists and can run a command, and reports it if not. `bench` has
/// the configuration of [`containers_conf`].
pub fn has_builder(bench: &Bench, program: &str) -> bool {
    if !installed(program) || !rustix::process::geteuid().is_root() {
        skip(&format!(
            "{program} is not installed: scripts/setup.sh test"
        ));
        return false;
    }
    let dir = bench.path().join("trial");
    fs::create_dir_all(&dir).unwrap();
    fs::copy("/bin/busybox", dir.join("busybox")).unwrap();
    let text = "FROM scratch\nCOPY busybox /bin/sh\nRUN exit 0\n";
    fs::write(dir.join("Dockerfile"), text).unwrap();
    let trial = Command::new(program)
        .args(["build", "--quiet", "--layers=false", "."])
        .current_dir(&dir)
        .env("CONTAINERS_CONF", containers_conf(bench.path()))
        .output()
        .unwrap();
    if !trial.status.success() {
        let why = String::from_utf8_lossy(&trial.stderr).into_owned();
        skip(&format!(
            "{program} cannot run commands on this host: {why}"
        ));
    }
    trial.status.success()
}

/// Writes a configuration for buildah and podman, for the variable `CONTAINERS_CONF`: with runc if
/// it exists, because crun rejects hosts with both versions of cgroups.
pub fn containers_conf(dir: &Path) -> String {
    let path = dir.join("containers.conf");
    let runc = if installed("runc") {
        "[engine]\nruntime = \"runc\"\n"
    } else {
        ""
    };
    fs::write(&path, runc).unwrap();
    path.display().to_string()
}

/// The protocol of a stand-alone buildkitd, implemented by the BuildKit in a Docker engine: a
/// client is connected to it where HTTP/2 begins.
#[derive(Debug)]
pub struct Bridge {
    dir: tempfile::TempDir,
    port: u16,
}

impl Bridge {
    /// Listens on a socket and on a port, for as long as the test runs.
    pub fn to(engine: &Path) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kraft-b-")
            .tempdir()
            .unwrap();
        let socket = UnixListener::bind(dir.path().join("s")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let (one, other) = (engine.to_owned(), engine.to_owned());
        std::thread::spawn(move || {
            for client in socket.incoming().flatten() {
                let back = client.try_clone().unwrap();
                join(client, back, &one);
            }
        });
        std::thread::spawn(move || {
            for client in tcp.incoming().flatten() {
                let back: TcpStream = client.try_clone().unwrap();
                join(client, back, &other);
            }
        });
        Self { dir, port }
    }

    /// Returns both addresses.
    pub fn addresses(&self) -> [String; 2] {
        [
            format!("unix://{}", self.dir.path().join("s").display()),
            format!("tcp://127.0.0.1:{}", self.port),
        ]
    }
}

fn join(
    mut client: impl Read + Send + 'static,
    mut back: impl Write + Send + 'static,
    engine: &Path,
) {
    let mut daemon = UnixStream::connect(engine).unwrap();
    let request = "POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    daemon.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        daemon.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let mut from_daemon = daemon.try_clone().unwrap();
    std::thread::spawn(move || {
        // Either side may close the connection first.
        let _ = std::io::copy(&mut from_daemon, &mut back);
    });
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut client, &mut daemon);
        let _ = daemon.shutdown(Shutdown::Both);
    });
}
