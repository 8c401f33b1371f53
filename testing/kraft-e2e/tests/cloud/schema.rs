//! What goes over the wire, judged by the platform's own description and a ready validator: every
//! endpoint it describes is asked, and what was recorded of question and answer must fit.

use std::collections::BTreeSet;

use kraft_e2e::cloud::{Cloud, description};
use kraft_e2e::harness::Bench;
use serde_json::{Value, json};

/// Places where the description contradicts itself or the platform, with replacements. Each was
/// found by a known response of the platform that does not match.
fn amend(document: &mut Value) {
    let schemas = "/components/schemas";
    let mut set = |pointer: String, value: Value| {
        let place = document.pointer_mut(&pointer);
        *place.unwrap_or_else(|| panic!("the description has no {pointer} to amend")) = value;
    };
    // An image has a namespace and a digest, which the patterns do not allow.
    set(
        format!("{schemas}/instance/properties/image"),
        json!({"type": "string"}),
    );
    set(
        format!("{schemas}/image/properties/digest"),
        json!({"type": "string"}),
    );
    let tags = json!({"type": "array", "items": {"type": "string"}});
    set(format!("{schemas}/image/properties/tags"), tags);
    // The filter of images is described as `tagged`; clients send `tag`.
    let list = "/paths/~1images~1list/get/requestBody/content/application~1json/schema/items";
    set(list.to_owned(), json!({"type": "object"}));
    // The services of a new instance are a list, not one mapping.
    let new = "/paths/~1instances/post/requestBody/content/application~1json/schema/properties";
    let mappings = json!({
        "type": "array", "items": {"$ref": "#/components/schemas/service_mapping"}
    });
    set(format!("{new}/service_group/properties/services"), mappings);
    set(format!("{new}/image"), json!({"type": "string"}));
    // A mount names its volume by both, and `oneOf` allows only either.
    let mounts = format!("{schemas}/instance/properties/volumes/items");
    set(mounts, json!({"type": "object", "required": ["at"]}));
    // A handler is a word; the description puts a whole mapping there.
    let group = "/paths/~1services/post/requestBody/content/application~1json/schema";
    let handlers = format!("{group}/properties/services/items/properties/handlers/items");
    set(handlers, json!({"enum": ["tls", "http", "redirect"]}));
    // PEM has lines, and the dot of the patterns ends at the first.
    let pem = "/paths/~1certificates/post/requestBody/content/application~1json/schema";
    for (field, label) in [("chain", "CERTIFICATE"), ("pkey", "PRIVATE KEY")] {
        let pattern = format!("^-----BEGIN {label}-----[\\s\\S]+-----END {label}-----");
        set(format!("{pem}/properties/{field}/pattern"), json!(pattern));
    }
    // Answers to calls for several things have room for one.
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        make_room(item);
    }
    let mut set = |pointer: String, value: Value| {
        let place = document.pointer_mut(&pointer);
        *place.unwrap_or_else(|| panic!("the description has no {pointer} to amend")) = value;
    };
    // A policy's steps are a list.
    let policy = "/paths/~1services~1{uuid}~1autoscale~1policies/post/requestBody/content";
    let steps = json!({
        "type": "array", "items": {"$ref": "#/components/schemas/autoscale_policy_step"}
    });
    set(
        format!("{policy}/application~1json/schema/properties/steps"),
        steps,
    );
}

/// Takes the limit of one item from every list.
fn make_room(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("maxItems") == Some(&json!(1)) {
                map.remove("maxItems");
            }
            map.values_mut().for_each(make_room);
        }
        Value::Array(items) => items.iter_mut().for_each(make_room),
        _ => {}
    }
}

/// The described path that an asked one is an instance of: literal words win over `{…}`.
fn template(document: &Value, path: &str) -> Option<String> {
    let words: Vec<&str> = path.split('/').collect();
    let paths = document["paths"].as_object().unwrap();
    let fitting = paths.keys().filter(|known| {
        let parts: Vec<&str> = known.split('/').collect();
        let same = |(part, word): (&&str, &&str)| part == word || part.starts_with('{');
        parts.len() == words.len() && parts.iter().zip(&words).all(same)
    });
    fitting
        .min_by_key(|known| known.matches('{').count())
        .cloned()
}

/// Insists that a value fits the schema at a place of the document.
fn assert_fits(document: &Value, pointer: &str, value: &Value, what: &str) {
    let mut whole = document.pointer(pointer).unwrap().clone();
    // References of a schema are below `/components` of the whole document.
    whole["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let wrong: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{value:#}");
}

