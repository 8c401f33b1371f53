//! Real machines for instances: a configured `kraft` program runs the image on this host.

use std::ffi::OsString;
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::Shared;
use crate::world::{State, World};

/// Interval between checks of a machine's state.
const LOOK: Duration = Duration::from_millis(200);

/// The `kraft` program that runs machines, and its environment.
#[derive(Clone)]
struct Program {
    path: std::path::PathBuf,
    env: Vec<(OsString, OsString)>,
}

impl Program {
    fn of(world: &World) -> Option<Self> {
        Some(Self {
            path: world.settings.kraft.clone()?,
            env: world.settings.kraft_env.clone(),
        })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.args(words).stdin(Stdio::null());
        if !self.env.is_empty() {
            command.env_clear().envs(self.env.iter().cloned());
        }
        command
    }
}

/// Input for a machine, copied out of [`World`] so that its lock is not held while the machine
/// starts.
struct Order {
    kraft: Program,
    registry: Option<SocketAddr>,
    image: String,
    args: Vec<String>,
    env: Vec<String>,
    volumes: Vec<String>,
    memory: i64,
    ports: Vec<u16>,
    name: String,
}

/// Returns the name of an instance's machine, by which later commands find it.
fn name_of(uuid: &str) -> String {
    format!("cloud-{}", uuid.get(..8).unwrap_or(uuid))
}

fn order(shared: &Shared, uuid: &str) -> Option<Order> {
    let world = shared.world();
    let one = world.instance(uuid)?;
    let group = one.group.as_ref();
    let group = group.and_then(|uuid| world.groups.iter().find(|group| group.uuid == *uuid));
    let services = group
        .map(|group| group.services.clone())
        .unwrap_or_default();
    let ports = services
        .iter()
        .filter_map(|service| u16::try_from(service.get("destination_port")?.as_u64()?).ok());
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    ports.dedup();
    Some(Order {
        kraft: Program::of(&world)?,
        registry: world.settings.registry,
        image: one.image.clone(),
        args: one.args.clone(),
        env: env(&one.asked),
        volumes: volumes(&world, uuid),
        memory: one.memory,
        ports,
        name: name_of(uuid),
    })
}

/// Returns the environment variables of an instance, as command-line arguments.
fn env(asked: &serde_json::Value) -> Vec<String> {
    let env = asked.get("env").and_then(serde_json::Value::as_object);
    let pairs = env.into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect()
}

/// Returns the volumes of an instance, as command-line arguments: each is a directory on this host.
fn volumes(world: &World, instance: &str) -> Vec<String> {
    let mut typed = Vec::new();
    for volume in &world.volumes {
        for (_, at, readonly) in volume
            .attached
            .iter()
            .filter(|(uuid, _, _)| uuid == instance)
        {
            let dir = world.disks.join(&volume.uuid);
            if std::fs::create_dir_all(&dir).is_ok() {
                let mode = if *readonly { ":ro" } else { "" };
                typed.push(format!("{}:{at}{mode}", dir.display()));
            }
        }
    }
    typed
}

/// How often a machine is started again whose port was taken meanwhile.
const MORE_ATTEMPTS: usize = 4;

/// Starts the machine of an instance and a thread that follows its logs.
pub(crate) fn start(shared: &Shared, uuid: &str) {
    let Some(order) = order(shared, uuid) else {
        return;
    };
    let (shared, uuid) = (shared.clone(), uuid.to_owned());
    std::thread::spawn(move || live(&shared, &uuid, &order));
}

fn live(shared: &Shared, uuid: &str, order: &Order) {
    let mut run = launch(order);
    // Between the choice of a port and its use, another program may take it.
    for _ in 0..MORE_ATTEMPTS {
        match &run {
            Err(said) if said.contains("already in use") => run = launch(order),
            _ => break,
        }
    }
    let ports = match run {
        Ok(ports) => ports,
        Err(said) => {
            let mut world = shared.world();
            if let Some(one) = world.instance_mut(uuid) {
                one.print(said.as_bytes());
            }
            world.end(uuid, 1, None);
            return;
        }
    };
    {
        let mut world = shared.world();
        if let Some(one) = world.instance_mut(uuid) {
            one.backends = ports
                .iter()
                .map(|(inner, outer)| (*inner, SocketAddr::from(([127, 0, 0, 1], *outer))))
                .collect();
            one.state = State::Running;
            one.traffic.touch();
        }
    }
    follow(shared, uuid, order);
}

