//! Dockerfiles for projects without one, by language.
//!
//! Each has a stage that installs or compiles, and a last stage with as little as possible, because
//! the files of a unikernel are in memory. Versions of base images are fixed; where a project names
//! the version of its language, that one is used.

mod compiled;
mod files;
mod node;
mod python;
mod scripts;

pub(super) use self::files::Files;
use super::{Error, Type};

/// The port that an application listens on unless its sources name another.
const PORT: u16 = 8080;

/// The Dockerfile of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    /// The text of the Dockerfile.
    pub(super) dockerfile: String,
    /// Files that are not part of the build context.
    pub(super) ignored: &'static [&'static str],
    /// The port that the application most likely listens on.
    pub(super) port: Option<u16>,
}

/// Languages in the order in which they are detected, each with files that are a sign of it.
const SIGNS: &[(Type, &[&str])] = &[
    (Type::Node, &["package.json"]),
    (
        Type::Python,
        &["pyproject.toml", "requirements.txt", "Pipfile", "setup.py"],
    ),
    (Type::Go, &["go.mod"]),
    (Type::Rust, &["Cargo.toml"]),
    (Type::Php, &["composer.json"]),
    (Type::Ruby, &["Gemfile"]),
    (Type::Java, &["pom.xml", "build.gradle", "build.gradle.kts"]),
    (Type::Elixir, &["mix.exs"]),
    (Type::Deno, &["deno.json", "deno.jsonc"]),
    (Type::Static, &["index.html", "public/index.html"]),
    // Programs of one file.
    (Type::Python, &["main.py", "app.py", "server.py"]),
    (Type::Node, &["index.js", "server.js", "app.js"]),
    (Type::Php, &["index.php"]),
    (Type::Ruby, &["config.ru", "app.rb", "main.rb"]),
    (Type::Deno, &["main.ts"]),
];

/// Returns the languages of a directory, the most likely one first.
pub(super) fn detect(files: &Files) -> Vec<Type> {
    let mut found: Vec<Type> = Vec::new();
    for (kind, signs) in SIGNS {
        if signs.iter().any(|sign| files.has(sign)) && !found.contains(kind) {
            found.push(*kind);
        }
    }
    found
}

/// Returns the Dockerfile of a language; `None` if the type is not a language. `program` selects one
/// of several programs.
pub(super) fn recipe(
    kind: Type,
    files: &Files,
    program: Option<&str>,
) -> Result<Option<Recipe>, Error> {
    let recipe = match kind {
        Type::Node => node::recipe(files, program),
        Type::Python => python::recipe(files, program),
        Type::Go => compiled::go(files, program),
        Type::Rust => compiled::rust(files, program),
        Type::Java => Ok(compiled::java(files)),
        Type::Elixir => compiled::elixir(files),
        Type::Php => Ok(scripts::php(files)),
        Type::Ruby => scripts::ruby(files, program),
        Type::Deno => scripts::deno(files, program),
        Type::Static => Ok(scripts::web_site(files)),
        Type::Dockerfile | Type::Compose | Type::C | Type::Binary => return Ok(None),
    };
    recipe.map(Some)
}

/// Returns the exec form of a command: a JSON list.
fn exec_form(words: &[&str]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}

/// Returns whether a name can be written in a Dockerfile and a shell without quotes.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    !name.is_empty()
        && name.chars().all(plain)
        && !name.starts_with(['-', '/'])
        && name.split('/').all(|part| part != "..")
}

