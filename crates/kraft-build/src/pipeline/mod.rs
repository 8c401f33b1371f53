//! Builds one target incrementally: only what is out of date, or nothing.
//!
//! ```text
//! fingerprint trees ─ unchanged? ─ yes ─► Built { fresh }
//!   └ no ─► tools ─► configure, if its inputs changed ─► make ─► publish ─► save state
//! ```
//!
//! ```
//! use std::path::{Path, PathBuf};
//!
//! use kraft_build::pipeline::{Configure, Job, Orders, Places};
//! use kraft_core::event::Silent;
//! use kraft_sys::stream::Stop;
//!
//! let app = PathBuf::from("/nonexistent/web");
//! let file = |name: &str| app.join(".unikraft").join(name);
//! let job = Job {
//!     label: "web (qemu/x86_64)".to_owned(),
//!     name: "web".to_owned(),
//!     core: file("unikraft"),
//!     app: app.clone(),
//!     libraries: vec![("lwip".to_owned(), file("libs/lwip"))],
//!     options: [("CONFIG_LWIP".to_owned(), "y".to_owned())].into(),
//!     cross: None,
//!     date: "Thu Jan  1 00:00:00 UTC 1970".to_owned(),
//!     files: Vec::new(),
//!     places: Places {
//!         home: file("build"),
//!         work: file("build/qemu-x86_64"),
//!         config: app.join(".config.web"),
//!         kernel: file("build/web_qemu-x86_64"),
//!         debug: file("build/web_qemu-x86_64.dbg"),
//!         log: file("build/log"),
//!         except: Vec::new(),
//!         data: Vec::new(),
//!     },
//! };
//! let orders = Orders {
//!     jobs: Some(4),
//!     configure: Configure::IfNeeded,
//!     force: false,
//!     offline: false,
//!     refused: &|_, lost| lost.to_vec(),
//!     stop: Stop::default(),
//!     reporter: &Silent,
//!     task: 1,
//! };
//! // The sources of the core are missing.
//! assert!(job.build(&orders).is_err());
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
use kraft_sys::stream::Stop;

use self::products::copy;
use crate::configure::{self, Lost};
use crate::make::{self, Call};
use crate::plan::Plan;
use crate::state::{Product, State};
use crate::tools::{self, Missing};

