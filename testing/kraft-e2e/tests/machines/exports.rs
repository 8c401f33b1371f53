//! `kraft export`: its manifests before the tools and engines that they are for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kraft_e2e::engines::{Containerd, Docker};
use kraft_e2e::guest::package;
use kraft_e2e::harness::{Bench, Outcome, eventually, kraft_binary, repository, skip};
use kraft_e2e::python;
use kraft_e2e::registry::{Registry, installed};
use serde_json::Value;

/// Every engine.
const ENGINES: [&str; 10] = [
    "docker",
    "compose",
    "swarm",
    "containerd",
    "podman",
    "kubernetes",
    "kubevirt",
    "libvirt",
    "nomad",
    "systemd",
];

/// Exports an image for an engine into a directory of the bench, with everything that has a flag.
fn exported(bench: &Bench, engine: &str, image: &str, more: &[&str]) -> PathBuf {
    let dir = bench.path().join(format!("export-{engine}"));
    let args = ["export", engine, "--output", dir.to_str().unwrap()];
    bench.ok(args.iter().chain(more).chain(&[image]));
    dir
}

/// Flags with values that break out of quotes, comments, templates and lines, where that is possible.
fn hostile(engine: &str) -> Vec<String> {
    // Nomad replaces `${…}` itself, so it is refused there.
    let template = if engine == "nomad" { "" } else { "${x} " };
    // A kernel's command line, which these two have, cannot represent a line end.
    let end = if matches!(engine, "kubevirt" | "libvirt") {
        ""
    } else {
        "\n"
    };
    let value =
        format!("a\"b'c\\d $HOME {template}%h `id` {{{{ q }}}} <t> & # -- \u{e9}{end}- x: y");
    [
        "--port",
        "8080:80",
        "--port",
        "127.0.0.1:53:53/udp",
        "--memory",
        "64Mi",
        "--cpus",
        "2",
        "--replicas",
        "2",
        "--restart",
        "on-failure:3",
        "--health-http",
        "80/health",
        "--env",
        &format!("A={value}"),
        "--label",
        &format!("example.org/a={value}"),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The exports of the page run, and the settings of hosts that it shows are those that are
/// written.
#[test]
fn the_exports_of_the_page_are_what_it_shows() {
    let bench = Bench::new();
    package(&bench, "registry.example/web:1.0", &[]);
    let page = fs::read_to_string(repository().join("docs/clusters.md")).unwrap();
    let mut engines = Vec::new();
    for line in page
        .lines()
        .filter_map(|it| it.strip_prefix("$ kraft export "))
    {
        let line = line.split(" | ").next().unwrap();
        let mut args: Vec<&str> = ["export"].into_iter().chain(line.split(' ')).collect();
        if line.contains("--output") {
            // Two sections use the same directory.
            args.insert(2, "--force");
        }
        bench.ok(&args);
        engines.push(args[1].to_owned());
    }
    for engine in ENGINES {
        assert!(
            engine == "compose" || engines.iter().any(|it| it == engine),
            "{engine}"
        );
    }
    for (engine, file) in [
        ("docker", "daemon.json"),
        ("swarm", "daemon.json"),
        ("containerd", "config.toml"),
        ("nomad", "client.hcl"),
    ] {
        let dir = exported(&bench, engine, "registry.example/web:1.0", &[]);
        let text = fs::read_to_string(dir.join(file)).unwrap();
        let shown = text.trim_start_matches("version = 2\n").trim();
        assert!(
            engine == "nomad" || page.contains(shown),
            "{engine}: {shown}"
        );
    }
}

#[test]
fn nothing_is_replaced_unless_forced() {
    let bench = Bench::new();
    package(&bench, "test/app:v1", &[]);
    let dir = exported(&bench, "docker", "test/app:v1", &[]);
    fs::write(dir.join("daemon.json"), "mine").unwrap();
    fs::remove_file(dir.join("run.sh")).unwrap();
    let args = [
        "export",
        "docker",
        "-o",
        dir.to_str().unwrap(),
        "test/app:v1",
    ];
    let refused = bench.kraft(args).exits(1);
    assert!(
        refused.stderr.contains("already exists"),
        "{}",
        refused.stderr
    );
    assert!(!dir.join("run.sh").exists());
    // A link is not followed.
    let mine = bench.path().join("mine");
    fs::write(&mine, "mine").unwrap();
    std::os::unix::fs::symlink(&mine, dir.join("run.sh")).unwrap();
    bench.ok(args.iter().chain(&["--force"]));
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert_ne!(fs::read_to_string(dir.join("daemon.json")).unwrap(), "mine");
}

/// The guest of a domain mounts the volumes that the domain has; a machine of KubeVirt has none.
#[test]
fn the_kernels_line_names_the_volumes_of_the_manifest() {
    let bench = Bench::new();
    package(&bench, "test/app:v1", &[]);
    let volumes = ["--volume", "/srv/a:/data:ro", "--volume", "db:/db"];
    let dir = exported(&bench, "libvirt", "test/app:v1", &volumes);
    let domain = fs::read_to_string(dir.join("app.xml")).unwrap();
    for part in [
        "fs1:/data:",
        "fs2:/db:",
        "<source dir='/srv/a'/>",
        "<source dir='/var/lib/libvirt/images/db'/>",
        "<target dir='fs2'/>",
    ] {
        assert!(domain.contains(part), "{part}: {domain}");
    }
    let kernel = fs::read(dir.join("app.kernel")).unwrap();
    assert!(kernel.starts_with(b"\x7fELF"));
    let args = ["export", "kubevirt"].iter().chain(&volumes);
    let machine = bench.ok(args.chain(&["test/app:v1"]));
    assert!(!machine.contains("fs1:"), "{machine}");
}

/// A project has the image that is named, and a Compose file its services.
#[test]
fn projects_and_compose_files_are_exported() {
    let bench = Bench::new();
    let project = bench.path().join("project");
    fs::create_dir(&project).unwrap();
    fs::write(
        project.join("Kraftfile"),
        "spec: v0.6\nname: shop\nruntime: unikraft.org/base:latest\n",
    )
    .unwrap();
    let dir = project.to_str().unwrap();
    let refused = bench.kraft(["export", "kubernetes", dir]).exits(2);
    assert!(
        refused.stderr.contains("names no image"),
        "{}",
        refused.stderr
    );
    let args = [
        "export",
        "kubernetes",
        "--image",
        "registry.example/shop:1",
        dir,
    ];
    let text = bench.ok(args);
    assert!(text.contains("name: \"shop\"") && text.contains("\"registry.example/shop:1\""));
    let file = bench.path().join("compose.yaml");
    fs::write(
        &file,
        "services:\n  web_1:\n    image: registry.example/web:1\n    ports: ['8080:80']\n    \
         command: [a, '$$b']\n    mem_limit: 64m\n    deploy: {replicas: 3}\n  db:\n    \
         image: registry.example/db:1\n    restart: always\n    volumes: ['data:/db']\nvolumes: {data: {}}\n",
    )
    .unwrap();
    let text = bench.ok(["export", "kubernetes", file.to_str().unwrap()]);
    for part in [
        "replicas: 3",
        "\"web-1\"",
        "[\"a\", \"$$b\"]",
        "\"64Mi\"",
        "PersistentVolumeClaim",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let several = bench
        .kraft(["export", "systemd", file.to_str().unwrap()])
        .exits(2);
    assert!(
        several.stderr.contains("--output DIR"),
        "{}",
        several.stderr
    );
}

/// Runs the scripts for Docker and containerd against private ones, with an image that they pull.
#[test]
fn an_exported_script_runs_on_docker() {
    let bench = Bench::new();
    let program = bench.path().join("runu");
    std::os::unix::fs::symlink(kraft_binary(), &program).unwrap();
    if !installed("docker") {
        return skip("docker is not installed: scripts/setup.sh test");
    }
    let (Some(registry), Some(docker)) =
        (Registry::plain(), Docker::with_runtime("runu", &program))
    else {
        return;
    };
    let image = registry.name("apps/export:v1");
    package(&bench, &image, &["--push"]);
    let value = "a\"b'c $HOME";
    let env = format!("COLOUR={value}");
    let flags = ["--name", "web", "--memory", "64Mi", "--env", &env];
    let dir = bench.path().join("docker");
    let args = ["export", "docker", "-o", dir.to_str().unwrap()];
    let words = [image.as_str(), "@exit:7", "a  b;c"];
    bench.ok(args.iter().chain(&flags).chain(&words));
    let host = format!("unix://{}", docker.socket().display());
    let script = Command::new(dir.join("run.sh"))
        .env("DOCKER_HOST", host)
        .env("HOME", bench.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        script.status.success(),
        "{}",
        String::from_utf8_lossy(&script.stderr)
    );
    let (code, printed) = docker.wait("web");
    assert_eq!(code, 7, "{printed}");
    assert!(printed.contains("a  b;c"), "{printed}");
    // The miniature kernel prints it with escapes.
    let env = format!("env {env:?}");
    assert!(printed.contains(&env), "{printed}");
}

#[test]
#[ignore = "starts a containerd and a podman"]
fn exports_run_on_containerd_and_podman() {
    let bench = Bench::new();
    let program = bench.path().join("runu");
    std::os::unix::fs::symlink(kraft_binary(), &program).unwrap();
    let (Some(registry), Some(containerd)) = (Registry::plain(), Containerd::start()) else {
        return;
    };
    let image = registry.name("apps/export:v1");
    package(&bench, &image, &["--push"]);
    let words = [image.as_str(), "@sleep:600", "from ctr"];
    let dir = bench.path().join("containerd");
    let args = [
        "export",
        "containerd",
        "--name",
        "web",
        "-M",
        "64Mi",
        "-o",
        dir.to_str().unwrap(),
    ];
    bench.ok(args.iter().chain(&words));
    let script = dir.join("run.sh");
    let text = fs::read_to_string(&script).unwrap();
    let text = text.replace("/usr/local/bin/runu", program.to_str().unwrap());
    fs::write(&script, text).unwrap();
    let _ = Outcome::of(
        Command::new(&script)
            .env("CONTAINERD_ADDRESS", containerd.address())
            .env("CONTAINERD_NAMESPACE", "tests")
            .stdin(Stdio::null()),
    )
    .success();
    let tasks = || String::from_utf8(containerd.ctr(&["task", "ls"]).stdout).unwrap();
    eventually("the guest runs", || tasks().contains("RUNNING"));
    let _ = containerd.ctr(&["task", "kill", "--signal", "9", "web"]);
    eventually("it has ended", || !tasks().contains("RUNNING"));
    let _ = containerd.ctr(&["task", "rm", "web"]);
    let _ = containerd.ctr(&["container", "rm", "web"]);
    play(&bench, &program, &image);
}

/// Plays the exported Pod in a private podman.
fn play(bench: &Bench, program: &Path, image: &str) {
    if !installed("podman") || !installed("catatonit") {
        return skip("podman and catatonit are not installed");
    }
    let dir = bench.path().join("podman");
    let args = [
        "export",
        "podman",
        "--name",
        "web",
        "-M",
        "64Mi",
        "-o",
        dir.to_str().unwrap(),
    ];
    let words = [image, "@sleep:600", "from a Pod; a  $(b)"];
    bench.ok(args.iter().chain(&words));
    let pod = dir.join("web.pod.yaml");
    let conf = fs::read_to_string(dir.join("runu.conf")).unwrap();
    let conf = conf.replace("/usr/local/bin/runu", program.to_str().unwrap());
    // podman raises limits that a container of its own may not raise.
    let limits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
    fs::write(dir.join("runu.conf"), format!("{limits}{conf}")).unwrap();
    let podman = |args: &[&str]| {
        Outcome::of(
            Command::new("podman")
                .arg("--root")
                .arg(bench.path().join("storage"))
                .arg("--runroot")
                .arg(bench.path().join("run"))
                .args(["--cgroup-manager", "cgroupfs", "--runtime", "runu"])
                .args(args)
                .env("CONTAINERS_CONF", dir.join("runu.conf"))
                .stdin(Stdio::null()),
        )
    };
    let _ = podman(&["pull", "--tls-verify=false", image]).success();
    let played = podman(&["kube", "play", "--network", "none", pod.to_str().unwrap()]);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = played.success();
        eventually("the guest of the Pod prints its arguments", || {
            podman(&["logs", "web-web"])
                .stdout
                .contains("from a Pod; a  $(b)")
        });
    }));
    let _ = podman(&["pod", "rm", "--force", "--time", "1", "--all"]);
    let _ = podman(&["rmi", "--all", "--force"]);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// The packages with schemas and parsers.
const PACKAGES: [&str; 2] = ["kubernetes-validate==1.37.0", "python-hcl2==7.3.1"];

/// Returns a Python that has the packages; `None` (and said so) if they cannot be installed.
fn python() -> Option<PathBuf> {
    let found = python::with("export-schemas", &PACKAGES);
    if found.is_none() {
        skip("the schemas: `python3 -m venv` and PyPI");
    }
    found
}

/// What the script prints about a file: its documents as JSON, after they were checked.
const SCHEMAS: &str = r#"
import json, sys, yaml
kind, path = sys.argv[1:]
text = open(path).read()
if kind == "hcl":
    import hcl2
    print(json.dumps(hcl2.loads(text)))
else:
    documents = [it for it in yaml.safe_load_all(text) if it]
    if kind == "kubernetes":
        import kubernetes_validate
        for document in documents:
            kubernetes_validate.validate(document, "1.31", strict=True)
    print(json.dumps(documents))
"#;

#[test]
#[ignore = "installs schemas from PyPI"]
fn exports_are_valid_for_the_tools_of_engines() {
    let bench = Bench::new();
    package(&bench, "registry.example/web:1.0", &[]);
    let Some(python) = python() else { return };
    let read = |kind: &str, path: &Path| -> Value {
        let output = Outcome::of(Command::new(&python).args(["-c", SCHEMAS, kind]).arg(path));
        serde_json::from_str(&output.success().stdout).unwrap()
    };
    let mut checked = Vec::new();
    for engine in ENGINES {
        let flags = hostile(engine);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let dir = exported(&bench, engine, "registry.example/web:1.0", &flags);
        let value = flags.last().unwrap().split_once('=').unwrap().1;
        let tool = |program: &str, args: &[&str]| {
            if !installed(program) {
                skip(&format!("{program} is not installed"));
                return None;
            }
            let outcome = Outcome::of(Command::new(program).args(args).current_dir(&dir));
            Some(outcome.success().stdout)
        };
        match engine {
            "kubernetes" => {
                let documents = read("kubernetes", &dir.join("kubernetes.yaml"));
                let pod = &documents[1]["spec"]["template"];
                assert_eq!(pod["metadata"]["annotations"]["example.org/a"], value);
            }
            "podman" => {
                let documents = read("kubernetes", &dir.join("web.pod.yaml"));
                let container = &documents[0]["spec"]["containers"][0];
                assert_eq!(container["env"][0]["value"], value);
            }
            "kubevirt" => {
                let documents = read("yaml", &dir.join("kubevirt.yaml"));
                let template = &documents[0]["spec"]["template"];
                assert_eq!(template["metadata"]["annotations"]["example.org/a"], value);
                let boot = &template["spec"]["domain"]["firmware"]["kernelBoot"];
                assert_eq!(boot["container"]["kernelPath"], "/unikraft/bin/kernel");
            }
            "compose" => {
                let file = dir.join("compose.yaml");
                bench.ok(["compose", "--file", file.to_str().unwrap(), "config"]);
                let documents = read("yaml", &file);
                let env = &documents[0]["services"]["web"]["environment"]["A"];
                assert_eq!(env.as_str().unwrap().replace("$$", "$"), value);
            }
            "swarm" => {
                let args = ["stack", "config", "--compose-file", "stack.yaml"];
                let Some(text) = tool("docker", &args) else {
                    continue;
                };
                fs::write(dir.join("read.yaml"), text).unwrap();
                let documents = read("yaml", &dir.join("read.yaml"));
                let env = &documents[0]["services"]["web"]["environment"]["A"];
                assert_eq!(env.as_str().unwrap().replace("$$", "$"), value);
            }
            "nomad" => {
                let job = read("hcl", &dir.join("web.nomad.hcl"));
                let text = job.to_string();
                assert!(text.contains("runu") && text.contains("8080"), "{text}");
                let _ = read("hcl", &dir.join("client.hcl"));
            }
            "systemd" => {
                let unit = dir.join("web.service");
                let text = fs::read_to_string(&unit).unwrap();
                // The tool looks for the program.
                let text = text.replace("/usr/local/bin/kraft", kraft_binary().to_str().unwrap());
                fs::write(&unit, text).unwrap();
                if tool("systemd-analyze", &["verify", "--man=no", "./web.service"]).is_none() {
                    continue;
                }
            }
            "libvirt" => {
                let Some(_) = tool("virt-xml-validate", &["web.xml", "domain"]) else {
                    continue;
                };
            }
            // They are run by tests of their own.
            _ => {}
        }
        checked.push(engine);
    }
    assert!(checked.len() >= 7, "{checked:?}");
}
