//! Several services at once in the emulated cloud, by a Compose file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use kraft_e2e::cloud::{Cloud, in_both};
use kraft_e2e::guest::{mini, package, push_runtime};
use kraft_e2e::harness::{Bench, Outcome, eventually};
use kraft_e2e::registry::Registry;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const FILE: &str = "\
name: shop
services:
  web:
    image: tester/web
    ports: ['443:8080']
    environment: {COLOUR: '${COLOUR:-red}', EMPTY: }
    depends_on: [api]
    mem_limit: 256m
  api:
    image: tester/api
    command: [--listen, '9000']
    depends_on: [data_base]
  data_base:
    image: tester/db
    volumes: ['data:/var/data', './conf:/etc/db']
    restart: on-failure
volumes:
  data: {driver_opts: {size: 96m}}
";

/// A cloud with the images of the file, and a bench with the file.
fn place() -> (Cloud, Bench) {
    let (cloud, bench) = (Cloud::new(), Bench::new());
    for (name, args) in [("web", "/bin/web"), ("api", "/bin/api"), ("db", "")] {
        let image = json!({
            "name": format!("tester/{name}"), "args": args, "output": format!("{name} is up\n"),
        });
        cloud.door("POST images", &image);
    }
    fs::write(bench.path().join("compose.yaml"), FILE).unwrap();
    cloud.door("DELETE requests", &Value::Null);
    (cloud, bench)
}

fn compose(cloud: &Cloud, bench: &Bench, words: &[&str]) -> Outcome {
    let words: Vec<&str> = ["cloud", "compose"].iter().chain(words).copied().collect();
    cloud.kraft(bench, &words)
}

fn rows(cloud: &Cloud, bench: &Bench, words: &[&str]) -> Vec<String> {
    let outcome = compose(cloud, bench, words).success();
    let rows: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| {
        let text = |key: &str| row[key].as_str().unwrap().to_owned();
        format!("{} {} {}", text("service"), text("name"), text("state"))
    })
    .collect()
}

