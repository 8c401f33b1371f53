//! Forms of `kraft compose` on a small project: ends of `up`, changed files, numbers of machines,
//! orphans, commands of their own, and files that are watched.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use kraft_e2e::dockerfiles::{base_tar, push_base};
use kraft_e2e::harness::{Outcome, eventually};
use kraft_e2e::networks::{Place, traces};
use kraft_e2e::registry::{Registry, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// `wait NAME` and `ignore NAME` print the name and run until SIGTERM or longer; `exit STATUS`;
/// `again FILE` counts its runs in a file and succeeds at the third; `cat FILE`; `env NAME`.
const TASK: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    char *kind = words[1], text[4096];
    setvbuf(stdout, 0, _IONBF, 0);
    if (!strcmp(kind, "exit")) return atoi(words[2]);
    if (!strcmp(kind, "env")) { printf("%s\n", getenv(words[2]) ? getenv(words[2]) : "none"); return 0; }
    if (!strcmp(kind, "cat") || !strcmp(kind, "again")) {
        FILE *file = fopen(words[2], kind[0] == 'c' ? "r" : "a+");
        int lines = 1;
        if (!file) { printf("no file\n"); return 4; }
        for (; fgets(text, sizeof text, file); lines++) if (kind[0] == 'c') fputs(text, stdout);
        if (kind[0] == 'c') return 0;
        fputs("run\n", file);
        fclose(file);
        printf("run %d\n", lines);
        return lines < 3;
    }
    if (!strcmp(kind, "ignore")) signal(SIGTERM, SIG_IGN);
    printf("%s begins\n", words[2]);
    for (;;) pause();
}
"#;

const DOCKERFILE: &str = "FROM scratch\nCOPY task /bin/task\nENTRYPOINT [\"/bin/task\"]\n";

/// A project in the home.
struct Project {
    place: Place,
    before: String,
}

impl Project {
    fn new(file: &str) -> Option<Self> {
        let place = Place::with(false, &[("task", TASK)])?;
        let before = traces();
        let project = Self { place, before };
        project.write("Dockerfile", DOCKERFILE);
        project.write("compose.yaml", file);
        Some(project)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place.bench.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn compose(&self, line: &str) -> Outcome {
        let words = ["compose"].into_iter().chain(line.split(' '));
        self.place.kraft(words)
    }

    fn ok(&self, line: &str) -> String {
        self.compose(line).success().stdout.replace('\r', "")
    }

    /// Starts `kraft compose` with its output in the files `out` and `err`.
    fn begin(&self, line: &str) -> Child {
        let file = |name: &str| File::create(self.place.bench.path().join(name)).unwrap();
        let words = ["compose"].into_iter().chain(line.split(' '));
        let mut command = self.place.command(words);
        command
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"));
        command.spawn().unwrap()
    }

    fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.place.bench.path().join(name));
        text.unwrap_or_default().replace('\r', "")
    }

    fn until(&self, name: &str, part: &str) {
        eventually(&format!("`{part}` in {name}"), || {
            self.read(name).contains(part)
        });
    }

    /// Returns the machines by their names: id, state and exit code.
    fn machines(&self) -> Vec<(String, String, String)> {
        let rows: Value = serde_json::from_str(&self.ok("ps --all -o json")).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = rows.as_array().unwrap().iter();
        let mut all: Vec<_> = rows
            .map(|row| (text(row, "name"), text(row, "id"), text(row, "state")))
            .collect();
        all.sort();
        all
    }

    fn id(&self, name: &str) -> String {
        let all = self.machines();
        let found = all.iter().find(|(own, ..)| own == name);
        found.unwrap_or_else(|| panic!("{name}: {all:?}")).1.clone()
    }

    fn names(&self) -> String {
        let names: Vec<String> = self.machines().into_iter().map(|(name, ..)| name).collect();
        names.join(" ")
    }

    fn finish(self) {
        self.ok("down --volumes --remove-orphans");
        self.place.nothing_is_left(&self.before);
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

#[test]
fn ctrl_c_stops_a_foreground_up_and_a_second_one_kills() {
    let file = "name: shop\nservices:\n  polite: {build: ., command: wait polite, depends_on: [needed]}\n  \
                needed: {build: ., command: wait needed}\n  \
                stubborn: {build: ., command: ignore stubborn, stop_grace_period: 1h, restart: always}\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    for (line, shown, hidden) in [
        ("polite stubborn", "polite stubborn", "needed"),
        ("--attach needed polite", "needed", "polite"),
        ("--attach-dependencies polite", "needed polite", "stubborn"),
    ] {
        let mut up = project.begin(&format!("up {line}"));
        for name in shown.split(' ') {
            project.until("out", &format!("{name} begins\n"));
        }
        interrupt(&up);
        project.until("err", "stopping the machines");
        if line.contains("stubborn") {
            interrupt(&up);
        }
        let code = up.wait().unwrap().code();
        assert_eq!(code, Some(130), "{}", project.read("err"));
        let printed = project.read("out");
        assert!(!printed.contains(hidden), "{line}: {printed}");
        for (name, _, state) in project.machines() {
            assert_eq!(state, "exited", "{name}");
        }
    }
    project.finish();
}

