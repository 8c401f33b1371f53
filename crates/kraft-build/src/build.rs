//! Builds one target: nothing if nothing changed, else only what has to be done.
//!
//! ```text
//! look at the trees ─ same as last time? ─ yes ─► Built { fresh }
//!   └ no ─► tools ─► configure, if what it is made from changed ─► make ─► publish ─► remember
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_core::event::{Event, Reporter};
use kraft_core::kconfig::DotConfig;
use kraft_sys::lock::Lock;
use kraft_sys::{fs, tool};

use crate::configure::{self, Lost};
use crate::make::{self, Call, Line, Products};
use crate::plan::{Plan, link_order};
use crate::state::{Product, State};
use crate::tools::{self, Missing};
use crate::{shadow, trees};

/// A target could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make failed, or could not be run.
    #[error(transparent)]
    Make(#[from] make::Error),
    /// Programs are missing.
    #[error(transparent)]
    Tools(#[from] Missing),
    /// The GNU make that is here is too old, or none.
    #[error("`{found}` is not GNU make 4.1 or newer")]
    OldMake {
        /// What it says of itself.
        found: String,
    },
    /// The options cannot be read: make found a fault in them.
    #[error("the options of the core and its libraries have a fault")]
    Options {
        /// What make said.
        source: make::Error,
        /// What make was told, for whoever wants to know more.
        plan: Box<Plan>,
    },
    /// Values that were asked for did not come about.
    #[error("{} of the configuration did not take effect", values(lost.len()))]
    Lost {
        /// Which.
        lost: Vec<Lost>,
        /// What make was told, for whoever wants to know why.
        plan: Box<Plan>,
    },
    /// There is no configuration, and none was to be made.
    #[error("the target has never been configured: there is no `{}`", path.display())]
    NotConfigured {
        /// Where it would be.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
}

fn values(count: usize) -> String {
    match count {
        1 => "one value".to_owned(),
        more => format!("{more} values"),
    }
}

/// What is to be built.
#[derive(Clone, Debug)]
pub struct Job {
    /// The target as people know it: `app (qemu/x86_64)`.
    pub label: String,
    /// The name that kernels begin with.
    pub name: String,
    /// The core's directory.
    pub core: PathBuf,
    /// The application's directory.
    pub app: PathBuf,
    /// The libraries by name.
    pub libraries: Vec<(String, PathBuf)>,
    /// The options by name.
    pub options: BTreeMap<String, String>,
    /// The prefix of the compiler's programs, if it is another than the host's.
    pub cross: Option<String>,
    /// Further files that the kernel is made from.
    pub files: Vec<PathBuf>,
    /// Where things are put.
    pub places: Places,
}

/// Where the files of one target are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Where make works; a path that make can bear, and nobody else's.
    pub work: PathBuf,
    /// The configuration.
    pub config: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The kernel with debug information.
    pub debug: PathBuf,
    /// Everything make says.
    pub log: PathBuf,
    /// Directories in the trees that are not part of them.
    pub except: Vec<PathBuf>,
}

/// Whether to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Configure {
    /// If anything that decides about it has changed.
    #[default]
    IfNeeded,
    /// In any case, forgetting what was edited by hand.
    Afresh,
    /// Not at all.
    Never,
}

/// How it is to be built.
pub struct Orders<'a> {
    /// How many things make may do at once; `None` leaves that to the jobserver above us.
    pub jobs: Option<usize>,
    /// Whether to configure.
    pub configure: Configure,
    /// Whether to run make even if nothing changed.
    pub force: bool,
    /// Is asked whether a value may get lost.
    pub may_lose: &'a (dyn Fn(&Lost) -> bool + Sync),
    /// Is asked whether to stop.
    pub stop: &'a (dyn Fn() -> bool + Sync),
    /// Is told the progress.
    pub reporter: &'a dyn Reporter,
    /// The number of the piece of work in what the reporter is told.
    pub task: u64,
}

impl std::fmt::Debug for Orders<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders")
            .field("jobs", &self.jobs)
            .field("configure", &self.configure)
            .finish_non_exhaustive()
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Whether nothing had to be done.
    pub fresh: bool,
    /// The kernel and what else was made.
    pub products: Vec<PathBuf>,
    /// Values that got lost and were allowed to.
    pub lost: Vec<Lost>,
    /// Options that stay as they were edited by hand.
    pub edits: BTreeMap<String, Option<String>>,
}