/// Judges a recorded request and its answer; returns which endpoint it was, if it is described.
fn judge(document: &Value, entry: &Value) -> Option<String> {
    let method = entry["method"].as_str().unwrap().to_ascii_lowercase();
    let path = entry["path"].as_str().unwrap().strip_prefix("/v1").unwrap();
    let template = template(document, path)?;
    let operation = document["paths"][&template].get(&method)?;
    let place = format!("/paths/{}/{method}", template.replace('/', "~1"));
    let what = format!("{method} {template}");
    if !entry["body"].is_null() {
        let body = format!("{place}/requestBody/content/application~1json/schema");
        assert!(
            document.pointer(&body).is_some(),
            "{what} is described without a body"
        );
        assert_fits(
            document,
            &body,
            &entry["body"],
            &format!("request of {what}"),
        );
    } else {
        assert_ne!(
            operation["requestBody"]["required"],
            json!(true),
            "{what} needs a body"
        );
    }
    let answer = format!("{place}/responses/200/content/application~1json/schema");
    assert_eq!(entry["status"], 200, "{what}: {entry:#}");
    assert_fits(
        document,
        &answer,
        &entry["answer"],
        &format!("answer of {what}"),
    );
    Some(what)
}

fn id(item: &Value) -> Value {
    json!([{"uuid": item["uuid"]}])
}

/// Instances from the first to the last.
fn instances(cloud: &Cloud) {
    let new = json!({
        "name": "web", "image": "tester/web:latest", "args": ["-v"], "memory_mb": 64,
        "service_group": {"services": [{
            "port": 443, "destination_port": 8080, "handlers": ["tls", "http"]
        }]},
        "autostart": true, "wait_timeout_ms": 60_000,
    });
    let made = cloud.ok("POST /instances", &new);
    let uuid = made[0]["uuid"].as_str().unwrap().to_owned();
    let ids = id(&made[0]);
    assert_eq!(made[0]["state"], "running");
    cloud.ok("GET /instances", &Value::Null);
    cloud.ok("GET /instances?metrics=true", &ids);
    cloud.ok(&format!("GET /instances/{uuid}"), &Value::Null);
    cloud.ok("GET /instances/metrics", &ids);
    cloud.ok(&format!("GET /instances/{uuid}/metrics"), &Value::Null);
    let page = json!([{"uuid": uuid, "offset": 0, "limit": 100}]);
    cloud.ok("GET /instances/log", &page);
    cloud.ok(&format!("GET /instances/{uuid}/log"), &Value::Null);
    cloud.ok(
        "PUT /instances/stop",
        &json!([{"uuid": uuid, "drain_timeout_ms": 10}]),
    );
    let stopped = json!([{"uuid": uuid, "state": "stopped", "timeout_ms": 60_000}]);
    cloud.ok("PUT /instances/wait", &stopped);
    cloud.ok("PUT /instances/start", &ids);
    cloud.ok(
        &format!("PUT /instances/{uuid}/stop?force=true"),
        &Value::Null,
    );
    cloud.ok(
        &format!("PUT /instances/{uuid}/start?wait_timeout_ms=60000"),
        &Value::Null,
    );
    cloud.ok("DELETE /instances", &ids);
    let made = cloud.ok("POST /instances", &json!({"image": "tester/web"}));
    let uuid = made[0]["uuid"].as_str().unwrap();
    cloud.ok(&format!("DELETE /instances/{uuid}"), &Value::Null);
}

/// A kind of resource that is created, shown and removed, in a list and one by one.
fn things(cloud: &Cloud, kind: &str, new: &Value) {
    let made = cloud.ok(&format!("POST {kind}"), new);
    cloud.ok(&format!("GET {kind}"), &Value::Null);
    cloud.ok(&format!("GET {kind}"), &id(&made[0]));
    cloud.ok(&format!("DELETE {kind}"), &id(&made[0]));
}

/// The same, by UUID in the path.
fn thing(cloud: &Cloud, kind: &str, new: &Value) {
    let made = cloud.ok(&format!("POST {kind}"), new);
    let one = format!("{kind}/{}", made[0]["uuid"].as_str().unwrap());
    cloud.ok(&format!("GET {one}"), &Value::Null);
    cloud.ok(&format!("DELETE {one}"), &Value::Null);
}

