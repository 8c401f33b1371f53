//! Python.

use std::fmt::Write as _;

use super::files::{self, Files};
use super::{PORT, Recipe, exec_form, is_plain, port_of};
use crate::init::Error;

/// The version of the base images without a request for another.
const VERSION: &str = "3.13";

const IGNORED: &[&str] = &[
    "__pycache__",
    "*.pyc",
    ".venv",
    "venv",
    ".git",
    ".pytest_cache",
    "Dockerfile",
];

pub(super) fn recipe(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let project = files.text("pyproject.toml");
    let version = files
        .version(&[".python-version"], 2)
        .filter(|version| version.contains('.'))
        .unwrap_or_else(|| VERSION.to_owned());
    let base = format!("python:{version}-slim-bookworm");
    let requirements = files.text("requirements.txt");
    let has_requirements = requirements
        .lines()
        .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let is_package =
        files.has("setup.py") || files::toml_lines(&project, "build-system").next().is_some();
    let mut install = String::new();
    if has_requirements {
        install.push_str(
            "COPY requirements.txt .\nRUN /venv/bin/pip install --no-cache-dir -r requirements.txt\n",
        );
    }
    let dependencies = dependencies(&project);
    if is_package {
        install.push_str("COPY . .\nRUN /venv/bin/pip install --no-cache-dir .\n");
    } else if !dependencies.is_empty() {
        let quoted: Vec<String> = dependencies.iter().map(|it| format!("'{it}'")).collect();
        let _ = writeln!(
            install,
            "RUN /venv/bin/pip install --no-cache-dir {}",
            quoted.join(" ")
        );
    }
    let needs = format!("{requirements}\n{}", dependencies.join("\n")).to_ascii_lowercase();
    let (command, port) = command(files, &project, &needs, program)?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut text = String::new();
    if install.is_empty() {
        let _ = writeln!(text, "FROM {base}");
    } else {
        let _ = write!(
            text,
            "FROM {base} AS build\nRUN python -m venv /venv\nWORKDIR /app\n{install}\n\
             FROM {base}\nCOPY --from=build /venv /venv\nENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin\n"
        );
    }
    let _ = write!(
        text,
        "ENV PYTHONUNBUFFERED=1 PORT={port}\nWORKDIR /app\nCOPY . .\nEXPOSE {port}\nCMD {}\n",
        exec_form(&words)
    );
    Ok(Recipe {
        dockerfile: text,
        ignored: IGNORED,
        port: Some(port),
    })
}

/// Returns the dependencies in pyproject.toml that can be written between single quotes.
fn dependencies(project: &str) -> Vec<String> {
    let lines: Vec<&str> = files::toml_lines(project, "project").collect();
    let list = lines.join("\n");
    let Some((_, list)) = list.split_once("dependencies") else {
        return Vec::new();
    };
    let Some((_, list)) = list.split_once('[') else {
        return Vec::new();
    };
    // Brackets are part of a name with extras, inside of quotes.
    let quoted = list.split('"').enumerate();
    let mut found = Vec::new();
    for (at, part) in quoted {
        if at % 2 == 0 {
            if part.contains(']') {
                break;
            }
        } else if part.chars().all(is_of_requirement) && !part.contains("<<") {
            found.push(part.to_owned());
        }
    }
    found
}

/// Returns whether a requirement has this character; none of them ends single quotes.
fn is_of_requirement(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.[]<>=!~, ;*+@:/\"()".contains(c)
}

