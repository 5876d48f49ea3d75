//! Results for machines: JSON, YAML, names.

use serde_json::Value;

use super::args::Output;
use super::exit::{CliError, Exit};

/// One result, or a list of results, as a machine reads it; none when it is for people. `name` gives the name of one.
pub(super) fn machine(
    output: Output,
    value: &Value,
    name: impl Fn(&Value) -> Option<String>,
) -> Result<Option<String>, CliError> {
    Ok(Some(match output {
        Output::Table | Output::Wide => return Ok(None),
        Output::Json => serde_json::to_string_pretty(value).map_err(unwritable)?,
        Output::Yaml => serde_saphyr::to_string(value).map_err(unwritable)?,
        Output::Name => match value {
            Value::Array(values) => values.iter().filter_map(name).collect::<Vec<_>>().join("\n"),
            value => name(value).unwrap_or_default(),
        },
    }))
}

/// The same for one of many that come one after the other.
pub(super) fn streamed(
    output: Output,
    value: &Value,
    name: impl Fn(&Value) -> Option<String>,
) -> Result<Option<String>, CliError> {
    match output {
        Output::Json => serde_json::to_string(value).map(Some).map_err(unwritable),
        Output::Yaml => Ok(machine(output, value, name)?.map(|text| format!("---\n{text}"))),
        _ => machine(output, value, name),
    }
}

/// A text field, as a name.
pub(super) fn field(name: &'static str) -> impl Fn(&Value) -> Option<String> {
    move |value| value.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn unwritable(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::Error, format!("the result cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_has_its_text() {
        let value = json!([{ "name": "shop", "pin": null }, { "name": "blog", "pin": "yes" }]);
        let text = |output| machine(output, &value, field("name")).unwrap();
        assert_eq!(text(Output::Table), None);
        assert_eq!(text(Output::Name).unwrap(), "shop\nblog");
        let json = text(Output::Json).unwrap();
        assert!(json.contains("\"pin\": null"), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        let yaml = text(Output::Yaml).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), value, "{yaml}");
    }

    #[test]
    fn a_stream_has_one_object_a_line() {
        let value = json!({ "name": "shop", "pin": null });
        let text = |output| streamed(output, &value, field("name")).unwrap().unwrap();
        assert_eq!(text(Output::Json), r#"{"name":"shop","pin":null}"#);
        assert_eq!(text(Output::Name), "shop");
        assert!(text(Output::Yaml).starts_with("---\nname: shop\n"));
    }
}
