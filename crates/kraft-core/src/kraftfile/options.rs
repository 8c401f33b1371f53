//! Kconfig options of a target, and the origin of each.
//!
//! ```text
//! name < unikraft < libraries, each with the option that enables it < platform, architecture
//!   < target < environment < embedded root filesystem        (later wins)
//! ```

use std::collections::BTreeMap;

use crate::problem::Span;

use super::model::{KconfigOption, Kraftfile, Target};
use super::names::normalised;

/// Maximum number of variables in a kernel; index 0 is reserved for the kernel (Unikraft,
/// lib/posix-environ).
const MOST_VARIABLES: usize = 15;

/// Options that make a kernel mount an embedded root filesystem.
const EMBEDDED: [&str; 3] = [
    "CONFIG_LIBVFSCORE_FSTAB",
    "CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD",
    "CONFIG_LIBVFSCORE_AUTOMOUNT_CI_EINITRD",
];
/// The option with the path of that root filesystem.
const EMBEDDED_PATH: &str = "CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD_PATH";

/// The origin of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asker {
    /// The project's name.
    Name,
    /// A `kconfig` of the Kraftfile.
    Author,
    /// A `kconfig` of the template.
    Template,
    /// A listed library.
    Library,
    /// The platform or the architecture of the target.
    Target,
    /// An environment variable.
    Environment,
    /// The root filesystem.
    Rootfs,
}

/// An option and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its value as in `.config`, without quotes.
    pub value: String,
    /// Its origin.
    pub by: Asker,
    /// Position in the Kraftfile, if it is set there.
    pub span: Option<Span>,
}

/// Options by name.
pub type Options = BTreeMap<String, Asked>;

impl Kraftfile {
    /// Returns the options of a target, without environment and root filesystem.
    pub fn options(&self, target: &Target, directory: &str) -> Options {
        let mut options = Options::new();
        let name = normalised(self.raw_name(directory));
        put(&mut options, "CONFIG_UK_NAME", &name, Asker::Name);
        author(
            &mut options,
            self.unikraft.iter().flat_map(|core| &core.kconfig),
        );
        for library in &self.libraries {
            put(&mut options, &library.symbol(), "y", Asker::Library);
            author(&mut options, &library.component.kconfig);
        }
        for symbol in platform_options(&target.platform) {
            put(&mut options, symbol, "y", Asker::Target);
        }
        if let Some(symbol) = architecture_option(&target.architecture) {
            put(&mut options, symbol, "y", Asker::Target);
        }
        author(&mut options, &target.kconfig);
        options
    }
}

impl Kraftfile {
    /// Returns the position of each option that the file sets; the last if there are several.
    pub fn option_places(&self) -> BTreeMap<String, Span> {
        let components = self
            .unikraft
            .iter()
            .chain(self.libraries.iter().map(|library| &library.component));
        components
            .map(|component| &component.kconfig)
            .chain(self.targets.iter().map(|target| &target.kconfig))
            .flatten()
            .map(|(name, _)| (name.value.clone(), name.span))
            .collect()
    }
}

/// Compiles in variables, given by name and value; returns the names of those beyond the limit.
pub fn add_environment<'a>(
    options: &mut Options,
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<&'a str> {
    let mut left_out = Vec::new();
    let mut next = 1;
    for (name, value) in variables {
        let free = (next..=MOST_VARIABLES).find(|n| !options.contains_key(&variable(*n)));
        let Some(n) = free else {
            left_out.push(name);
            continue;
        };
        let text = format!("{name}={value}");
        put(options, &variable(n), &text, Asker::Environment);
        next = n + 1;
    }
    left_out
}

fn variable(n: usize) -> String {
    format!("CONFIG_LIBPOSIX_ENVIRON_ENVP{n}")
}

/// Returns whether the kernel embeds its root filesystem.
pub fn embeds_rootfs(options: &Options) -> bool {
    EMBEDDED
        .iter()
        .any(|name| options.get(*name).is_some_and(|asked| asked.value == "y"))
}

/// Sets the path of the embedded archive, unless the Kraftfile does.
pub fn embed_rootfs(options: &mut Options, archive: &str) {
    let named = options
        .get(EMBEDDED_PATH)
        .is_some_and(|asked| !asked.value.is_empty());
    if !named {
        put(options, EMBEDDED_PATH, archive, Asker::Rootfs);
    }
}

fn put(options: &mut Options, name: &str, value: &str, by: Asker) {
    let asked = Asked {
        value: value.to_owned(),
        by,
        span: None,
    };
    options.insert(name.to_owned(), asked);
}