/// Returns the port that a source listens on: the first number that a word about it precedes. Without
/// one, or if the port comes from the environment, [`PORT`], which the Dockerfile sets there.
fn port_of(source: &str) -> u16 {
    let from_environment = [
        "env.PORT",
        "env[\"PORT\"]",
        "env['PORT']",
        "environ",
        "getenv(\"PORT\"",
        "Getenv(\"PORT\"",
        "var(\"PORT\"",
        "ENV[\"PORT\"]",
        "ENV['PORT']",
        "ENV.fetch",
        "get(\"PORT\"",
    ];
    if source.contains("PORT") && from_environment.iter().any(|it| source.contains(it)) {
        return PORT;
    }
    let lower = source.to_ascii_lowercase();
    let words = [
        "listen",
        "port",
        "bind",
        "serve",
        "0.0.0.0",
        "127.0.0.1",
        "localhost",
        "\":",
    ];
    let near = words.iter().flat_map(|word| lower.match_indices(word));
    let mut ends: Vec<usize> = near.map(|(at, word)| at + word.len()).collect();
    ends.sort_unstable();
    let number = ends.into_iter().find_map(|end| {
        let rest = lower.get(end..)?.lines().next()?;
        let rest: String = rest.chars().take(40).collect();
        rest.split(|c: char| !c.is_ascii_digit())
            .filter(|digits| (4..=5).contains(&digits.len()) && !digits.starts_with('0'))
            .find_map(|digits| digits.parse::<u16>().ok())
    });
    number.unwrap_or(PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a directory with files.
    pub(super) fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            kraft_sys::fs::replace_file(&path, text.as_bytes()).unwrap();
        }
        dir
    }

    /// Returns the Dockerfile that a directory with these files gets.
    pub(super) fn dockerfile(files: &[(&str, &str)]) -> String {
        let dir = dir(files);
        let files = Files::new(dir.path(), &[]);
        let kind = *detect(&files).first().unwrap();
        recipe(kind, &files, None).unwrap().unwrap().dockerfile
    }

    #[test]
    fn the_first_sign_decides() {
        for (files, expected) in [
            (&["package.json", "index.html"][..], Type::Node),
            (&["requirements.txt", "go.mod"], Type::Python),
            (&["go.mod"], Type::Go),
            (&["Cargo.toml", "index.html"], Type::Rust),
            (&["composer.json"], Type::Php),
            (&["Gemfile"], Type::Ruby),
            (&["pom.xml"], Type::Java),
            (&["build.gradle.kts"], Type::Java),
            (&["mix.exs"], Type::Elixir),
            (&["deno.json", "main.ts"], Type::Deno),
            (&["index.html", "app.js"], Type::Static),
            (&["main.py"], Type::Python),
            (&["index.php"], Type::Php),
        ] {
            let named: Vec<(&str, &str)> = files.iter().map(|name| (*name, "")).collect();
            let dir = dir(&named);
            let found = detect(&Files::new(dir.path(), &[]));
            assert_eq!(found.first(), Some(&expected), "{files:?}");
        }
        let other = dir(&[("README", "")]);
        assert_eq!(detect(&Files::new(other.path(), &[])), []);
    }

    #[test]
    fn every_dockerfile_has_a_last_stage_with_a_command_in_exec_form() {
        for files in [
            &[("package.json", "{}"), ("index.js", "")][..],
            &[("package.json", "not JSON"), ("index.js", "")],
            &[("requirements.txt", "flask\n"), ("app.py", "")],
            &[
                ("pyproject.toml", "[project]\nname = \"x\"\n"),
                ("main.py", ""),
            ],
            &[
                ("go.mod", "module x\n\ngo 1.24\n"),
                ("main.go", "package main\n"),
            ],
            &[
                ("Cargo.toml", "[package]\nname = \"x\"\n"),
                ("src/main.rs", ""),
            ],
            &[("composer.json", "{}"), ("index.php", "")],
            &[("Gemfile", ""), ("app.rb", "")],
            &[("pom.xml", "")],
            &[("build.gradle", "")],
            &[("mix.exs", "app: :x,\n")],
            &[("deno.json", "{}"), ("main.ts", "")],
            &[("index.html", "")],
        ] {
            let text = dockerfile(files);
            let command = super::super::dockerfile::command(&text);
            assert!(command.is_some(), "{files:?}: {text}");
            for from in text.lines().filter_map(|line| line.strip_prefix("FROM ")) {
                let image = from.split(' ').next().unwrap_or_default();
                let fixed = image == "scratch" || image.contains(':');
                assert!(fixed && !image.ends_with(":latest"), "{text}");
            }
        }
    }

    #[test]
    fn the_port_is_the_one_that_the_source_listens_on() {
        for (source, port) in [
            ("app.listen(3000, () => {})", 3000),
            ("const port = process.env.PORT || 3000", 8080),
            ("const port = 5001;\nserver.listen(port)", 5001),
            ("http.ListenAndServe(\":9090\", nil)", 9090),
            ("TcpListener::bind(\"0.0.0.0:4000\")", 4000),
            ("HTTPServer(('', 8000), Handler).serve_forever()", 8000),
            ("app.run(host='0.0.0.0', port=5000)", 5000),
            ("print(1234)", 8080),
            ("listen(99999)", 8080),
        ] {
            assert_eq!(port_of(source), port, "{source}");
        }
    }

    #[test]
    fn names_that_a_shell_would_read_otherwise_are_not_plain() {
        for name in [
            "", "a b", "$(x)", "../x", "a/../b", "-x", "/etc", "a\nb", "a;b",
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_plain("cmd/my-app_1.0"));
    }
}
