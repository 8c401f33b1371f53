//! `kraft cloud quota`.

use anstyle::AnsiColor;
use kraft_cloud::harbor::{self, Storage};
use kraft_cloud::resources::users::{self, Quota};
use kraft_core::quantity;
use serde::Serialize;

use super::output::{self, Form, Shown};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_core::readable::decimal as size;
use kraft_deploy::RequestError;
use kraft_deploy::account::INDEX;
use kraft_deploy::{Cloud, CloudOptions};
use kraft_engine::network;

/// Width of the bar that shows a usage, in characters.
const BAR: u64 = 36;

/// Show the usage and the limits of the account
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// UUID of another user
    #[arg(long, value_name = "UUID")]
    user: Option<String>,

    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "list")]
    output: Form,
}

/// Usage and limits of an account.
#[derive(Serialize)]
struct Account {
    user_name: String,
    #[serde(flatten)]
    quota: Quota,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_storage: Option<Storage>,
}

type Field = Column<Account>;

const UUID: Field = Column::new("USER UUID", |one| Cell::new(&one.quota.uuid));
const NAME: Field = Column::new("USER NAME", |one| Cell::new(&one.user_name));
const IMAGES: Field = Column::new("IMAGE STORAGE", |one| match &one.image_storage {
    Some(storage) => {
        let amount = |bytes: i64| size(u64::try_from(bytes).unwrap_or_default());
        Cell::new(format!("{}/{}", amount(storage.used), amount(storage.hard)))
    }
    None => Cell::default(),
});
const LIVE: Field = Column::new("ACTIVE INSTANCES", |one| of(live(one)));
const TOTAL: Field = Column::new("TOTAL INSTANCES", |one| of(total(one)));
const VCPUS: Field = Column::new("ACTIVE VCPUS", |one| of(vcpus(one)));
const VCPU_LIMIT: Field = Column::new("VCPU LIMIT", |one| {
    between(
        one.quota.limits.min_vcpus,
        one.quota.limits.max_vcpus,
        |n| n.to_string(),
    )
});
const MEMORY: Field = Column::new("ACTIVE USED MEMORY", |one| {
    Cell::new(format!(
        "{}/{}",
        mib(one.quota.used.live_memory_mb),
        mib(one.quota.hard.live_memory_mb)
    ))
});
const MEMORY_LIMIT: Field = Column::new("MEMORY SIZE LIMITS", |one| {
    between(
        one.quota.limits.min_memory_mb,
        one.quota.limits.max_memory_mb,
        mib,
    )
});
const EXPOSED: Field = Column::new("EXPOSED SERVICES", |one| of(exposed(one)));
const SERVICES: Field = Column::new("SERVICES", |one| of(services(one)));
const VOLUMES: Field = Column::new("VOLUMES", |one| switch(one.quota.limits.max_volume_mb > 0));
const VOLUME_SPACE: Field = Column::new("USED VOLUME SPACE", |one| {
    Cell::new(format!(
        "{}/{}",
        mib(one.quota.used.total_volume_mb),
        mib(one.quota.hard.total_volume_mb)
    ))
});
const VOLUME_LIMIT: Field = Column::new("VOLUME SIZE LIMITS", |one| {
    between(
        one.quota.limits.min_volume_mb,
        one.quota.limits.max_volume_mb,
        mib,
    )
});
const AUTOSCALE: Field = Column::new("AUTOSCALE", |one| {
    switch(one.quota.limits.max_autoscale_size > 1)
});
const AUTOSCALE_LIMIT: Field = Column::new("AUTOSCALE LIMIT", |one| {
    between(
        one.quota.limits.min_autoscale_size,
        one.quota.limits.max_autoscale_size,
        |n| n.to_string(),
    )
});

// The same with a bar in front, where there is enough space.
const LIVE_BAR: Field = Column::new("ACTIVE INSTANCES", |one| bar(live(one)));
const TOTAL_BAR: Field = Column::new("TOTAL INSTANCES", |one| bar(total(one)));
const VCPUS_BAR: Field = Column::new("ACTIVE VCPUS", |one| bar(vcpus(one)));
const EXPOSED_BAR: Field = Column::new("EXPOSED SERVICES", |one| bar(exposed(one)));
const SERVICES_BAR: Field = Column::new("SERVICES", |one| bar(services(one)));
const VOLUMES_BAR: Field = Column::new("ACTIVE VOLUMES", |one| {
    bar((one.quota.used.volumes, one.quota.hard.volumes))
});