/// Returns what starts the application, and its port.
fn command(
    files: &Files,
    project: &str,
    needs: &str,
    program: Option<&str>,
) -> Result<(Vec<String>, u16), Error> {
    let own = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    if let Some(program) = program {
        return Ok((own(&["python", program]), port_of(&files.text(program))));
    }
    let usual = [
        "main.py",
        "app.py",
        "server.py",
        "run.py",
        "wsgi.py",
        "asgi.py",
        "src/main.py",
        "src/app.py",
        "app/main.py",
        "app/__init__.py",
    ];
    let found = files.first(&usual);
    let module = found.map(|file| {
        let name = file.trim_end_matches(".py").trim_end_matches("/__init__");
        name.replace('/', ".")
    });
    let needs = |name: &str| {
        needs.lines().any(|line| {
            let line = line.trim();
            let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
            line.get(..end.unwrap_or(line.len())) == Some(name)
        })
    };
    let port = PORT.to_string();
    let address = format!("0.0.0.0:{port}");
    if files.has("manage.py") {
        let words = ["python", "manage.py", "runserver", "--noreload", &address];
        return Ok((own(&words), PORT));
    }
    if let (Some(module), Some(file)) = (&module, found) {
        let starts_itself = files.text(file).contains("__main__");
        let application = format!("{module}:app");
        if !starts_itself && (needs("fastapi") || needs("starlette") || needs("uvicorn")) {
            let words = [
                "uvicorn",
                &application,
                "--host",
                "0.0.0.0",
                "--port",
                &port,
            ];
            return Ok((own(&words), PORT));
        }
        if !starts_itself && needs("gunicorn") {
            let words = ["gunicorn", "--bind", &address, &application];
            return Ok((own(&words), PORT));
        }
        if !starts_itself && needs("flask") {
            let words = [
                "flask",
                "--app",
                module.as_str(),
                "run",
                "--host",
                "0.0.0.0",
                "--port",
                &port,
            ];
            return Ok((own(&words), PORT));
        }
    }
    if let Some(file) = found {
        return Ok((own(&["python", file]), port_of(&files.text(file))));
    }
    let script = files::toml_lines(project, "project.scripts").find_map(|line| {
        line.split_once('=')
            .map(|(name, _)| name.trim().trim_matches('"'))
    });
    if let Some(script) = script.filter(|name| is_plain(name)) {
        return Ok((own(&[script]), PORT));
    }
    let package = files
        .names(".")
        .into_iter()
        .find(|name| files.has(&format!("{name}/__main__.py")));
    if let Some(package) = package {
        return Ok((own(&["python", "-m", &package]), PORT));
    }
    let mut scripts = files.names(".").into_iter().filter(|name| {
        let is_script = name.strip_suffix(".py").is_some_and(is_plain);
        is_script && name != "setup.py" && name != "conftest.py"
    });
    match (scripts.next(), scripts.next()) {
        (Some(only), None) => {
            let port = port_of(&files.text(&only));
            Ok((own(&["python", &only]), port))
        }
        _ => Err(Error::NoEntry {
            language: "Python",
            expected: "main.py, app.py, or a script in pyproject.toml",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dockerfile;
    use super::*;

    #[test]
    fn a_program_without_requirements_is_copied_and_nothing_is_run() {
        let text = dockerfile(&[("requirements.txt", "# none\n"), ("main.py", "port = 9000")]);
        assert!(!text.contains("RUN"), "{text}");
        assert!(
            text.starts_with("FROM python:3.13-slim-bookworm\n"),
            "{text}"
        );
        assert!(
            text.ends_with("EXPOSE 9000\nCMD [\"python\",\"main.py\"]\n"),
            "{text}"
        );
    }

    #[test]
    fn frameworks_are_started_by_their_servers() {
        for (needs, source, command) in [
            (
                "Flask==3.0\n",
                "app = Flask(__name__)",
                r#"["flask","--app","app","run""#,
            ),
            (
                "fastapi\nuvicorn[standard]\n",
                "",
                r#"["uvicorn","app:app","#,
            ),
            (
                "flask\ngunicorn\n",
                "",
                r#"["gunicorn","--bind","0.0.0.0:8080","app:app"]"#,
            ),
            (
                "flask\n",
                "if __name__ == '__main__': app.run(port=5000)",
                r#"["python","app.py"]"#,
            ),
            ("flask-cors\n", "", r#"["python","app.py"]"#),
        ] {
            let text = dockerfile(&[("requirements.txt", needs), ("app.py", source)]);
            assert!(text.contains(command), "{needs}: {text}");
        }
    }

    #[test]
    fn dependencies_of_a_project_are_quoted() {
        let project = "[project]\nname = \"x\"\ndependencies = [\n  \"uvicorn[standard]>=0.3\",\n  \"a';b\",\n]\n";
        assert_eq!(dependencies(project), ["uvicorn[standard]>=0.3"]);
        assert_eq!(dependencies("[project]\nname = \"x\"\n"), [""; 0]);
        let text = dockerfile(&[("pyproject.toml", project), ("main.py", "")]);
        assert!(
            text.contains("pip install --no-cache-dir 'uvicorn[standard]>=0.3'\n"),
            "{text}"
        );
    }
}
