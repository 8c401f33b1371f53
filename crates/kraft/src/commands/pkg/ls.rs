//! `kraft pkg ls`.

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::catalog::Entry;
use kraft_core::component::Kind as ComponentKind;
use kraft_core::error::chain;
use kraft_core::reference::Digest;
use kraft_oci::choose::is_same_arch;
use kraft_oci::listing;
use serde::Serialize;

use crate::app::App;
use crate::commands::values::{self, PlatformArg};
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_core::readable;
use kraft_engine::components::Fetching;
use kraft_engine::{images, sources};

/// List packages
///
/// List the local images, one row per platform, and the packages that registries and catalogs of
/// components had at the last update. With --update, update them first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft pkg ls --apps
  kraft pkg ls --apps --update
  kraft pkg ls --libs
  kraft pkg ls --arch arm64 -o json")]
pub(crate) struct Args {
    /// List applications
    #[arg(long, visible_alias = "app")]
    apps: bool,

    /// List libraries
    #[arg(short = 'L', long, visible_alias = "lib")]
    libs: bool,

    /// List packages of every type
    #[arg(long)]
    all: bool,

    /// List only packages for this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = "all", hide_default_value = true,
          value_parser = values::platform())]
    plat: PlatformArg,

    /// List only packages for this architecture
    #[arg(short = 'm', long, value_name = "ARCH", value_parser = values::arch())]
    arch: Option<Arch>,

    /// Update from registries and catalogs first
    #[arg(short, long, visible_alias = "remote")]
    update: bool,

    /// List only local packages
    #[arg(long, conflicts_with = "update")]
    local: bool,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,

    #[command(flatten)]
    old: CompatArgs,
}

/// Rarely used flags of KraftKit.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct CompatArgs {
    /// List at most this many packages
    #[arg(short, long, value_name = "COUNT", overrides_with = "no_limit")]
    limit: Option<u32>,

    /// List all packages (default)
    #[arg(long, hide = true)]
    no_limit: bool,

    /// List architectures
    #[arg(short = 'M', long, hide = true)]
    archs: bool,

    /// List platforms
    #[arg(short = 'P', long, hide = true)]
    plats: bool,

    /// List cores
    #[arg(short = 'C', long, hide = true)]
    core: bool,
}

/// One row; these are the fields of `-o json`.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// `app`, `lib`, `core`, `plat` or `arch`.
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    version: String,
    /// `oci` for images, `manifest` for components of a catalog.
    format: &'static str,
    /// When it was stored locally; `null` if it is not.
    pulled: Option<Timestamp>,
    manifest: Option<Digest>,
    index: Option<Digest>,
    platform: Option<String>,
    architecture: Option<String>,
    /// The size of all layers, in bytes; `null` if it is not known.
    size: Option<u64>,
    /// The source of a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip)]
    here: bool,
}

impl Row {
    /// Returns what rows are sorted by.
    fn order(&self) -> impl Ord + '_ {
        let component = (self.format, self.kind, &self.name, &self.version);
        (
            component,
            &self.platform,
            &self.architecture,
            &self.manifest,
        )
    }
}

impl From<listing::Row> for Row {
    fn from(row: listing::Row) -> Self {
        Self {
            kind: "app",
            name: row.name.path(),
            version: row.name.version().to_owned(),
            format: "oci",
            pulled: row.pulled,
            manifest: Some(row.manifest),
            index: Some(row.index),
            platform: Some(row.platform.os),
            architecture: Some(row.platform.architecture),
            size: row.size,
            origin: None,
            here: row.here,
        }
    }
}

/// Returns the rows of a component: one per channel, and with `all` one per version.
fn component(entry: &Entry, all: bool) -> Vec<Row> {
    let row = |version: &str| Row {
        kind: entry.kind.name(),
        name: entry.name.clone(),
        version: version.to_owned(),
        format: "manifest",
        pulled: None,
        manifest: None,
        index: None,
        platform: None,
        architecture: None,
        size: None,
        origin: entry.origin.clone(),
        here: false,
    };
    let channels = entry.channels.iter().map(|channel| row(&channel.name));
    let versions = entry.versions.iter().map(|version| row(&version.version));
    if all || entry.channels.is_empty() {
        channels.chain(versions).collect()
    } else {
        channels.collect()
    }
}

