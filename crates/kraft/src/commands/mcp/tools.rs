//! The tools: commands of kraft, with their options as parameters.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, ArgAction, Command};
use kraft_sys::process::own_program;
use serde_json::{Map, Value, json};

/// A command that is served.
struct Served {
    /// The command, with spaces.
    path: &'static str,
    /// Whether it changes nothing.
    reads: bool,
    /// What is always given.
    given: &'static [&'static str],
    /// Options that need a terminal, never end or are given already.
    omitted: &'static [&'static str],
}

const fn reading(
    path: &'static str,
    given: &'static [&'static str],
    omitted: &'static [&'static str],
) -> Served {
    Served {
        path,
        reads: true,
        given,
        omitted,
    }
}

const fn changing(
    path: &'static str,
    given: &'static [&'static str],
    omitted: &'static [&'static str],
) -> Served {
    Served {
        reads: false,
        ..reading(path, given, omitted)
    }
}

const JSON: &[&str] = &["--output=json"];

const SERVED: &[Served] = &[
    reading("check", JSON, &[]),
    reading("doctor", JSON, &["report"]),
    reading("inspect", JSON, &[]),
    reading("logs", &[], &["follow"]),
    reading("pkg info", JSON, &["update"]),
    reading("pkg inspect", JSON, &[]),
    reading("pkg ls", JSON, &["update"]),
    reading("ps", JSON, &["format"]),
    reading("size", JSON, &[]),
    reading("stats", &["--no-stream", "--output=json"], &["no-stream"]),
    changing("build", JSON, &[]),
    changing("pkg", &[], &[]),
    changing("pkg pull", &[], &[]),
    changing("remove", &[], &[]),
    changing(
        "run",
        &["--detach"],
        &["detach", "interactive", "tty", "profile"],
    ),
    changing("start", &["--detach"], &["detach"]),
    changing("stop", &[], &[]),
];

/// How long a tool may run.
const LIMIT: Duration = Duration::from_hours(1);
/// How much of its output is returned: the end of it, in bytes.
const MOST_TEXT: usize = 256 << 10;

/// A tool of the server.
pub(super) struct Tool {
    served: &'static Served,
    about: String,
    parameters: Vec<Parameter>,
}

/// A parameter of a tool.
struct Parameter {
    name: String,
    help: String,
    /// The long option; `None` if it has a position instead.
    option: Option<String>,
    kind: Kind,
    values: Vec<String>,
    required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    One,
    Many,
}

/// Returns the tools: all, or those that change nothing.
pub(super) fn all(allow_changes: bool) -> Vec<Tool> {
    let root = crate::command();
    let served = SERVED.iter().filter(|it| it.reads || allow_changes);
    served
        .filter_map(|served| Tool::new(&root, served))
        .collect()
}

/// Says why there is no tool with a name.
pub(super) fn missing(name: &str) -> String {
    let changes = SERVED.iter().any(|it| name_of(it) == name);
    if changes {
        format!("the tool `{name}` changes things: start the server as `kraft mcp --allow-changes`")
    } else {
        format!("there is no tool `{name}`")
    }
}

/// Runs kraft, and returns the result of the call.
pub(super) fn run(argv: Vec<OsString>) -> Value {
    let tool = kraft_sys::tool::Tool::new(own_program())
        .args(argv)
        .env("KRAFTKIT_NO_PROMPT", "true")
        .env("NO_COLOR", "1")
        .limit(LIMIT);
    match tool.output() {
        Ok(output) => {
            let said = [end_of(&output.stdout), end_of(&output.stderr)];
            result(
                said.into_iter().filter(|text| !text.is_empty()),
                !output.status.success(),
            )
        }
        Err(error) => refused(&error.to_string()),
    }
}

/// Returns the result of a call that was not made.
pub(super) fn refused(why: &str) -> Value {
    result([why.to_owned()], true)
}

fn result(texts: impl IntoIterator<Item = String>, is_error: bool) -> Value {
    let content = texts
        .into_iter()
        .map(|text| json!({ "type": "text", "text": text }));
    json!({ "content": content.collect::<Vec<_>>(), "isError": is_error })
}

