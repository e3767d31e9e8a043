import type { PGlite } from '@electric-sql/pglite'

/** The parts of PGlite's WebAssembly module that its message loop calls. */
interface Engine {
  _PostgresMainLoopOnce(): void
  _PostgresSendReadyForQueryIfNecessary(): void
  _pgl_pq_flush(): void
  stackRestore(pointer: number): number
}

/**
 * Makes the engine's abort (a full disk, a damaged file) an error of the call that met it and of all later ones, and tells `onAbort`.
 * The loop of PGlite 0.5.16 swallows every throw that is not an SQL error's and calls the dead engine again, for ever, on our thread.
 */
export function throwOnAbort(db: PGlite, onAbort: (error: unknown) => void): void {
  const { mod: engine, POSTGRES_MAIN_LONGJMP: sqlError } = db as unknown as {
    mod: Engine
    POSTGRES_MAIN_LONGJMP: number
  }
  const { _PostgresMainLoopOnce, _PostgresSendReadyForQueryIfNecessary, _pgl_pq_flush, stackRestore } = engine
  let abort: { readonly error: unknown } | undefined

  // The loop catches what this throws, then restores the stack: only a throw from there leaves it.
  engine._PostgresMainLoopOnce = () => {
    throwIfAborted()
    try {
      _PostgresMainLoopOnce()
    } catch (error) {
      if ((error as { status?: unknown }).status !== sqlError) {
        abort = { error }
        onAbort(error)
      }
      throw error
    }
  }
  engine.stackRestore = (pointer) => {
    throwIfAborted()
    return stackRestore(pointer)
  }
  engine._PostgresSendReadyForQueryIfNecessary = () => {
    throwIfAborted()
    _PostgresSendReadyForQueryIfNecessary()
  }
  engine._pgl_pq_flush = () => {
    throwIfAborted()
    _pgl_pq_flush()
  }

  function throwIfAborted(): void {
    if (abort !== undefined) throw abort.error
  }
}
