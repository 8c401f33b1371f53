//! `/services`: service groups, which publish ports.

use serde_json::{Value, json};

use super::{Listed, body, done, each, listed, must_ask, nowhere, patch, wrong_method};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME, NAME_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Group, World, fresh_uuid, pointer, random, stamp};

const PORT: Kind = Kind::Number(1, 65535);
const HANDLERS: Kind = Kind::Word(&["tls", "http", "redirect"]);
const MAPPING: &[Field] = &[
    ("port", PORT, true),
    ("destination_port", PORT, false),
    ("handlers", Kind::List(&HANDLERS), false),
];
pub(super) const MAPPING_TODAY: &[Field] = &[
    ("port", PORT, true),
    ("destination_port", PORT, false),
    ("handlers", Kind::List(&HANDLERS), false),
    ("protocol", Kind::Word(&["tcp", "udp"]), false),
    ("ip", Kind::Text(255), false),
];
pub(super) const DOMAIN: &[Field] = &[
    ("name", NAME, true),
    ("certificate", Kind::Object(ID), false),
];
/// Fields of a domain in a changed list: one that is there has its whole name.
const CHANGED_DOMAIN: &[Field] = &[
    ("name", NAME, false),
    ("fqdn", NAME, false),
    ("certificate", Kind::Any, false),
];
/// Fields of a new service group; a request for an instance may contain one.
pub(super) const CREATE: &[Field] = &[
    NAME_FIELD,
    ("services", Kind::List(&Kind::Object(MAPPING)), true),
    ("domains", Kind::List(&Kind::Object(DOMAIN)), false),
    ("soft_limit", PORT, false),
    ("hard_limit", PORT, false),
];

pub(super) const CREATE_TODAY: &[Field] = &[
    NAME_FIELD,
    ("services", Kind::List(&Kind::Object(MAPPING_TODAY)), true),
    ("domains", Kind::List(&Kind::Object(DOMAIN)), false),
    ("soft_limit", PORT, false),
    ("hard_limit", PORT, false),
    ("autokill", crate::rules::IDLE, false),
];
/// Properties of a service group that can be changed.
const PROPERTIES: &[&str] = &[
    "services",
    "domains",
    "soft_limit",
    "hard_limit",
    "autokill",
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
            let empty = body.get("services").and_then(Value::as_array);
            if request.today && empty.is_some_and(Vec::is_empty) {
                return Err(Fault::new(Code::Invalid, "at least one service is needed").whole(400));
            }
            let outcome = create(&mut world, &body, true).and_then(|uuid| {
                let group = world.find_group(&json!({"uuid": uuid}))?;
                let more = json!({"domains": group.domains,
                    "soft_limit": group.limits.0, "hard_limit": group.limits.1});
                Ok(done(&group.uuid, &group.name, more))
            });
            drop(world);
            crate::proxy::publish(shared);
            Ok(items("service_groups", vec![(body, outcome)]))
        }
        ("GET", _) => {
            let groups = world.groups.iter().map(|one| Listed {
                uuid: one.uuid.clone(),
                created: one.created.clone(),
                tags: Value::Null,
            });
            let all = || groups.collect();
            let list = listed(request, one, &["details"], all)?;
            Ok(each("service_groups", list, |item| {
                Ok(view(&world, world.find_group(item)?))
            }))
        }
        ("DELETE", _) => {
            let list = must_ask(request, one, ID)?;
            Ok(each("service_groups", list, |item| {
                let (uuid, name) = {
                    let group = world.find_group(item)?;
                    (group.uuid.clone(), group.name.clone())
                };
                if world
                    .instances
                    .iter()
                    .any(|one| one.group.as_ref() == Some(&uuid))
                {
                    return Err(Fault::new(Code::Attached, "instances are attached to it"));
                }
                world.groups.retain(|one| one.uuid != uuid);
                Ok(done(&uuid, &name, Value::Null))
            }))
        }
        ("PATCH", _) if request.today => {
            let changed = patch(request, one, "service_groups", PROPERTIES, |item| {
                change(&mut world, item)
            });
            drop(world);
            crate::proxy::publish(shared);
            changed
        }
        _ => Err(wrong_method()),
    }
}

