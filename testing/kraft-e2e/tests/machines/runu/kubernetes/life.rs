//! The life of Pods: Deployments, scaling, updates, resizing, evictions, and restarts of the node.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A Deployment of an image that was pushed by `kraft pkg --push`, as `kraft export` describes it.
pub(super) fn deployment(place: &mut Place) {
    let begun = Instant::now();
    let manifest = place.export(&["--replicas", "2", "--memory", "64Mi", "--port", "80:8080"]);
    assert!(!manifest.contains("command:"), "{manifest}");
    place.wait_for("web");
    for pod in place.pods() {
        let address = place.wait_for_pod(&pod);
        assert_eq!(place.ask(address, "/"), format!("version 1 on {pod}\n"));
        let logs = place.cluster.kubectl(&["logs", &pod]).success().stdout;
        assert!(logs.contains("serving as version 1"), "{logs}");
    }
    figure("two replicas answer", begun);
}

pub(super) fn scaling(place: &mut Place) {
    place.export(&[
        "--replicas",
        "1",
        "--memory",
        "64Mi",
        "--health-http",
        "8080/",
    ]);
    place.wait_for("web");
    let begun = Instant::now();
    for (replicas, what) in [("5", "from one replica to five"), ("2", "to two")] {
        let scale = ["scale", "deployment/web", "--replicas", replicas];
        let _ = place.cluster.kubectl(&scale).success();
        place.wait_for("web");
        figure(what, begun);
    }
    let begun = Instant::now();
    let victim = place.pods().swap_remove(0);
    let _ = place.cluster.kubectl(&["delete", "pod", &victim]).success();
    place.wait_for("web");
    assert!(!place.pods().contains(&victim));
    figure("a deleted Pod is replaced", begun);
}

/// A client that asks all the time notices nothing but the new version.
pub(super) fn rolling_update(place: &mut Place) {
    place.export(&[
        "--replicas",
        "3",
        "--memory",
        "64Mi",
        "--port",
        "80:8080",
        "--health-http",
        "8080/",
    ]);
    place.wait_for("web");
    let address = place.service("web");
    place.cluster.wait("the Service answers", SOON, || {
        place.cluster.fetch(address, 80, "/").is_some()
    });
    let begun = Instant::now();
    let done = AtomicBool::new(false);
    let client = || {
        let mut answers = Vec::new();
        while !done.load(Ordering::Relaxed) {
            answers.push(place.cluster.fetch(address, 80, "/").unwrap_or_default());
        }
        answers
    };
    let answers = std::thread::scope(|scope| {
        let client = scope.spawn(client);
        let set = format!("*={}", image(2));
        let set = ["set", "image", "deployment/web", &set];
        let _ = place.cluster.kubectl(&set).success();
        place.wait_for("web");
        figure("a rolling update of three replicas", begun);
        // The node still sends requests to the last old Pod, until it has changed its rules.
        place
            .cluster
            .wait("only the new version answers", SOON, || {
                let mut some = (0..10).map(|_| place.cluster.fetch(address, 80, "/"));
                some.all(|page| page.is_some_and(|page| page.starts_with("version 2")))
            });
        done.store(true, Ordering::Relaxed);
        client.join().unwrap()
    });
    let count = |text: &str| answers.iter().filter(|it| it.starts_with(text)).count();
    let (first, second) = (count("version 1"), count("version 2"));
    let failed = answers.len() - first - second;
    eprintln!(
        "                {} requests, {failed} of them failed",
        answers.len()
    );
    assert!(first > 0 && second > 0 && failed == 0);
}

/// Everything that `kraft export kubernetes` can print is accepted by the servers, and runs.
pub(super) fn exports(place: &mut Place) {
    let directory = place.bench.path().join("shared");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("text"), "of the host\n").unwrap();
    let directory = directory.to_str().unwrap();
    // What a provisioner of the cluster makes for a claim.
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "volume" },
        "spec": {
            "capacity": { "storage": "10Gi" }, "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "hostPath": { "path": directory }, "persistentVolumeReclaimPolicy": "Retain",
        },
    });
    place.cluster.apply(&volume.to_string());
    let mount = format!("{directory}:/host:ro");
    place.export(&[
        "--replicas",
        "2",
        "--memory",
        "64Mi",
        "--cpus",
        "1",
        "--port",
        "80:8080",
        "--port",
        "8053:8080/udp",
        "--health-http",
        "8080/",
        "--env",
        "COLOUR=dark $HOME $(id) \"green\"",
        "--label",
        "example.org/a=a \"label\" # - x: y",
        "--volume",
        &mount,
        "--volume",
        "data:/data",
    ]);
    place.wait_for("web");
    let pod = place.pods().swap_remove(0);
    let address = place.wait_for_pod(&pod);
    assert_eq!(
        place.ask(address, "/env/COLOUR"),
        "dark $HOME $(id) \"green\"\n"
    );
    for path in ["/file/host/text", "/file/data/text"] {
        assert_eq!(place.ask(address, path), "of the host\n", "{path}");
    }
    let annotations = &place.cluster.get(&["pod", &pod])["metadata"]["annotations"];
    assert_eq!(annotations["example.org/a"], "a \"label\" # - x: y");
    place.export(&["--memory", "64Mi", "--health-tcp", "8080"]);
    place.wait_for("web");
    let arguments = ["--memory", "64Mi", "--port", "80:8080"];
    let _ = place
        .cluster
        .apply(&place.manifest_of(&arguments, &["/web", "other $(words)"]));
    place.wait_for("web");
    let address = place.service("web");
    place
        .cluster
        .wait("the arguments replace the command", SOON, || {
            let answer = place.cluster.fetch(address, 80, "/");
            answer.is_some_and(|it| it.starts_with("other $(words) on "))
        });
    place.remove_everything();
    let delete = [
        "delete",
        "persistentvolumeclaims,persistentvolumes",
        "--all",
        "--wait=false",
    ];
    let _ = place.cluster.kubectl(&delete).success();
}

