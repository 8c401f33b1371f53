//! The networks of a project, and the connections of its machines to them.

use std::net::Ipv4Addr;

use kraft_core::compose::{Network, Service};
use kraft_core::net::{self, Interface};
use kraft_core::problem::Problem;
use kraft_net::{Networks, NewNetwork};

use super::Error;
use super::definition::Definition;
use super::state::Member;
use crate::context::Context;

/// The key of the network of services that name none.
const DEFAULT: &str = "default";

impl Definition {
    /// Returns the name of a network: its declared one, else that of the project and its key.
    pub fn network(&self, key: &str) -> String {
        let declared = self.compose.networks.iter().find(|one| one.key == key);
        match declared {
            Some(network) if network.name.is_some() || network.external => {
                network.name.clone().unwrap_or_else(|| network.key.clone())
            }
            _ => format!("{}_{key}", self.project),
        }
    }

    /// Returns the connections of a machine of a service. With several machines, only the first has
    /// the fixed addresses.
    ///
    /// # Errors
    ///
    /// If a network is not declared, or a name is not valid.
    pub fn interfaces(&self, service: &Service) -> Result<Vec<Interface>, Error> {
        if service.isolated {
            return Ok(Vec::new());
        }
        let default = [kraft_core::compose::ServiceNetwork {
            network: DEFAULT.to_owned(),
            span: service.span,
            ..Default::default()
        }];
        let wanted = service.networks.as_deref().unwrap_or(&default);
        let mut interfaces = Vec::with_capacity(wanted.len());
        for one in wanted {
            let declared = self.compose.networks.iter();
            if one.network != DEFAULT && !declared.clone().any(|it| it.key == one.network) {
                let message = format!("the network `{}` is not declared", one.network);
                let problem = Problem::error(message).at(one.span);
                return Err(self.unsupported(problem.help(format!(
                    "declare it at the end of the file: `networks: {{{}: }}`",
                    one.network
                ))));
            }
            let network = self.network(&one.network);
            if let Err(why) = net::check_name(&network) {
                let problem = Problem::error(format!("the network `{network}`: {why}"));
                return Err(self.unsupported(problem.at(one.span)));
            }
            let mut aliases = vec![service.name.clone()];
            aliases.extend(one.aliases.iter().cloned());
            aliases.extend(service.hostname.clone());
            interfaces.push(Interface {
                network,
                address: one.address,
                mac: one.mac,
                dns: service.dns.iter().copied().take(2).collect(),
                hostname: service.hostname.clone(),
                domain: service.domain.clone(),
                aliases,
                ..Interface::default()
            });
        }
        Ok(interfaces)
    }

