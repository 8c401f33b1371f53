//! `kraft cloud tunnel`.

use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::tunnel::{self, Wish};
use kraft_deploy::{Cloud, Where};

/// Lead ports of this computer to ports of instances
///
/// The ports need not be published: an instance of the platform helps, for as long as the command
/// runs. Ctrl-C ends it, and removes the helper.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud tunnel 5432:db:5432
  kraft cloud tunnel 8080:web:80 admin.internal:9000")]
pub(crate) struct Args {
    /// What leads where; without a local port it is the same as the instance's
    #[arg(value_name = "[LOCAL:]INSTANCE:PORT", required = true)]
    tunnels: Vec<String>,

    /// The helper's ports, one for each tunnel, or the first of them
    #[arg(short = 'p', long, value_name = "PORT", default_value = "4444", value_delimiter = ',',
          value_parser = clap::value_parser!(u16).range(1..))]
    tunnel_proxy_port: Vec<u16>,

    /// The helper's port for itself
    #[arg(short = 'P', long, value_name = "PORT", default_value = "4443",
          value_parser = clap::value_parser!(u16).range(1..))]
    tunnel_control_port: u16,

    /// The helper's image
    #[arg(long, value_name = "IMAGE", default_value = kraft_cloud::tunnel::IMAGE)]
    tunnel_image: String,
}

pub(crate) fn exec(app: &App, at: &Where, args: &Args) -> Result<(), Failure> {
    let wish = Wish {
        tunnels: args
            .tunnels
            .iter()
            .map(|text| tunnel::parse(text))
            .collect::<Result<_, _>>()?,
        proxy_ports: args.tunnel_proxy_port.clone(),
        control: args.tunnel_control_port,
        image: args.tunnel_image.clone(),
    };
    let mut cloud = Cloud::open(app, at)?;
    cloud.listen();
    tunnel::open(app, &cloud, &wish)
}