impl Shown for Account {
    const TABLE: &'static [Field] = &[
        NAME,
        IMAGES,
        LIVE,
        TOTAL,
        VCPUS,
        VCPU_LIMIT,
        MEMORY,
        MEMORY_LIMIT,
        EXPOSED,
        SERVICES,
        VOLUMES,
        AUTOSCALE,
    ];
    const LIST: &'static [Field] = &[
        UUID,
        NAME,
        IMAGES,
        LIVE_BAR,
        TOTAL_BAR,
        VCPUS_BAR,
        VCPU_LIMIT,
        MEMORY,
        MEMORY_LIMIT,
        EXPOSED_BAR,
        SERVICES_BAR,
        VOLUMES,
        VOLUMES_BAR,
        VOLUME_SPACE,
        VOLUME_LIMIT,
        AUTOSCALE,
        AUTOSCALE_LIMIT,
    ];
}

/// The usage of a resource, and its limit.
type Share = (u64, u64);

fn live(one: &Account) -> Share {
    let (used, hard) = (&one.quota.used, &one.quota.hard);
    (used.live_instances, hard.live_instances.max(hard.instances))
}

fn total(one: &Account) -> Share {
    (one.quota.used.instances, one.quota.hard.instances)
}

fn vcpus(one: &Account) -> Share {
    (one.quota.used.live_vcpus, one.quota.hard.live_vcpus)
}

fn exposed(one: &Account) -> Share {
    (one.quota.used.services, one.quota.hard.services)
}

fn services(one: &Account) -> Share {
    (one.quota.used.service_groups, one.quota.hard.service_groups)
}

fn of((used, hard): Share) -> Cell {
    Cell::new(format!("{used}/{hard}"))
}

fn bar((used, hard): Share) -> Cell {
    let full = used
        .saturating_mul(BAR)
        .checked_div(hard)
        .unwrap_or(0)
        .min(BAR);
    let cells = |count: u64, letter: &str| letter.repeat(usize::try_from(count).unwrap_or(0));
    let drawn = format!("{}{}", cells(full, "█"), cells(BAR - full, "░"));
    let colour = match full {
        0..=20 => AnsiColor::Green,
        21..=30 => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    Cell::new(format!("{drawn} {used}/{hard}")).colour(colour)
}

fn between(least: u64, most: u64, show: fn(u64) -> String) -> Cell {
    Cell::new(format!("{}-{}", show(least), show(most)))
}

fn mib(amount: u64) -> String {
    let bytes = amount.saturating_mul(quantity::MIB);
    if bytes >= quantity::GIB && bytes.is_multiple_of(quantity::GIB) {
        return format!("{} GiB", bytes / quantity::GIB);
    }
    format!("{amount} MiB")
}

fn switch(on: bool) -> Cell {
    Cell::new(if on { "enabled" } else { "disabled" })
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let cloud = Cloud::open(app, options)?;
    let answer = cloud.send(&users::quota(args.user.as_deref()))?;
    if args.output == Form::Raw {
        return app.ui.line(&answer.raw);
    }
    let quota = answer.one().map_err(RequestError::from)?;
    let image_storage = storage(app, &cloud)?;
    let account = Account {
        user_name: cloud.token().account().to_owned(),
        quota,
        image_storage,
    };
    output::rows(app, args.output, &[account])
}

/// Returns the usage of the platform's own registry; others do not report it.
fn storage(app: &App, cloud: &Cloud) -> Result<Option<Storage>, Failure> {
    if cloud.registry() != INDEX || app.settings.offline || cloud.is_private() {
        return Ok(None);
    }
    let policy = network::policy(app);
    match cloud.wait_for(harbor::storage(cloud.token(), &policy))? {
        Ok(storage) => Ok(Some(storage).filter(|storage| storage.hard > 0)),
        Err(error) => {
            app.ui.info(&kraft_core::error::chain(&error));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_printed_in_the_largest_whole_unit() {
        assert_eq!(mib(64), "64 MiB");
        assert_eq!(mib(4096), "4 GiB");
        assert_eq!(mib(1500), "1500 MiB");
    }
}
