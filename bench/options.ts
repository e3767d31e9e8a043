import { parseArgs } from 'node:util'

export interface Options {
  readonly quick: boolean
  /** Names of operations and parts; all of them when empty. */
  readonly only: readonly string[]
  readonly seconds: number
  readonly rounds: number
  /** Before the rounds of a load. */
  readonly warmUpSeconds: number
  readonly connections: number
  /** Where the figures go; a run of everything has a place of its own in `bench/results`. */
  readonly output: string | undefined
}

/** Reads the command line. Throws on what it does not know; `names` are those of `--only`. */
export function readOptions(args: readonly string[], names: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      connections: { type: 'string' },
      output: { type: 'string' },
    },
  })
  const count = (name: 'seconds' | 'rounds' | 'connections', fallback: number) => {
    const value = Number(values[name] ?? fallback)
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`)
    return value
  }
  const unknown = values.only.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown} is not one of ${names.join(', ')}`)
  return {
    quick: values.quick,
    only: values.only,
    seconds: count('seconds', values.quick ? 1 : 3),
    rounds: count('rounds', values.quick ? 1 : 5),
    warmUpSeconds: values.quick ? 1 : 2,
    connections: count('connections', 64),
    output: values.output,
  }
}

/** Whether an operation or part is to be measured. */
export function isWanted(options: Options, name: string): boolean {
  return options.only.length === 0 || options.only.includes(name)
}
