//! The files of a project: found, read and merged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kraft_config::dirs::absolute;
use kraft_core::compose::{self, Compose, EnvFile, FILE_NAMES, LARGEST, Loading, Place, Service};
use kraft_core::nearest::nearest;
use kraft_core::problem::{Problem, Text};

use crate::context::Context;

/// Largest size of files with variables, in bytes.
const LARGEST_ENV: u64 = 1 << 20;

/// Why the files of a project cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Compose file.
    #[error("there is no Compose file in this directory or above it")]
    NoFile,
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] kraft_sys::fs::Error),
    /// Standard input cannot be read.
    #[error("cannot read stdin")]
    Stdin(#[source] std::io::Error),
    /// A file has errors.
    #[error("`{}` is not a valid Compose file", text.name)]
    Problems {
        /// Its text.
        text: Text,
        /// The errors.
        problems: Vec<Problem>,
        /// Whether one of them is that a file which another one includes or extends cannot be read.
        incomplete: bool,
    },
    /// The name of the project has other characters than it may have.
    #[error(
        "`{name}` is not a valid project name: it consists of lowercase letters, digits, `-` and `_`, and begins with a letter or digit"
    )]
    ProjectName {
        /// The name.
        name: String,
        /// A valid one.
        nearest: String,
    },
    /// There is no such service.
    #[error("no such service: `{name}`")]
    NoService {
        /// The name.
        name: String,
        /// The most similar name of a service.
        nearest: Option<String>,
    },
}

/// Which project is opened. What is not given comes from the variables of the Compose specification:
/// `COMPOSE_FILE`, `COMPOSE_PROJECT_NAME`, `COMPOSE_PROFILES`, `COMPOSE_ENV_FILES`.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The files, later ones over earlier ones; `-` is stdin.
    pub files: Vec<PathBuf>,
    /// The name of the project.
    pub project: Option<String>,
    /// Files with variables instead of `.env`.
    pub env_files: Vec<PathBuf>,
    /// The active profiles.
    pub profiles: Vec<String>,
    /// The directory that paths are relative to, instead of that of the first file.
    pub dir: Option<PathBuf>,
    /// Where the project runs.
    pub place: Place,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            project: None,
            env_files: Vec::new(),
            profiles: Vec::new(),
            dir: None,
            place: Place::Host,
        }
    }
}

/// The files of a project, merged.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The content.
    pub compose: Compose,
    /// The content as JSON, with all variables expanded.
    pub merged: serde_json::Value,
    /// The name of the project.
    pub project: String,
    /// The files.
    pub files: Vec<PathBuf>,
    /// The directory that paths are relative to.
    pub dir: PathBuf,
    /// The active profiles.
    pub profiles: Vec<String>,
    /// The variables of the `.env` file.
    variables: Vec<(String, String)>,
    /// The texts of the files, to point to what cannot be done.
    loaded: compose::Loaded,
}

/// Opens a project.
///
/// # Errors
///
/// If there is no file, or one cannot be read or parsed.
pub fn open(ctx: &Context, options: &OpenOptions) -> Result<Definition, Error> {
    let Read {
        files,
        dir,
        variables,
        loaded,
    } = load(ctx, options, compose::load)?;
    let compose = check(ctx, &loaded)?;
    let project = options
        .project
        .clone()
        .or_else(|| look_up(ctx, &variables, "COMPOSE_PROJECT_NAME"))
        .filter(|name| !name.is_empty())
        .or_else(|| compose.name.clone());
    let project = match project {
        Some(name) => check_name(name)?,
        None => normalise(&name_of(&dir)),
    };
    let profiles = if options.profiles.is_empty() {
        let active = look_up(ctx, &variables, "COMPOSE_PROFILES").unwrap_or_default();
        active.split(',').map(|one| one.trim().to_owned()).collect()
    } else {
        options.profiles.clone()
    };
    Ok(Definition {
        project,
        merged: loaded.merged.clone(),
        compose,
        files,
        dir,
        profiles,
        variables,
        loaded,
    })
}

