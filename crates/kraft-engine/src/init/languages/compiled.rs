//! Languages with a compiler: the last stage has only what it made.

use super::files::{self, Files};
use super::{PORT, Recipe, exec_form, is_plain, port_of};
use crate::init::Error;

/// Versions of base images without a request for another.
const GO: &str = "1.24";
const RUST: &str = "1.88";
const JAVA: &str = "21";
const ELIXIR: &str = "1.18";

const GO_IGNORED: &[&str] = &[".git", "Dockerfile"];
const RUST_IGNORED: &[&str] = &["target", ".git", "Dockerfile"];
const JAVA_IGNORED: &[&str] = &["target", "build", ".gradle", ".git", "Dockerfile"];
const ELIXIR_IGNORED: &[&str] = &["_build", "deps", ".git", "Dockerfile"];

/// The trusted certificates of Alpine's images, for TLS clients in an empty root filesystem.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Returns the newer one of two versions.
fn at_least(given: Option<String>, least: &str) -> String {
    let number = |version: &str| -> Vec<u32> {
        version
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect()
    };
    given
        .filter(|given| number(given) > number(least))
        .unwrap_or_else(|| least.to_owned())
}

pub(super) fn go(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let module = files.text("go.mod");
    let asked = module
        .lines()
        .find_map(|line| line.trim().strip_prefix("go "))
        .and_then(|rest| files::version(rest, 2));
    let version = at_least(asked, GO);
    let is_main = |file: &str| {
        let text = files.text(file);
        text.lines().any(|line| line.trim() == "package main")
    };
    let top = files.names(".").into_iter().any(|name| {
        std::path::Path::new(&name)
            .extension()
            .is_some_and(|it| it == "go")
            && is_main(&name)
    });
    let below: Vec<String> = files
        .names("cmd")
        .into_iter()
        .filter(|name| is_plain(name) && files.has_dir(&format!("cmd/{name}")))
        .collect();
    let package = match (program, top, below.as_slice()) {
        (Some(program), ..) => {
            let known = below.iter().any(|name| name == program);
            if known {
                format!("./cmd/{program}")
            } else {
                format!("./{}", plain(program)?)
            }
        }
        (None, true, _) => ".".to_owned(),
        (None, false, [only]) => format!("./cmd/{only}"),
        (None, false, []) => {
            return Err(Error::NoEntry {
                language: "Go",
                expected: "a file with `package main`, or a directory below cmd",
            });
        }
        (None, false, _) => return Err(Error::SeveralPrograms(below)),
    };
    let main = match package.as_str() {
        "." => files.text("main.go"),
        package => files.text(&format!("{}/main.go", package.trim_start_matches("./"))),
    };
    let port = port_of(&main);
    let download = if files.has("go.sum") {
        "COPY go.mod go.sum ./\nRUN go mod download\n"
    } else {
        ""
    };
    let dockerfile = format!(
        "FROM golang:{version}-alpine AS build\nWORKDIR /src\n{download}COPY . .\n\
         RUN CGO_ENABLED=0 go build -trimpath -ldflags=\"-s -w\" -o /app {package}\n\n\
         FROM scratch\nCOPY --from=build {CERTIFICATES} {CERTIFICATES}\nCOPY --from=build /app /app\n\
         ENV PORT={port}\nEXPOSE {port}\nCMD [\"/app\"]\n"
    );
    Ok(Recipe {
        dockerfile,
        ignored: GO_IGNORED,
        port: Some(port),
    })
}

