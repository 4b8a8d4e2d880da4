//! History of a type and of the whole server: no parameter narrows it to patients, so the caller has
//! to judge every version of the answer.

use alloc::vec::Vec;

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
        let unfiltered: Vec<Clause<'a>> = clauses.iter().filter(|clause| clause.filter.is_empty()).cloned().collect();
        if let Some(on) = on.filter(|on| on.class != Class::Patient || self.is_system())
            && !unfiltered.is_empty()
        {
            match self.directory(on, &unfiltered) {
                // A granular clause may still do, though only for what its filter matches.
                Err(Stop::Deny(_)) => {}
                verdict => return verdict,
            }
        }
        let standing = self.by_scope(clauses)?;
        self.filtered(standing)
    }
}