    /// Makes the networks that services use and that do not exist.
    ///
    /// # Errors
    ///
    /// If one cannot be made, or an external one does not exist.
    pub fn make_networks(
        &self,
        ctx: &Context,
        networks: &Networks,
        services: &[&Service],
    ) -> Result<(), Error> {
        let mut keys: Vec<&str> = Vec::new();
        for service in services.iter().filter(|one| !one.isolated) {
            match &service.networks {
                None => keys.push(DEFAULT),
                Some(all) => keys.extend(all.iter().map(|one| one.network.as_str())),
            }
        }
        keys.sort_unstable();
        keys.dedup();
        // Those with a fixed subnet first, so that no other network takes it.
        let declared = |key: &str| self.compose.networks.iter().find(|one| one.key == key);
        keys.sort_by_key(|key| declared(key).is_none_or(|one| one.subnet.is_none()));
        for key in keys {
            let name = self.network(key);
            match networks.get(&name) {
                Ok(_) => continue,
                Err(kraft_net::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let declared = declared(key);
            if declared.is_some_and(|network| network.external) {
                let kind = "network";
                return Err(Error::External { kind, name });
            }
            ctx.info(&format!("creating the network {name}"));
            let gateway = declared.map(|network| self.gateway(network)).transpose()?;
            let gateway = gateway.flatten().map(|text| text.parse()).transpose();
            let created = networks.create(&NewNetwork {
                name: &name,
                // The text was checked.
                gateway: gateway.unwrap_or_default(),
                internal: declared.is_some_and(|network| network.internal),
            });
            match created {
                // Another project made it meanwhile.
                Ok(_) | Err(kraft_net::Error::Exists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Returns the address of the gateway with the mask: that of `gateway`, else the one in `subnet`
    /// if that is not the address of the network itself (as in KraftKit), else the first one.
    fn gateway(&self, network: &Network) -> Result<Option<String>, Error> {
        let Some(subnet) = &network.subnet else {
            return Ok(None);
        };
        let wrong = || {
            let message = format!("`{}` is not a subnet", subnet.value);
            let problem = Problem::error(message).at(subnet.span);
            self.unsupported(problem.help("write an IPv4 address and a mask: `172.23.0.0/16`"))
        };
        let (address, bits) = subnet.value.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits: u32 = bits.parse().map_err(|_| wrong())?;
        if !(1..=30).contains(&bits) {
            return Err(wrong());
        }
        let host = u32::from(address) & (u32::MAX >> bits);
        let first = Ipv4Addr::from(u32::from(address).saturating_add(1));
        let own = if host == 0 { first } else { address };
        Ok(Some(format!("{}/{bits}", network.gateway.unwrap_or(own))))
    }
}

/// Returns the names of the networks that belong to a project: those that its machines are in, and
/// those that its files declare.
pub fn own(project: &str, members: &[Member], definition: Option<&Definition>) -> Vec<String> {
    let prefix = format!("{project}_");
    let machines = members.iter().flat_map(|one| &one.machine.spec.networks);
    let mut names: Vec<String> = machines.map(|one| one.network.clone()).collect();
    let external = |name: &String| {
        definition.is_some_and(|definition| {
            let declared = definition.compose.networks.iter();
            declared
                .filter(|one| one.external)
                .any(|one| definition.network(&one.key) == *name)
        })
    };
    let mut declared = Vec::new();
    if let Some(definition) = definition {
        let own = definition.compose.networks.iter();
        declared.extend(own.map(|one| definition.network(&one.key)));
        declared.push(definition.network(DEFAULT));
    }
    // Without the files, the prefix shows which are the project's own.
    names.retain(|name| name.starts_with(&prefix) || declared.contains(name));
    names.extend(declared);
    names.retain(|name| !external(name));
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use crate::compose::definition::{self, OpenOptions};
    use crate::testing::{Script, context};

    #[test]
    fn the_gateway_is_the_named_one_or_that_of_the_subnet_or_the_first_address() {
        let home = tempfile::tempdir().unwrap();
        let ctx = context(home.path(), &Script::silent());
        for (config, expected) in [
            ("subnet: 172.23.0.0/16", Some("172.23.0.1/16")),
            ("subnet: 172.23.0.1/16", Some("172.23.0.1/16")),
            ("subnet: 172.23.0.9/16", Some("172.23.0.9/16")),
            (
                "subnet: 10.0.0.0/24, gateway: 10.0.0.254",
                Some("10.0.0.254/24"),
            ),
            ("subnet: 10.0.0.0", None),
            ("subnet: 10.0.0.0/33", None),
            ("subnet: 10.0.0.0/31", None),
            ("subnet: 'fd00::/64'", None),
        ] {
            let file = home.path().join("compose.yaml");
            let text = format!(
                "services: {{a: {{image: x}}}}\nnetworks: {{n: {{ipam: {{config: [{{{config}}}]}}}}}}\n"
            );
            kraft_sys::fs::replace_file(&file, text.as_bytes()).unwrap();
            let options = OpenOptions {
                files: vec![file],
                ..OpenOptions::default()
            };
            let definition = definition::open(&ctx, &options).unwrap();
            let found = definition.gateway(&definition.compose.networks[0]);
            let found = found.ok().map(Option::unwrap_or_default);
            assert_eq!(found.as_deref(), expected, "{config}");
        }
    }
}
