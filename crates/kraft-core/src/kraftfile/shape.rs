//! Allowed keys and values of a Kraftfile, as a table.
//!
//! This table is the single source of truth: [`crate::document::check`] validates a file against
//! it, [`super::lower`] reads values by it, [`mod@super::schema`] is generated from it. A new
//! element is one line here and one line in `lower`.

pub(super) use crate::document::shape::{Field, Record, Shape, is_extension};

const TEXTS: Shape = Shape::List(&Shape::Text);
const KCONFIG: Shape = Shape::Either(&[Shape::Map(&Shape::Scalar), TEXTS]);
const COMPONENT_OR_SCALAR: Shape = Shape::Either(&[Shape::Scalar, Shape::Record(&COMPONENT)]);
const FILESYSTEM_OR_PATH: Shape = Shape::Either(&[Shape::Text, Shape::Record(&FILESYSTEM)]);
const VOLUME_OR_TEXT: Shape = Shape::Either(&[Shape::Text, Shape::Record(&VOLUME)]);

const KCONFIG_DOC: &str = "Options of the kernel's configuration: a mapping or a list of `KEY=VALUE`, keys with their `CONFIG_` prefix.";

/// The whole file.
pub(super) static PROJECT: Record = Record {
    name: "project",
    doc: "A Kraftfile: how to build, package and run a unikernel.",
    fields: &[
        Field::new(
            "spec",
            Shape::Scalar,
            "The version of the Kraftfile format: v0.5, v0.6 or v0.7.",
        )
        .or(&["specification"]),
        Field::new(
            "name",
            Shape::Text,
            "The name of the project; by default that of its directory.",
        ),
        Field::new(
            "outdir",
            Shape::Text,
            "The output directory for kernels; by default `.unikraft/build`.",
        ),
        Field::new(
            "unikraft",
            COMPONENT_OR_SCALAR,
            "The Unikraft core: a version such as `stable`, or a source.",
        ),
        Field::new(
            "libraries",
            Shape::Map(&Shape::Either(&[
                Shape::ScalarOrNothing,
                Shape::Record(&COMPONENT),
            ])),
            "External libraries by name: each a version, or a source.",
        ),
        Field::new(
            "targets",
            Shape::List(&Shape::Either(&[Shape::Text, Shape::Record(&TARGET)])),
            "The build targets: `platform/architecture` such as `qemu/x86_64`, or in detail.",
        ),
        Field::new(
            "template",
            Shape::Either(&[Shape::Text, Shape::Record(&TEMPLATE)]),
            "A template: a project whose settings this one inherits.",
        ),
        Field::new(
            "runtime",
            Shape::Either(&[Shape::Text, Shape::Record(&RUNTIME)]),
            "A prebuilt kernel to run on: an image reference such as `base:latest`.",
        ),
        Field::new(
            "rootfs",
            FILESYSTEM_OR_PATH,
            "The root filesystem: a path to a directory, archive or Dockerfile, or in detail.",
        )
        .once(&["initrd"]),
        Field::new(
            "roms",
            Shape::List(&FILESYSTEM_OR_PATH),
            "Additional read-only filesystems for the kernel.",
        ),
        Field::new(
            "volumes",
            Shape::Either(&[
                Shape::Text,
                Shape::Record(&VOLUME),
                Shape::List(&VOLUME_OR_TEXT),
            ]),
            "Named volumes and host directories mounted in the machine: `SRC:DST[:ro]`, or in detail.",
        ),
        Field::new(
            "cmd",
            Shape::Either(&[Shape::Text, TEXTS]),
            "The arguments of the application; before a `--`, those of the kernel.",
        )
        .once(&["command"]),
        Field::new(
            "env",
            Shape::Either(&[Shape::Map(&Shape::ScalarOrNothing), TEXTS]),
            "Environment variables: a mapping or a list of `KEY=VALUE`; without a value, that of the host is inherited.",
        ),
        Field::new(
            "labels",
            Shape::Either(&[Shape::Map(&Shape::Scalar), TEXTS]),
            "Labels of the package.",
        ),
    ],
};

