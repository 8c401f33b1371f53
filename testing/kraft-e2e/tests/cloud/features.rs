//! What only today's platform has: saved instances, changes in place, profiles, builds, events.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use kraft_cloud_emulator::Settings;
use kraft_e2e::cloud::{Cloud, TOKEN};
use kraft_e2e::harness::{Bench, Outcome};
use serde_json::{Value, json};

fn cloud() -> Cloud {
    let cloud = Cloud::today(Settings::default());
    cloud.door(
        "POST images",
        &json!({"name": "tester/web", "output": "hello\n"}),
    );
    cloud
}

fn run(cloud: &Cloud, bench: &Bench, line: &str) -> String {
    let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
    cloud.kraft(bench, &words).success().stdout
}

fn json_of(cloud: &Cloud, bench: &Bench, line: &str) -> Value {
    serde_json::from_str(&run(cloud, bench, &format!("{line} -o json"))).unwrap()
}

#[test]
fn instances_are_suspended_saved_cloned_and_restored() {
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| run(&cloud, &bench, line);
    run("instance create -n web -M 64 -S --tag prod tester/web");
    run("instance wait web");
    assert_eq!(run("instance suspend web"), "web\n");
    run("instance wait -s standby -t 60s web");
    run("instance start web");
    assert_eq!(
        run("instance checkpoint create -n before --tag t web"),
        "before\n"
    );
    run("instance create -n restored --checkpoint before -S");
    let past = json_of(&cloud, &bench, "instance history restored");
    assert_eq!(past[0]["name"], "before", "{past}");
    run("instance create -n copy --branch-from web");
    run("instance template create copy");
    let templates = json_of(&cloud, &bench, "instance template list");
    assert_eq!(templates[0]["state"], "template", "{templates}");
    run("instance create -n clone --template copy -S");
    let clone = json_of(&cloud, &bench, "instance get clone");
    assert_eq!(clone[0]["memory_mb"], 64, "{clone}");
    run("instance template remove copy");
    run("instance checkpoint remove before");
    assert_eq!(
        json_of(&cloud, &bench, "instance checkpoint list"),
        json!([])
    );
}