/// Scaling of a group, and its policies.
fn autoscale(cloud: &Cloud) {
    let group = &cloud.ok("POST /services", &json!({"services": []}))[0];
    let uuid = group["uuid"].as_str().unwrap();
    let new = json!({"image": "tester/web", "service_group": {"uuid": uuid}});
    let master = &cloud.ok("POST /instances", &new)[0];
    let how = json!({
        "uuid": uuid, "min_size": 1, "max_size": 3, "master": {"uuid": master["uuid"]}
    });
    cloud.ok("POST /services/autoscale", &how);
    cloud.ok("GET /services/autoscale", &id(group));
    let one = format!("/services/{uuid}/autoscale");
    cloud.ok(&format!("GET {one}"), &Value::Null);
    for name in ["busy", "idle"] {
        let steps = json!([{"lower_bound": 600, "adjustment": 1}]);
        let policy = json!({"name": name, "type": "step", "steps": steps});
        cloud.ok(&format!("POST {one}/policies"), &policy);
    }
    cloud.ok(&format!("GET {one}/policies"), &Value::Null);
    cloud.ok(&format!("GET {one}/policies/busy"), &Value::Null);
    cloud.ok(&format!("DELETE {one}/policies/busy"), &Value::Null);
    cloud.ok(
        &format!("DELETE {one}/policies"),
        &json!([{"name": "idle"}]),
    );
    cloud.ok(&format!("DELETE {one}"), &Value::Null);
    cloud.ok("POST /services/autoscale", &how);
    cloud.ok("DELETE /services/autoscale", &id(group));
}

#[test]
fn every_described_endpoint_is_asked_and_answered_as_described() {
    let Some(mut document) = description() else {
        return;
    };
    amend(&mut document);
    let cloud = Cloud::former();
    cloud.door(
        "POST images",
        &json!({"name": "tester/web", "output": "hello\n"}),
    );
    instances(&cloud);
    let volume = json!([{"name": "data", "size_mb": 16}]);
    things(&cloud, "/volumes", &volume);
    let mapping = json!({"port": 80, "handlers": ["http"]});
    let group = json!({"name": "front", "services": [mapping]});
    things(&cloud, "/services", &group);
    thing(&cloud, "/services", &group);
    let certificate = json!({
        "cn": "example.com",
        "chain": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----",
        "pkey": "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----",
    });
    things(&cloud, "/certificates", &certificate);
    thing(&cloud, "/certificates", &certificate);
    autoscale(&cloud);
    cloud.ok("GET /images/list", &Value::Null);
    let quotas = cloud.ok("GET /users/quotas", &Value::Null);
    let account = quotas[0]["uuid"].as_str().unwrap();
    cloud.ok(&format!("GET /users/{account}/quotas"), &Value::Null);

    assert_complete(&document, &cloud, &[]);
}

/// Endpoints that commands do not use in the form of 2024: they change resources one by one, each by
/// its own path, and name what they read in the query, which this cloud understands too.
const ONE_BY_ONE: &[&str] = &[
    "get /instances/log",
    "get /instances/metrics",
    "get /instances/{uuid}/metrics",
    "get /instances/{uuid}/log",
    "get /services/autoscale",
    "get /services/{uuid}/autoscale",
    "put /instances/wait",
    "delete /certificates",
    "delete /instances",
    "delete /services",
    "delete /services/autoscale",
    "delete /volumes",
    "delete /services/{uuid}/autoscale/policies",
    "get /services/{uuid}/autoscale/policies",
    "put /instances/start",
    "put /instances/stop",
];

/// Judges everything that was recorded, and insists that no described endpoint is left.
fn assert_complete(document: &Value, cloud: &Cloud, one_by_one: &[&str]) {
    let mut seen = BTreeSet::new();
    for entry in cloud.journal() {
        let named = entry["query"].as_array().into_iter().flatten();
        if named
            .into_iter()
            .any(|pair| ["uuid", "name"].iter().any(|key| pair[0] == *key))
        {
            continue;
        }
        seen.extend(judge(document, &entry));
    }
    let paths = document["paths"].as_object().unwrap().iter();
    let described: BTreeSet<String> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            let methods = methods.filter(|method| *method != "parameters");
            methods.map(move |method| format!("{method} {path}"))
        })
        .collect();
    let missed: Vec<&String> = described
        .difference(&seen)
        .filter(|what| !one_by_one.contains(&what.as_str()))
        .collect();
    assert!(missed.is_empty(), "never asked: {missed:?}");
}