/// Limits of processor time change at once; a guest keeps its memory.
pub(super) fn resize(place: &mut Place) {
    place.pod("web", json!({}), json!({}));
    let address = place.wait_for_pod("web");
    let resize = |limits: Value| {
        let patch = json!({ "spec": { "containers": [
            { "name": "guest", "resources": { "limits": limits } },
        ] } });
        let patch = patch.to_string();
        let patch = [
            "patch",
            "pod",
            "web",
            "--subresource",
            "resize",
            "--patch",
            &patch,
        ];
        let _ = place.cluster.kubectl(&patch).success();
    };
    resize(json!({ "cpu": "2" }));
    place
        .cluster
        .wait("the limit of processor time has changed", SOON, || {
            place.guest("web")["resources"]["limits"]["cpu"] == "2"
                && !condition(&place.cluster.get(&["pod", "web"]), "PodResizeInProgress")
        });
    // The guest could not have less than what it has.
    resize(json!({ "cpu": "2", "memory": "128Mi" }));
    place
        .cluster
        .wait("the limit of memory has changed", SOON, || {
            place.guest("web")["resources"]["limits"]["memory"] == "128Mi"
        });
    assert_eq!(place.guest("web")["restartCount"], 0);
    assert!(place.ask(address, "/").starts_with("version 1"));
    // The next guest of the Pod has it.
    let memory = || {
        let text = place.ask(address, "/file/proc/meminfo");
        let total = text.lines().find_map(|it| it.strip_prefix("MemTotal:"));
        total
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
    };
    let before = memory();
    let _ = place.cluster.fetch(address, 8080, "/exit");
    place.cluster.wait("the guest is restarted", SOON, || {
        place.guest("web")["restartCount"] == 1
    });
    assert!(memory() > before + (60 << 10), "{before} kB");
}

pub(super) fn twenty_pods(place: &mut Place) {
    let begun = Instant::now();
    place.export(&["--replicas", "20", "--memory", "32Mi", "--port", "80:8080"]);
    place.wait_for("web");
    figure("twenty replicas are ready", begun);
    for pod in place.pods() {
        let address = place.wait_for_pod(&pod);
        assert_eq!(place.ask(address, "/"), format!("version 1 on {pod}\n"));
    }
    figure("each of them has answered", begun);
    let begun = Instant::now();
    place.remove_everything();
    figure("they are gone", begun);
}

/// A drained node has no Pods; they come back with it.
pub(super) fn eviction(place: &mut Place) {
    place.export(&[
        "--replicas",
        "2",
        "--memory",
        "64Mi",
        "--health-http",
        "8080/",
    ]);
    place.wait_for("web");
    let before = place.pods();
    let _ = place
        .cluster
        .kubectl(&["drain", "node", "--timeout=60s"])
        .success();
    place.cluster.wait("the machines are gone", SOON, || {
        place.machines().is_empty()
    });
    assert!(place.pods().iter().all(|pod| !before.contains(pod)));
    let _ = place.cluster.kubectl(&["uncordon", "node"]).success();
    place.wait_for("web");
}

/// Machines survive an upgrade of containerd and of the kubelet.
pub(super) fn restart_of_daemons(place: &mut Place) {
    place.pod("web", json!({}), json!({}));
    let address = place.wait_for_pod("web");
    let before = place.guest("web")["containerID"].clone();
    for daemon in ["containerd", "kubelet"] {
        place.cluster.kill_daemon(daemon);
        assert!(place.ask(address, "/").starts_with("version 1"));
    }
    place
        .cluster
        .wait("containerd and the kubelet work", SOON, || {
            place.cluster.kubectl(&["logs", "web"]).code == Some(0)
                && place
                    .cluster
                    .kubectl(&["exec", "web", "--", "runu-probe", "tcp", "8080"])
                    .code
                    == Some(0)
        });
    assert_eq!(place.guest("web")["containerID"], before);
    assert_eq!(place.guest("web")["restartCount"], 0);
}

/// After a power failure every Pod is started again.
pub(super) fn restart_of_node(place: &mut Place) {
    place.export(&["--replicas", "2", "--memory", "64Mi", "--port", "80:8080"]);
    place.wait_for("web");
    let before = place.pods();
    let begun = Instant::now();
    place.cluster.restart();
    figure("the node is ready again", begun);
    for pod in &before {
        place.cluster.wait("the Pod runs again", SOON, || {
            let guest = place.guest(pod);
            guest["restartCount"].as_u64() >= Some(1) && guest["state"]["running"].is_object()
        });
        let address = place.wait_for_pod(pod);
        assert_eq!(place.ask(address, "/"), format!("version 1 on {pod}\n"));
    }
    assert_eq!(place.pods(), before);
    figure("its Pods answer again", begun);
}
