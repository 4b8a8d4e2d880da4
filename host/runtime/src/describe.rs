//! What a policy module says of itself, validated.

use chartgate_model::Interaction;

use crate::bindings::exports::chartgate::policy::describe as wit;
use crate::convert::is_code;
use crate::json;

/// Bytes of a settings schema.
const SCHEMA_BYTES: usize = 64 << 10;
/// FHIR versions one module may know.
const FHIR_VERSIONS: usize = 16;
/// Fact keys of one template.
const TEMPLATE_KEYS: usize = 16;
/// Bytes of one fact key, places included.
const KEY_BYTES: usize = 256;

/// The module's own account (`describe.description` in `wit/describe.wit`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// name of the policy, `smart-access`
    pub name: String,
    /// semantic version of the policy
    pub version: String,
    /// FHIR versions it has tables for, `4.0.1`
    pub fhir_versions: Vec<String>,
    /// JSON Schema of the settings it understands, a JSON object
    pub settings_schema: Vec<u8>,
    /// what to fetch ahead; at most one template per interaction
    pub fact_templates: Vec<FactTemplate>,
}

/// What a template for grants is named.
const GRANT: &str = "grant";

/// Facts an interaction usually needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactTemplate {
    /// the interaction; `None` for grants
    pub interaction: Option<Interaction>,
    /// fact keys with places, `{user}`, as `wit/describe.wit` lists them
    pub keys: Vec<String>,
}

/// What is wrong with a description: the member, and what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` is not {expected}")]
pub struct DescriptionError {
    /// member of the WIT record
    pub member: &'static str,
    /// what would do
    pub expected: &'static str,
}

impl Description {
    pub(crate) fn from_wit(found: wit::Description) -> Result<Self, DescriptionError> {
        let versions = &found.fhir_versions;
        let known = !versions.is_empty() && versions.len() <= FHIR_VERSIONS;
        require(is_code(&found.name), "name", "a kebab-case name")?;
        require(is_version(&found.version), "version", "a semantic version")?;
        require(
            known && versions.iter().all(|v| is_fhir_version(v)),
            "fhir-versions",
            "1 to 16 versions like `4.0.1`",
        )?;
        let schema = &found.settings_schema;
        let sized = schema.len() <= SCHEMA_BYTES;
        require(sized && json::is_object(schema), "settings-schema", "a JSON object of up to 64 KiB")?;
        Ok(Self {
            name: found.name,
            version: found.version,
            fhir_versions: found.fhir_versions,
            settings_schema: found.settings_schema,
            fact_templates: templates(found.fact_templates)?,
        })
    }
}

fn templates(found: Vec<wit::FactTemplate>) -> Result<Vec<FactTemplate>, DescriptionError> {
    let mut templates: Vec<FactTemplate> = Vec::new();
    for wit::FactTemplate { interaction, keys } in found {
        let known = Interaction::from_code(&interaction);
        let expected = "`grant`, or an interaction code like `search-type`";
        require(known.is_some() || interaction == GRANT, "fact-templates.interaction", expected)?;
        let interaction = known;
        let twice = templates.iter().any(|template| template.interaction == interaction);
        require(!twice, "fact-templates.interaction", "named once")?;
        // A place of many values twice in one key would multiply.
        let good = |key: &String| {
            (1..=KEY_BYTES).contains(&key.len())
                && !key.chars().any(char::is_control)
                && key.matches("{named-patient}").count() <= 1
        };
        require(
            keys.len() <= TEMPLATE_KEYS && keys.iter().all(good),
            "fact-templates.keys",
            "up to 16 keys of 1 to 256 bytes, with `{named-patient}` once at the most",
        )?;
        templates.push(FactTemplate { interaction, keys });
    }
    Ok(templates)
}

/// A semantic version (SemVer 2.0.0) without build metadata, which does not order and so could not
/// tell two releases apart.
pub(crate) fn is_version(text: &str) -> bool {
    text.len() <= 64 && semver::Version::parse(text).is_ok_and(|version| version.build.is_empty())
}

