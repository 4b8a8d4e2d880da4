//! One server under two addresses: apps know it by that of this host, and it knows itself by its own.
//!
//! What refers to a resource by an absolute URL is turned from one into the other, so that no app sees where the server
//! is, and so that a reference means to the rules what it means to the server. Only the beginning of a JSON string
//! counts: a URL in the middle of a text is a text.

/// From one address to the other.
#[derive(Debug, Clone)]
pub(crate) struct Rebase {
    from: String,
    to: String,
}

impl Rebase {
    /// Both without a trailing slash.
    pub(crate) fn new(from: &str, to: &str) -> Self {
        Self { from: from.to_owned(), to: to.to_owned() }
    }

    /// A URL on its own: a header, a link. One of elsewhere stays as it is.
    pub(crate) fn url(&self, url: &str) -> String {
        match url.strip_prefix(self.from.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => format!("{}{rest}", self.to),
            _ => url.to_owned(),
        }
    }

    /// JSON text: every string that is the address, or begins with it and goes on below.
    pub(crate) fn json(&self, text: Vec<u8>) -> Vec<u8> {
        if self.from == self.to {
            return text;
        }
        let plain = self.pass(text, &format!("\"{}", self.from), &format!("\"{}", self.to));
        // Some servers write their slashes so (RFC 8259, section 7).
        let escaped = |url: &str| format!("\"{}", url.replace('/', "\\/"));
        self.pass(plain, &escaped(&self.from), &escaped(&self.to))
    }

    fn pass(&self, text: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
        let mut places = memchr::memmem::find_iter(&text, from.as_bytes()).peekable();
        if places.peek().is_none() {
            return text;
        }
        let mut written = Vec::with_capacity(text.len());
        let mut done = 0;
        for place in places {
            let end = place + from.len();
            let goes_on = matches!(text.get(end), Some(b'/' | b'?' | b'"' | b'\\'));
            // A quote behind a backslash begins no string.
            let begins = place == 0 || text.get(place - 1) != Some(&b'\\');
            if goes_on && begins {
                written.extend_from_slice(text.get(done..place).unwrap_or_default());
                written.extend_from_slice(to.as_bytes());
                done = end;
            }
        }
        written.extend_from_slice(text.get(done..).unwrap_or_default());
        written
    }

    /// The values of a query: each that is the address or goes on below it, behind a comma as well. Of a resource there,
    /// its type and id are left, which every server knows.
    pub(crate) fn query(&self, url: &str) -> String {
        let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
        let pair = |pair: &str| match pair.split_once('=') {
            // A canonical URL is a name, of which the address is a part.
            Some((name @ ("url" | "_profile" | "_source"), value)) => {
                format!("{name}={}", self.values(value, Self::url))
            }
            Some((name, value)) => format!("{name}={}", self.values(value, Self::value)),
            None => pair.to_owned(),
        };
        format!("{path}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
    }

    /// The values of one parameter, percent-encoded as they came.
    fn values(&self, encoded: &str, turn: impl Fn(&Self, &str) -> String) -> String {
        let spaced = encoded.replace('+', " ");
        let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
        let turned = decoded.split(',').map(|one| turn(self, one)).collect::<Vec<_>>().join(",");
        if turned == decoded {
            return encoded.to_owned();
        }
        percent_encoding::utf8_percent_encode(&turned, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    fn value(&self, value: &str) -> String {
        let below = value.strip_prefix(self.from.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let resource = below.and_then(|below| below.split_once('/')).filter(|(kind, id)| {
            kind.bytes().all(|b| b.is_ascii_alphabetic())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
        });
        match resource {
            Some((kind, id)) => format!("{kind}/{id}"),
            None => self.url(value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebase() -> Rebase {
        Rebase::new("http://10.0.0.7:8080/fhir", "https://ehr.example/r4")
    }

    fn json(text: &str) -> String {
        String::from_utf8(rebase().json(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn strings_that_begin_with_the_address_are_turned() {
        assert_eq!(
            json(r#"{"a":"http://10.0.0.7:8080/fhir/Patient/1","b":["http://10.0.0.7:8080/fhir?_getpages=x"]}"#),
            r#"{"a":"https://ehr.example/r4/Patient/1","b":["https://ehr.example/r4?_getpages=x"]}"#
        );
        assert_eq!(json(r#""http://10.0.0.7:8080/fhir""#), r#""https://ehr.example/r4""#);
        assert_eq!(json(r#""http:\/\/10.0.0.7:8080\/fhir\/Patient\/1""#), r#""https:\/\/ehr.example\/r4\/Patient\/1""#);
    }

    #[test]
    fn texts_and_other_addresses_stay() {
        for text in [
            r#""see http://10.0.0.7:8080/fhir/Patient/1""#,
            r#""http://10.0.0.7:8080/fhirs/Patient/1""#,
            r#""http://10.0.0.7:80801/fhir/Patient/1""#,
            r#""\"http://10.0.0.7:8080/fhir/Patient/1""#,
            "{}",
        ] {
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn values_of_a_query_are_turned_one_by_one() {
        let rebase = Rebase::new("https://ehr.example/r4", "http://h/fhir");
        assert_eq!(
            rebase.query("/Observation?subject=https%3A%2F%2Fehr.example%2Fr4%2FPatient%2F1,Patient/2&code=a|b"),
            "/Observation?subject=Patient%2F1%2CPatient%2F2&code=a|b"
        );
        assert_eq!(
            rebase.query("/Observation?code=https://ehr.example/r4x/1"),
            "/Observation?code=https://ehr.example/r4x/1"
        );
        assert_eq!(
            rebase.query("/ValueSet?url=https://ehr.example/r4/ValueSet/a"),
            "/ValueSet?url=http%3A%2F%2Fh%2Ffhir%2FValueSet%2Fa"
        );
        assert_eq!(rebase.query("/Observation/9"), "/Observation/9");
    }
}
