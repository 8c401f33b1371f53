//! Allowed keys and values of a Compose file, as a table.

use crate::document::shape::{Field, Record, Shape};

const TEXTS: Shape = Shape::List(&Shape::Scalar);
const COMMAND: Shape = Shape::Either(&[Shape::Scalar, TEXTS]);
const VARIABLES: Shape = Shape::Either(&[Shape::Map(&Shape::ScalarOrNothing), TEXTS]);

/// A key for containers that has no effect on unikernels.
const fn idle(name: &'static str) -> Field {
    Field::new(name, Shape::Any, "Has no effect on unikernels.")
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
            "The version of the format; obsolete and ignored.",
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
            "Ignored: all instances of an account share a network.",
        ),
        Field::new(
            "configs",
            Shape::Any,
            "Not supported: put the files into the root filesystem.",
        ),
        Field::new(
            "secrets",
            Shape::Any,
            "Not supported: use environment variables.",
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
        "How the image is built: a directory, or in detail.",
    ),
    Field::new(
        "runtime",
        Shape::Scalar,
        "The image to run the built filesystem on.",
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
        "Files with environment variables.",
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
        "Services to start before it.",
    ),
    Field::new(
        "domainname",
        Shape::Scalar,
        "Domain name to publish it under.",
    ),
    Field::new("container_name", Shape::Scalar, "The name of the instance."),
    Field::new("mem_limit", Shape::Scalar, "Its memory, such as `256m`."),
    Field::new(
        "mem_reservation",
        Shape::Scalar,
        "Its memory, if there is no limit.",
    ),
    Field::new("scale", Shape::Scalar, "Number of instances."),
    Field::new(
        "restart",
        Shape::Scalar,
        "The restart policy: no, always, on-failure, unless-stopped.",
    ),
    Field::new("attach", Shape::Bool, "Whether its log is followed."),
    Field::new(
        "profiles",
        TEXTS,
        "Profiles that activate it when it is not named.",
    ),
    Field::new(
        "deploy",
        Shape::Record(&DEPLOY),
        "Number of instances and their memory.",
    ),
    Field::new("labels", VARIABLES, "Labels; ignored."),
    Field::new(
        "platform",
        Shape::Scalar,
        "The platform to run on: `PLATFORM/ARCHITECTURE`.",
    ),
    Field::new(
        "expose",
        TEXTS,
        "Ignored: all ports are exposed inside the network.",
    ),
    Field::new(
        "hostname",
        Shape::Scalar,
        "Ignored: the platform chooses the host name.",
    ),
    Field::new(
        "extends",
        Shape::Any,
        "Not supported: repeat the definition.",
    ),
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

/// How an image is built.
pub(super) static BUILD: Record = Record {
    name: "build",
    doc: "How an image is built.",
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
        Field::new("cache_from", Shape::Any, "Use `--build-cache-from`."),
        Field::new("cache_to", Shape::Any, "Use `--build-cache-to`."),
        Field::new("secrets", Shape::Any, "Use `--build-secret`."),
        Field::new("ssh", Shape::Any, "Use `--build-ssh`."),
        Field::new(
            "platforms",
            Shape::Any,
            "Ignored: determined by the runtime.",
        ),
        Field::new("no_cache", Shape::Any, "Use `--build-no-cache`."),
    ],
};

/// A file with environment variables.
pub(super) static ENV_FILE: Record = Record {
    name: "env_file",
    doc: "A file with environment variables.",
    fields: &[
        Field::new("path", Shape::Scalar, "Its path.").required(),
        Field::new(
            "required",
            Shape::Bool,
            "Whether a missing file is an error.",
        ),
        Field::new("format", Shape::Any, "Ignored: there is one format."),
    ],
};

/// A published port.
pub(super) static PORT: Record = Record {
    name: "port",
    doc: "A published port.",
    fields: &[
        Field::new("target", Shape::Scalar, "The port of the service.").required(),
        Field::new("published", Shape::Scalar, "The public port."),
        Field::new("protocol", Shape::Scalar, "`tcp`."),
        Field::new(
            "app_protocol",
            Shape::Scalar,
            "The application protocol: `http`.",
        ),
        Field::new("name", Shape::Scalar, "The name of the port."),
        idle("host_ip"),
        idle("mode"),
    ],
};

/// A mounted volume.
pub(super) static MOUNT: Record = Record {
    name: "mount",
    doc: "A mounted volume.",
    fields: &[
        Field::new(
            "type",
            Shape::Scalar,
            "`volume`, or `bind` for a directory.",
        ),
        Field::new("source", Shape::Scalar, "The volume.").or(&["src"]),
        Field::new("target", Shape::Scalar, "Path inside the service.")
            .or(&["dst", "destination"])
            .required(),
        Field::new("read_only", Shape::Bool, "Whether it is read-only.").or(&["readonly"]),
        idle("bind"),
        idle("volume"),
        idle("tmpfs"),
        idle("consistency"),
    ],
};

/// Number of instances and their resources.
pub(super) static DEPLOY: Record = Record {
    name: "deploy",
    doc: "Number of instances and their resources.",
    fields: &[
        Field::new("replicas", Shape::Scalar, "Number of instances."),
        Field::new(
            "resources",
            Shape::Record(&RESOURCES),
            "Resources of an instance.",
        ),
        idle("mode"),
        idle("labels"),
        idle("placement"),
        idle("update_config"),
        idle("rollback_config"),
        idle("restart_policy"),
        idle("endpoint_mode"),
    ],
};

/// Resources of an instance.
pub(super) static RESOURCES: Record = Record {
    name: "resources",
    doc: "Resources of an instance.",
    fields: &[
        Field::new("limits", Shape::Record(&AMOUNTS), "Maximum."),
        Field::new("reservations", Shape::Record(&AMOUNTS), "Minimum."),
    ],
};

/// Amounts of resources.
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
        Field::new("name", Shape::Scalar, "Its name."),
        Field::new(
            "external",
            Shape::Bool,
            "Whether it is managed outside of the project.",
        ),
        Field::new("driver", Shape::Scalar, "Ignored: there is one driver."),
        Field::new(
            "driver_opts",
            Shape::Map(&Shape::ScalarOrNothing),
            "`size` is its size, such as `64m`.",
        ),
        Field::new("labels", VARIABLES, "Labels; ignored."),
    ],
};
