//! The variables that a project uses, with what it has for those that are not set. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::document::interpolate::reference;

/// A variable that a project uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsedVariable {
    /// Its name.
    pub name: String,
    /// Whether it has to be set (`${NAME?text}`).
    pub required: bool,
    /// The text in its place if it is not set (`${NAME:-text}`).
    pub default: Option<String>,
    /// The text in its place if it is set (`${NAME:+text}`).
    pub alternate: Option<String>,
}

/// Returns the variables of a project that was merged as it is, by their names.
///
/// ```
/// use kraft_core::compose::used_variables;
/// use serde_json::json;
///
/// let merged = json!({"services": {"web": {"image": "nginx:${TAG:-1}", "user": "$USER"}}});
/// let found = used_variables(&merged);
/// assert_eq!((found[0].name.as_str(), found[0].default.as_deref()), ("TAG", Some("1")));
/// assert_eq!(found[1].name, "USER");
/// ```
pub fn used_variables(merged: &Value) -> Vec<UsedVariable> {
    let mut found = BTreeMap::new();
    value(merged, &mut found);
    found.into_values().collect()
}

fn value(node: &Value, found: &mut BTreeMap<String, UsedVariable>) {
    match node {
        Value::String(text) => texts(text, 0, found),
        Value::Array(items) => items.iter().for_each(|item| value(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| value(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The maximum depth of texts in each other.
const DEEPEST: usize = 8;

fn texts(text: &str, depth: usize, found: &mut BTreeMap<String, UsedVariable>) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        let Some((name, form, tail)) = reference(after) else {
            // A dollar sign, or the other half of one.
            rest = after.strip_prefix('$').unwrap_or(after);
            continue;
        };
        rest = tail;
        if !found.contains_key(name) && found.len() >= MOST {
            continue;
        }
        let one = found.entry(name.to_owned()).or_default();
        name.clone_into(&mut one.name);
        let operator = form.strip_prefix(':').unwrap_or(form);
        let mut letters = operator.chars();
        let (sign, text) = (letters.next(), letters.as_str());
        match sign {
            Some('-') => one.default = Some(text.to_owned()),
            Some('+') => one.alternate = Some(text.to_owned()),
            Some('?') => one.required = true,
            _ => {}
        }
        if depth < DEEPEST {
            texts(text, depth + 1, found);
        }
    }
}

/// The maximum number of variables.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_in_every_form_and_in_each_other() {
        let merged = serde_json::json!({
            "a": ["$ONE $$NO ${TWO?set it} $", {"b": "${THREE:-${FOUR:+x}}y ${"}],
            "c": {"ONE": "${ONE-1}"},
        });
        let shown: Vec<String> = used_variables(&merged)
            .into_iter()
            .map(|it| {
                format!(
                    "{} {} {:?} {:?}",
                    it.name, it.required, it.default, it.alternate
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "FOUR false None Some(\"x\")",
                "ONE false Some(\"1\") None",
                "THREE false Some(\"${FOUR:+x}\") None",
                "TWO true None None"
            ]
        );
    }
}