/// Merges the files of a project as they are: variables are not expanded.
///
/// # Errors
///
/// As [`open`].
pub fn merged(ctx: &Context, options: &OpenOptions) -> Result<serde_json::Value, Error> {
    let read = load(ctx, options, compose::load_merged)?;
    let is_error = |(_, it): &(usize, Problem)| it.severity == kraft_core::problem::Severity::Error;
    if read.loaded.problems.iter().any(is_error) {
        check(ctx, &read.loaded)?;
    }
    Ok(read.loaded.merged)
}

/// The files of a project after they were read.
struct Read {
    files: Vec<PathBuf>,
    dir: PathBuf,
    variables: Vec<(String, String)>,
    loaded: compose::Loaded,
}

fn load(
    ctx: &Context,
    options: &OpenOptions,
    load: fn(Vec<Text>, Loading<'_>) -> compose::Loaded,
) -> Result<Read, Error> {
    let files = files(ctx, options)?;
    let dir = match (&options.dir, files.first()) {
        (Some(dir), _) => dir.clone(),
        (None, Some(file)) => parent(file),
        (None, None) => PathBuf::from("."),
    };
    let variables = env_variables(ctx, options, &dir)?;
    let texts = files.iter().map(|file| read(ctx, file));
    let texts = texts.collect::<Result<Vec<Text>, Error>>()?;
    let loaded = load(
        texts,
        Loading {
            place: options.place,
            vars: &|name| look_up(ctx, &variables, name),
            read: &|path| {
                let text = read_file(&dir.join(path));
                text.map_err(|error| kraft_core::error::chain(&error))
            },
        },
    );
    Ok(Read {
        files,
        dir,
        variables,
        loaded,
    })
}

/// Reports the problems of files; those of the first file with an error are the error.
fn check(ctx: &Context, loaded: &compose::Loaded) -> Result<Compose, Error> {
    let of = |index: usize| -> Vec<Problem> {
        let all = loaded.problems.iter().filter(|(at, _)| *at == index);
        all.map(|(_, problem)| problem.clone()).collect()
    };
    if let Some(compose) = &loaded.compose {
        for (index, text) in loaded.texts.iter().enumerate() {
            let problems = of(index);
            if !problems.is_empty() {
                ctx.problems(Some(text), &problems);
            }
        }
        return Ok(compose.clone());
    }
    let is_error =
        |(_, it): &&(usize, Problem)| it.severity == kraft_core::problem::Severity::Error;
    let index = loaded.problems.iter().find(is_error);
    let index = index.map_or(0, |(index, _)| *index);
    let text = loaded.texts.get(index).cloned();
    Err(Error::Problems {
        text: text.unwrap_or_else(|| Text {
            name: String::new(),
            text: String::new(),
        }),
        problems: of(index),
        incomplete: loaded.incomplete,
    })
}

impl Definition {
    /// Returns the first file.
    pub fn file(&self) -> &Path {
        self.files.first().map_or(Path::new("-"), PathBuf::as_path)
    }

    /// Returns the selected services and their dependencies, dependencies first; without names those
    /// of the active profiles.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn services(&self, names: &[String]) -> Result<Vec<&Service>, Error> {
        self.check_names(names)?;
        if !names.is_empty() {
            return Ok(self.compose.order(names));
        }
        let services = self.compose.services.iter();
        let active: Vec<String> = services
            .filter(|one| one.is_active(&self.profiles))
            .map(|one| one.name.clone())
            .collect();
        if active.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.compose.order(&active))
    }

    /// Returns the services that are restarted with others (`depends_on` with `restart`), without those.
    pub fn dependents(&self, names: &[String]) -> Vec<String> {
        let follows = |service: &&Service| {
            let mut needs = service.depends_on.iter();
            let follows = needs.any(|need| need.restart && names.contains(&need.service));
            follows && !names.contains(&service.name)
        };
        let services = self.compose.services.iter().filter(follows);
        services.map(|service| service.name.clone()).collect()
    }

    /// Returns the selected services without their dependencies, in the order of dependencies.
    ///
    /// # Errors
    ///
    /// If a service does not exist.
    pub fn only(&self, names: &[String]) -> Result<Vec<&Service>, Error> {
        let mut services = self.services(names)?;
        services.retain(|one| names.is_empty() || names.contains(&one.name));
        Ok(services)
    }

    fn check_names(&self, names: &[String]) -> Result<(), Error> {
        for name in names {
            if self.compose.service(name).is_some() {
                continue;
            }
            let all = self.compose.services.iter().map(|one| one.name.as_str());
            return Err(Error::NoService {
                name: name.clone(),
                nearest: nearest(name, all).map(str::to_owned),
            });
        }
        Ok(())
    }

    /// Looks up a variable: in the environment, else in the `.env` file.
    pub fn look_up(&self, ctx: &Context, name: &str) -> Option<String> {
        look_up(ctx, &self.variables, name)
    }

    /// Returns the variables that the files may use: those of the environment, and below them those of the
    /// `.env` file.
    pub fn look_up_all(&self, ctx: &Context) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = self.variables.iter().cloned().collect();
        all.extend(ctx.env.iter().map(|(name, value)| {
            let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
            (text(name), text(value))
        }));
        all
    }

    /// Returns a problem of the merged files with the text that it points into.
    pub fn locate(&self, problem: Problem) -> (Text, Problem) {
        let (index, problem) = self.loaded.locate(problem);
        let text = self.loaded.texts.get(index).cloned();
        let text = text.unwrap_or_else(|| Text {
            name: String::new(),
            text: String::new(),
        });
        (text, problem)
    }

    /// Returns the keys that have no effect on this host, each once.
    pub fn idle(&self) -> &[String] {
        &self.loaded.idle
    }

    /// Returns the environment of a service: variables of files, overridden by its own. One without a
    /// value has that of the environment of this process, or is left out.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn environment(
        &self,
        ctx: &Context,
        service: &Service,
    ) -> Result<BTreeMap<String, String>, kraft_sys::fs::Error> {
        let mut env = BTreeMap::new();
        for file in &service.env_files {
            env.extend(self.variables_of(ctx, file)?);
        }
        for variable in &service.environment {
            let value = variable.value.clone();
            match value.or_else(|| self.look_up(ctx, &variable.name)) {
                Some(value) => env.insert(variable.name.clone(), value),
                None => env.remove(&variable.name),
            };
        }
        Ok(env)
    }

    /// Reads a file of variables that a service names.
    ///
    /// # Errors
    ///
    /// If it cannot be read, and is `required` or exists.
    fn variables_of(
        &self,
        ctx: &Context,
        file: &EnvFile,
    ) -> Result<Vec<(String, String)>, kraft_sys::fs::Error> {
        let Some(text) = read_optional(&self.dir.join(&file.path), file.required)? else {
            return Ok(Vec::new());
        };
        let vars = |name: &str| self.look_up(ctx, name);
        Ok(if file.raw {
            compose::plain_variables(&text, &vars)
        } else {
            compose::variables(&text, &vars)
        })
    }
}

