//! Calls on processes and threads.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::{files, paths, times};
use crate::abi::calls::Call;
use crate::abi::errno::{Errno, Result};
use crate::arch::{self, Registers};
use crate::file::pidfd::ProcessFile;
use crate::fs::{Follow, LONGEST_PATH, Walk};
use crate::mm::user;
use crate::signal::Signal;
use crate::task::clone::CloneRequest;
use crate::task::exec::{MOST_ARGUMENTS, Request};
use crate::task::exit::{self, WaitOptions, Wanted};
use crate::task::{self, Credentials, Ending, Limit, Process, find_process, futex};
use crate::time::{SECOND, TimeSpec};

pub fn credentials() -> Credentials {
    task::current_process().credentials.borrow().clone()
}

/// The process with a number; 0 is the caller.
fn process(id: i32) -> Result<Rc<Process>> {
    if id == 0 {
        Ok(task::current_process())
    } else {
        find_process(id).ok_or(Errno::SRCH)
    }
}

pub fn execute(at: bool, a: [usize; 6]) -> Result<Registers> {
    let (fd, [path_at, arguments, environment], flags) = if at {
        (a[0] as i32, [a[1], a[2], a[3]], a[4])
    } else {
        (paths::CURRENT, [a[0], a[1], a[2]], 0)
    };
    let path = user::read_string(path_at, LONGEST_PATH - 1)?;
    let process = task::current_process();
    let (place, path) = if path.is_empty() && flags & 0x1000 != 0 {
        let description = files::get(fd)?;
        let place = description.place.clone().ok_or(Errno::ACCES)?;
        (place, alloc::format!("/dev/fd/{fd}").into_bytes())
    } else {
        let place_paths = process.paths();
        let credentials = process.credentials.borrow().clone();
        let walk = Walk {
            root: place_paths.root.clone(),
            credentials: &credentials,
        };
        let start = if fd == paths::CURRENT {
            place_paths.directory
        } else {
            files::get(fd)?.place.clone().ok_or(Errno::NOTDIR)?
        };
        let follow = if flags & paths::NO_FOLLOW != 0 {
            Follow::No
        } else {
            Follow::Yes
        };
        (walk.resolve(&start, &path, follow)?, path)
    };
    let mut words = user::read_strings(arguments, MOST_ARGUMENTS)?;
    if words.is_empty() {
        words.push(Vec::new());
    }
    let environment = user::read_strings(environment, MOST_ARGUMENTS)?;
    task::exec::execute(Request {
        place,
        path,
        arguments: words,
        environment,
    })
}

pub fn clone(a: [usize; 6]) -> Result {
    // The last two arguments are the other way round on arm64.
    let (child_tid, tls) = if cfg!(target_arch = "aarch64") {
        (a[4], a[3])
    } else {
        (a[3], a[4])
    };
    task::clone::clone(CloneRequest {
        flags: (a[0] & !0xff) as u64,
        exit_signal: (a[0] & 0xff) as i32,
        stack: a[1],
        parent_tid: a[2],
        child_tid,
        tls,
        // Only one of the two can be asked for.
        pidfd: a[2],
    })
}

pub fn clone3(address: usize, size: usize) -> Result {
    if size < 64 {
        return Err(Errno::INVAL);
    }
    let [
        flags,
        pidfd,
        child_tid,
        parent_tid,
        signal,
        stack,
        stack_size,
        tls,
    ]: [u64; 8] = user::read(address)?;
    if signal > Signal::COUNT as u64 {
        return Err(Errno::INVAL);
    }
    task::clone::clone(CloneRequest {
        flags,
        exit_signal: signal as i32,
        stack: stack.wrapping_add(stack_size) as usize,
        parent_tid: parent_tid as usize,
        child_tid: child_tid as usize,
        tls: tls as usize,
        pidfd: pidfd as usize,
    })
}

