//! A store of tables in memory that can be told to fail, for tests of whatever writes to a [`TableStore`].

use super::tables::{Op, TableStore, Tables};

/// Holds tables, and fails when told to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FakeStore {
    /// What is stored.
    pub tables: Tables,
    /// Every change that was applied, in order.
    pub applied: Vec<Op>,
    /// How many more changes succeed; the one after them fails, once. `None`: no failure to come.
    pub fail_after: Option<usize>,
    /// Whether the store can be read.
    pub unreadable: bool,
}

/// Why a [`FakeStore`] refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FakeError {
    /// [`FakeStore::fail_after`] changes were applied.
    #[error("the store was told to refuse this change: {0:?}")]
    Refused(Op),
    /// A change deletes what is not there, which the kernel answers with ENOENT.
    #[error("nothing to delete: {0:?}")]
    Missing(Op),
    /// [`FakeStore::unreadable`]
    #[error("the store was told to be unreadable")]
    Unreadable,
}

impl FakeStore {
    /// A store that holds these tables.
    #[must_use]
    pub fn holding(tables: Tables) -> Self {
        Self { tables, ..Self::default() }
    }
}

impl TableStore for FakeStore {
    type Error = FakeError;

    fn load(&self) -> Result<Tables, FakeError> {
        if self.unreadable { Err(FakeError::Unreadable) } else { Ok(self.tables.clone()) }
    }

    fn apply(&mut self, op: &Op) -> Result<(), FakeError> {
        match &mut self.fail_after {
            Some(0) => {
                self.fail_after = None;
                return Err(FakeError::Refused(*op));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if !self.tables.apply(op) {
            return Err(FakeError::Missing(*op));
        }
        self.applied.push(*op);
        Ok(())
    }
}
