//! Allowed keys and values of a Compose file, as a table; [`super::effect`] says which of them have no
//! effect where.

use crate::document::shape::{Field, Record, Shape};

const TEXTS: Shape = Shape::List(&Shape::Scalar);
const COMMAND: Shape = Shape::Either(&[Shape::Scalar, TEXTS]);
const FILES: Shape = Shape::Map(&Shape::Record(&FILE_SOURCE));
const FILE_MOUNTS: Shape =
    Shape::List(&Shape::Either(&[Shape::Scalar, Shape::Record(&FILE_MOUNT)]));
const VARIABLES: Shape = Shape::Either(&[Shape::Map(&Shape::ScalarOrNothing), TEXTS]);

/// Whether something is managed outside of the project; in files of version 2, with its name.
const EXTERNAL: Shape = Shape::Either(&[Shape::Bool, Shape::Record(&EXTERNAL_NAME)]);

/// A value that [`super::lower`] converts by itself, or that has no effect.
const FREE: Shape = Shape::Free;

/// The description of keys for containers that have no effect on unikernels.
pub(super) const IDLE: &str = "Has no effect on unikernels.";

/// The description of keys that have no effect in the cloud.
pub(super) const LOCAL: &str = "Has no effect in the cloud.";

const fn idle(name: &'static str) -> Field {
    Field::new(name, FREE, IDLE)
}

const fn local(name: &'static str, shape: Shape) -> Field {
    Field::new(name, shape, LOCAL)
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
        ),
        Field::new("include", FREE, "Other Compose files of the project."),
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
            Shape::Map(&Shape::Either(&[
                Shape::ScalarOrNothing,
                Shape::Record(&NETWORK),
            ])),
            "In the cloud, all instances of an account share a network.",
        ),
        Field::new(
            "configs",
            FILES,
            "In the cloud, put the files into the root filesystem.",
        ),
        Field::new("secrets", FILES, "In the cloud, use environment variables."),
        idle("models"),
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
        Shape::Either(&[TEXTS, Shape::Map(&Shape::Record(&DEPENDENCY))]),
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
    Field::new("labels", VARIABLES, "Labels; the cloud has none."),
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
    local("hostname", Shape::Scalar),
    local("working_dir", Shape::Scalar),
    Field::new(
        "extends",
        Shape::Either(&[Shape::Scalar, Shape::Record(&EXTENDS)]),
        "The service that it is based on, of this or of another file.",
    ),
    local(
        "networks",
        Shape::Either(&[
            TEXTS,
            Shape::Map(&Shape::Either(&[
                Shape::ScalarOrNothing,
                Shape::Record(&SERVICE_NETWORK),
            ])),
        ]),
    ),
    local("network_mode", Shape::Scalar),
    local("mac_address", Shape::Scalar),
    local("healthcheck", Shape::Record(&HEALTH)),
    local("x-kraft-health", Shape::Scalar),
    local("x-kraft-sleep-after", Shape::Scalar),
    local("stop_grace_period", Shape::Scalar),
    local("dns", Shape::Either(&[Shape::Scalar, TEXTS])),
    local("secrets", FILE_MOUNTS),
    local("configs", FILE_MOUNTS),
    local("cpus", Shape::Scalar),
    local("stdin_open", Shape::Bool),
    local("tty", Shape::Bool),
    local("pull_policy", Shape::Scalar),
    local(
        "extra_hosts",
        Shape::Either(&[
            Shape::Map(&Shape::Either(&[Shape::ScalarOrNothing, TEXTS])),
            TEXTS,
        ]),
    ),
    local("links", TEXTS),
    local("volumes_from", TEXTS),
    local("develop", Shape::Record(&DEVELOP)),
    Field::new("annotations", VARIABLES, "Notes for other tools."),
    idle("blkio_config"),
    idle("cap_add"),
    idle("cap_drop"),
    idle("cgroup"),
    idle("cgroup_parent"),
    idle("cpu_count"),
    idle("cpu_percent"),
    idle("cpu_period"),
    idle("cpu_quota"),
    idle("cpu_rt_period"),
    idle("cpu_rt_runtime"),
    idle("cpu_shares"),
    idle("cpuset"),
    idle("credential_spec"),
    idle("device_cgroup_rules"),
    idle("devices"),
    idle("dns_opt"),
    idle("dns_search"),
    idle("external_links"),
    idle("gpus"),
    idle("group_add"),
    idle("init"),
    idle("ipc"),
    idle("isolation"),
    idle("label_file"),
    idle("logging"),
    idle("mem_swappiness"),
    idle("models"),
    idle("memswap_limit"),
    idle("oom_kill_disable"),
    idle("oom_score_adj"),
    idle("pid"),
    idle("pids_limit"),
    idle("post_start"),
    idle("pre_start"),
    idle("pre_stop"),
    idle("privileged"),
    idle("read_only"),
    idle("provider"),
    idle("pull_refresh_after"),
    idle("security_opt"),
    idle("shm_size"),
    idle("stop_signal"),
    idle("storage_opt"),
    idle("sysctls"),
    idle("tmpfs"),
    idle("ulimits"),
    idle("user"),
    idle("use_api_socket"),
    idle("userns_mode"),
    idle("uts"),
];

