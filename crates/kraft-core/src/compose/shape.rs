//! What may stand where in a Compose file, as a table.

use crate::document::shape::{Field, Record, Shape};

const TEXTS: Shape = Shape::List(&Shape::Scalar);
const COMMAND: Shape = Shape::Either(&[Shape::Scalar, TEXTS]);
const VARIABLES: Shape = Shape::Either(&[Shape::Map(&Shape::ScalarOrNothing), TEXTS]);

/// A key that containers have, and unikernels have nothing for.
const fn idle(name: &'static str) -> Field {
    Field::new(
        name,
        Shape::Any,
        "A unikernel has nothing that this could be done to.",
    )
}

/// The whole file.
pub(super) static FILE: Record = Record {
    name: "compose",
    doc: "A Compose file: several services that belong together.",
    fields: &[
        Field::new("name", Shape::Scalar, "The name of the project."),
        Field::new(
            "version",
            Shape::Scalar,
            "The version of old files; it means nothing any more.",
        ),
        Field::new(
            "services",
            Shape::Map(&Shape::Record(&SERVICE)),
            "The services by name: `web: {image: nginx}`.",
        )
        .required(),
        Field::new(
            "volumes",
            Shape::Map(&Shape::Either(&[
                Shape::ScalarOrNothing,
                Shape::Record(&VOLUME),
            ])),
            "The volumes by name.",
        ),
        Field::new(
            "networks",
            Shape::Any,
            "All instances of an account share a network.",
        ),
        Field::new(
            "configs",
            Shape::Any,
            "A root filesystem holds what an instance reads.",
        ),
        Field::new(
            "secrets",
            Shape::Any,
            "Variables of the environment are what an instance reads.",
        ),
    ],
};

/// A service.
pub(super) static SERVICE: Record = Record {
    name: "service",
    doc: "A service: an image, and how it is run.",
    fields: SERVICE_FIELDS,
};

static SERVICE_FIELDS: &[Field] = &[
    Field::new("image", Shape::Scalar, "The image that is run."),
    Field::new(
        "build",
        Shape::Either(&[Shape::Scalar, Shape::Record(&BUILD)]),
        "What the image is built from: a directory, or in detail.",
    ),
    Field::new(
        "runtime",
        Shape::Scalar,
        "The image that what is built runs on.",
    )
    .or(&["x-runtime"]),
    Field::new("command", COMMAND, "The arguments of the program."),
    Field::new("entrypoint", COMMAND, "The program."),
    Field::new(
        "environment",
        VARIABLES,
        "Variables: a mapping, or a list of `NAME=VALUE`.",
    ),
    Field::new(
        "env_file",
        Shape::Either(&[
            Shape::Scalar,
            Shape::List(&Shape::Either(&[Shape::Scalar, Shape::Record(&ENV_FILE)])),
        ]),
        "Files with variables.",
    ),
    Field::new(
        "ports",
        Shape::List(&Shape::Either(&[Shape::Scalar, Shape::Record(&PORT)])),
        "Published ports: `PUBLISHED:TARGET`, or in detail.",
    ),
    Field::new(
        "volumes",
        Shape::List(&Shape::Either(&[Shape::Scalar, Shape::Record(&MOUNT)])),
        "Volumes: `NAME:PATH[:ro]`, or in detail.",
    ),
    Field::new(
        "depends_on",
        Shape::Either(&[TEXTS, Shape::Map(&Shape::Any)]),
        "Services that are started before.",
    ),
    Field::new(
        "domainname",
        Shape::Scalar,
        "The name that it is published under.",
    ),
    Field::new("container_name", Shape::Scalar, "The name of the instance."),
    Field::new("mem_limit", Shape::Scalar, "Its memory, such as `256m`."),
    Field::new(
        "mem_reservation",
        Shape::Scalar,
        "Its memory, if there is no limit.",
    ),
    Field::new("scale", Shape::Scalar, "So many of it."),
    Field::new(
        "restart",
        Shape::Scalar,
        "When it is started again: no, always, on-failure, unless-stopped.",
    ),
    Field::new("attach", Shape::Bool, "Whether its log is followed."),
    Field::new(
        "profiles",
        TEXTS,
        "When it is meant without being named: when one of these is active.",
    ),
    Field::new(
        "deploy",
        Shape::Record(&DEPLOY),
        "How many of it, and with how much memory.",
    ),
    Field::new("labels", VARIABLES, "Labels, which nobody reads."),
    Field::new(
        "platform",
        Shape::Scalar,
        "What it runs on: `PLATFORM/ARCHITECTURE`.",
    ),
    Field::new("expose", TEXTS, "Ports inside: all are."),
    Field::new(
        "hostname",
        Shape::Scalar,
        "Its name inside, which the platform chooses.",
    ),
    Field::new("extends", Shape::Any, "Write the service out."),
    idle("networks"),
    idle("network_mode"),
    idle("privileged"),
    idle("cap_add"),
    idle("cap_drop"),
    idle("devices"),
    idle("security_opt"),
    idle("sysctls"),
    idle("ulimits"),
    idle("user"),
    idle("userns_mode"),
    idle("pid"),
    idle("ipc"),
    idle("shm_size"),
    idle("tmpfs"),
    idle("read_only"),
    idle("stdin_open"),
    idle("tty"),
    idle("init"),
    idle("logging"),
    idle("healthcheck"),
    idle("stop_signal"),
    idle("stop_grace_period"),
    idle("dns"),
    idle("extra_hosts"),
    idle("links"),
    idle("secrets"),
    idle("configs"),
    idle("cpus"),
];