/// The UUID of a thing by its name.
fn uuid(cloud: &Cloud, kind: &str, name: &str) -> String {
    let found = cloud.ok(&format!("GET {kind}"), &json!([{"name": name}]));
    found[0]["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn every_described_endpoint_is_reached_by_a_command_that_keeps_to_the_description() {
    let Some(mut document) = description() else {
        return;
    };
    amend(&mut document);
    let (cloud, bench) = (Cloud::former(), Bench::new());
    let image = json!({"name": "tester/web", "args": "web", "output": "hello\n"});
    cloud.door("POST images", &image);
    let run = |line: &str| {
        let words: Vec<&str> = std::iter::once("cloud").chain(line.split(' ')).collect();
        let _ = cloud.kraft(&bench, &words).success();
    };
    run("image list");
    run("volume create -n data -s 16");
    run("volume create -n spare -s 16");
    run("volume list");
    run("volume get data");
    run("volume remove spare");
    run("service create -n front 443:8080");
    run("service list");
    run("service get front");
    run("deploy -n web -g front -v data:/data -M 64 -e A=b --no-wait tester/web -- -v");
    run("deploy -n lone -p 443:8080 --no-wait --restart on-failure --scale-to-zero on tester/web");
    run("instance create -n idle tester/web");
    run("instance list");
    run("instance get web idle");
    run("instance metrics");
    run("instance wait web");
    run("instance logs web");
    let web = uuid(&cloud, "/instances", "web");
    run(&format!("instance get {web}"));
    run(&format!("instance metrics {web}"));
    run("instance logs -n 1 web");
    run("instance stop -w 1ms web");
    run("instance wait -s stopped web");
    run("instance start -w 5s web");
    run(&format!("instance stop --force {web}"));
    run("instance wait -s stopped web");
    run(&format!("instance start -w 5s {web}"));
    run("scale init front --master web");
    let front = uuid(&cloud, "/services", "front");
    for name in ["busy", "calm", "idle", "spare"] {
        run(&format!("scale add front -n {name} -s 600:800/1"));
    }
    run("scale get front");
    run(&format!("scale get {front}"));
    run("scale get front -p busy");
    run("scale get front -p busy -p idle");
    run("scale remove front busy");
    run("scale remove front calm idle");
    run(&format!("scale reset {front}"));
    run("scale init front --master web");
    run("scale reset front");
    let pem = |label: &str| format!("-----BEGIN {label}-----\nMA==\n-----END {label}-----\n");
    std::fs::write(bench.path().join("chain.pem"), pem("CERTIFICATE")).unwrap();
    std::fs::write(bench.path().join("key.pem"), pem("PRIVATE KEY")).unwrap();
    for name in ["one", "two"] {
        run(&format!(
            "certificate create -n {name} -c {name}.example -C chain.pem -p key.pem"
        ));
    }
    run("certificate list");
    run("certificate get one two");
    let one = uuid(&cloud, "/certificates", "one");
    run(&format!("certificate get {one}"));
    run(&format!("certificate remove {one}"));
    run("certificate remove two");
    run("quota");
    let account = cloud.ok("GET /users/quotas", &Value::Null)[0]["uuid"].clone();
    run(&format!("quota --user {}", account.as_str().unwrap()));
    run("instance remove idle lone");
    run(&format!("instance remove {web}"));
    run(&format!("service get {front}"));
    run(&format!("service remove {front}"));
    run("service create -n back 80:80/http");
    run("service remove back");
    assert_complete(&document, &cloud, ONE_BY_ONE);
}

#[test]
fn undocumented_requests_are_rejected() {
    let cloud = Cloud::new();
    let unknown = json!({"image": "tester/web", "colour": "red"});
    assert_eq!(cloud.ask("POST /instances", &unknown).0, 400);
    assert_eq!(cloud.ask("GET /instances?colour=red", &Value::Null).0, 400);
    assert_eq!(cloud.ask("PATCH /volumes", &Value::Null).0, 405);
    assert_eq!(cloud.ask("GET /colours", &Value::Null).0, 404);
    assert_eq!(cloud.ask("POST /volumes", &json!([{"size_mb": 0}])).0, 400);
    let both = json!([{"uuid": "00000000-0000-4000-8000-000000000000", "name": "web"}]);
    let (status, answer) = cloud.ask("GET /instances", &both);
    let code = &answer["data"]["instances"][0]["error"];
    assert_eq!((status, code), (200, &json!(17)), "{answer}");
    let plain = json!({"services": [{"port": 443, "handlers": ["http"]}]});
    let (_, answer) = cloud.ask("POST /services", &plain);
    assert_eq!(answer["data"]["service_groups"][0]["error"], 7, "{answer}");
}

#[test]
fn the_journal_never_holds_a_token_or_a_key() {
    let cloud = Cloud::new();
    let certificate = json!({
        "cn": "example.com",
        "chain": "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----",
        "pkey": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----",
    });
    cloud.ok("POST /certificates", &certificate);
    let journal = format!("{:?}", cloud.journal());
    assert!(!journal.contains(kraft_e2e::cloud::TOKEN), "{journal}");
    assert!(!journal.contains("c2VjcmV0"), "{journal}");
}

#[test]
#[should_panic(expected = "/data/instances/0/state")]
fn the_schema_rejects_invalid_requests_and_responses() {
    let Some(document) = description() else {
        panic!("/data/instances/0/state: there is no description to judge by");
    };
    let flying = json!({"status": "success", "data": {"instances": [{"state": "flying"}]}});
    let entry = json!({
        "method": "GET", "path": "/v1/instances", "body": null, "status": 200, "answer": flying
    });
    judge(&document, &entry);
}