/// Changes a property of a service group.
fn change(world: &mut World, item: &Value) -> Result<(String, String), Fault> {
    let group = world.find_group(item)?.clone();
    let mut all = json!({
        "services": group.services,
        "domains": group.domains,
        "soft_limit": group.limits.0,
        "hard_limit": group.limits.1,
        "autokill": group.autokill,
    });
    if let Some(all) = all.as_object_mut() {
        crate::patch::apply(all, item)?;
    }
    let shape = json!({"services": all.get("services")});
    check::object(
        &shape,
        &[("services", Kind::List(&Kind::Object(MAPPING_TODAY)), true)],
    )?;
    let mut new = group.clone();
    match item.get("prop").and_then(Value::as_str) {
        Some("services") => new.services = mappings(&all)?,
        Some("domains") => new.domains = changed_domains(world, &group, &all)?,
        _ => {}
    }
    let limit = |key: &str, default| all.get(key).and_then(Value::as_i64).unwrap_or(default);
    new.limits = (limit("soft_limit", 1), limit("hard_limit", 65535));
    if new.limits.0 > new.limits.1 {
        return Err(Fault::new(
            Code::Invalid,
            "`soft_limit` is above `hard_limit`",
        ));
    }
    new.autokill = all.get("autokill").cloned().unwrap_or_default();
    let named = (new.uuid.clone(), new.name.clone());
    if let Some(one) = world.groups.iter_mut().find(|one| one.uuid == new.uuid) {
        *one = new;
    }
    Ok(named)
}

/// Returns the domains of a group after a change; those that it has are kept as they are.
fn changed_domains(world: &World, group: &Group, all: &Value) -> Result<Vec<Value>, Fault> {
    let mut domains: Vec<Value> = Vec::new();
    let wanted = all.get("domains").and_then(Value::as_array);
    for one in wanted.into_iter().flatten() {
        check::object(one, CHANGED_DOMAIN)?;
        if one.get("fqdn").is_some() {
            domains.push(one.clone());
            continue;
        }
        let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
        let fqdn = fqdn_of(world, name);
        let own = group.domains.iter();
        let known = own
            .chain(&domains)
            .find(|known| known.get("fqdn") == Some(&json!(fqdn)))
            .cloned();
        match known {
            Some(known) if one.get("certificate").is_none() => domains.push(known),
            _ => {
                let mut others = world.groups.iter().filter(|other| other.uuid != group.uuid);
                domains.push(domain(world, one, &mut others.by_ref())?);
            }
        }
    }
    let mut once: Vec<Value> = Vec::new();
    for one in domains {
        if !once
            .iter()
            .any(|other| other.get("fqdn") == one.get("fqdn"))
        {
            once.push(one);
        }
    }
    Ok(once)
}

/// Creates a service group and returns its UUID.
pub(super) fn create(world: &mut World, body: &Value, persistent: bool) -> Result<String, Fault> {
    if world.groups.len() >= world.settings.hard.groups {
        return Err(Fault::new(
            Code::Quota,
            "no more service groups are allowed",
        ));
    }
    let given = body.get("name").and_then(Value::as_str);
    let name = given.map_or_else(|| format!("still-water-{}", random(8)), str::to_owned);
    if world.groups.iter().any(|one| one.name == name) {
        return Err(Fault::new(
            Code::Exists,
            format!("A service group named '{name}' exists"),
        ));
    }
    let limit = |key: &str, default| body.get(key).and_then(Value::as_i64).unwrap_or(default);
    let limits = (limit("soft_limit", 1), limit("hard_limit", 65535));
    if limits.0 > limits.1 {
        return Err(Fault::new(
            Code::Invalid,
            "`soft_limit` is above `hard_limit`",
        ));
    }
    let services = mappings(body)?;
    let domains = domains(world, body, &name, given.is_some())?;
    let uuid = fresh_uuid();
    world.groups.push(Group {
        uuid: uuid.clone(),
        name,
        persistent,
        created: stamp(),
        services,
        domains,
        limits,
        autoscale: None,
        policies: Vec::new(),
        autokill: body.get("autokill").cloned().unwrap_or_default(),
        empty: std::time::Instant::now(),
    });
    Ok(uuid)
}

