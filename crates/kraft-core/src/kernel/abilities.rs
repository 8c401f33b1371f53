//! Features of a kernel, derived from its configuration or its library records.
//!
//! A kernel silently ignores what it does not support, or passes its parameters to the application
//! as arguments. Nothing is guessed: incomplete lists of options or libraries leave features
//! unknown.

/// Features of a kernel; `None` if unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it parses parameters before `--` on its command line (`LIBUKLIBPARAM`).
    pub parameters: Option<bool>,
    /// Whether it reads environment variables from its command line (`LIBPOSIX_ENVIRON_LIBPARAM`).
    pub environment: Option<bool>,
    /// Maximum number of variables it reads from there.
    pub variables: Option<usize>,
    /// Whether it has a file system to unpack an archive into (`LIBVFSCORE`, `LIBPOSIX_VFS`).
    pub files: Option<bool>,
    /// Whether it mounts host directories (`LIB9PFS`).
    pub volumes: Option<bool>,
    /// Whether it has drivers for network devices (`LIBUKNETDEV`).
    pub network: Option<bool>,
    /// Whether it panics without a network interface (`LWIP_FAILNOIFACE`).
    pub insists_on_network: bool,
    /// Whether it loads Linux programs (`APPELFLOADER`).
    pub loads_programs: Option<bool>,
    /// Whether that loader opens the program in the root filesystem; otherwise the initrd is the
    /// program.
    pub loads_from_files: Option<bool>,
}

impl Abilities {
    /// The features of the built-in runtime's kernel.
    pub const RUNTIME: Self = Self {
        parameters: Some(true),
        environment: Some(true),
        variables: None,
        files: Some(true),
        volumes: Some(true),
        network: Some(true),
        insists_on_network: false,
        loads_programs: Some(true),
        loads_from_files: Some(true),
    };

