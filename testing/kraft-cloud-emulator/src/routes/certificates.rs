//! `/certificates`.

use serde_json::{Value, json};

use super::{asked, body, done, each, must_ask, nowhere, query, wrong_method};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME, NAME_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Certificate, World, fresh_uuid, pointer, random, stamp};

/// A PEM of at most 8 MiB.
const PEM: Kind = Kind::Text(8 << 20);
const CREATE: &[Field] = &[
    NAME_FIELD,
    ("cn", NAME, true),
    ("chain", PEM, true),
    ("pkey", PEM, true),
];

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    path: &[&str],
) -> Result<Response, Response> {
    let one = match path {
        [] => None,
        [uuid] => Some(*uuid),
        _ => return Err(nowhere()),
    };
    let mut world = shared.world();
    match (request.method.as_str(), one) {
        ("POST", None) => {
            let body = body(request)?;
            check::object(&body, CREATE).map_err(|fault| fault.whole(400))?;
            let outcome = create(&mut world, &body);
            Ok(items("certificates", vec![(body, outcome)]))
        }
        ("GET", _) => {
            query(request, &["details"])?;
            let all = || {
                world
                    .certificates
                    .iter()
                    .map(|one| json!({"uuid": one.uuid}))
                    .collect()
            };
            let list = asked(request, one, ID)?.unwrap_or_else(all);
            Ok(each("certificates", list, |item| {
                Ok(view(&world, world.find_certificate(item)?))
            }))
        }
        ("DELETE", _) => {
            let list = must_ask(request, one, ID)?;
            Ok(each("certificates", list, |item| {
                let found = world.find_certificate(item)?.clone();
                if !users(&world, &found).is_empty() {
                    return Err(Fault::new(Code::Attached, "the certificate is in use"));
                }
                world.certificates.retain(|one| one.uuid != found.uuid);
                Ok(done(&found.uuid, &found.name, Value::Null))
            }))
        }
        _ => Err(wrong_method()),
    }
}

fn create(world: &mut World, body: &Value) -> Result<Value, Fault> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    for (field, label) in [("chain", "CERTIFICATE"), ("pkey", "PRIVATE KEY")] {
        let begun = text(field)
            .trim_start()
            .starts_with(&format!("-----BEGIN {label}-----"));
        if !begun || !text(field).contains(&format!("-----END {label}-----")) {
            return Err(Fault::new(
                Code::Invalid,
                format!("`{field}` is not PEM of a {label}"),
            ));
        }
    }
    let cn = text("cn").to_owned();
    let name = match text("name") {
        "" => format!("{}-{}", cn.trim_start_matches("*."), random(5)),
        name => name.to_owned(),
    };
    if world.certificates.iter().any(|one| one.name == name) {
        return Err(Fault::new(
            Code::Exists,
            format!("A certificate named '{name}' exists"),
        ));
    }
    let uuid = fresh_uuid();
    let item = done(&uuid, &name, Value::Null);
    world.certificates.push(Certificate {
        uuid,
        name,
        cn,
        created: stamp(),
        state: "valid",
    });
    Ok(item)
}

/// Returns the service groups that use a certificate.
fn users(world: &World, certificate: &Certificate) -> Vec<Value> {
    let uses = |domain: &Value| {
        domain.pointer("/certificate/uuid").and_then(Value::as_str) == Some(&certificate.uuid)
    };
    let groups = world
        .groups
        .iter()
        .filter(|group| group.domains.iter().any(uses));
    groups
        .map(|group| pointer(&group.uuid, &group.name))
        .collect()
}

fn view(world: &World, one: &Certificate) -> Value {
    let more = json!({
        "created_at": one.created,
        "common_name": one.cn,
        "state": one.state,
        "validation": (one.state == "pending").then(|| json!({"attempt": 1, "next": stamp()})),
        "subject": format!("CN={}", one.cn),
        "issuer": "CN=emulator",
        "serial_number": one.uuid.replace('-', ""),
        "not_before": one.created,
        "not_after": "2099-01-01T00:00:00Z",
        "service_groups": users(world, one),
    });
    done(&one.uuid, &one.name, more)
}
