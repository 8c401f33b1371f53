//! Print the requests of a deployment in their order.

use kraft_cloud::request::Id;
use kraft_cloud::resources::instances::{self, CreateInstance};
use kraft_cloud::resources::{images, services, volumes};

use super::super::output;
use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::Cloud;
use kraft_deploy::deploy::target::DeployTarget;
use kraft_deploy::deploy::{self, Deployment};
use kraft_deploy::dry_run::DryRun;
use kraft_deploy::naming;
use kraft_deploy::rollout::{self, Strategy};

/// Prints the requests; builds nothing and sends nothing.
pub(super) fn print(
    app: &App,
    cloud: &Cloud,
    target: &DeployTarget,
    deployment: Deployment,
    json: bool,
) -> Result<(), Failure> {
    let mut run = DryRun::default();
    let (image, args) = match target {
        DeployTarget::Image { image, args } => (image.reference().to_owned(), args),
        DeployTarget::Project { project, args } => {
            let name =
                deploy::image_name(cloud.account(), project.as_deref(), &deployment.package)?;
            run.add_other("PUSH", &name.to_string());
            let image = naming::platform_name(cloud.account(), &name.to_string())?;
            (image, args)
        }
    };
    run.add(cloud, &images::get(&image));
    let wanted = CreateInstance {
        // The arguments of the image are unknown: it may not exist yet.
        args: naming::arguments(
            &images::Image::default(),
            deployment.entrypoint.as_deref(),
            args,
        ),
        image,
        ..deployment.wanted
    }
    .named();
    if let Some(service) = rollout::service(&wanted) {
        run.add(cloud, &services::get(&[service]));
        run.add(
            cloud,
            &instances::get(&[Id::Name("OLD-INSTANCES".to_owned())]),
        );
    }
    for volume in &deployment.volumes {
        let id = Id::new(&volume.name);
        run.add(cloud, &volumes::get(&[id]));
        run.add(cloud, &volumes::create(Some(&volume.name), volume.size_mb));
    }
    run.add(cloud, &instances::create(&wanted));
    let name = wanted.name.clone().unwrap_or_default();
    run.add(cloud, &instances::get(&[Id::Name(name)]));
    if rollout::service(&wanted).is_some() && wanted.autostart {
        let old = [Id::Name("OLD-INSTANCES".to_owned())];
        match deployment.rollout.strategy {
            Strategy::Stop => run.add(cloud, &rollout::stop(&old)),
            Strategy::Remove => run.add(cloud, &instances::remove(&old)),
            Strategy::Keep | Strategy::Exit | Strategy::Prompt => {}
        }
    }
    output::dry_run(app, &run, json)
}