pub(super) fn rust(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let manifest = files.text("Cargo.toml");
    let asked = files::toml_text(&manifest, "package", "rust-version");
    let version = at_least(asked.and_then(|it| files::version(&it, 2)), RUST);
    let mut programs = programs_of(files, "", &manifest);
    // A workspace without a package of its own: its members.
    if programs.is_empty() {
        let members = ["", "crates/", "apps/", "bin/"];
        for dir in members {
            for name in files.names(if dir.is_empty() { "." } else { dir }) {
                let below = format!("{dir}{name}/");
                let manifest = files.text(&format!("{below}Cargo.toml"));
                if !manifest.is_empty() && name != "target" {
                    programs.extend(programs_of(files, &below, &manifest));
                }
            }
        }
    }
    programs.sort();
    programs.dedup();
    let (name, main) = match (program, programs.as_slice()) {
        (Some(program), known) => {
            let known = known.iter().find(|(name, _)| name == program);
            let main = known.map_or_else(|| "src/main.rs".to_owned(), |(_, main)| main.clone());
            (plain(program)?.to_owned(), main)
        }
        (None, [only]) => only.clone(),
        (None, []) => {
            return Err(Error::NoEntry {
                language: "Rust",
                expected: "src/main.rs, or a `[[bin]]` in Cargo.toml",
            });
        }
        (None, several) => {
            let names = several.iter().map(|(name, _)| name.clone()).collect();
            return Err(Error::SeveralPrograms(names));
        }
    };
    let port = port_of(&files.text(&main));
    let locked = if files.has("Cargo.lock") {
        " --locked"
    } else {
        ""
    };
    let dockerfile = format!(
        "FROM rust:{version}-alpine AS build\nWORKDIR /src\nCOPY . .\n\
         RUN cargo build --release{locked} --bin {name}\n\n\
         FROM scratch\nCOPY --from=build {CERTIFICATES} {CERTIFICATES}\n\
         COPY --from=build /src/target/release/{name} /{name}\n\
         ENV PORT={port}\nEXPOSE {port}\nCMD {}\n",
        exec_form(&[&format!("/{name}")])
    );
    Ok(Recipe {
        dockerfile,
        ignored: RUST_IGNORED,
        port: Some(port),
    })
}

/// Returns the programs of a package, each with its main source.
fn programs_of(files: &Files, dir: &str, manifest: &str) -> Vec<(String, String)> {
    let mut programs = Vec::new();
    let package = files::toml_text(manifest, "package", "name");
    let main = format!("{dir}src/main.rs");
    if let Some(name) = package.filter(|name| is_plain(name) && files.has(&main)) {
        programs.push((name, main));
    }
    let names = files::toml_lines(manifest, "bin").filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then(|| value.trim().trim_matches('"').to_owned())
    });
    let bins: Vec<String> = names.filter(|name| is_plain(name)).collect();
    if !bins.is_empty() {
        // A `[[bin]]` with the main source gives it another name.
        let main = programs.pop().map_or_else(String::new, |(_, main)| main);
        programs.extend(bins.into_iter().map(|name| (name, main.clone())));
    }
    let bin = format!("{dir}src/bin");
    programs.extend(files.names(&bin).into_iter().filter_map(|file| {
        let name = file.strip_suffix(".rs")?;
        is_plain(name).then(|| (name.to_owned(), format!("{bin}/{file}")))
    }));
    programs
}

fn plain(program: &str) -> Result<&str, Error> {
    let program = program.trim_start_matches("./");
    if is_plain(program) {
        return Ok(program);
    }
    Err(Error::InvalidProgram(program.to_owned()))
}

pub(super) fn java(files: &Files) -> Recipe {
    let (image, build, from) = if files.has("pom.xml") {
        (
            "maven:3.9-eclipse-temurin",
            "mvn -B -q package -DskipTests",
            "target",
        )
    } else {
        (
            "gradle:8.12-jdk",
            "gradle --no-daemon assemble",
            "build/libs",
        )
    };
    let asked = if files.has("pom.xml") {
        let project = files.text("pom.xml");
        [
            "<maven.compiler.release>",
            "<java.version>",
            "<maven.compiler.target>",
        ]
        .iter()
        .find_map(|tag| files::version(project.split_once(tag)?.1, 1))
    } else {
        None
    };
    let version = at_least(asked, JAVA);
    let separator = if image.ends_with("jdk") { "" } else { "-" };
    // Build tools leave more than one archive: with the sources, or without the dependencies.
    let pick = format!(
        "cp \"$(ls -S {from}/*.jar | grep -v -e sources -e javadoc -e original -e plain | head -n 1)\" /app.jar"
    );
    let dockerfile = format!(
        "FROM {image}{separator}{version} AS build\nWORKDIR /src\nCOPY . .\nRUN {build} && {pick}\n\n\
         FROM eclipse-temurin:{version}-jre\nCOPY --from=build /app.jar /app.jar\n\
         ENV PORT={PORT} SERVER_PORT={PORT}\nEXPOSE {PORT}\nCMD [\"java\",\"-jar\",\"/app.jar\"]\n"
    );
    Recipe {
        dockerfile,
        ignored: JAVA_IGNORED,
        port: Some(PORT),
    }
}

