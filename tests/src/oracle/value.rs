//! The values of search parameters by type, each with what content they match.

pub mod date;
pub mod number;
pub mod reference;
pub mod text;
pub mod token;

/// How a value is to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// equal: also without a prefix
    Eq,
    /// not equal
    Ne,
    /// greater
    Gt,
    /// less
    Lt,
    /// greater or equal
    Ge,
    /// less or equal
    Le,
    /// starts after
    Sa,
    /// ends before
    Eb,
}

impl Prefix {
    /// Take the prefix off; `None` for one we cannot judge by: `ap` or another word.
    pub fn take(text: &str) -> Option<(Self, &str)> {
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, rest) = text.split_at(letters);
        let prefix = match word {
            "" | "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "lt" => Self::Lt,
            "ge" => Self::Ge,
            "le" => Self::Le,
            "sa" => Self::Sa,
            "eb" => Self::Eb,
            _ => return None,
        };
        Some((prefix, rest))
    }
}
