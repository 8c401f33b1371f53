//! A pushed image becomes a real machine behind the emulated cloud.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use kraft_e2e::cloud::Cloud;
use kraft_e2e::guest::{MOTD, package};
use kraft_e2e::harness::{Bench, eventually};
use kraft_e2e::registry::Registry;
use serde_json::{Value, json};

fn console(cloud: &Cloud, name: &str) -> String {
    let log = cloud.ok("GET /instances/log", &json!([{"name": name, "offset": 0}]));
    let text = log[0]["output"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    String::from_utf8_lossy(&bytes.unwrap()).into_owned()
}

fn state(cloud: &Cloud, name: &str) -> Value {
    cloud.ok("GET /instances", &json!([{"name": name}]))[0]["state"].clone()
}

#[test]
fn an_instance_of_a_pushed_image_is_a_real_machine() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("tester/motd:latest");
    let digest = package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    let cloud = Cloud::real(&bench, &registry);
    let wanted = json!([{"tag": "tester/motd:latest"}]);
    let listed = cloud.ok("GET /images/list", &wanted);
    assert_eq!(listed[0]["digest"], format!("tester/motd@{digest}"));

    let new = json!({
        "name": "motd", "image": format!("tester/motd@{digest}"), "autostart": true,
        "args": ["@cat:/etc/motd", "@sleep:600"], "wait_timeout_ms": 60000,
    });
    let made = cloud.ok("POST /instances", &new);
    assert_eq!(
        made[0]["state"],
        "running",
        "{made:#?}\n{}",
        console(&cloud, "motd")
    );
    eventually("its console", || console(&cloud, "motd").contains(MOTD));
    cloud.ok("PUT /instances/stop", &json!([{"name": "motd"}]));
    eventually("its end", || state(&cloud, "motd") == "stopped");
    cloud.ok("DELETE /instances", &json!([{"name": "motd"}]));
    assert_eq!(bench.json(["ps", "--all", "-o", "json"]), json!([]));
}

#[test]
fn a_machine_that_crashes_stops_its_instance_and_leaves_its_console() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new();
    let name = registry.name("tester/motd:latest");
    package(&bench, &name, &[]);
    bench.ok(["pkg", "push", &name]);
    let cloud = Cloud::real(&bench, &registry);
    let new = json!({
        "name": "bang", "image": "tester/motd:latest", "autostart": true,
        "args": ["@print:going", "@crash:panic"],
    });
    cloud.ok("POST /instances", &new);
    eventually("its end", || state(&cloud, "bang") == "stopped");
    let told = cloud.ok("GET /instances", &json!([{"name": "bang"}]));
    assert_eq!(told[0]["stop_reason"], 1, "{told:#?}");
    assert!(console(&cloud, "bang").contains("going"));
}

#[test]
fn a_published_port_leads_to_the_instances_in_turn() {
    let cloud = Cloud::new();
    cloud.door("POST images", &json!({"name": "tester/web"}));
    let mapping = json!({"port": 80, "destination_port": 8080, "handlers": ["http"]});
    cloud.ok(
        "POST /services",
        &json!({"name": "front", "services": [mapping]}),
    );
    for name in ["one", "two"] {
        let new = json!({
            "name": name, "image": "tester/web", "service_group": {"name": "front"},
            "autostart": true, "wait_timeout_ms": 5000,
        });
        cloud.ok("POST /instances", &new);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                stream.unwrap().write_all(name.as_bytes()).unwrap();
            }
        });
        let backend = json!({"name": name, "port": 8080, "address": address});
        cloud.door("POST backends", &backend);
    }
    let mut seen: Vec<String> = (0..4)
        .map(|_| {
            let mut said = String::new();
            let mut stream = TcpStream::connect(cloud.published(80)).unwrap();
            stream.read_to_string(&mut said).unwrap();
            said
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["one", "two"]);
}
