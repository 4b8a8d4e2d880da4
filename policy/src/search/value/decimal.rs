//! Numbers and quantities (FHIR R4, Search, sections 3.1.1.4.6 and 3.1.1.4.11), exact: no floating
//! point, and no conversion between units.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::json::{Malformed, Value};
use crate::search::value::Prefix;

/// Digits a number may have, and how far its point may lie off.
const DIGITS_MAX: usize = 30;

/// `mantissa × 10^-scale`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    mantissa: i128,
    scale: i32,
}

impl Decimal {
    /// Read a decimal; an exponent only where it may be there.
    fn parse(text: &str, exponents: bool) -> Option<Self> {
        let (text, exponent) = match text.split_once(['e', 'E']) {
            Some((text, exponent)) if exponents => (text, exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?),
            Some(_) => return None,
            None => (text, 0i32),
        };
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let sized = !whole.is_empty() && whole.len() + fraction.len() <= DIGITS_MAX && exponent.unsigned_abs() <= 30;
        let dotted = digits.len() == whole.len() || !fraction.is_empty();
        if !(sized && dotted && plain(whole) && plain(fraction)) {
            return None;
        }
        let digit = |value: i128, byte: u8| value * 10 + i128::from(byte - b'0');
        let mantissa = whole.bytes().chain(fraction.bytes()).fold(0, digit);
        let scale = i32::try_from(fraction.len()).ok()? - exponent;
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }

    /// `None` where the two cannot be brought to one scale.
    fn compare(self, other: Self) -> Option<Ordering> {
        let raised = |value: Self, to: i32| {
            let places = u32::try_from(to - value.scale).ok()?;
            value.mantissa.checked_mul(10i128.checked_pow(places)?)
        };
        let scale = self.scale.max(other.scale);
        Some(raised(self, scale)?.cmp(&raised(other, scale)?))
    }

    /// Half a unit of the last place below and above: what an equal number may be.
    fn precision(self) -> Option<(Self, Self)> {
        let (mantissa, scale) = (self.mantissa.checked_mul(10)?, self.scale + 1);
        let at = |mantissa: i128| Self { mantissa, scale };
        Some((at(mantissa.checked_sub(5)?), at(mantissa.checked_add(5)?)))
    }
}

/// A number that is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comparison {
    prefix: Prefix,
    number: Decimal,
}

/// Exponents are refused: the specification's own example of their precision is in doubt.
pub(super) fn comparison(text: &str) -> Option<Comparison> {
    let (prefix, number) = Prefix::split(text);
    Some(Comparison { prefix, number: Decimal::parse(number, false)? })
}

impl Comparison {
    pub(super) fn accepts(&self, text: &str) -> bool {
        Decimal::parse(text, true).and_then(|found| self.holds(found)).unwrap_or(false)
    }

    fn holds(&self, found: Decimal) -> Option<bool> {
        let order = found.compare(self.number)?;
        let equal = || {
            let (low, high) = self.number.precision()?;
            Some(found.compare(low)? != Ordering::Less && found.compare(high)? == Ordering::Less)
        };
        Some(match self.prefix {
            Prefix::Equal => equal()?,
            Prefix::NotEqual => !equal()?,
            Prefix::Greater | Prefix::StartsAfter => order == Ordering::Greater,
            Prefix::Less | Prefix::EndsBefore => order == Ordering::Less,
            Prefix::GreaterOrEqual => order != Ordering::Less,
            Prefix::LessOrEqual => order != Ordering::Greater,
        })
    }
}

/// A quantity that is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantity {
    number: Comparison,
    /// system (empty: any) and code; `None`: any unit
    unit: Option<(String, String)>,
}

/// `number`, `number|system|code` or `number||code`.
pub(super) fn quantity(parts: Vec<String>) -> Option<Quantity> {
    let mut parts = parts.into_iter();
    let number = comparison(&parts.next()?)?;
    let unit = match (parts.next(), parts.next(), parts.next()) {
        (None, None, None) => None,
        (Some(system), Some(code), None) if !code.is_empty() => Some((system, code)),
        _ => return None,
    };
    Some(Quantity { number, unit })
}

impl Quantity {
    pub(super) fn accepts(&self, value: Value<'_, '_>) -> Result<bool, Malformed> {
        // A comparator ("less than 5") leaves the value open, and money is no quantity.
        if !value.is_object() || value.get("comparator")?.is_some() || value.get("currency")?.is_some() {
            return Ok(false);
        }
        let number = value.get("value")?.and_then(Value::literal);
        Ok(number.is_some_and(|text| self.number.accepts(text)) && self.unit_fits(value)?)
    }

    /// Without a system the code may also be what a person reads as the unit.
    fn unit_fits(&self, value: Value<'_, '_>) -> Result<bool, Malformed> {
        let Some((system, code)) = &self.unit else { return Ok(true) };
        let is = |name: &str, wanted: &str| Ok(value.get_string(name)?.is_some_and(|text| text == wanted));
        if system.is_empty() {
            return Ok(is("code", code)? || is("unit", code)?);
        }
        Ok(is("system", system)? && is("code", code)?)
    }
}

#[cfg(test)]
mod tests {
    use super::comparison;

    fn holds(wanted: &str, found: &str) -> bool {
        comparison(wanted).unwrap().accepts(found)
    }

    #[test]
    fn an_equal_number_is_equal_to_its_last_place() {
        for (wanted, low, high) in [("100", "99.5", "100.5"), ("100.00", "99.995", "100.005"), ("-1", "-1.5", "-0.5")] {
            assert!(holds(wanted, low) && !holds(wanted, high), "{wanted}");
            assert!(!holds(&format!("ne{wanted}"), low) && holds(&format!("ne{wanted}"), high), "{wanted}");
        }
    }

    #[test]
    fn ordered_comparisons_are_exact() {
        for (wanted, below, same, above) in [
            ("gt5.4", false, false, true),
            ("lt5.4", true, false, false),
            ("ge5.4", false, true, true),
            ("le5.4", true, true, false),
            ("sa5.4", false, false, true),
            ("eb5.4", true, false, false),
        ] {
            let found = [holds(wanted, "5.39"), holds(wanted, "5.400"), holds(wanted, "54.1e-1")];
            assert_eq!(found, [below, same, above], "{wanted}");
            let found = [holds(wanted, "53e-1"), holds(wanted, "0.54e+1"), holds(wanted, "0.055E2")];
            assert_eq!(found, [below, same, above], "{wanted}");
        }
    }

    #[test]
    fn what_is_no_plain_decimal_cannot_be_asked_for_and_matches_nothing() {
        for text in ["", "1e2", "ap5", "0x1", "1.", ".5", "+1", "--1", "1_0", "NaN", "5 ", &"9".repeat(31)] {
            assert!(comparison(text).is_none(), "{text}");
        }
        for found in ["", "true", "1e31", "1e-31", "1e", &"9".repeat(31)] {
            assert!(!holds("ge0", found) && !holds("ne0", found), "{found}");
        }
    }

    use alloc::format;
}