pub fn fork() -> Result {
    let exit_signal = Signal::CHLD.number() as i32;
    task::clone::clone(CloneRequest {
        exit_signal,
        ..CloneRequest::default()
    })
}

pub fn vfork() -> Result {
    let exit_signal = Signal::CHLD.number() as i32;
    task::clone::clone(CloneRequest {
        flags: 0x4100,
        exit_signal,
        ..CloneRequest::default()
    })
}

pub fn exit_thread(status: usize) -> Result {
    let process = task::current_process();
    if process.live_threads().len() == 1 {
        exit::end_process(&process, Ending::Exited(status as u8));
    }
    drop(process);
    exit::end_thread()
}

pub fn exit(status: usize) -> Result {
    exit::end_process(&task::current_process(), Ending::Exited(status as u8));
    // The thread ends on its way back to the program.
    Ok(0)
}

pub fn wait4(id: i32, status_at: usize, options: usize, usage_at: usize) -> Result {
    let own_group = task::current_process().group.get();
    let wanted = match id {
        -1 => Wanted::Any,
        0 => Wanted::Group(own_group),
        1.. => Wanted::Process(id),
        _ => Wanted::Group(id.checked_neg().ok_or(Errno::SRCH)?),
    };
    if options & !0xe000_000b != 0 {
        return Err(Errno::INVAL);
    }
    let options = WaitOptions {
        no_wait: options & 1 != 0,
        ended: true,
        stopped: options & 2 != 0,
        continued: options & 8 != 0,
        keep: false,
    };
    let Some(report) = exit::wait_for_child(wanted, options)? else {
        return Ok(0);
    };
    if status_at != 0 {
        user::write(status_at, &report.wait_status)?;
    }
    if usage_at != 0 {
        write_usage(usage_at, report.run_time)?;
    }
    Ok(report.id as usize)
}

pub fn waitid(kind: usize, id: i32, info_at: usize, options: usize, usage_at: usize) -> Result {
    let wanted = match kind {
        0 => Wanted::Any,
        1 => Wanted::Process(id),
        2 if id == 0 => Wanted::Group(task::current_process().group.get()),
        2 => Wanted::Group(id),
        3 => Wanted::Process(ProcessFile::process_of(&*files::get(id)?)?.id),
        _ => return Err(Errno::INVAL),
    };
    if options & 0xe == 0 || options & !0xef00_000f != 0 {
        return Err(Errno::INVAL);
    }
    let options = WaitOptions {
        no_wait: options & 1 != 0,
        ended: options & 4 != 0,
        stopped: options & 2 != 0,
        continued: options & 8 != 0,
        keep: options & 0x100_0000 != 0,
    };
    let report = exit::wait_for_child(wanted, options)?;
    if info_at != 0 {
        let words = match &report {
            Some(report) => {
                crate::signal::Info::child(report.code, report.id, report.user, report.status)
                    .words()
            }
            None => [0; 16],
        };
        user::write_words(info_at, &words)?;
    }
    if let Some(report) = report
        && usage_at != 0
    {
        write_usage(usage_at, report.run_time)?;
    }
    Ok(0)
}

pub fn parent() -> Result {
    let process = task::current_process();
    let parent = process.parent.borrow().upgrade();
    Ok(parent.map_or(0, |parent| parent.id as usize))
}

pub fn group(id: i32) -> Result {
    Ok(process(id)?.group.get() as usize)
}

pub fn set_group(id: i32, group: i32) -> Result {
    let caller = task::current_process();
    let process = process(id)?;
    let group = if group == 0 { process.id } else { group };
    if group < 0 {
        return Err(Errno::INVAL);
    }
    let is_child = caller
        .children
        .borrow()
        .iter()
        .any(|child| Rc::ptr_eq(child, &process));
    if !is_child && !Rc::ptr_eq(&caller, &process) {
        return Err(Errno::SRCH);
    }
    if is_child && process.has_executed.get() {
        return Err(Errno::ACCES);
    }
    if process.session.get() == process.id || process.session.get() != caller.session.get() {
        return Err(Errno::PERM);
    }
    let exists = group == process.id
        || task::all_processes().iter().any(|other| {
            other.group.get() == group && other.session.get() == process.session.get()
        });
    if !exists {
        return Err(Errno::PERM);
    }
    process.group.set(group);
    Ok(0)
}

