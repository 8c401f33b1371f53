//! The checks of `kraft doctor`: the configuration, and everything on the host.

use kraft_sys::command_line::redacted;

use crate::app::App;
use crate::failure::Failure;
use kraft_config::Config;
use kraft_engine::doctor::{self, BUILDER, Check, Status};

/// Checks everything.
pub(crate) fn all(app: &App) -> Vec<Check> {
    let mut checks = vec![configuration(app)];
    checks.extend(doctor::host(app));
    checks.extend(doctor::builders(app).unwrap_or_else(|error| {
        let failure = Failure::from(error);
        let detail = failure.message.sentences().join("; ");
        vec![Check::bad(
            BUILDER,
            Status::Warn,
            detail,
            failure.hints.join("; "),
        )]
    }));
    checks.push(registries(&app.config));
    checks
}

fn configuration(app: &App) -> Check {
    let name = "configuration";
    let config = &app.config;
    let path = config.dirs.config_file();
    let shown = path.display();
    if let Some(failure) = &app.misconfigured {
        let detail = failure.message.sentences().join("; ");
        return Check::bad(name, Status::Fail, detail, format!("edit {shown}"));
    }
    let unknown = config.layers.unknown.len();
    if unknown > 0 {
        let detail = format!("{shown}: {unknown} unknown keys are ignored");
        return Check::bad(name, Status::Warn, detail, "see them with `kraft config`");
    }
    if config.text.is_none() {
        return Check::ok(name, format!("none, defaults apply ({shown})"));
    }
    Check::ok(name, shown.to_string())
}

fn registries(config: &Config) -> Check {
    let name = "registries";
    let mut hosts: Vec<&str> = config
        .layers
        .credentials
        .iter()
        .filter_map(|credential| credential.name.strip_prefix("auth.")?.rsplit_once('.'))
        .map(|(host, _)| host)
        .collect();
    hosts.dedup();
    let manifests = redacted(&config.manifests().join(", "));
    let credentials = if hosts.is_empty() {
        "no credentials".to_owned()
    } else {
        format!("credentials for {}", hosts.join(", "))
    };
    if manifests.is_empty() {
        let detail = format!("none; {credentials}");
        let cure = "kraft config unset unikraft.manifests";
        return Check::bad(name, Status::Warn, detail, cure);
    }
    Check::ok(name, format!("{manifests}; {credentials}"))
}
