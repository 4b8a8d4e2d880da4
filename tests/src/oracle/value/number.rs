//! `number` and `quantity`: decimals without floating point.

use serde_json::Value;

use super::Prefix;

/// Digits behind the point that are kept; more make a number unreadable.
const SCALE: u32 = 18;

/// One alternative of a `number`.
pub struct Number {
    prefix: Prefix,
    value: i128,
    /// half of the last digit given
    half: i128,
}

impl Number {
    /// `5.4`, `gt5`.
    pub fn read(text: &str) -> Option<Self> {
        let (prefix, digits) = Prefix::take(text)?;
        let (value, places) = decimal(digits)?;
        Some(Self { prefix, value, half: 5 * 10_i128.pow(SCALE - places - 1) })
    }

    /// Whether content is it.
    pub fn matches(&self, content: &Value) -> bool {
        let Value::Number(number) = content else { return false };
        let Some((found, _)) = decimal(&number.to_string()) else { return false };
        let equal = self.value - self.half <= found && found < self.value + self.half;
        match self.prefix {
            Prefix::Eq => equal,
            Prefix::Ne => !equal,
            Prefix::Gt | Prefix::Sa => found > self.value,
            Prefix::Lt | Prefix::Eb => found < self.value,
            Prefix::Ge => found >= self.value,
            Prefix::Le => found <= self.value,
        }
    }
}

/// A plain decimal in units of 10^-18, and its digits behind the point.
fn decimal(text: &str) -> Option<(i128, u32)> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (digits, ""),
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 15 || fraction.len() > 15 || !plain(whole) || !plain(fraction) {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let value = units * 10_i128.pow(SCALE - places);
    Some((if negative { -value } else { value }, places))
}

/// One alternative of a `quantity`.
pub struct Quantity {
    number: Number,
    /// system and code; an empty system lets the code be a unit
    unit: Option<(String, String)>,
}

impl Quantity {
    /// `5.4`, `5.4|system|code`, `5.4||code`.
    pub fn read(fields: &[String]) -> Option<Self> {
        match fields {
            [number] => Some(Self { number: Number::read(number)?, unit: None }),
            [number, system, code] if !code.is_empty() => {
                Some(Self { number: Number::read(number)?, unit: Some((system.clone(), code.clone())) })
            }
            _ => None,
        }
    }

    /// Whether content is it.
    pub fn matches(&self, content: &Value) -> bool {
        let text = |name: &str| content.get(name).and_then(Value::as_str);
        if content.get("comparator").is_some() || content.get("currency").is_some() {
            return false;
        }
        let unit_fits = match &self.unit {
            None => true,
            Some((system, code)) if system.is_empty() => text("code") == Some(code) || text("unit") == Some(code),
            Some((system, code)) => text("system") == Some(system) && text("code") == Some(code),
        };
        unit_fits && content.get("value").is_some_and(|value| self.number.matches(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Number, Quantity};

    fn matches(wanted: &str, content: &Value) -> bool {
        Number::read(wanted).unwrap().matches(content)
    }

    /// The examples of FHIR R4, Search, section 3.1.1.4.6.
    #[test]
    fn the_precision_given_counts_for_equality_alone() {
        for (wanted, inside, outside) in [("100", 99.5, 100.5), ("100.00", 99.995, 100.005), ("5.4", 5.35, 5.45)] {
            assert!(matches(wanted, &json!(inside)) && !matches(wanted, &json!(outside)), "{wanted}");
            assert!(!matches(&format!("ne{wanted}"), &json!(inside)), "{wanted}");
        }
        assert!(matches("lt100", &json!(99.999)) && !matches("lt100", &json!(100)));
        assert!(matches("ge100", &json!(100)) && !matches("gt100", &json!(100)));
        for bad in ["1e2", "+5", ".5", "5.", "five", "ap5", "", "--5"] {
            assert!(Number::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_quantity_has_its_unit_and_no_comparator() {
        let fields = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
        let matches = |wanted: &str, content: Value| Quantity::read(&fields(wanted)).unwrap().matches(&content);
        assert!(matches("5||mg", json!({ "value": 5, "unit": "mg" })));
        assert!(!matches("5|s|mg", json!({ "value": 5, "system": "s", "unit": "mg" })));
        assert!(matches("5|s|mg", json!({ "value": 5, "system": "s", "code": "mg" })));
        assert!(!matches("gt4", json!({ "value": 5, "comparator": ">" })));
        assert!(!matches("5", json!({ "value": 5, "currency": "EUR" })));
        assert!(Quantity::read(&fields("5|mg")).is_none() && Quantity::read(&fields("5|s|")).is_none());
    }
}
