//! What Compose files of several parts, and single keys of services, mean.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;

use kraft_core::compose::{
    Compose, HostAddress, Loaded, Loading, MountKind, Place, Service, WatchAction, load,
    load_merged,
};
use kraft_core::problem::Text;

fn text(name: &str, text: &str) -> Text {
    Text {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

/// Loads files, later ones over earlier ones; `others` can be included and extended.
fn loaded(files: &[&str], others: &[(&str, &str)]) -> Loaded {
    let others: BTreeMap<&str, &str> = others.iter().copied().collect();
    let files = files
        .iter()
        .map(|file| text("compose.yaml", file))
        .collect();
    let loading = Loading {
        place: Place::Host,
        vars: &|name| (name == "OWN").then(|| "own".to_owned()),
        read: &|path| {
            let found = others.get(path).map(|text| (*text).to_owned());
            found.ok_or_else(|| format!("there is no `{path}`"))
        },
    };
    load(files, loading)
}

fn compose(files: &[&str], others: &[(&str, &str)]) -> Compose {
    let loaded = loaded(files, others);
    let problems = loaded.problems;
    loaded.compose.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// Returns a service `web` with these keys.
fn web(keys: &str) -> Service {
    let file = format!(
        "services:\n  web: {{image: x, {keys}}}\n  db: {{image: y, volumes: ['data:/data', './own:/own:ro']}}\n\
         volumes: {{data: }}\nnetworks: {{n: }}\n"
    );
    compose(&[&file], &[]).service("web").unwrap().clone()
}

/// Returns the first problem of a service with these keys.
fn refused(keys: &str) -> String {
    let loaded = loaded(&[&format!("services: {{web: {{image: x, {keys}}}}}")], &[]);
    assert_eq!(loaded.compose, None, "{keys}");
    loaded.problems[0].1.message.clone()
}

#[test]
fn reset_takes_values_out_of_lower_files_and_override_replaces_them() {
    let base = "services:\n  web:\n    image: x\n    ports: ['1:1', '2:2']\n    environment: [A=1, B=2]\n    \
                command: [a]\n    healthcheck: {test: [CMD, nc, localhost, '1']}\n  old: {image: x}\n";
    for (over, ports, env, names) in [
        ("ports: ['3:3']", 3, "A B", "web old"),
        ("ports: !override ['3:3']", 1, "A B", "web old"),
        ("ports: !reset []", 0, "A B", "web old"),
        ("ports: !reset", 0, "A B", "web old"),
        ("environment: {A: !reset null}", 2, "B", "web old"),
        ("environment: !override {C: 3}", 2, "C", "web old"),
        ("{}\n  old: !reset null", 2, "A B", "web"),
    ] {
        let over = format!("services:\n  web:\n    {over}\n");
        let over = over.replace("web:\n    {}", "web: {}");
        let compose = compose(&[base, &over], &[]);
        let web = compose.service("web").unwrap();
        let found: Vec<&str> = web.environment.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            (web.ports.len(), found.join(" ").as_str()),
            (ports, env),
            "{over}"
        );
        let all: Vec<&str> = compose.services.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(all.join(" "), names, "{over}");
    }
}

#[test]
fn reset_and_override_concern_what_a_service_extends() {
    let file = "services:\n  base: {image: x, ports: ['1:1'], environment: {A: 1}}\n  \
                web:\n    extends: base\n    ports: !override ['2:2']\n    environment: {A: !reset null, B: 2}\n";
    let compose = compose(&[file], &[]);
    let web = compose.service("web").unwrap();
    assert_eq!((web.ports.len(), web.ports[0].target), (1, 2));
    assert_eq!(web.environment.len(), 1);
    assert_eq!(compose.service("base").unwrap().ports[0].target, 1);
}

#[test]
fn services_extend_others_over_several_files() {
    let main =
        "services:\n  web:\n    extends: {file: a/one.yaml, service: web}\n    command: [three]\n";
    let one = "services:\n  web:\n    extends: {file: ../b/two.yaml, service: web}\n    env_file: one.env\n";
    let two = "services:\n  web:\n    extends: root\n    labels: [a=b]\n  root: {image: x, build: ., command: [one]}\n";
    let compose = compose(&[main], &[("a/one.yaml", one), ("a/../b/two.yaml", two)]);
    let web = &compose.services[0];
    assert_eq!(web.command.as_deref().unwrap(), ["three"]);
    assert_eq!(web.env_files[0].path, "a/one.env");
    assert_eq!(web.build.as_ref().unwrap().context, "a/../b/.");
    assert_eq!(web.labels["a"], "b");
}

#[test]
fn included_files_have_directories_and_variables_of_their_own() {
    let included = "services: {db: {build: ., image: '${NAME:-none}-${OWN}', env_file: db.env}}\n";
    let files = [
        ("sub/db.yaml", included),
        ("sub/.env", "NAME=near\nOWN=other\n"),
        ("far/.env", "NAME=far\n"),
        ("special.env", "NAME=${OWN}2\n"),
    ];
    for (include, image, context) in [
        ("[sub/db.yaml]", "near-own", "sub/."),
        (
            "[{path: sub/db.yaml, project_directory: far}]",
            "far-own",
            "far/.",
        ),
        (
            "[{path: [sub/db.yaml], env_file: special.env}]",
            "own2-own",
            "sub/.",
        ),
        (
            "[{path: sub/db.yaml, env_file: [special.env, far/.env]}]",
            "far-own",
            "sub/.",
        ),
    ] {
        let main = format!("include: {include}\nservices: {{web: {{image: '${{NAME:-gone}}'}}}}\n");
        let compose = compose(&[&main], &files);
        let db = compose.service("db").unwrap();
        assert_eq!(db.image.as_deref(), Some(image), "{include}");
        assert_eq!(db.build.as_ref().unwrap().context, context, "{include}");
        let web = compose.service("web").unwrap();
        assert_eq!(
            web.image.as_deref(),
            Some("gone"),
            "variables of a part stay there"
        );
    }
    let missing = loaded(
        &["include: [{path: sub/db.yaml, env_file: no.env}]\nservices: {}\n"],
        &files,
    );
    assert!(
        missing.problems[0]
            .1
            .message
            .contains("cannot read `no.env`")
    );
}

#[test]
fn variables_are_expanded_in_every_form_and_typed_afterwards() {
    let image = |text: &str| web(&format!("container_name: \"{text}\"")).container_name;
    for (text, expected) in [
        ("$OWN", "own"),
        ("${OWN}", "own"),
        ("${OWN:-x}", "own"),
        ("${NO:-x}", "x"),
        ("${NO-x}", "x"),
        ("${NO:-${OWN:-y}}", "own"),
        ("${NO:-${ALSO:-y}z}", "yz"),
        ("${OWN:+z}", "z"),
        ("a${NO:+z}", "a"),
        ("${OWN?why}", "own"),
        ("$$OWN", "$OWN"),
    ] {
        assert_eq!(image(text).as_deref(), Some(expected), "{text}");
    }
    assert!(refused("container_name: '${NO?set it}'").contains("`NO` is not set: set it"));
    let typed = web("stdin_open: '${NO:-true}', tty: \"true\", scale: '${NO:-3}'");
    assert!(typed.stdin_open && typed.tty);
    assert_eq!(typed.replicas, Some(3));
}

#[test]
fn links_are_dependencies_and_names_and_volumes_come_from_others() {
    let file = "services:\n  web: {image: x, links: [db, 'db:database'], volumes_from: ['db:ro']}\n  \
                db: {image: y, volumes: ['data:/data', /plain]}\nvolumes: {data: }\n";
    let compose = compose(&[file], &[]);
    let web = compose.service("web").unwrap();
    assert_eq!(web.depends_on.len(), 1);
    let mounts: Vec<(&str, bool)> = web
        .volumes
        .iter()
        .map(|it| (it.target.as_str(), it.read_only))
        .collect();
    assert_eq!(mounts, [("/data", true), ("/plain", true)]);
    let networks = compose.service("db").unwrap().networks.clone().unwrap();
    assert_eq!(
        (networks[0].network.as_str(), &networks[0].aliases[..]),
        ("default", &["database".to_owned()][..])
    );
    assert!(refused("links: [gone]").contains("there is no service `gone`, which `links` names"));
}

#[test]
fn extra_hosts_are_names_with_addresses_or_the_host() {
    for keys in [
        "extra_hosts: ['a:10.0.0.1', 'b=10.0.0.2', 'c:::1', 'd=[::1]', 'host.docker.internal:host-gateway']",
        "extra_hosts: {a: 10.0.0.1, b: [10.0.0.2], c: '::1', d: '[::1]', host.docker.internal: host-gateway}",
    ] {
        let hosts = web(keys).extra_hosts;
        let shown: Vec<String> = hosts
            .iter()
            .map(|host| match host.address {
                HostAddress::Ip(address) => format!("{} {address}", host.name),
                HostAddress::Host => format!("{} host", host.name),
            })
            .collect();
        let expected = "a 10.0.0.1, b 10.0.0.2, c ::1, d ::1, host.docker.internal host";
        assert_eq!(shown.join(", "), expected, "{keys}");
    }
    for bad in ["['a:b']", "['a']", "['a b:10.0.0.1']", "{a: }"] {
        let keys = format!("extra_hosts: {bad}");
        if bad == "{a: }" {
            assert_eq!(web(&keys).extra_hosts, []);
        } else {
            assert!(
                refused(&keys).contains("not a name and an address"),
                "{bad}"
            );
        }
    }
}

#[test]
fn single_keys_have_their_meaning() {
    let networks = web("mac_address: '02:42:ac:11:00:02'").networks.unwrap();
    assert_eq!(networks[0].network, "default");
    assert_eq!(networks[0].mac.unwrap().to_string(), "02:42:ac:11:00:02");
    let files = web("env_file: [{path: a.env, required: false, format: raw}, b.env]").env_files;
    assert_eq!((files[0].raw, files[0].required), (true, false));
    assert_eq!((files[1].raw, files[1].required), (false, true));
    let need =
        &web("depends_on: {db: {condition: service_started, restart: true, required: false}}")
            .depends_on[0];
    assert!(need.restart && !need.required);
    let kinds = |keys: &str| {
        web(keys)
            .volumes
            .iter()
            .map(|it| it.kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kinds(
            "volumes: [/a, {type: volume, target: /b}, {type: tmpfs, target: /c}, {type: volume, source: data, target: /d, volume: {nocopy: true}}]"
        ),
        [
            MountKind::Anonymous,
            MountKind::Anonymous,
            MountKind::Memory,
            MountKind::Volume
        ]
    );
    assert!(
        refused("volumes: [{type: volume, source: data, target: /d, volume: {subpath: a}}]")
            .contains("subpath")
    );
    assert_eq!(web("healthcheck: {disable: true}").health, None);
    assert_eq!(
        web("healthcheck: {test: NONE}").health.map(|it| it.probe),
        Some(None)
    );
    assert_eq!(web("healthcheck: {test: [NONE]}").health, None);
    let build = web("build: {dockerfile_inline: \"FROM scratch\\n\"}")
        .build
        .unwrap();
    assert_eq!(build.dockerfile_inline.as_deref(), Some("FROM scratch\n"));
    assert!(web("network_mode: none").isolated);
    assert!(!web("network_mode: host").isolated);
    assert!(refused("network_mode: 'service:db'").contains("service:db"));
}

#[test]
fn rules_of_watch_name_an_action_and_where_files_go() {
    let watch = web(
        "develop: {watch: [{path: ./src, action: rebuild, ignore: [a/, b]}, {path: x, action: restart}, \
         {path: y, action: sync+restart, target: /data, include: '*.c'}]}",
    )
    .watch;
    let actions: Vec<WatchAction> = watch.iter().map(|rule| rule.action).collect();
    assert_eq!(
        actions,
        [
            WatchAction::Rebuild,
            WatchAction::Restart,
            WatchAction::SyncRestart
        ]
    );
    assert_eq!(watch[0].ignore, ["a/", "b"]);
    assert_eq!(
        (watch[2].target.as_deref(), &watch[2].include[..]),
        (Some("/data"), &["*.c".to_owned()][..])
    );
    for (rule, why) in [
        ("{path: x, action: sync}", "needs a `target`"),
        (
            "{path: x, action: sync+exec, target: /a}",
            "runs one program",
        ),
        ("{action: rebuild}", "has no `path`"),
        ("{path: x, action: other}", "cannot be `other`"),
    ] {
        let message = refused(&format!("develop: {{watch: [{rule}]}}"));
        assert!(message.contains(why), "{rule}: {message}");
    }
}

#[test]
fn what_has_no_meaning_for_a_machine_is_named_once() {
    let file = "services:\n  web: {image: x, network_mode: host, stop_signal: SIGINT, user: a, post_start: [], \
                pre_stop: [], tmpfs: /tmp, deploy: {resources: {limits: {pids: 1, memory: 64m}}}, \
                healthcheck: {test: [CMD, nc, localhost, '1'], start_interval: 1s}}\n  \
                db: {image: y, user: b, network_mode: bridge}\n";
    let loaded = loaded(&[file], &[]);
    assert_eq!(
        loaded.idle,
        [
            "amounts.pids",
            "healthcheck.start_interval",
            "network_mode: host",
            "post_start",
            "pre_stop",
            "stop_signal",
            "tmpfs",
            "user"
        ]
    );
    assert_eq!(loaded.problems, []);
}

#[test]
fn files_are_merged_without_expanding_variables() {
    let loading = Loading {
        place: Place::Host,
        vars: &|_| None,
        read: &|_| Err("nothing".to_owned()),
    };
    let files = [
        "services: {web: {image: 'x:${TAG?}', tty: '${TTY}'}}",
        "services: {web: {scale: 2}}",
    ];
    let loaded = load_merged(files.iter().map(|it| text("f", it)).collect(), loading);
    assert_eq!(loaded.problems, []);
    let web = &loaded.merged["services"]["web"];
    assert_eq!(
        (web["image"].as_str(), web["scale"].as_u64()),
        (Some("x:${TAG?}"), Some(2))
    );
}

#[test]
fn services_that_are_not_required_start_unless_a_profile_keeps_them_back() {
    let file = "services:\n  web: {image: x, depends_on: {a: {required: false}, b: {required: false}, c: {condition: service_started}, gone: {required: false}}}\n  \
                a: {image: x}\n  b: {image: x, profiles: [p]}\n  c: {image: x, profiles: [p]}\n";
    let compose = compose(&[file], &[]);
    let order = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let order = compose.order(&names);
        order
            .iter()
            .map(|it| it.name.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(order(&["web"]), "a c web");
    assert_eq!(order(&["web", "b"]), "a b c web");
}
