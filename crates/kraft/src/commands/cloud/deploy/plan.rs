//! Print what a deployment would change.

use kraft_cloud::resources::images::Image;
use kraft_cloud::resources::instances::CreateInstance;

use super::super::output::{self, Form};
use crate::app::App;
use crate::failure::Failure;
use crate::ui::{Cell, Column};
use kraft_deploy::Cloud;
use kraft_deploy::deploy::target::DeployTarget;
use kraft_deploy::deploy::{self, Deployment};
use kraft_deploy::naming;
use kraft_deploy::plan::{self, Step};

const COLUMNS: &[Column<Step>] = &[
    Column::new("ACTION", |step| Cell::new(step.action)),
    Column::new("KIND", |step| Cell::new(step.kind)),
    Column::new("NAME", |step| Cell::new(&step.name)),
    Column::new("DETAIL", |step| Cell::new(&step.detail)),
];

/// Prints the plan; builds nothing and changes nothing.
pub(super) fn print(
    app: &App,
    cloud: &Cloud,
    target: &DeployTarget,
    deployment: Deployment,
    form: Form,
) -> Result<(), Failure> {
    let (image, args, pushed) = match target {
        DeployTarget::Image { image, args } => (image.reference().to_owned(), args, false),
        DeployTarget::Project { project, args } => {
            let name =
                deploy::image_name(cloud.account(), project.as_deref(), &deployment.package)?;
            let name = naming::platform_name(cloud.account(), &name.to_string())?;
            (name, args, true)
        }
    };
    let entrypoint = deployment.entrypoint.as_deref();
    let wanted = CreateInstance {
        args: naming::arguments(&Image::default(), entrypoint, args),
        image,
        ..deployment.wanted
    };
    let steps = plan::steps(
        cloud,
        &wanted,
        &deployment.volumes,
        &deployment.rollout,
        pushed,
    )?;
    output::columns(app, form, &steps, COLUMNS)
}