#[test]
fn an_instance_is_changed_in_place_and_the_difference_is_printed() {
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| run(&cloud, &bench, line);
    run("instance create -n web -M 64 -S --tag prod tester/web");
    let told = run("instance edit web --tag blue --untag prod --memory 128 --lock true");
    for line in [
        "tags: [\"prod\"] -> [\"blue\"]",
        "delete_lock: none -> true",
        "memory_mb: 64 (the change is pending until a restart)",
    ] {
        assert!(told.contains(line), "no {line}: {told}");
    }
    let words = ["cloud", "instance", "remove", "web"];
    let outcome = cloud.kraft(&bench, &words).exits(1);
    assert!(outcome.stderr.contains("locked"), "{}", outcome.stderr);
    run("instance edit web --unset delete_lock");
    run("instance remove web");
    let words = ["cloud", "instance", "edit", "web", "--set", "colour=red"];
    let outcome = cloud.kraft(&bench, &words).exits(2);
    assert!(
        outcome.stderr.contains("scale_to_zero"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn the_features_of_a_new_instance_reach_the_platform() {
    let (cloud, bench) = (cloud(), Bench::new());
    std::fs::write(bench.path().join("a.conf"), "colour = red\n").unwrap();
    std::fs::write(bench.path().join("b.bin"), [0xff, 0xfe]).unwrap();
    run(
        &cloud,
        &bench,
        "instance create -n web --tag a --tag b --annotation team=core --hostname shop \
         --rom conf@/etc/app=a.conf,b.bin --plugin sandbox=plugins/sandbox:latest \
         --schedule stop=daily --autokill 1h --autokill-requests 9 --network-interface \
         ip=10.0.0.2/24,mac=12:00:00:00:00:01 --type full --gpus 1 tester/web",
    );
    let journal = cloud.journal();
    let made = journal
        .iter()
        .find(|entry| entry["method"] == "POST")
        .unwrap();
    let body = &made["body"];
    let wanted = json!({
        "tags": ["a", "b"], "annotations": {"team": "core"}, "hostname": "shop",
        "roms": [{"name": "conf", "at": "/etc/app", "files": [
            {"path": "a.conf", "encoding": "text", "data": "colour = red\n"},
            {"path": "b.bin", "encoding": "base64", "data": "//4="},
        ]}],
        "plugins": [{"name": "sandbox", "image": "plugins/sandbox:latest"}],
        "schedules": [{"name": "stop", "action": "stop", "when": "daily"}],
        "autokill": {"time_ms": 3_600_000, "num_requests": 9},
        "network_interfaces": [{"ip": "10.0.0.2/24", "mac": "12:00:00:00:00:01"}],
        "type": "full", "gpus": 1,
    });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&body[name], value, "{name} of {body:#}");
    }
}

#[test]
fn volumes_are_copied_enlarged_and_made_templates() {
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| run(&cloud, &bench, line);
    run("volume create -n data -s 16 --tag a");
    run("volume clone data -n copy");
    run("volume resize data -s 32");
    run("volume template create copy");
    run("volume create -n made --template copy");
    let all = json_of(&cloud, &bench, "volume get data made");
    assert_eq!(
        (&all[0]["size_mb"], &all[1]["size_mb"]),
        (&json!(32), &json!(16))
    );
    let listed = json_of(&cloud, &bench, "volume template list");
    assert_eq!(listed[0]["name"], "copy");
    run("volume template remove copy");
}

#[test]
fn images_are_pinned_and_certificates_renewed() {
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| run(&cloud, &bench, line);
    let pin = run("image pin tester/web");
    assert_eq!(run(&format!("image unpin {}", pin.trim())), pin);
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n");
    std::fs::write(bench.path().join("chain.pem"), pem("CERTIFICATE")).unwrap();
    std::fs::write(bench.path().join("key.pem"), pem("PRIVATE KEY")).unwrap();
    run("certificate create -n tls -c a.example -C chain.pem -p key.pem");
    let before = json_of(&cloud, &bench, "certificate get tls");
    assert_eq!(
        run("certificate renew tls -C chain.pem -p key.pem"),
        "tls\n"
    );
    let after = json_of(&cloud, &bench, "certificate get tls");
    assert_ne!(before[0]["serial_number"], after[0]["serial_number"]);
    let health = json_of(&cloud, &bench, "health");
    assert_eq!(health[0]["checks"]["network"], "healthy");
}

#[test]
fn events_are_printed_as_they_happen() {
    let (cloud, bench) = (cloud(), Bench::new());
    let words = ["cloud", "audit", "-n", "1", "--event", "vm.state_change"];
    let mut command = cloud.command(&bench, &words);
    let mut listening = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = listening.stdout.take().unwrap();
    let line = std::thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        line
    });
    // Events from before the subscription are not sent: make some until one arrives.
    let mut at = 0;
    while listening.try_wait().unwrap().is_none() && at < 600 {
        let new = json!({"name": format!("web-{at}"), "image": "tester/web", "autostart": true});
        let (_, made) = cloud.ask("POST /instances", &new);
        let _ = cloud.ask("DELETE /instances", &json!([{"name": format!("web-{at}")}]));
        assert_eq!(made["status"], "success", "{made}");
        at += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let line = line.join().unwrap();
    assert!(line.contains("vm.state_change"), "{line}");
    let _ = listening.kill();
}

