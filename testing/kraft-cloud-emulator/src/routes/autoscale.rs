//! `/services/…/autoscale`: autoscaling of service groups, and its policies.

use serde_json::{Value, json};

use super::{asked, body, done, each, must_ask, no_body, nowhere, query, wrong_method};
use crate::answer::{Code, Fault, items};
use crate::check::{self, Field, ID, Kind, NAME, NAME_FIELD, UUID_FIELD};
use crate::http::{Request, Response};
use crate::server::Shared;
use crate::world::{Group, State, World};

const POSITIVE: Kind = Kind::Number(1, 2_147_483_647);
const STEP: &[Field] = &[
    ("lower_bound", Kind::MaybeNumber, false),
    ("upper_bound", Kind::MaybeNumber, false),
    (
        "adjustment",
        Kind::Number(-2_147_483_648, 2_147_483_647),
        true,
    ),
];
const POLICY: &[Field] = &[
    ("name", NAME, true),
    ("type", Kind::Word(&["step"]), true),
    ("metric", Kind::Word(&["cpu"]), false),
    (
        "adjustment_type",
        Kind::Word(&["change", "exact", "percent"]),
        false,
    ),
    ("steps", Kind::List(&Kind::Object(STEP)), true),
];
const CONFIGURE: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("min_size", POSITIVE, false),
    ("max_size", POSITIVE, false),
    ("warmup_time_ms", POSITIVE, false),
    ("cooldown_time_ms", POSITIVE, false),
    ("master", Kind::Object(ID), true),
    ("policies", Kind::List(&Kind::Object(POLICY)), false),
];
const POLICY_TODAY: &[Field] = &[
    ("name", NAME, true),
    ("enabled", Kind::Flag, false),
    ("metric", Kind::Word(&["cpu"]), false),
    (
        "adjustment_type",
        Kind::Word(&["change", "exact", "percentage"]),
        false,
    ),
    ("steps", Kind::List(&Kind::Object(STEP)), true),
];
const ADD_TODAY: &[Field] = &[
    ("name", NAME, true),
    ("type", Kind::Object(POLICY_TODAY), true),
];
const CONFIGURE_TODAY: &[Field] = &[
    UUID_FIELD,
    NAME_FIELD,
    ("min_size", POSITIVE, false),
    ("max_size", POSITIVE, false),
    ("warmup_time_ms", POSITIVE, false),
    ("cooldown_time_ms", POSITIVE, false),
    (
        "create_args",
        Kind::Object(&[
            ("template", Kind::Object(ID), false),
            ("roms", Kind::Any, false),
        ]),
        true,
    ),
    ("policies", Kind::List(&Kind::Object(POLICY_TODAY)), false),
];
/// Maximum number of policies per group, and of steps per policy.
const MOST: (usize, usize) = (8, 4);

pub(super) fn answer(
    shared: &Shared,
    request: &Request,
    group: Option<&str>,
    path: &[&str],
) -> Result<Response, Response> {
    let mut world = shared.world();
    match (request.method.as_str(), group, path) {
        ("POST", None, []) => {
            let fields = if request.today {
                CONFIGURE_TODAY
            } else {
                CONFIGURE
            };
            if request.today && !body(request)?.is_array() {
                return Err(Fault::new(Code::Malformed, "the body is not a list").whole(400));
            }
            let list = must_ask(request, None, fields)?;
            Ok(each("service_groups", list, |item| {
                configure(&mut world, item)
            }))
        }
        ("POST", Some(uuid), []) if request.today => {
            let list = must_ask(request, Some(uuid), CONFIGURE_TODAY)?;
            Ok(each("service_groups", list, |item| {
                configure(&mut world, item)
            }))
        }
        ("GET", _, []) => {
            query(request, &[])?;
            if request.today {
                no_body(request)?;
            }
            let all = || {
                world
                    .groups
                    .iter()
                    .map(|one| json!({"uuid": one.uuid}))
                    .collect()
            };
            let list = asked(request, group, ID)?.unwrap_or_else(all);
            let mut scaled = list.is_empty();
            let mut response = each("service_groups", list, |item| {
                let group = world.find_group(item)?;
                scaled |= group.autoscale.is_some();
                Ok(view(group, request.today))
            });
            // Today, this is the status of the response, and that of an item is `success`.
            let is_done = response.body.get("status") == Some(&json!("success"));
            if let (true, false, true, Some(body)) = (
                request.today,
                scaled,
                is_done,
                response.body.as_object_mut(),
            ) {
                body.insert("status".to_owned(), json!("unconfigured"));
            }
            Ok(response)
        }
        ("DELETE", _, []) => {
            let list = must_ask(request, group, ID)?;
            Ok(each("service_groups", list, |item| {
                let found = group_mut(&mut world, item)?;
                if found.autoscale.take().is_none() {
                    return Err(unconfigured());
                }
                found.policies.clear();
                Ok(done(&found.uuid, &found.name, Value::Null))
            }))
        }
        (method, Some(uuid), ["policies", rest @ ..]) if rest.len() <= 1 => {
            let found = group_mut(&mut world, &json!({"uuid": uuid}));
            let found = found.map_err(|fault| items("policies", vec![(json!({}), Err(fault))]))?;
            policies(request, method, found, rest.first().copied())
        }
        (_, _, []) => Err(wrong_method()),
        _ => Err(nowhere()),
    }
}

