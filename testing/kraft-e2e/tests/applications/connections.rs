//! Many connections over a tap device, in a network namespace: none is lost.

use std::process::Command;

use kraft_e2e::harness::{Outcome, skip};
use kraft_e2e::registry::installed;

use crate::catalog::Application;
use crate::clients::ab_lost_none;
use crate::guest::{Guest, PATIENCE, Server, exists, root};

/// The machine's network device, which this test makes instead of kraft.
const QEMU: &str = "qemu-system-x86_64 -netdev tap,id=tap,ifname=tap,script=no,downscript=no \
                    -device virtio-net-device,netdev=tap";

/// A network namespace with a tap device; removed when dropped.
struct Network {
    name: String,
}

impl Network {
    /// `None`, and a word of why, if this host cannot.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !installed("ip") || !installed("ab") {
            skip("tap devices need root, iproute2 and apache2-utils");
            return None;
        }
        let network = Self {
            name: format!("kraft-{}", std::process::id()),
        };
        let made = Command::new("ip")
            .args(["netns", "add", &network.name])
            .status();
        if !made.unwrap().success() {
            skip("this host allows no network namespaces");
            return None;
        }
        for words in [
            "ip link set lo up",
            "ip tuntap add dev tap mode tap",
            "ip address add 10.9.0.1/24 dev tap",
            "ip link set tap up",
        ] {
            let mut command = network.command("ip");
            command.args(words.split(' ').skip(1));
            assert!(command.status().unwrap().success(), "{words}");
        }
        Some(network)
    }

    /// Prepares a program in the namespace.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `ab` with many open files.
    fn ab(&self, args: &[&str]) -> Outcome {
        let mut command = self.command("prlimit");
        command
            .args(["--nofile=4096", "ab", "-q", "-s", "300"])
            .args(args);
        Outcome::within(2 * PATIENCE, &mut command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .status();
    }
}

#[test]
#[ignore = "make applications"]
fn ten_thousand_connections_in_a_row_and_a_thousand_at_once_are_all_answered() {
    for (name, many) in [("nginx", "/"), ("axum", "/hold/1000")] {
        if !exists("x86_64", name) {
            continue;
        }
        let Some(network) = Network::new() else {
            return;
        };
        let application = Application::named(name);
        let guest = Guest::new(&root("x86_64", name).unwrap(), "x86_64", 128);
        let run = guest.command(&["-a", "netdev.ip=10.9.0.2/24"], application.program);
        let mut command = kraft_e2e::harness::wrapped(network.command("env"), &run);
        command.env("KRAFTKIT_QEMU", QEMU);
        let mut server = Server::spawn(&guest, &mut command, 0).unwrap();
        let url = "http://10.9.0.2:8080/";
        server
            .wait_until(|| network.ab(&["-n", "1", url]).code == Some(0))
            .unwrap();
        let row = network.ab(&["-n", "10000", "-c", "1", url]).success();
        ab_lost_none(&row.stdout, 10_000).unwrap();
        let url = format!("http://10.9.0.2:8080{many}");
        // The first request is alone, until it is answered; then there are a thousand.
        let once = network.ab(&["-n", "1001", "-c", "1000", &url]).success();
        ab_lost_none(&once.stdout, 1001).unwrap();
        if many != "/" {
            let most = network
                .command("curl")
                .args(["-sS", "http://10.9.0.2:8080/most"])
                .output();
            assert_eq!(
                String::from_utf8_lossy(&most.unwrap().stdout),
                "1000\n",
                "{name}"
            );
        }
        println!("{name}:\n{}{}", row.stdout, once.stdout);
    }
}