/// Returns the port mappings with their defaults, validated by the rules for each port.
fn mappings(body: &Value) -> Result<Vec<Value>, Fault> {
    let mut mappings: Vec<Value> = Vec::new();
    let asked = body.get("services").and_then(Value::as_array);
    for one in asked.into_iter().flatten() {
        let port = one.get("port").and_then(Value::as_i64).unwrap_or_default();
        let inner = one
            .get("destination_port")
            .and_then(Value::as_i64)
            .unwrap_or(port);
        let listed = one.get("handlers").and_then(Value::as_array);
        let handlers = listed.cloned().unwrap_or_default();
        if mappings
            .iter()
            .any(|other| other.get("port") == one.get("port"))
        {
            return Err(Fault::new(
                Code::Exists,
                format!("port {port} is published twice"),
            ));
        }
        let has = |word: &str| handlers.iter().any(|one| one == word);
        let (tls, http, redirect) = (has("tls"), has("http"), has("redirect"));
        let rule = match port {
            80 if !http || tls => Some("port 80 must have the handler http and not tls"),
            443 if !(http && tls) => Some("port 443 must have the handlers http and tls"),
            80 | 443 => None,
            _ if !tls || http => Some("this port must have the handler tls and not http"),
            _ => None,
        };
        let rule = rule.or((redirect && port != 80).then_some("only port 80 can redirect"));
        if let Some(rule) = rule {
            return Err(Fault::new(Code::Invalid, format!("port {port}: {rule}")));
        }
        let mut mapping = json!({"port": port, "destination_port": inner, "handlers": handlers});
        if let Some(mapping) = mapping.as_object_mut() {
            for key in ["protocol", "ip"] {
                mapping.extend(one.get(key).map(|own| (key.to_owned(), own.clone())));
            }
        }
        mappings.push(mapping);
    }
    Ok(mappings)
}

/// Returns the domains, each with a unique name; a generated one if the request has none.
fn domains(world: &World, body: &Value, group: &str, is_named: bool) -> Result<Vec<Value>, Fault> {
    let metro = &world.settings.metro;
    let asked = body
        .get("domains")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if asked.is_empty() {
        let label = if is_named {
            format!("{group}-{}", random(8))
        } else {
            group.to_owned()
        };
        return Ok(vec![json!({"fqdn": format!("{label}.{metro}")})]);
    }
    let mut domains: Vec<Value> = Vec::new();
    for one in &asked {
        let found = domain(world, one, &mut world.groups.iter())?;
        if domains
            .iter()
            .any(|other| other.get("fqdn") == found.get("fqdn"))
        {
            return Err(Fault::new(Code::Exists, "a domain is listed twice"));
        }
        domains.push(found);
    }
    Ok(domains)
}

/// Returns the whole name of a domain: one without a final dot is below that of the metro.
fn fqdn_of(world: &World, name: &str) -> String {
    match name.strip_suffix('.') {
        Some(fqdn) => fqdn.to_owned(),
        None => format!("{name}.{}", world.settings.metro),
    }
}

/// Returns a domain, which none of the other groups has, with its certificate.
fn domain(
    world: &World,
    one: &Value,
    others: &mut dyn Iterator<Item = &Group>,
) -> Result<Value, Fault> {
    let name = one.get("name").and_then(Value::as_str).unwrap_or_default();
    let fqdn = fqdn_of(world, name);
    let mut labels = fqdn.split('.');
    if labels.any(|l| l.is_empty() || l.len() > 63 || l.contains([' ', '/'])) {
        let message = format!("'{name}' is not a valid domain name");
        return Err(Fault::new(Code::Invalid, message));
    }
    let mut known = others.flat_map(|group| &group.domains);
    if known.any(|other| other.get("fqdn") == Some(&json!(fqdn))) {
        let message = format!("The domain '{fqdn}' is taken");
        return Err(Fault::new(Code::Exists, message));
    }
    let certificate = match name.ends_with('.') {
        true => certificate(world, one, &fqdn)?,
        false => None,
    };
    Ok(match certificate {
        Some(certificate) => json!({"fqdn": fqdn, "certificate": certificate}),
        None => json!({"fqdn": fqdn}),
    })
}

/// Returns the requested certificate of a domain, or else one that matches its name.
fn certificate(world: &World, domain: &Value, fqdn: &str) -> Result<Option<Value>, Fault> {
    let found = match domain.get("certificate") {
        Some(named) => Some(world.find_certificate(named)?),
        None => world.certificates.iter().find(|one| one.cn == fqdn),
    };
    Ok(found.map(|one| json!({"uuid": one.uuid, "name": one.name, "state": one.state})))
}

fn view(world: &World, one: &Group) -> Value {
    let members = world
        .instances
        .iter()
        .filter(|i| i.group.as_ref() == Some(&one.uuid));
    let more = json!({
        "created_at": one.created,
        "persistent": one.persistent,
        "autoscale": one.autoscale.is_some(),
        "soft_limit": one.limits.0,
        "hard_limit": one.limits.1,
        "services": one.services,
        "domains": one.domains,
        "autokill": one.autokill,
        "instances": members.map(|i| pointer(&i.uuid, &i.name)).collect::<Vec<_>>(),
    });
    done(&one.uuid, &one.name, more)
}