fn end_of(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(MOST_TEXT);
    let text = String::from_utf8_lossy(bytes.get(start..).unwrap_or_default());
    if start == 0 {
        text.into_owned()
    } else {
        format!("({start} bytes before this are left out)\n{text}")
    }
}

fn name_of(served: &Served) -> String {
    served.path.replace(' ', "_")
}

impl Tool {
    /// Describes a command; `None` if there is no such command.
    fn new(root: &Command, served: &'static Served) -> Option<Self> {
        let mut command = root;
        for part in served.path.split(' ') {
            command = command.find_subcommand(part)?;
        }
        let is_parameter = |arg: &&Arg| {
            let name = arg.get_long().unwrap_or(arg.get_id().as_str());
            let served = name != "output" && name != "help" && !served.omitted.contains(&name);
            served && !arg.is_hide_set() && !arg.is_global_set()
        };
        Some(Self {
            served,
            about: command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
            parameters: command
                .get_arguments()
                .filter(is_parameter)
                .map(Parameter::of)
                .collect(),
        })
    }

    pub(super) fn name(&self) -> String {
        name_of(self.served)
    }

    /// Returns the tool as `tools/list` has it.
    pub(super) fn described(&self) -> Value {
        let properties: Map<String, Value> = self
            .parameters
            .iter()
            .map(|it| (it.name.clone(), it.schema()))
            .collect();
        let required = self.parameters.iter().filter(|it| it.required);
        let required: Vec<&str> = required.map(|it| it.name.as_str()).collect();
        json!({
            "name": self.name(),
            "description": format!("{} (kraft {})", self.about, self.served.path),
            "inputSchema": {
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            },
            "annotations": {
                "readOnlyHint": self.served.reads,
                "destructiveHint": self.served.path == "remove",
            },
        })
    }

    /// Returns the arguments of kraft for the arguments of a call, or what is wrong with these.
    ///
    /// A value never becomes an option: options and their values are one argument, and the others follow `--`.
    pub(super) fn argv(&self, arguments: &Value) -> Result<Vec<OsString>, String> {
        let empty = Map::new();
        let arguments = match arguments {
            Value::Null => &empty,
            Value::Object(arguments) => arguments,
            _ => return Err("the arguments are not an object".to_owned()),
        };
        if let Some(name) = arguments
            .keys()
            .find(|name| self.parameters.iter().all(|it| it.name != **name))
        {
            return Err(format!(
                "the tool `{}` has no argument `{name}`",
                self.name()
            ));
        }
        let mut argv: Vec<OsString> = self.served.path.split(' ').map(OsString::from).collect();
        argv.extend(self.served.given.iter().map(OsString::from));
        let mut positions = Vec::new();
        let mut gap = None;
        for parameter in &self.parameters {
            let Some(value) = arguments.get(&parameter.name) else {
                if parameter.required {
                    return Err(format!("the argument `{}` is missing", parameter.name));
                }
                if parameter.option.is_none() {
                    gap = Some(&parameter.name);
                }
                continue;
            };
            let values = parameter.values_of(value)?;
            match &parameter.option {
                Some(option) if parameter.kind == Kind::Switch => {
                    argv.extend(values.iter().map(|_| format!("--{option}").into()));
                }
                Some(option) => {
                    argv.extend(values.iter().map(|it| format!("--{option}={it}").into()));
                }
                None => match gap {
                    Some(missing) if !values.is_empty() => {
                        return Err(format!("`{}` needs `{missing}`", parameter.name));
                    }
                    _ => positions.extend(values.into_iter().map(OsString::from)),
                },
            }
        }
        if !positions.is_empty() {
            argv.push("--".into());
            argv.extend(positions);
        }
        Ok(argv)
    }
}

impl Parameter {
    fn of(arg: &Arg) -> Self {
        let kind = match arg.get_action() {
            ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => Kind::Switch,
            ArgAction::Append => Kind::Many,
            _ if arg
                .get_num_args()
                .is_some_and(|number| number.max_values() > 1) =>
            {
                Kind::Many
            }
            _ => Kind::One,
        };
        let values = arg.get_possible_values();
        let values = values.iter().map(|it| it.get_name().to_owned());
        Self {
            name: arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned(),
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            option: arg.get_long().map(str::to_owned),
            kind,
            values: if kind == Kind::Switch {
                Vec::new()
            } else {
                values.collect()
            },
            required: arg.is_required_set(),
        }
    }