#[test]
fn a_file_with_three_services_is_started_listed_and_stopped() {
    in_both(|| {
        let (cloud, bench) = place();
        fs::write(bench.path().join(".env"), "COLOUR=blue\n").unwrap();
        let up = compose(&cloud, &bench, &["up", "-d", "-w", "10s"]).success();
        assert!(
            up.stderr
                .contains("a directory of this host is not in the cloud"),
            "{}",
            up.stderr
        );
        assert_eq!(
            rows(&cloud, &bench, &["ps", "-o", "json"]),
            [
                "data_base shop-data-base running",
                "api shop-api running",
                "web shop-web running"
            ]
        );
        // Needed ones start before those that need them.
        let started: Vec<String> = cloud
            .journal()
            .iter()
            .filter(|entry| entry["path"].as_str().unwrap().ends_with("/start"))
            .map(|entry| {
                entry["answer"]["data"]["instances"][0]["name"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(started, ["shop-data-base", "shop-api", "shop-web"]);
        let web = &cloud.ok("GET /instances", &json!([{"name": "shop-web"}]))[0];
        assert_eq!(web["env"], json!({"COLOUR": "blue"}));
        assert_eq!(web["memory_mb"], 256);
        let group = &cloud.ok(
            "GET /services",
            &json!([{"uuid": web["service_group"]["uuid"]}]),
        )[0];
        let ports: Vec<&Value> = group["services"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["port"])
            .collect();
        assert_eq!(ports, [443, 80]);
        let api = &cloud.ok("GET /instances", &json!([{"name": "shop-api"}]))[0];
        assert_eq!(api["args"], json!(["/bin/api", "--listen", "9000"]));
        let db = &cloud.ok("GET /instances", &json!([{"name": "shop-data-base"}]))[0];
        assert_eq!(db["restart_policy"], "on-failure");
        assert_eq!(db["volumes"][0]["at"], "/var/data");
        let volume = &cloud.ok("GET /volumes", &json!([{"name": "shop-data"}]))[0];
        assert_eq!(volume["size_mb"], 96);

        let logs = compose(&cloud, &bench, &["logs"]).success();
        assert_eq!(
            logs.stdout,
            "data_base | db is up\napi       | api is up\nweb       | web is up\n"
        );
        let logs = compose(&cloud, &bench, &["logs", "-t", "0", "web"]).success();
        assert_eq!(logs.stdout, "");
        let told = compose(&cloud, &bench, &["ls"]).success();
        assert!(told.stdout.contains("running(3)"), "{}", told.stdout);

        let down = compose(&cloud, &bench, &["down"]).success();
        assert_eq!(down.stdout, "shop-web\nshop-api\nshop-data-base\n");
        assert_eq!(
            cloud.ok("GET /instances", &Value::Null),
            Vec::<Value>::new()
        );
        assert_eq!(cloud.ok("GET /services", &Value::Null), Vec::<Value>::new());
        // What is in a volume outlives the services, unless it is wanted otherwise.
        assert_eq!(cloud.ok("GET /volumes", &Value::Null).len(), 1);
        let down = compose(&cloud, &bench, &["down", "--volumes"]).success();
        assert_eq!(down.stdout, "shop-data\n");
        assert_eq!(
            rows(&cloud, &bench, &["ps", "-o", "json", "web"]),
            ["web shop-web not deployed"]
        );
    });
}

#[test]
fn a_second_up_changes_only_changed_services() {
    in_both(|| {
        let (cloud, bench) = place();
        let _ = compose(&cloud, &bench, &["up", "-d", "-w", "10s"]).success();
        let uuid =
            |name: &str| cloud.ok("GET /instances", &json!([{"name": name}]))[0]["uuid"].clone();
        let before = [uuid("shop-web"), uuid("shop-api")];
        cloud.door("DELETE requests", &Value::Null);
        let _ = compose(&cloud, &bench, &["up", "-d"]).success();
        let changing = |entry: &Value| entry["method"] != "GET";
        assert!(
            !cloud.journal().iter().any(changing),
            "{:#?}",
            cloud.journal()
        );
        let text = FILE.replace("256m", "512m");
        fs::write(bench.path().join("compose.yaml"), text).unwrap();
        let up = compose(&cloud, &bench, &["up", "-d"]).success();
        assert!(
            up.stderr.contains("the service web has changed"),
            "{}",
            up.stderr
        );
        assert_ne!(uuid("shop-web"), before[0]);
        assert_eq!(uuid("shop-api"), before[1]);
        // Ports, and how a volume is seen, are as much of it as anything else.
        let text = text_with(&[
            ("256m", "512m"),
            ("443:8080", "443:9090"),
            ("data:/var/data", "data:/var/data:ro"),
        ]);
        fs::write(bench.path().join("compose.yaml"), text).unwrap();
        let up = compose(&cloud, &bench, &["up", "-d"]).success();
        for name in ["web", "data_base"] {
            let said = format!("the service {name} has changed");
            assert!(up.stderr.contains(&said), "no {said}: {}", up.stderr);
        }
        assert_eq!(uuid("shop-api"), before[1]);
    });
}

/// The file with some of its text replaced.
fn text_with(changes: &[(&str, &str)]) -> String {
    let mut text = FILE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "no {from}");
        text = text.replace(from, to);
    }
    text
}

#[test]
fn services_are_made_stopped_and_started_by_name() {
    in_both(|| {
        let (cloud, bench) = place();
        let made = rows(&cloud, &bench, &["create", "-o", "json", "api"]);
        assert_eq!(
            made,
            ["data_base shop-data-base stopped", "api shop-api stopped"]
        );
        let _ = compose(&cloud, &bench, &["start", "-w", "10s", "data_base"]).success();
        assert_eq!(
            rows(&cloud, &bench, &["ps", "-o", "json"]),
            [
                "data_base shop-data-base running",
                "api shop-api stopped",
                "web shop-web not deployed"
            ]
        );
        let _ = compose(&cloud, &bench, &["stop", "data_base"]).success();
        eventually("its end", || {
            rows(&cloud, &bench, &["ps", "-o", "json", "data_base"])
                == ["data_base shop-data-base stopped"]
        });
        let outcome = compose(&cloud, &bench, &["start", "databse"]).exits(3);
        assert!(
            outcome.stderr.contains("no such service: `databse`"),
            "{}",
            outcome.stderr
        );
    });
}

#[test]
fn errors_in_the_file_are_reported_with_their_line() {
    in_both(|| {
        let (cloud, bench) = place();
        let file = bench.path().join("other.yaml");
        fs::write(
            &file,
            "services:\n  web:\n    image: x\n    ports: ['53:53/udp']\n    tty: true\n",
        )
        .unwrap();
        cloud.door("POST images", &json!({"name": "x"}));
        let outcome = compose(&cloud, &bench, &["--file", "other.yaml", "up", "-d"]).exits(2);
        for said in [
            "other.yaml:4",
            "does not publish `udp`",
            "other.yaml:5",
            "`tty` has no effect",
        ] {
            assert!(
                outcome.stderr.contains(said),
                "no {said}: {}",
                outcome.stderr
            );
        }
        fs::write(&file, "services:\n  web: {image: x, depends_on: [web]}\n").unwrap();
        let path = file.to_str().unwrap();
        let outcome = compose(&cloud, &bench, &["ps", "--file", path]).exits(1);
        assert!(
            outcome.stderr.contains("need each other"),
            "{}",
            outcome.stderr
        );
        fs::remove_file(bench.path().join("compose.yaml")).unwrap();
        let outcome = compose(&cloud, &bench, &["ps"]).exits(3);
        assert!(
            outcome
                .stderr
                .contains("no Compose file in this directory or above it"),
            "{}",
            outcome.stderr
        );
    });
}

#[test]
fn a_failure_in_the_middle_reports_what_exists_and_how_to_continue() {
    in_both(|| {
        let (cloud, bench) = place();
        cloud.door("PUT settings", &json!({"instances": 2}));
        let outcome = compose(&cloud, &bench, &["up", "-d"]).exits(1);
        for said in [
            "no more instances are allowed",
            "the volume `shop-data`, the instance `shop-data-base`, the instance `shop-api`",
            "kraft cloud compose --file compose.yaml up",
            "kraft cloud instance remove shop-api && kraft cloud instance remove shop-data-base",
        ] {
            assert!(
                outcome.stderr.contains(said),
                "no {said}: {}",
                outcome.stderr
            );
        }
        cloud.door("PUT settings", &json!({"instances": 3}));
        let _ = compose(&cloud, &bench, &["up", "-d"]).success();
        assert_eq!(cloud.ok("GET /instances", &Value::Null).len(), 3);
    });
}

#[test]
fn up_follows_the_logs_until_interrupted_and_the_services_keep_running() {
    in_both(|| {
        let (cloud, bench) = place();
        let mut command = cloud.command(&bench, &["cloud", "compose", "up"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut all = String::new();
        while !all.contains("web is up") {
            assert!(reader.read_line(&mut all).unwrap() > 0, "{all}");
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let all = cloud.ok("GET /instances", &Value::Null);
        assert!(all.iter().all(|one| one["state"] == "running"), "{all:#?}");
    });
}

#[test]
fn a_service_of_a_profile_is_created_only_if_it_is_selected() {
    in_both(|| {
        let (cloud, bench) = place();
        let file = "\
services:
  web: {image: tester/web}
  check: {image: tester/api, profiles: [tests], depends_on: [store]}
  store: {image: tester/db, profiles: [tests, tools]}
";
        fs::write(bench.path().join("compose.yaml"), file).unwrap();
        let bench = bench.env("COMPOSE_PROJECT_NAME", "shop");
        let names = |bench: &Bench| {
            let rows = rows(&cloud, bench, &["ps", "-o", "json"]);
            let names = rows
                .iter()
                .map(|row| row.split(' ').next().unwrap().to_owned());
            names.collect::<Vec<_>>()
        };
        let _ = compose(&cloud, &bench, &["up", "-d"]).success();
        assert_eq!(names(&bench), ["web"]);
        // Who names a service wants it, with what it needs.
        let _ = compose(&cloud, &bench, &["up", "-d", "check"]).success();
        assert_eq!(names(&bench), ["web", "store", "check"]);
        // Nothing that was made is left, whatever is active now.
        let down = compose(&cloud, &bench, &["down"]).success();
        assert_eq!(down.stdout.lines().count(), 3, "{}", down.stdout);
        let _ = compose(&cloud, &bench, &["up", "-d", "--profile", "tools"]).success();
        assert_eq!(names(&bench), ["web", "store"]);
        let bench = bench.env("COMPOSE_PROFILES", "tests, tools");
        let _ = compose(&cloud, &bench, &["create"]).success();
        assert_eq!(names(&bench), ["web", "store", "check"]);
    });
}

#[test]
fn three_services_run_as_real_machines() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let bench = Bench::new().env("KRAFTKIT_BUILDER", "kraft");
    let cloud = Cloud::real(&bench, &registry);
    let runtime = push_runtime(&registry, &bench, &mini("x86_64"));
    let ready = registry.name("tester/ready:v1");
    package(&bench, &ready, &["--args", "@print:ready"]);
    bench.ok(["pkg", "push", &ready]);
    // One is built from a Dockerfile, one from a project, one is an image.
    for (dir, motd) in [("front", "front is open"), ("back", "back is open")] {
        let dir = bench.path().join(dir);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("motd"), format!("{motd}\n")).unwrap();
        let dockerfile =
            "FROM scratch\nCOPY motd /etc/motd\nCMD [\"@cat:/etc/motd\", \"@sleep:600\"]\n";
        fs::write(dir.join("Dockerfile"), dockerfile).unwrap();
    }
    let kraftfile = format!("spec: v0.6\nruntime: {runtime}\nrootfs: ./Dockerfile\n");
    fs::write(bench.path().join("back/Kraftfile"), kraftfile).unwrap();
    let file = format!(
        "name: trio\nservices:\n  front:\n    build: ./front\n    runtime: {runtime}\n    \
         depends_on: [back]\n  back:\n    build: {{context: ./back}}\n  ready:\n    \
         image: tester/ready:v1\n    command: ['@sleep:600']\n"
    );
    fs::write(bench.path().join("compose.yaml"), file).unwrap();
    let up = compose(&cloud, &bench, &["up", "-d", "-w", "60s"]).success();
    assert_eq!(
        bench.json(["ps", "-o", "json"]).as_array().unwrap().len(),
        3,
        "{}",
        up.stderr
    );
    let said = || compose(&cloud, &bench, &["logs"]).success().stdout;
    eventually("their greetings", || {
        let said = said();
        [
            "front | front is open",
            "back  | back is open",
            "ready | ready",
        ]
        .iter()
        .all(|line| said.contains(line))
    });
    let _ = compose(&cloud, &bench, &["down"]).success();
    assert_eq!(bench.json(["ps", "--all", "-o", "json"]), json!([]));
}
