//! System call filter of a step.
//!
//! It refuses what Docker's default profile does not allow a container without `CAP_SYS_ADMIN`
//! (moby, `profiles/seccomp/default.json`): whatever makes namespaces or mounts, loads code into
//! the kernel, looks into other processes or reaches keyrings, devices and clocks of the host.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Calls that are refused with any arguments.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_get_mempolicy,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    KEXEC_FILE_LOAD,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mbind,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_set_mempolicy,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// `kexec_file_load`, which the C library's list lacks for musl on arm64 (Linux, `asm-generic/unistd.h`).
#[cfg(all(target_arch = "aarch64", target_env = "musl"))]
const KEXEC_FILE_LOAD: i64 = 294;
#[cfg(not(all(target_arch = "aarch64", target_env = "musl")))]
const KEXEC_FILE_LOAD: i64 = libc::SYS_kexec_file_load;

/// Further calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_sysfs,
    libc::SYS_uselib,
    libc::SYS_ustat,
];
/// Further calls that only this architecture has.
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The same call in the x32 ABI of `x86_64` (Linux, `arch/x86/include/asm/unistd.h`).
const X32: i64 = 0x4000_0000;

/// Returns the filters, to be applied one after the other; the reason if there are none.
pub(super) fn programs() -> Result<[BpfProgram; 2], String> {
    // The flags of `clone3` are in memory, which no filter can read. Programs that do not have it use
    // `clone`.
    let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([
        program(refused()?, libc::EPERM)?,
        program(absent, libc::ENOSYS)?,
    ])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let error = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, error, arch);
    let program = filter.and_then(BpfProgram::try_from);
    program.map_err(|error| error.to_string())
}

fn refused() -> Result<Rules, String> {
    let mut rules: Rules = REFUSED
        .iter()
        .chain(REFUSED_HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    let namespaces = [
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWUTS,
    ];
    let bits = namespaces.map(i32::cast_unsigned).map(u64::from);
    let any = bits.into_iter().map(|bit| rule(0, Op::MaskedEq(bit), bit));
    rules.insert(libc::SYS_clone, any.collect::<Result<_, _>>()?);
    // Typing into a terminal, and its selection.
    let requests: [u64; 2] = [libc::TIOCSTI as _, libc::TIOCLINUX as _];
    rules.insert(libc::SYS_ioctl, equal(1, &requests)?);
    // Sockets that reach the hypervisor, and the kernel's ciphers.
    let families = [libc::AF_VSOCK, libc::AF_ALG].map(|family| u64::from(family.cast_unsigned()));
    rules.insert(libc::SYS_socket, equal(0, &families)?);
    // A debugger may start the process that it traces, and attach to no other.
    let attach =
        [libc::PTRACE_ATTACH, libc::PTRACE_SEIZE].map(|call| i64::from(call).cast_unsigned());
    rules.insert(libc::SYS_ptrace, equal(0, &attach)?);
    if cfg!(target_arch = "x86_64") {
        let twins: Vec<_> = rules
            .iter()
            .map(|(call, rule)| (call | X32, rule.clone()))
            .collect();
        rules.extend(twins);
    }
    Ok(rules)
}

/// Rules for an argument that equals one of the values.
fn equal(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, String> {
    let rules = values.iter().map(|value| rule(argument, Op::Eq, *value));
    rules.collect()
}

fn rule(argument: u8, op: Op, value: u64) -> Result<SeccompRule, String> {
    // The kernel reads only the lower half of these arguments.
    let condition = SeccompCondition::new(argument, Width::Dword, op, value);
    let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
    rule.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_fit_into_the_kernel() {
        for program in programs().unwrap() {
            assert!(!program.is_empty() && program.len() < 4096);
        }
    }
}
