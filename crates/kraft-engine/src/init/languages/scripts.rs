//! Languages that run from their sources, and web sites.

use super::files::Files;
use super::{PORT, Recipe, exec_form, port_of};
use crate::init::Error;

/// Versions of base images without a request for another.
const PHP: &str = "8.4";
const RUBY: &str = "3.4";
const DENO: &str = "2.1.4";
const BUSYBOX: &str = "1.37-musl";

const PHP_IGNORED: &[&str] = &["vendor", ".git", "Dockerfile"];
const RUBY_IGNORED: &[&str] = &[
    "vendor/bundle",
    ".bundle",
    "log",
    "tmp",
    ".git",
    "Dockerfile",
];
const WEB_IGNORED: &[&str] = &["node_modules", ".git", "Dockerfile", "Kraftfile"];

pub(super) fn php(files: &Files) -> Recipe {
    let composer = files.json("composer.json");
    // `php` and `ext-…` are requirements of the platform.
    let has_packages = composer
        .get("require")
        .and_then(|it| it.as_object())
        .is_some_and(|it| it.keys().any(|name| name.contains('/')));
    let root = ["public", "web", "html"]
        .into_iter()
        .find(|dir| files.has(&format!("{dir}/index.php")))
        .unwrap_or(".");
    let (stage, vendor) = if has_packages {
        (
            "FROM composer:2.8 AS build\nWORKDIR /app\nCOPY . .\n\
             RUN composer install --no-dev --no-interaction --optimize-autoloader\n\n",
            "COPY --from=build /app /app\n",
        )
    } else {
        ("", "COPY . .\n")
    };
    let address = format!("0.0.0.0:{PORT}");
    let dockerfile = format!(
        "{stage}FROM php:{PHP}-cli-alpine\nWORKDIR /app\n{vendor}ENV PORT={PORT}\nEXPOSE {PORT}\nCMD {}\n",
        exec_form(&["php", "-S", &address, "-t", root])
    );
    Recipe {
        dockerfile,
        ignored: PHP_IGNORED,
        port: Some(PORT),
    }
}

pub(super) fn ruby(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let version = files
        .version(&[".ruby-version"], 2)
        .filter(|version| version.contains('.'))
        .unwrap_or_else(|| RUBY.to_owned());
    let base = format!("ruby:{version}-slim-bookworm");
    let gems = files.text("Gemfile");
    let has_gems = gems
        .lines()
        .any(|line| line.trim_start().starts_with("gem "));
    let port = PORT.to_string();
    let found = program.or_else(|| files.first(&["app.rb", "main.rb", "server.rb", "web.rb"]));
    let mut words = Vec::new();
    if has_gems {
        words.extend(["bundle", "exec"]);
    }
    let mut number = PORT;
    match found {
        _ if files.has("bin/rails") && program.is_none() => {
            words.extend(["rails", "server", "-b", "0.0.0.0", "-p", &port]);
        }
        _ if files.has("config.ru") && program.is_none() => {
            words.extend(["rackup", "--host", "0.0.0.0", "--port", &port]);
        }
        Some(file) => {
            number = port_of(&files.text(file));
            words.extend(["ruby", file]);
        }
        None => {
            return Err(Error::NoEntry {
                language: "Ruby",
                expected: "config.ru, app.rb or main.rb",
            });
        }
    }
    let command = exec_form(&words);
    let (stage, bundle) = if has_gems {
        (
            format!(
                "FROM {base} AS build\nRUN apt-get update && apt-get install -y --no-install-recommends build-essential\n\
                 WORKDIR /app\nCOPY Gemfile Gemfile.lock* ./\nRUN bundle install\n\n"
            ),
            "COPY --from=build /usr/local/bundle /usr/local/bundle\n",
        )
    } else {
        (String::new(), "")
    };
    let dockerfile = format!(
        "{stage}FROM {base}\n{bundle}ENV PORT={number} RACK_ENV=production\nWORKDIR /app\nCOPY . .\n\
         EXPOSE {number}\nCMD {command}\n"
    );
    Ok(Recipe {
        dockerfile,
        ignored: RUBY_IGNORED,
        port: Some(number),
    })
}

pub(super) fn deno(files: &Files, program: Option<&str>) -> Result<Recipe, Error> {
    let usual = [
        "main.ts",
        "server.ts",
        "mod.ts",
        "index.ts",
        "src/main.ts",
        "main.js",
    ];
    let file = program
        .or_else(|| files.first(&usual))
        .ok_or(Error::NoEntry {
            language: "Deno",
            expected: "main.ts",
        })?;
    let source = files.text(file);
    // `Deno.serve` has a default of its own.
    let port = match port_of(&source) {
        PORT if !source.contains("8080") && !source.contains("PORT") => 8000,
        port => port,
    };
    let command = exec_form(&[
        "deno",
        "run",
        "--allow-net",
        "--allow-read",
        "--allow-env",
        "--cached-only",
        file,
    ]);
    let fetch = exec_form(&["deno", "cache", file]);
    let dockerfile = format!(
        "FROM denoland/deno:{DENO}\nWORKDIR /app\nCOPY . .\nRUN {fetch}\nENV PORT={port}\nEXPOSE {port}\n\
         CMD {command}\n"
    );
    Ok(Recipe {
        dockerfile,
        ignored: WEB_IGNORED,
        port: Some(port),
    })
}

pub(super) fn web_site(files: &Files) -> Recipe {
    let root = if files.has("index.html") {
        "."
    } else {
        "public"
    };
    let dockerfile = format!(
        "FROM busybox:{BUSYBOX}\nCOPY {root} /www\nEXPOSE {PORT}\nCMD {}\n",
        exec_form(&[
            "/bin/busybox",
            "httpd",
            "-f",
            "-v",
            "-p",
            &PORT.to_string(),
            "-h",
            "/www"
        ])
    );
    Recipe {
        dockerfile,
        ignored: WEB_IGNORED,
        port: Some(PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::dockerfile;

    #[test]
    fn the_directory_with_the_first_page_is_served() {
        let text = dockerfile(&[("composer.json", "{}"), ("public/index.php", "")]);
        assert!(
            text.contains(r#"["php","-S","0.0.0.0:8080","-t","public"]"#),
            "{text}"
        );
        assert!(!text.contains("composer"), "{text}");
        let text = dockerfile(&[
            ("composer.json", r#"{"require": {"a/b": "1"}}"#),
            ("index.php", ""),
        ]);
        assert!(text.contains("RUN composer install"), "{text}");
        assert!(dockerfile(&[("public/index.html", "")]).contains("COPY public /www\n"));
    }

    #[test]
    fn gems_are_installed_if_there_are_any() {
        let text = dockerfile(&[("Gemfile", "gem 'rack'\n"), ("config.ru", "")]);
        assert!(text.contains("RUN bundle install"), "{text}");
        assert!(text.contains(r#"CMD ["bundle","exec","rackup","#), "{text}");
        let text = dockerfile(&[
            ("Gemfile", "source 'x'\n"),
            ("main.rb", "TCPServer.new(4567) # port 4567"),
        ]);
        assert!(
            !text.contains("bundle") && text.contains("EXPOSE 4567"),
            "{text}"
        );
    }
}