fn author<'a>(options: &mut Options, given: impl IntoIterator<Item = &'a KconfigOption>) {
    for (name, value) in given {
        // Options of a template have no position in this text.
        let span = Some(name.span).filter(|span| *span != Span::default());
        let asked = Asked {
            value: value.value.clone(),
            by: match span {
                Some(_) => Asker::Author,
                None => Asker::Template,
            },
            span,
        };
        options.insert(name.value.clone(), asked);
    }
}

/// Returns the options of a platform (Unikraft, plat/); unknown platforms have none.
pub fn platform_options(platform: &str) -> &'static [&'static str] {
    match platform {
        "qemu" | "kvm" => &["CONFIG_PLAT_KVM", "CONFIG_KVM_VMM_QEMU"],
        "fc" | "firecracker" | "kraftcloud" => &["CONFIG_PLAT_KVM", "CONFIG_KVM_VMM_FIRECRACKER"],
        "xen" => &["CONFIG_PLAT_XEN"],
        "linuxu" => &["CONFIG_PLAT_LINUXU"],
        _ => &[],
    }
}

/// Returns the option of an architecture (Unikraft, arch/).
pub fn architecture_option(architecture: &str) -> Option<&'static str> {
    match architecture {
        "x86_64" => Some("CONFIG_ARCH_X86_64"),
        "arm64" => Some("CONFIG_ARCH_ARM_64"),
        "arm" => Some("CONFIG_ARCH_ARM_32"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn options(text: &str) -> Options {
        let kraftfile = parse(text, &|_| None).kraftfile.unwrap();
        let target = kraftfile.targets[0].clone();
        kraftfile.options(&target, "My Dir")
    }

    fn value<'a>(options: &'a Options, name: &str) -> &'a str {
        &options[name].value
    }

    #[test]
    fn later_layers_win_and_libraries_are_enabled() {
        let it = options(
            "spec: v0.6\nunikraft: {version: stable, kconfig: {CONFIG_A: 1, CONFIG_B: 1, CONFIG_LIBLWIP: 'n'}}\n\
             libraries: {lwip: {version: stable, kconfig: {CONFIG_B: 2, CONFIG_C: 2}}, libelf: stable}\n\
             targets: [{plat: fc, arch: arm64, kconfig: {CONFIG_C: 3, CONFIG_PLAT_KVM: 'n'}}]\n",
        );
        assert_eq!(value(&it, "CONFIG_A"), "1");
        assert_eq!(value(&it, "CONFIG_B"), "2");
        assert_eq!(value(&it, "CONFIG_C"), "3");
        assert_eq!(value(&it, "CONFIG_LIBLWIP"), "y");
        assert_eq!(value(&it, "CONFIG_LIBELF"), "y");
        assert_eq!(value(&it, "CONFIG_KVM_VMM_FIRECRACKER"), "y");
        assert_eq!(value(&it, "CONFIG_PLAT_KVM"), "n");
        assert_eq!(value(&it, "CONFIG_ARCH_ARM_64"), "y");
        assert_eq!(value(&it, "CONFIG_UK_NAME"), "mydir");
        assert!(it["CONFIG_A"].span.is_some());
        assert_eq!(it["CONFIG_LIBELF"].by, Asker::Library);
    }

    #[test]
    fn variables_use_free_indices_up_to_the_limit() {
        let mut it = options(
            "spec: v0.6\nunikraft: {version: stable, kconfig: {CONFIG_LIBPOSIX_ENVIRON_ENVP2: 'X=1'}}\n\
             targets: [qemu/x86_64]\n",
        );
        let names: Vec<String> = (0..16).map(|n| format!("V{n}")).collect();
        let left = add_environment(&mut it, names.iter().map(|n| (n.as_str(), "v")));
        assert_eq!(left, ["V14", "V15"]);
        assert_eq!(value(&it, "CONFIG_LIBPOSIX_ENVIRON_ENVP1"), "V0=v");
        assert_eq!(value(&it, "CONFIG_LIBPOSIX_ENVIRON_ENVP2"), "X=1");
        assert_eq!(value(&it, "CONFIG_LIBPOSIX_ENVIRON_ENVP3"), "V1=v");
        assert_eq!(value(&it, "CONFIG_LIBPOSIX_ENVIRON_ENVP15"), "V13=v");
    }

    #[test]
    fn archives_are_embedded_on_request() {
        let mut it = options(
            "spec: v0.6\nunikraft: {version: s, kconfig: {CONFIG_LIBVFSCORE_AUTOMOUNT_EINITRD: 'y'}}\n\
             targets: [qemu/x86_64]\n",
        );
        assert!(embeds_rootfs(&it));
        embed_rootfs(&mut it, "/o/initramfs-x86_64.cpio");
        embed_rootfs(&mut it, "/other");
        assert_eq!(value(&it, EMBEDDED_PATH), "/o/initramfs-x86_64.cpio");
    }
}
