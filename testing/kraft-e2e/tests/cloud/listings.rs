//! Every listing of the cloud in every form, compared with reviewed snapshots.
//!
//! What changes with every run (UUIDs, times, addresses) is replaced by its kind.

use std::os::unix::fs::PermissionsExt as _;

use kraft_cloud_emulator::Dialect;
use kraft_e2e::cloud::{Cloud, dialect, in_both};
use kraft_e2e::harness::{Bench, Outcome, eventually};
use serde_json::{Value, json};

const FORMS: [&str; 5] = ["table", "list", "json", "yaml", "raw"];

/// A cloud with one thing of each kind.
fn cloud() -> Cloud {
    let cloud = Cloud::new();
    let image = json!({"name": "tester/web:v1", "args": "/bin/web", "size": 12_345_678});
    cloud.door("POST images", &image);
    cloud.door("POST images", &json!({"name": "nginx", "size": 1000}));
    cloud.ok("POST /volumes", &json!([{"name": "data", "size_mb": 64}]));
    cloud.ok("POST /volumes", &json!([{"name": "spare", "size_mb": 1}]));
    let services = json!([
        {"port": 443, "destination_port": 8080, "handlers": ["http", "tls"]},
        {"port": 80, "destination_port": 443, "handlers": ["http", "redirect"]},
    ]);
    let domains = json!([{"name": "shop"}]);
    cloud.ok(
        "POST /services",
        &json!({"name": "front", "services": services, "domains": domains}),
    );
    let new = json!({
        "name": "web", "image": "tester/web:v1", "autostart": true, "wait_timeout_ms": 60_000,
        "service_group": {"name": "front"}, "memory_mb": 256, "args": ["/bin/web", "--fast"],
        "env": {"COLOUR": "blue", "SIZE": "very large"}, "restart_policy": "on-failure",
        "volumes": [{"name": "data", "at": "/data", "readonly": true}],
        "scale_to_zero": {"policy": "on", "stateful": false, "cooldown_time_ms": 60_000},
    });
    cloud.ok("POST /instances", &new);
    cloud.ok(
        "POST /instances",
        &json!({"name": "idle", "image": "nginx"}),
    );
    let chain = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
    let pkey = "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n";
    cloud.ok(
        "POST /certificates",
        &json!({"name": "site", "cn": "shop.example", "chain": chain, "pkey": pkey}),
    );
    let front = cloud.ok("GET /services", &json!([{"name": "front"}]))[0]["uuid"].clone();
    let scale = json!({
        "uuid": front, "min_size": 1, "max_size": 4, "master": {"name": "web"},
        "policies": [{
            "name": "busy", "type": "step", "metric": "cpu", "adjustment_type": "change",
            "steps": [{"lower_bound": 600, "upper_bound": 800, "adjustment": 1}],
        }],
    });
    cloud.ok("POST /services/autoscale", &scale);
    cloud
}