/// Returns the files of the options, of the environment or of the current directory.
fn files(ctx: &Context, options: &OpenOptions) -> Result<Vec<PathBuf>, Error> {
    if !options.files.is_empty() {
        return Ok(options.files.clone());
    }
    let start = options.dir.clone().unwrap_or_else(|| PathBuf::from("."));
    // The environment, else the `.env` file of this directory.
    let variables = env_variables(ctx, options, &start)?;
    if let Some(files) = look_up(ctx, &variables, "COMPOSE_FILE").filter(|it| !it.is_empty()) {
        let separator = look_up(ctx, &variables, "COMPOSE_PATH_SEPARATOR");
        let separator = separator.filter(|it| !it.is_empty());
        let separator = separator.unwrap_or_else(|| ":".to_owned());
        let files = files.split(separator.as_str()).filter(|it| !it.is_empty());
        let place = |file: &str| match options.dir {
            Some(_) if file != "-" => start.join(file),
            _ => PathBuf::from(file),
        };
        return Ok(files.map(place).collect());
    }
    let whole = absolute(&start);
    for dir in whole.ancestors() {
        let mut names = FILE_NAMES.iter().filter(|name| dir.join(name).exists());
        let Some(name) = names.next() else {
            continue;
        };
        if let Some(other) = names.next() {
            ctx.warn(&format!(
                "there are several Compose files: `{name}` is used, and not `{other}`"
            ));
        }
        // The path as it was given reads better than the whole one.
        let shown = if dir == whole { &start } else { dir };
        let place = |name: &str| {
            if shown == Path::new(".") {
                PathBuf::from(name)
            } else {
                shown.join(name)
            }
        };
        let mut files = vec![place(name)];
        files.extend(override_of(name, dir).map(|name| place(&name)));
        return Ok(files);
    }
    Err(Error::NoFile)
}