/// The core or a library.
pub(super) static COMPONENT: Record = Record {
    name: "component",
    doc: "The source of a component.",
    fields: &[
        Field::new("source", Shape::Text, "A URL or a directory."),
        Field::new(
            "version",
            Shape::Scalar,
            "A channel (`stable`, `staging`), a tag, a branch or a commit.",
        ),
        Field::new("kconfig", KCONFIG, KCONFIG_DOC),
    ],
};

/// The template of a project.
pub(super) static TEMPLATE: Record = Record {
    name: "template",
    doc: "A template: a project whose settings this one inherits.",
    fields: &[
        Field::new("source", Shape::Text, "A URL or a directory.").required(),
        Field::new("version", Shape::Scalar, "A tag, a branch or a commit."),
        Field::new("kconfig", KCONFIG, KCONFIG_DOC),
    ],
};

/// A prebuilt kernel.
pub(super) static RUNTIME: Record = Record {
    name: "runtime",
    doc: "A prebuilt kernel to run on.",
    fields: &[
        Field::new(
            "source",
            Shape::Text,
            "The image reference of its package, without the tag.",
        )
        .required(),
        Field::new("version", Shape::Scalar, "Its tag or digest."),
        Field::new("kconfig", KCONFIG, KCONFIG_DOC),
    ],
};

/// A build target.
pub(super) static TARGET: Record = Record {
    name: "target",
    doc: "A build target: a platform and an architecture.",
    fields: &[
        Field::new(
            "name",
            Shape::Text,
            "The name of its kernel; by default that of the project.",
        )
        .once(&["kernel"]),
        Field::new(
            "platform",
            Shape::Text,
            "The virtual machine monitor: `qemu`, `fc` or `xen`; may include the architecture after a `/`.",
        )
        .or(&["plat"]),
        Field::new(
            "architecture",
            Shape::Text,
            "The processor: `x86_64`, `arm64` or `arm`.",
        )
        .or(&["arch"]),
        Field::new("kconfig", KCONFIG, KCONFIG_DOC),
        Field::new(
            "cmd",
            Shape::Either(&[Shape::Text, TEXTS]),
            "Arguments for this target; used by formats before v0.6.",
        )
        .once(&["command"]),
        Field::new(
            "initrd",
            Shape::Any,
            "Ignored by all versions of the format; use `rootfs` of the project.",
        ),
    ],
};

/// A filesystem in detail.
pub(super) static FILESYSTEM: Record = Record {
    name: "filesystem",
    doc: "A filesystem: its content and its format.",
    fields: &[
        Field::new(
            "source",
            Shape::Either(&[Shape::Text, Shape::Record(&SOURCE)]),
            "A path to a directory, archive or Dockerfile, or in detail.",
        )
        .required(),
        Field::new(
            "format",
            Shape::Word(&["cpio", "erofs"]),
            "The format to pack it in: `cpio` or `erofs`.",
        )
        .or(&["type"]),
    ],
};

/// The content of a filesystem in detail.
pub(super) static SOURCE: Record = Record {
    name: "source",
    doc: "The content of a filesystem.",
    fields: &[
        Field::new(
            "path",
            Shape::Text,
            "A path to a directory or archive, or the build context.",
        ),
        Field::new("dockerfile", Shape::Text, "The Dockerfile that builds it."),
        Field::new(
            "type",
            Shape::Text,
            "The type of the path; detected by default.",
        ),
    ],
};

/// A volume in detail.
pub(super) static VOLUME: Record = Record {
    name: "volume",
    doc: "A named volume or a host directory mounted in the machine.",
    fields: &[
        Field::new("driver", Shape::Text, "The driver that shares it: `9pfs`."),
        Field::new(
            "source",
            Shape::Text,
            "The name of a volume, or a directory of the host: with a slash, or a dot first.",
        )
        .required(),
        Field::new(
            "destination",
            Shape::Text,
            "Mount point in the machine; by default `/`.",
        ),
        Field::new("readonly", Shape::Bool, "Whether it is read-only.").or(&["readOnly"]),
        Field::new("mode", Shape::Scalar, "`ro` for read-only, otherwise `rw`."),
    ],
};
