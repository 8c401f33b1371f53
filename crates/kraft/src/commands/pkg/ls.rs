//! `kraft pkg ls`.

use jiff::Timestamp;
use kraft_core::arch::Arch;
use kraft_core::component::Kind as ComponentKind;
use kraft_core::readable;
use kraft_core::reference::Digest;

use crate::app::App;
use crate::commands::values::{self, PlatformArg};
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::listing::{self, Query, Row};

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
    #[arg(short, short_alias = 'U', long, visible_alias = "remote")]
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

    fn query(&self) -> Query {
        use ComponentKind::{App, Arch, Core, Lib, Plat};

        let mut kinds = vec![App, Lib, Core, Arch, Plat];
        kinds.retain(|kind| self.lists(*kind));
        Query {
            kinds,
            platform: self.plat.0,
            arch: self.arch,
            versions: self.all,
            update: self.update,
            local: self.local,
        }
    }
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let mut rows = listing::list(app, &args.query())?;
    if rows.is_empty() && args.output == Format::Table {
        app.ui.info("no packages found");
        return Ok(());
    }
    if let Some(limit) = args.old.limit.filter(|_| !args.old.no_limit) {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    app.ui.listing(args.output, &rows, COLUMNS)
}

pub(crate) const COLUMNS: &[Column<Row>] = &[
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
