//! Print one deployed instance as a card.
//!
//! ```text
//! [●] Deployed successfully!
//!  │
//!  ├────── name: web-x7k2p
//!  └──── memory: 128 MiB
//! ```

use anstyle::{AnsiColor, Style};
use kraft_cloud::resources::Known;
use kraft_cloud::resources::images::without_host;
use kraft_cloud::resources::instances::Instance;
use kraft_cloud::resources::services::Service;

use super::super::instance::view::boot_time;
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;

/// Prints the card.
pub(super) fn print(
    app: &App,
    cloud: &Cloud,
    one: &Instance,
    services: &[Service],
) -> Result<(), Failure> {
    let (title, colour) = title(&one.state);
    let style = if app.ui.colour() {
        Style::new().fg_color(Some(colour.into())).bold()
    } else {
        Style::new()
    };
    app.ui.line(&format!("[{style}●{style:#}] {title}"))?;
    app.ui.line(" │")?;
    let rows = rows(cloud.metro(), one, services);
    let widest = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let last = rows.len().saturating_sub(1);
    for (at, (key, value)) in rows.iter().enumerate() {
        let corner = if at == last { '└' } else { '├' };
        let line = "─".repeat(widest - key.len() + 2);
        app.ui
            .line(&format!(" {corner}{line} {key}: {}", plain(value)))?;
    }
    if one.state == "stopped" {
        let name = one.title();
        app.ui.info(&match one.start_count {
            0 => format!("`kraft cloud instance start {name}` starts it"),
            _ => format!("`kraft cloud instance logs {name}` shows what it printed"),
        });
    }
    Ok(())
}

/// Returns the title of a card for a state, and its colour.
fn title(state: &str) -> (&'static str, AnsiColor) {
    match state {
        "running" | "starting" => ("Deployed successfully!", AnsiColor::Green),
        "standby" => ("Deployed but instance is on standby!", AnsiColor::Blue),
        "stopped" | "stopping" | "draining" => {
            ("Deployed but instance is not online!", AnsiColor::Red)
        }
        _ => ("Deployed but unknown status", AnsiColor::Yellow),
    }
}

fn rows(metro: &str, one: &Instance, services: &[Service]) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("name", one.name.clone()),
        ("uuid", one.uuid.clone()),
        ("metro", metro.to_owned()),
        ("state", one.state.clone()),
    ];
    if let Some(end) = one.end() {
        rows.push(("stop reason", end.to_string()));
    }
    let site = services.iter().any(|service| service.port == 443);
    let scheme = if site { "https://" } else { "" };
    for domain in one.service_group.iter().flat_map(|group| &group.domains) {
        rows.push(("domain", format!("{scheme}{}", domain.fqdn)));
    }
    rows.push(("image", without_host(&one.image).to_owned()));
    if one.state != "starting" && one.boot_time_us > 0 {
        rows.push(("boot time", boot_time(one.boot_time_us)));
    }
    rows.push(("memory", format!("{} MiB", one.memory_mb)));
    let more = [
        (
            "service",
            one.service_group
                .as_ref()
                .map_or("", |group| group.name.as_str()),
        ),
        ("private fqdn", one.private_fqdn.as_str()),
        ("private ip", one.private_ip.as_str()),
    ];
    rows.extend(
        more.iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (*key, (*value).to_owned())),
    );
    if !one.args.is_empty() {
        rows.push(("args", one.args.join(" ")));
    }
    rows
}

/// Returns a value without control characters.
fn plain(value: &str) -> String {
    value
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
