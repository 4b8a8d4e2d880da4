//! Facts about the configuration of issuers.

use super::*;

#[derive(Deserialize)]
struct File {
    tokens: Vec<Tokens>,
}

/// What is wrong with these tables.
fn problems(toml: &str) -> Vec<String> {
    let mut problems = Vec::new();
    check(&toml::from_str::<File>(toml).unwrap().tokens, &["default"], &["default"], &mut problems);
    problems
}

#[test]
fn an_issuer_says_whose_people_it_speaks_of_where_there_are_several() {
    let plain = "[[tokens]]\nissuer = \"a\"\naudiences = [\"b\"]\njwks_file = \"c\"\n";
    let asked = |more: &str, bases: &[&str], tenants: &[&str]| {
        let mut problems = Vec::new();
        check(&toml::from_str::<File>(&format!("{plain}{more}")).unwrap().tokens, bases, tenants, &mut problems);
        problems
    };
    assert!(asked("", &["default"], &["default"]).is_empty());
    assert!(asked("", &["a", "b"], &["default"])[0].contains("`tokens[0].fhir`"));
    assert!(asked("", &["a"], &["x", "y"])[0].contains("`tokens[0].tenants`"));
    assert!(asked("fhir = [\"a\"]\ntenants = [\"y\"]", &["a", "b"], &["x", "y"]).is_empty());
    assert!(asked("fhir = [\"c\"]", &["a", "b"], &["x"])[0].contains("`c` is none of a, b"));
}

/// An issuer of this name with these further members.
fn issuer(name: &str, more: &str) -> String {
    format!("[[tokens]]\nissuer = \"https://{name}.example\"\naudiences = [\"a\"]\n{more}\n")
}

fn asked(more: &str) -> String {
    format!(
        "introspection = {{ url = \"https://login.example/introspect\", client_id = \"c\", client_secret_file = \"/s\"{more} }}"
    )
}

const FILE: &str = "jwks_file = \"/jwks.json\"";
const URL: &str = "jwks_url = \"https://login.example/jwks\"";

fn is_fine(toml: &str) {
    assert_eq!(problems(toml), [""; 0], "{toml}");
}

fn is_refused(toml: &str, word: &str) {
    let found = problems(toml);
    assert!(found.len() == 1 && found[0].contains(word), "{word} is not all of {found:?}");
}

#[test]
fn each_issuer_has_one_way_to_be_verified() {
    for way in [FILE, URL, &asked("")] {
        is_fine(&issuer("a", way));
    }
    for ways in ["", &format!("{FILE}\n{URL}"), &format!("{URL}\n{}", asked(""))] {
        is_refused(&issuer("a", ways), "one of `jwks_file`");
    }
}

#[test]
fn two_issuers_are_told_apart_and_one_has_the_opaque_tokens() {
    is_fine(&(issuer("a", FILE) + &issuer("b", FILE)));
    is_refused(&(issuer("a", FILE) + &issuer("a", URL)), "`tokens[1].issuer`");
    let jwt_only = asked(", opaque = false, jwt = true");
    is_fine(&(issuer("a", &asked("")) + &issuer("b", &jwt_only)));
    is_refused(&(issuer("a", &asked("")) + &issuer("b", &asked(", jwt = true"))), "several issuers");
    is_refused(&issuer("a", &asked(", opaque = false")), "neither");
}

#[test]
fn numbers_have_bounds() {
    for (member, least, most) in [("timeout_ms", 1, 10_000), ("max_age_s", 1, 86_400), ("stale_max_s", 0, 86_400)] {
        for (value, fits) in [(least, true), (most, true), (most + 1, false)] {
            let toml = issuer("a", &format!("{URL}\n{member} = {value}"));
            if fits { is_fine(&toml) } else { is_refused(&toml, member) }
        }
    }
    is_refused(&issuer("a", &format!("{URL}\nmax_age_s = 0")), "max_age_s");
    for (member, least, most) in [("cache_entries", 0, 100_000), ("cache_age_s", 1, 60)] {
        for (value, fits) in [(least, true), (most, true), (most + 1, false)] {
            let toml = issuer("a", &asked(&format!(", {member} = {value}")));
            if fits { is_fine(&toml) } else { is_refused(&toml, member) }
        }
    }
    is_refused(&issuer("a", &asked(", cache_age_s = 0")), "cache_age_s");
}

#[test]
fn a_member_without_effect_is_refused() {
    is_refused(&issuer("a", &format!("{FILE}\nmax_age_s = 60")), "belong to `jwks_url`");
    is_refused(&issuer("a", &format!("algorithms = [\"RS256\"]\n{}", asked(""))), "`algorithms` belongs");
}

#[test]
fn a_careless_url_is_refused_and_not_repeated() {
    for url in ["http://login.example/jwks", "https://me:s3cr3t@login.example/", "https://10.0.0.1/jwks"] {
        let toml = issuer("a", &format!("jwks_url = {url:?}"));
        is_refused(&toml, "`jwks_url`");
        assert!(!problems(&toml)[0].contains("s3cr3t"));
    }
    is_fine(&issuer("a", "jwks_url = \"http://127.0.0.1:8000/jwks\"\nallow_private = true"));
    let toml = issuer("a", &asked("").replace("https", "http"));
    is_refused(&toml, "`introspection.url`");
}

#[test]
fn claims_are_names_or_paths() {
    is_fine(&issuer("a", &format!("{FILE}\nclaims = {{ scope = \"scp\", patient = [\"ctx\", \"patient\"] }}")));
    is_refused(&issuer("a", &format!("{FILE}\nclaims = {{ scope = \"\" }}")), "`scope`");
    is_refused(&issuer("a", &format!("{FILE}\nclaims = {{ client = [] }}")), "`client`");
}

#[test]
fn clients_of_their_own_need_the_word_of_both() {
    for (host, one, both) in [(false, true, false), (true, false, false), (true, true, true)] {
        let toml = issuer("a", &format!("{FILE}\nsystem_clients = {one}"));
        let file: File = toml::from_str(&toml).unwrap();
        let settings = file.tokens[0].settings(1, &System { enabled: host });
        assert_eq!(settings.system_clients, both, "{host} {one}");
    }
}