/// Returns the name of the file that is merged over one: its own, else any other.
fn override_of(name: &str, dir: &Path) -> Option<String> {
    let of = |name: &str| {
        let (stem, ending) = name.rsplit_once('.')?;
        Some(format!("{stem}.override.{ending}"))
    };
    let others = FILE_NAMES.iter().rev().copied();
    let mut names = std::iter::once(name).chain(others).filter_map(of);
    names.find(|name| dir.join(name).exists())
}

fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && file != Path::new("-") => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn read(ctx: &Context, file: &Path) -> Result<Text, Error> {
    if file == Path::new("-") {
        let bytes = ctx.ask.stdin(LARGEST as u64 + 1).map_err(Error::Stdin)?;
        return Ok(Text {
            name: "stdin".to_owned(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
    }
    Ok(Text {
        name: file.display().to_string(),
        text: read_file(file)?,
    })
}

fn read_file(file: &Path) -> Result<String, kraft_sys::fs::Error> {
    let bytes = kraft_sys::fs::read_file(file, LARGEST as u64 + 1)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn env_variables(
    ctx: &Context,
    options: &OpenOptions,
    dir: &Path,
) -> Result<Vec<(String, String)>, Error> {
    let mut files = options.env_files.clone();
    if files.is_empty()
        && let Some(named) = ctx.env.text("COMPOSE_ENV_FILES")
    {
        files.extend(named.split(',').map(PathBuf::from));
    }
    if files.is_empty() {
        let text = read_optional(&dir.join(".env"), false)?.unwrap_or_default();
        return Ok(compose::variables(&text, &|name| look_up(ctx, &[], name)));
    }
    let mut variables = Vec::new();
    for file in files {
        let text = read_optional(&file, true)?.unwrap_or_default();
        let more = compose::variables(&text, &|name| look_up(ctx, &variables, name));
        variables.extend(more);
    }
    Ok(variables)
}

/// Reads a file of variables; `None` if it is missing and not required.
fn read_optional(path: &Path, required: bool) -> Result<Option<String>, kraft_sys::fs::Error> {
    // The usual name for "no file".
    if (!required && !path.is_file()) || path == Path::new("/dev/null") {
        return Ok(None);
    }
    let bytes = kraft_sys::fs::read_file(path, LARGEST_ENV)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn look_up(ctx: &Context, variables: &[(String, String)], name: &str) -> Option<String> {
    let own = ctx.env.raw(name);
    own.map(|value| value.to_string_lossy().into_owned())
        .or_else(|| {
            let mut found = variables.iter().filter(|(known, _)| known == name);
            found.next_back().map(|(_, value)| value.clone())
        })
}

fn name_of(dir: &Path) -> String {
    let whole: PathBuf = absolute(dir).components().collect();
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Checks a name of a project that the user chose.
fn check_name(name: String) -> Result<String, Error> {
    let nearest = normalise(&name);
    if name == nearest {
        return Ok(name);
    }
    Err(Error::ProjectName { name, nearest })
}

/// Returns a name with only the characters that a project name may have (Compose specification,
/// "name").
pub fn normalise(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() {
        "project".to_owned()
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Script, context};

    #[test]
    fn project_names_have_only_the_characters_of_the_specification() {
        for (name, expected) in [
            ("shop", "shop"),
            ("My Shop!", "myshop"),
            ("_-shop_1", "shop_1"),
            ("größe", "gre"),
            ("...", "project"),
        ] {
            assert_eq!(normalise(name), expected);
        }
    }

    #[test]
    fn the_last_of_repeated_variables_counts() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let variables = [("A", "1"), ("B", "2"), ("A", "3")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(look_up(&ctx, &variables, "A").as_deref(), Some("3"));
        assert_eq!(look_up(&ctx, &variables, "C"), None);
    }

    #[test]
    fn files_are_included_extended_and_overridden_relative_to_their_own_directories() {
        let home = tempfile::tempdir().unwrap();
        let script = Script::silent();
        let ctx = context(home.path(), &script);
        let put = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
            path
        };
        let main = put(
            "compose.yaml",
            "include: [db/compose.yaml]\nservices:\n  web:\n    extends: {file: common/base.yaml, service: app}\n    \
             command: [\"${MODE}\"]\n    depends_on: [db]\n    privileged: true\n",
        );
        let over = put(
            "over.yaml",
            "services: {web: {environment: {B: two}, ports: [80:80]}}\n",
        );
        put(
            "db/compose.yaml",
            "name: other\nservices: {db: {build: ., volumes: [./data:/data]}}\n",
        );
        put(
            "common/base.yaml",
            "services:\n  app:\n    image: app\n    env_file: app.env\n    environment: [A=one, B=one]\n    \
             command: [x]\n",
        );
        put("common/app.env", "C=three\n");
        put(".env", "MODE=fast\n");
        let options = OpenOptions {
            files: vec![main, over],
            project: Some("shop".to_owned()),
            ..OpenOptions::default()
        };
        let definition = open(&ctx, &options).unwrap();
        let services = definition.services(&[]).unwrap();
        let [db, web] = services.as_slice() else {
            panic!("{services:#?}");
        };
        assert_eq!(db.build.as_ref().unwrap().context, "db/.");
        assert_eq!(db.volumes[0].source, "./db/data");
        assert_eq!(web.command.as_deref().unwrap(), ["fast"]);
        assert_eq!(web.env_files[0].path, "common/app.env");
        let env: Vec<String> = web
            .environment
            .iter()
            .map(|it| format!("{}={}", it.name, it.value.as_deref().unwrap_or("")))
            .collect();
        assert_eq!(env, ["A=one", "B=two"]);
        assert_eq!(definition.project, "shop");
        assert_eq!(definition.idle(), ["privileged"]);
        assert_eq!(
            script.reported(),
            [""; 0],
            "one line for all of them comes later"
        );
    }

    #[test]
    fn an_error_points_into_the_file_that_it_is_in() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        let put = |name: &str, text: &str| {
            let path = home.path().join(name);
            kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
            path
        };
        let main = put(
            "compose.yaml",
            "include: [other.yaml]\nservices: {a: {image: x}}\n",
        );
        let text = "services:\n  b:\n    image: x\n    mem_limit: much\n";
        put("other.yaml", text);
        let options = OpenOptions {
            files: vec![main],
            ..OpenOptions::default()
        };
        let Err(Error::Problems {
            text: found,
            problems,
            incomplete: false,
        }) = open(&ctx, &options)
        else {
            panic!("an amount that is none");
        };
        assert_eq!(found.name, "other.yaml");
        let span = problems[0].span.unwrap();
        assert_eq!(text.get(span.start..span.end), Some("much"));
    }
}
