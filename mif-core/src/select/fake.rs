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
        let tables = &mut self.tables;
        let found = match *op {
            Op::PutDecision(view, prefix, decision) => {
                tables.decisions.insert((view, prefix), decision);
                true
            }
            Op::PutSource(address, source) => {
                tables.sources.insert(address, source);
                true
            }
            Op::PutPvd(index, pvd) => {
                tables.pvds.insert(index, pvd);
                true
            }
            Op::PutMember(view, pvd, place) => {
                tables.members.insert((view, pvd), place);
                true
            }
            Op::DeleteDecision(view, prefix) => tables.decisions.remove(&(view, prefix)).is_some(),
            Op::DeleteSource(address) => tables.sources.remove(&address).is_some(),
            Op::DeletePvd(index) => tables.pvds.remove(&index).is_some(),
            Op::DeleteMember(view, pvd) => tables.members.remove(&(view, pvd)).is_some(),
        };
        if !found {
            return Err(FakeError::Missing(*op));
        }
        self.applied.push(*op);
        Ok(())
    }
}
