//! Runs every command once, without QEMU and without a network: what fails says why, with the exit
//! code of `docs/errors.md`. A command without a row in the table fails the test.

use clap::Command;

use crate::support::Home;

/// The exit code of a request to the cloud that is not sent.
const OFFLINE: i32 = 4;

/// Command lines, in the order in which they are run in one home, each with its exit code and a part of
/// what it prints.
#[rustfmt::skip]
const TABLE: &[(&str, i32, &str)] = &[
    ("kconfig", 0, "Show and change KConfig options"),
    ("init project --type dockerfile", 3, "there is no `project/Dockerfile`"),
    ("build", 4, "no catalog has been read on this host yet"),
    ("menu", 2, "the menu needs a terminal"),
    ("kconfig get LWIP", 4, "no catalog has been read on this host yet"),
    ("kconfig set LWIP", 2, "`LWIP` is not a valid option"),
    ("kconfig unset LWIP", 0, "nothing to change"),
    ("kconfig explain LWIP", 4, "no catalog has been read on this host yet"),
    ("kconfig diff nothing", 4, "no catalog has been read on this host yet"),
    ("kconfig search net", 4, "no catalog has been read on this host yet"),
    ("set LWIP", 2, "`LWIP` is not a valid option"),
    ("unset LWIP", 0, "nothing to change"),
    ("lib", 0, "Add, remove or create libraries"),
    ("lib add nothing", 3, "library `nothing` not found"),
    ("lib create hello --no-prompt", 2, "author name cannot be empty"),
    ("lib remove nothing", 3, "library `nothing` does not exist in the project"),
    ("update", 4, "no catalog has been read on this host yet"),
    ("fetch", 4, "no catalog has been read on this host yet"),
    ("clean", 0, ""),
    ("size kernel", 1, "it is not an ELF file"),
    ("x", 0, "Run experimental commands"),
    ("x probe kernel", 1, "it is not an ELF file"),
    ("check", 0, "Kraftfile is valid"),
    ("rootfs", 0, "Build and read root filesystems"),
    ("rootfs build --output root.cpio root", 0, "wrote root.cpio"),
    ("rootfs cat root.cpio /motd", 0, "Hello"),
    ("rootfs ls root.cpio", 0, "motd"),
    ("pkg --name packed --kernel ./kernel", 0, "packaged unikraft.org/packed:latest"),
    ("pkg ls", 0, "unikraft.org/packed"),
    ("pkg info packed", 0, "unikraft.org/packed"),
    ("pkg inspect packed", 0, r#""manifests""#),
    ("pkg tree packed", 3, "has no root filesystem layer"),
    ("pkg cat packed /motd", 3, "has no root filesystem layer"),
    ("pkg tag packed again", 0, ""),
    ("pkg pull registry.example/x:1", 4, "no connection is opened"),
    ("pkg push packed", 4, "no connection is opened"),
    ("pkg save --output packed.tar packed", 0, "saved packed.tar"),
    ("pkg rm again", 0, "unikraft.org/again:latest"),
    ("pkg load --input packed.tar", 0, "loaded packed.tar"),
    ("pkg update", 4, "cannot update while kraft is offline"),
    ("pkg source registry.example", 0, ""),
    ("pkg unsource registry.example", 0, ""),
    ("images", 0, "unikraft.org/packed"),
    ("pull registry.example/x:1", 4, "no connection is opened"),
    ("push packed", 4, "no connection is opened"),
    ("tag packed third", 0, ""),
    ("store", 0, "Manage the local image store"),
    ("store verify", 0, "no errors"),
    ("store gc", 0, "removed 0 blobs"),
    ("store du", 0, "unikraft.org/packed:latest"),
    ("store import-kraftkit", 3, "KraftKit has no images"),
    ("login registry.example --user anna --token secret", 0, "logged in to registry.example"),
    ("logout registry.example", 0, "logged out of registry.example"),
    ("schema", 0, r#""$schema""#),
    ("lsp", 0, ""),
    ("mcp", 0, ""),
    ("run -W --no-start -n alice ./kernel", 0, "alice"),
    ("bench", 0, "Measure how long machines take to boot"),
    ("bench boot nothing", 3, "no target has been built"),
    ("bench show nothing", 1, "cannot"),
    ("ps --all", 0, "alice"),
    ("logs alice", 0, ""),
    ("stats --no-stream --all", 0, "MEM USAGE / LIMIT"),
    ("top alice", 1, "machine `alice` is not running"),
    ("start nothing", 3, "no machine `nothing`"),
    ("stop alice", 0, ""),
    ("attach alice", 1, "machine `alice` is not running, it is created"),
    ("restart nothing", 3, "no machine `nothing`"),
    ("kill alice", 1, "machine `alice` is not running"),
    ("port alice", 0, "PORT  HOST"),
    ("rename alice bob", 0, ""),
    ("rename bob alice", 0, ""),
    ("exec alice ls", 7, "cannot start a program in the machine `alice`"),
    ("service", 0, "Start machines when the host boots"),
    ("runu features", 0, "ociVersionMax"),
    ("export kubernetes --port 80:8080 packed", 0, "runtimeClassName: runu"),
    ("service enable --user", 0, "kraft-machines.service"),
    ("service status --user", 0, "yes        yes"),
    ("service disable --user", 0, ""),
    ("service start", 0, ""),
    ("service stop", 0, ""),
    ("pause alice", 1, "machine `alice` is not running"),
    ("unpause alice", 1, "machine `alice` is not paused"),
    ("suspend alice", 1, "machine `alice` is not running, it is created"),
    ("resume alice", 1, "machine `alice` is not paused, it is created"),
    ("snapshot", 0, "Manage snapshots of machines"),
    ("snapshot create alice", 1, "machine `alice` is not running, it is created"),
    ("snapshot ls", 0, "NAME  MACHINE"),
    ("snapshot inspect nothing", 3, "no snapshot `nothing`"),
    ("snapshot remove nothing", 3, "no snapshot `nothing`"),
    ("snapshot prune", 0, ""),
    ("snapshot export nothing --output ready.tar.gz", 3, "no snapshot `nothing`"),
    ("snapshot import --input kernel ready", 1, "cannot read or write the archive `kernel`"),
    ("fork nothing", 3, "no machine `nothing`"),
    ("wait alice", 1, "machine `alice` was never started"),
    ("inspect alice", 0, r#""alice""#),
    ("events nothing", 3, "no machine `nothing`"),
    ("remove alice", 0, "alice"),
    ("net", 0, "Manage networks of machines"),
    ("net create --network 10.99.0.1/24 web", 0, "web"),
    ("net ls", 0, "10.99.0.1/24"),
    ("net inspect web", 0, r#""gateway": "10.99.0.1""#),
    ("net down web", 0, "web"),
    ("net up web", 0, "web"),
    ("net remove web", 0, "web"),
    ("net prune", 0, ""),
    ("vol", 0, "Manage volumes of machines"),
    ("vol create data", 0, "data"),
    ("vol ls", 0, "Pending"),
    ("vol inspect data", 0, r#""driver": "9pfs""#),
    ("vol remove data", 0, "data"),
    ("vol prune", 0, ""),
    ("cp nothing:/data/x .", 3, "no machine `nothing`"),
    ("compose", 0, "Run applications of several machines"),
    ("compose up --detach", 18, "no connection is opened"),
    ("compose create", 18, "no connection is opened"),
    ("compose run web", 18, "no connection is opened"),
    ("compose scale web=2", 18, "no connection is opened"),
    ("compose watch", 1, "no service has rules"),
    ("compose pull", 18, "no connection is opened"),
    ("compose build", 0, ""),
    ("compose push", 0, ""),
    ("compose start", 0, ""),
    ("compose stop", 0, ""),
    ("compose restart", 0, ""),
    ("compose kill", 0, ""),
    ("compose pause", 0, ""),
    ("compose unpause", 0, ""),
    ("compose rm nothing", 1, "no such service: `nothing`"),
    ("compose ps", 0, "NAME  SERVICE"),
    ("compose ls", 0, "CONFIG FILES"),
    ("compose logs", 0, ""),
    ("compose images", 0, "MACHINE  SERVICE"),
    ("compose volumes", 0, "DRIVER  VOLUME NAME"),
    ("compose config", 0, "image: nginx"),
    ("compose port web 80", 1, "the service `web` has no machine"),
    ("compose top", 0, ""),
    ("compose stats --no-stream", 0, "MACHINE ID"),
    ("compose events nothing", 1, "no such service: `nothing`"),
    ("compose wait", 0, ""),
    ("compose attach web", 1, "the service `web` has no machine"),
    ("compose cp web:/x .", 1, "the service `web` has no machine"),
    ("compose version --short", 0, "0."),
    ("compose exec web ls", 1, "cannot start a program in the service `web`"),
    ("compose export web", 1, "cannot read the files of the service `web`"),
    ("compose commit web x", 1, "cannot read the files of the service `web`"),
    ("compose down", 0, ""),
    ("cloud", 0, "Manage instances, images and other resources"),
    ("cloud deploy --as nothing", 2, "invalid value 'nothing'"),
    ("cloud instance", 0, "Manage instances"),
    ("cloud instance create nginx", OFFLINE, "cannot find the image `nginx:latest`"),
    ("cloud instance list", OFFLINE, "cannot get instances"),
    ("cloud instance get web", OFFLINE, "cannot get instances"),
    ("cloud instance logs web", OFFLINE, "cannot get instances"),
    ("cloud instance metrics web", OFFLINE, "cannot get metrics"),
    ("cloud instance start web", OFFLINE, "cannot start the instance"),
    ("cloud instance stop web", OFFLINE, "cannot stop the instance"),
    ("cloud instance wait web", OFFLINE, "cannot wait until the instance is running"),
    ("cloud instance restart web", OFFLINE, "cannot stop the instance"),
    ("cloud instance remove web", OFFLINE, "cannot remove the instance"),
    ("cloud instance suspend web", OFFLINE, "cannot suspend the instance"),
    ("cloud instance edit --lock true web", OFFLINE, "cannot get instances"),
    ("cloud instance exec web true", OFFLINE, "cannot get instances"),
    ("cloud instance template", 0, "Manage templates"),
    ("cloud instance template create web", OFFLINE, "cannot get instances"),
    ("cloud instance template list", OFFLINE, "cannot get saved instances"),
    ("cloud instance template get web", OFFLINE, "cannot get saved instances"),
    ("cloud instance template edit --lock true web", OFFLINE, "cannot get templates"),
    ("cloud instance template remove web", OFFLINE, "cannot remove the saved instance"),
    ("cloud instance checkpoint", 0, "Manage checkpoints"),
    ("cloud instance checkpoint create web", OFFLINE, "cannot get instances"),
    ("cloud instance checkpoint list", OFFLINE, "cannot get saved instances"),
    ("cloud instance checkpoint get web", OFFLINE, "cannot get saved instances"),
    ("cloud instance checkpoint edit --lock true web", OFFLINE, "cannot get checkpoints"),
    ("cloud instance checkpoint remove web", OFFLINE, "cannot remove the saved instance"),
    ("cloud instance history web", OFFLINE, "cannot get instances"),
    ("cloud compose", 0, "Manage the services of a Compose file"),
    ("cloud compose up", OFFLINE, "cannot find the image `nginx:latest`"),
    ("cloud compose down", OFFLINE, "cannot get instances"),
    ("cloud compose create", OFFLINE, "cannot find the image `nginx:latest`"),
    ("cloud compose start", OFFLINE, "cannot get instances"),
    ("cloud compose stop", OFFLINE, "cannot get instances"),
    ("cloud compose build nothing", 3, "nothing"),
    ("cloud compose push nothing", 3, "nothing"),
    ("cloud compose ps", OFFLINE, "cannot get instances"),
    ("cloud compose ls", OFFLINE, "cannot get instances"),
    ("cloud compose logs", OFFLINE, "cannot get instances"),
    ("cloud image", 0, "Manage images on the platform"),
    ("cloud image list", OFFLINE, "cannot list the images"),
    ("cloud image pin nginx", OFFLINE, "cannot find the image"),
    ("cloud image unpin 0", 2, "`0` is not the UUID of a pin"),
    ("cloud image remove anna/web", 4, "cannot list the tags"),
    ("cloud service", 0, "Manage services"),
    ("cloud service create 443", OFFLINE, "cannot create a service"),
    ("cloud service list", OFFLINE, "cannot get services"),
    ("cloud service get web", OFFLINE, "cannot get services"),
    ("cloud service edit web --soft-limit 9", OFFLINE, "cannot get services"),
    ("cloud service logs web", OFFLINE, "cannot get services"),
    ("cloud service drain web", OFFLINE, "cannot get services"),
    ("cloud service remove web", OFFLINE, "cannot remove the service"),
    ("cloud volume", 0, "Manage volumes"),
    ("cloud volume create --size 64", OFFLINE, "cannot create a volume"),
    ("cloud volume attach data --to web --at /data", OFFLINE, "cannot attach the volume to `web`"),
    ("cloud volume detach data", OFFLINE, "cannot get volumes"),
    ("cloud volume import --volume data --source root", OFFLINE, "cannot get volumes"),
    ("cloud volume list", OFFLINE, "cannot get volumes"),
    ("cloud volume get data", OFFLINE, "cannot get volumes"),
    ("cloud volume clone data", OFFLINE, "cannot get volumes"),
    ("cloud volume resize data --size 9", OFFLINE, "cannot get volumes"),
    ("cloud volume edit --lock true data", OFFLINE, "cannot get volumes"),
    ("cloud volume template", 0, "Manage templates"),
    ("cloud volume template create data", OFFLINE, "cannot get volumes"),
    ("cloud volume template list", OFFLINE, "cannot get templates of volumes"),
    ("cloud volume template get data", OFFLINE, "cannot get templates of volumes"),
    ("cloud volume template edit --lock true data", OFFLINE, "cannot get templates"),
    ("cloud volume template remove data", OFFLINE, "cannot remove the template"),
    ("cloud volume remove data", OFFLINE, "cannot remove the volume"),
    ("cloud certificate", 0, "Manage the certificates of domains"),
    ("cloud certificate create --cn a.example --chain kernel --pkey kernel", 2, "has no PEM block"),
    ("cloud certificate renew a --chain kernel --pkey kernel", 2, "has no PEM block"),
    ("cloud certificate list", OFFLINE, "cannot get certificates"),
    ("cloud certificate get a", OFFLINE, "cannot get certificates"),
    ("cloud certificate remove a", OFFLINE, "cannot remove the certificate"),
    ("cloud scale", 0, "Scale services automatically"),
    ("cloud scale init web", OFFLINE, "cannot get services"),
    ("cloud scale add web --name p --step 1:2/+1", OFFLINE, "cannot get services"),
    ("cloud scale get web", OFFLINE, "cannot get how services are scaled"),
    ("cloud scale remove web p", OFFLINE, "cannot get services"),
    ("cloud scale reset web", OFFLINE, "cannot stop scaling the service"),
    ("cloud quota", OFFLINE, "cannot get the quota"),
    ("cloud tunnel web:80", OFFLINE, "cannot get instances"),
    ("cloud metro", 0, "List the metros"),
    ("cloud metro list", 0, "fra0"),
    ("cloud build", 0, "Build images"),
    ("cloud build create -t a/b https://x.example/y.git", OFFLINE, "cannot begin the build"),
    ("cloud build list", OFFLINE, "cannot list the builds"),
    ("cloud build cancel 0", OFFLINE, "cannot cancel the build `0`"),
    ("cloud build remove 0", OFFLINE, "cannot remove the build `0`"),
    ("cloud audit", OFFLINE, "cannot subscribe to events"),
    ("cloud health", OFFLINE, "cannot get the health"),
    ("cloud login", OFFLINE, "cannot begin a login"),
    ("cloud logout", 2, "there is no profile"),
    ("cloud whoami", OFFLINE, "cannot get the account"),
    ("cloud profile", 0, "Manage profiles"),
    ("cloud profile list", 0, "NAME"),
    ("cloud profile use x", 2, "there is no profile `x`"),
    ("doctor", 0, "configuration"),
    ("config", 0, "log.level"),
    ("config get log.level", 0, "info"),
    ("config set log.level debug", 0, ""),
    ("config unset log.level", 0, ""),
    ("config path", 0, "config.yaml"),
    ("completion bash", 0, "bash completion for kraft"),
    ("version", 0, "kraft"),
    ("__complete -- ver", 0, "version"),
];

/// Returns the name of every command below another, hidden ones included.
fn names(command: &Command, path: &str, found: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        let name = format!("{path} {}", inner.get_name()).trim().to_owned();
        found.push(name.clone());
        names(inner, &name, found);
    }
}

/// Returns the name of the command that a command line runs.
fn command_of(root: &Command, line: &str) -> String {
    let mut command = root;
    let mut name = Vec::new();
    for word in line.split(' ') {
        let Some(inner) = command.find_subcommand(word) else {
            break;
        };
        name.push(inner.get_name());
        command = inner;
    }
    name.join(" ")
}

/// Returns the commands that no command line runs.
fn forgotten<'l>(root: &Command, lines: impl IntoIterator<Item = &'l str>) -> Vec<String> {
    let run: Vec<String> = lines
        .into_iter()
        .map(|line| command_of(root, line))
        .collect();
    let mut all = Vec::new();
    names(root, "", &mut all);
    all.retain(|name| !run.contains(name));
    all
}

#[test]
fn every_command_is_run() {
    let lines = TABLE.iter().map(|(line, ..)| *line);
    assert_eq!(
        forgotten(&kraft::command(), lines),
        [""; 0],
        "add a row for each command"
    );

    let home = Home::new();
    let _ = home.kernel();
    home.write(
        "Kraftfile",
        "spec: v0.6\nname: web\nunikraft: stable\nlibraries: {lwip: stable}\ntargets: [qemu/x86_64]\n",
    );
    home.write("compose.yaml", "services:\n  web: {image: nginx}\n");
    home.write("root/motd", "Hello\n");
    let mut wrong = Vec::new();
    for (line, code, part) in TABLE {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = home.command(&words);
        command
            // base64 of `anna:secret`
            .env("UKC_TOKEN", "YW5uYTpzZWNyZXQ=")
            .env("UKC_METRO", "fra0")
            .env("KRAFTKIT_OFFLINE", "true");
        let outcome = home.finish(&mut command);
        let text = format!("{}{}", outcome.stdout, outcome.stderr);
        if outcome.code != *code || !text.contains(part) {
            wrong.push(format!("{line}: {}: {text}", outcome.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_no_line_runs_is_named() {
    let tree = Command::new("kraft")
        .subcommand(Command::new("run"))
        .subcommand(
            Command::new("pkg")
                .subcommand(Command::new("list").alias("ls"))
                .subcommand(Command::new("secret").hide(true)),
        );
    assert_eq!(
        forgotten(&tree, ["run pkg", "pkg ls"]),
        ["pkg", "pkg secret"]
    );
}
