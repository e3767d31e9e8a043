import type { Keyring } from '../credentials/keyring.ts'
import type { Call, Engine, ServerInfo } from '../engines/engine.ts'
import { type EngineKind, engines } from '../engines/index.ts'
import type { ProbeReport } from '../engines/probe.ts'
import type { TargetDescription } from '../engines/target.ts'
import { ApiError, withOptions } from '../errors.ts'
import {
  checkConfig,
  type ConfigKeys,
  type ConnectionInput,
  describeInput,
  mergeInput,
  namesTarget,
  requireWholeCredential,
  sameTarget,
} from './connection-input.ts'
import { type Connections, databaseNotFound, featureDisabled } from './connections.ts'
import type { DatabaseRow, DatabaseStats } from './database.ts'
import { createProber, type Prove, type Prober, type ProberOptions } from './prober.ts'
import { projectNotFound, type ProjectStore } from './project-store.ts'
import type { Asker, ReadCache } from './read-cache.ts'
import { sealTarget } from './sealed-columns.ts'
import type { DatabaseChanges, DatabaseStore } from './store.ts'
import type { Visible } from './visible.ts'

export interface CreateInput extends ConnectionInput {
  readonly projectRef: string
  readonly name: string
  readonly type: EngineKind
  readonly description?: string | null | undefined
  readonly config?: ConfigKeys | undefined
}

export interface UpdateInput extends ConnectionInput {
  readonly name?: string | undefined
  readonly description?: string | null | undefined
  readonly config?: ConfigKeys | undefined
}

export interface Changed {
  readonly row: DatabaseRow
  readonly warnings: readonly string[]
}

export interface RegistryOptions extends ProberOptions {
  readonly databases: DatabaseStore
  readonly projects: ProjectStore
  readonly connections: Connections
  readonly rows: ReadCache<DatabaseRow>
  /** Ends what this process knows of a database that changed, before the change is heard from the registry; sessions of older versions only. */
  readonly forget: (id: string, version?: number) => void
  readonly keyring: Keyring
  readonly disabled: ReadonlySet<string>
}

const statsMaxAgeMs = 60_000

/** The registry's use cases: what happens between a validated request and the store. */
export class Registry {
  readonly #options: RegistryOptions
  readonly #prober: Prober
  #statsRefreshedAt = Number.NEGATIVE_INFINITY
  #refreshing: Promise<void> | undefined

  constructor(options: RegistryOptions) {
    this.#options = options
    this.#prober = createProber(options)
  }

  /** The row as it is shown: from memory, until its change is heard. */
  read(id: string, asker?: Asker): DatabaseRow | Promise<DatabaseRow> {
    const { rows, databases } = this.#options
    return rows.peek(id) ?? rows.get(id, () => databases.get(id), asker).then(present)
  }

  /** The row as the registry has it now. */
  async get(id: string): Promise<DatabaseRow> {
    return present(await this.#options.databases.get(id))
  }

  async getByName(projectRef: string, name: string): Promise<DatabaseRow> {
    return present(await this.#options.databases.getByName(projectRef, name))
  }

  /** Probes, seals and saves; what fails before the last step saves nothing. */
  async create(input: CreateInput, skipTest: boolean, signal: AbortSignal): Promise<Changed> {
    const engine = this.#engine(input.type)
    const config = checkConfig(engine, input.config ?? {})
    const description = describeInput(engine, input, config)
    const project = await this.#options.projects.getProject(input.projectRef)
    if (project === undefined) throw projectNotFound()
    if (await this.#options.databases.getByName(input.projectRef, input.name)) {
      throw new ApiError('CONFLICT', 'The project has a database of this name already. Choose another name.')
    }
    const warnings = skipTest ? description.warnings : await this.#prober.proving(signal)(engine, description)
    const id = crypto.randomUUID()
    const { kid, columns } = await sealTarget(this.#options.keyring, description, {
      projectId: project.id,
      databaseId: id,
    })
    const row = await this.#options.databases.create(
      {
        id,
        project_id: project.id,
        name: input.name,
        type: engine.kind,
        description: input.description ?? null,
        config,
        connected: !skipTest,
        ...columns,
      },
      kid,
    )
    this.#options.forget(id)
    return { row, warnings }
  }

  /** Changes a row. `expected` is the version of `If-Match`; without it the last write wins, merged into what is there then. */
  async update(id: string, input: UpdateInput, expected: number | undefined, signal: AbortSignal): Promise<Changed> {
    const prove = this.#prober.proving(signal)
    // A lost race is another's write, so somebody always gets on; the request's deadline bounds it.
    for (;;) {
      const row = await this.get(id)
      if (expected !== undefined && row.version !== expected) throw preconditionFailed()
      const { changes, kid, warnings } = await this.#changesOf(row, input, prove)
      const updated = await this.#options.databases.update(id, row.version, changes, kid)
      if (updated) {
        this.#options.forget(id)
        return { row: updated, warnings }
      }
      if (expected !== undefined) throw preconditionFailed()
      if (signal.aborted)
        throw new ApiError('CONFLICT', 'The database is being changed by others. Try again.', { retryable: true })
    }
  }