impl Job {
    /// Builds it.
    pub fn build(&self, orders: &Orders<'_>) -> Result<Built, Error> {
        let (_lock, mut state) = self.enter()?;
        let inputs = self.inputs()?;
        if !orders.force && orders.configure != Configure::Afresh && state.is_current(&inputs.all) {
            let lost = self.lost_now()?;
            Self::judge(orders, &lost, &self.plan()?)?;
            return Ok(Built {
                fresh: true,
                products: state.products.into_iter().map(|p| p.path).collect(),
                lost,
                edits: state.edits,
            });
        }
        let plan = self.prepare()?;
        begin(&self.places.log)?;
        let program = tools::make();
        let call = self.call(&plan, &program, orders);
        let lost = self.configured(&call, orders, &inputs, &mut state)?;
        // From here on the old kernel is not to be trusted if we are killed.
        state.inputs = String::new();
        state.save(&self.state_file())?;
        let made = self.make(&call, orders, state.objects)?;
        let products = self.publish(&made)?;
        state.objects = made.steps.max(1);
        state.products = products
            .iter()
            .map(|path| Product::of(path).map_err(fs::Error::on("look at", path)))
            .collect::<Result<_, _>>()?;
        // What the build was made from is what was there before it began, with the configuration
        // as it was made.
        state.inputs = self.with_config(&inputs.trees)?;
        state.save(&self.state_file())?;
        Ok(Built {
            fresh: false,
            products,
            lost,
            edits: state.edits,
        })
    }

    /// Configures it and goes no further; returns what make is told from now on.
    pub fn configure(&self, orders: &Orders<'_>) -> Result<Plan, Error> {
        let (_lock, mut state) = self.enter()?;
        let inputs = self.inputs()?;
        let plan = self.prepare()?;
        begin(&self.places.log)?;
        let program = tools::make();
        let call = self.call(&plan, &program, orders);
        self.configured(&call, orders, &inputs, &mut state)?;
        state.save(&self.state_file())?;
        Ok(plan)
    }

    /// Runs other targets of make on it, as it is configured.
    pub fn targets(&self, targets: &[&str], orders: &Orders<'_>) -> Result<Vec<String>, Error> {
        let (_lock, _) = self.enter()?;
        let plan = self.prepare()?;
        begin(&self.places.log)?;
        let program = tools::make();
        Ok(self.call(&plan, &program, orders).targets(targets)?)
    }

    /// Has somebody at the terminal change the configuration with one of the build's front ends;
    /// returns what it was and what it is.
    pub fn menu(
        &self,
        frontend: &str,
        orders: &Orders<'_>,
    ) -> Result<(DotConfig, DotConfig), Error> {
        let plan = if orders.configure == Configure::Never {
            self.prepare()?
        } else {
            self.configure(orders)?
        };
        let (_lock, _) = self.enter()?;
        let before = configure::read(&plan.config)?.unwrap_or_default();
        let program = tools::make();
        self.call(&plan, &program, orders).talk(frontend)?;
        self.take_config(&plan)?;
        let after = configure::read(&plan.config)?.unwrap_or_default();
        Ok((before, after))
    }

    /// Removes what was built; with `proper`, everything that make worked with, too.
    pub fn clean(&self, proper: bool, orders: &Orders<'_>) -> Result<(), Error> {
        let (_lock, mut state) = self.enter()?;
        if proper {
            for ending in ["", ".sources", ".configure", ".config", ".json"] {
                fs::remove_tree(&beside(&self.places.work, ending))?;
            }
        } else if self.places.config.exists() && self.places.work.join("Makefile").exists() {
            let plan = self.prepare()?;
            begin(&self.places.log)?;
            let program = tools::make();
            self.call(&plan, &program, orders).targets(&["clean"])?;
        }
        for product in &state.products {
            fs::remove_tree(&product.path)?;
        }
        if proper {
            fs::remove_tree(&self.places.log)?;
            return Ok(());
        }
        state.inputs = String::new();
        state.products.clear();
        Ok(state.save(&self.state_file())?)
    }

    /// Takes the configuration as it is at make's place back into the project.
    fn take_config(&self, plan: &Plan) -> Result<(), Error> {
        if plan.config != self.places.config {
            copy(&plan.config, &self.places.config, 0o644)?;
        }
        Ok(())
    }

