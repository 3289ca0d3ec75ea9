//! Signatures of one document, read as far as they are needed.

use std::cell::RefCell;
use std::rc::Rc;

use crate::SourceError;

/// Signatures or bundles. Those that were read once are kept.
pub(super) struct List<'a, T> {
    read: RefCell<Vec<Rc<T>>>,
    rest: RefCell<Items<'a, T>>,
    /// The error that ended the list.
    failure: RefCell<Option<String>>,
}

type Items<'a, T> = Box<dyn Iterator<Item = Result<T, SourceError>> + 'a>;

impl<'a, T: 'a> List<'a, T> {
    pub(super) fn new(items: Items<'a, T>) -> Self {
        Self { read: RefCell::default(), rest: RefCell::new(items), failure: RefCell::default() }
    }

    pub(super) fn of(items: Vec<T>) -> Self {
        Self::new(Box::new(items.into_iter().map(Ok)))
    }

    /// Returns the item with this number, from 0. All items before it must have been taken.
    pub(super) fn get(&self, number: usize) -> Option<Result<Rc<T>, SourceError>> {
        if let Some(item) = self.read.borrow().get(number) {
            return Some(Ok(Rc::clone(item)));
        }
        if let Some(failure) = &*self.failure.borrow() {
            return Some(Err(failure.clone().into()));
        }
        match self.rest.borrow_mut().next()? {
            Ok(item) => {
                let item = Rc::new(item);
                self.read.borrow_mut().push(Rc::clone(&item));
                Some(Ok(item))
            }
            Err(error) => {
                *self.failure.borrow_mut() = Some(error.to_string());
                Some(Err(error))
            }
        }
    }

    /// Returns the items that were read so far.
    pub(super) fn so_far(&self) -> Vec<Rc<T>> {
        self.read.borrow().clone()
    }
}
