//! `/certificates`.

use serde_json::{Value, json};

use super::{Listed, body, done, each, listed, must_ask, nowhere, wrong_method};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME, NAME_FIELD, UUID_FIELD};
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

const CREATE_TODAY: &[Field] = &[
    NAME_FIELD,
    ("cn", NAME, false),
    ("common_name", NAME, false),
    ("chain", PEM, true),
    ("pkey", PEM, true),
];
const REPLACE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
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
            let fields = if request.today { CREATE_TODAY } else { CREATE };
            check::object(&body, fields).map_err(|fault| fault.whole(400))?;
            if body.get("cn").is_some() == body.get("common_name").is_some() {
                let message = "exactly one of `cn` and `common_name` must be set";
                return Err(Fault::new(Code::NotBoth, message).whole(400));
            }
            let outcome = create(&mut world, &body);
            Ok(items("certificates", vec![(body, outcome)]))
        }
        ("GET", _) => {
            let all = world.certificates.iter().map(|one| Listed {
                uuid: one.uuid.clone(),
                created: one.created.clone(),
                tags: Value::Null,
            });
            let all = || all.collect();
            let list = listed(request, one, &["details"], all)?;
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
        ("PUT", _) if request.today => {
            let list = must_ask(request, one, REPLACE)?;
            Ok(each("certificates", list, |item| {
                is_pem(item)?;
                let uuid = world.find_certificate(item)?.uuid.clone();
                let found = world.certificates.iter_mut().find(|one| one.uuid == uuid);
                if let Some(one) = found {
                    one.renewed += 1;
                }
                Ok(view(&world, world.find_certificate(item)?))
            }))
        }
        _ => Err(wrong_method()),
    }
}

/// Rejects a chain or a private key that is not PEM.
fn is_pem(item: &Value) -> Result<(), Fault> {
    let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
    for (field, label) in [("chain", "CERTIFICATE"), ("pkey", "PRIVATE KEY")] {
        // A key may be of a kind, such as `RSA PRIVATE KEY`.
        let has = |edge: &str| {
            let mut lines = text(field).lines().map(str::trim);
            lines.any(|line| {
                line.starts_with(&format!("-----{edge} "))
                    && line.ends_with(&format!("{label}-----"))
            })
        };
        if !has("BEGIN") || !has("END") {
            return Err(Fault::new(
                Code::Invalid,
                format!("`{field}` is not PEM of a {label}"),
            ));
        }
    }
    Ok(())
}

fn create(world: &mut World, body: &Value) -> Result<Value, Fault> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    is_pem(body)?;
    let cn = match text("common_name") {
        "" => text("cn").to_owned(),
        cn => cn.to_owned(),
    };
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
        renewed: 0,
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

/// Returns the serial number, which is another after each renewal.
fn serial(one: &Certificate) -> String {
    let digits = one.uuid.replace('-', "");
    format!(
        "{}{}",
        digits.get(..31).unwrap_or_default(),
        one.renewed % 10
    )
}

fn view(world: &World, one: &Certificate) -> Value {
    let more = json!({
        "created_at": one.created,
        "common_name": one.cn,
        "state": one.state,
        "validation": (one.state == "pending").then(|| json!({"attempt": 1, "next": stamp()})),
        "subject": format!("CN={}", one.cn),
        "issuer": "CN=emulator",
        "serial_number": serial(one),
        "not_before": one.created,
        "not_after": "2099-01-01T00:00:00Z",
        "service_groups": users(world, one),
    });
    done(&one.uuid, &one.name, more)
}