pub fn session(id: i32) -> Result {
    Ok(process(id)?.session.get() as usize)
}

pub fn new_session() -> Result {
    let process = task::current_process();
    let leads = task::all_processes()
        .iter()
        .any(|other| other.group.get() == process.id);
    if leads {
        return Err(Errno::PERM);
    }
    process.group.set(process.id);
    process.session.set(process.id);
    *process.terminal.borrow_mut() = None;
    Ok(process.id as usize)
}

pub fn set_clear_address(address: usize) -> Result {
    let thread = task::current();
    thread.clear_at_exit.set(address);
    Ok(thread.id() as usize)
}

pub fn set_robust_list(head: usize, size: usize) -> Result {
    if size != 24 {
        return Err(Errno::INVAL);
    }
    task::current().robust_list.set(head);
    Ok(0)
}

pub fn robust_list(id: i32, head_at: usize, size_at: usize) -> Result {
    let thread = if id == 0 {
        task::current()
    } else {
        task::find_thread(id).ok_or(Errno::SRCH)?
    };
    user::write(size_at, &24_usize)?;
    user::write(head_at, &thread.robust_list.get())?;
    Ok(0)
}

/// `membarrier`: one processor sees its own writes in order, so that nothing has to be done.
pub fn memory_barrier(command: usize, flags: usize) -> Result {
    /// All commands up to `MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE`.
    const COMMANDS: usize = 0x7f;
    if flags != 0 || (command != 0 && (!command.is_power_of_two() || command & COMMANDS == 0)) {
        return Err(Errno::INVAL);
    }
    Ok(if command == 0 { COMMANDS } else { 0 })
}

pub fn scheduling_attributes(address: usize, size: usize) -> Result {
    /// Bytes of the first version of `struct sched_attr`.
    const SIZE: u32 = 48;
    if size < SIZE as usize {
        return Err(Errno::INVAL);
    }
    let mut words = [0_u64; 6];
    words[0] = u64::from(SIZE);
    user::write_words(address, &words)?;
    Ok(0)
}

/// `kcmp`: whether two processes share something; 0 if they do, else an order.
pub fn compare([first, second, kind, first_fd, second_fd, _]: [usize; 6]) -> Result {
    let processes = [process(first as i32)?, process(second as i32)?];
    for process in &processes {
        super::signals::check_permission(process, None)?;
    }
    let [first, second] = &processes;
    let pair = match kind {
        0 => {
            let file = |process: &Rc<Process>, fd: usize| -> Result {
                let description = process.file_table().get(fd as i32)?;
                Ok(Rc::as_ptr(&description).addr())
            };
            [file(first, first_fd)?, file(second, second_fd)?]
        }
        1 => [first, second].map(|process| {
            let space = process.space();
            space.map_or(0, |space| Rc::as_ptr(&space).addr())
        }),
        2 => [first, second].map(|process| Rc::as_ptr(&process.file_table()).addr()),
        3 => [first, second].map(|process| Rc::as_ptr(&process.paths.borrow()).addr()),
        4 => [first, second].map(|process| Rc::as_ptr(&process.handlers()).addr()),
        5 | 6 => [first.id as usize, second.id as usize],
        _ => return Err(Errno::INVAL),
    };
    let [a, b] = pair;
    Ok(match a.cmp(&b) {
        core::cmp::Ordering::Equal => 0,
        core::cmp::Ordering::Less => 1,
        core::cmp::Ordering::Greater => 2,
    })
}

pub fn affinity(size: usize, address: usize) -> Result {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    user::write(address, &1_u64)?;
    Ok(8)
}