/// What an image is built from.
pub(super) static BUILD: Record = Record {
    name: "build",
    doc: "What an image is built from.",
    fields: &[
        Field::new("context", Shape::Scalar, "The directory."),
        Field::new(
            "dockerfile",
            Shape::Scalar,
            "The Dockerfile, relative to the context.",
        ),
        Field::new("args", VARIABLES, "Build arguments."),
        Field::new("target", Shape::Scalar, "The stage."),
        idle("labels"),
        idle("network"),
        Field::new("cache_from", Shape::Any, "`--build-cache-from` says it."),
        Field::new("cache_to", Shape::Any, "`--build-cache-to` says it."),
        Field::new("secrets", Shape::Any, "`--build-secret` says it."),
        Field::new("ssh", Shape::Any, "`--build-ssh` says it."),
        Field::new("platforms", Shape::Any, "What it runs on decides."),
        Field::new("no_cache", Shape::Any, "`--build-no-cache` says it."),
    ],
};

/// A file with variables.
pub(super) static ENV_FILE: Record = Record {
    name: "env_file",
    doc: "A file with variables.",
    fields: &[
        Field::new("path", Shape::Scalar, "Its path.").required(),
        Field::new("required", Shape::Bool, "Whether it must be there."),
        Field::new("format", Shape::Any, "There is one format."),
    ],
};

/// A published port.
pub(super) static PORT: Record = Record {
    name: "port",
    doc: "A published port.",
    fields: &[
        Field::new("target", Shape::Scalar, "The port of the service.").required(),
        Field::new("published", Shape::Scalar, "The port that the world sees."),
        Field::new("protocol", Shape::Scalar, "`tcp`."),
        Field::new("app_protocol", Shape::Scalar, "What is spoken: `http`."),
        Field::new("name", Shape::Scalar, "What it is called."),
        idle("host_ip"),
        idle("mode"),
    ],
};

/// What a service sees of a volume.
pub(super) static MOUNT: Record = Record {
    name: "mount",
    doc: "What a service sees of a volume.",
    fields: &[
        Field::new(
            "type",
            Shape::Scalar,
            "`volume`, or `bind` for a directory.",
        ),
        Field::new("source", Shape::Scalar, "The volume.").or(&["src"]),
        Field::new("target", Shape::Scalar, "Where the service sees it.")
            .or(&["dst", "destination"])
            .required(),
        Field::new("read_only", Shape::Bool, "Whether it may not write to it.").or(&["readonly"]),
        idle("bind"),
        idle("volume"),
        idle("tmpfs"),
        idle("consistency"),
    ],
};

/// How many, and with how much.
pub(super) static DEPLOY: Record = Record {
    name: "deploy",
    doc: "How many of a service, and with how much memory.",
    fields: &[
        Field::new("replicas", Shape::Scalar, "So many of it."),
        Field::new("resources", Shape::Record(&RESOURCES), "With how much."),
        idle("mode"),
        idle("labels"),
        idle("placement"),
        idle("update_config"),
        idle("rollback_config"),
        idle("restart_policy"),
        idle("endpoint_mode"),
    ],
};

/// With how much.
pub(super) static RESOURCES: Record = Record {
    name: "resources",
    doc: "With how much memory.",
    fields: &[
        Field::new("limits", Shape::Record(&AMOUNTS), "At most."),
        Field::new("reservations", Shape::Record(&AMOUNTS), "At least."),
    ],
};

/// Amounts.
pub(super) static AMOUNTS: Record = Record {
    name: "amounts",
    doc: "Amounts of memory and processors.",
    fields: &[
        Field::new("memory", Shape::Scalar, "Memory, such as `256m`."),
        idle("cpus"),
        idle("pids"),
        idle("devices"),
    ],
};

/// A volume.
pub(super) static VOLUME: Record = Record {
    name: "volume",
    doc: "A volume.",
    fields: &[
        Field::new("name", Shape::Scalar, "What it is called."),
        Field::new("external", Shape::Bool, "Whether somebody else makes it."),
        Field::new("driver", Shape::Scalar, "The platform has one kind."),
        Field::new(
            "driver_opts",
            Shape::Map(&Shape::ScalarOrNothing),
            "`size` is its size, such as `64m`.",
        ),
        Field::new("labels", VARIABLES, "Labels, which nobody reads."),
    ],
};
