//! Semaphores (`semget`, `semop`, `semctl`).

use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

use super::{Identity, NO_WAIT, Object, READ, Registry, WRITE};
use crate::abi::errno::{Errno, Result};
use crate::small::SmallMap;
use crate::sync::Global;
use crate::task::{self, WaitQueue};

/// The highest value.
const HIGHEST: i32 = 32_767;
/// The most semaphores of a set, and of all sets.
const MOST: usize = 32_000;
/// The most changes to be undone in a set.
const MOST_UNDONE: usize = 8192;
/// `SEM_UNDO`
const UNDO: usize = 0x1000;

#[derive(Clone, Copy, Default)]
struct Semaphore {
    value: i32,
    /// Who changed it last.
    process: i32,
}

/// One step of an operation (`struct sembuf`).
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Which semaphore.
    pub index: u16,
    /// What is added; 0 waits for the value 0.
    pub change: i16,
    /// `IPC_NOWAIT`, `SEM_UNDO`
    pub flags: u16,
}

/// A set of semaphores.
pub struct Set {
    identity: Identity,
    semaphores: RefCell<Vec<Semaphore>>,
    /// What the end of a process adds to a semaphore.
    undo: RefCell<SmallMap<(i32, u16), i32>>,
    /// Which semaphores are waited for, and whether for the value 0.
    waiting: RefCell<Vec<(u16, bool)>>,
    operated: Cell<u64>,
    removed: Cell<bool>,
    queue: WaitQueue,
}

static SETS: Global<Registry<Set>> = Global::new(Registry::new(4096));

impl Object for Set {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Why an operation did not happen.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// A semaphore has to change first: which one, and whether it has to become 0.
    Waits { step: usize, for_zero: bool },
    /// A value would be too high.
    TooHigh,
}

/// Does all steps or none.
fn apply(
    semaphores: &mut [Semaphore],
    steps: &[Step],
    process: i32,
) -> core::result::Result<(), Refused> {
    let mut new = semaphores.to_vec();
    for (index, step) in steps.iter().enumerate() {
        let Some(semaphore) = new.get_mut(usize::from(step.index)) else {
            return Err(Refused::TooHigh);
        };
        let change = i32::from(step.change);
        if change == 0 && semaphore.value != 0 || change < 0 && semaphore.value + change < 0 {
            return Err(Refused::Waits {
                step: index,
                for_zero: change == 0,
            });
        }
        semaphore.value += change;
        if semaphore.value > HIGHEST {
            return Err(Refused::TooHigh);
        }
        semaphore.process = process;
    }
    semaphores.copy_from_slice(&new);
    Ok(())
}

/// Finds or makes a set (`semget`); its number.
///
/// # Errors
/// `EINVAL` for a wrong count, and those of [`Registry::get`].
pub fn get(key: i32, count: usize, flags: usize) -> Result<i32> {
    let used: usize = SETS
        .all()
        .iter()
        .map(|set| set.semaphores.borrow().len())
        .sum();
    let make = |identity| {
        if count == 0 || count > MOST {
            return Err(Errno::INVAL);
        }
        if used + count > MOST {
            return Err(Errno::NOSPC);
        }
        Ok(Set {
            identity,
            semaphores: RefCell::new(alloc::vec![Semaphore::default(); count]),
            undo: RefCell::default(),
            waiting: RefCell::default(),
            operated: Cell::new(0),
            removed: Cell::new(false),
            queue: WaitQueue::new(),
        })
    };
    SETS.get(key, flags, make, |set| {
        if count > set.semaphores.borrow().len() {
            Err(Errno::INVAL)
        } else {
            Ok(())
        }
    })
}