/// Whether a word is a UUID.
fn is_uuid(word: &str) -> bool {
    word.len() == 36
        && word.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Writes what is another each time as what it is, letters for letters where columns depend on it.
fn normalised(text: &str, cloud: &Cloud) -> String {
    let text = text.replace(&cloud.metro(), "METRO");
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || "-:.".contains(c) {
            word.push(c);
            continue;
        }
        out.push_str(&named(&word));
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn named(word: &str) -> String {
    let is_time = word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let hex = word.strip_prefix("sha256:");
    if is_uuid(word) {
        "UUID".to_owned()
    } else if is_time {
        "TIME".to_owned()
    } else if hex.is_some_and(|hex| hex.len() == 64) {
        "sha256:DIGEST".to_owned()
    } else if word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        "SERIAL".to_owned()
    } else if word.starts_with("still-water-") {
        "BY-CHANCE".to_owned()
    } else if word
        .strip_suffix("secs")
        .is_some_and(|count| count.parse::<u32>().is_ok())
    {
        "Nsecs".to_owned()
    } else {
        word.to_owned()
    }
}

/// Takes out of a table how long ago something was, and how wide its columns are because of it.
fn even(text: &str) -> String {
    let line = |line: &str| {
        let mut cells: Vec<String> = Vec::new();
        for cell in line
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
        {
            cells.push(if cell.ends_with(" ago") {
                "AGO".to_owned()
            } else {
                cell.to_owned()
            });
        }
        cells.join("  ") + "\n"
    };
    text.lines().map(line).collect()
}

/// Numbers that time makes.
const RUNNING: [&str; 6] = [
    "uptime_ms",
    "op_time_us",
    "cpu_time_ms",
    "rss_bytes",
    "net_time_us",
    "boot_time_us",
];

/// Takes the numbers out that grow with time.
fn timeless(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for name in RUNNING {
            let mut from = 0;
            while let Some(at) = line[from..].find(name).map(|at| from + at + name.len()) {
                let digits: String = line[at..]
                    .chars()
                    .skip_while(|c| "\": ".contains(*c))
                    .take_while(char::is_ascii_digit)
                    .collect();
                if !digits.is_empty() {
                    let start = at + line[at..].find(&digits).unwrap();
                    line.replace_range(start..start + digits.len(), "N");
                }
                from = at;
            }
        }
        lines.push(line);
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

/// The output without values that differ each time.
fn told(form: &str, text: &str, cloud: &Cloud) -> String {
    let text = timeless(&normalised(text, cloud));
    if form == "table" { even(&text) } else { text }
}

/// Runs a listing in every form, and compares each with its snapshot.
fn assert_golden(name: &str, words: &[&str]) {
    let (cloud, bench) = (cloud(), Bench::new());
    for form in FORMS {
        let words: Vec<&str> = ["cloud"]
            .iter()
            .chain(words)
            .copied()
            .chain(["-o", form])
            .collect();
        let outcome = cloud.kraft(&bench, &words).success();
        hold(
            &format!("{name}.{form}"),
            &told(form, &outcome.stdout, &cloud),
        );
        if form == "json" {
            let value: Value = serde_json::from_str(&outcome.stdout).unwrap();
            assert!(value.is_array(), "{value}");
        }
    }
}

/// Compares a text with its snapshot, `snapshots/cloud__listings__NAME.snap`.
fn hold(name: &str, told: &str) {
    let name = match dialect() {
        Dialect::V2024 => name.to_owned(),
        Dialect::V2026 => format!("today-{name}"),
    };
    insta::assert_snapshot!(name, told);
}

#[test]
fn instances() {
    in_both(|| {
        assert_golden("instance-get", &["instance", "get", "web", "idle"]);
    });
}

#[test]
fn instances_in_a_list() {
    in_both(|| {
        assert_golden("instance-list", &["instance", "list"]);
        assert_golden("instance-metrics", &["instance", "metrics", "idle"]);
    });
}

#[test]
fn services() {
    in_both(|| {
        assert_golden("service-get", &["service", "get", "front"]);
        assert_golden("service-list", &["service", "list"]);
    });
}

#[test]
fn volumes() {
    in_both(|| {
        assert_golden("volume-get", &["volume", "get", "data"]);
        assert_golden("volume-list", &["volume", "list"]);
    });
}

#[test]
fn certificates() {
    in_both(|| {
        assert_golden("certificate-get", &["certificate", "get", "site"]);
        assert_golden("certificate-list", &["certificate", "list"]);
    });
}

#[test]
fn scaling() {
    in_both(|| {
        assert_golden("scale-get", &["scale", "get", "front"]);
        assert_golden(
            "scale-policy",
            &["scale", "get", "front", "--policy", "busy"],
        );
    });
}

#[test]
fn images() {
    in_both(|| {
        assert_golden("image-list", &["image", "list", "--all"]);
    });
}

#[test]
fn quotas() {
    in_both(|| {
        assert_golden("quota", &["quota"]);
    });
}

/// Compares what only today's platform lists with snapshots, in every form.
#[test]
fn listings_of_today() {
    if dialect() == Dialect::V2024 {
        return;
    }
    let (cloud, bench) = (Cloud::new(), Bench::new());
    cloud.door("POST images", &json!({"name": "tester/web:v1"}));
    let (plane, builds) = (
        cloud.metro().replace("/v1", "/controlplane"),
        cloud.metro().replace("/v1", "/build"),
    );
    let run = |line: &str, form: &[&str]| {
        let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
        let mut command = cloud.command(&bench, &[&words, form].concat());
        command
            .env("UKC_CONTROL_PLANE", &plane)
            .env("UKC_BUILD_SERVER", &builds);
        Outcome::of(&mut command).success().stdout
    };
    for line in [
        "instance create -n web -M 64 --tag prod tester/web:v1",
        "instance checkpoint create -n before --tag a --tag b web",
        "instance create -n restored --checkpoint before",
        "instance create -n copy --branch-from web",
        "instance template create copy",
        "volume create -n data -s 16 --tag fast",
        "volume template create data",
        "volume create -n spare -s 8",
        "build create -t tester/built:v1 https://example.com/app.git",
    ] {
        run(line, &[]);
    }
    let file = bench.path().join("config");
    std::fs::create_dir_all(&file).unwrap();
    let profiles = json!({"version": 1, "default": "work", "profiles": {
        "work": {"token": "x", "account": "anna", "metro": "fra", "registry": "r.example"},
        "home": {"keyring": true},
    }});
    let file = file.join("cloud.json");
    std::fs::write(&file, profiles.to_string()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    for (name, line) in [
        ("template-list", "instance template list"),
        ("template-get", "instance template get copy"),
        ("checkpoint-list", "instance checkpoint list"),
        ("checkpoint-get", "instance checkpoint get before"),
        ("history", "instance history restored"),
        ("changed", "instance stop restored"),
        ("everywhere", "--metro all volume list"),
        ("metro-list", "metro list"),
        ("volume-template-list", "volume template list"),
        ("build-list", "build list"),
        ("whoami", "whoami"),
        ("health", "health"),
        ("profile-list", "profile list"),
        (
            "plan",
            "deploy --plan -n web -v logs:/logs:size=8 tester/web:v1",
        ),
    ] {
        for form in FORMS {
            let text = run(line, &["-o", form]);
            let text = told(form, &text, &cloud);
            // The list form has the same columns as the table.
            let line = |line: &str| match line.split_once("created at: ") {
                Some((label, _)) if form == "list" => format!("{label}created at: AGO\n"),
                _ => format!("{line}\n"),
            };
            let text: String = text.lines().map(line).collect();
            hold(&format!("{name}.{form}"), &text);
        }
    }
}

#[test]
fn compose_projects() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        let file = "name: shop\nservices:\n  web: {image: tester/web:v1, container_name: web}\n  \
                db: {image: nginx}\n";
        std::fs::write(bench.path().join("compose.yaml"), file).unwrap();
        for (name, command) in [("compose-ps", "ps"), ("compose-ls", "ls")] {
            for form in FORMS {
                let outcome = cloud
                    .kraft(&bench, &["cloud", "compose", command, "-o", form])
                    .success();
                hold(
                    &format!("{name}.{form}"),
                    &timeless(&normalised(&outcome.stdout, &cloud)),
                );
            }
        }
    });
}