/// Returns a policy in the form of 2024, in which policies are kept.
fn stored(policy: &Value) -> Value {
    let mut policy = policy.clone();
    if let Some(own) = policy.as_object_mut() {
        own.insert("type".to_owned(), json!("step"));
        if own.get("adjustment_type") == Some(&json!("percentage")) {
            own.insert("adjustment_type".to_owned(), json!("percent"));
        }
    }
    policy
}

/// Returns a policy in the form of a description.
fn shown(policy: &Value, today: bool) -> Value {
    let mut policy = policy.clone();
    let Some(own) = policy.as_object_mut() else {
        return policy;
    };
    if !today {
        own.remove("enabled");
        return policy;
    }
    own.remove("type");
    own.entry("enabled").or_insert(json!(true));
    if own.get("adjustment_type") == Some(&json!("percent")) {
        own.insert("adjustment_type".to_owned(), json!("percentage"));
    }
    policy
}

fn unconfigured() -> Fault {
    Fault::new(Code::AutoscaleNotConfigured, "Autoscale is not configured")
}

fn group_mut<'a>(world: &'a mut World, item: &Value) -> Result<&'a mut Group, Fault> {
    let uuid = world.find_group(item)?.uuid.clone();
    let found = world.groups.iter_mut().find(|one| one.uuid == uuid);
    found.ok_or_else(unconfigured)
}

fn configure(world: &mut World, item: &Value) -> Result<Value, Fault> {
    let master = match (item.get("master"), item.pointer("/create_args/template")) {
        (Some(master), _) => world.find_instance(master)?,
        (None, Some(template)) => world.find_saved(template, State::Template)?,
        (None, None) => String::new(),
    };
    let name = world
        .instance(&master)
        .map(|one| one.name.clone())
        .unwrap_or_default();
    let number = |key: &str, default: i64| item.get(key).and_then(Value::as_i64).unwrap_or(default);
    if number("min_size", 1) > number("max_size", 4) {
        return Err(Fault::new(Code::Invalid, "`min_size` is above `max_size`"));
    }
    let policies = item
        .get("policies")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    policies.iter().try_for_each(is_sound)?;
    let group = group_mut(world, item)?;
    if group.autoscale.is_some() {
        return Err(Fault::new(
            Code::AutoscaleConfigured,
            "Autoscale is configured already",
        ));
    }
    group.policies = policies.iter().map(stored).collect();
    group.autoscale = Some(json!({
        "enabled": true,
        "min_size": number("min_size", 1),
        "max_size": number("max_size", 4),
        "warmup_time_ms": number("warmup_time_ms", 1000),
        "cooldown_time_ms": number("cooldown_time_ms", 1000),
        "master": (!master.is_empty()).then(|| json!({"uuid": master, "name": name})),
    }));
    Ok(done(&group.uuid, &group.name, Value::Null))
}

