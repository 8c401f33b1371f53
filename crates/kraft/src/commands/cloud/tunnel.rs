//! `kraft cloud tunnel`.

use crate::app::App;
use crate::failure::Failure;
use kraft_deploy::tunnel::{self, TunnelOptions};
use kraft_deploy::{Cloud, CloudOptions};

/// Forward local ports to ports of instances
///
/// The ports need not be published: a helper instance on the platform forwards the connections
/// while the command runs. Ctrl-C ends it, and removes the helper.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft cloud tunnel 5432:db:5432
  kraft cloud tunnel 8080:web:80 admin.internal:9000")]
pub(crate) struct Args {
    /// Tunnels; the local port defaults to that of the instance
    #[arg(value_name = "[LOCAL:]INSTANCE:PORT", required = true)]
    tunnels: Vec<String>,

    /// Ports of the helper, one for each tunnel, or the first of consecutive ones
    #[arg(short = 'p', long, value_name = "PORT", default_value = "4444", value_delimiter = ',',
          value_parser = clap::value_parser!(u16).range(1..))]
    tunnel_proxy_port: Vec<u16>,

    /// Control port of the helper
    #[arg(short = 'P', long, value_name = "PORT", default_value = "4443",
          value_parser = clap::value_parser!(u16).range(1..))]
    tunnel_control_port: u16,

    /// Image of the helper
    #[arg(long, value_name = "IMAGE", default_value = kraft_cloud::tunnel::IMAGE)]
    tunnel_image: String,
}

pub(crate) fn exec(app: &App, options: &CloudOptions, args: &Args) -> Result<(), Failure> {
    let tunnels = TunnelOptions {
        tunnels: args
            .tunnels
            .iter()
            .map(|text| tunnel::parse(text))
            .collect::<Result<_, _>>()?,
        proxy_ports: args.tunnel_proxy_port.clone(),
        control: args.tunnel_control_port,
        image: args.tunnel_image.clone(),
    };
    let mut cloud = Cloud::open(app, options)?;
    cloud.catch_interrupts();
    Ok(tunnel::open(app, &cloud, &tunnels)?)
}
