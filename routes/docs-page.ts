import type { OpenApiDocument } from './openapi.ts'

/** A plain list of the document's routes: static HTML, no script, nothing fetched. */
export function docsPage(document: OpenApiDocument): string {
  const sections = new Map<string, string[]>()
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    const base = item.servers?.[0]?.url ?? document.servers?.[0]?.url ?? ''
    for (const method of ['get', 'post', 'put', 'patch', 'delete'] as const) {
      const operation = item[method]
      if (!operation) continue
      const row = `<tr><td><code>${method.toUpperCase()}</code><td><code>${escape(join(base, path))}</code><td>${escape(operation.summary ?? '')}<br><small>${escape(operation.description ?? '')}</small>`
      const tag = operation.tags?.[0] ?? 'other'
      sections.set(tag, [...(sections.get(tag) ?? []), row])
    }
  }
  const tables = [...sections].map(([tag, rows]) => `<h2>${escape(tag)}</h2><table>${rows.join('\n')}</table>`)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(document.info.title)}</title><style>${style}</style>
<h1>${escape(document.info.title)} <small>${escape(document.info.version)}</small></h1>
<p>${escape(document.info.description ?? '')}</p><p><a href="/openapi.json">openapi.json</a></p>
${tables.join('\n')}</html>`
}

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}td{border-top:1px solid #8884;padding:.4rem .6rem;vertical-align:top}
td:nth-child(-n+2){white-space:nowrap}small{opacity:.7}:root{color-scheme:light dark}`

function join(base: string, path: string): string {
  return `${base.replace(/\/$/, '')}${path}`
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
