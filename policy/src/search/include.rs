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
use crate::tables::{Class, Kind, Parameter as TypeParameter, ResourceType};
use crate::types::Parameter;

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
    Of { source: &'static ResourceType, by: Option<TypeParameter>, target: Option<&'static ResourceType> },
}

/// Which types some clause covers, each asked about once.
#[derive(Default)]
struct Known(Vec<(&'static str, Letters, bool)>);

impl Known {
    fn covers(&mut self, walk: &mut Walk<'_, '_>, on: &'static ResourceType, letter: Letters) -> bool {
        if let Some((.., covers)) = self.0.iter().find(|(name, of, _)| *name == on.name && *of == letter) {
            return *covers;
        }
        let covers = walk.covers(Some(on), letter);
        self.0.push((on.name, letter, covers));
        covers
    }
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
        let mut known = Known::default();
        for (at, parameter) in request.parameters.iter().enumerate() {
            let (name, modifier) = match parameter.name.split_once(':') {
                Some((name, modifier)) => (name, Some(modifier)),
                None => (parameter.name, None),
            };
            let wanted = match name {
                "_include" | "_revinclude" => self.wanted(parameter.value),
                _ => continue,
            };
            // Whatever is said twice is judged once.
            let said = |earlier: &Parameter<'_>| {
                let same = earlier.value == parameter.value || [earlier.value, parameter.value].iter().all(is_all);
                earlier.name == parameter.name && same
            };
            if wanted.is_some() && request.parameters.iter().take(at).any(said) && Rule::Includes.enforced() {
                includes.trimmed.push((at, Vec::new()));
                continue;
            }
            let iterates = modifier.is_some();
            let kept = wanted.map(|wanted| match name {
                "_include" => self.forward(&wanted, on, iterates, &mut known),
                _ => self.backward(&wanted, on, iterates, &mut includes, &mut known),
            });
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
        if is_all(&value) {
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

    fn forward(&mut self, wanted: &Wanted, on: &'static ResourceType, iterates: bool, known: &mut Known) -> Kept {
        if self.covers(None, Letters::R) {
            return Kept::AsItIs;
        }
        match wanted {
            Wanted::Of { target: Some(target), .. } => Kept::when(self.covers(Some(target), Letters::R)),
            Wanted::Of { source, by: Some(by), .. } => self.led_to(source, *by, known),
            Wanted::Of { source, by: None, .. } => self.by_each(source, known),
            Wanted::Everything if iterates => Kept::Only(Vec::new()),
            Wanted::Everything => self.by_each(on, known),
        }
    }

    /// The types a reference leads to that may be read.
    fn led_to(&mut self, source: &ResourceType, by: TypeParameter, known: &mut Known) -> Kept {
        let any: Vec<&'static str> = match by.targets().next() {
            Some(_) => by.targets().collect(),
            None => self.version.types.iter().map(|on| on.name).collect(),
        };
        let targets = any.iter().filter_map(|name| self.version.resource_type(name));
        let read: Vec<_> = targets.filter(|target| known.covers(self, target, Letters::R)).collect();
        if read.len() == any.len() {
            return Kept::AsItIs;
        }
        Kept::Only(read.iter().map(|target| format!("{}:{}:{}", source.name, by.code, target.name)).collect())
    }

    fn by_each(&mut self, source: &'static ResourceType, known: &mut Known) -> Kept {
        let mut values = Vec::new();
        for by in source.references() {
            match self.led_to(source, by, known) {
                Kept::AsItIs => values.push(format!("{}:{}", source.name, by.code)),
                Kept::Only(some) => values.extend(some),
            }
        }
        Kept::Only(values)
    }

    fn backward(
        &mut self,
        wanted: &Wanted,
        on: &'static ResourceType,
        iterates: bool,
        includes: &mut Includes,
        known: &mut Known,
    ) -> Kept {
        let source = match wanted {
            Wanted::Everything => None,
            Wanted::Of { source, .. } => Some(*source),
        };
        let searched = self.covers(source, Letters::S);
        includes.must_trim |= !searched && (source.is_none() || self.covers(source, Letters::R));
        match source {
            None if !searched && !iterates => Kept::Only(self.pointing_at(on, known)),
            _ => Kept::when(searched),
        }
    }

    /// Everything that may point at a type and may be searched for.
    fn pointing_at(&mut self, on: &'static ResourceType, known: &mut Known) -> Vec<String> {
        let mut values = Vec::new();
        for source in self.version.types {
            // A parameter that names no types may point anywhere.
            let points =
                |by: &TypeParameter| by.targets().next().is_none() || by.targets().any(|target| target == on.name);
            let mut by = source.references().filter(points).peekable();
            if by.peek().is_some() && known.covers(self, source, Letters::S) {
                values.extend(by.map(|by| format!("{}:{}", source.name, by.code)));
            }
        }
        values
    }

    /// Some clause covers the type; `None` is every type.
    pub(crate) fn covers(&mut self, on: Option<&'static ResourceType>, letter: Letters) -> bool {
        on.is_none_or(|on| on.class != Class::Unruled)
            && self.clauses(on, letter).is_ok_and(|clauses| !clauses.is_empty())
    }
}

/// Whatever leads anywhere, or from anywhere.
fn is_all(value: &&str) -> bool {
    matches!(*value, "*" | "*:*")
}