/// `4.0.1`, `5.0.0-ballot`: three numbers, perhaps a label.
pub(crate) fn is_fhir_version(text: &str) -> bool {
    is_version(text)
}

fn require(holds: bool, member: &'static str, expected: &'static str) -> Result<(), DescriptionError> {
    if holds { Ok(()) } else { Err(DescriptionError { member, expected }) }
}

#[cfg(test)]
mod tests {
    use super::{Description, wit};

    fn good() -> wit::Description {
        wit::Description {
            name: "smart-access".into(),
            version: "1.0.0".into(),
            fhir_versions: vec!["4.0.1".into()],
            settings_schema: b"{}".to_vec(),
            fact_templates: vec![template("search-type", &["relationships/{user}"])],
        }
    }

    fn template(interaction: &str, keys: &[&str]) -> wit::FactTemplate {
        wit::FactTemplate { interaction: interaction.into(), keys: keys.iter().map(|key| (*key).to_owned()).collect() }
    }

    fn refused(change: impl FnOnce(&mut wit::Description)) -> Option<&'static str> {
        let mut description = good();
        change(&mut description);
        Description::from_wit(description).err().map(|error| error.member)
    }

    #[test]
    fn a_sound_description_passes() {
        assert_eq!(refused(|_| ()), None);
    }

    #[test]
    fn each_member_is_refused_by_name() {
        assert_eq!(refused(|d| d.name = "Smart Access".into()), Some("name"));
        for version in ["1.0", "v1.0.0", "1.0.0+build", "", "01.0.0"] {
            assert_eq!(refused(|d| d.version = version.into()), Some("version"), "{version}");
        }
        assert_eq!(refused(|d| d.fhir_versions.clear()), Some("fhir-versions"));
        assert_eq!(refused(|d| d.fhir_versions = vec!["R4".into()]), Some("fhir-versions"));
        assert_eq!(refused(|d| d.settings_schema = b"[]".to_vec()), Some("settings-schema"));
    }

    #[test]
    fn a_template_names_a_known_interaction_once() {
        let member = Some("fact-templates.interaction");
        assert_eq!(refused(|d| d.fact_templates = vec![template("search", &[])]), member);
        assert_eq!(refused(|d| d.fact_templates = vec![template("read", &[]), template("read", &[])]), member);
    }

    #[test]
    fn counts_are_checked_just_inside_and_just_outside() {
        let versions = |n| move |d: &mut wit::Description| d.fhir_versions = vec!["4.0.1".into(); n];
        assert_eq!(refused(versions(16)), None);
        assert_eq!(refused(versions(17)), Some("fhir-versions"));
        let keys = |n| move |d: &mut wit::Description| d.fact_templates = vec![template("read", &vec!["k"; n])];
        assert_eq!(refused(keys(16)), None);
        assert_eq!(refused(keys(17)), Some("fact-templates.keys"));
        let key = |n| move |d: &mut wit::Description| d.fact_templates = vec![template("read", &[&"k".repeat(n)])];
        assert_eq!(refused(key(0)), Some("fact-templates.keys"));
        assert_eq!(refused(key(256)), None);
        assert_eq!(refused(key(257)), Some("fact-templates.keys"));
        let named = |n| {
            move |d: &mut wit::Description| d.fact_templates = vec![template("read", &[&"{named-patient}".repeat(n)])]
        };
        assert_eq!(refused(named(1)), None);
        assert_eq!(refused(named(2)), Some("fact-templates.keys"));
        let schema =
            |n: usize| move |d: &mut wit::Description| d.settings_schema = format!("{{{}}}", " ".repeat(n - 2)).into();
        assert_eq!(refused(schema(64 << 10)), None);
        assert_eq!(refused(schema((64 << 10) + 1)), Some("settings-schema"));
    }
}
