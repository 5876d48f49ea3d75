import { initGraphQLTada } from 'gql.tada'
import type { introspection } from './schema'

/** Documents are checked against `../../schema.graphql` by the compiler and by `gql.tada check`. */
export const graphql = initGraphQLTada<{
  introspection: introspection
  disableMasking: true
  scalars: { DateTime: string; JSON: unknown; ID: string; Int: number }
}>()

export type { ResultOf, VariablesOf } from 'gql.tada'
