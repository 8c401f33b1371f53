//! Builds one target: nothing if nothing changed, else only what has to be done.
//!
//! ```text
//! look at the trees ─ same as last time? ─ yes ─► Built { fresh }
//!   └ no ─► tools ─► configure, if what it is made from changed ─► make ─► publish ─► remember
//! ```

mod configured;
mod inputs;
mod prepare;
mod products;
mod stale;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kraft_core::event::Reporter;
use kraft_kconfig::DotConfig;
use kraft_sys::fs;
use kraft_sys::lock::Lock;

use self::products::copy;
use crate::configure::{self, Lost};
use crate::make::{self, Call};
use crate::plan::Plan;
use crate::state::{Product, State};
use crate::tools::{self, Missing};

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
    /// The time that the kernel is to say it was compiled at (RFC 3339).
    pub date: String,
    /// Further files that the kernel is made from.
    pub files: Vec<PathBuf>,
    /// Where things are put.
    pub places: Places,
}

/// Where the files of one target are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The directory that all of them are in, but for `work` where make could not bear its path.
    pub home: PathBuf,
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
    /// Files and directories in the trees that no rule of make reads.
    pub data: Vec<PathBuf>,
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
    /// Whether no connection may be opened: what make would download is missed at once.
    pub offline: bool,
    /// Is told the values that got lost, and returns those that are worth an error.
    pub refused: &'a (dyn Fn(&Plan, &[Lost]) -> Vec<Lost> + Sync),
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
            let lost = match orders.configure {
                Configure::Never => Vec::new(),
                Configure::IfNeeded | Configure::Afresh => self.lost_now()?,
            };
            Self::judge(orders, &lost, &self.plan()?)?;
            return Ok(Built {
                fresh: true,
                products: state.products.into_iter().map(|p| p.path).collect(),
                lost,
                edits: state.edits,
            });
        }
        let plan = self.prepare()?;
        let made_at = self.last_made(&state);
        begin(&self.places.log)?;
        let program = tools::make();
        let call = self.call(&plan, &program, orders);
        let lost = self.configured(&call, orders, &inputs, &mut state)?;
        // From here on the old kernel is not to be trusted if we are killed.
        state.inputs = String::new();
        state.save(&self.state_file())?;
        self.forget_stale(&call, &inputs.files, made_at)?;
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
        if !self.places.work.exists() && !self.state_file().exists() {
            return Ok(());
        }
        let (_lock, mut state) = self.enter()?;
        if proper {
            for ending in ["", ".sources", ".configure", ".config", ".files"] {
                fs::remove_tree(&fs::beside(&self.places.work, ending))?;
            }
        } else if self.places.config.exists() && self.places.work.join("Makefile").exists() {
            let plan = self.prepare()?;
            begin(&self.places.log)?;
            let program = tools::make();
            self.call(&plan, &program, orders).targets(&["clean"])?;
        }
        for product in &state.products {
            // What is remembered may have been cloned with the project, and names any path.
            if self.is_product(&product.path) {
                fs::remove_file(&product.path)?;
            }
        }
        if proper {
            fs::remove_tree(&self.places.log)?;
            // The configuration stays, and so what of it is edits by hand.
            state = State {
                settled: state.settled,
                edits: state.edits,
                place: state.place,
                ..State::default()
            };
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

    /// Returns whether a build can have made a file: the kernel, its variants, its debug twin.
    fn is_product(&self, path: &Path) -> bool {
        let kernel = self.places.kernel.as_os_str().as_bytes();
        let variant = path.as_os_str().as_bytes().strip_prefix(kernel);
        path == self.places.debug || variant.is_some_and(|ending| !ending.contains(&b'/'))
    }

    /// Checks that no symbolic link leads what is written out of the project.
    fn check_links(&self) -> Result<(), fs::Error> {
        let Places {
            home,
            work,
            config,
            kernel,
            debug,
            log,
            ..
        } = &self.places;
        let beside = [
            "",
            ".lock",
            ".json",
            ".files",
            ".sources",
            ".configure",
            ".config",
            ".defconfig",
        ];
        let work = beside.iter().map(|ending| fs::beside(work, ending));
        let work = work.filter(|path| path.starts_with(home));
        let others = [config, kernel, debug, log].into_iter().cloned();
        work.chain(others)
            .try_for_each(|path| fs::check_inside(home, &path))
    }

    fn enter(&self) -> Result<(Lock, State), Error> {
        self.check_links()?;
        fs::create_dir_all(&self.places.work, 0o755)?;
        if let Some(dir) = self.places.kernel.parent() {
            fs::create_dir_all(dir, 0o755)?;
        }
        // Not the directory itself: cleaning removes it.
        let file = fs::beside(&self.places.work, ".lock");
        fs::append(&file)?;
        let lock = Lock::exclusive(&file)?;
        let mut state = State::load(&self.state_file());
        self.forget_moved(&mut state)?;
        Ok((lock, state))
    }

    fn state_file(&self) -> PathBuf {
        fs::beside(&self.places.work, ".json")
    }

    fn call<'a>(&'a self, plan: &'a Plan, program: &'a OsStr, orders: &'a Orders<'a>) -> Call<'a> {
        Call {
            plan,
            program,
            jobs: orders.jobs,
            extra: Vec::new(),
            offline: orders.offline,
            log: &self.places.log,
            stop: orders.stop,
        }
    }
}

/// Begins a new log.
fn begin(log: &Path) -> Result<(), fs::Error> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir, 0o755)?;
    }
    fs::remove_tree(log)
}
