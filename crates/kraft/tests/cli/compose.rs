//! Compose projects without a machine that runs: exit codes, the files and the name of a project, and
//! what `config` prints.

use crate::support::Home;

/// Runs `kraft` offline, and returns its exit code and everything it printed.
fn offline(home: &Home, line: &str) -> (i32, String) {
    let words: Vec<&str> = line.split(' ').collect();
    let outcome = home.finish(home.command(&words).env("KRAFTKIT_OFFLINE", "true"));
    (
        outcome.code,
        format!("{}{}", outcome.stdout, outcome.stderr),
    )
}

#[test]
fn exit_codes_are_those_of_docker() {
    let home = Home::new();
    home.write("bad.yaml", "services: {web: {image: x, scale: many}}\n");
    home.write("name.yaml", "name: My Shop\nservices: {web: {image: x}}\n");
    home.write(
        "volume.yaml",
        "services: {web: {image: x, volumes: ['data:/data']}}\n",
    );
    home.write("pull.yaml", "services: {web: {image: nginx}}\n");
    home.write("build.yaml", "services: {web: {build: ./app}}\n");
    home.write("app/Dockerfile", "FROM scratch\nWRONG instruction\n");
    home.write(
        "include.yaml",
        "include: [absent.yaml]\nservices: {web: {image: x}}\n",
    );
    home.write(
        "extend.yaml",
        "services: {web: {extends: {file: absent.yaml, service: web}}}\n",
    );
    home.write("gone.yaml", "services: {web: {build: ./gone}}\n");
    for (line, code, why) in [
        ("compose up", 14, "there is no Compose file"),
        ("compose -f absent.yaml ps", 14, "absent.yaml"),
        (
            "compose -f include.yaml config",
            14,
            "cannot read `absent.yaml`",
        ),
        ("compose -f extend.yaml up", 14, "cannot read `absent.yaml`"),
        (
            "compose -f bad.yaml config",
            15,
            "`many`: it is not a number",
        ),
        (
            "compose -f name.yaml config",
            15,
            "`My Shop` is not a valid project name",
        ),
        (
            "compose -p Shop -f pull.yaml config",
            15,
            "`Shop` is not a valid project name",
        ),
        (
            "compose -f volume.yaml up",
            15,
            "the volume `data` is not declared",
        ),
        ("compose up --nothing", 16, "unexpected argument"),
        ("compose donw", 16, "unrecognized subcommand"),
        (
            "--log-level error compose up --scale web",
            16,
            "expected SERVICE=NUMBER",
        ),
        ("compose -f build.yaml up", 17, "`WRONG`"),
        ("compose -f build.yaml build", 17, "`WRONG`"),
        ("compose -f gone.yaml create", 17, "does not exist"),
        (
            "compose -f build.yaml up --no-build",
            1,
            "has no image that could be used",
        ),
        ("compose -f pull.yaml pull", 18, "no connection is opened"),
        ("compose -f pull.yaml up", 18, "no connection is opened"),
        // Everything else is 1 there.
        (
            "compose -f pull.yaml up other",
            1,
            "no such service: `other`",
        ),
        (
            "compose -f pull.yaml exec web ls",
            1,
            "cannot start a program",
        ),
        ("cloud compose up", 3, "there is no Compose file"),
        ("ps --nothing", 2, "unexpected argument"),
    ] {
        let (found, text) = offline(&home, line);
        assert!(
            found == code && text.contains(why),
            "{line}: {found}: {text}"
        );
    }
    let (_, text) = offline(&home, "--log-type json compose up --nothing");
    assert!(text.contains(r#""code":"compose_usage""#), "{text}");
    let (_, text) = offline(&home, "--log-type json compose up");
    assert!(text.contains(r#""code":"compose_file""#), "{text}");
}

#[test]
fn the_files_of_a_project_are_found_by_their_names_and_variables() {
    let service = |name: &str| format!("services: {{{name}: {{image: x}}}}\n");
    for (files, env, expected) in [
        (&["compose.yaml"][..], &[][..], "compose.yaml"),
        (
            &["docker-compose.yml", "compose.yml"],
            &[],
            "docker-compose.yml",
        ),
        (
            &["compose.yaml", "compose.override.yaml"],
            &[],
            "compose.override.yaml compose.yaml",
        ),
        (
            &["compose.yaml", "docker-compose.override.yml"],
            &[],
            "compose.yaml docker-compose.override.yml",
        ),
        (
            &["a.yaml", "b.yaml", "compose.yaml"],
            &[("COMPOSE_FILE", "a.yaml:b.yaml")],
            "a.yaml b.yaml",
        ),
        (
            &["a.yaml", "b.yaml"],
            &[
                ("COMPOSE_FILE", "a.yaml;b.yaml"),
                ("COMPOSE_PATH_SEPARATOR", ";"),
            ],
            "a.yaml b.yaml",
        ),
    ] {
        for in_file in [false, true] {
            let home = Home::new();
            for file in files {
                home.write(file, service(&file.replace('.', "_")));
            }
            let mut command = home.command(&["compose", "config", "--services"]);
            if in_file {
                let lines = env.iter().map(|(name, value)| format!("{name}={value}\n"));
                home.write(".env", lines.collect::<String>());
            } else {
                command.envs(env.iter().copied());
            }
            let outcome = home.finish(&mut command);
            let mut found: Vec<&str> = outcome.stdout.lines().collect();
            found.sort_unstable();
            assert_eq!(
                found.join(" "),
                expected.replace('.', "_"),
                "{files:?} {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn config_prints_a_file_that_means_the_same() {
    let home = Home::new();
    home.write("web.env", "A=1\nB=${HOST:-db}\n");
    home.write(
        "compose.yaml",
        "name: shop\nservices:\n  web:\n    image: 'nginx:${TAG:-1}'\n    command: sh -c 'echo $$HOME'\n    \
         env_file: web.env\n    environment: [B=own]\n    ports: ['8080:80']\n    volumes: ['./html:/srv:ro']\n    \
         depends_on: [db]\n  db: {image: redis}\n",
    );
    home.ok(&["compose", "config", "-o", "again.yaml"]);
    let again = home.ok(&["compose", "-f", "again.yaml", "config"]);
    assert_eq!(again, home.ok(&["compose", "config"]));
    let shown = home.json(&["compose", "config", "--format", "json", "web"]);
    let web = &shown["services"]["web"];
    assert_eq!(web["command"][2], "echo $$HOME");
    assert_eq!(
        web["environment"],
        serde_json::json!({"A": "1", "B": "own"})
    );
    assert_eq!(web["depends_on"]["db"]["condition"], "service_started");
    assert_eq!(web["volumes"][0]["source"], "[HOME]/html");
    let flags = [
        "--no-normalize",
        "--no-path-resolution",
        "--no-env-resolution",
    ];
    let raw = home.ok(&[&["compose", "config"][..], &flags].concat());
    assert!(
        raw.contains("8080:80") && raw.contains("path: web.env"),
        "{raw}"
    );
}

#[test]
fn a_dry_run_prints_what_would_be_done() {
    let home = Home::new();
    home.write(
        "compose.yaml",
        "name: shop\nservices:\n  web: {image: nginx, depends_on: [db]}\n  db: {image: redis, scale: 2}\n  \
         own: {build: ./own, profiles: [more]}\nvolumes: {data: }\n",
    );
    for (line, expected) in [
        (
            "up web",
            "create shop-db\ncreate shop-db-2\ncreate shop-web\n",
        ),
        (
            "up --no-deps --scale web=2 web",
            "create shop-web\ncreate shop-web-2\n",
        ),
        ("create db", "create shop-db\ncreate shop-db-2\n"),
        ("pull", "pull redis\npull nginx\n"),
        ("build own", "build own\n"),
        ("down -v", ""),
        ("stop", ""),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let printed = home.ok(&[&["compose", "--dry-run"][..], &words].concat());
        assert_eq!(printed, expected, "{line}");
    }
    let (code, text) = offline(&home, "compose --dry-run scale web=2");
    assert!(code == 1 && text.contains("cannot be tried"), "{text}");
    assert_eq!(home.ok(&["ps", "--all", "--quiet"]), "");
}

#[test]
fn flags_of_docker_are_accepted() {
    let home = Home::new();
    home.write("compose.yaml", "services: {web: {image: nginx}}\n");
    for line in [
        "compose --ansi never --progress plain ps --no-trunc --orphans=false --status running --filter name=web",
        "compose --parallel 2 --compatibility config -q --no-consistency",
        "compose ps --format {{.Name}}",
        "compose ls --filter name=shop --format json",
        "compose kill --remove-orphans",
        "compose stop -t 5",
        "compose restart --no-deps",
        "compose start --wait",
        "compose logs --index 1 --no-color",
        "compose pull --quiet --ignore-buildable --include-deps --ignore-pull-failures --policy missing",
        "compose push -q --include-deps",
        "compose build -q --with-dependencies --no-cache --pull --parallel --progress plain",
        "compose rm -a -f",
    ] {
        let (code, text) = offline(&home, line);
        assert_eq!(code, 0, "{line}: {text}");
    }
    let (_, text) = offline(
        &home,
        "compose --ansi never up --quiet-pull --yes --menu=false",
    );
    for flag in ["--ansi", "--quiet-pull", "--yes", "--menu"] {
        assert!(text.contains(flag), "{text}");
    }
    let (code, text) = offline(&home, "compose run -p 8080:80 -u me -w / web");
    assert!(code == 18 && text.contains("one user"), "{code}: {text}");
}

#[test]
fn config_prints_the_whole_or_a_part_to_stdout_or_a_file() {
    let home = Home::new();
    home.write(
        "compose.yaml",
        "name: shop\nservices:\n  web: {image: 'nginx:${TAG:-1}', profiles: [b, a]}\n  db: {image: redis, networks: [back], volumes: ['data:/d']}\n\
         volumes: {data: , unused: }\nnetworks: {back: }\n",
    );
    for (flags, expected) in [
        ("--services", "db\n"),
        ("--images", "redis\n"),
        ("--volumes", "data\n"),
        ("--networks", "back\n"),
        ("--profiles", "a\nb\n"),
        ("-q", ""),
    ] {
        assert_eq!(home.ok(&["compose", "config", flags]), expected, "{flags}");
    }
    let all = home.ok(&["compose", "--profile", "*", "config", "--services"]);
    assert_eq!(all, "web\ndb\n");
    let hash = |word: &str| home.ok(&["compose", "config", "--hash", word]);
    assert!(hash("db").starts_with("db ") && hash("db").len() > 60);
    assert_eq!(hash("*").lines().count(), 2);
    let raw = home.ok(&["compose", "config", "--no-interpolate", "--format", "json"]);
    assert!(raw.contains("nginx:${TAG:-1}"), "{raw}");
    let whole = home.ok(&["compose", "config", "--format", "json"]);
    assert!(
        whole.contains(r#""name": "shop_data""#) && !whole.contains("nginx"),
        "{whole}"
    );
    let networks = ["compose", "--profile", "a", "config", "--networks"];
    assert_eq!(home.ok(&networks), "back\ndefault\n");
    let all = ["compose", "--all-resources", "config", "--volumes"];
    assert_eq!(home.ok(&all), "data\nunused\n");
    let variables = home.ok(&["compose", "config", "--variables"]);
    assert!(variables.contains("TAG   false     1\n"), "{variables}");
    assert_eq!(
        home.ok(&["compose", "config", "--format", "json", "-o", "out.json"]),
        ""
    );
    assert_eq!(
        std::fs::read_to_string(home.path().join("out.json")).unwrap(),
        whole
    );
}

#[test]
fn forms_of_published_files_are_understood() {
    let home = Home::new();
    home.write(
        "forms.yaml",
        "---\nservices:\n  proxy:\n    image: web:1.25\n    volumes:\n      - ./proxy:/etc/web\n    ports:\n    \
         - 8080:80\n    - '81:5000'\n    depends_on: \n      - backend\n    networks:\n      internal:\n\n  \
         backend:\n    build:\n      context: backend\n    hostname: be\n    mem_reservation: 512M\n    \
         networks:\n     internal: # any address\n       ipv4_address: 172.23.0.2\n  db:\n    \
         image: db:10-focal\n    container_name: data\n    command: '--plugin=native'\n    restart: always\n    \
         environment:\n    - USER=a # a comment\n    - node.name=b\n    volumes:\n    - db-data:/var/lib/db\n    \
         networks: [internal]\n\nvolumes:\n  db-data:\n    driver_opts:\n      size: 8G # as needed\n\n\
         networks:\n  internal:\n    driver: bridge\n    ipam:\n      config:\n        - subnet: 172.23.0.1/16 \n",
    );
    let printed = home.ok(&["compose", "-p", "x", "-f", "forms.yaml", "config"]);
    let file: serde_json::Value = serde_json::from_str(&home.ok(&[
        "compose",
        "-p",
        "x",
        "-f",
        "forms.yaml",
        "config",
        "--format",
        "json",
    ]))
    .unwrap();
    for (pointer, value) in [
        ("/services/proxy/ports/0/published", "8080"),
        ("/services/proxy/ports/1/target", "5000"),
        ("/services/proxy/volumes/0/type", "bind"),
        (
            "/services/proxy/depends_on/backend/condition",
            "service_started",
        ),
        ("/services/backend/mem_reservation", "536870912"),
        (
            "/services/backend/networks/internal/ipv4_address",
            "172.23.0.2",
        ),
        ("/services/db/command/0", "--plugin=native"),
        ("/services/db/environment/USER", "a"),
        ("/services/db/environment/node.name", "b"),
        ("/services/db/volumes/0/source", "db-data"),
        ("/volumes/db-data/driver_opts/size", "8G"),
        ("/volumes/db-data/name", "x_db-data"),
        ("/networks/internal/ipam/config/0/subnet", "172.23.0.1/16"),
    ] {
        let found = file.pointer(pointer).unwrap_or(&serde_json::Value::Null);
        let found = found
            .as_str()
            .map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(found, value, "{pointer}: {printed}");
    }

    // A runtime that cannot be had, a network that does not exist, and memory in bytes.
    home.write(
        "app/Dockerfile",
        "FROM scratch\nCOPY Dockerfile /app\nCMD [\"/app\"]\n",
    );
    home.write(
        "runtime.yaml",
        "services:\n  app:\n    build: ./app\n    runtime: base-compat:latest\n    mem_limit: 2048M\n",
    );
    let (code, printed) = offline(&home, "compose -f runtime.yaml up -d");
    assert_eq!(code, 17, "{printed}");
    assert!(
        printed.contains("`runtime: builtin` in the description"),
        "{printed}"
    );
    home.write(
        "small.yaml",
        "services: {redis: {image: 'redis:latest', mem_reservation: 512}}\n",
    );
    let (code, printed) = offline(&home, "compose -f small.yaml up -d");
    assert_eq!(code, 18, "{printed}");
    assert!(printed.contains("`512m` is in MiB"), "{printed}");
}
