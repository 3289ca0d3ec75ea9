//! The xattr tables of an index under construction. Equal sets, names and values are stored once.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use zerocopy::IntoBytes;

use crate::format::{XattrRecord, XattrSetRecord};

/// The xattr sections of an index under construction.
#[derive(Default)]
pub(crate) struct XattrTable {
    pub(crate) sets: Vec<XattrSetRecord>,
    pub(crate) xattrs: Vec<XattrRecord>,
    pub(crate) bytes: Vec<u8>,
    /// The number of each set, hashed by its members.
    set_numbers: HashTable<u32>,
    /// The offset and length in `bytes` of each name and value.
    places: HashTable<(u32, u32)>,
    /// Seeded at random, because an attacker may choose the names. The output does not depend on the seed.
    hasher: RandomState,
}

impl XattrTable {
    /// Adds a set of xattrs, sorted by name, and returns the value of `InodeRecord::xattrs`: 1 + the set's number, or 0
    /// for an empty set.
    ///
    /// Returns `None` when the table is full: offsets and numbers have 32 bits.
    pub(crate) fn add<'a>(&mut self, xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<u32> {
        let first = self.xattrs.len();
        for (name, value) in xattrs {
            let (name_offset, value_offset) = (self.add_string(name)?, self.add_string(value)?);
            self.xattrs.push(XattrRecord {
                name_offset: name_offset.into(),
                name_length: (name.len() as u32).into(),
                value_offset: value_offset.into(),
                value_length: (value.len() as u32).into(),
            });
        }
        if self.xattrs.len() == first {
            return Some(0);
        }
        let number = self.add_set(first)?;
        number.checked_add(1)
    }

    /// Frees the hash tables, which only [`Self::add`] needs.
    pub(crate) fn free_tables(&mut self) {
        self.set_numbers = HashTable::new();
        self.places = HashTable::new();
    }

    /// Returns the number of the set whose members are the records from `first` on.
    ///
    /// Removes these records if an equal set exists.
    fn add_set(&mut self, first: usize) -> Option<u32> {
        let next = u32::try_from(self.sets.len()).ok()?;
        let set = XattrSetRecord {
            first: u32::try_from(first).ok()?.into(),
            count: u32::try_from(self.xattrs.len() - first).ok()?.into(),
        };
        // Equal strings have equal places, so equal sets have equal records.
        let (sets, xattrs, hasher) = (&self.sets, &self.xattrs, &self.hasher);
        let members = |set: &XattrSetRecord| {
            let first = set.first.get() as usize;
            xattrs[first..first + set.count.get() as usize].as_bytes()
        };
        let new = xattrs[first..].as_bytes();
        let same = |&number: &u32| members(&sets[number as usize]) == new;
        let rehash = |&number: &u32| hasher.hash_one(members(&sets[number as usize]));
        match self.set_numbers.entry(hasher.hash_one(new), same, rehash) {
            Entry::Occupied(known) => {
                let number = *known.get();
                self.xattrs.truncate(first);
                Some(number)
            }
            Entry::Vacant(vacant) => {
                vacant.insert(next);
                self.sets.push(set);
                Some(next)
            }
        }
    }

    /// Returns the offset of `string` in `bytes`, and appends it if it is new.
    fn add_string(&mut self, string: &[u8]) -> Option<u32> {
        let (bytes, hasher) = (&self.bytes, &self.hasher);
        let string_at = |&(offset, length): &(u32, u32)| &bytes[offset as usize..offset as usize + length as usize];
        let same = |place: &(u32, u32)| string_at(place) == string;
        let rehash = |place: &(u32, u32)| hasher.hash_one(string_at(place));
        match self.places.entry(hasher.hash_one(string), same, rehash) {
            Entry::Occupied(known) => Some(known.get().0),
            Entry::Vacant(vacant) => {
                let offset = u32::try_from(bytes.len()).ok()?;
                u32::try_from(bytes.len() + string.len()).ok()?;
                vacant.insert((offset, string.len() as u32));
                self.bytes.extend_from_slice(string);
                Some(offset)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_stored_once() {
        let mut table = XattrTable::default();
        let some: [(&[u8], &[u8]); 2] = [(b"user.a", b""), (b"user.b", b"\0\n")];
        let other: [(&[u8], &[u8]); 1] = [(b"user.a", b"user.b")];
        assert_eq!(table.add([].into_iter()), Some(0));
        assert_eq!(table.add(some.into_iter()), Some(1));
        assert_eq!(table.add(other.into_iter()), Some(2));
        assert_eq!(table.add(some.into_iter()), Some(1));
        assert_eq!(table.xattrs.len(), 3);
        assert_eq!(table.bytes, b"user.auser.b\0\n");
    }
}
