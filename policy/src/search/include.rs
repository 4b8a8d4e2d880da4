//! `_include` and `_revinclude`, trimmed to what the scopes allow: a server is not asked for what nobody may see.
//!
//! What comes along with the rows is read, so including takes `r` on the types it leads to. What points at the rows is
//! found by searching, so including in reverse takes `s` on the type it comes from.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::decide::Walk;
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::Letters;
use crate::tables::{Class, Kind, Parameter, ResourceType};

/// What becomes of the parameters that include.
#[derive(Debug, Default)]
pub(crate) struct Includes {
    /// position, and the values that stand there instead: none where the parameter goes
    pub(crate) trimmed: Vec<(usize, Vec<String>)>,
    /// something is included still
    pub(crate) remain: bool,
    /// untrimmed, a filter would keep what nobody may search for
    pub(crate) must_trim: bool,
}

/// What one parameter asks for.
enum Wanted {
    /// `*`
    Everything,
    /// `Observation:subject`, `Observation:*`, `Observation:subject:Patient`
    Of { source: &'static ResourceType, by: Option<Parameter>, target: Option<&'static ResourceType> },
}

/// What is left of it.
enum Kept {
    AsItIs,
    Only(Vec<String>),
}

impl Kept {
    fn when(allowed: bool) -> Self {
        if allowed { Self::AsItIs } else { Self::Only(Vec::new()) }
    }
}

impl Walk<'_, '_> {
    /// Judge every parameter that includes.
    pub(crate) fn includes(&mut self, on: &'static ResourceType) -> Result<Includes, Reason> {
        let mut includes = Includes::default();
        let request = self.request;
        for (at, parameter) in request.parameters.iter().enumerate() {
            let (name, modifier) = match parameter.name.split_once(':') {
                Some((name, modifier)) => (name, Some(modifier)),
                None => (parameter.name, None),
            };
            let kept = match name {
                "_include" => self.wanted(parameter.value).map(|wanted| self.forward(&wanted, on, modifier.is_some())),
                "_revinclude" => self.wanted(parameter.value).map(|wanted| self.backward(&wanted, &mut includes)),
                _ => continue,
            };
            let Some(kept) = kept else {
                self.trace.fail(Rule::SearchParameters, || format!("`{}`", parameter.name));
                Rule::SearchParameters.refuse(Reason::SearchParameterRefused)?;
                continue;
            };
            match kept {
                Kept::Only(values) if Rule::Includes.enforced() => {
                    self.trace.pass(Rule::Includes, || format!("{}={} is trimmed", parameter.name, parameter.value));
                    includes.remain |= !values.is_empty();
                    includes.trimmed.push((at, values));
                }
                Kept::AsItIs | Kept::Only(_) => includes.remain = true,
            }
        }
        Ok(includes)
    }

    fn wanted(&self, value: &str) -> Option<Wanted> {
        if value == "*" || value == "*:*" {
            return Some(Wanted::Everything);
        }
        let mut parts = value.split(':');
        let source = self.version.resource_type(parts.next()?)?;
        let by = match parts.next()? {
            "*" => None,
            code => Some(self.version.parameter(source, code).filter(|by| by.kind == Kind::Reference)?),
        };
        let target = match parts.next() {
            Some(target) => Some(self.version.resource_type(target)?),
            None => None,
        };
        parts.next().is_none().then_some(Wanted::Of { source, by, target })
    }

    fn forward(&mut self, wanted: &Wanted, on: &'static ResourceType, iterates: bool) -> Kept {
        if self.covers(None, Letters::R) {
            return Kept::AsItIs;
        }
        match wanted {
            Wanted::Of { target: Some(target), .. } => Kept::when(self.covers(Some(target), Letters::R)),
            Wanted::Of { source, by: Some(by), .. } => self.led_to(source, *by),
            Wanted::Of { source, by: None, .. } => self.by_each(source),
            Wanted::Everything if iterates => Kept::Only(Vec::new()),
            Wanted::Everything => self.by_each(on),
        }
    }

    /// The types a reference leads to that may be read.
    fn led_to(&mut self, source: &ResourceType, by: Parameter) -> Kept {
        let any: Vec<&'static str> = match by.targets().next() {
            Some(_) => by.targets().collect(),
            None => self.version.types.iter().map(|on| on.name).collect(),
        };
        let known = any.iter().filter_map(|name| self.version.resource_type(name));
        let read: Vec<_> = known.filter(|target| self.covers(Some(target), Letters::R)).collect();
        if read.len() == any.len() {
            return Kept::AsItIs;
        }
        Kept::Only(read.iter().map(|target| format!("{}:{}:{}", source.name, by.code, target.name)).collect())
    }

    fn by_each(&mut self, source: &'static ResourceType) -> Kept {
        let mut values = Vec::new();
        for by in source.references() {
            match self.led_to(source, by) {
                Kept::AsItIs => values.push(format!("{}:{}", source.name, by.code)),
                Kept::Only(some) => values.extend(some),
            }
        }
        Kept::Only(values)
    }

    fn backward(&mut self, wanted: &Wanted, includes: &mut Includes) -> Kept {
        let source = match wanted {
            Wanted::Everything => None,
            Wanted::Of { source, .. } => Some(*source),
        };
        let searched = self.covers(source, Letters::S);
        includes.must_trim |= !searched && (source.is_none() || self.covers(source, Letters::R));
        Kept::when(searched)
    }

    /// Some clause covers the type; `None` is every type.
    pub(crate) fn covers(&mut self, on: Option<&'static ResourceType>, letter: Letters) -> bool {
        on.is_none_or(|on| on.class != Class::Unruled)
            && self.clauses(on, letter).is_ok_and(|clauses| !clauses.is_empty())
    }
}