pub fn scheduling_parameter(address: usize) -> Result {
    user::write(address, &0_u32)?;
    Ok(0)
}

pub fn scheduling_interval(address: usize) -> Result {
    user::write(address, &TimeSpec::from_nanoseconds(10_000_000))?;
    Ok(0)
}

/// The highest and lowest priorities of real-time policies; the others have only 0.
pub fn priority_bound(call: Call, policy: usize) -> usize {
    match (call, policy) {
        (Call::SchedGetPriorityMax, 1 | 2) => 99,
        (_, 1 | 2) => 1,
        _ => 0,
    }
}

pub fn processor(cpu_at: usize, node_at: usize) -> Result {
    for address in [cpu_at, node_at] {
        if address != 0 {
            user::write(address, &0_u32)?;
        }
    }
    Ok(0)
}

pub fn control([option, value, second, _, _, _]: [usize; 6]) -> Result {
    let thread = task::current();
    let process = &thread.process;
    match option {
        1 => {
            process.parent_death_signal.set(value as i32);
            Ok(0)
        }
        2 => user::write(value, &process.parent_death_signal.get()).map(|()| 0),
        3 => Ok(1),
        7 => Ok(usize::from(process.credentials.borrow().keeps)),
        8 => {
            process.credentials.borrow_mut().keeps = value == 1;
            Ok(0)
        }
        4 | 22 | 24 | 28 | 29 | 30 | 35 | 47 => Ok(0),
        15 => {
            let mut name = user::read_string(value, 4096).or_else(|error| match error {
                Errno::NAMETOOLONG => {
                    let mut name = alloc::vec![0; 15];
                    user::read_bytes(value, &mut name).map(|()| name)
                }
                other => Err(other),
            })?;
            name.truncate(15);
            *thread.name.borrow_mut() = name;
            Ok(0)
        }
        16 => {
            let mut name = [0; 16];
            let own = thread.name.borrow();
            name[..own.len()].copy_from_slice(&own);
            user::write_bytes(value, &name)?;
            Ok(0)
        }
        23 => {
            if value < 41 {
                Ok(1)
            } else {
                Err(Errno::INVAL)
            }
        }
        36 => {
            process.is_reaper.set(value != 0);
            Ok(0)
        }
        37 => user::write(value, &u32::from(process.is_reaper.get())).map(|()| 0),
        38 if value == 1 => {
            process.credentials.borrow_mut().is_bound = true;
            Ok(0)
        }
        39 => Ok(usize::from(process.credentials.borrow().is_bound)),
        // Names of mappings, for debugging only.
        0x53_56_4d_41 => {
            let _ = second;
            Ok(0)
        }
        _ => Err(Errno::INVAL),
    }
}

/// `arch_prctl` of x86_64.
pub fn set_thread_pointer(code: usize, address: usize) -> Result {
    const SET_FS: usize = 0x1002;
    const GET_FS: usize = 0x1003;
    match code {
        SET_FS if address >= arch::USER_END => Err(Errno::PERM),
        SET_FS => {
            arch::set_user_tls(address);
            Ok(0)
        }
        GET_FS => user::write(address, &arch::user_tls()).map(|()| 0),
        _ => Err(Errno::INVAL),
    }
}

pub fn limit(id: i32, which: usize, new_at: usize, old_at: usize) -> Result {
    let process = process(id)?;
    let own = credentials();
    let users = process.credentials.borrow().users;
    if !own.is_root() && users.iter().any(|&user| user != own.users[0]) {
        return Err(Errno::PERM);
    }
    let old = *process.limits.borrow().get(which).ok_or(Errno::INVAL)?;
    if new_at != 0 {
        let [soft, hard]: [u64; 2] = user::read(new_at)?;
        if soft > hard {
            return Err(Errno::INVAL);
        }
        if hard > old.hard && !credentials().is_root()
            || which == Limit::FILES && hard > Limit::MOST_FILES
        {
            return Err(Errno::PERM);
        }
        if let Some(limit) = process.limits.borrow_mut().get_mut(which) {
            *limit = Limit { soft, hard };
        }
    }
    if old_at != 0 {
        user::write(old_at, &[old.soft, old.hard])?;
    }
    Ok(0)
}