/// Why a target could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Make failed, or could not be run.
    #[error(transparent)]
    Make(#[from] make::Error),
    /// Programs are missing.
    #[error(transparent)]
    Tools(#[from] Missing),
    /// make is too old, or not GNU make.
    #[error("`{found}` is not GNU make 4.1 or newer")]
    OldMake {
        /// Its version output.
        found: String,
    },
    /// The options cannot be read: make reported an error in them.
    #[error("the options of the core and its libraries have an error")]
    Options {
        /// The error of make.
        source: make::Error,
        /// make's arguments, for a detailed diagnosis.
        plan: Box<Plan>,
    },
    /// Requested values did not take effect.
    #[error("{} of the configuration did not take effect", values(lost.len()))]
    Lost {
        /// The values.
        lost: Vec<Lost>,
        /// make's arguments, for a detailed diagnosis.
        plan: Box<Plan>,
    },
    /// There is no configuration, and none was to be created.
    #[error("the target has never been configured: there is no `{}`", path.display())]
    NotConfigured {
        /// The path of the missing configuration.
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

/// A target to build.
#[derive(Clone, Debug)]
pub struct Job {
    /// The target's name for messages: `app (qemu/x86_64)`.
    pub label: String,
    /// The prefix of kernel file names.
    pub name: String,
    /// The core's directory.
    pub core: PathBuf,
    /// The application's directory.
    pub app: PathBuf,
    /// The libraries by name.
    pub libraries: Vec<(String, PathBuf)>,
    /// The options by name.
    pub options: BTreeMap<String, String>,
    /// Prefix of the cross compiler, if needed.
    pub cross: Option<String>,
    /// Compile time recorded in the kernel (RFC 3339).
    pub date: String,
    /// Additional input files of the kernel.
    pub files: Vec<PathBuf>,
    /// The paths of its files.
    pub places: Places,
}

/// Paths of a target's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The directory of all of them, except for `work` if make does not support its path.
    pub home: PathBuf,
    /// make's private build directory, at a path that make supports.
    pub work: PathBuf,
    /// The configuration.
    pub config: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The kernel with debug information.
    pub debug: PathBuf,
    /// make's full output.
    pub log: PathBuf,
    /// Directories in the trees that are not part of them.
    pub except: Vec<PathBuf>,
    /// Files and directories in the trees that no make rule reads.
    pub data: Vec<PathBuf>,
}

/// Whether to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Configure {
    /// If its inputs changed.
    #[default]
    IfNeeded,
    /// Always, discarding manual edits.
    Afresh,
    /// Never.
    Never,
}

/// Options of a build.
pub struct Orders<'a> {
    /// Number of parallel jobs; `None` uses the jobserver of a parent make.
    pub jobs: Option<usize>,
    /// Whether to configure.
    pub configure: Configure,
    /// Whether to run make even if nothing changed.
    pub force: bool,
    /// Whether network connections are forbidden: downloads by make fail immediately.
    pub offline: bool,
    /// Called with the lost values; returns those that are errors.
    pub refused: &'a (dyn Fn(&Plan, &[Lost]) -> Vec<Lost> + Sync),
    /// When programs are stopped.
    pub stop: Stop<'a>,
    /// Receives progress events.
    pub reporter: &'a dyn Reporter,
    /// The task number for the reporter.
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

/// The result of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Whether everything was up to date.
    pub fresh: bool,
    /// The kernel and its variants.
    pub products: Vec<PathBuf>,
    /// Lost values that were accepted.
    pub lost: Vec<Lost>,
    /// Manually edited options that were kept.
    pub edits: BTreeMap<String, Option<String>>,
}

impl Job {
    /// Builds the target.
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
        // From now on the old kernel is invalid if this process is killed.
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
        // The recorded inputs are those from before the build, with the configuration that was
        // written.
        state.inputs = self.with_config(&inputs.trees)?;
        state.save(&self.state_file())?;
        Ok(Built {
            fresh: false,
            products,
            lost,
            edits: state.edits,
        })
    }

    /// Only configures the target; returns the resulting arguments of make.
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

    /// Runs other make targets with the existing configuration.
    pub fn targets(&self, targets: &[&str], orders: &Orders<'_>) -> Result<Vec<String>, Error> {
        let (_lock, _) = self.enter()?;
        let plan = self.prepare()?;
        begin(&self.places.log)?;
        let program = tools::make();
        Ok(self.call(&plan, &program, orders).targets(targets)?)
    }

    /// Opens one of the build's interactive configuration front ends; returns the configuration
    /// before and after.
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

    /// Removes build output; with `proper`, the whole build directory.
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
            // The recorded state may have been cloned with the project, and could contain any path.
            if self.is_product(&product.path) {
                fs::remove_file(&product.path)?;
            }
        }
        if proper {
            fs::remove_tree(&self.places.log)?;
            // The configuration is kept, and so are its manual edits.
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

    /// Copies the configuration from make's path back to the project.
    fn take_config(&self, plan: &Plan) -> Result<(), Error> {
        if plan.config != self.places.config {
            copy(&plan.config, &self.places.config, 0o644)?;
        }
        Ok(())
    }

    /// Returns whether a path can be a product of this build: the kernel, its variants, its debug
    /// image.
    fn is_product(&self, path: &Path) -> bool {
        let kernel = self.places.kernel.as_os_str().as_bytes();
        let variant = path.as_os_str().as_bytes().strip_prefix(kernel);
        path == self.places.debug || variant.is_some_and(|ending| !ending.contains(&b'/'))
    }

    /// Checks that no symbolic link leads output files out of the project.
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

/// Starts a new log.
fn begin(log: &Path) -> Result<(), fs::Error> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir, 0o755)?;
    }
    fs::remove_tree(log)
}
