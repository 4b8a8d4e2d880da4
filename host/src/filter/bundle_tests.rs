use super::*;

fn raw(text: &str) -> Box<RawValue> {
    serde_json::from_str(text).unwrap()
}

fn without(text: &str, kept: &[bool]) -> (String, usize) {
    let text = raw(text);
    let (written, gone) = Bundle::read(&text).unwrap().without(kept.iter().copied()).unwrap();
    (written.get().to_owned(), gone)
}

#[test]
fn what_is_kept_is_kept_byte_for_byte() {
    let bundle = r#"{"resourceType":"Bundle","type":"searchset","entry":[
        {"fullUrl":"https://ehr.example/fhir/Observation/1","resource":{"resourceType":"Observation", "id":"1","v":1.10},"search":{"mode":"match"}},
        {"resource":{"resourceType":"Observation","id":"2"}}]}"#;
    let (written, gone) = without(bundle, &[true, false]);
    assert!(written.contains(r#"{"resourceType":"Observation", "id":"1","v":1.10}"#), "{written}");
    assert!(!written.contains(r#""id":"2""#));
    assert_eq!(gone, 1);
}

/// Totals, signatures, the last page, what nobody here knows: each may count what is gone.
#[test]
fn nothing_tells_of_what_is_gone() {
    let bundle = r#"{"resourceType":"Bundle","id":"b","type":"searchset","total":2,"extension":[{"url":"count","valueInteger":2}],
        "link":[{"relation":"self","url":"s"},{"relation":"last","url":"page=9"},{"relation":"next","url":"n"},{"url":"x"}],
        "issues":{"resourceType":"OperationOutcome"},"signature":{},"entry":[
        {"resource":{"resourceType":"Observation","id":"1"},"link":[{"relation":"x","url":"y"}],"extension":[]}]}"#;
    let (written, gone) = without(bundle, &[false]);
    let expected = r#"{"resourceType":"Bundle","id":"b","type":"searchset","link":[{"relation":"self","url":"s"},{"relation":"next","url":"n"}]}"#;
    assert_eq!((written.as_str(), gone), (expected, 1));
    let (written, _) = without(bundle, &[true]);
    assert!(
        !written.contains("total") && !written.contains("extension") && !written.contains("signature"),
        "{written}"
    );
}

/// A server's warning may quote an id or a name.
#[test]
fn an_outcome_is_brought_down_to_its_kind() {
    let bundle = r#"{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{"resourceType":"OperationOutcome",
        "text":{"div":"Patient/2"},"issue":[{"severity":"warning","code":"not-found","diagnostics":"Patient/2 is hidden"},
        {"severity":{"a":"Patient/2"},"code":"x"}]},"search":{"mode":"outcome"}}]}"#;
    let (written, gone) = without(bundle, &[]);
    assert!(!written.contains("Patient/2"), "{written}");
    assert!(written.contains(r#""code":"not-found""#) && written.contains(r#""severity":"warning""#), "{written}");
    assert_eq!(gone, 0);
}

/// A deletion has nothing to be judged by.
#[test]
fn a_version_without_content_is_gone() {
    let bundle = r#"{"resourceType":"Bundle","type":"history","entry":[
        {"fullUrl":"u","request":{"method":"DELETE","url":"Observation/1"},"response":{"status":"204"}},
        {"resource":{"resourceType":"Observation","id":"1"},"request":{"method":"PUT","url":"Observation/1"},
         "response":{"status":"200","etag":"W/\"2\"","outcome":{"resourceType":"OperationOutcome"}}}]}"#;
    let text = raw(bundle);
    let items = Bundle::read(&text).unwrap().items();
    assert_eq!((items.len(), items[0].mode), (1, ItemMode::History));
    let (written, gone) = without(bundle, &[true]);
    assert!(!written.contains("DELETE") && !written.contains("outcome") && written.contains("etag"), "{written}");
    assert_eq!(gone, 1);
}

#[test]
fn what_was_asked_for_is_told_from_what_came_along() {
    let of = |kind: &str, mode: &str| {
        let text = format!(
            r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{{"resource":{{"resourceType":"Patient","id":"1"}}{mode}}}]}}"#
        );
        let text = raw(&text);
        Bundle::read(&text).unwrap().items()[0].mode
    };
    assert_eq!(of("searchset", r#","search":{"mode":"match"}"#), ItemMode::Match);
    assert_eq!(of("searchset", ""), ItemMode::Match);
    for odd in ["include", "outcome", "other"] {
        assert_eq!(of("searchset", &format!(r#","search":{{"mode":"{odd}"}}"#)), ItemMode::Include, "{odd}");
    }
    assert_eq!(of("document", ""), ItemMode::Include);
    assert_eq!(of("history", r#","search":{"mode":"match"}"#), ItemMode::History);
}

#[test]
fn what_is_no_answer_is_refused_and_the_member_named() {
    for (text, member) in [
        ("[]", ""),
        (r#"{"resourceType":"Patient"}"#, "resourceType"),
        (r#"{"resourceType":"Bundle"}"#, "type"),
        (r#"{"resourceType":"Bundle","type":"transaction"}"#, "type"),
        (r#"{"resourceType":"Bundle","type":"batch-response"}"#, "type"),
        (r#"{"resourceType":"Bundle","type":"searchset","entry":{}}"#, "entry"),
        (r#"{"resourceType":"Bundle","type":"searchset","link":1}"#, "link"),
        (r#"{"resourceType":"Bundle","type":"searchset","entry":[1]}"#, "entry[0]"),
        (r#"{"resourceType":"Bundle","type":"searchset","entry":[{},{"resource":[]}]}"#, "entry[1].resource"),
        (r#"{"resourceType":"Bundle","type":"searchset","entry":[{"response":3}]}"#, "entry[0].response"),
    ] {
        let text = raw(text);
        assert_eq!(Bundle::read(&text).err().map(|error| error.member).as_deref(), Some(member), "{text}");
    }
}