    /// Derives features from a configuration: `CONFIG_NAME=VALUE` entries, without disabled
    /// options.
    ///
    /// Images packaged from a kernel file list only the options implied by their platform: such a
    /// list proves which features exist, but not which are missing.
    pub fn of_options<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut on = std::collections::BTreeSet::new();
        let mut variables = None;
        for option in options {
            let option = option.strip_prefix("CONFIG_").unwrap_or(option);
            match option.split_once('=') {
                Some((name, "y")) => drop(on.insert(name)),
                Some(("LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT", count)) => {
                    variables = count.parse().ok();
                }
                _ => {}
            }
        }
        let complete = on.contains("LIBUKBOOT");
        let says = |has: bool| (has || complete).then_some(has);
        let any = |names: &[&str]| names.iter().any(|name| on.contains(name));
        let loads = on.iter().any(|name| name.starts_with("APPELFLOADER"));
        Self {
            parameters: says(any(&["LIBUKLIBPARAM"])),
            environment: says(any(&["LIBPOSIX_ENVIRON_LIBPARAM"])),
            variables,
            files: says(any(&["LIBVFSCORE", "LIBPOSIX_VFS"])),
            volumes: says(on.iter().any(|name| name.contains("9PFS"))),
            network: says(any(&["LIBUKNETDEV"])),
            insists_on_network: any(&["LWIP_FAILNOIFACE"]),
            loads_programs: says(loads),
            loads_from_files: if any(&["APPELFLOADER_VFSEXEC", "LIBVFSCORE_AUTOMOUNT_CI"]) {
                Some(true)
            } else {
                says(false).filter(|_| loads)
            },
        }
    }

    /// Derives features from the names of the libraries that a kernel records: `libukboot`.
    pub fn of_libraries<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
        if !names.contains("libukboot") {
            return Self::default();
        }
        let any = |wanted: &[&str]| wanted.iter().any(|name| names.contains(name));
        let files = any(&["libvfscore", "libposix_vfs"]);
        let loads = any(&["appelfloader"]);
        let parameters = any(&["libuklibparam"]);
        Self {
            parameters: Some(parameters),
            // The records do not contain whether the library was built with that parameter.
            environment: (!parameters || !any(&["libposix_environ"])).then_some(false),
            variables: None,
            files: Some(files),
            volumes: Some(names.iter().any(|name| name.contains("9pfs"))),
            network: Some(any(&["libuknetdev"])),
            insists_on_network: false,
            loads_programs: Some(loads),
            // Only a loader that uses the root filesystem selects the file system library.
            loads_from_files: loads.then_some(files),
        }
    }

    /// Fills unknown features from another source about the same kernel.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            parameters: self.parameters.or(other.parameters),
            environment: self.environment.or(other.environment),
            variables: self.variables.or(other.variables),
            files: self.files.or(other.files),
            volumes: self.volumes.or(other.volumes),
            network: self.network.or(other.network),
            insists_on_network: self.insists_on_network || other.insists_on_network,
            loads_programs: self.loads_programs.or(other.loads_programs),
            loads_from_files: self.loads_from_files.or(other.loads_from_files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_configurations_prove_missing_features() {
        let hello = Abilities::of_options(["CONFIG_LIBUKBOOT=y", "CONFIG_LIBUKDEBUG=y"]);
        assert_eq!(hello.parameters, Some(false));
        assert_eq!(hello.volumes, Some(false));
        assert_eq!(hello.network, Some(false));
        assert_eq!(hello.files, Some(false));
        assert_eq!(hello.loads_programs, Some(false));
        assert_eq!(hello.loads_from_files, None);
        let base = Abilities::of_options([
            "CONFIG_LIBUKBOOT=y",
            "CONFIG_LIBUKLIBPARAM=y",
            "CONFIG_LIBVFSCORE=y",
            "CONFIG_LIB9PFS=y",
            "CONFIG_LIBUKNETDEV=y",
            "CONFIG_LWIP_FAILNOIFACE=y",
            "CONFIG_APPELFLOADER_VFSEXEC=y",
            "CONFIG_LIBPOSIX_ENVIRON_LIBPARAM=y",
            "CONFIG_LIBPOSIX_ENVIRON_LIBPARAM_MAXCOUNT=24",
        ]);
        assert_eq!(base.variables, Some(24));
        assert!(base.insists_on_network);
        for ability in [
            base.parameters,
            base.environment,
            base.files,
            base.volumes,
            base.network,
            base.loads_programs,
            base.loads_from_files,
        ] {
            assert_eq!(ability, Some(true));
        }
    }

    #[test]
    fn incomplete_lists_leave_features_unknown() {
        let implied = ["CONFIG_ARCH_X86_64=y", "CONFIG_PLAT_KVM=y"];
        assert_eq!(Abilities::of_options(implied), Abilities::default());
        let older = Abilities::of_options(["CONFIG_LIB9PFS=y", "CONFIG_LIBUKNETDEV=n"]);
        assert_eq!((older.volumes, older.network), (Some(true), None));
        let mini = Abilities::of_libraries(["libmini", "libminifs"]);
        assert_eq!(mini, Abilities::default());
    }

    #[test]
    fn library_names_imply_features() {
        let it = Abilities::of_libraries(["libukboot", "appelfloader", "libvfscore", "lib9pfs"]);
        assert_eq!(it.loads_from_files, Some(true));
        assert_eq!(it.volumes, Some(true));
        assert_eq!(it.network, Some(false));
        assert_eq!(it.environment, Some(false));
        let raw = Abilities::of_libraries(["libukboot", "appelfloader"]);
        assert_eq!(raw.loads_from_files, Some(false));
        let with = Abilities::of_libraries(["libukboot", "libuklibparam", "libposix_environ"]);
        assert_eq!(with.environment, None);
    }

    #[test]
    fn unknown_features_are_filled_from_another_source() {
        let options = Abilities::of_options(["CONFIG_LIB9PFS=y"]);
        let libraries = Abilities::of_libraries(["libukboot"]);
        let both = options.or(libraries);
        assert_eq!((both.volumes, both.network), (Some(true), Some(false)));
    }
}