    fn enter(&self) -> Result<(Lock, State), Error> {
        fs::create_dir_all(&self.places.work, 0o755)?;
        if let Some(dir) = self.places.kernel.parent() {
            fs::create_dir_all(dir, 0o755)?;
        }
        // Not the directory itself: cleaning removes it.
        let file = beside(&self.places.work, ".lock");
        fs::append(&file)?;
        let lock = Lock::exclusive(&file)?;
        Ok((lock, State::load(&self.state_file())))
    }

    fn state_file(&self) -> PathBuf {
        beside(&self.places.work, ".json")
    }

    fn call<'a>(&'a self, plan: &'a Plan, program: &'a OsStr, orders: &'a Orders<'a>) -> Call<'a> {
        Call {
            plan,
            program,
            jobs: orders.jobs,
            extra: Vec::new(),
            log: &self.places.log,
            stop: orders.stop,
        }
    }

    /// Returns what make is told, without making anything ready.
    fn plan(&self) -> Result<Plan, fs::Error> {
        let sources = beside(&self.places.work, ".sources");
        let plain = |path: &Path, name: &str| -> Result<PathBuf, fs::Error> {
            let real = path.canonicalize().map_err(fs::Error::on("open", path))?;
            Ok(if shadow::is_awkward(&real) {
                sources.join(name)
            } else {
                real
            })
        };
        let mut libraries = Vec::new();
        for (name, path) in &self.libraries {
            libraries.push((name.clone(), plain(path, &format!("libs/{}", tame(name)))?));
        }
        let app = if self.app.join("Makefile.uk").exists() {
            plain(&self.app, "app")?
        } else {
            sources.join("app")
        };
        Ok(Plan {
            name: tame(&self.name),
            core: plain(&self.core, "core")?,
            app,
            libraries: link_order(libraries),
            out: self.places.work.clone(),
            config: if shadow::is_awkward(&self.places.config) {
                beside(&self.places.work, ".config")
            } else {
                self.places.config.clone()
            },
            cross: self.cross.clone(),
        })
    }

    /// Returns what make is told, with everything it names ready for it.
    fn prepare(&self) -> Result<Plan, Error> {
        let plan = self.plan()?;
        let sources = beside(&self.places.work, ".sources");
        let show = |from: &Path, to: &Path| -> Result<(), fs::Error> {
            if to.starts_with(&sources) {
                let real = from.canonicalize().map_err(fs::Error::on("open", from))?;
                return shadow::show(&real, to, &[".git", ".unikraft"]);
            }
            Ok(())
        };
        show(&self.core, &plan.core)?;
        if plan.core.starts_with(&sources) {
            version_of(&self.core, &plan.core)?;
        }
        for (name, path) in &self.libraries {
            show(path, &sources.join("libs").join(tame(name)))?;
        }
        if self.app.join("Makefile.uk").exists() {
            show(&self.app, &plan.app)?;
        } else {
            empty_application(&self.app, &plan.app)?;
        }
        if plan.config != self.places.config {
            match File::open(&self.places.config) {
                Ok(_) => copy(&self.places.config, &plan.config, 0o644)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::remove_tree(&plan.config)?;
                }
                Err(error) => {
                    return Err(fs::Error::on("open", &self.places.config)(error).into());
                }
            }
        }
        tools::check(tools::needed(
            &plan.core,
            &tools::make(),
            self.cross.as_deref(),
        ))?;
        Ok(plan)
    }

    /// Configures if that is called for; returns what got lost.
    fn configured(
        &self,
        call: &Call<'_>,
        orders: &Orders<'_>,
        inputs: &Inputs,
        state: &mut State,
    ) -> Result<Vec<Lost>, Error> {
        let config = &call.plan.config;
        let there = config.exists();
        if orders.configure == Configure::Never {
            if there {
                return Ok(Vec::new());
            }
            return Err(Error::NotConfigured {
                path: self.places.config.clone(),
            });
        }
        let afresh = orders.configure == Configure::Afresh;
        if afresh {
            fs::remove_tree(config)?;
        }
        let now = configure::read(config)?;
        let touched = configure::edits(now.as_ref(), state, &self.options) != state.edits
            || now.is_some_and(|now| now.iter().ne(settled(state)));
        if afresh || !there || touched || state.configuration != inputs.configuration {
            let done = configure::configure(
                call,
                &self.options,
                state,
                &beside(&self.places.work, ".configure"),
            )
            .map_err(|source| {
                check_make(call.program)
                    .err()
                    .unwrap_or_else(|| options_fault(source, call.plan))
            })?;
            state.edits = done.edits;
            state.settled = done.settled;
            state.configuration.clone_from(&inputs.configuration);
            self.take_config(call.plan)?;
        }
        let lost = self.lost_now()?;
        Self::judge(orders, &lost, call.plan)?;
        Ok(lost)
    }

    /// Compares what is wanted with the configuration as it is.
    fn lost_now(&self) -> Result<Vec<Lost>, fs::Error> {
        let now = configure::read(&self.places.config)?.unwrap_or_default();
        Ok(configure::lost(&self.options, &now))
    }

    fn judge(orders: &Orders<'_>, lost: &[Lost], plan: &Plan) -> Result<(), Error> {
        let bad: Vec<Lost> = lost
            .iter()
            .filter(|lost| orders.configure != Configure::Never && !(orders.may_lose)(lost))
            .cloned()
            .collect();
        if bad.is_empty() {
            return Ok(());
        }
        Err(Error::Lost {
            lost: bad,
            plan: Box::new(plan.clone()),
        })
    }

    fn make(
        &self,
        call: &Call<'_>,
        orders: &Orders<'_>,
        known: u64,
    ) -> Result<Products, make::Error> {
        let task = orders.task;
        orders.reporter.report(Event::Started {
            task,
            what: format!("building {}", self.label),
            total: None,
        });
        let first = known == 0;
        let mut done = 0;
        let made = call.all(&mut |line| match line {
            // How many there are says nothing about a build that makes only some of them.
            Line::Objects(total) if first => orders.reporter.report(Event::Sized {
                task,
                total: *total,
            }),
            Line::Step { verb, what } => {
                orders.reporter.report(Event::Doing {
                    task,
                    what: format!("{verb} {what}"),
                });
                if line.is_object() {
                    done += 1;
                    orders.reporter.report(Event::Advanced { task, done });
                }
            }
            Line::Objects(_) | Line::Image(_) | Line::Debug(_) | Line::Other => {}
        });
        orders.reporter.report(match made {
            Ok(_) => Event::Finished { task },
            Err(_) => Event::Failed { task },
        });
        made
    }

    /// Puts what make made where the project expects it.
    fn publish(&self, made: &Products) -> Result<Vec<PathBuf>, fs::Error> {
        let mut published = Vec::new();
        let mut put = |from: &Path, to: PathBuf| -> Result<(), fs::Error> {
            if from != to {
                copy(from, &to, 0o755)?;
            }
            published.push(to);
            Ok(())
        };
        let Some((kernel, variants)) = made.images.split_first() else {
            return Ok(published);
        };
        put(kernel, self.places.kernel.clone())?;
        for variant in variants {
            // `app_qemu-x86_64.gz` goes beside the kernel with the same ending.
            let whole = variant.as_os_str().as_bytes();
            if let Some(ending) = whole.strip_prefix(kernel.as_os_str().as_bytes()) {
                put(variant, beside_bytes(&self.places.kernel, ending))?;
            }
        }
        if let Some(debug) = made.debug.first() {
            put(debug, self.places.debug.clone())?;
        }
        Ok(published)
    }

    fn inputs(&self) -> Result<Inputs, Error> {
        let mut roots: Vec<&Path> = vec![&self.core, &self.app];
        roots.extend(self.libraries.iter().map(|(_, path)| path.as_path()));
        let except: Vec<&Path> = self.places.except.iter().map(PathBuf::as_path).collect();
        let trees = trees::look(&roots, &except)?;
        let mut texts: Vec<Vec<u8>> = vec![self.name.as_bytes().to_vec()];
        texts.extend(
            self.plan()?
                .arguments()
                .iter()
                .map(|a| a.as_bytes().to_vec()),
        );
        for (name, value) in &self.options {
            texts.push(format!("{name}={value}").into_bytes());
        }
        texts.push(self.toolchain());
        let configuration = of(&texts, &trees.configuration);
        for file in &self.files {
            let product = Product::of(file).map_err(fs::Error::on("look at", file))?;
            texts.push(format!("{product:?}").into_bytes());
        }
        let trees = of(&texts, &trees.all);
        Ok(Inputs {
            all: self.with_config(&trees)?,
            trees,
            configuration,
        })
    }

    /// Adds the configuration, as it is now, to a fingerprint.
    fn with_config(&self, trees: &str) -> Result<String, fs::Error> {
        let config = match fs::read_file(&self.places.config, configure::LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(trees::of_texts([trees.as_bytes(), &config]))
    }

    /// Tells which compiler would be taken.
    fn toolchain(&self) -> Vec<u8> {
        let prefix = self.cross.as_deref().unwrap_or_default();
        let mut found = String::new();
        for program in ["gcc", "ld", "objcopy"] {
            let path = tool::locate(OsStr::new(&format!("{prefix}{program}")));
            let product = path.and_then(|path| Product::of(&path).ok());
            let _ = write!(found, "{product:?}");
        }
        found.into_bytes()
    }
}

