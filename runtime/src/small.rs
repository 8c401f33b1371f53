//! Maps with few entries: a sorted list. Each kind of map needs code of its own, and that of a tree
//! is ten times as long.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::borrow::Borrow;

/// A map with few entries.
#[derive(Clone, Debug)]
pub struct SmallMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> SmallMap<K, V> {
        SmallMap::new()
    }
}

impl<K, V> SmallMap<K, V> {
    /// An empty map.
    pub const fn new() -> SmallMap<K, V> {
        SmallMap(Vec::new())
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Removes all entries but those for which a condition holds.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keeps(key, value));
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0
            .binary_search_by(|(other, _)| other.borrow().cmp(key))
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(self.find(key).ok()?).map(|(_, value)| value)
    }

    /// Enters a value; returns that which the key had before.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, TryReserveError> {
        match self.find(&key) {
            Ok(at) => Ok(Some(core::mem::replace(&mut self.0[at].1, value))),
            Err(at) => {
                self.0.try_reserve(1)?;
                self.0.insert(at, (key, value));
                Ok(None)
            }
        }
    }

    /// Removes an entry; returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(self.0.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    #[test]
    fn entries_are_in_the_order_of_their_keys() {
        let mut map: SmallMap<Box<[u8]>, i32> = SmallMap::default();
        for (key, value) in [("b", 1), ("c", 2), ("a", 3), ("b", 4)] {
            map.insert(key.as_bytes().into(), value).unwrap();
        }
        assert_eq!(map.len(), 3);
        assert_eq!(map.get(&b"b"[..]), Some(&4));
        assert_eq!(map.remove(&b"c"[..]), Some(2));
        assert_eq!(map.remove(&b"c"[..]), None);
        let values: Vec<_> = map.iter().map(|(_, &value)| value).collect();
        assert_eq!(values, [3, 4]);
        map.retain(|_, value| *value > 3);
        assert!(!map.is_empty());
        assert_eq!(map.get(&b"a"[..]), None);
    }
}