/// Starts the machine of an instance, instead of one of an earlier start. Returns its ports, each with the one of this
/// host that leads there, or what kraft prints.
fn launch(order: &Order) -> Result<Vec<(u16, u16)>, String> {
    let _ = quiet(&order.kraft, &["rm", "-f", &order.name]);
    let host = order
        .registry
        .as_ref()
        .map(|address| format!("{address}/"))
        .unwrap_or_default();
    let memory = format!("{}Mi", order.memory);
    let image = format!("{host}{}", order.image);
    let mut words = vec![
        "run",
        "--detach",
        "--name",
        &order.name,
        "--memory",
        &memory,
    ];
    // All of them listen until each has its port: one that stopped might lend its port to the next.
    let listeners: Vec<(u16, TcpListener)> = order
        .ports
        .iter()
        .filter_map(|inner| Some((*inner, TcpListener::bind(("127.0.0.1", 0)).ok()?)))
        .collect();
    let free: Vec<(u16, u16)> = listeners
        .iter()
        .filter_map(|(inner, listener)| Some((*inner, listener.local_addr().ok()?.port())))
        .collect();
    drop(listeners);
    let maps = free
        .iter()
        .map(|(inner, outer)| format!("127.0.0.1:{outer}:{inner}"));
    let maps: Vec<String> = maps.collect();
    for map in &maps {
        words.extend(["--port", map]);
    }
    for pair in &order.env {
        words.extend(["--env", pair]);
    }
    for volume in &order.volumes {
        words.extend(["--volume", volume]);
    }
    words.push(&image);
    if !order.args.is_empty() {
        words.push("--");
        words.extend(order.args.iter().map(String::as_str));
    }
    quiet(&order.kraft, &words).map(|_| free)
}

/// Copies the console output until the machine exits, then records its exit status.
fn follow(shared: &Shared, uuid: &str, order: &Order) {
    let mut logs = order.kraft.command(&["logs", "--follow", &order.name]);
    let Ok(mut logs) = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        return;
    };
    if let Some(mut output) = logs.stdout.take() {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut piece) {
            let mut world = shared.world();
            match world.instance_mut(uuid) {
                Some(one) => one.print(piece.get(..count).unwrap_or_default()),
                None => break,
            }
        }
    }
    let _ = logs.kill();
    let _ = logs.wait();
    loop {
        let listed = quiet(&order.kraft, &["ps", "--all", "-o", "json"]).unwrap_or_default();
        let machines: serde_json::Value = serde_json::from_str(&listed).unwrap_or_default();
        let mut machines = machines.as_array().into_iter().flatten();
        let found = machines.find(|one| one.get("name") == Some(&order.name.as_str().into()));
        let state = found.and_then(|one| one.get("state")?.as_str());
        let mut world = shared.world();
        let told = world
            .instance(uuid)
            .is_none_or(|one| !matches!(one.state, State::Running | State::Standby));
        if told {
            return;
        }
        match state {
            Some("running" | "created" | "starting") => {}
            Some("exited") => return world.end(uuid, 3, Some(0)),
            _ => return world.end(uuid, 1, None),
        }
        drop(world);
        std::thread::sleep(LOOK);
    }
}

/// Removes the machine of an instance, if it exists.
pub(crate) fn remove(shared: &Shared, uuid: &str) {
    let kraft = Program::of(&shared.world());
    if let Some(kraft) = kraft {
        let _ = quiet(&kraft, &["rm", "-f", &name_of(uuid)]);
    }
}

/// Removes all machines.
pub(crate) fn stop_all(shared: &Shared) {
    let world = shared.world();
    let uuids: Vec<String> = world.instances.iter().map(|one| one.uuid.clone()).collect();
    drop(world);
    uuids.iter().for_each(|uuid| remove(shared, uuid));
}

/// Runs the program until it exits and returns its output, or its error output if it fails.
fn quiet(program: &Program, words: &[&str]) -> Result<String, String> {
    let output = program.command(words).output();
    let output =
        output.map_err(|error| format!("cannot run {}: {error}\n", program.path.display()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