fn write_usage(address: usize, nanoseconds: u64) -> Result<()> {
    let mut words = [0_u64; 18];
    words[0] = nanoseconds / SECOND;
    words[1] = nanoseconds % SECOND / 1000;
    user::write_words(address, &words)
}

pub fn usage(who: i32, address: usize) -> Result {
    let process = task::current_process();
    let nanoseconds = match who {
        0 => process.total_run_time(),
        1 => task::current().run_time.get(),
        -1 => process.child_run_time.get(),
        _ => return Err(Errno::INVAL),
    };
    write_usage(address, nanoseconds)?;
    Ok(0)
}

pub fn times(address: usize) -> Result {
    let process = task::current_process();
    if address != 0 {
        let ticks = |nanoseconds: u64| nanoseconds / 10_000_000;
        let own = ticks(process.total_run_time());
        user::write_words(address, &[own, 0, ticks(process.child_run_time.get()), 0])?;
    }
    Ok((arch::monotonic() / 10_000_000) as usize)
}

/// Checks the version of `struct __user_cap_header_struct`; whether it is one that is known.
fn check_capability_version(header_at: usize) -> Result<bool> {
    const VERSION: u32 = 0x2008_0522;
    const OLDER: u32 = 0x2007_1026;
    let version: u32 = user::read(header_at)?;
    if version == VERSION || version == OLDER {
        return Ok(true);
    }
    user::write(header_at, &VERSION)?;
    Ok(false)
}

pub fn capabilities(header_at: usize, data_at: usize) -> Result {
    if !check_capability_version(header_at)? {
        return if data_at == 0 {
            Ok(0)
        } else {
            Err(Errno::INVAL)
        };
    }
    if data_at != 0 {
        let all = credentials().capabilities();
        let (low, high) = (all as u32, (all >> 32) as u32);
        user::write(data_at, &[low, low, 0, high, high, 0])?;
    }
    Ok(0)
}

/// `capset`: what is given up is gone for a user who is not root; root keeps everything.
pub fn set_capabilities(header_at: usize, data_at: usize) -> Result {
    if !check_capability_version(header_at)? {
        return Err(Errno::INVAL);
    }
    let [_, low, _, _, high, _]: [u32; 6] = user::read(data_at)?;
    let wanted = (u64::from(low) | u64::from(high) << 32) & Credentials::ALL;
    let process = task::current_process();
    let mut credentials = process.credentials.borrow_mut();
    if wanted & !credentials.capabilities() != 0 {
        return Err(Errno::PERM);
    }
    credentials.kept = wanted;
    Ok(0)
}

pub fn identities(groups: bool, a: [usize; 6]) -> Result {
    let credentials = credentials();
    let numbers = if groups {
        credentials.groups
    } else {
        credentials.users
    };
    for (address, number) in a.into_iter().zip(numbers) {
        user::write(address, &number)?;
    }
    Ok(0)
}

pub fn set_identities(call: Call, a: [usize; 6]) -> Result {
    let process = task::current_process();
    let mut credentials = process.credentials.borrow_mut();
    let (root, was_root) = (credentials.may_change(), credentials.users.contains(&0));
    let of_group = matches!(call, Call::Setgid | Call::Setregid | Call::Setresgid);
    let numbers = if of_group {
        &mut credentials.groups
    } else {
        &mut credentials.users
    };
    let old = *numbers;
    let wanted = |index: usize| Some(a[index] as u32).filter(|&number| number != u32::MAX);
    let new = match call {
        Call::Setuid | Call::Setgid => {
            let number = a[0] as u32;
            if root {
                [Some(number); 3]
            } else {
                [None, Some(number), None]
            }
        }
        Call::Setreuid | Call::Setregid => {
            let saved = (wanted(0).is_some() || wanted(1).is_some_and(|number| number != old[0]))
                .then(|| wanted(1).unwrap_or(old[1]));
            [wanted(0), wanted(1), saved]
        }
        _ => [wanted(0), wanted(1), wanted(2)],
    };
    if !root && new.iter().flatten().any(|number| !old.contains(number)) {
        return Err(Errno::PERM);
    }
    for (number, new) in numbers.iter_mut().zip(new) {
        *number = new.unwrap_or(*number);
    }
    // Who stops being root loses all capabilities unless it asked for the opposite.
    if was_root && !credentials.users.contains(&0) {
        credentials.kept = if credentials.keeps {
            Credentials::ALL
        } else {
            0
        };
    }
    Ok(0)
}

