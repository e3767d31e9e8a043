const dark = matchMedia('(prefers-color-scheme: dark)')
const followScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', followScheme)
followScheme()

globalThis.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // The service key stays in this page's memory.
  persistAuthorization: false,
  // A link can not make this page show, or send the key to, another server's document.
  queryConfigEnabled: false,
  supportedSubmitMethods: ['get', 'post', 'put', 'patch', 'delete'],
  validatorUrl: null,
})
