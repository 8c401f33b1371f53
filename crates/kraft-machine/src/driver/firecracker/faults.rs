//! What Firecracker answers when it refuses something, and what that means for a machine of kraft.

/// A refusal for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The reason.
    pub(super) why: String,
    /// What to do about it.
    pub(super) cure: Option<&'static str>,
}

/// Parts of the messages of Firecracker 1.4 to 1.10, with what they mean for a machine of kraft. What
/// is not here is shown as it is.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "Device or resource busy",
        "another program has the card of its network",
        "start it again; if that does not help, `kraft net down` and `kraft net up` the network",
    ),
    (
        "Invalid Elf magic number",
        "Firecracker loads ELF files only, and the kernel is none",
        "build the project for fc, or run it on QEMU: `--plat qemu`",
    ),
    (
        "failed to load ELF kernel image",
        "Firecracker cannot load the kernel: its ELF file is damaged, or does not fit into the memory",
        "give the machine more memory: `--memory`",
    ),
    (
        "Invalid cmdline capacity",
        "the kernel command line is longer than the 2048 bytes that Firecracker takes",
        "pass fewer arguments and environment variables, or run it on QEMU: `--plat qemu`",
    ),
    (
        "kernel file cannot be opened",
        "Firecracker cannot open the kernel",
        "check that its user may read the file",
    ),
    (
        "initrd file cannot be opened",
        "Firecracker cannot open the root archive",
        "check that its user may read the file",
    ),
    (
        "Cannot load initrd due to an invalid",
        "the root archive does not fit into the memory",
        "give the machine more memory: `--memory`",
    ),
    (
        "memory size (MiB) is either 0, or not a multiple",
        "Firecracker does not accept this size of memory",
        "give it another: `--memory 64Mi`",
    ),
    (
        "number of vCPUs must be greater than 0",
        "Firecracker gives a guest 1 to 32 CPUs",
        "give it another number: `--cpus`",
    ),
    (
        "Error creating KVM object",
        "Firecracker needs KVM, which this host does not let it use",
        "run it on QEMU: `--plat qemu`; details: `kraft doctor`",
    ),
];

/// Translates a message.
pub(super) fn translate(message: &str) -> Fault {
    let found = KNOWN.iter().find(|(part, ..)| message.contains(part));
    match found {
        Some((_, why, cure)) => Fault {
            why: (*why).to_owned(),
            cure: Some(cure),
        },
        None => Fault {
            why: format!("Firecracker refuses it: {message}"),
            cure: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages are those of Firecracker 1.10.1.
    #[test]
    fn known_faults_have_a_cure_and_others_are_shown_as_they_are() {
        for message in [
            "Network config error: Could not create Network Device: Open tap device failed: Error while \
             creating ifreq structure: Device or resource busy (os error 16). Invalid TUN/TAP Backend \
             provided by kt1. Check our documentation on setting up the network devices.",
            "Start microvm error: Cannot load kernel due to invalid memory configuration or invalid kernel \
             image: Kernel Loader: failed to load ELF kernel image: Invalid Elf magic number",
            "Boot source error: The kernel command line is invalid: Invalid cmdline capacity provided.",
            "Boot source error: The kernel file cannot be opened: No such file or directory (os error 2)",
            "Machine config error: The number of vCPUs must be greater than 0, less than 32 and must be 1 \
             or an even number if SMT is enabled.",
        ] {
            let fault = translate(message);
            assert!(fault.cure.is_some(), "{message}");
        }
        let other = translate("The bill is not paid.");
        assert_eq!(other.why, "Firecracker refuses it: The bill is not paid.");
        assert_eq!(other.cure, None);
    }
}
