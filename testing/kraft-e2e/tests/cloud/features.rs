//! What only today's platform has: saved instances, changes in place, profiles, builds, events.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use kraft_cloud_emulator::Settings;
use kraft_e2e::cloud::{Cloud, TOKEN};
use kraft_e2e::harness::{Bench, Outcome, eventually};
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
    assert_eq!(
        run("instance checkpoint edit before --tag u --untag t"),
        "tags: [\"t\"] -> [\"u\"]\n"
    );
    run("instance template edit copy --lock true");
    let _ = cloud
        .kraft(&bench, &["cloud", "instance", "template", "remove", "copy"])
        .exits(1);
    run("instance template edit copy --lock false");
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
fn a_service_is_changed_in_place_and_the_difference_is_printed() {
    let (cloud, bench) = (cloud(), Bench::new());
    let run = |line: &str| run(&cloud, &bench, line);
    run("service create -n front 443:8080 --autokill 1h");
    let told = run("service edit front -p 6379:6379/tls -s shop --soft-limit 3 --hard-limit 9");
    for line in ["soft_limit: 1 -> 3", "hard_limit: 65535 -> 9"] {
        assert!(told.contains(line), "no {line}: {told}");
    }
    run("service edit front --unpublish 80 --remove-domain shop.emu0.kraft.host");
    let one = &json_of(&cloud, &bench, "service get front")[0];
    let ports: Vec<&Value> = one["services"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["port"])
        .collect();
    assert_eq!(ports, [443, 6379], "{one:#}");
    assert_eq!(one["domains"].as_array().unwrap().len(), 1, "{one:#}");
    assert_eq!(one["autokill"]["time_ms"], 3_600_000, "{one:#}");
    let told = run("service edit front --dry-run --soft-limit 4");
    assert_eq!(told, "set soft_limit 4\n");
    let words = ["cloud", "service", "edit", "front", "--soft-limit", "99"];
    let outcome = cloud.kraft(&bench, &words).exits(1);
    assert!(
        outcome.stderr.contains("above `hard_limit`"),
        "{}",
        outcome.stderr
    );
    let _ = cloud
        .kraft(&bench, &["cloud", "service", "edit", "front"])
        .exits(2);
}

