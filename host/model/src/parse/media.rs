//! Media types: which a body may have, and whether an answer may be JSON.

/// What a body is, by its `Content-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/fhir+json`
    FhirJson,
    /// `application/json`
    Json,
    /// `application/json-patch+json` (RFC 6902)
    JsonPatch,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// Ranges of an `Accept` under which a server may answer in JSON.
const JSON_RANGES: [&str; 6] =
    ["*/*", "application/*", "application/fhir+json", "application/json", "application/json+fhir", "text/json"];

/// Read a `Content-Type`; `fhir_version` is that of the base, `4.0.1`. The error says what is wrong.
///
/// SECURITY: a server that reads a body in another charset, or as another FHIR version, reads another
/// body. Both are refused, and so is every media type parameter this host does not know.
pub(super) fn of_body(content_type: &str, fhir_version: &str) -> Result<Media, &'static str> {
    let mut parts = content_type.split(';').map(str::trim);
    let media = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/fhir+json" => Media::FhirJson,
        "application/json" => Media::Json,
        "application/json-patch+json" => Media::JsonPatch,
        "application/x-www-form-urlencoded" => Media::Form,
        _ => return Err("only JSON can be judged, and the form of a search"),
    };
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("a media type parameter without `=`")?;
        let value = unquoted(value);
        if name.eq_ignore_ascii_case("charset") {
            if !value.eq_ignore_ascii_case("utf-8") {
                return Err("`charset` is not utf-8");
            }
        } else if name.eq_ignore_ascii_case("fhirVersion") {
            if !is_version_of(value, fhir_version) {
                return Err("`fhirVersion` is not the version of the base");
            }
        } else {
            return Err("a media type parameter that is neither `charset` nor `fhirVersion`");
        }
    }
    Ok(media)
}

/// `4.0` stands for `4.0.1`, and so does `4.0.1` itself.
fn is_version_of(value: &str, fhir_version: &str) -> bool {
    let rest = fhir_version.strip_prefix(value);
    value.contains('.') && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether an `Accept` leaves room for JSON (RFC 9110, section 12.5.1): a range with `q=0` does not.
pub(super) fn accepts_json(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        JSON_RANGES.contains(&name.as_str()) && !parts.any(is_zero_weight)
    })
}

/// Whether the value of `_format`, decoded, asks for JSON (FHIR R4, RESTful API, section 3.1.0.1.11). The
/// `+` of a media type is often left unencoded and arrives as a space, which servers are told to bear.
pub(super) fn is_json_format(value: &str) -> bool {
    let named = value.to_ascii_lowercase().replace(' ', "+");
    named == "json" || JSON_RANGES.iter().any(|range| !range.contains('*') && *range == named)
}

fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q")).map(|(_, weight)| weight);
    weight.is_some_and(|weight| weight.bytes().all(|b| b == b'0' || b == b'.'))
}

/// The text without the pair of quotes around it; with one quote only, as it is.
pub(super) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}
