//! What a guest learns when it is restored: the time, something random, and who it is if it is
//! another machine than the one that was saved.

use std::fmt::Write as _;

use kraft_core::machine::MachineSpec;
use kraft_sys::clock;

use crate::id::Id;

/// Returns the text for a guest. `other` is its name if it is not the machine that was saved.
pub(super) fn text(id: Id, spec: &MachineSpec, other: Option<&str>) -> String {
    let mut text = format!("time {}\n", clock::now().as_nanos());
    // The guest takes about 50 µs for a byte of the text.
    let mut seed = [0; 16];
    // Without it, there is what the processor has.
    if getrandom::fill(&mut seed).is_ok() {
        let digits = seed.iter().map(|byte| format!("{byte:02x}"));
        let _ = writeln!(text, "seed {}", digits.collect::<String>());
    }
    let Some(name) = other else {
        return text;
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "host {name}");
    if spec.networks.is_empty() {
        let _ = writeln!(text, "card 0 {}", id.card());
    }
    for (index, interface) in spec.networks.iter().enumerate() {
        if let Some(mac) = interface.mac {
            let setting = interface.parameter().unwrap_or_default();
            let _ = writeln!(text, "card {index} {mac} {setting}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use kraft_core::net::Interface;

    use super::*;

    fn spec() -> MachineSpec {
        crate::testing::spec()
    }

    #[test]
    fn only_another_machine_gets_another_name_and_address() {
        let lines = |spec: &MachineSpec, other| -> Vec<String> {
            let text = text(Id::nil(), spec, other);
            assert!(text.len() < 1000);
            text.lines().skip(2).map(str::to_owned).collect()
        };
        let mut spec = spec();
        let all = text(Id::nil(), &spec, None);
        assert!(
            all.starts_with("time 1") && all.lines().nth(1).unwrap().len() == 5 + 32,
            "{all}"
        );
        assert!(lines(&spec, None).is_empty());
        assert_eq!(
            lines(&spec, Some("web-2")),
            ["host web-2", "card 0 02:b0:b0:00:00:01"]
        );
        let interface = Interface::parse("web:172.18.0.5/16:172.18.0.1:::web-2:web").unwrap();
        spec.networks = vec![Interface {
            mac: Some("02:b0:b0:00:00:05".parse().unwrap()),
            ..interface
        }];
        assert_eq!(
            lines(&spec, Some("web-2")),
            [
                "host web-2",
                "card 0 02:b0:b0:00:00:05 172.18.0.5/16:172.18.0.1:::web-2:web"
            ]
        );
    }
}