/// A service that another one is based on.
pub(super) static EXTENDS: Record = Record {
    name: "extends",
    doc: "The service that it is based on.",
    fields: &[
        Field::new("service", Shape::Scalar, "Its name.").required(),
        Field::new("file", Shape::Scalar, "The Compose file it is in."),
    ],
};

/// A service that another one needs.
pub(super) static DEPENDENCY: Record = Record {
    name: "depends_on",
    doc: "A service that is needed.",
    fields: &[
        Field::new(
            "condition",
            Shape::Word(&[
                "service_started",
                "service_healthy",
                "service_completed_successfully",
            ]),
            "What is waited for.",
        ),
        Field::new(
            "required",
            Shape::Bool,
            "Whether it is an error if the service does not exist.",
        ),
        local("restart", Shape::Bool),
    ],
};

/// What happens while a service is developed.
pub(super) static DEVELOP: Record = Record {
    name: "develop",
    doc: "What happens while a service is developed.",
    fields: &[Field::new(
        "watch",
        Shape::List(&Shape::Record(&WATCH)),
        "What happens when files change.",
    )],
};

/// What happens when files change.
pub(super) static WATCH: Record = Record {
    name: "watch",
    doc: "What happens when files change.",
    fields: &[
        Field::new("path", Shape::Scalar, "The file or directory.").required(),
        Field::new(
            "action",
            Shape::Word(&["rebuild", "restart", "sync", "sync+restart", "sync+exec"]),
            "What is done.",
        )
        .required(),
        Field::new("target", Shape::Scalar, "Where files are copied."),
        Field::new(
            "ignore",
            Shape::Either(&[Shape::Scalar, TEXTS]),
            "Patterns of files that do not count.",
        ),
        Field::new(
            "include",
            Shape::Either(&[Shape::Scalar, TEXTS]),
            "Patterns of the files that count.",
        ),
        idle("initial_sync"),
        idle("exec"),
    ],
};

/// The connection of a service to a network.
pub(super) static SERVICE_NETWORK: Record = Record {
    name: "networks",
    doc: "The connection of a service to a network.",
    fields: &[
        Field::new("aliases", TEXTS, "Further names of the service."),
        Field::new("ipv4_address", Shape::Scalar, "Its address."),
        Field::new("mac_address", Shape::Scalar, "Its hardware address."),
        Field::new(
            "priority",
            Shape::Scalar,
            "Networks with a higher one come first.",
        ),
        idle("ipv6_address"),
        idle("link_local_ips"),
        idle("gw_priority"),
        idle("interface_name"),
        idle("driver_opts"),
    ],
};

/// A health check.
pub(super) static HEALTH: Record = Record {
    name: "healthcheck",
    doc: "How the health is checked.",
    fields: &[
        Field::new("test", COMMAND, "What is tried."),
        Field::new("interval", Shape::Scalar, "Time between two checks."),
        Field::new("timeout", Shape::Scalar, "How long a check may take."),
        Field::new(
            "retries",
            Shape::Scalar,
            "Failures in a row until it is unhealthy.",
        ),
        Field::new(
            "start_period",
            Shape::Scalar,
            "How long failures do not count.",
        ),
        Field::new("disable", Shape::Bool, "Whether nothing is checked."),
        idle("start_interval"),
    ],
};

/// A config or a secret of a service.
pub(super) static FILE_MOUNT: Record = Record {
    name: "file",
    doc: "A config or a secret of a service.",
    fields: &[
        Field::new("source", Shape::Scalar, "Its key.").required(),
        Field::new("target", Shape::Scalar, "Path inside the service."),
        Field::new("mode", Shape::Scalar, "Its permissions, such as 0440."),
        idle("uid"),
        idle("gid"),
    ],
};

/// A config or a secret of the project.
pub(super) static FILE_SOURCE: Record = Record {
    name: "file source",
    doc: "A config or a secret of the project.",
    fields: &[
        Field::new("file", Shape::Scalar, "A file with its content."),
        Field::new("environment", Shape::Scalar, "A variable with its content."),
        Field::new("content", Shape::Scalar, "Its content."),
        Field::new(
            "external",
            EXTERNAL,
            "Whether it is managed outside of the project.",
        ),
        Field::new("name", Shape::Scalar, "Its name."),
        Field::new("labels", VARIABLES, "Labels; ignored."),
        idle("template_driver"),
        idle("driver"),
        idle("driver_opts"),
    ],
};

/// The name of something that is managed outside of the project.
pub(super) static EXTERNAL_NAME: Record = Record {
    name: "external",
    doc: "The name of something that is managed outside of the project.",
    fields: &[Field::new("name", Shape::Scalar, "Its name.")],
};

