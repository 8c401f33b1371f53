//! The JSON Schema of the format, generated from the table of shapes.

use serde_json::{Map, Value, json};

use super::shape::{
    COMPONENT, FILESYSTEM, PROJECT, RUNTIME, Record, SOURCE, Shape, TARGET, TEMPLATE, VOLUME,
};

/// Returns the JSON Schema (draft 2020-12) of a Kraftfile.
///
/// It allows what [`super::parse`] accepts without a warning: deprecated keys are marked as
/// deprecated, unknown ones are not allowed, so that editors highlight them.
pub fn schema() -> Value {
    let mut definitions = Map::new();
    for part in [
        &COMPONENT,
        &TEMPLATE,
        &RUNTIME,
        &TARGET,
        &FILESYSTEM,
        &SOURCE,
        &VOLUME,
    ] {
        definitions.insert(part.name.to_owned(), record(part));
    }
    let mut schema = Map::new();
    let dialect = "https://json-schema.org/draft/2020-12/schema";
    schema.insert("$schema".to_owned(), dialect.into());
    schema.insert("title".to_owned(), "Kraftfile".into());
    if let Value::Object(project) = record(&PROJECT) {
        schema.extend(project);
    }
    schema.insert("$defs".to_owned(), definitions.into());
    Value::Object(schema)
}

fn record(record: &'static Record) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in record.fields {
        for name in field.names() {
            let mut property = Map::new();
            property.insert("description".to_owned(), field.doc.into());
            if name != field.name {
                let description = format!("The same as `{}`. {}", field.name, field.doc);
                property.insert("description".to_owned(), description.into());
            }
            if field.old.contains(&name) || matches!(field.shape, Shape::Any) {
                property.insert("deprecated".to_owned(), true.into());
            }
            if let Value::Object(shape) = value(&field.shape) {
                property.extend(shape);
            }
            properties.insert(name.to_owned(), property.into());
        }
        if field.required {
            let names: Vec<Value> = field.names().map(|n| json!({ "required": [n] })).collect();
            required.push(json!({ "anyOf": names }));
        }
    }
    let mut schema = Map::new();
    schema.insert("description".to_owned(), record.doc.into());
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties.into());
    schema.insert(
        "patternProperties".to_owned(),
        json!({ "^x-|^extensions$": true }),
    );
    schema.insert("additionalProperties".to_owned(), false.into());
    if !required.is_empty() {
        schema.insert("allOf".to_owned(), required.into());
    }
    schema.into()
}

fn value(of: &'static Shape) -> Value {
    match of {
        Shape::Text => json!({ "type": "string" }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::ScalarOrNothing => json!({ "type": ["string", "number", "boolean", "null"] }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::List(item) => json!({ "type": "array", "items": value(item) }),
        Shape::Map(values) => json!({ "type": "object", "additionalProperties": value(values) }),
        Shape::Record(record) => json!({ "$ref": format!("#/$defs/{}", record.name) }),
        Shape::Either(shapes) => {
            let all: Vec<Value> = shapes.iter().map(value).collect();
            json!({ "anyOf": all })
        }
        Shape::Any | Shape::Free => json!({}),
    }
}
