//! Docker Swarm's routing mesh and virtual addresses, between unikernels on two hosts.
//!
//! Both need IPVS. Where the kernel of this host does not have it, the test runs itself in QEMU, without KVM, on Debian's
//! kernel and the files of this host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kraft_e2e::harness::{Bench, Outcome, kraft_binary, skip};
use kraft_e2e::limit::{self, Limit};
use kraft_e2e::linux;
use serde_json::{Value, json};

use super::swarm::{Hosts, until};

/// How long the test may take, also on an emulated host.
const LIMIT: Duration = Duration::from_secs(2 * limit::USUAL.as_secs());

/// The port that the mesh publishes on each host.
const PUBLISHED: u64 = 8088;

/// Makes this host's files those of the guest, which cannot change them, and runs a test on them.
const SCRIPT: &str = include_str!("../../../fixtures/host-of-containers.sh");

/// The variable that names an emulated host.
const EMULATED: &str = "KRAFT_EMULATED_HOST";

/// Enables IPVS, if this kernel has it.
fn has_ipvs() -> bool {
    let mut load = Command::new("modprobe");
    load.args(["-a", "ip_vs", "ip_vs_rr"]);
    let _ = load.stdout(Stdio::null()).stderr(Stdio::null()).status();
    Path::new("/proc/net/ip_vs").exists()
}

#[test]
#[ignore = "a service of Docker Swarm takes half a minute, on an emulated host some minutes"]
fn swarm_balances_between_unikernels() {
    let limit = Limit::new();
    limit.set(LIMIT);
    if has_ipvs() {
        balance();
    } else {
        let is_emulated = std::env::var_os(EMULATED).is_some();
        assert!(!is_emulated, "Debian's kernel has IPVS");
        emulate();
    }
}

/// Publishes a port of three replicas on two hosts; they ask those of another service.
fn balance() {
    let Some(hosts) = Hosts::new(2) else {
        return;
    };
    let (first, second) = (hosts.push("v1"), hosts.push("v2"));
    hosts.make_swarm();
    let network = json!({ "Name": "back", "Driver": "overlay" });
    let network = hosts.ask("POST /networks/create", &network)["Id"].clone();
    let on_network = |args: &[&str], endpoint: &Value| {
        json!({
            "Networks": [{ "Target": network }],
            "Container": { "Args": args },
            "EndpointSpec": endpoint,
        })
    };
    let virtual_address = json!({ "Mode": "vip" });
    let port = json!({
        "Protocol": "tcp", "TargetPort": 8080, "PublishedPort": PUBLISHED, "PublishMode": "ingress",
    });
    let in_mesh = json!({ "Mode": "vip", "Ports": [port] });
    let store = on_network(&["/server", "store"], &virtual_address);
    hosts.create("store", &first, 2, &store);
    let web = on_network(&["/server", "web", "store"], &in_mesh);
    hosts.create("web", &first, 3, &web);
    hosts.wait_for("store", 2);
    hosts.wait_for("web", 3);
    every_host_reaches_all(&hosts);
    let address = virtual_address_of(&hosts, "store", network.as_str().unwrap());
    let page = hosts.fetch(0, Some(PUBLISHED));
    assert!(page.contains(&format!("store is {address}\n")), "{page}");
    println!("mesh: `store` is {address} for the guests, an address of both of its replicas");

    kill_one(&hosts);
    every_host_reaches_all(&hosts);
    update(&hosts, &second);
    every_host_reaches_all(&hosts);
}

/// Checks that every host answers for all replicas, wherever they run, and that they reach those of the other service.
fn every_host_reaches_all(hosts: &Hosts) {
    let names = |service: &str| -> BTreeSet<String> {
        let tasks = hosts.running(service).into_iter();
        tasks.map(|task| task.container[..12].to_owned()).collect()
    };
    for host in 0..hosts.dockers.len() {
        let (mut web, mut store, mut requests) = (BTreeSet::new(), BTreeSet::new(), 0);
        until("all replicas answer", || {
            let page = hosts.fetch(host, Some(PUBLISHED));
            requests += 1;
            web.extend(replica(&page, "web"));
            store.extend(replica(&page, "store"));
            if web.is_superset(&names("web")) && store.is_superset(&names("store")) {
                Ok(())
            } else {
                Err(format!("{web:?}, {store:?}, {page}"))
            }
        });
        println!(
            "mesh: host {host} got {requests} answers from the {} replicas of `web`, and {} of `store` behind them",
            web.len(),
            store.len()
        );
    }
}

