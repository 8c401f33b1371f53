//! Hostile values in every format: they are read back as they are, or refused.

use kraft_core::lifecycle::HealthProbe;
use kraft_core::yaml::document;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What quotes, templates and comments of all formats look like.
const HOSTILE: &str =
    "a\"b'c\\d $HOME ${x} $(y) %h %{z} `id` {{ q }} <t> & # -- \u{85}\u{e9}\u{1f600}\n- x: y\n";

fn workload() -> Workload {
    let image = "registry.example/web:1.0".parse().unwrap();
    Workload {
        ports: ["8080:80", "127.0.0.1:53:53/udp", "9000"]
            .iter()
            .flat_map(|it| kraft_core::port::parse(it).unwrap())
            .collect(),
        memory: Some(64 << 20),
        cpus: Some(2),
        replicas: 3,
        restart: RestartPolicy::OnFailure(Some(3)),
        health: Some(HealthCheck {
            probe: HealthProbe::Http {
                port: 80,
                path: "/health".to_owned(),
            },
            interval_ms: 5000,
            timeout_ms: 1500,
            retries: 3,
            start_period_ms: 0,
        }),
        kernel: Some(KernelFiles {
            kernel: "/files/kernel".into(),
            initrd: Some("/files/initrd".into()),
            line: "env.vars=[ \"A=<&>\" ] -- /server".to_owned(),
            arch: "x86_64",
            memory: 64 << 20,
        }),
        ..Workload::new("web", &image)
    }
}

fn hostile() -> Workload {
    Workload {
        args: vec!["/server".to_owned(), HOSTILE.to_owned(), String::new()],
        env: BTreeMap::from([("A".to_owned(), HOSTILE.to_owned())]),
        labels: BTreeMap::from([("example.org/a".to_owned(), HOSTILE.to_owned())]),
        volumes: vec![
            Volume {
                name: None,
                source: "/srv/a b%h$x'".into(),
                destination: "/data dir".to_owned(),
                read_only: true,
            },
            Volume {
                name: Some("database".to_owned()),
                source: "database".into(),
                destination: "/db".to_owned(),
                read_only: false,
            },
        ],
        ..workload()
    }
}

fn text(engine: Engine, workload: Workload) -> String {
    let exported = export(engine, &[workload]).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!(exported.files[0].part, Part::Manifest);
    exported.files[0].text.clone()
}

/// Reads all documents of a YAML file.
fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("---\n").filter(|it| !it.trim().is_empty());
    documents
        .filter_map(|it| document::parse(it).unwrap_or_else(|e| panic!("{e:?}\n{it}")))
        .map(|node| node.plain())
        .collect()
}

fn one_of(documents: &[Value], kind: &str) -> Value {
    let found = documents.iter().find(|it| it["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}")).clone()
}

/// Replaces what Compose and Kubernetes write for a `$`.
fn dollars(value: &Value) -> String {
    value.as_str().unwrap().replace("$$", "$")
}

#[test]
fn kubernetes_has_the_values_as_they_are() {
    let documents = documents(&text(Engine::Kubernetes, hostile()));
    let kinds: Vec<&str> = documents
        .iter()
        .filter_map(|it| it["kind"].as_str())
        .collect();
    let expected = [
        "RuntimeClass",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
    ];
    assert_eq!(kinds, expected);
    let deployment = one_of(&documents, "Deployment");
    let pod = &deployment["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"]["example.org/a"], HOSTILE);
    assert_eq!(pod["spec"]["runtimeClassName"], "runu");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(dollars(&container["args"][1]), HOSTILE);
    assert_eq!(dollars(&container["env"][0]["value"]), HOSTILE);
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/data dir");
    // A guest that does not answer yet is asked again at once, for as long as the check allows.
    let (startup, liveness) = (&container["startupProbe"], &container["livenessProbe"]);
    assert_eq!(startup["httpGet"], liveness["httpGet"]);
    assert_eq!(startup["periodSeconds"], "1");
    assert_eq!(startup["failureThreshold"], "15");
    assert_eq!(liveness["periodSeconds"], "5");
    assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], "3");
    assert_eq!(
        pod["spec"]["volumes"][0]["hostPath"]["path"],
        "/srv/a b%h$x'"
    );
    let service = one_of(&documents, "Service");
    let ports = service["spec"]["ports"].as_array().unwrap();
    let names: Vec<&str> = ports.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["tcp-8080", "udp-53", "tcp-9000"]);
}

#[test]
fn compose_and_swarm_have_the_values_as_they_are() {
    for engine in [Engine::Compose, Engine::Swarm] {
        let documents = documents(&text(engine, hostile()));
        let service = &documents[0]["services"]["web"];
        assert_eq!(dollars(&service["command"][1]), HOSTILE);
        assert_eq!(dollars(&service["environment"]["A"]), HOSTILE);
        assert_eq!(dollars(&service["labels"]["example.org/a"]), HOSTILE);
        assert_eq!(dollars(&service["volumes"][0]["source"]), "/srv/a b%h$x'");
        assert_eq!(documents[0]["volumes"]["database"]["name"], "database");
    }
}

