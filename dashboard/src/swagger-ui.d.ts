/** As far as it is used here; the package has no types of its own. */
declare module 'swagger-ui-dist/swagger-ui-es-bundle' {
  export default function SwaggerUI(options: Record<string, unknown>): unknown
}