/// Does an operation (`semop`), and waits until it is possible.
///
/// # Errors
/// `EINVAL`, `EACCES`, `EFBIG` for a semaphore that there is not, `ERANGE`, `EIDRM`, `EINTR`,
/// `EAGAIN` when it would wait or after `deadline`.
pub fn operate(id: i32, steps: &[Step], deadline: Option<u64>) -> Result<()> {
    let set = SETS.find(id)?;
    let count = set.semaphores.borrow().len();
    if steps.iter().any(|step| usize::from(step.index) >= count) {
        return Err(Errno::FBIG);
    }
    let changes = steps.iter().any(|step| step.change != 0);
    set.identity.check(if changes { WRITE } else { READ })?;
    let process = task::current_process().id;
    let undone = || {
        steps
            .iter()
            .filter(|step| usize::from(step.flags) & UNDO != 0)
    };
    if undone().count() + set.undo.borrow().len() > MOST_UNDONE {
        return Err(Errno::NOSPC);
    }
    let mut noted = None;
    let result = task::wait(&[&set.queue], deadline, || {
        if set.removed.get() {
            return Some(Err(Errno::IDRM));
        }
        match apply(&mut set.semaphores.borrow_mut(), steps, process) {
            Ok(()) => Some(Ok(())),
            Err(Refused::TooHigh) => Some(Err(Errno::RANGE)),
            Err(Refused::Waits { step, for_zero }) => {
                let step = steps[step];
                if usize::from(step.flags) & NO_WAIT != 0 {
                    return Some(Err(Errno::AGAIN));
                }
                set.unnote(noted.replace((step.index, for_zero)));
                set.waiting.borrow_mut().push((step.index, for_zero));
                None
            }
        }
    });
    set.unnote(noted);
    result
        .map_err(|_| Errno::INTR)?
        .unwrap_or(Err(Errno::AGAIN))?;
    for step in undone() {
        let mut undo = set.undo.borrow_mut();
        let key = (process, step.index);
        let left = undo.get(&key).copied().unwrap_or_default();
        let left = (left - i32::from(step.change)).clamp(-HIGHEST, HIGHEST);
        if left == 0 {
            undo.remove(&key);
        } else {
            undo.insert(key, left).map_err(|_| Errno::NOSPC)?;
        }
    }
    set.operated.set(super::now());
    if changes {
        set.queue.wake();
    }
    Ok(())
}

impl Set {
    /// Forgets that a thread waits.
    fn unnote(&self, noted: Option<(u16, bool)>) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(index) = waiting.iter().position(|other| Some(*other) == noted) {
            waiting.swap_remove(index);
        }
    }

    fn semaphore(&self, index: usize) -> Result<Semaphore> {
        let semaphores = self.semaphores.borrow();
        semaphores.get(index).copied().ok_or(Errno::INVAL)
    }
}

/// Undoes what a process that ended did with `SEM_UNDO`.
pub fn undo(process: i32) {
    for set in SETS.all() {
        let mine: Vec<(u16, i32)> = {
            let mut undo = set.undo.borrow_mut();
            let mine = undo.iter().filter(|(key, _)| key.0 == process);
            let mine = mine.map(|(key, &change)| (key.1, change)).collect();
            undo.retain(|key, _| key.0 != process);
            mine
        };
        if mine.is_empty() {
            continue;
        }
        for (index, change) in mine {
            if let Some(semaphore) = set.semaphores.borrow_mut().get_mut(usize::from(index)) {
                semaphore.value = (semaphore.value + change).clamp(0, HIGHEST);
                semaphore.process = process;
            }
        }
        set.queue.wake();
    }
}

/// What `semctl` asks of one semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The value.
    Value,
    /// Who changed it last.
    Process,
    /// How many wait for it to grow.
    Growing,
    /// How many wait for it to become 0.
    Zero,
}

/// Answers a question about a semaphore.
///
/// # Errors
/// `EINVAL`, `EACCES`
pub fn ask(id: i32, index: usize, question: Question) -> Result {
    let set = SETS.find(id)?;
    set.identity.check(READ)?;
    let semaphore = set.semaphore(index)?;
    let waiting = |for_zero| {
        let waiting = set.waiting.borrow();
        let matching = waiting
            .iter()
            .filter(|note| **note == (index as u16, for_zero));
        matching.count()
    };
    Ok(match question {
        Question::Value => semaphore.value as usize,
        Question::Process => semaphore.process as usize,
        Question::Growing => waiting(false),
        Question::Zero => waiting(true),
    })
}