#[test]
fn a_login_is_confirmed_saved_and_used() {
    let cloud = Cloud::today(Settings {
        metros: vec![
            ("emu".to_owned(), String::new()),
            ("far".to_owned(), String::new()),
        ],
        ..Settings::default()
    });
    let bench = Bench::new();
    let plane = cloud.metro().replace("/v1", "/controlplane");
    let plain = |words: &[&str]| {
        let mut command = bench.command(words);
        command.env("UKC_CONTROL_PLANE", &plane);
        command
    };
    let mut command = plain(&[
        "cloud",
        "login",
        "--profile",
        "work",
        "--metro",
        &cloud.metro(),
    ]);
    let mut login = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(login.stderr.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        assert!(!line.contains(TOKEN), "{line}");
        if let Some(at) = line.find("http://") {
            let url = line[at..].trim().to_owned();
            let done = std::process::Command::new("curl")
                .args(["-s", &url])
                .output()
                .unwrap();
            assert!(done.status.success());
        }
    }
    assert!(login.wait().unwrap().success());
    let saved = bench.path().join("config/cloud.json");
    let mode = saved.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // Neither a variable nor a flag is needed from here on.
    let outcome =
        Outcome::of(&mut bench.command(["cloud", "volume", "create", "-n", "v", "-s", "1"]));
    let _ = outcome.success();
    let who = Outcome::of(&mut bench.command(["cloud", "whoami", "-o", "json"])).success();
    assert!(
        who.stdout.contains("\"organization_name\": \"tester\""),
        "{}",
        who.stdout
    );
    let profiles = Outcome::of(&mut bench.command(["cloud", "profile", "list"])).success();
    assert!(profiles.stdout.contains("work"), "{}", profiles.stdout);
    assert!(!profiles.stdout.contains(TOKEN));
    // All metros, merged.
    let words = ["cloud", "--metro", "all", "volume", "list", "-o", "json"];
    let all = Outcome::of(&mut bench.command(words)).success();
    let all: Value = serde_json::from_str(&all.stdout).unwrap();
    let places: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["metro"])
        .collect();
    assert_eq!(places, ["emu", "far"], "{all}");
    let words = ["cloud", "--metro", "all", "volume", "list"];
    let table = Outcome::of(&mut bench.command(words)).success();
    assert!(table.stdout.starts_with("METRO"), "{}", table.stdout);
    // A file that others can read is refused.
    std::fs::set_permissions(&saved, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Outcome::of(&mut bench.command(["cloud", "volume", "list"]));
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
    std::fs::set_permissions(&saved, std::fs::Permissions::from_mode(0o600)).unwrap();
    let _ = Outcome::of(&mut bench.command(["cloud", "logout"])).success();
    let words = ["cloud", "--metro", "fra", "volume", "list"];
    let _ = Outcome::of(&mut bench.command(words)).exits(5);
}

#[test]
fn a_repository_is_built_by_the_build_service() {
    let (cloud, bench) = (cloud(), Bench::new());
    let service = cloud.metro().replace("/v1", "/build");
    let words = [
        "cloud",
        "build",
        "create",
        "-t",
        "tester/built:v1",
        "https://example.com/app.git",
        "-o",
        "json",
    ];
    let mut command = cloud.command(&bench, &words);
    let outcome = Outcome::of(command.env("UKC_BUILD_SERVER", &service)).success();
    let made: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(made[0]["status"], "succeeded", "{made}");
    let mut command = cloud.command(&bench, &["cloud", "build", "list"]);
    let listed = Outcome::of(command.env("UKC_BUILD_SERVER", &service)).success();
    assert!(
        listed.stdout.contains("tester/built:v1"),
        "{}",
        listed.stdout
    );
    // The platform runs what was built.
    run(&cloud, &bench, "instance create -n built tester/built:v1");
}

#[test]
fn a_plan_changes_nothing_and_lists_what_would_change() {
    let (cloud, bench) = (cloud(), Bench::new());
    run(&cloud, &bench, "volume create -n data -s 1");
    cloud.door("DELETE requests", &Value::Null);
    let line = "deploy --plan -n web -v data:/data -v logs:/logs:size=8 tester/web";
    let told = json_of(&cloud, &bench, line);
    let steps: Vec<String> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|step| format!("{} {}", step["action"], step["kind"]).replace('"', ""))
        .collect();
    assert_eq!(
        steps,
        [
            "keep image",
            "create volume",
            "keep volume",
            "create instance"
        ],
        "{told:#}"
    );
    let changes = cloud.journal();
    let changes = changes
        .iter()
        .filter(|entry| entry["method"] != "GET")
        .count();
    assert_eq!(changes, 0);
}
