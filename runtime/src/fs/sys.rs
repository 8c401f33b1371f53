//! `/sys`: the few files that common programs read.

use alloc::rc::Rc;

use super::generated::{FixedNode, Item, Tree};
use super::{Node, mounts};

use Item::{Directory, Fixed};

const MAGIC: u64 = 0x6265_6572;

static ROOT: Item = Directory(&[
    ("block", Directory(&[])),
    ("bus", Directory(&[])),
    ("class", Directory(&[("block", Directory(&[]))])),
    ("dev", Directory(&[("char", Directory(&[]))])),
    (
        "devices",
        Directory(&[(
            "system",
            Directory(&[
                (
                    "cpu",
                    Directory(&[
                        (
                            "cpu0",
                            Directory(&[
                                ("online", Fixed("1\n")),
                                ("topology", Directory(TOPOLOGY)),
                            ]),
                        ),
                        ("isolated", Fixed("\n")),
                        ("kernel_max", Fixed("0\n")),
                        ("offline", Fixed("\n")),
                        ("online", Fixed("0\n")),
                        ("possible", Fixed("0\n")),
                        ("present", Fixed("0\n")),
                    ]),
                ),
                (
                    "node",
                    Directory(&[
                        ("has_cpu", Fixed("0\n")),
                        ("has_memory", Fixed("0\n")),
                        (
                            "node0",
                            Directory(&[("cpulist", Fixed("0\n")), ("cpumap", Fixed("1\n"))]),
                        ),
                        ("online", Fixed("0\n")),
                        ("possible", Fixed("0\n")),
                    ]),
                ),
            ]),
        )]),
    ),
    ("firmware", Directory(&[])),
    ("fs", Directory(&[("cgroup", Directory(&[]))])),
    (
        "kernel",
        Directory(&[
            (
                "mm",
                Directory(&[
                    ("hugepages", Directory(&[])),
                    (
                        "transparent_hugepage",
                        Directory(&[
                            (
                                "defrag",
                                Fixed("always defer defer+madvise madvise [never]\n"),
                            ),
                            ("enabled", Fixed("always madvise [never]\n")),
                            ("hpage_pmd_size", Fixed("2097152\n")),
                            (
                                "shmem_enabled",
                                Fixed("always within_size advise [never] deny force\n"),
                            ),
                        ]),
                    ),
                ]),
            ),
            ("security", Directory(&[])),
        ]),
    ),
    ("module", Directory(&[])),
    ("power", Directory(&[])),
]);

static TOPOLOGY: &[(&str, Item)] = &[
    ("core_cpus", Fixed("1\n")),
    ("core_cpus_list", Fixed("0\n")),
    ("core_id", Fixed("0\n")),
    ("core_siblings", Fixed("1\n")),
    ("core_siblings_list", Fixed("0\n")),
    ("package_cpus_list", Fixed("0\n")),
    ("physical_package_id", Fixed("0\n")),
    ("thread_siblings", Fixed("1\n")),
    ("thread_siblings_list", Fixed("0\n")),
];

/// Makes the file system; its root.
pub fn new() -> Rc<dyn Node> {
    FixedNode::new(
        Tree {
            device: mounts::next_device(),
            magic: MAGIC,
        },
        &ROOT,
    )
}