/// A network.
pub(super) static NETWORK: Record = Record {
    name: "network",
    doc: "A network.",
    fields: &[
        Field::new("name", Shape::Scalar, "Its name."),
        Field::new(
            "external",
            EXTERNAL,
            "Whether it is managed outside of the project.",
        ),
        Field::new("internal", Shape::Bool, "Whether it has no way out."),
        Field::new("driver", Shape::Scalar, "Ignored: networks are bridges."),
        Field::new("ipam", Shape::Record(&IPAM), "Its addresses."),
        Field::new("labels", VARIABLES, "Labels; ignored."),
        idle("attachable"),
        idle("driver_opts"),
        idle("enable_ipv4"),
        idle("enable_ipv6"),
    ],
};

/// The addresses of a network.
pub(super) static IPAM: Record = Record {
    name: "ipam",
    doc: "The addresses of a network.",
    fields: &[
        Field::new(
            "config",
            Shape::List(&Shape::Record(&SUBNET)),
            "Its subnet.",
        ),
        Field::new("driver", Shape::Scalar, "Ignored: there is one driver."),
        idle("options"),
    ],
};

/// A subnet.
pub(super) static SUBNET: Record = Record {
    name: "subnet",
    doc: "A subnet.",
    fields: &[
        Field::new(
            "subnet",
            Shape::Scalar,
            "An address and a mask: `172.23.0.0/16`.",
        ),
        Field::new("gateway", Shape::Scalar, "The address of the gateway."),
        idle("ip_range"),
        idle("aux_addresses"),
    ],
};

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
        local("dockerfile_inline", Shape::Scalar),
        Field::new("args", VARIABLES, "Build arguments."),
        Field::new("target", Shape::Scalar, "The stage."),
        Field::new("labels", VARIABLES, "Labels; ignored."),
        idle("network"),
        idle("pull"),
        idle("shm_size"),
        idle("ulimits"),
        idle("privileged"),
        idle("extra_hosts"),
        idle("entitlements"),
        idle("isolation"),
        idle("provenance"),
        idle("sbom"),
        idle("additional_contexts"),
        idle("no_cache_filter"),
        Field::new("tags", TEXTS, "Ignored: an image has one name."),
        Field::new("cache_from", FREE, "Use `--build-cache-from`."),
        Field::new("cache_to", FREE, "Use `--build-cache-to`."),
        Field::new("secrets", FREE, "Use `--build-secret`."),
        Field::new("ssh", FREE, "Use `--build-ssh`."),
        Field::new("platforms", FREE, "Ignored: determined by the runtime."),
        Field::new("no_cache", FREE, "Use `--build-no-cache`."),
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
        Field::new(
            "format",
            Shape::Word(&["raw"]),
            "`raw` takes values as they are.",
        ),
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
        local("host_ip", Shape::Scalar),
        Field::new("mode", Shape::Scalar, "Ignored: there is one host."),
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
            "`volume`, `bind` for a directory, or `tmpfs` for memory.",
        ),
        Field::new("source", Shape::Scalar, "The volume.").or(&["src"]),
        Field::new("target", Shape::Scalar, "Path inside the service.")
            .or(&["dst", "destination"])
            .required(),
        Field::new("read_only", Shape::Bool, "Whether it is read-only.").or(&["readonly"]),
        Field::new("bind", Shape::Record(&BIND_OPTIONS), "Its options."),
        Field::new("volume", Shape::Record(&VOLUME_OPTIONS), "Its options."),
        idle("tmpfs"),
        idle("consistency"),
    ],
};

/// Options of a mounted directory.
pub(super) static BIND_OPTIONS: Record = Record {
    name: "bind",
    doc: "Options of a mounted directory.",
    fields: &[
        Field::new("create_host_path", FREE, "Ignored: a missing one is made."),
        idle("propagation"),
        idle("selinux"),
        idle("recursive"),
    ],
};

/// Options of a mounted volume.
pub(super) static VOLUME_OPTIONS: Record = Record {
    name: "volume options",
    doc: "Options of a mounted volume.",
    fields: &[
        Field::new("nocopy", FREE, "Ignored: nothing is ever copied."),
        Field::new("subpath", Shape::Scalar, "Not supported."),
        Field::new("labels", VARIABLES, "Labels; ignored."),
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
        local("restart_policy", Shape::Record(&RESTART)),
        idle("endpoint_mode"),
    ],
};

/// A restart policy.
pub(super) static RESTART: Record = Record {
    name: "restart_policy",
    doc: "When it is started again.",
    fields: &[
        Field::new(
            "condition",
            Shape::Word(&["none", "on-failure", "any"]),
            "`none`, `on-failure` or `any`.",
        ),
        Field::new("max_attempts", Shape::Scalar, "How often."),
        idle("delay"),
        idle("window"),
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
        local("cpus", Shape::Scalar),
        idle("pids"),
        idle("generic_resources"),
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
            EXTERNAL,
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
