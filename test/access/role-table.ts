import { operations, platform } from '#routes/index.ts'
import type { Scope } from '#src/access/authorize.ts'
import type { Access, Operation } from '#src/http/contract.ts'
import { placeOf } from '#src/http/router.ts'

/** What one route needs of its caller. */
export interface RoleRow {
  readonly operationId: string
  /** In capitals. */
  readonly method: string
  /** With `{…}` in place of parameters. */
  readonly url: string
  readonly access: Access
  readonly operation: Operation
  readonly scope: Scope
}

interface Declared {
  readonly method: string
  readonly path: string
  readonly operationId: string
  readonly 'x-access': Access
  readonly 'x-operation': Operation
}

/** Every declared route in the order of its URL. */
export function roleTable(): readonly RoleRow[] {
  const rows = [...rowsOf(platform, '/api'), ...rowsOf(operations, '')]
  return rows.toSorted((one, other) => (keyOf(one) < keyOf(other) ? -1 : 1))
}

/** The table as `docs/roles.md` has it. */
export function rolesPage(): string {
  const cells = roleTable().map(({ method, url, access, scope }) => [`\`${method} ${url}\``, access, scope])
  const widths = ['Route', 'Needs', 'Where'].map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  const rule = widths.map((width) => '-'.repeat(width))
  return [intro, line(['Route', 'Needs', 'Where']), line(rule), ...cells.map(line), ''].join('\n')
}

const intro = `# Routes and roles

What each route needs of its caller, written from the routes' own declarations by \`bun test/access/role-table.ts > docs/roles.md\`. A test holds it
against them, and another asks every route as every kind of caller.

Each role may do what those before it may: \`read\`, \`write\`, \`admin\`. \`open\` asks nobody. The service key may do everything. Where it is held:

- \`database\`: on the database of the path, or on its project. To who holds nothing there it is not there: 404, as for an unknown id.
- \`project\`: on the project of the path.
- \`own\`: the route shows and changes what is the caller's own alone. A key of a lesser role is refused; of a user the grant on the project that is named
  in the request counts.
- \`server\`: the service key alone. A new route is this unless its path or its declaration says otherwise.

A route that needs \`read\` alone changes nothing for a caller who may only read: the engine refuses it (\`DB_READ_ONLY\`).
`

function rowsOf({ openAPIRegistry }: typeof platform | typeof operations, base: string): readonly RoleRow[] {
  return openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== 'route') return []
    const route = definition.route as unknown as Declared
    const { operationId, method, path } = route
    const [access, operation] = [route['x-access'], route['x-operation']]
    const { scope } = placeOf(route)
    return [{ operationId, method: method.toUpperCase(), url: base + path, access, operation, scope }]
  })
}

function keyOf({ url, method }: RoleRow): string {
  return `${url} ${method}`
}

if (import.meta.main) process.stdout.write(rolesPage())