/// Returns the name of the host in an answer of a service.
fn replica(page: &str, service: &str) -> Option<String> {
    let end = format!(" of {service}");
    let hosts = page.lines().filter_map(|line| line.strip_prefix("host "));
    hosts
        .filter_map(|line| line.strip_suffix(&end))
        .map(str::to_owned)
        .next()
}

/// Returns the virtual address of a service on a network.
fn virtual_address_of(hosts: &Hosts, service: &str, network: &str) -> String {
    let service = hosts.ask(&format!("GET /services/{service}"), &Value::Null);
    let addresses = service["Endpoint"]["VirtualIPs"].as_array().unwrap();
    let found = addresses.iter().find(|it| it["NetworkID"] == network);
    let address = found.unwrap()["Addr"].as_str().unwrap();
    address.split_once('/').unwrap().0.to_owned()
}

/// Kills a replica: one is missed, and replaced.
fn kill_one(hosts: &Hosts) {
    let before = hosts.running("web");
    let killed = &before[0];
    let host = hosts.nodes().iter().position(|node| *node == killed.node);
    let kill = format!("POST /containers/{}/kill", killed.container);
    let _ = hosts.dockers[host.unwrap()]
        .ask(&kill, &Value::Null)
        .expect(&[204]);
    let mut counts = vec![before.len()];
    until("three replicas again", || {
        let running = hosts.running("web");
        counts.push(running.len());
        let is_left = running.iter().any(|it| it.container == killed.container);
        if !is_left && running.len() == 3 {
            Ok(())
        } else {
            Err(format!("{running:#?}"))
        }
    });
    counts.dedup();
    assert!(counts.iter().all(|count| *count >= 2), "{counts:?}");
    println!("mesh: running replicas after a kill: {counts:?}");
}

/// Updates a service task by task while its published port is asked on both hosts. A request that meets a task that
/// ends or has just started is sent again, as Swarm expects of clients; none is lost.
fn update(hosts: &Hosts, image: &str) {
    hosts.update("web", image);
    let (mut answers, mut repeated, mut old, mut new) = (0, 0, 0, 0);
    let deadline = Instant::now() + Duration::from_mins(10);
    loop {
        let mut tries = (0..9).map(|_| hosts.fetch(answers % hosts.dockers.len(), Some(PUBLISHED)));
        let failed = tries.by_ref().position(|page| {
            old += usize::from(page.contains("hello from web of v1"));
            new += usize::from(page.contains("hello from web of v2"));
            page.contains("hello from web")
        });
        repeated += failed.expect("one of nine requests has an answer");
        answers += 1;
        let tasks = hosts.running("web");
        if tasks.len() == 3 && tasks.iter().all(|task| task.image.starts_with(image)) && new > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{tasks:#?}");
    }
    println!(
        "mesh: {answers} requests during the update, {repeated} of them sent again: {old} answers of the old image, \
         {new} of the new one"
    );
}

/// Runs the test on a host with Debian's kernel.
fn emulate() {
    let bench = Bench::new();
    let root = bench.path().join("root");
    let run = format!(
        "export KRAFT_E2E=require KRAFT_BIN={} {EMULATED}=1\n\
         {} --exact runu::mesh::swarm_balances_between_unikernels --ignored --nocapture\n",
        kraft_binary().display(),
        std::env::current_exe().unwrap().display(),
    );
    let prepared = linux::kernel().and_then(|kernel| {
        linux::lay_out(&root, SCRIPT)?;
        linux::add_host_modules(&root)?;
        Ok(kernel)
    });
    let kernel = match prepared {
        Ok(kernel) => kernel,
        Err(reason) => return skip(reason),
    };
    fs::write(root.join("test"), run).unwrap();
    bench.ok(["rootfs", "build", "root", "-o", "root.cpio"]);
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-machine",
        "q35,accel=tcg",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "3G",
    ])
    .args(["-nodefaults", "-display", "none", "-no-reboot"])
    .args(["-serial", "stdio", "-initrd", "root.cpio"])
    .arg("-virtfs")
    .arg("local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap")
    .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel"])
    .arg(kernel)
    .current_dir(bench.path());
    let outcome = Outcome::within(LIMIT, &mut qemu).success();
    let console = outcome.stdout.replace('\r', "");
    let figures = console.lines().filter(|line| line.starts_with("mesh: "));
    figures.for_each(|line| println!("{line}"));
    assert!(console.contains("test result: ok. 1 passed"), "{console}");
}