/// Validates a policy: its steps must be contiguous, and each must have a bound.
fn is_sound(policy: &Value) -> Result<(), Fault> {
    let steps = policy
        .get("steps")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if steps.is_empty() || steps.len() > MOST.1 {
        return Err(Fault::new(Code::Invalid, "a policy has one to four steps"));
    }
    let bound = |step: &Value, key: &str| step.get(key).and_then(Value::as_i64);
    for step in &steps {
        let (low, high) = (bound(step, "lower_bound"), bound(step, "upper_bound"));
        if low.is_none() && high.is_none() {
            return Err(Fault::new(Code::Invalid, "a step has neither bound"));
        }
        if let (Some(low), Some(high)) = (low, high)
            && low >= high
        {
            return Err(Fault::new(Code::Invalid, "a step ends before it begins"));
        }
    }
    let ends = steps.iter().map(|step| bound(step, "upper_bound"));
    let begins = steps.iter().skip(1).map(|step| bound(step, "lower_bound"));
    if ends
        .zip(begins)
        .any(|(end, begin)| end.is_none() || end != begin)
    {
        return Err(Fault::new(Code::Invalid, "steps have a gap between them"));
    }
    Ok(())
}

fn policies(
    request: &Request,
    method: &str,
    group: &mut Group,
    name: Option<&str>,
) -> Result<Response, Response> {
    if group.autoscale.is_none() {
        return Ok(items("policies", vec![(json!({}), Err(unconfigured()))]));
    }
    let missing = |name: &str| Fault::new(Code::NotFound, format!("No policy with name '{name}'"));
    let wanted = |name: Option<&str>| match name {
        Some(name) => Ok(Some(vec![json!({"name": name})])),
        // Today the body is one name.
        None if request.today && body(request)?.is_array() => {
            Err(Fault::new(Code::Malformed, "the body is not an object").whole(400))
        }
        None => asked(request, None, ID),
    };
    match (method, name) {
        ("POST", None) => {
            let body = body(request)?;
            let fields = if request.today { ADD_TODAY } else { POLICY };
            check::object(&body, fields).map_err(|fault| fault.whole(400))?;
            let body = match (request.today, body.get("type")) {
                (true, Some(policy)) => policy.clone(),
                _ => body,
            };
            let known = group
                .policies
                .iter()
                .any(|one| one.get("name") == body.get("name"));
            let outcome = if known {
                Err(Fault::new(Code::Exists, "a policy of this name exists"))
            } else if group.policies.len() >= MOST.0 {
                Err(Fault::new(
                    Code::Quota,
                    "a group has at most eight policies",
                ))
            } else {
                is_sound(&body).map(|()| {
                    group.policies.push(stored(&body));
                    json!({"status": "success", "name": body.get("name")})
                })
            };
            Ok(items("policies", vec![(body, outcome)]))
        }
        ("GET", _) => {
            let names = || {
                group
                    .policies
                    .iter()
                    .map(|one| json!({"name": one.get("name")}))
            };
            let list = wanted(name)?.unwrap_or_else(|| names().collect());
            Ok(each("policies", list, |item| {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                let found = group
                    .policies
                    .iter()
                    .find(|one| one.get("name") == item.get("name"));
                let found = found.ok_or_else(|| missing(name))?;
                Ok(match request.today {
                    true => json!({"status": "success", "policy": shown(found, true)}),
                    false => shown(found, false),
                })
            }))
        }
        ("DELETE", _) => {
            let none = || Fault::new(Code::MissingId, "nothing is named").whole(400);
            let list = wanted(name)?.ok_or_else(none)?;
            Ok(each("policies", list, |item| {
                let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
                let before = group.policies.len();
                group
                    .policies
                    .retain(|one| one.get("name") != item.get("name"));
                if group.policies.len() == before {
                    return Err(missing(name));
                }
                Ok(json!({"status": "success", "name": name}))
            }))
        }
        _ => Err(wrong_method()),
    }
}

fn view(group: &Group, today: bool) -> Value {
    let mut item = match &group.autoscale {
        Some(how) => {
            let mut how = how.clone();
            if let (true, Some(own)) = (today, how.as_object_mut()) {
                let master = own.remove("master").unwrap_or_default();
                own.insert("template".to_owned(), master);
            }
            done(&group.uuid, &group.name, how)
        }
        None => json!({
            "status": if today { "success" } else { "unconfigured" }, "uuid": group.uuid, "name": group.name, "enabled": false
        }),
    };
    if let (Some(item), Some(_)) = (item.as_object_mut(), &group.autoscale) {
        item.insert(
            "policies".to_owned(),
            group.policies.iter().map(|one| shown(one, today)).collect(),
        );
    }
    item
}
