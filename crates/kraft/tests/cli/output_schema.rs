//! The JSON Schema of the output: it has every command with `-o json`, and no other one.

use std::collections::BTreeSet;

use clap::Command;

const SCHEMA: &str = include_str!("../../../../schema/output.schema.json");

/// Adds the commands below `command` that print JSON, with dashes between their words.
fn with_json(command: &Command, path: &str, found: &mut BTreeSet<String>) {
    for sub in command.get_subcommands().filter(|it| !it.is_hide_set()) {
        let path = match path {
            "" => sub.get_name().to_owned(),
            path => format!("{path}-{}", sub.get_name()),
        };
        let outputs = sub
            .get_arguments()
            .filter(|it| it.get_long() == Some("output"));
        if outputs
            .flat_map(clap::Arg::get_possible_values)
            .any(|value| value.get_name() == "json")
        {
            found.insert(path.clone());
        }
        with_json(sub, &path, found);
    }
}

#[test]
fn the_schema_has_every_command_that_prints_json() {
    let mut commands = BTreeSet::new();
    with_json(&kraft::command(), "", &mut commands);
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let defined = schema["$defs"].as_object().unwrap().keys();
    // Definitions that commands share begin with a capital letter.
    let defined: BTreeSet<String> = defined
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .cloned()
        .collect();
    assert_eq!(defined, commands);
}
