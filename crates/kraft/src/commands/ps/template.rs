//! `--format TEMPLATE`: the placeholders of Docker's templates, such as `{{.Names}}`.

use std::str::FromStr;

use kraft_engine::compose::state;
use unicode_width::UnicodeWidthStr;

use super::{arch, args, created, memory, name, pid, platform, ports};
use crate::commands::machines::Row;

/// How machines are printed.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// The table of the command.
    Whole,
    /// One JSON object per line.
    Json,
    /// A text per machine.
    Lines(Line),
    /// Columns with titles, divided by tabs.
    Table(Line),
}

/// A text with placeholders.
#[derive(Clone, Debug)]
pub(crate) struct Line(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Field(&'static Field),
    Label(String),
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    title: &'static str,
    value: fn(&Row) -> String,
}

/// The placeholders: Docker's, where a machine has the same.
const FIELDS: &[Field] = &[
    field("ID", "MACHINE ID", |row| row.id.clone()),
    field("Names", "NAME", |row| name(row).to_owned()),
    field("Name", "NAME", |row| name(row).to_owned()),
    field("Image", "KERNEL", |row| {
        row.kernel.clone().unwrap_or_default()
    }),
    field("Command", "ARGS", args),
    field("CreatedAt", "CREATED AT", |row| {
        row.created_at.map(|at| at.to_string()).unwrap_or_default()
    }),
    field("RunningFor", "CREATED", created),
    field("Status", "STATUS", Row::status),
    field("State", "STATE", |row| row.state.to_owned()),
    field("Health", "HEALTH", |row| {
        row.health
            .map(|health| health.name().to_owned())
            .unwrap_or_default()
    }),
    field("Memory", "MEM", memory),
    field("Ports", "PORTS", ports),
    field("Platform", "PLAT", |row| platform(row).to_owned()),
    field("Arch", "ARCH", |row| arch(row).to_owned()),
    field("Labels", "LABELS", |row| {
        let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        labels.join(",")
    }),
    field("ExitCode", "EXIT CODE", |row| {
        row.exit_code
            .map(|code| code.to_string())
            .unwrap_or_default()
    }),
    field("Project", "PROJECT", |row| label(row, state::PROJECT)),
    field("Service", "SERVICE", |row| label(row, state::SERVICE)),
    field("Restarts", "RESTARTS", |row| row.restarts.to_string()),
    field("PID", "PID", pid),
];

fn label(row: &Row, name: &str) -> String {
    row.labels.get(name).cloned().unwrap_or_default()
}

const fn field(name: &'static str, title: &'static str, value: fn(&Row) -> String) -> Field {
    Field { name, title, value }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" | "{{json .}}" => Ok(Self::Json),
            "table" => Ok(Self::Whole),
            _ => match text.strip_prefix("table ") {
                Some(rest) => Ok(Self::Table(rest.parse()?)),
                None => Ok(Self::Lines(text.parse()?)),
            },
        }
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As in Docker, `\t` and `\n` may be typed as two characters.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut pieces = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, next) = after
                .split_once("}}")
                .ok_or_else(|| "`{{` without `}}`".to_owned())?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(placeholder(inside.trim())?);
            rest = next;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }
}

fn placeholder(text: &str) -> Result<Piece, String> {
    let quoted = text
        .strip_prefix(".Label ")
        .and_then(|name| name.trim().strip_prefix('"')?.strip_suffix('"'));
    if let Some(name) = quoted {
        return Ok(Piece::Label(name.to_owned()));
    }
    let name = text.strip_prefix('.').unwrap_or(text);
    let field = FIELDS.iter().find(|field| field.name == name);
    field.map(Piece::Field).ok_or_else(|| {
        let names: Vec<String> = FIELDS.iter().map(|it| format!(".{}", it.name)).collect();
        format!(
            "unknown placeholder `{text}`: expected one of {}, .Label \"NAME\"",
            names.join(", ")
        )
    })
}

impl Line {
    /// Returns the text of a machine.
    pub(super) fn render(&self, row: &Row) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) => (field.value)(row),
            Piece::Label(name) => row.labels.get(name).cloned().unwrap_or_default(),
        });
        pieces.collect()
    }

    /// Returns the text of all machines with titles, its columns aligned.
    pub(super) fn table<'r>(&self, rows: impl Iterator<Item = &'r Row>) -> String {
        let titles = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Field(field) => field.title.to_owned(),
            Piece::Label(name) => name.to_ascii_uppercase(),
        });
        let mut lines: Vec<String> = vec![titles.collect()];
        lines.extend(rows.map(|row| self.render(row)));
        aligned(&lines)
    }
}

fn aligned(lines: &[String]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        for (index, cell) in line.split('\t').enumerate() {
            match widths.get_mut(index) {
                Some(width) => *width = cell.width().max(*width),
                None => widths.push(cell.width()),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut padded = String::new();
        for (cell, width) in line.split('\t').zip(&widths) {
            padded.push_str(cell);
            padded.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
        }
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use kraft_core::machine::MachineState;

    use super::*;

    fn row(name: &str) -> Row {
        Row {
            name: Some(name.to_owned()),
            labels: [("tier".to_owned(), "web".to_owned())].into(),
            ..Row::unknown("0f".to_owned(), MachineState::Running)
        }
    }

    #[test]
    fn placeholders_are_replaced_and_tables_aligned() {
        let render = |text: &str| text.parse::<Line>().unwrap().render(&row("web"));
        assert_eq!(render("{{.Names}}\\t{{ .Status }}"), "web\trunning");
        assert_eq!(
            render("<{{.Label \"tier\"}}> {{.Labels}}"),
            "<web> tier=web"
        );
        assert_eq!(render("plain"), "plain");
        let Ok(Template::Table(line)) = "table {{.Name}}\\t{{.State}}".parse() else {
            panic!("not a table");
        };
        assert_eq!(
            line.table([row("a"), row("long-name")].iter()),
            "NAME       STATE\na          running\nlong-name  running\n"
        );
    }

    #[test]
    fn a_wrong_placeholder_is_an_error_that_lists_the_right_ones() {
        for wrong in ["{{.Nope}}", "{{.Names", "{{}}", "{{.Label x}}"] {
            assert!(wrong.parse::<Line>().is_err(), "{wrong}");
        }
        let error = "{{.Nope}}".parse::<Line>().unwrap_err();
        assert!(error.contains(".Names"), "{error}");
    }
}
