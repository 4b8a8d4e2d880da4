//! History of a type and of the whole server: no parameter narrows it to patients, so the caller has
//! to judge every version of the answer.

use crate::access::reach::Stop;
use crate::decide::{Permit, Walk};
use crate::scope::Clause;
use crate::tables::{Class, ResourceType};

impl<'a> Walk<'_, 'a> {
    pub(crate) fn history(
        &mut self,
        on: Option<&'static ResourceType>,
        clauses: &[Clause<'a>],
    ) -> Result<Permit, Stop> {
        if let Some(on) = on.filter(|on| on.class != Class::Patient || self.is_system())
            && clauses.iter().all(|clause| clause.filter.is_empty())
        {
            return self.directory(on, clauses);
        }
        let standing = self.by_scope(clauses)?;
        self.filtered(standing)
    }
}
