//! `kraft stats` and `kraft top`, of real machines.

use kraft_e2e::guest::mini;
use kraft_e2e::harness::Bench;
use kraft_e2e::networks::{Place, traces};
use serde_json::Value;

#[test]
fn a_running_machine_uses_something_and_a_stopped_one_nothing() {
    let bench = Bench::new();
    let kernel = mini("x86_64");
    let kernel = kernel.to_str().unwrap();
    bench.ok(["run", "--detach", "--name", "web", kernel, "@tick:1000000"]);
    bench.ok(["run", "--detach", "--name", "done", kernel]);
    bench.wait_for_state("done", "exited");
    bench.wait_for_log("web", "tick");
    let running = bench.json(["stats", "--no-stream", "-o", "json"]);
    let web = &running[0];
    assert_eq!(running.as_array().unwrap().len(), 1, "{running}");
    assert_eq!(web["name"], "web");
    assert!(web["cpu_percent"].as_f64().unwrap() >= 0.0, "{web}");
    assert!(web["memory"].as_u64().unwrap() > 1 << 20, "{web}");
    assert_eq!(web["memory_limit"], 64 << 20);
    assert!(web["pids"].as_u64().unwrap() >= 1, "{web}");
    assert!(
        web["disk_read"].is_u64() && web["network_sent"].is_null(),
        "{web}"
    );
    let all = bench.json(["stats", "--no-stream", "--all", "-o", "json"]);
    let all = all.as_array().unwrap();
    let done = all.iter().find(|row| row["name"] == "done").unwrap();
    assert_eq!(
        (&done["memory"], &done["pids"]),
        (&Value::Null, &Value::Null)
    );
    let table = bench.ok(["stats", "--no-stream", "web", "done"]);
    assert!(table.starts_with("MACHINE ID"), "{table}");
    assert!(
        table.lines().nth(2).unwrap().contains("-- / 64.0 MiB"),
        "{table}"
    );

    let threads = bench.json(["top", "web", "-o", "json"]);
    let threads = threads.as_array().unwrap();
    let names: Vec<&str> = threads
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    assert!(
        names.iter().any(|name| name.starts_with("CPU 0")),
        "{names:?}"
    );
    let pid = &bench.json(["inspect", "web"])[0]["pid"];
    assert!(threads.iter().all(|row| row["pid"] == *pid), "{threads:?}");
    let ended = bench.kraft(["top", "done"]);
    assert!(
        ended.stderr.contains("is not running, it is exited"),
        "{}",
        ended.stderr
    );
}

fn traffic(ordinary: bool) {
    let Some(place) = Place::new(ordinary) else {
        return;
    };
    let before = traces();
    place.ok(["net", "create", "web"]);
    place.serve("web", "one", &[]);
    let count = || {
        let row = place.json(["stats", "--no-stream", "-o", "json", "one"])[0].clone();
        let number = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{row}"));
        (number("network_received"), number("network_sent"))
    };
    let first = count();
    let mut printed = String::new();
    kraft_e2e::harness::eventually("it answers", || {
        printed = place.fetch("web", &["one", "8080"]);
        printed == "one: hello from one\n"
    });
    let second = count();
    // A request and its answer, with their packets.
    assert!(
        second.0 > first.0 && second.1 > first.1,
        "{first:?} {second:?}"
    );
    place.nothing_is_left(&before);
}

#[test]
fn what_goes_through_a_network_is_counted() {
    traffic(false);
}

#[test]
fn what_goes_through_a_network_of_an_ordinary_user_is_counted() {
    traffic(true);
}