/// The fingerprints of what a kernel is made from.
struct Inputs {
    /// Everything.
    all: String,
    /// Everything but the configuration.
    trees: String,
    /// What the configuration is made from.
    configuration: String,
}

fn of(texts: &[Vec<u8>], print: &str) -> String {
    trees::of_texts(
        texts
            .iter()
            .map(Vec::as_slice)
            .chain(std::iter::once(print.as_bytes())),
    )
}

fn settled(state: &State) -> impl Iterator<Item = (&str, &str)> {
    state
        .settled
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Makes an application of nothing: Unikraft includes its `Makefile.uk` whether there is one or
/// not, and the project's directory is not ours to put one into.
fn empty_application(app: &Path, at: &Path) -> Result<(), fs::Error> {
    fs::create_dir_all(at, 0o755)?;
    let makefile = at.join("Makefile.uk");
    if !makefile.exists() {
        fs::replace_file(&makefile, b"")?;
    }
    let config = at.join("Config.uk");
    if app.join("Config.uk").exists() {
        let real = app
            .canonicalize()
            .map_err(fs::Error::on("open", app))?
            .join("Config.uk");
        fs::replace_link(&config, &real)?;
    } else if config.is_symlink() {
        fs::remove_file(&config)?;
    }
    Ok(())
}

/// Gives a core that is shown elsewhere the commit that it is at, which its version names.
fn version_of(core: &Path, at: &Path) -> Result<(), fs::Error> {
    let said = tool::Tool::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(core)
        .env("GIT_CEILING_DIRECTORIES", core.parent().unwrap_or(core))
        .output();
    let commit = said
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let git = at.join(".git");
    let Some(commit) = commit else {
        return fs::remove_tree(&git);
    };
    crate::sources::stub_repository(&git, &commit)
}

/// Replaces what make and shells would misread in a name.
fn tame(name: &str) -> String {
    name.chars()
        .map(|c| {
            if shadow::is_awkward(Path::new(c.encode_utf8(&mut [0; 4]))) {
                '_'
            } else {
                c
            }
        })
        .collect()
}

/// Tells a fault in the options from other failures of configuring.
fn options_fault(source: make::Error, plan: &Plan) -> Error {
    let in_options = match &source {
        make::Error::Failed { fault, .. } => fault
            .place
            .as_ref()
            .is_some_and(|place| place.file.extension().is_some_and(|ending| ending == "uk")),
        _ => false,
    };
    if in_options {
        Error::Options {
            source,
            plan: Box::new(plan.clone()),
        }
    } else {
        Error::Make(source)
    }
}

/// Looks whether make is the cause: one that is too old fails in ways that say nothing.
fn check_make(program: &OsStr) -> Result<(), Error> {
    let said = tool::Tool::new(program)
        .package("make")
        .args(["--version"])
        .output();
    let said = match said {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    if tools::is_new_enough(&said) {
        return Ok(());
    }
    Err(Error::OldMake {
        found: said.lines().next().unwrap_or_default().to_owned(),
    })
}

/// Begins a new log.
fn begin(log: &Path) -> Result<(), fs::Error> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir, 0o755)?;
    }
    fs::remove_tree(log)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    beside_bytes(path, ending.as_bytes())
}

fn beside_bytes(path: &Path, ending: &[u8]) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(OsStr::from_bytes(ending));
    name.into()
}

/// Copies a file so that nobody ever sees half of it.
fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), fs::Error> {
    let mut source = File::open(from).map_err(fs::Error::on("open", from))?;
    let target = fs::NewFile::with_mode(to, mode)?;
    io::copy(&mut source, &mut target.file()).map_err(fs::Error::on("write", to))?;
    target.commit()
}