#[test]
fn a_foreground_up_follows_machines_that_their_policies_start_again() {
    let file = "name: shop\nservices:\n  job: {build: ., command: again /data/runs, restart: on-failure, \
                volumes: [data:/data]}\nvolumes: {data: }\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    let up = project.compose("up").exits(0);
    let printed = up.stdout.replace('\r', "");
    assert_eq!(printed, "job | run 1\njob | run 2\njob | run 3\n");
    project.finish();
}

#[test]
fn up_ends_with_the_first_machine_or_the_first_failure() {
    let file = "name: shop\nservices:\n  long: {build: ., command: wait long}\n  \
                good: {build: ., command: exit 0}\n  bad: {build: ., command: exit 3}\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    let _ = project
        .compose("up --abort-on-container-exit long good")
        .exits(0);
    let _ = project
        .compose("up --abort-on-container-exit long bad")
        .exits(3);
    let _ = project
        .compose("up --abort-on-container-failure long good bad")
        .exits(3);
    let _ = project
        .compose("up --abort-on-container-failure good")
        .exits(0);
    let _ = project.compose("up --exit-code-from bad long bad").exits(3);
    for (name, _, state) in project.machines() {
        assert_eq!(state, "exited", "{name}");
    }
    assert_eq!(project.ok("wait good"), "0\n");
    let wait = project.compose("wait good bad").exits(3);
    assert_eq!(wait.stdout, "3\n0\n");
    project.finish();
}

#[test]
fn up_creates_only_again_what_has_changed_and_follows_numbers_and_orphans() {
    let file = |web: &str, more: &str| {
        format!(
            "name: shop\nservices:\n  db: {{build: ., command: wait db}}\n  web:\n    build: .\n    \
             command: wait {web}\n    depends_on: {{db: {{condition: service_started, restart: true}}}}\n{more}"
        )
    };
    let old = "  old: {build: ., command: wait old}\n";
    let Some(project) = Project::new(&file("web", old)) else {
        return;
    };
    project.ok("up -d --wait");
    let (db, web) = (project.id("shop-db"), project.id("shop-web"));
    // A service is gone and another one has changed.
    project.write("compose.yaml", &file("new", ""));
    let up = project.compose("up -d --no-recreate").success();
    assert!(
        up.stderr.contains("the files do not have: shop-old"),
        "{}",
        up.stderr
    );
    assert_eq!(project.id("shop-web"), web);
    project.ok("up -d --remove-orphans");
    assert_eq!(project.names(), "shop-db shop-web");
    assert_eq!(project.id("shop-db"), db);
    let changed = project.id("shop-web");
    assert_ne!(changed, web);
    project.ok("up -d --force-recreate --no-deps web");
    assert_eq!(project.id("shop-db"), db);
    assert_ne!(project.id("shop-web"), changed);
    // What depends on it is started again with it.
    let pid = |name: &str| project.place.bench.machine(name).unwrap()["pid"].clone();
    let before = pid("shop-web");
    project.ok("restart db");
    assert_ne!(pid("shop-web"), before);
    // Numbers.
    project.ok("up -d --scale web=3");
    assert_eq!(project.names(), "shop-db shop-web shop-web-2 shop-web-3");
    project.ok("scale web=2");
    assert_eq!(project.names(), "shop-db shop-web shop-web-2");
    project.ok("scale --no-deps web=1");
    let top = project.ok("top web");
    assert!(
        top.starts_with("shop-web\n") && top.contains("TID"),
        "{top}"
    );
    let stats = project.ok("stats --no-stream db");
    assert!(
        stats.contains("shop-db") && !stats.contains("shop-web"),
        "{stats}"
    );
    let rows = project.ok("images -o json");
    assert!(
        rows.contains("oci://builtin") || rows.contains("kernel"),
        "{rows}"
    );
    project.finish();
}

