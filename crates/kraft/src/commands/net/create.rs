//! `kraft net create`.

use kraft_net::NewNetwork;

use crate::app::App;
use crate::failure::Failure;
use kraft_engine::machines;

/// Create a network
///
/// Create a network and print its name. The subnet is one that neither another network nor this
/// host uses, unless one is given. Nothing changes on the host until a machine starts in it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kraft net create web
  kraft net create --network 172.23.0.1/16 web
  kraft net create --internal database")]
pub(crate) struct Args {
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    name: String,

    /// Set the address of the gateway and the mask of the network, such as 172.23.0.1/16
    #[arg(short, long, value_name = "IP/MASK")]
    network: Option<String>,

    /// Give the network no way to the host and the internet
    #[arg(long)]
    internal: bool,
}

pub(super) fn exec(app: &App, args: &Args) -> Result<(), Failure> {
    let gateway = args.network.as_deref().map(|text| {
        // KraftKit compat: its message.
        let wrong = |_| Failure::usage(format!("invalid CIDR address: {text}"));
        text.parse()
            .map_err(wrong)
            .map_err(|failure| failure.hint("write a gateway and a mask: `172.23.0.1/16`"))
    });
    machines::existing(app).networks().create(&NewNetwork {
        name: &args.name,
        gateway: gateway.transpose()?,
        internal: args.internal,
    })?;
    app.ui.line(&args.name)
}
