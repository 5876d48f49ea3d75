//! The GraphQL, REST and hook API.
