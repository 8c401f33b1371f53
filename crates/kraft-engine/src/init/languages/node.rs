//! Node.js.

use std::fmt::Write as _;

use serde_json::Value;

use super::files::{self, Files};
use super::{Recipe, exec_form, is_plain, port_of};
use crate::init::Error;

/// The version of the base images without a request for another.
const VERSION: &str = "22";

const IGNORED: &[&str] = &["node_modules", "npm-debug.log", ".git", "Dockerfile"];

pub(super) fn recipe(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let package = files.json("package.json");
    let version = files
        .version(&[".nvmrc", ".node-version"], 1)
        .or_else(|| files::version(package.pointer("/engines/node")?.as_str()?, 1))
        .unwrap_or_else(|| VERSION.to_owned());
    let base = format!("node:{version}-bookworm-slim");
    let has = |key: &str| {
        let found = package.get(key).and_then(Value::as_object);
        found.is_some_and(|it| !it.is_empty())
    };
    let (install, prune) = match files.first(&["package-lock.json", "yarn.lock", "pnpm-lock.yaml"])
    {
        Some("yarn.lock") => ("corepack yarn install --frozen-lockfile", ""),
        Some("pnpm-lock.yaml") => ("corepack pnpm install --frozen-lockfile", ""),
        Some(_) => ("npm ci", "npm prune --omit=dev"),
        None => ("npm install", "npm prune --omit=dev"),
    };
    let installs = has("dependencies") || has("devDependencies");
    let builds = package
        .pointer("/scripts/build")
        .is_some_and(Value::is_string);
    let command = command(files, &package, program)?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut text = format!("FROM {base} AS build\nWORKDIR /app\n");
    if installs {
        text.push_str("COPY package.json package-lock.json* yarn.lock* pnpm-lock.yaml* ./\n");
        let _ = writeln!(text, "RUN {install}");
    }
    text.push_str("COPY . .\n");
    if builds {
        text.push_str("RUN npm run build\n");
    }
    if installs && !prune.is_empty() {
        let _ = writeln!(text, "RUN {prune}");
    }
    let source = command.last().map(|file| files.text(file));
    let port = port_of(&source.unwrap_or_default());
    let _ = write!(
        text,
        "\nFROM {base}\nENV NODE_ENV=production PORT={port} HOST=0.0.0.0\nWORKDIR /app\n\
         COPY --from=build /app /app\nEXPOSE {port}\nCMD {}\n",
        exec_form(&words)
    );
    Ok(Recipe {
        dockerfile: text,
        ignored: IGNORED,
        port: Some(port),
    })
}

/// Returns what starts the application: the file that is given, that of `npm start`, or the main file.
fn command(files: &Files, package: &Value, program: Option<&str>) -> Result<Vec<String>, Error> {
    let node = |file: &str| vec!["node".to_owned(), file.to_owned()];
    if let Some(program) = program {
        return Ok(node(program));
    }
    if let Some(start) = package.pointer("/scripts/start").and_then(Value::as_str) {
        // Without npm and a shell between, there are fewer processes.
        let words: Vec<&str> = start.split_whitespace().collect();
        return Ok(match words.as_slice() {
            ["node", file] if is_plain(file) => node(file),
            _ => ["npm", "start"].map(str::to_owned).to_vec(),
        });
    }
    let main = package
        .get("main")
        .and_then(Value::as_str)
        .filter(|file| files.has(file));
    let usual = [
        "server.js",
        "index.js",
        "app.js",
        "main.js",
        "index.mjs",
        "server.mjs",
        "src/index.js",
        "src/server.js",
        "src/app.js",
        "src/main.js",
        "dist/index.js",
        "dist/main.js",
    ];
    main.or_else(|| files.first(&usual))
        .map(node)
        .ok_or_else(|| Error::NoEntry {
            language: "Node.js",
            expected: "a `start` script in package.json, or index.js",
        })
}

#[cfg(test)]
mod tests {
    use super::super::tests::dockerfile;

    #[test]
    fn a_simple_start_script_is_run_without_npm() {
        let package = r#"{"scripts": {"start": "node src/web.js"}, "engines": {"node": ">=20"}}"#;
        let text = dockerfile(&[("package.json", package), ("src/web.js", "listen(3000)")]);
        assert!(text.contains("FROM node:20-bookworm-slim\n"), "{text}");
        assert!(
            text.ends_with("EXPOSE 3000\nCMD [\"node\",\"src/web.js\"]\n"),
            "{text}"
        );
        // Nothing to install: the build needs no network.
        assert!(!text.contains("RUN"), "{text}");
    }

    #[test]
    fn dependencies_are_installed_by_the_manager_of_the_lock_file() {
        let package =
            r#"{"main": "a.js", "dependencies": {"x": "1"}, "scripts": {"build": "tsc"}}"#;
        let text = dockerfile(&[
            ("package.json", package),
            ("a.js", ""),
            ("package-lock.json", "{}"),
        ]);
        assert!(text.contains("RUN npm ci\n"), "{text}");
        assert!(
            text.contains("RUN npm run build\nRUN npm prune --omit=dev\n"),
            "{text}"
        );
        let text = dockerfile(&[("package.json", package), ("a.js", ""), ("yarn.lock", "")]);
        assert!(
            text.contains("RUN corepack yarn install --frozen-lockfile\n"),
            "{text}"
        );
    }
}
