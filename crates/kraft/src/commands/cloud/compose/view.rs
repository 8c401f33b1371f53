//! Print services of a Compose file.

use kraft_cloud::resources::images::without_host;
use kraft_cloud::resources::instances::Instance;
use kraft_core::compose::Service;
use serde::Serialize;

use super::super::output::Shown;
use crate::ui::{Cell, Column};
use kraft_deploy::compose::Stack;

/// A service, and its instance if it is deployed.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    service: String,
    name: String,
    /// The state of the instance, or that there is none.
    pub(super) state: String,
    fqdn: Option<String>,
    uuid: Option<String>,
    image: Option<String>,
    memory_mb: Option<u64>,
    args: Vec<String>,
}

impl Row {
    /// Makes the row of a service.
    pub(super) fn of(stack: &Stack, service: &Service, found: Option<Instance>) -> Self {
        let one = found.as_ref();
        Self {
            service: service.name.clone(),
            name: stack.instance(service),
            state: one.map_or_else(|| "not deployed".to_owned(), |one| one.state.clone()),
            fqdn: one.and_then(Instance::fqdn).map(str::to_owned),
            uuid: one.map(|one| one.uuid.clone()),
            image: one.map(|one| one.image.clone()),
            memory_mb: one.map(|one| one.memory_mb),
            args: found.map(|one| one.args).unwrap_or_default(),
        }
    }
}

const SERVICE: Column<Row> = Column::new("SERVICE", |row| Cell::new(&row.service));
const NAME: Column<Row> = Column::new("NAME", |row| Cell::new(&row.name));
const UUID: Column<Row> = Column::new("UUID", |row| {
    Cell::new(row.uuid.as_deref().unwrap_or_default())
});
const STATE: Column<Row> = Column::new("STATE", |row| Cell::new(&row.state));
const FQDN: Column<Row> = Column::new("FQDN", |row| {
    Cell::new(row.fqdn.as_deref().unwrap_or_default())
});
const IMAGE: Column<Row> = Column::new("IMAGE", |row| {
    Cell::new(without_host(row.image.as_deref().unwrap_or_default()))
});
const MEMORY: Column<Row> = Column::new("MEMORY", |row| {
    Cell::new(
        row.memory_mb
            .map(|mib| format!("{mib} MiB"))
            .unwrap_or_default(),
    )
});
const ARGS: Column<Row> = Column::new("ARGS", |row| Cell::new(row.args.join(" ")));

impl Shown for Row {
    const TABLE: &'static [Column<Self>] = &[SERVICE, NAME, STATE, FQDN, IMAGE, MEMORY];
    const LIST: &'static [Column<Self>] = &[SERVICE, NAME, UUID, STATE, FQDN, IMAGE, MEMORY, ARGS];
}

/// A project.
#[derive(Debug, Serialize)]
pub(super) struct StackRow {
    name: String,
    status: String,
    composefile: String,
}

impl StackRow {
    /// Makes the row of a project from those of its services: `running(2), not deployed(1)`.
    pub(super) fn of(stack: &Stack, rows: &[Row]) -> Self {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for row in rows {
            match counts.iter_mut().find(|(state, _)| *state == row.state) {
                Some((_, count)) => *count += 1,
                None => counts.push((&row.state, 1)),
            }
        }
        let states: Vec<String> = counts
            .iter()
            .map(|(state, count)| format!("{state}({count})"))
            .collect();
        Self {
            name: stack.project.clone(),
            status: states.join(", "),
            composefile: stack.file().display().to_string(),
        }
    }
}

impl Shown for StackRow {
    const TABLE: &'static [Column<Self>] = &[
        Column::new("NAME", |row| Cell::new(&row.name)),
        Column::new("STATUS", |row| Cell::new(&row.status)),
        Column::new("COMPOSEFILE", |row| Cell::new(&row.composefile)),
    ];
    const LIST: &'static [Column<Self>] = Self::TABLE;
}