#[test]
fn two_ups_at_once_make_each_machine_once() {
    let file = "name: shop\nservices:\n  one: {build: ., command: wait one}\n  \
                two: {build: ., command: wait two, depends_on: [one]}\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    let ups: Vec<Child> = (0..3).map(|_| project.begin("up -d")).collect();
    for mut up in ups {
        assert!(up.wait().unwrap().success(), "{}", project.read("err"));
    }
    assert_eq!(project.names(), "shop-one shop-two");
    for (name, _, state) in project.machines() {
        assert_eq!(state, "running", "{name}");
    }
    project.finish();
}

#[test]
fn run_starts_one_command_of_a_service_in_a_machine_of_its_own() {
    let port = free_port();
    let file = format!(
        "name: shop\nservices:\n  web:\n    build: .\n    command: wait web\n    restart: always\n    \
         ports: ['127.0.0.1:{port}:80']\n    environment: {{MODE: fast}}\n    depends_on: [db]\n    \
         extra_hosts: ['far:10.9.8.7']\n  db: {{build: ., command: wait db}}\n"
    );
    let Some(project) = Project::new(&file) else {
        return;
    };
    let run = project.compose("run --rm --no-deps web exit 7").exits(7);
    assert_eq!(run.stdout, "");
    assert_eq!(
        project.names(),
        "",
        "it is removed, and nothing else was created"
    );
    assert_eq!(project.ok("run --rm --no-deps web env MODE"), "fast\n");
    assert_eq!(
        project.ok("run --rm --no-deps -e MODE=slow web env MODE"),
        "slow\n"
    );
    let hosts = project.ok("run --rm --no-deps --entrypoint /bin/task web cat /etc/hosts");
    assert!(hosts.contains("10.9.8.7\tfar\n"), "{hosts}");
    // With what it needs, in the background, and beside the service itself.
    let name = project.ok("run -d --service-ports --name once web wait once");
    assert_eq!(name, "once\n");
    assert_eq!(project.names(), "once shop-db");
    assert!(project.ok("ps --services").starts_with("db\n"));
    let machine = project.place.bench.machine("once").unwrap();
    assert_eq!(machine["ports"][0]["host_port"], port);
    project.ok("rm --stop --force");
    project.ok("down");
    assert_eq!(
        project.names(),
        "",
        "`down` also removes what `run` created"
    );
    project.finish();
}

#[test]
fn ports_and_files_of_services_are_found() {
    let file = "name: shop\nservices:\n  web: {build: ., command: wait web, ports: ['127.0.0.1::80'], volumes: ['data:/data', /own]}\n  \
                alone: {build: ., command: wait alone, network_mode: none, ports: ['80']}\nvolumes: {data: }\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    let up = project.compose("up -d").success();
    assert!(
        up.stderr.contains("without a network: alone"),
        "{}",
        up.stderr
    );
    let address = project.ok("port web 80");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut port = project.compose("port alone 80").exits(1);
    assert!(
        port.stderr.contains("does not publish port 80/tcp"),
        "{}",
        port.stderr
    );
    project.write("note", "hello\n");
    project.ok("cp note web:/data/note");
    project.ok("cp note web:/own/note");
    project.ok("up -d --force-recreate web");
    project.ok("cp web:/own/note again");
    assert_eq!(
        project.read("again"),
        "hello\n",
        "the volume without a name stays"
    );
    port = project.compose("cp web:/etc/x .").exits(1);
    assert!(
        port.stderr.contains("is not in a volume"),
        "{}",
        port.stderr
    );
    let listed = project.ok("volumes -q");
    let names: Vec<&str> = listed.lines().collect();
    let [data, own] = names.as_slice() else {
        panic!("{listed}");
    };
    assert!(
        *data == "shop_data" && own.starts_with("shop_web_"),
        "{listed}"
    );
    assert_eq!(project.ok("volumes -q alone"), "");
    // The anonymous one has its data until it is renewed.
    let kept = project
        .place
        .bench
        .runtime()
        .join("volumes")
        .join(own)
        .join("data/kept");
    fs::write(&kept, "x").unwrap();
    project.ok("create --force-recreate web");
    assert!(kept.exists());
    project.ok("create --force-recreate -V web");
    assert!(!kept.exists());
    project.ok("rm --stop -v web");
    assert_eq!(project.ok("volumes -q"), "shop_data\n");
    project.ok("create web");
    let volumes = project.ok("down --volumes");
    assert_eq!(volumes.matches("shop_web_").count(), 1, "{volumes}");
    project.finish();
}