pub(super) fn elixir(files: &Files) -> Result<Recipe, Error> {
    let project = files.text("mix.exs");
    let name = project.split_once("app: :").map(|(_, rest)| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    });
    let name = name.filter(|name| is_plain(name)).ok_or(Error::NoEntry {
        language: "Elixir",
        expected: "`app: :name` in mix.exs",
    })?;
    let dockerfile = format!(
        "FROM elixir:{ELIXIR}-slim AS build\nENV MIX_ENV=prod\nWORKDIR /src\nCOPY . .\n\
         RUN mix local.hex --force && mix local.rebar --force && mix deps.get --only prod && \
         mix release --overwrite --path /app\n\n\
         FROM elixir:{ELIXIR}-slim\nCOPY --from=build /app /app\n\
         ENV PORT={PORT} PHX_SERVER=true\nEXPOSE {PORT}\nCMD [\"/app/bin/{name}\",\"start\"]\n"
    );
    Ok(Recipe {
        dockerfile,
        ignored: ELIXIR_IGNORED,
        port: Some(PORT),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dir, dockerfile};
    use super::*;

    #[test]
    fn a_go_program_is_alone_in_its_root_filesystem() {
        let module = ("go.mod", "module x\n\ngo 1.25.3\n");
        let text = dockerfile(&[
            module,
            (
                "main.go",
                "package main\n// :9090\nListenAndServe(\":9090\"",
            ),
        ]);
        assert!(
            text.starts_with("FROM golang:1.25-alpine AS build\n"),
            "{text}"
        );
        assert!(
            text.contains("-o /app .\n") && text.contains("FROM scratch\n"),
            "{text}"
        );
        assert!(text.contains("EXPOSE 9090\n"), "{text}");
        let text = dockerfile(&[
            module,
            ("cmd/web/main.go", "package main\n"),
            ("go.sum", ""),
        ]);
        assert!(text.contains("-o /app ./cmd/web\n"), "{text}");
        assert!(text.contains("RUN go mod download\n"), "{text}");
    }

    #[test]
    fn one_of_several_programs_has_to_be_named() {
        let dir = dir(&[
            ("Cargo.toml", "[package]\nname = \"web\"\n"),
            ("src/main.rs", ""),
            ("src/bin/tool.rs", "bind(\"0.0.0.0:7000\")"),
        ]);
        let files = Files::new(dir.path(), &[]);
        let error = rust(&files, None).unwrap_err();
        assert_eq!(error.to_string(), "there are several programs: tool, web");
        let text = rust(&files, Some("tool")).unwrap().dockerfile;
        assert!(
            text.contains("--bin tool\n") && text.contains("EXPOSE 7000"),
            "{text}"
        );
        assert!(text.ends_with("CMD [\"/tool\"]\n"), "{text}");
        assert!(rust(&files, Some("$(x)")).is_err());
    }

    #[test]
    fn a_workspace_has_the_programs_of_its_members() {
        let text = dockerfile(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"),
            ("Cargo.lock", ""),
            ("crates/lib/Cargo.toml", "[package]\nname = \"lib\"\n"),
            ("crates/web/Cargo.toml", "[package]\nname = \"web\"\n"),
            ("crates/web/src/main.rs", ""),
        ]);
        assert!(
            text.contains("RUN cargo build --release --locked --bin web\n"),
            "{text}"
        );
    }

    #[test]
    fn an_elixir_release_has_the_name_of_the_application() {
        let text = dockerfile(&[("mix.exs", "def project do\n [app: :shop, version: \"1\"]")]);
        assert!(
            text.ends_with("CMD [\"/app/bin/shop\",\"start\"]\n"),
            "{text}"
        );
    }
}
