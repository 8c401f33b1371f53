//! `kraft kconfig`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use kraft_build::configure;
use kraft_kconfig::{Change, DotConfig, SymbolInfo, diff};
use serde::Serialize;

use crate::app::App;
use crate::commands::build::{FetchArgs, Which};
use crate::commands::nested::Nested;
use crate::commands::set;
use crate::failure::Failure;
use crate::ui::{Cell, Column, Format};
use kraft_engine::build::{self, Inputs};
use kraft_engine::kconfig::{self, Explanation, Menu};
use kraft_engine::project::{self, TargetFilter};

/// Show and change KConfig options of a project
///
/// The options are those of the core, its libraries and the application. The prefix `CONFIG_` of a
/// name is optional.
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "COMMAND", arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Nested<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(GetArgs),
    Set(set::SetArgs),
    Unset(set::UnsetArgs),
    Explain(ExplainArgs),
    Diff(DiffArgs),
    Search(SearchArgs),
}

/// Selects a project and its target.
#[derive(Debug, clap::Args)]
#[group(skip)]
struct Of {
    /// Use the project in this directory
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    workdir: Option<PathBuf>,

    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    fetching: FetchArgs,

    /// Set the output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// Print values of options
///
/// Prints the configured values of a target; without names, all options that are set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft kconfig get LIBUKDEBUG")]
struct GetArgs {
    /// Options
    #[arg(value_name = "OPTION")]
    options: Vec<String>,

    #[command(flatten)]
    of: Of,
}

/// Explain an option: its definition, dependencies and value
///
/// With a value, explains why the option does not get that value.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft kconfig explain LWIP_DHCP
  kraft kconfig explain LWIP_DHCP=y")]
struct ExplainArgs {
    /// Option, optionally with a value
    #[arg(value_name = "OPTION[=VALUE]")]
    option: String,

    #[command(flatten)]
    of: Of,
}

/// Compare two configurations
///
/// Compares two targets or two files. With one argument, compares its configuration with the
/// options that the Kraftfile sets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft kconfig diff qemu/x86_64 fc/x86_64")]
struct DiffArgs {
    /// Target or file
    #[arg(value_name = "A")]
    before: String,

    /// Target or file to compare with
    #[arg(value_name = "B")]
    after: Option<String>,

    #[command(flatten)]
    of: Of,
}

/// Search options by name, prompt and help text
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: kraft kconfig search dhcp")]
struct SearchArgs {
    /// Text to search for; `*` matches anything
    #[arg(value_name = "PATTERN")]
    pattern: String,

    #[command(flatten)]
    of: Of,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    match &args.command.0 {
        Command::Get(args) => get(app, args),
        Command::Set(args) => set::set(app, args),
        Command::Unset(args) => set::unset(app, args),
        Command::Explain(args) => explain(app, args),
        Command::Diff(args) => compare(app, args),
        Command::Search(args) => search(app, args),
    }
}

impl Of {
    fn site(&self, app: &App) -> Result<Inputs, Failure> {
        let project = self.which.project(app, self.workdir.as_deref())?;
        Ok(build::prepare(app, project, &self.fetching.fetching(app))?)
    }

    /// Reads the options of the selected target: of the first one if several match.
    fn menu(&self, app: &App) -> Result<Menu, Failure> {
        self.menu_with(app, &self.which.filter())
    }

    /// Reads the options of a target that is named.
    fn menu_of(&self, app: &App, name: &str) -> Result<Menu, Failure> {
        let filter = TargetFilter {
            name: Some(name),
            ..TargetFilter::default()
        };
        self.menu_with(app, &filter)
    }

    fn menu_with(&self, app: &App, filter: &TargetFilter<'_>) -> Result<Menu, Failure> {
        let site = self.site(app)?;
        let target = project::select_target(&site.resolved, filter)?;
        Ok(kconfig::menu(app, &site, &target)?)
    }
}

/// One option, as it is printed.
#[derive(Debug, Serialize)]
struct Value {
    name: String,
    /// `null` if it is not set.
    value: Option<String>,
}

fn get(app: &App, args: &GetArgs) -> Result<(), Failure> {
    let menu = args.of.menu(app)?;
    let mut rows = Vec::new();
    for name in &args.options {
        let name = kconfig::full_name(name)?;
        let value = menu.config.value(&name).map(ToOwned::to_owned);
        if value.is_none() && menu.tree.symbol(&name).is_none() {
            return Err(menu.unknown(&name).into());
        }
        rows.push(Value { name, value });
    }
    if args.options.is_empty() {
        rows.extend(menu.config.iter().map(|(name, value)| Value {
            name: name.to_owned(),
            value: Some(value.to_owned()),
        }));
    }
    if args.of.output == Format::Table {
        // A single value is printed alone, for scripts.
        for row in &rows {
            let value = row.value.as_deref().unwrap_or("n");
            let line = if rows.len() == 1 && args.options.len() == 1 {
                value.to_owned()
            } else {
                format!("{}={value}", row.name)
            };
            app.ui.line(&line)?;
        }
        return Ok(());
    }
    app.ui.listing(args.of.output, &rows, VALUES)
}

const VALUES: &[Column<Value>] = &[
    Column {
        title: "OPTION",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "VALUE",
        cell: |row| Cell::new(row.value.as_deref().unwrap_or("n")),
    },
];

fn explain(app: &App, args: &ExplainArgs) -> Result<(), Failure> {
    let (name, wanted) = match args.option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (args.option.as_str(), None),
    };
    let name = kconfig::full_name(name)?;
    let menu = args.of.menu(app)?;
    let explanation = menu.explain(&name, wanted)?;
    match args.of.output {
        Format::Json => app.ui.json(&explanation),
        Format::Yaml => app.ui.yaml(&explanation),
        Format::Table | Format::List => app.ui.text(&text(&explanation)),
    }
}