#[test]
fn schedules_are_carried_out() {
    let (cloud, bench) = (cloud(), Bench::new());
    let words = [
        "cloud",
        "instance",
        "create",
        "-n",
        "web",
        "-S",
        "--schedule",
        "exec=*:*:*=/bin/backup --to '/my files'",
        "--schedule",
        "stop=yearly",
        "--schedule",
        "stop=daily",
        "tester/web",
    ];
    let _ = cloud.kraft(&bench, &words).success();
    let one = &json_of(&cloud, &bench, "instance get web")[0];
    let schedules = one["schedules"].as_array().unwrap();
    let names: Vec<&Value> = schedules.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["exec", "stop", "stop-2"], "{one:#}");
    let args = json!(["/bin/backup", "--to", "/my files"]);
    assert_eq!(schedules[0]["args"], args);
    assert!(schedules[2]["next_at"].is_string(), "{one:#}");
    eventually("the scheduled command", || {
        let log = run(&cloud, &bench, "instance logs web");
        log.contains("exec: /bin/backup --to /my files")
    });
    let line = "schedules=[{\"name\":\"n\",\"when\":\"*:*:*\",\"action\":\"stop\"}]";
    run(&cloud, &bench, &format!("instance edit web --set {line}"));
    run(&cloud, &bench, "instance wait -s stopped -t 60s web");
    let words = [
        "cloud",
        "instance",
        "create",
        "--schedule",
        "exec=daily",
        "tester/web",
    ];
    let outcome = cloud.kraft(&bench, &words).exits(2);
    assert!(
        outcome.stderr.contains("exec=WHEN=COMMAND"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_token_is_in_the_keyring_if_there_is_one() {
    let (cloud, bench) = (cloud(), Bench::new());
    // Takes the place of the program of libsecret: a file for each profile.
    let ring = bench.path().join("ring");
    let program = format!(
        "#!/bin/sh\nring={}\nfor last; do :; done\necho \"$@\" >>$ring.log\ncase $1 in\n\
         store) [ -e $ring.locked ] && {{ echo 'Cannot open the keyring' >&2; exit 1; }}\n\
         cat >$ring.$last;;\nlookup) cat $ring.$last 2>/dev/null;;\nclear) rm -f $ring.$last;;\nesac\n",
        ring.display()
    );
    let bin = bench.path().join("keyring-bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("secret-tool"), program).unwrap();
    std::fs::set_permissions(
        bin.join("secret-tool"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let kraft = |words: &[&str]| {
        let mut command = bench.command(words);
        command
            .env("PATH", &path)
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
            .env(
                "UKC_CONTROL_PLANE",
                cloud.metro().replace("/v1", "/controlplane"),
            );
        command
    };
    let login = |words: &[&str]| {
        let metro = cloud.metro();
        let all = [
            &["cloud", "login", "--token-stdin", "--metro", &metro],
            words,
        ]
        .concat();
        let mut child = kraft(&all)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), TOKEN.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{said}");
        said
    };
    let saved = || std::fs::read_to_string(bench.path().join("config/cloud.json")).unwrap();
    let list = ["cloud", "volume", "list"];
    let said = login(&["--profile", "work"]);
    assert!(said.contains("the token is in the keyring"), "{said}");
    assert!(!saved().contains(TOKEN), "{}", saved());
    let _ = Outcome::of(&mut kraft(&list)).success();
    // Its entry is gone.
    std::fs::remove_file(ring.with_extension("work")).unwrap();
    let outcome = Outcome::of(&mut kraft(&list)).exits(5);
    assert!(
        outcome.stderr.contains("the keyring has no token"),
        "{}",
        outcome.stderr
    );
    // A keyring that cannot be opened, or is not wanted.
    std::fs::write(ring.with_extension("locked"), "").unwrap();
    let said = login(&["--profile", "work"]);
    for part in [
        "Cannot open the keyring",
        "cloud.json, which only its owner can read",
    ] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert!(saved().contains(TOKEN));
    std::fs::remove_file(ring.with_extension("locked")).unwrap();
    let said = login(&["--profile", "other", "--no-keyring"]);
    assert!(said.contains("cloud.json"), "{said}");
    let _ = Outcome::of(&mut kraft(&list)).success();
    let _ = login(&["--profile", "work"]);
    let _ = Outcome::of(&mut kraft(&["cloud", "logout", "--profile", "work"])).success();
    assert!(!ring.with_extension("work").exists());
    // No token is in an argument.
    let log = std::fs::read_to_string(ring.with_extension("log")).unwrap();
    assert!(
        !log.contains(TOKEN) && log.contains("profile work"),
        "{log}"
    );
}

#[test]
fn a_command_is_run_in_an_instance_with_a_sandbox() {
    let (cloud, bench) = (cloud(), Bench::new());
    run(&cloud, &bench, "instance create -n bare -S tester/web");
    let missing = ["cloud", "instance", "exec", "bare", "true"];
    let missing = cloud.kraft(&bench, &missing).exits(3);
    assert!(
        missing.stderr.contains("`bare` does not have the plugin"),
        "{}",
        missing.stderr
    );
    let line = "instance create -n web -S --plugin sandbox=tester/web tester/web";
    run(&cloud, &bench, line);
    // Until then, the platform refuses commands.
    run(&cloud, &bench, "instance wait web");
    let exec = |options: &[&str], script: &str| {
        let words = [
            &["cloud", "instance", "exec"],
            options,
            &["web", "sh", "-c", script],
        ];
        cloud.command(&bench, &words.concat())
    };
    let done = Outcome::of(&mut exec(&["-e", "A=b c"], "echo $A; echo x >&2; exit 7"));
    let done = done.exits(7);
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("b c\n", "x\n")
    );
    // Input and output of several requests.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (source, target) = (bench.path().join("in"), bench.path().join("out"));
    std::fs::write(&source, &bytes).unwrap();
    let mut command = exec(&["-i"], "cat");
    command.stdin(std::fs::File::open(&source).unwrap());
    command.stdout(std::fs::File::create(&target).unwrap());
    assert!(command.status().unwrap().success());
    assert!(std::fs::read(&target).unwrap() == bytes, "bytes are lost");
    // A signal ends the command; an interrupt is passed on to it.
    let _ = Outcome::of(&mut exec(&[], "kill -TERM $$")).exits(143);
    let begun = bench.path().join("begun");
    let script = format!(
        "trap 'echo over > {0}.over' INT; touch {0}; sleep 60",
        begun.display()
    );
    let mut child = exec(&[], &script).spawn().unwrap();
    eventually("the command", || begun.exists());
    let id = child.id().to_string();
    let signal = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(signal.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    eventually("the end of the command", || {
        begun.with_extension("over").exists()
    });
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
    let edited = run("volume edit data --tag b --dry-run");
    assert_eq!(edited, "add tags [\"b\"]\n");
    assert_eq!(
        run("volume edit data --tag b"),
        "tags: [\"a\"] -> [\"a\",\"b\"]\n"
    );
    run("volume template create copy");
    run("volume template edit copy --tag v1");
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
    assert_eq!(health[0]["checks"]["images"], "healthy");
}

#[test]
fn events_are_printed_as_they_happen() {
    let (cloud, bench) = (cloud(), Bench::new());
    let mut listening = ["table", "json", "yaml"].map(|form| {
        let words = ["cloud", "audit", "-n", "1", "--event", "vm.state_change"];
        let words = [&words[..], &["-o", form]].concat();
        let mut command = cloud.command(&bench, &words);
        command.stdout(Stdio::piped()).spawn().unwrap()
    });
    // Events from before a subscription are not sent: make some until one arrives everywhere.
    let mut at = 0;
    while listening
        .iter_mut()
        .any(|it| it.try_wait().unwrap().is_none())
        && at < 600
    {
        let new = json!({"name": format!("web-{at}"), "image": "tester/web", "autostart": true});
        let (_, made) = cloud.ask("POST /instances", &new);
        let _ = cloud.ask("DELETE /instances", &json!([{"name": format!("web-{at}")}]));
        assert_eq!(made["status"], "success", "{made}");
        at += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let [table, json, yaml] = listening.map(|mut it| {
        // It has ended, or never will.
        let _ = it.kill();
        String::from_utf8(it.wait_with_output().unwrap().stdout).unwrap()
    });
    let cells: Vec<&str> = table.trim_end().split("  ").collect();
    let [time, "vm.state_change", uuid, from, to, "by api"] = cells[..] else {
        panic!("{table}");
    };
    assert!(time.ends_with('Z') && uuid.len() == 36, "{table}");
    assert!(
        from.starts_with("from ") && to.starts_with("to "),
        "{table}"
    );
    let event: Value = serde_json::from_str(&json).unwrap();
    let of_yaml: Value = serde_json::from_str(yaml.strip_prefix("- ").unwrap()).unwrap();
    for event in [event, of_yaml] {
        assert_eq!(event["type"], "vm.state_change", "{event}");
        assert!(event["object"]["uuid"].is_string(), "{event}");
    }
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