impl Args {
    /// Returns whether packages of this kind are listed: the requested kinds, by default all.
    fn lists(&self, kind: ComponentKind) -> bool {
        let old = &self.old;
        let none = !(self.apps || self.libs || old.core || old.archs || old.plats);
        let asked = match kind {
            ComponentKind::App => self.apps,
            ComponentKind::Lib => self.libs,
            ComponentKind::Core => old.core,
            ComponentKind::Arch => old.archs,
            ComponentKind::Plat => old.plats,
        };
        asked || none || (self.all && !self.apps)
    }

    /// Returns the rows of components; components do not depend on a platform.
    fn components(&self, app: &App) -> Result<Vec<Row>, Failure> {
        if self.plat.0.is_some() || self.arch.is_some() {
            return Ok(Vec::new());
        }
        let mut known = sources::open(app, &Fetching::default())?;
        if self.update {
            match sources::update(app, &mut known) {
                // The registries were updated: show them.
                Err(error) if self.lists(ComponentKind::App) => {
                    let why = chain(&error);
                    app.ui.warn(&format!(
                        "cannot update components, listing the last known ones: {why}"
                    ));
                }
                updated => updated?,
            }
        }
        let entries = known.catalog.iter().filter(|entry| self.lists(entry.kind));
        Ok(entries
            .flat_map(|entry| component(entry, self.all))
            .collect())
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let wanted = |os: &str, arch: &str| {
        let arch = args
            .arch
            .is_none_or(|wanted| is_same_arch(arch, wanted.name()));
        args.plat.0.is_none_or(|plat| os == plat.name()) && arch
    };
    let mut rows = Vec::new();
    if args.lists(ComponentKind::App) {
        let store = images::open(app)?;
        let listing = listing::list(&*store, &wanted)?;
        for (name, error) in &listing.unreadable {
            app.ui.warn(&format!(
                "the image `{name}` is not listed: {}",
                chain(error)
            ));
        }
        rows.extend(listing.rows);
        if !args.local {
            kraft_engine::catalog::add(app, &mut rows, args.update)?;
        }
    }
    rows.retain(|row| wanted(&row.platform.os, &row.platform.architecture));
    let mut rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
    if !args.local {
        rows.extend(args.components(app)?);
    }
    if rows.is_empty() && args.output == Format::Table {
        app.ui.info("no packages found");
        return Ok(());
    }
    let limit = args.old.limit.filter(|_| !args.old.no_limit);
    print(app, args.output, rows, limit)
}

/// Prints rows in the order of their names, the first `limit` of them.
pub(super) fn print(
    app: &App,
    output: Format,
    mut rows: Vec<Row>,
    limit: Option<u32>,
) -> Result<(), Failure> {
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    if let Some(limit) = limit {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    app.ui.listing(output, &rows, COLUMNS)
}

const COLUMNS: &[Column<Row>] = &[
    Column {
        title: "TYPE",
        cell: |row| Cell::new(row.kind),
    },
    Column {
        title: "NAME",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "VERSION",
        cell: |row| Cell::new(version(&row.version)),
    },
    Column {
        title: "FORMAT",
        cell: |row| Cell::new(row.format),
    },
    Column {
        title: "PULLED",
        cell: |row| {
            Cell::new(match row.pulled {
                Some(at) => crate::commands::machines::ago(at, Timestamp::now()),
                None if row.here => "yes".to_owned(),
                None => "never".to_owned(),
            })
        },
    },
    Column {
        title: "MANIFEST",
        cell: |row| Cell::new(row.manifest.as_ref().map_or("-", Digest::short)),
    },
    Column {
        title: "INDEX",
        cell: |row| Cell::new(row.index.as_ref().map_or("-", Digest::short)),
    },
    Column {
        title: "PLAT",
        cell: |row| {
            Cell::new(match (&row.platform, &row.architecture) {
                (Some(platform), Some(arch)) => format!("{platform}/{arch}"),
                _ => "-".to_owned(),
            })
        },
    },
    Column {
        title: "SIZE",
        cell: |row| Cell::new(row.size.map_or_else(|| "-".to_owned(), readable::decimal)),
    },
];

/// A digest is shortened as in the other columns.
fn version(version: &str) -> String {
    match version.strip_prefix("sha256:") {
        Some(hex) => format!("sha256:{}", hex.get(..7).unwrap_or(hex)),
        None => version.to_owned(),
    }
}