fn text(it: &Explanation) -> String {
    let symbol = &it.symbol;
    let mut lines = vec![format!("CONFIG_{} ({})", symbol.name, symbol.kind.word())];
    let mut field = |what: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("  {what:<12}{text}"));
        }
    };
    field("prompt", symbol.prompt.clone().unwrap_or_default());
    field("value", it.value.clone().unwrap_or_else(|| "n".to_owned()));
    field("requested", it.asked.clone().unwrap_or_default());
    let places = symbol.places.iter();
    let places: Vec<String> = places
        .map(|at| format!("{}:{}", at.file, at.line))
        .collect();
    field("defined in", places.join(", "));
    field("default", symbol.defaults.join(", "));
    field("range", symbol.ranges.join(", "));
    field("depends on", symbol.depends.join(" or "));
    field("choice", symbol.choice.clone().unwrap_or_default());
    field("selected by", symbol.selected_by.join(", "));
    field("implied by", symbol.implied_by.join(", "));
    field("selects", symbol.selects.join(", "));
    field("implies", symbol.implies.join(", "));
    if let Some(help) = &symbol.help {
        lines.push(String::new());
        lines.extend(
            help.lines()
                .map(|line| format!("  {line}").trim_end().to_owned()),
        );
    }
    if let Some(loss) = &it.loss {
        lines.push(String::new());
        lines.push(loss.to_string());
        lines.extend(loss.advice());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn compare(app: &App, args: &DiffArgs) -> Result<(), Failure> {
    let rows = if let Some(after) = &args.after {
        let before = configuration(app, &args.of, &args.before)?;
        diff(&before, &configuration(app, &args.of, after)?)
    } else {
        args.of.menu_of(app, &args.before)?.differences()
    };
    if rows.is_empty() && args.of.output == Format::Table {
        app.ui.info("the configurations are equal");
        return Ok(());
    }
    app.ui.listing(args.of.output, &rows, CHANGES)
}

/// Returns the configuration of a file or a target.
fn configuration(app: &App, of: &Of, word: &str) -> Result<DotConfig, Failure> {
    let path = Path::new(word);
    if path.exists() && !path.is_dir() {
        return Ok(configure::read(path)?.unwrap_or_default());
    }
    Ok(of.menu_of(app, word)?.config)
}

const CHANGES: &[Column<Change>] = &[
    Column {
        title: "OPTION",
        cell: |row| Cell::new(&row.name),
    },
    Column {
        title: "BEFORE",
        cell: |row| Cell::new(row.before.as_deref().unwrap_or("n")),
    },
    Column {
        title: "AFTER",
        cell: |row| Cell::new(row.after.as_deref().unwrap_or("n")),
    },
];

/// A matching option, as it is printed.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    symbol: SymbolInfo,
    value: Option<String>,
}

fn search(app: &App, args: &SearchArgs) -> Result<(), Failure> {
    let menu = args.of.menu(app)?;
    let rows: Vec<Found> = menu
        .tree
        .search(&args.pattern)
        .into_iter()
        .map(|symbol| Found {
            value: menu
                .config
                .value(&format!("CONFIG_{}", symbol.name))
                .map(ToOwned::to_owned),
            symbol,
        })
        .collect();
    if rows.is_empty() && args.of.output == Format::Table {
        app.ui.info("no option matches");
        return Ok(());
    }
    app.ui.listing(args.of.output, &rows, FOUND)
}

const FOUND: &[Column<Found>] = &[
    Column {
        title: "OPTION",
        cell: |row| Cell::new(format!("CONFIG_{}", row.symbol.name)),
    },
    Column {
        title: "TYPE",
        cell: |row| Cell::new(row.symbol.kind.word()),
    },
    Column {
        title: "VALUE",
        cell: |row| Cell::new(row.value.as_deref().unwrap_or("n")),
    },
    Column {
        title: "PROMPT",
        cell: |row| Cell::new(row.symbol.prompt.as_deref().unwrap_or("-")),
    },
];
