import { libraryVersion } from '#src/http/static/assets.ts'
import type { OpenApiDocument } from './openapi.ts'

/** The policy of the page: its own files, and requests to this server alone. Icons of the style sheet are `data:` images. */
export const docsPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** The page that shows `/openapi.json` and sends requests; everything it loads comes from this server. */
export function docsPage({ info }: OpenApiDocument): string {
  const title = Bun.escapeHTML(info.title)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css?v=${libraryVersion}">
<link rel="stylesheet" href="/docs/docs.css">
<script src="/docs/swagger-ui-bundle.js?v=${libraryVersion}" defer></script>
<script src="/docs/docs-init.js" defer></script>
</head>
<body>
<noscript>This page needs JavaScript. The routes of ${title} are in <a href="/openapi.json">openapi.json</a>.</noscript>
<div id="swagger-ui"></div>
</body>
</html>
`
}
