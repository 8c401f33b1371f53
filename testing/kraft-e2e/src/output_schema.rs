//! Compares what `kraft … -o json` prints with `schema/output.schema.json`, which users are promised.
//!
//! Every command that a test runs with `-o json` is compared, so that no field is undocumented, missing or of
//! another type.
//!
//! ```
//! use kraft_e2e::output_schema::command_of;
//!
//! let args = ["--log-level", "debug", "pkg", "ls", "-o", "json"].map(str::to_owned);
//! assert_eq!(command_of(&args), Some("pkg-ls"));
//! assert_eq!(command_of(&args[2..4]), None);
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::harness::repository;

/// The schemas by command (`pkg-ls`); none allows fields that it does not name.
static COMMANDS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let path = repository().join("schema/output.schema.json");
    let mut document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    close(&mut document);
    let names = document["$defs"].as_object().unwrap().keys();
    let commands: Vec<String> = names.filter(|name| is_command(name)).cloned().collect();
    let validator = |name: String| {
        document["$ref"] = json!(format!("#/$defs/{name}"));
        (name, jsonschema::validator_for(&document).unwrap())
    };
    commands.into_iter().map(validator).collect()
});

/// Definitions of commands are in lower case, those of what they share are not.
fn is_command(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// Users may be given more fields by a newer kraft, a test must not.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties") {
                object.entry("additionalProperties").or_insert(json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(list) => list.iter_mut().for_each(close),
        _ => {}
    }
}

/// Returns the command of a command line as the schema names it, if that asks for JSON.
///
/// # Panics
/// If the schema lacks the command.
pub fn command_of(args: &[String]) -> Option<&'static str> {
    let format = args
        .iter()
        .enumerate()
        .find_map(|(at, arg)| match arg.as_str() {
            "-o" | "--output" => args.get(at + 1).map(String::as_str),
            _ => arg
                .strip_prefix("--output=")
                .or_else(|| arg.strip_prefix("-o")),
        });
    if format != Some("json") {
        return None;
    }
    let words: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    // Values of global flags come before the command, and between its words.
    let fits = |name: &&String| {
        let mut rest = words.iter();
        name.split('-').all(|word| rest.any(|it| *it == word))
    };
    let known = COMMANDS.keys().filter(fits).max_by_key(|name| name.len());
    Some(known.unwrap_or_else(|| panic!("schema/output.schema.json lacks the command of {args:?}")))
}

/// Compares the output of a command that succeeded with its schema: one document, or one on each line.
///
/// # Panics
/// If they differ.
pub fn check(args: &[String], stdout: &str) {
    let Some(command) = command_of(args) else {
        return;
    };
    let parsed: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(stdout)
        .into_iter()
        .collect();
    let documents =
        parsed.unwrap_or_else(|error| panic!("{args:?} prints no JSON: {error}\n{stdout}"));
    for document in documents {
        let errors: Vec<String> = COMMANDS[command]
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            errors.is_empty(),
            "{args:?} differs from `{command}` of schema/output.schema.json:\n{}",
            errors.join("\n")
        );
    }
}