pub fn groups(count: usize, address: usize) -> Result {
    let groups = credentials().others;
    if count == 0 {
        return Ok(groups.len());
    }
    if count < groups.len() {
        return Err(Errno::INVAL);
    }
    for (index, group) in groups.iter().enumerate() {
        user::write(address.wrapping_add(index * 4), group)?;
    }
    Ok(groups.len())
}

pub fn set_groups(count: usize, address: usize) -> Result {
    let process = task::current_process();
    if !process.credentials.borrow().may_change() {
        return Err(Errno::PERM);
    }
    process.credentials.borrow_mut().others = user::read_array(address, count, 65_536)?;
    Ok(0)
}

/// Whether there is someone whose priority `which` and `who` name; all priorities are the same.
pub fn check_priority(which: usize, who: i32) -> Result<()> {
    const PROCESS: usize = 0;
    const GROUP: usize = 1;
    const USER: usize = 2;
    let processes = task::all_processes();
    let any = |fits: &dyn Fn(&task::Process) -> bool| processes.iter().any(|other| fits(other));
    let found = match which {
        PROCESS | GROUP | USER if who == 0 => true,
        PROCESS => task::find_thread(who).is_some() || task::find_process(who).is_some(),
        GROUP => any(&|other| other.group.get() == who),
        USER => any(&|other| other.credentials.borrow().users[0] == who as u32),
        _ => return Err(Errno::INVAL),
    };
    if found { Ok(()) } else { Err(Errno::SRCH) }
}

pub fn futex([address, operation, value, timeout, second, third]: [usize; 6]) -> Result {
    const CLOCK_REALTIME: usize = 0x100;
    let most = value as u32 as usize;
    let deadline_by = |absolute: bool, wall: bool| -> Result<Option<u64>> {
        if timeout == 0 {
            return Ok(None);
        }
        let time = user::read::<TimeSpec>(timeout)?.to_nanoseconds()?;
        Ok(Some(times::deadline(time, absolute, wall)))
    };
    let deadline = |absolute| deadline_by(absolute, operation & CLOCK_REALTIME != 0);
    match operation & 0x7f {
        0 => futex::wait_address(address, value as u32, futex::ANY, deadline(false)?).map(|()| 0),
        9 => futex::wait_address(address, value as u32, third as u32, deadline(true)?).map(|()| 0),
        1 => futex::wake_bits(address, most, futex::ANY),
        10 => futex::wake_bits(address, most, third as u32),
        3 => futex::requeue(address, most, second, timeout, None).map(|(woken, _)| woken),
        4 => futex::requeue(address, most, second, timeout, Some(third as u32))
            .map(|(woken, moved)| woken + moved),
        5 => futex::wake_operation(address, most, second, timeout as u32 as usize, third as u32),
        // The older of the two calls always means the wall clock.
        6 => futex::lock_owned(address, deadline_by(true, true)?).map(|()| 0),
        13 => futex::lock_owned(address, deadline(true)?).map(|()| 0),
        7 => futex::unlock_owned(address).map(|()| 0),
        8 => futex::lock_owned(address, Some(0)).map(|()| 0),
        _ => Err(Errno::NOSYS),
    }
}
