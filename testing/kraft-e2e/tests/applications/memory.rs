//! How much memory an application needs: a measurement, for the table in docs/runtime.md.

use crate::catalog::ALL;
use crate::guest::{Guest, exists, root};

/// The sizes that are tried, in MiB.
const SIZES: [u32; 12] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384, 512];

/// `KRAFT_APPLICATION=NAME` measures a single one.
#[test]
#[ignore = "measures: make applications does not run it"]
fn the_smallest_machine_of_each_application() {
    let only = std::env::var("KRAFT_APPLICATION").ok();
    let all = ALL
        .iter()
        .filter(|one| only.as_deref().is_none_or(|name| name == one.name));
    for application in all {
        for arch in ["x86_64", "arm64"] {
            if application.memory(arch) == 0 || !exists(arch, application.root) {
                continue;
            }
            let root = root(arch, application.root).unwrap();
            let enough = SIZES.into_iter().find(|&size| {
                let guest = Guest::new(&root, arch, size);
                application.prove(&guest, false).is_ok()
            });
            println!("{arch:7} {:16} {enough:?} MiB", application.name);
        }
    }
}
