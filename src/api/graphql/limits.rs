//! Limits that the library does not have: how often a document gives fields other names, and how long it would be with its
//! fragments written out. Both are worked out before the library looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{ServerError, ServerResult, Value, Variables};

/// The most aliases of a document: each could be the same costly question again.
const MOST_ALIASES: usize = 50;
/// The most fields of a document with its fragments written out: a few of them, each naming the next one twice, would
/// otherwise be a document of any length.
const MOST_FIELDS: usize = 20_000;

/// How many fragments may name one another in a row.
const LONGEST_CHAIN: usize = 30;

/// Refuses documents beyond the limits.
pub(super) struct Limits;

impl ExtensionFactory for Limits {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Limits {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        // What cannot be parsed is refused by the library, with its place.
        if let Ok(document) = parse_query(query) {
            let size = Size::of(&document);
            if size.aliases > MOST_ALIASES {
                let count = size.aliases;
                return Err(refused(format!("the document has {count} aliases; {MOST_ALIASES} is the most")));
            }
            if size.fields > MOST_FIELDS {
                let message = format!("the document has more than {MOST_FIELDS} fields with its fragments written out");
                return Err(refused(message));
            }
        }
        next.run(ctx, query, variables).await
    }
}

fn refused(message: String) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions.get_or_insert_default().set("code", Value::from("LIMIT_EXCEEDED"));
    error
}

/// How long a document is.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    /// As it is written.
    aliases: usize,
    /// With its fragments written out.
    fields: usize,
}

impl Size {
    fn of(document: &ExecutableDocument) -> Self {
        let mut known = BTreeMap::new();
        let mut size = Self::default();
        for (_, operation) in document.operations.iter() {
            size.add(Self::measure(document, &operation.node.selection_set.node, 0, &mut known));
        }
        let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
        size.aliases += fragments.map(|set| Self::measure(document, set, 0, &mut known).aliases).sum::<usize>();
        size
    }

    fn add(&mut self, other: Self) {
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.fields = self.fields.saturating_add(other.fields);
    }

    /// The parser has bounded how deep a set goes; fragments are measured once each. One that names itself counts for
    /// nothing here: the library refuses it.
    fn measure<'d>(
        document: &'d ExecutableDocument,
        set: &'d SelectionSet,
        deep: usize,
        known: &mut BTreeMap<&'d str, usize>,
    ) -> Self {
        if deep > LONGEST_CHAIN {
            return Self { aliases: 0, fields: usize::MAX };
        }
        let mut size = Self::default();
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    size.add(Self { aliases: usize::from(field.node.alias.is_some()), fields: 1 });
                    size.add(Self::measure(document, &field.node.selection_set.node, deep, known));
                }
                Selection::InlineFragment(fragment) => {
                    size.add(Self::measure(document, &fragment.node.selection_set.node, deep, known));
                }
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    let fields = match (known.get(name), document.fragments.get(name)) {
                        (Some(fields), _) => *fields,
                        (None, Some(fragment)) => {
                            known.insert(name, 0);
                            let set = &fragment.node.selection_set.node;
                            let fields = Self::measure(document, set, deep + 1, known).fields;
                            known.insert(name, fields);
                            fields
                        }
                        (None, None) => 0,
                    };
                    size.add(Self { aliases: 0, fields: fields.saturating_add(1) });
                }
            }
        }
        size
    }
}
