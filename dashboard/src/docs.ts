/** The REST API, read from the document that this server was built with, and tried out with a token. */
import 'swagger-ui-dist/swagger-ui.css'
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle'

SwaggerUI({
  url: '/api/docs/swagger.yaml',
  dom_id: '#docs',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // The token is held by this page alone, and gone with it.
  persistAuthorization: false,
  // Nobody else is asked whether the document is valid.
  validatorUrl: null,
})