/// The values of a set.
///
/// # Errors
/// `EINVAL`, `EACCES`
pub fn values(id: i32) -> Result<Vec<u16>> {
    let set = SETS.find(id)?;
    set.identity.check(READ)?;
    let semaphores = set.semaphores.borrow();
    Ok(semaphores
        .iter()
        .map(|semaphore| semaphore.value as u16)
        .collect())
}

/// How many semaphores a set has.
///
/// # Errors
/// `EINVAL`
pub fn count(id: i32) -> Result {
    Ok(SETS.find(id)?.semaphores.borrow().len())
}

/// Sets values, from a semaphore on; nothing of them is undone any more.
///
/// # Errors
/// `EINVAL`, `EACCES`, `ERANGE`
pub fn set_values(id: i32, first: usize, values: &[i32]) -> Result<()> {
    let set = SETS.find(id)?;
    set.identity.check(WRITE)?;
    if values.iter().any(|value| !(0..=HIGHEST).contains(value)) {
        return Err(Errno::RANGE);
    }
    let process = task::current_process().id;
    {
        let mut semaphores = set.semaphores.borrow_mut();
        let changed = semaphores
            .get_mut(first..)
            .filter(|rest| rest.len() >= values.len())
            .ok_or(Errno::INVAL)?;
        for (semaphore, &value) in changed.iter_mut().zip(values) {
            *semaphore = Semaphore { value, process };
        }
    }
    let range = first..first + values.len();
    set.undo
        .borrow_mut()
        .retain(|key, _| !range.contains(&usize::from(key.1)));
    set.identity.changed.set(super::now());
    set.queue.wake();
    Ok(())
}

/// `struct semid64_ds` of a set (`IPC_STAT`).
///
/// # Errors
/// `EINVAL`, `EACCES`
pub fn status(id: i32) -> Result<Vec<u64>> {
    let set = SETS.find(id)?;
    set.identity.check(READ)?;
    let count = set.semaphores.borrow().len() as u64;
    let (operated, changed) = (set.operated.get(), set.identity.changed.get());
    let mut words = set.identity.words(0).to_vec();
    // x86_64 keeps room for the high halves of times.
    if cfg!(target_arch = "aarch64") {
        words.extend([operated, changed, count, 0, 0]);
    } else {
        words.extend([operated, 0, changed, 0, count, 0, 0]);
    }
    Ok(words)
}

/// Changes owner and permissions (`IPC_SET`).
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn change(id: i32, user: u32, group: u32, mode: u32) -> Result<()> {
    let set = SETS.find(id)?;
    set.identity.check_owner()?;
    set.identity.change(user, group, mode);
    Ok(())
}

/// Removes a set (`IPC_RMID`); who waits for it learns that it is gone.
///
/// # Errors
/// `EINVAL`, `EPERM`
pub fn remove(id: i32) -> Result<()> {
    let set = SETS.find(id)?;
    set.identity.check_owner()?;
    set.removed.set(true);
    SETS.remove(id);
    set.queue.wake();
    Ok(())
}

/// Forgets all of them, for the next test.
#[cfg(test)]
pub(super) fn forget_all() {
    SETS.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_steps_happen_or_none() {
        let step = |index, change| Step {
            index,
            change,
            flags: 0,
        };
        let mut set = [Semaphore::default(); 2];
        assert_eq!(apply(&mut set, &[step(0, 2)], 1), Ok(()));
        let waits = Refused::Waits {
            step: 1,
            for_zero: false,
        };
        assert_eq!(apply(&mut set, &[step(0, -1), step(1, -1)], 1), Err(waits));
        assert_eq!((set[0].value, set[1].value), (2, 0));
        assert_eq!(apply(&mut set, &[step(1, 0), step(0, -2)], 7), Ok(()));
        assert_eq!((set[0].value, set[0].process), (0, 7));
        assert_eq!(
            apply(&mut set, &[step(0, 32_767), step(0, 1)], 1),
            Err(Refused::TooHigh)
        );
    }
}
