//! `--chmod`: octal permissions, or symbolic ones as in `chmod(1)`.

/// The bits of each class of users, setuid and setgid included.
const CLASSES: [(char, u32); 4] = [('u', 0o4700), ('g', 0o2070), ('o', 0o0007), ('a', 0o6777)];
/// The bits that are set if no class is named.
const ALL: u32 = 0o6777;
const STICKY: u32 = 0o1000;

/// Permissions, or a change of permissions.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    /// These permissions.
    Octal(u32),
    /// Changes of the existing permissions.
    Symbolic(Vec<Change>),
}

/// One step of symbolic permissions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Add(u32),
    Remove(u32),
    /// `X`: only for directories and files that any class may execute.
    AddIfExecutable(u32),
    /// Permissions of a class for others: a mask of three bits for each class that gets them.
    Copy {
        from: char,
        to: u32,
        operator: char,
    },
}

impl Mode {
    /// Parses the value of the flag.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = text.chars().all(|c| c.is_digit(8));
            let bits = u32::from_str_radix(text, 8).ok().filter(|_| digits)?;
            return (bits <= 0o7777).then_some(Self::Octal(bits));
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            clause_of(clause, &mut changes)?;
        }
        Some(Self::Symbolic(changes))
    }

    /// Returns the changed permissions.
    pub(super) fn apply(&self, old: u32, directory: bool) -> u32 {
        let changes = match self {
            Self::Octal(bits) => return *bits,
            Self::Symbolic(changes) => changes,
        };
        let executable = directory || old & 0o111 != 0;
        changes.iter().fold(old, |mode, change| match *change {
            Change::Add(bits) => mode | bits,
            Change::Remove(bits) => mode & !bits,
            Change::AddIfExecutable(bits) if executable => mode | bits,
            Change::AddIfExecutable(_) => mode,
            Change::Copy { from, to, operator } => {
                let shift = match from {
                    'u' => 6,
                    'g' => 3,
                    _ => 0,
                };
                let bits = (((mode >> shift) & 0o7) * 0o111) & to;
                match operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    _ => (mode & !to) | bits,
                }
            }
        })
    }
}

/// Parses a clause: classes, then operators with their permissions.
fn clause_of(clause: &str, changes: &mut Vec<Change>) -> Option<()> {
    let end = clause.find(['+', '-', '='])?;
    let (classes, mut rest) = clause.split_at_checked(end)?;
    let mut who = 0;
    for class in classes.chars() {
        who |= CLASSES.into_iter().find(|(name, _)| *name == class)?.1;
    }
    while let Some(operator) = rest.chars().next() {
        let after = rest.get(1..)?;
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let (permissions, next) = after.split_at_checked(end)?;
        if !matches!(operator, '+' | '-' | '=') {
            return None;
        }
        step(who, operator, permissions, changes)?;
        rest = next;
    }
    Some(())
}

/// Parses the permissions after an operator.
fn step(classes: u32, operator: char, permissions: &str, changes: &mut Vec<Change>) -> Option<()> {
    let mut who = classes;
    let (mut bits, mut conditional) = (0, 0);
    let mut is_clear = operator != '=';
    let flush = |who: u32, bits: u32, is_clear: &mut bool, changes: &mut Vec<Change>| {
        if !*is_clear {
            changes.push(Change::Remove(if who == 0 { ALL } else { who }));
            *is_clear = true;
        }
        let bits = if who == 0 { bits } else { bits & who };
        changes.push(match operator {
            '-' => Change::Remove(bits),
            _ => Change::Add(bits),
        });
    };
    for permission in permissions.chars() {
        let special = classes == 0 || classes & !0o7 != 0;
        match permission {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            'X' if operator == '-' => bits |= 0o111,
            'X' => conditional |= 0o111,
            's' if special => bits |= 0o6000,
            't' if special => {
                who |= STICKY;
                bits |= STICKY;
            }
            // Others have neither of them.
            's' | 't' => {}
            'u' | 'g' | 'o' => {
                if bits != 0 {
                    flush(who, bits, &mut is_clear, changes);
                    bits = 0;
                }
                is_clear = true;
                let to = if classes == 0 { 0o777 } else { classes & 0o777 };
                changes.push(Change::Copy {
                    from: permission,
                    to,
                    operator,
                });
            }
            _ => return None,
        }
    }
    if bits != 0 || !is_clear {
        flush(who, bits, &mut is_clear, changes);
    }
    if conditional != 0 {
        let bits = if who == 0 {
            conditional
        } else {
            conditional & who
        };
        changes.push(Change::AddIfExecutable(bits));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_as_chmod_does() {
        for (text, old, new) in [
            ("755", 0o644, 0o755),
            ("u+x", 0o644, 0o744),
            ("go=", 0o644, 0o600),
            ("a-w,u+w", 0o666, 0o644),
            ("+X", 0o644, 0o644),
            ("+X", 0o744, 0o755),
            ("u=rwx,g=u,o=", 0o644, 0o770),
            ("g=u-w", 0o740, 0o750),
            ("o+g-x", 0o750, 0o754),
            ("g+s,+t", 0o755, 0o3755),
            ("o+st", 0o755, 0o755),
            ("u=,+r", 0o755, 0o455),
        ] {
            assert_eq!(Mode::read(text).unwrap().apply(old, false), new, "{text}");
        }
        assert_eq!(Mode::read("+X").unwrap().apply(0o644, true), 0o755);
        for text in ["", "rwx", "99999", "u", "u+z", "x+r", "u+x,", "0o7", "+7"] {
            assert!(Mode::read(text).is_none(), "{text}");
        }
    }
}
