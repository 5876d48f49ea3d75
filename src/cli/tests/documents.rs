//! Every document, and every input that is sent, is held against `schema.graphql`.

use std::collections::BTreeMap;

use async_graphql::parser::types::{
    BaseType, DocumentOperations, InputValueDefinition, OperationType, Selection, SelectionSet, Type, TypeKind,
    TypeSystemDefinition,
};
use async_graphql::parser::{parse_query, parse_schema};
use serde_json::Value;

use crate::cli::client::documents::ALL;

/// The types of the schema.
pub(super) struct Schema(BTreeMap<String, TypeKind>);

impl Schema {
    pub(super) fn read() -> Self {
        let document = parse_schema(include_str!("../../../schema.graphql")).unwrap();
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(it) => Some((it.node.name.node.to_string(), it.node.kind)),
            _ => None,
        });
        Self(types.collect())
    }

    /// The fields of an object, with their types and arguments.
    fn fields(&self, of: &str) -> BTreeMap<String, (Type, Vec<InputValueDefinition>)> {
        let Some(TypeKind::Object(object)) = self.0.get(of) else { return BTreeMap::new() };
        let fields = object.fields.iter().map(|field| {
            let arguments = field.node.arguments.iter().map(|argument| argument.node.clone()).collect();
            (field.node.name.node.to_string(), (field.node.ty.node.clone(), arguments))
        });
        fields.collect()
    }

    /// What is wrong with a document.
    fn faults(&self, document: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let parsed = parse_query(document).unwrap_or_else(|error| panic!("{error}: {document}"));
        let operation = match parsed.operations {
            DocumentOperations::Single(operation) => operation.node,
            DocumentOperations::Multiple(mut all) => all.drain().next().unwrap().1.node,
        };
        let root = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let variables = operation.variable_definitions.iter();
        let variables =
            variables.map(|it| (format!("${}", it.node.name.node), it.node.var_type.node.clone())).collect();
        self.check(root, &operation.selection_set.node, &variables, &mut wrong);
        wrong
    }

    fn check(&self, of: &str, set: &SelectionSet, variables: &BTreeMap<String, Type>, wrong: &mut Vec<String>) {
        let fields = self.fields(of);
        if fields.is_empty() != set.items.is_empty() {
            wrong.push(format!("{of}: what is selected of it does not fit"));
        }
        for item in &set.items {
            let Selection::Field(field) = &item.node else { panic!("only fields are used") };
            let name = field.node.name.node.as_str();
            let Some((kind, arguments)) = fields.get(name) else {
                wrong.push(format!("{of} has no field {name}"));
                continue;
            };
            for (argument, value) in &field.node.arguments {
                let value = value.node.to_string();
                let Some(it) = arguments.iter().find(|it| it.name.node == argument.node) else {
                    wrong.push(format!("{of}.{name} takes no {}", argument.node));
                    continue;
                };
                if value.starts_with('$') && !variables.get(&value).is_some_and(|given| fits(given, it)) {
                    wrong.push(format!("{of}.{name}({}: {value}) is declared otherwise", argument.node));
                }
            }
            for argument in arguments.iter().filter(|it| !it.ty.node.nullable && it.default_value.is_none()) {
                if !field.node.arguments.iter().any(|(name, _)| name.node == argument.name.node) {
                    wrong.push(format!("{of}.{name} needs {}", argument.name.node));
                }
            }
            self.check(named(&kind.base), &field.node.selection_set.node, variables, wrong);
        }
    }

    /// What is wrong with an input object.
    pub(super) fn input_faults(&self, of: &str, value: &Value) -> Vec<String> {
        let Some(TypeKind::InputObject(input)) = self.0.get(of) else { return Vec::new() };
        let mut wrong = Vec::new();
        let given = value.as_object().unwrap();
        for key in given.keys() {
            if !input.fields.iter().any(|field| field.node.name.node == *key) {
                wrong.push(format!("{of} has no field {key}"));
            }
        }
        for field in &input.fields {
            let (name, kind) = (field.node.name.node.as_str(), &field.node.ty.node);
            match given.get(name) {
                Some(Value::Null) if !kind.nullable => wrong.push(format!("{of}.{name} may not be null")),
                None if !kind.nullable && field.node.default_value.is_none() => {
                    wrong.push(format!("{of} needs {name}"))
                }
                Some(Value::Array(items)) => {
                    wrong.extend(items.iter().flat_map(|item| self.input_faults(named(&kind.base), item)));
                }
                Some(item @ Value::Object(_)) => wrong.extend(self.input_faults(named(&kind.base), item)),
                _ => {}
            }
        }
        wrong
    }

    /// What is wrong with the input of a mutation's field.
    pub(super) fn order_faults(&self, field: &str, input: &Value) -> Vec<String> {
        let fields = self.fields("Mutation");
        let (_, arguments) = fields.get(field).unwrap_or_else(|| panic!("there is no mutation {field}"));
        self.input_faults(named(&arguments[0].ty.node.base), input)
    }
}

fn named(base: &BaseType) -> &str {
    match base {
        BaseType::Named(name) => name.as_str(),
        BaseType::List(of) => named(&of.base),
    }
}

/// Whether a variable of this type may stand for an argument.
fn fits(given: &Type, argument: &InputValueDefinition) -> bool {
    let wanted = &argument.ty.node;
    given.base == wanted.base && (!given.nullable || wanted.nullable)
}

#[test]
fn every_document_fits_the_schema() {
    let schema = Schema::read();
    for document in ALL {
        assert_eq!(schema.faults(document), Vec::<String>::new(), "{document}");
    }
}

#[test]
fn no_document_is_left_out() {
    let source = include_str!("../client/documents.rs");
    let named = source.matches("pub(in crate::cli) const ").count() - 1;
    assert_eq!(named, ALL.len(), "every document but the list itself is in the list");
}

#[test]
fn a_document_that_does_not_fit_is_found() {
    let schema = Schema::read();
    for (document, fault) in [
        ("{ stack(name: \"x\") { nme } }", "Stack has no field nme"),
        ("{ stack(name: \"x\") }", "Stack: what is selected of it does not fit"),
        ("{ stack { name } }", "Query.stack needs name"),
        ("query A($n: Int!) { stack(name: $n) { name } }", "Query.stack(name: $n) is declared otherwise"),
        ("query A($n: String) { stack(name: $n) { name } }", "Query.stack(name: $n) is declared otherwise"),
        ("{ stack(name: \"x\", colour: 1) { name } }", "Query.stack takes no colour"),
    ] {
        assert_eq!(schema.faults(document), [fault], "{document}");
    }
}