#[test]
fn metros() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        for form in FORMS {
            let words = ["cloud", "metro", "list", "--status", "-o", form];
            let outcome = cloud.kraft(&bench, &words).success();
            // Latencies of public metros depend on this host's network.
            let near: Vec<&str> = outcome.stdout.lines().take(11).collect();
            let told = normalised(&near.join("\n"), &cloud);
            assert!(told.contains("METRO"), "the nearest is another: {told}");
            if form == "json" {
                let all: Value = serde_json::from_str(&outcome.stdout).unwrap();
                assert_eq!(all[0]["online"], true);
                assert!(all[0]["delay_ms"].is_u64(), "{all}");
                assert_eq!(all.as_array().unwrap().len(), 5);
            }
        }
    });
}

#[test]
fn a_deployed_instance_is_printed_as_a_card() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        let words = [
            "cloud",
            "deploy",
            "-n",
            "card",
            "-p",
            "6379:6379/tls",
            "-s",
            "cache",
            "-M",
            "64",
            "tester/web:v1",
        ];
        let outcome = cloud.kraft(&bench, &words).success();
        hold("deploy-card.text", &normalised(&outcome.stdout, &cloud));
        let words = [
            "cloud",
            "deploy",
            "--dry-run",
            "-n",
            "card",
            "-p",
            "443:8080",
            "-v",
            "data:/data:size=1Gi",
            "tester/web:v1",
        ];
        let outcome = cloud.kraft(&bench, &words).success();
        hold("deploy-dry-run.text", &normalised(&outcome.stdout, &cloud));
    });
}

#[test]
fn an_invalid_output_format_is_rejected() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        let outcome = cloud
            .kraft(&bench, &["cloud", "instance", "list", "-o", "xml"])
            .exits(2);
        assert!(
            outcome.stderr.contains("possible values"),
            "{}",
            outcome.stderr
        );
    });
}

#[test]
fn results_of_commands_are_also_printed_as_json() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        let json = |words: &[&str]| -> Value {
            let words: Vec<&str> = ["cloud"]
                .iter()
                .chain(words)
                .copied()
                .chain(["-o", "json"])
                .collect();
            let outcome = cloud.kraft(&bench, &words).success();
            serde_json::from_str(&outcome.stdout).unwrap()
        };
        let started = json(&["instance", "start", "idle", "-w", "60s"]);
        assert_eq!(started[0]["name"], "idle");
        assert_eq!(started[0]["previous_state"], "stopped");
        let stopped = json(&["instance", "stop", "idle", "--force"]);
        assert_eq!(stopped[0]["previous_state"], "running", "{stopped}");
        let removed = json(&["instance", "remove", "idle"]);
        assert_eq!(removed[0]["name"], "idle", "{removed}");
        let none = json(&["volume", "remove", "spare"]);
        assert_eq!(none[0]["name"], "spare", "{none}");
        assert_eq!(json(&["instance", "remove", "--all"])[0]["name"], "web");
        // Nothing is left, and that is a list, too.
        assert_eq!(json(&["instance", "remove", "--all"]), json!([]));
    });
}

#[test]
fn a_watched_list_is_printed_again_when_something_changes() {
    in_both(|| {
        let (cloud, bench) = (cloud(), Bench::new());
        let file = bench.path().join("watched");
        let words = ["cloud", "volume", "list", "--watch"];
        let mut watching = cloud
            .command(&bench, &words)
            .stdout(std::fs::File::create(&file).unwrap())
            .spawn()
            .unwrap();
        let told = || std::fs::read_to_string(&file).unwrap();
        eventually("the list", || told().contains("spare"));
        cloud.ok("POST /volumes", &json!([{"name": "late", "size_mb": 1}]));
        eventually("the new volume", || told().contains("late"));
        watching.kill().unwrap();
        let _ = watching.wait();
        assert_eq!(told().matches("NAME").count(), 2, "{}", told());
    });
}