    fn schema(&self) -> Value {
        let help = &self.help;
        let one = |help: Option<&String>| {
            let mut one = serde_json::Map::from_iter([("type".to_owned(), "string".into())]);
            if !self.values.is_empty() {
                one.insert("enum".to_owned(), json!(self.values));
            }
            one.extend(help.map(|help| ("description".to_owned(), json!(help))));
            Value::from(one)
        };
        match self.kind {
            Kind::Switch => json!({ "type": "boolean", "description": help }),
            Kind::One => one(Some(help)),
            Kind::Many => json!({ "type": "array", "items": one(None), "description": help }),
        }
    }

    /// Returns the values of an argument; none if it is a switch that is off.
    fn values_of(&self, value: &Value) -> Result<Vec<String>, String> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let values = match (self.kind, value) {
            (Kind::Switch, Value::Bool(on)) => Some(vec![String::new(); usize::from(*on)]),
            (Kind::Many, Value::Array(list)) => list.iter().map(text).collect(),
            (Kind::One, value) => text(value).map(|text| vec![text]),
            _ => None,
        };
        let values =
            values.ok_or_else(|| format!("the argument `{}` has the wrong type", self.name))?;
        // An argument of a program cannot contain it.
        if values.iter().any(|it| it.contains('\0')) {
            return Err(format!(
                "the argument `{}` contains a NUL character",
                self.name
            ));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> Tool {
        all(true)
            .into_iter()
            .find(|tool| tool.name() == name)
            .unwrap()
    }

    fn argv(name: &str, arguments: &Value) -> Result<String, String> {
        let argv = tool(name).argv(arguments)?;
        let words = argv.iter().map(|it| it.to_string_lossy().into_owned());
        Ok(words.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_served_command_and_omitted_option_exists() {
        let root = crate::command();
        for served in SERVED {
            let mut command = &root;
            for part in served.path.split(' ') {
                command = command.find_subcommand(part).unwrap();
            }
            let options: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
            for option in served.omitted {
                assert!(options.contains(option), "{}: {option}", served.path);
            }
        }
        let reads = all(false);
        assert!(reads.len() > 5 && reads.len() < SERVED.len());
        assert!(reads.iter().all(|tool| tool.served.reads));
    }

    #[test]
    fn values_never_become_options() {
        let call = json!({ "name": "--rm", "env": ["A=b c", "--x"], "project": "--help", "args": ["-v", "/:/"] });
        let line = argv("run", &call).unwrap();
        let (options, positions) = line.split_once(" -- ").unwrap();
        assert!(options.starts_with("run --detach "), "{options}");
        for option in ["--name=--rm", "--env=A=b c", "--env=--x"] {
            assert!(options.contains(option), "{options}");
        }
        assert_eq!(positions, "--help -v /:/");
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (name, arguments, message) in [
            (
                "ps",
                json!({ "nothing": 1 }),
                "the tool `ps` has no argument `nothing`",
            ),
            ("ps", json!([]), "the arguments are not an object"),
            (
                "ps",
                json!({ "all": "yes" }),
                "the argument `all` has the wrong type",
            ),
            (
                "run",
                json!({ "name": "a\0b" }),
                "the argument `name` contains a NUL character",
            ),
            ("run", json!({ "args": ["a"] }), "`args` needs `project`"),
            ("logs", json!({}), "the argument `machines` is missing"),
        ] {
            assert_eq!(
                argv(name, &arguments).unwrap_err(),
                message,
                "{name} {arguments}"
            );
        }
        assert_eq!(
            argv("ps", &json!({ "all": true, "quiet": false })).unwrap(),
            "ps --output=json --all"
        );
    }

    #[test]
    fn only_the_end_of_a_long_output_is_returned() {
        let text = end_of(&vec![b'x'; MOST_TEXT + 10]);
        assert!(text.starts_with("(10 bytes before this are left out)\nx"));
        assert_eq!(end_of(b"short"), "short");
    }
}
