//! Probes, and the ends of guests.

use super::*;

/// Probes by HTTP, by TCP and by the built-in program: what works is ready, what does not is restarted.
pub(super) fn probes(place: &mut Place) {
    let each = [
        ("http", json!({ "httpGet": { "port": 8080, "path": "/" } })),
        ("tcp", json!({ "tcpSocket": { "port": 8080 } })),
        (
            "exec",
            json!({ "exec": { "command": ["runu-probe", "http", "8080/"] } }),
        ),
    ];
    for (name, probe) in &each {
        let mut probe = probe.clone();
        probe["periodSeconds"] = json!(1);
        let guest = json!({ "readinessProbe": probe, "livenessProbe": probe });
        place.pod(name, guest, json!({}));
    }
    let wrong = json!({
        "exec": { "command": ["runu-probe", "tcp", "81"] }, "periodSeconds": 1, "failureThreshold": 2,
    });
    place.pod("wrong", json!({ "livenessProbe": wrong }), json!({}));
    for (name, _) in &each {
        place.wait_for_pod(name);
    }
    place
        .cluster
        .wait("a guest that fails its probe is restarted", SOON, || {
            place.guest("wrong")["restartCount"].as_u64() >= Some(1)
        });
    for (name, _) in &each {
        assert_eq!(place.guest(name)["restartCount"], 0, "{name}");
    }
    let shell = place
        .cluster
        .kubectl(&["exec", "http", "--", "ls"])
        .exits(1);
    assert!(shell.stderr.contains("no shell"), "{}", shell.stderr);
}

/// Guests that exit, crash, run out of memory and hang are restarted with what happened.
pub(super) fn ends(place: &mut Place) {
    let alive = json!({ "livenessProbe": {
        "httpGet": { "port": 8080, "path": "/" },
        "periodSeconds": 1, "failureThreshold": 3, "timeoutSeconds": 2,
    } });
    let names = ["exit", "crash", "eat", "hang"];
    for name in names {
        let more = if name == "hang" {
            alive.clone()
        } else {
            json!({})
        };
        place.pod(name, more, json!({}));
    }
    for name in names {
        let address = place.wait_for_pod(name);
        let begun = Instant::now();
        let _ = place.cluster.fetch(address, 8080, &format!("/{name}"));
        place
            .cluster
            .wait(&format!("the guest is restarted: {name}"), SOON, || {
                let guest = place.guest(name);
                guest["restartCount"].as_u64() >= Some(1) && guest["state"]["running"].is_object()
            });
        let guest = place.guest(name);
        let end = &guest["lastState"]["terminated"];
        eprintln!(
            "                {name}: {} {}",
            end["exitCode"], end["reason"]
        );
        let address = place.wait_for_pod(name);
        assert_eq!(place.ask(address, "/"), format!("version 1 on {name}\n"));
        figure(&format!("{name}: it answers again"), begun);
    }
    let code = |name: &str| place.guest(name)["lastState"]["terminated"]["exitCode"].clone();
    assert_eq!(code("exit"), 3);
    assert_eq!(code("hang"), 137);
}
