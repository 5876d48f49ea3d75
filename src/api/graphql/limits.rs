//! A limit that the library does not have: how often a document gives fields other names.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextParseQuery};
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{ServerError, ServerResult, Value, Variables};

/// The most aliases of a document: each could be the same costly question again.
const MOST_ALIASES: usize = 50;

/// Refuses documents with too many aliases.
pub(super) struct Aliases;

impl ExtensionFactory for Aliases {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for Aliases {
    async fn parse_query(
        &self,
        ctx: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(ctx, query, variables).await?;
        let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
        let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
        let count: usize = operations.chain(fragments).map(aliases).sum();
        if count > MOST_ALIASES {
            let message = format!("the document has {count} aliases; {MOST_ALIASES} is the most");
            let mut error = ServerError::new(message, None);
            error.extensions.get_or_insert_default().set("code", Value::from("LIMIT_EXCEEDED"));
            return Err(error);
        }
        Ok(document)
    }
}

/// How many fields have another name in here. The parser has bounded the depth.
fn aliases(set: &SelectionSet) -> usize {
    set.items
        .iter()
        .map(|item| match &item.node {
            Selection::Field(field) => {
                usize::from(field.node.alias.is_some()) + aliases(&field.node.selection_set.node)
            }
            Selection::InlineFragment(fragment) => aliases(&fragment.node.selection_set.node),
            Selection::FragmentSpread(_) => 0,
        })
        .sum()
}
