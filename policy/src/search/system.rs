//! Searches over types: `GET [base]?_type=…` and `GET Patient/[id]/*?_type=…`. Each type is judged as a search of its
//! own, and what is permitted is those searches, united.

use alloc::string::String;
use alloc::vec::Vec;

use crate::access::reach::{Failures, Stop};
use crate::decide::{Permit, Walk};
use crate::interaction::{Action, Form};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::Letters;
use crate::search::narrow::{Can, Search, Searched};
use crate::search::parameters::{counts, masks};
use crate::tables::ResourceType;
use crate::types::{Interaction, Parameter, Request};

/// Types one search may name.
const TYPES_MAX: usize = 32;

impl<'a> Walk<'_, 'a> {
    /// Judge a search over types.
    ///
    /// SECURITY: it has to say which types. None named is never all.
    pub(crate) fn search_types(&mut self) -> Result<Permit, Stop> {
        let types = self.types_named()?;
        let whole = self.request;
        let unites = self.request.declares("search-union");
        let can = Can { narrow: unites, unite: unites, filter: self.request.declares("response-filter") };
        let (mut permitted, mut failures) = (Vec::new(), Failures::default());
        for (on, one) in types.into_iter().zip(self.of_types) {
            self.request = one;
            match self.search_one(on, can) {
                Ok(searched) => permitted.push((on, searched)),
                Err(stop) => failures.add(stop),
            }
            self.request = whole;
        }
        let all = failures.is_empty();
        // A count without the rows of some type is the count of another search, and where members are left out nothing
        // else says that a type is missing.
        let shaped = whole.parameters.iter().any(|parameter| counts(parameter) || masks(parameter));
        match failures.into_stop(Reason::ScopeInsufficient) {
            needs @ Stop::Needs(_) => return Err(needs),
            // Left as it is, the search finds rows of every type it names.
            deny if permitted.is_empty() || !(all || (unites && !shaped)) => return Err(deny),
            Stop::Deny(_) => {}
        }
        let mut permit = Permit::by(Reason::PermittedPatients, None);
        let mut searches = Vec::new();
        for (on, searched) in &permitted {
            permit.expires_at_ms = permit.expires_at_ms.into_iter().chain(searched.end_ms).min();
            if searched.searches.is_empty() {
                searches.push(Search { on: on.name, parameters: self.own_parameters() });
            }
            searches.extend(searched.searches.iter().cloned());
        }
        if permitted.iter().any(|(_, searched)| searched.filtered) {
            self.oblige(&mut permit, "response-filter", String::from("{}"))?;
        }
        // Every type as it stands is the search as it stands.
        if !all || permitted.iter().any(|(_, searched)| !searched.searches.is_empty()) {
            self.unite(&mut permit, &searches)?;
        }
        Ok(permit)
    }

    fn types_named(&mut self) -> Result<Vec<&'static ResourceType>, Reason> {
        let mut named = self.request.parameters.iter().filter(|parameter| is_type(parameter));
        let (Some(first), None) = (named.next(), named.next()) else {
            return self.refuse_type("a search over types names them in one `_type`");
        };
        let mut types: Vec<&'static ResourceType> = Vec::new();
        for name in first.value.split(',') {
            let Some(on) = self.version.resource_type(name) else { return self.refuse_type("`_type` names no type") };
            types.push(on);
        }
        if types.len() > TYPES_MAX { self.refuse_type("`_type` names too many types") } else { Ok(types) }
    }

    fn refuse_type(&mut self, why: &str) -> Result<Vec<&'static ResourceType>, Reason> {
        self.trace.fail(Rule::SearchParameters, || why.into());
        Rule::SearchParameters.refuse(Reason::SearchParameterRefused).map(|()| Vec::new())
    }

    /// The parameters without `_type`.
    fn own_parameters(&self) -> Vec<(&'a str, String)> {
        let own = self.request.parameters.iter().filter(|parameter| !is_type(parameter));
        own.map(|Parameter { name, value }| (*name, String::from(*value))).collect()
    }

    fn search_one(&mut self, on: &'static ResourceType, can: Can) -> Result<Searched<'a>, Stop> {
        self.people.on = Some(on);
        let clauses = self.covered(Some(on), Action::of(Form::Search, Letters::S))?;
        self.searched(on, &clauses, can)
    }
}

/// Each type that a search over types names, as a search of that type.
pub(crate) fn of_types<'a>(request: &Request<'a>) -> Vec<Request<'a>> {
    let named = request.parameters.iter().find(|parameter| is_type(parameter));
    let (Interaction::SearchSystem, Some(named)) = (request.interaction, named) else { return Vec::new() };
    let one = |resource_type| Request {
        interaction: Interaction::SearchType,
        resource_type,
        parameters: request.parameters.iter().filter(|parameter| !is_type(parameter)).copied().collect(),
        ..request.clone()
    };
    // Bodies and facts are borrowed; only the lists of them are copied.
    named.value.split(',').take(TYPES_MAX + 1).map(one).collect()
}

fn is_type(parameter: &Parameter<'_>) -> bool {
    parameter.name == "_type"
}
