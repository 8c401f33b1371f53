//! Services, containers beside a guest, and port forwarding.

use std::process::Stdio;

use super::*;

impl Place {
    /// Returns the address of a Service.
    pub(super) fn service(&self, name: &str) -> Ipv4Addr {
        let service = self.cluster.get(&["service", name]);
        let address = service["spec"]["clusterIP"].as_str().unwrap();
        address.parse().unwrap()
    }

    fn answers(&self, what: &str, address: Ipv4Addr, port: u16) {
        self.cluster.wait(what, SOON, || {
            let answer = self.cluster.fetch(address, port, "/");
            answer.is_some_and(|it| it.starts_with("version 1"))
        });
    }
}

pub(super) fn services(place: &mut Place) {
    place.export(&["--replicas", "2", "--memory", "64Mi", "--port", "80:8080"]);
    place.wait_for("web");
    let address = place.service("web");
    place.answers("the Service answers", address, 80);
    let patch = [
        "patch",
        "service",
        "web",
        "--patch",
        r#"{"spec": {"type": "NodePort"}}"#,
    ];
    let _ = place.cluster.kubectl(&patch).success();
    let port = place.cluster.get(&["service", "web"])["spec"]["ports"][0]["nodePort"].clone();
    let port = u16::try_from(port.as_u64().unwrap()).unwrap();
    place.answers("the port of the node answers", NODE, port);
    let raw = "/api/v1/namespaces/default/services/web:80/proxy/";
    let proxied = place.cluster.kubectl(&["get", "--raw", raw]).success();
    assert!(
        proxied.stdout.starts_with("version 1"),
        "{}",
        proxied.stdout
    );
    // A guest is a client of a Service, too.
    place.pod("client", json!({}), json!({}));
    let client = place.wait_for_pod("client");
    let fetched = place.ask(client, &format!("/fetch/{address}/80/"));
    assert!(fetched.starts_with("version 1 on web-"), "{fetched}");
    // Both replicas serve.
    let mut seen = std::collections::BTreeSet::new();
    place.cluster.wait("both replicas serve", SOON, || {
        seen.extend(place.cluster.fetch(address, 80, "/"));
        seen.len() == 2
    });
}

/// A container beside a guest reaches it and other Pods, and is reached by them.
pub(super) fn sidecar(place: &mut Place) {
    place.pod("web", json!({}), json!({ "containers": [tools()] }));
    place.pod("other", json!({}), json!({}));
    let address = place.wait_for_pod("web");
    let other = place.wait_for_pod("other");
    for guest in [
        address.to_string(),
        "169.254.1.2".to_owned(),
        "127.0.0.1".to_owned(),
    ] {
        let fetched = place.exec_fetch("web", &guest, 8080, "/");
        assert_eq!(fetched, "version 1 on web\n", "{guest}");
    }
    let fetched = place.exec_fetch("web", &other.to_string(), 8080, "/");
    assert_eq!(fetched, "version 1 on other\n");
    // Itself, as in every Pod.
    for own in [address.to_string(), "127.0.0.1".to_owned()] {
        assert_eq!(
            place.exec_fetch("web", &own, 9000, "/"),
            "the tools\n",
            "{own}"
        );
    }
    // From the node and from another guest, while the guest still answers at its port.
    let fetched = place.cluster.fetch(address, 9000, "/");
    assert_eq!(fetched.as_deref(), Some("the tools\n"));
    let fetched = place.ask(other, &format!("/fetch/{address}/9000/"));
    assert_eq!(fetched, "the tools\n");
    assert_eq!(place.ask(address, "/"), "version 1 on web\n");
    let fetched = place.ask(address, &format!("/fetch/{other}/8080/"));
    assert_eq!(fetched, "version 1 on other\n");
    let fetched = place.ask(address, "/fetch/169.254.1.1/9000/");
    assert_eq!(fetched, "the tools\n");
}

pub(super) fn port_forward(place: &mut Place) {
    place.pod("web", json!({}), json!({}));
    place.wait_for_pod("web");
    let mut forward = place
        .cluster
        .kubectl_command(&["port-forward", "pod/web", "18080:8080"]);
    let mut forward = forward
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answered = catch_unwind(AssertUnwindSafe(|| {
        let mut answer = None;
        place.cluster.wait("the forwarded port answers", SOON, || {
            answer = place.cluster.fetch(Ipv4Addr::LOCALHOST, 18080, "/");
            answer.is_some()
        });
        answer
    }));
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert_eq!(answered.unwrap().as_deref(), Some("version 1 on web\n"));
}
