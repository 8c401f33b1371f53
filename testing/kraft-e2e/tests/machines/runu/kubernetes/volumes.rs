//! Volumes and variables of guests.

use super::*;

/// Values of a ConfigMap and of a Secret are files and variables of the guest; files of a directory change
/// with them.
pub(super) fn volumes(place: &mut Place) {
    let settings = |colour: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
            "data": { "colour": colour },
        })
        .to_string()
    };
    place.cluster.apply(&settings("green"));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "key" },
        "stringData": { "password": "sesame" },
    });
    place.cluster.apply(&secret.to_string());
    let guest = json!({
        "volumeMounts": [
            { "name": "settings", "mountPath": "/etc/settings" },
            { "name": "key", "mountPath": "/etc/key", "readOnly": true },
            { "name": "settings", "mountPath": "/etc/colour", "subPath": "colour" },
            { "name": "shared", "mountPath": "/shared" },
            { "name": "pod", "mountPath": "/etc/pod" },
        ],
        "env": [
            { "name": "COLOUR", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "colour" } } },
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "key", "key": "password" } } },
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        ],
    });
    let mut tools = tools();
    tools["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/shared" }]);
    let names = json!([{ "path": "name", "fieldRef": { "fieldPath": "metadata.name" } }]);
    let more = json!({
        "containers": [tools],
        "volumes": [
            { "name": "settings", "configMap": { "name": "settings" } },
            { "name": "key", "secret": { "secretName": "key" } },
            { "name": "shared", "emptyDir": {} },
            { "name": "pod", "downwardAPI": { "items": names } },
        ],
    });
    place.pod("web", guest, more);
    let address = place.wait_for_pod("web");
    for (path, expected) in [
        ("/file/etc/settings/colour", "green"),
        ("/file/etc/key/password", "sesame"),
        ("/file/etc/colour", "green"),
        ("/file/etc/pod/name", "web"),
        ("/env/COLOUR", "green\n"),
        ("/env/PASSWORD", "sesame\n"),
        ("/env/POD", "web\n"),
    ] {
        assert_eq!(place.ask(address, path), expected, "{path}");
    }
    let token = "/file/var/run/secrets/kubernetes.io/serviceaccount/token";
    assert!(place.ask(address, token).starts_with("ey"), "no token");
    let write = ["/busybox", "sh", "-c", "echo hello >/shared/text"];
    let _ = place.exec("web", &write).success();
    assert_eq!(place.ask(address, "/file/shared/text"), "hello\n");
    place.cluster.apply(&settings("blue"));
    place.cluster.wait("the file has changed", SOON, || {
        place.ask(address, "/file/etc/settings/colour") == "blue"
    });
}