#[test]
fn watched_files_are_copied_and_restart_and_build_services() {
    let file = "name: shop\nservices:\n  web:\n    build: .\n    command: cat /data/page\n    volumes: [data:/data]\n    \
                develop:\n      watch:\n        - {path: ./pages, action: sync+restart, target: /data}\n        \
                - {path: ./built, action: rebuild}\nvolumes: {data: }\n";
    let Some(project) = Project::new(file) else {
        return;
    };
    project.write("pages/page", "one\n");
    project.write("built/x", "1\n");
    project.write("Dockerfile", &format!("{DOCKERFILE}COPY built /built\n"));
    let ends = |mut command: Child| {
        interrupt(&command);
        let code = command.wait().unwrap().code();
        assert_eq!(code, Some(130), "{}", project.read("err"));
    };
    let watch = project.begin("watch");
    project.until("err", "watching the files");
    project.write("pages/page", "second\n");
    let logs = || project.ok("logs --no-log-prefix web");
    eventually("the changed file is there", || logs() == "second\n");
    project.write("pages/deep/er/x", "second\n");
    project.until("err", "deep/er/x has changed");
    ends(watch);
    // `up --watch` prints the consoles meanwhile, also of what is created again.
    let up = project.begin("up --watch");
    project.until("out", "web | second\n");
    let id = project.id("shop-web");
    project.write("built/x", "22\n");
    project.until("err", "x has changed");
    eventually("it is built again", || {
        let all = project.machines();
        all.iter()
            .any(|(name, own, _)| name == "shop-web" && *own != id)
    });
    eventually("both consoles are there", || {
        project.read("out").matches("web | second\n").count() == 2
    });
    ends(up);
    project.finish();
}

#[test]
fn images_of_containers_run_on_the_built_in_runtime_and_built_ones_are_pushed() {
    let Some(registry) = Registry::plain() else {
        return;
    };
    let base = registry.name("library/base:1");
    let made = registry.name("made:1");
    let file = format!(
        "name: shop\nservices:\n  app: {{image: '{base}', command: [/bin/sh, -c, 'echo from $$BASE']}}\n  \
         made: {{build: ., image: '{made}', command: wait made}}\n"
    );
    let Some(project) = Project::new(&file) else {
        return;
    };
    let Some(tar) = base_tar(project.place.bench.path()) else {
        return;
    };
    push_base(&registry, &tar, &base);
    let online = |line: &str| {
        let words = ["compose"].into_iter().chain(line.split(' '));
        let mut command = project.place.command(words);
        Outcome::of(command.env("KRAFTKIT_OFFLINE", "false"))
    };
    let missing = project.compose("up app").exits(18);
    assert!(
        missing.stderr.contains("no connection is opened"),
        "{}",
        missing.stderr
    );
    let up = online("up app").exits(0);
    assert_eq!(
        up.stdout.replace('\r', ""),
        "app | from yes\n",
        "{}",
        up.stderr
    );
    assert_eq!(online("build made").success().stdout, format!("{made}\n"));
    assert_eq!(online("push").success().stdout, format!("{made}\n"));
    let accept = [("Accept", "application/vnd.oci.image.index.v1+json")];
    let pushed = registry.ask("GET /v2/made/manifests/1", &accept, b"");
    assert_eq!(pushed.status, 200);
    // From now on, the store is enough.
    project.ok("down");
    drop(registry);
    let again = project.compose("up app").exits(0);
    assert_eq!(
        again.stdout.replace('\r', ""),
        "app | from yes\n",
        "{}",
        again.stderr
    );
    let removed = project.ok("down --rmi all");
    assert!(removed.contains("made:1"), "{removed}");
    project.finish();
}