#[test]
fn scripts_are_split_into_the_values_as_they_are() {
    for (engine, env) in [
        (Engine::Docker, format!("A={HOSTILE}")),
        (Engine::Containerd, format!("A={HOSTILE}")),
    ] {
        let script = text(engine, hostile());
        let commands: String = script
            .split_inclusive('\n')
            .skip_while(|line| line.starts_with('#') || line.starts_with("set "))
            .collect();
        let words = kraft_core::shell_words::split(&commands).unwrap();
        assert!(words.contains(&env), "{words:?}");
        assert!(words.ends_with(&["/server".to_owned(), HOSTILE.to_owned(), String::new()]));
    }
}

#[test]
fn units_have_no_variables_specifiers_or_further_lines() {
    for engine in [Engine::Systemd, Engine::Podman] {
        let unit = text(engine, hostile());
        let lines = unit.lines().filter(|line| !line.starts_with('#'));
        let joined = lines.collect::<Vec<_>>().join("\n");
        assert!(!joined.contains("\n- x: y"), "{joined}");
        assert!(joined.contains(r"$$HOME $${x} $$(y) %%h %%{z}"), "{joined}");
    }
}

#[test]
fn what_a_format_cannot_write_is_refused() {
    let refused = |engine, workload| export(engine, &[workload]).unwrap_err().join("; ");
    assert!(refused(Engine::Nomad, hostile()).contains("Nomad would replace"));
    let mut bell = workload();
    bell.kernel.as_mut().unwrap().line = "\x07".to_owned();
    assert!(refused(Engine::Libvirt, bell).contains("XML cannot have control characters"));
    let odd = Workload {
        env: BTreeMap::from([("a b".to_owned(), String::new())]),
        labels: BTreeMap::from([("-x".to_owned(), String::new())]),
        ..workload()
    };
    let sentences = refused(Engine::Kubernetes, odd);
    assert!(sentences.contains("no variable `a b`"), "{sentences}");
    assert!(sentences.contains("no annotation `-x`"), "{sentences}");
    for name in ["", "Web", "-x", "a b", "a\n- b", "web.1", "../x", "9"] {
        let odd = Workload {
            name: name.to_owned(),
            ..workload()
        };
        assert!(
            refused(Engine::Docker, odd).contains("is not a valid name"),
            "{name}"
        );
    }
    for path in ["/a:b", "/a,b", "/a\nb", "/a\"b"] {
        let odd = Workload {
            volumes: vec![Volume {
                name: None,
                source: path.into(),
                destination: "/data".to_owned(),
                read_only: false,
            }],
            ..workload()
        };
        assert!(
            refused(Engine::Docker, odd).contains("engines cannot mount"),
            "{path}"
        );
    }
    let twice = export(Engine::Docker, &[workload(), workload()]).unwrap_err();
    assert!(twice.join("").contains("is used twice"));
}

#[test]
fn every_engine_says_what_it_does_without() {
    let notes = |engine| export(engine, &[workload()]).unwrap().notes.join("\n");
    assert!(notes(Engine::Containerd).contains("ports are not exported"));
    assert!(notes(Engine::Libvirt).contains("the number of machines is not exported"));
    assert!(notes(Engine::Swarm).contains("`mode: host`"));
    assert_eq!(notes(Engine::Kubernetes), "");
}

#[test]
fn a_domain_has_its_files_beside_it() {
    let exported = export(Engine::Libvirt, &[workload()]).unwrap();
    let names: Vec<&str> = exported.files.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["web.xml", "web.kernel", "web.initrd"]);
    let text = &exported.files[0].text;
    let line = "<cmdline>env.vars=[ &quot;A=&lt;&amp;&gt;&quot; ] -- /server</cmdline>";
    assert!(text.contains(line), "{text}");
}

proptest! {
    /// No text breaks out of the place that it has.
    #[test]
    fn any_value_is_read_back(value in "[^\\x00]{0,40}") {
        let workload = Workload {
            args: vec![value.clone()],
            env: BTreeMap::from([("A".to_owned(), value.clone())]),
            ..workload()
        };
        let read = documents(&text(Engine::Compose, workload.clone()));
        let read = read[0]["services"]["web"]["environment"]["A"].as_str().unwrap();
        prop_assert_eq!(read, value.replace('$', "$$"));
        let read = documents(&text(Engine::Kubernetes, workload.clone()));
        let deployment = one_of(&read, "Deployment");
        let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
        prop_assert_eq!(args[0].as_str().unwrap(), value.replace('$', "$$"));
    }
}