  async remove(id: string, expected: number | undefined): Promise<void> {
    if (!(await this.#options.databases.remove(id, expected))) {
      await this.get(id)
      throw preconditionFailed()
    }
    this.#options.forget(id)
  }

  /** Probes a connection without saving it. Refused input throws; what the network says is in the report. */
  async testUnsaved(
    type: EngineKind,
    input: ConnectionInput,
    config: ConfigKeys,
    signal: AbortSignal,
  ): Promise<ProbeReport> {
    const engine = this.#engine(type)
    return this.#prober.probe(engine, describeInput(engine, input, checkConfig(engine, config)), signal)
  }

  /** Probes the saved connection over a short connection of its own and notes the outcome in the row. */
  async testSaved(id: string, signal: AbortSignal): Promise<ProbeReport> {
    const row = await this.get(id)
    const engine = this.#engine(row.type)
    const report = await this.#prober.probe(engine, await this.#options.targets.describe(engine, row), signal)
    // A caller who left says nothing about the store.
    if (!signal.aborted) {
      await this.#options.databases.touch(row, report.ok ? 'active' : 'error')
      this.#options.forget(id, 0)
      if (report.ok) this.#options.connections.proved(id, row.version)
    }
    return report
  }

  async info(id: string, call: Call): Promise<ServerInfo> {
    const row = await this.read(id, call)
    using session = await this.#options.connections.open(this.#engine(row.type), id, call)
    return await session.info(call)
  }

  /** Counts by type, at most a minute old; of what is visible, as of now. */
  async stats(visible?: Visible): Promise<readonly DatabaseStats[]> {
    if (visible !== undefined) return this.#options.databases.stats(visible)
    if (performance.now() - this.#statsRefreshedAt > statsMaxAgeMs) {
      this.#refreshing ??= this.#refreshStats().finally(() => (this.#refreshing = undefined))
      await this.#refreshing
    }
    return this.#options.databases.stats()
  }

  async #refreshStats(): Promise<void> {
    const startedAt = performance.now()
    await this.#options.databases.refreshStats()
    this.#statsRefreshedAt = startedAt
  }

  #engine(type: string): Engine {
    const engine: Engine | undefined = Object.hasOwn(engines, type) ? engines[type as EngineKind] : undefined
    if (engine === undefined)
      throw new ApiError('DB_UNSUPPORTED', 'This server has no engine for this type of database.')
    if (this.#options.disabled.has(engine.kind)) throw featureDisabled(engine)
    return engine
  }

  async #changesOf(row: DatabaseRow, input: UpdateInput, prove: Prove) {
    const plain: DatabaseChanges = {
      ...(input.name === undefined ? {} : { name: input.name }),
      ...(input.description === undefined ? {} : { description: input.description }),
    }
    const engine = this.#engine(row.type)
    const config = input.config === undefined ? row.config : checkConfig(engine, input.config)
    const configured = input.config === undefined ? plain : { ...plain, config }
    if (!namesTarget(input) && input.config === undefined) return { changes: plain, kid: undefined, warnings: [] }
    const before = await this.#before(engine, row, input)
    const after =
      before === undefined ? describeInput(engine, input, config) : mergeInput(engine, before, input, config)
    if (before && sameTarget(before, after)) {
      return { changes: configured, kid: undefined, warnings: after.warnings }
    }
    if (before) requireWholeCredential(before, after, input)
    const warnings = await prove(engine, after)
    const { kid, columns } = await sealTarget(this.#options.keyring, after, {
      projectId: row.project_id,
      databaseId: row.id,
    })
    return { changes: { ...configured, ...columns, connected: true }, kid, warnings }
  }

  /** The stored target, or `undefined` when it can not be read but the caller gives a whole new one: that is the way to mend it. */
  async #before(engine: Engine, row: DatabaseRow, input: UpdateInput): Promise<TargetDescription | undefined> {
    try {
      return await this.#options.targets.describe(engine, row)
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'DB_CREDENTIALS_UNREADABLE') throw error
      if (input.connectionString !== undefined || input.host !== undefined) return undefined
      throw withOptions(error, { status: 400 })
    }
  }
}

function present(row: DatabaseRow | undefined): DatabaseRow {
  if (row === undefined) throw databaseNotFound()
  return row
}

function preconditionFailed(): ApiError {
  return new ApiError(
    'PRECONDITION_FAILED',
    'The database was changed since it was read. Read it again and repeat the change.',
  )
}
